#ifndef POSTERN_POLICY_ROUTE_H
#define POSTERN_POLICY_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/dns.h"
#include "base/network.h"
#include "base/str.h"

/*
 * Where mail for a domain elsewhere goes. Pure, in two steps: a recipient's domain has a
 * destination, which is a name under which what goes together waits together; and a destination
 * has hosts, found by questions to the DNS that the owner answers.
 */

/* ---- Routes, as configured ------------------------------------------------------------------- */

enum route_lookup {
    ROUTE_LOOKUP_ADDRESS, /* A and AAAA of the places */
    ROUTE_LOOKUP_MX,      /* as for a recipient's domain */
    ROUTE_LOOKUP_SRV      /* RFC 2782; where there is none, as with MX */
};

/* What a connection must have before it gets mail. */
enum route_tls {
    ROUTE_TLS_OPPORTUNISTIC, /* what there is; DANE and MTA-STS may demand more */
    ROUTE_TLS_REQUIRED,      /* with whatever certificate */
    ROUTE_TLS_VERIFIED,      /* a certificate of a known authority, for a name we can be sure of */
    ROUTE_TLS_DANE,          /* TLSA records, and a certificate that fits them */
    ROUTE_TLS_NO             /* none, even if offered */
};

/* One of the three: host, address, unix_path. */
struct route_place {
    struct str host; /* A-labels */
    bool has_address;
    uint8_t octets[16];
    struct str unix_path; /* LMTP only */
    uint16_t port;        /* 0: as usual for the protocol */
};

struct route_rule {
    struct str name;
    struct str *domains; /* "example.org", ".example.org" (what is below it), "*" */
    size_t domain_count;
    struct route_place *places; /* in the order to try them */
    size_t place_count;
    enum route_lookup lookup;
    struct str service; /* "smtp" asks for _smtp._tcp.HOST */
    bool lmtp;
    enum route_tls tls;
    struct str *tls_names; /* for ROUTE_TLS_VERIFIED, instead: "example.org", ".example.org" */
    size_t tls_name_count;
    struct str login, password_file; /* empty: without AUTH */
};

struct route_rules {
    struct route_rule *list;
    size_t count;
};

/* Whether a domain (A-labels, lower case, or a literal in its brackets) is one of a pattern's. */
bool route_pattern_matches(struct str pattern, struct str domain);

/*
 * Appends the name of the destination of mail for a domain as it stands in an address, with
 * U-labels or A-labels, or an address literal: "route:NAME" of the first rule that has the domain,
 * else "dns:example.org", or "literal:192.0.2.1". False, and nothing appended, where the domain is
 * none: no such mail can be sent (5.1.2).
 */
bool route_destination(const struct route_rules *rules, struct str domain, struct buf *out);

/*
 * Appends the name under which mail for the destination waits that is to be sent without regard to
 * what the recipient's domain demands of TLS (RFC 8689 §5): "dns-any-tls:example.org" for
 * "dns:example.org", the name itself for others. It goes to the same hosts, over connections of
 * its own.
 */
bool route_destination_lenient(struct str destination, struct buf *out);
bool route_destination_is_lenient(struct str destination);

enum route_kind { ROUTE_DNS, ROUTE_RULE, ROUTE_LITERAL, ROUTE_HERE };

/*
 * Where mail for a mailbox here waits that is held until its time (RFC 4865): then it goes to this
 * server's own mx listeners, like a stranger's.
 */
#define ROUTE_DESTINATION_HERE "here:mailboxes"

/*
 * The destination's kind (ROUTE_DNS for a lenient one) and what stands behind the colon; false
 * where it is none.
 */
bool route_destination_split(struct str destination, enum route_kind *ret_kind,
                             struct str *ret_rest);

/* The rule of "route:NAME", or NULL. */
const struct route_rule *route_rule_find(const struct route_rules *rules, struct str destination);

/* ---- Hosts ----------------------------------------------------------------------------------- */

/*
 *     route_begin(&r, &arena, &settings, destination);
 *     while (r.decision.verdict == ROUTE_PENDING) {
 *         while (route_next(&r, &question))
 *             ask the DNS, with question.token
 *         route_answer(&r, token, &facts) for each answer, in any order
 *     }
 *
 * The rules. MX by preference, in random order among equals (RFC 5321 §5.1); without one, the
 * domain itself; a null MX means no mail at all (RFC 7505). Where this server is among the hosts,
 * all of its preference and worse are left out; nothing left is a loop. A host that does not exist
 * or has no address is left out; one whose address nobody can tell at the moment is left out for
 * now. What a stranger's zone holds is bounded: LIMIT_ROUTE_HOSTS, LIMIT_ROUTE_ADDRESSES. IPv6 and
 * IPv4 addresses of a host take turns. TLSA records are asked for where all that leads to them is
 * secure (RFC 7672 §2.2); a host whose TLSA records cannot be had is left out for now (§2.1.2).
 *
 * Everything handed out lives in the arena or borrows from the settings and the destination.
 */
