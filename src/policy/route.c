#include "policy/route.h"

#include <stdio.h>

#include "base/bug.h"
#include "base/limits.h"
#include "policy/route_address.h"

enum { NO_CUT = 65536 };

/* A name whose hosts are looked for, or one address or socket that needs no looking. */
struct route_zone {
    struct str name;
    const struct route_place *place; /* NULL: not of a rule */
    enum route_lookup lookup;        /* what comes next */
    uint16_t port;
    uint32_t cut; /* hosts of this preference and worse are left out: we are one of them */
};

/* A host that may do. */
struct route_candidate {
    struct route_zone *zone;
    uint64_t order; /* zone, preference, a random number */
    struct route_host host;
    uint8_t (*found[2])[16]; /* IPv6 and IPv4 addresses */
    size_t found_count[2];
    struct str owner;  /* where the name leads as an alias */
    bool insecure;     /* some address is not validated */
    bool without_tlsa; /* they could not be had */
    bool ask_original; /* the alias has no TLSA records; its own name may */
};

typedef void answer_fn(struct route *r, struct route_asked *asked, const struct dns_facts *facts);

struct route_asked {
    struct route_asked *next, *next_to_ask;
    struct route_question question;
    bool answered;
    answer_fn *answer;
    struct route_zone *zone;
    struct route_candidate *candidate;
};

/* ---- Words ----------------------------------------------------------------------------------- */

