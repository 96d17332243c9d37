#ifndef POSTERN_STORE_QUEUE_WRITE_H
#define POSTERN_STORE_QUEUE_WRITE_H

#include "store/queue.h"
#include "store/write.h"

/*
 * The queue for its one writer: what it writes (inside a transaction of writer_begin, with the
 * rules of store/write.h), and how it finds the rows whose time has come. All times here are the
 * store's clock's, but for those that say wall.
 */

/* A message on its way to other servers; the columns of the table `outgoing`. */
struct outgoing_row {
    uint64_t id;
    uint64_t body;
    uint64_t size;
    uint64_t account;
    struct text sender;
    struct str trace_id;
    int64_t received_ms; /* wall */
    int64_t created_ms;
    int64_t expires_ms;
    uint8_t ret;
    uint8_t body_type;
    bool utf8;
    uint8_t requiretls; /* as in ipc.table's envelope */
    uint8_t by_mode;
    bool by_trace;
    int64_t by_ms;
    int64_t priority;
    struct text envid;
    struct str prefix;
};

/* A recipient that waits; the columns of the table `queue`. */
struct waiting_row {
    uint64_t id;
    uint64_t outgoing;
    uint64_t destination;
    uint8_t lane;
    int64_t due_ms;
    int64_t attention_ms;
    bool held;
    uint8_t task;
    uint32_t attempts;
    uint8_t notify;
    bool noticed;
    struct text recipient;
    struct text orcpt;
    struct str last_status;
    struct text last_words;
    struct text last_remote;
};

/* Both draw the row's id. */
MUST_USE enum status_code outgoing_insert(struct writer *w, struct outgoing_row *row);
MUST_USE enum status_code waiting_insert(struct writer *w, struct waiting_row *row);

/* Was it there? The message goes by itself: outgoing_end. */
MUST_USE enum status_code waiting_remove(struct writer *w, uint64_t id, bool *ret_removed);

/*
 * Ends a message that no row needs any more, and with it its body where nothing else uses it.
 * *ret_left: so many chunks that they do not all go in one transaction; the body is among those
 * that arrived in pieces then (staging), which somebody has to remove.
 */
MUST_USE enum status_code outgoing_end(struct writer *w, uint64_t outgoing, uint64_t body,
                                       uint64_t size, bool *ret_left);

/* A message's body; STATUS_NOT_FOUND: it is gone. */
MUST_USE enum status_code outgoing_body(struct db *db, uint64_t outgoing, uint64_t *ret_body);

/* What an attempt came to. */
struct attempt {
    int64_t at_wall_ms;
    struct str status;
    struct text words;
    struct text remote;
};

/* Later: but a row that an operator has told to bounce meanwhile stays as it is. */
MUST_USE enum status_code waiting_defer(struct writer *w, uint64_t id, int64_t due_ms,
                                        int64_t attention_ms, bool noticed,
                                        const struct attempt *attempt);

/*
 * It has been handed over: from now on only a report is to be made of it (task). False: so it was
 * already.
 */
MUST_USE enum status_code waiting_handed(struct writer *w, uint64_t id, uint8_t task,
                                         int64_t attention_ms, const struct attempt *attempt,
                                         bool *ret_changed);

/* A report could not be made now. */
MUST_USE enum status_code waiting_postpone(struct writer *w, uint64_t id, int64_t attention_ms);

/* The sender has been told that it is late. */
MUST_USE enum status_code waiting_noticed(struct writer *w, uint64_t id, int64_t attention_ms);

MUST_USE enum status_code waiting_move(struct writer *w, uint64_t id, uint64_t destination,
                                       int64_t due_ms);

/*
 * The operator's; held: as it was before. What is released is tried before its sender is told that
 * its time is over: for an hour it needs no attention.
 */
MUST_USE enum status_code waiting_hold(struct writer *w, uint64_t id);
MUST_USE enum status_code waiting_release(struct writer *w, uint64_t id, bool held, int64_t due_ms);
MUST_USE enum status_code waiting_bounce(struct writer *w, uint64_t id, bool held,
                                         int64_t attention_ms, struct text words);

/* ---- Finding what is due ------------------------------------------------------------------------
 */

/* A place in an order by time, then by id. */
struct queue_place {
    int64_t at_ms;
    uint64_t id;
};

static inline bool place_before(struct queue_place a, struct queue_place b)
{
    return a.at_ms < b.at_ms || (a.at_ms == b.at_ms && a.id < b.id);
}

/*
 * Rows that are not held, with their messages: of one lane of a destination in the order of
 * due_ms, or of all in the order of attention_ms, those behind a place; or one row, held or not.
 * Between a scan's first step and its end a read transaction is open.
 */
struct queue_scan {
    struct query *query;
};

