#include "sim/post.h"

#include <stdio.h>
#include <string.h>

#include "base/bug.h"
#include "base/limits.h"
#include "sim/model.h"
#include "store/read.h"

enum { OCTETS_MAX = 1024 * 1024 };

uint32_t post_make(struct post *p, unsigned whom)
{
    invariant(p->count + 1 < POST_MESSAGES);
    uint32_t message = ++p->count;
    for (unsigned i = 0; i < POST_WHO; i++)
        if (whom >> i & 1)
            p->states[message][i] = POST_WANTED;
    return message;
}

unsigned post_missing(const struct post *p, uint32_t message)
{
    unsigned missing = 0;
    for (unsigned i = 0; i < POST_WHO; i++) {
        uint8_t state = p->states[message][i];
        if (state == POST_WANTED || state == POST_OFFERED)
            missing |= 1u << i;
    }
    return missing;
}

uint32_t post_unfinished(const struct post *p, unsigned whom)
{
    for (uint32_t m = 1; m <= p->count; m++)
        if (!p->busy[m] && (post_missing(p, m) & whom) != 0)
            return m;
    return 0;
}

void post_address(uint32_t message, unsigned who, char out[static 40])
{
    if (who == POST_ELSEWHERE)
        snprintf(out, 40, "m%u@elsewhere.test", message);
    else
        snprintf(out, 40, "%s@sim.test", world_names[who]);
}

static uint64_t next(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed >> 8;
}

/* Lines of noise, some of which begin with a dot; about one message in eight has several chunks. */
void post_octets(uint32_t message, bool dotted, struct buf *out)
{
    uint64_t seed = message * 0x9E3779B97F4A7C15u + 1;
    size_t size = 60 + message * 37 % 3000;
    if (message % 8 == 7)
        size += 2UL * LIMIT_CHUNK_SIZE;
    buf_printf(out,
               "From: carol@example.net\r\nDate: Tue, 1 Jul 2025 10:00:00 +0000\r\n"
               "Message-ID: <m%u@sim>\r\nSubject: message %u\r\n\r\n",
               message, message);
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

/* ---- Looking ------------------------------------------------------------------------------------
 */

/* The message's number; wrong where it is none of ours, or not whole. */
static uint32_t identify(struct post *p, unsigned account, uint32_t uid)
{
    struct world *w = p->world;
    struct body_reader reader;
    struct arena arena;
    struct message_record record;
    struct buf stored, sent;
    arena_init(&arena, 1 << 16);
    body_reader_init(&reader);
    buf_init(&stored, OCTETS_MAX);
    buf_init(&sent, OCTETS_MAX);
    if (read_message(w->reader, w->inboxes[account], uid, &arena, &record) != STATUS_OK ||
        body_read(&reader, w->reader, &record, 0, UINT64_MAX, &stored) != STATUS_OK)
        world_wrong(w, "UID %u of %s cannot be read", uid, world_names[account]);
    struct str rest = buf_str(&stored);
    uint32_t message = post_next_id(&rest);
    if (message == 0 || message > p->count)
        world_wrong(w, "UID %u of %s was never offered", uid, world_names[account]);
    post_octets(message, false, &sent);
    if (!str_starts(buf_str(&stored), STR("Return-Path: <carol@example.net>\r\n")) ||
        !str_ends(buf_str(&stored), buf_str(&sent)) ||
        !str_starts(str_skip(buf_str(&stored), record.prefix.len), STR("Received: from ")))
        world_wrong(w, "message %u, UID %u of %s, is not as it was sent", message, uid,
                    world_names[account]);
    buf_release(&stored);
    buf_release(&sent);
    body_reader_release(&reader);
    arena_reset(&arena);
    return message;
}

static void arrived(struct post *p, unsigned account, uint32_t uid)
{
    struct post_box *box = &p->boxes[account];
    uint32_t message = identify(p, account, uid);
    uint8_t state = p->states[message][account];
    if (state != POST_OFFERED && state != POST_KEPT)
        world_wrong(p->world, "message %u came to %s, for whom it had no final dot", message,
                    world_names[account]);
    if (++p->copies[message][account] > 1)
        world_wrong(p->world, "message %u came to %s again", message, world_names[account]);
    invariant(box->count < POST_SHOWN);
    box->entries[box->count++] = (struct post_entry){.uid = uid, .message = message};
    box->uid_last = uid;
}

/* Entries that are known must come first, in their order; only doomed ones may be missing. */
static void compare(struct post *p, unsigned account, const struct entry_brief *found, size_t count)
{
    struct post_box *box = &p->boxes[account];
    size_t kept = 0, at = 0, known = box->count;
    for (size_t i = 0; i < known; i++) {
        struct post_entry e = box->entries[i];
        if (at < count && found[at].uid == e.uid) {
            box->entries[kept++] = e;
            at++;
        } else if (!e.doomed) {
            world_wrong(p->world, "message %u, UID %u of %s, is gone", e.message, e.uid,
                        world_names[account]);
        }
    }
    box->count = kept;
    for (; at < count; at++) {
        if (found[at].uid <= box->uid_last)
            world_wrong(p->world, "UID %u of %s was given again", found[at].uid,
                        world_names[account]);
        arrived(p, account, found[at].uid);
    }
}

static void check_counts(struct post *p, unsigned account, size_t count)
{
    struct world *w = p->world;
    struct post_box *box = &p->boxes[account];
    struct arena arena;
    struct mailbox_record record;
    arena_init(&arena, 1 << 16);
    if (read_mailbox(w->reader, w->accounts[account], w->inboxes[account], &arena, &record) !=
        STATUS_OK)
        world_wrong(w, "the mailbox of %s cannot be read", world_names[account]);
    if (record.messages != count || record.uidnext <= box->uid_last ||
        (box->uidvalidity != 0 && record.uidvalidity != box->uidvalidity))
        world_wrong(w, "%s: %u messages, next %u, should be %zu and above %u", world_names[account],
                    record.messages, record.uidnext, count, box->uid_last);
    box->uidvalidity = record.uidvalidity;
    arena_reset(&arena);
}

static void check_box(struct post *p, unsigned account, bool whole)
{
    struct world *w = p->world;
    struct entry_brief found[POST_SHOWN];
    size_t count = 0;
    if (read_entries(w->reader, w->inboxes[account], 0, found, POST_SHOWN, &count) != STATUS_OK)
        world_wrong(w, "the entries of %s cannot be read", world_names[account]);
    compare(p, account, found, count);
    check_counts(p, account, count);
    for (size_t i = 0; whole && i < count; i++)
        if (identify(p, account, found[i].uid) != p->boxes[account].entries[i].message)
            world_wrong(w, "UID %u of %s is another message now", found[i].uid,
                        world_names[account]);
    for (uint32_t m = 1; m <= p->count; m++)
        if (p->states[m][account] == POST_KEPT && p->copies[m][account] == 0)
            world_wrong(w, "message %u was answered 250 and is not with %s", m,
                        world_names[account]);
}

void post_check(struct post *p, bool whole)
{
    struct diag why = {0};
    for (unsigned i = 0; i < WORLD_ACCOUNTS; i++)
        check_box(p, i, whole);
    if (whole && !model_is_sound(p->world->reader, &why))
        world_wrong(p->world, "%s", why.words);
}
