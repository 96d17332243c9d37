#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/limits.h"
#include "proto/smtp/envelope.h"
#include "roles/vault_internal.h"

enum {
    LEASE_SIZE = 1024 * 1024, /* of a reply, about: far below what a frame takes */
    CHUNKS_SIZE = 512 * 1024, /* of a reply to outgoing_chunks */
    SMALL_SIZE = 128 * 1024,  /* bodies up to here travel with their job */
    JOB_SIZE = 400,           /* about what a job and a recipient add */
    JOB_RECIPIENTS_MAX = 1000,
    JOBS_MAX = 16384,
    ATTENTION_MAX = 100, /* jobs of a reply that need attention: they have no destination's turn */
    RESUME_ROWS_MAX = 4096, /* of a turn, where no clock bounds it */
    RESUME_ROWS_PIECE = 64,
};

/* ---- What is out -------------------------------------------------------------------------------
 */

static size_t lease_slot(uint64_t id)
{
    return id * 0x9E3779B97F4A7C15u >> 32 & (LEASE_SLOTS - 1);
}

static size_t active_slot(uint64_t id)
{
    return id * 0x9E3779B97F4A7C15u >> 32 & (ACTIVE_SLOTS - 1);
}

struct lease *vault_lease_find(struct vault_queue *q, uint64_t id)
{
    struct lease *l = q->leases[lease_slot(id)];
    while (l && l->id != id)
        l = l->next;
    return l;
}

void vault_lease_drop(struct vault_queue *q, struct lease *lease)
{
    struct lease **at = &q->leases[lease_slot(lease->id)];
    while (*at != lease)
        at = &(*at)->next;
    *at = lease->next;
    q->lease_count--;
    free(lease);
}

struct active *vault_active_find(struct vault_queue *q, uint64_t destination)
{
    struct active *a = q->actives[active_slot(destination)];
    while (a && a->id != destination)
        a = a->next;
    return a;
}

void vault_active_drop(struct vault_queue *q, struct active *active)
{
    struct active **at = &q->actives[active_slot(active->id)];
    while (*at != active)
        at = &(*at)->next;
    *at = active->next;
    free(active);
}

struct vault_courier *vault_courier_find(struct vault_queue *q, void *owner)
{
    struct vault_courier *c = q->couriers;
    while (c && c->owner != owner)
        c = c->next;
    return c;
}

struct vault_courier *vault_courier_ready(struct vault_queue *q, void *owner)
{
    struct vault_courier *c = vault_courier_find(q, owner);
    return c && !c->held ? c : NULL;
}

static struct lease *lease_row(struct vault_queue *q, void *owner, const struct queue_found *f)
{
    struct str trace = f->message.trace_id, recipient = text_peek(f->row.recipient);
    struct lease *l = malloc(sizeof *l + trace.len + recipient.len);
    if (!l)
        return NULL;
    *l = (struct lease){.next = q->leases[lease_slot(f->row.id)],
                        .owner = owner,
                        .id = f->row.id,
                        .outgoing = f->message.id,
                        .body = f->message.body,
                        .size = f->message.size,
                        .destination = f->row.destination,
                        .due_ms = f->row.due_ms,
                        .attention_ms = f->row.attention_ms,
                        .expires_ms = f->message.expires_ms,
                        .lane = f->row.lane,
                        .task = f->row.task,
                        .trace_len = (uint16_t)trace.len,
                        .recipient_len = (uint16_t)recipient.len};
    if (!str_empty(trace))
        memcpy(l->bytes, trace.ptr, trace.len);
    if (!str_empty(recipient))
        memcpy(l->bytes + trace.len, recipient.ptr, recipient.len);
    q->leases[lease_slot(l->id)] = l;
    q->lease_count++;
    return l;
}

static struct active *begin_active(struct vault_queue *q, void *owner, uint64_t destination)
{
    struct active *a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    a->owner = owner;
    a->id = destination;
    a->next_due_ms = INT64_MAX;
    a->next = q->actives[active_slot(destination)];
    q->actives[active_slot(destination)] = a;
    return a;
}

static void drop_leases(struct vault_queue *q, const void *owner)
{
    for (size_t i = 0; i < LEASE_SLOTS; i++)
        for (struct lease *l = q->leases[i], *next; l; l = next) {
            next = l->next;
            if (l->owner != owner)
                continue;
            l->owner = NULL;
            if (!l->settled)
                vault_lease_drop(q, l);
        }
}

