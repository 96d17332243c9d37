#include "roles/courier_destination.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "io/random.h"
#include "roles/courier_connection.h"
#include "roles/courier_queue.h"
#include "roles/courier_settings.h"

enum {
    /* What is asked of the vault at once, and when it is asked again. */
    WAITING_HIGH = 200,
    WAITING_LOW = 100,
    /* How long connections rest for more to come; how long an answer of the DNS is believed. */
    IDLE_MS = 4000,
    ROUTE_LIFE_MS = 5 * 60 * 1000,
    /* How soon a destination looks for a free connection again. */
    LOOK_AGAIN_MS = 100
};

static struct courier_destination **slot_of(struct courier *c, uint64_t id)
{
    return &c->destinations[id * 0x9e3779b97f4a7c15u >> 54];
}

_Static_assert(COURIER_SLOTS == 1 << 10, "slot_of takes the ten upper bits");

struct courier_destination *courier_destination_find(struct courier *c, uint64_t id)
{
    struct courier_destination *d = *slot_of(c, id);
    while (d && d->id != id)
        d = d->next;
    return d;
}

static void log_line(const struct courier_destination *d, struct log_line *line,
                     enum log_level level, const char *event)
{
    log_begin(line, role_log(d->courier->role), courier_now(d->courier), level, event);
    log_str(line, "destination", buf_str(&d->name));
}

/* ---- Jobs ---------------------------------------------------------------------------------- */

static void job_over(struct courier_destination *d, struct courier_job *job)
{
    for (size_t i = 0; i < job->job.recipients_count; i++) {
        uint8_t outcome = job->ends[i].outcome.outcome;
        if (job->job.recipients[i].task != IPC_TASK_DELIVER)
            continue;
        if (outcome == IPC_OUTCOME_DONE)
            metric_add(d->delivered, 1);
        else if (outcome == IPC_OUTCOME_LATER)
            metric_add(d->put_off, 1);
    }
    job->destination = NULL;
    courier_queue_job_over(d->courier, job);
}

/*
 * Does the configuration say now that the recipient belongs elsewhere? Where an operator sent it to
 * a route or another domain it stays there, as long as there is such a route.
 */
static bool belongs_elsewhere(const struct courier_destination *d, struct str domain,
                              struct buf *destination)
{
    const struct config *config = &d->courier->settings->config;
    struct str name = buf_str(&d->name);
    enum route_kind kind, other_kind;
    struct str rest, other;
    if (!route_destination_split(name, &kind, &rest))
        return route_destination(&config->routes, domain, destination);
    if (kind == ROUTE_RULE)
        return !route_rule_find(&config->routes, name) &&
               route_destination(&config->routes, domain, destination);
    if (config->routes.count == 0)
        return false;
    struct route_rules none = {0};
    bool natural = route_destination(&none, domain, destination) &&
                   route_destination_split(buf_str(destination), &other_kind, &other) &&
                   other_kind == kind && str_eq(other, rest);
    buf_clear(destination);
    return natural && route_destination(&config->routes, domain, destination) &&
           route_rule_find(&config->routes, buf_str(destination));
}

static void move_where_it_belongs(struct courier_destination *d, struct courier_job *job)
{
    struct buf destination;
    buf_init(&destination, LIMIT_DESTINATION_SIZE);
    for (size_t i = 0; i < job->job.recipients_count; i++) {
        struct str address = text_peek(job->job.recipients[i].recipient);
        struct str domain = str_skip(address, (size_t)(str_rfind_byte(address, '@') + 1));
        buf_clear(&destination);
        if (!job->ends[i].ended && belongs_elsewhere(d, domain, &destination))
            courier_job_end(d->courier, job, i,
                            &(struct courier_fate){.outcome = IPC_OUTCOME_MOVED,
                                                   .destination = buf_str(&destination)});
    }
    buf_release(&destination);
}

static void append(struct courier_destination *d, struct courier_job *job)
{
    job->next = NULL;
    *d->last_job = job;
    d->last_job = &job->next;
    d->waiting++;
}

void courier_destination_add(struct courier_destination *d, struct courier_job *job)
{
    job->destination = d;
    move_where_it_belongs(d, job);
    if (job->left == 0) {
        job_over(d, job);
        return;
    }
    append(d, job);
    courier_destination_run_soon(d);
}

/* The job at that place of the list leaves it. */
static struct courier_job *unlink_job(struct courier_destination *d, struct courier_job **at)
{
    struct courier_job *job = *at;
    if (!job)
        return NULL;
    *at = job->next;
    if (!job->next)
        d->last_job = at;
    job->next = NULL;
    d->waiting--;
    return job;
}

