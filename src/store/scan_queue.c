#include "store/body.h"
#include "store/queue_write.h"
#include "store/rows.h"

/* How the vault finds what is due. */

/* ---- Rows --------------------------------------------------------------------------------------
 */

#define FOUND_COLUMNS                                                                              \
    "SELECT q.id, q.outgoing, q.destination, q.lane, q.due_ms, q.attention_ms, q.held, q.task, "   \
    "q.attempts, q.notify, q.noticed, q.recipient, q.orcpt, q.last_status, q.last_words, "         \
    "q.last_remote, o.body, o.size, o.account, o.sender, o.trace_id, o.received_ms, "              \
    "o.created_ms, o.expires_ms, o.ret, o.body_type, o.utf8, o.requiretls, o.by_mode, "            \
    "o.by_trace, o.by_ms, o.priority, o.envid, o.prefix "                                          \
    "FROM queue q CROSS JOIN outgoing o ON o.id = q.outgoing "

#define LANE_SQL(lane)                                                                             \
    FOUND_COLUMNS "WHERE q.destination = $destination AND q.lane = " lane " AND q.held = 0 "       \
                  "AND (q.due_ms, q.id) > ($at_ms, $id) ORDER BY q.due_ms, q.id"

/* A statement each: lanes are scanned side by side. */
static const char *const lane_sql[] = {LANE_SQL("0"), LANE_SQL("1"), LANE_SQL("2")};

static void bind_place(struct query *q, struct queue_place behind)
{
    query_bind_int(q, "$at_ms", behind.at_ms);
    query_bind_int(q, "$id", (int64_t)behind.id);
}

void queue_scan_lane(struct queue_scan *s, struct db *db, uint64_t destination, uint8_t lane,
                     struct queue_place behind)
{
    s->query = db_query(db, lane_sql[lane]);
    query_bind_int(s->query, "$destination", (int64_t)destination);
    bind_place(s->query, behind);
}

void queue_scan_attention(struct queue_scan *s, struct db *db, struct queue_place behind)
{
    s->query = db_query(db, FOUND_COLUMNS "WHERE q.held = 0 AND (q.attention_ms, q.id) > "
                                          "($at_ms, $id) ORDER BY q.attention_ms, q.id");
    bind_place(s->query, behind);
}

void queue_scan_row(struct queue_scan *s, struct db *db, uint64_t id)
{
    s->query = db_query(db, FOUND_COLUMNS "WHERE q.id = $id");
    query_bind_int(s->query, "$id", (int64_t)id);
}

static struct text column_text(const struct query *q, int column)
{
    return text_from(query_bytes(q, column));
}

static struct waiting_row waiting_row(const struct query *q)
{
    return (struct waiting_row){
        .id = (uint64_t)query_int(q, 0),
        .outgoing = (uint64_t)query_int(q, 1),
        .destination = (uint64_t)query_int(q, 2),
        .lane = (uint8_t)query_int(q, 3),
        .due_ms = query_int(q, 4),
        .attention_ms = query_int(q, 5),
        .held = query_int(q, 6) != 0,
        .task = (uint8_t)query_int(q, 7),
        .attempts = (uint32_t)query_int(q, 8),
        .notify = (uint8_t)query_int(q, 9),
        .noticed = query_int(q, 10) != 0,
        .recipient = column_text(q, 11),
        .orcpt = column_text(q, 12),
        .last_status = query_bytes(q, 13),
        .last_words = column_text(q, 14),
        .last_remote = column_text(q, 15),
    };
}

static struct outgoing_row outgoing_row(const struct query *q)
{
    return (struct outgoing_row){
        .id = (uint64_t)query_int(q, 1),
        .body = (uint64_t)query_int(q, 16),
        .size = (uint64_t)query_int(q, 17),
        .account = (uint64_t)query_int(q, 18),
        .sender = column_text(q, 19),
        .trace_id = query_bytes(q, 20),
        .received_ms = query_int(q, 21),
        .created_ms = query_int(q, 22),
        .expires_ms = query_int(q, 23),
        .ret = (uint8_t)query_int(q, 24),
        .body_type = (uint8_t)query_int(q, 25),
        .utf8 = query_int(q, 26) != 0,
        .requiretls = (uint8_t)query_int(q, 27),
        .by_mode = (uint8_t)query_int(q, 28),
        .by_trace = query_int(q, 29) != 0,
        .by_ms = query_int(q, 30),
        .priority = query_int(q, 31),
        .envid = column_text(q, 32),
        .prefix = query_bytes(q, 33),
    };
}

bool queue_scan_next(struct queue_scan *s, struct queue_found *ret_found)
{
    if (!query_next(s->query))
        return false;
    ret_found->row = waiting_row(s->query);
    ret_found->message = outgoing_row(s->query);
    return true;
}

enum status_code queue_scan_end(struct queue_scan *s)
{
    return query_end(s->query);
}

static enum status_code one_time(struct query *q, int64_t *ret_ms)
{
    *ret_ms = query_next(q) && !query_is_null(q, 0) ? query_int(q, 0) : INT64_MAX;
    return query_end(q);
}

enum status_code queue_next_attention(struct db *db, int64_t after_ms, int64_t *ret_ms)
{
    struct query *q = db_query(db, "SELECT attention_ms FROM queue WHERE held = 0 "
                                   "AND attention_ms > $after_ms ORDER BY attention_ms LIMIT 1");
    query_bind_int(q, "$after_ms", after_ms);
    return one_time(q, ret_ms);
}

