#include "base/limits.h"
#include "store/body.h"
#include "store/queue_write.h"

/* ---- Rows --------------------------------------------------------------------------------------
 */

static void bind_envelope(struct query *q, const struct outgoing_row *row)
{
    query_bind_int(q, "$ret", row->ret);
    query_bind_int(q, "$body_type", row->body_type);
    query_bind_int(q, "$utf8", row->utf8);
    query_bind_int(q, "$requiretls", row->requiretls);
    query_bind_int(q, "$by_mode", row->by_mode);
    query_bind_int(q, "$by_trace", row->by_trace);
    query_bind_int(q, "$by_ms", row->by_ms);
    query_bind_int(q, "$priority", row->priority);
    text_to_sql(q, "$envid", row->envid);
}

enum status_code outgoing_insert(struct writer *w, struct outgoing_row *row)
{
    row->id = w->next_id++;
    struct query *q = db_query(
        w->db, "INSERT INTO outgoing (id, body, size, account, sender, trace_id, received_ms, "
               "created_ms, expires_ms, ret, body_type, utf8, requiretls, by_mode, by_trace, "
               "by_ms, priority, envid, prefix) VALUES ($id, $body, $size, $account, $sender, "
               "$trace_id, $received_ms, $created_ms, $expires_ms, $ret, $body_type, $utf8, "
               "$requiretls, $by_mode, $by_trace, $by_ms, $priority, $envid, $prefix)");
    query_bind_int(q, "$id", (int64_t)row->id);
    query_bind_int(q, "$body", (int64_t)row->body);
    query_bind_int(q, "$size", (int64_t)row->size);
    query_bind_int(q, "$account", (int64_t)row->account);
    text_to_sql(q, "$sender", row->sender);
    query_bind_words(q, "$trace_id", row->trace_id);
    query_bind_int(q, "$received_ms", row->received_ms);
    query_bind_int(q, "$created_ms", row->created_ms);
    query_bind_int(q, "$expires_ms", row->expires_ms);
    bind_envelope(q, row);
    query_bind_bytes(q, "$prefix", row->prefix);
    return query_run(q);
}

enum status_code waiting_insert(struct writer *w, struct waiting_row *row)
{
    row->id = w->next_id++;
    struct query *q = db_query(
        w->db, "INSERT INTO queue (id, outgoing, destination, lane, due_ms, attention_ms, held, "
               "task, attempts, notify, noticed, last_ms, recipient, orcpt, last_status, "
               "last_words, last_remote) VALUES ($id, $outgoing, $destination, $lane, $due_ms, "
               "$attention_ms, $held, $task, 0, $notify, 0, 0, $recipient, $orcpt, $status, "
               "$words, $remote)");
    query_bind_int(q, "$id", (int64_t)row->id);
    query_bind_int(q, "$outgoing", (int64_t)row->outgoing);
    query_bind_int(q, "$destination", (int64_t)row->destination);
    query_bind_int(q, "$lane", row->lane);
    query_bind_int(q, "$due_ms", row->due_ms);
    query_bind_int(q, "$attention_ms", row->attention_ms);
    query_bind_int(q, "$held", row->held);
    query_bind_int(q, "$task", row->task);
    query_bind_int(q, "$notify", row->notify);
    text_to_sql(q, "$recipient", row->recipient);
    text_to_sql(q, "$orcpt", row->orcpt);
    query_bind_words(q, "$status", row->last_status);
    text_to_sql(q, "$words", row->last_words);
    text_to_sql(q, "$remote", row->last_remote);
    w->waiting++;
    w->held += row->held;
    return query_run(q);
}

enum status_code waiting_remove(struct writer *w, uint64_t id, bool *ret_removed)
{
    struct query *q = db_query(w->db, "DELETE FROM queue WHERE id = $id AND held = 0");
    query_bind_int(q, "$id", (int64_t)id);
    enum status_code status = query_run(q);
    *ret_removed = status == STATUS_OK && db_changes(w->db) > 0;
    if (status == STATUS_OK && !*ret_removed) {
        q = db_query(w->db, "DELETE FROM queue WHERE id = $id");
        query_bind_int(q, "$id", (int64_t)id);
        status = query_run(q);
        *ret_removed = status == STATUS_OK && db_changes(w->db) > 0;
        w->held -= *ret_removed;
    }
    w->waiting -= *ret_removed;
    return status;
}

static enum status_code body_is_used(struct writer *w, uint64_t body, bool *ret_used)
{
    struct query *q = db_query(w->db, "SELECT 1 WHERE EXISTS (SELECT 1 FROM email "
                                      "WHERE body = $body) OR EXISTS (SELECT 1 FROM outgoing "
                                      "WHERE body = $body)");
    query_bind_int(q, "$body", (int64_t)body);
    *ret_used = query_next(q);
    return query_end(q);
}

