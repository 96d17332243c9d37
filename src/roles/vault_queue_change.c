#include "base/limits.h"
#include "roles/vault_internal.h"

/* What operators do with the queue, in slices, and the policies that couriers keep here. */

enum { ROWS_BUDGET = 32 * 1024 * 1024, STS_ID_SIZE_MAX = 64, STS_POLICY_SIZE_MAX = 65536 };

enum {
    QUEUE_HOLD,
    QUEUE_RELEASE,
    QUEUE_RETRY,
    QUEUE_BOUNCE,
    QUEUE_REMOVE,
    QUEUE_REROUTE,
    QUEUE_END,
};

struct changing {
    struct vault_batch *b;
    const struct ipc_queue_change_in *in;
    uint64_t destination; /* of a reroute; 0: none was named */
    uint64_t hurried;     /* the destination seen last */
    uint64_t changed;
};

static enum status_code trace(struct changing *c, const struct queue_row *row, struct str step)
{
    struct buf words;
    buf_init(&words, 2UL * LIMIT_QUEUE_WORDS_SIZE);
    vault_trace_value(&words, "to", row->recipient);
    vault_trace_value(&words, "destination", text_from(c->in->destination));
    vault_trace_value(&words, "words", c->in->words);
    c->changed++;
    enum status_code status =
        trace_add(&c->b->writer, row->trace_id, c->in->at_ms, step, text_from(buf_str(&words)));
    buf_release(&words);
    return status;
}

/* The row's destination is gone to now, whatever trouble there was. */
static enum status_code hurry(struct changing *c, const struct queue_row *row, uint8_t lane)
{
    struct vault_queue *q = &c->b->queue;
    struct destination_state state;
    if (row->destination != 0 && row->destination != c->hurried) {
        enum status_code status =
            destination_hurry(&c->b->writer, row->destination, q->clock_ms, &state);
        if (status != STATUS_OK)
            return status;
        vault_destination_waits(c->b, &state);
        c->hurried = row->destination;
    }
    return vault_row_waits(c->b, row->destination, lane, q->clock_ms, row->id);
}

static enum status_code hold(struct changing *c, const struct queue_row *row, struct lease *l)
{
    (void)l;
    if (row->held)
        return STATUS_OK;
    enum status_code status = waiting_hold(&c->b->writer, row->id);
    return status == STATUS_OK ? trace(c, row, STR("held")) : status;
}

/* Held rows may have come of an age at which they need attention. */
static enum status_code release(struct changing *c, const struct queue_row *row, struct lease *l)
{
    int64_t now_ms = c->b->queue.clock_ms;
    if (!row->held)
        return STATUS_OK;
    c->b->queue.attention = (struct queue_place){0};
    if (l)
        l->due_ms = now_ms;
    enum status_code status = waiting_release(&c->b->writer, row->id, true, now_ms);
    if (status == STATUS_OK)
        status = trace(c, row, STR("released"));
    if (status == STATUS_OK)
        status = vault_row_waits(c->b, row->destination, row->lane, now_ms, row->id);
    vault_attention_waits(c->b, now_ms, row->id);
    return status;
}

static enum status_code retry(struct changing *c, const struct queue_row *row, struct lease *l)
{
    /* What is out is being tried now. */
    if (row->held || l)
        return STATUS_OK;
    enum status_code status = waiting_release(&c->b->writer, row->id, false, c->b->queue.clock_ms);
    if (status == STATUS_OK)
        status = trace(c, row, STR("hurried"));
    return status == STATUS_OK ? hurry(c, row, row->lane) : status;
}

/* Only its report waits. */
static bool is_delivered(const struct queue_row *row)
{
    return row->task == IPC_TASK_DELIVERED || row->task == IPC_TASK_RELAYED;
}

static enum status_code bounce(struct changing *c, const struct queue_row *row, struct lease *l)
{
    int64_t now_ms = c->b->queue.clock_ms;
    struct text words = text_from(str_sub(text_peek(c->in->words), 0, LIMIT_QUEUE_WORDS_SIZE));
    if (is_delivered(row))
        return STATUS_OK;
    if (l)
        l->attention_ms = now_ms;
    enum status_code status = waiting_bounce(&c->b->writer, row->id, row->held, now_ms, words);
    vault_attention_waits(c->b, now_ms, row->id);
    return status == STATUS_OK ? trace(c, row, STR("given-up")) : status;
}

static enum status_code remove_row(struct changing *c, const struct queue_row *row, struct lease *l)
{
    bool removed = false, left = false;
    uint64_t body = 0;
    (void)l;
    enum status_code status = outgoing_body(c->b->writer.db, row->outgoing, &body);
    if (status == STATUS_OK)
        status = waiting_remove(&c->b->writer, row->id, &removed);
    if (status == STATUS_OK && removed)
        status = outgoing_end(&c->b->writer, row->outgoing, body, row->size, &left);
    if (status == STATUS_OK && left)
        vault_leave_body(c->b, body);
    return status == STATUS_OK ? trace(c, row, STR("removed")) : status;
}

