/* What the vault removes for good, and when. */

#include "roles/testing_vault.h"

#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "store/directory.h"

static void what_was_expunged_is_purged_with_its_body(void **state)
{
    struct vault_world *w = *state;
    struct ipc_range all = {1, 100};
    world_accept(w, STR("a\r\n"), STR(""));
    struct ipc_expunge_in gone = {
        .at_ms = AT_MS, .mailbox = w->inbox, .uids = &all, .uids_count = 1};
    vault_expunge(w->vault, world_ticket(w), w->alice, &gone);
    world_commit(w);
    world_pass(w, LIMIT_RETENTION_EXPUNGED_MS, AT_MS);
    world_purge(w);
    assert_int_equal(world_stored(w), 0);
}

static void a_purge_stops_when_its_time_is_up(void **state)
{
    struct vault_world *w = *state;
    struct ipc_range all = {1, 100};
    int64_t us = 0;
    bool more = false;
    for (int i = 0; i < 20; i++)
        world_accept(w, STR("a\r\n"), STR(""));
    struct ipc_expunge_in gone = {.mailbox = w->inbox, .uids = &all, .uids_count = 1};
    vault_expunge(w->vault, world_ticket(w), w->alice, &gone);
    world_commit(w);
    vault_batch_use_clock(w->vault, world_slow_clock, &us);
    assert_int_equal(vault_purge(w->vault, 0, &more), STATUS_OK);
    assert_true(more);
    int64_t left = world_count(w, "SELECT count(*) FROM entry");
    assert_true(left >= 16 && left < 20);
    for (int rounds = 0; more && rounds < 40; rounds++)
        assert_int_equal(vault_purge(w->vault, 0, &more), STATUS_OK);
    assert_int_equal(world_stored(w), 0);
}

static const int64_t TEN_YEARS_MS = 3653LL * 24 * 60 * 60 * 1000;

static void a_clock_that_jumps_neither_purges_early_nor_never(void **state)
{
    struct vault_world *w = *state;
    struct ipc_range all = {1, 100};
    world_accept(w, STR("a\r\n"), STR(""));
    world_pass(w, 1000, AT_MS + TEN_YEARS_MS);
    struct ipc_expunge_in gone = {
        .at_ms = w->now.wall_ms, .mailbox = w->inbox, .uids = &all, .uids_count = 1};
    vault_expunge(w->vault, world_ticket(w), w->alice, &gone);
    world_commit(w);
    world_pass(w, LIMIT_RETENTION_EXPUNGED_MS - 1, AT_MS + 2 * TEN_YEARS_MS);
    world_purge(w);
    assert_int_equal(world_stored(w), 3);
    world_pass(w, 1, AT_MS - TEN_YEARS_MS);
    world_purge(w);
    assert_int_equal(world_stored(w), 0);
}

static void restart(struct vault_world *w, int64_t wall_ms)
{
    struct diag d = {0};
    vault_batch_close(w->vault);
    assert_int_equal(vault_batch_open(w->path, NULL, &w->vault, &d), STATUS_OK);
    w->now = (struct now){7, wall_ms}; /* another boot's */
    vault_batch_at(w->vault, w->now);
}

static void a_clock_that_jumps_over_a_restart_neither_purges_early_nor_never(void **state)
{
    struct vault_world *w = *state;
    struct ipc_range all = {1, 100};
    world_accept(w, STR("a\r\n"), STR(""));
    struct ipc_expunge_in gone = {
        .at_ms = AT_MS, .mailbox = w->inbox, .uids = &all, .uids_count = 1};
    vault_expunge(w->vault, world_ticket(w), w->alice, &gone);
    world_commit(w);
    world_purge(w);
    restart(w, AT_MS + TEN_YEARS_MS);
    world_purge(w);
    assert_int_equal(world_stored(w), 3);
    restart(w, AT_MS - TEN_YEARS_MS);
    world_pass(w, LIMIT_RETENTION_EXPUNGED_MS, AT_MS);
    world_purge(w);
    assert_int_equal(world_stored(w), 0);
}

