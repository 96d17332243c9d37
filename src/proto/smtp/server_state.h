#ifndef POSTERN_PROTO_SMTP_SERVER_STATE_H
#define POSTERN_PROTO_SMTP_SERVER_STATE_H

/*
 * What the files of the server engine share, and nobody else sees. server.c moves bytes, events
 * and deadlines; server_command.c has the table; each server_NAME.c has the commands of its name.
 */

#include "base/buf.h"
#include "proto/smtp/scan.h"
#include "proto/smtp/server.h"

enum server_state {
    STATE_COMMAND,   /* a command line is next */
    STATE_AUTH,      /* a line of an AUTH exchange is next */
    STATE_TEXT,      /* octets behind DATA are next */
    STATE_CHUNK,     /* octets behind BDAT are next */
    STATE_HANDSHAKE, /* the owner does the TLS handshake */
    STATE_CLOSED,
    STATE_COUNT
};

/* What EHLO, RSET, the end of a message and so on forget. */
struct server_transaction {
    bool open;    /* MAIL was accepted */
    bool known;   /* the owner has not been told of its end: it is owed BODY_END or ABORT */
    bool chunked; /* a BDAT was accepted: no more RCPT, no DATA */
    enum smtp_body_type body_type;
    bool utf8;
    uint32_t recipients; /* accepted */
};

struct server_body {
    struct smtp_scan scan;
    uint64_t size;                  /* octets given to the owner */
    const struct smtp_reply *fault; /* why the message will be refused at its end; static */

    uint64_t chunk_left;
    bool chunk_last;
    bool chunk_answered; /* the reply to this BDAT was given before its octets came */

    int64_t clock_ms; /* when the text or chunk began, and what came since */
    uint64_t clock_octets;
};

struct smtp_server {
    const struct smtp_listener *listener;
    const struct smtp_command *command; /* the one being answered */
    enum server_state state;
    bool tls;
    bool trusted; /* see smtp_server_trust */
    bool greeted; /* the peer was sent some output */
    bool hello;   /* EHLO, HELO or LHLO was accepted */
    bool extended;
    bool authenticated;
    const struct smtp_reply *last_words; /* shutting down with them; NULL: it is not */
    struct buf helo;

    /* A command line that did not come in one piece; kept while an event borrows from it. */
    struct buf line;
    bool line_overlong; /* its octets are thrown away up to the CRLF */
    char line_last;     /* the octet before the next, or NUL at its start */
    struct buf decoded; /* base64 or xtext, decoded, for the event that borrows from it */

    /* out_total counts what was written ever; what was written from held_from on waits. */
    struct buf out;
    uint64_t out_total;
    size_t held_from;
    int64_t held_until_ms; /* NEVER_MS: nothing is held */
    uint64_t confirm_at;   /* out_total behind the last 250 that is not yet known as seen; or 0 */

    /* Events not yet pulled, and the question not yet answered (token 0: none). */
    bool event_reply_seen, event_abort, event_ready, event_close;
    const struct smtp_reply *event_refused; /* why event_abort, where the body was refused */
    enum smtp_close_reason close_reason;
    struct smtp_event event;
    struct mailbox_path path; /* what event points to */
    uint64_t token_last;
    uint64_t question_token;
    enum smtp_event_kind question;

    uint32_t errors, auth_failures, transactions, refused_recipients;
    int64_t active_ms;

    struct server_transaction transaction;
    struct server_body body;
};

/* ---- The table --------------------------------------------------------------------------- */

enum {
    /* Where the command exists; elsewhere it is unknown. */
    ON_SMTP = 1 << 0,
    ON_LMTP = 1 << 1,
    ON_ALL = ON_SMTP | ON_LMTP,

    NEEDS_HELLO = 1 << 2,    /* 503 before EHLO */
    NEEDS_LOGIN = 1 << 3,    /* 530 before AUTH on the submission kinds */
    NEEDS_ARGUMENT = 1 << 4, /* 501 without */
    NO_ARGUMENT = 1 << 5,    /* 501 with */
};

struct smtp_command {
    struct str name;
    void (*run)(struct smtp_server *s, struct str argument, struct now now);
    unsigned flags;
    uint16_t codes[SMTP_COMMAND_CODES_MAX]; /* all it can give, its body's end included */
};

