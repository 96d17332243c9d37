#include "roles/vault_queue.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "proto/smtp/envelope.h"
#include "roles/vault_internal.h"

enum {
    ASKING_BUDGET = 16 * 1024 * 1024,
    ASKS_MAX = 65536,
    HELD_MAX = 4096,
    NOTE_MS = 60 * 1000,
    STALE_MAX = 4096,
    DAY_MS = 24 * 60 * 60 * 1000,
    RECIPIENT_SIZE_MAX = 1024,
    ORCPT_SIZE_MAX = 1024,
};

static const int64_t MOMENT_MS_MAX = 10LL * 366 * DAY_MS;

/* ---- Life --------------------------------------------------------------------------------------
 */

enum status_code vault_queue_open(struct vault_queue *q, struct db *db,
                                  struct queue_numbers *ret_numbers)
{
    arena_init(&q->asking, ASKING_BUDGET);
    buf_init(&q->asks, ASKS_MAX * sizeof(struct vault_ask));
    buf_init(&q->held, HELD_MAX * sizeof(struct vault_held));
    buf_init(&q->stale, STALE_MAX * sizeof(uint64_t));
    q->promised_ms = q->revisit_ms = INT64_MAX;
    q->settings = (struct vault_settings){.lifetime_ms = LIMIT_QUEUE_LIFETIME_MS,
                                          .delay_notice_ms = LIMIT_QUEUE_DELAY_NOTICE_MS};
    enum status_code status = read_clock_note(db, &q->noted);
    q->clock_ms = q->noted.clock_ms;
    return status == STATUS_OK ? read_queue_numbers(db, ret_numbers) : status;
}

void vault_queue_close(struct vault_queue *q)
{
    for (size_t i = 0; i < LEASE_SLOTS; i++)
        while (q->leases[i])
            vault_lease_drop(q, q->leases[i]);
    while (q->couriers)
        vault_courier_gone(q, q->couriers->owner);
    for (size_t i = 0; i < ACTIVE_SLOTS; i++)
        while (q->actives[i])
            vault_active_drop(q, q->actives[i]);
    arena_reset(&q->asking);
    buf_release(&q->asks);
    buf_release(&q->held);
    buf_release(&q->stale);
}

void vault_batch_at(struct vault_batch *b, struct now now)
{
    struct vault_queue *q = &b->queue;
    if (!q->clock_runs)
        q->clock = store_clock_start(q->noted.clock_ms, q->noted.wall_ms, now);
    q->clock_runs = true;
    q->now = now;
    q->clock_ms = store_clock_ms(&q->clock, now);
}

enum status_code vault_note_clock(struct vault_batch *b)
{
    struct vault_queue *q = &b->queue;
    if (!q->clock_runs || q->clock_ms < q->note_ms)
        return STATUS_OK;
    q->note_ms = q->clock_ms + NOTE_MS;
    return store_clock_note(&b->writer, q->clock_ms, q->now.wall_ms);
}

void vault_batch_set(struct vault_batch *b, const struct vault_settings *settings)
{
    b->queue.settings = *settings;
}

/* ---- What is due -------------------------------------------------------------------------------
 */

/* Takes a place back to just before (at_ms, id). */
static void take_back(struct queue_place *place, int64_t at_ms, uint64_t id)
{
    struct queue_place before = {at_ms, id - 1};
    if (place_before(before, *place))
        *place = before;
}

/* Something will be due at that time: who was told that nothing is must ask again. */
static void keep_promise(struct vault_queue *q, int64_t at_ms)
{
    if (at_ms >= q->promised_ms)
        return;
    q->promised_ms = at_ms;
    for (struct vault_courier *c = q->couriers; c; c = c->next)
        c->fresh = true;
}

void vault_active_ready(struct vault_queue *q, struct active *active)
{
    struct vault_courier *c = vault_courier_find(q, active->owner);
    struct ipc_ready ready = {active->id};
    if (c && !active->ready && buf_append(&c->ready, &ready, sizeof ready))
        active->ready = true;
}

void vault_destination_waits(struct vault_batch *b, const struct destination_state *state)
{
    if (state->due_ms == INT64_MAX)
        return;
    take_back(&b->queue.fresh[destination_class(state)], state->due_ms, state->id);
    keep_promise(&b->queue, state->due_ms);
}

void vault_attention_waits(struct vault_batch *b, int64_t attention_ms, uint64_t id)
{
    take_back(&b->queue.attention, attention_ms, id);
    keep_promise(&b->queue, attention_ms);
}