static void drop_actives(struct vault_queue *q, const void *owner)
{
    for (size_t i = 0; i < ACTIVE_SLOTS; i++)
        for (struct active *a = q->actives[i], *next; a; a = next) {
            next = a->next;
            if (a->owner == owner)
                vault_active_drop(q, a);
        }
}

/* All it had is due again, wherever the search has come to. */
void vault_courier_gone(struct vault_queue *q, void *owner)
{
    struct vault_courier **at = &q->couriers, *c;
    while (*at && (*at)->owner != owner)
        at = &(*at)->next;
    c = *at;
    if (!c)
        return;
    *at = c->next;
    buf_release(&c->ready);
    buf_release(&c->telling);
    free(c->held);
    free(c);
    drop_leases(q, owner);
    drop_actives(q, owner);
    memset(q->fresh, 0, sizeof q->fresh);
    q->attention = (struct queue_place){0};
    q->promised_ms = 0;
    for (c = q->couriers; c; c = c->next)
        c->fresh = true;
}

/* ---- A lease -----------------------------------------------------------------------------------
 */

struct leasing {
    struct vault_batch *b;
    struct vault_courier *courier;
    struct buf jobs;  /* struct ipc_job */
    struct buf begun; /* struct ipc_begun */
    size_t size;
    bool full; /* the reply is */
    bool late; /* the turn has had its time */
    bool more; /* of what was asked for there may be more */
    enum status_code status;
};

/* The turn has had its time. What is left is asked for again, at once. */
static bool is_late(struct leasing *l)
{
    l->late = l->late || vault_budget_is_spent(&l->b->budget);
    l->more |= l->late;
    return l->late;
}

/* Something is granted however late it is. */
static bool is_full(struct leasing *l)
{
    if (l->size >= LEASE_SIZE || l->b->queue.lease_count >= LIMIT_QUEUE_LEASES ||
        (l->size > 0 && is_late(l)))
        l->full = l->more = true;
    return l->full || l->status != STATUS_OK;
}

static struct str keep(struct leasing *l, struct str bytes)
{
    struct str copy = {NULL, 0};
    if (!str_empty(bytes) && !arena_dup(&l->b->results, bytes, &copy))
        l->status = STATUS_NO_MEMORY;
    l->size += bytes.len;
    return copy;
}

static struct text keep_text(struct leasing *l, struct text text)
{
    return text_from(keep(l, text_peek(text)));
}

/* In the memory of the batch's replies. */
static void *keep_list(struct leasing *l, const struct buf *list)
{
    void *copy = arena_alloc(&l->b->results, list->len + 1);
    if (copy && list->len > 0)
        memcpy(copy, list->ptr, list->len);
    return copy;
}

static uint8_t task_of(const struct queue_found *f, int64_t clock_ms, bool attention)
{
    if (f->row.task != IPC_TASK_DELIVER)
        return f->row.task;
    /* Where its turn comes before its end is noticed (an operator released it) it is tried once
     * more, and comes back if that fails; but never what was to be there in time (RFC 2852). */
    if (clock_ms >= f->message.expires_ms && (attention || f->message.by_mode == SMTP_BY_RETURN))
        return IPC_TASK_EXPIRED;
    return attention ? IPC_TASK_LATE : 0;
}

static void add_recipient(struct leasing *l, struct buf *recipients, const struct queue_found *f,
                          bool attention)
{
    int64_t clock_ms = l->b->queue.clock_ms;
    struct lease *lease = lease_row(&l->b->queue, l->courier->owner, f);
    if (!lease) {
        l->status = STATUS_NO_MEMORY;
        return;
    }
    lease->task = task_of(f, clock_ms, attention);
    struct ipc_job_recipient r = {.id = f->row.id,
                                  .recipient = keep_text(l, f->row.recipient),
                                  .notify = f->row.notify,
                                  .orcpt = keep_text(l, f->row.orcpt),
                                  .task = lease->task,
                                  .attempts = f->row.attempts,
                                  .age_ms = clock_ms - f->message.created_ms,
                                  .remaining_ms = f->message.expires_ms - clock_ms,
                                  .last_words = keep_text(l, f->row.last_words),
                                  .last_status = keep(l, f->row.last_status),
                                  .last_remote = keep_text(l, f->row.last_remote)};
    l->size += JOB_SIZE;
    if (!buf_append(recipients, &r, sizeof r))
        l->status = STATUS_NO_MEMORY;
}

