#ifndef POSTERN_ROLES_COURIER_BODY_H
#define POSTERN_ROLES_COURIER_BODY_H

#include "roles/courier_job.h"
#include "store/read.h"

/*
 * The plain octets of a leased message's body, a chunk at a time. What the lease did not bring is
 * asked of the vault as it is needed, so that no large body is ever whole in memory. Embedded in
 * its owner.
 */
struct courier_body {
    struct courier *courier;
    struct courier_job *job;
    uint32_t next;        /* number of the chunk that comes next */
    struct arena fetched; /* chunks that came with the last answer, from number `first` on */
    const struct ipc_chunk *chunks;
    size_t chunk_count;
    uint32_t first;
    struct buf plain; /* the chunk that came last */
    struct channel *vault;
    uint32_t call;
    bool lost;
    bool vault_lost; /* it is only the vault that was not there */
    void (*ready)(void *context);
    void *context;
};

enum courier_body_result {
    BODY_PIECE,
    BODY_WAIT, /* `ready` will be called */
    BODY_END,
    BODY_LOST /* it cannot be had: not now, or never more */
};

/* `ready` is never called from inside. */
void courier_body_begin(struct courier_body *b, struct courier *c, struct courier_job *job,
                        void (*ready)(void *context), void *context);
void courier_body_release(struct courier_body *b);

/*
 * Lost with the vault: true, and it may be asked for again where it left off, which succeeds once a
 * vault knows again what is on lease.
 */
bool courier_body_again(struct courier_body *b);

/* A whole chunk, borrowed until the next call. */
enum courier_body_result courier_body_next(struct courier_body *b, struct str *ret_octets);

/* True where the piece that came last was the end of the body. */
static inline bool courier_body_at_end(const struct courier_body *b)
{
    return b->next >= b->job->job.chunk_count;
}

#endif
