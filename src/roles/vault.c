#include "roles/vault.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/bug.h"
#include "base/limits.h"
#include "roles/change.h"
#include "roles/config.h"
#include "roles/keeper_capability.h"
#include "roles/vault_batch.h"
#include "roles/vault_watch.h"
#include "store/lock.h"
#include "store/queue.h"

enum {
    PATH_SIZE = 4096,
    /*
     * The WAL is copied when it is this large, or when nobody wants anything. Copying cannot be
     * interrupted, so how much there is to copy is what bounds it: less where that took long.
     */
    CHECKPOINT_SIZE_MAX = 8 * 1024 * 1024,
    CHECKPOINT_SIZE_MIN = 2 * 1024 * 1024, /* its syncs take their time anyhow */
    CHECKPOINT_US = LIMIT_VAULT_TRANSACTION_MS * 1000,
    IDLE_MS = 500,
    /* A WAL that a reader keeps this large is worth a word, and this long the end of that reader.
     */
    STALLED_SIZE = 64 * 1024 * 1024,
    STALLED_MS = 2000,
    PURGE_MS = 60 * 1000,
    PURGE_PAUSE_MS = 50, /* between slices; none where somebody leaves too much behind */
    PEERS_MAX = 256,
    SYNCS_OF_CHECKPOINT = 2, /* of the WAL before, of the database after */
};

struct vault {
    struct role *role;
    struct vault_batch *batch;
    int lock_fd;
    bool dead; /* the disk failed: nothing is heard or answered any more */
    bool stopping;
    bool stalled;
    int64_t stalled_ms;       /* since when, or when the warden was told last */
    uint64_t stalled_at;      /* copied of the WAL then: whoever kept it still keeps it there */
    uint64_t checkpoint_size; /* how much is copied at once */
    uint64_t checkpoint_at;   /* the size of the WAL when that is due */

    struct arena config_arena;
    struct account_mailbox *mailboxes; /* of a new account */
    size_t mailbox_count;
    int64_t retention_ms;
    struct vault_settings settings;
    struct capability_keys keys;
    struct capability_ends ends; /* of logins */

    struct hook commit;
    struct hook checkpoint;
    struct timer idle;
    struct timer purge;
    int64_t purge_tired_ms; /* it failed: no hurry before */
    struct channel *peers[ROLE_END][PEERS_MAX];
    struct vault_watch watches[PEERS_MAX]; /* of the mailrooms */
    bool change_lost;                      /* one of them is to be told so */

    struct metric *longest_transaction, *longest_checkpoint;
    struct metric *commits, *failed, *messages, *recipients, *recognised, *put_off, *wal,
        *checkpoints, *syncs, *queued, *relayed, *deferred, *bounced, *waiting, *held, *leased;
};

static int64_t clock_us(void *context)
{
    return loop_clock_us(role_loop(((struct vault *)context)->role));
}

/* ---- The end -----------------------------------------------------------------------------------
 */

static void fail(struct vault *v, const char *why)
{
    v->dead = true;
    log_event(role_log(v->role), role_now(v->role), LOG_ERROR, "disk-failed", why);
    timer_set(&v->idle, NEVER_MS);
    timer_set(&v->purge, NEVER_MS);
    role_cut_off(v->role);
    role_end(v->role);
}

/* ---- Replies -----------------------------------------------------------------------------------
 */

#define REPLY(TYPE, name)                                                                          \
    case TYPE:                                                                                     \
        ipc_##name##_reply(ch, r->ticket.id, &r->name);                                            \
        break

