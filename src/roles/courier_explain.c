#include "roles/courier_explain.h"

#include <stdlib.h>

#include "base/limits.h"
#include "policy/route_address.h"
#include "roles/courier_destination.h"
#include "roles/courier_route.h"
#include "roles/courier_security.h"
#include "roles/courier_settings.h"

enum { EXPLAIN_BUDGET = 256 * 1024, LINES_MAX = 200, LINE_SIZE = 2000, S_MS = 1000 };

struct courier_explanation {
    struct courier_explanation *next, **at;
    struct courier *courier;
    struct channel *from;
    uint32_t id;
    struct courier_route *route;
    struct timer timer;
    struct arena arena;
    struct ipc_explained *lines;
    size_t count;
    struct str destination;
};

static void say(struct courier_explanation *e, const char *topic, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void say(struct courier_explanation *e, const char *topic, const char *format, ...)
{
    struct buf words;
    struct str copy;
    va_list args;
    if (!e->lines || e->count == LINES_MAX)
        return;
    buf_init(&words, LINE_SIZE);
    va_start(args, format);
    buf_vprintf(&words, format, args);
    va_end(args);
    if (arena_dup(&e->arena, buf_str(&words), &copy))
        e->lines[e->count++] = (struct ipc_explained){str_from_c(topic), text_from(copy)};
    buf_release(&words);
}

static void answer(struct courier_explanation *e, enum status_code status)
{
    ipc_explain_reply(e->from, e->id,
                      &(struct ipc_explain_out){status, e->lines, e->lines ? e->count : 0});
    timer_set(&e->timer, NEVER_MS);
    courier_route_drop(e->route);
    *e->at = e->next;
    if (e->next)
        e->next->at = e->at;
    arena_reset(&e->arena);
    free(e);
}

/* ---- Lines ----------------------------------------------------------------------------------- */

static const char *check_name(const struct courier_security *s)
{
    static const char *const checks[] = {[TLS_CHECK_NOTHING] = "any certificate",
                                         [TLS_CHECK_PKIX] = "certificate of an authority",
                                         [TLS_CHECK_DANE] = "certificate by TLSA records"};
    if (s->tls == SMTP_CLIENT_TLS_NO)
        return "none";
    return s->demand.check != TLS_CHECK_NOTHING && !s->demand.enforced
               ? "any certificate (looked at)"
               : checks[s->demand.check];
}

static void say_addresses(struct courier_explanation *e, const struct route_host *host)
{
    struct buf words;
    buf_init(&words, LINE_SIZE);
    for (size_t i = 0; i < host->address_count; i++) {
        buf_append_str(&words, i > 0 ? STR(" ") : STR(""));
        route_address_print(&words, host->addresses[i]);
    }
    say(e, "addresses", "%.*s", STR_ARG(buf_str(&words)));
    buf_release(&words);
}

/* Who the certificate must be for, where it must be for somebody. */
static void say_names(struct courier_explanation *e, const struct courier_security *s)
{
    struct buf words;
    if (!s->demand.enforced || s->demand.name_count == 0)
        return;
    buf_init(&words, LINE_SIZE);
    for (size_t i = 0; i < s->demand.name_count; i++) {
        buf_append_str(&words, i > 0 ? STR(" ") : STR(""));
        buf_append_str(&words, s->demand.names[i]);
    }
    say(e, "certificate for", "%.*s", STR_ARG(buf_str(&words)));
    buf_release(&words);
}

static void say_host(struct courier_explanation *e, const struct route_host *host)
{
    struct courier_security security;
    courier_security_decide(e->route, host, &security);
    if (!str_empty(host->unix_path)) {
        say(e, "server", "%.*s", STR_ARG(host->unix_path));
        return;
    }
    struct str name = str_empty(host->name) ? STR("known by its address only,") : host->name;
    say(e, "server", "%.*s port %u preference %u%s", STR_ARG(name), host->port, host->preference,
        host->mx_secure ? " (known for sure)" : "");
    say_addresses(e, host);
    if (!security.usable)
        say(e, "tls", "not used: %s", security.words);
    else
        say(e, "tls", "%s, %s%s",
            security.tls == SMTP_CLIENT_TLS_REQUIRED  ? "required"
            : security.tls == SMTP_CLIENT_TLS_OFFERED ? "if offered"
                                                      : "no",
            check_name(&security), host->tlsa != ROUTE_TLSA_NONE ? ", DANE" : "");
    if (security.usable)
        say_names(e, &security);
}

/* Domains have policies; the operator's routes and literals have none. */
static void say_policy(struct courier_explanation *e)
{
    static const char *const modes[] = {
        [MTASTS_NONE] = "none", [MTASTS_TESTING] = "testing", [MTASTS_ENFORCE] = "enforce"};
    if (e->route->sts)
        say(e, "mta-sts", "%s, for %llu s", modes[e->route->sts->policy.mode],
            (unsigned long long)e->route->sts->policy.max_age_s);
    else if (e->route->route.kind == ROUTE_DNS && !e->route->sts_question)
        say(e, "mta-sts", "no policy");
}

/* What goes on there now. */
static void say_state(struct courier_explanation *e)
{
    struct courier *c = e->courier;
    for (size_t i = 0; i < COURIER_SLOTS; i++)
        for (const struct courier_destination *d = c->destinations[i]; d; d = d->next)
            if (str_eq(buf_str(&d->name), e->destination))
                say(e, "now", "%zu connections of %u, %zu messages at hand, %u failures in a row",
                    d->connection_count, d->pace.allowed, d->waiting + d->working, d->trouble);
}

static void say_limits(struct courier_explanation *e)
{
    const struct config *config = &e->courier->settings->config;
    enum route_kind kind;
    struct str rest;
    const struct config_policy *policy = NULL;
    if (route_destination_split(e->destination, &kind, &rest) && kind == ROUTE_DNS)
        policy = config_policy_of(config, rest);
    say(e, "limits", "%llu connections, %llu messages a connection",
        (unsigned long long)(policy && policy->connections > 0
                                 ? policy->connections
                                 : config->outbound.connections_per_destination),
        (unsigned long long)config->outbound.messages_per_connection);
    if (policy && policy->rate_per_minute > 0)
        say(e, "rate", "%llu messages a minute", (unsigned long long)policy->rate_per_minute);
}

static void say_decision(struct courier_explanation *e)
{
    const struct route_decision *d = &e->route->route.decision;
    if (d->verdict == ROUTE_HOSTS) {
        say_policy(e);
        for (size_t i = 0; i < d->host_count; i++)
            say_host(e, &d->hosts[i]);
    } else {
        say(e, d->verdict == ROUTE_BOUNCE ? "bounced" : "waits", "%u %.*s %.*s", d->code,
            STR_ARG(d->enhanced), STR_ARG(d->words));
    }
}

static void on_route(void *context)
{
    struct courier_explanation *e = context;
    say_decision(e);
    say_limits(e);
    say_state(e);
    answer(e, STATUS_OK);
}

/* Who is asked does not answer: the mail would go on waiting, but whoever asks us shall not. */
static void on_late(void *context)
{
    struct courier_explanation *e = context;
    struct buf open;
    buf_init(&open, LINE_SIZE);
    courier_route_print_open(e->route, &open);
    say(e, "no answer", "within %d s: %.*s", LIMIT_EXPLAIN_MS / S_MS, STR_ARG(buf_str(&open)));
    buf_release(&open);
    if (e->route->route.decision.verdict != ROUTE_PENDING)
        say_decision(e);
    say_limits(e);
    say_state(e);
    answer(e, STATUS_OK);
}

/* ---- Questions ------------------------------------------------------------------------------- */

static bool find_destination(struct courier_explanation *e, struct str address)
{
    struct buf destination;
    struct str domain = str_skip(address, (size_t)(str_rfind_byte(address, '@') + 1));
    buf_init(&destination, LIMIT_DESTINATION_SIZE);
    bool ok = route_destination(&e->courier->settings->config.routes, domain, &destination) &&
              arena_dup(&e->arena, buf_str(&destination), &e->destination);
    buf_release(&destination);
    return ok;
}

void courier_on_explain(void *context, struct channel *from, uint32_t id,
                        const struct ipc_explain_in *in)
{
    struct courier *c = context;
    struct courier_explanation *e = calloc(1, sizeof *e);
    if (!e) {
        ipc_explain_reply(from, id, &(struct ipc_explain_out){.status = STATUS_NO_MEMORY});
        return;
    }
    *e = (struct courier_explanation){
        .next = c->explanations, .at = &c->explanations, .courier = c, .from = from, .id = id};
    if (e->next)
        e->next->at = &e->next;
    c->explanations = e;
    arena_init(&e->arena, EXPLAIN_BUDGET);
    timer_init(&e->timer, courier_loop(c), on_late, e);
    e->lines = arena_alloc_array(&e->arena, LINES_MAX, sizeof *e->lines);
    if (!find_destination(e, text_peek(in->address))) {
        say(e, "bounced", "550 5.1.2 this is no domain that mail can be sent to");
        answer(e, STATUS_OK);
        return;
    }
    say(e, "destination", "%.*s", STR_ARG(e->destination));
    timer_set(&e->timer, courier_now(c).mono_ms + LIMIT_EXPLAIN_MS);
    e->route = courier_route_find(c, e->destination, on_route, e);
    if (!e->route)
        answer(e, STATUS_NO_MEMORY);
}

void courier_explain_end(struct courier *c)
{
    while (c->explanations)
        answer(c->explanations, STATUS_GONE);
}
