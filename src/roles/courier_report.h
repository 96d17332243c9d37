#ifndef POSTERN_ROLES_COURIER_REPORT_H
#define POSTERN_ROLES_COURIER_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/now.h"
#include "base/status.h"
#include "base/str.h"
#include "ipc/ipc_messages.h"

/*
 * Reports to senders (RFC 3461, RFC 3464): whether one is due for what became of a message's
 * recipients, and the report itself, ready for `outcomes`. Does no I/O and no calls of its own; the
 * courier makes the calls between the steps:
 *
 *     r = courier_report_new(...)             NULL: nobody is to be told
 *     ask a mailroom: courier_report_ask      -> courier_report_planned
 *     while (courier_report_wants(r))         give it the original from its first octet on
 *         courier_report_original(r, octets)     (plain octets of the body's chunks, in order)
 *     courier_report_finish(r, &report)       borrowed until courier_report_free
 *
 * The two calls may come in any order, and side by side. A report travels whole with its outcomes,
 * so that a new vault can be given them again; but where a large original comes along whole
 * (courier_report_is_apart), its body goes to the vault ahead of them, and again to the next vault:
 *
 *     courier_report_begin(r)                 once its header is here
 *     courier_report_more(r, octets)          the body's, from its first octet on
 *     courier_report_end(r)
 *     courier_report_chunks, _chunks_sent     between these: what is complete
 *     courier_report_shipped(r, body)         as body_chunk numbered it; courier_report_lost(r)
 *
 * What is not shipped when it is finished comes with the original's header only.
 */
#define COURIER_REPORT_ORIGINAL_MAX (192 * 1024)

/* In the envelope of a report about mail that required TLS: see ipc.table's envelope. */
#define COURIER_REPORT_REQUIRETLS 2

/* What became of one recipient. */
struct courier_report_result {
    const struct ipc_job_recipient *recipient;
    const struct ipc_outcome *outcome;
    bool is_reply;   /* outcome->words are the next server's reply (not ours) */
    bool next_tells; /* the next server offers DSN, and so tells the sender itself from now on */
    bool is_final;   /* delivered, not passed on: the next server speaks LMTP */
};

enum courier_report_due {
    REPORT_NOT_DUE,
    REPORT_FAILED,
    REPORT_DELAYED,
    REPORT_DELIVERED,
    REPORT_RELAYED,
};

/* Is the sender of this message to be told? RFC 3461 §4.1, §5.2, §6.1. */
enum courier_report_due courier_report_due(const struct ipc_job *job,
                                           const struct courier_report_result *result);

/*
 * The outcome of a recipient that no server need be asked about (its task is not to deliver): fills
 * in outcome, noticed, status, words, remote. Borrows the recipient.
 */
void courier_report_settle(const struct ipc_job_recipient *recipient, struct ipc_outcome *ret);

struct courier_report;

#define COURIER_REPORT_RANDOM_SIZE 16

struct courier_report_facts {
    const struct ipc_job *job;
    const struct courier_report_result *results; /* all of one message that ended in this batch, at
                                                    most LIMIT_SMTP_RECIPIENTS */
    size_t count;
    struct str hostname; /* ours */
    struct str id;       /* a new trace id for the report */
    uint8_t random[COURIER_REPORT_RANDOM_SIZE];
    struct now now;
};

/*
 * Copies all it needs. NULL with STATUS_OK: no report is due. NULL with STATUS_NO_MEMORY: give the
 * outcomes back later.
 */
struct courier_report *courier_report_new(const struct courier_report_facts *facts,
                                          enum status_code *ret_status);
void courier_report_free(struct courier_report *r);

/* The question for a mailroom about the report's recipient; borrows r. */
void courier_report_ask(const struct courier_report *r, struct ipc_recipient_in *ret_in);

enum courier_report_planned {
    REPORT_PLANNED,
    REPORT_LATER, /* 4xx: give the outcomes that have a report to make as `later`, and try again */
    REPORT_DROPPED, /* nobody there to tell: put courier_report_drop_words behind the words of the
                       outcomes that were to be told, and free r */
};

/* The mailroom's answer, copied. */
enum courier_report_planned courier_report_planned(struct courier_report *r,
                                                   const struct ipc_recipient_out *out);

/* " (bounce-dropped: 550 5.1.1 ...)": for the trace and the log; borrows r. */
struct str courier_report_drop_words(const struct courier_report *r);

/* True while more of the original is wanted: its header, or up to all of it (RET=FULL). */
bool courier_report_wants(const struct courier_report *r);
void courier_report_original(struct courier_report *r, struct str octets);

/* It cannot be had (the vault does not find it): the report does without. */
void courier_report_original_lost(struct courier_report *r);

/* Its body is to go ahead, and has not. */
bool courier_report_is_apart(const struct courier_report *r);

/* The header only, from now on. */
void courier_report_shorten(struct courier_report *r);

/* False where there is no memory: courier_report_lost, and begin again later. */
bool courier_report_begin(struct courier_report *r) MUST_USE;
bool courier_report_more(struct courier_report *r, struct str octets) MUST_USE;
bool courier_report_end(struct courier_report *r) MUST_USE;

/* What is to be sent, borrowed until it has been. */
size_t courier_report_chunks(struct courier_report *r, struct ipc_chunk *chunks, size_t count_max);
void courier_report_chunks_sent(struct courier_report *r);

/* The vault has all of it; it has lost it, or shall forget it. */
void courier_report_shipped(struct courier_report *r, uint64_t body);
void courier_report_lost(struct courier_report *r);

/*
 * STATUS_OK or STATUS_NO_MEMORY (try again later). Everything in ret_report is borrowed from r. May
 * be asked again, and gives the same. What is still wanted of the original then is done without.
 */
enum status_code courier_report_finish(struct courier_report *r,
                                       struct ipc_report *ret_report) MUST_USE;

#endif
