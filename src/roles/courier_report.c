#include "roles/courier_report.h"

#include <stdlib.h>

#include "base/bug.h"
#include "base/limits.h"
#include "codec/hex.h"
#include "codec/utf8.h"
#include "mail/downgrade.h"
#include "mail/dsn.h"
#include "mail/ingest.h"
#include "proto/smtp/envelope.h"
#include "roles/new_email.h"
#include "store/ingest.h"

enum {
    HEADER_RETURNED_MAX = 64 * 1024,
    ARENA_SIZE = 8 * 1024 * 1024,
    /* Octets kept of what a stranger said: more than will be quoted, few where recipients are many.
     */
    KEPT_OF_FEW = 2 * DSN_QUOTE_MAX,
    KEPT_OF_MANY = 512,
    /* Of one report, and so for how many recipients what they say is quoted in full. */
    FEW = 32,
    QUOTES_SIZE = FEW * DSN_QUOTE_MAX,
    /* For each recipient: addresses, ORCPT, server and our own words at their longest. */
    RECIPIENT_SIZE = 3 * 1024,
    SIZE_MAX_OF_REPORT =
        COURIER_REPORT_ORIGINAL_MAX + 2 * QUOTES_SIZE + LIMIT_SMTP_RECIPIENTS * RECIPIENT_SIZE,
    CHUNKS_MAX = SIZE_MAX_OF_REPORT / LIMIT_CHUNK_SIZE + 1,
    BOUNDARY_SIZE = 2 + 2 * COURIER_REPORT_RANDOM_SIZE,
    DROP_WORDS_MAX = 600,
    FRAME_SIZE = 8192, /* header and delimiters of a report */
};

struct courier_report {
    struct arena arena;
    struct dsn dsn;
    struct dsn_recipient *recipients;
    size_t kept_max;
    char boundary[BOUNDARY_SIZE + 1];
    uint64_t original_size;
    bool original_lost;
    bool is_binary, is_8bit;
    bool is_apart; /* the whole original comes along, and it is large */
    bool is_shipped;
    struct press *press; /* while it is on its way */
    struct str prefix;
    struct buf original; /* what came of it, its prefix first */
    struct ipc_accept_recipient plan;
    struct str drop_words;
    struct ipc_report report;
    bool requiretls; /* so does what is told of the message (RFC 8689 §5) */
    bool is_made;
};

/* Made while it is composed; what is kept of it is copied, for reports may wait in numbers. */
struct press {
    struct ingest *ingest;
    struct body_writer *writer;
};

static void press_free(struct press *p)
{
    if (!p)
        return;
    ingest_free(p->ingest);
    body_writer_free(p->writer);
    free(p);
}

static struct press *press_new(void)
{
    struct press *p = calloc(1, sizeof *p);
    if (p)
        *p = (struct press){ingest_new(), body_writer_new()};
    if (p && p->ingest && p->writer)
        return p;
    press_free(p);
    return NULL;
}

/* ---- Is one due? ---- */

/*
 * RFC 3461 §5.2.2, §5.2.3: where the next server offers DSN it was told what the sender asked for;
 * RFC 2852: with a trace each server that passes the message on says so.
 */
static enum courier_report_due due_for_success(const struct ipc_job *job,
                                               const struct courier_report_result *result)
{
    bool asked = (result->recipient->notify & SMTP_NOTIFY_SUCCESS) != 0;
    if (result->recipient->task == IPC_TASK_DELIVERED)
        return asked ? REPORT_DELIVERED : REPORT_NOT_DUE;
    if (result->recipient->task == IPC_TASK_RELAYED) /* asked for, or with a trace */
        return REPORT_RELAYED;
    if (result->recipient->task != IPC_TASK_DELIVER)
        return REPORT_NOT_DUE;
    if (asked && !result->next_tells)
        return result->is_final ? REPORT_DELIVERED : REPORT_RELAYED;
    return job->envelope.by_trace ? REPORT_RELAYED : REPORT_NOT_DUE;
}

