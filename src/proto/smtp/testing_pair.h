#ifndef POSTERN_PROTO_SMTP_TESTING_PAIR_H
#define POSTERN_PROTO_SMTP_TESTING_PAIR_H

#include "base/buf.h"
#include "proto/smtp/client.h"
#include "proto/smtp/server.h"

/*
 * Both engines of this folder, face to face: what the client's owner sends, the server's owner must
 * get. Bugs end the process.
 */

enum { PAIR_RECIPIENTS_MAX = 8 };

/* One way of sending. */
struct way {
    bool lmtp;
    bool pipelining, chunking; /* false: hidden from the client */
    enum smtp_body_type body;
    size_t cut;   /* the wire carries so many octets at once, both ways */
    size_t piece; /* the owner gives the body in such pieces */
};

struct pair {
    struct way way;
    struct now now;
    struct smtp_client_settings settings;
    struct smtp_listener listener;
    struct smtp_client *c;
    struct smtp_server *s;
    bool ready, closed;

    /* The message on its way. */
    const struct smtp_client_message *message;
    struct str given;
    size_t given_done;
    bool wanted;
    unsigned done;                      /* messages that are over */
    unsigned told[PAIR_RECIPIENTS_MAX]; /* 1 + verdict */
    uint32_t next;                      /* of its recipients the server was not asked about yet */
    struct buf taken;                   /* what the server's owner got of the body */
};

/* Brings both to READY. */
void pair_init(struct pair *p, const struct way *way);
void pair_release(struct pair *p);

/*
 * Sends a message and talks until it is over. The server refuses recipients whose local part begins
 * with "no" (550) or "later" (450), and finds in the envelope what the message says.
 */
void pair_send(struct pair *p, const struct smtp_client_message *message, struct str body);

/* Carries octets until nothing moves. */
void pair_talk(struct pair *p);

/* What was taken is what was given; the last line has its CRLF in any case unless it is binary. */
bool pair_body_arrived(const struct pair *p);

#endif
