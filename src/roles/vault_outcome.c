#include "base/limits.h"
#include "roles/vault_internal.h"

/*
 * What became of leased rows. Rows that the courier does not have (any more) are passed over: their
 * outcome is known, or they are somebody else's now.
 */

enum {
    WORDS_SIZE = 4096,
    TOLD_MAX = 8192,
    TLS_POLICY_SIZE_MAX = 65536,
    DAY_MS = 24 * 60 * 60 * 1000,
};

static const int64_t RETRY_MS_MAX = 30LL * DAY_MS;

struct settling {
    struct vault_batch *b;
    struct lease *lease;
    const struct ipc_outcome *outcome;
    int64_t at_ms;
};

static int64_t later(const struct vault_queue *q, int64_t retry_ms)
{
    if (retry_ms < 0)
        retry_ms = 0;
    return q->clock_ms + (retry_ms < RETRY_MS_MAX ? retry_ms : RETRY_MS_MAX);
}

static struct text clip(struct text words)
{
    return text_from(str_sub(text_peek(words), 0, LIMIT_QUEUE_WORDS_SIZE));
}

/* ---- Traces ------------------------------------------------------------------------------------
 */

static struct str lease_trace(const struct lease *l)
{
    return str_make(l->bytes, l->trace_len);
}

static struct str lease_recipient(const struct lease *l)
{
    return str_make(l->bytes + l->trace_len, l->recipient_len);
}

/* The step, with the remote's own words. */
static enum status_code trace(struct settling *s, struct str step)
{
    const struct ipc_outcome *o = s->outcome;
    struct buf words;
    buf_init(&words, WORDS_SIZE);
    vault_trace_value(&words, "to", text_from(lease_recipient(s->lease)));
    vault_trace_value(&words, "remote", o->remote);
    vault_trace_value(&words, "tls", text_from(o->tls));
    vault_trace_value(&words, "status", text_from(o->status));
    vault_trace_value(&words, "destination", text_from(o->destination));
    vault_trace_value(&words, "words", clip(o->words));
    enum status_code status =
        trace_add(&s->b->writer, lease_trace(s->lease), s->at_ms, step, text_from(buf_str(&words)));
    buf_release(&words);
    return status;
}

/* ---- Outcomes ----------------------------------------------------------------------------------
 */

/* The row is over, and with it maybe its message. An operator may have removed it meanwhile. */
static enum status_code end_row(struct settling *s, struct str step)
{
    bool removed = false, left = false;
    const struct lease *l = s->lease;
    enum status_code status = waiting_remove(&s->b->writer, l->id, &removed);
    if (status == STATUS_OK && removed)
        status = outgoing_end(&s->b->writer, l->outgoing, l->body, l->size, &left);
    if (status == STATUS_OK && left)
        vault_leave_body(s->b, l->body);
    return status == STATUS_OK ? trace(s, step) : status;
}

static enum status_code done(struct settling *s)
{
    if (s->lease->task == IPC_TASK_DELIVERED || s->lease->task == IPC_TASK_RELAYED)
        return end_row(s, STR("reported"));
    if (s->lease->task == IPC_TASK_DELIVER || !str_empty(text_peek(s->outcome->remote))) {
        s->b->numbers.relayed++;
        return end_row(s, STR("relayed"));
    }
    s->b->numbers.bounced++;
    return end_row(s, s->lease->task == IPC_TASK_EXPIRED ? STR("expired") : STR("bounced"));
}

static enum status_code failed(struct settling *s)
{
    s->b->numbers.bounced++;
    return end_row(s, STR("bounced"));
}

/* The row waits where and as it did. */
static enum status_code wait_again(struct settling *s, int64_t due_ms, int64_t attention_ms)
{
    vault_attention_waits(s->b, attention_ms, s->lease->id);
    return vault_row_waits(s->b, s->lease->destination, s->lease->lane, due_ms, s->lease->id);
}

