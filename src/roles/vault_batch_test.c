#include "roles/vault_batch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/testing.h"
#include "store/directory.h"
#include "store/read.h"

/* A vault on a fresh database with one account, and a reader beside it. */
struct world {
    char folder[64];
    char path[96];
    struct vault_batch *vault;
    struct db *reader;
    struct arena arena;
    uint64_t alice;
    uint64_t inbox;
    uint32_t requests;
    struct now now;
};

static const int64_t AT_MS = 1700000000000;
static const struct account_mailbox mailboxes[] = {{{"Sent", 4}, SPECIAL_SENT},
                                                   {{"Trash", 5}, SPECIAL_TRASH}};

/* Time that really passes, and what the wall shows then. */
static void pass(struct world *w, int64_t ms, int64_t wall_ms)
{
    w->now = (struct now){w->now.mono_ms + ms, wall_ms};
    vault_batch_at(w->vault, w->now);
}

static struct vault_ticket ticket(struct world *w)
{
    return (struct vault_ticket){w, ++w->requests};
}

static struct vault_reply commit_one(struct world *w)
{
    struct vault_reply reply, more;
    assert_true(vault_batch_commit(w->vault));
    assert_true(vault_batch_reply(w->vault, &reply));
    assert_int_equal(reply.ticket.id, w->requests);
    assert_false(vault_batch_reply(w->vault, &more));
    return reply;
}

