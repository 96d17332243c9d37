#include "roles/courier_job.h"

#include <stdlib.h>

#include "base/bug.h"
#include "base/limits.h"
#include "io/random.h"
#include "roles/courier_destination.h"

enum { JOB_BUDGET = 4 * LIMIT_IPC_FRAME_SIZE, WORDS_SIZE_OF_JOB = LIMIT_IPC_FRAME_SIZE / 8 };

/* ---- Copies -------------------------------------------------------------------------------- */

static bool copy_str(struct arena *a, struct str *s)
{
    return str_empty(*s) || arena_dup(a, *s, s);
}

static bool copy_text(struct arena *a, struct text *t)
{
    return copy_str(a, &t->stranger);
}

static bool copy_recipients(struct arena *a, struct ipc_job *job)
{
    struct ipc_job_recipient *list = arena_alloc_array(a, job->recipients_count, sizeof *list);
    bool ok = list != NULL;
    for (size_t i = 0; ok && i < job->recipients_count; i++) {
        struct ipc_job_recipient *r = &list[i];
        *r = job->recipients[i];
        ok = copy_text(a, &r->recipient) && copy_text(a, &r->orcpt) &&
             copy_text(a, &r->last_words) && copy_str(a, &r->last_status) &&
             copy_text(a, &r->last_remote);
    }
    job->recipients = list;
    return ok;
}

static bool copy_chunks(struct arena *a, struct ipc_job *job)
{
    if (job->chunks_count == 0)
        return true;
    struct ipc_chunk *list = arena_alloc_array(a, job->chunks_count, sizeof *list);
    bool ok = list != NULL;
    for (size_t i = 0; ok && i < job->chunks_count; i++) {
        list[i] = job->chunks[i];
        ok = copy_str(a, &list[i].hash) && copy_str(a, &list[i].data);
    }
    job->chunks = list;
    return ok;
}

struct courier_job *courier_job_new(const struct ipc_job *in)
{
    struct courier_job *job = calloc(1, sizeof *job);
    if (!job)
        return NULL;
    struct arena *a = &job->arena;
    arena_init(a, JOB_BUDGET);
    job->job = *in;
    job->ends = arena_alloc_array(a, in->recipients_count, sizeof *job->ends);
    if (!job->ends || !copy_str(a, &job->job.trace_id) || !copy_text(a, &job->job.sender) ||
        !copy_str(a, &job->job.prefix) || !copy_text(a, &job->job.envelope.envid) ||
        !copy_recipients(a, &job->job) || !copy_chunks(a, &job->job)) {
        courier_job_free(job);
        return NULL;
    }
    job->left = in->recipients_count;
    job->size = sizeof *job + a->used;
    for (size_t i = 0; i < in->recipients_count; i++) {
        if (job->job.recipients[i].task == IPC_TASK_DELIVER)
            continue;
        courier_report_settle(&job->job.recipients[i], &job->ends[i].outcome);
        job->ends[i].ended = true;
        job->left--;
    }
    return job;
}

/* What is told of a recipient, and no more, goes to another job. */
static bool copy_end(struct courier_job *to, size_t at, const struct courier_job *from, size_t i,
                     struct ipc_job_recipient *recipients)
{
    struct arena *a = &to->arena;
    struct ipc_outcome *o = &to->ends[at].outcome;
    recipients[at] = (struct ipc_job_recipient){.id = from->job.recipients[i].id,
                                                .task = from->job.recipients[i].task};
    to->ends[at] = from->ends[i];
    return copy_str(a, &o->status) && copy_text(a, &o->words) && copy_text(a, &o->remote) &&
           copy_str(a, &o->tls) && copy_str(a, &o->destination);
}

static struct courier_job *copy_ends(const struct courier_job *job, const bool *leaves,
                                     size_t count)
{
    struct courier_job *part = calloc(1, sizeof *part);
    if (!part)
        return NULL;
    arena_init(&part->arena, JOB_BUDGET);
    struct ipc_job_recipient *recipients =
        arena_alloc_array(&part->arena, count, sizeof *recipients);
    part->ends = arena_alloc_array(&part->arena, count, sizeof *part->ends);
    bool ok = recipients && part->ends;
    for (size_t i = 0, at = 0; ok && i < job->job.recipients_count; i++)
        if (leaves[i])
            ok = copy_end(part, at++, job, i, recipients);
    if (!ok) {
        courier_job_free(part);
        return NULL;
    }
    part->job.message = job->job.message;
    part->job.recipients = recipients;
    part->job.recipients_count = count;
    part->size = sizeof *part + part->arena.used;
    return part;
}

