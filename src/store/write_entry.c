#include <stdlib.h>

#include "base/arena.h"
#include "base/limits.h"
#include "codec/utf8.h"
#include "store/write.h"

/* ---- Who may, and what -------------------------------------------------------------------------
 */

enum status_code mailbox_access(struct writer *w, uint64_t actor, uint64_t mailbox,
                                struct mailbox_access *ret_access)
{
    struct query *q = db_query(
        w->db, "SELECT m.account, m.parent, m.modseq, m.uidvalidity, m.uidnext, m.recent_uid, "
               "m.selectable, m.special_use, CASE WHEN m.account = $actor THEN -1 ELSE "
               "coalesce((SELECT r.rights FROM mailbox_right r WHERE r.account = $actor "
               "AND r.mailbox = m.id), 0) END FROM mailbox m WHERE m.id = $id "
               "AND m.removed_ms IS NULL AND EXISTS (SELECT 1 FROM account WHERE id = $actor "
               "AND disabled = 0 AND removed_ms IS NULL)");
    query_bind_int(q, "$actor", (int64_t)actor);
    query_bind_int(q, "$id", (int64_t)mailbox);
    enum status_code read = STATUS_NOT_FOUND;
    if (query_next(q)) {
        *ret_access = (struct mailbox_access){
            .mailbox = mailbox,
            .account = (uint64_t)query_int(q, 0),
            .parent = (uint64_t)query_int(q, 1),
            .modseq = (uint64_t)query_int(q, 2),
            .uidvalidity = (uint32_t)query_int(q, 3),
            .uidnext = (uint32_t)query_int(q, 4),
            .recent_uid = (uint32_t)query_int(q, 5),
            .selectable = query_int(q, 6) != 0,
            .is_inbox = query_int(q, 7) == SPECIAL_INBOX,
            .rights = (uint32_t)query_int(q, 8) & RIGHT_ALL,
        };
        if (ret_access->rights & RIGHT_LOOKUP)
            read = STATUS_OK;
    }
    enum status_code status = query_end(q);
    return status == STATUS_OK ? read : status;
}

enum status_code account_charge(struct writer *w, uint64_t account, int64_t size, bool check)
{
    struct query *q = db_query(w->db, "UPDATE account SET used = max(used + $size, 0) "
                                      "WHERE id = $id AND ($check = 0 OR quota = 0 "
                                      "OR used + $size <= quota)");
    query_bind_int(q, "$size", size);
    query_bind_int(q, "$id", (int64_t)account);
    query_bind_int(q, "$check", check);
    enum status_code status = query_run(q);
    return status == STATUS_OK && check && db_changes(w->db) == 0 ? STATUS_OVER_QUOTA : status;
}

enum status_code account_expunged(struct writer *w, uint64_t account, int64_t size, int64_t rows)
{
    struct query *q = db_query(w->db, "UPDATE account SET used = max(used - $size, 0), "
                                      "expunged = expunged + $size + $rows WHERE id = $id "
                                      "RETURNING quota > 0 AND expunged > quota");
    query_bind_int(q, "$size", size);
    query_bind_int(q, "$rows", rows * LIMIT_EXPUNGED_ROW_SIZE);
    query_bind_int(q, "$id", (int64_t)account);
    if (query_next(q) && query_int(q, 0))
        w->over = true;
    return query_run(q);
}

/* ---- Slices ------------------------------------------------------------------------------------
 */

