#ifndef POSTERN_STORE_QUEUE_H
#define POSTERN_STORE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"
#include "base/str.h"
#include "base/text.h"
#include "store/db.h"

/*
 * What is known of mail on its way to other servers, for those who look: operators, `postern
 * explain`, TLS reports. Nothing here writes, and nothing is left open when a function returns.
 * Results in an arena live as long as it. The steps of a message are read_trace (store/read.h).
 *
 * The queue's times are on the store's clock (store/clock.h); here they come out relative to
 * now. wall_ms is the wall clock's time, which tells how far the store's clock has come since it
 * was last noted.
 */

/* Which rows: all conditions that are given; zero and empty are not given. */
struct queue_selection {
    uint64_t id;
    struct str trace_id;
    struct text sender; /* letters in any case; "<>" is the null sender */
    struct text recipient;
    struct str domain; /* of the recipient, A-labels or as written */
    int64_t older_ms;
    int64_t younger_ms;
    bool held_only;
};

/* A recipient that waits. */
struct queue_row {
    uint64_t id;
    uint64_t outgoing; /* the message: rows of one message share it */
    uint64_t destination;
    struct str destination_name; /* empty: nowhere, a report is to be made */
    struct str trace_id;
    struct text sender;
    struct text recipient;
    struct text orcpt;
    uint64_t account; /* whose submission it was, or 0 */
    uint64_t size;
    uint32_t attempts;
    uint8_t lane;
    uint8_t task; /* as in ipc.table's job_recipient */
    uint8_t notify;
    bool held;
    bool noticed;
    int64_t received_ms; /* the wall's */
    int64_t age_ms;
    int64_t due_in_ms;     /* not before the destination's */
    int64_t expires_in_ms; /* then it is bounced */
    int64_t last_ms;       /* the last attempt, the wall's; 0: none yet */
    struct str last_status;
    struct text last_words;
    struct text last_remote;
};

/*
 * The rows that are selected among the next `examined` ones behind the row `after`, in the order of
 * their ids. *ret_through: where to go on; 0: that was the last. So a search among a million rows
 * is done in slices.
 */
MUST_USE enum status_code read_queue(struct db *db, const struct queue_selection *selection,
                                     int64_t clock_ms, uint64_t after, uint32_t examined,
                                     struct arena *a, struct queue_row **ret_rows,
                                     size_t *ret_count, uint64_t *ret_through);

/* What the store's clock shows when the wall's shows wall_ms: clock_ms above and below. */
MUST_USE enum status_code read_store_clock(struct db *db, int64_t wall_ms, int64_t *ret_clock_ms);

/* The last note of the clock; zeros before the first. */
struct clock_note {
    int64_t clock_ms;
    int64_t wall_ms;
};

MUST_USE enum status_code read_clock_note(struct db *db, struct clock_note *ret_note);

/* Rows that wait, and those among them that an operator (or a limit) holds. */
struct queue_numbers {
    uint64_t waiting;
    uint64_t held;
};

MUST_USE enum status_code read_queue_numbers(struct db *db, struct queue_numbers *ret_numbers);

/* ---- Destinations -----------------------------------------------------------------------------
 */

struct destination_row {
    uint64_t id;
    struct str name;
    uint32_t trouble;  /* failures in a row */
    int64_t due_in_ms; /* INT64_MAX: nothing waits for it */
    struct text last_words;
};

/* STATUS_NOT_FOUND: nothing is known of it. */
MUST_USE enum status_code read_destination(struct db *db, struct str name, int64_t clock_ms,
                                           struct arena *a, struct destination_row *ret_row);

/* The next destinations, by name; go on behind the last one's name. Fewer than max: that was all.
 */
MUST_USE enum status_code read_destinations(struct db *db, struct str after, uint32_t max,
                                            int64_t clock_ms, struct arena *a,
                                            struct destination_row **ret_rows, size_t *ret_count);

/* How many rows wait for it; counting ends at max. */
MUST_USE enum status_code read_destination_waiting(struct db *db, uint64_t destination,
                                                   uint32_t max, uint64_t *ret_waiting);

/* ---- Accounts, policies, TLS -------------------------------------------------------------------
 */

/* Who is counted: an account by its id, which is above 0, a user of this machine below 0. */
static inline int64_t sent_by_user(uint32_t uid)
{
    return -1 - (int64_t)uid;
}

static inline uint32_t sent_user(int64_t counted)
{
    return (uint32_t)(-1 - counted);
}

/* Days are those of the store's clock: clock_ms / (24 * 60 * 60 * 1000). */
MUST_USE enum status_code read_sent(struct db *db, int64_t counted, int64_t day,
                                    uint64_t *ret_recipients);

struct sts_record {
    struct text id;
    struct text policy;
    int64_t fetched_ms; /* the store's clock */
};

/* STATUS_NOT_FOUND: none was seen. */
MUST_USE enum status_code read_sts_policy(struct db *db, struct str domain, struct arena *a,
                                          struct sts_record *ret_record);

/* For reports as of TLSRPT. policy_type: 0 no-policy-found, 1 tlsa, 2 sts. result: empty for
 * success. */
struct tls_result_row {
    struct str domain;
    uint8_t policy_type;
    struct text policy;
    struct str mx;
    struct str result;
    struct str receiving_ip;
    struct str sending_ip;
    struct text words;
    uint64_t sessions;
};

/* Of a day, in the order of domain, policy type, policy. */
MUST_USE enum status_code read_tls_results(struct db *db, int64_t day, struct arena *a,
                                           struct tls_result_row **ret_rows, size_t *ret_count);

#endif