struct courier_job *courier_job_split(struct courier_job *job, const bool *leaves)
{
    size_t all = job->job.recipients_count, count = 0, stays = 0;
    for (size_t i = 0; i < all; i++)
        count += leaves[i];
    if (count == 0 || count == all)
        return NULL;
    struct ipc_job_recipient *left = arena_alloc_array(&job->arena, all - count, sizeof *left);
    struct courier_job *part = left ? copy_ends(job, leaves, count) : NULL;
    if (!part)
        return NULL;
    for (size_t i = 0; i < all; i++) {
        if (leaves[i])
            continue;
        left[stays] = job->job.recipients[i];
        job->ends[stays++] = job->ends[i];
    }
    job->job.recipients = left;
    job->job.recipients_count = stays;
    return part;
}

void courier_job_free(struct courier_job *job)
{
    courier_report_free(job->report);
    arena_reset(&job->arena);
    free(job);
}

/* ---- Ends ---------------------------------------------------------------------------------- */

static void decide_retry(struct courier *c, const struct ipc_job_recipient *r,
                         struct ipc_outcome *outcome)
{
    int64_t in_ms =
        retry_recipient_in(&c->settings->retry, r->attempts + 1, r->remaining_ms, random_u64());
    if (in_ms < 0)
        outcome->outcome = IPC_OUTCOME_FAILED;
    else
        outcome->retry_ms = in_ms;
}

/*
 * The outcomes of a job go in one frame, with the report they cause: a server that answers a
 * thousand recipients at length must not make one that no vault takes.
 */
static struct str shortened(const struct courier_job *job, struct str s)
{
    size_t share = WORDS_SIZE_OF_JOB / job->job.recipients_count;
    return str_sub(s, 0, share < LIMIT_QUEUE_WORDS_SIZE ? share : LIMIT_QUEUE_WORDS_SIZE);
}

static void count(struct courier *c, const struct ipc_outcome *outcome)
{
    struct metric *const metrics[] = {
        [IPC_OUTCOME_DONE] = c->counts.delivered,   [IPC_OUTCOME_FAILED] = c->counts.refused,
        [IPC_OUTCOME_LATER] = c->counts.put_off,    [IPC_OUTCOME_GIVEN_BACK] = c->counts.given_back,
        [IPC_OUTCOME_MOVED] = c->counts.given_back, [IPC_OUTCOME_NOTICED] = c->counts.reports,
    };
    metric_add(metrics[outcome->outcome], 1);
}

void courier_job_end(struct courier *c, struct courier_job *job, size_t recipient,
                     const struct courier_fate *fate)
{
    struct courier_end *end = &job->ends[recipient];
    struct arena *a = &job->arena;
    invariant(!end->ended);
    end->ended = true;
    job->left--;
    end->is_reply = fate->is_reply;
    end->next_tells = fate->next_tells;
    end->is_final = fate->is_final;
    struct ipc_outcome *o = &end->outcome;
    *o = (struct ipc_outcome){.recipient = job->job.recipients[recipient].id,
                              .outcome = fate->outcome,
                              .retry_ms = fate->retry_ms,
                              .status = fate->status,
                              .words = text_from(shortened(job, text_peek(fate->words))),
                              .remote = fate->remote,
                              .tls = fate->tls,
                              .destination = fate->destination};
    /* What there is no room to say is not said. */
    if (!copy_str(a, &o->status) || !copy_text(a, &o->words) || !copy_text(a, &o->remote) ||
        !copy_str(a, &o->tls) || !copy_str(a, &o->destination)) {
        o->status = STR("4.3.1");
        o->words = o->remote = text_from((struct str){0});
        o->tls = o->destination = (struct str){0};
        if (o->outcome == IPC_OUTCOME_MOVED)
            o->outcome = IPC_OUTCOME_GIVEN_BACK;
    }
    if (o->outcome == IPC_OUTCOME_LATER && o->retry_ms == 0)
        decide_retry(c, &job->job.recipients[recipient], o);
    count(c, o);
}

void courier_job_end_rest(struct courier *c, struct courier_job *job,
                          const struct courier_fate *fate)
{
    for (size_t i = 0; i < job->job.recipients_count; i++)
        if (!job->ends[i].ended)
            courier_job_end(c, job, i, fate);
}

/* ---- Replies --------------------------------------------------------------------------------- */

void courier_reply_status(const struct smtp_client_reply *reply, struct buf *out)
{
    buf_printf(out, "%u.%u.%u", reply->class, reply->subject, reply->detail);
}

void courier_reply_words(const struct smtp_client_reply *reply, struct buf *out)
{
    struct str words = text_peek(reply->words);
    if (reply->code != 0) {
        buf_printf(out, "%u ", reply->code);
        courier_reply_status(reply, out);
        buf_append_byte(out, ' ');
    }
    for (size_t i = 0; i < words.len && !out->failed; i++)
        buf_append_byte(out, words.ptr[i] == '\n' ? ' ' : words.ptr[i]);
    out->failed = false;
}