static uint64_t add_account(struct world *w, const char *name)
{
    struct ipc_address address = {text_from(str_from_c(name))};
    struct ipc_account_add_in in = {
        .at_ms = AT_MS, .name = str_from_c(name), .addresses = &address, .addresses_count = 1};
    vault_account_add(w->vault, ticket(w), &in, mailboxes, 2);
    struct vault_reply reply = commit_one(w);
    assert_int_equal(reply.status, STATUS_OK);
    return reply.account_add.account;
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
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

    vault_domain_add(w->vault, ticket(w),
                     &(struct ipc_domain_add_in){.at_ms = AT_MS, .name = STR("demo.test")});
    assert_int_equal(commit_one(w).status, STATUS_OK);
    w->alice = add_account(w, "alice@demo.test");
    assert_int_equal(directory_account(w->reader, w->alice, &w->arena, &account), STATUS_OK);
    w->inbox = account.inbox;
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
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

static struct body_writer *write_body(struct str body, struct ipc_chunk *chunks, size_t *ret_count)
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

static const struct str PREFIX = {"Return-Path: <bob@example.org>\r\n", 32};

/* Accepts a message for alice; key may be empty. */
static struct vault_reply accept(struct world *w, struct str body, struct str key)
{
    struct ipc_chunk chunks[8];
    struct ipc_delivery delivery = {.account = w->alice, .mailbox = w->inbox, .prefix = PREFIX};
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
    struct body_writer *writer = write_body(body, chunks, &in.email.chunks_count);
    vault_accept(w->vault, ticket(w), &in);
    body_writer_free(writer);
    return commit_one(w);
}

static uint32_t messages_in(struct world *w, uint64_t mailbox)
{
    struct mailbox_record record;
    assert_int_equal(read_mailbox(w->reader, w->alice, mailbox, &w->arena, &record), STATUS_OK);
    return record.messages;
}

static const struct str KEY = {"0123456789abcdef0123456789abcdef", 32};

static void an_accepted_message_is_in_the_mailbox_octet_for_octet(void **state)
{
    struct world *w = *state;
    struct vault_reply reply = accept(w, STR("Subject: x\r\n\r\nhello\r\n"), KEY);
    assert_int_equal(reply.accept.status, STATUS_OK);
    assert_false(reply.accept.results[0].again);
    struct message_record m;
    assert_int_equal(read_message(w->reader, w->inbox, 1, &w->arena, &m), STATUS_OK);
    struct body_reader r;
    struct buf out;
    body_reader_init(&r);
    buf_init(&out, 1000);
    assert_int_equal(body_read(&r, w->reader, &m, 0, UINT64_MAX, &out), STATUS_OK);
    assert_true(str_eq(buf_str(&out), STR("Return-Path: <bob@example.org>\r\n"
                                          "Subject: x\r\n\r\nhello\r\n")));
    buf_clear(&out);
    assert_int_equal(body_read(&r, w->reader, &m, 30, 10, &out), STATUS_OK);
    assert_true(str_eq(buf_str(&out), STR("\r\nSubject:")));
    struct trace_record *steps;
    size_t count;
    assert_int_equal(read_trace(w->reader, STR("01TEST"), &w->arena, &steps, &count), STATUS_OK);
    assert_int_equal(count, 1);
    body_reader_release(&r);
    buf_release(&out);
}

static void a_message_sent_again_before_its_confirmation_is_recognised(void **state)
{
    struct world *w = *state;
    struct ipc_key key = {KEY};
    accept(w, STR("a\r\n"), KEY);
    assert_true(accept(w, STR("a\r\n"), KEY).accept.results[0].again);
    assert_int_equal(messages_in(w, w->inbox), 1);
    /* Confirmed: the next one is another. The confirmation waits for no commit of its own. */
    vault_confirm(w->vault, &(struct ipc_confirm_in){.keys = &key, .keys_count = 1});
    assert_true(vault_batch_lazy(w->vault));
    assert_false(accept(w, STR("a\r\n"), KEY).accept.results[0].again);
    assert_int_equal(messages_in(w, w->inbox), 2);
    /* Without a key (no Date or Message-ID) nothing is recognised. */
    accept(w, STR("a\r\n"), STR(""));
    accept(w, STR("a\r\n"), STR(""));
    assert_int_equal(messages_in(w, w->inbox), 4);
}

static void a_recognised_message_stays_so_over_a_crash(void **state)
{
    struct world *w = *state;
    struct diag d = {0};
    accept(w, STR("a\r\n"), KEY);
    vault_batch_close(w->vault);
    assert_int_equal(vault_batch_open(w->path, NULL, &w->vault, &d), STATUS_OK);
    assert_true(accept(w, STR("a\r\n"), KEY).accept.results[0].again);
    assert_int_equal(messages_in(w, w->inbox), 1);
}

static void mail_for_a_mailbox_that_went_goes_to_the_inbox(void **state)
{
    struct world *w = *state;
    uint64_t real = w->inbox;
    w->inbox = 999999;
    assert_int_equal(accept(w, STR("a\r\n"), STR("")).status, STATUS_OK);
    w->inbox = real;
    assert_int_equal(messages_in(w, real), 1);
    struct ipc_account_set_in off = {.at_ms = AT_MS, .account = w->alice, .disabled = true};
    vault_account_set(w->vault, ticket(w), &off);
    assert_int_equal(commit_one(w).status, STATUS_OK);
    assert_int_equal(accept(w, STR("a\r\n"), STR("")).status, STATUS_NOT_FOUND);
    assert_int_equal(messages_in(w, real), 1);
}

static void a_body_may_come_in_pieces(void **state)
{
    struct world *w = *state;
    size_t size = 3 * LIMIT_CHUNK_SIZE + 100, count;
    char *bytes = malloc(size);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)('a' + i % 23 + i / 1000 % 3);
    struct ipc_chunk chunks[8];
    struct body_writer *writer = write_body(str_make(bytes, size), chunks, &count);
    assert_int_equal(count, 4);
    for (size_t i = 0; i < 3; i++) {
        struct ipc_body_chunk_in in = {.body = 7, .chunks = &chunks[i], .chunks_count = 1};
        vault_body_chunk(w->vault, ticket(w), &in);
        assert_int_equal(commit_one(w).status, STATUS_OK);
    }
    struct ipc_append_in in = {.at_ms = AT_MS,
                               .trace_id = STR("01A"),
                               .mailbox = w->inbox,
                               .flags = ENTRY_SEEN,
                               .keywords = text_from(STR("$Junk Work")),
                               .internal_ms = AT_MS,
                               .email = {.size = size, .body = 7, .chunks = &chunks[3]}};
    in.email.chunks_count = 1;
    vault_append(w->vault, ticket(w), w->alice, &in);
    struct vault_reply reply = commit_one(w);
    assert_int_equal(reply.status, STATUS_OK);
    struct message_record m;
    assert_int_equal(read_message(w->reader, w->inbox, reply.append.uid, &w->arena, &m), STATUS_OK);
    assert_true(str_eq(m.keywords, STR("$Junk Work")));
    struct body_reader r;
    struct buf out;
    body_reader_init(&r);
    buf_init(&out, size);
    assert_int_equal(body_read(&r, w->reader, &m, 0, size, &out), STATUS_OK);
    assert_true(str_eq(buf_str(&out), str_make(bytes, size)));
    /* The body had its turn: it cannot be used again. */
    vault_append(w->vault, ticket(w), w->alice, &in);
    assert_int_equal(commit_one(w).status, STATUS_NOT_FOUND);
    body_reader_release(&r);
    buf_release(&out);
    body_writer_free(writer);
    free(bytes);
}

