#include "roles/courier_route.h"

#include <stdlib.h>

#include "base/limits.h"
#include "codec/dns_facts.h"
#include "roles/courier_settings.h"

enum { ROUTE_BUDGET = 1024 * 1024, FACTS_BUDGET = 256 * 1024 };

struct courier_route_question {
    struct courier_route_question *next, **at;
    struct courier_route *route;
    uint32_t token;
    enum dns_type type;
    struct str name;
    struct resolver_question question;
};

struct courier_route *courier_route_take(struct courier_route *r)
{
    r->references++;
    return r;
}

void courier_route_cancel(struct courier_route *r)
{
    while (r->questions) {
        struct courier_route_question *q = r->questions;
        resolver_cancel(&q->question);
        r->questions = q->next;
        free(q);
    }
    courier_sts_cancel(r->sts_question);
    r->sts_question = NULL;
    hook_cancel(&r->hook);
    r->found = NULL;
}

void courier_route_drop(struct courier_route *r)
{
    if (!r || --r->references > 0)
        return;
    courier_route_cancel(r);
    courier_sts_drop(r->sts);
    arena_reset(&r->arena);
    courier_settings_drop(r->settings);
    free(r);
}

static const char *type_name(enum dns_type type)
{
    switch (type) {
    case DNS_A:
        return "A";
    case DNS_AAAA:
        return "AAAA";
    case DNS_CNAME:
        return "CNAME";
    case DNS_MX:
        return "MX";
    case DNS_SRV:
        return "SRV";
    case DNS_TLSA:
        return "TLSA";
    default:
        return "records";
    }
}

void courier_route_print_open(const struct courier_route *r, struct buf *out)
{
    for (const struct courier_route_question *q = r->questions; q; q = q->next)
        buf_printf(out, "%s%s of %.*s", q == r->questions ? "" : ", ", type_name(q->type),
                   STR_ARG(q->name));
    if (r->sts_question)
        buf_printf(out, "the MTA-STS policy of %.*s", STR_ARG(r->route.shown));
}

/* ---- The end ------------------------------------------------------------------------------- */

static void tell(void *context)
{
    struct courier_route *r = context;
    r->found_ms = courier_now(r->courier).mono_ms;
    r->found(r->context);
}

static void on_sts(void *context, struct courier_sts_policy *policy)
{
    struct courier_route *r = context;
    r->sts_question = NULL;
    r->sts = policy;
    tell(r);
}

/* A host without DANE, where nothing else says what TLS must be (RFC 8461 §2, §3.1). */
static bool needs_sts(const struct courier_route *r)
{
    const struct route_decision *d = &r->route.decision;
    enum route_kind kind;
    struct str domain;
    if (r->lenient || d->verdict != ROUTE_HOSTS || r->tls != ROUTE_TLS_OPPORTUNISTIC ||
        !r->settings->config.outbound.mta_sts ||
        !route_destination_split(r->destination, &kind, &domain) || kind != ROUTE_DNS)
        return false;
    for (size_t i = 0; i < d->host_count; i++)
        if (d->hosts[i].tlsa == ROUTE_TLSA_NONE)
            return true;
    return false;
}

static void finish(struct courier_route *r)
{
    enum route_kind kind;
    struct str domain;
    if (needs_sts(r) && route_destination_split(r->destination, &kind, &domain))
        r->sts_question = courier_sts_ask(r->courier, domain, on_sts, r);
    if (!r->sts_question)
        hook_queue(&r->hook, courier_loop(r->courier));
}

/* ---- Questions ----------------------------------------------------------------------------- */

static enum dns_outcome outcome_of(const struct resolver_answer *a)
{
    switch (a->status) {
    case STATUS_OK:
        return resolver_no_such_name(a) ? DNS_NXDOMAIN : DNS_OK;
    case STATUS_TIMEOUT:
        return DNS_TIMED_OUT;
    case STATUS_CORRUPT:
        return DNS_BOGUS;
    default:
        return DNS_FAILED;
    }
}

