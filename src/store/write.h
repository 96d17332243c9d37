#ifndef POSTERN_STORE_WRITE_H
#define POSTERN_STORE_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/status.h"
#include "base/str.h"
#include "base/text.h"
#include "store/db.h"
#include "store/ingest.h"
#include "store/read.h"

/*
 * What changes the store, for its one writer. Every function runs inside a transaction that
 * writer_begin opened. Ids come from the database, times from the caller: the same calls on the
 * same database give the same database.
 *
 * A status that is about the request (STATUS_NOT_FOUND, _EXISTS, _DENIED, _INVALID, _BUSY,
 * _OVER_QUOTA, _TOO_BIG) is given before anything was written, unless the function says otherwise.
 * Any other failure is the environment's, and the transaction must be rolled back.
 */
struct writer {
    struct db *db;
    uint64_t next_id;
    uint64_t commit_number; /* of this transaction, once it is committed */
    uint32_t uidvalidity;   /* the last one given out */
    uint64_t waiting;       /* rows of the queue */
    uint64_t held;          /* those of them that are held */
    bool over; /* an account has expunged more than it may leave behind; set here, cleared by the
                  owner */
};

MUST_USE enum status_code writer_begin(struct writer *w);
MUST_USE enum status_code writer_commit(struct writer *w);
void writer_rollback(struct writer *w);

/* Removes what bodies a crash left half arrived. Opens its own transactions. */
MUST_USE enum status_code writer_remove_staged(struct writer *w);

/* ---- Messages (write_message.c) ---------------------------------------------------------------
 */

/* A new body's id; its chunks come in order, number 0 first. */
uint64_t body_new(struct writer *w);
MUST_USE enum status_code chunk_insert(struct writer *w, uint64_t body, uint64_t number,
                                       const struct body_chunk *chunk);

/* Registers a body as arriving in pieces, notes how far it is, and ends that. */
MUST_USE enum status_code staging_set(struct writer *w, uint64_t body, uint64_t chunks,
                                      uint64_t size);
MUST_USE enum status_code staging_end(struct writer *w, uint64_t body);

/*
 * Removes chunks of a body, *chunks of them at most, and takes those removed from *chunks. What is
 * left of *chunks says that the body is gone; 0, that another transaction has to go on.
 */
MUST_USE enum status_code body_remove(struct writer *w, uint64_t body, unsigned *chunks);

struct email_new {
    uint64_t account;
    uint64_t body;
    uint64_t size;
    int64_t received_ms;
    int64_t sent_ms;
    uint32_t parser_version;
    struct str trace_id;
    struct text message_id;
    struct text in_reply_to;
    struct text subject;
    struct str structure;
    struct str signature;
};

MUST_USE enum status_code email_insert(struct writer *w, const struct email_new *email,
                                       uint64_t *ret_email);

/* The email of another account, as this account's own. */
MUST_USE enum status_code email_copy(struct writer *w, uint64_t email, uint64_t account,
                                     uint64_t *ret_email);

struct entry_new {
    uint64_t mailbox;
    uint64_t email;
    uint64_t body_size;
    uint32_t flags;
    int64_t internal_ms;
    struct str keywords;
    struct str prefix;
};

struct entry_place {
    uint64_t account; /* the mailbox's owner */
    uint32_t uid;
    uint32_t uidvalidity;
    uint64_t modseq;
};

/* Adds it, counts it and charges the owner. STATUS_NOT_FOUND: the mailbox is gone. */
MUST_USE enum status_code entry_insert(struct writer *w, const struct entry_new *entry,
                                       struct entry_place *ret_place);

/*
 * The mailbox where mail for an account goes that was planned for `mailbox`: that, or the account's
 * Inbox. STATUS_NOT_FOUND: the account is gone or disabled.
 */
MUST_USE enum status_code delivery_mailbox(struct writer *w, uint64_t account, uint64_t mailbox,
                                           uint64_t *ret_mailbox);

/*
 * Retransmission keys (RFC 1047). Adding tells whether the key was there already, unconfirmed and
 * younger than LIMIT_RETRANSMISSION_MS.
 */
MUST_USE enum status_code unconfirmed_add(struct writer *w, struct str key, int64_t clock_ms,
                                          bool *ret_known);
MUST_USE enum status_code unconfirmed_remove(struct writer *w, struct str key);

MUST_USE enum status_code trace_add(struct writer *w, struct str trace_id, int64_t at_ms,
                                    struct str step, struct text words);

/* ---- Entries (write_entry.c) ------------------------------------------------------------------
 */

