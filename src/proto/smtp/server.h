#ifndef POSTERN_PROTO_SMTP_SERVER_H
#define POSTERN_PROTO_SMTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/now.h"
#include "base/status.h"
#include "base/str.h"
#include "base/text.h"
#include "mail/address.h"
#include "proto/smtp/envelope.h"
#include "proto/smtp/reply.h"

/*
 * The server's side of SMTP (RFC 5321) and LMTP (RFC 2033) as an engine without I/O: bytes and the
 * time in; bytes, and events for the owner, out. It knows the protocol; who may send what to whom,
 * and what becomes of a message, the owner answers.
 *
 * The owner's loop:
 *
 *     do {
 *         n = smtp_server_input(s, unread, acked, now);       take n bytes off unread
 *         while (smtp_server_next(s, &event)) { act; perhaps smtp_server_answer(s, event.token…) }
 *         write smtp_server_output(s) to the peer, smtp_server_output_done(s, written)
 *     } while (n > 0);
 *     arm a timer for smtp_server_deadline(s); when it fires smtp_server_tick(s, now), and again
 *
 * Input stops at each event, so n < unread.len means: the rest again after the events are pulled,
 * an answer is given, output is written, or the deadline has come. n == 0 with no event means that
 * one of the last three must happen first. Output is bounded: unless the owner takes output, the
 * engine stops taking input.
 *
 * Strings in an event are borrowed from the input or the engine. They live until the owner calls
 * smtp_server_input, _answer… or _free next, so what is needed longer is copied at once. In
 * particular the octets of a BODY event point into the bytes just passed to smtp_server_input.
 *
 * An idle engine costs a few hundred bytes; its buffers exist only while they hold something.
 */
struct smtp_server;

enum smtp_listener_kind {
    SMTP_LISTENER_MX,          /* port 25: no AUTH */
    SMTP_LISTENER_SUBMISSION,  /* port 587: STARTTLS, then AUTH, then MAIL */
    SMTP_LISTENER_SUBMISSIONS, /* port 465: TLS from the first byte, AUTH, then MAIL */
    SMTP_LISTENER_LMTP         /* LHLO; a reply for each recipient after the dot */
};

struct smtp_limits {
    uint64_t message_size;       /* 552 5.3.4 */
    uint32_t recipients;         /* of one transaction: 452 4.5.3; announced as RCPTMAX */
    uint32_t transactions;       /* of one connection: 421 4.7.0; announced as MAILMAX */
    uint32_t errors;             /* commands that came to nothing: 421 4.7.0 */
    uint32_t auth_failures;      /* 421 4.7.0 */
    uint32_t unknown_recipients; /* refused recipients of one connection before the tarpit */
    uint32_t tarpit_ms;          /* how long each refusal is held back then; 0: never */
    uint32_t greeting_delay_ms;  /* a peer that talks before the greeting is refused; may be 0 */
    uint32_t idle_ms;            /* 421 4.4.2 */
    uint32_t body_rate_min;      /* octets a second on average: 421 4.4.2; 0: any */
    uint32_t body_grace_ms;      /* of each body, before that is asked for */
    uint32_t text_line_size;     /* of a message, CRLF included: 500 5.6.0 */
};

/* What limits.h says. */
extern const struct smtp_limits smtp_limits_default;

/*
 * How often each command gave each reply code: one place writes and counts replies. The columns of
 * a row are the codes of that command's table row, in its order. See smtp_reply_count.
 */
enum { SMTP_COMMANDS_MAX = 20, SMTP_COMMAND_CODES_MAX = 16 };
struct smtp_counts {
    uint64_t replies[SMTP_COMMANDS_MAX][SMTP_COMMAND_CODES_MAX];
    uint64_t unlisted; /* codes that only the owner could have brought in */
};

/* What many connections share. Borrowed; it outlives the engines that were given it. */
struct smtp_listener {
    enum smtp_listener_kind kind;
    struct str hostname; /* in the greeting and the answer to EHLO */

    /* A certificate is there: mx, submission and lmtp offer STARTTLS. */
    bool starttls;

    /*
     * Space-separated names, upper case, for the two submission kinds: "PLAIN SCRAM-SHA-256". They
     * are offered under TLS only.
     */
    struct str auth_mechanisms;

    /*
     * Mail leaves this server, and so do reports: what asks for those, or for how it leaves, is
     * offered (DSN, REQUIRETLS, DELIVERBY; for submission and trusted peers MT-PRIORITY; for
     * submission FUTURERELEASE).
     */
    bool outbound;

    /* A bare LF inside a message becomes CRLF instead of a refusal. It never ends the message. */
    bool normalise_line_ends;

