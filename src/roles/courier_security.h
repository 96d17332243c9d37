#ifndef POSTERN_ROLES_COURIER_SECURITY_H
#define POSTERN_ROLES_COURIER_SECURITY_H

#include "proto/smtp/client.h"
#include "roles/courier_route.h"

/* What TLS one host must show before it gets mail. */
struct courier_security {
    bool usable; /* false: this host gets no mail; result and words say why */
    enum smtp_client_tls tls;
    struct tls_demand demand; /* names and records borrow from the route */
    struct str names[2];
    struct tls_tlsa records[32];
    bool
        mx_authentic; /* that it is a host of the destination is known for sure (RFC 8689 §4.2.1) */
    uint8_t policy_type; /* of the TLS report: 0 none, 1 tlsa, 2 sts */
    const char *result;  /* RFC 8460 §4.3 */
    const char *words;
};

/*
 * Pure. DANE goes before MTA-STS (RFC 8461 §2); both only where the configuration leaves it to
 * them. ret is filled in place (it points into itself).
 */
void courier_security_decide(const struct courier_route *route, const struct route_host *host,
                             struct courier_security *ret);

#endif
