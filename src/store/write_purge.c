#include <stdio.h>

#include "base/limits.h"
#include "base/str.h"
#include "store/write.h"

/*
 * Removing for good. A body lives as long as an email or a queue row points at it, an email as
 * long as an entry does: found by looking, so no count can be wrong.
 */

enum {
    ENTRIES_PER_SLICE = 400, /* which are looked at one by one */
    ROWS_PER_PIECE = 50,     /* of other tables */
    PIECES_PER_SLICE = 20,
    PAGES_PER_PIECE = 16,
    PAGES_KEPT = 2048, /* free ones, for what comes next */
};
#define DAY_MS (24LL * 60 * 60 * 1000)

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

static bool has_time(const struct purge *p)
{
    return !p->enough || !p->enough(p->context);
}

static enum status_code purge_rows(struct writer *w, const struct purge *p, struct query *q,
                                   size_t *ret_count)
{
    struct purge_row rows[ENTRIES_PER_SLICE];
    unsigned chunks = LIMIT_VAULT_CHUNKS;
    size_t count = 0;
    while (count < ENTRIES_PER_SLICE && query_next(q))
        rows[count++] = (struct purge_row){(uint64_t)query_int(q, 0), (uint32_t)query_int(q, 1),
                                           (uint64_t)query_int(q, 2)};
    enum status_code status = query_end(q);
    for (size_t i = 0; status == STATUS_OK && i < count && chunks > 0 && (i == 0 || has_time(p));
         i++)
        status = purge_entry(w, &rows[i], &chunks);
    *ret_count = count;
    return status;
}

