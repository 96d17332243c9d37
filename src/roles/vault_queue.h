#ifndef POSTERN_ROLES_VAULT_QUEUE_H
#define POSTERN_ROLES_VAULT_QUEUE_H

#include "policy/lane.h"
#include "roles/vault_batch.h"
#include "store/clock.h"
#include "store/queue_write.h"

/*
 * What the vault keeps in memory of the queue: which rows are out on lease, which destinations a
 * courier is at, and how far it has looked. It grows with what is being delivered, never with what
 * waits, and is empty after a start: nothing is scanned then.
 *
 * Rows and destinations are looked for behind a place, so that those out on lease are not walked
 * again and again. Whatever makes a row or a destination due in front of such a place takes the
 * place back to just before it (vault_row_waits, vault_attention_waits, vault_destination_waits).
 * A place too far back costs a walk; too far forward it would leave mail behind.
 */

/* A row out on lease. It ends with the commit of its outcome, or with its courier. */
struct lease {
    struct lease *next; /* of its slot */
    struct lease *next_settled;
    void *owner;
    uint64_t id;
    uint64_t outgoing;
    uint64_t body;
    uint64_t size;
    uint64_t destination;
    int64_t due_ms;
    int64_t attention_ms;
    int64_t expires_ms;
    uint8_t lane;
    uint8_t task;
    bool settled;  /* by an outcome of this batch */
    bool reported; /* and a report of it was taken */
    uint16_t trace_len;
    uint16_t recipient_len;
    char bytes[]; /* trace id, recipient */
};

/* A destination a courier is at. */
struct active {
    struct active *next; /* of its slot */
    void *owner;
    uint64_t id;
    struct queue_place lanes[LANES]; /* rows up to here are leased, or gone */
    unsigned turn;                   /* of the lanes */
    int64_t next_due_ms;             /* of its rows, where all that are due have been leased */
    bool ready;                      /* its courier was told of rows, and has not asked since */
    bool ended;                      /* in this batch */
};

/* A courier that has said what it holds, or is at it: a long list takes several turns. */
struct vault_courier {
    struct vault_courier *next;
    void *owner;
    struct ipc_held *held; /* what it said; NULL: all of that is on lease to it */
    size_t held_count;
    size_t held_at; /* rows before are done */
    struct vault_ticket resume;
    bool new_here; /* in this batch: if that is undone, it has to say so again */
    bool told;     /* that some destination has work, since it asked last */
    bool fresh;    /* is to be told so */
    struct buf ready;
    struct buf telling; /* borrowed by the note */
};

/* A name's id, remembered; a slot is whoever came last. */
struct known_destination {
    uint64_t id;
    uint16_t len;
    char name[62]; /* longer names are looked up each time */
};

/* A request that is answered from what is committed, so after the commit. */
struct vault_ask {
    struct vault_ticket ticket;
    uint8_t type;
    union {
        struct ipc_lease_in lease;
        struct ipc_outgoing_chunks_in outgoing_chunks;
        struct ipc_sts_get_in sts_get;
    };
};

enum { LEASE_SLOTS = 8192, ACTIVE_SLOTS = 1024, KNOWN_SLOTS = 1024 };

struct vault_queue {
    struct store_clock clock;
    bool clock_runs;
    struct clock_note noted; /* as found at the start */
    int64_t note_ms;         /* on the clock: then it is to be noted again */
    struct now now;
    int64_t clock_ms; /* the store's: what it is in this batch */
    struct vault_settings settings;
    struct lanes lanes;

    struct lease *leases[LEASE_SLOTS];
    size_t lease_count;
    struct lease *settled;
    struct active *actives[ACTIVE_SLOTS];
    bool any_ended;
    struct vault_courier *couriers;
    bool resumed; /* a slice of what one holds, in this turn */

    struct queue_place fresh[DESTINATION_CLASSES]; /* destinations looked at */
    unsigned fresh_turn;                           /* of those with bulk only */
    int64_t revisit_ms; /* then a destination passed by, where all was out, has more */
    struct queue_place attention;
    int64_t promised_ms; /* couriers were told that nothing is due before */

