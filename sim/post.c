#include "sim/post.h"

#include <stdio.h>
#include <string.h>

#include "base/bug.h"
#include "base/limits.h"
#include "sim/model.h"
#include "sim/vfs_fault.h"

enum { OCTETS_MAX = 1024 * 1024 };

/* ---- Messages -----------------------------------------------------------------------------------
 */

static struct post_message *make(struct post *p)
{
    invariant(p->count + 1 < POST_MESSAGES);
    return &p->messages[++p->count];
}

static uint8_t draw_notify(struct world *w)
{
    static const uint8_t kinds[] = {
        0,
        0,
        0,
        POST_NOTIFY_NEVER,
        POST_NOTIFY_SUCCESS,
        POST_NOTIFY_SUCCESS | POST_NOTIFY_FAILURE,
        POST_NOTIFY_FAILURE | POST_NOTIFY_DELAY,
        POST_NOTIFY_SUCCESS | POST_NOTIFY_FAILURE | POST_NOTIFY_DELAY,
    };
    return kinds[world_draw(w, sizeof kinds)];
}

uint32_t post_make(struct post *p, unsigned whom)
{
    struct world *w = p->world;
    struct post_message *m = make(p);
    for (unsigned i = 0; i < POST_WHO; i++)
        if (whom >> i & 1)
            m->states[i] = POST_WANTED;
    m->by_alias = (whom & POST_HERE) == POST_HERE && world_draw(w, 2) == 0;
    if (world_draw(w, 3) == 0)
        m->sender = (uint8_t)(POST_ACCOUNTS + world_draw(w, WORLD_ACCOUNTS));
    m->notify = draw_notify(w);
    m->tls_only = m->sender != POST_CAROL && world_draw(w, 8) == 0;
    return p->count;
}

uint32_t post_make_own(struct post *p)
{
    make(p)->appended = true;
    return p->count;
}

unsigned post_missing(const struct post *p, uint32_t message)
{
    unsigned missing = 0;
    for (unsigned i = 0; i < POST_WHO; i++) {
        uint8_t state = p->messages[message].states[i];
        if (state == POST_WANTED || state == POST_OFFERED)
            missing |= 1u << i;
    }
    return missing;
}

uint32_t post_unfinished(const struct post *p, unsigned sender, unsigned whom)
{
    for (uint32_t m = 1; m <= p->count; m++)
        if (!p->messages[m].busy && p->messages[m].sender == sender &&
            (post_missing(p, m) & whom) != 0)
            return m;
    return 0;
}

void post_address(uint32_t message, unsigned who, char out[static 40])
{
    if (who == POST_ELSEWHERE)
        snprintf(out, 40, "m%u@elsewhere.test", message);
    else if (who == POST_WHO)
        snprintf(out, 40, "team@sim.test");
    else
        snprintf(out, 40, "%s@sim.test", world_names[who]);
}

void post_sender(const struct post *p, uint32_t message, char out[static 40])
{
    unsigned sender = p->messages[message].sender;
    if (sender == POST_CAROL)
        snprintf(out, 40, "carol@example.net");
    else
        post_address(message, sender - POST_ACCOUNTS, out);
}

static uint64_t next(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed >> 8;
}

/*
 * Lines of noise, some of which begin with a dot. One message in eight has several chunks; every
 * other of these is too large to travel whole.
 */
void post_octets(const struct post *p, uint32_t message, bool dotted, struct buf *out)
{
    uint64_t seed = message * 0x9E3779B97F4A7C15u + 1;
    size_t size = 60 + message * 37 % 3000;
    if (message % 8 == 7)
        size += (message % 16 == 7 ? 2UL : 5UL) * LIMIT_CHUNK_SIZE;
    char sender[40];
    post_sender(p, message, sender);
    buf_printf(out,
               "From: %s\r\nDate: Tue, 1 Jul 2025 10:00:00 +0000\r\n"
               "Message-ID: <m%u@sim>\r\nSubject: message %u\r\n\r\n",
               sender, message, message);
    while (size > 0) {
        uint64_t shape = next(&seed) % 8, len = shape == 1 ? 0 : next(&seed) % 76;
        if (shape == 0)
            buf_append_str(out, dotted ? STR("..") : STR("."));
        for (uint64_t i = 0; i < len; i++)
            buf_append_byte(out, (char)('0' + next(&seed) % 75));
        buf_append_str(out, STR("\r\n"));
        size -= size < len + 2 ? size : len + 2;
    }
    if (dotted)
        buf_append_str(out, STR(".\r\n"));
}

