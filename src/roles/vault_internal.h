#ifndef POSTERN_ROLES_VAULT_INTERNAL_H
#define POSTERN_ROLES_VAULT_INTERNAL_H

#include "base/arena.h"
#include "base/buf.h"
#include "roles/change.h"
#include "roles/vault_batch.h"
#include "roles/vault_budget.h"
#include "roles/vault_queue.h"
#include "store/write.h"

/* What the files of the vault's batch share (vault_batch.c, _accept, _mailbox, _directory). */

/* A body that arrives in pieces. It ends with the accept or append that names it. */
struct staged_body {
    struct staged_body *next;
    void *owner;
    uint64_t number; /* the sender's */
    uint64_t body;   /* the store's */
    uint64_t chunks;
    uint64_t size;
    bool complete; /* a chunk shorter than a full one has come, so it must have been the last */
    bool touched;  /* in this batch */
    bool used;     /* an email of this batch has it */
    bool stored;   /* chunks of it are committed, and have no email */
    bool lost;     /* those are to be removed; what comes still is refused */
    bool removed;  /* in this batch */
    bool put_off;  /* they could not be removed: not again before a batch has been committed */
    bool alone;    /* and then in a batch in which nobody else could fail by it */
    bool ended;    /* the sender will not name it again */
};

/* A long request that waits for a later transaction. */
struct put_off {
    struct put_off *next;
    struct vault_ticket ticket;
    uint64_t actor;
    uint8_t type;
    struct arena arena;
    size_t size; /* in memory */
    union {
        struct ipc_flags_store_in flags_store;
        struct ipc_copy_in copy;
        struct ipc_expunge_in expunge;
    };
};

/* What is counted in memory, as it was when a savepoint was set. */
struct vault_guarded {
    uint64_t waiting, held;
    uint64_t learned;
    size_t held_len;
};

struct vault_batch {
    struct writer writer;
    bool gathering;           /* requests have come since the last commit */
    bool open;                /* a transaction is */
    bool urgent;              /* somebody waits for it */
    enum status_code failure; /* the environment's; the transaction is doomed */
    unsigned careful;         /* batches left in which each accept can be undone by itself */
    struct vault_budget budget;
    struct purge purge;
    int64_t purged_hour; /* of the clock: in each, all there is is looked at once */

    struct arena results; /* of this batch's replies */
    struct buf replies;   /* struct vault_reply */
    size_t replied;
    struct buf changes; /* struct ipc_change */
    bool told;

    struct staged_body *staged;
    struct put_off *put_off;
    struct put_off **put_off_end;
    size_t put_off_size;
    struct vault_numbers numbers;
    struct vault_queue queue;
    struct vault_guarded guarded;
};

/* The first request of a batch: the results of the batch before are not needed any more. */
void vault_batch_gather(struct vault_batch *b);

/*
 * True: the request may be done; a transaction is open. False: the batch is doomed already. urgent:
 * somebody waits for its end.
 */
bool vault_batch_begin(struct vault_batch *b, bool urgent);

/* Is it the environment's failure, which dooms the batch? */
bool vault_is_failure(enum status_code status);

/* Notes a failure, if it is one. */
void vault_note(struct vault_batch *b, enum status_code status);

/* Queues the reply. out->status decides; a reply of a doomed batch is made over at the commit. */
void vault_answer(struct vault_batch *b, const struct vault_reply *reply);

/* Runs between savepoints a request that may fail after it wrote. */
MUST_USE enum status_code vault_guard(struct vault_batch *b);
MUST_USE enum status_code vault_unguard(struct vault_batch *b, enum status_code status);

void vault_changed(struct vault_batch *b, const struct ipc_change *change);

/*
 * Stores an email's chunks, or takes over the staged body it names. STATUS_INVALID: they do not
 * make the size that is claimed.
 */
MUST_USE enum status_code vault_take_body(struct vault_batch *b, void *owner,
                                          const struct ipc_email *email, uint64_t *ret_body);

/* Whether the chunks or the staged body are sound; writes nothing. */
MUST_USE enum status_code vault_check_body(struct vault_batch *b, void *owner,
                                           const struct ipc_email *email);

/* The body named by a request that failed is not wanted any more. */
void vault_drop_body(struct vault_batch *b, void *owner, uint64_t number);

/* The request that took it was undone by itself. */
void vault_unuse_body(struct vault_batch *b, void *owner, uint64_t number);

/* Chunks of a body that nothing needs are removed in the batches that follow. */
void vault_leave_body(struct vault_batch *b, uint64_t body);

/*
 * A message as vault_accept takes it, in the open transaction; prefix: in front of what goes to
 * other servers. *ret_results: of the batch's memory, NULL where there is none.
 */
MUST_USE enum status_code vault_accept_message(struct vault_batch *b, void *owner,
                                               const struct ipc_accept_in *in, struct str prefix,
                                               struct ipc_accept_result **ret_results);

bool vault_is_trace_id(struct str id);

struct email_new vault_email(const struct ipc_email *email, struct str trace_id,
                             int64_t received_ms);

/* After a commit (or its failure): what became of the staged bodies of the batch. */
void vault_settle_bodies(struct vault_batch *b, bool committed);

/* Removes chunks of lost bodies in the open transaction, a few at a time. */
void vault_remove_lost(struct vault_batch *b);
bool vault_has_lost(const struct vault_batch *b);

/* Takes up what was put off, as far as one transaction may go. */
void vault_take_up(struct vault_batch *b);
void vault_put_off_free(struct put_off *p);

#endif