static enum status_code want_destination(struct vault_batch *b, uint64_t destination, bool bulk,
                                         int64_t due_ms)
{
    struct vault_queue *q = &b->queue;
    if (q->wanted == destination && q->wanted_ms <= due_ms && q->wanted_bulk <= bulk)
        return STATUS_OK;
    struct destination_state state;
    enum status_code status = destination_wanted(&b->writer, destination, bulk, due_ms, &state);
    if (status != STATUS_OK)
        return status;
    q->wanted = destination;
    q->wanted_ms = due_ms;
    q->wanted_bulk = bulk;
    vault_destination_waits(b, &state);
    return STATUS_OK;
}

enum status_code vault_row_waits(struct vault_batch *b, uint64_t destination, uint8_t lane,
                                 int64_t due_ms, uint64_t id)
{
    struct vault_queue *q = &b->queue;
    if (destination == 0)
        return STATUS_OK;
    struct active *active = vault_active_find(q, destination);
    if (!active || active->ended)
        return want_destination(b, destination, lane == LANE_BULK, due_ms);
    take_back(&active->lanes[lane], due_ms, id);
    if (due_ms <= q->clock_ms) {
        vault_active_ready(q, active);
    } else {
        if (due_ms < active->next_due_ms)
            active->next_due_ms = due_ms;
        keep_promise(q, due_ms);
    }
    return STATUS_OK;
}

bool vault_has_stale(const struct vault_batch *b)
{
    return b->queue.stale.len > 0;
}

void vault_settle_stale(struct vault_batch *b)
{
    const uint64_t *ids = (const uint64_t *)(const void *)b->queue.stale.ptr;
    static const struct destination_news nothing = {.not_before_ms = INT64_MIN};
    size_t count = b->queue.stale.len / sizeof *ids, i = 0;
    for (; i < count && (i == 0 || !vault_budget_is_spent(&b->budget)); i++) {
        struct destination_state state;
        enum status_code status = destination_settle(&b->writer, ids[i], &nothing, &state);
        vault_note(b, status);
        if (status == STATUS_OK)
            vault_destination_waits(b, &state);
    }
    buf_consume(&b->queue.stale, i * sizeof *ids);
}

/* ---- The end of a batch ------------------------------------------------------------------------
 */

static void settle_leases(struct vault_queue *q, bool committed)
{
    for (struct lease *l = q->settled, *next; l; l = next) {
        next = l->next_settled;
        l->settled = l->reported = false;
        l->next_settled = NULL;
        /* Of a courier that went meanwhile, nobody will hear again. */
        if (committed || !l->owner)
            vault_lease_drop(q, l);
    }
    q->settled = NULL;
}

static void settle_actives(struct vault_queue *q, bool committed)
{
    for (size_t i = 0; i < ACTIVE_SLOTS; i++)
        for (struct active *a = q->actives[i], *next; a; a = next) {
            next = a->next;
            if (a->ended && committed)
                vault_active_drop(q, a);
            else
                a->ended = false;
        }
}

/* What a courier said it holds was held against a batch that did not happen. */
static void drop_new_couriers(struct vault_queue *q)
{
    for (struct vault_courier *c = q->couriers, *next; c; c = next) {
        next = c->next;
        if (c->new_here)
            vault_courier_gone(q, c->owner);
    }
}

void vault_queue_forget(struct vault_batch *b)
{
    b->queue.wanted = 0;
    memset(b->queue.known, 0, sizeof b->queue.known);
}

void vault_queue_settle(struct vault_batch *b, bool committed)
{
    struct vault_queue *q = &b->queue;
    settle_leases(q, committed);
    if (q->any_ended)
        settle_actives(q, committed);
    q->any_ended = false;
    q->wanted = 0;
    if (!committed) {
        drop_new_couriers(q);
        vault_queue_forget(b);
        return;
    }
    b->numbers.waiting = b->writer.waiting;
    b->numbers.held = b->writer.held;
    b->numbers.leased = q->lease_count;
}