static enum status_code defer(struct settling *s)
{
    const struct ipc_outcome *o = s->outcome;
    struct attempt attempt = {.at_wall_ms = s->at_ms,
                              .status = str_sub(o->status, 0, 16),
                              .words = clip(o->words),
                              .remote = clip(o->remote)};
    int64_t due_ms = later(&s->b->queue, o->retry_ms);
    if (o->noticed)
        s->lease->attention_ms = s->lease->expires_ms;
    s->b->numbers.deferred++;
    enum status_code status = waiting_defer(&s->b->writer, s->lease->id, due_ms,
                                            s->lease->attention_ms, o->noticed, &attempt);
    if (status == STATUS_OK)
        status = trace(s, STR("deferred"));
    return status == STATUS_OK ? wait_again(s, due_ms, s->lease->attention_ms) : status;
}

/*
 * The next server has it: that is durable before anybody is told, since the report may take its
 * time. What is said again after its answer was lost changes nothing.
 */
static enum status_code hand_over(struct settling *s, uint8_t task)
{
    const struct ipc_outcome *o = s->outcome;
    struct attempt attempt = {.at_wall_ms = s->at_ms,
                              .status = str_sub(o->status, 0, 16),
                              .words = clip(o->words),
                              .remote = clip(o->remote)};
    int64_t now_ms = s->b->queue.clock_ms;
    bool changed = false;
    enum status_code status =
        waiting_handed(&s->b->writer, s->lease->id, task, now_ms, &attempt, &changed);
    vault_attention_waits(s->b, now_ms, s->lease->id);
    if (status != STATUS_OK || !changed)
        return status;
    s->b->numbers.relayed++;
    return trace(s, STR("relayed"));
}

/* A report that could not be made now; the row itself has not been tried. */
static enum status_code postpone(struct settling *s)
{
    int64_t attention_ms = later(&s->b->queue, s->outcome->retry_ms);
    enum status_code status = waiting_postpone(&s->b->writer, s->lease->id, attention_ms);
    return status == STATUS_OK ? wait_again(s, s->lease->due_ms, attention_ms) : status;
}

static enum status_code notice(struct settling *s)
{
    int64_t attention_ms = s->lease->expires_ms;
    enum status_code status = waiting_noticed(&s->b->writer, s->lease->id, attention_ms);
    if (status == STATUS_OK)
        status = trace(s, STR("delayed"));
    return status == STATUS_OK ? wait_again(s, s->lease->due_ms, attention_ms) : status;
}

/* The configuration sends it elsewhere now. */
static enum status_code move(struct settling *s)
{
    uint64_t destination = 0;
    int64_t now_ms = s->b->queue.clock_ms;
    if (!vault_is_destination(s->outcome->destination))
        return wait_again(s, s->lease->due_ms, s->lease->attention_ms);
    enum status_code status = vault_destination(s->b, s->outcome->destination, &destination);
    if (status == STATUS_OK && destination != s->lease->destination) {
        status = waiting_move(&s->b->writer, s->lease->id, destination, now_ms);
        if (status == STATUS_OK)
            status = trace(s, STR("rerouted"));
    }
    if (status != STATUS_OK)
        return status;
    vault_attention_waits(s->b, s->lease->attention_ms, s->lease->id);
    return vault_row_waits(s->b, destination, s->lease->lane, now_ms, s->lease->id);
}

static enum status_code settle(struct settling *s)
{
    switch (s->outcome->outcome) {
    case IPC_OUTCOME_DONE:
        return done(s);
    case IPC_OUTCOME_FAILED:
        return failed(s);
    case IPC_OUTCOME_LATER:
        return s->lease->task == IPC_TASK_DELIVER ? defer(s) : postpone(s);
    case IPC_OUTCOME_MOVED:
        return move(s);
    case IPC_OUTCOME_NOTICED:
        return notice(s);
    case IPC_OUTCOME_HANDED_DELIVERED:
        return hand_over(s, IPC_TASK_DELIVERED);
    case IPC_OUTCOME_HANDED_RELAYED:
        return hand_over(s, IPC_TASK_RELAYED);
    default:
        return wait_again(s, s->lease->due_ms, s->lease->attention_ms);
    }
}

