#include "store/read.h"

#include "store/rows.h"

/* ---- Entries -----------------------------------------------------------------------------------
 */

/* length() of a stored value needs no copy of it. */
#define BRIEF_COLUMNS                                                                              \
    "SELECT uid, flags, modseq, size, length(keywords) > 0, expunged_ms IS NOT NULL FROM entry "

static size_t brief_rows(struct query *q, struct entry_brief *entries, size_t cap)
{
    size_t count = 0;
    while (count < cap && query_next(q))
        entries[count++] = (struct entry_brief){
            .uid = (uint32_t)query_int(q, 0),
            .flags = (uint32_t)query_int(q, 1) | (query_int(q, 4) ? ENTRY_HAS_KEYWORDS : 0) |
                     (query_int(q, 5) ? ENTRY_EXPUNGED : 0),
            .modseq = (uint64_t)query_int(q, 2),
            .size = (uint64_t)query_int(q, 3),
        };
    return count;
}

enum status_code read_entries(struct db *db, uint64_t mailbox, uint32_t after,
                              struct entry_brief *entries, size_t cap, size_t *ret_count)
{
    struct query *q = db_query(db, BRIEF_COLUMNS "WHERE mailbox = $mailbox AND uid > $after "
                                                 "AND expunged_ms IS NULL ORDER BY uid");
    query_bind_int(q, "$mailbox", (int64_t)mailbox);
    query_bind_int(q, "$after", after);
    *ret_count = brief_rows(q, entries, cap);
    return query_end(q);
}

enum status_code read_changes(struct db *db, uint64_t mailbox, uint64_t since, uint32_t first,
                              uint32_t last, struct entry_brief *entries, size_t cap,
                              size_t *ret_count)
{
    struct query *q = db_query(db, BRIEF_COLUMNS "WHERE mailbox = $mailbox "
                                                 "AND uid BETWEEN $first AND $last "
                                                 "AND modseq > $since ORDER BY uid");
    query_bind_int(q, "$mailbox", (int64_t)mailbox);
    query_bind_int(q, "$first", first);
    query_bind_int(q, "$last", last);
    query_bind_int(q, "$since", (int64_t)since);
    *ret_count = brief_rows(q, entries, cap);
    return query_end(q);
}

/* ---- Messages ----------------------------------------------------------------------------------
 */

static struct message_record message_row(const struct query *q, struct arena *a,
                                         enum status_code *status)
{
    struct message_record m = {
        .flags = (uint32_t)query_int(q, 0),
        .modseq = (uint64_t)query_int(q, 1),
        .email = (uint64_t)query_int(q, 2),
        .thread = (uint64_t)query_int(q, 3),
        .body = (uint64_t)query_int(q, 4),
        .size = (uint64_t)query_int(q, 5),
        .body_size = (uint64_t)query_int(q, 6),
        .internal_ms = query_int(q, 7),
        .received_ms = query_int(q, 8),
        .sent_ms = query_int(q, 9),
        .parser_version = (uint32_t)query_int(q, 10),
        .keywords = row_bytes(q, 11, a, status),
        .prefix = row_bytes(q, 12, a, status),
        .trace_id = row_bytes(q, 13, a, status),
    };
    if (!str_empty(m.keywords))
        m.flags |= ENTRY_HAS_KEYWORDS;
    if (*status == STATUS_OK && m.size != m.prefix.len + m.body_size)
        *status = STATUS_CORRUPT;
    return m;
}

