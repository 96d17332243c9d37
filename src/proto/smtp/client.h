#ifndef POSTERN_PROTO_SMTP_CLIENT_H
#define POSTERN_PROTO_SMTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/now.h"
#include "base/str.h"
#include "base/text.h"
#include "proto/smtp/envelope.h"

/*
 * The client's side of SMTP (RFC 5321) and LMTP (RFC 2033) as an engine without I/O: bytes and the
 * time in; bytes, and events for the owner, out. It brings one connection to the point where mail
 * may be sent (greeting, EHLO, STARTTLS, AUTH: then READY), then carries one message after the
 * other. Where to connect, whether a certificate is good, and what becomes of a recipient after a
 * refusal, the owner decides.
 *
 * The owner's loop:
 *
 *     do {
 *         n = smtp_client_input(c, unread, now);              take n bytes off unread
 *         while (smtp_client_next(c, &event)) act;
 *         while a body is wanted: smtp_client_body(c, piece, last, now)
 *         write smtp_client_output(c) to the peer, smtp_client_output_done(c, written, now)
 *     } while (n > 0);
 *     arm a timer for smtp_client_deadline(c); when it fires smtp_client_tick(c, now), and again
 *
 * Input stops at each event: the rest is offered again when the events are pulled and questions
 * answered. Output is bounded: recipients and body go into it as it is taken. Any call may bring
 * events, output and a new deadline. What was read is offered before smtp_client_peer_gone is
 * called: it may be the reply that tells what became of a message.
 *
 * Strings in an event are borrowed from the engine. They live until the owner calls a function of
 * this engine other than smtp_client_next, _output, _abilities or _deadline, and until the
 * next RECIPIENT event at the longest: what is needed longer is copied at once.
 *
 * For each smtp_client_send: exactly one RECIPIENT event for each recipient, whatever happens, then
 * one MESSAGE_DONE. The last event of all is CLOSED.
 */
struct smtp_client;

enum smtp_client_tls {
    SMTP_CLIENT_TLS_NO,       /* never */
    SMTP_CLIENT_TLS_OFFERED,  /* STARTTLS where it is offered; in clear where not, or refused */
    SMTP_CLIENT_TLS_REQUIRED, /* STARTTLS or nothing */
    SMTP_CLIENT_TLS_ALREADY   /* the connection was born under TLS */
};

/*
 * Milliseconds of silence at each stage before the connection is given up. (A message as a whole is
 * bounded too: LIMIT_SMTP_SEND_MS.)
 */
struct smtp_client_timeouts {
    uint32_t greeting_ms;
    uint32_t hello_ms;    /* EHLO, HELO, LHLO */
    uint32_t starttls_ms; /* the reply, and the handshake */
    uint32_t auth_ms;     /* each step of the peer's */
    uint32_t mail_ms;
    uint32_t rcpt_ms;
    uint32_t data_ms;  /* DATA until 354 */
    uint32_t block_ms; /* the peer takes none of the body, or does not answer a chunk */
    uint32_t end_ms;   /* from the end of the message to its reply */
    uint32_t rset_ms;
    uint32_t quit_ms;
};

/* RFC 5321 §4.5.3.2. */
extern const struct smtp_client_timeouts smtp_client_timeouts_default;

/* Borrowed; outlives the engine. */
struct smtp_client_settings {
    struct str hostname; /* a domain or address literal: said in EHLO */
    bool lmtp;
    enum smtp_client_tls tls;
    bool auth;        /* log in before READY, or fail */
    bool no_chunking; /* CHUNKING is not believed: see SMTP_CLIENT_CLOSE_NO_BDAT */
    struct smtp_client_timeouts timeouts;
};

/* What the peer's last EHLO offered; all false where it knows only HELO. */
struct smtp_abilities {
    bool extended; /* it answered EHLO or LHLO */
    bool pipelining, chunking, dsn, smtputf8, eight_bit_mime, binary_mime, requiretls, starttls;
    bool mt_priority;
    bool deliver_by;
    bool size;
    uint64_t size_max; /* 0: none said */

    /*
     * RFC 9422; 0: none said. Messages of a connection; recipients of a message; different domains
     * of all recipients of a connection. Recipients that do not fit are SMTP_CLIENT_AGAIN.
     */
    uint32_t mail_max, rcpt_max, rcpt_domain_max;
    struct text auth; /* mechanisms, upper case, a space between; lives until the next EHLO */
};

/*
 * What the peer said, or (code 0) what this engine says of it. The enhanced status is always there:
 * where the peer gave none, or one of another class than its code, it is code/100 ".0.0".
 */
struct smtp_client_reply {
    uint16_t code;
    uint8_t class;
    uint16_t subject;
    uint16_t detail;
    struct text words; /* without codes; "\n" between lines; at most LIMIT_SMTP_REPLY_SIZE octets */
};