static struct ipc_job job_of(struct leasing *l, const struct queue_found *f)
{
    const struct outgoing_row *m = &f->message;
    int64_t clock_ms = l->b->queue.clock_ms;
    return (struct ipc_job){.message = m->id,
                            .destination = f->row.destination,
                            .trace_id = keep(l, m->trace_id),
                            .sender = keep_text(l, m->sender),
                            .account = m->account,
                            .size = m->size,
                            .received_at_ms = m->received_ms,
                            .prefix = keep(l, m->prefix),
                            .envelope = {.envid = keep_text(l, m->envid),
                                         .ret = m->ret,
                                         .body = m->body_type,
                                         .utf8 = m->utf8,
                                         .requiretls = m->requiretls,
                                         .by_mode = m->by_mode,
                                         .by_trace = m->by_trace,
                                         .by_ms = m->by_mode ? m->by_ms - clock_ms : 0,
                                         .priority = m->priority}};
}

static enum status_code chunks_of(struct vault_batch *b, uint64_t body, uint32_t first,
                                  size_t size_max, const struct ipc_chunk **ret_chunks,
                                  size_t *ret_count)
{
    struct body_chunk *stored = NULL;
    size_t count = 0;
    enum status_code status =
        queue_chunks(b->writer.db, body, first, size_max, &b->results, &stored, &count);
    struct ipc_chunk *chunks = arena_alloc_array(&b->results, count + 1, sizeof *chunks);
    if (status == STATUS_OK && !chunks)
        status = STATUS_NO_MEMORY;
    for (size_t i = 0; status == STATUS_OK && i < count; i++)
        chunks[i] = (struct ipc_chunk){stored[i].codec, stored[i].key_id, stored[i].plain_size,
                                       stored[i].hash, stored[i].data};
    if (status == STATUS_OK) {
        *ret_chunks = chunks;
        *ret_count = count;
    }
    return status;
}

static void add_body(struct leasing *l, struct ipc_job *job, uint64_t body)
{
    if (job->size > SMALL_SIZE) {
        l->status = queue_chunk_count(l->b->writer.db, body, &job->chunk_count);
        return;
    }
    l->status = chunks_of(l->b, body, 0, SIZE_MAX, &job->chunks, &job->chunks_count);
    job->chunk_count = (uint32_t)job->chunks_count;
    for (size_t i = 0; l->status == STATUS_OK && i < job->chunks_count; i++)
        l->size += job->chunks[i].data.len + job->chunks[i].hash.len;
}

/* What is behind the recipients of a job is the same for all of them. */
static void end_job(struct leasing *l, struct ipc_job *job, uint64_t body, struct buf *recipients)
{
    struct ipc_job_recipient *list = keep_list(l, recipients);
    if (!list)
        l->status = STATUS_NO_MEMORY;
    job->recipients = list;
    job->recipients_count = recipients->len / sizeof *list;
    buf_clear(recipients);
    if (l->status == STATUS_OK)
        add_body(l, job, body);
    if (l->status == STATUS_OK && !buf_append(&l->jobs, job, sizeof *job))
        l->status = STATUS_NO_MEMORY;
}

/* ---- The lanes of a destination ----------------------------------------------------------------
 */

struct lane_scan {
    struct queue_scan scan;
    struct queue_found found; /* the row that is next, where there is one */
    bool open, has, ended;
};

struct visit {
    struct leasing *l;
    struct active *active;
    struct lane_scan lanes[LANES];
    struct buf recipients;
    bool leased; /* met a row that is out already */
};

static void pass(struct visit *v, int lane, const struct waiting_row *row)
{
    v->active->lanes[lane] = (struct queue_place){row->due_ms, row->id};
    v->lanes[lane].has = false;
}