/* Rows that are no commands: the connection itself, and what is no command of ours. */
enum { ROW_CONNECTION, ROW_UNKNOWN, ROW_FIRST_COMMAND };

extern const struct smtp_command smtp_commands[];
extern const size_t smtp_commands_count;

/* Runs one line, its CRLF taken off. */
void server_run_command(struct smtp_server *s, struct str line, struct now now);

/* ---- server.c ---------------------------------------------------------------------------- */

/* The only writer of s->state; asserts that there is such an edge. */
void server_set_state(struct smtp_server *s, enum server_state state);

/* The one place that writes and counts replies. */
void server_reply(struct smtp_server *s, const struct smtp_reply *reply);

/* The owner's reply, or the usual one where it has none of its own. */
void server_reply_or(struct smtp_server *s, const struct smtp_reply *reply,
                     const struct smtp_reply *usual);

/* Raises s->event, which the caller has filled but for kind and token. */
void server_tell(struct smtp_server *s, enum smtp_event_kind kind);
void server_ask(struct smtp_server *s, enum smtp_event_kind kind);

/* Forgets the transaction, and tells the owner if it knows of it. */
void server_abort(struct smtp_server *s);

/* Says `reply` on behalf of the connection (may be NULL), and closes. */
void server_close(struct smtp_server *s, enum smtp_close_reason reason,
                  const struct smtp_reply *reply);

/* True on the two submission kinds. */
bool server_wants_login(const struct smtp_server *s);

/* ---- server_params.c ---------------------------------------------------------------------- */

/* Whether EHLO tells of it, and its parameters are known. */
bool server_offers_dsn(const struct smtp_server *s);
bool server_offers_requiretls(const struct smtp_server *s);
bool server_offers_hold(const struct smtp_server *s);
bool server_offers_deliver_by(const struct smtp_server *s);
bool server_offers_priority(const struct smtp_server *s);

/* Read the parameters into s->event; what is wrong with them, or NULL. */
const struct smtp_reply *server_take_mail_params(struct smtp_server *s, struct str rest,
                                                 struct now now);
const struct smtp_reply *server_take_rcpt_params(struct smtp_server *s, struct str rest,
                                                 struct now now);

/* ---- Commands ---------------------------------------------------------------------------- */

void server_ehlo(struct smtp_server *s, struct str argument, struct now now);
void server_helo(struct smtp_server *s, struct str argument, struct now now);
void server_mail(struct smtp_server *s, struct str argument, struct now now);
void server_rcpt(struct smtp_server *s, struct str argument, struct now now);
void server_data(struct smtp_server *s, struct str argument, struct now now);
void server_bdat(struct smtp_server *s, struct str argument, struct now now);
void server_rset(struct smtp_server *s, struct str argument, struct now now);
void server_noop(struct smtp_server *s, struct str argument, struct now now);
void server_quit(struct smtp_server *s, struct str argument, struct now now);
void server_vrfy(struct smtp_server *s, struct str argument, struct now now);
void server_expn(struct smtp_server *s, struct str argument, struct now now);
void server_help(struct smtp_server *s, struct str argument, struct now now);
void server_starttls(struct smtp_server *s, struct str argument, struct now now);
void server_auth(struct smtp_server *s, struct str argument, struct now now);

/* A line in STATE_AUTH; octets in STATE_TEXT and STATE_CHUNK (at least one; returns how many). */
void server_auth_line(struct smtp_server *s, struct str line, bool overlong);
size_t server_take_text(struct smtp_server *s, struct str in);
size_t server_take_chunk(struct smtp_server *s, struct str in);

/* All octets of the chunk were taken, and the owner has pulled them. */
void server_end_chunk(struct smtp_server *s);

/* When the body now coming has become too slow unless more of it comes. */
int64_t server_body_deadline(const struct smtp_server *s);

/* The owner's answers. */
void server_auth_challenge(struct smtp_server *s, struct str data);
void server_auth_success(struct smtp_server *s);
void server_auth_failure(struct smtp_server *s, enum smtp_auth_failure failure);
void server_answer_sender(struct smtp_server *s, const struct smtp_reply *reply);
void server_answer_recipient(struct smtp_server *s, const struct smtp_reply *reply, struct now now);
void server_answer_body_start(struct smtp_server *s, const struct smtp_reply *reply,
                              struct now now);
void server_answer_body_end(struct smtp_server *s, const struct smtp_reply *replies, size_t count);

#endif
