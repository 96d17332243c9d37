#ifndef POSTERN_ROLES_COURIER_TLS_REPORT_H
#define POSTERN_ROLES_COURIER_TLS_REPORT_H

#include "io/socket.h"
#include "roles/courier_route.h"

/*
 * What TLS came to, counted for the reports of RFC 8460: sessions of a domain under a policy, and
 * each kind of failure. They go to the vault with outcomes, some at a time.
 */
struct courier_tls_report *courier_tls_report_new(struct courier *c);
void courier_tls_report_free(struct courier_tls_report *r);

struct courier_tls_session {
    const struct courier_route *route;
    const struct route_host *host;
    uint8_t policy_type;
    const char *result; /* RFC 8460 §4.3; empty: it went well; NULL: nothing to report */
    const char *words;
    const struct socket_address *peer;
    int fd; /* of the connection, or -1 */
};

/* Destinations that no domain stands for (routes, literals) are not reported about. */
void courier_tls_report_add(struct courier *c, const struct courier_tls_session *session);

/* A policy that could not be had. */
void courier_tls_report_policy(struct courier *c, struct str domain, const char *result,
                               struct str words);

/* Is there so much, or so old, that it is told without company? */
bool courier_tls_report_is_due(const struct courier *c);

/* Adds what is there to a call; borrowed until it was told, or is to be told again. */
void courier_tls_report_tell(struct courier *c, struct arena *a, struct ipc_outcomes_in *in);
void courier_tls_report_told(struct courier *c);
void courier_tls_report_again(struct courier *c);

#endif
