/*
 * The vault in a world from a seed: batches of requests as its channels would bring them, on a
 * disk that fails, with a reader that checks after every commit that the store holds exactly what
 * was answered. The same seed is the same world.
 *
 *   postern_sim [SEED [STEPS]]   a long random life: power cuts, kills, full disks, failed syncs
 *   postern_sim --each FAULT     a short life, again and again, the fault striking at each call in
 *                                turn: power, full, sync, write
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bug.h"
#include "base/limits.h"
#include "roles/vault_batch.h"
#include "sim/courier.h"
#include "sim/model.h"
#include "sim/vfs_fault.h"

enum { OPS_MAX = 6, MESSAGES_KEPT = 12, SHORT_LIFE_STEPS = 14, CHUNKS_MAX = 4 };

static const char PATH[] = "postern.db";
static const int64_t AT_MS = 1700000000000;

/* What a request of the batch must be answered, if the batch is committed. */
struct expected {
    enum status_code status;
    bool again;
};

struct world {
    uint64_t seed;  /* as given */
    uint64_t state; /* of the generator */
    uint64_t step;
    struct vault_batch *vault;
    struct db *reader;
    struct model before, after; /* of the batch that is being made */
    struct expected expected[64];
    size_t expected_count;
    uint32_t next_message;
    uint64_t next_body;
    uint32_t sent[MODEL_KEYS];            /* the message last sent with that key */
    uint64_t power_cuts, kills, failures; /* for the summary */
    struct now now;
    struct sim_courier courier;
    bool undone; /* the batch that is being answered */
};

static uint64_t draw(struct world *w, uint64_t below)
{
    w->state ^= w->state << 13;
    w->state ^= w->state >> 7;
    w->state ^= w->state << 17;
    return w->state % below;
}

static _Noreturn void wrong(const struct world *w, const char *what, const char *why)
{
    fprintf(stderr, "sim: seed %llu, step %llu: %s: %s\n", (unsigned long long)w->seed,
            (unsigned long long)w->step, what, why);
    exit(1);
}

/* ---- Checking -----------------------------------------------------------------------------------
 */

static void check(struct world *w, bool bodies, const char *when)
{
    struct diag why = {0};
    if (!model_matches(&w->before, w->reader, bodies, &why))
        wrong(w, when, why.words);
}

static void open_reader(struct world *w)
{
    struct diag d = {0};
    if (db_open_vfs(PATH, DB_READ, VFS_FAULT_NAME, &w->reader, &d) != STATUS_OK)
        wrong(w, "the reader cannot open the store", d.words);
}

/*
 * The courier lives on and says what it holds, or dies with the rest. What it holds keeps it from
 * being given out again; what only a dead one held may be.
 */
static void bring_courier(struct world *w)
{
    if (draw(w, 3) == 0)
        sim_courier_forget(&w->courier);
    sim_courier_answered(&w->courier, false);
    if (!sim_courier_resume(&w->courier, w->vault))
        wrong(w, "the courier cannot resume", "its rows are not taken");
}

static void close_all(struct world *w)
{
    db_close(w->reader);
    vault_batch_close(w->vault);
    w->reader = NULL;
    w->vault = NULL;
}

/*
 * The vault comes back. What was answered is there; the batch that nobody was answered for is
 * there as a whole, or not at all.
 */
static void recover(struct world *w)
{
    struct diag d = {0}, why = {0};
    if (vault_batch_open(PATH, VFS_FAULT_NAME, &w->vault, &d) != STATUS_OK)
        wrong(w, "the store does not open again", d.words);
    vault_batch_at(w->vault, w->now);
    open_reader(w);
    if (model_matches(&w->before, w->reader, true, &why)) {
        w->after = w->before;
    } else {
        struct diag also = {0};
        if (!model_matches(&w->after, w->reader, true, &also)) {
            fprintf(stderr, "sim: if it was kept: %s\n", also.words);
            wrong(w, "neither before nor after the batch", why.words);
        }
        w->before = w->after;
    }
    bring_courier(w);
}