/* Is there a row in the lane that may be leased now? */
static bool peek(struct visit *v, int lane)
{
    struct lane_scan *s = &v->lanes[lane];
    struct vault_queue *q = &v->l->b->queue;
    if (!s->open)
        queue_scan_lane(&s->scan, v->l->b->writer.db, v->active->id, (uint8_t)lane,
                        v->active->lanes[lane]);
    s->open = true;
    while (!s->has && !s->ended) {
        if (!queue_scan_next(&s->scan, &s->found)) {
            s->ended = true;
        } else if (s->found.row.due_ms > q->clock_ms) {
            if (s->found.row.due_ms < v->active->next_due_ms)
                v->active->next_due_ms = s->found.row.due_ms;
            s->ended = true;
        } else if (vault_lease_find(q, s->found.row.id)) {
            v->leased = true;
            pass(v, lane, &s->found.row);
        } else {
            s->has = true;
        }
    }
    return s->has;
}

/* A message and all its recipients that come next to one another. */
static void take(struct visit *v, int lane)
{
    struct lane_scan *s = &v->lanes[lane];
    struct ipc_job job = job_of(v->l, &s->found);
    uint64_t body = s->found.message.body;
    size_t count = 0;
    do {
        add_recipient(v->l, &v->recipients, &s->found, false);
        pass(v, lane, &s->found.row);
    } while (++count < JOB_RECIPIENTS_MAX && !is_full(v->l) && peek(v, lane) &&
             s->found.row.outgoing == job.message);
    end_job(v->l, &job, body, &v->recipients);
}

/* The lane whose turn it is, or the next that has something; -1: none has. */
static int choose(struct visit *v)
{
    static const uint8_t wheel[] = {0, 1, 0, 2, 0, 1, 0}; /* 4 : 2 : 1 */
    int lane = wheel[v->active->turn++ % sizeof wheel];
    if (peek(v, lane))
        return lane;
    for (lane = 0; lane < LANES; lane++)
        if (peek(v, lane))
            return lane;
    return -1;
}

/* Up to so many messages of the destination; *ret_leased: some of its rows are out already. */
static size_t visit(struct leasing *l, struct active *active, uint32_t messages, bool *ret_leased)
{
    struct visit v = {.l = l, .active = active};
    uint32_t count = 0;
    buf_init(&v.recipients, JOB_RECIPIENTS_MAX * sizeof(struct ipc_job_recipient));
    active->next_due_ms = INT64_MAX;
    active->ready = false;
    while (count < messages && !is_full(l)) {
        int lane = choose(&v);
        if (lane < 0)
            break;
        take(&v, lane);
        count++;
    }
    for (int i = 0; i < LANES; i++)
        if (v.lanes[i].open) {
            enum status_code status = queue_scan_end(&v.lanes[i].scan);
            if (l->status == STATUS_OK)
                l->status = status;
        }
    buf_release(&v.recipients);
    *ret_leased = v.leased;
    if ((l->size >= LEASE_SIZE || l->late) && count < messages)
        vault_active_ready(&l->b->queue, active); /* it did not get less because there is no more */
    return count;
}

/* ---- What a courier asks for -------------------------------------------------------------------
 */

/* Rows whose time is over, or whose sender is to be told something, wherever they go. */
static void lease_attention(struct leasing *l)
{
    struct vault_queue *q = &l->b->queue;
    struct queue_scan scan;
    struct queue_found f;
    struct buf recipients;
    size_t count = 0;
    buf_init(&recipients, sizeof(struct ipc_job_recipient));
    queue_scan_attention(&scan, l->b->writer.db, q->attention);
    while (!is_full(l) && queue_scan_next(&scan, &f) && f.row.attention_ms <= q->clock_ms) {
        if (count == ATTENTION_MAX) {
            l->more = true;
            break;
        }
        q->attention = (struct queue_place){f.row.attention_ms, f.row.id};
        if (vault_lease_find(q, f.row.id))
            continue;
        struct ipc_job job = job_of(l, &f);
        uint64_t body = f.message.body;
        add_recipient(l, &recipients, &f, true);
        end_job(l, &job, body, &recipients);
        count++;
    }
    enum status_code status = queue_scan_end(&scan);
    if (l->status == STATUS_OK)
        l->status = status;
    buf_release(&recipients);
}