enum courier_report_due courier_report_due(const struct ipc_job *job,
                                           const struct courier_report_result *result)
{
    uint8_t notify = result->recipient->notify;
    /* RFC 5321 §4.5.5, RFC 3461 §6.1: no report about a report. */
    if (text_peek(job->sender).len == 0 || (notify & SMTP_NOTIFY_NEVER) != 0)
        return REPORT_NOT_DUE;
    switch (result->outcome->outcome) {
    case IPC_OUTCOME_DONE:
        return due_for_success(job, result);
    case IPC_OUTCOME_FAILED:
        /* RFC 3461 §4.1: failures are told where nothing was said. */
        return notify == 0 || (notify & SMTP_NOTIFY_FAILURE) ? REPORT_FAILED : REPORT_NOT_DUE;
    case IPC_OUTCOME_NOTICED:
        /* RFC 2852: the sender asked to be told at that time. */
        return (notify & SMTP_NOTIFY_DELAY) || job->envelope.by_mode == SMTP_BY_NOTIFY
                   ? REPORT_DELAYED
                   : REPORT_NOT_DUE;
    default:
        return REPORT_NOT_DUE;
    }
}

static struct text or_else(struct text words, struct str otherwise)
{
    return text_peek(words).len > 0 ? words : text_from(otherwise);
}

static struct str status_of_class(struct str status, char class, struct str otherwise)
{
    return status.len > 0 && status.ptr[0] == class ? status : otherwise;
}

void courier_report_settle(const struct ipc_job_recipient *recipient, struct ipc_outcome *ret)
{
    invariant(recipient->task != IPC_TASK_DELIVER);
    *ret = (struct ipc_outcome){.recipient = recipient->id,
                                .outcome = IPC_OUTCOME_FAILED,
                                .words = recipient->last_words,
                                .remote = recipient->last_remote};
    if (recipient->task == IPC_TASK_DELIVERED) {
        ret->outcome = IPC_OUTCOME_DONE;
        ret->status = status_of_class(recipient->last_status, '2', STR("2.1.5"));
        ret->words = or_else(ret->words, STR("it is in the mailbox"));
    } else if (recipient->task == IPC_TASK_RELAYED) {
        ret->outcome = IPC_OUTCOME_DONE;
        ret->status = status_of_class(recipient->last_status, '2', STR("2.0.0"));
    } else if (recipient->task == IPC_TASK_EXPIRED) {
        ret->status = STR("5.4.7"); /* RFC 3463 §3.5: delivery time expired */
        ret->words = or_else(ret->words, STR("it could not be delivered in all the time it had"));
    } else if (recipient->task == IPC_TASK_BOUNCE) {
        ret->status = status_of_class(recipient->last_status, '5', STR("5.0.0"));
        ret->words = or_else(ret->words, STR("returned by the people who run the mail system"));
    } else {
        ret->outcome = IPC_OUTCOME_NOTICED;
        ret->noticed = true;
        ret->status = status_of_class(recipient->last_status, '4', STR("4.4.1"));
        ret->words = or_else(ret->words, STR("their mail server could not be reached yet"));
    }
}

/* ---- The facts, copied ---- */

/* Words of an earlier attempt do not say whether they are a reply; a reply begins with its code. */
static bool looks_like_reply(struct text words)
{
    struct str s = text_peek(words);
    return s.len > 3 && s.ptr[0] >= '2' && s.ptr[0] <= '5' && ascii_is_digit(s.ptr[1]) &&
           ascii_is_digit(s.ptr[2]) && (s.ptr[3] == ' ' || s.ptr[3] == '-');
}

static bool dup_text(struct courier_report *r, struct text t, struct text *ret)
{
    struct str copy;
    if (!arena_dup(&r->arena, str_sub(text_peek(t), 0, r->kept_max), &copy))
        return false;
    *ret = text_from(copy);
    return true;
}

