#ifndef POSTERN_ROLES_EDGE_LOGIN_H
#define POSTERN_ROLES_EDGE_LOGIN_H

#include <stdbool.h>

#include "base/str.h"
#include "roles/edge.h"

/*
 * One connection's SASL exchange (RFC 4422) with the keeper. The edge carries the messages and
 * learns the outcome; it never judges a password.
 */
enum edge_login_outcome {
    EDGE_LOGIN_CHALLENGE,
    EDGE_LOGIN_SUCCESS, /* the identity is filled in; data may hold the mechanism's last words */
    EDGE_LOGIN_WRONG,
    EDGE_LOGIN_TEMPORARY,
    EDGE_LOGIN_MALFORMED
};

/* data is raw (no base64), borrowed for the call. Never called from inside start or step. */
typedef void edge_login_done(void *context, enum edge_login_outcome outcome, struct str data);

struct edge_login {
    struct edge_conn *conn;
    struct edge_identity *identity; /* filled in on success */
    edge_login_done *done;
    void *context;
    uint64_t session;
    struct channel *channel;
    uint64_t keeper; /* which one of those that the edge has met: a new one knows nothing of it */
    uint32_t call;   /* 0: none on its way */
    unsigned failures;
};

void edge_login_init(struct edge_login *l, struct edge_conn *conn, struct edge_identity *identity,
                     edge_login_done *done, void *context);

/* Forgets the exchange and any call on its way. */
void edge_login_abort(struct edge_login *l);

/* False: the keeper is away, and done will not be called. */
bool edge_login_start(struct edge_login *l, struct str mechanism, bool has_initial,
                      struct str initial);
bool edge_login_step(struct edge_login *l, struct str response);

/* A name and a password given in the protocol's own way (LOGIN, USER and PASS): as SASL PLAIN. */
bool edge_login_password(struct edge_login *l, struct str user, struct str password);

/*
 * Mechanisms to offer, space-separated: with TLS, or without where a login in clear is allowed
 * (RFC 5802 §6: there is nothing to bind to then).
 */
struct str edge_login_mechanisms(bool tls);

/* Logs the outcome, with the name only where the keeper has vouched for it. */
void edge_login_log(const struct edge_login *l, const char *event);

/* From the keeper: the sessions of these logins that the edge serves itself are ended. */
void edge_on_logins_ended(void *context, struct channel *from,
                          const struct ipc_logins_ended_in *in);

/* Is it one of these? */
bool edge_identity_has_ended(const struct edge_identity *id,
                             const struct ipc_logins_ended_in *ended);

void edge_identity_init(struct edge_identity *id);
void edge_identity_release(struct edge_identity *id);

#endif