enum status_code outgoing_end(struct writer *w, uint64_t outgoing, uint64_t body, uint64_t size,
                              bool *ret_left)
{
    bool used = false;
    struct query *q = db_query(w->db, "DELETE FROM outgoing WHERE id = $id AND NOT EXISTS "
                                      "(SELECT 1 FROM queue WHERE outgoing = $id)");
    query_bind_int(q, "$id", (int64_t)outgoing);
    enum status_code status = query_run(q);
    *ret_left = false;
    if (status != STATUS_OK || db_changes(w->db) == 0)
        return status;
    status = body_is_used(w, body, &used);
    if (status != STATUS_OK || used)
        return status;
    unsigned chunks = LIMIT_VAULT_CHUNKS;
    *ret_left = size / LIMIT_CHUNK_SIZE + 1 >= chunks;
    return *ret_left ? staging_set(w, body, size / LIMIT_CHUNK_SIZE + 1, size)
                     : body_remove(w, body, &chunks);
}

/* ---- Attempts ----------------------------------------------------------------------------------
 */

static void bind_attempt(struct query *q, const struct attempt *attempt)
{
    query_bind_int(q, "$last_ms", attempt->at_wall_ms);
    query_bind_words(q, "$status", attempt->status);
    text_to_sql(q, "$words", attempt->words);
    text_to_sql(q, "$remote", attempt->remote);
}

enum status_code waiting_defer(struct writer *w, uint64_t id, int64_t due_ms, int64_t attention_ms,
                               bool noticed, const struct attempt *attempt)
{
    struct query *q = db_query(
        w->db, "UPDATE queue SET due_ms = $due_ms, attention_ms = $attention_ms, "
               "noticed = noticed OR $noticed, attempts = attempts + 1, last_ms = $last_ms, "
               "last_status = $status, last_words = $words, last_remote = $remote "
               "WHERE id = $id AND task = 0");
    query_bind_int(q, "$id", (int64_t)id);
    query_bind_int(q, "$due_ms", due_ms);
    query_bind_int(q, "$attention_ms", attention_ms);
    query_bind_int(q, "$noticed", noticed);
    bind_attempt(q, attempt);
    return query_run(q);
}

enum status_code waiting_handed(struct writer *w, uint64_t id, uint8_t task, int64_t attention_ms,
                                const struct attempt *attempt, bool *ret_changed)
{
    struct query *q = db_query(
        w->db, "UPDATE queue SET task = $task, destination = 0, due_ms = $attention_ms, "
               "attention_ms = $attention_ms, attempts = attempts + 1, last_ms = $last_ms, "
               "last_status = $status, last_words = $words, last_remote = $remote "
               "WHERE id = $id AND task NOT IN (1, 5)");
    query_bind_int(q, "$id", (int64_t)id);
    query_bind_int(q, "$task", task);
    query_bind_int(q, "$attention_ms", attention_ms);
    bind_attempt(q, attempt);
    enum status_code status = query_run(q);
    *ret_changed = status == STATUS_OK && db_changes(w->db) > 0;
    return status;
}

enum status_code waiting_postpone(struct writer *w, uint64_t id, int64_t attention_ms)
{
    struct query *q =
        db_query(w->db, "UPDATE queue SET attention_ms = $attention_ms WHERE id = $id");
    query_bind_int(q, "$id", (int64_t)id);
    query_bind_int(q, "$attention_ms", attention_ms);
    return query_run(q);
}

enum status_code waiting_noticed(struct writer *w, uint64_t id, int64_t attention_ms)
{
    struct query *q = db_query(w->db, "UPDATE queue SET noticed = 1, attention_ms = $attention_ms "
                                      "WHERE id = $id AND task = 0");
    query_bind_int(q, "$id", (int64_t)id);
    query_bind_int(q, "$attention_ms", attention_ms);
    return query_run(q);
}

enum status_code waiting_move(struct writer *w, uint64_t id, uint64_t destination, int64_t due_ms)
{
    struct query *q = db_query(w->db, "UPDATE queue SET destination = $destination, "
                                      "due_ms = $due_ms WHERE id = $id");
    query_bind_int(q, "$id", (int64_t)id);
    query_bind_int(q, "$destination", (int64_t)destination);
    query_bind_int(q, "$due_ms", due_ms);
    return query_run(q);
}

enum status_code waiting_hold(struct writer *w, uint64_t id)
{
    struct query *q = db_query(w->db, "UPDATE queue SET held = 1 WHERE id = $id AND held = 0");
    query_bind_int(q, "$id", (int64_t)id);
    enum status_code status = query_run(q);
    if (status == STATUS_OK)
        w->held += (uint64_t)db_changes(w->db);
    return status;
}