static void send_reply(const struct vault_reply *r)
{
    struct channel *ch = r->ticket.owner;
    switch (r->type) {
        REPLY(IPC_ACCEPT, accept);
        REPLY(IPC_BODY_CHUNK, body_chunk);
        REPLY(IPC_FLAGS_STORE, flags_store);
        REPLY(IPC_COPY, copy);
        REPLY(IPC_EXPUNGE, expunge);
        REPLY(IPC_APPEND, append);
        REPLY(IPC_MAILBOX_CREATE, mailbox_create);
        REPLY(IPC_MAILBOX_DELETE, mailbox_delete);
        REPLY(IPC_MAILBOX_RENAME, mailbox_rename);
        REPLY(IPC_SUBSCRIBE, subscribe);
        REPLY(IPC_RECENT_CLAIM, recent_claim);
        REPLY(IPC_DOMAIN_ADD, domain_add);
        REPLY(IPC_DOMAIN_SET, domain_set);
        REPLY(IPC_DOMAIN_REMOVE, domain_remove);
        REPLY(IPC_ACCOUNT_ADD, account_add);
        REPLY(IPC_ACCOUNT_SET, account_set);
        REPLY(IPC_ACCOUNT_REMOVE, account_remove);
        REPLY(IPC_ADDRESS_ADD, address_add);
        REPLY(IPC_ADDRESS_REMOVE, address_remove);
        REPLY(IPC_ALIAS_SET, alias_set);
        REPLY(IPC_RESUME, resume);
        REPLY(IPC_LEASE, lease);
        REPLY(IPC_OUTCOMES, outcomes);
        REPLY(IPC_OUTGOING_CHUNKS, outgoing_chunks);
        REPLY(IPC_STS_GET, sts_get);
        REPLY(IPC_STS_SET, sts_set);
        REPLY(IPC_QUEUE_CHANGE, queue_change);
        REPLY(IPC_STORE_RESTORED, store_restored);
    default:
        bug("a reply of no known type");
    }
}

static void tell_mailrooms(struct vault *v, const struct ipc_changed_in *changed)
{
    unsigned index = 0;
    v->change_lost = false;
    for (struct channel *ch; (ch = role_next_peer(v->role, ROLE_MAILROOM, &index));) {
        struct vault_watch *w = &v->watches[channel_peer_index(ch)];
        vault_watch_tell(w, ch, changed);
        v->change_lost |= w->lost;
    }
}

/* Mailrooms hear of the commit before anybody learns from elsewhere that it happened. */
static void send_changes(struct vault *v)
{
    struct ipc_changed_in changed;
    tell_mailrooms(v, vault_batch_changes(v->batch, &changed) ? &changed : NULL);
}

/* Couriers hear of what became due once the replies are out. */
static void send_ready(struct vault *v)
{
    struct ipc_queue_ready_in ready;
    void *owner = NULL;
    while (vault_batch_ready(v->batch, &owner, &ready))
        ipc_queue_ready_note(owner, &ready);
}

static void log_held(struct vault *v)
{
    struct vault_held held;
    char words[200];
    while (vault_batch_held(v->batch, &held)) {
        bool is_user = held.counted < 0;
        snprintf(words, sizeof words,
                 "%.*s waits for an operator: %s %lld has written to %llu recipients "
                 "elsewhere today, the limit is %llu",
                 STR_ARG(held.trace_id), is_user ? "user" : "account",
                 (long long)(is_user ? sent_user(held.counted) : held.counted),
                 (unsigned long long)held.recipients, (unsigned long long)held.limit);
        log_event(role_log(v->role), role_now(v->role), LOG_WARN, "message-held", words);
    }
}

/* ---- The turn -----------------------------------------------------------------------------------
 */

static void set_numbers(struct vault *v)
{
    const struct vault_numbers *n = vault_batch_numbers(v->batch);
    metric_set(v->commits, n->commits);
    metric_set(v->syncs, n->commits + SYNCS_OF_CHECKPOINT * v->checkpoints->value);
    metric_set(v->failed, n->failed_batches);
    metric_set(v->longest_transaction, n->longest_us);
    metric_set(v->messages, n->messages);
    metric_set(v->recipients, n->recipients);
    metric_set(v->recognised, n->recognised);
    metric_set(v->put_off, n->put_off);
    metric_set(v->wal, vault_wal_size(v->batch));
    metric_set(v->queued, n->queued);
    metric_set(v->relayed, n->relayed);
    metric_set(v->deferred, n->deferred);
    metric_set(v->bounced, n->bounced);
    metric_set(v->waiting, n->waiting);
    metric_set(v->held, n->held);
    metric_set(v->leased, n->leased);
}