static void power_cut(struct world *w)
{
    disk_die();
    close_all(w);
    disk_power_cut(draw(w, UINT64_MAX));
    w->power_cuts++;
    recover(w);
}

/*
 * The vault ends by itself, as one does whose disk has failed: it closes the store in order, with
 * nobody else at it. Then, or in the middle of that, the power goes.
 */
static void end_vault(struct world *w)
{
    db_close(w->reader);
    w->reader = NULL;
    disk_set_fault(FAULT_POWER, 1 + draw(w, 12));
    vault_batch_close(w->vault);
    w->vault = NULL;
    disk_die();
    disk_power_cut(draw(w, UINT64_MAX));
    w->power_cuts++;
    recover(w);
}

static void kill_vault(struct world *w)
{
    disk_die();
    close_all(w);
    disk_process_died();
    w->kills++;
    recover(w);
}

/* ---- Messages
 * ------------------------------------------------------------------------------------ */

struct parcel {
    char *octets;
    size_t size;
    struct body_writer *writer;
    struct ipc_chunk chunks[CHUNKS_MAX];
    size_t count;
};

static void pack(struct parcel *p, uint32_t message)
{
    p->octets = model_message(message, &p->size);
    p->writer = body_writer_new();
    if (!p->writer || !body_writer_write(p->writer, str_make(p->octets, p->size)) ||
        !body_writer_finish(p->writer))
        bug("no memory");
    const struct body_chunk *chunks = body_writer_ready(p->writer, &p->count);
    invariant(p->count <= CHUNKS_MAX);
    for (size_t i = 0; i < p->count; i++)
        p->chunks[i] = (struct ipc_chunk){chunks[i].codec, chunks[i].key_id, chunks[i].plain_size,
                                          chunks[i].hash, chunks[i].data};
}

static void unpack(struct parcel *p)
{
    body_writer_free(p->writer);
    free(p->octets);
}

static void expect(struct world *w, enum status_code status, bool again)
{
    w->expected[w->expected_count++] = (struct expected){status, again};
}

static struct vault_ticket ticket(struct world *w)
{
    return (struct vault_ticket){w, (uint32_t)w->expected_count};
}

/* Larger bodies come ahead of their message. */
static uint64_t send_ahead(struct world *w, struct parcel *p)
{
    if (p->count < 2)
        return 0;
    uint64_t body = ++w->next_body;
    struct ipc_body_chunk_in in = {.body = body, .chunks = p->chunks, .chunks_count = p->count - 1};
    vault_body_chunk(w->vault, ticket(w), &in);
    expect(w, STATUS_OK, false);
    return body;
}

static struct ipc_email email_of(struct world *w, struct parcel *p)
{
    uint64_t body = send_ahead(w, p);
    struct ipc_email email = {.size = p->size, .body = body, .chunks = p->chunks};
    email.chunks_count = p->count;
    if (body) {
        email.chunks += p->count - 1;
        email.chunks_count = 1;
    }
    return email;
}

/* ---- Requests
 * ------------------------------------------------------------------------------------ */

