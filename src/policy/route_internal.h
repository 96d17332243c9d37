#ifndef POSTERN_POLICY_ROUTE_INTERNAL_H
#define POSTERN_POLICY_ROUTE_INTERNAL_H

#include "policy/route.h"

/*
 * Between the parts of the engine: route.c asks and decides, route_hosts.c finds hosts and their
 * addresses, route_dane.c their TLSA records.
 */

enum { ROUTE_NO_CUT = 65536 };

/* A name whose hosts are looked for, or one address or socket that needs no looking. */
struct route_zone {
    struct str name, below;
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

typedef void route_answer_fn(struct route *r, struct route_asked *asked,
                             const struct dns_facts *facts);

struct route_asked {
    struct route_asked *next, *next_to_ask;
    struct route_question question;
    bool answered;
    route_answer_fn *answer;
    struct route_zone *zone;
    struct route_candidate *candidate;
};

/* ---- Steps: each begins when all questions of those before it are answered ----------------------
 */

/* route_hosts.c */
void route_ask_services(struct route *r);
void route_ask_exchanges(struct route *r);
void route_ask_addresses(struct route *r);

/* route_dane.c */
void route_ask_aliases(struct route *r);
void route_ask_tlsa(struct route *r);
void route_ask_tlsa_of_originals(struct route *r);

/* ---- Tools -------------------------------------------------------------------------------------
 */

/* In the arena; no_memory is noted where it has no room. */
struct str route_words(struct route *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* There is no host because of this. The first reason is the one that is told. */
void route_refuse(struct route *r, unsigned code, const char *enhanced, struct str why);

/* True where an answer is none; it is then noted that there may be one later. */
bool route_failed_for_now(struct route *r, const struct route_question *q,
                          const struct dns_facts *facts);

void route_ask(struct route *r, enum dns_type type, struct str name, route_answer_fn *answer,
               struct route_zone *zone, struct route_candidate *candidate);

/* The one host of "literal:ADDRESS". */
void route_add_literal(struct route *r, const uint8_t octets[16]);

/* This server's own mx listeners, the hosts of "here:mailboxes". */
void route_add_own(struct route *r);

/* Is it left out, because we are as good? */
bool route_is_cut(const struct route_candidate *c);

size_t route_address_count(const struct route_candidate *c);

#endif