bool vault_batch_ready(struct vault_batch *b, void **ret_owner,
                       struct ipc_queue_ready_in *ret_ready)
{
    for (struct vault_courier *c = b->queue.couriers; c; c = c->next) {
        bool fresh = c->fresh && !c->told;
        if (!fresh && c->ready.len == 0)
            continue;
        struct buf ready = c->telling;
        c->telling = c->ready;
        c->ready = ready;
        buf_clear(&c->ready);
        *ret_owner = c->owner;
        *ret_ready = (struct ipc_queue_ready_in){
            .fresh = fresh,
            .ready = (const struct ipc_ready *)(const void *)c->telling.ptr,
            .ready_count = c->telling.len / sizeof(struct ipc_ready)};
        if (fresh) {
            c->told = true;
            c->fresh = false;
        }
        return true;
    }
    return false;
}

bool vault_batch_held(struct vault_batch *b, struct vault_held *ret_held)
{
    struct vault_queue *q = &b->queue;
    if (q->held_told == q->held.len)
        return false;
    *ret_held = *(const struct vault_held *)(const void *)(q->held.ptr + q->held_told);
    q->held_told += sizeof *ret_held;
    return true;
}

/* ---- Names of destinations ---------------------------------------------------------------------
 */

/* As policy/route makes them: a kind, a colon, a name in lower case. */
bool vault_is_destination(struct str name)
{
    for (size_t i = 0; i < name.len; i++)
        if ((unsigned char)name.ptr[i] <= ' ' || (unsigned char)name.ptr[i] >= 0x7f)
            return false;
    return name.len <= LIMIT_DESTINATION_SIZE && str_find_byte(name, ':') > 0;
}

static size_t slot_of(struct str name)
{
    return str_hash_nocase(name) % KNOWN_SLOTS;
}

enum status_code vault_destination(struct vault_batch *b, struct str name,
                                   uint64_t *ret_destination)
{
    struct known_destination *known = &b->queue.known[slot_of(name)];
    if (known->id != 0 && str_eq(str_make(known->name, known->len), name)) {
        *ret_destination = known->id;
        return STATUS_OK;
    }
    enum status_code status = destination_get(&b->writer, name, ret_destination);
    if (status == STATUS_OK && name.len <= sizeof known->name) {
        b->queue.learned++;
        known->id = *ret_destination;
        known->len = (uint16_t)name.len;
        memcpy(known->name, name.ptr, name.len);
    }
    return status;
}

/* ---- A message's rows --------------------------------------------------------------------------
 */

/* What an edge or a courier may ask for at all: sums of times must not overflow. */
bool vault_is_envelope(const struct ipc_envelope *e)
{
    return e->hold_ms <= (uint64_t)MOMENT_MS_MAX && e->by_ms <= MOMENT_MS_MAX &&
           e->by_ms >= -MOMENT_MS_MAX && e->by_mode <= 2 && e->ret <= 2 && e->body <= 2 &&
           e->priority >= -9 && e->priority <= 9 && text_peek(e->envid).len <= ORCPT_SIZE_MAX;
}

enum status_code vault_check_relays(const struct ipc_accept_recipient *r)
{
    for (size_t i = 0; i < r->relays_count; i++) {
        size_t len = text_peek(r->relays[i].address).len;
        if (len == 0 || len > RECIPIENT_SIZE_MAX || !vault_is_destination(r->relays[i].destination))
            return STATUS_INVALID;
    }
    return text_peek(r->orcpt).len <= ORCPT_SIZE_MAX ? STATUS_OK : STATUS_INVALID;
}

/* In a mailbox, and its sender asked to be told (RFC 3461 §4.1). Nobody sent a bounce. */
static bool tells_success(const struct ipc_accept_in *in, size_t number)
{
    const struct ipc_accept_recipient *r = &in->recipients[number];
    return r->deliveries_count > 0 && r->notify & SMTP_NOTIFY_SUCCESS &&
           !str_empty(text_peek(in->reverse_path));
}

bool vault_wants_outgoing(const struct ipc_accept_in *in, const struct ipc_accept_result *results)
{
    for (size_t i = 0; i < in->recipients_count; i++)
        if (!results[i].again && (in->recipients[i].relays_count > 0 || tells_success(in, i)))
            return true;
    return false;
}

/* An address that comes twice in a message (by two aliases, say) waits once. */
struct relay_set {
    const struct ipc_relay **slots;
    size_t mask;
    size_t relays; /* all, repeated ones too */
};

static bool relay_set_init(struct relay_set *set, struct arena *a, const struct ipc_accept_in *in)
{
    size_t size = 8;
    for (size_t i = 0; i < in->recipients_count; i++)
        set->relays += in->recipients[i].relays_count;
    while (size < 2 * set->relays)
        size *= 2;
    set->mask = size - 1;
    set->slots = arena_alloc_array(a, size, sizeof(const struct ipc_relay *));
    return set->slots != NULL;
}

