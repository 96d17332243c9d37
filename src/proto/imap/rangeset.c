#include "proto/imap/rangeset.h"

#include <stdlib.h>
#include <string.h>

void imap_rangeset_release(struct imap_rangeset *s)
{
    free(s->ranges);
    *s = (struct imap_rangeset){0};
}

size_t imap_set_find(struct imap_set s, uint32_t uid)
{
    size_t low = 0;
    size_t high = s.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (s.ranges[middle].last < uid)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool imap_set_contains(struct imap_set s, uint32_t uid)
{
    size_t at = imap_set_find(s, uid);
    return at < s.count && s.ranges[at].first <= uid;
}

bool imap_rangeset_contains(const struct imap_rangeset *s, uint32_t uid)
{
    return imap_set_contains(imap_rangeset_set(s), uid);
}

uint64_t imap_set_size(struct imap_set s)
{
    uint64_t size = 0;
    for (size_t i = 0; i < s.count; i++)
        size += (uint64_t)s.ranges[i].last - s.ranges[i].first + 1;
    return size;
}

static bool make_room(struct imap_rangeset *s)
{
    if (s->count < s->cap)
        return true;
    size_t cap = s->cap ? s->cap * 2 : 4;
    struct imap_range *ranges = realloc(s->ranges, cap * sizeof *ranges);
    if (!ranges)
        return false;
    s->ranges = ranges;
    s->cap = cap;
    return true;
}

/* Puts `range` in place of the ranges [from, to); there is room for one more. */
static void splice(struct imap_rangeset *s, size_t from, size_t to, struct imap_range range)
{
    memmove(s->ranges + from + 1, s->ranges + to, (s->count - to) * sizeof *s->ranges);
    s->ranges[from] = range;
    s->count = s->count + 1 - (to - from);
}

bool imap_rangeset_add(struct imap_rangeset *s, struct imap_range range)
{
    if (!make_room(s))
        return false;
    size_t from = imap_set_find(imap_rangeset_set(s), range.first ? range.first - 1 : 0);
    size_t to = from;
    while (to < s->count && (range.last == UINT32_MAX || s->ranges[to].first <= range.last + 1)) {
        if (s->ranges[to].first < range.first)
            range.first = s->ranges[to].first;
        if (s->ranges[to].last > range.last)
            range.last = s->ranges[to].last;
        to++;
    }
    splice(s, from, to, range);
    return true;
}

bool imap_rangeset_remove(struct imap_rangeset *s, struct imap_range range)
{
    if (s->count == 0)
        return true;
    if (!make_room(s))
        return false;
    size_t at = imap_set_find(imap_rangeset_set(s), range.first);
    if (at < s->count && s->ranges[at].first < range.first && s->ranges[at].last > range.last) {
        struct imap_range head = {s->ranges[at].first, range.first - 1};
        s->ranges[at].first = range.last + 1;
        splice(s, at, at, head);
        return true;
    }
    if (at < s->count && s->ranges[at].first < range.first)
        s->ranges[at++].last = range.first - 1;
    size_t to = at;
    while (to < s->count && s->ranges[to].last <= range.last)
        to++;
    if (to < s->count && s->ranges[to].first <= range.last)
        s->ranges[to].first = range.last + 1;
    memmove(s->ranges + at, s->ranges + to, (s->count - to) * sizeof *s->ranges);
    s->count -= to - at;
    return true;
}

size_t imap_set_slice(struct imap_set s, uint32_t after, size_t messages_max,
                      struct imap_range *ranges)
{
    size_t count = 0;
    if (after == UINT32_MAX)
        return 0;
    for (size_t i = imap_set_find(s, after + 1); i < s.count && messages_max > 0; i++) {
        struct imap_range r = s.ranges[i];
        if (r.first <= after)
            r.first = after + 1;
        if ((uint64_t)r.last - r.first + 1 > messages_max)
            r.last = r.first + (uint32_t)messages_max - 1;
        messages_max -= (size_t)r.last - r.first + 1;
        ranges[count++] = r;
    }
    return count;
}
