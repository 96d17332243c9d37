#include "roles/courier.h"

#include <stdlib.h>

#include "base/limits.h"
#include "io/random.h"
#include "roles/courier_connection.h"
#include "roles/courier_explain.h"
#include "roles/courier_notice.h"
#include "roles/courier_queue.h"
#include "roles/courier_resolve.h"
#include "roles/courier_settings.h"
#include "roles/courier_sts.h"
#include "roles/courier_tls_report.h"

void courier_new_id(struct courier *c, char ret_id[COURIER_ID_SIZE])
{
    static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";
    /* 42 bits of time, then 22 that no two ids of a millisecond share. */
    uint64_t low = c->id_counter++ & 0x3FFFFF;
    uint64_t value = (uint64_t)courier_now(c).wall_ms << 22 | low;
    for (int i = COURIER_ID_SIZE - 2; i >= 0; i--, value >>= 5)
        ret_id[i] = digits[value & 31];
    ret_id[COURIER_ID_SIZE - 1] = '\0';
}

/* ---- Numbers --------------------------------------------------------------------------------- */

static struct metric *counter(struct courier *c, const char *name, const char *help)
{
    return metrics_get(role_metrics(c->role), METRIC_COUNTER, name, help, NULL, NULL);
}

static struct metric *gauge(struct courier *c, const char *name, const char *help)
{
    return metrics_get(role_metrics(c->role), METRIC_GAUGE, name, help, NULL, NULL);
}

static struct metric *recipients(struct courier *c, const char *outcome)
{
    return metrics_get(role_metrics(c->role), METRIC_COUNTER, "postern_courier_recipients",
                       "What became of recipients that were tried.", "outcome", outcome);
}

static void make_counts(struct courier *c)
{
    c->counts = (struct courier_counts){
        .names_asked = counter(c, "postern_courier_reverse_names", "Names of addresses asked for."),
        .names_found = counter(c, "postern_courier_reverse_names_confirmed",
                               "Names that led back to their address."),
        .names_timed_out = counter(c, "postern_courier_reverse_names_timed_out",
                                   "Names that did not come in time."),
        .leased = counter(c, "postern_courier_leased", "Recipients leased of the queue."),
        .delivered = recipients(c, "delivered"),
        .put_off = recipients(c, "put off"),
        .refused = recipients(c, "failed"),
        .given_back = recipients(c, "given back"),
        .reports = counter(c, "postern_courier_reports", "Reports made for senders."),
        .reports_dropped = counter(c, "postern_courier_reports_dropped",
                                   "Reports of which no sender could be told."),
        .reports_put_off = counter(c, "postern_courier_reports_put_off",
                                   "Reports that could not be made, to be tried again."),
        .maybe_repeated =
            counter(c, "postern_courier_maybe_repeated",
                    "Recipients to whom all was said and no reply came: tried again, perhaps "
                    "for the second time."),
        .connections = counter(c, "postern_courier_connections", "Connections begun."),
        .connections_failed = counter(c, "postern_courier_connections_failed",
                                      "Connections that no host of the destination let in."),
        .in_clear = counter(c, "postern_courier_sessions_clear", "Sessions without TLS."),
        .under_tls = counter(c, "postern_courier_sessions_tls", "Sessions under TLS."),
        .authenticated = counter(c, "postern_courier_sessions_authenticated",
                                 "Sessions with a server that showed who it is."),
        .resumed = counter(c, "postern_courier_sessions_resumed",
                           "Sessions under TLS that resumed an earlier one."),
        .open = gauge(c, "postern_courier_open", "Connections open, or being opened."),
        .destinations = gauge(c, "postern_courier_destinations", "Destinations being served."),
        .jobs = gauge(c, "postern_courier_jobs", "Messages on lease."),
        .waiting_outcomes = gauge(c, "postern_courier_outcomes_waiting",
                                  "1 where outcomes wait to be told to the vault."),
    };
}

/* ---- The end --------------------------------------------------------------------------------- */

