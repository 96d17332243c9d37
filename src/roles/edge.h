#ifndef POSTERN_ROLES_EDGE_H
#define POSTERN_ROLES_EDGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/now.h"
#include "base/str.h"
#include "ipc/channel.h"
#include "roles/edge_admit.h"
#include "roles/edge_counts.h"
#include "roles/edge_settings.h"
#include "roles/role.h"

/*
 * The edge: all connections from the network. This is what the connections of one process share;
 * they borrow it for their life.
 */
struct edge_conn;
struct edge_listener;
struct edge_confirmations;
struct edge_message_parts;
struct sign_client;

struct edge {
    struct role *role;
    struct edge_settings *settings; /* what new connections are served by; never NULL once ready */

    /* NULL while the role is away: what needs it gets a temporary refusal. */
    struct channel *vault;
    struct channel *keeper;
    struct channel *courier;
    uint64_t keepers; /* there were so far */
    struct sign_client *signer;

    struct edge_counts *counts; /* of what is open, with the other edges */
    bool counts_lost;           /* those of another edge could not be had */
    struct edge_listener *listeners;
    bool reload_refused; /* the listeners of that configuration are not ours */
    struct edge_conn *connections;
    size_t connection_count;

    struct edge_message_parts *spare_parts;
    struct edge_confirmations *confirmations;
    struct buf ticket_keys;

    uint64_t id_salt;
    uint64_t id_counter;
    uint64_t next_body;
    uint64_t vaults; /* so many there were: the next has nothing of what one was sent */
    uint64_t next_session;
    bool stopping;
};

/*
 * The mailroom that serves an account; NULL while it is away. Always the same one for the same
 * account, so that whoever locks a maildrop locks it for all (RFC 1939 §4). 0: any.
 */
struct channel *edge_mailroom(struct edge *edge, uint64_t account);

/* Of its metrics: what is a state, not a count. */
void edge_set_gauges(void *state);

/* What an SASL exchange with the keeper has established. */
struct edge_identity {
    uint64_t account; /* 0: nobody */
    uint64_t credential;
    int64_t issued_ms;
    struct buf login;
    struct buf capability;
};

/* Room for a trace id and its NUL. */
enum { EDGE_ID_SIZE = 14 };

/* A new id for a connection's or message's log lines and trace: 13 characters, never repeated. */
void edge_new_id(struct edge *edge, struct now now, char ret_id[EDGE_ID_SIZE]);

/* Adds one to a counter of the metrics; see metrics_get. */
void edge_count(struct edge *edge, const char *name, const char *help, const char *label_name,
                const char *label);

extern const struct role_plan edge_plan;

#endif
