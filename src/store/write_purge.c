#include "base/limits.h"
#include "store/queue_write.h"
#include "store/write.h"

/*
 * Removing for good. A body lives as long as an email or a queue row points at it, an email as
 * long as an entry does: found by looking, so no count can be wrong.
 */

enum {
    ENTRIES_PER_SLICE = 200,
    TRACES_PER_SLICE = 1000,
    PAGES_PER_SLICE = 256,
    MINUTE_MS = 60 * 1000
};

struct purge_row {
    uint64_t mailbox;
    uint32_t uid;
    uint64_t email;
};

static enum status_code exists(struct query *q, bool *ret_exists)
{
    *ret_exists = query_next(q);
    return query_end(q);
}

/* The body that nothing but this entry keeps; 0 where others need it. */
static enum status_code last_body(struct writer *w, const struct purge_row *row, uint64_t *ret_body)
{
    struct query *q = db_query(
        w->db, "SELECT e.body FROM email e WHERE e.id = $email "
               "AND NOT EXISTS (SELECT 1 FROM entry WHERE email = $email "
               "AND (mailbox <> $mailbox OR uid <> $uid)) "
               "AND NOT EXISTS (SELECT 1 FROM email o WHERE o.body = e.body AND o.id <> $email) "
               "AND NOT EXISTS (SELECT 1 FROM outgoing WHERE body = e.body)");
    query_bind_int(q, "$email", (int64_t)row->email);
    query_bind_int(q, "$mailbox", (int64_t)row->mailbox);
    query_bind_int(q, "$uid", row->uid);
    *ret_body = query_next(q) ? (uint64_t)query_int(q, 0) : 0;
    return query_end(q);
}

/* The body first: the entry leads to what one slice leaves of it. */
static enum status_code purge_entry(struct writer *w, const struct purge_row *row, unsigned *chunks)
{
    uint64_t body = 0;
    enum status_code status = last_body(w, row, &body);
    if (status == STATUS_OK && body != 0)
        status = body_remove(w, body, chunks);
    if (status != STATUS_OK || *chunks == 0)
        return status;
    struct query *q = db_query(w->db, "DELETE FROM entry WHERE mailbox = $mailbox AND uid = $uid");
    query_bind_int(q, "$mailbox", (int64_t)row->mailbox);
    query_bind_int(q, "$uid", row->uid);
    status = query_run(q);
    if (status != STATUS_OK)
        return status;
    q = db_query(w->db, "DELETE FROM email WHERE id = $email "
                        "AND NOT EXISTS (SELECT 1 FROM entry WHERE email = $email)");
    query_bind_int(q, "$email", (int64_t)row->email);
    return query_run(q);
}

static enum status_code purge_rows(struct writer *w, struct query *q, size_t *ret_count)
{
    struct purge_row rows[ENTRIES_PER_SLICE];
    unsigned chunks = LIMIT_VAULT_CHUNKS;
    size_t count = 0;
    while (count < ENTRIES_PER_SLICE && query_next(q))
        rows[count++] = (struct purge_row){(uint64_t)query_int(q, 0), (uint32_t)query_int(q, 1),
                                           (uint64_t)query_int(q, 2)};
    enum status_code status = query_end(q);
    for (size_t i = 0; status == STATUS_OK && i < count && chunks > 0; i++)
        status = purge_entry(w, &rows[i], &chunks);
    *ret_count = count;
    return status;
}

static enum status_code purge_expunged(struct writer *w, int64_t before_ms, size_t *ret_count)
{
    struct query *q = db_query(w->db, "SELECT mailbox, uid, email FROM entry "
                                      "WHERE expunged_ms <= $before_ms ORDER BY expunged_ms "
                                      "LIMIT $limit");
    query_bind_int(q, "$before_ms", before_ms);
    query_bind_int(q, "$limit", ENTRIES_PER_SLICE);
    return purge_rows(w, q, ret_count);
}

static const char *const mailbox_removals[] = {
    "DELETE FROM keyword WHERE mailbox = $id",
    "DELETE FROM mailbox_right WHERE mailbox = $id",
    "DELETE FROM mailbox WHERE id = $id",
    "DELETE FROM account WHERE removed_ms IS NOT NULL AND id = $id",
};

static enum status_code run_removals(struct writer *w, size_t first, size_t last, uint64_t id)
{
    enum status_code status = STATUS_OK;
    for (size_t i = first; status == STATUS_OK && i <= last; i++) {
        struct query *q = db_query(w->db, mailbox_removals[i]);
        query_bind_int(q, "$id", (int64_t)id);
        status = query_run(q);
    }
    return status;
}

