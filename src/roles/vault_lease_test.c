/* What is leased, when, and in which order. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/testing.h"
#include "roles/testing_queue.h"
#include "store/queue.h"

static void a_message_for_elsewhere_is_leased_and_gone_with_its_outcome(void **state)
{
    struct queue_world *w = *state;
    queue_send_one(w, "carol@example.org", NULL);
    assert_true(w->fresh);
    struct ipc_lease_out out = queue_lease(w, 10, 10, 10);
    assert_int_equal(out.begun_count, 1);
    assert_true(str_eq(out.begun[0].name, STR("dns:example.org")));
    assert_int_equal(out.jobs_count, 1);
    const struct ipc_job *job = &out.jobs[0];
    assert_int_equal(job->recipients_count, 1);
    assert_true(str_eq(text_peek(job->recipients[0].recipient), STR("carol@example.org")));
    assert_true(str_eq(text_peek(job->sender), STR("bob@demo.test")));
    assert_int_equal(job->chunk_count, 1);
    assert_int_equal(job->chunks_count, 1);
    assert_int_equal(job->size, QUEUE_BODY_SIZE);
    assert_int_equal(job->recipients[0].remaining_ms, 120 * HOUR);
    uint64_t id = job->recipients[0].id;
    /* Out is out. */
    assert_int_equal(queue_lease(w, 10, 10, 10).jobs_count, 0);
    assert_int_equal(ROWS(w, "email"), 0);
    queue_outcome(w, id, 0, 0);
    assert_int_equal(ROWS(w, "queue"), 0);
    assert_int_equal(ROWS(w, "outgoing"), 0);
    assert_int_equal(ROWS(w, "chunk"), 0);
    assert_true(queue_has_step(w, w->trace, "relayed"));
    /* Said twice, it is passed over. */
    queue_outcome(w, id, 2, 0);
    assert_int_equal(ROWS(w, "queue"), 0);
    assert_int_equal(vault_batch_numbers(w->vault)->waiting, 0);
}

static void an_address_twice_in_a_message_waits_once(void **state)
{
    struct queue_world *w = *state;
    struct queue_letter letter = {
        .to = {"carol@example.org", "carol@EXAMPLE.org", "Carol@example.org"}};
    assert_int_equal(queue_send(w, &letter), STATUS_OK);
    struct ipc_lease_out out = queue_lease(w, 1, 0, 10);
    assert_int_equal(out.jobs_count, 1);
    assert_int_equal(out.jobs[0].recipients_count, 2);
}

static void a_body_stays_while_a_mailbox_or_another_recipient_needs_it(void **state)
{
    struct queue_world *w = *state;
    struct queue_letter letter = {.to = {"a@example.org", "b@example.org"}, .local = true};
    assert_int_equal(queue_send(w, &letter), STATUS_OK);
    struct ipc_lease_out out = queue_lease(w, 1, 0, 10);
    uint64_t first = out.jobs[0].recipients[0].id, second = out.jobs[0].recipients[1].id;
    queue_outcome(w, first, 0, 0);
    assert_int_equal(ROWS(w, "outgoing"), 1);
    queue_outcome(w, second, 1, 0);
    assert_int_equal(ROWS(w, "outgoing"), 0);
    assert_int_equal(ROWS(w, "chunk"), 1);
    assert_true(queue_has_step(w, w->trace, "bounced"));
}

static void what_failed_for_now_is_leased_when_its_time_comes(void **state)
{
    struct queue_world *w = *state;
    queue_send_one(w, "carol@example.org", NULL);
    struct ipc_lease_out out = queue_lease(w, 1, 0, 10);
    uint64_t id = out.jobs[0].recipients[0].id, destination = out.begun[0].destination;
    queue_outcome(w, id, 2, 60000);
    assert_true(queue_has_step(w, w->trace, "deferred"));
    out = queue_want(w, destination, 10);
    assert_int_equal(out.jobs_count, 0);
    assert_int_equal(out.wait_ms, 60000);
    queue_arrive(w, destination, 0, 0);
    out = queue_lease(w, 10, 10, 10);
    assert_int_equal(out.jobs_count, 0);
    assert_int_equal(out.wait_ms, 60000);
    queue_pass(w, 60000);
    out = queue_lease(w, 10, 10, 10);
    assert_int_equal(out.jobs_count, 1);
    assert_int_equal(out.jobs[0].recipients[0].attempts, 1);
    assert_true(str_eq(text_peek(out.jobs[0].recipients[0].last_words), STR("450 greylisted")));
    assert_int_equal(out.jobs[0].recipients[0].age_ms, 60000);
}

