/* What the vault does when the disk is full or a page cannot be read, and what a start finds. */

#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "base/testing.h"
#include "roles/testing_queue.h"
#include "roles/vault_internal.h"

static const struct str HASH = {"0123456789abcdef0123456789abcdef", 32};
static char octets[LIMIT_CHUNK_SIZE];

static struct ipc_chunk full_chunk(void)
{
    return (struct ipc_chunk){.codec = CHUNK_PLAIN,
                              .plain_size = LIMIT_CHUNK_SIZE,
                              .hash = HASH,
                              .data = str_make(octets, sizeof octets)};
}

/* A message for alice, with a key or without. body: it came in pieces, this is the last. */
static void ask(struct queue_world *w, uint64_t body, uint64_t size, struct str key)
{
    struct ipc_chunk last = {
        .codec = CHUNK_PLAIN, .plain_size = 3, .hash = HASH, .data = STR("x\r\n")};
    struct ipc_delivery delivery = {.account = w->alice, .mailbox = w->inbox};
    struct ipc_accept_recipient to = {.key = key, .deliveries = &delivery, .deliveries_count = 1};
    vault_accept(w->vault, queue_ticket(w),
                 &(struct ipc_accept_in){
                     .trace_id = STR("T1"),
                     .email = {.size = size, .body = body, .chunks = &last, .chunks_count = 1},
                     .recipients = &to,
                     .recipients_count = 1});
}

static void stage(struct queue_world *w, uint64_t body)
{
    struct ipc_chunk chunk = full_chunk();
    vault_body_chunk(
        w->vault, queue_ticket(w),
        &(struct ipc_body_chunk_in){.body = body, .chunks = &chunk, .chunks_count = 1});
}

/* Commits; the replies' statuses in their order. */
static size_t statuses(struct queue_world *w, enum status_code *list, size_t cap)
{
    struct vault_reply reply;
    size_t count = 0;
    vault_batch_at(w->vault, w->now);
    assert_true(vault_batch_commit(w->vault));
    while (count < cap && vault_batch_reply(w->vault, &reply))
        list[count++] = reply.status;
    assert_false(vault_batch_reply(w->vault, &reply));
    return count;
}

/* No page more than there are; or as many as one likes. */
static void fill_disk(struct queue_world *w, bool full)
{
    struct query *q = full ? db_query(w->vault->writer.db, "PRAGMA max_page_count = 1")
                           : db_query(w->vault->writer.db, "PRAGMA max_page_count = 1000000");
    assert_int_equal(query_run(q), STATUS_OK);
}

static void a_full_disk_is_told_to_all_of_the_batch_and_keeps_nothing_of_it(void **state)
{
    struct queue_world *w = *state;
    enum status_code got[8];
    ask(w, 0, 3, HASH);
    assert_int_equal(statuses(w, got, 8), 1);
    fill_disk(w, true);
    ask(w, 0, 3, STR(""));
    for (uint64_t i = 1; i <= 4; i++)
        stage(w, i);
    assert_int_equal(statuses(w, got, 8), 5);
    for (int i = 0; i < 5; i++)
        assert_int_equal(got[i], STATUS_DISK_FULL);
    assert_int_equal(ROWS(w, "entry"), 1);
    assert_int_equal(ROWS(w, "staging"), 0);
    assert_int_equal(vault_batch_numbers(w->vault)->failed_batches, 1);
    fill_disk(w, false);
    ask(w, 0, 3, STR(""));
    stage(w, 9);
    assert_int_equal(statuses(w, got, 8), 2);
    assert_true(got[0] == STATUS_OK && got[1] == STATUS_OK);
    assert_int_equal(ROWS(w, "entry"), 2);
}

static void a_body_that_lost_a_piece_is_lost(void **state)
{
    struct queue_world *w = *state;
    enum status_code got[8];
    stage(w, 7);
    assert_int_equal(statuses(w, got, 8), 1);
    fill_disk(w, true);
    stage(w, 7);
    ask(w, 7, 2 * LIMIT_CHUNK_SIZE + 3, STR(""));
    assert_int_equal(statuses(w, got, 8), 2);
    assert_int_equal(got[1], STATUS_DISK_FULL);
    fill_disk(w, false);
    stage(w, 7);
    ask(w, 7, 2 * LIMIT_CHUNK_SIZE + 3, STR(""));
    assert_int_equal(statuses(w, got, 8), 2);
    assert_true(got[0] == STATUS_NOT_FOUND || got[0] == STATUS_OK);
    assert_true(got[1] == STATUS_NOT_FOUND || got[1] == STATUS_INVALID);
    vault_owner_gone(w->vault, w);
    while (vault_batch_pending(w->vault))
        statuses(w, got, 8);
    assert_int_equal(ROWS(w, "entry"), 0);
    assert_int_equal(ROWS(w, "chunk"), 0);
}