/* Hosts of the route in use that lack something for the job. */
static uint32_t lacking_hosts(const struct courier_destination *d, const struct courier_job *job)
{
    return job->lacking_route == d->route_number ? job->lacking_hosts : 0;
}

static bool may_take(const struct courier_destination *d, const struct courier_job *job,
                     size_t host)
{
    return (lacking_hosts(d, job) & UINT32_C(1) << host) == 0;
}

struct courier_job *courier_destination_take(struct courier_destination *d, size_t host)
{
    struct now now = courier_now(d->courier);
    struct courier_job **at = &d->jobs;
    while (*at && !may_take(d, *at, host))
        at = &(*at)->next;
    if (d->ending || !*at || pace_message_at(&d->pace, now) > now.mono_ms)
        return NULL;
    pace_message_started(&d->pace, now);
    d->working++;
    if (d->waiting < WAITING_LOW && d->more)
        courier_queue_ask_soon(d->courier);
    return unlink_job(d, at);
}

/* ---- What a host lacks -------------------------------------------------------------------------
 */

void courier_destination_note_lack(struct courier_destination *d, struct courier_job *job,
                                   size_t host)
{
    struct log_line line;
    job->lacking_hosts = lacking_hosts(d, job) | UINT32_C(1) << host;
    job->lacking_route = d->route_number;
    log_line(d, &line, LOG_INFO, "for-another-host");
    log_str(&line, "id", job->job.trace_id);
    log_str(&line, "host", d->route->route.decision.hosts[host].name);
    log_end(&line);
}

bool courier_destination_has_others(const struct courier_destination *d,
                                    const struct courier_job *job, size_t host)
{
    uint32_t all = (uint32_t)((UINT64_C(1) << d->route->route.decision.host_count) - 1);
    return (lacking_hosts(d, job) | UINT32_C(1) << host) != all;
}

bool courier_destination_has_only_others(const struct courier_destination *d, size_t host)
{
    const struct courier_job *job = d->jobs;
    while (job && !may_take(d, job, host))
        job = job->next;
    return d->jobs && !job;
}

uint32_t courier_destination_avoids(const struct courier_destination *d)
{
    return d->jobs ? lacking_hosts(d, d->jobs) : 0;
}

bool courier_destination_wants_place(const struct courier_destination *d, size_t host)
{
    return d->jobs && !may_take(d, d->jobs, host) && d->connection_count == d->ready_count &&
           !pace_may_open(&d->pace, &d->courier->pace);
}

void courier_destination_return(struct courier_destination *d, struct courier_job *job)
{
    d->working--;
    courier_destination_run_soon(d);
    if (job->left == 0) {
        job_over(d, job);
        return;
    }
    job->next = d->jobs;
    d->jobs = job;
    if (!job->next)
        d->last_job = &job->next;
    d->waiting++;
}

static void end_waiting(struct courier_destination *d, const struct courier_fate *fate)
{
    struct courier_job *job;
    while ((job = unlink_job(d, &d->jobs)) != NULL) {
        courier_job_end_rest(d->courier, job, fate);
        job_over(d, job);
    }
}

void courier_destination_unfit(struct courier_destination *d, uint32_t avoid,
                               const struct courier_fate *fate)
{
    struct courier_job **at = &d->jobs;
    while (*at) {
        if ((lacking_hosts(d, *at) & avoid) != avoid) {
            at = &(*at)->next;
            continue;
        }
        struct courier_job *job = unlink_job(d, at);
        courier_job_end_rest(d->courier, job, fate);
        job_over(d, job);
    }
    courier_destination_run_soon(d);
}

uint32_t courier_destination_wants(const struct courier_destination *d)
{
    /* Until somebody lets us in, what it began with is enough. */
    bool is_in = d->ready_count > 0 || d->waiting + d->working == 0;
    if (!d->more || d->ending || !is_in || d->waiting >= WAITING_LOW)
        return 0;
    return (uint32_t)(WAITING_HIGH - d->waiting);
}

/* ---- Trouble ------------------------------------------------------------------------------- */

/* Nobody goes there for a while. It ends when its connections have. */
static void give_up(struct courier_destination *d, const struct courier_fate *fate)
{
    struct log_line line;
    int64_t retry_ms =
        retry_destination_in(&d->courier->settings->retry, d->trouble + 1, random_u64());
    if (d->ending)
        return;
    log_line(d, &line, LOG_INFO, "not-reached");
    log_text(&line, "why", fate->words);
    log_number(&line, "retry_ms", retry_ms);
    log_end(&line);
    end_waiting(d, fate);
    d->ending = true;
    courier_queue_arrival(d->courier, &(struct ipc_arrival){.destination = d->id,
                                                            .state = IPC_ARRIVAL_NOT_REACHED,
                                                            .retry_ms = retry_ms,
                                                            .words = fate->words});
    courier_destination_run_soon(d);
}

