#include "policy/route.h"

#include <stdio.h>

#include "base/bug.h"
#include "base/limits.h"
#include "policy/route_address.h"
#include "policy/route_internal.h"

/* ---- Words ----------------------------------------------------------------------------------- */

struct str route_words(struct route *r, const char *format, ...)
{
    char text[400];
    struct str copy = STR("");
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (!arena_dup(r->arena, str_from_c(text), &copy))
        r->no_memory = true;
    return copy;
}

static void decide(struct route *r, enum route_verdict verdict, unsigned code, const char *enhanced,
                   struct str why)
{
    r->decision = (struct route_decision){
        .verdict = verdict, .code = code, .enhanced = str_from_c(enhanced), .words = why};
}

void route_refuse(struct route *r, unsigned code, const char *enhanced, struct str why)
{
    if (r->refusal.code == 0)
        r->refusal = (struct route_decision){
            .verdict = ROUTE_BOUNCE, .code = code, .enhanced = str_from_c(enhanced), .words = why};
}

static const char *outcome_words(enum dns_outcome outcome)
{
    static const char *const names[] = {
        [DNS_OK] = "no answer",
        [DNS_NXDOMAIN] = "no such name",
        [DNS_FAILED] = "its name servers do not answer as they should",
        [DNS_TIMED_OUT] = "its name servers do not answer",
        [DNS_BOGUS] = "DNSSEC validation failed",
    };
    return names[outcome];
}

bool route_failed_for_now(struct route *r, const struct route_question *q,
                          const struct dns_facts *facts)
{
    if (facts->outcome == DNS_OK || facts->outcome == DNS_NXDOMAIN)
        return false;
    if (str_empty(r->for_now))
        r->for_now = route_words(r, "The name %.*s could not be looked up: %s", STR_ARG(q->name),
                                 outcome_words(facts->outcome));
    return true;
}

/* ---- Questions ------------------------------------------------------------------------------- */

void route_ask(struct route *r, enum dns_type type, struct str name, route_answer_fn *answer,
               struct route_zone *zone, struct route_candidate *candidate)
{
    struct route_asked *asked = arena_alloc(r->arena, sizeof *asked);
    if (!asked) {
        r->no_memory = true;
        return;
    }
    *asked = (struct route_asked){.next = r->asked,
                                  .question = {r->tokens++, type, name},
                                  .answer = answer,
                                  .zone = zone,
                                  .candidate = candidate};
    if (r->to_ask)
        r->asked->next_to_ask = asked;
    else
        r->to_ask = asked;
    r->asked = asked;
    r->open++;
}

/* ---- The decision ---------------------------------------------------------------------------- */

/* IPv6 and IPv4 take turns, so that one that does not work costs one attempt. */
static bool list_addresses(struct route *r, struct route_candidate *c)
{
    size_t count = route_address_count(c), at[2] = {0, 0};
    bool ipv4 = r->settings->ipv4_first;
    if (count > LIMIT_ROUTE_ADDRESSES)
        count = LIMIT_ROUTE_ADDRESSES;
    uint8_t(*list)[16] = arena_alloc_array(r->arena, count, 16);
    if (!list)
        return false;
    for (size_t i = 0; i < count; i++, ipv4 = !ipv4) {
        if (at[ipv4] == c->found_count[ipv4])
            ipv4 = !ipv4;
        memcpy(list[i], c->found[ipv4][at[ipv4]++], 16);
    }
    c->host.addresses = (const uint8_t(*)[16])list;
    c->host.address_count = count;
    c->host.addresses_secure = !c->insecure;
    return true;
}

static bool is_usable_host(const struct route_candidate *c)
{
    bool somewhere = !str_empty(c->host.unix_path) || route_address_count(c) > 0;
    return somewhere && !route_is_cut(c) && !c->without_tlsa;
}

static void list_hosts(struct route *r)
{
    struct route_host *hosts = arena_alloc_array(r->arena, LIMIT_ROUTE_HOSTS, sizeof *hosts);
    size_t count = 0;
    for (size_t i = 0; hosts && i < r->candidate_count; i++) {
        struct route_candidate *c = &r->candidates[i];
        if (!is_usable_host(c))
            continue;
        if (route_address_count(c) > 0 && !list_addresses(r, c))
            hosts = NULL;
        else
            hosts[count++] = c->host;
    }
    r->no_memory |= !hosts;
    r->decision = (struct route_decision){
        .verdict = count > 0 ? ROUTE_HOSTS : ROUTE_PENDING, .hosts = hosts, .host_count = count};
}

static bool found_ourselves(const struct route *r)
{
    for (size_t i = 0; i < r->zone_count; i++)
        if (r->zones[i].cut != ROUTE_NO_CUT)
            return true;
    return false;
}

/* No host, and no hope that the DNS will say more. */
static void explain_none(struct route *r)
{
    struct str name = str_empty(r->zones[0].name) ? r->shown : r->zones[0].name;
    if (found_ourselves(r))
        route_refuse(r, 554, "5.4.6",
                     route_words(r,
                                 "Mail for %.*s leads back to this server, which does not know it",
                                 STR_ARG(name)));
    else if (r->out_of_reach)
        decide(
            r, ROUTE_WAIT, 451, "4.4.4",
            route_words(r,
                        "The servers of %.*s have addresses only of a kind that this server cannot "
                        "reach now",
                        STR_ARG(name)));
    else if (r->refused)
        route_refuse(r, 550, "5.4.4",
                     route_words(r,
                                 "The servers of %.*s have addresses only where no mail is sent to",
                                 STR_ARG(name)));
    else
        route_refuse(r, 550, "5.4.4",
                     route_words(r, "No server of %.*s has an address", STR_ARG(name)));
}

