#include "base/limits.h"
#include "store/write.h"

/*
 * After an old copy was put in the place of the store. Clients have seen UIDs, ids and counts that
 * the copy knows nothing of; and mail that left since then would leave again.
 */

enum { IDS_SKIPPED = 1 << 30 };

/* New for every mailbox, and each another, so that no name ever shows one again that it had. */
static enum status_code renew_uidvalidities(struct writer *w, int64_t at_ms)
{
    uint32_t now_s = uidvalidity_of(at_ms);
    uint32_t base = now_s > w->uidvalidity ? now_s : w->uidvalidity;
    struct query *q =
        db_query(w->db, "UPDATE mailbox SET uidvalidity = $base + r.number FROM (SELECT id, "
                        "row_number() OVER (ORDER BY id) AS number FROM mailbox) AS r "
                        "WHERE r.id = mailbox.id");
    query_bind_int(q, "$base", base);
    enum status_code status = query_run(q);
    if (status == STATUS_OK)
        w->uidvalidity = base + (uint32_t)db_changes(w->db);
    return status;
}

static enum status_code hold_queue(struct writer *w, uint64_t *ret_held)
{
    enum status_code status = query_run(db_query(w->db, "UPDATE queue SET held = 1"));
    *ret_held = w->held = w->waiting;
    return status;
}

enum status_code store_restored(struct writer *w, int64_t at_ms, uint64_t *ret_held)
{
    enum status_code status =
        query_run(db_query(w->db, "UPDATE meta SET value = value + 1 WHERE name = 'epoch'"));
    /* An id that somebody has seen since the copy was made is not given out again. */
    w->next_id += IDS_SKIPPED;
    if (status == STATUS_OK)
        status = renew_uidvalidities(w, at_ms);
    return status == STATUS_OK ? hold_queue(w, ret_held) : status;
}