static void a_row_due_at_a_destination_the_courier_is_at_is_announced(void **state)
{
    struct queue_world *w = *state;
    queue_send_one(w, "carol@example.org", NULL);
    uint64_t destination = queue_lease(w, 1, 0, 10).begun[0].destination;
    queue_send_one(w, "dave@example.org", NULL);
    assert_int_equal(w->ready_count, 1);
    assert_int_equal(w->ready[0], destination);
    /* Once, until it asks again. */
    queue_send_one(w, "erin@example.org", NULL);
    assert_int_equal(w->ready_count, 0);
    assert_int_equal(queue_want(w, destination, 1).jobs_count, 1);
    assert_int_equal(queue_want(w, destination, 9).jobs_count, 1);
    assert_int_equal(queue_want(w, destination, 9).jobs_count, 0);
    queue_send_one(w, "frank@example.org", NULL);
    assert_int_equal(w->ready_count, 1);
}

static void a_courier_busy_with_one_destination_hears_of_the_others(void **state)
{
    struct queue_world *w = *state;
    queue_send_one(w, "carol@slow.test", "dns:slow.test");
    assert_int_equal(queue_lease(w, 1, 0, 10).jobs_count, 1);
    queue_send_one(w, "dave@slow.test", "dns:slow.test");
    assert_int_equal(w->ready_count, 1);
    /* It has no use for that now; but for this. */
    queue_send_one(w, "erin@other.test", "dns:other.test");
    assert_true(w->fresh);
    assert_int_equal(queue_lease(w, 1, 0, 10).jobs_count, 1);
}

static void a_row_whose_time_comes_at_a_begun_destination_is_announced(void **state)
{
    struct queue_world *w = *state;
    queue_send_one(w, "carol@example.org", NULL);
    struct ipc_lease_out out = queue_lease(w, 1, 0, 10);
    uint64_t destination = out.begun[0].destination;
    queue_outcome(w, out.jobs[0].recipients[0].id, 2, 5000);
    assert_int_equal(queue_lease(w, 10, 0, 10).wait_ms, 5000);
    queue_pass(w, 5000);
    assert_int_equal(queue_lease(w, 10, 0, 10).jobs_count, 0);
    assert_int_equal(w->ready_count, 1);
    assert_int_equal(queue_want(w, destination, 1).jobs_count, 1);
}

static void a_destination_in_trouble_is_left_alone_and_kept_apart(void **state)
{
    struct queue_world *w = *state;
    queue_send_one(w, "carol@dead.test", "dns:dead.test");
    struct ipc_lease_out out = queue_lease(w, 1, 0, 10);
    uint64_t destination = out.begun[0].destination;
    queue_outcome(w, out.jobs[0].recipients[0].id, 2, 1000);
    queue_arrive(w, destination, 1, 30000);
    queue_send_one(w, "dave@dead.test", "dns:dead.test");
    queue_pass(w, 10000);
    out = queue_lease(w, 10, 10, 10);
    assert_int_equal(out.jobs_count, 0);
    assert_int_equal(out.wait_ms, 20000);
    queue_pass(w, 20000);
    assert_int_equal(queue_lease(w, 10, 0, 10).jobs_count, 0);
    out = queue_lease(w, 0, 10, 10);
    assert_int_equal(out.jobs_count, 2);
    assert_int_equal(out.begun[0].trouble, 1);
    queue_arrive(w, destination, 0, 0);
    struct destination_row row;
    assert_int_equal(read_destination(w->reader, STR("dns:dead.test"), 0, &w->arena, &row),
                     STATUS_OK);
    assert_int_equal(row.trouble, 0);
}

