#ifndef POSTERN_ROLES_COURIER_CONNECTION_STATE_H
#define POSTERN_ROLES_COURIER_CONNECTION_STATE_H

#include "base/limits.h"
#include "io/connect.h"
#include "io/stream.h"
#include "roles/courier_connection.h"
#include "roles/courier_delivery.h"
#include "roles/courier_security.h"

/*
 * A connection from the inside, for the files it is made of:
 *
 *   courier_connection    which address is tried; beginning and end
 *   courier_handshake     TLS, and what is reported of it
 *   courier_login         AUTH, with the keeper's help
 *   courier_dialogue      bytes, events, messages
 */
enum {
    CONNECTION_REMOTE_SIZE = LIMIT_DOMAIN_SIZE + 64,
    CONNECTION_TLS_WORDS_SIZE = 128,
    CONNECTION_WORDS_SIZE = 2048
};

enum courier_connection_state {
    CONN_CONNECTING,
    CONN_TALKING,
    CONN_HANDSHAKE,
    CONN_CLOSED /* freed at the end of the turn */
};

struct courier_connection {
    struct courier_connection *next, **at; /* of the destination */
    struct courier *courier;
    struct courier_destination *destination;
    struct courier_route *route;
    size_t host, address;             /* being tried */
    size_t first_host, first_address; /* where it began */
    bool wrapped;                     /* it has begun again with the first host */
    uint32_t avoid;                   /* hosts, a bit each, that lack what it was opened for */
    uint32_t wave;
    enum courier_connection_state state;
    bool in_clear; /* TLS that nobody demands has failed here */
    bool ready, working, running, run_again, quitting;
    bool put_off;     /* the server wants something later: it is not held on to until then */
    bool stale;       /* it broke while it rested: what was begun then was no attempt */
    bool answered;    /* it has said yes or no to a message, or a part of one */
    uint32_t carried; /* messages */
    struct connect connect;
    struct stream stream;
    struct smtp_client *engine;
    struct smtp_client_settings settings;
    struct courier_security security;
    struct tls_verdict verdict;
    struct socket_address peer;
    struct courier_delivery delivery;
    struct courier_hop hop;
    char remote[CONNECTION_REMOTE_SIZE];
    char tls_words[CONNECTION_TLS_WORDS_SIZE];
    struct timer timer;
    int64_t begun_ms;  /* the dialogue, on the mono clock */
    int64_t search_ms; /* since when it looks for a server that lets it in */
    struct hook end;

    /* Why the last address did not let us in. */
    char status[16];
    struct buf words;
    bool was_reply;
    uint32_t tries, never; /* addresses tried; those that said that they never take mail */

    /* The login, at the keeper; the channel is there while the call is. */
    struct channel *keeper;
    uint32_t call;
    uint64_t session, token;
};

/* ---- courier_connection.c ----------------------------------------------------------------------
 */

const struct route_host *courier_connection_host(const struct courier_connection *conn);
bool courier_connection_is_idle(const struct courier_connection *conn);
void courier_connection_log(const struct courier_connection *conn, struct log_line *line,
                            enum log_level level, const char *event);

/* On the mono clock: in usual_ms, or sooner where the administrator wants. */
int64_t courier_connection_deadline(const struct courier_connection *conn, int64_t usual_ms);

/* Why this address did not let us in; then the next one is tried, or all is over. */
void courier_connection_note(struct courier_connection *conn, const char *status, struct str words);
void courier_connection_next_address(struct courier_connection *conn);

/* It was let in, and turned away at its first message: as if it had not been let in. */
void courier_connection_turned_away(struct courier_connection *conn);

/* It has looked for a server for as long as one may. */
bool courier_connection_searched_enough(const struct courier_connection *conn);

/* The same address (or the one chosen by then) at the end of this turn. */
void courier_connection_try_soon(struct courier_connection *conn);

/* Whatever the address had open. */
void courier_connection_hang_up(struct courier_connection *conn);

/* It is over; freed at the end of this turn. */
void courier_connection_close(struct courier_connection *conn);

/* ---- courier_handshake.c -----------------------------------------------------------------------
 */

/* result NULL: nothing to report. */
void courier_connection_report_tls(struct courier_connection *conn, const char *result,
                                   const char *words);
void courier_connection_start_tls(struct courier_connection *conn);
void courier_connection_shake_hands(struct courier_connection *conn);
void courier_connection_handshake_failed(struct courier_connection *conn);

/* It ended between STARTTLS and the handshake; true where the address is tried again in clear. */
bool courier_handshake_falls_back(struct courier_connection *conn,
                                  const struct smtp_client_closed *closed);

/* ---- courier_login.c ---------------------------------------------------------------------------
 */

void courier_login_start(struct courier_connection *conn, const struct smtp_client_event *event);
void courier_login_go_on(struct courier_connection *conn, const struct smtp_client_event *event);
void courier_login_end(struct courier_connection *conn);

/* ---- courier_dialogue.c ------------------------------------------------------------------------
 */

/* Moves on as far as it goes. */
void courier_connection_run(struct courier_connection *conn);

/* Connected: the dialogue begins. */
void courier_dialogue_begin(struct courier_connection *conn, int fd);

/* Takes the next job where it rests. */
void courier_dialogue_look_for_work(struct courier_connection *conn);

/* A deadline has passed. */
void courier_dialogue_expired(void *context);

#endif