static void half_a_body_is_removed_when_its_sender_goes(void **state)
{
    struct world *w = *state;
    size_t count;
    char *bytes = calloc(1, LIMIT_CHUNK_SIZE);
    struct ipc_chunk chunks[8];
    struct body_writer *writer = write_body(str_make(bytes, LIMIT_CHUNK_SIZE), chunks, &count);
    struct ipc_body_chunk_in in = {.body = 7, .chunks = chunks, .chunks_count = 1};
    vault_body_chunk(w->vault, ticket(w), &in);
    assert_int_equal(commit_one(w).status, STATUS_OK);
    vault_owner_gone(w->vault, w);
    assert_true(vault_batch_pending(w->vault));
    assert_true(vault_batch_commit(w->vault));
    assert_false(vault_batch_pending(w->vault));
    struct query *q = db_query(w->reader, "SELECT count(*) FROM chunk");
    assert_true(query_next(q));
    assert_int_equal(query_int(q, 0), 0);
    assert_int_equal(query_end(q), STATUS_OK);
    body_writer_free(writer);
    free(bytes);
}

/* ---- Mailboxes ---------------------------------------------------------------------------------
 */

static struct vault_reply store(struct world *w, uint8_t mode, uint32_t flags, const char *keywords)
{
    struct ipc_range all = {1, UINT32_MAX};
    struct ipc_flags_store_in in = {.at_ms = AT_MS,
                                    .mailbox = w->inbox,
                                    .uids = &all,
                                    .uids_count = 1,
                                    .mode = mode,
                                    .flags = flags,
                                    .keywords = text_from(str_from_c(keywords))};
    vault_flags_store(w->vault, ticket(w), w->alice, &in);
    return commit_one(w);
}

static void flags_and_keywords_are_kept_and_counted(void **state)
{
    struct world *w = *state;
    struct message_record m;
    struct mailbox_record box, after;
    accept(w, STR("a\r\n"), STR(""));
    accept(w, STR("b\r\n"), STR(""));
    assert_int_equal(store(w, 1, ENTRY_SEEN | ENTRY_FLAGGED, "Work").status, STATUS_OK);
    assert_int_equal(store(w, 1, 0, "work urgent").status, STATUS_OK);
    assert_int_equal(read_message(w->reader, w->inbox, 2, &w->arena, &m), STATUS_OK);
    assert_true(str_eq(m.keywords, STR("urgent Work")));
    assert_int_equal(m.flags, ENTRY_SEEN | ENTRY_FLAGGED | ENTRY_HAS_KEYWORDS);
    assert_int_equal(store(w, 2, ENTRY_FLAGGED, "WORK").status, STATUS_OK);
    assert_int_equal(store(w, 0, ENTRY_DELETED, "").status, STATUS_OK);
    assert_int_equal(read_mailbox(w->reader, w->alice, w->inbox, &w->arena, &box), STATUS_OK);
    assert_int_equal(box.unseen, 2);
    assert_int_equal(box.deleted, 2);
    /* Nothing changed: no new mod-sequence, and none that somebody else's change could have. */
    assert_true(store(w, 0, ENTRY_DELETED, "").flags_store.modseq == 0);
    assert_int_equal(read_mailbox(w->reader, w->alice, w->inbox, &w->arena, &after), STATUS_OK);
    assert_true(after.modseq == box.modseq);
    assert_int_equal(store(w, 0, 0, "bad\"keyword").status, STATUS_INVALID);
}

/* A session leaves out what it did itself, and knows that by its mod-sequence. */
static void a_change_beside_others_is_nobodys_own(void **state)
{
    struct world *w = *state;
    struct ipc_range all = {1, 100};
    struct ipc_changed_in changed;
    struct vault_reply reply;
    struct ipc_flags_store_in in = {
        .at_ms = AT_MS, .mailbox = w->inbox, .uids = &all, .uids_count = 1, .mode = 1};
    accept(w, STR("a\r\n"), STR(""));
    reply = store(w, 1, ENTRY_SEEN, "");
    assert_true(vault_batch_changes(w->vault, &changed));
    assert_int_equal(changed.changes_count, 1);
    assert_true(changed.changes[0].modseq == reply.flags_store.modseq);
    in.flags = ENTRY_FLAGGED;
    vault_flags_store(w->vault, ticket(w), w->alice, &in);
    in.flags = ENTRY_DRAFT;
    vault_flags_store(w->vault, ticket(w), w->alice, &in);
    assert_true(vault_batch_commit(w->vault));
    assert_true(vault_batch_changes(w->vault, &changed));
    assert_int_equal(changed.changes_count, 1);
    assert_true(changed.changes[0].modseq == 0);
    while (vault_batch_reply(w->vault, &reply))
        assert_true(reply.flags_store.modseq != 0);
}