enum status_code read_message(struct db *db, uint64_t mailbox, uint32_t uid, struct arena *a,
                              struct message_record *ret_message)
{
    struct query *q = db_query(
        db, "SELECT n.flags, n.modseq, n.email, e.thread, e.body, n.size, e.size, n.internal_ms, "
            "e.received_ms, e.sent_ms, e.parser_version, n.keywords, n.prefix, e.trace_id "
            "FROM entry n JOIN email e ON e.id = n.email "
            "WHERE n.mailbox = $mailbox AND n.uid = $uid AND n.expunged_ms IS NULL");
    query_bind_int(q, "$mailbox", (int64_t)mailbox);
    query_bind_int(q, "$uid", uid);
    enum status_code read = STATUS_NOT_FOUND;
    struct message_record m = {0};
    if (query_next(q)) {
        read = STATUS_OK;
        m = message_row(q, a, &read);
    }
    enum status_code status = row_status(query_end(q), read);
    if (status == STATUS_OK) {
        m.mailbox = mailbox;
        m.uid = uid;
        *ret_message = m;
    }
    return status;
}

enum status_code read_structure(struct db *db, uint64_t email, struct buf *out)
{
    struct query *q = db_query(db, "SELECT structure FROM email WHERE id = $id");
    query_bind_int(q, "$id", (int64_t)email);
    enum status_code read = STATUS_NOT_FOUND;
    if (query_next(q))
        read = buf_append_str(out, query_bytes(q, 0)) ? STATUS_OK : STATUS_TOO_BIG;
    return row_status(query_end(q), read);
}

/* ---- Search ------------------------------------------------------------------------------------
 */

void signatures_begin(struct signature_scan *scan, struct db *db, uint64_t mailbox, uint32_t after)
{
    scan->query = db_query(db, "SELECT n.uid, e.parser_version, e.id, e.signature, n.prefix "
                               "FROM entry n CROSS JOIN email e ON e.id = n.email "
                               "WHERE n.mailbox = $mailbox AND n.uid > $after "
                               "AND n.expunged_ms IS NULL ORDER BY n.uid");
    query_bind_int(scan->query, "$mailbox", (int64_t)mailbox);
    query_bind_int(scan->query, "$after", after);
}

bool signatures_next(struct signature_scan *scan, struct signature_row *ret_row)
{
    if (!query_next(scan->query))
        return false;
    *ret_row = (struct signature_row){
        .uid = (uint32_t)query_int(scan->query, 0),
        .parser_version = (uint32_t)query_int(scan->query, 1),
        .email = (uint64_t)query_int(scan->query, 2),
        .signature = query_bytes(scan->query, 3),
        .prefix = query_bytes(scan->query, 4),
    };
    return true;
}

enum status_code signatures_end(struct signature_scan *scan)
{
    return query_end(scan->query);
}

/* ---- Traces and numbers -------------------------------------------------------------------------
 */

enum status_code read_trace(struct db *db, struct str trace_id, struct arena *a,
                            struct trace_record **ret_steps, size_t *ret_count)
{
    struct query *q =
        db_query(db, "SELECT at_ms, step, words FROM trace WHERE trace_id = $trace_id ORDER BY id");
    query_bind_words(q, "$trace_id", trace_id);
    struct buf rows;
    buf_init(&rows, ROWS_SIZE_MAX);
    enum status_code status = STATUS_OK;
    while (status == STATUS_OK && query_next(q)) {
        struct trace_record row = {.at_ms = query_int(q, 0),
                                   .step = row_bytes(q, 1, a, &status),
                                   .words = text_from(row_bytes(q, 2, a, &status))};
        buf_append(&rows, &row, sizeof row);
    }
    status = row_status(query_end(q), status);
    if (status == STATUS_OK && rows.len == 0)
        status = STATUS_NOT_FOUND;
    void *list = NULL;
    status = rows_to_arena(&rows, sizeof(struct trace_record), status, a, &list, ret_count);
    if (status == STATUS_OK)
        *ret_steps = list;
    return status;
}

enum status_code read_commit_number(struct db *db, uint64_t *ret_number)
{
    struct query *q = db_query(db, "SELECT commit_number FROM counter WHERE id = 1");
    if (query_next(q))
        *ret_number = (uint64_t)query_int(q, 0);
    return query_end(q);
}