/* To INBOX of one account or of both; with a key, maybe one that was sent before. */
static void do_accept(struct world *w)
{
    char keys[2][32];
    uint32_t key = (uint32_t)draw(w, MODEL_KEYS / 2);
    bool keyed = draw(w, 4) != 0, both = draw(w, 4) == 0;
    bool same = keyed && w->sent[key] != 0 && draw(w, 2);
    uint32_t message = same ? w->sent[key] : w->next_message++;
    struct parcel p;
    struct ipc_delivery deliveries[2];
    struct ipc_accept_recipient recipients[2];
    bool again = true;
    pack(&p, message);
    if (keyed)
        w->sent[key] = message;
    for (uint32_t i = 0; i < 1u + both; i++) {
        struct model_box *inbox = &w->after.boxes[2 * i];
        uint32_t number = 2 * key + i;
        memset(keys[i], (int)('A' + number), sizeof keys[i]);
        deliveries[i] = (struct ipc_delivery){
            .account = inbox->account, .mailbox = inbox->mailbox, .prefix = STR("X: y\r\n")};
        recipients[i] = (struct ipc_accept_recipient){
            .key = keyed ? str_make(keys[i], sizeof keys[i]) : STR(""),
            .deliveries = &deliveries[i],
            .deliveries_count = 1};
        bool known = keyed && w->after.unconfirmed[number];
        if (!known)
            model_add(inbox, message, 0);
        if (keyed)
            w->after.unconfirmed[number] = true;
        again = again && known;
    }
    struct ipc_accept_in in = {.trace_id = STR("01SIM"),
                               .received_at_ms = AT_MS,
                               .email = email_of(w, &p),
                               .recipients = recipients,
                               .recipients_count = 1u + both};
    vault_accept(w->vault, ticket(w), &in);
    expect(w, STATUS_OK, again);
    unpack(&p);
}

/* For other servers, and maybe for an INBOX too; some of it later. */
static void do_relay(struct world *w)
{
    struct parcel p;
    char names[MODEL_RELAYS][40], destinations[MODEL_RELAYS][40];
    struct ipc_relay relays[MODEL_RELAYS];
    struct ipc_accept_recipient recipients[MODEL_RELAYS + 1] = {0};
    struct model_box *inbox = &w->after.boxes[0];
    struct ipc_delivery delivery = {
        .account = inbox->account, .mailbox = inbox->mailbox, .prefix = STR("X: y\r\n")};
    size_t count = 1 + draw(w, MODEL_RELAYS - 1);
    if (w->after.waiting_count + MODEL_RELAYS > MODEL_WAITING)
        return;
    uint32_t message = w->next_message++;
    pack(&p, message);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t number = message * MODEL_RELAYS + i;
        sim_courier_address(number, names[i]);
        snprintf(destinations[i], sizeof destinations[i], "dns:d%u.test",
                 (unsigned)draw(w, SIM_DESTINATIONS));
        relays[i] =
            (struct ipc_relay){text_from(str_from_c(names[i])), str_from_c(destinations[i])};
        recipients[i] = (struct ipc_accept_recipient){
            .recipient = relays[i].address, .relays = &relays[i], .relays_count = 1};
        model_wait(&w->after, number);
    }
    if (draw(w, 3) == 0) {
        recipients[count++] =
            (struct ipc_accept_recipient){.deliveries = &delivery, .deliveries_count = 1};
        model_add(inbox, message, 0);
    }
    struct ipc_accept_in in = {.trace_id = STR("01SIM"),
                               .received_at_ms = AT_MS,
                               .envelope = {.hold_ms = draw(w, 3) ? 0 : draw(w, 3000)},
                               .email = email_of(w, &p),
                               .recipients = recipients,
                               .recipients_count = count};
    vault_accept(w->vault, ticket(w), &in);
    expect(w, STATUS_OK, false);
    unpack(&p);
}

static void do_outcomes(struct world *w)
{
    sim_courier_outcomes(&w->courier, w->vault, ticket(w), AT_MS, &w->after);
    expect(w, STATUS_OK, false);
}

/* It is answered after the commit, so its reply is the last. */
static void do_lease(struct world *w)
{
    sim_courier_lease(&w->courier, w->vault, ticket(w));
    expect(w, STATUS_OK, false);
}

static void do_append(struct world *w)
{
    struct model_box *box = &w->after.boxes[draw(w, MODEL_BOXES)];
    struct parcel p;
    uint32_t message = w->next_message++;
    pack(&p, message);
    struct ipc_append_in in = {.at_ms = AT_MS,
                               .trace_id = STR("01SIM"),
                               .mailbox = box->mailbox,
                               .flags = ENTRY_SEEN,
                               .internal_ms = AT_MS,
                               .email = email_of(w, &p)};
    vault_append(w->vault, ticket(w), box->account, &in);
    expect(w, STATUS_OK, false);
    model_add(box, message, ENTRY_SEEN);
    unpack(&p);
}

