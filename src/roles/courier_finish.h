#ifndef POSTERN_ROLES_COURIER_FINISH_H
#define POSTERN_ROLES_COURIER_FINISH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"
#include "ipc/ipc_messages.h"
#include "proto/smtp/envelope.h"

/*
 * The finishing place: every outgoing message, whatever way it came (submission, relay, forward,
 * bounce), passes here just before it is spoken to the next server, and nobody else alters its
 * octets. Today it converts for servers without 8BITMIME or BINARYMIME (mail/downgrade.h). Signing
 * (DKIM) belongs here too, behind the conversion: a signature must cover what is sent.
 *
 *     courier_finish_plan(...)            after EHLO: what to declare at MAIL, or why it cannot go
 *     unchanged:  send prefix, then the body's octets as they are
 *     else:       courier_finish_begin, _write(octets) ..., _end; send what they append
 *
 * The plan is pure. It looks at the start of the body (`head`), which the courier has anyway.
 */
struct courier_next_hop {
    bool eight_bit_mime;
    bool binary_mime; /* counts only with chunking (RFC 3030 §3) */
    bool chunking;
    bool smtputf8;
};

struct courier_finish_plan {
    /* Where it cannot go: "5.6.7" and words for the sender (both static); else empty. */
    struct str refusal_status;
    struct str refusal_words;
    bool no_memory; /* it is not known what the message needs: to be put off */
    bool unchanged;
    bool say_smtputf8;
    enum smtp_body_type body; /* 7BIT: no BODY parameter; BINARYMIME: with BDAT only */
    uint64_t size;  /* for SIZE=: exact where unchanged; 0: not known, leave the parameter out */
    uint8_t target; /* enum downgrade_target, where not unchanged */
    struct str prefix;
};

/*
 * recipients: those that go in this transaction. head: the first plain octets of the body, not
 * fewer than its first chunk; is_whole: all of it. Borrows nothing but prefix.
 */
void courier_finish_plan(const struct ipc_job *job, const struct ipc_job_recipient *recipients,
                         size_t count, struct str head, bool is_whole,
                         const struct courier_next_hop *hop, struct courier_finish_plan *ret_plan);

/*
 * The address as this server takes it, without angle brackets: a U-label domain becomes A-labels
 * where SMTPUTF8 is not said (RFC 6531 §3.2). False: it cannot be (the plan has refused it), or
 * there was no memory: then out has failed.
 */
bool courier_finish_address(struct buf *out, struct text address, bool say_smtputf8);

/* Ceiling for `out` of one call with n octets. */
#define COURIER_FINISH_OUT_MAX(n) (4 * (n) + 2 * 1024 * 1024)

struct courier_finish;

/* Needed only where the plan is not `unchanged`, allowed always. The prefix comes out first. */
struct courier_finish *courier_finish_begin(const struct courier_finish_plan *plan);
void courier_finish_free(struct courier_finish *f);

enum courier_finish_result {
    FINISH_OK,
    FINISH_IMPOSSIBLE, /* close the connection without the final dot; fails with 5.6.3 */
    FINISH_NO_MEMORY,  /* likewise; later */
};

/* Appends to out. Results other than FINISH_OK stick. */
enum courier_finish_result courier_finish_write(struct courier_finish *f, struct str octets,
                                                struct buf *out);
enum courier_finish_result courier_finish_end(struct courier_finish *f, struct buf *out);

#define COURIER_FINISH_IMPOSSIBLE_STATUS "5.6.3"
#define COURIER_FINISH_IMPOSSIBLE_WORDS                                                            \
    "the next server takes no binary mail, and this message cannot be converted"

#endif
