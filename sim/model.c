#include "sim/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/limits.h"
#include "store/read.h"

static const struct str PREFIX = {"Return-Path: <>\r\n", 17};

void model_add(struct model_box *box, uint32_t message, uint32_t flags)
{
    invariant(box->count < MODEL_ENTRIES);
    box->entries[box->count++] = (struct model_entry){box->uidnext++, flags, message};
}

void model_remove(struct model_box *box, size_t index)
{
    box->count--;
    memmove(&box->entries[index], &box->entries[index + 1],
            (box->count - index) * sizeof *box->entries);
}

static struct model_waiting *find_waiting(struct model *m, uint32_t number)
{
    for (size_t i = 0; i < m->waiting_count; i++)
        if (m->waiting[i].number == number)
            return &m->waiting[i];
    return NULL;
}

void model_wait(struct model *m, uint32_t number)
{
    invariant(m->waiting_count < MODEL_WAITING);
    m->waiting[m->waiting_count++] = (struct model_waiting){number, 0};
}

bool model_waits(const struct model *m, uint32_t number)
{
    for (size_t i = 0; i < m->waiting_count; i++)
        if (m->waiting[i].number == number)
            return true;
    return false;
}

void model_deferred(struct model *m, uint32_t number)
{
    struct model_waiting *w = find_waiting(m, number);
    if (w)
        w->attempts++;
}

void model_relayed(struct model *m, uint32_t number)
{
    struct model_waiting *w = find_waiting(m, number);
    if (w)
        *w = m->waiting[--m->waiting_count];
}

char *model_message(uint32_t message, size_t *ret_size)
{
    uint64_t seed = message * 0x9E3779B97F4A7C15u + 1;
    size_t size = 60 + message * 37 % 3000;
    if (message % 8 == 7)
        size += 2UL * LIMIT_CHUNK_SIZE;
    char *octets = malloc(size);
    if (!octets)
        bug("no memory");
    size_t at = (size_t)snprintf(octets, size, "Subject: message %u\r\n\r\n", message);
    for (; at < size; at++) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        octets[at] = (char)(' ' + seed % 80);
    }
    *ret_size = size;
    return octets;
}

/* ---- Comparing ----------------------------------------------------------------------------------
 */

static bool same_octets(struct db *db, const struct message_record *record, uint32_t message,
                        struct body_reader *reader)
{
    struct buf out;
    size_t size = 0;
    char *octets = model_message(message, &size);
    buf_init(&out, size + PREFIX.len + 1);
    enum status_code status = body_read(reader, db, record, 0, UINT64_MAX, &out);
    struct str body = str_sub(buf_str(&out), record->prefix.len, SIZE_MAX);
    bool same = status == STATUS_OK && str_eq(body, str_make(octets, size));
    buf_release(&out);
    free(octets);
    return same;
}

static bool bodies_match(const struct model_box *box, struct db *db, struct diag *why)
{
    struct body_reader reader;
    struct arena arena;
    bool good = true;
    body_reader_init(&reader);
    for (size_t i = 0; good && i < box->count; i++) {
        struct message_record record;
        arena_init(&arena, 1 << 16);
        const struct model_entry *e = &box->entries[i];
        good = read_message(db, box->mailbox, e->uid, &arena, &record) == STATUS_OK &&
               same_octets(db, &record, e->message, &reader);
        if (!good)
            diag_set(why, "message %u (UID %u of mailbox %llu) is not whole", e->message, e->uid,
                     (unsigned long long)box->mailbox);
        arena_reset(&arena);
    }
    body_reader_release(&reader);
    return good;
}

static bool counts_match(const struct model_box *box, struct db *db, struct diag *why)
{
    struct arena arena;
    struct mailbox_record record;
    arena_init(&arena, 1 << 16);
    enum status_code status = read_mailbox(db, box->account, box->mailbox, &arena, &record);
    arena_reset(&arena);
    uint32_t unseen = 0;
    for (size_t i = 0; i < box->count; i++)
        unseen += !(box->entries[i].flags & ENTRY_SEEN);
    if (status == STATUS_OK && record.uidnext == box->uidnext && record.messages == box->count &&
        record.unseen == unseen)
        return true;
    diag_set(why, "mailbox %llu: %u messages, %u unseen, next %u; should be %zu, %u, %u (%s)",
             (unsigned long long)box->mailbox, record.messages, record.unseen, record.uidnext,
             box->count, unseen, box->uidnext, status_name(status));
    return false;
}

static bool entries_match(const struct model_box *box, struct db *db, struct diag *why)
{
    struct entry_brief entries[MODEL_ENTRIES + 1];
    size_t count = 0;
    if (read_entries(db, box->mailbox, 0, entries, MODEL_ENTRIES + 1, &count) != STATUS_OK ||
        count != box->count) {
        diag_set(why, "mailbox %llu: %zu entries, should be %zu", (unsigned long long)box->mailbox,
                 count, box->count);
        return false;
    }
    for (size_t i = 0; i < count; i++)
        if (entries[i].uid != box->entries[i].uid || entries[i].flags != box->entries[i].flags) {
            diag_set(why, "mailbox %llu: UID %u flags %u, should be UID %u flags %u",
                     (unsigned long long)box->mailbox, entries[i].uid, entries[i].flags,
                     box->entries[i].uid, box->entries[i].flags);
            return false;
        }
    return true;
}