/*
 * What an account leaves behind beyond its bound goes in slices that take turns with commits, so
 * nobody adds and expunges faster than that.
 */
static void hurry_purge(struct vault *v)
{
    int64_t now_ms = role_now(v->role).mono_ms;
    if (vault_batch_overflows(v->batch) && now_ms >= v->purge_tired_ms)
        timer_set(&v->purge, now_ms);
}

static void commit(void *context)
{
    struct vault *v = context;
    struct vault_reply reply;
    if (v->dead)
        return;
    vault_batch_at(v->batch, role_now(v->role));
    if (!vault_batch_commit(v->batch)) {
        fail(v, "a commit did not reach the disk; starting anew");
        return;
    }
    send_changes(v);
    while (vault_batch_reply(v->batch, &reply))
        send_reply(&reply);
    send_ready(v);
    log_held(v);
    set_numbers(v);
    struct loop *loop = role_loop(v->role);
    if (vault_batch_pending(v->batch))
        hook_queue(&v->commit, loop);
    else if (v->stopping)
        role_end(v->role);
    /* In a hook of its own, so that the replies leave first. */
    if (vault_wal_size(v->batch) >= v->checkpoint_at)
        hook_queue(&v->checkpoint, loop);
    timer_set(&v->idle, role_now(v->role).mono_ms + IDLE_MS);
    hurry_purge(v);
}

/* Some request came: there will be a commit at the end of this turn, or at once if it is time. */
static void due(struct vault *v)
{
    if (vault_batch_full(v->batch))
        commit(v);
    else if (vault_batch_lazy(v->batch) && !v->stopping)
        timer_set(&v->idle, role_now(v->role).mono_ms + IDLE_MS);
    else if (vault_batch_pending(v->batch))
        hook_queue(&v->commit, role_loop(v->role));
}

static void begin_stall(struct vault *v, uint64_t copied)
{
    unsigned index = 0;
    if (!v->stalled)
        log_event(role_log(v->role), role_now(v->role), LOG_WARN, "wal-stalled",
                  "a reader keeps the WAL from being copied");
    v->stalled = true;
    v->stalled_at = copied;
    v->stalled_ms = role_now(v->role).mono_ms;
    for (struct channel *ch; (ch = role_next_peer(v->role, ROLE_MAILROOM, &index));)
        ipc_wal_stalled_note(ch);
}

/*
 * A mailroom that forgot to let go of its snapshot ends when it is told. Where that does not help,
 * the warden ends whoever it is: the same reader, for no more of the WAL was copied. Many short
 * ones, of which there is always one, let it get on.
 */
static void note_stall(struct vault *v, uint64_t copied)
{
    int64_t now_ms = role_now(v->role).mono_ms;
    if (!v->stalled || copied != v->stalled_at) {
        begin_stall(v, copied);
    } else if (now_ms - v->stalled_ms >= STALLED_MS) {
        role_tell_wal_kept(v->role);
        v->stalled_ms = now_ms;
    }
    timer_set(&v->idle, now_ms + IDLE_MS);
}

/* What a reader has kept from being copied is tried again when there is as much again. */
static void note_left(struct vault *v, uint64_t left)
{
    uint64_t size = vault_wal_size(v->batch);
    v->checkpoint_at = (left > 0 ? size : 0) + v->checkpoint_size;
    if (left > 0 && size >= STALLED_SIZE)
        note_stall(v, size - left);
    else
        v->stalled = false;
}

/* The next one has half as much to do, or by and by twice as much. */
static void size_checkpoints(struct vault *v, int64_t took_us)
{
    if ((uint64_t)took_us > v->longest_checkpoint->value)
        metric_set(v->longest_checkpoint, (uint64_t)took_us);
    if (took_us > CHECKPOINT_US && v->checkpoint_size > CHECKPOINT_SIZE_MIN)
        v->checkpoint_size /= 2;
    else if (took_us < CHECKPOINT_US / 4 && v->checkpoint_size < CHECKPOINT_SIZE_MAX)
        v->checkpoint_size *= 2;
}

