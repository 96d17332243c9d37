#include "roles/courier_notice.h"

#include <stdlib.h>

#include "base/limits.h"
#include "io/random.h"
#include "roles/courier_body.h"
#include "roles/courier_queue.h"

enum {
    AGAIN_MS = 10 * 1000,
    TRIES_MAX = 30,
    /* Reports with a large original at once, and how often one is begun: then its header must do.
     */
    SHIPPING_MAX = 4,
    SHIPMENTS_MAX = 5,
    CHUNKS_AT_ONCE = 4,
    CHUNKS_MAX = 128, /* what a report on a thousand recipients says first, and a piece */
    /* When what has a report to make is looked at again. */
    LATER_MS = 5 * 60 * 1000
};

struct courier_notice {
    struct courier_notice *next, **at;
    struct courier *courier;
    struct courier_job *job;
    struct courier_report *report;
    struct courier_body body;
    struct channel *mailroom;
    uint32_t call;
    unsigned tries;
    bool planned;
    bool shipping; /* its body is on its way to the vault */
    bool waits_to_ship;
    bool whole; /* there is no more of it */
    unsigned shipments;
    uint64_t body_number;
    struct channel *vault;
    uint32_t vault_call;
    struct timer timer;
};

static void stop_shipping(struct courier_notice *n);

static void finish(struct courier_notice *n)
{
    struct courier *c = n->courier;
    struct courier_job *job = n->job;
    job->report = n->report;
    if (n->report)
        metric_add(c->counts.reports, 1);
    if (n->call != 0)
        channel_cancel(n->mailroom, n->call);
    stop_shipping(n);
    courier_body_release(&n->body);
    timer_set(&n->timer, NEVER_MS);
    *n->at = n->next;
    if (n->next)
        n->next->at = n->at;
    free(n);
    courier_queue_job_done(c, job);
}

static struct courier_report_result result_of(const struct courier_job *job, size_t i)
{
    const struct courier_end *end = &job->ends[i];
    return (struct courier_report_result){.recipient = &job->job.recipients[i],
                                          .outcome = &end->outcome,
                                          .is_reply = end->is_reply,
                                          .next_tells = end->next_tells,
                                          .is_final = end->is_final};
}

void courier_notice_put_off(struct courier_job *job)
{
    for (size_t i = 0; i < job->job.recipients_count; i++) {
        struct courier_report_result result = result_of(job, i);
        struct ipc_outcome *o = &job->ends[i].outcome;
        if (courier_report_due(&job->job, &result) == REPORT_NOT_DUE)
            continue;
        o->outcome = IPC_OUTCOME_LATER;
        o->retry_ms = LATER_MS;
        o->noticed = false;
    }
    courier_report_free(job->report);
    job->report = NULL;
}

/* For the operator: nobody else will hear of it, or not yet. */
static void warn(const struct courier_notice *n, const char *event, struct str why)
{
    struct log_line line;
    struct courier *c = n->courier;
    log_begin(&line, role_log(c->role), courier_now(c), LOG_WARN, event);
    log_str(&line, "id", n->job->job.trace_id);
    log_text(&line, "sender", n->job->job.sender);
    log_str(&line, "why", why);
    log_end(&line);
}

static void give_up(struct courier_notice *n)
{
    metric_add(n->courier->counts.reports_put_off, 1);
    warn(n, "report-put-off", STR("it cannot be made at the moment"));
    courier_report_free(n->report);
    n->report = NULL;
    courier_notice_put_off(n->job);
    finish(n);
}