static bool copy_result(struct courier_report *r, const struct courier_report_facts *facts,
                        const struct courier_report_result *result, enum courier_report_due due)
{
    static const enum dsn_action actions[] = {
        [REPORT_FAILED] = DSN_FAILED,
        [REPORT_DELAYED] = DSN_DELAYED,
        [REPORT_DELIVERED] = DSN_DELIVERED,
        [REPORT_RELAYED] = DSN_RELAYED,
    };
    const struct ipc_job_recipient *from = result->recipient;
    const struct ipc_outcome *outcome = result->outcome;
    struct dsn_recipient *to = &r->recipients[r->dsn.count++];
    bool is_old = from->task != IPC_TASK_DELIVER;
    to->action = actions[due];
    to->is_reply = is_old ? looks_like_reply(outcome->words) && text_peek(outcome->remote).len > 0
                          : result->is_reply;
    to->attempt_ms = is_old ? 0 : facts->now.wall_ms;
    if (due == REPORT_DELAYED && from->remaining_ms > 0)
        to->until_ms = facts->now.wall_ms + from->remaining_ms;
    return arena_dup(&r->arena, outcome->status, &to->status) &&
           dup_text(r, from->recipient, &to->address) && dup_text(r, from->orcpt, &to->original) &&
           dup_text(r, outcome->remote, &to->remote) && dup_text(r, outcome->words, &to->words);
}

static bool copy_results(struct courier_report *r, const struct courier_report_facts *facts)
{
    invariant(facts->count <= LIMIT_SMTP_RECIPIENTS);
    r->recipients = arena_alloc_array(&r->arena, facts->count, sizeof *r->recipients);
    r->dsn.recipients = r->recipients;
    r->kept_max = facts->count > FEW ? KEPT_OF_MANY : KEPT_OF_FEW;
    if (!r->recipients)
        return false;
    for (size_t i = 0; i < facts->count; i++) {
        const struct courier_report_result *result = &facts->results[i];
        enum courier_report_due due = courier_report_due(facts->job, result);
        if (due != REPORT_NOT_DUE && !copy_result(r, facts, result, due))
            return false;
    }
    if (r->dsn.count > FEW)
        r->dsn.quote_max = QUOTES_SIZE / r->dsn.count;
    return true;
}

/*
 * RFC 3461 §4.3: FULL is for failures only; what is binary (its report could not go everywhere) is
 * returned as its header, and so is what requires TLS (RFC 8689 §5).
 */
static bool returns_all(const struct courier_report *r, const struct ipc_job *job)
{
    bool failed = false;
    for (size_t i = 0; i < r->dsn.count; i++)
        failed |= r->recipients[i].action == DSN_FAILED;
    return failed && job->envelope.ret == SMTP_RET_FULL &&
           job->envelope.body != SMTP_BODY_BINARYMIME && !r->requiretls;
}

static bool copy_facts(struct courier_report *r, const struct courier_report_facts *facts)
{
    const struct ipc_job *job = facts->job;
    struct buf hex;
    buf_init(&hex, BOUNDARY_SIZE);
    buf_append_str(&hex, STR("=_"));
    hex_encode(&hex, str_make(facts->random, sizeof facts->random));
    bool ok = str_to_c(buf_str(&hex), r->boundary, sizeof r->boundary) &&
              arena_dup(&r->arena, job->trace_id, &r->dsn.trace_id);
    buf_release(&hex);
    r->dsn.boundary = str_from_c(r->boundary);
    r->dsn.now_ms = facts->now.wall_ms;
    r->dsn.arrival_ms = job->received_at_ms;
    r->dsn.utf8 = job->envelope.utf8;
    r->is_binary = job->envelope.body == SMTP_BODY_BINARYMIME;
    r->original_size = job->prefix.len + job->size;
    r->requiretls = job->envelope.requiretls;
    bool is_small = r->original_size <= COURIER_REPORT_ORIGINAL_MAX, all = returns_all(r, job);
    r->dsn.part = all && is_small ? DSN_PART_MESSAGE : DSN_PART_HEADER;
    r->is_apart = all && !is_small;
    /* The edge says so of whatever holds an octet above 127. */
    r->is_8bit = job->envelope.body == SMTP_BODY_8BITMIME || !utf8_is_ascii(job->prefix);
    r->plan.notify = SMTP_NOTIFY_NEVER;
    return ok && arena_dup(&r->arena, facts->hostname, &r->dsn.host) &&
           arena_dup(&r->arena, facts->id, &r->dsn.id) &&
           dup_text(r, job->sender, &r->dsn.sender) &&
           dup_text(r, job->envelope.envid, &r->dsn.envid) &&
           arena_dup(&r->arena, job->prefix, &r->prefix) &&
           buf_append_str(&r->original, job->prefix);
}