static void checkpoint(void *context)
{
    struct vault *v = context;
    uint64_t left = 0;
    /* Only confirmations can be waiting here; they go with it. */
    if (!v->dead && vault_batch_pending(v->batch))
        commit(v);
    if (v->dead)
        return;
    int64_t began_us = clock_us(v);
    if (!vault_checkpoint(v->batch, &left)) {
        fail(v, "a checkpoint did not reach the disk; starting anew");
        return;
    }
    size_checkpoints(v, clock_us(v) - began_us);
    metric_add(v->checkpoints, 1);
    note_left(v, left);
    set_numbers(v);
}

static void idle(void *context)
{
    struct vault *v = context;
    bool pending = vault_batch_pending(v->batch);
    if (v->change_lost) {
        send_changes(v);
        timer_set(&v->idle, role_now(v->role).mono_ms + IDLE_MS);
    }
    if (pending)
        commit(v);
    else if (vault_wal_size(v->batch) > 0)
        checkpoint(v);
}

static void purge(void *context)
{
    struct vault *v = context;
    struct now now = role_now(v->role);
    bool more = false;
    if (vault_batch_pending(v->batch))
        commit(v);
    if (v->dead)
        return;
    vault_batch_at(v->batch, now);
    enum status_code status = vault_purge(v->batch, v->retention_ms, &more);
    if (status == STATUS_IO) {
        fail(v, "a purge did not reach the disk; starting anew");
        return;
    }
    if (status != STATUS_OK)
        log_event(role_log(v->role), now, LOG_WARN, "purge-failed", status_name(status));
    bool again = more && status == STATUS_OK;
    timer_set(&v->purge, now.mono_ms + (again ? PURGE_PAUSE_MS : PURGE_MS));
    timer_set(&v->idle, now.mono_ms + IDLE_MS);
    v->purge_tired_ms = status == STATUS_OK ? 0 : now.mono_ms + PURGE_MS;
    hurry_purge(v);
}

/* ---- Requests
 * ------------------------------------------------------------------------------------ */

static bool is_good(const struct vault *v, struct str octets, struct capability *ret_c)
{
    return capability_check(&v->keys, octets, role_now(v->role), ret_c) &&
           ret_c->rights & CAPABILITY_CHANGE_MAIL &&
           !capability_ends_cover(&v->ends, ret_c->account, ret_c->credential, ret_c->issued_ms);
}

/*
 * Whose request is it? 0 where the capability says nothing good. A reply of the vault's own, which
 * waits for no commit.
 */
static uint64_t actor(struct vault *v, struct str octets)
{
    struct capability c;
    return is_good(v, octets, &c) ? c.account : 0;
}

static struct vault_ticket ticket(struct channel *ch, uint32_t id)
{
    return (struct vault_ticket){ch, id};
}

/* A request of a session, which shows its capability. */
#define SESSION_REQUEST(name)                                                                      \
    static void on_##name(void *context, struct channel *from, uint32_t id,                        \
                          const struct ipc_##name##_in *in)                                        \
    {                                                                                              \
        struct vault *v = context;                                                                 \
        uint64_t account = actor(v, in->capability);                                               \
        if (account == 0) {                                                                        \
            ipc_##name##_reply(from, id, &(struct ipc_##name##_out){.status = STATUS_DENIED});     \
            return;                                                                                \
        }                                                                                          \
        vault_batch_at(v->batch, role_now(v->role));                                               \
        vault_##name(v->batch, ticket(from, id), account, in);                                     \
        due(v);                                                                                    \
    }

/* A request whose sender's role is licence enough. */
#define ROLE_REQUEST(name)                                                                         \
    static void on_##name(void *context, struct channel *from, uint32_t id,                        \
                          const struct ipc_##name##_in *in)                                        \
    {                                                                                              \
        struct vault *v = context;                                                                 \
        vault_batch_at(v->batch, role_now(v->role));                                               \
        vault_##name(v->batch, ticket(from, id), in);                                              \
        due(v);                                                                                    \
    }