static void dropped(struct courier_notice *n)
{
    struct courier_job *job = n->job;
    struct str more = courier_report_drop_words(n->report);
    metric_add(n->courier->counts.reports_dropped, 1);
    warn(n, "sender-not-told", str_trim(more));
    for (size_t i = 0; i < job->job.recipients_count; i++) {
        struct courier_report_result result = result_of(job, i);
        struct ipc_outcome *o = &job->ends[i].outcome;
        struct str said = text_peek(o->words), both;
        if (courier_report_due(&job->job, &result) == REPORT_NOT_DUE)
            continue;
        char *room = arena_alloc(&job->arena, said.len + more.len + 1);
        if (!room)
            continue;
        memcpy(room, said.ptr ? said.ptr : "", said.len);
        memcpy(room + said.len, more.ptr, more.len);
        both = str_make(room, said.len + more.len);
        o->words = text_from(both);
    }
    courier_report_free(n->report);
    n->report = NULL;
    finish(n);
}

/* ---- A large original, ahead of its report --------------------------------------------------- */

static void ship(struct courier_notice *n);
static void fetch(void *context);

/* Somebody else's turn. */
static void stop_shipping(struct courier_notice *n)
{
    struct courier *c = n->courier;
    if (n->vault_call != 0)
        channel_cancel(n->vault, n->vault_call);
    n->vault_call = 0;
    if (!n->shipping)
        return;
    n->shipping = false;
    c->shipping--;
    for (struct courier_notice *other = c->notices; other; other = other->next)
        if (other != n && other->waits_to_ship) {
            timer_set(&other->timer, courier_now(c).mono_ms);
            return;
        }
}

/*
 * What the vault has of it is of no use; it is begun again, or the header must do: then n is gone.
 */
static void shipment_lost(struct courier_notice *n, bool again)
{
    courier_report_lost(n->report);
    if (n->body_number != 0 && courier_queue_is_resumed(n->courier))
        ipc_body_abort_note(role_peer(n->courier->role, ROLE_VAULT, 0),
                            &(struct ipc_body_abort_in){.body = n->body_number});
    stop_shipping(n);
    if (!again || n->shipments >= SHIPMENTS_MAX) {
        courier_report_shorten(n->report);
        finish(n);
        return;
    }
    timer_set(&n->timer, courier_now(n->courier).mono_ms + AGAIN_MS);
}

static void on_piece(void *context, enum status_code status, const struct ipc_body_chunk_out *out)
{
    struct courier_notice *n = context;
    n->vault_call = 0;
    if (status != STATUS_OK || out->status != STATUS_OK)
        shipment_lost(n, true);
    else
        ship(n);
}

/* True where a piece is on its way: the rest waits for the answer. */
static bool send_pieces(struct courier_notice *n)
{
    struct ipc_chunk chunks[CHUNKS_MAX];
    size_t count = courier_report_chunks(n->report, chunks, CHUNKS_MAX);
    if (count == 0 || (count < CHUNKS_AT_ONCE && !n->whole))
        return false;
    n->vault = role_peer(n->courier->role, ROLE_VAULT, 0);
    n->vault_call =
        ipc_body_chunk_call(n->vault,
                            &(struct ipc_body_chunk_in){
                                .body = n->body_number, .chunks = chunks, .chunks_count = count},
                            on_piece, n);
    courier_report_chunks_sent(n->report);
    if (n->vault_call == 0)
        shipment_lost(n, true);
    return true;
}

/* Where there is no memory for it now, it was lost before it began: n may be gone. */
static void begin_shipping(struct courier_notice *n)
{
    struct courier *c = n->courier;
    n->shipping = true;
    n->whole = false;
    n->waits_to_ship = false;
    n->shipments++;
    n->body_number = ++c->body_counter;
    c->shipping++;
    courier_body_release(&n->body);
    courier_body_begin(&n->body, c, n->job, fetch, n);
    if (courier_report_begin(n->report))
        ship(n);
    else
        shipment_lost(n, true);
}