static void do_confirm(struct world *w)
{
    char bytes[32];
    uint32_t number = (uint32_t)draw(w, MODEL_KEYS);
    struct ipc_key key = {str_make(bytes, sizeof bytes)};
    memset(bytes, (int)('A' + number), sizeof bytes);
    vault_confirm(w->vault, &(struct ipc_confirm_in){.keys = &key, .keys_count = 1});
    w->after.unconfirmed[number] = false;
}

static bool in_range(const struct ipc_range *r, uint32_t uid)
{
    return uid >= r->first && uid <= r->last;
}

static struct ipc_range some_uids(struct world *w, const struct model_box *box)
{
    uint32_t first = 1 + (uint32_t)draw(w, box->uidnext);
    return (struct ipc_range){first, first + (uint32_t)draw(w, 8)};
}

static void do_store(struct world *w)
{
    struct model_box *box = &w->after.boxes[draw(w, MODEL_BOXES)];
    struct ipc_range range = some_uids(w, box);
    uint32_t flags = 1u << draw(w, 5);
    uint8_t mode = (uint8_t)draw(w, 3);
    struct ipc_flags_store_in in = {.at_ms = AT_MS,
                                    .mailbox = box->mailbox,
                                    .uids = &range,
                                    .uids_count = 1,
                                    .mode = mode,
                                    .flags = flags};
    vault_flags_store(w->vault, ticket(w), box->account, &in);
    expect(w, STATUS_OK, false);
    for (size_t i = 0; i < box->count; i++) {
        struct model_entry *e = &box->entries[i];
        if (in_range(&range, e->uid))
            e->flags = mode == 0 ? flags : mode == 1 ? e->flags | flags : e->flags & ~flags;
    }
}

static void expunge_in_model(struct model_box *box, const struct ipc_range *range,
                             bool only_deleted)
{
    for (size_t i = box->count; i > 0; i--)
        if (in_range(range, box->entries[i - 1].uid) &&
            (!only_deleted || box->entries[i - 1].flags & ENTRY_DELETED))
            model_remove(box, i - 1);
}

static void do_expunge(struct world *w)
{
    struct model_box *box = &w->after.boxes[draw(w, MODEL_BOXES)];
    struct ipc_range range = some_uids(w, box);
    bool only_deleted = draw(w, 2);
    struct ipc_expunge_in in = {.at_ms = AT_MS,
                                .mailbox = box->mailbox,
                                .uids = &range,
                                .uids_count = 1,
                                .only_deleted = only_deleted};
    vault_expunge(w->vault, ticket(w), box->account, &in);
    expect(w, STATUS_OK, false);
    expunge_in_model(box, &range, only_deleted);
}

/* Between the two mailboxes of an account. */
static void do_copy(struct world *w)
{
    size_t from = draw(w, MODEL_BOXES);
    struct model_box *box = &w->after.boxes[from], *target = &w->after.boxes[from ^ 1];
    struct ipc_range range = some_uids(w, box);
    bool move = draw(w, 2);
    struct ipc_copy_in in = {.at_ms = AT_MS,
                             .mailbox = box->mailbox,
                             .uids = &range,
                             .uids_count = 1,
                             .target = target->mailbox,
                             .move = move};
    vault_copy(w->vault, ticket(w), box->account, &in);
    expect(w, STATUS_OK, false);
    for (size_t i = 0; i < box->count; i++)
        if (in_range(&range, box->entries[i].uid))
            model_add(target, box->entries[i].message, box->entries[i].flags);
    if (move)
        expunge_in_model(box, &range, false);
}

