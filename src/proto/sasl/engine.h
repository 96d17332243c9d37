#ifndef POSTERN_PROTO_SASL_ENGINE_H
#define POSTERN_PROTO_SASL_ENGINE_H

#include "base/buf.h"
#include "proto/sasl/server.h"

/*
 * What the mechanisms share, inside this folder only. A mechanism is a row of functions over the
 * exchange: `message` gets the client's messages, `answered` the owner's answers, and each call
 * ends in exactly one of exchange_challenge, exchange_ask, exchange_succeed, exchange_fail.
 */

enum { BINDING_MAX = 64 };

struct scram_exchange {
    struct buf header;  /* gs2-header */
    struct buf bare;    /* client-first-message-bare */
    struct buf first;   /* server-first-message */
    struct buf nonce;   /* the client's and ours */
    struct str binding; /* what the client binds to: in the exchange's facts; empty for none */
    struct scram_credential credential;
    bool fake;
};

struct exchange_facts {
    uint8_t exporter[BINDING_MAX];
    size_t exporter_size;
    uint8_t end_point[BINDING_MAX];
    size_t end_point_size;
    uint8_t nonce[SASL_NONCE_SIZE];
    uint8_t fake_secret[SASL_SECRET_SIZE];
    uint32_t fake_iterations;
    bool plus_offered;
};

struct sasl_server {
    const struct mechanism *mechanism;
    struct exchange_facts facts;
    struct buf name;
    struct buf password;
    struct buf data; /* of the last challenge */
    struct scram_exchange *scram;
    struct sasl_event event; /* the next one, where has_event */
    bool has_event;
    bool begun;
    bool asking;
    bool ended;
    uint64_t token;
    unsigned step; /* messages of the client so far */
    unsigned key;
};

struct mechanism {
    struct str name;
    struct str greeting; /* the challenge where the client sent no initial response */
    bool scram;
    bool plus;
    void (*message)(struct sasl_server *e, struct str message);
    void (*answered)(struct sasl_server *e, enum sasl_answer answer);
};

/* Sends e->data. */
void exchange_challenge(struct sasl_server *e);
void exchange_ask(struct sasl_server *e, enum sasl_event_type question);
void exchange_succeed(struct sasl_server *e);
void exchange_fail(struct sasl_server *e, enum sasl_failure why);

/* Fails the exchange and returns false where raw is no name, or a wish to be another user. */
bool exchange_set_name(struct sasl_server *e, struct str authcid, struct str authzid);

/* scram_exchange.c */

/* A credential that nobody has, so that there is no end before the proof. False: no memory. */
bool scram_make_fake(struct sasl_server *e, struct str kept_name);

/* Takes "x=value" and the comma behind it off *rest. */
bool scram_take_attribute(struct str *rest, char name, struct str *ret_value);

/* extensions = attr-val *("," attr-val); attr-val = ALPHA "=" value, value not empty. */
bool scram_are_extensions(struct str rest);

/* c-nonce = printable: %x21-2B / %x2D-7E. */
bool scram_is_nonce(struct str s);

void scram_message(struct sasl_server *e, struct str message);
void scram_answered(struct sasl_server *e, enum sasl_answer answer);
void scram_exchange_init(struct scram_exchange *x);
void scram_exchange_free(struct scram_exchange *x);

#endif
