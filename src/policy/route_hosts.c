#include "policy/route_internal.h"

#include "base/limits.h"
#include "policy/route_address.h"

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

/* A host that is listed twice counts once, where it is better; true where new is not to be added.
 */
static bool is_known(struct route *r, const struct route_candidate *new)
{
    for (size_t i = 0; i < r->candidate_count; i++) {
        struct route_candidate *c = &r->candidates[i];
        if (c->zone != new->zone || c->host.port != new->host.port ||
            !str_eq(c->host.name, new->host.name))
            continue;
        if (c->order <= new->order)
            return true;
        memmove(c, c + 1, (--r->candidate_count - i) * sizeof *c);
        return false;
    }
    return false;
}

static struct route_candidate make_candidate(struct route *r, struct route_zone *zone,
                                             uint16_t preference)
{
    return (struct route_candidate){
        .zone = zone,
        .order = (uint64_t)(zone - r->zones) << 48 | (uint64_t)preference << 32 |
                 (chance(r) & UINT32_MAX),
        .host = {.preference = preference, .port = zone->port, .chance = 1, .below = zone->below},
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
    else if (!str_empty(new.host.name) && !is_known(r, &new))
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
    if (route_failed_for_now(r, &asked->question, facts) || facts->row_count == 0)
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
        route_ask(r, DNS_AAAA, c->host.name, answer_address, NULL, c);
        route_ask(r, DNS_A, c->host.name, answer_address, NULL, c);
    }
}

size_t route_address_count(const struct route_candidate *c)
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
    if (route_failed_for_now(r, &asked->question, facts))
        return;
    if (facts->outcome == DNS_NXDOMAIN) {
        route_refuse(r, 550, "5.1.2",
                     route_words(r, "The domain %.*s does not exist", STR_ARG(zone->name)));
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
        route_refuse(
            r, 556, "5.1.10",
            route_words(r, "The domain %.*s takes no mail (null MX)", STR_ARG(zone->name)));
}

static void answer_srv(struct route *r, struct route_asked *asked, const struct dns_facts *facts)
{
    struct route_zone *zone = asked->zone;
    bool has_names = false;
    zone->lookup = ROUTE_LOOKUP_ADDRESS;
    if (route_failed_for_now(r, &asked->question, facts))
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
        route_refuse(
            r, 550, "5.4.4",
            route_words(r, "The domain %.*s does not offer this service", STR_ARG(zone->name)));
}

/* ---- The steps ------------------------------------------------------------------------------- */

void route_add_literal(struct route *r, const uint8_t octets[16])
{
    struct route_candidate new = make_candidate(r, r->zones, 0);
    struct route_candidate *c = add_candidate(r, &new);
    add_address(r, c, octets);
}

/* RFC 4865: mail for here. A host each, for each has a port of its own; no name: it is us. */
void route_add_own(struct route *r)
{
    for (size_t i = 0; i < r->settings->own_endpoint_count; i++) {
        const struct network_endpoint *own = &r->settings->own_endpoints[i];
        bool ipv4 = network_is_ipv4(own->octets);
        struct route_candidate new = make_candidate(r, r->zones, 0);
        new.host.port = own->port;
        struct route_candidate *c = add_candidate(r, &new);
        if (!c)
            continue;
        c->found[ipv4] = arena_alloc_array(r->arena, LIMIT_ROUTE_ADDRESSES, 16);
        r->no_memory |= !c->found[ipv4];
        if (c->found[ipv4])
            memcpy(c->found[ipv4][c->found_count[ipv4]++], own->octets, 16);
    }
}

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

void route_ask_services(struct route *r)
{
    for (size_t i = 0; i < r->zone_count; i++) {
        struct route_zone *zone = &r->zones[i];
        if (zone->lookup == ROUTE_LOOKUP_SRV) {
            struct str name =
                route_words(r, "_%.*s._tcp.%.*s", STR_ARG(r->rule->service), STR_ARG(zone->name));
            route_ask(r, DNS_SRV, name, answer_srv, zone, NULL);
        } else if (zone->lookup == ROUTE_LOOKUP_ADDRESS && zone->place) {
            add_place(r, zone);
        }
    }
}

void route_ask_exchanges(struct route *r)
{
    for (size_t i = 0; i < r->zone_count; i++)
        if (r->zones[i].lookup == ROUTE_LOOKUP_MX)
            route_ask(r, DNS_MX, r->zones[i].name, answer_mx, &r->zones[i], NULL);
}

bool route_is_cut(const struct route_candidate *c)
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

void route_ask_addresses(struct route *r)
{
    size_t kept = 0, first = 0;
    uint32_t rank = 0;
    for (size_t i = 0; i < r->candidate_count; i++)
        if (!route_is_cut(&r->candidates[i]))
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