/* As stores have it that were written by the wall's clock. */
static void what_was_expunged_at_a_time_that_has_not_come_yet_counts_from_now(void **state)
{
    struct vault_world *w = *state;
    struct ipc_range all = {1, 100};
    struct writer writer = {0};
    struct diag d = {0};
    world_accept(w, STR("a\r\n"), STR(""));
    struct ipc_expunge_in gone = {.mailbox = w->inbox, .uids = &all, .uids_count = 1};
    vault_expunge(w->vault, world_ticket(w), w->alice, &gone);
    world_commit(w);
    assert_int_equal(db_open(w->path, DB_WRITE, &writer.db, &d), STATUS_OK);
    assert_int_equal(writer_begin(&writer), STATUS_OK);
    assert_int_equal(query_run(db_query(writer.db, "UPDATE entry SET expunged_ms = 1700000000000")),
                     STATUS_OK);
    assert_int_equal(writer_commit(&writer), STATUS_OK);
    db_close(writer.db);
    world_purge(w);
    world_pass(w, LIMIT_RETENTION_EXPUNGED_MS - 1, AT_MS);
    world_purge(w);
    assert_int_equal(world_stored(w), 3);
    world_pass(w, 1, AT_MS);
    world_purge(w);
    assert_int_equal(world_stored(w), 0);
}

static void a_clock_that_jumps_forgets_no_key_and_keeps_none(void **state)
{
    struct vault_world *w = *state;
    struct str key = STR("0123456789abcdef0123456789abcdef");
    world_accept(w, STR("a\r\n"), key);
    world_pass(w, 1000, AT_MS + TEN_YEARS_MS);
    world_purge(w);
    assert_true(world_accept(w, STR("a\r\n"), key).accept.results[0].again);
    world_pass(w, LIMIT_RETRANSMISSION_MS - 1001, AT_MS - TEN_YEARS_MS);
    assert_true(world_accept(w, STR("a\r\n"), key).accept.results[0].again);
    world_pass(w, 1, AT_MS - TEN_YEARS_MS);
    assert_false(world_accept(w, STR("a\r\n"), key).accept.results[0].again);
}

static int64_t count_steps(struct vault_world *w)
{
    return world_count(w, "SELECT count(*) FROM trace");
}

static void a_trace_is_purged_after_a_month_whatever_the_wall_says(void **state)
{
    struct vault_world *w = *state;
    int64_t day_ms = 24LL * 60 * 60 * 1000;
    world_purge(w);
    world_accept(w, STR("a\r\n"), STR(""));
    for (int day = 0; day < 30; day++) {
        world_pass(w, day_ms, day % 2 ? AT_MS + TEN_YEARS_MS : AT_MS - TEN_YEARS_MS);
        world_purge(w);
        assert_int_equal(count_steps(w), 1);
    }
    world_accept(w, STR("b\r\n"), STR(""));
    for (int day = 0; day < 2; day++) {
        world_pass(w, day_ms, AT_MS);
        world_purge(w);
    }
    assert_int_equal(count_steps(w), 1);
    assert_int_equal(world_count(w, "SELECT count(*) FROM meta WHERE name LIKE 'trace_day_%'"), 32);
    for (int day = 0; day < 31; day++) {
        world_pass(w, day_ms, AT_MS);
        world_purge(w);
    }
    assert_int_equal(count_steps(w), 0);
    assert_int_equal(world_count(w, "SELECT count(*) FROM meta WHERE name LIKE 'trace_day_%'"), 32);
}

/* Stages the first `count` chunks of body 7. */
static void stage_chunks(struct vault_world *w, const struct ipc_chunk *chunk, size_t count)
{
    struct ipc_chunk chunks[2 * LIMIT_VAULT_CHUNKS];
    struct ipc_body_chunk_in in = {.body = 7, .chunks = chunks, .chunks_count = count};
    for (size_t i = 0; i < count; i++)
        chunks[i] = *chunk;
    vault_body_chunk(w->vault, world_ticket(w), &in);
    assert_int_equal(world_commit(w).status, STATUS_OK);
}