/* Local parts as they are written, domains in any case. */
static bool same_address(struct str a, struct str b)
{
    ptrdiff_t at = str_rfind_byte(a, '@');
    size_t local = at < 0 ? a.len : (size_t)at;
    return a.len == b.len && str_eq(str_sub(a, 0, local), str_sub(b, 0, local)) &&
           str_eq_nocase(a, b);
}

/* Where that address is in the set, or would be. */
static const struct ipc_relay **relay_slot(struct relay_set *set, const struct ipc_relay *relay)
{
    struct str address = text_peek(relay->address);
    uint64_t hash = str_hash_nocase(address);
    size_t slot = (size_t)(hash ^ hash >> 32) & set->mask;
    while (set->slots[slot] && !same_address(text_peek(set->slots[slot]->address), address))
        slot = (slot + 1) & set->mask;
    return &set->slots[slot];
}

/* False: it is in the set already. */
static bool relay_set_add(struct relay_set *set, const struct ipc_relay *relay)
{
    const struct ipc_relay **slot = relay_slot(set, relay);
    if (*slot)
        return false;
    *slot = relay;
    return true;
}

struct enqueuing {
    struct vault_batch *b;
    const struct vault_outgoing *o;
    struct outgoing_row message;
    struct relay_set set;
    enum lane lane;
    int64_t due_ms;
    bool held;
    struct buf words; /* why it is held */
};

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* RFC 2852 §4.1: where the time for "R" is over, the message is returned. */
static int64_t expiry(const struct vault_settings *s, const struct ipc_envelope *e, int64_t now_ms)
{
    int64_t at_ms = now_ms + (int64_t)e->hold_ms + s->lifetime_ms;
    return e->by_mode == 1 ? earlier(at_ms, now_ms + e->by_ms) : at_ms;
}

static struct outgoing_row message_of(const struct vault_queue *q, const struct vault_outgoing *o)
{
    const struct ipc_accept_in *in = o->in;
    const struct ipc_envelope *e = &in->envelope;
    return (struct outgoing_row){
        .body = o->body,
        .size = in->email.size,
        .account = in->account,
        .sender = in->reverse_path,
        .trace_id = in->trace_id,
        .received_ms = in->received_at_ms,
        .created_ms = q->clock_ms,
        .expires_ms = expiry(&q->settings, e, q->clock_ms),
        .ret = e->ret,
        .body_type = e->body,
        .utf8 = e->utf8,
        .requiretls = e->requiretls,
        .by_mode = e->by_mode,
        .by_trace = e->by_trace,
        .by_ms = e->by_mode ? q->clock_ms + e->by_ms : 0,
        .priority = e->priority,
        .envid = e->envid,
        .prefix = o->prefix,
    };
}

/* When somebody must look at the row, whatever its destination does: RFC 3461 §4.1, RFC 2852 §4. */
static int64_t attention(const struct enqueuing *e, uint8_t notify)
{
    const struct ipc_envelope *envelope = &e->o->in->envelope;
    const struct vault_settings *s = &e->b->queue.settings;
    int64_t at_ms = e->message.expires_ms;
    if (notify & SMTP_NOTIFY_DELAY)
        at_ms = earlier(at_ms, e->due_ms + s->delay_notice_ms);
    if (envelope->by_mode == 2 && !(notify & 1))
        at_ms = earlier(at_ms, e->message.by_ms);
    return at_ms;
}

static enum status_code add_relay(struct enqueuing *e, const struct ipc_accept_recipient *r,
                                  const struct ipc_relay *relay)
{
    struct waiting_row row = {.outgoing = e->message.id,
                              .lane = (uint8_t)e->lane,
                              .due_ms = e->due_ms,
                              .attention_ms = attention(e, r->notify),
                              .held = e->held,
                              .task = IPC_TASK_DELIVER,
                              .notify = r->notify,
                              .recipient = relay->address,
                              .orcpt = r->orcpt,
                              .last_words = text_from(buf_str(&e->words))};
    enum status_code status = vault_destination(e->b, relay->destination, &row.destination);
    if (status == STATUS_OK)
        status = waiting_insert(&e->b->writer, &row);
    if (status != STATUS_OK || e->held)
        return status;
    e->b->numbers.queued++;
    vault_attention_waits(e->b, row.attention_ms, row.id);
    return vault_row_waits(e->b, row.destination, row.lane, row.due_ms, row.id);
}

