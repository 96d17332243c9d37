#ifndef POSTERN_PROTO_SMTP_CLIENT_STATE_H
#define POSTERN_PROTO_SMTP_CLIENT_STATE_H

/*
 * What the files of the client engine share, and nobody else sees. client.c moves bytes, events and
 * deadlines; client_hello.c brings a connection to READY with client_auth.c; client_mail.c writes
 * envelopes and hears the replies, client_body.c the same for what follows them.
 */

#include "base/buf.h"
#include "proto/smtp/client.h"
#include "proto/smtp/reply_reader.h"
#include "proto/smtp/scan.h"

enum client_state {
    CLIENT_GREETING,
    CLIENT_HELLO, /* EHLO or LHLO is said */
    CLIENT_HELO,
    CLIENT_STARTTLS,
    CLIENT_HANDSHAKE,
    CLIENT_AUTH,
    CLIENT_READY,
    CLIENT_MESSAGE,
    CLIENT_QUIT,
    CLIENT_CLOSED,
    CLIENT_STATE_COUNT
};

enum client_fate {
    FATE_OPEN, /* RCPT is not written yet */
    FATE_SENT,
    FATE_ACCEPTED,
    FATE_TOLD /* the owner knows what became of it */
};

enum client_phase {
    PHASE_ENVELOPE,
    PHASE_DATA, /* DATA is said, 354 is due */
    PHASE_BODY, /* the owner gives the message */
    PHASE_END,  /* all of it is written, its reply is due */
    PHASE_DEAD  /* the owner was or is being told all; replies that are due are heard, no more */
};

/* A message on its way. *_due: how many such commands are written and have no reply yet. */
struct client_message {
    const struct smtp_client_message *given;
    uint8_t *fates; /* of enum client_fate */
    enum client_phase phase;
    bool mail_written;
    bool chunked;  /* BDAT */
    bool answered; /* a chunk has been */
    bool full;     /* the peer takes no more recipients */
    uint32_t rcpt_next;
    uint32_t rcpt_heard; /* where to look for the one that the next reply is for */
    uint32_t end_heard;  /* the same for LMTP's replies to the message */
    uint32_t rcpt_written;
    uint32_t accepted;
    uint32_t rset_due, mail_due, rcpt_due, data_due;
    uint32_t chunks_due; /* but the last one */
    uint32_t end_due;    /* replies to the final dot or BDAT LAST */
    uint64_t end_at;     /* out_total behind the last octet of the message */
    int64_t given_up_ms; /* when it has taken too long in all */
};

struct client_body {
    struct smtp_scan scan;
    bool line_start; /* nothing, or CRLF, was the last that was written */
    bool cr_held;    /* a CR at the end of a piece waits for its LF */
    bool given;      /* the owner has no more */
    bool chunk_open;
    size_t chunk_start; /* in out: octets from here on have no BDAT before them yet */
};

/* All recipients that have not been told are told the same. */
struct client_sweep {
    bool on;
    uint32_t next;
    enum smtp_client_verdict verdict;
    enum smtp_client_stage stage;
    struct smtp_client_reply reply;
};

struct smtp_client {
    const struct smtp_client_settings *settings;
    enum client_state state;
    bool tls;
    bool starttls_refused;
    bool authenticated;
    bool dirty; /* the peer may still have a transaction open: RSET first */
    struct smtp_abilities abilities;
    struct buf auth; /* what abilities.auth points into */

    struct smtp_reply_reader reader;
    struct buf out;
    uint64_t out_total; /* written ever */
    uint64_t asked_at;  /* out_total behind the last command that waited for no other's reply */
    size_t block;       /* octets taken since active_ms */
    int64_t active_ms;

    /* Events not yet pulled, in this order, and the question not yet answered (token 0: none). */
    bool event_auth_end, event_ready, event_done, event_closed;
    struct smtp_client_event event;
    uint64_t token_last;
    uint64_t question_token;
    struct buf challenge; /* what event points into */

    bool auth_done;      /* 235 would be believed */
    bool auth_cancelled; /* "*" is said */
    bool auth_late;      /* the initial response was too long for the command: at the first 334 */
    struct buf auth_initial;

    uint32_t messages;
    struct buf
        domains; /* of all recipients so far, "\n" behind each; only where there is a limit */
    uint32_t domain_count;
    bool spent; /* another domain would be one too many: there is no next message here */
    struct client_message message;
    struct client_body body;
    struct client_sweep sweep;
    struct smtp_client_closed closed;
};

/* ---- client.c ---------------------------------------------------------------------------- */