static int64_t count_chunks(struct vault_world *w)
{
    return world_count(w, "SELECT count(*) FROM chunk");
}

static void purge_one_slice(struct vault_world *w, int64_t chunks_then, bool more_then)
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
    struct vault_world *w = *state;
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
    vault_append(w->vault, world_ticket(w), w->alice, &in);
    assert_int_equal(world_commit(w).status, STATUS_OK);
    assert_int_equal(read_mailbox_by_path(w->reader, w->alice, STR("Sent"), &w->arena, &sent),
                     STATUS_OK);
    struct ipc_range all = {1, 100};
    struct ipc_copy_in copy = {
        .at_ms = AT_MS, .mailbox = w->inbox, .uids = &all, .uids_count = 1, .target = sent.id};
    vault_copy(w->vault, world_ticket(w), w->alice, &copy);
    assert_int_equal(world_commit(w).status, STATUS_OK);
    world_expunge(w, w->inbox);
    purge_one_slice(w, CHUNKS, true);
    purge_one_slice(w, CHUNKS, false);
    world_expunge(w, sent.id);
    purge_one_slice(w, CHUNKS - LIMIT_VAULT_CHUNKS, true);
    purge_one_slice(w, 0, true);
    purge_one_slice(w, 0, false);
}

static void a_large_body_that_never_became_a_message_goes_in_slices(void **state)
{
    struct vault_world *w = *state;
    stage_chunks(w, &full_chunk, LIMIT_VAULT_CHUNKS + 10);
    vault_body_abort(w->vault, w, 7);
    assert_true(vault_batch_commit(w->vault));
    assert_int_equal(count_chunks(w), 10);
    assert_true(vault_batch_pending(w->vault));
    assert_true(vault_batch_commit(w->vault));
    assert_int_equal(count_chunks(w), 0);
    assert_false(vault_batch_pending(w->vault));
}

/* ---- More than an account may leave behind
 * -------------------------------------------------------
 */

enum { BODY_SIZE = 1000 };

/* What an expunged message of accept_some counts. */
static int64_t counted(void)
{
    return (int64_t)WORLD_PREFIX.len + BODY_SIZE + LIMIT_EXPUNGED_ROW_SIZE;
}

static void accept_some(struct vault_world *w, unsigned count)
{
    char body[BODY_SIZE];
    memset(body, 'x', sizeof body);
    memcpy(body + sizeof body - 2, "\r\n", 2);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(world_accept(w, str_make(body, sizeof body), STR("")).status, STATUS_OK);
}

static void set_quota(struct vault_world *w, int64_t quota)
{
    struct ipc_account_set_in in = {.account = w->alice, .quota = (uint64_t)quota};
    vault_account_set(w->vault, world_ticket(w), &in);
    assert_int_equal(world_commit(w).status, STATUS_OK);
}

static int64_t left_behind(struct vault_world *w)
{
    return world_count(w, "SELECT sum(expunged) FROM account");
}

static int64_t oldest(struct vault_world *w)
{
    return world_count(w, "SELECT coalesce(min(uid), 0) FROM entry");
}

static void what_is_expunged_beyond_the_quota_goes_at_once_the_oldest_first(void **state)
{
    struct vault_world *w = *state;
    set_quota(w, 3 * counted());
    for (int i = 1; i <= 3; i++) {
        accept_some(w, 1);
        world_expunge(w, w->inbox);
        world_pass(w, 1000, AT_MS);
        assert_int_equal(left_behind(w), i * counted());
    }
    /* As much as the quota, and no octet more: it stays. */
    assert_false(vault_batch_overflows(w->vault));
    world_purge(w);
    assert_int_equal(oldest(w), 1);
    accept_some(w, 1);
    world_expunge(w, w->inbox);
    assert_true(vault_batch_overflows(w->vault));
    world_purge(w);
    assert_false(vault_batch_overflows(w->vault));
    assert_int_equal(oldest(w), 2);
    assert_int_equal(world_stored(w), 9);
    assert_int_equal(left_behind(w), 3 * counted());
    set_quota(w, 3 * counted() - 1);
    world_purge(w);
    assert_int_equal(oldest(w), 3);
    /* Nothing is left of the count when nothing is left of the mail. */
    world_pass(w, LIMIT_RETENTION_EXPUNGED_MS, AT_MS);
    world_purge(w);
    assert_int_equal(world_stored(w), 0);
    assert_int_equal(left_behind(w), 0);
}