/* Where the courier is not (any more), there is nothing for it: it would not know what it got. */
static void lease_want(struct leasing *l, const struct ipc_want *want)
{
    struct active *active = vault_active_find(&l->b->queue, want->destination);
    bool leased = false;
    if (!active || active->owner != l->courier->owner)
        return;
    active->ready = false; /* it has asked since */
    if (l->late)
        vault_active_ready(&l->b->queue, active);
    else
        visit(l, active, want->messages, &leased);
}

/* Nothing is to be had at a destination that was thought due. */
static void note_idle(struct leasing *l, uint64_t destination, bool leased, int64_t next_due_ms)
{
    struct destination_state state;
    /* What is out may come back at any time, and will say so itself; what is due later will not. */
    if (leased) {
        if (next_due_ms < l->b->queue.revisit_ms)
            l->b->queue.revisit_ms = next_due_ms;
        return;
    }
    enum status_code status = destination_first_due(l->b->writer.db, destination, &state);
    if (status == STATUS_OK && state.due_ms > l->b->queue.clock_ms)
        buf_append(&l->b->queue.stale, &destination, sizeof destination);
}

/* True: there was something to do. */
static bool begin_destination(struct leasing *l, const struct destination_state *state,
                              uint32_t messages)
{
    struct vault_queue *q = &l->b->queue;
    bool leased = false;
    struct active *active = begin_active(q, l->courier->owner, state->id);
    if (!active) {
        l->status = STATUS_NO_MEMORY;
        return false;
    }
    if (visit(l, active, messages, &leased) == 0) {
        int64_t next_due_ms = active->next_due_ms;
        vault_active_drop(q, active);
        if (l->status == STATUS_OK)
            note_idle(l, state->id, leased, next_due_ms);
        return false;
    }
    struct ipc_begun begun = {
        .destination = state->id, .name = keep(l, state->name), .trouble = state->trouble};
    if (!buf_append(&l->begun, &begun, sizeof begun))
        l->status = STATUS_NO_MEMORY;
    return true;
}

/* How many of those that were wanted are still. */
static uint32_t lease_class(struct leasing *l, enum destination_class class, uint32_t wanted,
                            uint32_t messages)
{
    struct vault_queue *q = &l->b->queue;
    struct queue_scan scan;
    struct destination_state state;
    unsigned looked = 0;
    if (wanted == 0 || messages == 0)
        return wanted;
    destination_scan(&scan, l->b->writer.db, class, q->fresh[class]);
    while (!is_full(l) && destination_scan_next(&scan, &state) && state.due_ms <= q->clock_ms) {
        if (looked++ > 0 && is_late(l))
            break;
        if (wanted == 0) {
            l->more = true;
            break;
        }
        struct queue_place here = {state.due_ms, state.id};
        if (!vault_active_find(q, state.id) && begin_destination(l, &state, messages))
            wanted--;
        if (!l->full || vault_active_find(q, state.id))
            q->fresh[class] = here;
    }
    enum status_code status = query_end(scan.query);
    if (l->status == STATUS_OK)
        l->status = status;
    return wanted;
}

/* Every fourth turn is of the destinations that only have bulk; what one class leaves is the
 * other's. */
static void lease_fresh(struct leasing *l, enum destination_class usual, uint32_t wanted,
                        uint32_t messages)
{
    enum destination_class bulk = usual + 1;
    uint32_t turns = (uint32_t)((wanted + (uint64_t)(l->b->queue.fresh_turn++ % 4)) / 4);
    wanted -= turns;
    wanted += lease_class(l, bulk, turns, messages);
    wanted = lease_class(l, usual, wanted, messages);
    lease_class(l, bulk, wanted, messages);
}

/* When there will be something next that nobody has been told of. */
static int64_t next_due(struct leasing *l)
{
    struct vault_queue *q = &l->b->queue;
    struct db *db = l->b->writer.db;
    int64_t first_ms = INT64_MAX;
    enum status_code status = queue_next_attention(db, q->clock_ms, &first_ms);
    for (int i = 0; status == STATUS_OK && i < DESTINATION_CLASSES; i++) {
        int64_t due_ms = INT64_MAX;
        status = destination_next_due(db, (enum destination_class)i, q->clock_ms, &due_ms);
        if (due_ms < first_ms)
            first_ms = due_ms;
    }
    if (l->status == STATUS_OK)
        l->status = status;
    if (q->revisit_ms < first_ms)
        first_ms = q->revisit_ms;
    for (size_t i = 0; i < ACTIVE_SLOTS; i++)
        for (struct active *a = q->actives[i]; a; a = a->next) {
            if (a->next_due_ms <= q->clock_ms) {
                a->next_due_ms = INT64_MAX;
                vault_active_ready(q, a);
            } else if (a->next_due_ms < first_ms) {
                first_ms = a->next_due_ms;
            }
        }
    return first_ms;
}