struct uid_range {
    uint32_t first;
    uint32_t last;
};

/* Live entries of some ranges, ascending, for one slice of work. */
struct entry_row {
    uint32_t uid;
    uint32_t flags;
    uint64_t modseq;
    uint64_t size;
    uint64_t email;
    uint64_t email_account;
    bool has_keywords;
};

struct entry_slice {
    struct entry_row *rows; /* room for `cap`, the caller's */
    size_t cap;
    size_t count;
    uint32_t through; /* everything up to this UID is in; UINT32_MAX: everything */
};

MUST_USE enum status_code entries_select(struct writer *w, uint64_t mailbox,
                                         const struct uid_range *ranges, size_t count,
                                         struct entry_slice *slice);

/* What the actor may do with a mailbox, and facts that decide. STATUS_NOT_FOUND: not visible. */
struct mailbox_access {
    uint64_t mailbox;
    uint64_t account;
    uint64_t parent;
    uint64_t modseq;
    uint32_t uidvalidity;
    uint32_t rights;
    uint32_t uidnext;
    uint32_t recent_uid;
    bool selectable;
    bool is_inbox;
};

MUST_USE enum status_code mailbox_access(struct writer *w, uint64_t actor, uint64_t mailbox,
                                         struct mailbox_access *ret_access);

/* Raises the mailbox's mod-sequence for a change of entries, and its counts by these. */
struct mailbox_delta {
    int64_t messages;
    int64_t unseen;
    int64_t deleted;
    int64_t size;
};

MUST_USE enum status_code mailbox_touch(struct writer *w, uint64_t mailbox,
                                        const struct mailbox_delta *delta, uint64_t *ret_modseq);

MUST_USE enum status_code entry_set_flags(struct writer *w, uint64_t mailbox, uint32_t uid,
                                          uint32_t flags, uint64_t modseq);
MUST_USE enum status_code entry_set_keywords(struct writer *w, uint64_t mailbox, uint32_t uid,
                                             struct str keywords, uint64_t modseq);

/* account: the mailbox's owner. The caller counts (account_expunged). */
MUST_USE enum status_code entry_expunge(struct writer *w, uint64_t account, uint64_t mailbox,
                                        uint32_t uid, int64_t clock_ms, uint64_t modseq);

/* Appends the entry's keywords. */
MUST_USE enum status_code entry_keywords(struct writer *w, uint64_t mailbox, uint32_t uid,
                                         struct buf *out);

/* Copies an entry; keywords are those it gets. The caller has made the uid and counts (below). */
MUST_USE enum status_code entry_copy(struct writer *w, uint64_t mailbox, uint32_t uid,
                                     uint64_t email, uint64_t target, uint32_t new_uid,
                                     uint64_t modseq, struct str keywords);

/* Takes `count` UIDs, from the first on; counts are raised by delta. */
MUST_USE enum status_code mailbox_take_uids(struct writer *w, uint64_t mailbox, uint32_t count,
                                            const struct mailbox_delta *delta, uint32_t *ret_first,
                                            uint64_t *ret_modseq);

/* Charges the account. With check, STATUS_OVER_QUOTA where it does not fit. */
MUST_USE enum status_code account_charge(struct writer *w, uint64_t account, int64_t size,
                                         bool check);

/*
 * Octets of the account are expunged or removed with their mailbox, and so many rows with them:
 * they are used no more, but stay until they are purged.
 */
MUST_USE enum status_code account_expunged(struct writer *w, uint64_t account, int64_t size,
                                           int64_t rows);

/*
 * Brings keywords (parted by spaces) into the mailbox's spelling, sorted, each once; new ones are
 * added to the mailbox's. STATUS_INVALID: not keywords; STATUS_TOO_BIG: too many.
 */
MUST_USE enum status_code keywords_intern(struct writer *w, uint64_t mailbox, struct text keywords,
                                          struct buf *out);

/* ---- Mailboxes (write_mailbox.c) ---------------------------------------------------------------
 */

/* Makes path and its missing parents. May have written on failure: use a savepoint. */
MUST_USE enum status_code mailbox_create(struct writer *w, uint64_t account, struct text path,
                                         enum special_use special_use, int64_t at_ms,
                                         uint64_t *ret_mailbox);
MUST_USE enum status_code mailbox_remove(struct writer *w, const struct mailbox_access *mailbox,
                                         int64_t at_ms, int64_t clock_ms);
