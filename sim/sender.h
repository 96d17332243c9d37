#ifndef POSTERN_SIM_SENDER_H
#define POSTERN_SIM_SENDER_H

#include "sim/login.h"
#include "sim/post.h"
#include "sim/wire.h"

/*
 * A client that sends: one connection, some transactions, by SMTP or LMTP, or logged in for
 * submission; in clear or under TLS; pipelined or in turn. It says a piece of what it has to say
 * when it is moved, wherever that ends, and can be dropped at any time.
 */
enum { SENDER_ASKED = 16 };

struct sender {
    struct post *post;
    struct wire wire;
    struct login login;
    enum world_listener listener;
    unsigned person; /* whose mail: see post_message's sender */
    bool in_use;
    bool pipelines;
    bool starts_tls;
    bool hasty;               /* QUIT follows the final dot unasked */
    bool over;                /* hangs up when it has nothing to hear */
    unsigned left;            /* transactions after this one */
    uint32_t message;         /* 0: none */
    unsigned wanted;          /* names still to be said in RCPT: POST_WHO's, and POST_WHO itself for
                                 the alias (bits) */
    unsigned accepted;        /* of those named, who was taken */
    unsigned dotted;          /* whose final dot waits for its answer, in the order of names */
    char asked[SENDER_ASKED]; /* what has no reply yet: a letter each */
    size_t asked_count;
    uint64_t logins; /* for the summary */
};

void sender_init(struct sender *s, struct post *post);
void sender_release(struct sender *s);

/* Connects, with that message as the first. */
void sender_start(struct sender *s, uint32_t message, unsigned left);

/* Says a piece, or all, without turning the loop. */
void sender_speak(struct sender *s, bool all);

/* Takes what has come. */
void sender_hear(struct sender *s);

/* The network is gone. */
void sender_drop(struct sender *s);

#endif