static enum status_code select_range(struct writer *w, uint64_t mailbox, struct uid_range range,
                                     struct entry_slice *slice)
{
    struct query *q =
        db_query(w->db, "SELECT n.uid, n.flags, n.modseq, n.size, n.email, e.account, "
                        "length(n.keywords) > 0 FROM entry n CROSS JOIN email e ON e.id = n.email "
                        "WHERE n.mailbox = $mailbox AND n.uid BETWEEN $first AND $last "
                        "AND n.expunged_ms IS NULL ORDER BY n.uid");
    query_bind_int(q, "$mailbox", (int64_t)mailbox);
    query_bind_int(q, "$first", range.first);
    query_bind_int(q, "$last", range.last);
    while (slice->count < slice->cap && query_next(q))
        slice->rows[slice->count++] = (struct entry_row){
            .uid = (uint32_t)query_int(q, 0),
            .flags = (uint32_t)query_int(q, 1),
            .modseq = (uint64_t)query_int(q, 2),
            .size = (uint64_t)query_int(q, 3),
            .email = (uint64_t)query_int(q, 4),
            .email_account = (uint64_t)query_int(q, 5),
            .has_keywords = query_int(q, 6) != 0,
        };
    return query_end(q);
}

/* Empty ranges cost a query each: a slice looks at a bounded number of them too. */
enum { RANGES_PER_ROW = 4 };

enum status_code entries_select(struct writer *w, uint64_t mailbox, const struct uid_range *ranges,
                                size_t count, struct entry_slice *slice)
{
    uint32_t last = 0;
    slice->count = 0;
    for (size_t i = 0; i < count; i++) {
        /* Ascending and apart, so that `through` means something. */
        if (ranges[i].first <= last || ranges[i].last < ranges[i].first)
            return STATUS_INVALID;
        enum status_code status = select_range(w, mailbox, ranges[i], slice);
        if (status != STATUS_OK)
            return status;
        last = ranges[i].last;
        if (slice->count == slice->cap) {
            slice->through = slice->rows[slice->count - 1].uid;
            return STATUS_OK;
        }
        if (i + 1 < count && i + 1 >= slice->cap * RANGES_PER_ROW) {
            slice->through = last;
            return STATUS_OK;
        }
    }
    slice->through = UINT32_MAX;
    return STATUS_OK;
}

/* ---- Changes -----------------------------------------------------------------------------------
 */

enum status_code mailbox_touch(struct writer *w, uint64_t mailbox,
                               const struct mailbox_delta *delta, uint64_t *ret_modseq)
{
    uint32_t first = 0;
    return mailbox_take_uids(w, mailbox, 0, delta, &first, ret_modseq);
}

enum status_code mailbox_take_uids(struct writer *w, uint64_t mailbox, uint32_t count,
                                   const struct mailbox_delta *delta, uint32_t *ret_first,
                                   uint64_t *ret_modseq)
{
    struct query *q =
        db_query(w->db, "UPDATE mailbox SET uidnext = uidnext + $count, modseq = modseq + 1, "
                        "messages = messages + $messages, unseen = unseen + $unseen, "
                        "deleted = deleted + $deleted, size = size + $size WHERE id = $id "
                        "RETURNING uidnext - $count, modseq");
    query_bind_int(q, "$id", (int64_t)mailbox);
    query_bind_int(q, "$count", count);
    query_bind_int(q, "$messages", delta->messages);
    query_bind_int(q, "$unseen", delta->unseen);
    query_bind_int(q, "$deleted", delta->deleted);
    query_bind_int(q, "$size", delta->size);
    enum status_code read = STATUS_CORRUPT;
    if (query_next(q)) {
        *ret_first = (uint32_t)query_int(q, 0);
        *ret_modseq = (uint64_t)query_int(q, 1);
        read = STATUS_OK;
    }
    enum status_code status = query_run(q);
    return status == STATUS_OK ? read : status;
}

enum status_code entry_set_flags(struct writer *w, uint64_t mailbox, uint32_t uid, uint32_t flags,
                                 uint64_t modseq)
{
    struct query *q = db_query(w->db, "UPDATE entry SET flags = $flags, modseq = $modseq "
                                      "WHERE mailbox = $mailbox AND uid = $uid");
    query_bind_int(q, "$flags", flags);
    query_bind_int(q, "$modseq", (int64_t)modseq);
    query_bind_int(q, "$mailbox", (int64_t)mailbox);
    query_bind_int(q, "$uid", uid);
    return query_run(q);
}