static enum status_code purge_expunged(struct writer *w, struct purge *p, size_t *ret_count)
{
    struct query *q = db_query(w->db, "SELECT mailbox, uid, email FROM entry "
                                      "WHERE expunged_ms <= $before_ms ORDER BY expunged_ms "
                                      "LIMIT $limit");
    query_bind_int(q, "$before_ms", p->clock_ms - p->retention_ms);
    query_bind_int(q, "$limit", ENTRIES_PER_SLICE);
    return purge_rows(w, p, q, ret_count);
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

static enum status_code purge_mailbox(struct writer *w, struct purge *p, size_t *ret_count)
{
    uint64_t mailbox = 0, account = 0;
    struct query *q = db_query(w->db, "SELECT id, account FROM mailbox "
                                      "WHERE removed_ms <= $before_ms ORDER BY removed_ms LIMIT 1");
    query_bind_int(q, "$before_ms", p->clock_ms - p->retention_ms);
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
    status = purge_rows(w, p, q, ret_count);
    if (status != STATUS_OK || *ret_count > 0)
        return status;
    *ret_count = 1;
    return purge_empty_mailbox(w, mailbox, account);
}

/* ---- Traces -------------------------------------------------------------------------------------
 */

/*
 * A step's time is the wall's, for people. How old it is its id tells: on each day of the store's
 * clock it is noted where ids were, and what is below the mark of thirty days ago is old.
 */
#define MARKS "trace_day_"
enum { MARK_SIZE = 40 };

static struct str mark_name(int64_t clock_ms, char words[static MARK_SIZE])
{
    int64_t day = clock_ms > 0 ? clock_ms / DAY_MS : 0;
    snprintf(words, MARK_SIZE, MARKS "%09lld", (long long)day); /* in order as words, too */
    return str_from_c(words);
}

static enum status_code set_mark(struct writer *w, int64_t clock_ms)
{
    char words[MARK_SIZE];
    struct query *q = db_query(w->db, "INSERT INTO meta (name, value) VALUES ($name, $next_id) "
                                      "ON CONFLICT (name) DO NOTHING");
    query_bind_words(q, "$name", mark_name(clock_ms, words));
    query_bind_int(q, "$next_id", (int64_t)w->next_id);
    return query_run(q);
}

/* The newest mark that is old enough, and all before it. */
static enum status_code purge_traces(struct writer *w, struct purge *p, size_t *ret_count)
{
    char words[MARK_SIZE];
    struct str mark = mark_name(p->clock_ms - LIMIT_TRACE_MS, words);
    enum status_code status = set_mark(w, p->clock_ms);
    *ret_count = 0;
    for (size_t i = 0; status == STATUS_OK && i < PIECES_PER_SLICE && has_time(p); i++) {
        struct query *q =
            db_query(w->db, "DELETE FROM trace WHERE id IN (SELECT id FROM trace WHERE id < "
                            "(SELECT value FROM meta WHERE name > '" MARKS "' AND name < $mark "
                            "ORDER BY name DESC LIMIT 1) ORDER BY id LIMIT $limit)");
        query_bind_words(q, "$mark", mark);
        query_bind_int(q, "$limit", ROWS_PER_PIECE);
        status = query_run(q);
        if (status == STATUS_OK && db_changes(w->db) == 0)
            break;
        *ret_count += status == STATUS_OK ? (size_t)db_changes(w->db) : 0;
    }
    if (status != STATUS_OK || *ret_count > 0)
        return status;
    struct query *q = db_query(w->db, "DELETE FROM meta WHERE name > '" MARKS
                                      "' AND name < (SELECT max(name) FROM meta "
                                      "WHERE name > '" MARKS "' AND name < $mark)");
    query_bind_words(q, "$mark", mark);
    return query_run(q);
}

/* ---- What grows old by itself -------------------------------------------------------------------
 */

/* Days of TLS results are the wall's, so how old one is counts from when it was seen first. */
#define TLS_DAYS "name > 'tls_day_' AND name < 'tls_daz'"
#define TLS_DAY  "CAST(substr(name, 9) AS INTEGER)"

/* One statement or several, run until they find nothing: rows from before $before, at most $limit.
 */
static const struct aging {
    const char *sql;
    int64_t age_ms;
} agings[] = {
    {"DELETE FROM unconfirmed WHERE key IN (SELECT key FROM unconfirmed WHERE at_ms <= $before "
     "LIMIT $limit)",
     LIMIT_RETRANSMISSION_MS},
    {"DELETE FROM sts_policy WHERE domain IN (SELECT domain FROM sts_policy "
     "WHERE fetched_ms <= $before LIMIT $limit)",
     LIMIT_STS_POLICY_MS},
    {"DELETE FROM destination WHERE id IN (SELECT id FROM destination WHERE due_ms IS NULL AND "
     "last_ms <= $before AND NOT EXISTS (SELECT 1 FROM queue "
     "WHERE queue.destination = destination.id AND held = 0) AND NOT EXISTS (SELECT 1 FROM queue "
     "WHERE queue.destination = destination.id AND held <> 0) LIMIT $limit)",
     LIMIT_DESTINATION_MS},
    {"DELETE FROM sent WHERE (account, day) IN (SELECT account, day FROM sent "
     "WHERE day < $before / 86400000 LIMIT $limit)",
     LIMIT_TRACE_MS},
    {"DELETE FROM tls_result WHERE (day, domain, policy_type, policy, mx, result, receiving_ip, "
     "sending_ip) IN (SELECT day, domain, policy_type, policy, mx, result, receiving_ip, "
     "sending_ip FROM tls_result WHERE day IN (SELECT " TLS_DAY " FROM meta WHERE " TLS_DAYS
     " AND value <= $before) LIMIT $limit)",
     LIMIT_TRACE_MS},
    {"DELETE FROM meta WHERE name IN (SELECT name FROM meta WHERE " TLS_DAYS
     " AND value <= $before AND NOT EXISTS (SELECT 1 FROM tls_result WHERE day = " TLS_DAY
     ") LIMIT $limit)",
     LIMIT_TRACE_MS},
    /* Not old: found for the first time, or of a time that has not come yet (store/clock.h). */
    {"INSERT INTO meta (name, value) SELECT 'tls_day_' || day, $before FROM (WITH RECURSIVE "
     "one(day) AS (SELECT min(day) FROM tls_result UNION ALL SELECT (SELECT min(t.day) "
     "FROM tls_result t WHERE t.day > one.day) FROM one WHERE one.day IS NOT NULL) "
     "SELECT day FROM one WHERE day IS NOT NULL LIMIT $limit) WHERE true "
     "ON CONFLICT (name) DO NOTHING",
     0},
    {"UPDATE unconfirmed SET at_ms = $before WHERE key IN (SELECT key FROM unconfirmed "
     "WHERE at_ms > $before LIMIT $limit)",
     0},
    {"UPDATE sts_policy SET fetched_ms = $before WHERE domain IN (SELECT domain FROM sts_policy "
     "WHERE fetched_ms > $before LIMIT $limit)",
     0},
    {"UPDATE destination SET last_ms = $before WHERE id IN (SELECT id FROM destination "
     "WHERE last_ms > $before LIMIT $limit)",
     0},
    {"DELETE FROM sent WHERE (account, day) IN (SELECT account, day FROM sent "
     "WHERE day > $before / 86400000 + 1 LIMIT $limit)",
     0},
};

/* Looked at each time; the indexes lead there. */
static const struct aging unborn[] = {
    {"UPDATE entry SET expunged_ms = $before WHERE (mailbox, uid) IN (SELECT mailbox, uid "
     "FROM entry WHERE expunged_ms > $before LIMIT $limit)",
     0},
    {"UPDATE mailbox SET removed_ms = $before WHERE id IN (SELECT id FROM mailbox "
     "WHERE removed_ms > $before LIMIT $limit)",
     0},
};

static enum status_code run_aging(struct writer *w, const struct purge *p, const struct aging *a,
                                  size_t *ret_count)
{
    struct query *q = db_query(w->db, a->sql);
    query_bind_int(q, "$before", p->clock_ms - a->age_ms);
    query_bind_int(q, "$limit", ROWS_PER_PIECE);
    enum status_code status = query_run(q);
    *ret_count = status == STATUS_OK ? (size_t)db_changes(w->db) : 0;
    return status;
}

/* From the list's *next on; each until it finds nothing. *ret_count: 0 behind the last. */
static enum status_code run_agings(struct writer *w, const struct purge *p,
                                   const struct aging *list, unsigned length, unsigned *next,
                                   size_t *ret_count)
{
    enum status_code status = STATUS_OK;
    size_t pieces = 0, changed = 0;
    while (status == STATUS_OK && *next < length && pieces < PIECES_PER_SLICE &&
           (pieces == 0 || has_time(p))) {
        status = run_aging(w, p, &list[*next], &changed);
        *next += changed == 0;
        pieces++;
    }
    *ret_count = *next < length ? pieces : 0;
    return status;
}

static enum status_code mend_unborn(struct writer *w, struct purge *p, size_t *ret_count)
{
    unsigned next = 0;
    return run_agings(w, p, unborn, sizeof unborn / sizeof *unborn, &next, ret_count);
}

static enum status_code purge_old(struct writer *w, struct purge *p, size_t *ret_count)
{
    return run_agings(w, p, agings, sizeof agings / sizeof *agings, &p->kind, ret_count);
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
    for (size_t i = 0; i < PIECES_PER_SLICE && has_time(p); i++) {
        if (status != STATUS_OK || pages <= PAGES_KEPT)
            return status;
        status = query_run(db_query(w->db, "PRAGMA incremental_vacuum(16)"));
        pages -= PAGES_PER_PIECE;
        *ret_count += PAGES_PER_PIECE;
    }
    return status;
}

enum status_code purge_slice(struct writer *w, struct purge *p, bool *ret_more)
{
    static enum status_code (*const steps[])(struct writer *, struct purge *, size_t *) = {
        mend_unborn, purge_expunged, purge_mailbox, purge_traces, purge_old, shrink,
    };
    enum status_code status = STATUS_OK;
    size_t count = 0;
    for (size_t i = 0; status == STATUS_OK && count == 0 && i < sizeof steps / sizeof *steps; i++)
        status = steps[i](w, p, &count);
    *ret_more = count > 0;
    return status;
}
