#include "roles/courier_queue.h"

#include <stdlib.h>

#include "base/bug.h"
#include "base/limits.h"
#include "roles/courier_destination.h"
#include "roles/courier_notice.h"
#include "roles/courier_tls_report.h"

enum {
    /* Of one lease: destinations begun, and messages for each. */
    FRESH_MAX = 64,
    TROUBLED_MAX = 16,
    MESSAGES_MAX = 100,
    WANTS_MAX = 512,
    /* Of one call with outcomes. */
    OUTCOMES_MAX = 500, /* besides the last job's: they are one transaction of the vault's */
    OUTCOMES_SIZE = LIMIT_IPC_FRAME_SIZE / 4, /* before the last job, which may be large */
    ARRIVALS_MAX = 512,
    OUTCOME_SIZE = 300, /* about, besides its words */
    CALL_BUDGET = 8 * 1024 * 1024,
    AGAIN_MS = 1000 /* when a vault that cannot is asked again */
};

struct arrival {
    struct arrival *next;
    struct ipc_arrival said; /* its words live behind it */
    char words[];
};

struct courier_queue {
    struct courier *courier;
    struct channel *vault;
    bool resumed;
    uint32_t resume_call, lease_call, outcomes_call;
    struct hook hook;
    struct timer lease_timer, again_timer;
    /* Destinations that we are not at may have work, without and with trouble of late. */
    bool fresh_maybe, troubled_maybe;
    bool asked_fresh, asked_troubled; /* in the lease that is under way */
    bool news;                        /* came since it was asked for */
    bool due;                         /* the vault is to be asked, whatever there is room for */
    struct courier_job *all;
    size_t job_count, job_size;
    struct courier_job *done, **last_done; /* to be told */
    struct courier_job *telling;           /* in the call under way */
    struct arrival *arrivals, **last_arrival, *arrivals_telling;
    int64_t tell_ms; /* not before: the vault could not keep it */
};

static void look_soon(struct courier_queue *q)
{
    hook_queue(&q->hook, courier_loop(q->courier));
}

void courier_queue_ask_soon(struct courier *c)
{
    look_soon(c->queue);
}

/* What we hold and what the vault thinks we hold are not the same any more: it is told again. */
static void begin_anew(struct courier_queue *q)
{
    q->resumed = false;
    timer_set(&q->again_timer, courier_now(q->courier).mono_ms + AGAIN_MS);
}

/* ---- What is held ---------------------------------------------------------------------------- */

static void hold(struct courier_queue *q, struct courier_job *job)
{
    job->all_next = q->all;
    job->all_at = &q->all;
    if (job->all_next)
        job->all_next->all_at = &job->all_next;
    q->all = job;
    q->job_count++;
    q->job_size += job->size;
    metric_set(q->courier->counts.jobs, q->job_count);
}

static void let_go(struct courier_queue *q, struct courier_job *job)
{
    *job->all_at = job->all_next;
    if (job->all_next)
        job->all_next->all_at = job->all_at;
    q->job_count--;
    q->job_size -= job->size;
    metric_set(q->courier->counts.jobs, q->job_count);
    courier_job_free(job);
}

static bool has_room(const struct courier_queue *q)
{
    return q->job_count < LIMIT_COURIER_JOBS && q->job_size < LIMIT_COURIER_JOBS_SIZE;
}

bool courier_queue_is_resumed(const struct courier *c)
{
    return c->queue->vault && c->queue->resumed;
}

bool courier_queue_is_empty(const struct courier *c)
{
    const struct courier_queue *q = c->queue;
    return !q->all && !q->arrivals && q->outcomes_call == 0;
}

/* ---- Outcomes ----------------------------------------------------------------------------------
 */

void courier_queue_job_done(struct courier *c, struct courier_job *job)
{
    struct courier_queue *q = c->queue;
    job->next = NULL;
    *q->last_done = job;
    q->last_done = &job->next;
    look_soon(q);
}

void courier_queue_job_over(struct courier *c, struct courier_job *job)
{
    struct courier_job *silent = courier_notice_split(job);
    if (silent) {
        hold(c->queue, silent);
        courier_queue_job_done(c, silent);
    }
    if (!courier_notice_take(c, job))
        courier_queue_job_done(c, job);
}

