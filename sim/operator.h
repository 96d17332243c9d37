#ifndef POSTERN_SIM_OPERATOR_H
#define POSTERN_SIM_OPERATOR_H

#include "sim/sink.h"

/* Who makes the accounts, changes them, and meddles with the queue. */
struct operator
{
    struct world *world;
    struct post *post;
    struct sink *sink;
    bool disabled[WORLD_ACCOUNTS]; /* as the store has it */
    bool no_login[WORLD_ACCOUNTS]; /* or not known otherwise */
    uint64_t quota[WORLD_ACCOUNTS];
    uint64_t changes;
};

/* The world's accounts, with one password, and an alias that leads to all of them. */
void operator_set_up(struct operator* o, struct post *post, struct sink *sink);

/* Forgets the troubles that were over before. */
void operator_begin_step(struct operator* o);

/* Something drawn. */
void operator_meddle(struct operator* o);

/* Takes back what keeps mail from anybody. */
void operator_relent(struct operator* o);

/* Mail for that account may be refused now. */
bool operator_troubles(const struct operator* o, unsigned account);

#endif
