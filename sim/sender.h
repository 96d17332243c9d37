#ifndef POSTERN_SIM_SENDER_H
#define POSTERN_SIM_SENDER_H

#include "sim/post.h"

/*
 * A client that sends: one connection, some transactions, by SMTP or LMTP, pipelined or in turn.
 * It says a piece of what it has to say when it is moved, wherever that ends, and can be dropped at
 * any time.
 */
enum { SENDER_ASKED = 16 };

struct sender {
    struct post *post;
    int fd; /* -1: not in use */
    bool lmtp;
    bool pipelines;
    bool hasty;               /* QUIT follows the final dot unasked */
    bool over;                /* hangs up when it has nothing to hear */
    unsigned left;            /* transactions after this one */
    uint32_t message;         /* 0: none */
    unsigned wanted;          /* accounts still to be named in RCPT */
    unsigned accepted;        /* of those named, who was taken */
    unsigned dotted;          /* whose final dot waits for its answer, in the order of accounts */
    char asked[SENDER_ASKED]; /* what has no reply yet: a letter each */
    size_t asked_count;
    struct buf out;
    struct buf heard;
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