enum status_code waiting_release(struct writer *w, uint64_t id, bool held, int64_t due_ms)
{
    enum { CHANCE_MS = 60 * 60 * 1000 };
    struct query *q = db_query(
        w->db, "UPDATE queue SET held = 0, due_ms = $due_ms, attention_ms = CASE WHEN held "
               "AND task = 0 THEN max(attention_ms, $chance_ms) ELSE attention_ms END "
               "WHERE id = $id");
    query_bind_int(q, "$id", (int64_t)id);
    query_bind_int(q, "$due_ms", due_ms);
    query_bind_int(q, "$chance_ms", due_ms + CHANCE_MS);
    w->held -= held;
    return query_run(q);
}

enum status_code waiting_bounce(struct writer *w, uint64_t id, bool held, int64_t attention_ms,
                                struct text words)
{
    struct query *q = db_query(w->db, "UPDATE queue SET held = 0, task = 3, last_words = $words, "
                                      "attention_ms = $attention_ms WHERE id = $id");
    query_bind_int(q, "$id", (int64_t)id);
    query_bind_int(q, "$attention_ms", attention_ms);
    text_to_sql(q, "$words", words);
    w->held -= held;
    return query_run(q);
}

/* ---- Destinations ------------------------------------------------------------------------------
 */

enum status_code destination_get(struct writer *w, struct str name, uint64_t *ret_destination)
{
    struct query *q = db_query(w->db, "SELECT id FROM destination WHERE name = $name");
    query_bind_words(q, "$name", name);
    bool found = query_next(q);
    if (found)
        *ret_destination = (uint64_t)query_int(q, 0);
    enum status_code status = query_end(q);
    if (status != STATUS_OK || found)
        return status;
    *ret_destination = w->next_id++;
    q = db_query(w->db, "INSERT INTO destination (id, name, trouble, bulk, due_ms, last_ms, "
                        "last_words) VALUES ($id, $name, 0, 0, NULL, 0, X'')");
    query_bind_int(q, "$id", (int64_t)*ret_destination);
    query_bind_words(q, "$name", name);
    return query_run(q);
}

static enum status_code returned_state(struct query *q, uint64_t destination,
                                       struct destination_state *ret_state)
{
    *ret_state = (struct destination_state){.id = destination, .due_ms = INT64_MAX};
    if (query_next(q)) {
        ret_state->trouble = (uint32_t)query_int(q, 0);
        ret_state->due_ms = query_is_null(q, 1) ? INT64_MAX : query_int(q, 1);
        ret_state->bulk = query_int(q, 2) != 0;
    }
    return query_run(q);
}

enum status_code destination_wanted(struct writer *w, uint64_t destination, bool bulk,
                                    int64_t due_ms, struct destination_state *ret_state)
{
    struct query *q =
        db_query(w->db, "UPDATE destination SET due_ms = CASE WHEN due_ms IS NULL THEN $due_ms "
                        "WHEN trouble > 0 THEN due_ms ELSE min(due_ms, $due_ms) END, "
                        "bulk = CASE WHEN due_ms IS NULL THEN $bulk ELSE min(bulk, $bulk) END "
                        "WHERE id = $id RETURNING trouble, due_ms, bulk");
    query_bind_int(q, "$id", (int64_t)destination);
    query_bind_int(q, "$bulk", bulk);
    query_bind_int(q, "$due_ms", due_ms);
    return returned_state(q, destination, ret_state);
}

enum status_code destination_hurry(struct writer *w, uint64_t destination, int64_t due_ms,
                                   struct destination_state *ret_state)
{
    struct query *q =
        db_query(w->db, "UPDATE destination SET due_ms = min(coalesce(due_ms, $due_ms), $due_ms) "
                        "WHERE id = $id RETURNING trouble, due_ms, bulk");
    query_bind_int(q, "$id", (int64_t)destination);
    query_bind_int(q, "$due_ms", due_ms);
    return returned_state(q, destination, ret_state);
}

static void bind_due(struct query *q, int64_t due_ms)
{
    if (due_ms == INT64_MAX)
        query_bind_null(q, "$due_ms");
    else
        query_bind_int(q, "$due_ms", due_ms);
}

