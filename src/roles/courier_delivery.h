#ifndef POSTERN_ROLES_COURIER_DELIVERY_H
#define POSTERN_ROLES_COURIER_DELIVERY_H

#include "proto/smtp/client.h"
#include "roles/courier_body.h"
#include "roles/courier_finish.h"
#include "roles/courier_job.h"

/*
 * One message on its way over a connection: finished for what the next server takes, told to the
 * engine, its body fed, each recipient's end noted. Embedded in the connection.
 */
struct courier_delivery {
    struct courier *courier;
    struct courier_job *job; /* NULL: none is on its way */
    struct smtp_client *engine;
    struct arena arena;
    uint32_t *recipients; /* index in the message -> index in the job */
    struct smtp_client_message message;
    struct courier_finish_plan plan;
    struct courier_finish *finish;
    struct courier_body body;
    struct buf converted;
    struct str piece; /* what the engine takes next */
    bool piece_is_last, prefix_is_said, whole;
    bool begun;   /* smtp_client_send was called */
    bool wanted;  /* the engine wants the body */
    bool lacking; /* this host lacks what it needs, another may not: nothing was told to it */
    bool broken;  /* the connection must be closed: the message cannot be told to its end */
    struct str broken_status, broken_words;
    bool taken;     /* the next server answered this message, well or not */
    bool no_memory; /* for what is to be said of it */
};

/* What is known of the next server, for the ends. */
struct courier_hop {
    const struct smtp_abilities *abilities;
    struct str remote; /* "mx.example.org [192.0.2.1]:25" */
    struct str tls;    /* "TLSv1.3 TLS_AES_256_GCM_SHA384 verified"; empty: in clear */
    bool lmtp;
    bool is_here;    /* this server itself: what is to be kept from others is kept */
    bool authentic;  /* name and certificate are who they should be (RFC 8689 §4.2.1) */
    bool has_others; /* another host may have what this one lacks for the message at hand */
};

enum courier_delivery_state {
    DELIVERY_GOES_ON,
    DELIVERY_WAITS, /* for the vault: `ready` will be called */
    DELIVERY_OVER,  /* nothing of it was told to the server: nobody of this job is left, or it is
                       for another host (`lacking`) */
    DELIVERY_BROKEN /* begun, and not to be ended: close the connection */
};

/* The job's recipients that have not ended are to be delivered. `ready`: run it again. */
void courier_delivery_begin(struct courier_delivery *d, struct courier *c, struct courier_job *job,
                            struct smtp_client *engine, void (*ready)(void *context),
                            void *context);

/* Moves it on as far as it goes. */
enum courier_delivery_state courier_delivery_run(struct courier_delivery *d,
                                                 const struct courier_hop *hop, struct now now);

/* Events of the engine. */
void courier_delivery_body_wanted(struct courier_delivery *d);
void courier_delivery_recipient(struct courier_delivery *d, const struct smtp_client_result *result,
                                const struct courier_hop *hop);

/* It is over: returns the job, which may have recipients left (for another transaction, or host).
 */
struct courier_job *courier_delivery_end(struct courier_delivery *d);

#endif