static void lease_all(struct leasing *l, const struct ipc_lease_in *in)
{
    struct vault_queue *q = &l->b->queue;
    if (q->revisit_ms <= q->clock_ms) {
        memset(q->fresh, 0, sizeof q->fresh);
        q->revisit_ms = INT64_MAX;
    }
    lease_attention(l);
    for (size_t i = 0; i < in->wants_count && l->status == STATUS_OK; i++) {
        if (i > 0)
            is_late(l);
        lease_want(l, &in->wants[i]);
    }
    lease_fresh(l, DESTINATIONS_USUAL, in->fresh, in->messages);
    lease_fresh(l, DESTINATIONS_TROUBLED, in->troubled, in->messages);
}

static void fill_lease(struct leasing *l, const struct ipc_lease_in *in,
                       struct ipc_lease_out *ret_out)
{
    struct vault_queue *q = &l->b->queue;
    l->status = db_snapshot_begin(l->b->writer.db);
    if (l->status == STATUS_OK) {
        lease_all(l, in);
        q->promised_ms = next_due(l);
        db_snapshot_end(l->b->writer.db);
    }
    /* What was leased stays so: it was found in good order, and is in the reply. */
    struct ipc_job *jobs = keep_list(l, &l->jobs);
    struct ipc_begun *begun = keep_list(l, &l->begun);
    if (!jobs || !begun) {
        l->status = STATUS_NO_MEMORY;
        return;
    }
    ret_out->jobs = jobs;
    ret_out->jobs_count = l->jobs.len / sizeof *jobs;
    ret_out->begun = begun;
    ret_out->begun_count = l->begun.len / sizeof *begun;
    if (l->more)
        ret_out->wait_ms = 0;
    else
        ret_out->wait_ms = q->promised_ms == INT64_MAX ? INT64_MAX : q->promised_ms - q->clock_ms;
}

static struct ipc_lease_out serve_lease(struct vault_batch *b, const struct vault_ask *ask)
{
    struct ipc_lease_out out = {.status = STATUS_BUSY, .wait_ms = INT64_MAX};
    struct leasing l = {.b = b, .courier = vault_courier_ready(&b->queue, ask->ticket.owner)};
    if (!l.courier)
        return out;
    l.courier->told = false;
    buf_init(&l.jobs, JOBS_MAX * sizeof(struct ipc_job));
    buf_init(&l.begun, JOBS_MAX * sizeof(struct ipc_begun));
    fill_lease(&l, &ask->lease, &out);
    out.status = l.status;
    /* The courier will not know of what it was not given. */
    if (l.status != STATUS_OK)
        vault_courier_gone(&b->queue, ask->ticket.owner);
    buf_release(&l.jobs);
    buf_release(&l.begun);
    return out;
}

/* ---- Bodies, policies --------------------------------------------------------------------------
 */

/* A courier reads what it was handed, and nothing else. */
static const struct lease *leased_message(const struct vault_queue *q, const void *owner,
                                          uint64_t message)
{
    for (size_t i = 0; i < LEASE_SLOTS; i++)
        for (const struct lease *l = q->leases[i]; l; l = l->next)
            if (l->outgoing == message && l->owner == owner)
                return l;
    return NULL;
}

static struct ipc_outgoing_chunks_out serve_chunks(struct vault_batch *b,
                                                   const struct vault_ask *ask)
{
    const struct ipc_outgoing_chunks_in *in = &ask->outgoing_chunks;
    struct ipc_outgoing_chunks_out out = {.status = STATUS_NOT_FOUND};
    const struct lease *l = leased_message(&b->queue, ask->ticket.owner, in->message);
    if (l)
        out.status = chunks_of(b, l->body, in->first, CHUNKS_SIZE, &out.chunks, &out.chunks_count);
    if (out.status == STATUS_OK && out.chunks_count == 0)
        out.status = STATUS_NOT_FOUND;
    return out;
}

