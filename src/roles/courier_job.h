#ifndef POSTERN_ROLES_COURIER_JOB_H
#define POSTERN_ROLES_COURIER_JOB_H

#include "proto/smtp/client.h"
#include "roles/courier_report.h"
#include "roles/courier_state.h"

/*
 * A leased message, from the lease until its outcomes are confirmed: a copy of what the vault sent,
 * and what became of each recipient.
 */
struct courier_end {
    struct ipc_outcome outcome; /* strings live in the job's arena */
    bool ended;
    bool is_reply, next_tells, is_final; /* as in courier_report_result */
};

struct courier_job {
    struct courier_job *next;
    struct courier_job *all_next, **all_at;  /* all jobs of the courier (courier_queue) */
    struct courier_destination *destination; /* NULL once all have ended, or where it has none */
    struct arena arena;
    struct ipc_job job;       /* its strings and lists live in the arena */
    struct courier_end *ends; /* one for each of job.recipients */
    size_t left;              /* that have not ended */
    size_t size;              /* of memory, nearly */
    uint32_t lacking_hosts;   /* of the route of that number, a bit each: that cannot take it */
    uint32_t lacking_route;
    bool again; /* a connection that had been idle broke under it: this was no attempt */
    struct courier_report *report; /* goes with the outcomes */
};

/* A deep copy; NULL where there is no memory. Recipients whose task is not to deliver have ended at
 * once. */
struct courier_job *courier_job_new(const struct ipc_job *job);
void courier_job_free(struct courier_job *job);

/*
 * All have ended: the ends of those that leave go to a job of their own, which knows nothing but
 * them. NULL where all leave, or none, or there is no memory: then the job is as it was.
 */
struct courier_job *courier_job_split(struct courier_job *job, const bool *leaves);

/* What became of a recipient, for courier_job_end; the strings are copied. */
struct courier_fate {
    uint8_t outcome; /* IPC_OUTCOME_... */
    int64_t retry_ms;
    struct str status;
    struct text words;
    struct text remote;
    struct str tls;
    struct str destination;
    bool is_reply, next_tells, is_final;
};

/*
 * The recipient has ended. A fate of IPC_OUTCOME_LATER gets its time here, or becomes
 * IPC_OUTCOME_FAILED where there is none left.
 */
void courier_job_end(struct courier *c, struct courier_job *job, size_t recipient,
                     const struct courier_fate *fate);

/* All that have not ended, alike. */
void courier_job_end_rest(struct courier *c, struct courier_job *job,
                          const struct courier_fate *fate);

/* "550 5.1.1 No such user" of a reply (or the engine's own words) as words; and "5.1.1". */
void courier_reply_words(const struct smtp_client_reply *reply, struct buf *out);
void courier_reply_status(const struct smtp_client_reply *reply, struct buf *out);

#endif
