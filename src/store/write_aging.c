#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "base/str.h"
#include "store/purge_steps.h"

/* What grows old by itself, and goes. */

enum {
    ROWS_PER_PIECE = 50,
    ROWS_PER_WALK = 200,
    PIECES_PER_SLICE = 20,
};
#define DAY_MS (24LL * 60 * 60 * 1000)

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
enum status_code purge_traces(struct writer *w, struct purge *p, size_t *ret_count)
{
    char words[MARK_SIZE];
    struct str mark = mark_name(p->clock_ms - LIMIT_TRACE_MS, words);
    enum status_code status = set_mark(w, p->clock_ms);
    *ret_count = 0;
    for (size_t i = 0; status == STATUS_OK && i < PIECES_PER_SLICE && purge_has_time(p); i++) {
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

/* Run until it finds nothing: what is older than $before, at most $limit rows; indexes lead there.
 */
static const struct aging {
    const char *sql;
    int64_t age_ms;
} agings[] = {
    {"DELETE FROM tls_result WHERE (day, domain, policy_type, policy, mx, result, receiving_ip, "
     "sending_ip) IN (SELECT day, domain, policy_type, policy, mx, result, receiving_ip, "
     "sending_ip FROM tls_result WHERE day IN (SELECT " TLS_DAY " FROM meta WHERE " TLS_DAYS
     " AND value <= $before) LIMIT $limit)",
     LIMIT_TRACE_MS},
    {"DELETE FROM meta WHERE name IN (SELECT name FROM meta WHERE " TLS_DAYS
     " AND value <= $before AND NOT EXISTS (SELECT 1 FROM tls_result WHERE day = " TLS_DAY
     ") LIMIT $limit)",
     LIMIT_TRACE_MS},
    /* Not old, but found for the first time. */
    {"INSERT INTO meta (name, value) SELECT 'tls_day_' || day, $before FROM (WITH RECURSIVE "
     "one(day) AS (SELECT min(day) FROM tls_result UNION ALL SELECT (SELECT min(t.day) "
     "FROM tls_result t WHERE t.day > one.day) FROM one WHERE one.day IS NOT NULL) "
     "SELECT day FROM one WHERE day IS NOT NULL LIMIT $limit) WHERE true "
     "ON CONFLICT (name) DO NOTHING",
     0},
};

enum { AGINGS = sizeof agings / sizeof *agings };

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

enum status_code purge_unborn(struct writer *w, struct purge *p, size_t *ret_count)
{
    enum status_code status = STATUS_OK;
    *ret_count = 0;
    for (size_t i = 0; i < sizeof unborn / sizeof *unborn; i++)
        if (status == STATUS_OK && *ret_count == 0)
            status = run_aging(w, p, &unborn[i], ret_count);
    return status;
}

/* ---- Tables without an index by age
 * --------------------------------------------------------------
 *
 * One would cost each message; so these are walked from end to end, a piece at a time.
 */

enum walk_key { KEY_NUMBER, KEY_BYTES, KEY_WORDS };

/*
 * find: the last key of the $limit rows behind $after. remove: of those what is as old as $before;
 * mend: what has a time that has not come yet (store/clock.h).
 */
static const struct walk {
    const char *find;
    const char *remove;
    const char *mend;
    int64_t age_ms;
    enum walk_key key;
} walks[] = {
    {"SELECT max(key) FROM (SELECT key FROM unconfirmed WHERE key > $after ORDER BY key "
     "LIMIT $limit)",
     "DELETE FROM unconfirmed WHERE key > $after AND key <= $last AND at_ms <= $before",
     "UPDATE unconfirmed SET at_ms = $before WHERE key > $after AND key <= $last "
     "AND at_ms > $before",
     LIMIT_RETRANSMISSION_MS, KEY_BYTES},
    {"SELECT max(domain) FROM (SELECT domain FROM sts_policy WHERE domain > $after "
     "ORDER BY domain LIMIT $limit)",
     "DELETE FROM sts_policy WHERE domain > $after AND domain <= $last AND fetched_ms <= $before",
     "UPDATE sts_policy SET fetched_ms = $before WHERE domain > $after AND domain <= $last "
     "AND fetched_ms > $before",
     LIMIT_STS_POLICY_MS, KEY_WORDS},
    {"SELECT max(id) FROM (SELECT id FROM destination WHERE id > $after ORDER BY id LIMIT $limit)",
     "DELETE FROM destination WHERE id > $after AND id <= $last AND due_ms IS NULL "
     "AND last_ms <= $before AND NOT EXISTS (SELECT 1 FROM queue "
     "WHERE queue.destination = destination.id AND held = 0) AND NOT EXISTS (SELECT 1 FROM queue "
     "WHERE queue.destination = destination.id AND held <> 0)",
     "UPDATE destination SET last_ms = $before WHERE id > $after AND id <= $last "
     "AND last_ms > $before",
     LIMIT_DESTINATION_MS, KEY_NUMBER},
    /* All days of an account are in one piece: there are as many as a month has. */
    {"SELECT max(account) FROM (SELECT account FROM sent WHERE account > $after ORDER BY account "
     "LIMIT $limit)",
     "DELETE FROM sent WHERE account > $after AND account <= $last AND day < $before / 86400000",
     "DELETE FROM sent WHERE account > $after AND account <= $last "
     "AND day > $before / 86400000 + 1",
     LIMIT_TRACE_MS, KEY_NUMBER},
};

enum { WALKS = sizeof walks / sizeof *walks, KINDS = AGINGS + WALKS };

static void bind_key(struct query *q, const char *name, const struct walk *walk,
                     const struct purge_place *place)
{
    struct str bytes = str_make(place->bytes, place->len);
    if (walk->key == KEY_NUMBER)
        query_bind_int(q, name, place->inside ? place->number : INT64_MIN);
    else if (walk->key == KEY_BYTES)
        query_bind_bytes(q, name, bytes);
    else
        query_bind_words(q, name, bytes);
}

static struct purge_place place_of(const struct query *q, const struct walk *walk)
{
    struct purge_place place = {.inside = true};
    if (walk->key == KEY_NUMBER) {
        place.number = query_int(q, 0);
        return place;
    }
    struct str bytes = str_sub(query_bytes(q, 0), 0, sizeof place.bytes);
    place.len = bytes.len;
    if (!str_empty(bytes))
        memcpy(place.bytes, bytes.ptr, bytes.len);
    return place;
}

static enum status_code change_between(struct writer *w, const char *sql, const struct walk *walk,
                                       const struct purge_place *after,
                                       const struct purge_place *last, int64_t before_ms)
{
    struct query *q = db_query(w->db, sql);
    bind_key(q, "$after", walk, after);
    bind_key(q, "$last", walk, last);
    query_bind_int(q, "$before", before_ms);
    return query_run(q);
}

/* One piece behind p->place; *ret_end: there is none. */
static enum status_code walk_piece(struct writer *w, struct purge *p, const struct walk *walk,
                                   bool *ret_end)
{
    struct purge_place last = {0};
    struct query *q = db_query(w->db, walk->find);
    bind_key(q, "$after", walk, &p->place);
    query_bind_int(q, "$limit", ROWS_PER_WALK);
    *ret_end = !query_next(q) || query_is_null(q, 0);
    if (!*ret_end)
        last = place_of(q, walk);
    enum status_code status = query_end(q);
    if (status != STATUS_OK || *ret_end)
        return status;
    status = change_between(w, walk->remove, walk, &p->place, &last, p->clock_ms - walk->age_ms);
    if (status == STATUS_OK)
        status = change_between(w, walk->mend, walk, &p->place, &last, p->clock_ms);
    p->place = last;
    return status;
}

/* A piece of the kind whose turn it is. */
static enum status_code purge_kind(struct writer *w, struct purge *p)
{
    bool end = true;
    size_t changed = 0;
    enum status_code status;
    if (p->kind < AGINGS) {
        status = run_aging(w, p, &agings[p->kind], &changed);
        end = changed == 0;
    } else {
        status = walk_piece(w, p, &walks[p->kind - AGINGS], &end);
    }
    if (status == STATUS_OK && end) {
        p->kind++;
        p->place = (struct purge_place){0};
    }
    return status;
}

enum status_code purge_old(struct writer *w, struct purge *p, size_t *ret_count)
{
    enum status_code status = STATUS_OK;
    size_t pieces = 0;
    while (status == STATUS_OK && p->kind < KINDS && pieces < PIECES_PER_SLICE &&
           (pieces == 0 || purge_has_time(p))) {
        status = purge_kind(w, p);
        pieces++;
    }
    *ret_count = p->kind < KINDS ? pieces : 0;
    return status;
}