SESSION_REQUEST(flags_store)
SESSION_REQUEST(copy)
SESSION_REQUEST(expunge)
SESSION_REQUEST(append)
SESSION_REQUEST(mailbox_create)
SESSION_REQUEST(mailbox_delete)
SESSION_REQUEST(mailbox_rename)
SESSION_REQUEST(subscribe)
SESSION_REQUEST(recent_claim)
ROLE_REQUEST(accept)
ROLE_REQUEST(body_chunk)
ROLE_REQUEST(domain_add)
ROLE_REQUEST(domain_set)
ROLE_REQUEST(domain_remove)
ROLE_REQUEST(account_set)
ROLE_REQUEST(account_remove)
ROLE_REQUEST(address_add)
ROLE_REQUEST(address_remove)
ROLE_REQUEST(alias_set)
ROLE_REQUEST(resume)
ROLE_REQUEST(lease)
ROLE_REQUEST(outcomes)
ROLE_REQUEST(outgoing_chunks)
ROLE_REQUEST(sts_get)
ROLE_REQUEST(sts_set)
ROLE_REQUEST(queue_change)

static void on_account_add(void *context, struct channel *from, uint32_t id,
                           const struct ipc_account_add_in *in)
{
    struct vault *v = context;
    vault_account_add(v->batch, ticket(from, id), in, v->mailboxes, v->mailbox_count);
    due(v);
}

/* Mailrooms have sessions, and couriers rows, of what was: they must not run. */
static void on_store_restored(void *context, struct channel *from, uint32_t id,
                              const struct ipc_store_restored_in *in)
{
    struct vault *v = context;
    unsigned mailroom = 0, courier = 0;
    if (role_next_peer(v->role, ROLE_MAILROOM, &mailroom) ||
        role_next_peer(v->role, ROLE_COURIER, &courier)) {
        ipc_store_restored_reply(
            from, id,
            &(struct ipc_store_restored_out){.status = STATUS_BUSY,
                                             .words = STR("the server runs: stop it first")});
        return;
    }
    vault_store_restored(v->batch, ticket(from, id), in);
    due(v);
}

static void on_body_abort(void *context, struct channel *from, const struct ipc_body_abort_in *in)
{
    struct vault *v = context;
    vault_body_abort(v->batch, from, in->body);
    due(v);
}

static void on_confirm(void *context, struct channel *from, const struct ipc_confirm_in *in)
{
    struct vault *v = context;
    (void)from;
    vault_confirm(v->batch, in);
    due(v);
}

static void on_session_check(void *context, struct channel *from, uint32_t id,
                             const struct ipc_session_check_in *in)
{
    struct vault *v = context;
    struct capability c = {0};
    uint8_t renewed[CAPABILITY_SIZE];
    struct ipc_session_check_out out = {.status = STATUS_OK};
    if (v->keys.count == 0)
        out.status = STATUS_GONE;
    else if (!is_good(v, in->capability, &c))
        out.status = STATUS_DENIED;
    if (out.status == STATUS_OK && in->renew) {
        c.expires_ms = role_now(v->role).mono_ms + CAPABILITY_LIFE_MS;
        bool minted = capability_mint(&c, &v->keys.keys[0], renewed);
        out.status = minted ? STATUS_OK : STATUS_NO_MEMORY;
        out.capability = str_make(renewed, minted ? CAPABILITY_SIZE : 0);
    }
    out.account = c.account;
    out.expires_ms = c.expires_ms;
    ipc_session_check_reply(from, id, &out);
}

static void on_watch(void *context, struct channel *from, const struct ipc_watch_in *in)
{
    struct vault *v = context;
    struct vault_watch *w = &v->watches[channel_peer_index(from)];
    if (in->on)
        vault_watch_begin(w, in->account);
    else
        vault_watch_end(w, in->account);
}

static void on_capability_key(void *context, struct channel *from,
                              const struct ipc_capability_key_in *in)
{
    struct vault *v = context;
    (void)from;
    if (!capability_keys_add(&v->keys, in->key))
        log_event(role_log(v->role), role_now(v->role), LOG_ERROR, "bad-capability-key",
                  "the keeper's key has the wrong size");
}