static void an_account_without_a_quota_keeps_all_it_expunged(void **state)
{
    struct vault_world *w = *state;
    for (int i = 0; i < 5; i++) {
        accept_some(w, 1);
        world_expunge(w, w->inbox);
    }
    assert_false(vault_batch_overflows(w->vault));
    world_purge(w);
    assert_int_equal(world_stored(w), 15);
    assert_int_equal(left_behind(w), 5 * counted());
}

static void what_others_expunged_stays(void **state)
{
    struct vault_world *w = *state;
    uint64_t alice = w->alice, inbox = w->inbox;
    struct account_record bob;
    w->alice = world_add_account(w, "bob@demo.test");
    assert_int_equal(directory_account(w->reader, w->alice, &w->arena, &bob), STATUS_OK);
    w->inbox = bob.inbox;
    set_quota(w, 100 * counted());
    accept_some(w, 1);
    world_expunge(w, w->inbox);
    accept_some(w, 1);
    w->alice = alice;
    w->inbox = inbox;
    set_quota(w, counted());
    for (int i = 0; i < 10; i++) {
        accept_some(w, 1);
        world_expunge(w, w->inbox);
    }
    world_purge(w);
    assert_int_equal(world_count(w, "SELECT count(*) FROM entry WHERE expunged_ms IS NULL"), 1);
    assert_int_equal(world_count(w, "SELECT count(*) FROM entry"), 3);
    assert_int_equal(world_stored(w), 9);
}

static void accounts_over_their_bound_take_turns(void **state)
{
    struct vault_world *w = *state;
    uint64_t alice = w->alice, inbox = w->inbox;
    struct account_record bob;
    bool more = false;
    accept_some(w, 4);
    world_expunge(w, w->inbox);
    w->alice = world_add_account(w, "bob@demo.test");
    assert_int_equal(directory_account(w->reader, w->alice, &w->arena, &bob), STATUS_OK);
    w->inbox = bob.inbox;
    accept_some(w, 4);
    world_expunge(w, w->inbox);
    set_quota(w, counted());
    w->alice = alice;
    w->inbox = inbox;
    set_quota(w, counted());
    int64_t us = 0;
    vault_batch_use_clock(w->vault, world_slow_clock, &us);
    assert_int_equal(vault_purge(w->vault, LIMIT_RETENTION_EXPUNGED_MS, &more), STATUS_OK);
    assert_int_equal(vault_purge(w->vault, LIMIT_RETENTION_EXPUNGED_MS, &more), STATUS_OK);
    assert_int_equal(
        world_count(w, "SELECT count(*) FROM account WHERE expunged < 4 * (SELECT min(size) + 1024 "
                       "FROM entry)"),
        2);
    for (int rounds = 0; more && rounds < 40; rounds++)
        assert_int_equal(vault_purge(w->vault, LIMIT_RETENTION_EXPUNGED_MS, &more), STATUS_OK);
    assert_int_equal(left_behind(w), 2 * counted());
}

static uint64_t make_mailbox(struct vault_world *w, const char *name)
{
    struct ipc_mailbox_create_in in = {.at_ms = AT_MS, .path = text_from(str_from_c(name))};
    vault_mailbox_create(w->vault, world_ticket(w), w->alice, &in);
    return world_commit(w).mailbox_create.mailbox;
}