uint32_t post_next_id(struct str *words)
{
    uint64_t number = 0;
    ptrdiff_t at = str_find(*words, STR("<m"));
    if (at < 0)
        return 0;
    *words = str_skip(*words, (size_t)at + 2);
    ptrdiff_t end = str_find_byte(*words, '@');
    if (end < 0 || !str_to_u64(str_sub(*words, 0, (size_t)end), POST_MESSAGES, &number))
        return 0;
    return (uint32_t)number;
}

/* Return-Path, maybe Delivered-To, Received, and then what was sent. */
static bool is_whole(const struct post *p, uint32_t message, struct str octets)
{
    struct buf sent, path;
    char sender[40];
    buf_init(&sent, OCTETS_MAX);
    buf_init(&path, 100);
    post_octets(p, message, false, &sent);
    post_sender(p, message, sender);
    buf_printf(&path, "Return-Path: <%s>\r\n", sender);
    bool whole = p->messages[message].appended
                     ? str_eq(octets, buf_str(&sent))
                     : str_starts(octets, buf_str(&path)) && str_ends(octets, buf_str(&sent)) &&
                           str_find(octets, STR("\r\nReceived: from ")) >= 0;
    buf_release(&sent);
    buf_release(&path);
    return whole;
}

uint32_t post_identify(struct post *p, unsigned account, struct str octets)
{
    struct world *w = p->world;
    struct str rest = octets;
    uint32_t message = post_next_id(&rest);
    if (message == 0 || message > p->count)
        world_wrong(w, "%s has what nobody offered: %.*s", world_names[account], STR_ARG(octets));
    if (str_starts(octets, STR("Return-Path: <>\r\n")))
        return POST_REPORT | message;
    if (!is_whole(p, message, octets))
        world_wrong(w, "message %u is with %s not as it was sent", message, world_names[account]);
    return message;
}

/* ---- Reports ----------------------------------------------------------------------------------
 */

static unsigned count_of(struct str octets, struct str words)
{
    unsigned count = 0;
    ptrdiff_t at;
    for (; (at = str_find(octets, words)) >= 0; count++)
        octets = str_skip(octets, (size_t)at + words.len);
    return count;
}

static uint64_t report_id(struct post *p, struct str octets)
{
    uint64_t hash = 1;
    ptrdiff_t at = str_find(octets, STR("\r\nMessage-ID: <"));
    if (at < 0)
        world_wrong(p->world, "a report has no id: %.*s", STR_ARG(octets));
    octets = str_skip(octets, (size_t)at + 2);
    for (size_t i = 0; i < octets.len && octets.ptr[i] != '\r'; i++)
        hash = (hash ^ (uint8_t)octets.ptr[i]) * 0x100000001B3u;
    return hash;
}

bool post_wants_failure(const struct post *p, uint32_t message)
{
    unsigned notify = p->messages[message].notify;
    return notify == 0 || (notify & POST_NOTIFY_FAILURE) != 0;
}

static void count_told(struct post *p, uint32_t message, struct str octets)
{
    struct post_message *m = &p->messages[message];
    m->failed += count_of(octets, STR("\r\nAction: failed\r\n"));
    m->delayed += count_of(octets, STR("\r\nAction: delayed\r\n"));
    m->delivered += count_of(octets, STR("\r\nAction: delivered\r\n"));
    if (m->failed > post_wants_failure(p, message))
        world_wrong(p->world, "message %u failed for %u, who was not to be told, or was before",
                    message, m->failed);
    if (m->delayed > ((m->notify & POST_NOTIFY_DELAY) != 0))
        world_wrong(p->world, "message %u is said to be late %u times", message, m->delayed);
    if (m->delivered > (m->notify & POST_NOTIFY_SUCCESS ? POST_WHO : 0))
        world_wrong(p->world, "message %u is said to be delivered %u times", message, m->delivered);
}

bool post_take_report(struct post *p, uint32_t message, struct str octets)
{
    uint64_t id = report_id(p, octets);
    for (size_t i = 0; i < p->report_count; i++)
        if (p->reports[i] == id)
            return false;
    invariant(p->report_count < POST_REPORTS);
    p->reports[p->report_count++] = id;
    count_told(p, message, octets);
    return true;
}