static void rows_given_back_are_due_again_at_once(void **state)
{
    struct queue_world *w = *state;
    queue_send_one(w, "carol@example.org", NULL);
    queue_send_one(w, "dave@example.org", NULL);
    struct ipc_lease_out out = queue_lease(w, 1, 0, 10);
    uint64_t destination = out.begun[0].destination;
    uint64_t first = out.jobs[0].recipients[0].id;
    assert_int_equal(out.jobs_count, 2);
    queue_outcome(w, first, 3, 0);
    assert_int_equal(w->ready_count, 1);
    out = queue_want(w, destination, 10);
    assert_int_equal(out.jobs_count, 1);
    assert_int_equal(out.jobs[0].recipients[0].id, first);
    assert_int_equal(out.jobs[0].recipients[0].attempts, 0);
}

static void nothing_is_granted_before_a_courier_says_what_it_holds(void **state)
{
    struct queue_world *w = *state;
    queue_send_one(w, "carol@example.org", NULL);
    queue_send_one(w, "dave@example.org", NULL);
    struct ipc_lease_out out = queue_lease(w, 1, 0, 10);
    struct ipc_held held = {out.jobs[0].recipients[0].id, out.begun[0].destination};
    vault_batch_close(w->vault);
    queue_open(w);
    vault_lease(w->vault, queue_courier_ticket(w),
                &(struct ipc_lease_in){.fresh = 1, .messages = 10});
    assert_int_equal(queue_commit(w).status, STATUS_BUSY);
    assert_int_equal(queue_tell(w, &(struct ipc_outcomes_in){0}), STATUS_BUSY);
    assert_int_equal(queue_resume(w, &held, 1), STATUS_OK);
    assert_int_equal(queue_lease(w, 10, 10, 10).jobs_count, 0); /* it is at the destination */
    out = queue_want(w, held.destination, 10);
    assert_int_equal(out.jobs_count, 1);
    assert_true(out.jobs[0].recipients[0].id != held.recipient);
    queue_outcome(w, held.recipient, 0, 0);
    assert_int_equal(ROWS(w, "queue"), 1);
}

static void the_leases_of_a_courier_that_went_are_void(void **state)
{
    struct queue_world *w = *state;
    queue_send_one(w, "carol@example.org", NULL);
    uint64_t id = queue_lease(w, 1, 0, 10).jobs[0].recipients[0].id;
    vault_owner_gone(w->vault, &w->courier);
    assert_int_equal(queue_resume(w, NULL, 0), STATUS_OK);
    /* Late, and not leased any more: passed over. */
    queue_outcome(w, id, 1, 0);
    assert_int_equal(ROWS(w, "queue"), 1);
    assert_int_equal(queue_lease(w, 1, 0, 10).jobs_count, 1);
}

static void what_is_too_old_is_leased_to_be_bounced(void **state)
{
    struct queue_world *w = *state;
    queue_send_one(w, "carol@dead.test", "dns:dead.test");
    struct ipc_lease_out out = queue_lease(w, 1, 0, 10);
    queue_give_up(w, &out, 200 * HOUR, 1, 200 * HOUR);
    queue_pass(w, 119 * HOUR);
    out = queue_lease(w, 10, 10, 10);
    assert_int_equal(out.jobs_count, 0);
    assert_int_equal(out.wait_ms, HOUR);
    queue_pass(w, HOUR);
    out = queue_lease(w, 0, 0, 0);
    assert_int_equal(out.jobs_count, 1);
    assert_int_equal(out.begun_count, 0);
    assert_int_equal(out.jobs[0].recipients[0].task, 2);
    queue_outcome(w, out.jobs[0].recipients[0].id, 2, 1000); /* no mailroom to plan the report */
    assert_int_equal(queue_lease(w, 0, 0, 0).wait_ms, 1000);
    queue_pass(w, 1000);
    out = queue_lease(w, 0, 0, 0);
    assert_int_equal(out.jobs_count, 1);
    queue_outcome(w, out.jobs[0].recipients[0].id, 1, 0);
    assert_int_equal(ROWS(w, "queue"), 0);
}

