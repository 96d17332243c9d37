#ifndef POSTERN_ROLES_EDGE_CONN_H
#define POSTERN_ROLES_EDGE_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/now.h"
#include "base/str.h"
#include "io/loop.h"
#include "io/socket.h"
#include "io/stream.h"
#include "roles/edge.h"

/*
 * A connection from the network: a stream with or without TLS, and the protocol spoken on it. This
 * file moves bytes between the two and keeps time; what the bytes mean is the protocol's.
 */

/* A protocol's engine behind the verbs that all engines have. */
struct edge_protocol {
    const char *name;
    struct str busy; /* said in clear to who gets no service: too many connections */

    /* False: no memory. */
    bool (*open)(struct edge_conn *conn, struct now now);
    void (*free)(struct edge_conn *conn);
    size_t (*input)(struct edge_conn *conn, struct str bytes, struct now now);
    struct str (*output)(struct edge_conn *conn);
    void (*output_done)(struct edge_conn *conn, size_t n);

    /* Pulls one event and acts on it; false where there is none. */
    bool (*act)(struct edge_conn *conn, struct now now);
    /* A command waits for another role: replies to those before it may wait with it. Or NULL. */
    bool (*asking)(const struct edge_conn *conn);
    /* What the peer says now may be a password, and is overwritten once it is taken. Or NULL. */
    bool (*hears_secrets)(const struct edge_conn *conn);
    int64_t (*deadline)(struct edge_conn *conn);
    void (*tick)(struct edge_conn *conn, struct now now);
    void (*tls_started)(struct edge_conn *conn, struct now now);
    void (*peer_gone)(struct edge_conn *conn, struct now now);
    void (*shutdown)(struct edge_conn *conn, struct now now);
    /* The session that the edge itself serves may be one of these. Or NULL. */
    void (*logins_ended)(struct edge_conn *conn, const struct ipc_logins_ended_in *ended,
                         struct now now);
};

extern const struct edge_protocol edge_protocol_smtp;
extern const struct edge_protocol edge_protocol_imap;
extern const struct edge_protocol edge_protocol_pop3;
extern const struct edge_protocol edge_protocol_metrics;

enum edge_conn_state {
    EDGE_CONN_PROXY,     /* its PROXY header comes first */
    EDGE_CONN_STARTTLS,  /* the clear-text output is written, then the handshake begins */
    EDGE_CONN_HANDSHAKE, /* the engine gets no bytes */
    EDGE_CONN_OPEN,
    EDGE_CONN_PUMP,    /* a mailroom speaks the protocol now; see edge_pump.h */
    EDGE_CONN_CLOSING, /* output is written, then it closes */
    EDGE_CONN_LINGER,  /* all said; what the peer still sends is thrown away, not reset */
    EDGE_CONN_CLOSED   /* freed at the end of the turn */
};

struct edge_conn {
    struct edge *edge;
    struct edge_settings *settings;
    const struct edge_protocol *protocol;
    uint32_t number; /* of its listener in the settings */
    enum listen_kind kind;
    struct edge_conn *next, **link;
    enum edge_conn_state state;
    struct stream stream;
    struct timer timer;
    struct hook end;
    struct edge_address address;
    bool counted; /* by its address */
    bool stuffed; /* the engine has not taken all that was read */
    bool running; /* inside edge_conn_run */
    bool run_again;
    size_t proxy_size;   /* octets of the PROXY header, as far as is known */
    unsigned holds;      /* reasons not to give the engine input */
    int64_t deadline_ms; /* of the states without an engine */
    char id[EDGE_ID_SIZE];
    char peer[46];   /* the client's address as text, or "user 1000" */
    bool is_local;   /* over a Unix socket */
    uint32_t uid;    /* then */
    struct buf rdns; /* the client's name, if one was found */
    struct channel *rdns_channel;
    uint32_t rdns_call;
    uint64_t written; /* octets of the engine's output handed to the socket */
    uint64_t acked;   /* of these, known to have reached the peer when the input was read */
    void *session;    /* the protocol's */
    struct edge_pump *pump;
};

/* Takes fd over, and its place (edge_counts_connect). Nothing is left to be done by the caller,
 * whether it is served or turned away. */
void edge_conn_accept(struct edge *edge, uint32_t listener, int fd,
                      const struct socket_address *peer);

/* Moves bytes and events until nothing moves. To be called after each answer to the engine. */
void edge_conn_run(struct edge_conn *conn);

/*
 * Writes what the engine has to say now, without waiting for replies that could go with it. What
 * was sent before the peer had it is read by the edge_conn_run that follows, before the peer's
 * acknowledgement can come (promise 3).
 */
void edge_conn_flush(struct edge_conn *conn);

/* While held, the engine is given no input. */
void edge_conn_hold(struct edge_conn *conn);
void edge_conn_unhold(struct edge_conn *conn);

/* Throws away what was read, does the server's side of a handshake, then calls tls_started. */
void edge_conn_start_tls(struct edge_conn *conn);

/* Writes what is left, then closes. reason: for the log. */
void edge_conn_close(struct edge_conn *conn, const char *reason);

/* Ends it at once. */
void edge_conn_abort(struct edge_conn *conn, const char *reason);

/* The server stops: the engine says goodbye. */
void edge_conn_shutdown(struct edge_conn *conn);

/* Closed, counted off, freed. Only for the end of the process and edge_conn.c itself. */
void edge_conn_free(struct edge_conn *conn);

static inline const struct edge_service *edge_conn_service(const struct edge_conn *conn)
{
    return &conn->settings->services[conn->number];
}

static inline struct now edge_conn_now(const struct edge_conn *conn)
{
    return role_now(conn->edge->role);
}

bool edge_conn_has_tls(const struct edge_conn *conn);

/* "TLSv1.3 TLS_AES_256_GCM_SHA384" in out, or nothing. */
void edge_conn_tls_words(const struct edge_conn *conn, struct buf *out);

/* Starts a log line about this connection: id, protocol and peer are in it. */
void edge_conn_log(const struct edge_conn *conn, struct log_line *line, enum log_level level,
                   const char *event, const char *id);

#endif
