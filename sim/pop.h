#ifndef POSTERN_SIM_POP_H
#define POSTERN_SIM_POP_H

#include "sim/login.h"
#include "sim/post.h"
#include "sim/wire.h"

/*
 * A person's POP3 client: a session over several steps, on a maildrop that stands still for it.
 * What it marks is gone when it has said QUIT, and not before.
 */
struct pop_client {
    struct post *post;
    unsigned account;
    struct wire wire;
    struct login login;
    bool in;
    bool maybe_answered; /* QUIT was said */
    uint32_t uids[POST_SHOWN];
    bool marked[POST_SHOWN];
    size_t count;
    struct post_claim *claim;
    uint64_t sessions, quits; /* for the summary */
};

void pop_client_init(struct pop_client *c, struct post *post, unsigned account);
void pop_client_release(struct pop_client *c);

/* Some of a session. Turns the loop. */
void pop_client_step(struct pop_client *c);

void pop_client_drop(struct pop_client *c);

#endif