/* May have written on failure: use a savepoint. */
MUST_USE enum status_code mailbox_rename(struct writer *w, const struct mailbox_access *mailbox,
                                         struct text path, int64_t at_ms);
MUST_USE enum status_code subscription_set(struct writer *w, uint64_t account, struct text path,
                                           bool subscribed);
/* Messages from *ret_first on were nobody's \Recent yet. */
MUST_USE enum status_code recent_claim(struct writer *w, const struct mailbox_access *mailbox,
                                       uint32_t *ret_first);

/* ---- Directory (write_directory.c) -------------------------------------------------------------
 */

/* These say in the diag what is wrong. An account comes with its INBOX. They may have written on
 * failure: use a savepoint. */
MUST_USE enum status_code domain_add(struct writer *w, struct str name, int64_t at_ms,
                                     struct diag *d);
MUST_USE enum status_code domain_set(struct writer *w, struct str name, uint64_t catch_all,
                                     struct str subaddress, struct diag *d);
MUST_USE enum status_code domain_remove(struct writer *w, struct str name, struct diag *d);
MUST_USE enum status_code account_add(struct writer *w, struct str name, uint64_t quota,
                                      int64_t at_ms, uint64_t *ret_account, struct diag *d);
/* A subscribed mailbox of a new account. */
struct account_mailbox {
    struct str name;
    enum special_use use;
};

MUST_USE enum status_code account_add_mailbox(struct writer *w, uint64_t account,
                                              const struct account_mailbox *mailbox, int64_t at_ms,
                                              struct diag *d);
MUST_USE enum status_code account_set(struct writer *w, uint64_t account, uint64_t quota,
                                      bool disabled, struct diag *d);
MUST_USE enum status_code account_remove(struct writer *w, uint64_t account, int64_t clock_ms,
                                         struct diag *d);
MUST_USE enum status_code address_add(struct writer *w, struct text address, uint64_t account,
                                      int64_t at_ms, struct diag *d);
MUST_USE enum status_code address_remove(struct writer *w, struct text address, struct diag *d);
/* The alias's id, made where there is none; its old targets are gone. */
MUST_USE enum status_code alias_clear(struct writer *w, struct text address, int64_t at_ms,
                                      uint64_t *ret_alias, struct diag *d);
MUST_USE enum status_code alias_add_target(struct writer *w, uint64_t alias, uint32_t number,
                                           struct text target, struct diag *d);

/*
 * What the wall's clock makes of a UIDVALIDITY. 0 where it cannot be right: then there would be no
 * room left to grow, and none may ever be used twice.
 */
static inline uint32_t uidvalidity_of(int64_t at_ms)
{
    int64_t at_s = at_ms / 1000;
    return at_s > 0 && at_s < 0xF0000000 ? (uint32_t)at_s : 0; /* until 2097 */
}

/* ---- Restoring (write_restored.c) ---------------------------------------------------------------
 */

/*
 * An old copy is the store now: another epoch, new UIDVALIDITYs, ids that were never seen, and the
 * queue is held (*ret_held rows). Nobody may have the store open who knows what was.
 */
MUST_USE enum status_code store_restored(struct writer *w, int64_t at_ms, uint64_t *ret_held);

/* ---- Purging (write_purge.c) --------------------------------------------------------------------
 */

/* How far a walk through a table has come: the key of the last row looked at. */
struct purge_place {
    bool inside;
    int64_t number;
    size_t len;
    char bytes[LIMIT_DOMAIN_SIZE];
};

enum { PURGE_STEPS = 7 };

/* What is kept from slice to slice, by whoever runs them. */
struct purge {
    int64_t clock_ms;
    int64_t retention_ms; /* of what was expunged or removed */
    /* The slice has had its time; looked at after each small piece. NULL: only counts bound it. */
    bool (*enough)(void *context);
    void *context;

    /* What is found only by looking at all there is: the next kind of it, from 0, and the place. */
    unsigned kind;
    struct purge_place place;
    uint64_t after;   /* the account over its bound that had a slice last */
    bool over;        /* there was one */
    unsigned damaged; /* bit n: step n met a page that cannot be read, and is passed over */
};

/*
 * Removes for good a slice of what was expunged or removed long enough ago, or is more than its
 * account may leave behind; and of all else that is old: traces, retransmission keys, TLS results,
 * policies, counts of days gone by, destinations where nothing has waited for long. *ret_more:
 * there is more. Where it fails over damage, the next slice does what comes behind that.
 */
MUST_USE enum status_code purge_slice(struct writer *w, struct purge *p, bool *ret_more);

#endif