static void copying_and_moving_keep_counts_and_quota(void **state)
{
    struct world *w = *state;
    struct mailbox_record sent;
    struct account_record account;
    struct ipc_range all = {1, 100};
    accept(w, STR("a\r\n"), STR(""));
    accept(w, STR("bb\r\n"), STR(""));
    assert_int_equal(read_mailbox_by_path(w->reader, w->alice, STR("Sent"), &w->arena, &sent),
                     STATUS_OK);
    struct ipc_copy_in in = {.at_ms = AT_MS,
                             .mailbox = w->inbox,
                             .uids = &all,
                             .uids_count = 1,
                             .target = sent.id,
                             .move = true};
    vault_copy(w->vault, ticket(w), w->alice, &in);
    struct vault_reply reply = commit_one(w);
    assert_int_equal(reply.status, STATUS_OK);
    assert_int_equal(reply.copy.copied_count, 1);
    assert_int_equal(reply.copy.copied[0].count, 2);
    assert_true(reply.copy.through == UINT32_MAX);
    assert_int_equal(messages_in(w, w->inbox), 0);
    assert_int_equal(messages_in(w, sent.id), 2);
    assert_int_equal(directory_account(w->reader, w->alice, &w->arena, &account), STATUS_OK);
    assert_int_equal(account.used, 2 * PREFIX.len + 7);
    /* A stranger sees nothing. */
    vault_copy(w->vault, ticket(w), 12345, &in);
    assert_int_equal(commit_one(w).status, STATUS_NOT_FOUND);
    struct ipc_expunge_in gone = {
        .at_ms = AT_MS, .mailbox = sent.id, .uids = &all, .uids_count = 1};
    vault_expunge(w->vault, ticket(w), w->alice, &gone);
    reply = commit_one(w);
    assert_int_equal(reply.expunge.expunged_count, 1);
    assert_int_equal(directory_account(w->reader, w->alice, &w->arena, &account), STATUS_OK);
    assert_int_equal(account.used, 0);
}

static int64_t count(struct world *w, const char *sql)
{
    struct query *q = db_query(w->reader, sql);
    assert_true(query_next(q));
    int64_t found = query_int(q, 0);
    assert_int_equal(query_end(q), STATUS_OK);
    return found;
}

static int64_t count_stored(struct world *w)
{
    return count(w, "SELECT (SELECT count(*) FROM chunk) + (SELECT count(*) FROM email) + "
                    "(SELECT count(*) FROM entry)");
}

static void purge_all(struct world *w)
{
    bool more = true;
    for (int rounds = 0; more && rounds < 10; rounds++)
        assert_int_equal(vault_purge(w->vault, LIMIT_EXPUNGED_MS, &more), STATUS_OK);
    assert_false(more);
}

static void what_was_expunged_is_purged_with_its_body(void **state)
{
    struct world *w = *state;
    struct ipc_range all = {1, 100};
    accept(w, STR("a\r\n"), STR(""));
    struct ipc_expunge_in gone = {
        .at_ms = AT_MS, .mailbox = w->inbox, .uids = &all, .uids_count = 1};
    vault_expunge(w->vault, ticket(w), w->alice, &gone);
    commit_one(w);
    pass(w, LIMIT_EXPUNGED_MS, AT_MS);
    purge_all(w);
    assert_int_equal(count_stored(w), 0);
}

/* Each look at it costs four milliseconds. */
static int64_t slow_clock(void *context)
{
    return *(int64_t *)context += 4000;
}

static void a_purge_stops_when_its_time_is_up(void **state)
{
    struct world *w = *state;
    struct ipc_range all = {1, 100};
    int64_t us = 0;
    bool more = false;
    for (int i = 0; i < 20; i++)
        accept(w, STR("a\r\n"), STR(""));
    struct ipc_expunge_in gone = {.mailbox = w->inbox, .uids = &all, .uids_count = 1};
    vault_expunge(w->vault, ticket(w), w->alice, &gone);
    commit_one(w);
    vault_batch_use_clock(w->vault, slow_clock, &us);
    assert_int_equal(vault_purge(w->vault, 0, &more), STATUS_OK);
    assert_true(more);
    int64_t left = count(w, "SELECT count(*) FROM entry");
    assert_true(left >= 16 && left < 20);
    for (int rounds = 0; more && rounds < 40; rounds++)
        assert_int_equal(vault_purge(w->vault, 0, &more), STATUS_OK);
    assert_int_equal(count_stored(w), 0);
}

static const int64_t TEN_YEARS_MS = 3653LL * 24 * 60 * 60 * 1000;

static void a_clock_that_jumps_neither_purges_early_nor_never(void **state)
{
    struct world *w = *state;
    struct ipc_range all = {1, 100};
    accept(w, STR("a\r\n"), STR(""));
    pass(w, 1000, AT_MS + TEN_YEARS_MS);
    struct ipc_expunge_in gone = {
        .at_ms = w->now.wall_ms, .mailbox = w->inbox, .uids = &all, .uids_count = 1};
    vault_expunge(w->vault, ticket(w), w->alice, &gone);
    commit_one(w);
    pass(w, LIMIT_EXPUNGED_MS - 1, AT_MS + 2 * TEN_YEARS_MS);
    purge_all(w);
    assert_int_equal(count_stored(w), 3);
    pass(w, 1, AT_MS - TEN_YEARS_MS);
    purge_all(w);
    assert_int_equal(count_stored(w), 0);
}