/* The only writer of c->state; asserts that there is such an edge. */
void client_set_state(struct smtp_client *c, enum client_state state);

/* Appends to the output. */
void client_say(struct smtp_client *c, struct str words);
void client_sayf(struct smtp_client *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Raises c->event, which the caller has filled but for kind and token. */
void client_tell(struct smtp_client *c, enum smtp_client_event_kind kind);
void client_ask(struct smtp_client *c, enum smtp_client_event_kind kind);

/* The reply just read, with an enhanced code in any case. */
struct smtp_client_reply client_reply(const struct smtp_client *c);

/* Ends the dialogue; by the peer's reply, or (the second) for a reason of ours. */
void client_refused(struct smtp_client *c, struct smtp_client_reply reply);
void client_close(struct smtp_client *c, enum smtp_client_close_reason reason);

/* What is said of a close for a reason of ours. */
struct smtp_client_reply client_close_reply(enum smtp_client_close_reason reason);

/* What the dialogue is at: whose reply is due, or what comes next. */
enum smtp_client_stage client_stage(const struct smtp_client *c);

/* ---- client_hello.c, client_auth.c ------------------------------------------------------- */

/* A reply in the states of that name. */
void client_hear_greeting(struct smtp_client *c);
void client_hear_hello(struct smtp_client *c);
void client_hear_helo(struct smtp_client *c);
void client_hear_starttls(struct smtp_client *c);
void client_hear_auth(struct smtp_client *c);

void client_say_hello(struct smtp_client *c);

/* The peer's abilities are known: STARTTLS, AUTH, or READY. */
void client_go_on_to_ready(struct smtp_client *c);
void client_begin_auth(struct smtp_client *c);

/* ---- client_mail.c ------------------------------------------------------------------------ */

void client_hear_message(struct smtp_client *c);

/* A command of the message is written. */
void client_asked(struct smtp_client *c, uint32_t *due);

bool client_is_reply_due(const struct client_message *m);

/* Writes what of the envelope may be written now, or ends the message. */
void client_continue_message(struct smtp_client *c);

/* All that were not told get this; nothing more is written but what the peer must have. */
void client_settle(struct smtp_client *c, enum smtp_client_stage stage,
                   enum smtp_client_verdict verdict, struct smtp_client_reply reply);

enum smtp_client_verdict client_verdict(const struct smtp_client_reply *reply);

/* The same by the reply just read; the peer's transaction may be open still. */
void client_settle_refused(struct smtp_client *c, enum smtp_client_stage stage);

void client_tell_recipient(struct smtp_client *c, uint32_t index, enum smtp_client_verdict verdict,
                           enum smtp_client_stage stage, struct smtp_client_reply reply);

/* client_params.c: why nobody gets it, whoever the peer; false: nothing is wrong with it. */
bool client_find_fault(const struct smtp_client_message *m, struct smtp_client_reply *ret_reply);

/* What this peer lacks that the message cannot go without; false: nothing. */
bool client_find_lack(const struct smtp_client *c, const struct smtp_client_message *m,
                      struct smtp_client_reply *ret_reply);

bool client_find_rcpt_obstacle(const struct smtp_client_message *m,
                               const struct smtp_client_recipient *r,
                               struct smtp_client_reply *ret_reply);

/* False where the recipient's domain is one more than the connection may have. */
bool client_take_domain(struct smtp_client *c, struct str path);

/* MAIL and RCPT with their parameters. */
void client_say_mail(struct smtp_client *c, const struct smtp_client_message *m);
void client_say_rcpt(struct smtp_client *c, const struct smtp_client_message *m,
                     const struct smtp_client_recipient *r);

/* A reply of our own. */
struct smtp_client_reply client_own_reply(uint8_t class, uint16_t subject, uint16_t detail,
                                          struct str words);

/* ---- client_body.c ------------------------------------------------------------------------ */

/* The envelope is written (and, unless pipelined, accepted): DATA, or the body at once. */
void client_begin_body(struct smtp_client *c);

/* May DATA follow the envelope before that is answered? */
bool client_may_pipeline_data(const struct smtp_client *c);

/* Forgets an open chunk. */
void client_drop_chunk(struct smtp_client *c);

void client_hear_data(struct smtp_client *c);
void client_hear_chunk(struct smtp_client *c);
void client_hear_end(struct smtp_client *c);

/* A reply that nobody waits for. */
void client_hear_early(struct smtp_client *c);

/* Ends the body, if the owner has given all of it and the peer is ready. */
void client_continue_body(struct smtp_client *c);

#endif