static void a_lost_body_that_a_full_disk_kept_goes_after_the_next_commit(void **state)
{
    struct queue_world *w = *state;
    enum status_code got[8];
    stage(w, 7);
    assert_int_equal(statuses(w, got, 8), 1);
    vault_body_abort(w->vault, w, 7);
    assert_true(vault_batch_pending(w->vault));
    assert_true(vault_batch_begin(w->vault, false));
    vault_remove_lost(w->vault);
    vault_note(w->vault, STATUS_DISK_FULL);
    assert_int_equal(statuses(w, got, 8), 0);
    assert_int_equal(ROWS(w, "staging"), 1);
    assert_false(vault_batch_pending(w->vault)); /* or it would be tried without end */
    ask(w, 0, 3, STR(""));
    assert_int_equal(statuses(w, got, 8), 1);
    assert_true(vault_batch_pending(w->vault));
    /* The disk may still be full: nobody else is to fail by it. */
    ask(w, 0, 3, STR(""));
    assert_int_equal(statuses(w, got, 8), 1);
    assert_int_equal(ROWS(w, "staging"), 1);
    assert_true(vault_batch_pending(w->vault));
    assert_int_equal(statuses(w, got, 8), 0);
    assert_int_equal(ROWS(w, "staging"), 0);
    assert_int_equal(ROWS(w, "chunk"), 2);
    assert_false(vault_batch_pending(w->vault));
}

static void a_lost_body_that_cannot_be_removed_keeps_out_nobody(void **state)
{
    struct queue_world *w = *state;
    enum status_code got[8];
    stage(w, 7);
    assert_int_equal(statuses(w, got, 8), 1);
    assert_int_equal(query_run(db_query(w->vault->writer.db, "DROP TABLE staging")), STATUS_OK);
    vault_body_abort(w->vault, w, 7);
    assert_int_equal(statuses(w, got, 8), 0);
    assert_int_equal(vault_batch_numbers(w->vault)->failed_batches, 1);
    for (int i = 0; i < 3; i++) {
        assert_false(vault_batch_pending(w->vault));
        ask(w, 0, 3, STR(""));
        assert_int_equal(statuses(w, got, 8), 1);
        assert_int_equal(got[0], STATUS_OK);
    }
}

static void what_a_courier_said_it_holds_in_a_batch_that_failed_it_says_again(void **state)
{
    struct queue_world *w = *state;
    enum status_code got[8];
    queue_send_one(w, "a@example.org", NULL);
    struct ipc_lease_out out = queue_lease(w, 1, 0, 1);
    struct ipc_held held = {out.jobs[0].recipients[0].id, out.jobs[0].destination};
    fill_disk(w, true);
    vault_resume(w->vault, queue_courier_ticket(w),
                 &(struct ipc_resume_in){.held = &held, .held_count = 1});
    for (uint64_t i = 1; i <= 4; i++)
        stage(w, i);
    assert_int_equal(statuses(w, got, 8), 5);
    assert_int_equal(got[0], STATUS_DISK_FULL);
    fill_disk(w, false);
    vault_lease(w->vault, queue_courier_ticket(w), &(struct ipc_lease_in){.fresh = 1});
    assert_int_equal(queue_commit(w).status, STATUS_BUSY);
    assert_int_equal(queue_resume(w, &held, 1), STATUS_OK);
    queue_outcome(w, held.recipient, 0, 0);
    assert_int_equal(ROWS(w, "queue"), 0);
}

