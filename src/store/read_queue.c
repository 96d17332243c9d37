#include "store/queue.h"

#include "store/clock.h"
#include "store/rows.h"

/* ---- Rows --------------------------------------------------------------------------------------
 */

#define NULL_SENDER STR("<>")

/* Everything behind the last @ of an address. */
static struct str domain_of(struct str address)
{
    ptrdiff_t at = str_rfind_byte(address, '@');
    return at < 0 ? STR("") : str_skip(address, (size_t)at + 1);
}

/* What is asked of a row's own words. */
static bool names_match(const struct queue_selection *s, const struct query *q)
{
    struct str sender = query_bytes(q, 4), recipient = query_bytes(q, 5);
    struct str wanted = text_peek(s->sender);
    if (str_empty(sender))
        sender = NULL_SENDER;
    return (str_empty(wanted) || str_eq_nocase(sender, wanted)) &&
           (str_empty(text_peek(s->recipient)) ||
            str_eq_nocase(recipient, text_peek(s->recipient))) &&
           (str_empty(s->domain) || str_eq_nocase(domain_of(recipient), s->domain)) &&
           (str_empty(s->trace_id) || str_eq(query_bytes(q, 3), s->trace_id));
}

static bool is_selected(const struct queue_selection *s, const struct query *q, int64_t clock_ms)
{
    int64_t age_ms = clock_ms - query_int(q, 18);
    return (s->id == 0 || (uint64_t)query_int(q, 0) == s->id) &&
           (s->older_ms == 0 || age_ms >= s->older_ms) &&
           (s->younger_ms == 0 || age_ms <= s->younger_ms) &&
           (!s->held_only || query_int(q, 13) != 0) && names_match(s, q);
}

static struct text row_text(const struct query *q, int column, struct arena *a,
                            enum status_code *status)
{
    return text_from(row_bytes(q, column, a, status));
}

static struct queue_row queue_row(const struct query *q, int64_t clock_ms, struct arena *a,
                                  enum status_code *status)
{
    return (struct queue_row){
        .id = (uint64_t)query_int(q, 0),
        .outgoing = (uint64_t)query_int(q, 1),
        .destination = (uint64_t)query_int(q, 2),
        .trace_id = row_bytes(q, 3, a, status),
        .sender = row_text(q, 4, a, status),
        .recipient = row_text(q, 5, a, status),
        .orcpt = row_text(q, 6, a, status),
        .account = (uint64_t)query_int(q, 7),
        .size = (uint64_t)query_int(q, 8),
        .attempts = (uint32_t)query_int(q, 9),
        .lane = (uint8_t)query_int(q, 10),
        .task = (uint8_t)query_int(q, 11),
        .notify = (uint8_t)query_int(q, 12),
        .held = query_int(q, 13) != 0,
        .noticed = query_int(q, 14) != 0,
        .received_ms = query_int(q, 17),
        .age_ms = clock_ms - query_int(q, 18),
        .due_in_ms = query_int(q, 15) > clock_ms ? query_int(q, 15) - clock_ms : 0,
        .expires_in_ms = query_int(q, 19) > clock_ms ? query_int(q, 19) - clock_ms : 0,
        .last_ms = query_int(q, 16),
        .last_status = row_bytes(q, 20, a, status),
        .last_words = row_text(q, 21, a, status),
        .last_remote = row_text(q, 22, a, status),
        .destination_name = row_bytes(q, 23, a, status),
    };
}