/* Somebody tries what is not his: nothing changes, whatever else is in the batch. */
static void do_trespass(struct world *w)
{
    struct ipc_range all = {1, UINT32_MAX};
    struct ipc_expunge_in in = {
        .at_ms = AT_MS, .mailbox = w->after.boxes[2].mailbox, .uids = &all, .uids_count = 1};
    vault_expunge(w->vault, ticket(w), w->after.boxes[0].account, &in);
    expect(w, STATUS_NOT_FOUND, false);
}

/* Mailboxes stay small, so that checking them after every step stays quick. */
static void do_tidy(struct world *w)
{
    for (size_t i = 0; i < MODEL_BOXES; i++) {
        struct model_box *box = &w->after.boxes[i];
        if (box->count < MESSAGES_KEPT)
            continue;
        struct ipc_range range = {1, box->entries[box->count - MESSAGES_KEPT / 2].uid};
        struct ipc_expunge_in in = {
            .at_ms = AT_MS, .mailbox = box->mailbox, .uids = &range, .uids_count = 1};
        vault_expunge(w->vault, ticket(w), box->account, &in);
        expect(w, STATUS_OK, false);
        expunge_in_model(box, &range, false);
    }
}

/* ---- Steps
 * --------------------------------------------------------------------------------------- */

static void do_something(struct world *w)
{
    static void (*const acts[])(struct world *) = {
        do_accept, do_accept, do_accept, do_append,  do_confirm, do_store,
        do_relay,  do_relay,  do_relay,  do_expunge, do_copy,    do_trespass,
    };
    acts[draw(w, sizeof acts / sizeof *acts)](w);
}

/* Granted from what is committed: a full disk undid nothing of that. */
static void take_lease(struct world *w, const struct ipc_lease_out *out)
{
    struct diag why = {0};
    const struct model *committed = w->undone ? &w->before : &w->after;
    if (!sim_courier_leased(&w->courier, out, committed, &why))
        wrong(w, "a lease", why.words);
}

/* True: all as expected. False: the disk was full, and all were told. */
static bool check_replies(struct world *w, uint64_t failed_before)
{
    struct vault_reply reply;
    size_t count = 0;
    bool full = false;
    w->undone = vault_batch_numbers(w->vault)->failed_batches != failed_before;
    for (; vault_batch_reply(w->vault, &reply); count++) {
        invariant(count < w->expected_count && reply.ticket.id == count);
        const struct expected *e = &w->expected[count];
        if (reply.type == IPC_OUTCOMES)
            sim_courier_answered(&w->courier, reply.status == STATUS_OK);
        if (reply.status == STATUS_DISK_FULL && disk_struck())
            full = w->undone = true;
        else if ((full && reply.type != IPC_LEASE) || reply.status != e->status)
            wrong(w, "a request was answered", status_name(reply.status));
        else if (reply.type == IPC_LEASE)
            take_lease(w, &reply.lease);
        else if (reply.type == IPC_ACCEPT && reply.accept.results[0].again != e->again &&
                 reply.accept.results_count == 1)
            wrong(w, "a message sent again", e->again ? "was not recognised" : "was recognised");
    }
    if (count != w->expected_count)
        wrong(w, "the number of replies", "is not that of the requests");
    /* Confirmations have no reply: a batch of nothing else fails without a word. */
    return !full && vault_batch_numbers(w->vault)->failed_batches == failed_before;
}