/* The body chunk by chunk, from the vault and back to it: no more of it is here than that. */
static void ship(struct courier_notice *n)
{
    struct str octets = {0};
    while (n->shipping && n->vault_call == 0) {
        if (send_pieces(n))
            return;
        if (n->whole) {
            courier_report_shipped(n->report, n->body_number);
            finish(n);
            return;
        }
        enum courier_body_result result = courier_body_next(&n->body, &octets);
        if (result == BODY_WAIT)
            return;
        n->whole = result == BODY_END;
        bool ok = result != BODY_LOST && (n->whole ? courier_report_end(n->report)
                                                   : courier_report_more(n->report, octets));
        if (!ok) {
            shipment_lost(n, result != BODY_LOST || courier_body_again(&n->body));
            return;
        }
    }
}

static void fetch_header(struct courier_notice *n)
{
    struct str octets = {0};
    while (courier_report_wants(n->report)) {
        enum courier_body_result result = courier_body_next(&n->body, &octets);
        if (result == BODY_WAIT)
            return;
        if (result == BODY_PIECE) {
            courier_report_original(n->report, octets);
        } else if (courier_body_again(&n->body)) {
            timer_set(&n->timer, courier_now(n->courier).mono_ms + AGAIN_MS);
            return;
        } else {
            courier_report_original_lost(n->report);
            courier_report_shorten(n->report);
        }
    }
    if (!n->planned)
        return;
    if (!courier_report_is_apart(n->report)) {
        finish(n);
        return;
    }
    n->waits_to_ship = n->courier->shipping >= SHIPPING_MAX;
    if (!n->waits_to_ship)
        begin_shipping(n);
}

static void fetch(void *context)
{
    struct courier_notice *n = context;
    if (n->shipping)
        ship(n);
    else
        fetch_header(n);
}

static void wait_for_another(struct courier_notice *n)
{
    if (++n->tries >= TRIES_MAX)
        give_up(n);
    else
        timer_set(&n->timer, courier_now(n->courier).mono_ms + AGAIN_MS);
}

static void ask(void *context);

static void on_planned(void *context, enum status_code status, const struct ipc_recipient_out *out)
{
    struct courier_notice *n = context;
    n->call = 0;
    enum courier_report_planned planned =
        status == STATUS_OK ? courier_report_planned(n->report, out) : REPORT_LATER;
    switch (planned) {
    case REPORT_PLANNED:
        n->planned = true;
        fetch(n);
        return;
    case REPORT_LATER:
        wait_for_another(n);
        return;
    case REPORT_DROPPED:
        /* All of it may be too much for him. */
        if (courier_report_is_apart(n->report)) {
            courier_report_shorten(n->report);
            ask(n);
            return;
        }
        dropped(n);
        return;
    }
}

static void ask(void *context)
{
    struct courier_notice *n = context;
    struct ipc_recipient_in in = {0};
    unsigned index = 0;
    if (n->planned || n->call != 0)
        return;
    timer_set(&n->timer, NEVER_MS);
    n->mailroom = role_next_peer(n->courier->role, ROLE_MAILROOM, &index);
    courier_report_ask(n->report, &in);
    n->call = ipc_recipient_call(n->mailroom, &in, on_planned, n);
    if (n->call == 0)
        wait_for_another(n);
}

/* The mailroom is asked again, or the vault. */
static void go_on(void *context)
{
    struct courier_notice *n = context;
    if (n->planned)
        fetch(n);
    else
        ask(n);
}

static bool is_any_due(const struct courier_job *job)
{
    for (size_t i = 0; i < job->job.recipients_count; i++) {
        struct courier_report_result result = result_of(job, i);
        if (courier_report_due(&job->job, &result) != REPORT_NOT_DUE)
            return true;
    }
    return false;
}