static enum status_code take_outcomes(struct vault_batch *b, const void *owner,
                                      const struct ipc_outcomes_in *in)
{
    struct vault_queue *q = &b->queue;
    enum status_code status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < in->outcomes_count; i++) {
        struct settling s = {.b = b, .outcome = &in->outcomes[i], .at_ms = in->at_ms};
        s.lease = vault_lease_find(q, s.outcome->recipient);
        if (!s.lease || s.lease->owner != owner || s.lease->settled)
            continue;
        s.lease->settled = true;
        s.lease->next_settled = q->settled;
        q->settled = s.lease;
        status = settle(&s);
    }
    return status;
}

/* ---- Reports -----------------------------------------------------------------------------------
 */

static enum status_code trace_report(struct vault_batch *b, const struct ipc_report *r,
                                     struct str step)
{
    struct buf words;
    buf_init(&words, WORDS_SIZE);
    vault_trace_value(&words, "report", text_from(r->trace_id));
    vault_trace_value(&words, "to", r->recipient.recipient);
    enum status_code status =
        vault_is_trace_id(r->about)
            ? trace_add(&b->writer, r->about, r->at_ms, step, text_from(buf_str(&words)))
            : STATUS_OK;
    buf_release(&words);
    return status;
}

/* Its row, where it is one that ended here just now and has had no report yet. */
static struct lease *find_settled(struct vault_queue *q, const void *owner,
                                  const struct ipc_outcome *outcome, struct str about)
{
    struct lease *l = vault_lease_find(q, outcome->recipient);
    bool due =
        l && l->settled && !l->reported && l->owner == owner && str_eq(lease_trace(l), about);
    return due ? l : NULL;
}

/*
 * Is it about a row that ended here just now? A courier is no way to write into mailboxes: there is
 * one report at most for each row. They come in the order of the outcomes, mostly: so the search
 * begins behind the last one's row, and goes all the way round.
 */
static bool is_about_settled(struct vault_queue *q, const void *owner,
                             const struct ipc_outcomes_in *in, struct str about, size_t *at)
{
    for (size_t n = 0; n < in->outcomes_count; n++) {
        size_t i = (*at + n) % in->outcomes_count;
        struct lease *l = find_settled(q, owner, &in->outcomes[i], about);
        if (!l)
            continue;
        l->reported = true;
        *at = i + 1;
        return true;
    }
    return false;
}

/*
 * A message like any other, with the null reverse-path. One that is sent again, because the answer
 * to its commit was lost, is known by its trace. One whose recipient has gone is dropped, and said
 * so: there is nobody to tell.
 */
static enum status_code take_report(struct vault_batch *b, void *owner,
                                    const struct ipc_outcomes_in *outcomes,
                                    const struct ipc_report *r, size_t *at)
{
    struct ipc_accept_result *results = NULL;
    bool known = false;
    struct ipc_accept_in in = {.trace_id = r->trace_id,
                               .received_at_ms = r->at_ms,
                               .envelope = r->envelope,
                               .email = r->email,
                               .recipients = &r->recipient,
                               .recipients_count = 1};
    enum status_code status = trace_known(b->writer.db, r->trace_id, &known);
    if (status == STATUS_OK && !known &&
        is_about_settled(&b->queue, owner, outcomes, r->about, at)) {
        status = vault_accept_message(b, owner, &in, r->prefix, &results);
        if (!vault_is_failure(status))
            status =
                trace_report(b, r, status == STATUS_OK ? STR("report") : STR("report-dropped"));
    }
    vault_drop_body(b, owner, r->email.body);
    return status;
}

/* ---- Arrivals, TLS -----------------------------------------------------------------------------
 */

