#ifndef POSTERN_ROLES_KEEPER_HASHERS_H
#define POSTERN_ROLES_KEEPER_HASHERS_H

#include <stdint.h>

#include "io/loop.h"
#include "roles/keeper_password.h"

/*
 * Passwords are slow on purpose, and the keeper must go on to sign meanwhile. So it has some
 * children that do nothing else: forked before there is any secret, shut in, one job at a time
 * each. Their number bounds the memory that argon2id takes; a bounded queue waits for them.
 */
struct hashers;

enum {
    HASHERS_DEFAULT = 2,
    HASHERS_WAITING_MAX = 64,
    HASHERS_STRANGERS_MAX = 48, /* more than so many are not for who was never here */
};

typedef void hasher_done(void *context, const struct password_result *result);

/* Forks the children, so: before the sandbox, and before secrets. NULL where it cannot. */
struct hashers *hashers_new(struct loop *loop, unsigned count);

/* Jobs that are still open are not called back. NULL is fine. */
void hashers_free(struct hashers *h);

/* `gone` is called, once, where a child has died; nothing is done any more from then on. */
void hashers_on_gone(struct hashers *h, void (*gone)(void *context), void *context);

/* The job's number; 0 where too many wait already. The job is copied, and wiped when done. */
uint64_t hashers_submit(struct hashers *h, const struct password_job *job, hasher_done *done,
                        void *context);

/* How many wait for a child. */
unsigned hashers_waiting(const struct hashers *h);

/* done will not be called. 0 and numbers of jobs that are over are fine. */
void hashers_cancel(struct hashers *h, uint64_t number);

#endif