enum status_code read_queue(struct db *db, const struct queue_selection *selection,
                            int64_t clock_ms, uint64_t after, uint32_t examined, struct arena *a,
                            struct queue_row **ret_rows, size_t *ret_count, uint64_t *ret_through)
{
    struct query *q = db_query(
        db, "SELECT q.id, q.outgoing, q.destination, o.trace_id, o.sender, q.recipient, q.orcpt, "
            "o.account, o.size, q.attempts, q.lane, q.task, q.notify, q.held, q.noticed, q.due_ms, "
            "q.last_ms, o.received_ms, o.created_ms, o.expires_ms, q.last_status, q.last_words, "
            "q.last_remote, (SELECT name FROM destination WHERE id = q.destination) "
            "FROM queue q CROSS JOIN outgoing o ON o.id = q.outgoing "
            "WHERE q.id > $after AND q.id <= $last ORDER BY q.id LIMIT $examined");
    /* A row by its id is found at once. */
    bool one = selection->id > after;
    query_bind_int(q, "$after", (int64_t)(one ? selection->id - 1 : after));
    query_bind_int(q, "$last", selection->id ? (int64_t)selection->id : INT64_MAX);
    query_bind_int(q, "$examined", examined);
    struct buf rows;
    buf_init(&rows, ROWS_SIZE_MAX);
    enum status_code status = STATUS_OK;
    uint64_t through = 0;
    uint32_t seen = 0;
    for (; status == STATUS_OK && query_next(q); seen++) {
        through = (uint64_t)query_int(q, 0);
        if (!is_selected(selection, q, clock_ms))
            continue;
        struct queue_row row = queue_row(q, clock_ms, a, &status);
        buf_append(&rows, &row, sizeof row);
    }
    status = row_status(query_end(q), status);
    void *list = NULL;
    status = rows_to_arena(&rows, sizeof(struct queue_row), status, a, &list, ret_count);
    if (status == STATUS_OK) {
        *ret_rows = list;
        *ret_through = seen == examined && selection->id == 0 ? through : 0;
    }
    return status;
}

enum status_code read_clock_note(struct db *db, struct clock_note *ret_note)
{
    struct query *q =
        db_query(db, "SELECT coalesce((SELECT value FROM meta WHERE name = 'queue_ms'), 0), "
                     "coalesce((SELECT value FROM meta WHERE name = 'queue_wall_ms'), 0)");
    if (query_next(q))
        *ret_note = (struct clock_note){query_int(q, 0), query_int(q, 1)};
    return query_end(q);
}

enum status_code read_store_clock(struct db *db, int64_t wall_ms, int64_t *ret_clock_ms)
{
    struct clock_note note = {0};
    enum status_code status = read_clock_note(db, &note);
    if (status == STATUS_OK)
        *ret_clock_ms = store_clock_after(note.clock_ms, note.wall_ms, wall_ms);
    return status;
}

enum status_code read_queue_numbers(struct db *db, struct queue_numbers *ret_numbers)
{
    struct query *q = db_query(db, "SELECT waiting, held FROM counter WHERE id = 1");
    if (query_next(q))
        *ret_numbers = (struct queue_numbers){(uint64_t)query_int(q, 0), (uint64_t)query_int(q, 1)};
    return query_end(q);
}

/* ---- Destinations ------------------------------------------------------------------------------
 */

#define DESTINATION_COLUMNS "SELECT id, name, trouble, due_ms, last_words FROM destination "

static struct destination_row destination_row(const struct query *q, int64_t clock_ms,
                                              struct arena *a, enum status_code *status)
{
    int64_t due_ms = query_int(q, 3);
    return (struct destination_row){
        .id = (uint64_t)query_int(q, 0),
        .name = row_bytes(q, 1, a, status),
        .trouble = (uint32_t)query_int(q, 2),
        .due_in_ms = query_is_null(q, 3) ? INT64_MAX
                     : due_ms > clock_ms ? due_ms - clock_ms
                                         : 0,
        .last_words = row_text(q, 4, a, status),
    };
}

enum status_code read_destination(struct db *db, struct str name, int64_t clock_ms, struct arena *a,
                                  struct destination_row *ret_row)
{
    struct query *q = db_query(db, DESTINATION_COLUMNS "WHERE name = $name");
    query_bind_words(q, "$name", name);
    enum status_code read = STATUS_NOT_FOUND;
    if (query_next(q)) {
        read = STATUS_OK;
        *ret_row = destination_row(q, clock_ms, a, &read);
    }
    return row_status(query_end(q), read);
}

