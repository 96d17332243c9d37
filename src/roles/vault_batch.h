#ifndef POSTERN_ROLES_VAULT_BATCH_H
#define POSTERN_ROLES_VAULT_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/diag.h"
#include "base/now.h"
#include "base/status.h"
#include "base/str.h"
#include "ipc/ipc_messages.h"
#include "store/write.h"

/*
 * The vault without its channels: requests in, one transaction, replies out. The role (vault.c),
 * the simulator and the tests drive it alike.
 *
 *     vault_accept(b, ticket, &in) ...        all requests that are there; each is done at once,
 *                                             in the open transaction; `in` is borrowed
 *     vault_batch_commit(b)                   the transaction is on disk, or none of it happened
 *     vault_batch_changes(b, &changed)        what mailrooms must know first
 *     while (vault_batch_reply(b, &reply))    then the replies, in the order of the requests
 *
 * A request's own failure (no such mailbox, over quota) is in its reply and leaves nothing behind;
 * a failure of the environment (a full disk) fails all requests of the batch and leaves nothing of
 * any. Requests are values: their actor, times and bytes are inside, and nothing here reads a
 * clock; so the same batches on the same database give the same database.
 *
 * The caller has checked who may ask: `actor` is the account of a checked capability. What the
 * actor may do with a mailbox is checked here.
 */
struct vault_batch;

MUST_USE enum status_code vault_batch_open(const char *path, const char *vfs,
                                           struct vault_batch **ret_batch, struct diag *d);
void vault_batch_close(struct vault_batch *b);

/*
 * For the length of transactions: microseconds that never go back. Where there is none, only counts
 * bound them.
 */
void vault_batch_use_clock(struct vault_batch *b, int64_t (*clock_us)(void *context),
                           void *context);

/*
 * What time it is: for the requests that follow, the leases that the next commit grants, and
 * purging. The store's clock (store/clock.h), by which all ages count, starts with the first.
 */
void vault_batch_at(struct vault_batch *b, struct now now);

/* Of the configuration; they count from the next request on. */
struct vault_settings {
    uint64_t recipients_per_day; /* of an account, elsewhere; more are held. 0: no limit */
    int64_t lifetime_ms;         /* then what waits is bounced */
    int64_t delay_notice_ms;     /* then its sender is told, where it asked to be */
};

void vault_batch_set(struct vault_batch *b, const struct vault_settings *settings);

/* Who asked: `owner` is the channel (or what stands for it), for body_chunk's numbers too. */
struct vault_ticket {
    void *owner;
    uint32_t id;
};

/* ---- Requests -------------------------------------------------------------------------------- */

void vault_accept(struct vault_batch *b, struct vault_ticket t, const struct ipc_accept_in *in);
void vault_confirm(struct vault_batch *b, const struct ipc_confirm_in *in);
void vault_body_chunk(struct vault_batch *b, struct vault_ticket t,
                      const struct ipc_body_chunk_in *in);
void vault_body_abort(struct vault_batch *b, void *owner, uint64_t body);

/* The owner is gone: its half-arrived bodies are removed. Replies to it are still made. */
void vault_owner_gone(struct vault_batch *b, void *owner);

void vault_flags_store(struct vault_batch *b, struct vault_ticket t, uint64_t actor,
                       const struct ipc_flags_store_in *in);
void vault_copy(struct vault_batch *b, struct vault_ticket t, uint64_t actor,
                const struct ipc_copy_in *in);
void vault_expunge(struct vault_batch *b, struct vault_ticket t, uint64_t actor,
                   const struct ipc_expunge_in *in);
void vault_append(struct vault_batch *b, struct vault_ticket t, uint64_t actor,
                  const struct ipc_append_in *in);
void vault_mailbox_create(struct vault_batch *b, struct vault_ticket t, uint64_t actor,
                          const struct ipc_mailbox_create_in *in);
void vault_mailbox_delete(struct vault_batch *b, struct vault_ticket t, uint64_t actor,
                          const struct ipc_mailbox_delete_in *in);
void vault_mailbox_rename(struct vault_batch *b, struct vault_ticket t, uint64_t actor,
                          const struct ipc_mailbox_rename_in *in);