struct queue_found {
    struct waiting_row row;
    struct outgoing_row message; /* everything borrowed until the next step */
};

void queue_scan_lane(struct queue_scan *s, struct db *db, uint64_t destination, uint8_t lane,
                     struct queue_place behind);
void queue_scan_attention(struct queue_scan *s, struct db *db, struct queue_place behind);
void queue_scan_row(struct queue_scan *s, struct db *db, uint64_t id);
bool queue_scan_next(struct queue_scan *s, struct queue_found *ret_found);
MUST_USE enum status_code queue_scan_end(struct queue_scan *s);

/* The earliest attention_ms after that time; INT64_MAX: none. */
MUST_USE enum status_code queue_next_attention(struct db *db, int64_t after_ms, int64_t *ret_ms);

/* How many chunks a body has. */
MUST_USE enum status_code queue_chunk_count(struct db *db, uint64_t body, uint32_t *ret_count);

/* Chunks of a body from `first` on, until `size_max` octets or the end, in the arena. */
MUST_USE enum status_code queue_chunks(struct db *db, uint64_t body, uint32_t first,
                                       size_t size_max, struct arena *a,
                                       struct body_chunk **ret_chunks, size_t *ret_count);

/* ---- Destinations ------------------------------------------------------------------------------
 */

/* Its id, made where there is none. */
MUST_USE enum status_code destination_get(struct writer *w, struct str name,
                                          uint64_t *ret_destination);

struct destination_state {
    uint64_t id;
    uint32_t trouble;
    bool bulk;       /* all that waits is of the third lane */
    int64_t due_ms;  /* INT64_MAX: nothing waits */
    struct str name; /* borrowed; only from destination_scan_next */
};

/* A row of the third lane or of others (bulk) waits there from due_ms on; where nobody gets
 * through, its own time counts. */
MUST_USE enum status_code destination_wanted(struct writer *w, uint64_t destination, bool bulk,
                                             int64_t due_ms, struct destination_state *ret_state);

/*
 * What was learned of it, when the courier is done with it; not_before_ms: nobody goes there
 * before. Its due_ms becomes that of its first row.
 */
struct destination_news {
    bool arrived; /* false: only due_ms is to be set right */
    bool trouble;
    int64_t not_before_ms;
    int64_t at_ms;
    struct text words;
};

MUST_USE enum status_code destination_settle(struct writer *w, uint64_t destination,
                                             const struct destination_news *news,
                                             struct destination_state *ret_state);

/*
 * Those for which something waits, by due_ms, behind a place: each of these classes has a turn of
 * its own, so that neither dead hosts nor one sender's list of a hundred thousand domains delay
 * others.
 */
enum destination_class {
    DESTINATIONS_USUAL,
    DESTINATIONS_BULK,
    DESTINATIONS_TROUBLED,
    DESTINATIONS_TROUBLED_BULK,
    DESTINATION_CLASSES,
};

static inline enum destination_class destination_class(const struct destination_state *state)
{
    return (state->trouble > 0 ? DESTINATIONS_TROUBLED : DESTINATIONS_USUAL) + state->bulk;
}

void destination_scan(struct queue_scan *s, struct db *db, enum destination_class class,
                      struct queue_place behind);
bool destination_scan_next(struct queue_scan *s, struct destination_state *ret_state);

/* It is due at that time at the latest, whatever trouble there was. */
MUST_USE enum status_code destination_hurry(struct writer *w, uint64_t destination, int64_t due_ms,
                                            struct destination_state *ret_state);

/* due_ms and bulk as its rows that are not held have them. */
MUST_USE enum status_code destination_first_due(struct db *db, uint64_t destination,
                                                struct destination_state *ret_state);

/* The earliest due_ms after that time; INT64_MAX: none. */
MUST_USE enum status_code destination_next_due(struct db *db, enum destination_class class,
                                               int64_t after_ms, int64_t *ret_ms);

/* ---- Beside the rows ----------------------------------------------------------------------------
 */

/* Counts recipients; *ret_total: all of that day (of the store's clock). */
MUST_USE enum status_code sent_add(struct writer *w, int64_t counted, int64_t day,
                                   uint64_t recipients, uint64_t *ret_total);

/* day: of the wall, UTC, as reports have them. */
MUST_USE enum status_code tls_result_add(struct writer *w, int64_t day,
                                         const struct tls_result_row *row);

MUST_USE enum status_code sts_policy_set(struct writer *w, struct str domain,
                                         const struct sts_record *record);

/* Notes what the store's clock shows at wall_ms. */
MUST_USE enum status_code store_clock_note(struct writer *w, int64_t clock_ms, int64_t wall_ms);

/* Is anything known of a message of that trace id? */
MUST_USE enum status_code trace_known(struct db *db, struct str trace_id, bool *ret_known);

#endif