static void delete_mailbox(struct vault_world *w, uint64_t mailbox)
{
    struct ipc_mailbox_delete_in in = {.at_ms = AT_MS, .mailbox = mailbox};
    vault_mailbox_delete(w->vault, world_ticket(w), w->alice, &in);
    assert_int_equal(world_commit(w).status, STATUS_OK);
}

static void a_deleted_mailbox_counts_with_all_it_had_and_goes_in_its_turn(void **state)
{
    struct vault_world *w = *state;
    struct ipc_range all = {1, 100};
    uint64_t box = make_mailbox(w, "Box");
    accept_some(w, 3);
    vault_flags_store(w->vault, world_ticket(w), w->alice,
                      &(struct ipc_flags_store_in){.mailbox = w->inbox,
                                                   .uids = &all,
                                                   .uids_count = 1,
                                                   .mode = 1,
                                                   .keywords = text_from(STR("one two"))});
    assert_int_equal(world_commit(w).status, STATUS_OK);
    vault_copy(
        w->vault, world_ticket(w), w->alice,
        &(struct ipc_copy_in){.mailbox = w->inbox, .uids = &all, .uids_count = 1, .target = box});
    assert_int_equal(world_commit(w).status, STATUS_OK);
    /* One is expunged, two are there when the mailbox goes. */
    all.last = 1;
    vault_expunge(w->vault, world_ticket(w), w->alice,
                  &(struct ipc_expunge_in){.mailbox = box, .uids = &all, .uids_count = 1});
    assert_int_equal(world_commit(w).status, STATUS_OK);
    world_pass(w, 1000, AT_MS);
    delete_mailbox(w, box);
    int64_t whole = 3 * counted() + 3 * LIMIT_EXPUNGED_ROW_SIZE;
    assert_int_equal(left_behind(w), whole);
    world_pass(w, 1000, AT_MS);
    world_expunge(w, w->inbox);
    assert_int_equal(left_behind(w), whole + 3 * counted());
    /* The one that was expunged first, then one of the mailbox. */
    set_quota(w, whole + 2 * counted());
    world_purge(w);
    assert_int_equal(world_count(w, "SELECT count(*) FROM entry"), 5);
    set_quota(w, whole + counted());
    world_purge(w);
    assert_int_equal(world_count(w, "SELECT count(*) FROM entry"), 4);
    assert_int_equal(world_count(w, "SELECT count(*) FROM mailbox WHERE removed_ms > 0"), 1);
    /* The last one of it, it itself and its keywords; then what was expunged last. */
    set_quota(w, counted());
    world_purge(w);
    assert_int_equal(world_count(w, "SELECT count(*) FROM mailbox WHERE removed_ms > 0"), 0);
    assert_int_equal(world_count(w, "SELECT count(*) FROM keyword"), 2);
    assert_int_equal(left_behind(w), counted());
    assert_int_equal(world_stored(w), 3);
}

static void mailboxes_made_and_deleted_again_are_bounded_too(void **state)
{
    struct vault_world *w = *state;
    set_quota(w, 10 * LIMIT_EXPUNGED_ROW_SIZE);
    for (int i = 0; i < 30; i++)
        delete_mailbox(w, make_mailbox(w, "Box"));
    assert_true(vault_batch_overflows(w->vault));
    bool more = true;
    while (more)
        assert_int_equal(vault_purge(w->vault, LIMIT_RETENTION_EXPUNGED_MS, &more), STATUS_OK);
    assert_int_equal(world_count(w, "SELECT count(*) FROM mailbox WHERE removed_ms > 0"), 10);
}

static void a_vault_that_starts_finds_what_is_too_much(void **state)
{
    struct vault_world *w = *state;
    struct diag d = {0};
    set_quota(w, counted());
    accept_some(w, 3);
    world_expunge(w, w->inbox);
    vault_batch_close(w->vault);
    assert_int_equal(vault_batch_open(w->path, NULL, &w->vault, &d), STATUS_OK);
    vault_batch_at(w->vault, w->now);
    world_purge(w);
    assert_int_equal(oldest(w), 3);
    assert_int_equal(left_behind(w), counted());
}