/* account 0: everybody. */
static void tell_account_changed(struct vault *v, uint64_t account)
{
    const struct ipc_change change = {.kind = CHANGE_ACCOUNT, .account = account};
    const struct ipc_changed_in changed = {.changes = &change, .changes_count = 1};
    for (size_t i = 0; account == 0 && i < PEERS_MAX; i++)
        v->watches[i].lost = true;
    tell_mailrooms(v, &changed);
    if (v->change_lost)
        timer_set(&v->idle, role_now(v->role).mono_ms + IDLE_MS);
}

/* Nobody acts for a login that has ended, and the mailrooms look which sessions it had. */
static void on_logins_ended(void *context, struct channel *from,
                            const struct ipc_logins_ended_in *in)
{
    struct vault *v = context;
    (void)from;
    for (size_t i = 0; i < in->ends_count; i++) {
        const struct ipc_login_end *e = &in->ends[i];
        const struct capability_end end = {e->account, e->credential, e->issued_ms};
        if (!capability_ends_add(&v->ends, &end)) {
            role_end(v->role); /* the next one is told again */
            return;
        }
        tell_account_changed(v, e->account);
    }
}

/* ---- Life
 * ----------------------------------------------------------------------------------------- */

static void make_metrics(struct vault *v)
{
    struct metrics *m = role_metrics(v->role);
    v->commits = metrics_get(m, METRIC_COUNTER, "postern_vault_commits",
                             "Transactions committed and synced.", NULL, NULL);
    v->syncs = metrics_get(m, METRIC_COUNTER, "postern_vault_syncs",
                           "Syncs to disk, of commits and checkpoints.", NULL, NULL);
    v->failed = metrics_get(m, METRIC_COUNTER, "postern_vault_failed_batches",
                            "Transactions undone because the disk or memory was full.", NULL, NULL);
    v->messages = metrics_get(m, METRIC_COUNTER, "postern_vault_messages",
                              "Messages accepted or appended.", NULL, NULL);
    v->recipients = metrics_get(m, METRIC_COUNTER, "postern_vault_recipients",
                                "Recipients delivered to.", NULL, NULL);
    v->recognised = metrics_get(m, METRIC_COUNTER, "postern_vault_recognised",
                                "Recipients recognised as sent again.", NULL, NULL);
    v->put_off = metrics_get(m, METRIC_COUNTER, "postern_vault_put_off",
                             "Long requests that waited for a later transaction.", NULL, NULL);
    v->checkpoints = metrics_get(m, METRIC_COUNTER, "postern_vault_checkpoints",
                                 "Checkpoints of the WAL.", NULL, NULL);
    v->longest_transaction =
        metrics_get(m, METRIC_GAUGE, "postern_vault_longest_transaction_microseconds",
                    "The longest that a transaction kept others waiting.", NULL, NULL);
    v->longest_checkpoint =
        metrics_get(m, METRIC_GAUGE, "postern_vault_longest_checkpoint_microseconds",
                    "The longest that a checkpoint kept others waiting.", NULL, NULL);
    v->wal = metrics_get(m, METRIC_GAUGE, "postern_vault_wal_bytes",
                         "Bytes of the WAL that are not copied yet.", NULL, NULL);
}

static void make_queue_metrics(struct vault *v)
{
    struct metrics *m = role_metrics(v->role);
    v->queued = metrics_get(m, METRIC_COUNTER, "postern_queue_recipients",
                            "Recipients that joined the queue for other servers.", NULL, NULL);
    v->relayed = metrics_get(m, METRIC_COUNTER, "postern_queue_relayed",
                             "Recipients that the next server took.", NULL, NULL);
    v->deferred = metrics_get(m, METRIC_COUNTER, "postern_queue_deferred",
                              "Attempts for a recipient that failed for now.", NULL, NULL);
    v->bounced = metrics_get(m, METRIC_COUNTER, "postern_queue_bounced",
                             "Recipients that failed for good.", NULL, NULL);
    v->waiting = metrics_get(m, METRIC_GAUGE, "postern_queue_waiting",
                             "Recipients that wait, held ones included.", NULL, NULL);
    v->held = metrics_get(m, METRIC_GAUGE, "postern_queue_held",
                          "Recipients that wait for an operator.", NULL, NULL);
    v->leased = metrics_get(m, METRIC_GAUGE, "postern_queue_leased",
                            "Recipients that couriers have in hand.", NULL, NULL);
}

