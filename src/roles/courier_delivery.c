#include "roles/courier_delivery.h"

#include "base/bug.h"
#include "base/limits.h"

enum { DELIVERY_BUDGET = 4 * 1024 * 1024, WORDS_SIZE = 4096, S_MS = 1000, SHUTDOWN_CODE = 421 };

void courier_delivery_begin(struct courier_delivery *d, struct courier *c, struct courier_job *job,
                            struct smtp_client *engine, void (*ready)(void *context), void *context)
{
    invariant(!d->job);
    *d = (struct courier_delivery){.courier = c, .job = job, .engine = engine};
    arena_init(&d->arena, DELIVERY_BUDGET);
    buf_init(&d->converted, COURIER_FINISH_OUT_MAX(LIMIT_CHUNK_SIZE));
    courier_body_begin(&d->body, c, job, ready, context);
}

struct courier_job *courier_delivery_end(struct courier_delivery *d)
{
    struct courier_job *job = d->job;
    courier_body_release(&d->body);
    courier_finish_free(d->finish);
    d->finish = NULL;
    buf_release(&d->converted);
    arena_reset(&d->arena);
    d->job = NULL;
    return job;
}

/* ---- What is said ---------------------------------------------------------------------------- */

static void refuse_rest(struct courier_delivery *d, const struct courier_hop *hop,
                        struct str status, struct str words)
{
    courier_job_end_rest(d->courier, d->job,
                         &(struct courier_fate){.outcome = IPC_OUTCOME_FAILED,
                                                .status = status,
                                                .words = text_from(words),
                                                .remote = text_from(hop->remote),
                                                .tls = hop->tls});
}

/* RFC 8689 §4.2.1, and as good for SMTPUTF8: what this host lacks, the next one may have. */
static void refuse_here(struct courier_delivery *d, const struct courier_hop *hop,
                        struct str status, struct str words)
{
    if (hop->has_others)
        d->lacking = true;
    else
        refuse_rest(d, hop, status, words);
}

/* It is us, not the next server. */
static void put_off_rest(struct courier_delivery *d, struct str status, struct str words)
{
    courier_job_end_rest(d->courier, d->job,
                         &(struct courier_fate){.outcome = IPC_OUTCOME_LATER,
                                                .status = status,
                                                .words = text_from(words)});
}

static bool address(struct courier_delivery *d, struct text from, struct str *ret)
{
    struct buf out;
    if (str_empty(text_peek(from))) {
        *ret = (struct str){0};
        return true;
    }
    buf_init(&out, 2 * LIMIT_PATH_SIZE + LIMIT_DOMAIN_SIZE);
    bool ok = courier_finish_address(&out, from, d->plan.say_smtputf8);
    if (out.failed || (ok && !arena_dup(&d->arena, buf_str(&out), ret)))
        d->no_memory = true;
    buf_release(&out);
    return ok && !d->no_memory;
}

static void refuse_address(struct courier_delivery *d, size_t index)
{
    courier_job_end(d->courier, d->job, index,
                    &(struct courier_fate){
                        .outcome = IPC_OUTCOME_FAILED,
                        .status = STR("5.6.7"),
                        .words = text_from(STR("the next server takes no address of this kind")),
                    });
}

/* Those that are left, as the engine wants them; none where all addresses were refused. */
static bool name_recipients(struct courier_delivery *d)
{
    const struct ipc_job *job = &d->job->job;
    struct smtp_client_recipient *list =
        arena_alloc_array(&d->arena, job->recipients_count, sizeof *list);
    d->recipients = arena_alloc_array(&d->arena, job->recipients_count, sizeof *d->recipients);
    uint32_t count = 0;
    d->no_memory = d->no_memory || !list || !d->recipients;
    for (size_t i = 0; !d->no_memory && i < job->recipients_count; i++) {
        const struct ipc_job_recipient *r = &job->recipients[i];
        if (d->job->ends[i].ended)
            continue;
        if (!address(d, r->recipient, &list[count].path)) {
            if (!d->no_memory)
                refuse_address(d, i);
            continue;
        }
        list[count].notify = r->notify;
        list[count].orcpt = text_peek(r->orcpt);
        d->recipients[count++] = (uint32_t)i;
    }
    d->message.recipients = list;
    d->message.recipient_count = count;
    return count > 0 && !d->no_memory;
}

/* A report about such a message is rather sent anyway than lost (RFC 8689 §5). */
static bool must_require_tls(uint8_t requiretls, const struct courier_hop *hop)
{
    if (hop->is_here)
        return false;
    if (requiretls == COURIER_REPORT_REQUIRETLS)
        return hop->abilities->requiretls && !str_empty(hop->tls);
    return requiretls != 0;
}