/* Without a destination: the courier asks the configuration when it goes to the one it has. */
static enum status_code reroute(struct changing *c, const struct queue_row *row, struct lease *l)
{
    int64_t now_ms = c->b->queue.clock_ms;
    if (c->destination == 0)
        return retry(c, row, l);
    if (row->destination == c->destination || is_delivered(row))
        return STATUS_OK;
    if (l) {
        l->destination = c->destination;
        l->due_ms = now_ms;
    }
    enum status_code status = waiting_move(&c->b->writer, row->id, c->destination, now_ms);
    if (status == STATUS_OK)
        status = trace(c, row, STR("rerouted"));
    if (status == STATUS_OK && !row->held)
        status = vault_row_waits(c->b, c->destination, row->lane, now_ms, row->id);
    return status;
}

static enum status_code change_rows(struct changing *c, struct arena *a, uint64_t *ret_through)
{
    static enum status_code (*const actions[])(struct changing *, const struct queue_row *,
                                               struct lease *) = {
        [QUEUE_HOLD] = hold,     [QUEUE_RELEASE] = release,   [QUEUE_RETRY] = retry,
        [QUEUE_BOUNCE] = bounce, [QUEUE_REMOVE] = remove_row, [QUEUE_REROUTE] = reroute,
    };
    const struct ipc_selection *s = &c->in->selection;
    struct queue_selection selection = {.id = s->id,
                                        .trace_id = s->trace_id,
                                        .sender = s->sender,
                                        .recipient = s->recipient,
                                        .domain = s->domain,
                                        .older_ms = s->older_ms,
                                        .younger_ms = s->younger_ms,
                                        .held_only = s->held_only};
    struct queue_row *rows = NULL;
    size_t count = 0;
    enum status_code status =
        read_queue(c->b->writer.db, &selection, c->b->queue.clock_ms, c->in->after,
                   LIMIT_VAULT_SLICE, a, &rows, &count, ret_through);
    for (size_t i = 0; status == STATUS_OK && i < count; i++) {
        if (i > 0 && vault_budget_is_spent(&c->b->budget)) {
            *ret_through = rows[i - 1].id;
            break;
        }
        status = actions[c->in->action](c, &rows[i], vault_lease_find(&c->b->queue, rows[i].id));
    }
    return status;
}

static enum status_code change(struct changing *c, struct arena *a, struct diag *d,
                               uint64_t *ret_through)
{
    enum status_code status = STATUS_OK;
    if (c->in->action >= QUEUE_END) {
        diag_set(d, "no such action");
        return STATUS_INVALID;
    }
    if (c->in->action == QUEUE_REROUTE && !str_empty(c->in->destination)) {
        if (!vault_is_destination(c->in->destination)) {
            diag_set(d, "not the name of a destination: %.*s", STR_ARG(c->in->destination));
            return STATUS_INVALID;
        }
        status = vault_destination(c->b, c->in->destination, &c->destination);
    }
    return status == STATUS_OK ? change_rows(c, a, ret_through) : status;
}

void vault_queue_change(struct vault_batch *b, struct vault_ticket t,
                        const struct ipc_queue_change_in *in)
{
    struct vault_reply reply = {.ticket = t, .type = IPC_QUEUE_CHANGE};
    struct changing c = {.b = b, .in = in};
    struct ipc_queue_change_out *out = &reply.queue_change;
    struct diag d = {0};
    struct arena arena;
    arena_init(&arena, ROWS_BUDGET);
    if (vault_batch_begin(b, true)) {
        out->status = vault_guard(b);
        if (out->status == STATUS_OK)
            out->status = vault_unguard(b, change(&c, &arena, &d, &out->through));
        out->changed = c.changed;
        if (!arena_dup(&b->results, str_from_c(d.words), &out->words))
            out->words = STR("");
    }
    arena_reset(&arena);
    vault_answer(b, &reply);
}

void vault_store_restored(struct vault_batch *b, struct vault_ticket t,
                          const struct ipc_store_restored_in *in)
{
    struct vault_reply reply = {.ticket = t, .type = IPC_STORE_RESTORED};
    if (vault_batch_begin(b, true)) {
        reply.status = store_restored(&b->writer, in->at_ms, &reply.store_restored.held);
        vault_note(b, reply.status);
    }
    vault_answer(b, &reply);
}

void vault_sts_set(struct vault_batch *b, struct vault_ticket t, const struct ipc_sts_set_in *in)
{
    struct vault_reply reply = {.ticket = t, .type = IPC_STS_SET};
    struct sts_record record = {
        .id = in->id, .policy = in->policy, .fetched_ms = b->queue.clock_ms};
    if (str_empty(in->domain) || in->domain.len > LIMIT_DOMAIN_SIZE ||
        text_peek(in->id).len > STS_ID_SIZE_MAX ||
        text_peek(in->policy).len > STS_POLICY_SIZE_MAX) {
        vault_batch_gather(b);
        reply.status = STATUS_INVALID;
    } else if (vault_batch_begin(b, true)) {
        reply.status = sts_policy_set(&b->writer, in->domain, &record);
        vault_note(b, reply.status);
    }
    vault_answer(b, &reply);
}
