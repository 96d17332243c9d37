#include "roles/vault_batch.h"

#include <stdlib.h>

#include "base/bug.h"
#include "base/limits.h"
#include "roles/vault_internal.h"

enum {
    RESULTS_BUDGET = 64 * 1024 * 1024,
    REPLIES_MAX = 65536,
    CHANGES_MAX = 65536,
    /* About what LIMIT_VAULT_TRANSACTION_MS has room for, and far below what is a bug. */
    REPLIES_FULL = 512,
    CHANGES_FULL = 4096,
    /* How far back a change looks for one of the same mailbox that it can join. */
    CHANGES_JOINED = 32,
    /* How long a batch is careful after one failed for a reason that may be a single request's. */
    CAREFUL_BATCHES = 64,
    HOUR_MS = 60 * 60 * 1000,
};

/* ---- Opening -----------------------------------------------------------------------------------
 */

enum status_code vault_batch_open(const char *path, const char *vfs, struct vault_batch **ret_batch,
                                  struct diag *d)
{
    struct vault_batch *b = calloc(1, sizeof *b);
    if (!b)
        return STATUS_NO_MEMORY;
    arena_init(&b->results, RESULTS_BUDGET);
    buf_init(&b->replies, REPLIES_MAX * sizeof(struct vault_reply));
    buf_init(&b->changes, CHANGES_MAX * sizeof(struct ipc_change));
    b->put_off_end = &b->put_off;
    b->purged_hour = -1;
    struct queue_numbers waiting = {0};
    enum status_code status = db_open_vfs(path, DB_WRITE, vfs, &b->writer.db, d);
    if (status == STATUS_OK)
        status = writer_remove_staged(&b->writer);
    if (status == STATUS_OK)
        status = vault_queue_open(&b->queue, b->writer.db, &waiting);
    if (status != STATUS_OK) {
        vault_batch_close(b);
        return status;
    }
    b->numbers.waiting = waiting.waiting;
    b->numbers.held = waiting.held;
    *ret_batch = b;
    return STATUS_OK;
}

void vault_batch_use_clock(struct vault_batch *b, int64_t (*clock_us)(void *context), void *context)
{
    b->budget.clock_us = clock_us;
    b->budget.context = context;
}

void vault_batch_close(struct vault_batch *b)
{
    if (!b)
        return;
    if (b->open)
        writer_rollback(&b->writer);
    db_close(b->writer.db);
    arena_reset(&b->results);
    buf_release(&b->replies);
    buf_release(&b->changes);
    vault_queue_close(&b->queue);
    for (struct staged_body *s = b->staged, *next; s; s = next) {
        next = s->next;
        free(s);
    }
    for (struct put_off *p = b->put_off, *next; p; p = next) {
        next = p->next;
        vault_put_off_free(p);
    }
    free(b);
}

/* ---- Requests ----------------------------------------------------------------------------------
 */

bool vault_is_failure(enum status_code status)
{
    switch (status) {
    case STATUS_NO_MEMORY:
    case STATUS_IO:
    case STATUS_DISK_FULL:
    case STATUS_CORRUPT:
    case STATUS_TIMEOUT:
    case STATUS_GONE:
    case STATUS_UNSUPPORTED:
        return true;
    default:
        return false;
    }
}

void vault_note(struct vault_batch *b, enum status_code status)
{
    if (vault_is_failure(status) && b->failure == STATUS_OK)
        b->failure = status;
}

/* The results of the batch before have been sent: their memory is free. */
static void forget_results(struct vault_batch *b)
{
    invariant(b->replied == b->replies.len);
    buf_clear(&b->replies);
    b->replied = 0;
    buf_clear(&b->changes);
    b->told = false;
    buf_clear(&b->queue.held);
    b->queue.held_told = 0;
    arena_reset(&b->results);
}

void vault_batch_gather(struct vault_batch *b)
{
    if (!b->gathering)
        forget_results(b);
    b->gathering = true;
}

bool vault_batch_begin(struct vault_batch *b, bool urgent)
{
    if (b->failure != STATUS_OK)
        return false;
    /* What nobody waits for may have opened the transaction long ago. */
    if (!b->open || (urgent && !b->urgent))
        vault_budget_begin(&b->budget);
    b->urgent = b->urgent || urgent;
    if (b->open)
        return true;
    vault_batch_gather(b);
    enum status_code status = writer_begin(&b->writer);
    if (status == STATUS_OK)
        b->open = true;
    else
        b->failure = status;
    return b->open;
}

void vault_answer(struct vault_batch *b, const struct vault_reply *reply)
{
    if (!buf_append(&b->replies, reply, sizeof *reply))
        bug("more replies than a batch can have");
}

enum status_code vault_guard(struct vault_batch *b)
{
    b->guarded = (struct vault_guarded){.waiting = b->writer.waiting,
                                        .held = b->writer.held,
                                        .learned = b->queue.learned,
                                        .held_len = b->queue.held.len};
    return db_savepoint(b->writer.db);
}