static bool name_message(struct courier_delivery *d, const struct courier_hop *hop)
{
    const struct ipc_job *job = &d->job->job;
    const struct ipc_envelope *e = &job->envelope;
    d->message = (struct smtp_client_message){.size = d->plan.size,
                                              .body = d->plan.body,
                                              .utf8 = d->plan.say_smtputf8,
                                              .requiretls = must_require_tls(e->requiretls, hop),
                                              .envid = text_peek(e->envid),
                                              .ret = (enum smtp_ret)e->ret,
                                              .by_mode = (enum smtp_by_mode)e->by_mode,
                                              .by_trace = e->by_trace,
                                              .by_s = e->by_ms / S_MS,
                                              .priority = (int)e->priority};
    return address(d, job->sender, &d->message.reverse_path) && name_recipients(d);
}

static void make_plan(struct courier_delivery *d, const struct courier_hop *hop)
{
    const struct ipc_job *job = &d->job->job;
    const struct smtp_abilities *a = hop->abilities;
    struct courier_next_hop next = {.eight_bit_mime = a->eight_bit_mime,
                                    .binary_mime = a->binary_mime && a->chunking,
                                    .chunking = a->chunking,
                                    .smtputf8 = a->smtputf8};
    struct ipc_job_recipient *left =
        arena_alloc_array(&d->arena, job->recipients_count, sizeof *left);
    size_t count = 0;
    for (size_t i = 0; left && i < job->recipients_count; i++)
        if (!d->job->ends[i].ended)
            left[count++] = job->recipients[i];
    courier_finish_plan(job, left, count, d->piece, courier_body_at_end(&d->body), &next, &d->plan);
    d->no_memory = !left || d->plan.no_memory;
}

/* The first chunk is there: how the message is said, and begins. */
static enum courier_delivery_state begin(struct courier_delivery *d, const struct courier_hop *hop,
                                         struct now now)
{
    uint8_t requiretls = d->job->job.envelope.requiretls;
    if (requiretls && requiretls != COURIER_REPORT_REQUIRETLS && !hop->authentic && !hop->is_here) {
        refuse_here(d, hop, STR("5.7.30"),
                    STR("the message requires TLS, and the next server is not known to be who it "
                        "should be"));
        return DELIVERY_OVER;
    }
    make_plan(d, hop);
    if (d->no_memory) {
        put_off_rest(d, STR("4.3.1"), STR("no memory for the message"));
        return DELIVERY_OVER;
    }
    if (!str_empty(d->plan.refusal_status)) {
        refuse_here(d, hop, d->plan.refusal_status, d->plan.refusal_words);
        return DELIVERY_OVER;
    }
    if (!name_message(d, hop)) {
        if (d->no_memory)
            put_off_rest(d, STR("4.3.1"), STR("no memory for the message"));
        else if (d->job->left > 0)
            refuse_rest(d, hop, STR("5.6.7"),
                        STR("the next server takes no sender's address of this kind"));
        return DELIVERY_OVER;
    }
    if (!d->plan.unchanged) {
        d->finish = courier_finish_begin(&d->plan);
        if (!d->finish) {
            put_off_rest(d, STR("4.3.1"), STR("no memory to convert the message"));
            return DELIVERY_OVER;
        }
    }
    d->begun = true;
    smtp_client_send(d->engine, &d->message, now);
    return DELIVERY_GOES_ON;
}

/* ---- The body ----------------------------------------------------------------------------------
 */

static enum courier_delivery_state break_off(struct courier_delivery *d, struct str status,
                                             struct str words)
{
    d->broken = true;
    d->broken_status = status;
    d->broken_words = words;
    return DELIVERY_BROKEN;
}

static enum courier_delivery_state convert(struct courier_delivery *d, struct str octets, bool last)
{
    buf_clear(&d->converted);
    enum courier_finish_result result = courier_finish_write(d->finish, octets, &d->converted);
    if (result == FINISH_OK && last)
        result = courier_finish_end(d->finish, &d->converted);
    if (result == FINISH_IMPOSSIBLE)
        return break_off(d, STR(COURIER_FINISH_IMPOSSIBLE_STATUS),
                         STR(COURIER_FINISH_IMPOSSIBLE_WORDS));
    if (result != FINISH_OK)
        return break_off(d, STR("4.3.1"), STR("no memory to convert the message"));
    d->piece = buf_str(&d->converted);
    d->piece_is_last = last;
    return DELIVERY_GOES_ON;
}

