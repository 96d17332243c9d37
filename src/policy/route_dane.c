#include "policy/route_internal.h"

/* ---- DANE (RFC 7672) ------------------------------------------------------------------------- */

/* A route that says what its TLS must be is not asked for anything else. */
static bool wants_dane(const struct route *r, const struct route_candidate *c)
{
    bool configured = r->rule && (r->rule->lmtp || r->rule->tls != ROUTE_TLS_OPPORTUNISTIC);
    return r->settings->dane && !configured && c->host.mx_secure && route_address_count(c) > 0 &&
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
    if (route_failed_for_now(r, &asked->question, facts))
        c->without_tlsa = true; /* §2.1.2: to go there all the same would be the attacker's wish */
    else if (facts->row_count == 0)
        c->ask_original = !str_eq(c->host.tlsa_base, c->host.name);
    else if (facts->secure)
        keep_tlsa(r, &c->host, facts);
}

static void ask_tlsa_at(struct route *r, struct route_candidate *c, struct str base)
{
    c->host.tlsa_base = base;
    route_ask(r, DNS_TLSA, route_words(r, "_%u._tcp.%.*s", c->host.port, STR_ARG(base)),
              answer_tlsa, NULL, c);
}

/* §2.2.2: an alias that is signed itself, to a name that is not. */
static void answer_alias(struct route *r, struct route_asked *asked, const struct dns_facts *facts)
{
    struct route_candidate *c = asked->candidate;
    if (route_failed_for_now(r, &asked->question, facts))
        c->without_tlsa = true;
    else if (facts->secure && facts->row_count > 0)
        c->ask_original = true;
}

void route_ask_aliases(struct route *r)
{
    for (size_t i = 0; i < r->candidate_count; i++) {
        struct route_candidate *c = &r->candidates[i];
        if (wants_dane(r, c) && c->insecure && !str_empty(c->owner))
            route_ask(r, DNS_CNAME, c->host.name, answer_alias, NULL, c);
    }
}

void route_ask_tlsa(struct route *r)
{
    for (size_t i = 0; i < r->candidate_count; i++) {
        struct route_candidate *c = &r->candidates[i];
        if (wants_dane(r, c) && !c->insecure)
            ask_tlsa_at(r, c, str_empty(c->owner) ? c->host.name : c->owner);
    }
}

void route_ask_tlsa_of_originals(struct route *r)
{
    for (size_t i = 0; i < r->candidate_count; i++)
        if (r->candidates[i].ask_original)
            ask_tlsa_at(r, &r->candidates[i], r->candidates[i].host.name);
}