static void restart(struct world *w, int64_t wall_ms)
{
    struct diag d = {0};
    vault_batch_close(w->vault);
    assert_int_equal(vault_batch_open(w->path, NULL, &w->vault, &d), STATUS_OK);
    w->now = (struct now){7, wall_ms}; /* another boot's */
    vault_batch_at(w->vault, w->now);
}

static void a_clock_that_jumps_over_a_restart_neither_purges_early_nor_never(void **state)
{
    struct world *w = *state;
    struct ipc_range all = {1, 100};
    accept(w, STR("a\r\n"), STR(""));
    struct ipc_expunge_in gone = {
        .at_ms = AT_MS, .mailbox = w->inbox, .uids = &all, .uids_count = 1};
    vault_expunge(w->vault, ticket(w), w->alice, &gone);
    commit_one(w);
    purge_all(w);
    restart(w, AT_MS + TEN_YEARS_MS);
    purge_all(w);
    assert_int_equal(count_stored(w), 3);
    restart(w, AT_MS - TEN_YEARS_MS);
    pass(w, LIMIT_EXPUNGED_MS, AT_MS);
    purge_all(w);
    assert_int_equal(count_stored(w), 0);
}

/* As stores have it that were written by the wall's clock. */
static void what_was_expunged_at_a_time_that_has_not_come_yet_counts_from_now(void **state)
{
    struct world *w = *state;
    struct ipc_range all = {1, 100};
    struct writer writer = {0};
    struct diag d = {0};
    accept(w, STR("a\r\n"), STR(""));
    struct ipc_expunge_in gone = {.mailbox = w->inbox, .uids = &all, .uids_count = 1};
    vault_expunge(w->vault, ticket(w), w->alice, &gone);
    commit_one(w);
    assert_int_equal(db_open(w->path, DB_WRITE, &writer.db, &d), STATUS_OK);
    assert_int_equal(writer_begin(&writer), STATUS_OK);
    assert_int_equal(query_run(db_query(writer.db, "UPDATE entry SET expunged_ms = 1700000000000")),
                     STATUS_OK);
    assert_int_equal(writer_commit(&writer), STATUS_OK);
    db_close(writer.db);
    purge_all(w);
    pass(w, LIMIT_EXPUNGED_MS - 1, AT_MS);
    purge_all(w);
    assert_int_equal(count_stored(w), 3);
    pass(w, 1, AT_MS);
    purge_all(w);
    assert_int_equal(count_stored(w), 0);
}

static void a_clock_that_jumps_forgets_no_key_and_keeps_none(void **state)
{
    struct world *w = *state;
    struct str key = STR("0123456789abcdef0123456789abcdef");
    accept(w, STR("a\r\n"), key);
    pass(w, 1000, AT_MS + TEN_YEARS_MS);
    purge_all(w);
    assert_true(accept(w, STR("a\r\n"), key).accept.results[0].again);
    pass(w, LIMIT_RETRANSMISSION_MS - 1001, AT_MS - TEN_YEARS_MS);
    assert_true(accept(w, STR("a\r\n"), key).accept.results[0].again);
    pass(w, 1, AT_MS - TEN_YEARS_MS);
    assert_false(accept(w, STR("a\r\n"), key).accept.results[0].again);
}

static int64_t count_steps(struct world *w)
{
    return count(w, "SELECT count(*) FROM trace");
}

static void a_trace_is_purged_after_a_month_whatever_the_wall_says(void **state)
{
    struct world *w = *state;
    int64_t day_ms = 24LL * 60 * 60 * 1000;
    purge_all(w);
    accept(w, STR("a\r\n"), STR(""));
    for (int day = 0; day < 30; day++) {
        pass(w, day_ms, day % 2 ? AT_MS + TEN_YEARS_MS : AT_MS - TEN_YEARS_MS);
        purge_all(w);
        assert_int_equal(count_steps(w), 1);
    }
    accept(w, STR("b\r\n"), STR(""));
    for (int day = 0; day < 2; day++) {
        pass(w, day_ms, AT_MS);
        purge_all(w);
    }
    assert_int_equal(count_steps(w), 1);
    assert_int_equal(count(w, "SELECT count(*) FROM meta WHERE name LIKE 'trace_day_%'"), 32);
    for (int day = 0; day < 31; day++) {
        pass(w, day_ms, AT_MS);
        purge_all(w);
    }
    assert_int_equal(count_steps(w), 0);
    assert_int_equal(count(w, "SELECT count(*) FROM meta WHERE name LIKE 'trace_day_%'"), 32);
}