    uint64_t wanted; /* this destination's due_ms is not above this, in this batch */
    int64_t wanted_ms;
    bool wanted_bulk;
    struct buf stale; /* ids of destinations whose due_ms is too early */
    struct known_destination known[KNOWN_SLOTS];
    uint64_t learned; /* names */

    struct arena asking; /* of the asks */
    struct buf asks;     /* struct vault_ask */
    struct buf held;     /* struct vault_held */
    size_t held_told;
};

/* ---- State (vault_queue.c) ---------------------------------------------------------------------
 */

MUST_USE enum status_code vault_queue_open(struct vault_queue *q, struct db *db,
                                           struct queue_numbers *ret_numbers);
void vault_queue_close(struct vault_queue *q);

/* Notes the clock in the open transaction, where the last note is old. */
MUST_USE enum status_code vault_note_clock(struct vault_batch *b);

/* Something is due at that time, or has become so; who must be told will be. */
MUST_USE enum status_code vault_row_waits(struct vault_batch *b, uint64_t destination, uint8_t lane,
                                          int64_t due_ms, uint64_t id);
void vault_attention_waits(struct vault_batch *b, int64_t attention_ms, uint64_t id);
void vault_active_ready(struct vault_queue *q, struct active *active);
void vault_destination_waits(struct vault_batch *b, const struct destination_state *state);

/* destination_get, remembered. */
MUST_USE enum status_code vault_destination(struct vault_batch *b, struct str name,
                                            uint64_t *ret_destination);
bool vault_is_destination(struct str name);

/* What is remembered of an undone transaction's names and times is not so. */
void vault_queue_forget(struct vault_batch *b);

/* A message's rows for the next servers, in the open transaction. */
struct vault_outgoing {
    const struct ipc_accept_in *in;
    const struct ipc_accept_result *results; /* those that are `again` get none */
    struct str prefix;
    uint64_t body;
};

bool vault_is_envelope(const struct ipc_envelope *e);
bool vault_wants_outgoing(const struct ipc_accept_in *in, const struct ipc_accept_result *results);
MUST_USE enum status_code vault_check_relays(const struct ipc_accept_recipient *r);
MUST_USE enum status_code vault_enqueue(struct vault_batch *b, const struct vault_outgoing *o);

/* After the commit, or its failure. */
void vault_queue_settle(struct vault_batch *b, bool committed);

/* Sets right what was found wrong while nothing could be written. */
bool vault_has_stale(const struct vault_batch *b);
void vault_settle_stale(struct vault_batch *b);

/* ---- Leases (vault_lease.c) ---------------------------------------------------------------------
 */

struct lease *vault_lease_find(struct vault_queue *q, uint64_t id);
struct active *vault_active_find(struct vault_queue *q, uint64_t destination);
struct vault_courier *vault_courier_find(struct vault_queue *q, void *owner);

/* One that has said all it holds; NULL: there is none, or it is at it. */
struct vault_courier *vault_courier_ready(struct vault_queue *q, void *owner);
void vault_lease_drop(struct vault_queue *q, struct lease *lease);
void vault_active_drop(struct vault_queue *q, struct active *active);
void vault_courier_gone(struct vault_queue *q, void *owner);

/* Answers what waited for the commit, as much as a turn has time for. */
void vault_serve_asks(struct vault_batch *b);

/* A courier has more to say of what it holds; takes the next slice of that. */
bool vault_is_resuming(const struct vault_batch *b);
void vault_resume_more(struct vault_batch *b);

/* Nothing more is heard of it: the owner's (NULL: everybody's) is answered with STATUS_GONE. */
void vault_resume_abandon(struct vault_batch *b, const void *owner);

/* ---- Traces -------------------------------------------------------------------------------------
 */

/* Appends " key=value", where there is a value. */
void vault_trace_value(struct buf *out, const char *key, struct text value);

#endif