static void a_delay_notice_is_due_where_it_was_asked_for_and_once(void **state)
{
    struct queue_world *w = *state;
    struct queue_letter letter = {.to = {"carol@example.org"}, .notify = 8};
    assert_int_equal(queue_send(w, &letter), STATUS_OK);
    struct ipc_lease_out out = queue_lease(w, 1, 0, 10);
    queue_give_up(w, &out, 6 * HOUR, 0, 0);
    queue_pass(w, 4 * HOUR);
    out = queue_lease(w, 10, 10, 10);
    assert_int_equal(out.jobs_count, 1);
    assert_int_equal(out.jobs[0].recipients[0].task, 4);
    queue_outcome(w, out.jobs[0].recipients[0].id, 5, 0);
    assert_int_equal(queue_lease(w, 10, 10, 10).wait_ms, 2 * HOUR);
    queue_pass(w, 2 * HOUR);
    out = queue_lease(w, 10, 10, 10);
    assert_int_equal(out.jobs_count, 1);
    assert_int_equal(out.jobs[0].recipients[0].task, 0);
}

/* What was handed over ends before anybody is told of it, whatever else an operator wants. */
static void a_delivery_whose_report_is_due_is_over_at_once(void **state)
{
    struct queue_world *w = *state;
    struct queue_letter letter = {.to = {"carol@example.org"}, .notify = 2};
    assert_int_equal(queue_send(w, &letter), STATUS_OK);
    struct ipc_lease_out out = queue_lease(w, 1, 0, 10);
    uint64_t row = out.jobs[0].recipients[0].id;
    queue_outcome(w, row, 7, 0);
    for (int i = 0; i < 2; i++) {
        out = queue_lease(w, 0, 0, 0);
        assert_int_equal(out.jobs_count, 1);
        assert_int_equal(out.jobs[0].destination, 0);
        assert_int_equal(out.jobs[0].recipients[0].id, row);
        assert_int_equal(out.jobs[0].recipients[0].task, 5);
        /* Said again, for the answer was lost: it is known. */
        if (i == 0)
            queue_outcome(w, row, 7, 0);
    }
    queue_outcome(w, row, 0, 0);
    assert_int_equal(ROWS(w, "queue"), 0);
    assert_int_equal(ROWS(w, "trace WHERE step = 'relayed'"), 1);
    assert_int_equal(ROWS(w, "trace WHERE step = 'reported'"), 1);
}

static void success_is_told_for_a_mailbox_where_it_was_asked_for(void **state)
{
    struct queue_world *w = *state;
    struct queue_letter letter = {.local = true, .notify = 2};
    assert_int_equal(queue_send(w, &letter), STATUS_OK);
    struct ipc_lease_out out = queue_lease(w, 0, 0, 0);
    assert_int_equal(out.jobs_count, 1);
    assert_int_equal(out.jobs[0].recipients[0].task, 1);
    assert_int_equal(out.jobs[0].destination, 0);
    queue_outcome(w, out.jobs[0].recipients[0].id, 1, 0);
    assert_int_equal(ROWS(w, "queue"), 0);
    assert_int_equal(ROWS(w, "chunk"), 1);
    /* Nobody is told of what nobody sent. */
    letter.from = "";
    assert_int_equal(queue_send(w, &letter), STATUS_OK);
    assert_int_equal(ROWS(w, "queue"), 0);
}

static void users_of_this_machine_are_counted_apart_from_accounts(void **state)
{
    struct queue_world *w = *state;
    struct vault_settings settings = {1, 120 * HOUR, 4 * HOUR};
    struct vault_held held;
    uint64_t sent = 0;
    struct queue_letter letter = {.to = {"a@example.org"}, .account = w->alice};
    vault_batch_set(w->vault, &settings);
    assert_int_equal(queue_send(w, &letter), STATUS_OK);
    letter.account = 0;
    letter.user = (uint32_t)w->alice;
    assert_int_equal(queue_send(w, &letter), STATUS_OK);
    assert_false(vault_batch_held(w->vault, &held));
    assert_int_equal(queue_send(w, &letter), STATUS_OK);
    assert_true(vault_batch_held(w->vault, &held));
    assert_true(held.counted < 0);
    assert_int_equal(sent_user(held.counted), letter.user);
    struct db *db = NULL;
    struct diag d = {0};
    assert_int_equal(db_open(w->path, DB_READ, &db, &d), STATUS_OK);
    assert_int_equal(read_sent(db, held.counted, 0, &sent), STATUS_OK);
    assert_int_equal(sent, 2);
    db_close(db);
}