void courier_destination_unreachable(struct courier_destination *d, uint32_t wave,
                                     const struct courier_fate *fate)
{
    pace_failed(&d->pace, wave);
    courier_destination_run_soon(d);
    /* Others that are in, or still on their way, may do. */
    if (d->live > 0 || d->working > 0)
        return;
    give_up(d, fate);
}

/* ---- Routes ---------------------------------------------------------------------------------- */

static void no_way(struct courier_destination *d, const struct route_decision *decision)
{
    bool never = decision->verdict == ROUTE_BOUNCE;
    struct courier_fate fate = {.outcome = never ? IPC_OUTCOME_FAILED : IPC_OUTCOME_LATER,
                                .status = decision->enhanced,
                                .words = text_from(decision->words)};
    give_up(d, &fate);
}

static void on_route(void *context)
{
    struct courier_destination *d = context;
    struct courier_route *found = d->finding;
    d->finding = NULL;
    if (found->route.decision.verdict != ROUTE_HOSTS) {
        if (d->ready_count == 0)
            no_way(d, &found->route.decision);
        courier_route_drop(found);
        return;
    }
    courier_route_drop(d->route);
    d->route = found;
    d->route_number++;
    d->host = d->address = 0;
    d->failed_hosts = 0;
    courier_destination_run_soon(d);
}

static void find_route(struct courier_destination *d)
{
    static const struct courier_fate no_memory = {
        .outcome = IPC_OUTCOME_LATER, .status = STR("4.3.1"), .words = {STR("no memory")}};
    if (d->finding)
        return;
    d->finding = courier_route_find(d->courier, buf_str(&d->name), on_route, d);
    if (!d->finding)
        give_up(d, &no_memory);
}

static bool route_is_old(const struct courier_destination *d)
{
    return courier_now(d->courier).mono_ms - d->route->found_ms > ROUTE_LIFE_MS ||
           d->route->settings != d->courier->settings;
}

/* ---- Running -----------------------------------------------------------------------------------
 */

/* Idle connections take what their hosts may have. */
static void wake_connections(struct courier_destination *d)
{
    for (struct courier_connection *conn = d->connections, *next; conn && d->jobs; conn = next) {
        next = courier_connection_next(conn);
        courier_connection_wake(conn);
    }
}

/* Connections that are not in yet will take a message each. */
static void open_connections(struct courier_destination *d)
{
    while (d->connection_count - d->ready_count < d->waiting &&
           pace_may_open(&d->pace, &d->courier->pace) && courier_connection_open(d))
        continue;
}

static void close_connections(struct courier_destination *d)
{
    for (struct courier_connection *conn = d->connections, *next; conn; conn = next) {
        next = courier_connection_next(conn);
        courier_connection_quit(conn);
    }
}

static void leave(struct courier_destination *d)
{
    /* Of the trouble the vault knows; of an end that came after a second beginning it does not. */
    if (!d->ending || d->begun_again)
        courier_queue_arrival(
            d->courier, &(struct ipc_arrival){.destination = d->id, .state = IPC_ARRIVAL_OVER});
    courier_destination_free(d);
}

/* Nothing to do: connections rest for a while, then all of it ends. */
static void rest(struct courier_destination *d)
{
    int64_t now_ms = courier_now(d->courier).mono_ms;
    if (d->idle_since_ms == 0)
        d->idle_since_ms = now_ms;
    int64_t until_ms = d->idle_since_ms + IDLE_MS;
    bool over = d->ending || d->courier->stopping || now_ms >= until_ms;
    if (!over) {
        timer_set(&d->timer, until_ms);
        return;
    }
    if (d->connection_count > 0)
        close_connections(d);
    else if (d->asked == 0)
        leave(d);
}

static void work(struct courier_destination *d)
{
    struct now now = courier_now(d->courier);
    int64_t at_ms = pace_message_at(&d->pace, now);
    d->idle_since_ms = 0;
    if (at_ms > now.mono_ms) {
        timer_set(&d->timer, at_ms);
        return;
    }
    wake_connections(d);
    if (!d->jobs)
        return;
    if (route_is_old(d))
        find_route(d);
    else
        open_connections(d);
    /* Where the whole courier has no connection left: look again. */
    if (d->connection_count == 0)
        timer_set(&d->timer, now.mono_ms + LOOK_AGAIN_MS);
}

