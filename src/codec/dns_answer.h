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
    size_t owner_at; /* of its owner's name, in the packet */
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

/*
 * The fields of a record of that type; false where it is malformed. Host names are appended to the
 * buf as dns_answer_host does; the root (".": RFC 7505 §3, RFC 2782) appends nothing.
 */
bool dns_record_mx(const struct dns_answer *a, const struct dns_record *r, uint16_t *ret_preference,
                   struct buf *host);

struct dns_srv {
    uint16_t priority, weight, port;
};
bool dns_record_srv(const struct dns_answer *a, const struct dns_record *r, struct dns_srv *ret_srv,
                    struct buf *target);

/* data is borrowed from the packet (RFC 6698 §2.1). */
struct dns_tlsa {
    uint8_t usage, selector, matching;
    struct str data;
};
bool dns_record_tlsa(const struct dns_record *r, struct dns_tlsa *ret_tlsa);

/* Appends the strings of a TXT record, one behind the other (RFC 8461 §3.1, RFC 7208 §3.3). */
bool dns_record_txt(const struct dns_record *r, struct buf *out);

/*
 * Appends the name at the end of the chain of aliases that begins at `name` (RFC 1034 §3.6.2); the
 * name itself, as given, where it is none. False where the chain has no end.
 */
bool dns_answer_canonical(const struct dns_answer *opened, struct str name, struct buf *out);

/* Appends the name under which an address of 4 or 16 bytes has its PTR (RFC 1035 §3.5, RFC 3596).
 */
void dns_reverse_name(struct str address, struct buf *out);

#endif