/* ---- Claims -------------------------------------------------------------------------------------
 */

struct post_claim *post_claim_new(struct post *p, unsigned account, unsigned folder)
{
    for (size_t i = 0; i < POST_CLAIMS; i++)
        if (!p->claims[i].used) {
            p->claims[i] = (struct post_claim){.account = account, .folder = folder};
            return &p->claims[i];
        }
    return NULL;
}

struct post_entry *post_find(struct post_box *box, uint32_t uid)
{
    for (size_t i = 0; i < box->count; i++)
        if (box->entries[i].uid == uid)
            return &box->entries[i];
    return NULL;
}

void post_claim_add(struct post *p, struct post_claim *c, uint32_t uid)
{
    struct post_entry *e = post_find(&p->boxes[c->account][c->folder], uid);
    if (!e)
        return;
    invariant(c->count < POST_SHOWN);
    c->uids[c->count] = uid;
    c->flags_of[c->count] = e->flags;
    c->messages[c->count++] = e->message;
}

static bool covers(const struct post_claim *c, unsigned account, unsigned folder, uint32_t uid)
{
    if (!c->used || c->account != account || c->folder != folder)
        return false;
    for (size_t i = 0; i < c->count; i++)
        if (c->uids[i] == uid && uid != 0)
            return true;
    return c->all;
}

static bool same_messages(const struct post_claim *a, const struct post_claim *b)
{
    if (a->account != b->account || a->folder != b->folder)
        return false;
    if (a->all && b->all)
        return true;
    for (size_t i = 0; i < a->count; i++)
        if (covers(b, a->account, a->folder, a->uids[i]))
            return true;
    return (a->all && b->count > 0) || (b->all && a->count > 0);
}

/* What one copies to where another removes may be gone before anybody sees it. */
static bool removes_there(const struct post_claim *a, const struct post_claim *b)
{
    return a->copies && b->removes && a->account == b->account && a->target == b->folder;
}

void post_claim_begin(struct post *p, struct post_claim *c)
{
    c->used = true;
    p->claimed++;
    for (size_t i = 0; i < POST_CLAIMS; i++) {
        struct post_claim *other = &p->claims[i];
        if (!other->used || other == c)
            continue;
        if (same_messages(c, other) || removes_there(c, other) || removes_there(other, c))
            c->contested = other->contested = true;
    }
}

void post_claim_end(struct post_claim *c, bool good)
{
    if (!c)
        return;
    c->ended = true;
    c->good = good;
}

static bool may_change(const struct post *p, unsigned account, unsigned folder, uint32_t uid,
                       uint32_t set, uint32_t cleared)
{
    for (size_t i = 0; i < POST_CLAIMS; i++) {
        const struct post_claim *c = &p->claims[i];
        if (!covers(c, account, folder, uid))
            continue;
        set &= ~c->set;
        cleared &= ~c->clear;
    }
    return set == 0 && cleared == 0;
}

static void note_gone(struct post_claim *c, uint32_t uid)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->uids[i] == uid)
            c->gone[i] = true;
}

/* Only what is moved has to be elsewhere then. */
static bool may_go(struct post *p, unsigned account, unsigned folder, const struct post_entry *e)
{
    bool deleted =
        (e->flags & ENTRY_DELETED) != 0 || may_change(p, account, folder, e->uid, ENTRY_DELETED, 0);
    bool may = false, expunged = false;
    for (size_t i = 0; i < POST_CLAIMS; i++) {
        struct post_claim *c = &p->claims[i];
        if (!covers(c, account, folder, e->uid) || !c->removes || (c->deleted_only && !deleted))
            continue;
        may = true;
        expunged |= !c->copies;
    }
    for (size_t i = 0; i < POST_CLAIMS && may && !expunged; i++)
        if (covers(&p->claims[i], account, folder, e->uid) && p->claims[i].copies)
            note_gone(&p->claims[i], e->uid);
    return may;
}

/* How well it fits to what a claim copies: 0 not at all. */
static int fits(const struct post_claim *c, size_t n, const struct entry_brief *f, uint32_t message)
{
    if (c->messages[n] != message || c->arrived[n] != 0 ||
        (c->news[n] != 0 && c->news[n] != f->uid))
        return 0;
    return 2 * (c->news[n] == f->uid ? 3 : c->ended ? 2 : 1) + (f->flags == c->flags_of[n]);
}