struct courier_report *courier_report_new(const struct courier_report_facts *facts,
                                          enum status_code *ret_status)
{
    struct courier_report *r = calloc(1, sizeof *r);
    *ret_status = STATUS_NO_MEMORY;
    if (!r)
        return NULL;
    arena_init(&r->arena, ARENA_SIZE);
    buf_init(&r->original, COURIER_REPORT_ORIGINAL_MAX);
    bool ok = copy_results(r, facts);
    if (ok && r->dsn.count > 0)
        ok = copy_facts(r, facts);
    if (ok)
        *ret_status = STATUS_OK;
    if (ok && r->dsn.count > 0)
        return r;
    courier_report_free(r);
    return NULL;
}

void courier_report_free(struct courier_report *r)
{
    if (!r)
        return;
    press_free(r->press);
    buf_release(&r->original);
    arena_reset(&r->arena);
    free(r);
}

/* ---- Whom it is for ---- */

static size_t original_wanted(const struct courier_report *r)
{
    if (r->dsn.part == DSN_PART_MESSAGE)
        return (size_t)r->original_size;
    return r->original_size < HEADER_RETURNED_MAX ? (size_t)r->original_size : HEADER_RETURNED_MAX;
}

/* RFC 3464 §2: a report has the null reverse-path. */
void courier_report_ask(const struct courier_report *r, struct ipc_recipient_in *ret_in)
{
    *ret_in =
        (struct ipc_recipient_in){.trusted = true,
                                  .recipient = r->dsn.sender,
                                  .size = r->is_apart ? r->original_size : original_wanted(r)};
}

static bool plan_deliveries(struct courier_report *r, const struct ipc_recipient_out *out)
{
    struct ipc_delivery *list = arena_alloc_array(&r->arena, out->targets_count, sizeof *list);
    for (size_t i = 0; list && i < out->targets_count; i++) {
        const struct ipc_target *target = &out->targets[i];
        list[i] = (struct ipc_delivery){.account = target->account, .mailbox = target->mailbox};
        if (!new_email_prefix(&r->arena, STR(""), target->delivered_to, &list[i].prefix))
            return false;
    }
    r->plan.deliveries = list;
    r->plan.deliveries_count = out->targets_count;
    return list != NULL;
}

static bool plan_relays(struct courier_report *r, const struct ipc_recipient_out *out)
{
    struct ipc_relay *list = arena_alloc_array(&r->arena, out->relays_count, sizeof *list);
    for (size_t i = 0; list && i < out->relays_count; i++)
        if (!dup_text(r, out->relays[i].address, &list[i].address) ||
            !arena_dup(&r->arena, out->relays[i].destination, &list[i].destination))
            return false;
    r->plan.relays = list;
    r->plan.relays_count = out->relays_count;
    return list != NULL;
}

static void keep_drop_words(struct courier_report *r, const struct ipc_recipient_out *out)
{
    struct buf words;
    buf_init(&words, DROP_WORDS_MAX);
    buf_printf(&words, " (bounce-dropped: %u %.*s %.*s)", out->code, STR_ARG(out->enhanced),
               STR_ARG(str_sub(out->text, 0, DROP_WORDS_MAX / 2)));
    if (words.failed || !arena_dup(&r->arena, buf_str(&words), &r->drop_words))
        r->drop_words = STR(" (bounce-dropped)");
    buf_release(&words);
}