static void unlearn(struct vault_batch *b)
{
    b->writer.waiting = b->guarded.waiting;
    b->writer.held = b->guarded.held;
    b->queue.held.len = b->guarded.held_len;
    b->queue.wanted = 0;
    if (b->queue.learned != b->guarded.learned)
        vault_queue_forget(b);
}

enum status_code vault_unguard(struct vault_batch *b, enum status_code status)
{
    if (status == STATUS_OK)
        return db_savepoint_release(b->writer.db);
    unlearn(b);
    /* A full disk may have undone the whole transaction already. */
    enum status_code undone = status == STATUS_DISK_FULL ? status : db_savepoint_undo(b->writer.db);
    /* Having met damage, SQLite writes nothing more before the whole transaction is undone. */
    if (undone == STATUS_OK && status == STATUS_CORRUPT)
        undone = status;
    if (undone != STATUS_OK && b->failure == STATUS_OK)
        b->failure = undone;
    return status;
}

/* ---- Changes -----------------------------------------------------------------------------------
 */

void vault_changed(struct vault_batch *b, const struct ipc_change *change)
{
    struct ipc_change *changes = (struct ipc_change *)(void *)b->changes.ptr;
    size_t count = b->changes.len / sizeof *changes;
    for (size_t i = count; i > 0 && count - i < CHANGES_JOINED; i--) {
        struct ipc_change *old = &changes[i - 1];
        if (old->mailbox != change->mailbox || old->account != change->account ||
            old->kind != change->kind)
            continue;
        old->joined = true;
        if (change->modseq > old->modseq)
            old->modseq = change->modseq;
        if (change->first < old->first)
            old->first = change->first;
        if (change->last > old->last)
            old->last = change->last;
        return;
    }
    if (!buf_append(&b->changes, change, sizeof *change))
        vault_note(b, STATUS_NO_MEMORY);
}

bool vault_batch_changes(struct vault_batch *b, struct ipc_changed_in *ret_changed)
{
    if (b->told || b->changes.len == 0)
        return false;
    b->told = true;
    *ret_changed = (struct ipc_changed_in){
        .commit = b->writer.commit_number,
        .changes = (const struct ipc_change *)(void *)b->changes.ptr,
        .changes_count = b->changes.len / sizeof(struct ipc_change),
    };
    return true;
}

/* ---- The end of a batch ------------------------------------------------------------------------
 */

bool vault_batch_pending(const struct vault_batch *b)
{
    return b->gathering || b->failure != STATUS_OK || b->put_off || vault_has_lost(b) ||
           vault_has_stale(b) || vault_is_resuming(b) || b->queue.asks.len > 0;
}

bool vault_batch_full(const struct vault_batch *b)
{
    return (b->careful > 0 && b->replies.len > 0) ||
           b->replies.len >= REPLIES_FULL * sizeof(struct vault_reply) ||
           b->changes.len >= CHANGES_FULL * sizeof(struct ipc_change) ||
           (b->open && b->replies.len > 0 && vault_budget_is_full(&b->budget));
}

bool vault_batch_lazy(const struct vault_batch *b)
{
    return b->open && !b->urgent && b->failure == STATUS_OK && b->replies.len == 0 && !b->put_off &&
           b->queue.asks.len == 0 && !vault_has_lost(b) && !vault_is_resuming(b);
}

/* Every request of a doomed batch gets the batch's failure, and nothing else. */
static void fail_replies(struct vault_batch *b, enum status_code failure)
{
    struct vault_reply *replies = (struct vault_reply *)(void *)b->replies.ptr;
    for (size_t i = 0; i < b->replies.len / sizeof *replies; i++)
        replies[i] = (struct vault_reply){
            .ticket = replies[i].ticket, .type = replies[i].type, .status = failure};
}

static void undo(struct vault_batch *b, enum status_code failure)
{
    writer_rollback(&b->writer);
    buf_clear(&b->changes);
    buf_clear(&b->queue.held);
    fail_replies(b, failure);
    vault_settle_bodies(b, false);
    vault_queue_settle(b, false);
    b->numbers.failed_batches++;
    /* A full disk is everybody's; the rest may be the fault of one message or one page. */
    b->careful = failure == STATUS_DISK_FULL ? 0 : CAREFUL_BATCHES;
}

static enum status_code commit_writer(struct vault_batch *b)
{
    enum status_code status = vault_note_clock(b);
    if (status != STATUS_OK) {
        writer_rollback(&b->writer);
        return status;
    }
    vault_budget_commit(&b->budget);
    status = writer_commit(&b->writer);
    if (status == STATUS_OK)
        vault_budget_committed(&b->budget);
    return status;
}

static bool commit(struct vault_batch *b)
{
    enum status_code status = commit_writer(b);
    if (status == STATUS_OK) {
        b->numbers.commits++;
        vault_settle_bodies(b, true);
        vault_queue_settle(b, true);
        if (b->careful > 0)
            b->careful--;
        return true;
    }
    if (status == STATUS_IO || status == STATUS_CORRUPT)
        return false;
    undo(b, status);
    return true;
}