    struct smtp_limits limits;
    struct smtp_counts *counts; /* NULL: not counted */
};

enum smtp_auth_failure {
    SMTP_AUTH_BAD_CREDENTIALS, /* 535 5.7.8 */
    SMTP_AUTH_MALFORMED,       /* 501 5.5.2: the client's message is not of this mechanism */
    SMTP_AUTH_TOO_WEAK,        /* 534 5.7.9: this account may not use this mechanism */
    SMTP_AUTH_TEMPORARY        /* 454 4.7.0: the keeper is away or busy */
};

enum smtp_close_reason {
    SMTP_CLOSE_QUIT,
    SMTP_CLOSE_EARLY_TALK,
    SMTP_CLOSE_ERRORS, /* too many errors, failed logins or transactions */
    SMTP_CLOSE_TIMEOUT,
    SMTP_CLOSE_TOO_SLOW,
    SMTP_CLOSE_SHUTDOWN, /* smtp_server_shutdown, or an answer with a 421 */
    SMTP_CLOSE_NO_MEMORY,
    SMTP_CLOSE_PEER_GONE
};

/*
 * A question event (marked ?) has a token; until it is answered the engine takes no more input and
 * has no deadline. The others need no answer and have token 0.
 */
enum smtp_event_kind {
    /*
     * STARTTLS was accepted. Write all output in clear, throw away every byte read and not taken,
     * do the handshake, then call smtp_server_tls_started (or smtp_server_peer_gone). The engine
     * throws away what it is offered in between.
     */
    SMTP_EVENT_START_TLS,

    /* ? AUTH. Answer: smtp_server_answer_challenge, …_auth_success or …_auth_failure. */
    SMTP_EVENT_AUTH_BEGIN,
    SMTP_EVENT_AUTH_RESPONSE,

    /* The client cancelled the exchange with "*", or its response was no base64: forget it. */
    SMTP_EVENT_AUTH_CANCEL,

    /* ? MAIL and RCPT, syntax and order checked. Answer: smtp_server_answer. */
    SMTP_EVENT_SENDER,
    SMTP_EVENT_RECIPIENT,

    /*
     * ? DATA or the first BDAT. Accept to get the body; refuse with 451 or 452 4.3.1 to go without
     * (the transaction stays open; a refused chunk is thrown away by the engine).
     */
    SMTP_EVENT_BODY_START,

    /* Some octets of the message: dots removed, no end marker, as few and long pieces as can be. */
    SMTP_EVENT_BODY,

    /*
     * ? The message is complete. Answer: smtp_server_answer (a verdict for all), or on LMTP also
     * smtp_server_answer_each. The transaction is over then.
     */
    SMTP_EVENT_BODY_END,

    /*
     * The transaction is given up (RSET, EHLO, a body refused by the engine, a close): forget
     * sender, recipients, and the body if one was begun. Comes once for each SENDER that was
     * accepted and did not get to BODY_END. refused tells what the peer hears of the body.
     */
    SMTP_EVENT_ABORT,

    /*
     * Promise 3: the 250s to all messages accepted so far have reached the peer, since octets
     * arrived that were sent after them. Comes at most once for each message.
     */
    SMTP_EVENT_REPLY_SEEN,

    /* The dialogue is over: write the output, close. An open transaction was aborted before. */
    SMTP_EVENT_CLOSE
};

struct smtp_event_auth {
    struct str mechanism; /* as in auth_mechanisms; BEGIN only */
    bool initial;         /* BEGIN: the client sent an initial response; it may be empty */
    struct str data;      /* decoded from base64 */
};

struct smtp_event_sender {
    const struct mailbox_path *path; /* the null path too */
    uint64_t size;                   /* SIZE=, 0 where not given */
    enum smtp_body_type body;
    bool utf8;                 /* SMTPUTF8 */
    struct text auth;          /* AUTH=, decoded; empty where not given or "<>" (RFC 4954 §5) */
    enum smtp_ret ret;         /* RFC 3461 §4.3 */
    struct text envid;         /* ENVID=, decoded, printable ASCII; empty where not given */
    bool requiretls;           /* RFC 8689 */
    uint64_t hold_ms;          /* HOLDFOR=, HOLDUNTIL=: from now; 0: not held (RFC 4865) */
    enum smtp_by_mode by_mode; /* BY= (RFC 2852) */
    bool by_trace;
    int64_t by_ms; /* from now, in mode NOTIFY perhaps negative: it is late already */
    int priority;  /* MT-PRIORITY=, -9 to 9; 0 where not given (RFC 6710) */
};

struct smtp_event_recipient {
    /*
     * Source routes never arrive here: the engine says 550 5.7.1. Percent hacks, bang paths, quoted
     * local parts and address literals do arrive, parsed and told apart (mail/address.h); the owner
     * compares the normal form, so that none of them makes this server relay.
     */
    const struct mailbox_path *path;

