#include "proto/imap/view.h"

#include <stdlib.h>
#include <string.h>

void imap_view_release(struct imap_view *v)
{
    free(v->runs);
    imap_rangeset_release(&v->changed);
    imap_rangeset_release(&v->expunged);
    *v = (struct imap_view){0};
}

static uint32_t run_size(const struct imap_view *v, size_t i)
{
    uint32_t end = i + 1 < v->run_count ? v->runs[i + 1].seq : v->count + 1;
    return end - v->runs[i].seq;
}

static uint32_t run_last_uid(const struct imap_view *v, size_t i)
{
    return v->runs[i].uid + run_size(v, i) - 1;
}

static bool make_room(struct imap_view *v)
{
    if (v->run_count < v->run_cap)
        return true;
    size_t cap = v->run_cap ? v->run_cap + v->run_cap / 2 : 4;
    struct imap_run_of_uids *runs = realloc(v->runs, cap * sizeof *runs);
    if (!runs)
        return false;
    v->runs = runs;
    v->run_cap = cap;
    return true;
}

bool imap_view_append(struct imap_view *v, struct imap_range uids)
{
    if (uids.last <= v->last_uid)
        return true;
    if (uids.first <= v->last_uid)
        uids.first = v->last_uid + 1;
    bool joins = v->run_count > 0 && run_last_uid(v, v->run_count - 1) + 1 == uids.first;
    if (!joins) {
        if (!make_room(v))
            return false;
        v->runs[v->run_count++] = (struct imap_run_of_uids){uids.first, v->count + 1};
    }
    v->count += uids.last - uids.first + 1;
    v->last_uid = uids.last;
    return true;
}

/* The last run that starts at or before seq (uid), or run_count. */
static size_t run_of_seq(const struct imap_view *v, uint32_t seq)
{
    size_t low = 0;
    size_t high = v->run_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (v->runs[middle].seq <= seq)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? low - 1 : v->run_count;
}

static size_t run_of_uid(const struct imap_view *v, uint32_t uid)
{
    size_t low = 0;
    size_t high = v->run_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (v->runs[middle].uid <= uid)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? low - 1 : v->run_count;
}

uint32_t imap_view_uid(const struct imap_view *v, uint32_t seq)
{
    if (seq == 0 || seq > v->told)
        return 0;
    size_t i = run_of_seq(v, seq);
    return v->runs[i].uid + (seq - v->runs[i].seq);
}

uint32_t imap_view_seq(const struct imap_view *v, uint32_t uid)
{
    size_t i = run_of_uid(v, uid);
    if (i == v->run_count || uid - v->runs[i].uid >= run_size(v, i))
        return 0;
    return v->runs[i].seq + (uid - v->runs[i].uid);
}

uint32_t imap_view_seq_from(const struct imap_view *v, uint32_t uid)
{
    size_t i = run_of_uid(v, uid);
    if (i == v->run_count)
        return 1;
    uint32_t offset = uid - v->runs[i].uid;
    return v->runs[i].seq + (offset < run_size(v, i) ? offset : run_size(v, i));
}

bool imap_view_pick_seqs(const struct imap_view *v, struct imap_range seqs,
                         struct imap_rangeset *out)
{
    for (size_t i = run_of_seq(v, seqs.first); seqs.first <= seqs.last; i++) {
        uint32_t end = v->runs[i].seq + run_size(v, i) - 1;
        uint32_t last = end < seqs.last ? end : seqs.last;
        uint32_t base = v->runs[i].uid - v->runs[i].seq;
        if (!imap_rangeset_add(out, (struct imap_range){base + seqs.first, base + last}))
            return false;
        seqs.first = last + 1;
    }
    return true;
}

bool imap_view_pick_uids(const struct imap_view *v, struct imap_range uids,
                         struct imap_rangeset *out)
{
    uint32_t first = imap_view_seq_from(v, uids.first);
    uint32_t last = uids.last == UINT32_MAX ? v->count : imap_view_seq_from(v, uids.last + 1) - 1;
    if (last > v->told)
        last = v->told;
    return first > last || imap_view_pick_seqs(v, (struct imap_range){first, last}, out);
}

/* As imap_view_pick_uids, but with those the client has not been told of. */
static bool pick_all(const struct imap_view *v, struct imap_range uids, struct imap_rangeset *out)
{
    struct imap_view whole = *v;
    whole.told = v->count;
    return imap_view_pick_uids(&whole, uids, out);
}

bool imap_view_note_changed(struct imap_view *v, struct imap_range uids)
{
    return imap_view_pick_uids(v, uids, &v->changed);
}

/* Cuts the message at `offset` out of run i. */
static bool cut_run(struct imap_view *v, size_t i, uint32_t offset)
{
    uint32_t size = run_size(v, i);
    if (size == 1) {
        memmove(v->runs + i, v->runs + i + 1, (v->run_count - i - 1) * sizeof *v->runs);
        v->run_count--;
    } else if (offset == 0) {
        v->runs[i].uid++;
        v->runs[i].seq++;
    } else if (offset < size - 1) {
        if (!make_room(v))
            return false;
        memmove(v->runs + i + 1, v->runs + i, (v->run_count - i) * sizeof *v->runs);
        v->runs[i + 1].uid += offset + 1;
        v->runs[i + 1].seq += offset + 1;
        v->run_count++;
    }
    return true;
}

bool imap_view_remove(struct imap_view *v, uint32_t uid)
{
    uint32_t seq = imap_view_seq(v, uid);
    struct imap_range one = {uid, uid};
    if (!imap_rangeset_remove(&v->changed, one) || !imap_rangeset_remove(&v->expunged, one))
        return false;
    if (!seq)
        return true;
    size_t i = run_of_uid(v, uid);
    if (!cut_run(v, i, uid - v->runs[i].uid))
        return false;
    for (; i < v->run_count; i++)
        v->runs[i].seq -= v->runs[i].seq > seq;
    v->count--;
    if (seq <= v->told)
        v->told--;
    return true;
}

/* The client need not hear of what came and went between two tellings. */
static bool remove_untold(struct imap_view *v)
{
    while (v->expunged.count) {
        uint32_t uid = v->expunged.ranges[v->expunged.count - 1].last;
        if (imap_view_seq(v, uid) <= v->told)
            break;
        if (!imap_view_remove(v, uid))
            return false;
    }
    return true;
}

bool imap_view_note_expunged(struct imap_view *v, struct imap_range uids)
{
    return pick_all(v, uids, &v->expunged) && remove_untold(v);
}