void vault_subscribe(struct vault_batch *b, struct vault_ticket t, uint64_t actor,
                     const struct ipc_subscribe_in *in);
void vault_recent_claim(struct vault_batch *b, struct vault_ticket t, uint64_t actor,
                        const struct ipc_recent_claim_in *in);

void vault_domain_add(struct vault_batch *b, struct vault_ticket t,
                      const struct ipc_domain_add_in *in);
void vault_domain_set(struct vault_batch *b, struct vault_ticket t,
                      const struct ipc_domain_set_in *in);
void vault_domain_remove(struct vault_batch *b, struct vault_ticket t,
                         const struct ipc_domain_remove_in *in);

/* With these mailboxes besides INBOX. */
void vault_account_add(struct vault_batch *b, struct vault_ticket t,
                       const struct ipc_account_add_in *in, const struct account_mailbox *mailboxes,
                       size_t mailbox_count);
void vault_account_set(struct vault_batch *b, struct vault_ticket t,
                       const struct ipc_account_set_in *in);
void vault_account_remove(struct vault_batch *b, struct vault_ticket t,
                          const struct ipc_account_remove_in *in);
void vault_address_add(struct vault_batch *b, struct vault_ticket t,
                       const struct ipc_address_add_in *in);
void vault_address_remove(struct vault_batch *b, struct vault_ticket t,
                          const struct ipc_address_remove_in *in);
void vault_alias_set(struct vault_batch *b, struct vault_ticket t,
                     const struct ipc_alias_set_in *in);

/*
 * The queue (ipc.table has the rules). A courier is its owner: its leases end with
 * vault_owner_gone. What only reads is answered with the batch, from what is committed by then.
 */
void vault_resume(struct vault_batch *b, struct vault_ticket t, const struct ipc_resume_in *in);
void vault_lease(struct vault_batch *b, struct vault_ticket t, const struct ipc_lease_in *in);
void vault_outcomes(struct vault_batch *b, struct vault_ticket t, const struct ipc_outcomes_in *in);
void vault_outgoing_chunks(struct vault_batch *b, struct vault_ticket t,
                           const struct ipc_outgoing_chunks_in *in);
void vault_sts_get(struct vault_batch *b, struct vault_ticket t, const struct ipc_sts_get_in *in);
void vault_sts_set(struct vault_batch *b, struct vault_ticket t, const struct ipc_sts_set_in *in);
void vault_queue_change(struct vault_batch *b, struct vault_ticket t,
                        const struct ipc_queue_change_in *in);
void vault_store_restored(struct vault_batch *b, struct vault_ticket t,
                          const struct ipc_store_restored_in *in);

/*
 * Removes for good a slice of what is due (of what was expunged, after retention_ms); *ret_more:
 * there is more. Commits by itself, between batches; a failure that vault_batch_commit would have
 * reported as false is STATUS_IO here. STATUS_CORRUPT: a page could not be read; what needs it is
 * passed over for the hour, and what follows is done when this is called again.
 */
MUST_USE enum status_code vault_purge(struct vault_batch *b, int64_t retention_ms, bool *ret_more);

/* Somebody has expunged more than may stay (LIMIT_EXPUNGED_ROW_SIZE): purging should not wait. */
bool vault_batch_overflows(const struct vault_batch *b);

/* ---- The end of a batch -----------------------------------------------------------------------
 */

/* True: there is something to commit, or work put off from an earlier batch. */
bool vault_batch_pending(const struct vault_batch *b);

/*
 * True: the transaction has had enough for its time, or one failed lately for what may be a single
 * request's fault, so that each has one for itself; commit before the next request.
 */
bool vault_batch_full(const struct vault_batch *b);

/* True: nothing is waiting but confirmations, which may as well go with the next batch. */
bool vault_batch_lazy(const struct vault_batch *b);

/*
 * Ends the batch: takes up some work that was put off (long requests do not all go into one
 * transaction), commits, and makes the replies ready. False: the disk did not take what was
 * written (a failed write or sync). Then nothing may be answered, and the process must end: the
 * next one makes sure of what is on the disk before it serves.
 */
