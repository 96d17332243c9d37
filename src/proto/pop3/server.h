#ifndef POSTERN_PROTO_POP3_SERVER_H
#define POSTERN_PROTO_POP3_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/now.h"
#include "base/status.h"
#include "base/str.h"
#include "base/text.h"

/*
 * The server side of POP3 (RFC 1939, 2449, 2595, 3206, 5034, 6856), without I/O.
 *
 * A connection is served by two engines, one after the other. The first (pop3_server_new_login,
 * in the edge) speaks the AUTHORIZATION state up to the "+OK" of a login, then yields
 * POP3_HANDOVER and takes no more bytes. The second (pop3_server_new_maildrop, in the mailroom)
 * goes on from there with the bytes the first did not take: TRANSACTION and UPDATE states.
 *
 * The owner moves bytes and answers questions. A POP3_CLOSE makes an open question void: its answer
 * is ignored.
 *
 *   pop3_input    takes bytes from the peer and returns how many; fewer than offered means that a
 *                 question is open or the output is full: offer the rest again afterwards.
 *   pop3_output   is what to send next; valid until the next call of any function here.
 *   pop3_next     yields the next event. An event with a token is a question; it is answered once,
 *                 now or later, and until then no other question comes. The strs of an event live
 *                 until it is answered, or, without a token, until the next call of pop3_input.
 *   pop3_tick     is due at pop3_deadline.
 *
 * After any of these calls ask pop3_output and pop3_next again. The engine makes every reply line;
 * the owner never writes to the peer by itself.
 */

struct pop3_server;

/*
 * How often each command gave each reply. The columns of a row are the replies that the command's
 * row in the table can give, in its order; see pop3_reply_count.
 */
enum { POP3_COMMANDS_MAX = 24, POP3_COMMAND_REPLIES_MAX = 12 };
struct pop3_counts {
    uint64_t replies[POP3_COMMANDS_MAX][POP3_COMMAND_REPLIES_MAX];
};

/* The same for all connections of a listener; outlives its engines. */
struct pop3_config {
    struct str hostname;   /* shown in the greeting */
    struct str mechanisms; /* SASL mechanisms offered without TLS, a space between; may be empty */
    struct str mechanisms_tls;  /* and under TLS */
    bool password_clear;        /* USER and PASS without TLS too */
    bool starttls;              /* STLS is offered */
    int64_t login_ms;           /* time to log in; LIMIT_LOGIN_MS */
    int64_t idle_ms;            /* silence in the TRANSACTION state; LIMIT_POP3_IDLE_MS */
    struct pop3_counts *counts; /* NULL: not counted */
};

/*
 * A message of a maildrop, in its order. octets is its size as it is kept, and reads stay within
 * it. (RETR ends a message that has no final CRLF with one of its own.) The unique id (UIDL) is
 * made of the maildrop's uid_validity and the uid.
 */
struct pop3_message {
    uint64_t octets;
    uint32_t uid;
    bool deleted; /* written by the engine */
};

struct pop3_maildrop {
    uint32_t uid_validity;
    uint32_t count;
    struct pop3_message *messages; /* malloc'ed; the engine frees it */
};

enum pop3_event_type {
    /*
     * Login stage.
     */
    POP3_LOGIN,      /* question: may this user (user, password) in? -> pop3_answer_login */
    POP3_SASL_START, /* question: mechanism, and data where has_data -> ..._login, ..._challenge */
    POP3_SASL_DATA,  /* question: the client's data -> pop3_answer_login, ..._challenge */
    POP3_SASL_ABORTED, /* the client gave up, or sent no base64: forget it; the engine replied */
    POP3_STARTTLS,     /* send all output, drop all unread bytes, start TLS -> pop3_tls_started */
    POP3_HANDOVER,     /* logged in; send all output, then hand over the bytes not taken */
    /*
     * Maildrop stage.
     */
    POP3_READ,   /* question: octets [from, from + size) of message -> pop3_answer_read */
    POP3_UPDATE, /* question: remove the messages that are marked deleted -> pop3_answer_update */
    /*
     * Both.
     */
    POP3_CLOSE, /* the last event: send all output, then close; nothing (more) may be removed */
};