static struct str words(struct route *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static struct str words(struct route *r, const char *format, ...)
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

/* The first reason is the one that is told. */
static void refuse(struct route *r, unsigned code, const char *enhanced, struct str why)
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

/* True where an answer is none; it is then noted that there may be one later. */
static bool failed_for_now(struct route *r, const struct route_question *q,
                           const struct dns_facts *facts)
{
    if (facts->outcome == DNS_OK || facts->outcome == DNS_NXDOMAIN)
        return false;
    if (str_empty(r->for_now))
        r->for_now = words(r, "The name %.*s could not be looked up: %s", STR_ARG(q->name),
                           outcome_words(facts->outcome));
    return true;
}

/* ---- Questions ------------------------------------------------------------------------------- */

static void ask(struct route *r, enum dns_type type, struct str name, answer_fn *answer,
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

/* splitmix64 */
static uint64_t chance(struct route *r)
{
    uint64_t z = (r->random += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

/* ---- Candidates ------------------------------------------------------------------------------ */

/* A name from the DNS, in lower case; empty where it is no host name. */
static struct str host_name(struct route *r, struct str name)
{
    char *copy = arena_alloc(r->arena, name.len + 1);
    r->no_memory |= !copy;
    if (!copy || name.len > LIMIT_DOMAIN_SIZE)
        return STR("");
    for (size_t i = 0; i < name.len; i++) {
        copy[i] = ascii_lower(name.ptr[i]);
        if (!ascii_is_alpha(copy[i]) && !ascii_is_digit(copy[i]) &&
            str_find_byte(STR("-_."), copy[i]) < 0)
            return STR("");
    }
    return str_make(copy, name.len);
}

static bool is_own_name(const struct route *r, struct str name)
{
    for (size_t i = 0; i < r->settings->own_name_count; i++)
        if (str_eq_nocase(r->settings->own_names[i], name))
            return true;
    return false;
}

/* RFC 5321 §5.1: what is as good as this server, or worse, would send the mail back here. */
static void cut(struct route_zone *zone, uint16_t preference)
{
    if (preference < zone->cut)
        zone->cut = preference;
}

static bool is_known(const struct route *r, const struct route_zone *zone, struct str name,
                     uint16_t port)
{
    for (size_t i = 0; i < r->candidate_count; i++) {
        const struct route_candidate *c = &r->candidates[i];
        if (c->zone == zone && c->host.port == port && !str_empty(name) &&
            str_eq(c->host.name, name))
            return true;
    }
    return false;
}

/* Keeps the best LIMIT_ROUTE_HOSTS, in order; NULL where this one is not among them. */
static struct route_candidate *add_candidate(struct route *r, const struct route_candidate *new)
{
    size_t at = r->candidate_count;
    if (at == LIMIT_ROUTE_HOSTS) {
        if (r->candidates[at - 1].order <= new->order)
            return NULL;
        at--;
    } else {
        r->candidate_count++;
    }
    while (at > 0 && r->candidates[at - 1].order > new->order) {
        r->candidates[at] = r->candidates[at - 1];
        at--;
    }
    r->candidates[at] = *new;
    return &r->candidates[at];
}

static struct route_candidate make_candidate(struct route *r, struct route_zone *zone,
                                             uint16_t preference)
{
    return (struct route_candidate){
        .zone = zone,
        .order = (uint64_t)(zone - r->zones) << 48 | (uint64_t)preference << 32 |
                 (chance(r) & UINT32_MAX),
        .host = {.preference = preference, .port = zone->port, .chance = 1},
    };
}

/* A weight of 0 keeps a very small chance (RFC 2782); without weights (MX) all are equal. */
static uint32_t chance_of(const struct dns_row *row)
{
    return row->weight * UINT32_C(256) + 1;
}

/* A host by the name that a zone gives. */
static void add_named(struct route *r, struct route_zone *zone, const struct dns_row *row,
                      uint16_t port, bool secure)
{
    struct route_candidate new = make_candidate(r, zone, row->preference);
    new.host.chance = chance_of(row);
    new.host.port = port;
    new.host.name = host_name(r, row->data);
    new.host.mx_secure = secure;
    if (r->kind != ROUTE_RULE && is_own_name(r, new.host.name))
        cut(zone, row->preference);
    else if (!str_empty(new.host.name) && !is_known(r, zone, new.host.name, port))
        add_candidate(r, &new);
}

/* ---- Addresses ------------------------------------------------------------------------------- */

static bool is_own_endpoint(const struct route *r, const uint8_t octets[16], uint16_t port)
{
    for (size_t i = 0; i < r->settings->own_endpoint_count; i++) {
        const struct network_endpoint *own = &r->settings->own_endpoints[i];
        if (own->port == port && memcmp(own->octets, octets, 16) == 0)
            return true;
    }
    return false;
}

static void add_address(struct route *r, struct route_candidate *c, const uint8_t octets[16])
{
    bool ipv4 = network_is_ipv4(octets);
    size_t *count = &c->found_count[ipv4];
    if (is_own_endpoint(r, octets, c->host.port)) {
        cut(c->zone, c->host.preference);
        return;
    }
    /* What the operator wrote down himself is his will. */
    if (r->kind != ROUTE_RULE && r->settings->refused &&
        networks_have(r->settings->refused, octets)) {
        r->refused = true;
        return;
    }
    if (!(ipv4 ? r->settings->ipv4 : r->settings->ipv6)) {
        r->out_of_reach = true;
        return;
    }
    if (!c->found[ipv4])
        c->found[ipv4] = arena_alloc_array(r->arena, LIMIT_ROUTE_ADDRESSES, 16);
    if (!c->found[ipv4])
        r->no_memory = true;
    else if (*count < LIMIT_ROUTE_ADDRESSES)
        memcpy(c->found[ipv4][(*count)++], octets, 16);
}

static void answer_address(struct route *r, struct route_asked *asked,
                           const struct dns_facts *facts)
{
    struct route_candidate *c = asked->candidate;
    size_t first = facts->row_count ? chance(r) % facts->row_count : 0;
    if (failed_for_now(r, &asked->question, facts) || facts->row_count == 0)
        return;
    c->insecure |= !facts->secure;
    if (!str_empty(facts->owner))
        c->owner = host_name(r, facts->owner);
    for (size_t i = 0; i < facts->row_count; i++)
        add_address(r, c, facts->rows[(first + i) % facts->row_count].octets);
}

static void ask_address(struct route *r, struct route_candidate *c)
{
    uint8_t octets[16];
    if (!str_empty(c->host.unix_path) || c->found_count[0] + c->found_count[1] > 0)
        return;
    /* No host name, and not allowed in MX; but clear enough. */
    if (route_address_read(c->host.name, octets)) {
        c->host.name = STR("");
        add_address(r, c, octets);
        return;
    }
    if (!str_empty(c->host.name)) {
        ask(r, DNS_AAAA, c->host.name, answer_address, NULL, c);
        ask(r, DNS_A, c->host.name, answer_address, NULL, c);
    }
}

static size_t address_count(const struct route_candidate *c)
{
    return c->found_count[0] + c->found_count[1];
}

/* ---- The domain ------------------------------------------------------------------------------ */

/* RFC 5321 §5.1: "the domain itself, with a preference of 0". */
static void add_implicit(struct route *r, struct route_zone *zone, bool secure)
{
    struct dns_row itself = {.data = zone->name};
    add_named(r, zone, &itself, zone->port, secure);
}

static void answer_mx(struct route *r, struct route_asked *asked, const struct dns_facts *facts)
{
    struct route_zone *zone = asked->zone;
    bool has_names = false;
    if (failed_for_now(r, &asked->question, facts))
        return;
    if (facts->outcome == DNS_NXDOMAIN) {
        refuse(r, 550, "5.1.2", words(r, "The domain %.*s does not exist", STR_ARG(zone->name)));
        return;
    }
    if (facts->row_count == 0) {
        add_implicit(r, zone, facts->secure);
        return;
    }
    for (size_t i = 0; i < facts->row_count; i++) {
        has_names |= !str_empty(facts->rows[i].data);
        if (!str_empty(facts->rows[i].data))
            add_named(r, zone, &facts->rows[i], zone->port, facts->secure);
    }
    if (!has_names) /* RFC 7505 §3 */
        refuse(r, 556, "5.1.10",
               words(r, "The domain %.*s takes no mail (null MX)", STR_ARG(zone->name)));
}

static void answer_srv(struct route *r, struct route_asked *asked, const struct dns_facts *facts)
{
    struct route_zone *zone = asked->zone;
    bool has_names = false;
    zone->lookup = ROUTE_LOOKUP_ADDRESS;
    if (failed_for_now(r, &asked->question, facts))
        return;
    if (facts->row_count == 0) {
        zone->lookup = ROUTE_LOOKUP_MX;
        return;
    }
    for (size_t i = 0; i < facts->row_count; i++) {
        has_names |= !str_empty(facts->rows[i].data);
        if (!str_empty(facts->rows[i].data))
            add_named(r, zone, &facts->rows[i], facts->rows[i].port, facts->secure);
    }
    if (!has_names) /* RFC 2782: a target of "." */
        refuse(r, 550, "5.4.4",
               words(r, "The domain %.*s does not offer this service", STR_ARG(zone->name)));
}

/* ---- DANE (RFC 7672) ------------------------------------------------------------------------- */

/* A route that says what its TLS must be is not asked for anything else. */
static bool wants_dane(const struct route *r, const struct route_candidate *c)
{
    bool configured = r->rule && (r->rule->lmtp || r->rule->tls != ROUTE_TLS_OPPORTUNISTIC);
    return r->settings->dane && !configured && c->host.mx_secure && address_count(c) > 0 &&
           !str_empty(c->host.name);
}

/* §3.1.1, §3.1.3: DANE-TA(2) and DANE-EE(3) only, with selectors and matching types that exist. */
static bool is_usable(const struct dns_row *row)
{
    static const size_t sizes[] = {0, 32, 64};
    return (row->usage == 2 || row->usage == 3) && row->selector <= 1 && row->matching <= 2 &&
           row->data.len > 0 && (row->matching == 0 || row->data.len == sizes[row->matching]);
}

static void keep_tlsa(struct route *r, struct route_host *host, const struct dns_facts *facts)
{
    struct dns_row *rows = arena_alloc_array(r->arena, facts->row_count, sizeof *rows);
    host->tlsa = ROUTE_TLSA_UNUSABLE;
    for (size_t i = 0; rows && i < facts->row_count; i++) {
        if (!is_usable(&facts->rows[i]))
            continue;
        struct dns_row *row = &rows[host->tlsa_row_count];
        *row = facts->rows[i];
        if (!arena_dup(r->arena, facts->rows[i].data, &row->data))
            r->no_memory = true;
        host->tlsa = ROUTE_TLSA_USABLE;
        host->tlsa_row_count++;
    }
    host->tlsa_rows = rows;
    r->no_memory |= !rows;
}

static void answer_tlsa(struct route *r, struct route_asked *asked, const struct dns_facts *facts)
{
    struct route_candidate *c = asked->candidate;
    if (failed_for_now(r, &asked->question, facts))
        c->without_tlsa = true; /* §2.1.2: to go there all the same would be the attacker's wish */
    else if (facts->row_count == 0)
        c->ask_original = !str_eq(c->host.tlsa_base, c->host.name);
    else if (facts->secure)
        keep_tlsa(r, &c->host, facts);
}

static void ask_tlsa_at(struct route *r, struct route_candidate *c, struct str base)
{
    c->host.tlsa_base = base;
    ask(r, DNS_TLSA, words(r, "_%u._tcp.%.*s", c->host.port, STR_ARG(base)), answer_tlsa, NULL, c);
}

/* §2.2.2: an alias that is signed itself, to a name that is not. */
static void answer_alias(struct route *r, struct route_asked *asked, const struct dns_facts *facts)
{
    struct route_candidate *c = asked->candidate;
    if (failed_for_now(r, &asked->question, facts))
        c->without_tlsa = true;
    else if (facts->secure && facts->row_count > 0)
        c->ask_original = true;
}

/* ---- The steps: each begins when all questions of those before it are answered --------------- */

static void add_place(struct route *r, struct route_zone *zone)
{
    struct route_candidate new = make_candidate(r, zone, 0);
    new.host.mx_secure = true;
    new.host.name = zone->name;
    new.host.unix_path = zone->place->unix_path;
    struct route_candidate *c = add_candidate(r, &new);
    if (c && zone->place->has_address)
        add_address(r, c, zone->place->octets);
}

static void ask_services(struct route *r)
{
    for (size_t i = 0; i < r->zone_count; i++) {
        struct route_zone *zone = &r->zones[i];
        if (zone->lookup == ROUTE_LOOKUP_SRV) {
            struct str name =
                words(r, "_%.*s._tcp.%.*s", STR_ARG(r->rule->service), STR_ARG(zone->name));
            ask(r, DNS_SRV, name, answer_srv, zone, NULL);
        } else if (zone->lookup == ROUTE_LOOKUP_ADDRESS && zone->place) {
            add_place(r, zone);
        }
    }
}

static void ask_exchanges(struct route *r)
{
    for (size_t i = 0; i < r->zone_count; i++)
        if (r->zones[i].lookup == ROUTE_LOOKUP_MX)
            ask(r, DNS_MX, r->zones[i].name, answer_mx, &r->zones[i], NULL);
}

static bool is_cut(const struct route_candidate *c)
{
    return c->host.preference >= c->zone->cut;
}

/* RFC 2782: among equals one is drawn, then one of the rest, and so on. */
static void draw_order(struct route *r, struct route_candidate *first, size_t count)
{
    for (; count > 1; first++, count--) {
        uint64_t sum = 0, drawn;
        size_t i = 0;
        for (size_t k = 0; k < count; k++)
            sum += first[k].host.chance;
        drawn = chance(r) % sum;
        for (; drawn >= first[i].host.chance; i++)
            drawn -= first[i].host.chance;
        struct route_candidate winner = first[i];
        memmove(first + 1, first, i * sizeof *first);
        *first = winner;
    }
}

static void ask_addresses(struct route *r)
{
    size_t kept = 0, first = 0;
    uint32_t rank = 0;
    for (size_t i = 0; i < r->candidate_count; i++)
        if (!is_cut(&r->candidates[i]))
            r->candidates[kept++] = r->candidates[i];
    r->candidate_count = kept;
    for (size_t i = 1; i <= kept; i++) {
        if (i < kept && r->candidates[i].order >> 32 == r->candidates[first].order >> 32)
            continue;
        draw_order(r, &r->candidates[first], i - first);
        for (; first < i; first++)
            r->candidates[first].host.rank = rank;
        rank++;
    }
    for (size_t i = 0; i < kept; i++)
        ask_address(r, &r->candidates[i]);
}

static void ask_aliases(struct route *r)
{
    for (size_t i = 0; i < r->candidate_count; i++) {
        struct route_candidate *c = &r->candidates[i];
        if (wants_dane(r, c) && c->insecure && !str_empty(c->owner))
            ask(r, DNS_CNAME, c->host.name, answer_alias, NULL, c);
    }
}

static void ask_tlsa(struct route *r)
{
    for (size_t i = 0; i < r->candidate_count; i++) {
        struct route_candidate *c = &r->candidates[i];
        if (wants_dane(r, c) && !c->insecure)
            ask_tlsa_at(r, c, str_empty(c->owner) ? c->host.name : c->owner);
    }
}

static void ask_tlsa_of_originals(struct route *r)
{
    for (size_t i = 0; i < r->candidate_count; i++)
        if (r->candidates[i].ask_original)
            ask_tlsa_at(r, &r->candidates[i], r->candidates[i].host.name);
}

/* ---- The decision ---------------------------------------------------------------------------- */

/* IPv6 and IPv4 take turns, so that one that does not work costs one attempt. */
static bool list_addresses(struct route *r, struct route_candidate *c)
{
    size_t count = address_count(c), at[2] = {0, 0};
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
    bool somewhere = !str_empty(c->host.unix_path) || address_count(c) > 0;
    return somewhere && !is_cut(c) && !c->without_tlsa;
}

static void list_hosts(struct route *r)
{
    struct route_host *hosts = arena_alloc_array(r->arena, LIMIT_ROUTE_HOSTS, sizeof *hosts);
    size_t count = 0;
    for (size_t i = 0; hosts && i < r->candidate_count; i++) {
        struct route_candidate *c = &r->candidates[i];
        if (!is_usable_host(c))
            continue;
        if (address_count(c) > 0 && !list_addresses(r, c))
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
        if (r->zones[i].cut != NO_CUT)
            return true;
    return false;
}

/* No host, and no hope that the DNS will say more. */
static void explain_none(struct route *r)
{
    struct str name = str_empty(r->zones[0].name) ? r->shown : r->zones[0].name;
    if (found_ourselves(r))
        refuse(r, 554, "5.4.6",
               words(r, "Mail for %.*s leads back to this server, which does not know it",
                     STR_ARG(name)));
    else if (r->out_of_reach)
        decide(r, ROUTE_WAIT, 451, "4.4.4",
               words(r,
                     "The servers of %.*s have addresses only of a kind that this server cannot "
                     "reach now",
                     STR_ARG(name)));
    else if (r->refused)
        refuse(r, 550, "5.4.4",
               words(r, "The servers of %.*s have addresses only where no mail is sent to",
                     STR_ARG(name)));
    else
        refuse(r, 550, "5.4.4", words(r, "No server of %.*s has an address", STR_ARG(name)));
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
               words(r, "The route %.*s leads nowhere: %.*s", STR_ARG(r->shown),
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
    static void (*const steps[])(struct route * r) = {
        ask_services, ask_exchanges,         ask_addresses, ask_aliases,
        ask_tlsa,     ask_tlsa_of_originals, conclude,
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
        zone->cut = NO_CUT;
        zone->port = lmtp ? 24 : r->settings->port;
        zone->name = r->shown;
        zone->lookup = ROUTE_LOOKUP_MX;
        if (!r->rule)
            continue;
        zone->place = &r->rule->places[i];
        zone->name = zone->place->host;
        zone->lookup = r->rule->lookup;
        if (zone->place->port != 0)
            zone->port = zone->place->port;
    }
}

static void begin_literal(struct route *r)
{
    struct route_zone *zone = r->zones;
    uint8_t octets[16];
    zone->lookup = ROUTE_LOOKUP_ADDRESS;
    zone->name = STR("");
    struct route_candidate new = make_candidate(r, zone, 0);
    struct route_candidate *c = add_candidate(r, &new);
    if (route_address_read(r->shown, octets))
        add_address(r, c, octets);
}

void route_begin(struct route *r, struct arena *arena, const struct route_settings *settings,
                 struct str destination)
{
    *r = (struct route){.arena = arena, .settings = settings, .random = settings->seed};
    bool ok = route_destination_split(destination, &r->kind, &r->shown);
    r->rule = route_rule_find(&settings->rules, destination);
    if (!ok || (r->kind == ROUTE_RULE && !r->rule)) {
        decide(r, ROUTE_WAIT, 451, "4.3.5",
               words(r, "The configuration has no \"%.*s\"", STR_ARG(destination)));
        return;
    }
    make_zones(r);
    if (r->kind == ROUTE_LITERAL && !r->no_memory)
        begin_literal(r);
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
