#ifndef POSTERN_ROLES_COURIER_ROUTE_H
#define POSTERN_ROLES_COURIER_ROUTE_H

#include "policy/route.h"
#include "roles/courier_sts.h"

/*
 * Where a destination's mail goes, as the DNS and the domain's policy said when it was asked.
 * Shared by the destination and its connections.
 */
struct courier_route {
    unsigned references;
    struct courier *courier;
    struct courier_settings *settings;
    struct arena arena;
    struct str destination;
    struct route_settings routing;
    struct route route; /* route.decision says what came of it */
    struct courier_sts_policy *sts;
    enum route_tls tls;          /* what the configuration asks for */
    const struct str *tls_names; /* with ROUTE_TLS_VERIFIED: instead of the server's */
    size_t tls_name_count;
    bool lenient;     /* whatever TLS there is will do: no DANE, no MTA-STS (RFC 8689 §5) */
    int64_t found_ms; /* mono */

    struct courier_route_question *questions;
    struct courier_sts_question *sts_question;
    struct hook hook;
    void (*found)(void *context);
    void *context;
};

/* `found` is called once, later, unless it is cancelled. NULL where there is no memory. */
struct courier_route *courier_route_find(struct courier *c, struct str destination,
                                         void (*found)(void *context), void *context);

/* Appends what is still waited for: "MX of example.org, A of mx.example.org". */
void courier_route_print_open(const struct courier_route *r, struct buf *out);

/* `found` will not be called. */
void courier_route_cancel(struct courier_route *r);

struct courier_route *courier_route_take(struct courier_route *r);
void courier_route_drop(struct courier_route *r);

#endif