/* A route of the configuration that leads nowhere is a slip of the operator: no mail is lost by it.
 */
static void refuse_or_wait(struct route *r)
{
    explain_none(r);
    if (r->decision.verdict != ROUTE_PENDING)
        return;
    if (r->kind != ROUTE_RULE)
        r->decision = r->refusal;
    else
        decide(r, ROUTE_WAIT, 451, "4.3.5",
               route_words(r, "The route %.*s leads nowhere: %.*s", STR_ARG(r->shown),
                           STR_ARG(r->refusal.words)));
}

static void conclude(struct route *r)
{
    list_hosts(r);
    if (r->decision.verdict == ROUTE_PENDING && !str_empty(r->for_now))
        decide(r, ROUTE_WAIT, 451, "4.4.3", r->for_now);
    else if (r->decision.verdict == ROUTE_PENDING)
        refuse_or_wait(r);
}

static void go_on(struct route *r)
{
    static void (*const steps[])(struct route *) = {
        route_ask_services, route_ask_exchanges, route_ask_addresses,
        route_ask_aliases,  route_ask_tlsa,      route_ask_tlsa_of_originals,
        conclude,
    };
    while (r->open == 0 && r->decision.verdict == ROUTE_PENDING && !r->no_memory)
        steps[r->step++](r);
    if (r->no_memory)
        decide(r, ROUTE_WAIT, 451, "4.3.0", STR("Out of memory"));
}

/* ---- The outside ----------------------------------------------------------------------------- */

static void make_zones(struct route *r)
{
    bool lmtp = r->rule && r->rule->lmtp;
    r->zone_count = r->rule ? r->rule->place_count : 1;
    r->zones = arena_alloc_array(r->arena, r->zone_count + 1, sizeof *r->zones);
    r->candidates = arena_alloc_array(r->arena, LIMIT_ROUTE_HOSTS, sizeof *r->candidates);
    if (!r->zones || !r->candidates) {
        r->no_memory = true;
        return;
    }
    for (size_t i = 0; i < r->zone_count; i++) {
        struct route_zone *zone = &r->zones[i];
        zone->cut = ROUTE_NO_CUT;
        zone->port = lmtp ? 24 : r->settings->port;
        zone->name = r->shown;
        zone->lookup = ROUTE_LOOKUP_MX;
        if (r->rule) {
            zone->place = &r->rule->places[i];
            zone->name = zone->place->host;
            zone->lookup = r->rule->lookup;
            if (zone->place->port != 0)
                zone->port = zone->place->port;
        }
        if (!str_empty(zone->name))
            zone->below = route_words(r, ".%.*s", STR_ARG(zone->name));
    }
}

static void begin_literal(struct route *r)
{
    uint8_t octets[16];
    r->zones->lookup = ROUTE_LOOKUP_ADDRESS;
    r->zones->name = STR("");
    if (route_address_read(r->shown, octets))
        route_add_literal(r, octets);
}

static void begin_here(struct route *r)
{
    r->zones->lookup = ROUTE_LOOKUP_ADDRESS;
    r->zones->name = STR("");
    route_add_own(r);
    if (r->candidate_count == 0)
        r->for_now = STR("This server has no mx listener for mail to its own mailboxes");
}

void route_begin(struct route *r, struct arena *arena, const struct route_settings *settings,
                 struct str destination)
{
    *r = (struct route){.arena = arena, .settings = settings, .random = settings->seed};
    bool ok = route_destination_split(destination, &r->kind, &r->shown);
    r->rule = route_rule_find(&settings->rules, destination);
    if (!ok || (r->kind == ROUTE_RULE && !r->rule)) {
        decide(r, ROUTE_WAIT, 451, "4.3.5",
               route_words(r, "The configuration has no \"%.*s\"", STR_ARG(destination)));
        return;
    }
    make_zones(r);
    if (r->kind == ROUTE_LITERAL && !r->no_memory)
        begin_literal(r);
    else if (r->kind == ROUTE_HERE && !r->no_memory)
        begin_here(r);
    go_on(r);
}

bool route_next(struct route *r, struct route_question *ret_question)
{
    struct route_asked *asked = r->to_ask;
    if (!asked || r->decision.verdict != ROUTE_PENDING)
        return false;
    r->to_ask = asked->next_to_ask;
    *ret_question = asked->question;
    return true;
}

void route_answer(struct route *r, uint32_t token, const struct dns_facts *facts)
{
    struct route_asked *asked = r->asked;
    while (asked && asked->question.token != token)
        asked = asked->next;
    invariant(asked && !asked->answered);
    asked->answered = true;
    r->open--;
    asked->answer(r, asked, facts);
    go_on(r);
}

static bool may_draw(const struct route_decision *d, size_t host, uint32_t avoid, size_t i)
{
    return d->hosts[i].rank == d->hosts[host].rank && !(avoid & UINT32_C(1) << i);
}

size_t route_draw(const struct route_decision *d, size_t host, uint32_t avoid, uint64_t random)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < d->host_count; i++)
        sum += may_draw(d, host, avoid, i) ? d->hosts[i].chance : 0;
    uint64_t drawn = sum > 0 ? random % sum : 0;
    for (size_t i = 0; i < d->host_count; i++) {
        if (!may_draw(d, host, avoid, i))
            continue;
        if (drawn < d->hosts[i].chance)
            return i;
        drawn -= d->hosts[i].chance;
    }
    return host;
}
