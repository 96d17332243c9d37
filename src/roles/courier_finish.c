#include "roles/courier_finish.h"

#include <stdlib.h>

#include "codec/utf8.h"
#include "mail/address.h"
#include "mail/downgrade.h"
#include "mail/mime.h"

/* ---- SMTPUTF8 ---- */

/*
 * A domain may travel as A-labels (RFC 6531 §3.2), a local part only as it is. What is no mailbox
 * is judged as a whole.
 */
static bool address_needs_utf8(struct text address)
{
    struct mailbox_address parsed;
    if (address_parse_mailbox(text_peek(address), &parsed) != ADDRESS_OK)
        return !utf8_is_ascii(text_peek(address));
    return !utf8_is_ascii(parsed.local);
}

static bool envelope_needs_utf8(const struct ipc_job *job,
                                const struct ipc_job_recipient *recipients, size_t count)
{
    bool needs = address_needs_utf8(job->sender);
    for (size_t i = 0; i < count; i++)
        needs |= address_needs_utf8(recipients[i].recipient);
    return needs;
}

/* RFC 6532 §3: the header of the message, and those of its parts as far as they are here. */
static bool header_needs_utf8(struct str prefix, struct str head, bool *ret_no_memory)
{
    bool needs = false;
    struct arena arena;
    struct mime_event event;
    struct mime_parser *p = malloc(sizeof *p);
    if (!p) {
        *ret_no_memory = true;
        return false;
    }
    arena_init(&arena, 8 * 1024 * 1024);
    mime_init(p, &arena);
    for (int i = 0; i < 2; i++) {
        struct str *bytes = i == 0 ? &prefix : &head;
        do {
            mime_next(p, bytes, &event);
            needs |= event.kind == MIME_HEADER && !utf8_is_ascii(event.bytes);
        } while (event.kind != MIME_MORE);
    }
    while (!mime_end(p, &event))
        needs |= event.kind == MIME_HEADER && !utf8_is_ascii(event.bytes);
    *ret_no_memory = p->failed;
    mime_release(p);
    arena_reset(&arena);
    free(p);
    return needs;
}

/*
 * RFC 6531 §3.2: SMTPUTF8 should not be said where nothing needs it. Where the body is not all here
 * and the sender said it, the next server is told so too; one that does not know it gets the
 * message if nothing is seen that needs it.
 */
static bool needs_utf8(const struct ipc_job *job, const struct ipc_job_recipient *recipients,
                       size_t count, struct str head, bool is_whole,
                       const struct courier_next_hop *hop, bool *ret_no_memory)
{
    if (envelope_needs_utf8(job, recipients, count))
        return true;
    if (!job->envelope.utf8)
        return false;
    if (!is_whole && hop->smtputf8)
        return true;
    return header_needs_utf8(job->prefix, head, ret_no_memory);
}

bool courier_finish_address(struct buf *out, struct text address, bool say_smtputf8)
{
    struct mailbox_address parsed;
    if (address_parse_mailbox(text_peek(address), &parsed) != ADDRESS_OK)
        return false;
    if (say_smtputf8 || !parsed.is_utf8)
        return address_print(out, &parsed);
    struct buf domain;
    buf_init(&domain, 4 * 256);
    bool ok = utf8_is_ascii(parsed.local) && address_normal_domain(&domain, parsed.domain);
    parsed.domain = buf_str(&domain);
    out->failed = out->failed || domain.failed;
    ok = ok && address_print(out, &parsed);
    buf_release(&domain);
    return ok;
}

/* ---- the body ---- */

/* Sets what is to be converted; *ret_target only where something is. */
static bool must_convert(const struct ipc_job *job, const struct courier_next_hop *hop,
                         enum downgrade_target *ret_target)
{
    bool binary = job->envelope.body == SMTP_BODY_BINARYMIME;
    if (binary && hop->binary_mime && hop->chunking)
        return false;
    *ret_target = hop->eight_bit_mime ? DOWNGRADE_TO_8BIT : DOWNGRADE_TO_7BIT;
    return binary || !hop->eight_bit_mime;
}