/* Writes over the page where that table begins, of a vault that is not there meanwhile. */
static void damage(struct queue_world *w, const char *table)
{
    struct query *q = db_query(w->reader, "SELECT rootpage FROM sqlite_master WHERE name = $name");
    uint64_t left;
    query_bind_words(q, "$name", str_from_c(table));
    assert_true(query_next(q));
    long page = (long)query_int(q, 0);
    assert_int_equal(query_end(q), STATUS_OK);
    assert_true(vault_checkpoint(w->vault, &left));
    vault_batch_close(w->vault);
    FILE *f = fopen(w->path, "r+b");
    assert_int_equal(fseek(f, (page - 1) * 8192, SEEK_SET), 0);
    for (int i = 0; i < 8192; i++)
        fputc(0x5a, f);
    fclose(f);
    queue_open(w);
}

/* As the role does: what is full is committed before the next request. Counts good replies. */
static size_t commit_if_full(struct queue_world *w)
{
    enum status_code got[8];
    size_t good = 0;
    if (!vault_batch_full(w->vault))
        return 0;
    for (size_t i = statuses(w, got, 8); i > 0; i--) {
        assert_true(got[i - 1] == STATUS_OK || got[i - 1] == STATUS_CORRUPT);
        good += got[i - 1] == STATUS_OK;
    }
    return good;
}

static void a_message_that_meets_damage_keeps_out_no_other_for_long(void **state)
{
    struct queue_world *w = *state;
    enum status_code got[8];
    size_t good = 0;
    damage(w, "unconfirmed");
    ask(w, 0, 3, STR(""));
    ask(w, 0, 3, HASH);
    assert_int_equal(statuses(w, got, 8), 2);
    assert_true(got[0] == STATUS_CORRUPT && got[1] == STATUS_CORRUPT);
    /* From then on each is by itself: as often as it comes again, it ends nobody else. */
    for (int i = 0; i < 3; i++) {
        stage(w, 8);
        good += commit_if_full(w);
        ask(w, 8, LIMIT_CHUNK_SIZE + 3, HASH);
        good += commit_if_full(w);
        ask(w, 0, 3, STR(""));
        good += commit_if_full(w);
    }
    assert_int_equal(good, 6);
    while (vault_batch_pending(w->vault))
        statuses(w, got, 8);
    assert_int_equal(ROWS(w, "entry"), 3);
    assert_int_equal(ROWS(w, "chunk"), 3);
    assert_int_equal(ROWS(w, "staging"), 0);
    /* When all has gone well for a while they share their commits again. */
    for (int i = 0; i < 70; i++) {
        ask(w, 0, 3, STR(""));
        assert_int_equal(statuses(w, got, 8), 1);
    }
    ask(w, 0, 3, STR(""));
    assert_false(vault_batch_full(w->vault));
    assert_int_equal(statuses(w, got, 8), 1);
}

static void a_change_that_meets_damage_does_not_end_the_vault(void **state)
{
    struct queue_world *w = *state;
    enum status_code got[8];
    struct ipc_range all = {1, 100};
    ask(w, 0, 3, STR(""));
    assert_int_equal(statuses(w, got, 8), 1);
    damage(w, "keyword");
    for (int i = 0; i < 3; i++) {
        vault_flags_store(w->vault, queue_ticket(w), w->alice,
                          &(struct ipc_flags_store_in){.mailbox = w->inbox,
                                                       .uids = &all,
                                                       .uids_count = 1,
                                                       .mode = 1,
                                                       .keywords = text_from(STR("one"))});
        assert_int_equal(statuses(w, got, 8), 1);
        assert_int_equal(got[0], STATUS_CORRUPT);
        ask(w, 0, 3, STR(""));
        assert_int_equal(statuses(w, got, 8), 1);
        assert_int_equal(got[0], STATUS_OK);
    }
    assert_int_equal(ROWS(w, "entry"), 4);
}

static void a_courier_whose_rows_meet_damage_does_not_end_the_vault(void **state)
{
    struct queue_world *w = *state;
    enum status_code got[8];
    struct ipc_held held = {4711, 0};
    damage(w, "queue");
    ask(w, 0, 3, STR(""));
    vault_resume(w->vault, queue_courier_ticket(w),
                 &(struct ipc_resume_in){.held = &held, .held_count = 1});
    assert_int_equal(statuses(w, got, 8), 2);
    assert_true(got[0] == STATUS_CORRUPT && got[1] == STATUS_CORRUPT);
    ask(w, 0, 3, STR(""));
    assert_int_equal(statuses(w, got, 8), 1);
    assert_int_equal(got[0], STATUS_OK);
}