/* The recipient as it was named, in no destination's queue: a report is all that is to be done. */
static enum status_code add_success(struct enqueuing *e, const struct ipc_accept_recipient *r)
{
    int64_t now_ms = e->b->queue.clock_ms;
    struct waiting_row row = {.outgoing = e->message.id,
                              .lane = LANE_USUAL,
                              .due_ms = now_ms,
                              .attention_ms = now_ms,
                              .task = IPC_TASK_DELIVERED,
                              .notify = r->notify,
                              .recipient = r->recipient,
                              .orcpt = r->orcpt,
                              .last_status = STR("2.1.5"),
                              .last_words = text_from(STR("delivered to the mailbox"))};
    enum status_code status = waiting_insert(&e->b->writer, &row);
    if (status == STATUS_OK)
        vault_attention_waits(e->b, now_ms, row.id);
    return status;
}

/* What an account may send a day bounds what a stolen password is good for. */
static enum status_code count_sent(struct enqueuing *e, uint64_t recipients)
{
    const struct ipc_accept_in *in = e->o->in;
    uint64_t limit = e->b->queue.settings.recipients_per_day, total = 0;
    if (in->counted == 0 || recipients == 0)
        return STATUS_OK;
    enum status_code status =
        sent_add(&e->b->writer, in->counted, e->b->queue.clock_ms / DAY_MS, recipients, &total);
    if (status != STATUS_OK || limit == 0 || total <= limit)
        return status;
    struct vault_held held = {.counted = in->counted, .recipients = total, .limit = limit};
    e->held = true;
    buf_printf(
        &e->words, "held: the %s has written to %llu recipients elsewhere today, the limit is %llu",
        in->counted < 0 ? "user" : "account", (unsigned long long)total, (unsigned long long)limit);
    if (arena_dup(&e->b->results, in->trace_id, &held.trace_id))
        buf_append(&e->b->queue.held, &held, sizeof held); /* a full list needs no more lines */
    return trace_add(&e->b->writer, in->trace_id, in->received_at_ms, STR("held"),
                     text_from(buf_str(&e->words)));
}

/* How many different ones there are. */
static uint64_t count_relays(struct enqueuing *e)
{
    uint64_t count = 0;
    for (size_t i = 0; i < e->o->in->recipients_count; i++) {
        const struct ipc_accept_recipient *r = &e->o->in->recipients[i];
        for (size_t n = 0; !e->o->results[i].again && n < r->relays_count; n++)
            count += relay_set_add(&e->set, &r->relays[n]);
    }
    return count;
}

static enum status_code add_recipient(struct enqueuing *e, size_t number)
{
    const struct ipc_accept_recipient *r = &e->o->in->recipients[number];
    enum status_code status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < r->relays_count; i++)
        if (*relay_slot(&e->set, &r->relays[i]) == &r->relays[i])
            status = add_relay(e, r, &r->relays[i]);
    if (status == STATUS_OK && tells_success(e->o->in, number))
        status = add_success(e, r);
    return status;
}

static enum status_code enqueue(struct enqueuing *e)
{
    const struct ipc_accept_in *in = e->o->in;
    struct vault_queue *q = &e->b->queue;
    uint64_t relays = count_relays(e);
    enum status_code status = count_sent(e, relays);
    if (relays > 0)
        e->lane = lane_choose(&q->lanes, (uint64_t)in->counted, text_peek(in->reverse_path),
                              in->envelope.priority, relays, q->now.mono_ms);
    if (status == STATUS_OK)
        status = outgoing_insert(&e->b->writer, &e->message);
    for (size_t i = 0; status == STATUS_OK && i < in->recipients_count; i++)
        if (!e->o->results[i].again)
            status = add_recipient(e, i);
    return status;
}

enum status_code vault_enqueue(struct vault_batch *b, const struct vault_outgoing *o)
{
    struct enqueuing e = {.b = b, .o = o, .message = message_of(&b->queue, o)};
    struct arena arena;
    arena_init(&arena, LIMIT_IPC_LISTS_SIZE);
    buf_init(&e.words, LIMIT_QUEUE_WORDS_SIZE);
    e.due_ms = b->queue.clock_ms + (int64_t)o->in->envelope.hold_ms;
    enum status_code status =
        relay_set_init(&e.set, &arena, o->in) ? enqueue(&e) : STATUS_NO_MEMORY;
    buf_release(&e.words);
    arena_reset(&arena);
    return status;
}