static void run(void *context)
{
    struct courier_destination *d = context;
    if (!d->route && !d->ending) {
        find_route(d);
        return;
    }
    if (d->jobs && !d->ending)
        work(d);
    else if (d->working == 0)
        rest(d);
}

static void on_timer(void *context)
{
    courier_destination_run_soon(context);
}

void courier_destination_run_soon(struct courier_destination *d)
{
    hook_queue(&d->hook, courier_loop(d->courier));
}

void courier_destination_stop(struct courier_destination *d)
{
    end_waiting(d, &(struct courier_fate){.outcome = IPC_OUTCOME_GIVEN_BACK});
    if (d->finding && !d->route) {
        courier_route_drop(d->finding);
        d->finding = NULL;
    }
    d->ending = d->ending || !d->route;
    courier_destination_run_soon(d);
}

/* ---- Beginnings and ends -------------------------------------------------------------------- */

/* Names of their own for so many; the others share one. */
static const char *label_of(struct courier *c, const struct buf *name, char *text, size_t size)
{
    if (!str_to_c(buf_str(name), text, size))
        return "other";
    for (size_t i = 0; i < c->label_count; i++)
        if (strcmp(c->labels[i], text) == 0)
            return text;
    if (c->label_count == COURIER_LABELS_MAX)
        return "other";
    str_to_c(str_from_c(text), c->labels[c->label_count++], sizeof c->labels[0]);
    return text;
}

static void find_metrics(struct courier_destination *d)
{
    char text[COURIER_LABEL_SIZE];
    struct metrics *m = role_metrics(d->courier->role);
    const char *label = label_of(d->courier, &d->name, text, sizeof text);
    d->delivered = metrics_get(m, METRIC_COUNTER, "postern_courier_destination_delivered",
                               "Recipients handed to the next server.", "destination", label);
    d->put_off = metrics_get(m, METRIC_COUNTER, "postern_courier_destination_put_off",
                             "Recipients that have to wait.", "destination", label);
}

static uint32_t connections_of(const struct courier *c, struct str name, uint64_t *ret_rate)
{
    const struct config *config = &c->settings->config;
    enum route_kind kind;
    struct str domain;
    const struct config_policy *policy = NULL;
    if (route_destination_split(name, &kind, &domain) && kind == ROUTE_DNS)
        policy = config_policy_of(config, domain);
    *ret_rate = policy ? policy->rate_per_minute : 0;
    return (uint32_t)(policy && policy->connections > 0
                          ? policy->connections
                          : config->outbound.connections_per_destination);
}

struct courier_destination *courier_destination_begin(struct courier *c, uint64_t id,
                                                      struct str name, uint32_t trouble)
{
    struct courier_destination *d = calloc(1, sizeof *d);
    uint64_t rate;
    if (!d)
        return NULL;
    struct courier_destination **slot = slot_of(c, id);
    *d = (struct courier_destination){
        .next = *slot, .at = slot, .courier = c, .id = id, .trouble = trouble, .more = true};
    d->last_job = &d->jobs;
    buf_init(&d->name, LIMIT_DESTINATION_SIZE);
    if (!buf_append_str(&d->name, name)) {
        free(d);
        return NULL;
    }
    if (d->next)
        d->next->at = &d->next;
    *slot = d;
    timer_init(&d->timer, courier_loop(c), on_timer, d);
    hook_init(&d->hook, run, d);
    uint32_t connections = connections_of(c, name, &rate);
    pace_begin(&d->pace, &c->pace, connections, rate, trouble, courier_now(c));
    find_metrics(d);
    c->destination_count++;
    c->troubled_count += trouble > 0;
    metric_set(c->counts.destinations, c->destination_count);
    courier_destination_run_soon(d);
    return d;
}

void courier_destination_free(struct courier_destination *d)
{
    struct courier *c = d->courier;
    while (d->connections)
        courier_connection_free(d->connections);
    end_waiting(d, &(struct courier_fate){.outcome = IPC_OUTCOME_GIVEN_BACK});
    hook_cancel(&d->hook);
    timer_set(&d->timer, NEVER_MS);
    courier_route_drop(d->finding);
    courier_route_drop(d->route);
    pace_end(&d->pace, &c->pace);
    *d->at = d->next;
    if (d->next)
        d->next->at = d->at;
    c->destination_count--;
    c->troubled_count -= d->trouble > 0;
    metric_set(c->counts.destinations, c->destination_count);
    buf_release(&d->name);
    free(d);
    courier_queue_ask_soon(c); /* there is room for another */
    courier_may_end(c);
}