/* Stages the first `count` chunks of body 7. */
static void stage_chunks(struct world *w, const struct ipc_chunk *chunk, size_t count)
{
    struct ipc_chunk chunks[2 * LIMIT_VAULT_CHUNKS];
    struct ipc_body_chunk_in in = {.body = 7, .chunks = chunks, .chunks_count = count};
    for (size_t i = 0; i < count; i++)
        chunks[i] = *chunk;
    vault_body_chunk(w->vault, ticket(w), &in);
    assert_int_equal(commit_one(w).status, STATUS_OK);
}

static int64_t count_chunks(struct world *w)
{
    return count(w, "SELECT count(*) FROM chunk");
}

static void expunge_all(struct world *w, uint64_t mailbox)
{
    struct ipc_range all = {1, 100};
    struct ipc_expunge_in in = {.at_ms = AT_MS, .mailbox = mailbox, .uids = &all, .uids_count = 1};
    vault_expunge(w->vault, ticket(w), w->alice, &in);
    assert_int_equal(commit_one(w).expunge.expunged_count, 1);
}

static void purge_one_slice(struct world *w, int64_t chunks_then, bool more_then)
{
    bool more = !more_then;
    assert_int_equal(vault_purge(w->vault, 0, &more), STATUS_OK);
    assert_int_equal(count_chunks(w), chunks_then);
    assert_int_equal(more, more_then);
}

static const struct ipc_chunk full_chunk = {
    CHUNK_PLAIN, 0, LIMIT_CHUNK_SIZE, {"0123456789abcdef0123456789abcdef", 32}, {"x", 1}};

static void a_large_body_goes_in_slices_after_the_last_entry_that_has_it(void **state)
{
    enum { CHUNKS = LIMIT_VAULT_CHUNKS + 10 };
    struct world *w = *state;
    struct ipc_chunk last = full_chunk;
    struct mailbox_record sent;
    stage_chunks(w, &full_chunk, CHUNKS - 1);
    last.plain_size = 1;
    struct ipc_append_in in = {.at_ms = AT_MS,
                               .trace_id = STR("01A"),
                               .mailbox = w->inbox,
                               .email = {.size = (CHUNKS - 1) * (uint64_t)LIMIT_CHUNK_SIZE + 1,
                                         .body = 7,
                                         .chunks = &last,
                                         .chunks_count = 1}};
    vault_append(w->vault, ticket(w), w->alice, &in);
    assert_int_equal(commit_one(w).status, STATUS_OK);
    assert_int_equal(read_mailbox_by_path(w->reader, w->alice, STR("Sent"), &w->arena, &sent),
                     STATUS_OK);
    struct ipc_range all = {1, 100};
    struct ipc_copy_in copy = {
        .at_ms = AT_MS, .mailbox = w->inbox, .uids = &all, .uids_count = 1, .target = sent.id};
    vault_copy(w->vault, ticket(w), w->alice, &copy);
    assert_int_equal(commit_one(w).status, STATUS_OK);
    expunge_all(w, w->inbox);
    purge_one_slice(w, CHUNKS, true);
    purge_one_slice(w, CHUNKS, false);
    expunge_all(w, sent.id);
    purge_one_slice(w, CHUNKS - LIMIT_VAULT_CHUNKS, true);
    purge_one_slice(w, 0, true);
    purge_one_slice(w, 0, false);
}

static void a_large_body_that_never_became_a_message_goes_in_slices(void **state)
{
    struct world *w = *state;
    stage_chunks(w, &full_chunk, LIMIT_VAULT_CHUNKS + 10);
    vault_body_abort(w->vault, w, 7);
    assert_true(vault_batch_commit(w->vault));
    assert_int_equal(count_chunks(w), 10);
    assert_true(vault_batch_pending(w->vault));
    assert_true(vault_batch_commit(w->vault));
    assert_int_equal(count_chunks(w), 0);
    assert_false(vault_batch_pending(w->vault));
}

static struct vault_reply create(struct world *w, const char *path)
{
    struct ipc_mailbox_create_in in = {.at_ms = AT_MS, .path = text_from(str_from_c(path))};
    vault_mailbox_create(w->vault, ticket(w), w->alice, &in);
    return commit_one(w);
}

static uint64_t find(struct world *w, const char *path)
{
    struct mailbox_record box;
    if (read_mailbox_by_path(w->reader, w->alice, str_from_c(path), &w->arena, &box) != STATUS_OK)
        return 0;
    assert_true(str_eq_nocase(box.path, str_from_c(path)));
    return box.id;
}