enum status_code destination_settle(struct writer *w, uint64_t destination,
                                    const struct destination_news *news,
                                    struct destination_state *ret_state)
{
    struct destination_state first;
    enum status_code status = destination_first_due(w->db, destination, &first);
    if (status != STATUS_OK)
        return status;
    if (first.due_ms < news->not_before_ms)
        first.due_ms = news->not_before_ms;
    struct query *q;
    if (news->arrived) {
        q = db_query(w->db,
                     "UPDATE destination SET due_ms = $due_ms, bulk = $bulk, last_ms = $last_ms, "
                     "last_words = $words, trouble = CASE WHEN $trouble THEN trouble + 1 "
                     "ELSE 0 END WHERE id = $id RETURNING trouble, due_ms, bulk");
        query_bind_int(q, "$last_ms", news->at_ms);
        text_to_sql(q, "$words", news->words);
        query_bind_int(q, "$trouble", news->trouble);
    } else {
        q = db_query(w->db,
                     "UPDATE destination SET due_ms = CASE WHEN trouble > 0 AND "
                     "due_ms > $due_ms THEN due_ms ELSE $due_ms END, bulk = $bulk WHERE id = $id "
                     "RETURNING trouble, due_ms, bulk");
    }
    query_bind_int(q, "$id", (int64_t)destination);
    query_bind_int(q, "$bulk", first.bulk);
    bind_due(q, first.due_ms);
    return returned_state(q, destination, ret_state);
}

/* ---- Beside the rows ---------------------------------------------------------------------------
 */

enum status_code sent_add(struct writer *w, int64_t counted, int64_t day, uint64_t recipients,
                          uint64_t *ret_total)
{
    struct query *q = db_query(
        w->db, "INSERT INTO sent (account, day, recipients) VALUES ($account, $day, $recipients) "
               "ON CONFLICT (account, day) DO UPDATE SET recipients = recipients + $recipients "
               "RETURNING recipients");
    query_bind_int(q, "$account", counted);
    query_bind_int(q, "$day", day);
    query_bind_int(q, "$recipients", (int64_t)recipients);
    *ret_total = query_next(q) ? (uint64_t)query_int(q, 0) : 0;
    return query_run(q);
}

enum status_code tls_result_add(struct writer *w, int64_t day, const struct tls_result_row *row)
{
    struct query *q = db_query(
        w->db, "INSERT INTO tls_result (day, domain, policy_type, policy, mx, result, "
               "receiving_ip, sending_ip, words, sessions) VALUES ($day, $domain, $type, $policy, "
               "$mx, $result, $receiving_ip, $sending_ip, $words, $sessions) "
               "ON CONFLICT (day, domain, policy_type, policy, mx, result, receiving_ip, "
               "sending_ip) DO UPDATE SET sessions = sessions + $sessions");
    query_bind_int(q, "$day", day);
    query_bind_words(q, "$domain", row->domain);
    query_bind_int(q, "$type", row->policy_type);
    text_to_sql(q, "$policy", row->policy);
    query_bind_words(q, "$mx", row->mx);
    query_bind_words(q, "$result", row->result);
    query_bind_words(q, "$receiving_ip", row->receiving_ip);
    query_bind_words(q, "$sending_ip", row->sending_ip);
    text_to_sql(q, "$words", row->words);
    query_bind_int(q, "$sessions", (int64_t)row->sessions);
    return query_run(q);
}

enum status_code sts_policy_set(struct writer *w, struct str domain,
                                const struct sts_record *record)
{
    struct query *q =
        db_query(w->db, "INSERT INTO sts_policy (domain, id, policy, fetched_ms) "
                        "VALUES ($domain, $id, $policy, $fetched_ms) ON CONFLICT (domain) "
                        "DO UPDATE SET id = $id, policy = $policy, fetched_ms = $fetched_ms");
    query_bind_words(q, "$domain", domain);
    text_to_sql(q, "$id", record->id);
    text_to_sql(q, "$policy", record->policy);
    query_bind_int(q, "$fetched_ms", record->fetched_ms);
    return query_run(q);
}

static enum status_code meta_set(struct writer *w, struct str name, int64_t value)
{
    struct query *q = db_query(w->db, "INSERT INTO meta (name, value) VALUES ($name, $value) "
                                      "ON CONFLICT (name) DO UPDATE SET value = $value");
    query_bind_words(q, "$name", name);
    query_bind_int(q, "$value", value);
    return query_run(q);
}

enum status_code store_clock_note(struct writer *w, int64_t clock_ms, int64_t wall_ms)
{
    enum status_code status = meta_set(w, STR("queue_ms"), clock_ms);
    return status == STATUS_OK ? meta_set(w, STR("queue_wall_ms"), wall_ms) : status;
}

enum status_code trace_known(struct db *db, struct str trace_id, bool *ret_known)
{
    struct query *q = db_query(db, "SELECT 1 FROM trace WHERE trace_id = $trace_id LIMIT 1");
    query_bind_words(q, "$trace_id", trace_id);
    *ret_known = query_next(q);
    return query_end(q);
}