void courier_queue_arrival(struct courier *c, const struct ipc_arrival *arrival)
{
    struct courier_queue *q = c->queue;
    struct str words = str_sub(text_peek(arrival->words), 0, LIMIT_QUEUE_WORDS_SIZE);
    struct arrival *a = calloc(1, sizeof *a + words.len);
    if (!a) {
        begin_anew(q);
        return;
    }
    a->said = *arrival;
    memcpy(a->words, words.ptr ? words.ptr : "", words.len);
    a->said.words = text_from(str_make(a->words, words.len));
    *q->last_arrival = a;
    q->last_arrival = &a->next;
    look_soon(q);
}

static size_t report_size(const struct ipc_report *r)
{
    size_t size = OUTCOME_SIZE + r->prefix.len + r->email.structure.len + r->email.signature.len;
    for (size_t i = 0; i < r->email.chunks_count; i++)
        size += r->email.chunks[i].data.len;
    return size;
}

static size_t outcome_size(const struct ipc_outcome *o)
{
    return OUTCOME_SIZE + text_peek(o->words).len + text_peek(o->remote).len;
}

/* A report that cannot be made holds nobody up: what it was about is tried again. */
static void add_job(struct courier_job *job, struct ipc_outcomes_in *in, struct ipc_outcome *list,
                    struct ipc_report *reports, size_t *size)
{
    struct ipc_report *report = &reports[in->reports_count];
    if (job->report && courier_report_finish(job->report, report) != STATUS_OK)
        courier_notice_put_off(job);
    if (job->report) {
        in->reports_count++;
        *size += report_size(report);
    }
    for (size_t i = 0; i < job->job.recipients_count; i++) {
        list[in->outcomes_count++] = job->ends[i].outcome;
        *size += outcome_size(&job->ends[i].outcome);
    }
}

/* How many outcomes the jobs to be told have, within the bounds of a call. */
static size_t count_outcomes(const struct courier_queue *q, size_t *ret_jobs)
{
    size_t count = 0;
    *ret_jobs = 0;
    for (const struct courier_job *job = q->done; job && count < OUTCOMES_MAX; job = job->next) {
        count += job->job.recipients_count;
        ++*ret_jobs;
    }
    return count;
}

static bool gather_jobs(struct courier_queue *q, struct arena *a, struct ipc_outcomes_in *in)
{
    size_t jobs, size = 0, count = count_outcomes(q, &jobs);
    struct ipc_outcome *outcomes = arena_alloc_array(a, count + 1, sizeof *outcomes);
    struct ipc_report *reports = arena_alloc_array(a, jobs + 1, sizeof *reports);
    struct courier_job *job, **last = &q->telling;
    if (!outcomes || !reports)
        return false;
    in->outcomes = outcomes;
    in->reports = reports;
    while (jobs-- > 0 && size < OUTCOMES_SIZE && (job = q->done) != NULL) {
        q->done = job->next;
        job->next = NULL;
        if (courier_notice_ships(q->courier, job))
            continue;
        add_job(job, in, outcomes, reports, &size);
        *last = job;
        last = &job->next;
    }
    if (!q->done)
        q->last_done = &q->done;
    return true;
}

static bool gather_arrivals(struct courier_queue *q, struct arena *a, struct ipc_outcomes_in *in)
{
    struct ipc_arrival *list = arena_alloc_array(a, ARRIVALS_MAX, sizeof *list);
    if (!list)
        return false;
    in->arrivals = list;
    while (q->arrivals && in->arrivals_count < ARRIVALS_MAX) {
        struct arrival *arrival = q->arrivals;
        list[in->arrivals_count++] = arrival->said;
        q->arrivals = arrival->next;
        arrival->next = q->arrivals_telling;
        q->arrivals_telling = arrival;
    }
    if (!q->arrivals)
        q->last_arrival = &q->arrivals;
    return true;
}