static enum status_code rename_to(struct world *w, const char *from, const char *to)
{
    struct ipc_mailbox_rename_in in = {
        .at_ms = AT_MS, .mailbox = find(w, from), .path = text_from(str_from_c(to))};
    vault_mailbox_rename(w->vault, ticket(w), w->alice, &in);
    return commit_one(w).status;
}

static void a_clock_beyond_reason_leaves_uidvalidities_in_order(void **state)
{
    static const int64_t times[] = {INT64_MAX, -5000, 0, 7258118400000, UINT32_MAX * 1000LL};
    struct world *w = *state;
    int64_t last = count(w, "SELECT max(uidvalidity) FROM mailbox");
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        char path[8];
        snprintf(path, sizeof path, "m%zu", i);
        struct ipc_mailbox_create_in in = {.at_ms = times[i], .path = text_from(str_from_c(path))};
        vault_mailbox_create(w->vault, ticket(w), w->alice, &in);
        assert_int_equal(commit_one(w).status, STATUS_OK);
        assert_int_equal(count(w, "SELECT max(uidvalidity) FROM mailbox"), last + 1 + (int64_t)i);
    }
}

static void a_tree_of_mailboxes_is_renamed_by_its_root(void **state)
{
    struct world *w = *state;
    assert_int_equal(create(w, "a/b/c").status, STATUS_OK);
    assert_int_equal(create(w, "a/b").status, STATUS_EXISTS);
    assert_int_equal(create(w, "a//b").status, STATUS_INVALID);
    assert_int_equal(create(w, "inbox").status, STATUS_EXISTS);
    uint64_t leaf = find(w, "a/b/c");
    assert_int_equal(rename_to(w, "a/b", "x/y"), STATUS_OK);
    assert_true(find(w, "x/y/c") == leaf && find(w, "a/b/c") == 0 && find(w, "a") != 0);
    assert_int_equal(rename_to(w, "x", "x/y/z"), STATUS_INVALID);
    assert_int_equal(rename_to(w, "x", "Sent"), STATUS_EXISTS);
}

static void renaming_the_inbox_leaves_an_empty_one(void **state)
{
    struct world *w = *state;
    accept(w, STR("a\r\n"), STR(""));
    assert_int_equal(create(w, "INBOX/child").status, STATUS_OK);
    assert_int_equal(rename_to(w, "INBOX", "old"), STATUS_OK);
    assert_true(find(w, "old") == w->inbox && find(w, "INBOX/child") != 0);
    assert_int_equal(messages_in(w, find(w, "INBOX")), 0);
    assert_int_equal(messages_in(w, w->inbox), 1);
}

static void a_deleted_parent_stays_as_a_name(void **state)
{
    struct world *w = *state;
    struct mailbox_record box;
    assert_int_equal(create(w, "p/q").status, STATUS_OK);
    struct ipc_mailbox_delete_in in = {.at_ms = AT_MS, .mailbox = find(w, "p")};
    vault_mailbox_delete(w->vault, ticket(w), w->alice, &in);
    assert_int_equal(commit_one(w).status, STATUS_OK);
    assert_int_equal(read_mailbox_by_path(w->reader, w->alice, STR("p"), &w->arena, &box),
                     STATUS_OK);
    assert_false(box.selectable);
    assert_true(find(w, "p/q") != 0);
    in.mailbox = box.id;
    vault_mailbox_delete(w->vault, ticket(w), w->alice, &in);
    assert_int_equal(commit_one(w).status, STATUS_BUSY);
    in.mailbox = w->inbox;
    vault_mailbox_delete(w->vault, ticket(w), w->alice, &in);
    assert_int_equal(commit_one(w).status, STATUS_INVALID);
    assert_int_equal(create(w, "p").status, STATUS_OK);
}

static void long_requests_share_their_transactions_fairly(void **state)
{
    struct world *w = *state;
    struct ipc_range all = {1, UINT32_MAX};
    struct vault_reply reply;
    for (int i = 0; i < 3; i++)
        accept(w, STR("a\r\n"), STR(""));
    struct ipc_copy_in in = {.at_ms = AT_MS, .mailbox = w->inbox, .uids = &all, .uids_count = 1};
    in.target = w->inbox;
    /* 3, 6, ... doubles each time: some must be put off, and all are answered in the end. */
    for (int i = 0; i < 12; i++)
        vault_copy(w->vault, ticket(w), w->alice, &in);
    unsigned answered = 0, rounds = 0;
    while (vault_batch_pending(w->vault)) {
        assert_true(vault_batch_commit(w->vault));
        for (; vault_batch_reply(w->vault, &reply); answered++)
            assert_int_equal(reply.status, STATUS_OK);
        assert_true(++rounds < 20);
    }
    assert_int_equal(answered, 12);
    assert_true(rounds > 2 && vault_batch_numbers(w->vault)->put_off > 0);
}