static void a_large_body_beyond_the_bound_goes_in_slices(void **state)
{
    enum { CHUNKS = LIMIT_VAULT_CHUNKS + 10 };
    struct vault_world *w = *state;
    bool more = false;
    stage_chunks(w, &full_chunk, CHUNKS);
    struct ipc_append_in in = {.at_ms = AT_MS,
                               .trace_id = STR("01A"),
                               .mailbox = w->inbox,
                               .email = {.size = CHUNKS * (uint64_t)LIMIT_CHUNK_SIZE, .body = 7}};
    vault_append(w->vault, world_ticket(w), w->alice, &in);
    assert_int_equal(world_commit(w).status, STATUS_OK);
    set_quota(w, 2000);
    world_expunge(w, w->inbox);
    assert_int_equal(vault_purge(w->vault, LIMIT_RETENTION_EXPUNGED_MS, &more), STATUS_OK);
    assert_int_equal(count_chunks(w), 10);
    assert_true(left_behind(w) > 2000 && vault_batch_overflows(w->vault));
    world_purge(w);
    assert_int_equal(world_stored(w), 0);
    assert_int_equal(left_behind(w), 0);
}

static void append_small(struct vault_world *w)
{
    struct ipc_chunk chunks[8];
    struct ipc_append_in in = {.at_ms = AT_MS,
                               .trace_id = STR("01SESSION"),
                               .mailbox = w->inbox,
                               .email = {.size = 3, .chunks = chunks}};
    struct body_writer *writer = world_write_body(STR("x\r\n"), chunks, &in.email.chunks_count);
    vault_append(w->vault, world_ticket(w), w->alice, &in);
    body_writer_free(writer);
    assert_int_equal(world_commit(w).status, STATUS_OK);
}

static void messages_added_and_expunged_without_end_leave_no_traces_without_end(void **state)
{
    struct vault_world *w = *state;
    set_quota(w, 3 * (3 + LIMIT_EXPUNGED_ROW_SIZE));
    for (int i = 0; i < 9; i++) {
        append_small(w);
        world_expunge(w, w->inbox);
    }
    assert_int_equal(world_count(w, "SELECT count(*) FROM trace"), 9);
    world_purge(w);
    assert_int_equal(world_stored(w), 9);
    assert_int_equal(world_count(w, "SELECT count(*) FROM trace"), 3);
    /* In their time they go without: their traces have a longer one. */
    world_pass(w, LIMIT_RETENTION_EXPUNGED_MS, AT_MS);
    world_purge(w);
    assert_int_equal(world_stored(w), 0);
    assert_int_equal(world_count(w, "SELECT count(*) FROM trace"), 3);
}

/* A count that lost its mail is set right, and keeps nobody else waiting. */
static void octets_that_are_nowhere_are_forgotten(void **state)
{
    struct vault_world *w = *state;
    struct diag d = {0};
    vault_batch_close(w->vault);
    struct writer writer = {0};
    assert_int_equal(db_open(w->path, DB_WRITE, &writer.db, &d), STATUS_OK);
    assert_int_equal(writer_begin(&writer), STATUS_OK);
    assert_int_equal(query_run(db_query(writer.db, "UPDATE account SET quota = 1, expunged = 9")),
                     STATUS_OK);
    assert_int_equal(writer_commit(&writer), STATUS_OK);
    db_close(writer.db);
    assert_int_equal(vault_batch_open(w->path, NULL, &w->vault, &d), STATUS_OK);
    vault_batch_at(w->vault, w->now);
    world_purge(w);
    assert_int_equal(left_behind(w), 0);
}

/* ---- Tables that are walked
 * ----------------------------------------------------------------------
 */