static void go_on(struct courier_route *r);

static void ask_resolver(struct courier_route_question *q)
{
    struct courier *c = q->route->courier;
    resolver_ask(c->resolver, &q->question, q->name, (uint16_t)q->type,
                 courier_now(c).mono_ms + LIMIT_DNS_MS);
}

static void on_answer(void *context, const struct resolver_answer *a)
{
    struct courier_route_question *q = context;
    struct courier_route *r = q->route;
    struct dns_facts facts = {.outcome = outcome_of(a), .secure = a->secure};
    struct arena scratch;
    if (a->status == STATUS_GONE) { /* a new configuration has a resolver of its own */
        ask_resolver(q);
        return;
    }
    arena_init(&scratch, FACTS_BUDGET);
    if (facts.outcome == DNS_OK && !dns_facts_read(a->packet, q->name, q->type, &scratch, &facts))
        facts.outcome = DNS_FAILED;
    *q->at = q->next;
    if (q->next)
        q->next->at = q->at;
    route_answer(&r->route, q->token, &facts);
    arena_reset(&scratch);
    free(q);
    go_on(r);
}

static void ask(struct courier_route *r, const struct route_question *question)
{
    struct courier_route_question *q = calloc(1, sizeof *q);
    if (!q) {
        route_answer(&r->route, question->token, &(struct dns_facts){.outcome = DNS_FAILED});
        return;
    }
    *q = (struct courier_route_question){.next = r->questions,
                                         .at = &r->questions,
                                         .route = r,
                                         .token = question->token,
                                         .type = question->type,
                                         .name = question->name};
    if (q->next)
        q->next->at = &q->next;
    r->questions = q;
    resolver_question_init(&q->question, on_answer, q);
    ask_resolver(q);
}

/* What is open when the decision is made is not waited for. */
static void go_on(struct courier_route *r)
{
    struct route_question question;
    while (r->route.decision.verdict == ROUTE_PENDING && route_next(&r->route, &question))
        ask(r, &question);
    if (r->route.decision.verdict == ROUTE_PENDING)
        return;
    while (r->questions) {
        struct courier_route_question *q = r->questions;
        resolver_cancel(&q->question);
        r->questions = q->next;
        free(q);
    }
    finish(r);
}

/* A route's own word, or the policy for the domain. */
static void decide_tls(struct courier_route *r)
{
    enum route_kind kind;
    struct str domain;
    const struct route_rule *rule = r->route.rule;
    r->tls = ROUTE_TLS_OPPORTUNISTIC;
    if (rule) {
        r->tls = rule->tls;
        r->tls_names = rule->tls_names;
        r->tls_name_count = rule->tls_name_count;
    }
    if (rule || !route_destination_split(r->destination, &kind, &domain))
        return;
    const struct config_policy *policy = config_policy_of(&r->settings->config, domain);
    if (!policy || !policy->has_tls || (r->lenient && policy->tls != ROUTE_TLS_NO))
        return;
    r->tls = policy->tls;
    r->tls_names = policy->tls_names;
    r->tls_name_count = policy->tls_name_count;
}

struct courier_route *courier_route_find(struct courier *c, struct str destination,
                                         void (*found)(void *context), void *context)
{
    struct courier_route *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    *r = (struct courier_route){.references = 1,
                                .courier = c,
                                .settings = courier_settings_take(c->settings),
                                .found = found,
                                .context = context};
    arena_init(&r->arena, ROUTE_BUDGET);
    hook_init(&r->hook, tell, r);
    if (!arena_dup(&r->arena, destination, &r->destination)) {
        courier_route_drop(r);
        return NULL;
    }
    courier_settings_routing(c, r->settings, &r->routing);
    r->lenient = route_destination_is_lenient(r->destination);
    r->routing.dane = r->routing.dane && !r->lenient;
    route_begin(&r->route, &r->arena, &r->routing, r->destination);
    decide_tls(r);
    go_on(r);
    return r;
}
