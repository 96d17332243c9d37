#include "base/limits.h"
#include "base/str.h"
#include "store/purge_steps.h"
#include "store/write.h"

/*
 * Removing for good. A body lives as long as an email or a queue row points at it, an email as
 * long as an entry does: found by looking, so no count can be wrong.
 */

enum {
    ENTRIES_PER_SLICE = 400, /* which are looked at one by one */
    PIECES_PER_SLICE = 20,
    PAGES_PER_PIECE = 16,
    PAGES_KEPT = 2048, /* free ones, for what comes next */
};

struct purge_row {
    uint64_t mailbox;
    uint32_t uid;
    uint64_t email;
    uint64_t account; /* whose expunged it is; 0: nobody's */
    int64_t size;
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

/* What goes counts no more for its account; rows that follow one another are mostly of one. */
struct tally {
    uint64_t account;
    int64_t size;
};

static enum status_code tally_end(struct writer *w, struct tally *t)
{
    if (t->account == 0 || t->size == 0)
        return STATUS_OK;
    struct query *q = db_query(w->db, "UPDATE account SET expunged = max(expunged - $size, 0) "
                                      "WHERE id = $id");
    query_bind_int(q, "$size", t->size);
    query_bind_int(q, "$id", (int64_t)t->account);
    t->size = 0;
    return query_run(q);
}

static enum status_code tally_add(struct writer *w, struct tally *t, uint64_t account, int64_t size)
{
    enum status_code status = account == t->account ? STATUS_OK : tally_end(w, t);
    t->account = account;
    t->size += size;
    return status;
}

/*
 * A message that goes before its time takes the step of its APPEND along, or else many small ones
 * would leave the more of those. They have the session's trace id: the first of them goes.
 */
static enum status_code forget_append(struct writer *w, const struct purge_row *row)
{
    struct query *q =
        db_query(w->db, "DELETE FROM trace WHERE id = (SELECT t.id FROM email e JOIN trace t "
                        "ON t.trace_id = e.trace_id WHERE e.id = $email AND t.step = 'appended' "
                        "ORDER BY t.id LIMIT 1)");
    query_bind_int(q, "$email", (int64_t)row->email);
    return query_run(q);
}

/* Rows of one slice, as a query finds them: mailbox, uid, email, size, account. */
struct purge_rows {
    struct purge_row rows[ENTRIES_PER_SLICE];
    size_t count;
};

static enum status_code find_rows(struct query *q, struct purge_rows *r)
{
    query_bind_int(q, "$limit", ENTRIES_PER_SLICE);
    r->count = 0;
    while (r->count < ENTRIES_PER_SLICE && query_next(q))
        r->rows[r->count++] = (struct purge_row){
            (uint64_t)query_int(q, 0), (uint32_t)query_int(q, 1), (uint64_t)query_int(q, 2),
            (uint64_t)query_int(q, 4), query_int(q, 3) + LIMIT_EXPUNGED_ROW_SIZE};
    return query_end(q);
}

/* Until `enough` octets are gone: INT64_MAX where the time of all has come. */
static enum status_code remove_rows(struct writer *w, const struct purge *p,
                                    const struct purge_rows *r, int64_t enough)
{
    unsigned chunks = LIMIT_VAULT_CHUNKS;
    enum status_code status = STATUS_OK;
    struct tally tally = {0};
    int64_t gone = 0;
    for (size_t i = 0; i < r->count && gone < enough && (i == 0 || purge_has_time(p)); i++) {
        if (enough != INT64_MAX)
            status = forget_append(w, &r->rows[i]);
        if (status == STATUS_OK)
            status = purge_entry(w, &r->rows[i], &chunks);
        if (status == STATUS_OK && chunks > 0)
            status = tally_add(w, &tally, r->rows[i].account, r->rows[i].size);
        if (status != STATUS_OK || chunks == 0)
            break;
        gone += r->rows[i].size;
    }
    return status == STATUS_OK ? tally_end(w, &tally) : status;
}

static enum status_code purge_expunged(struct writer *w, struct purge *p, size_t *ret_count)
{
    struct purge_rows rows;
    struct query *q = db_query(w->db, "SELECT mailbox, uid, email, size, expunged_account "
                                      "FROM entry WHERE expunged_ms <= $before_ms "
                                      "ORDER BY expunged_ms LIMIT $limit");
    query_bind_int(q, "$before_ms", p->clock_ms - p->retention_ms);
    enum status_code status = find_rows(q, &rows);
    *ret_count = rows.count;
    return status == STATUS_OK ? remove_rows(w, p, &rows, INT64_MAX) : status;
}

/* ---- Mailboxes, accounts ------------------------------------------------------------------------
 */

static const char *const mailbox_removals[] = {
    "DELETE FROM mailbox_right WHERE mailbox = $id",
    "DELETE FROM mailbox WHERE id = $id",
    "DELETE FROM keyword WHERE mailbox = $id",
};

static enum status_code run_removal(struct writer *w, const char *sql, uint64_t id)
{
    struct query *q = db_query(w->db, sql);
    query_bind_int(q, "$id", (int64_t)id);
    return query_run(q);
}

static enum status_code has_mailboxes(struct writer *w, uint64_t account, bool *ret_has)
{
    struct query *q =
        db_query(w->db, "SELECT 1 WHERE EXISTS (SELECT 1 FROM mailbox WHERE account = $account "
                        "AND removed_ms IS NULL) OR EXISTS (SELECT 1 FROM mailbox "
                        "WHERE account = $account AND removed_ms IS NOT NULL)");
    query_bind_int(q, "$account", (int64_t)account);
    return exists(q, ret_has);
}

/* A removed account ends with its last mailbox. */
static enum status_code purge_empty_mailbox(struct writer *w, uint64_t mailbox, uint64_t account)
{
    struct tally tally = {.account = account, .size = LIMIT_EXPUNGED_ROW_SIZE};
    enum status_code status = STATUS_OK;
    for (size_t i = 0; i < sizeof mailbox_removals / sizeof *mailbox_removals; i++)
        if (status == STATUS_OK)
            status = run_removal(w, mailbox_removals[i], mailbox);
    if (status == STATUS_OK) {
        tally.size += db_changes(w->db) * LIMIT_EXPUNGED_ROW_SIZE; /* its keywords */
        status = tally_end(w, &tally);
    }
    bool more = true;
    if (status == STATUS_OK)
        status = has_mailboxes(w, account, &more);
    return status == STATUS_OK && !more
               ? run_removal(w, "DELETE FROM account WHERE removed_ms IS NOT NULL AND id = $id",
                             account)
               : status;
}

struct removed_mailbox {
    uint64_t id; /* 0: there is none */
    uint64_t account;
    int64_t removed_ms;
};

static enum status_code read_removed(struct query *q, struct removed_mailbox *ret_mailbox)
{
    *ret_mailbox = (struct removed_mailbox){0};
    if (query_next(q))
        *ret_mailbox = (struct removed_mailbox){(uint64_t)query_int(q, 0),
                                                (uint64_t)query_int(q, 1), query_int(q, 2)};
    return query_end(q);
}

/* A slice of a removed mailbox: its messages, and then itself (*ret_ended). */
static enum status_code purge_mailbox_slice(struct writer *w, const struct purge *p,
                                            const struct removed_mailbox *m, int64_t enough,
                                            bool *ret_ended)
{
    struct purge_rows rows;
    struct query *q = db_query(w->db, "SELECT mailbox, uid, email, size, $account FROM entry "
                                      "WHERE mailbox = $mailbox LIMIT $limit");
    query_bind_int(q, "$mailbox", (int64_t)m->id);
    query_bind_int(q, "$account", (int64_t)m->account);
    enum status_code status = find_rows(q, &rows);
    *ret_ended = status == STATUS_OK && rows.count == 0;
    if (*ret_ended)
        return purge_empty_mailbox(w, m->id, m->account);
    return status == STATUS_OK ? remove_rows(w, p, &rows, enough) : status;
}

/* *ret_ended: it was empty, and is gone. */
static enum status_code purge_first_mailbox(struct writer *w, const struct purge *p,
                                            size_t *ret_count, bool *ret_ended)
{
    struct removed_mailbox m;
    struct query *q = db_query(w->db, "SELECT id, account, removed_ms FROM mailbox "
                                      "WHERE removed_ms <= $before_ms ORDER BY removed_ms LIMIT 1");
    query_bind_int(q, "$before_ms", p->clock_ms - p->retention_ms);
    enum status_code status = read_removed(q, &m);
    *ret_count = m.id != 0;
    *ret_ended = false;
    return status == STATUS_OK && m.id != 0 ? purge_mailbox_slice(w, p, &m, INT64_MAX, ret_ended)
                                            : status;
}

/* Empty ones go several at a time. */
static enum status_code purge_mailbox(struct writer *w, struct purge *p, size_t *ret_count)
{
    bool ended = true;
    enum status_code status = STATUS_OK;
    *ret_count = 0;
    for (size_t i = 0; i < PIECES_PER_SLICE && status == STATUS_OK && ended; i++) {
        size_t count = 0;
        if (i > 0 && !purge_has_time(p))
            break;
        status = purge_first_mailbox(w, p, &count, &ended);
        *ret_count += count;
    }
    return status;
}

/* ---- What is more than an account may leave behind
 * -----------------------------------------------
 */

struct over {
    uint64_t account; /* 0: there is none */
    int64_t excess;
};

/* The next account behind the one that had the last slice, so that each has its turn. */
static enum status_code next_over(struct writer *w, uint64_t after, struct over *ret_over)
{
    struct query *q = db_query(w->db, "SELECT id, expunged - quota FROM account WHERE quota > 0 "
                                      "AND expunged > quota AND id > $after ORDER BY id LIMIT 1");
    query_bind_int(q, "$after", (int64_t)after);
    *ret_over = (struct over){0};
    if (query_next(q))
        *ret_over = (struct over){(uint64_t)query_int(q, 0), query_int(q, 1)};
    enum status_code status = query_end(q);
    return status == STATUS_OK && ret_over->account == 0 && after != 0 ? next_over(w, 0, ret_over)
                                                                       : status;
}

/* Octets counted that are nowhere: there is nothing to remove for them. */
static enum status_code set_uncounted(struct writer *w, uint64_t account)
{
    return run_removal(w, "UPDATE account SET expunged = 0 WHERE id = $id", account);
}

static enum status_code read_first_expunged(struct writer *w, uint64_t account, int64_t *ret_ms)
{
    struct query *q = db_query(w->db, "SELECT expunged_ms FROM entry WHERE expunged_account = "
                                      "$account ORDER BY expunged_ms LIMIT 1");
    query_bind_int(q, "$account", (int64_t)account);
    *ret_ms = query_next(q) ? query_int(q, 0) : INT64_MAX;
    return query_end(q);
}

static enum status_code purge_expunged_of(struct writer *w, const struct purge *p,
                                          const struct over *over)
{
    struct purge_rows rows;
    struct query *q = db_query(w->db, "SELECT mailbox, uid, email, size, expunged_account "
                                      "FROM entry WHERE expunged_account = $account "
                                      "ORDER BY expunged_ms LIMIT $limit");
    query_bind_int(q, "$account", (int64_t)over->account);
    enum status_code status = find_rows(q, &rows);
    return status == STATUS_OK ? remove_rows(w, p, &rows, over->excess) : status;
}

/* The oldest first, whether it was expunged or went with its mailbox. */
static enum status_code purge_over(struct writer *w, struct purge *p, size_t *ret_count)
{
    struct over over;
    struct removed_mailbox m = {0};
    int64_t expunged_ms = INT64_MAX;
    bool ended = false;
    enum status_code status = next_over(w, p->after, &over);
    *ret_count = over.account != 0;
    p->over = over.account != 0;
    if (status != STATUS_OK || over.account == 0)
        return status;
    p->after = over.account;
    struct query *q = db_query(w->db, "SELECT id, account, removed_ms FROM mailbox "
                                      "WHERE account = $account AND removed_ms IS NOT NULL "
                                      "ORDER BY removed_ms LIMIT 1");
    query_bind_int(q, "$account", (int64_t)over.account);
    status = read_removed(q, &m);
    if (status == STATUS_OK)
        status = read_first_expunged(w, over.account, &expunged_ms);
    if (status != STATUS_OK)
        return status;
    if (m.id != 0 && m.removed_ms < expunged_ms)
        return purge_mailbox_slice(w, p, &m, over.excess, &ended);
    return expunged_ms != INT64_MAX ? purge_expunged_of(w, p, &over)
                                    : set_uncounted(w, over.account);
}

/* ---- The slice ----------------------------------------------------------------------------------
 */

static enum status_code free_pages(struct writer *w, int64_t *ret_pages)
{
    struct query *q = db_query(w->db, "PRAGMA freelist_count");
    *ret_pages = query_next(q) ? query_int(q, 0) : 0;
    return query_end(q);
}

/* Gives free pages back to the file system. */
static enum status_code shrink(struct writer *w, struct purge *p, size_t *ret_count)
{
    _Static_assert(PAGES_PER_PIECE == 16, "the pragma below takes no parameter");
    int64_t pages = 0;
    enum status_code status = free_pages(w, &pages);
    *ret_count = 0;
    for (size_t i = 0; i < PIECES_PER_SLICE && purge_has_time(p); i++) {
        if (status != STATUS_OK || pages <= PAGES_KEPT)
            return status;
        status = query_run(db_query(w->db, "PRAGMA incremental_vacuum(16)"));
        pages -= PAGES_PER_PIECE;
        *ret_count += PAGES_PER_PIECE;
    }
    return status;
}

bool purge_has_time(const struct purge *p)
{
    return !p->enough || !p->enough(p->context);
}

enum status_code purge_slice(struct writer *w, struct purge *p, bool *ret_more)
{
    static enum status_code (*const steps[])(struct writer *, struct purge *, size_t *) = {
        purge_over, purge_unborn, purge_expunged, purge_mailbox, purge_traces, purge_old, shrink,
    };
    enum status_code status = STATUS_OK;
    size_t count = 0, step = 0;
    _Static_assert(sizeof steps / sizeof *steps == PURGE_STEPS, "one for each bit of damaged");
    p->over = false;
    for (; step < PURGE_STEPS && status == STATUS_OK && count == 0; step++)
        if (!(p->damaged & 1u << step))
            status = steps[step](w, p, &count);
    if (status == STATUS_CORRUPT || status == STATUS_IO)
        p->damaged |= 1u << (step - 1);
    *ret_more = count > 0;
    return status;
}