/* It was not confirmed: in front of what gathered meanwhile, in the same order. */
static void take_back(struct courier_queue *q)
{
    struct courier_job **last = &q->telling;
    while (*last) {
        if ((*last)->report) /* what went ahead of it had its turn */
            courier_report_lost((*last)->report);
        last = &(*last)->next;
    }
    *last = q->done;
    if (!q->done && q->telling)
        q->last_done = last;
    q->done = q->telling;
    q->telling = NULL;
    while (q->arrivals_telling) {
        struct arrival *arrival = q->arrivals_telling;
        q->arrivals_telling = arrival->next;
        arrival->next = q->arrivals;
        if (!q->arrivals)
            q->last_arrival = &arrival->next;
        q->arrivals = arrival;
    }
    courier_tls_report_again(q->courier);
}

static void confirmed(struct courier_queue *q)
{
    while (q->telling) {
        struct courier_job *job = q->telling;
        q->telling = job->next;
        let_go(q, job);
    }
    while (q->arrivals_telling) {
        struct arrival *arrival = q->arrivals_telling;
        q->arrivals_telling = arrival->next;
        free(arrival);
    }
    courier_tls_report_told(q->courier);
}

static void resume(struct courier_queue *q);

static void on_outcomes(void *context, enum status_code status, const struct ipc_outcomes_out *out)
{
    struct courier_queue *q = context;
    q->outcomes_call = 0;
    if (status == STATUS_OK && out->status == STATUS_OK) {
        confirmed(q);
        look_soon(q);
        courier_may_end(q->courier);
        return;
    }
    take_back(q);
    if (status != STATUS_OK) /* peer_down and peer_up follow */
        return;
    if (out->status == STATUS_BUSY) {
        q->resumed = false;
        resume(q);
        return;
    }
    struct now now = courier_now(q->courier);
    log_event(role_log(q->courier->role), now, LOG_WARN, "outcomes-not-kept",
              status_name(out->status));
    q->tell_ms = now.mono_ms + AGAIN_MS;
    timer_set(&q->again_timer, q->tell_ms);
}

static bool has_news(const struct courier_queue *q)
{
    return q->done || q->arrivals || courier_tls_report_is_due(q->courier);
}

static void tell(struct courier_queue *q)
{
    struct arena arena;
    struct now now = courier_now(q->courier);
    struct ipc_outcomes_in in = {.at_ms = now.wall_ms};
    if (!q->resumed || q->outcomes_call != 0 || now.mono_ms < q->tell_ms || !has_news(q))
        return;
    arena_init(&arena, CALL_BUDGET);
    bool ok = gather_jobs(q, &arena, &in) && gather_arrivals(q, &arena, &in);
    if (ok)
        courier_tls_report_tell(q->courier, &arena, &in);
    ok = ok && in.outcomes_count + in.arrivals_count + in.tls_count > 0;
    if (ok)
        q->outcomes_call = ipc_outcomes_call(q->vault, &in, on_outcomes, q);
    if (q->outcomes_call == 0) {
        take_back(q);
        q->tell_ms = now.mono_ms + AGAIN_MS;
        timer_set(&q->again_timer, q->tell_ms);
    }
    arena_reset(&arena);
}

/* ---- Leases ------------------------------------------------------------------------------------
 */

static void take_job(struct courier_queue *q, const struct ipc_job *in)
{
    struct courier *c = q->courier;
    struct courier_destination *d = courier_destination_find(c, in->destination);
    struct courier_job *job = courier_job_new(in);
    if (!job) {
        begin_anew(q);
        return;
    }
    hold(q, job);
    metric_add(c->counts.leased, in->recipients_count);
    if (d && d->asked > 0)
        d->asked--;
    if (d && job->left > 0 && !d->ending && !c->stopping) {
        courier_destination_add(d, job);
        return;
    }
    courier_job_end_rest(c, job, &(struct courier_fate){.outcome = IPC_OUTCOME_GIVEN_BACK});
    courier_queue_job_over(c, job);
}

/* Who got less than was asked for has no more for now. */
static void settle_wants(struct courier *c)
{
    for (size_t i = 0; i < COURIER_SLOTS; i++)
        for (struct courier_destination *d = c->destinations[i]; d; d = d->next) {
            if (d->asked == 0)
                continue;
            d->more = d->news;
            d->asked = 0;
            courier_destination_run_soon(d);
        }
}