/* The first piece is at hand since the plan was made; the prefix goes in front of it. */
static enum courier_delivery_state first_piece(struct courier_delivery *d)
{
    bool last = courier_body_at_end(&d->body);
    d->prefix_is_said = true;
    if (!d->plan.unchanged)
        return convert(d, d->piece, last);
    d->piece_is_last = last;
    if (str_empty(d->plan.prefix))
        return DELIVERY_GOES_ON;
    buf_clear(&d->converted);
    if (!buf_append_str(&d->converted, d->plan.prefix) || !buf_append_str(&d->converted, d->piece))
        return break_off(d, STR("4.3.1"), STR("no memory for the message"));
    d->piece = buf_str(&d->converted);
    return DELIVERY_GOES_ON;
}

static enum courier_delivery_state next_piece(struct courier_delivery *d)
{
    struct str octets = {0};
    switch (courier_body_next(&d->body, &octets)) {
    case BODY_WAIT:
        return DELIVERY_WAITS;
    case BODY_LOST:
        return break_off(d, STR("4.3.0"), STR("the message cannot be read at the moment"));
    case BODY_END:
    case BODY_PIECE:
        break;
    }
    bool last = courier_body_at_end(&d->body);
    if (!d->plan.unchanged)
        return convert(d, octets, last);
    d->piece = octets;
    d->piece_is_last = last;
    return DELIVERY_GOES_ON;
}

/* Gives the engine what it takes. */
static enum courier_delivery_state feed(struct courier_delivery *d, struct now now)
{
    enum courier_delivery_state state = DELIVERY_GOES_ON;
    while (d->wanted && !d->whole && state == DELIVERY_GOES_ON) {
        if (!d->prefix_is_said)
            state = first_piece(d);
        else if (str_empty(d->piece) && !d->piece_is_last)
            state = next_piece(d);
        if (state != DELIVERY_GOES_ON)
            break;
        size_t n = smtp_client_body(d->engine, d->piece, d->piece_is_last, now);
        d->piece = str_skip(d->piece, n);
        if (!str_empty(d->piece))
            break;
        d->whole = d->piece_is_last;
    }
    return state;
}

enum courier_delivery_state courier_delivery_run(struct courier_delivery *d,
                                                 const struct courier_hop *hop, struct now now)
{
    if (d->broken)
        return DELIVERY_BROKEN;
    if (d->begun)
        return feed(d, now);
    struct str octets = {0};
    switch (courier_body_next(&d->body, &octets)) {
    case BODY_WAIT:
        return DELIVERY_WAITS;
    case BODY_LOST:
        put_off_rest(d, STR("4.3.0"), STR("the message cannot be read at the moment"));
        return DELIVERY_OVER;
    case BODY_END:
    case BODY_PIECE:
        break;
    }
    d->piece = octets;
    return begin(d, hop, now);
}

void courier_delivery_body_wanted(struct courier_delivery *d)
{
    d->wanted = true;
}

/* ---- Ends ---------------------------------------------------------------------------------- */

static uint8_t outcome_of(enum smtp_client_verdict verdict)
{
    switch (verdict) {
    case SMTP_CLIENT_TAKEN:
        return IPC_OUTCOME_DONE;
    case SMTP_CLIENT_REFUSED:
    case SMTP_CLIENT_LACKING:
        return IPC_OUTCOME_FAILED;
    default:
        return IPC_OUTCOME_LATER;
    }
}

void courier_delivery_recipient(struct courier_delivery *d, const struct smtp_client_result *result,
                                const struct courier_hop *hop)
{
    struct buf words, status;
    const struct smtp_client_reply *reply = &result->reply;
    d->taken = d->taken || (reply->code != 0 && reply->code != SHUTDOWN_CODE);
    if (result->verdict == SMTP_CLIENT_AGAIN)
        return;
    if (result->verdict == SMTP_CLIENT_LACKING && hop->has_others) {
        d->lacking = true;
        return;
    }
    if (result->verdict == SMTP_CLIENT_UNKNOWN)
        metric_add(d->courier->counts.maybe_repeated, 1);
    buf_init(&words, WORDS_SIZE);
    buf_init(&status, 32);
    courier_reply_words(reply, &words);
    courier_reply_status(reply, &status);
    struct courier_fate fate = {.outcome = outcome_of(result->verdict),
                                .status = buf_str(&status),
                                .words = text_from(buf_str(&words)),
                                .remote = text_from(hop->remote),
                                .tls = hop->tls,
                                .is_reply = reply->code != 0,
                                .next_tells = hop->abilities && hop->abilities->dsn,
                                .is_final = hop->lmtp};
    if (d->broken) { /* it was us who broke it off */
        fate.outcome = d->broken_status.ptr[0] == '5' ? IPC_OUTCOME_FAILED : IPC_OUTCOME_LATER;
        fate.status = d->broken_status;
        fate.words = text_from(d->broken_words);
        fate.is_reply = false;
    }
    courier_job_end(d->courier, d->job, d->recipients[result->index], &fate);
    buf_release(&words);
    buf_release(&status);
}
