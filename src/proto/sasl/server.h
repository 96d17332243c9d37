#ifndef POSTERN_PROTO_SASL_SERVER_H
#define POSTERN_PROTO_SASL_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "proto/sasl/scram.h"

/*
 * The server side of one SASL exchange (RFC 4422), without I/O: PLAIN (RFC 4616), LOGIN
 * (draft-murchison-sasl-login), SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, 7677) with channel
 * binding by tls-exporter (RFC 9266) or tls-server-end-point (RFC 5929).
 *
 * Messages are whole and decoded; base64 is the carrying protocol's. SMTP, IMAP and POP3 cannot
 * carry data with success, so SCRAM's last message goes as a challenge that the client answers
 * with an empty response.
 *
 * The owner starts the exchange with sasl_server_new, then, for each message of the client:
 * sasl_input, and sasl_next until it yields a challenge or the end. The first message is the
 * initial response; where the client sent none, sasl_input is not called, and the first event is
 * an (empty or LOGIN's) challenge.
 */

enum sasl_mechanism {
    SASL_PLAIN,
    SASL_LOGIN,
    SASL_SCRAM_SHA_256,
    SASL_SCRAM_SHA_256_PLUS,
    SASL_MECHANISM_COUNT
};

enum {
    SASL_MESSAGE_MAX = 4096, /* a longer message is malformed */
    SASL_NAME_MAX = 512,     /* octets of a name after preparation; a longer one is malformed */
    SASL_PASSWORD_MAX = 1024,
    SASL_NONCE_SIZE = 18, /* random octets that the server adds to the nonce */
    SASL_SECRET_SIZE = 32,
};

struct str sasl_mechanism_name(enum sasl_mechanism m);

/* name in any case; false where there is no such mechanism. */
bool sasl_mechanism_find(struct str name, enum sasl_mechanism *ret_mechanism);

/* What the exchange stands on; copied. */
struct sasl_facts {
    /* RFC 9266: 32 octets exported from the TLS session with the label EXPORTER-Channel-Binding. */
    struct str tls_exporter;
    /* RFC 5929 §4: the hash of the server's certificate. */
    struct str tls_server_end_point;
    /* SASL_NONCE_SIZE random octets, never used again. */
    struct str nonce;
    /* SASL_SECRET_SIZE octets that stay the same over connections: salts for users who do not
     * exist are made from it, so that they look as lasting as real ones. */
    struct str fake_secret;
    uint32_t fake_iterations;
    /* The client was offered SCRAM-SHA-256-PLUS: one that says it saw no such offer was lied to by
     * somebody in between (RFC 5802 §6). */
    bool plus_offered;
};

enum sasl_event_type {
    SASL_CHALLENGE,  /* send data; goes on with sasl_input */
    SASL_CREDENTIAL, /* question: the SCRAM keys of name -> sasl_answer_credential */
    SASL_PASSWORD,   /* question: is this the password of name? -> sasl_answer_password */
    SASL_SUCCESS,    /* the end: the client is name; with SCRAM by keys[key] of the credential */
    SASL_FAILURE,    /* the end: see failure */
};

enum sasl_failure {
    SASL_FAILURE_WRONG,     /* unknown user, wrong password, or not allowed to be another user */
    SASL_FAILURE_MALFORMED, /* the client's message breaks the mechanism's grammar */
    SASL_FAILURE_BINDING,   /* the channel is not the one the client sees: somebody is in between */
    SASL_FAILURE_TEMPORARY, /* the owner could not answer */
};

/* The strs live until the next call of sasl_input or an answer. Wiped then. */
struct sasl_event {
    enum sasl_event_type type;
    uint64_t token;
    struct str data;     /* SASL_CHALLENGE */
    struct str name;     /* prepared (prep.h) */
    struct str password; /* SASL_PASSWORD: prepared */
    unsigned key;        /* SASL_SUCCESS */
    enum sasl_failure failure;
};

struct sasl_server;

/* NULL where there is no memory. */
struct sasl_server *sasl_server_new(enum sasl_mechanism m, const struct sasl_facts *facts);

/* Wipes it; NULL is fine. */
void sasl_server_free(struct sasl_server *e);

/* A whole message of the client. Only before the first event, or after a challenge. */
void sasl_input(struct sasl_server *e, struct str message);

/* False only while a question is open, or after the end. */
bool sasl_next(struct sasl_server *e, struct sasl_event *ret_event);

enum sasl_answer { SASL_ANSWER_YES, SASL_ANSWER_NO, SASL_ANSWER_TEMPORARY };

/*
 * SASL_ANSWER_YES with the credential (copied). NO where there is no such user or he has no SCRAM
 * keys: the exchange goes on to its end with a salt made up, then fails. kept_name is the name as
 * the owner would keep it: where he takes several names for one, real users have one salt by all
 * of them, and so must those who do not exist.
 */
void sasl_answer_credential(struct sasl_server *e, uint64_t token, enum sasl_answer answer,
                            struct str kept_name, const struct scram_credential *credential);

void sasl_answer_password(struct sasl_server *e, uint64_t token, enum sasl_answer answer);

#endif