/* ---- Directory ----------------------------------------------------------------------------------
 */

static void the_directory_explains_what_it_refuses(void **state)
{
    struct world *w = *state;
    vault_domain_add(w->vault, ticket(w),
                     &(struct ipc_domain_add_in){.at_ms = AT_MS, .name = STR("demo.test")});
    struct vault_reply reply = commit_one(w);
    assert_int_equal(reply.status, STATUS_EXISTS);
    assert_true(str_eq(reply.domain_add.words, STR("domain exists: demo.test")));
    struct ipc_address taken = {text_from(STR("alice@demo.test"))};
    struct ipc_account_add_in twice = {
        .at_ms = AT_MS, .name = STR("second"), .addresses = &taken, .addresses_count = 1};
    vault_account_add(w->vault, ticket(w), &twice, mailboxes, 2);
    assert_int_equal(commit_one(w).status, STATUS_EXISTS);
    struct account_record *accounts;
    size_t count;
    assert_int_equal(directory_accounts(w->reader, &w->arena, &accounts, &count), STATUS_OK);
    assert_int_equal(count, 1);
}

static void an_alias_is_made_changed_and_removed(void **state)
{
    struct world *w = *state;
    struct ipc_address targets[] = {{text_from(STR("alice@demo.test"))},
                                    {text_from(STR("who@example.org"))}};
    struct ipc_alias_set_in in = {.at_ms = AT_MS,
                                  .address = text_from(STR("team@demo.test")),
                                  .targets = targets,
                                  .targets_count = 2};
    for (int i = 0; i < 2; i++) {
        vault_alias_set(w->vault, ticket(w), &in);
        assert_int_equal(commit_one(w).status, STATUS_OK);
    }
    struct address_record *list;
    struct str *leads_to;
    size_t count;
    assert_int_equal(directory_addresses(w->reader, 0, true, &w->arena, &list, &count), STATUS_OK);
    assert_int_equal(count, 1);
    assert_int_equal(
        directory_alias_targets(w->reader, list[0].alias, &w->arena, &leads_to, &count), STATUS_OK);
    assert_int_equal(count, 2);
    assert_true(str_eq(leads_to[1], STR("who@example.org")));
    vault_address_remove(w->vault, ticket(w),
                         &(struct ipc_address_remove_in){.address = in.address});
    assert_int_equal(commit_one(w).status, STATUS_OK);
    assert_int_equal(directory_addresses(w->reader, 0, true, &w->arena, &list, &count), STATUS_OK);
    assert_int_equal(count, 0);
}

#define IN_A_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_WORLD(an_accepted_message_is_in_the_mailbox_octet_for_octet),
        IN_A_WORLD(a_message_sent_again_before_its_confirmation_is_recognised),
        IN_A_WORLD(a_recognised_message_stays_so_over_a_crash),
        IN_A_WORLD(mail_for_a_mailbox_that_went_goes_to_the_inbox),
        IN_A_WORLD(a_body_may_come_in_pieces),
        IN_A_WORLD(half_a_body_is_removed_when_its_sender_goes),
        IN_A_WORLD(flags_and_keywords_are_kept_and_counted),
        IN_A_WORLD(a_change_beside_others_is_nobodys_own),
        IN_A_WORLD(copying_and_moving_keep_counts_and_quota),
        IN_A_WORLD(what_was_expunged_is_purged_with_its_body),
        IN_A_WORLD(a_purge_stops_when_its_time_is_up),
        IN_A_WORLD(a_clock_that_jumps_neither_purges_early_nor_never),
        IN_A_WORLD(a_clock_that_jumps_over_a_restart_neither_purges_early_nor_never),
        IN_A_WORLD(what_was_expunged_at_a_time_that_has_not_come_yet_counts_from_now),
        IN_A_WORLD(a_clock_that_jumps_forgets_no_key_and_keeps_none),
        IN_A_WORLD(a_trace_is_purged_after_a_month_whatever_the_wall_says),
        IN_A_WORLD(a_large_body_goes_in_slices_after_the_last_entry_that_has_it),
        IN_A_WORLD(a_large_body_that_never_became_a_message_goes_in_slices),
        IN_A_WORLD(a_clock_beyond_reason_leaves_uidvalidities_in_order),
        IN_A_WORLD(a_tree_of_mailboxes_is_renamed_by_its_root),
        IN_A_WORLD(renaming_the_inbox_leaves_an_empty_one),
        IN_A_WORLD(a_deleted_parent_stays_as_a_name),
        IN_A_WORLD(long_requests_share_their_transactions_fairly),
        IN_A_WORLD(the_directory_explains_what_it_refuses),
        IN_A_WORLD(an_alias_is_made_changed_and_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