enum status_code read_destinations(struct db *db, struct str after, uint32_t max, int64_t clock_ms,
                                   struct arena *a, struct destination_row **ret_rows,
                                   size_t *ret_count)
{
    struct query *q =
        db_query(db, DESTINATION_COLUMNS "WHERE name > $after ORDER BY name LIMIT $max");
    query_bind_words(q, "$after", after);
    query_bind_int(q, "$max", max);
    struct buf rows;
    buf_init(&rows, ROWS_SIZE_MAX);
    enum status_code status = STATUS_OK;
    while (status == STATUS_OK && query_next(q)) {
        struct destination_row row = destination_row(q, clock_ms, a, &status);
        buf_append(&rows, &row, sizeof row);
    }
    status = row_status(query_end(q), status);
    void *list = NULL;
    status = rows_to_arena(&rows, sizeof(struct destination_row), status, a, &list, ret_count);
    if (status == STATUS_OK)
        *ret_rows = list;
    return status;
}

static enum status_code one_number(struct query *q, uint64_t *ret_number)
{
    *ret_number = query_next(q) ? (uint64_t)query_int(q, 0) : 0;
    return query_end(q);
}

enum status_code read_destination_waiting(struct db *db, uint64_t destination, uint32_t max,
                                          uint64_t *ret_waiting)
{
    struct query *q = db_query(db, "SELECT count(*) FROM (SELECT 1 FROM queue "
                                   "WHERE destination = $destination AND held = 0 LIMIT $max)");
    query_bind_int(q, "$destination", (int64_t)destination);
    query_bind_int(q, "$max", max);
    return one_number(q, ret_waiting);
}

/* ---- Accounts, policies, TLS -------------------------------------------------------------------
 */

enum status_code read_sent(struct db *db, int64_t counted, int64_t day, uint64_t *ret_recipients)
{
    struct query *q =
        db_query(db, "SELECT recipients FROM sent WHERE account = $account AND day = $day");
    query_bind_int(q, "$account", counted);
    query_bind_int(q, "$day", day);
    return one_number(q, ret_recipients);
}

enum status_code read_sts_policy(struct db *db, struct str domain, struct arena *a,
                                 struct sts_record *ret_record)
{
    struct query *q =
        db_query(db, "SELECT id, policy, fetched_ms FROM sts_policy WHERE domain = $domain");
    query_bind_words(q, "$domain", domain);
    enum status_code read = STATUS_NOT_FOUND;
    if (query_next(q)) {
        read = STATUS_OK;
        *ret_record = (struct sts_record){.id = row_text(q, 0, a, &read),
                                          .policy = row_text(q, 1, a, &read),
                                          .fetched_ms = query_int(q, 2)};
    }
    return row_status(query_end(q), read);
}

static struct tls_result_row tls_result_row(const struct query *q, struct arena *a,
                                            enum status_code *status)
{
    return (struct tls_result_row){
        .domain = row_bytes(q, 0, a, status),
        .policy_type = (uint8_t)query_int(q, 1),
        .policy = row_text(q, 2, a, status),
        .mx = row_bytes(q, 3, a, status),
        .result = row_bytes(q, 4, a, status),
        .receiving_ip = row_bytes(q, 5, a, status),
        .sending_ip = row_bytes(q, 6, a, status),
        .words = row_text(q, 7, a, status),
        .sessions = (uint64_t)query_int(q, 8),
    };
}

enum status_code read_tls_results(struct db *db, int64_t day, struct arena *a,
                                  struct tls_result_row **ret_rows, size_t *ret_count)
{
    struct query *q = db_query(
        db, "SELECT domain, policy_type, policy, mx, result, receiving_ip, sending_ip, words, "
            "sessions FROM tls_result WHERE day = $day ORDER BY domain, policy_type, policy, mx, "
            "result");
    query_bind_int(q, "$day", day);
    struct buf rows;
    buf_init(&rows, ROWS_SIZE_MAX);
    enum status_code status = STATUS_OK;
    while (status == STATUS_OK && query_next(q)) {
        struct tls_result_row row = tls_result_row(q, a, &status);
        buf_append(&rows, &row, sizeof row);
    }
    status = row_status(query_end(q), status);
    void *list = NULL;
    status = rows_to_arena(&rows, sizeof(struct tls_result_row), status, a, &list, ret_count);
    if (status == STATUS_OK)
        *ret_rows = list;
    return status;
}