static void each_destination(struct courier *c, void (*act)(struct courier_destination *d))
{
    for (size_t i = 0; i < COURIER_SLOTS; i++)
        for (struct courier_destination *d = c->destinations[i], *next; d; d = next) {
            next = d->next;
            act(d);
        }
}

void courier_may_end(struct courier *c)
{
    if (c->stopping && c->destination_count == 0 && !c->notices && courier_queue_is_empty(c))
        role_end(c->role);
}

/* What is still under way is not waited for: the vault leases it again. */
static void on_stop_timer(void *context)
{
    struct courier *c = context;
    role_end(c->role);
}

static void courier_stop(void *state, bool now)
{
    struct courier *c = state;
    c->stopping = true;
    if (now) {
        role_end(c->role);
        return;
    }
    timer_set(&c->stop_timer, courier_now(c).mono_ms + LIMIT_COURIER_STOP_MS);
    each_destination(c, courier_destination_stop);
    courier_queue_ask_soon(c);
    courier_may_end(c);
}

/* ---- The role -------------------------------------------------------------------------------- */

static void courier_destroy(void *state)
{
    struct courier *c = state;
    c->stopping = true;
    timer_set(&c->stop_timer, NEVER_MS);
    courier_explain_end(c);
    courier_resolve_end(c);
    each_destination(c, courier_destination_free);
    courier_notice_free_all(c);
    courier_queue_free(c->queue);
    courier_sts_free(c->sts);
    courier_tls_report_free(c->tls_report);
    fetcher_free(c->fetcher);
    resolver_free(c->resolver);
    tls_client_free(c->tls);
    body_reader_release(&c->reader);
    courier_settings_drop(c->settings);
    courier_settings_forget_trust(c);
    free(c);
}

static void *courier_create(struct role *role)
{
    struct courier *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->role = role;
    c->id_counter = random_u64();
    c->body_counter = random_u64() >> 1;
    timer_init(&c->stop_timer, role_loop(role), on_stop_timer, c);
    body_reader_init(&c->reader);
    make_counts(c);
    courier_settings_init(c);
    c->queue = courier_queue_new(c);
    c->sts = courier_sts_new();
    c->tls_report = courier_tls_report_new(c);
    if (c->queue && c->sts && c->tls_report)
        return c;
    courier_destroy(c);
    return NULL;
}

static enum status_code courier_prepare(void *state, const struct ipc_config_in *config,
                                        struct diag *diag)
{
    return courier_settings_use(state, config, diag);
}

static void courier_reconfigure(void *state, const struct ipc_config_in *config)
{
    struct courier *c = state;
    struct diag diag = {0};
    if (courier_settings_use(c, config, &diag) != STATUS_OK)
        role_refuse_reload(c->role, diag.words);
}

static void courier_peer_up(void *state, enum ipc_role peer, uint8_t index, struct channel *ch)
{
    struct courier *c = state;
    (void)index;
    if (peer == ROLE_VAULT)
        courier_queue_vault(c, ch);
    else if (peer == ROLE_MAILROOM)
        courier_notice_mailroom(c);
}

static void courier_peer_down(void *state, enum ipc_role peer, uint8_t index)
{
    (void)index;
    if (peer == ROLE_VAULT)
        courier_queue_vault(state, NULL);
}

static void on_metrics(void *context, struct channel *from, uint32_t id)
{
    struct courier *c = context;
    role_reply_metrics(c->role, from, id);
}

static const struct ipc_handlers courier_handlers = {.reverse_name = courier_on_reverse_name,
                                                     .metrics = on_metrics,
                                                     .queue_ready = courier_on_queue_ready,
                                                     .explain = courier_on_explain};

const struct role_plan courier_plan = {
    .self = ROLE_COURIER,
    .handlers = &courier_handlers,
    .create = courier_create,
    .destroy = courier_destroy,
    .prepare = courier_prepare,
    .reconfigure = courier_reconfigure,
    .trust_file = courier_settings_trust_file,
    .peer_up = courier_peer_up,
    .peer_down = courier_peer_down,
    .stop = courier_stop,
};
