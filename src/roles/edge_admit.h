#ifndef POSTERN_ROLES_EDGE_ADMIT_H
#define POSTERN_ROLES_EDGE_ADMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/now.h"
#include "base/str.h"

/*
 * How many connections an address has open, and how many it opened this minute. An address is an
 * IPv4 address or an IPv6 /64: whoever has one IPv6 address has its whole network. Pure: the
 * numbers and the time in, a verdict out. Memory is bounded by the open connections and by the
 * addresses seen within a minute, and the latter by a ceiling.
 */
struct edge_admit;

enum { EDGE_ADMIT_KINDS = 16 };

struct edge_admit_limits {
    uint32_t open_per_address; /* of one listener kind */
    uint32_t rate_per_minute;
};

enum edge_verdict { EDGE_ADMITTED, EDGE_TOO_MANY_OPEN, EDGE_TOO_FAST };

/* 16 octets; IPv4 addresses are mapped (RFC 4291 §2.5.5.2). */
struct edge_address {
    uint8_t octets[16];
};

/* seed: random, so that strangers cannot choose colliding addresses. NULL: no memory. */
struct edge_admit *edge_admit_new(uint64_t seed);
void edge_admit_free(struct edge_admit *a);

/* Counts the connection only when it is admitted; then edge_admit_close must follow once. */
enum edge_verdict edge_admit_open(struct edge_admit *a, struct edge_address address, unsigned kind,
                                  const struct edge_admit_limits *limits, struct now now);
void edge_admit_close(struct edge_admit *a, struct edge_address address, unsigned kind);

#endif