static void begin_destinations(struct courier *c, const struct ipc_lease_out *out)
{
    for (size_t i = 0; i < out->begun_count; i++) {
        const struct ipc_begun *b = &out->begun[i];
        struct courier_destination *d = courier_destination_find(c, b->destination);
        if (!d)
            d = courier_destination_begin(c, b->destination, b->name, b->trouble);
        else
            d->begun_again = d->ending;
        if (d) {
            d->asked = MESSAGES_MAX;
            d->more = true;
        } else {
            courier_queue_arrival(c, &(struct ipc_arrival){.destination = b->destination});
        }
    }
}

/* Only what was asked for is known not to be there, and what came meanwhile may be. */
static void note_wait(struct courier_queue *q, int64_t wait_ms)
{
    int64_t now_ms = courier_now(q->courier).mono_ms;
    bool more = wait_ms == 0 || q->news;
    q->fresh_maybe = more || (q->fresh_maybe && !q->asked_fresh);
    q->troubled_maybe = more || (q->troubled_maybe && !q->asked_troubled);
    if (wait_ms != 0)
        timer_set(&q->lease_timer, wait_ms >= NEVER_MS - now_ms ? NEVER_MS : now_ms + wait_ms);
}

static void on_lease(void *context, enum status_code status, const struct ipc_lease_out *out)
{
    struct courier_queue *q = context;
    struct courier *c = q->courier;
    q->lease_call = 0;
    if (status == STATUS_OK && out->status == STATUS_OK) {
        begin_destinations(c, out);
        for (size_t i = 0; i < out->jobs_count; i++)
            take_job(q, &out->jobs[i]);
        note_wait(q, out->wait_ms);
    } else if (status == STATUS_OK) {
        begin_anew(q); /* a vault that could not lease has forgotten us */
    }
    settle_wants(c);
    look_soon(q);
}

static size_t gather_wants(struct courier *c, struct ipc_want *wants)
{
    size_t count = 0;
    for (size_t i = 0; i < COURIER_SLOTS; i++)
        for (struct courier_destination *d = c->destinations[i]; d; d = d->next) {
            uint32_t messages = count < WANTS_MAX ? courier_destination_wants(d) : 0;
            d->asked = messages;
            d->news = false;
            if (messages > 0)
                wants[count++] = (struct ipc_want){d->id, messages};
        }
    return count;
}

static uint32_t at_most(uint64_t room, uint64_t taken, uint32_t max)
{
    uint64_t left = room > taken ? room - taken : 0;
    return left < max ? (uint32_t)left : max;
}

static void ask(struct courier_queue *q)
{
    static struct ipc_want wants[WANTS_MAX];
    struct courier *c = q->courier;
    uint64_t connections = c->settings->config.outbound.connections;
    if (!q->resumed || q->lease_call != 0 || c->stopping || !has_room(q))
        return;
    struct ipc_lease_in in = {.wants = wants, .messages = MESSAGES_MAX};
    if (q->fresh_maybe)
        in.fresh = at_most(connections * 2, c->destination_count, FRESH_MAX);
    if (q->troubled_maybe)
        in.troubled = at_most(connections / 4 + 1, c->troubled_count, TROUBLED_MAX);
    in.wants_count = gather_wants(c, wants);
    if (!q->due && in.wants_count == 0 && in.fresh == 0 && in.troubled == 0)
        return;
    q->asked_fresh = in.fresh > 0;
    q->asked_troubled = in.troubled > 0;
    q->due = false;
    q->news = false;
    q->lease_call = ipc_lease_call(q->vault, &in, on_lease, q);
    if (q->lease_call == 0) {
        settle_wants(c);
        timer_set(&q->again_timer, courier_now(c).mono_ms + AGAIN_MS);
    }
}

static void look_for_all(struct courier_queue *q)
{
    q->fresh_maybe = true;
    q->troubled_maybe = true;
    q->news = true;
}

void courier_on_queue_ready(void *context, struct channel *from,
                            const struct ipc_queue_ready_in *in)
{
    struct courier *c = context;
    (void)from;
    for (size_t i = 0; i < in->ready_count; i++) {
        struct courier_destination *d = courier_destination_find(c, in->ready[i].destination);
        if (d)
            d->more = d->news = true;
        else /* we have left it meanwhile */
            look_for_all(c->queue);
    }
    if (in->fresh)
        look_for_all(c->queue);
    c->queue->due = true; /* it says nothing more before it is asked */
    look_soon(c->queue);
}