/* Each yields no row on a sound store. */
static const char *const soundness[] = {
    "SELECT 'quick_check' FROM pragma_quick_check WHERE quick_check <> 'ok'",
    "SELECT 'quota' FROM account a WHERE used <> (SELECT coalesce(sum(n.size), 0) FROM entry n "
    "JOIN mailbox m ON m.id = n.mailbox WHERE m.account = a.id AND m.removed_ms IS NULL AND "
    "n.expunged_ms IS NULL)",
    "SELECT 'mailbox size' FROM mailbox m WHERE m.removed_ms IS NULL AND size <> (SELECT "
    "coalesce(sum(n.size), 0) "
    "FROM entry n WHERE n.mailbox = m.id AND n.expunged_ms IS NULL)",
    "SELECT 'staged body' FROM staging LIMIT 1 OFFSET $arriving",
    "SELECT 'chunk of no message' FROM chunk WHERE id / 65536 NOT IN (SELECT body FROM email "
    "UNION ALL SELECT body FROM outgoing UNION ALL SELECT body FROM staging)",
    "SELECT 'outgoing of no row' FROM outgoing WHERE id NOT IN (SELECT outgoing FROM queue)",
    "SELECT 'row of no outgoing' FROM queue WHERE outgoing NOT IN (SELECT id FROM outgoing)",
    "SELECT 'waiting count' FROM counter WHERE waiting <> (SELECT count(*) FROM queue) "
    "OR held <> (SELECT count(*) FROM queue WHERE held <> 0)",
    /* Nobody would ever come for it. */
    "SELECT 'forgotten row ' || q.id || ', task ' || q.task || ', due ' || q.due_ms || ', its "
    "destination ' || coalesce(d.due_ms, 'never') FROM queue q LEFT JOIN destination d ON d.id = "
    "q.destination "
    "WHERE q.held = 0 AND q.task = 0 AND (d.due_ms IS NULL OR (d.trouble = 0 AND d.due_ms > "
    "q.due_ms))",
    "SELECT 'email of no entry' FROM email WHERE id NOT IN (SELECT email FROM entry)",
    "SELECT 'entry of no email' FROM entry WHERE email NOT IN (SELECT id FROM email)",
};

bool model_is_sound(struct db *db, size_t arriving, struct diag *why)
{
    for (size_t i = 0; i < sizeof soundness / sizeof *soundness; i++) {
        struct query *q = db_query(db, soundness[i]);
        if (strstr(soundness[i], "$arriving"))
            query_bind_int(q, "$arriving", (int64_t)arriving);
        bool found = query_next(q);
        if (found)
            diag_set(why, "the tables disagree: %.*s", STR_ARG(query_bytes(q, 0)));
        if (query_end(q) != STATUS_OK || found)
            return false;
    }
    return true;
}

static bool keys_match(const struct model *m, struct db *db, struct diag *why)
{
    int64_t expected = 0, found = 0;
    for (size_t i = 0; i < MODEL_KEYS; i++)
        expected += m->unconfirmed[i];
    struct query *q = db_query(db, "SELECT count(*) FROM unconfirmed");
    if (query_next(q))
        found = query_int(q, 0);
    if (query_end(q) == STATUS_OK && found == expected)
        return true;
    diag_set(why, "%lld unconfirmed keys, should be %lld", (long long)found, (long long)expected);
    return false;
}

/* One recipient that waits: its row, and behind it the octets of its message. */
static bool waits_whole(const struct model *m, struct db *db, struct query *q, bool bodies)
{
    unsigned number = 0;
    char words[40];
    struct body_reader reader;
    struct message_record record = {.body = (uint64_t)query_int(q, 2),
                                    .size = (uint64_t)query_int(q, 3),
                                    .body_size = (uint64_t)query_int(q, 3)};
    if (!str_to_c(query_bytes(q, 0), words, sizeof words) || sscanf(words, "r%u@", &number) != 1)
        return false;
    for (size_t i = 0; i < m->waiting_count; i++) {
        if (m->waiting[i].number != number)
            continue;
        if (m->waiting[i].attempts != (uint32_t)query_int(q, 1))
            return false;
        body_reader_init(&reader);
        bool whole = !bodies || same_octets(db, &record, number / MODEL_RELAYS, &reader);
        body_reader_release(&reader);
        return whole;
    }
    return false;
}

static bool queue_matches(const struct model *m, struct db *db, bool bodies, struct diag *why)
{
    size_t count = 0;
    struct query *q = db_query(db, "SELECT q.recipient, q.attempts, o.body, o.size FROM queue q "
                                   "JOIN outgoing o ON o.id = q.outgoing");
    bool whole = true;
    for (; whole && query_next(q); count++) {
        whole = waits_whole(m, db, q, bodies);
        if (!whole)
            diag_set(why, "%.*s should not wait, or not so", STR_ARG(query_bytes(q, 0)));
    }
    if (query_end(q) == STATUS_OK && whole && count == m->waiting_count)
        return true;
    if (whole)
        diag_set(why, "%zu recipients wait, should be %zu", count, m->waiting_count);
    return false;
}

bool model_matches(const struct model *m, struct db *db, bool bodies, struct diag *why)
{
    for (size_t i = 0; i < MODEL_BOXES; i++) {
        const struct model_box *box = &m->boxes[i];
        if (!counts_match(box, db, why) || !entries_match(box, db, why) ||
            (bodies && !bodies_match(box, db, why)))
            return false;
    }
    return keys_match(m, db, why) && queue_matches(m, db, bodies, why) &&
           (!bodies || model_is_sound(db, 0, why));
}
