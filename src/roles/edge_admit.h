#ifndef POSTERN_ROLES_EDGE_ADMIT_H
#define POSTERN_ROLES_EDGE_ADMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/now.h"
#include "roles/edge_counts.h"

/*
 * How many connections an address has open, and how many it opened this minute, over all edges. An
 * address is an IPv4 address or an IPv6 /64: whoever has one IPv6 address has its whole network.
 * Pure but for the counts: the numbers and the time in, a verdict out.
 */
struct edge_admit_limits {
    uint32_t open_per_address; /* of one listener kind */
    uint32_t rate_per_minute;
};

enum edge_verdict { EDGE_ADMITTED, EDGE_TOO_MANY_OPEN, EDGE_TOO_FAST };

/* 16 octets; IPv4 addresses are mapped (RFC 4291 §2.5.5.2). */
struct edge_address {
    uint8_t octets[16];
};

/* Of the address; of the account (not 0), which is none's address. */
uint64_t edge_admit_key(const struct edge_counts *c, struct edge_address address);
uint64_t edge_admit_account_key(const struct edge_counts *c, uint64_t account);

/* Counts the connection only when it is admitted; then edge_admit_close must follow once. */
enum edge_verdict edge_admit_open(struct edge_counts *c, struct edge_address address, unsigned kind,
                                  const struct edge_admit_limits *limits, struct now now);
void edge_admit_close(struct edge_counts *c, struct edge_address address, unsigned kind);

#endif