enum courier_report_planned courier_report_planned(struct courier_report *r,
                                                   const struct ipc_recipient_out *out)
{
    bool has_place = out->targets_count + out->relays_count > 0;
    if (out->code / 100 == 4)
        return REPORT_LATER;
    if (out->code != 250 || !has_place) {
        keep_drop_words(r, out);
        return REPORT_DROPPED;
    }
    r->plan.recipient = r->dsn.sender;
    return plan_deliveries(r, out) && plan_relays(r, out) ? REPORT_PLANNED : REPORT_LATER;
}

struct str courier_report_drop_words(const struct courier_report *r)
{
    return r->drop_words;
}

/* ---- The original ---- */

/* The header of what is here, without the empty line; all of it where that has not come. */
static struct str header_of(struct str original)
{
    ptrdiff_t end = str_find(original, STR("\r\n\r\n"));
    if (str_starts(original, STR("\r\n")))
        return STR("");
    return end < 0 ? original : str_sub(original, 0, (size_t)end + 2);
}

bool courier_report_wants(const struct courier_report *r)
{
    struct str here = buf_str(&r->original);
    if (r->original_lost || r->original.failed || here.len >= original_wanted(r))
        return false;
    return r->dsn.part == DSN_PART_MESSAGE || header_of(here).len == here.len;
}

void courier_report_original(struct courier_report *r, struct str octets)
{
    size_t wanted = original_wanted(r);
    if (r->original.len < wanted)
        buf_append_str(&r->original, str_sub(octets, 0, wanted - r->original.len));
}

void courier_report_original_lost(struct courier_report *r)
{
    r->original_lost = true;
}

/* Up to the end of its last line, where the header was too long to be had whole. */
static struct str whole_lines(struct str header)
{
    ptrdiff_t end = str_rfind_byte(header, '\n');
    return str_sub(header, 0, (size_t)(end + 1));
}

/* What comes along of the original. */
static struct str settle_original(struct courier_report *r)
{
    struct str original = buf_str(&r->original);
    r->dsn.header = whole_lines(header_of(original));
    /* The header of a binary message may be anything, and its report goes where only mail may. */
    bool is_mail = !r->is_binary || downgrade_is_needless(r->dsn.header, DOWNGRADE_TO_8BIT);
    if (r->original_lost || !is_mail)
        r->dsn.part = DSN_PART_NONE;
    struct str part = r->dsn.part == DSN_PART_MESSAGE ? original : r->dsn.header;
    r->dsn.part_is_8bit = !utf8_is_ascii(part);
    return r->dsn.part == DSN_PART_NONE ? STR("") : part;
}

/* ---- The report ---- */

static bool keep(struct press *p, struct str octets)
{
    ingest_write(p->ingest, octets);
    return body_writer_write(p->writer, octets);
}

static bool keep_begin(struct courier_report *r, struct press *p)
{
    struct buf frame;
    buf_init(&frame, DSN_SIZE_MAX(r->dsn.count) + FRAME_SIZE);
    bool ok = dsn_begin(&frame, &r->dsn) && keep(p, buf_str(&frame));
    buf_release(&frame);
    return ok;
}

static bool keep_end(struct courier_report *r, struct press *p)
{
    struct buf frame;
    buf_init(&frame, FRAME_SIZE);
    bool ok = dsn_end(&frame, &r->dsn) && keep(p, buf_str(&frame));
    buf_release(&frame);
    return ok && body_writer_finish(p->writer);
}

static bool compose(struct courier_report *r, struct press *p)
{
    struct str part = settle_original(r);
    return keep_begin(r, p) && keep(p, part) && keep_end(r, p);
}

static bool copy_text(struct arena *a, struct text *t)
{
    struct str copy;
    bool ok = arena_dup(a, text_peek(*t), &copy);
    if (ok)
        *t = text_from(copy);
    return ok;
}