/* Who expects a copy of that message in the mailbox: of several, who was said to be done, or else
 * whose flags it has. */
static struct post_claim *expecting(struct post *p, unsigned account, unsigned folder,
                                    const struct entry_brief *f, uint32_t message,
                                    size_t *ret_place)
{
    struct post_claim *best = NULL;
    size_t place = 0;
    for (size_t i = 0; i < POST_CLAIMS; i++) {
        struct post_claim *c = &p->claims[i];
        if (!c->used || !c->copies || c->account != account || c->target != folder)
            continue;
        for (size_t n = 0; n < c->count; n++)
            if (fits(c, n, f, message) > (best ? fits(best, place, f, message) : 0)) {
                best = c;
                place = n;
            }
    }
    *ret_place = place;
    return best;
}

static bool was_copied(struct post *p, unsigned account, unsigned folder,
                       const struct entry_brief *f, uint32_t message)
{
    size_t place;
    struct post_claim *c = expecting(p, account, folder, f, message, &place);
    if (!c)
        return false;
    if (f->flags != c->flags_of[place] && !c->contested)
        world_wrong(p->world, "message %u came to %s with flags %x, not %x", message,
                    world_names[account], f->flags, c->flags_of[place]);
    c->arrived[place] = f->uid;
    return true;
}

/* Two may copy the same message, and the first copy be seen before either has its answer: whose
 * it was is known only now, and the other one has what was taken for this one's. */
void post_claim_copied(struct post *p, struct post_claim *c, size_t n, uint32_t uid)
{
    uint32_t taken = c->arrived[n];
    c->news[n] = uid;
    if (taken == uid)
        return;
    for (size_t i = 0; i < POST_CLAIMS; i++) {
        struct post_claim *other = &p->claims[i];
        if (!other->used || !other->copies || other->account != c->account ||
            other->target != c->target)
            continue;
        for (size_t k = 0; k < other->count; k++)
            if (other->arrived[k] == uid)
                other->arrived[k] = 0;
    }
    c->arrived[n] = uid <= p->boxes[c->account][c->target].uid_last ? uid : 0;
    size_t place;
    const struct entry_brief f = {.uid = taken, .flags = c->flags_of[n]};
    struct post_claim *other =
        taken == 0 ? NULL : expecting(p, c->account, c->target, &f, c->messages[n], &place);
    if (other && other != c)
        other->arrived[place] = taken;
}

static void check_stored(struct post *p, const struct post_claim *c, const struct post_entry *e)
{
    if ((e->flags & c->set & ~c->clear) != (c->set & ~c->clear) || (e->flags & c->clear & ~c->set))
        world_wrong(p->world, "UID %u of %s: flags %x are not what was answered OK: +%x -%x",
                    e->uid, world_names[c->account], e->flags, c->set, c->clear);
}

/* Where it is, as its reply said. */
static void check_copied(struct post *p, const struct post_claim *c, size_t n)
{
    struct post_entry *e = post_find(&p->boxes[c->account][c->target], c->news[n]);
    if (c->news[n] != 0 && (!e || e->message != c->messages[n]))
        world_wrong(p->world, "message %u of %s is not UID %u of %s, as was answered",
                    c->messages[n], world_names[c->account], c->news[n], world_folders[c->target]);
}

static void check_answered(struct post *p, const struct post_claim *c)
{
    struct post_box *box = &p->boxes[c->account][c->folder];
    for (size_t n = 0; n < c->count; n++) {
        struct post_entry *e = post_find(box, c->uids[n]);
        if (c->copies)
            check_copied(p, c, n);
        if (e && c->removes && (!c->deleted_only || (e->flags & ENTRY_DELETED)))
            world_wrong(p->world, "UID %u of %s in %s was removed and is still there", e->uid,
                        world_names[c->account], world_folders[c->folder]);
        if (e)
            check_stored(p, c, e);
    }
}

static void check_claims(struct post *p)
{
    for (size_t i = 0; i < POST_CLAIMS; i++) {
        struct post_claim *c = &p->claims[i];
        for (size_t n = 0; c->used && n < c->count; n++)
            if (c->gone[n] && c->arrived[n] == 0 && !c->contested)
                world_wrong(p->world, "message %u of %s is lost by a move", c->messages[n],
                            world_names[c->account]);
        if (c->used && c->ended && c->good && !c->contested)
            check_answered(p, c);
        if (c->used && c->ended) {
            p->contested += c->contested;
            c->used = false;
        }
    }
}

