#include "roles/testing_vault.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/limits.h"
#include "store/directory.h"

static const struct account_mailbox mailboxes[] = {{{"Sent", 4}, SPECIAL_SENT},
                                                   {{"Trash", 5}, SPECIAL_TRASH}};

/* Time that really passes, and what the wall shows then. */
void world_pass(struct vault_world *w, int64_t ms, int64_t wall_ms)
{
    w->now = (struct now){w->now.mono_ms + ms, wall_ms};
    vault_batch_at(w->vault, w->now);
}

struct vault_ticket world_ticket(struct vault_world *w)
{
    return (struct vault_ticket){w, ++w->requests};
}

struct vault_reply world_commit(struct vault_world *w)
{
    struct vault_reply reply, more;
    assert_true(vault_batch_commit(w->vault));
    assert_true(vault_batch_reply(w->vault, &reply));
    assert_int_equal(reply.ticket.id, w->requests);
    assert_false(vault_batch_reply(w->vault, &more));
    return reply;
}

uint64_t world_add_account(struct vault_world *w, const char *name)
{
    struct ipc_address address = {text_from(str_from_c(name))};
    struct ipc_account_add_in in = {
        .at_ms = AT_MS, .name = str_from_c(name), .addresses = &address, .addresses_count = 1};
    vault_account_add(w->vault, world_ticket(w), &in, mailboxes, 2);
    struct vault_reply reply = world_commit(w);
    assert_int_equal(reply.status, STATUS_OK);
    return reply.account_add.account;
}

int world_set_up(void **state)
{
    struct vault_world *w = calloc(1, sizeof *w);
    struct diag d = {0};
    struct account_record account;
    snprintf(w->folder, sizeof w->folder, "/tmp/postern-vault-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    snprintf(w->path, sizeof w->path, "%s/postern.db", w->folder);
    assert_int_equal(vault_batch_open(w->path, NULL, &w->vault, &d), STATUS_OK);
    w->now = (struct now){1000, AT_MS};
    vault_batch_at(w->vault, w->now);
    assert_int_equal(db_open(w->path, DB_READ, &w->reader, &d), STATUS_OK);
    arena_init(&w->arena, 1 << 24);

    vault_domain_add(w->vault, world_ticket(w),
                     &(struct ipc_domain_add_in){.at_ms = AT_MS, .name = STR("demo.test")});
    assert_int_equal(world_commit(w).status, STATUS_OK);
    w->alice = world_add_account(w, "alice@demo.test");
    assert_int_equal(directory_account(w->reader, w->alice, &w->arena, &account), STATUS_OK);
    w->inbox = account.inbox;
    *state = w;
    return 0;
}

int world_tear_down(void **state)
{
    struct vault_world *w = *state;
    static const char *const endings[] = {"", "-wal", "-shm"};
    char name[128];
    db_close(w->reader);
    vault_batch_close(w->vault);
    arena_reset(&w->arena);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        snprintf(name, sizeof name, "%s%s", w->path, endings[i]);
        unlink(name);
    }
    assert_int_equal(rmdir(w->folder), 0);
    free(w);
    return 0;
}

/* ---- Messages ----------------------------------------------------------------------------------
 */

struct body_writer *world_write_body(struct str body, struct ipc_chunk *chunks, size_t *ret_count)
{
    struct body_writer *writer = body_writer_new();
    assert_true(body_writer_write(writer, body) && body_writer_finish(writer));
    const struct body_chunk *ready = body_writer_ready(writer, ret_count);
    assert_true(*ret_count <= 8);
    for (size_t i = 0; i < *ret_count; i++)
        chunks[i] = (struct ipc_chunk){ready[i].codec, ready[i].key_id, ready[i].plain_size,
                                       ready[i].hash, ready[i].data};
    return writer;
}

/* Accepts a message for alice; key may be empty. */
struct vault_reply world_accept(struct vault_world *w, struct str body, struct str key)
{
    struct ipc_chunk chunks[8];
    struct ipc_delivery delivery = {
        .account = w->alice, .mailbox = w->inbox, .prefix = WORLD_PREFIX};
    struct ipc_accept_recipient recipient = {.recipient = text_from(STR("alice@demo.test")),
                                             .key = key,
                                             .deliveries = &delivery,
                                             .deliveries_count = 1};
    struct ipc_accept_in in = {.trace_id = STR("01TEST"),
                               .received_at_ms = AT_MS,
                               .reverse_path = text_from(STR("bob@example.org")),
                               .email = {.size = body.len, .chunks = chunks},
                               .recipients = &recipient,
                               .recipients_count = 1};
    struct body_writer *writer = world_write_body(body, chunks, &in.email.chunks_count);
    vault_accept(w->vault, world_ticket(w), &in);
    body_writer_free(writer);
    return world_commit(w);
}

uint32_t world_messages(struct vault_world *w, uint64_t mailbox)
{
    struct mailbox_record record;
    assert_int_equal(read_mailbox(w->reader, w->alice, mailbox, &w->arena, &record), STATUS_OK);
    return record.messages;
}

int64_t world_count(struct vault_world *w, const char *sql)
{
    struct query *q = db_query(w->reader, sql);
    assert_true(query_next(q));
    int64_t found = query_int(q, 0);
    assert_int_equal(query_end(q), STATUS_OK);
    return found;
}

int64_t world_stored(struct vault_world *w)
{
    return world_count(w, "SELECT (SELECT count(*) FROM chunk) + (SELECT count(*) FROM email) + "
                          "(SELECT count(*) FROM entry)");
}

void world_purge(struct vault_world *w)
{
    bool more = true;
    for (int rounds = 0; more && rounds < 10; rounds++)
        assert_int_equal(vault_purge(w->vault, LIMIT_RETENTION_EXPUNGED_MS, &more), STATUS_OK);
    assert_false(more);
}

void world_expunge(struct vault_world *w, uint64_t mailbox)
{
    struct ipc_range all = {1, 100};
    struct ipc_expunge_in in = {.at_ms = AT_MS, .mailbox = mailbox, .uids = &all, .uids_count = 1};
    vault_expunge(w->vault, world_ticket(w), w->alice, &in);
    assert_int_equal(world_commit(w).expunge.expunged_count, 1);
}

int64_t world_slow_clock(void *context)
{
    return *(int64_t *)context += 4000;
}
