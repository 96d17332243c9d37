#include "store/write.h"

#include "base/limits.h"

enum status_code writer_begin(struct writer *w)
{
    enum status_code status = db_begin(w->db);
    if (status != STATUS_OK)
        return status;
    struct query *q =
        db_query(w->db, "SELECT next_id, commit_number, uidvalidity, waiting, held FROM counter "
                        "WHERE id = 1");
    enum status_code read = STATUS_CORRUPT;
    if (query_next(q)) {
        w->next_id = (uint64_t)query_int(q, 0);
        w->commit_number = (uint64_t)query_int(q, 1) + 1;
        w->uidvalidity = (uint32_t)query_int(q, 2);
        w->waiting = (uint64_t)query_int(q, 3);
        w->held = (uint64_t)query_int(q, 4);
        read = STATUS_OK;
    }
    status = query_end(q);
    if (status == STATUS_OK)
        status = read;
    if (status != STATUS_OK)
        db_rollback(w->db);
    return status;
}

enum status_code writer_commit(struct writer *w)
{
    struct query *q = db_query(w->db, "UPDATE counter SET next_id = $next_id, "
                                      "commit_number = $commit, uidvalidity = $uidvalidity, "
                                      "waiting = $waiting, held = $held WHERE id = 1");
    query_bind_int(q, "$next_id", (int64_t)w->next_id);
    query_bind_int(q, "$commit", (int64_t)w->commit_number);
    query_bind_int(q, "$uidvalidity", w->uidvalidity);
    query_bind_int(q, "$waiting", (int64_t)w->waiting);
    query_bind_int(q, "$held", (int64_t)w->held);
    enum status_code status = query_run(q);
    if (status == STATUS_OK)
        return db_commit(w->db);
    db_rollback(w->db);
    return status;
}

void writer_rollback(struct writer *w)
{
    db_rollback(w->db);
}

/* One transaction's part of the first body there is. */
static enum status_code remove_staged(struct writer *w, bool *ret_more)
{
    unsigned chunks = LIMIT_VAULT_CHUNKS;
    uint64_t body = 0;
    struct query *q = db_query(w->db, "SELECT body FROM staging ORDER BY body LIMIT 1");
    if (query_next(q))
        body = (uint64_t)query_int(q, 0);
    enum status_code status = query_end(q);
    *ret_more = body != 0;
    if (status == STATUS_OK && body != 0)
        status = body_remove(w, body, &chunks);
    return status == STATUS_OK && body != 0 && chunks > 0 ? staging_end(w, body) : status;
}

enum status_code writer_remove_staged(struct writer *w)
{
    bool more = true;
    while (more) {
        enum status_code status = writer_begin(w);
        if (status != STATUS_OK)
            return status;
        status = remove_staged(w, &more);
        if (status == STATUS_OK && more) {
            status = writer_commit(w);
        } else {
            writer_rollback(w);
        }
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}