static void outcomes_that_cannot_be_kept_are_not_half_kept(void **state)
{
    struct queue_world *w = *state;
    queue_send_one(w, "a@example.org", NULL);
    queue_send_one(w, "b@example.org", "dns:other.test");
    struct ipc_lease_out out = queue_lease(w, 2, 0, 2);
    assert_int_equal(out.jobs_count, 2);
    struct ipc_held held[2];
    for (int i = 0; i < 2; i++)
        held[i] = (struct ipc_held){out.jobs[i].recipients[0].id, out.jobs[i].destination};
    damage(w, "tls_result");
    assert_int_equal(queue_resume(w, held, 2), STATUS_OK);
    struct ipc_outcome o[] = {{.recipient = held[0].recipient}, {.recipient = held[1].recipient}};
    struct ipc_tls_outcome tls = {.domain = STR("example.org"), .mx = STR("mx"), .sessions = 1};
    struct ipc_outcomes_in in = {.outcomes = o, .outcomes_count = 2, .tls = &tls, .tls_count = 1};
    assert_int_equal(queue_tell(w, &in), STATUS_CORRUPT);
    assert_int_equal(ROWS(w, "queue"), 2);
    in.tls_count = 0;
    /* The courier was forgotten with no batch: what it holds is still on lease to it. */
    assert_int_equal(queue_tell(w, &in), STATUS_OK);
    assert_int_equal(ROWS(w, "queue"), 0);
}

/* ---- A start ------------------------------------------------------------------------------------
 */

static void what_half_arrived_before_a_crash_is_gone_after_the_start(void **state)
{
    enum { CHUNKS = 2 * LIMIT_VAULT_CHUNKS + 3 };
    struct queue_world *w = *state;
    enum status_code got[8];
    for (int i = 0; i < CHUNKS; i++) {
        stage(w, 7);
        assert_int_equal(statuses(w, got, 8), 1);
    }
    stage(w, 8);
    ask(w, 0, 3, STR(""));
    assert_int_equal(statuses(w, got, 8), 2);
    assert_int_equal(ROWS(w, "chunk"), CHUNKS + 2);
    vault_batch_close(w->vault);
    queue_open(w);
    assert_int_equal(ROWS(w, "chunk"), 1);
    assert_int_equal(ROWS(w, "staging"), 0);
    assert_int_equal(ROWS(w, "entry"), 1);
}

static void pages_that_became_free_are_given_back_but_for_some(void **state)
{
    struct queue_world *w = *state;
    enum status_code got[8];
    bool more = true;
    for (uint64_t i = 1; i <= 400; i++) {
        stage(w, i);
        if (i % 8 == 0)
            assert_int_equal(statuses(w, got, 8), 8);
    }
    int64_t pages = queue_count(w, "PRAGMA page_count");
    vault_owner_gone(w->vault, w);
    while (vault_batch_pending(w->vault))
        statuses(w, got, 8);
    for (int slices = 0; more; slices++) {
        assert_true(slices < 100);
        assert_int_equal(vault_purge(w->vault, 0, &more), STATUS_OK);
    }
    int64_t left = queue_count(w, "PRAGMA freelist_count");
    assert_in_range(left, 2048 - 16, 2048);
    assert_true(queue_count(w, "PRAGMA page_count") < pages - 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_WORLD(a_full_disk_is_told_to_all_of_the_batch_and_keeps_nothing_of_it),
        WITH_WORLD(a_body_that_lost_a_piece_is_lost),
        WITH_WORLD(a_lost_body_that_a_full_disk_kept_goes_after_the_next_commit),
        WITH_WORLD(a_lost_body_that_cannot_be_removed_keeps_out_nobody),
        WITH_WORLD(what_a_courier_said_it_holds_in_a_batch_that_failed_it_says_again),
        WITH_WORLD(a_message_that_meets_damage_keeps_out_no_other_for_long),
        WITH_WORLD(a_change_that_meets_damage_does_not_end_the_vault),
        WITH_WORLD(a_courier_whose_rows_meet_damage_does_not_end_the_vault),
        WITH_WORLD(outcomes_that_cannot_be_kept_are_not_half_kept),
        WITH_WORLD(what_half_arrived_before_a_crash_is_gone_after_the_start),
        WITH_WORLD(pages_that_became_free_are_given_back_but_for_some),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