static void *vault_create(struct role *role)
{
    struct vault *v = calloc(1, sizeof *v);
    if (!v)
        return NULL;
    v->role = role;
    v->lock_fd = -1;
    v->checkpoint_size = v->checkpoint_at = CHECKPOINT_SIZE_MAX;
    arena_init(&v->config_arena, CONFIG_ARENA_SIZE);
    hook_init(&v->commit, commit, v);
    hook_init(&v->checkpoint, checkpoint, v);
    timer_init(&v->idle, role_loop(role), idle, v);
    timer_init(&v->purge, role_loop(role), purge, v);
    make_metrics(v);
    make_queue_metrics(v);
    return v;
}

/* A channel that has ended lives on until all that it asked is answered. */
static void answer_all(struct vault *v)
{
    struct vault_reply reply;
    vault_batch_abandon(v->batch);
    while (vault_batch_reply(v->batch, &reply))
        send_reply(&reply);
}

static void vault_destroy(void *state)
{
    struct vault *v = state;
    hook_cancel(&v->commit);
    hook_cancel(&v->checkpoint);
    timer_set(&v->idle, NEVER_MS);
    timer_set(&v->purge, NEVER_MS);
    if (v->batch)
        answer_all(v);
    vault_batch_close(v->batch);
    if (v->lock_fd >= 0)
        lock_release(v->lock_fd);
    arena_reset(&v->config_arena);
    for (size_t i = 0; i < PEERS_MAX; i++)
        vault_watch_release(&v->watches[i]);
    capability_ends_release(&v->ends);
    explicit_bzero(&v->keys, sizeof v->keys);
    free(v);
}

/* RFC 6154 §2, as the configuration names them. */
static enum special_use special_use(struct str use)
{
    static const struct {
        struct str name;
        enum special_use use;
    } uses[] = {
        {{"archive", 7}, SPECIAL_ARCHIVE}, {{"drafts", 6}, SPECIAL_DRAFTS},
        {{"junk", 4}, SPECIAL_JUNK},       {{"sent", 4}, SPECIAL_SENT},
        {{"trash", 5}, SPECIAL_TRASH},
    };
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++)
        if (str_eq(uses[i].name, use))
            return uses[i].use;
    return SPECIAL_NONE;
}

static enum status_code read_config(struct vault *v, struct str text, struct config *config)
{
    struct conf_errors errors = {0};
    arena_reset(&v->config_arena);
    v->mailbox_count = 0;
    enum status_code status = config_parse(text, &v->config_arena, config, &errors);
    if (status != STATUS_OK)
        return status;
    v->mailboxes =
        arena_alloc_array(&v->config_arena, config->mailbox_count + 1, sizeof *v->mailboxes);
    if (!v->mailboxes)
        return STATUS_NO_MEMORY;
    for (size_t i = 0; i < config->mailbox_count; i++)
        v->mailboxes[v->mailbox_count++] = (struct account_mailbox){
            config->mailboxes[i].name, special_use(config->mailboxes[i].use)};
    v->retention_ms = (int64_t)config->retention_expunged_ms;
    v->settings =
        (struct vault_settings){.recipients_per_day = config->outbound.recipients_per_day,
                                .lifetime_ms = (int64_t)config->outbound.lifetime_ms,
                                .delay_notice_ms = (int64_t)config->outbound.delay_notice_ms};
    if (v->batch)
        vault_batch_set(v->batch, &v->settings);
    return STATUS_OK;
}