static void batch(struct world *w)
{
    struct ipc_changed_in changed;
    struct ipc_queue_ready_in ready;
    void *owner;
    w->after = w->before;
    w->expected_count = 0;
    w->now.mono_ms += (int64_t)draw(w, 1000);
    vault_batch_at(w->vault, w->now);
    for (uint64_t ops = 1 + draw(w, OPS_MAX); ops > 0; ops--)
        do_something(w);
    do_tidy(w);
    if (draw(w, 2))
        do_outcomes(w);
    if (draw(w, 2))
        do_lease(w);
    uint64_t failed = vault_batch_numbers(w->vault)->failed_batches;
    if (!vault_batch_commit(w->vault)) {
        w->failures++;
        uint64_t end = draw(w, 3);
        if (end == 0)
            power_cut(w);
        else if (end == 1)
            kill_vault(w);
        else
            end_vault(w);
        return;
    }
    vault_batch_changes(w->vault, &changed);
    bool good = check_replies(w, failed);
    while (vault_batch_ready(w->vault, &owner, &ready))
        ;
    if (good) {
        w->before = w->after;
    } else {
        w->failures++;
        w->after = w->before;
        disk_set_fault(FAULT_NONE, 0);
    }
    check(w, false, "after a commit");
}

/* Checkpoints and purges change nothing that anybody sees. */
static void housekeeping(struct world *w)
{
    uint64_t left = 0;
    bool more = false, alive = true;
    w->after = w->before;
    if (vault_batch_pending(w->vault))
        alive = vault_batch_commit(w->vault);
    if (alive && draw(w, 2))
        alive = vault_purge(w->vault, 0, &more) != STATUS_IO;
    if (alive)
        alive = vault_checkpoint(w->vault, &left);
    if (!alive) {
        w->failures++;
        if (draw(w, 2))
            power_cut(w);
        else
            end_vault(w);
    }
    if (disk_struck())
        disk_set_fault(FAULT_NONE, 0);
    check(w, false, "after housekeeping");
}

/*
 * All that waits goes out in the end, and without a restart: whatever was leased, given back, put
 * off and moved before, nothing is left behind.
 */
static void drain(struct world *w)
{
    struct vault_reply reply;
    disk_set_fault(FAULT_NONE, 0);
    for (int round = 0; w->before.waiting_count > 0; round++) {
        if (round == 4000)
            wrong(w, "draining the queue", "something is never leased");
        w->after = w->before;
        w->now.mono_ms += 100;
        vault_batch_at(w->vault, w->now);
        sim_courier_outcomes(&w->courier, w->vault, (struct vault_ticket){w, 0}, AT_MS, &w->after);
        sim_courier_lease(&w->courier, w->vault, (struct vault_ticket){w, 0});
        if (!vault_batch_commit(w->vault))
            wrong(w, "draining the queue", "a commit failed");
        w->undone = false;
        while (vault_batch_reply(w->vault, &reply))
            if (reply.status != STATUS_OK)
                wrong(w, "draining the queue", status_name(reply.status));
            else if (reply.type == IPC_LEASE)
                take_lease(w, &reply.lease);
            else
                sim_courier_answered(&w->courier, true);
        w->before = w->after;
    }
    check(w, false, "after draining the queue");
}

static void step(struct world *w)
{
    w->step++;
    if (draw(w, 6) == 0)
        housekeeping(w);
    else
        batch(w);
}

/* ---- Lives
 * ---------------------------------------------------------------------------------------- */

static uint64_t make_account(struct world *w, const char *name)
{
    static const struct account_mailbox sent = {{"Sent", 4}, SPECIAL_SENT};
    struct vault_reply reply;
    struct ipc_account_add_in in = {.at_ms = AT_MS, .name = str_from_c(name)};
    vault_account_add(w->vault, (struct vault_ticket){w, 0}, &in, &sent, 1);
    if (!vault_batch_commit(w->vault) || !vault_batch_reply(w->vault, &reply) ||
        reply.status != STATUS_OK)
        wrong(w, "setting up", "no account");
    return reply.account_add.account;
}

static void find_mailboxes(struct world *w, struct model_box *boxes, uint64_t account)
{
    static const char *const names[] = {"INBOX", "Sent"};
    struct arena arena;
    arena_init(&arena, 1 << 16);
    for (size_t i = 0; i < 2; i++) {
        struct mailbox_record record;
        if (read_mailbox_by_path(w->reader, account, str_from_c(names[i]), &arena, &record) !=
            STATUS_OK)
            wrong(w, "setting up", "no mailbox");
        boxes[i] = (struct model_box){.account = account, .mailbox = record.id, .uidnext = 1};
    }
    arena_reset(&arena);
}