static bool copy_chunks(struct courier_report *r, struct press *p, struct ipc_email *email)
{
    struct ipc_chunk *chunks = arena_alloc_array(&r->arena, CHUNKS_MAX, sizeof *chunks);
    if (!chunks)
        return false;
    email->chunks = chunks;
    email->chunks_count = new_email_chunks(p->writer, chunks, CHUNKS_MAX);
    for (size_t i = 0; i < email->chunks_count; i++)
        if (!arena_dup(&r->arena, chunks[i].hash, &chunks[i].hash) ||
            !arena_dup(&r->arena, chunks[i].data, &chunks[i].data))
            return false;
    return true;
}

static bool copy_email(struct courier_report *r, const struct ingest_facts *facts,
                       struct ipc_email *ret)
{
    new_email_describe(facts, ret);
    return arena_dup(&r->arena, ret->structure, &ret->structure) &&
           arena_dup(&r->arena, ret->signature, &ret->signature) &&
           copy_text(&r->arena, &ret->message_id) && copy_text(&r->arena, &ret->in_reply_to) &&
           copy_text(&r->arena, &ret->subject);
}

/* All but its email. */
static void describe(struct courier_report *r)
{
    r->report = (struct ipc_report){
        .trace_id = r->dsn.id,
        .about = r->dsn.trace_id,
        .at_ms = r->dsn.now_ms,
        .recipient = r->plan,
    };
    r->report.envelope.body = dsn_needs_8bit(&r->dsn) ? SMTP_BODY_8BITMIME : 0;
    r->report.envelope.utf8 = dsn_needs_utf8(&r->dsn);
    r->report.envelope.requiretls = r->requiretls ? COURIER_REPORT_REQUIRETLS : 0;
}

static bool finish_email(struct courier_report *r, struct press *p)
{
    struct ingest_facts facts;
    describe(r);
    return ingest_finish(p->ingest, &facts) == STATUS_OK && copy_email(r, &facts, &r->report.email);
}

static bool make(struct courier_report *r)
{
    struct press *p = press_new();
    bool ok = p && !r->original.failed && compose(r, p) && finish_email(r, p) &&
              copy_chunks(r, p, &r->report.email);
    press_free(p);
    return ok;
}

/* ---- A large original, ahead of it ---- */

bool courier_report_is_apart(const struct courier_report *r)
{
    return r->is_apart && !r->is_shipped;
}

void courier_report_shorten(struct courier_report *r)
{
    courier_report_lost(r);
    r->is_apart = false;
    r->dsn.part = DSN_PART_HEADER;
}

bool courier_report_begin(struct courier_report *r)
{
    r->dsn.part = DSN_PART_HEADER;
    settle_original(r);
    r->dsn.part = DSN_PART_MESSAGE;
    r->dsn.part_is_8bit = r->dsn.part_is_8bit || r->is_8bit;
    r->press = press_new();
    return r->press && keep_begin(r, r->press) && keep(r->press, r->prefix);
}

bool courier_report_more(struct courier_report *r, struct str octets)
{
    return keep(r->press, octets);
}

bool courier_report_end(struct courier_report *r)
{
    return keep_end(r, r->press) && finish_email(r, r->press);
}

size_t courier_report_chunks(struct courier_report *r, struct ipc_chunk *chunks, size_t count_max)
{
    return new_email_chunks(r->press->writer, chunks, count_max);
}

void courier_report_chunks_sent(struct courier_report *r)
{
    body_writer_taken(r->press->writer);
}

void courier_report_shipped(struct courier_report *r, uint64_t body)
{
    r->report.email.body = body;
    r->is_shipped = r->is_made = true;
    press_free(r->press);
    r->press = NULL;
}

void courier_report_lost(struct courier_report *r)
{
    press_free(r->press);
    r->press = NULL;
    if (r->is_shipped)
        r->is_shipped = r->is_made = false;
    if (r->is_apart)
        r->dsn.part = DSN_PART_HEADER;
}

enum status_code courier_report_finish(struct courier_report *r, struct ipc_report *ret_report)
{
    if (!r->is_made) {
        r->original_lost |= courier_report_wants(r);
        if (!make(r))
            return STATUS_NO_MEMORY;
        r->is_made = true;
        r->is_apart = false;
        buf_release(&r->original);
    }
    *ret_report = r->report;
    return STATUS_OK;
}