/* What was handed over is told to the vault first: it comes back when its report is to be made. */
static void hand_over(struct courier_job *job)
{
    for (size_t i = 0; i < job->job.recipients_count; i++) {
        struct courier_report_result result = result_of(job, i);
        enum courier_report_due due = courier_report_due(&job->job, &result);
        struct ipc_outcome *o = &job->ends[i].outcome;
        if (o->outcome == IPC_OUTCOME_DONE && job->job.recipients[i].task == IPC_TASK_DELIVER &&
            due != REPORT_NOT_DUE)
            o->outcome =
                due == REPORT_DELIVERED ? IPC_OUTCOME_HANDED_DELIVERED : IPC_OUTCOME_HANDED_RELAYED;
    }
}

struct courier_job *courier_notice_split(struct courier_job *job)
{
    hand_over(job);
    bool *silent = arena_alloc_array(&job->arena, job->job.recipients_count, sizeof *silent);
    for (size_t i = 0; silent && i < job->job.recipients_count; i++) {
        struct courier_report_result result = result_of(job, i);
        silent[i] = courier_report_due(&job->job, &result) == REPORT_NOT_DUE;
    }
    return silent ? courier_job_split(job, silent) : NULL;
}

static struct courier_report *make_report(struct courier *c, struct courier_job *job,
                                          enum status_code *ret_status)
{
    char id[COURIER_ID_SIZE];
    struct courier_report_result *results =
        arena_alloc_array(&job->arena, job->job.recipients_count, sizeof *results);
    *ret_status = STATUS_NO_MEMORY;
    if (!results)
        return NULL;
    for (size_t i = 0; i < job->job.recipients_count; i++)
        results[i] = result_of(job, i);
    courier_new_id(c, id);
    struct courier_report_facts facts = {.job = &job->job,
                                         .results = results,
                                         .count = job->job.recipients_count,
                                         .hostname = c->settings->config.hostname,
                                         .id = str_from_c(id),
                                         .now = courier_now(c)};
    random_bytes(facts.random, sizeof facts.random);
    return courier_report_new(&facts, ret_status);
}

static struct courier_notice *notice_new(struct courier *c, struct courier_job *job)
{
    struct courier_notice *n = calloc(1, sizeof *n);
    if (!n)
        return NULL;
    *n = (struct courier_notice){.next = c->notices, .at = &c->notices, .courier = c, .job = job};
    if (n->next)
        n->next->at = &n->next;
    c->notices = n;
    timer_init(&n->timer, courier_loop(c), go_on, n);
    return n;
}

bool courier_notice_take(struct courier *c, struct courier_job *job)
{
    enum status_code status;
    if (!is_any_due(job))
        return false;
    struct courier_notice *n = notice_new(c, job);
    if (!n) {
        courier_notice_put_off(job);
        return false;
    }
    n->report = make_report(c, job, &status);
    if (!n->report && status != STATUS_OK) {
        give_up(n);
        return true;
    }
    if (!n->report) {
        finish(n);
        return true;
    }
    courier_body_begin(&n->body, c, job, fetch, n);
    ask(n);
    return true;
}

bool courier_notice_ships(struct courier *c, struct courier_job *job)
{
    if (!job->report || !courier_report_is_apart(job->report))
        return false;
    struct courier_notice *n = notice_new(c, job);
    if (!n) { /* as it is, then */
        courier_report_shorten(job->report);
        return false;
    }
    n->report = job->report;
    job->report = NULL;
    n->planned = true;
    courier_body_begin(&n->body, c, job, fetch, n);
    timer_set(&n->timer, courier_now(c).mono_ms);
    return true;
}

void courier_notice_mailroom(struct courier *c)
{
    for (struct courier_notice *n = c->notices, *next; n; n = next) {
        next = n->next;
        ask(n);
    }
}

void courier_notice_vault(struct courier *c)
{
    for (struct courier_notice *n = c->notices, *next; n; n = next) {
        next = n->next;
        if (n->planned && n->vault_call == 0)
            fetch(n);
    }
}

void courier_notice_free_all(struct courier *c)
{
    while (c->notices) {
        struct courier_notice *n = c->notices;
        courier_report_free(n->report);
        n->report = NULL;
        finish(n);
    }
}