/* ---- Looking ------------------------------------------------------------------------------------
 */

/* fresh: a report is one that was not seen before. */
static uint32_t read_whole(struct post *p, unsigned account, unsigned folder, uint32_t uid,
                           bool fresh)
{
    struct world *w = p->world;
    struct body_reader reader;
    struct arena arena;
    struct message_record record;
    struct buf stored;
    arena_init(&arena, 1 << 16);
    body_reader_init(&reader);
    buf_init(&stored, OCTETS_MAX);
    if (read_message(w->reader, w->boxes[account][folder], uid, &arena, &record) != STATUS_OK ||
        body_read(&reader, w->reader, &record, 0, UINT64_MAX, &stored) != STATUS_OK)
        world_wrong(w, "UID %u of %s cannot be read", uid, world_names[account]);
    uint32_t message = post_identify(p, account, buf_str(&stored));
    if (fresh && (message & POST_REPORT) &&
        !post_take_report(p, message & ~(uint32_t)POST_REPORT, buf_str(&stored)))
        world_wrong(w, "a report came to %s again, as UID %u", world_names[account], uid);
    buf_release(&stored);
    body_reader_release(&reader);
    arena_reset(&arena);
    return message;
}

static bool was_delivered(struct post *p, unsigned account, uint32_t message, uint32_t uid)
{
    struct post_message *m = &p->messages[message & ~(uint32_t)POST_REPORT];
    if (message & POST_REPORT) {
        read_whole(p, account, 0, uid, true);
        return m->sender == POST_ACCOUNTS + account;
    }
    if (m->states[account] != POST_OFFERED && m->states[account] != POST_KEPT)
        return false;
    return m->copies[account]++ == 0;
}

static void arrived(struct post *p, unsigned account, unsigned folder, const struct entry_brief *f)
{
    struct post_box *box = &p->boxes[account][folder];
    uint32_t message = read_whole(p, account, folder, f->uid, false);
    if (f->uid <= box->uid_last)
        world_wrong(p->world, "UID %u of %s was given again", f->uid, world_names[account]);
    if (!was_copied(p, account, folder, f, message) &&
        (folder != 0 || !was_delivered(p, account, message, f->uid)))
        world_wrong(p->world, "message %u came to %s's %s and should not, or again", message,
                    world_names[account], world_folders[folder]);
    invariant(box->count < POST_SHOWN);
    box->entries[box->count++] = (struct post_entry){
        .uid = f->uid, .message = message, .flags = f->flags, .modseq = f->modseq};
    box->uid_last = f->uid;
}

static void compare_entry(struct post *p, unsigned account, unsigned folder, struct post_entry *e,
                          const struct entry_brief *f)
{
    if (f->flags == e->flags && f->modseq == e->modseq)
        return;
    if (!may_change(p, account, folder, e->uid, f->flags & ~e->flags, e->flags & ~f->flags))
        world_wrong(p->world, "UID %u of %s: flags %x became %x, and nobody asked for it", e->uid,
                    world_names[account], e->flags, f->flags);
    if (f->modseq < e->modseq || (f->flags != e->flags && f->modseq == e->modseq))
        world_wrong(p->world, "UID %u of %s: mod-sequence %llu behind %llu", e->uid,
                    world_names[account], (unsigned long long)f->modseq,
                    (unsigned long long)e->modseq);
    e->flags = f->flags;
    e->modseq = f->modseq;
}

/* Entries that are known must come first, in their order; only those may be missing that somebody
 * wanted removed. */
static void compare(struct post *p, unsigned account, unsigned folder,
                    const struct entry_brief *found, size_t count)
{
    struct post_box *box = &p->boxes[account][folder];
    size_t kept = 0, at = 0, known = box->count;
    for (size_t i = 0; i < known; i++) {
        struct post_entry e = box->entries[i];
        if (at < count && found[at].uid == e.uid) {
            compare_entry(p, account, folder, &e, &found[at++]);
            box->entries[kept++] = e;
        } else if (!may_go(p, account, folder, &e)) {
            world_wrong(p->world, "message %u, UID %u of %s in %s, is gone", e.message, e.uid,
                        world_names[account], world_folders[folder]);
        }
    }
    box->count = kept;
    for (; at < count; at++)
        arrived(p, account, folder, &found[at]);
}

