#ifndef POSTERN_CODEC_DNS_ANSWER_H
#define POSTERN_CODEC_DNS_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/dns.h"
#include "base/str.h"

/*
 * Walks the answer section of a DNS message as a resolver returns it (RFC 1035 §4.1). The packet
 * is borrowed. Malformed packets end early; nothing is read outside them, and nothing twice.
 */
struct dns_answer {
    struct str packet;
    size_t at;
    unsigned left;
};

struct dns_record {
    uint16_t type;
    size_t data_at;  /* in the packet */
    struct str data; /* as in the packet; names in it may be compressed */
};

/* False where this is no answer. */
bool dns_answer_open(struct str packet, struct dns_answer *ret_answer);

/* False behind the last record. */
bool dns_answer_next(struct dns_answer *a, struct dns_record *ret_record);

/*
 * Appends the host name that stands at `at` in the packet, without a final dot. False (and what was
 * appended is to be thrown away) where it is malformed, empty, or no host name: letters, digits,
 * hyphen and underscore only.
 */
bool dns_answer_host(struct str packet, size_t at, struct buf *out);

/* Appends the name under which an address of 4 or 16 bytes has its PTR (RFC 1035 §3.5, RFC 3596).
 */
void dns_reverse_name(struct str address, struct buf *out);

#endif