enum status_code outgoing_body(struct db *db, uint64_t outgoing, uint64_t *ret_body)
{
    struct query *q = db_query(db, "SELECT body FROM outgoing WHERE id = $id");
    query_bind_int(q, "$id", (int64_t)outgoing);
    bool found = query_next(q);
    if (found)
        *ret_body = (uint64_t)query_int(q, 0);
    return row_status(query_end(q), found ? STATUS_OK : STATUS_NOT_FOUND);
}

enum status_code queue_chunk_count(struct db *db, uint64_t body, uint32_t *ret_count)
{
    struct query *q = db_query(db, "SELECT count(*) FROM chunk WHERE id BETWEEN $first AND $last");
    query_bind_int(q, "$first", (int64_t)chunk_id(body, 0));
    query_bind_int(q, "$last", (int64_t)chunk_id(body, BODY_CHUNKS_MAX - 1));
    *ret_count = query_next(q) ? (uint32_t)query_int(q, 0) : 0;
    return query_end(q);
}

static struct body_chunk chunk_row(const struct query *q, struct arena *a, enum status_code *status)
{
    return (struct body_chunk){.codec = (uint8_t)query_int(q, 0),
                               .key_id = (uint32_t)query_int(q, 1),
                               .plain_size = (uint32_t)query_int(q, 2),
                               .hash = row_bytes(q, 3, a, status),
                               .data = row_bytes(q, 4, a, status)};
}

enum status_code queue_chunks(struct db *db, uint64_t body, uint32_t first, size_t size_max,
                              struct arena *a, struct body_chunk **ret_chunks, size_t *ret_count)
{
    struct query *q = db_query(db, "SELECT codec, key_id, plain_size, hash, data FROM chunk "
                                   "WHERE id BETWEEN $first AND $last ORDER BY id");
    query_bind_int(q, "$first", (int64_t)chunk_id(body, first));
    query_bind_int(q, "$last", (int64_t)chunk_id(body, BODY_CHUNKS_MAX - 1));
    struct buf rows;
    buf_init(&rows, ROWS_SIZE_MAX);
    enum status_code status = STATUS_OK;
    for (size_t size = 0; status == STATUS_OK && size < size_max && query_next(q);) {
        struct body_chunk chunk = chunk_row(q, a, &status);
        size += chunk.data.len;
        buf_append(&rows, &chunk, sizeof chunk);
    }
    status = row_status(query_end(q), status);
    void *list = NULL;
    status = rows_to_arena(&rows, sizeof(struct body_chunk), status, a, &list, ret_count);
    if (status == STATUS_OK)
        *ret_chunks = list;
    return status;
}

/* ---- Destinations ------------------------------------------------------------------------------
 */

void destination_scan(struct queue_scan *s, struct db *db, enum destination_class class,
                      struct queue_place behind)
{
    s->query =
        db_query(db, "SELECT id, trouble, bulk, due_ms, name FROM destination "
                     "WHERE (trouble > 0) = $trouble AND bulk = $bulk AND due_ms IS NOT NULL "
                     "AND (due_ms, id) > ($at_ms, $id) ORDER BY due_ms, id");
    query_bind_int(s->query, "$trouble", class >= DESTINATIONS_TROUBLED);
    query_bind_int(s->query, "$bulk", class % 2);
    bind_place(s->query, behind);
}

bool destination_scan_next(struct queue_scan *s, struct destination_state *ret_state)
{
    const struct query *q = s->query;
    if (!query_next(s->query))
        return false;
    *ret_state = (struct destination_state){
        .id = (uint64_t)query_int(q, 0),
        .trouble = (uint32_t)query_int(q, 1),
        .bulk = query_int(q, 2) != 0,
        .due_ms = query_is_null(q, 3) ? INT64_MAX : query_int(q, 3),
        .name = query_bytes(q, 4),
    };
    return true;
}

enum status_code destination_first_due(struct db *db, uint64_t destination,
                                       struct destination_state *ret_state)
{
    struct query *q =
        db_query(db, "SELECT min(due_ms), min(CASE WHEN due_ms IS NOT NULL THEN lane END) FROM ("
                     "SELECT min(due_ms) AS due_ms, 0 AS lane FROM queue "
                     "WHERE destination = $id AND lane = 0 AND held = 0 UNION ALL "
                     "SELECT min(due_ms), 1 FROM queue "
                     "WHERE destination = $id AND lane = 1 AND held = 0 UNION ALL "
                     "SELECT min(due_ms), 2 FROM queue "
                     "WHERE destination = $id AND lane = 2 AND held = 0)");
    query_bind_int(q, "$id", (int64_t)destination);
    *ret_state = (struct destination_state){.id = destination, .due_ms = INT64_MAX};
    if (query_next(q) && !query_is_null(q, 0)) {
        ret_state->due_ms = query_int(q, 0);
        ret_state->bulk = query_int(q, 1) == 2;
    }
    return query_end(q);
}

enum status_code destination_next_due(struct db *db, enum destination_class class, int64_t after_ms,
                                      int64_t *ret_ms)
{
    struct query *q = db_query(db, "SELECT due_ms FROM destination WHERE (trouble > 0) = $trouble "
                                   "AND bulk = $bulk AND due_ms > $after_ms ORDER BY due_ms "
                                   "LIMIT 1");
    query_bind_int(q, "$trouble", class >= DESTINATIONS_TROUBLED);
    query_bind_int(q, "$bulk", class % 2);
    query_bind_int(q, "$after_ms", after_ms);
    return one_time(q, ret_ms);
}