    uint8_t notify;    /* bits of enum smtp_notify; 0 where not given */
    struct text orcpt; /* "rfc822;bob@example.org", decoded; empty where not given */
};

/* What the Received field is written from, besides what the owner knows itself. */
struct smtp_event_body_start {
    struct text helo;
    struct str with; /* "ESMTPSA" and so on: RFC 3848, RFC 6531 §4.3; static */
    uint32_t recipients;
    enum smtp_body_type body;
    bool utf8;
};

struct smtp_event {
    enum smtp_event_kind kind;
    uint64_t token;
    union {
        struct smtp_event_auth auth;
        struct smtp_event_sender sender;
        struct smtp_event_recipient recipient;
        struct smtp_event_body_start body_start;
        struct str body;
        uint64_t body_size; /* BODY_END: octets of all BODY events together */
        struct str refused; /* ABORT: static words; empty where the engine refused no body */
        enum smtp_close_reason close;
    };
};

/*
 * A connection just accepted; tls: it was born under TLS. The greeting is output at once or after
 * limits.greeting_delay_ms. NULL where there is no memory.
 */
struct smtp_server *smtp_server_new(const struct smtp_listener *listener, bool tls, struct now now);
void smtp_server_free(struct smtp_server *s);

/* At the start: the owner knows this peer, and believes it what only some may ask for. */
void smtp_server_trust(struct smtp_server *s);

/*
 * `acked`: how many octets of this engine's output (counted by smtp_server_output_done from the
 * start) were known to have reached the peer when these bytes were read. It need not be exact, only
 * never too high, and belongs to the bytes: what was read earlier and is offered again keeps its
 * number. (On a TCP socket with nothing left to send, SIOCOUTQ says 0: all that was written. Else:
 * the number before. Where that cannot be known, 0: REPLY_SEEN will not come.)
 *
 * Bytes offered before the greeting was taken out of smtp_server_output are early talk.
 */
size_t smtp_server_input(struct smtp_server *s, struct str bytes, uint64_t acked, struct now now);

struct str smtp_server_output(const struct smtp_server *s);
void smtp_server_output_done(struct smtp_server *s, size_t n);

bool smtp_server_next(struct smtp_server *s, struct smtp_event *ret_event);

int64_t smtp_server_deadline(const struct smtp_server *s);
void smtp_server_tick(struct smtp_server *s, struct now now);

/*
 * Answers SENDER, RECIPIENT, BODY_START, BODY_END. Code 0 accepts with the usual words, another 2xx
 * with the owner's (not for BODY_START); 4xx and 5xx refuse; 421 also ends the dialogue. An answer
 * whose token is not the open question's is a bug of the owner, except after CLOSE: ignored.
 */
void smtp_server_answer(struct smtp_server *s, uint64_t token, struct smtp_reply reply,
                        struct now now);

/* BODY_END on LMTP (RFC 2033 §4.2): a reply for each accepted recipient, in their order. */
void smtp_server_answer_each(struct smtp_server *s, uint64_t token,
                             const struct smtp_reply *replies, size_t count, struct now now);

/* AUTH_BEGIN and AUTH_RESPONSE. What a mechanism says on success goes as a last challenge. */
void smtp_server_answer_challenge(struct smtp_server *s, uint64_t token, struct str data,
                                  struct now now);
void smtp_server_answer_auth_success(struct smtp_server *s, uint64_t token, struct now now);
void smtp_server_answer_auth_failure(struct smtp_server *s, uint64_t token,
                                     enum smtp_auth_failure failure, struct now now);

/* The handshake asked for by START_TLS is done. */
void smtp_server_tls_started(struct smtp_server *s, struct now now);

/* The peer closed, or the connection broke. A half message is given up. */
void smtp_server_peer_gone(struct smtp_server *s);

/*
 * Ends the dialogue with these words, a 421 that outlives it (NULL: 421 4.3.2, the server goes
 * down), as soon as no question is open and no body is on its way; CLOSE follows.
 */
void smtp_server_shutdown(struct smtp_server *s, const struct smtp_reply *words, struct now now);

/* Names for logs and metrics: "RECIPIENT", "early talk". */
const char *smtp_event_name(enum smtp_event_kind kind);
const char *smtp_close_reason_name(enum smtp_close_reason reason);

/*
 * Walks the counts: for row and column from 0 on, the command's name and the reply code. False when
 * the column is past the end of the row; a row past the end of the table has no column 0.
 */
bool smtp_reply_count(size_t row, size_t column, struct str *ret_command, uint16_t *ret_code);

#endif
