#ifndef POSTERN_POLICY_ROUTE_ADDRESS_H
#define POSTERN_POLICY_ROUTE_ADDRESS_H

#include "base/buf.h"
#include "base/network.h"

/* IP addresses as text, without brackets; IPv4 is mapped into IPv6 and printed as IPv4. */
bool route_address_read(struct str text, uint8_t ret_octets[16]);
bool route_address_print(struct buf *out, const uint8_t octets[16]);

#endif