enum status_code entry_set_keywords(struct writer *w, uint64_t mailbox, uint32_t uid,
                                    struct str keywords, uint64_t modseq)
{
    struct query *q = db_query(w->db, "UPDATE entry SET keywords = $keywords, modseq = $modseq "
                                      "WHERE mailbox = $mailbox AND uid = $uid");
    query_bind_words(q, "$keywords", keywords);
    query_bind_int(q, "$modseq", (int64_t)modseq);
    query_bind_int(q, "$mailbox", (int64_t)mailbox);
    query_bind_int(q, "$uid", uid);
    return query_run(q);
}

enum status_code entry_expunge(struct writer *w, uint64_t account, uint64_t mailbox, uint32_t uid,
                               int64_t clock_ms, uint64_t modseq)
{
    struct query *q = db_query(w->db, "UPDATE entry SET expunged_ms = $clock_ms, modseq = $modseq, "
                                      "expunged_account = $account "
                                      "WHERE mailbox = $mailbox AND uid = $uid");
    query_bind_int(q, "$account", (int64_t)account);
    query_bind_int(q, "$clock_ms", clock_ms);
    query_bind_int(q, "$modseq", (int64_t)modseq);
    query_bind_int(q, "$mailbox", (int64_t)mailbox);
    query_bind_int(q, "$uid", uid);
    return query_run(q);
}

enum status_code entry_keywords(struct writer *w, uint64_t mailbox, uint32_t uid, struct buf *out)
{
    struct query *q =
        db_query(w->db, "SELECT keywords FROM entry WHERE mailbox = $mailbox AND uid = $uid");
    query_bind_int(q, "$mailbox", (int64_t)mailbox);
    query_bind_int(q, "$uid", uid);
    enum status_code read = STATUS_NOT_FOUND;
    if (query_next(q))
        read = buf_append_str(out, query_bytes(q, 0)) ? STATUS_OK : STATUS_NO_MEMORY;
    enum status_code status = query_end(q);
    return status == STATUS_OK ? read : status;
}

enum status_code entry_copy(struct writer *w, uint64_t mailbox, uint32_t uid, uint64_t email,
                            uint64_t target, uint32_t new_uid, uint64_t modseq, struct str keywords)
{
    struct query *q = db_query(
        w->db, "INSERT INTO entry (mailbox, uid, email, flags, modseq, created_modseq, "
               "internal_ms, size, expunged_ms, keywords, prefix) "
               "SELECT $target, $new_uid, $email, flags, $modseq, $modseq, internal_ms, size, "
               "NULL, $keywords, prefix FROM entry WHERE mailbox = $mailbox AND uid = $uid");
    query_bind_int(q, "$mailbox", (int64_t)mailbox);
    query_bind_int(q, "$uid", uid);
    query_bind_int(q, "$email", (int64_t)email);
    query_bind_int(q, "$target", (int64_t)target);
    query_bind_int(q, "$new_uid", new_uid);
    query_bind_int(q, "$modseq", (int64_t)modseq);
    query_bind_words(q, "$keywords", keywords);
    return query_run(q);
}

/* ---- Keywords ----------------------------------------------------------------------------------
 */

struct keyword {
    struct str folded;
    struct str name;
};

enum { KEYWORDS_OF_MESSAGE_MAX = LIMIT_KEYWORDS_SIZE / 2 };

/* RFC 3501 §9: flag-keyword is an atom; we keep to ASCII. */
static bool is_keyword(struct str s)
{
    if (str_empty(s) || s.len > LIMIT_MAILBOX_NAME_SIZE)
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] <= ' ' || s.ptr[i] >= 0x7f || str_find_byte(STR("(){%*\"\\]"), s.ptr[i]) >= 0)
            return false;
    return true;
}