/* Why a connection ends, for the log. */
enum pop3_close {
    POP3_CLOSE_QUIT,
    POP3_CLOSE_ERRORS,   /* too many commands that came to nothing */
    POP3_CLOSE_LOGINS,   /* too many wrong passwords */
    POP3_CLOSE_IDLE,     /* silent for too long, or not logged in in time */
    POP3_CLOSE_SHUTDOWN, /* pop3_shutdown */
    POP3_CLOSE_GONE,     /* pop3_peer_gone */
    POP3_CLOSE_FAILED,   /* a message could not be read to its end, or memory is spent */
    POP3_CLOSE_COUNT
};

struct pop3_event {
    enum pop3_event_type type;
    uint64_t token;

    struct text user;     /* POP3_LOGIN */
    struct str password;  /* POP3_LOGIN; wiped when answered */
    struct str mechanism; /* POP3_SASL_START: one of those offered, in capitals */
    bool has_data;        /* POP3_SASL_START: there is an initial response */
    struct str data;      /* POP3_SASL_START, _DATA: decoded from base64; wiped when answered */

    uint32_t message; /* POP3_READ: index into the maildrop's messages */
    uint64_t from;
    size_t size;

    const struct pop3_message *messages; /* POP3_READ, POP3_UPDATE: until it is answered */
    uint32_t count;
    uint32_t deleted;

    enum pop3_close reason; /* POP3_CLOSE */
};

/* NULL where there is no memory. The greeting is the first output. */
struct pop3_server *pop3_server_new_login(const struct pop3_config *config, bool tls,
                                          struct now now);

/*
 * The maildrop is locked and read; the engine owns its messages from here on, also where it
 * returns NULL for want of memory. Nothing is said until the client speaks.
 */
struct pop3_server *pop3_server_new_maildrop(const struct pop3_config *config, bool tls,
                                             struct pop3_maildrop maildrop, struct now now);

/* Wipes what was secret; NULL is fine. */
void pop3_server_free(struct pop3_server *e);

size_t pop3_input(struct pop3_server *e, struct str bytes, struct now now);
struct str pop3_output(const struct pop3_server *e);
void pop3_output_done(struct pop3_server *e, size_t n);
bool pop3_next(struct pop3_server *e, struct pop3_event *ret_event);
int64_t pop3_deadline(const struct pop3_server *e);
void pop3_tick(struct pop3_server *e, struct now now);

enum pop3_login {
    POP3_LOGIN_OK,        /* also the maildrop is open and locked */
    POP3_LOGIN_DENIED,    /* -ERR [AUTH] */
    POP3_LOGIN_MALFORMED, /* not as the mechanism wants it: -ERR */
    POP3_LOGIN_IN_USE,    /* another session has the maildrop: -ERR [IN-USE] */
    POP3_LOGIN_TEMPORARY, /* -ERR [SYS/TEMP] */
};

/* Answers POP3_LOGIN, POP3_SASL_START and POP3_SASL_DATA for good. */
void pop3_answer_login(struct pop3_server *e, uint64_t token, enum pop3_login result,
                       struct now now);

/* Answers POP3_SASL_START and POP3_SASL_DATA with a challenge (may be empty; base64 is added). */
void pop3_answer_challenge(struct pop3_server *e, uint64_t token, struct str data, struct now now);

/* TLS is up: all that was said before it is forgotten (RFC 2595 §4). No second greeting. */
void pop3_tls_started(struct pop3_server *e, struct now now);

/*
 * Answers POP3_READ. With STATUS_OK bytes are 1 to size octets from `from` on (copied). With
 * another status the client gets -ERR where nothing of the message was sent, else a connection
 * that ends in the middle of it.
 */
void pop3_answer_read(struct pop3_server *e, uint64_t token, enum status_code status,
                      struct str bytes, struct now now);

/* Answers POP3_UPDATE: STATUS_OK where all of them are removed, durably. */
void pop3_answer_update(struct pop3_server *e, uint64_t token, enum status_code status,
                        struct now now);

/* The peer closed, or the connection broke: POP3_CLOSE comes next, and nothing is removed. */
void pop3_peer_gone(struct pop3_server *e);

/* Ends the session as soon as no question is open; what was marked deleted stays. */
void pop3_shutdown(struct pop3_server *e, struct now now);

const char *pop3_close_name(enum pop3_close reason);

/*
 * Walks the counts: for row and column from 0 on, the command's name and the reply's. False when
 * the column is past the end of the row; a row past the end of the table has no column 0.
 */
bool pop3_reply_count(size_t row, size_t column, struct str *ret_command, const char **ret_reply);

#endif
