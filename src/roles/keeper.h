#ifndef POSTERN_ROLES_KEEPER_H
#define POSTERN_ROLES_KEEPER_H

#include "base/arena.h"
#include "io/tls.h"
#include "roles/config.h"
#include "roles/keeper_cache.h"
#include "roles/keeper_capability.h"
#include "roles/keeper_hashers.h"
#include "roles/keeper_secrets.h"
#include "roles/keeper_throttle.h"
#include "roles/keeper_tls.h"
#include "roles/link.h"
#include "roles/role.h"

/*
 * The keeper: private keys (it signs for the edges), credentials (it is the server's side of SASL
 * for them), the key of capabilities (it gives it to the vaults), session ticket keys. It touches
 * neither the network nor mail.
 *
 *   keeper.c           its life, keys and tickets
 *   keeper_login.c     logins: SASL exchanges with the edges
 *   keeper_client.c    the passwords of routes, and exchanges with their servers for the couriers
 *   keeper_operator.c  passwords, for the command line
 *   keeper_ends.c      sessions that end with their password
 */
extern const struct role_plan keeper_plan;

/* A signing channel to an edge. */
struct signing {
    struct signing *next;
    struct keeper *keeper;
    struct link *link;
};

struct keeper {
    struct role *role;
    struct arena arena; /* the configuration's */
    struct config config;

    struct secrets *secrets;
    struct hashers *hashers;
    struct throttle *throttle;
    struct login_cache *cache;
    struct keeper_tls *tls;
    struct capability_key capability_key;
    uint8_t fake_secret[SECRETS_FAKE_SIZE];

    uint8_t tickets[TLS_TICKET_KEYS_MAX * TLS_TICKET_KEY_SIZE]; /* newest first */
    size_t ticket_count;
    struct timer rotation;

    /* When a login was last granted, and when one last ended; never the wrong way round. */
    int64_t issued_ms, ended_ms;
    struct timer untold; /* of which somebody has not heard */

    struct signing *signings;
    struct exchange *exchanges;
    unsigned exchange_count;
    struct setting *settings;

    struct route_secret *route_secrets;
    struct client_exchange *client_exchanges;
    unsigned client_exchange_count;
};

/* keeper_login.c */
void keeper_on_sasl_start(void *context, struct channel *from, uint32_t id,
                          const struct ipc_sasl_start_in *in);
void keeper_on_sasl_step(void *context, struct channel *from, uint32_t id,
                         const struct ipc_sasl_step_in *in);
void keeper_on_sasl_abort(void *context, struct channel *from, const struct ipc_sasl_abort_in *in);

/* Ends the exchanges with the edge of that index; -1: all. */
void keeper_end_exchanges(struct keeper *k, int edge);

/* keeper_client.c */
void keeper_on_sasl_client_start(void *context, struct channel *from, uint32_t id,
                                 const struct ipc_sasl_client_start_in *in);
void keeper_on_sasl_client_step(void *context, struct channel *from, uint32_t id,
                                const struct ipc_sasl_client_step_in *in);
void keeper_on_sasl_client_end(void *context, struct channel *from,
                               const struct ipc_sasl_client_end_in *in);

/* From the warden: the password file of a route, to be read and closed. */
void keeper_route_secret(void *state, struct str route, struct str login, int fd);

/* Forgets the passwords of routes that the configuration has no more. */
void keeper_sift_route_secrets(struct keeper *k);

/* Ends the exchanges for the courier of that index; -1: all, and all passwords are forgotten. */
void keeper_end_client_exchanges(struct keeper *k, int courier);

/* keeper_operator.c */
void keeper_on_password_set(void *context, struct channel *from, uint32_t id,
                            const struct ipc_password_set_in *in);
void keeper_on_password_list(void *context, struct channel *from, uint32_t id,
                             const struct ipc_password_list_in *in);
void keeper_on_password_remove(void *context, struct channel *from, uint32_t id,
                               const struct ipc_password_remove_in *in);
void keeper_on_login_disable(void *context, struct channel *from, uint32_t id,
                             const struct ipc_login_disable_in *in);
void keeper_end_settings(struct keeper *k);

/*
 * keeper_ends.c: the time of a login that is granted now, which no end of before covers; and that
 * of an end, which covers all of before, though all of it is within one millisecond.
 */
int64_t keeper_issue_time(struct keeper *k);
int64_t keeper_end_time(const struct keeper *k);

/* After each change that may have ended logins of the account; 0: of all. */
void keeper_tell_ends(struct keeper *k, uint64_t account);
void keeper_tell_peer_ends(struct keeper *k, struct channel *ch);
void keeper_on_untold(void *context);

#endif