static void mail_over_the_daily_limit_is_held_with_words_and_can_be_released(void **state)
{
    struct queue_world *w = *state;
    struct vault_settings settings = {2, 120 * HOUR, 4 * HOUR};
    struct vault_held held;
    struct queue_letter letter = {.to = {"a@example.org", "b@example.org"}, .account = w->alice};
    vault_batch_set(w->vault, &settings);
    assert_int_equal(queue_send(w, &letter), STATUS_OK);
    assert_false(vault_batch_held(w->vault, &held));
    letter.to[1] = NULL;
    assert_int_equal(queue_send(w, &letter), STATUS_OK);
    assert_true(vault_batch_held(w->vault, &held));
    assert_int_equal(held.recipients, 3);
    assert_true(queue_has_step(w, w->trace, "held"));
    assert_int_equal(vault_batch_numbers(w->vault)->held, 1);
    assert_int_equal(queue_lease(w, 10, 10, 10).jobs_count, 1);
    /* Another day, another account: not concerned. */
    letter.account = 0;
    assert_int_equal(queue_send(w, &letter), STATUS_OK);
    assert_int_equal(vault_batch_numbers(w->vault)->held, 1);
    struct ipc_queue_change_in in = {.at_ms = AT_MS, .selection = {.held_only = true}, .action = 1};
    vault_queue_change(w->vault, queue_ticket(w), &in);
    struct vault_reply reply = queue_commit(w);
    assert_int_equal(reply.queue_change.status, STATUS_OK);
    assert_int_equal(reply.queue_change.changed, 1);
    assert_int_equal(reply.queue_change.through, 0);
    assert_int_equal(vault_batch_numbers(w->vault)->held, 0);
}

/* ---- Fairness ----------------------------------------------------------------------------------
 */