/* Where in the dialogue something happened. */
enum smtp_client_stage {
    SMTP_CLIENT_GREETING,
    SMTP_CLIENT_HELLO,
    SMTP_CLIENT_STARTTLS,
    SMTP_CLIENT_HANDSHAKE,
    SMTP_CLIENT_AUTH,
    SMTP_CLIENT_IDLE, /* READY, no message on its way */
    SMTP_CLIENT_RSET,
    SMTP_CLIENT_MAIL, /* also what the engine itself refuses, before anything is sent */
    SMTP_CLIENT_RCPT,
    SMTP_CLIENT_DATA,
    SMTP_CLIENT_BODY,
    SMTP_CLIENT_END, /* behind the final dot, or BDAT LAST */
    SMTP_CLIENT_QUIT,
    SMTP_CLIENT_STAGE_COUNT
};

enum smtp_client_verdict {
    SMTP_CLIENT_TAKEN,   /* the peer has it */
    SMTP_CLIENT_LATER,   /* a 4xx, or the connection broke: certainly not taken */
    SMTP_CLIENT_REFUSED, /* a 5xx, or it is no address */
    SMTP_CLIENT_LACKING, /* nothing was said: the peer lacks what it needs, another may not */
    SMTP_CLIENT_AGAIN,   /* at once, in another transaction, for this was no attempt: too many
                            recipients for one, or SMTP_CLIENT_CLOSE_NO_BDAT */
    SMTP_CLIENT_UNKNOWN  /* all was sent and no reply came: perhaps taken; to be tried later */
};

enum smtp_client_close_reason {
    SMTP_CLIENT_CLOSE_QUIT,     /* as asked */
    SMTP_CLIENT_CLOSE_REFUSED,  /* by `reply`, at `stage` */
    SMTP_CLIENT_CLOSE_SHUTDOWN, /* 421 */
    SMTP_CLIENT_CLOSE_TIMEOUT,
    SMTP_CLIENT_CLOSE_PEER_GONE,
    SMTP_CLIENT_CLOSE_GARBAGE,    /* what came was no reply, or none that was due */
    SMTP_CLIENT_CLOSE_NO_TLS,     /* required, not offered */
    SMTP_CLIENT_CLOSE_INJECTION,  /* octets in clear behind the answer to STARTTLS */
    SMTP_CLIENT_CLOSE_NO_AUTH,    /* not offered, or no mechanism the owner would use */
    SMTP_CLIENT_CLOSE_UNVERIFIED, /* the peer says the login is done, and has not shown who it is */
    /* CHUNKING was offered and BDAT is unknown (500, 502): what came behind it was heard as
       commands */
    SMTP_CLIENT_CLOSE_NO_BDAT,
    SMTP_CLIENT_CLOSE_BAD_BODY, /* the owner's body cannot be sent, see smtp_client_body */
    SMTP_CLIENT_CLOSE_NO_MEMORY
};

/* A question event (marked ?) has a token; until it is answered no input is taken. */
enum smtp_client_event_kind {
    /*
     * The peer agreed to STARTTLS. All output is written by then. Do the handshake, then call
     * smtp_client_tls_started, or smtp_client_peer_gone. What was read and not yet taken is offered
     * to smtp_client_input before (it is an attack, and CLOSED follows), never given to TLS.
     */
    SMTP_CLIENT_EVENT_START_TLS,

    /*
     * ? Log in: one of `mechanisms`. Answer: smtp_client_answer_auth or _cancel_auth.
     * ? A challenge. Answer: smtp_client_answer_challenge or _cancel_auth.
     */
    SMTP_CLIENT_EVENT_AUTH,
    SMTP_CLIENT_EVENT_CHALLENGE,

    /* The login is done, or failed (CLOSED follows): the SASL exchange can be forgotten. */
    SMTP_CLIENT_EVENT_AUTH_END,

    /* smtp_client_send may be called. Comes once. */
    SMTP_CLIENT_EVENT_READY,

    /*
     * Give the message to smtp_client_body, from its first octet on. Comes once a message, or never
     * where nobody is left to have it.
     */
    SMTP_CLIENT_EVENT_BODY_WANTED,

    SMTP_CLIENT_EVENT_RECIPIENT,

    /* The message is over; `more`: the next one may be sent on this connection. */
    SMTP_CLIENT_EVENT_MESSAGE_DONE,

    /* The dialogue is over: write the output, if the peer is still there, and close. */
    SMTP_CLIENT_EVENT_CLOSED
};

struct smtp_client_result {
    uint32_t index; /* in the message's recipients */
    enum smtp_client_verdict verdict;
    enum smtp_client_stage stage;
    struct smtp_client_reply reply;
};

struct smtp_client_closed {
    enum smtp_client_close_reason reason;
    enum smtp_client_stage stage;
    struct smtp_client_reply reply;
};

struct smtp_client_event {
    enum smtp_client_event_kind kind;
    uint64_t token;
    union {
        struct text mechanisms; /* AUTH: upper case, a space between */
        struct str challenge;   /* CHALLENGE: decoded from base64 */
        struct smtp_client_result recipient;
        bool more; /* MESSAGE_DONE */
        struct smtp_client_closed closed;
    };
};