static void run(struct vault_world *w, const char *sql)
{
    struct diag d = {0};
    struct writer writer = {0};
    vault_batch_close(w->vault);
    assert_int_equal(db_open(w->path, DB_WRITE, &writer.db, &d), STATUS_OK);
    assert_int_equal(writer_begin(&writer), STATUS_OK);
    assert_int_equal(query_run(db_query(writer.db, sql)), STATUS_OK);
    assert_int_equal(writer_commit(&writer), STATUS_OK);
    db_close(writer.db);
    assert_int_equal(vault_batch_open(w->path, NULL, &w->vault, &d), STATUS_OK);
    vault_batch_at(w->vault, w->now);
}

#define THOUSAND "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) "

/* Every third row is old, every fifth of a time that has not come. */

static void tables_without_an_index_by_age_are_walked_to_their_end(void **state)
{
    struct vault_world *w = *state;
    world_pass(w, LIMIT_STS_POLICY_MS + 1, AT_MS);
    int64_t old = 333;
    run(w, "INSERT INTO meta VALUES ('queue_ms', 40000000000) ON CONFLICT DO UPDATE SET "
           "value = 40000000000");
    run(w, THOUSAND "INSERT INTO unconfirmed SELECT CAST(printf('%032d', i * 7919 % 1000) AS "
                    "BLOB), CASE WHEN i % 3 = 0 THEN 0 WHEN i % 5 = 0 THEN 900000000000000 ELSE "
                    "39999999000 END FROM n");
    run(w, THOUSAND "INSERT INTO sts_policy SELECT 'd' || i, X'', X'', CASE WHEN i % 3 = 0 THEN 0 "
                    "WHEN i % 5 = 0 THEN 900000000000000 ELSE 39999999000 END FROM n");
    run(w, THOUSAND "INSERT INTO destination SELECT 5000 + i, 'dns:' || i, 0, 0, NULL, CASE WHEN "
                    "i % 3 = 0 THEN 0 WHEN i % 5 = 0 THEN 900000000000000 ELSE 39999999000 END, "
                    "X'' FROM n");
    run(w, THOUSAND "INSERT INTO sent SELECT i - 500, CASE WHEN i % 3 = 0 THEN 0 "
                    "WHEN i % 5 = 0 THEN 900000 ELSE 462 END, 1 FROM n");
    bool more = true;
    int slices = 0;
    for (; more && slices < 100; slices++)
        assert_int_equal(vault_purge(w->vault, LIMIT_RETENTION_EXPUNGED_MS, &more), STATUS_OK);
    assert_in_range(slices, 2, 20);
    assert_int_equal(world_count(w, "SELECT count(*) FROM unconfirmed"), 1000 - old);
    assert_int_equal(world_count(w, "SELECT count(*) FROM sts_policy"), 1000 - old);
    assert_int_equal(world_count(w, "SELECT count(*) FROM destination"), 1000 - old);
    assert_int_equal(world_count(w, "SELECT count(*) FROM sent"), 1000 - old - 134);
    assert_true(world_count(w, "SELECT max(at_ms) FROM unconfirmed") < 50000000000);
    assert_true(world_count(w, "SELECT max(fetched_ms) FROM sts_policy") < 50000000000);
    assert_true(world_count(w, "SELECT max(last_ms) FROM destination") < 50000000000);
}

/* ---- Damage
 * --------------------------------------------------------------------------------------
 */

/* Writes over the page where that table or index begins. */
static void damage(struct vault_world *w, const char *name)
{
    struct query *q = db_query(w->reader, "SELECT rootpage FROM sqlite_master WHERE name = $name");
    query_bind_words(q, "$name", str_from_c(name));
    assert_true(query_next(q));
    long page = (long)query_int(q, 0);
    assert_int_equal(query_end(q), STATUS_OK);
    uint64_t left;
    assert_true(vault_checkpoint(w->vault, &left));
    vault_batch_close(w->vault);
    FILE *f = fopen(w->path, "r+b");
    assert_int_equal(fseek(f, (page - 1) * 8192, SEEK_SET), 0);
    for (int i = 0; i < 8192; i++)
        fputc(0x5a, f);
    fclose(f);
    struct diag d = {0};
    assert_int_equal(vault_batch_open(w->path, NULL, &w->vault, &d), STATUS_OK);
    vault_batch_at(w->vault, w->now);
}