static void a_senders_flood_takes_its_turn(void **state)
{
    struct queue_world *w = *state;
    for (int i = 0; i < 220; i++)
        assert_int_equal(
            queue_send(w, &(struct queue_letter){.to = {"a@example.org"}, .from = "flood@x.test"}),
            STATUS_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(queue_send(w, &(struct queue_letter){.to = {"b@example.org"},
                                                              .envelope = {.priority = 4}}),
                         STATUS_OK);
    struct ipc_lease_out out = queue_lease(w, 1, 0, 7);
    int urgent = 0, bulk = 0;
    assert_int_equal(out.jobs_count, 7);
    for (size_t i = 0; i < out.jobs_count; i++)
        urgent += out.jobs[i].envelope.priority == 4;
    assert_int_equal(urgent, 3);
    for (size_t i = 0; i < out.jobs_count; i++)
        bulk += out.jobs[i].recipients[0].id > out.jobs[1].recipients[0].id + 300;
    assert_true(bulk >= 1);
}

static void no_row_is_walked_twice_nor_left_behind(void **state)
{
    struct queue_world *w = *state;
    uint64_t seen[64] = {0};
    size_t total = 0;
    for (int i = 0; i < 60; i++)
        queue_send_one(w, "a@example.org", i % 2 ? "dns:one.test" : "dns:two.test");
    struct ipc_lease_out out = queue_lease(w, 10, 0, 7);
    uint64_t destinations[2] = {out.begun[0].destination, out.begun[1].destination};
    for (int round = 0; round < 10; round++) {
        for (size_t i = 0; i < out.jobs_count; i++) {
            for (size_t n = 0; n < total; n++)
                assert_true(seen[n] != out.jobs[i].recipients[0].id);
            seen[total++] = out.jobs[i].recipients[0].id;
        }
        out = queue_want(w, destinations[round % 2], 7);
    }
    assert_int_equal(total, 60);
}

static void one_senders_many_destinations_take_their_turn(void **state)
{
    struct queue_world *w = *state;
    char via[64];
    for (int i = 0; i < 400; i++) {
        snprintf(via, sizeof via, "dns:list%d.test", i);
        assert_int_equal(
            queue_send(
                w, &(struct queue_letter){.to = {"a@x.test"}, .via = via, .from = "list@x.test"}),
            STATUS_OK);
    }
    /* Those within its burst are as good as any; then the list has every fourth turn. */
    struct ipc_lease_out out = queue_lease(w, 267, 0, 1);
    assert_int_equal(out.begun_count, 267);
    for (int i = 0; i < 12; i++) {
        snprintf(via, sizeof via, "dns:other%d.test", i);
        queue_send_one(w, "b@y.test", via);
    }
    size_t others = 0;
    out = queue_lease(w, 8, 0, 1);
    assert_int_equal(out.begun_count, 8);
    for (size_t i = 0; i < out.begun_count; i++)
        others += str_starts(out.begun[i].name, STR("dns:other"));
    assert_true(others == 5 || others == 6);
    /* One at a time, too. */
    others = 0;
    for (int i = 0; i < 8; i++)
        others += str_starts(queue_lease(w, 1, 0, 1).begun[0].name, STR("dns:other"));
    assert_true(others == 6);
}

/* ---- Large bodies ------------------------------------------------------------------------------
 */

static void stage(struct queue_world *w, uint64_t body, struct str piece)
{
    struct ipc_chunk chunks[8];
    size_t n = 0;
    struct body_writer *writer = body_writer_new();
    assert_true(body_writer_write(writer, piece));
    const struct body_chunk *ready = body_writer_ready(writer, &n);
    assert_true(n > 0 && n <= 8);
    for (size_t i = 0; i < n; i++)
        chunks[i] = (struct ipc_chunk){ready[i].codec, ready[i].key_id, ready[i].plain_size,
                                       ready[i].hash, ready[i].data};
    struct ipc_body_chunk_in in = {.body = body, .chunks = chunks, .chunks_count = n};
    vault_body_chunk(w->vault, queue_ticket(w), &in);
    assert_int_equal(queue_commit(w).status, STATUS_OK);
    body_writer_free(writer);
}

static void a_large_body_is_read_in_pieces_and_removed_in_slices(void **state)
{
    enum { PIECES = 50, PIECE = 2 * LIMIT_CHUNK_SIZE };
    struct queue_world *w = *state;
    static char octets[PIECE];
    uint64_t seed = 1;
    for (size_t i = 0; i < PIECE; i++)
        octets[i] = (char)((seed = seed * 6364136223846793005u + 1) >> 33);
    for (int i = 0; i < PIECES; i++)
        stage(w, 7, str_make(octets, PIECE));
    struct ipc_relay relay = {text_from(STR("a@x.test")), STR("dns:x.test")};
    struct ipc_accept_recipient recipient = {
        .recipient = relay.address, .relays = &relay, .relays_count = 1};
    struct ipc_accept_in in = {.trace_id = STR("BIG"),
                               .email = {.size = (uint64_t)PIECES * PIECE, .body = 7},
                               .recipients = &recipient,
                               .recipients_count = 1};
    vault_accept(w->vault, queue_ticket(w), &in);
    assert_int_equal(queue_commit(w).status, STATUS_OK);
    struct ipc_lease_out out = queue_lease(w, 1, 0, 1);
    assert_int_equal(out.jobs[0].chunk_count, 2 * PIECES);
    assert_int_equal(out.jobs[0].chunks_count, 0);
    uint64_t id = out.jobs[0].recipients[0].id;
    struct ipc_outgoing_chunks_in ask = {.message = out.jobs[0].message};
    while (ask.first < 2 * PIECES) {
        vault_outgoing_chunks(w->vault, queue_courier_ticket(w), &ask);
        struct ipc_outgoing_chunks_out got = queue_commit(w).outgoing_chunks;
        assert_int_equal(got.status, STATUS_OK);
        assert_true(got.chunks_count > 0);
        ask.first += (uint32_t)got.chunks_count;
    }
    assert_int_equal(ask.first, 2 * PIECES);
    /* Nobody else reads it, nor this courier once it has none of it. */
    vault_outgoing_chunks(w->vault, queue_ticket(w), &ask);
    assert_int_equal(queue_commit(w).status, STATUS_NOT_FOUND);
    queue_outcome(w, id, 0, 0);
    ask.first = 0;
    vault_outgoing_chunks(w->vault, queue_courier_ticket(w), &ask);
    assert_int_equal(queue_commit(w).status, STATUS_NOT_FOUND);
    while (vault_batch_pending(w->vault))
        queue_commit(w);
    assert_int_equal(ROWS(w, "chunk"), 0);
    assert_int_equal(ROWS(w, "staging"), 0);
}

static void a_reply_that_is_full_says_that_there_is_more(void **state)
{
    struct queue_world *w = *state;
    static char octets[2 * LIMIT_CHUNK_SIZE];
    uint64_t seed = 1;
    size_t total = 0;
    for (size_t i = 0; i < sizeof octets; i++)
        octets[i] = (char)((seed = seed * 6364136223846793005u + 1) >> 33);
    for (uint64_t i = 0; i < 20; i++) {
        struct ipc_relay relay = {text_from(STR("a@x.test")), STR("dns:x.test")};
        struct ipc_accept_recipient recipient = {
            .recipient = relay.address, .relays = &relay, .relays_count = 1};
        struct ipc_accept_in in = {.trace_id = STR("BIG"),
                                   .email = {.size = sizeof octets, .body = 1 + i},
                                   .recipients = &recipient,
                                   .recipients_count = 1};
        stage(w, 1 + i, str_make(octets, sizeof octets));
        vault_accept(w->vault, queue_ticket(w), &in);
        assert_int_equal(queue_commit(w).status, STATUS_OK);
    }
    struct ipc_lease_out out = queue_lease(w, 1, 0, 100);
    uint64_t destination = out.begun[0].destination;
    while (out.jobs_count > 0) {
        total += out.jobs_count;
        assert_true(out.jobs_count < 15);
        if (total < 20) {
            assert_int_equal(out.wait_ms, 0);
            assert_int_equal(w->ready_count, 1);
        }
        out = queue_want(w, destination, 100);
    }
    assert_int_equal(total, 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_WORLD(a_message_for_elsewhere_is_leased_and_gone_with_its_outcome),
        WITH_WORLD(an_address_twice_in_a_message_waits_once),
        WITH_WORLD(a_body_stays_while_a_mailbox_or_another_recipient_needs_it),
        WITH_WORLD(what_failed_for_now_is_leased_when_its_time_comes),
        WITH_WORLD(a_row_due_at_a_destination_the_courier_is_at_is_announced),
        WITH_WORLD(a_courier_busy_with_one_destination_hears_of_the_others),
        WITH_WORLD(a_row_whose_time_comes_at_a_begun_destination_is_announced),
        WITH_WORLD(a_destination_in_trouble_is_left_alone_and_kept_apart),
        WITH_WORLD(rows_given_back_are_due_again_at_once),
        WITH_WORLD(nothing_is_granted_before_a_courier_says_what_it_holds),
        WITH_WORLD(the_leases_of_a_courier_that_went_are_void),
        WITH_WORLD(what_is_too_old_is_leased_to_be_bounced),
        WITH_WORLD(a_delay_notice_is_due_where_it_was_asked_for_and_once),
        WITH_WORLD(a_delivery_whose_report_is_due_is_over_at_once),
        WITH_WORLD(success_is_told_for_a_mailbox_where_it_was_asked_for),
        WITH_WORLD(users_of_this_machine_are_counted_apart_from_accounts),
        WITH_WORLD(mail_over_the_daily_limit_is_held_with_words_and_can_be_released),
        WITH_WORLD(a_senders_flood_takes_its_turn),
        WITH_WORLD(no_row_is_walked_twice_nor_left_behind),
        WITH_WORLD(one_senders_many_destinations_take_their_turn),
        WITH_WORLD(a_large_body_is_read_in_pieces_and_removed_in_slices),
        WITH_WORLD(a_reply_that_is_full_says_that_there_is_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