MUST_USE bool vault_batch_commit(struct vault_batch *b);

/* False: nobody need be told. Borrowed until the next request. */
bool vault_batch_changes(struct vault_batch *b, struct ipc_changed_in *ret_changed);

struct vault_reply {
    struct vault_ticket ticket;
    uint8_t type; /* IPC_ACCEPT, ... */
    union {
        enum status_code status; /* the first field of all the others */
        struct ipc_accept_out accept;
        struct ipc_body_chunk_out body_chunk;
        struct ipc_flags_store_out flags_store;
        struct ipc_copy_out copy;
        struct ipc_expunge_out expunge;
        struct ipc_append_out append;
        struct ipc_mailbox_create_out mailbox_create;
        struct ipc_mailbox_delete_out mailbox_delete;
        struct ipc_mailbox_rename_out mailbox_rename;
        struct ipc_subscribe_out subscribe;
        struct ipc_recent_claim_out recent_claim;
        struct ipc_domain_add_out domain_add;
        struct ipc_domain_set_out domain_set;
        struct ipc_domain_remove_out domain_remove;
        struct ipc_account_add_out account_add;
        struct ipc_account_set_out account_set;
        struct ipc_account_remove_out account_remove;
        struct ipc_address_add_out address_add;
        struct ipc_address_remove_out address_remove;
        struct ipc_alias_set_out alias_set;
        struct ipc_resume_out resume;
        struct ipc_lease_out lease;
        struct ipc_outcomes_out outcomes;
        struct ipc_outgoing_chunks_out outgoing_chunks;
        struct ipc_sts_get_out sts_get;
        struct ipc_sts_set_out sts_set;
        struct ipc_queue_change_out queue_change;
        struct ipc_store_restored_out store_restored;
    };
};

/*
 * Nothing of what waits is done any more: each request is answered with STATUS_GONE, by
 * vault_batch_reply. Only vault_batch_close may follow.
 */
void vault_batch_abandon(struct vault_batch *b);

/* The next reply of the committed batch; its bytes are borrowed until the next request. */
bool vault_batch_reply(struct vault_batch *b, struct vault_reply *ret_reply);

/* A courier that must hear of rows that became due, once for each; after the replies. */
bool vault_batch_ready(struct vault_batch *b, void **ret_owner,
                       struct ipc_queue_ready_in *ret_ready);

/* A message that is held because its account has sent too much today: words for the log. */
struct vault_held {
    struct str trace_id;
    int64_t counted;     /* who: as in ipc.table */
    uint64_t recipients; /* of the day so far */
    uint64_t limit;
};

/* The next of the committed batch. */
bool vault_batch_held(struct vault_batch *b, struct vault_held *ret_held);

/* ---- The WAL -----------------------------------------------------------------------------------
 */

/*
 * Copies what is committed into the database file, as far as readers allow. False as with
 * vault_batch_commit. *ret_left: bytes that a reader holds back.
 */
MUST_USE bool vault_checkpoint(struct vault_batch *b, uint64_t *ret_left);

/* Bytes in the WAL that have not been copied yet. */
uint64_t vault_wal_size(const struct vault_batch *b);

/* ---- Numbers -----------------------------------------------------------------------------------
 */

struct vault_numbers {
    uint64_t commits;        /* transactions committed, each with one sync */
    uint64_t failed_batches; /* transactions undone */
    uint64_t messages;       /* accepted or appended */
    uint64_t recipients;     /* delivered to */
    uint64_t recognised;     /* recipients recognised as sent again */
    uint64_t put_off;        /* long requests that waited for a later transaction */
    uint64_t queued;         /* recipients that joined the queue */
    uint64_t relayed;        /* those that the next server took */
    uint64_t deferred;       /* attempts that failed for now */
    uint64_t bounced;        /* those that failed for good */
    uint64_t waiting;        /* rows of the queue */
    uint64_t held;           /* those of them that are held */
    uint64_t leased;         /* those that couriers have */
    uint64_t longest_us;     /* transaction, from the first request that somebody waited for */
};

const struct vault_numbers *vault_batch_numbers(const struct vault_batch *b);

#endif