struct route_settings {
    struct route_rules rules;
    uint16_t port;               /* of SMTP where none is said */
    bool ipv4, ipv6;             /* which there are connections with */
    bool ipv4_first;             /* IPv6 has not worked lately */
    bool dane;                   /* ask for TLSA records */
    const struct str *own_names; /* A-labels */
    size_t own_name_count;
    const struct network_endpoint *own_endpoints; /* where this server takes mail */
    size_t own_endpoint_count;
    const struct networks *refused; /* never gone to because of what the DNS or a recipient says */
    uint64_t seed;                  /* random */
};

enum route_tlsa {
    ROUTE_TLSA_NONE,     /* no DANE with this host */
    ROUTE_TLSA_UNUSABLE, /* there are some, none that can be used: TLS without looking at names */
    ROUTE_TLSA_USABLE    /* tlsa_rows: TLS with a certificate that one of them fits */
};

struct route_host {
    struct str name;      /* for TLS and SNI; empty: only an address (literal), or a Unix path */
    struct str unix_path; /* then there are no addresses */
    uint16_t port;
    uint16_t preference;            /* of MX or SRV */
    uint32_t rank, chance;          /* among hosts of one rank each is drawn by its chance */
    const uint8_t (*addresses)[16]; /* in the order to try them; IPv4 mapped into IPv6 */
    size_t address_count;
    bool mx_secure;   /* that this is a host of the destination is validated, or configured */
    struct str below; /* ".example.org": what is below the domain or place that led to it */
    bool addresses_secure;
    enum route_tlsa tlsa;
    struct str tlsa_base; /* the name they stand at: a reference name too (RFC 7672 §3.2.2) */
    const struct dns_row *tlsa_rows;
    size_t tlsa_row_count;
};

enum route_verdict {
    ROUTE_PENDING,
    ROUTE_HOSTS,  /* one or more, in the order to try them */
    ROUTE_BOUNCE, /* never */
    ROUTE_WAIT    /* not now */
};

struct route_decision {
    enum route_verdict verdict;
    const struct route_host *hosts;
    size_t host_count;
    unsigned code;       /* of a bounce or wait: 550, 556, 451 */
    struct str enhanced; /* "5.1.2" */
    struct str words;    /* for the sender, a sentence without its full stop */
};

struct route_question {
    uint32_t token;
    enum dns_type type; /* MX, SRV, A, AAAA, CNAME, TLSA */
    struct str name;
};

struct route_zone;
struct route_candidate;
struct route_asked;

struct route {
    struct arena *arena;
    const struct route_settings *settings;
    struct str shown;              /* the destination without its kind */
    const struct route_rule *rule; /* of "route:NAME"; else NULL */
    enum route_kind kind;
    struct route_zone *zones; /* what is looked up: the domain, or the rule's places */
    size_t zone_count;
    struct route_candidate *candidates; /* in the order to try them */
    size_t candidate_count;
    struct route_asked *asked;  /* all, the newest first */
    struct route_asked *to_ask; /* those to be given out, the oldest first */
    uint32_t tokens, open;      /* questions so far; those without an answer */
    unsigned step;
    uint64_t random;
    bool no_memory, refused, out_of_reach;
    struct str for_now;            /* why there may be hosts later */
    struct route_decision refusal; /* why there is none */
    struct route_decision decision;
};

void route_begin(struct route *r, struct arena *arena, const struct route_settings *settings,
                 struct str destination);

/* A question that was not asked yet; false: there is none at the moment. */
bool route_next(struct route *r, struct route_question *ret_question);

/* What the facts point to is copied. */
void route_answer(struct route *r, uint32_t token, const struct dns_facts *facts);

/*
 * Where one more connection begins, so that equals share the load (RFC 5321 §5.1): one of the hosts
 * that are as good as the one numbered `host`, but none of those in `avoid` (a bit for each host)
 * where there are others.
 */
size_t route_draw(const struct route_decision *d, size_t host, uint32_t avoid, uint64_t random);

#endif