/* A removed account ends with its last mailbox. */
static enum status_code purge_empty_mailbox(struct writer *w, uint64_t mailbox, uint64_t account)
{
    bool more = true;
    enum status_code status = run_removals(w, 0, 2, mailbox);
    if (status != STATUS_OK)
        return status;
    struct query *q = db_query(w->db, "SELECT 1 FROM mailbox WHERE account = $account LIMIT 1");
    query_bind_int(q, "$account", (int64_t)account);
    status = exists(q, &more);
    return status == STATUS_OK && !more ? run_removals(w, 3, 3, account) : status;
}

static enum status_code purge_mailbox(struct writer *w, int64_t before_ms, size_t *ret_count)
{
    uint64_t mailbox = 0, account = 0;
    struct query *q = db_query(w->db, "SELECT id, account FROM mailbox "
                                      "WHERE removed_ms <= $before_ms ORDER BY removed_ms LIMIT 1");
    query_bind_int(q, "$before_ms", before_ms);
    if (query_next(q)) {
        mailbox = (uint64_t)query_int(q, 0);
        account = (uint64_t)query_int(q, 1);
    }
    enum status_code status = query_end(q);
    *ret_count = 0;
    if (status != STATUS_OK || mailbox == 0)
        return status;
    q = db_query(w->db,
                 "SELECT mailbox, uid, email FROM entry WHERE mailbox = $mailbox LIMIT $limit");
    query_bind_int(q, "$mailbox", (int64_t)mailbox);
    query_bind_int(q, "$limit", ENTRIES_PER_SLICE);
    status = purge_rows(w, q, ret_count);
    if (status != STATUS_OK || *ret_count > 0)
        return status;
    *ret_count = 1;
    return purge_empty_mailbox(w, mailbox, account);
}

/* Traces are in the order of their ids, so the oldest are the first. */
static enum status_code purge_traces(struct writer *w, int64_t before_ms, size_t *ret_count)
{
    struct query *q = db_query(
        w->db, "DELETE FROM trace WHERE id IN (SELECT id FROM trace ORDER BY id LIMIT $limit) "
               "AND at_ms <= $before_ms");
    query_bind_int(q, "$limit", TRACES_PER_SLICE);
    query_bind_int(q, "$before_ms", before_ms);
    enum status_code status = query_run(q);
    *ret_count = status == STATUS_OK ? (size_t)db_changes(w->db) : 0;
    return status;
}

static enum status_code purge_unconfirmed(struct writer *w, int64_t before_ms)
{
    struct query *q = db_query(w->db, "DELETE FROM unconfirmed WHERE at_ms <= $before_ms");
    query_bind_int(q, "$before_ms", before_ms);
    return query_run(q);
}

/* Gives free pages back to the file system. */
static enum status_code shrink(struct writer *w, size_t *ret_count)
{
    int64_t free_pages = 0;
    struct query *q = db_query(w->db, "PRAGMA freelist_count");
    if (query_next(q))
        free_pages = query_int(q, 0);
    enum status_code status = query_end(q);
    *ret_count = free_pages > 8 * PAGES_PER_SLICE ? PAGES_PER_SLICE : 0;
    if (status != STATUS_OK || *ret_count == 0)
        return status;
    return query_run(db_query(w->db, "PRAGMA incremental_vacuum(256)"));
}

enum status_code purge_slice(struct writer *w, int64_t now_ms, int64_t retention_ms, bool *ret_more)
{
    size_t count = 0;
    enum status_code status = purge_expunged(w, now_ms - retention_ms, &count);
    if (status == STATUS_OK && count == 0)
        status = purge_mailbox(w, now_ms - retention_ms, &count);
    if (status == STATUS_OK && count == 0)
        status = purge_traces(w, now_ms - LIMIT_TRACE_MS, &count);
    /* Once an hour: what is old of the queue is found by looking at all there is. */
    if (status == STATUS_OK && count == 0 && now_ms / MINUTE_MS % 60 == 0)
        status = queue_purge(w, now_ms, &count);
    if (status == STATUS_OK && count == 0)
        status = shrink(w, &count);
    if (status == STATUS_OK && count == 0)
        status = purge_unconfirmed(w, now_ms - LIMIT_RETRANSMISSION_MS);
    *ret_more = count > 0;
    return status;
}