struct smtp_client_recipient {
    struct str path;  /* "local@domain", no angle brackets */
    unsigned notify;  /* of enum smtp_notify; 0: nothing said */
    struct str orcpt; /* "rfc822;bob@example.org", xtext undone; empty: none */
};

/*
 * A message as it shall be sent. What the peer does not offer and the message can go without (SIZE,
 * DSN, DELIVERBY with mode N, MT-PRIORITY) is not said. What it cannot go without refuses the
 * message here, before anything is sent, with SMTP_CLIENT_LACKING: larger than size_max 5.3.4;
 * 8-bit or binary without the extension 5.6.3; SMTPUTF8 missing 5.6.7; REQUIRETLS missing, or not
 * under TLS, 5.7.30; mode R without DELIVERBY 5.3.3. A path that is no Mailbox refuses the
 * recipient or the message with SMTP_CLIENT_REFUSED, 5.1.3 or 5.1.7.
 */
struct smtp_client_message {
    struct str reverse_path; /* "local@domain"; empty: the null path */
    uint64_t size;           /* octets that will be given to smtp_client_body, nearly */
    enum smtp_body_type body;
    bool utf8; /* needs SMTPUTF8: headers or addresses */
    bool requiretls;
    struct str envid; /* xtext undone; empty: none */
    enum smtp_ret ret;
    enum smtp_by_mode by_mode;
    bool by_trace;
    int64_t by_s;
    int priority; /* -9 to 9; 0: nothing said */
    const struct smtp_client_recipient *recipients;
    uint32_t recipient_count; /* at least one */
};

/* A connection just made. NULL where there is no memory. */
struct smtp_client *smtp_client_new(const struct smtp_client_settings *settings, struct now now);
void smtp_client_free(struct smtp_client *c);

size_t smtp_client_input(struct smtp_client *c, struct str bytes, struct now now);

struct str smtp_client_output(const struct smtp_client *c);
void smtp_client_output_done(struct smtp_client *c, size_t n, struct now now);

bool smtp_client_next(struct smtp_client *c, struct smtp_client_event *ret_event);

int64_t smtp_client_deadline(const struct smtp_client *c);
void smtp_client_tick(struct smtp_client *c, struct now now);

/* From READY on what counts for messages. Lives with the engine. */
const struct smtp_abilities *smtp_client_abilities(const struct smtp_client *c);

/*
 * Begins a message: after READY, or MESSAGE_DONE with `more`. The message and what it points to
 * are borrowed until its MESSAGE_DONE. After CLOSED became certain (but was not pulled) it is
 * still allowed: all recipients get SMTP_CLIENT_LATER.
 */
void smtp_client_send(struct smtp_client *c, const struct smtp_client_message *message,
                      struct now now);

/*
 * Gives a piece of the body; `last`: it ends behind this piece. Returns how much was taken: where
 * that is not all of it, the rest is given again when output was taken. Once nobody is left to have
 * the body everything is taken and thrown away, so an owner needs no case for it; smtp_client_
 * body_wanted says so for owners who would fetch more. An empty last piece is fine.
 *
 * The body is text of lines that end in CRLF (one is added where the last has none). A bare CR or
 * LF, or NUL, without SMTP_BODY_BINARYMIME never leaves this engine: the message is given up with
 * 5.6.0 (behind DATA by closing the connection, since there is no other way out).
 */
size_t smtp_client_body(struct smtp_client *c, struct str piece, bool last, struct now now);
bool smtp_client_body_wanted(const struct smtp_client *c);

/*
 * AUTH: mechanism as the peer named it; the initial response, if there is one. `done`: as far as we
 * are concerned the peer may now say that the login succeeded; false where it has yet to prove
 * that it knows the password too (SCRAM).
 */
void smtp_client_answer_auth(struct smtp_client *c, uint64_t token, struct str mechanism,
                             bool has_initial, struct str initial, bool done, struct now now);
void smtp_client_answer_challenge(struct smtp_client *c, uint64_t token, struct str response,
                                  bool done, struct now now);

/* No mechanism is good enough, or the challenge is no good: CLOSED follows. */
void smtp_client_cancel_auth(struct smtp_client *c, uint64_t token, struct now now);

/* The handshake asked for by START_TLS is done; EHLO is said again. */
void smtp_client_tls_started(struct smtp_client *c, struct now now);

/* When no message is on its way. CLOSED follows when the peer has said goodbye, or will not. */
void smtp_client_quit(struct smtp_client *c, struct now now);

/* The peer closed, or the connection broke (also: the handshake failed). */
void smtp_client_peer_gone(struct smtp_client *c, struct now now);

/* Names for logs, traces and metrics: "the end of the message", "refused". */
const char *smtp_client_stage_name(enum smtp_client_stage stage);
const char *smtp_client_verdict_name(enum smtp_client_verdict verdict);
const char *smtp_client_close_reason_name(enum smtp_client_close_reason reason);
const char *smtp_client_event_name(enum smtp_client_event_kind kind);

#endif