static bool fold(struct arena *a, struct str s, struct keyword *ret_keyword)
{
    char *folded = arena_alloc(a, s.len + 1);
    if (!folded)
        return false;
    for (size_t i = 0; i < s.len; i++)
        folded[i] = ascii_lower(s.ptr[i]);
    *ret_keyword = (struct keyword){str_make(folded, s.len), s};
    return true;
}

static int by_folded(const void *a, const void *b)
{
    const struct keyword *left = a, *right = b;
    return str_cmp(left->folded, right->folded);
}

static enum status_code split_keywords(struct str words, struct arena *a, struct keyword *keywords,
                                       size_t *ret_count)
{
    struct str word;
    size_t count = 0;
    if (words.len > LIMIT_KEYWORDS_SIZE)
        return STATUS_TOO_BIG;
    while (str_split(&words, ' ', &word)) {
        if (!is_keyword(word))
            return STATUS_INVALID;
        if (!fold(a, word, &keywords[count++]))
            return STATUS_NO_MEMORY;
    }
    *ret_count = count;
    return STATUS_OK;
}

static enum status_code count_keywords(struct writer *w, uint64_t mailbox, int64_t *ret_count)
{
    struct query *q = db_query(w->db, "SELECT count(*) FROM keyword WHERE mailbox = $mailbox");
    query_bind_int(q, "$mailbox", (int64_t)mailbox);
    if (query_next(q))
        *ret_count = query_int(q, 0);
    return query_end(q);
}

/* The spelling the mailbox uses; the first use decides it. */
static enum status_code spell(struct writer *w, uint64_t mailbox, struct keyword *keyword,
                              struct arena *a)
{
    struct query *q =
        db_query(w->db, "SELECT name FROM keyword WHERE mailbox = $mailbox AND folded = $folded");
    query_bind_int(q, "$mailbox", (int64_t)mailbox);
    query_bind_words(q, "$folded", keyword->folded);
    bool known = query_next(q);
    bool copied = !known || arena_dup(a, query_bytes(q, 0), &keyword->name);
    enum status_code status = query_end(q);
    if (status != STATUS_OK || known)
        return status == STATUS_OK && !copied ? STATUS_NO_MEMORY : status;
    int64_t count = 0;
    status = count_keywords(w, mailbox, &count);
    if (status != STATUS_OK || count >= LIMIT_KEYWORDS)
        return status == STATUS_OK ? STATUS_TOO_BIG : status;
    q = db_query(w->db, "INSERT INTO keyword (mailbox, folded, name) "
                        "VALUES ($mailbox, $folded, $name)");
    query_bind_int(q, "$mailbox", (int64_t)mailbox);
    query_bind_words(q, "$folded", keyword->folded);
    query_bind_words(q, "$name", keyword->name);
    return query_run(q);
}

enum status_code keywords_intern(struct writer *w, uint64_t mailbox, struct text keywords,
                                 struct buf *out)
{
    struct arena arena;
    arena_init(&arena, 64UL * 1024);
    struct keyword *list = arena_alloc_array(&arena, KEYWORDS_OF_MESSAGE_MAX + 1, sizeof *list);
    size_t count = 0;
    enum status_code status =
        list ? split_keywords(text_peek(keywords), &arena, list, &count) : STATUS_NO_MEMORY;
    if (status == STATUS_OK && count > 0)
        qsort(list, count, sizeof *list, by_folded);
    for (size_t i = 0; status == STATUS_OK && i < count; i++) {
        if (i > 0 && str_eq(list[i].folded, list[i - 1].folded))
            continue;
        status = spell(w, mailbox, &list[i], &arena);
        if (out->len > 0)
            buf_append_byte(out, ' ');
        buf_append_str(out, list[i].name);
    }
    arena_reset(&arena);
    return status == STATUS_OK && out->failed ? STATUS_TOO_BIG : status;
}