/* ---- Vaults ------------------------------------------------------------------------------------
 */

static void on_resume(void *context, enum status_code status, const struct ipc_resume_out *out)
{
    struct courier_queue *q = context;
    q->resume_call = 0;
    if (status == STATUS_OK && out->status == STATUS_OK) {
        q->resumed = true;
        q->tell_ms = 0;
        look_for_all(q);
        courier_notice_vault(q->courier);
        look_soon(q);
    } else if (status == STATUS_OK) {
        timer_set(&q->again_timer, courier_now(q->courier).mono_ms + AGAIN_MS);
    }
}

/* A new vault knows only destinations of which something is held. */
static void forget_idle(struct courier *c)
{
    for (size_t i = 0; i < COURIER_SLOTS; i++)
        for (struct courier_destination *d = c->destinations[i], *next; d; d = next) {
            next = d->next;
            d->asked = 0;
            d->more = true;
            if (d->waiting == 0 && d->working == 0)
                courier_destination_free(d);
        }
}

static void resume(struct courier_queue *q)
{
    struct arena arena;
    size_t count = 0;
    if (!q->vault || q->resume_call != 0)
        return;
    if (q->lease_call != 0) { /* what comes with it is held too */
        begin_anew(q);
        return;
    }
    forget_idle(q->courier);
    for (struct courier_job *job = q->all; job; job = job->all_next)
        count += job->job.recipients_count;
    arena_init(&arena, (count + 1) * sizeof(struct ipc_held) + 1024);
    struct ipc_held *held = arena_alloc_array(&arena, count + 1, sizeof *held);
    count = 0;
    for (struct courier_job *job = q->all; held && job; job = job->all_next) {
        uint64_t at = job->destination ? job->job.destination : 0;
        for (size_t i = 0; i < job->job.recipients_count; i++)
            held[count++] = (struct ipc_held){job->job.recipients[i].id, at};
    }
    if (held)
        q->resume_call =
            ipc_resume_call(q->vault, &(struct ipc_resume_in){held, count}, on_resume, q);
    if (q->resume_call == 0)
        timer_set(&q->again_timer, courier_now(q->courier).mono_ms + AGAIN_MS);
    arena_reset(&arena);
}

void courier_queue_vault(struct courier *c, struct channel *vault)
{
    struct courier_queue *q = c->queue;
    q->vault = vault;
    q->resumed = false;
    for (struct courier_job *job = q->done; job; job = job->next)
        if (job->report)
            courier_report_lost(job->report);
    if (vault)
        resume(q);
}

static void look(void *context)
{
    struct courier_queue *q = context;
    if (!q->vault || !q->resumed)
        return;
    tell(q);
    ask(q);
    metric_set(q->courier->counts.waiting_outcomes, q->done != NULL);
}

static void on_lease_timer(void *context)
{
    struct courier_queue *q = context;
    look_for_all(q);
    q->due = true;
    look_soon(q);
}

static void on_again_timer(void *context)
{
    struct courier_queue *q = context;
    if (!q->resumed)
        resume(q);
    look_soon(q);
}

struct courier_queue *courier_queue_new(struct courier *c)
{
    struct courier_queue *q = calloc(1, sizeof *q);
    if (!q)
        return NULL;
    q->courier = c;
    q->last_done = &q->done;
    q->last_arrival = &q->arrivals;
    hook_init(&q->hook, look, q);
    timer_init(&q->lease_timer, courier_loop(c), on_lease_timer, q);
    timer_init(&q->again_timer, courier_loop(c), on_again_timer, q);
    return q;
}

void courier_queue_free(struct courier_queue *q)
{
    if (!q)
        return;
    hook_cancel(&q->hook);
    timer_set(&q->lease_timer, NEVER_MS);
    timer_set(&q->again_timer, NEVER_MS);
    while (q->all)
        let_go(q, q->all);
    take_back(q);
    while (q->arrivals) {
        struct arrival *arrival = q->arrivals;
        q->arrivals = arrival->next;
        free(arrival);
    }
    free(q);
}