static void check_counts(struct post *p, unsigned account, unsigned folder)
{
    struct world *w = p->world;
    struct post_box *box = &p->boxes[account][folder];
    struct arena arena;
    struct mailbox_record record;
    uint32_t unseen = 0, deleted = 0;
    arena_init(&arena, 1 << 16);
    if (read_mailbox(w->reader, w->accounts[account], w->boxes[account][folder], &arena, &record) !=
        STATUS_OK)
        world_wrong(w, "a mailbox of %s cannot be read", world_names[account]);
    for (size_t i = 0; i < box->count; i++) {
        unseen += !(box->entries[i].flags & ENTRY_SEEN);
        deleted += (box->entries[i].flags & ENTRY_DELETED) != 0;
        if (box->entries[i].modseq > record.modseq)
            world_wrong(w, "UID %u of %s is changed later than its mailbox", box->entries[i].uid,
                        world_names[account]);
    }
    if (record.messages != box->count || record.unseen != unseen || record.deleted != deleted ||
        record.uidnext <= box->uid_last || record.modseq < box->modseq ||
        (box->uidvalidity != 0 && record.uidvalidity != box->uidvalidity))
        world_wrong(w, "%s, %s: %u messages, %u unseen, next %u, should be %zu, %u, above %u",
                    world_names[account], world_folders[folder], record.messages, record.unseen,
                    record.uidnext, box->count, unseen, box->uid_last);
    box->uidvalidity = record.uidvalidity;
    box->modseq = record.modseq;
    box->uid_last = record.uidnext - 1;
    arena_reset(&arena);
}

static void check_box(struct post *p, unsigned account, unsigned folder, bool whole)
{
    struct world *w = p->world;
    struct entry_brief found[POST_SHOWN];
    size_t count = 0;
    if (read_entries(w->reader, w->boxes[account][folder], 0, found, POST_SHOWN, &count) !=
        STATUS_OK)
        world_wrong(w, "the entries of %s cannot be read", world_names[account]);
    for (size_t i = 0; i < count; i++)
        found[i].flags &= ENTRY_FLAGS_STORED;
    compare(p, account, folder, found, count);
    check_counts(p, account, folder);
    for (size_t i = 0; whole && i < count; i++)
        if (read_whole(p, account, folder, found[i].uid, false) !=
            p->boxes[account][folder].entries[i].message)
            world_wrong(w, "UID %u of %s is another message now", found[i].uid,
                        world_names[account]);
}

static void check_kept(struct post *p, unsigned account)
{
    for (uint32_t i = 1; i <= p->count; i++) {
        const struct post_message *m = &p->messages[i];
        if (m->states[account] == POST_KEPT && m->copies[account] == 0 &&
            !(m->excused >> account & 1))
            world_wrong(p->world, "message %u was answered 250 and is not with %s", i,
                        world_names[account]);
    }
}

/* Those that somebody is sending. */
static size_t count_busy(const struct post *p)
{
    size_t count = 0;
    for (uint32_t i = 1; i <= p->count; i++)
        count += p->messages[i].busy;
    return count;
}

/* Changes with each commit. */
static int64_t version(struct post *p)
{
    struct query *q = db_query(p->world->reader, "PRAGMA data_version");
    int64_t number = query_next(q) ? query_int(q, 0) : 0;
    invariant(query_end(q) == STATUS_OK);
    return number;
}

/* How many bodies may be there in part: of messages under way, and any that a full disk kept from
 * being removed, until the next commit. */
static size_t count_staged(struct post *p)
{
    int64_t now = version(p);
    if (disk_was_full())
        p->full_version = now;
    return now == p->full_version ? SIZE_MAX / 2 : count_busy(p);
}

/* INBOX last: what is copied there is not taken for a delivery. */
void post_check(struct post *p, bool whole)
{
    struct diag why = {0};
    size_t staged = count_staged(p);
    for (unsigned i = 0; i < WORLD_ACCOUNTS; i++) {
        for (unsigned f = 0; f < WORLD_FOLDERS; f++)
            check_box(p, i, f, whole);
        check_kept(p, i);
    }
    check_claims(p);
    if (whole && !model_is_sound(p->world->reader, staged, &why))
        world_wrong(p->world, "%s", why.words);
}