static struct ipc_sts_get_out serve_sts(struct vault_batch *b, const struct vault_ask *ask)
{
    struct ipc_sts_get_out out = {0};
    struct sts_record record;
    out.status = read_sts_policy(b->writer.db, ask->sts_get.domain, &b->results, &record);
    if (out.status != STATUS_OK)
        return out;
    int64_t age_ms = b->queue.clock_ms - record.fetched_ms;
    out.id = record.id;
    out.policy = record.policy;
    out.age_ms = age_ms > 0 ? age_ms : 0;
    return out;
}

/* ---- Asking ------------------------------------------------------------------------------------
 */

static void serve(struct vault_batch *b, const struct vault_ask *ask)
{
    struct vault_reply reply = {.ticket = ask->ticket, .type = ask->type};
    switch (ask->type) {
    case IPC_LEASE:
        reply.lease = serve_lease(b, ask);
        break;
    case IPC_OUTGOING_CHUNKS:
        reply.outgoing_chunks = serve_chunks(b, ask);
        break;
    default:
        reply.sts_get = serve_sts(b, ask);
        break;
    }
    vault_answer(b, &reply);
}

/* What there is no time for waits for the next turn, behind what comes until then. */
void vault_serve_asks(struct vault_batch *b)
{
    struct vault_queue *q = &b->queue;
    const struct vault_ask *asks = (const struct vault_ask *)(const void *)q->asks.ptr;
    size_t count = q->asks.len / sizeof *asks, served = 0;
    if (count > 0) {
        vault_batch_gather(b);
        vault_budget_begin(&b->budget);
    }
    while (served < count && (served == 0 || !vault_budget_is_spent(&b->budget)))
        serve(b, &asks[served++]);
    buf_consume(&q->asks, served * sizeof *asks);
    if (q->asks.len == 0)
        arena_reset(&q->asking);
    for (struct vault_courier *c = q->couriers; c; c = c->next)
        c->new_here = false;
    b->numbers.leased = q->lease_count;
}

static void ask(struct vault_batch *b, const struct vault_ask *ask)
{
    vault_batch_gather(b);
    if (!buf_append(&b->queue.asks, ask, sizeof *ask))
        bug("more questions than a batch can have");
}

void vault_lease(struct vault_batch *b, struct vault_ticket t, const struct ipc_lease_in *in)
{
    struct vault_ask a = {.ticket = t, .type = IPC_LEASE, .lease = *in};
    struct ipc_want *wants =
        arena_alloc_array(&b->queue.asking, in->wants_count + 1, sizeof *wants);
    for (size_t i = 0; wants && i < in->wants_count; i++)
        wants[i] = in->wants[i];
    a.lease.wants = wants;
    if (!wants)
        a.lease.wants_count = 0;
    ask(b, &a);
}

void vault_outgoing_chunks(struct vault_batch *b, struct vault_ticket t,
                           const struct ipc_outgoing_chunks_in *in)
{
    ask(b, &(struct vault_ask){.ticket = t, .type = IPC_OUTGOING_CHUNKS, .outgoing_chunks = *in});
}

void vault_sts_get(struct vault_batch *b, struct vault_ticket t, const struct ipc_sts_get_in *in)
{
    struct vault_ask a = {.ticket = t, .type = IPC_STS_GET};
    /* Without memory for its name no policy is known. */
    if (!arena_dup(&b->queue.asking, in->domain, &a.sts_get.domain))
        a.sts_get.domain = STR("");
    ask(b, &a);
}

/* ---- Resuming ----------------------------------------------------------------------------------
 */

static struct vault_courier *new_courier(struct vault_queue *q, struct vault_ticket t,
                                         const struct ipc_resume_in *in)
{
    struct vault_courier *c = calloc(1, sizeof *c);
    struct ipc_held *held = calloc(in->held_count + 1, sizeof *held);
    if (!c || !held) {
        free(c);
        free(held);
        return NULL;
    }
    for (size_t i = 0; i < in->held_count; i++)
        held[i] = in->held[i];
    c->owner = t.owner;
    c->resume = t;
    c->held = held;
    c->held_count = in->held_count;
    buf_init(&c->ready, LIMIT_QUEUE_LEASES * sizeof(struct ipc_ready));
    buf_init(&c->telling, LIMIT_QUEUE_LEASES * sizeof(struct ipc_ready));
    c->next = q->couriers;
    q->couriers = c;
    return c;
}

