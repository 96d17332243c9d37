#ifndef POSTERN_BASE_DNS_H
#define POSTERN_BASE_DNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/*
 * What the DNS says, as a value: what a resolver gives, and what decisions are made from. Names
 * are without a final dot; the root is the empty name.
 */
enum dns_type {
    DNS_A = 1,
    DNS_CNAME = 5,
    DNS_PTR = 12,
    DNS_MX = 15,
    DNS_TXT = 16,
    DNS_AAAA = 28,
    DNS_SRV = 33,
    DNS_TLSA = 52
};

enum dns_outcome {
    DNS_OK,       /* there are rows, or the name has none of this type */
    DNS_NXDOMAIN, /* there is no such name */
    DNS_FAILED,   /* SERVFAIL, REFUSED and so on: nobody could say */
    DNS_TIMED_OUT,
    DNS_BOGUS /* signed, and the signatures do not hold */
};

struct dns_row {
    uint16_t preference;               /* MX; the priority of SRV */
    uint16_t weight, port;             /* SRV */
    uint8_t usage, selector, matching; /* TLSA */
    uint8_t octets[16];                /* A, mapped into IPv6 (RFC 4291 §2.5.5.2), and AAAA */
    struct str data; /* MX, SRV, CNAME, PTR: the name; TLSA: the data; TXT: its strings joined */
};

struct dns_facts {
    enum dns_outcome outcome;
    bool secure;      /* validated by DNSSEC, every step; also that there is nothing */
    struct str owner; /* the name at the end of the CNAMEs; empty where there was none */
    const struct dns_row *rows;
    size_t row_count;
};

#endif