static void note_length(struct vault_batch *b)
{
    uint64_t took_us = (uint64_t)vault_budget_since_us(&b->budget);
    if (took_us > b->numbers.longest_us)
        b->numbers.longest_us = took_us;
}

bool vault_batch_commit(struct vault_batch *b)
{
    if (b->failure == STATUS_OK && (b->put_off || vault_has_lost(b)))
        vault_take_up(b);
    if (vault_has_lost(b) && vault_batch_begin(b, false))
        vault_remove_lost(b);
    if (vault_has_stale(b) && vault_batch_begin(b, false))
        vault_settle_stale(b);
    vault_resume_more(b);
    bool alive = true;
    if (b->failure != STATUS_OK)
        undo(b, b->failure);
    else if (b->open)
        alive = commit(b);
    if (b->open)
        note_length(b);
    b->open = false;
    b->urgent = false;
    b->failure = STATUS_OK;
    if (alive)
        vault_serve_asks(b);
    b->gathering = false;
    return alive;
}

void vault_batch_abandon(struct vault_batch *b)
{
    const struct vault_ask *asks = (const struct vault_ask *)(const void *)b->queue.asks.ptr;
    for (const struct put_off *p = b->put_off; p; p = p->next)
        vault_answer(b, &(struct vault_reply){.ticket = p->ticket, .type = p->type});
    for (size_t i = 0; i < b->queue.asks.len / sizeof *asks; i++)
        vault_answer(b, &(struct vault_reply){.ticket = asks[i].ticket, .type = asks[i].type});
    vault_resume_abandon(b, NULL);
    fail_replies(b, STATUS_GONE);
}

bool vault_batch_reply(struct vault_batch *b, struct vault_reply *ret_reply)
{
    if (b->replied == b->replies.len)
        return false;
    *ret_reply = *(const struct vault_reply *)(const void *)(b->replies.ptr + b->replied);
    b->replied += sizeof *ret_reply;
    return true;
}

void vault_owner_gone(struct vault_batch *b, void *owner)
{
    for (struct staged_body *s = b->staged; s; s = s->next)
        if (s->owner == owner) {
            s->owner = NULL;
            s->ended = true;
            s->lost = true;
        }
    vault_resume_abandon(b, owner);
    vault_courier_gone(&b->queue, owner);
}

/* ---- Beside the batches ------------------------------------------------------------------------
 */

static bool purged_enough(void *context)
{
    return vault_budget_is_spent(context);
}

/* In each hour all there is is looked at again, and what was damaged tried again. */
static void begin_purge(struct vault_batch *b, int64_t retention_ms)
{
    int64_t hour = b->queue.clock_ms / HOUR_MS;
    struct purge *p = &b->purge;
    if (hour != b->purged_hour) {
        p->kind = 0;
        p->place = (struct purge_place){0};
        p->damaged = 0;
    }
    b->purged_hour = hour;
    p->clock_ms = b->queue.clock_ms;
    p->retention_ms = retention_ms;
    p->enough = b->budget.clock_us ? purged_enough : NULL;
    p->context = &b->budget;
}

enum status_code vault_purge(struct vault_batch *b, int64_t retention_ms, bool *ret_more)
{
    invariant(!b->open);
    vault_budget_begin(&b->budget);
    enum status_code status = writer_begin(&b->writer);
    if (status != STATUS_OK)
        return status;
    begin_purge(b, retention_ms);
    struct purge before = b->purge;
    status = purge_slice(&b->writer, &b->purge, ret_more);
    /* A destination may have gone. */
    vault_queue_forget(b);
    if (status == STATUS_OK) {
        status = commit_writer(b);
        if (status == STATUS_CORRUPT)
            status = STATUS_IO;
    } else {
        writer_rollback(&b->writer);
        before.damaged = b->purge.damaged;
        /* A page that cannot be read is not the end of everything else. */
        if (status == STATUS_IO)
            status = STATUS_CORRUPT;
    }
    note_length(b);
    if (status == STATUS_OK)
        b->writer.over = b->purge.over;
    else
        b->purge = before;
    return status;
}

bool vault_batch_overflows(const struct vault_batch *b)
{
    return b->writer.over;
}

static uint64_t frame_size(const struct vault_batch *b)
{
    return db_page_size(b->writer.db) + 24;
}

bool vault_checkpoint(struct vault_batch *b, uint64_t *ret_left)
{
    invariant(!b->open);
    enum status_code status = db_checkpoint(b->writer.db, false, ret_left);
    *ret_left *= frame_size(b);
    /* A full disk (the database file grows) and a busy reader pass; a failed sync must not. */
    return status == STATUS_OK || status == STATUS_DISK_FULL || status == STATUS_BUSY;
}

uint64_t vault_wal_size(const struct vault_batch *b)
{
    return db_wal_frames(b->writer.db) * frame_size(b);
}

const struct vault_numbers *vault_batch_numbers(const struct vault_batch *b)
{
    return &b->numbers;
}
