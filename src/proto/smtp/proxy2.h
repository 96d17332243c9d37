#ifndef POSTERN_PROTO_SMTP_PROXY2_H
#define POSTERN_PROTO_SMTP_PROXY2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/*
 * The header of the PROXY protocol, version 2 (haproxy.org, proxy-protocol.txt §2.2), with which a
 * trusted load balancer says whom it speaks for. It comes first on the connection, before TLS.
 */
enum proxy2_family {
    PROXY2_OWN,  /* LOCAL, UNSPEC or UNIX: the connection's own addresses hold */
    PROXY2_IPV4, /* the first 4 octets of each address */
    PROXY2_IPV6
};

struct proxy2_header {
    enum proxy2_family family;
    uint8_t source[16];
    uint8_t destination[16];
    uint16_t source_port;
    uint16_t destination_port;
};

/* Its fixed part, which tells how long it is. A header larger than the second is refused. */
#define PROXY2_HEAD_SIZE 16
#define PROXY2_SIZE_MAX  4096

enum proxy2_result {
    PROXY2_OK,
    PROXY2_MORE, /* a good start: offer it again with more, up to *ret_size octets */
    PROXY2_BAD   /* not a header, or a damaged one: close without a word */
};

/*
 * Parses the header at the start of `in`; *ret_size is its length, as far as it is known. TLVs are
 * skipped, but their lengths must add up, and a CRC-32C among them must be right. PROXY2_BAD
 * changes nothing.
 */
enum proxy2_result proxy2_parse(struct str in, struct proxy2_header *ret_header, size_t *ret_size);

#endif