static uint64_t draw_for_courier(void *context, uint64_t below)
{
    return draw(context, below);
}

static struct world *begin(uint64_t seed)
{
    struct world *w = calloc(1, sizeof *w);
    struct diag d = {0};
    if (!w)
        bug("no memory");
    w->seed = seed;
    w->state = seed * 0x9E3779B97F4A7C15u + 0x1234567;
    w->next_message = 1;
    w->now = (struct now){1000, AT_MS};
    w->courier = (struct sim_courier){
        .over = calloc(SIM_NUMBERS / 8, 1), .draw = draw_for_courier, .context = w};
    if (!w->courier.over)
        bug("no memory");
    disk_clear();
    if (vault_batch_open(PATH, VFS_FAULT_NAME, &w->vault, &d) != STATUS_OK)
        wrong(w, "setting up", d.words);
    uint64_t alice = make_account(w, "alice"), bob = make_account(w, "bob");
    open_reader(w);
    if (!sim_courier_resume(&w->courier, w->vault))
        wrong(w, "setting up", "no courier");
    find_mailboxes(w, &w->before.boxes[0], alice);
    find_mailboxes(w, &w->before.boxes[2], bob);
    return w;
}

static void end(struct world *w)
{
    if (vault_batch_pending(w->vault)) {
        w->after = w->before;
        if (!vault_batch_commit(w->vault))
            power_cut(w);
    }
    drain(w);
    power_cut(w);
    close_all(w);
    free(w->courier.over);
    free(w);
}

static void live(uint64_t seed, uint64_t steps)
{
    struct world *w = begin(seed);
    for (uint64_t i = 0; i < steps; i++) {
        uint64_t chance = draw(w, 60);
        if (chance < 4)
            disk_set_fault((enum fault)(FAULT_POWER + chance), 1 + draw(w, 150));
        else if (chance == 4)
            power_cut(w);
        else if (chance == 5)
            kill_vault(w);
        else if (chance == 6)
            drain(w);
        step(w);
    }
    printf("seed %llu: %llu steps, %u messages, %llu power cuts, %llu kills, %llu failed batches, "
           "%llu recipients leased, %llu settled, %llu said again\n",
           (unsigned long long)seed, (unsigned long long)steps, w->next_message - 1,
           (unsigned long long)w->power_cuts, (unsigned long long)w->kills,
           (unsigned long long)w->failures, (unsigned long long)w->courier.leased,
           (unsigned long long)w->courier.settled, (unsigned long long)w->courier.repeated);
    end(w);
}

/* A fault that strikes while the vault opens again is a power cut too. */
static void each(enum fault fault, const char *name)
{
    uint64_t at = 1;
    for (;; at++) {
        struct world *w = begin(1);
        disk_set_fault(fault, at);
        for (int i = 0; i < SHORT_LIFE_STEPS; i++)
            step(w);
        bool struck = w->failures > 0 || disk_struck();
        end(w);
        if (!struck)
            break;
    }
    printf("%s: struck at each of %llu calls\n", name, (unsigned long long)(at - 1));
}

int main(int argc, char **argv)
{
    static const char *const faults[] = {"power", "full", "sync", "write"};
    disk_init();
    if (argc == 3 && strcmp(argv[1], "--each") == 0) {
        for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
            if (strcmp(argv[2], faults[i]) == 0) {
                each((enum fault)(FAULT_POWER + i), faults[i]);
                return 0;
            }
        fprintf(stderr, "sim: no such fault: %s\n", argv[2]);
        return 2;
    }
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : (uint64_t)time(NULL);
    live(seed, argc > 2 ? strtoull(argv[2], NULL, 10) : 2000);
    return 0;
}
