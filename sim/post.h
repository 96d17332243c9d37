#ifndef POSTERN_SIM_POST_H
#define POSTERN_SIM_POST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "sim/world.h"
#include "store/read.h"

/*
 * What the world's clients know of their messages and mailboxes, and whether the store agrees:
 * whatever was answered 250 is there once, whole; what was offered without an answer is there once
 * or not at all; nothing else is. What a person's client changes it claims before (post_claim):
 * whatever nobody claims stays as it is, and what was answered OK is so.
 */
enum { POST_MESSAGES = 4096, POST_SHOWN = 512, POST_CLAIMS = 16, POST_REPORTS = 4096 };

/* Whom a message is for: accounts, and somebody elsewhere: "mN@elsewhere.test" (sink.h). */
enum { POST_ELSEWHERE = WORLD_ACCOUNTS, POST_WHO };
enum { POST_HERE = (1 << WORLD_ACCOUNTS) - 1, POST_ALL = (1 << POST_WHO) - 1 };

/* Of a message, for one of them. */
enum post_state {
    POST_NOT_FOR_HIM,
    POST_WANTED,  /* no final dot was sent for it so far */
    POST_OFFERED, /* a final dot was sent, and no 250 seen */
    POST_KEPT,    /* 250 */
};

/* Who sent it: carol@example.net, who is elsewhere, or an account, which logs in for it. */
enum { POST_CAROL, POST_ACCOUNTS };

/* What a message's sender asked to be told of (RFC 3461 NOTIFY); 0: nothing said. */
enum {
    POST_NOTIFY_NEVER = 1,
    POST_NOTIFY_SUCCESS = 2,
    POST_NOTIFY_FAILURE = 4,
    POST_NOTIFY_DELAY = 8
};

/* An entry's message may be a report about one. */
enum { POST_REPORT = 1 << 30 };

struct post_message {
    uint8_t states[POST_WHO];
    uint8_t copies[WORLD_ACCOUNTS]; /* deliveries ever seen */
    uint8_t excused;                /* accounts (bits) that an alias may have passed over */
    uint8_t sender;                 /* POST_CAROL, or POST_ACCOUNTS and up */
    uint8_t notify;
    bool by_alias;                      /* to all accounts by one name */
    bool tls_only;                      /* REQUIRETLS */
    bool appended;                      /* by IMAP: it has no trace header */
    bool busy;                          /* with a client */
    bool by_lmtp;                       /* some of it; NOTIFY is not said there */
    uint8_t failed, delayed, delivered; /* recipients that reports told of */
};

struct post_entry {
    uint32_t uid;
    uint32_t message;
    uint32_t flags; /* of enum entry_flag */
    uint64_t modseq;
};

struct post_box {
    uint32_t uid_last; /* the highest ever seen */
    uint32_t uidvalidity;
    uint64_t modseq;
    size_t count;
    struct post_entry entries[POST_SHOWN];
};

/* A command of a client that is under way, and what it may do. */
struct post_claim {
    bool used, ended, good;
    bool contested; /* another one touched the same meanwhile: what came of it is not known */
    unsigned account, folder;
    bool all; /* of the mailbox's messages; else uids */
    uint32_t uids[POST_SHOWN], messages[POST_SHOWN];
    uint32_t news[POST_SHOWN];    /* where they were copied to, as was answered; 0: not said */
    uint32_t arrived[POST_SHOWN]; /* as which UIDs there; 0: not yet */
    bool gone[POST_SHOWN];
    size_t count;
    uint32_t set, clear; /* flags */
    bool removes;
    bool deleted_only; /* it removes what is flagged \Deleted */
    bool copies;       /* to `target`; APPEND: its message is the only one, its uid 0 */
    unsigned target;
    uint32_t flags_of[POST_SHOWN]; /* as they were, or shall be */
};

struct post {
    struct world *world;
    uint32_t count; /* messages 1 to count */
    struct post_message messages[POST_MESSAGES];
    struct post_box boxes[WORLD_ACCOUNTS][WORLD_FOLDERS];
    struct post_claim claims[POST_CLAIMS];
    uint64_t reports[POST_REPORTS]; /* that were ever seen: hashes of their ids */
    size_t report_count;
    int64_t full_version; /* of the store when the disk was last seen full */
    unsigned ever_troubled;
    unsigned troubled;           /* accounts (bits) whose mail may have been refused in this step */
    uint64_t claimed, contested; /* for the summary */
};

/* A new message for those (bits). */
uint32_t post_make(struct post *p, unsigned whom);

/* One that nobody sends: an IMAP client's own. */
uint32_t post_make_own(struct post *p);

/* Those (bits) that have no 250 for it. */
unsigned post_missing(const struct post *p, uint32_t message);

/* An old message of that sender that one of those (bits) has no 250 for, and that nobody is
 * sending; 0: none. */
uint32_t post_unfinished(const struct post *p, unsigned sender, unsigned whom);

/* "alice@sim.test" */
void post_address(uint32_t message, unsigned who, char out[static 40]);
void post_sender(const struct post *p, uint32_t message, char out[static 40]);

/* Its octets: all of the message's, stuffed for DATA and with the final dot where dotted. */
void post_octets(const struct post *p, uint32_t message, bool dotted, struct buf *out);

/* Number in the next "<mN@sim>" of *words, which moves on behind it; 0: there is none. */
uint32_t post_next_id(struct str *words);

/* The message that is served with these octets; ends the world where it is none, or not whole. */
uint32_t post_identify(struct post *p, unsigned account, struct str octets);

/* A report about that message has come; false: the very same came before. */
bool post_take_report(struct post *p, uint32_t message, struct str octets);

/* Did its sender want to be told of failures? */
bool post_wants_failure(const struct post *p, uint32_t message);

/* A claim to be filled in, on messages of that mailbox; NULL: too many are under way. */
struct post_claim *post_claim_new(struct post *p, unsigned account, unsigned folder);
void post_claim_add(struct post *p, struct post_claim *c, uint32_t uid);

/* Before the command is said. */
void post_claim_begin(struct post *p, struct post_claim *c);

/* It was answered; good: with OK. The claim is the post's from here on. NULL is fine. */
/* The nth was copied to that UID: so it was answered. */
void post_claim_copied(struct post *p, struct post_claim *c, size_t n, uint32_t uid);

void post_claim_end(struct post_claim *c, bool good);

struct post_entry *post_find(struct post_box *box, uint32_t uid);

/* Compares; whole: bodies seen before are read again, and the tables looked through. */
void post_check(struct post *p, bool whole);

#endif
