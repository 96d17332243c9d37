#ifndef POSTERN_ROLES_COURIER_QUEUE_H
#define POSTERN_ROLES_COURIER_QUEUE_H

#include "roles/courier_job.h"

/*
 * All talk with the vault about the queue. Work is asked for while there is room for it; what came
 * of it goes back in batches: while one call is under way the next one's outcomes gather. Every
 * outcome is kept until it is confirmed, and told again to a new vault, which first hears what is
 * still held.
 */
struct courier_queue;

struct courier_queue *courier_queue_new(struct courier *c);

/* Frees all jobs. NULL is allowed. */
void courier_queue_free(struct courier_queue *q);

/* The vault came, or went. */
void courier_queue_vault(struct courier *c, struct channel *vault);

/* There is a vault, and it knows what is held. */
bool courier_queue_is_resumed(const struct courier *c);

/* The ipc_ready note. */
void courier_on_queue_ready(void *context, struct channel *from,
                            const struct ipc_queue_ready_in *in);

/* There may be room, or want, of more: looks at the end of this turn. */
void courier_queue_ask_soon(struct courier *c);

/*
 * All recipients of the job have ended: it is told to the vault, with the report it may need. The
 * job is the queue's from then on.
 */
void courier_queue_job_over(struct courier *c, struct courier_job *job);

/* The same behind the report: for courier_notice only. */
void courier_queue_job_done(struct courier *c, struct courier_job *job);

/* Copied. */
void courier_queue_arrival(struct courier *c, const struct ipc_arrival *arrival);

/* Nothing is held, nothing waits to be confirmed. */
bool courier_queue_is_empty(const struct courier *c);

#endif
