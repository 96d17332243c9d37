#ifndef POSTERN_PROTO_SASL_CLIENT_H
#define POSTERN_PROTO_SASL_CLIENT_H

#include <stdbool.h>

#include "base/status.h"
#include "base/str.h"
#include "proto/sasl/server.h"

/*
 * The client's side of one SASL exchange, without I/O: SCRAM-SHA-256-PLUS, SCRAM-SHA-256, PLAIN and
 * LOGIN, preferred in this order. Messages are whole and decoded, as on the server's side.
 */

/* How often a server may have us hash: fewer is too weak (RFC 7677 §4), more would hold us up. */
#define SASL_CLIENT_ITERATIONS_MIN 4096
#define SASL_CLIENT_ITERATIONS_MAX 200000

/* What the exchange stands on; copied. */
struct sasl_client_facts {
    struct str name; /* both in UTF-8, without NUL */
    struct str password;
    bool tls;                        /* PLAIN and LOGIN are for nothing else */
    struct str tls_exporter;         /* as in struct sasl_facts; empty: there is none */
    struct str tls_server_end_point; /* taken where there is no exporter */
    struct str nonce;                /* SASL_NONCE_SIZE random octets, never used again */
};

struct sasl_client;

/*
 * Begins an exchange by the best of `mechanisms` (names, a space between). STATUS_NOT_FOUND: none
 * of them will do; STATUS_INVALID: the name or the password cannot be used; STATUS_NO_MEMORY.
 */
MUST_USE enum status_code sasl_client_new(struct str mechanisms,
                                          const struct sasl_client_facts *facts,
                                          struct sasl_client **ret_client);

/* Wipes it; NULL is fine. */
void sasl_client_free(struct sasl_client *x);

struct str sasl_client_mechanism(const struct sasl_client *x);

/* False where the mechanism has no initial response. Lives until the next step. */
bool sasl_client_initial(const struct sasl_client *x, struct str *ret_initial);

/*
 * The response to a challenge; it lives until the next step. STATUS_DENIED: the server is not who
 * it should be, or does not speak the mechanism: give up.
 */
MUST_USE enum status_code sasl_client_step(struct sasl_client *x, struct str challenge,
                                           struct str *ret_response);

/*
 * Is the exchange so far, that success would be believed? With SCRAM not before the server has
 * shown that it knows the password as well (RFC 5802 §5).
 */
bool sasl_client_done(const struct sasl_client *x);

#endif
