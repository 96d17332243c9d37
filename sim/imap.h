#ifndef POSTERN_SIM_IMAP_H
#define POSTERN_SIM_IMAP_H

#include "sim/login.h"
#include "sim/post.h"
#include "sim/wire.h"

/*
 * A person's IMAP client: it keeps its own view of the mailbox from what it is told alone, changes
 * what it sees beside other clients of the same account, and says what it has to say in pieces. One
 * command is under way at a time. What it sees must be what the store holds.
 */
enum imap_stage { IMAP_GONE, IMAP_GREETING, IMAP_TLS, IMAP_LOGIN, IMAP_IN };

struct imap_seen {
    uint32_t uid; /* 0: not heard of yet */
    uint32_t flags;
    bool flags_known;
    uint32_t told; /* the flags, during the command of that tag */
};

struct imap_client {
    struct post *post;
    unsigned account;
    struct wire wire;
    struct login login;
    enum imap_stage stage;
    int folder; /* -1: none is selected */
    bool read_only;
    struct imap_seen view[POST_SHOWN];
    size_t count;
    uint32_t tag;
    bool asked;     /* a command is under way */
    bool by_number; /* and forbids to tell of expunged messages (RFC 3501 §7.4.1) */
    bool implied;   /* what it changes it need not (\Seen by FETCH) */
    bool ok;        /* how the last one ended */
    bool idling, done_said;
    int selecting;                    /* the mailbox that is being opened; -1: none */
    bool closing;                     /* CLOSE or UNSELECT is under way */
    uint32_t append;                  /* the message to be said at "+"; 0: none */
    uint32_t store_first, store_last; /* UIDs of a STORE that is not answered by flags; 0: none */
    uint32_t store_set, store_clear;
    struct post_claim *claim;
    uint32_t found[POST_SHOWN]; /* by SEARCH */
    size_t found_count;
    uint64_t commands, logins, idles; /* for the summary */
};

void imap_client_init(struct imap_client *c, struct post *post, unsigned account);
void imap_client_release(struct imap_client *c);

/* Says a piece, or begins something; does not turn the loop. */
void imap_client_step(struct imap_client *c);

/* Takes what has come. */
void imap_client_hear(struct imap_client *c);

void imap_client_drop(struct imap_client *c);

/* All is at rest: whoever idles has been told of everything. */
void imap_client_check_idle(struct imap_client *c);

/* Finishes what is under way and compares all there is. Turns the loop. */
void imap_client_audit(struct imap_client *c);

#endif