static void a_purge_that_meets_a_damaged_page_passes_it_over_for_the_hour(void **state)
{
    enum { HOUR_MS = 60 * 60 * 1000 };
    struct vault_world *w = *state;
    bool more = false;
    accept_some(w, 1);
    uint64_t box = make_mailbox(w, "Box");
    delete_mailbox(w, box);
    world_expunge(w, w->inbox);
    damage(w, "entry_expunged");
    world_pass(w, LIMIT_RETENTION_EXPUNGED_MS, AT_MS);
    /* What comes first needs it, and what comes next; the third finds the mailbox behind. */
    assert_int_equal(vault_purge(w->vault, LIMIT_RETENTION_EXPUNGED_MS, &more), STATUS_CORRUPT);
    assert_int_equal(vault_purge(w->vault, LIMIT_RETENTION_EXPUNGED_MS, &more), STATUS_CORRUPT);
    assert_int_equal(world_count(w, "SELECT count(*) FROM mailbox WHERE removed_ms > 0"), 1);
    for (int rounds = 0; more || rounds == 0; rounds++) {
        assert_true(rounds < 10);
        assert_int_equal(vault_purge(w->vault, LIMIT_RETENTION_EXPUNGED_MS, &more), STATUS_OK);
    }
    assert_int_equal(world_count(w, "SELECT count(*) FROM mailbox WHERE removed_ms > 0"), 0);
    assert_int_equal(world_count(w, "SELECT count(*) FROM entry"), 1);
    /* The vault goes on: what came from elsewhere is kept. */
    accept_some(w, 1);
    world_pass(w, HOUR_MS, AT_MS);
    assert_int_equal(vault_purge(w->vault, LIMIT_RETENTION_EXPUNGED_MS, &more), STATUS_CORRUPT);
}

#define IN_A_WORLD(test) cmocka_unit_test_setup_teardown(test, world_set_up, world_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_WORLD(what_was_expunged_is_purged_with_its_body),
        IN_A_WORLD(a_purge_stops_when_its_time_is_up),
        IN_A_WORLD(a_clock_that_jumps_neither_purges_early_nor_never),
        IN_A_WORLD(a_clock_that_jumps_over_a_restart_neither_purges_early_nor_never),
        IN_A_WORLD(what_was_expunged_at_a_time_that_has_not_come_yet_counts_from_now),
        IN_A_WORLD(a_clock_that_jumps_forgets_no_key_and_keeps_none),
        IN_A_WORLD(a_trace_is_purged_after_a_month_whatever_the_wall_says),
        IN_A_WORLD(a_large_body_goes_in_slices_after_the_last_entry_that_has_it),
        IN_A_WORLD(a_large_body_that_never_became_a_message_goes_in_slices),
        IN_A_WORLD(what_is_expunged_beyond_the_quota_goes_at_once_the_oldest_first),
        IN_A_WORLD(an_account_without_a_quota_keeps_all_it_expunged),
        IN_A_WORLD(what_others_expunged_stays),
        IN_A_WORLD(accounts_over_their_bound_take_turns),
        IN_A_WORLD(a_deleted_mailbox_counts_with_all_it_had_and_goes_in_its_turn),
        IN_A_WORLD(mailboxes_made_and_deleted_again_are_bounded_too),
        IN_A_WORLD(a_vault_that_starts_finds_what_is_too_much),
        IN_A_WORLD(a_large_body_beyond_the_bound_goes_in_slices),
        IN_A_WORLD(messages_added_and_expunged_without_end_leave_no_traces_without_end),
        IN_A_WORLD(octets_that_are_nowhere_are_forgotten),
        IN_A_WORLD(tables_without_an_index_by_age_are_walked_to_their_end),
        IN_A_WORLD(a_purge_that_meets_a_damaged_page_passes_it_over_for_the_hour),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