static enum status_code take_arrival(struct vault_batch *b, const void *owner,
                                     const struct ipc_arrival *a)
{
    struct vault_queue *q = &b->queue;
    struct active *active = vault_active_find(q, a->destination);
    bool trouble = a->state == IPC_ARRIVAL_NOT_REACHED;
    struct destination_news news = {.arrived = true,
                                    .trouble = trouble,
                                    .not_before_ms = trouble ? later(q, a->retry_ms) : INT64_MIN,
                                    .at_ms = q->clock_ms,
                                    .words = clip(a->words)};
    struct destination_state state;
    if (active && active->owner != owner)
        return STATUS_OK;
    if (active)
        active->ended = q->any_ended = true;
    q->wanted = 0;
    enum status_code status = destination_settle(&b->writer, a->destination, &news, &state);
    if (status == STATUS_OK)
        vault_destination_waits(b, &state);
    return status;
}

/* No names that no DNS has, however strange the peer. */
static bool is_tls_outcome(const struct ipc_tls_outcome *t)
{
    return t->domain.len <= LIMIT_DOMAIN_SIZE && t->mx.len <= LIMIT_DOMAIN_SIZE &&
           t->result.len <= LIMIT_DOMAIN_SIZE && t->receiving_ip.len <= LIMIT_DOMAIN_SIZE &&
           t->sending_ip.len <= LIMIT_DOMAIN_SIZE &&
           text_peek(t->policy).len <= TLS_POLICY_SIZE_MAX;
}

static enum status_code take_tls(struct vault_batch *b, int64_t at_ms,
                                 const struct ipc_tls_outcome *t)
{
    if (!is_tls_outcome(t))
        return STATUS_OK;
    struct tls_result_row row = {.domain = t->domain,
                                 .policy_type = t->policy_type,
                                 .policy = t->policy,
                                 .mx = t->mx,
                                 .result = t->result,
                                 .receiving_ip = t->receiving_ip,
                                 .sending_ip = t->sending_ip,
                                 .words = clip(t->words),
                                 .sessions = t->sessions};
    return tls_result_add(&b->writer, at_ms / DAY_MS, &row);
}

static enum status_code take_all(struct vault_batch *b, void *owner,
                                 const struct ipc_outcomes_in *in)
{
    enum status_code status = take_outcomes(b, owner, in);
    size_t at = 0;
    for (size_t i = 0; status == STATUS_OK && i < in->reports_count; i++)
        status = take_report(b, owner, in, &in->reports[i], &at);
    for (size_t i = 0; status == STATUS_OK && i < in->arrivals_count; i++)
        status = take_arrival(b, owner, &in->arrivals[i]);
    for (size_t i = 0; status == STATUS_OK && i < in->tls_count; i++)
        status = take_tls(b, in->at_ms, &in->tls[i]);
    return status;
}

/* More than a courier that is itself ever says at once; it is all one transaction. */
static bool is_too_long(const struct ipc_outcomes_in *in)
{
    return in->outcomes_count + in->reports_count + in->arrivals_count + in->tls_count > TOLD_MAX;
}

/* A failure in between leaves half of it written, so it dooms the batch whatever it is. */
void vault_outcomes(struct vault_batch *b, struct vault_ticket t, const struct ipc_outcomes_in *in)
{
    struct vault_reply reply = {.ticket = t, .type = IPC_OUTCOMES};
    if (!vault_courier_ready(&b->queue, t.owner)) {
        vault_batch_gather(b);
        reply.status = STATUS_BUSY;
    } else if (is_too_long(in)) {
        vault_batch_gather(b);
        reply.status = STATUS_INVALID;
    } else if (vault_batch_begin(b, true)) {
        reply.status = take_all(b, t.owner, in);
        if (reply.status != STATUS_OK)
            vault_note(b, vault_is_failure(reply.status) ? reply.status : STATUS_CORRUPT);
    }
    vault_answer(b, &reply);
}