static enum status_code vault_prepare(void *state, const struct ipc_config_in *in,
                                      struct diag *diag)
{
    struct vault *v = state;
    struct config config = {0};
    char path[PATH_SIZE];
    enum status_code status = read_config(v, in->text, &config);
    if (status != STATUS_OK) {
        diag_set(diag, "the configuration cannot be read");
        return status;
    }
    snprintf(path, sizeof path, "%.*s/store/lock", STR_ARG(config.data));
    status = lock_take(path, LOCK_WAIT_MS, &v->lock_fd, diag);
    if (status != STATUS_OK)
        return status;
    snprintf(path, sizeof path, "%.*s/store/postern.db", STR_ARG(config.data));
    status = vault_batch_open(path, NULL, &v->batch, diag);
    if (status != STATUS_OK)
        return status;
    vault_batch_set(v->batch, &v->settings);
    vault_batch_use_clock(v->batch, clock_us, v);
    vault_batch_at(v->batch, role_now(v->role));
    timer_set(&v->purge, role_now(v->role).mono_ms + PURGE_MS);
    return status;
}

static void vault_reconfigure(void *state, const struct ipc_config_in *in)
{
    struct vault *v = state;
    struct config config = {0};
    enum status_code status = read_config(v, in->text, &config);
    if (status != STATUS_OK)
        role_refuse_reload(v->role, status_name(status));
}

static void vault_peer_up(void *state, enum ipc_role peer, uint8_t index, struct channel *ch)
{
    struct vault *v = state;
    v->peers[peer][index] = ch;
}

static void vault_peer_down(void *state, enum ipc_role peer, uint8_t index)
{
    struct vault *v = state;
    if (!v->batch)
        return;
    vault_owner_gone(v->batch, v->peers[peer][index]);
    v->peers[peer][index] = NULL;
    if (peer == ROLE_MAILROOM)
        vault_watch_release(&v->watches[index]);
    if (!v->dead)
        due(v);
}

static void vault_stop(void *state, bool now)
{
    struct vault *v = state;
    (void)now;
    v->stopping = true;
    if (v->batch && !v->dead && vault_batch_pending(v->batch))
        hook_queue(&v->commit, role_loop(v->role));
    else
        role_end(v->role);
}

static void on_metrics(void *context, struct channel *from, uint32_t id)
{
    struct vault *v = context;
    role_reply_metrics(v->role, from, id);
}

static const struct ipc_handlers handlers = {
    .metrics = on_metrics,
    .accept = on_accept,
    .body_chunk = on_body_chunk,
    .body_abort = on_body_abort,
    .confirm = on_confirm,
    .capability_key = on_capability_key,
    .logins_ended = on_logins_ended,
    .flags_store = on_flags_store,
    .copy = on_copy,
    .expunge = on_expunge,
    .append = on_append,
    .mailbox_create = on_mailbox_create,
    .mailbox_delete = on_mailbox_delete,
    .mailbox_rename = on_mailbox_rename,
    .subscribe = on_subscribe,
    .recent_claim = on_recent_claim,
    .session_check = on_session_check,
    .watch = on_watch,
    .domain_add = on_domain_add,
    .domain_set = on_domain_set,
    .domain_remove = on_domain_remove,
    .account_add = on_account_add,
    .account_set = on_account_set,
    .account_remove = on_account_remove,
    .address_add = on_address_add,
    .address_remove = on_address_remove,
    .alias_set = on_alias_set,
    .resume = on_resume,
    .lease = on_lease,
    .outcomes = on_outcomes,
    .outgoing_chunks = on_outgoing_chunks,
    .sts_get = on_sts_get,
    .sts_set = on_sts_set,
    .queue_change = on_queue_change,
    .store_restored = on_store_restored,
};

const struct role_plan vault_plan = {
    .self = ROLE_VAULT,
    .handlers = &handlers,
    .create = vault_create,
    .destroy = vault_destroy,
    .prepare = vault_prepare,
    .reconfigure = vault_reconfigure,
    .peer_up = vault_peer_up,
    .peer_down = vault_peer_down,
    .stop = vault_stop,
};