static enum smtp_body_type body_parameter(const struct ipc_job *job, struct str head,
                                          bool converted, const struct courier_next_hop *hop)
{
    if (job->envelope.body == SMTP_BODY_BINARYMIME && !converted && hop->binary_mime &&
        hop->chunking)
        return SMTP_BODY_BINARYMIME;
    if (!hop->eight_bit_mime)
        return SMTP_BODY_7BIT;
    bool eight = job->envelope.body != SMTP_BODY_7BIT || !utf8_is_ascii(head);
    return eight ? SMTP_BODY_8BITMIME : SMTP_BODY_7BIT;
}

void courier_finish_plan(const struct ipc_job *job, const struct ipc_job_recipient *recipients,
                         size_t count, struct str head, bool is_whole,
                         const struct courier_next_hop *hop, struct courier_finish_plan *ret_plan)
{
    struct courier_finish_plan plan = {.prefix = job->prefix, .unchanged = true};
    enum downgrade_target target = DOWNGRADE_TO_8BIT;
    plan.say_smtputf8 = needs_utf8(job, recipients, count, head, is_whole, hop, &plan.no_memory);
    if (plan.say_smtputf8 && !hop->smtputf8) {
        plan.refusal_status = STR("5.6.7"); /* RFC 6531 §3.5 */
        plan.refusal_words =
            STR("the next server takes only plain English letters in addresses and "
                "headers (no SMTPUTF8), and this message has others");
        plan.say_smtputf8 = false;
    }
    if (must_convert(job, hop, &target))
        plan.unchanged = is_whole && downgrade_is_needless(job->prefix, target) &&
                         downgrade_is_needless(head, target);
    plan.target = (uint8_t)target;
    plan.body = body_parameter(job, head, !plan.unchanged, hop);
    plan.size = plan.unchanged ? job->prefix.len + job->size : 0;
    *ret_plan = plan;
}

/* ---- the octets ---- */

struct courier_finish {
    struct str prefix; /* until it is written */
    struct downgrade *downgrade;
    bool unchanged;
};

struct courier_finish *courier_finish_begin(const struct courier_finish_plan *plan)
{
    struct courier_finish *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->prefix = plan->prefix;
    f->unchanged = plan->unchanged;
    if (!plan->unchanged)
        f->downgrade = downgrade_new((enum downgrade_target)plan->target);
    if (f->unchanged || f->downgrade)
        return f;
    free(f);
    return NULL;
}

void courier_finish_free(struct courier_finish *f)
{
    if (!f)
        return;
    downgrade_free(f->downgrade);
    free(f);
}

static enum courier_finish_result result_of(enum downgrade_result result)
{
    static const enum courier_finish_result results[] = {
        [DOWNGRADE_OK] = FINISH_OK,
        [DOWNGRADE_IMPOSSIBLE] = FINISH_IMPOSSIBLE,
        [DOWNGRADE_NO_MEMORY] = FINISH_NO_MEMORY,
    };
    return results[result];
}

static enum courier_finish_result pass(struct courier_finish *f, struct str octets, struct buf *out)
{
    if (f->downgrade)
        return result_of(downgrade_write(f->downgrade, octets, out));
    return buf_append_str(out, octets) ? FINISH_OK : FINISH_NO_MEMORY;
}

enum courier_finish_result courier_finish_write(struct courier_finish *f, struct str octets,
                                                struct buf *out)
{
    enum courier_finish_result result = pass(f, f->prefix, out);
    f->prefix = STR("");
    return result == FINISH_OK ? pass(f, octets, out) : result;
}

enum courier_finish_result courier_finish_end(struct courier_finish *f, struct buf *out)
{
    enum courier_finish_result result = courier_finish_write(f, STR(""), out);
    if (result != FINISH_OK || !f->downgrade)
        return result;
    return result_of(downgrade_end(f->downgrade, out));
}
