#ifndef POSTERN_ROLES_COURIER_NOTICE_H
#define POSTERN_ROLES_COURIER_NOTICE_H

#include "roles/courier_job.h"

/*
 * Reports to senders: for a job whose recipients have all ended, asks a mailroom about the sender,
 * fetches the original, and hands the job with its report on to the queue.
 */
struct courier_notice;

/*
 * Those of whom nobody is to be told now, as a job of their own: a message that was delivered is
 * not kept from the vault by a report, for a courier that ends meanwhile would deliver it again;
 * its own report is made when it comes back as a task. NULL: none, or all, or there is no memory.
 */
struct courier_job *courier_notice_split(struct courier_job *job);

/* True where somebody is to be told: the job then comes to courier_queue_job_done later. */
bool courier_notice_take(struct courier *c, struct courier_job *job);

/* No report can be made now: later, in due time. */
void courier_notice_put_off(struct courier_job *job);

/* A mailroom came: those that wait for one ask it. */
void courier_notice_mailroom(struct courier *c);

/* A vault knows what is on lease: originals that were lost with the last one are asked of it. */
void courier_notice_vault(struct courier *c);

/*
 * The job's report goes to the vault in two parts, and the first is not there (any more): false,
 * and it may be told; true: it comes back later.
 */
bool courier_notice_ships(struct courier *c, struct courier_job *job);

/* At the end; the jobs are the queue's. */
void courier_notice_free_all(struct courier *c);

#endif
