#ifndef POSTERN_BASE_NETWORK_H
#define POSTERN_BASE_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* IPv4 addresses are mapped into IPv6 (RFC 4291 §2.5.5.2), and so is their prefix_len. */
struct network {
    uint8_t octets[16];
    unsigned prefix_len; /* 0 to 128 */
};

struct networks {
    struct network *list;
    size_t count;
};

bool networks_have(const struct networks *networks, const uint8_t octets[16]);

/* A place to connect to. */
struct network_endpoint {
    uint8_t octets[16];
    uint16_t port;
};

/* True for an IPv4 address that is mapped into IPv6; its own octets are the last four. */
bool network_is_ipv4(const uint8_t octets[16]);

#endif