/* A row that is gone has had its outcome; one that another courier has is not this one's. */
static enum status_code resume_row(struct vault_batch *b, void *owner, const struct ipc_held *held)
{
    struct vault_queue *q = &b->queue;
    struct queue_scan scan;
    struct queue_found f;
    bool good = true;
    if (vault_lease_find(q, held->recipient))
        return STATUS_OK;
    queue_scan_row(&scan, b->writer.db, held->recipient);
    bool found = queue_scan_next(&scan, &f);
    if (found) {
        struct lease *l = lease_row(q, owner, &f);
        good = l != NULL;
        if (l)
            l->task = task_of(&f, q->clock_ms, false);
    }
    if (found && held->destination != 0 && f.row.destination == held->destination &&
        !vault_active_find(q, held->destination))
        good = good && begin_active(q, owner, held->destination);
    enum status_code status = queue_scan_end(&scan);
    return status == STATUS_OK && !good ? STATUS_NO_MEMORY : status;
}

/* As many rows as there is time for. One snapshot for all: to begin one costs as much as a row. */
static enum status_code resume_slice(struct vault_batch *b, struct vault_courier *c)
{
    bool snapshot = !b->open;
    size_t end = c->held_at + RESUME_ROWS_MAX;
    enum status_code status = snapshot ? db_snapshot_begin(b->writer.db) : STATUS_OK;
    while (status == STATUS_OK && c->held_at < c->held_count && c->held_at < end) {
        status = resume_row(b, c->owner, &c->held[c->held_at++]);
        if (c->held_at % RESUME_ROWS_PIECE == 0 && vault_budget_is_spent(&b->budget))
            break;
    }
    if (snapshot)
        db_snapshot_end(b->writer.db);
    return status;
}

static void end_resume(struct vault_batch *b, struct vault_courier *c, enum status_code status)
{
    struct vault_reply reply = {.ticket = c->resume, .type = IPC_RESUME, .status = status};
    free(c->held);
    c->held = NULL;
    c->new_here = true;
    vault_batch_gather(b);
    vault_answer(b, &reply);
}

/* Answers where it comes to the end, or cannot go on. */
static void resume_some(struct vault_batch *b, struct vault_courier *c)
{
    if (!b->open)
        vault_budget_begin(&b->budget);
    b->queue.resumed = true;
    enum status_code status = resume_slice(b, c);
    if (status == STATUS_OK && c->held_at < c->held_count)
        return;
    end_resume(b, c, status);
    if (b->open)
        vault_note(b, status);
    if (status != STATUS_OK)
        vault_courier_gone(&b->queue, c->owner);
}

bool vault_is_resuming(const struct vault_batch *b)
{
    for (const struct vault_courier *c = b->queue.couriers; c; c = c->next)
        if (c->held)
            return true;
    return false;
}

void vault_resume_more(struct vault_batch *b)
{
    for (struct vault_courier *c = b->queue.couriers; c && !b->queue.resumed; c = c->next)
        if (c->held) {
            resume_some(b, c);
            break;
        }
    b->queue.resumed = false;
}

void vault_resume_abandon(struct vault_batch *b, const void *owner)
{
    for (struct vault_courier *c = b->queue.couriers; c; c = c->next)
        if (c->held && (!owner || c->owner == owner))
            end_resume(b, c, STATUS_GONE);
}

/*
 * At once, not after the commit: the results that follow are about these rows. Should the batch
 * not happen, the courier is told so and says it again (drop_new_couriers).
 */
void vault_resume(struct vault_batch *b, struct vault_ticket t, const struct ipc_resume_in *in)
{
    struct vault_reply reply = {.ticket = t, .type = IPC_RESUME, .status = STATUS_INVALID};
    struct vault_courier *c = NULL;
    vault_batch_gather(b);
    vault_resume_abandon(b, t.owner);
    vault_courier_gone(&b->queue, t.owner);
    if (in->held_count <= LIMIT_QUEUE_LEASES) {
        c = new_courier(&b->queue, t, in);
        reply.status = STATUS_NO_MEMORY;
    }
    if (c)
        resume_some(b, c);
    else
        vault_answer(b, &reply);
}
