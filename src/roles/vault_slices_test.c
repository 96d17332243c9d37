/* What takes several turns of the vault, and what bounds one. */

#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "base/testing.h"
#include "roles/testing_queue.h"
#include "store/body.h"

/* Each look at it costs four milliseconds. */
static int64_t slow_us;

static int64_t slow_clock(void *context)
{
    (void)context;
    return slow_us += 4000;
}

/* ---- What a courier holds
 * ------------------------------------------------------------------------
 */

enum { HELD = 800 };

/* So many rows of one destination, all out with the courier. */
static void lease_many(struct queue_world *w, struct ipc_held held[static HELD])
{
    size_t count = 0;
    for (int i = 0; i < HELD / 4; i++)
        assert_int_equal(
            queue_send(w, &(struct queue_letter){.to = {"a@example.org", "b@example.org",
                                                        "c@example.org", "d@example.org"}}),
            STATUS_OK);
    struct ipc_lease_out out = queue_lease(w, 1, 0, HELD);
    for (size_t i = 0; i < out.jobs_count; i++)
        for (size_t n = 0; n < out.jobs[i].recipients_count; n++)
            held[count++] =
                (struct ipc_held){out.jobs[i].recipients[n].id, out.jobs[i].destination};
    assert_int_equal(count, HELD);
}

/* A new vault, whose clock is slow, hears of the beginning of what the courier holds. */
static void begin_to_say(struct queue_world *w, const struct ipc_held *held)
{
    vault_batch_close(w->vault);
    queue_open(w);
    vault_batch_use_clock(w->vault, slow_clock, NULL);
    vault_resume(w->vault, queue_courier_ticket(w),
                 &(struct ipc_resume_in){.held = held, .held_count = HELD});
}

static void a_courier_that_holds_much_is_heard_in_slices(void **state)
{
    struct queue_world *w = *state;
    static struct ipc_held held[HELD];
    struct vault_reply reply;
    lease_many(w, held);
    begin_to_say(w, held);
    uint32_t asked = w->requests;
    assert_true(vault_batch_commit(w->vault));
    assert_false(vault_batch_reply(w->vault, &reply));
    assert_true(vault_batch_pending(w->vault));
    /* Until it has said all, nothing is granted and no outcome taken. */
    struct ipc_outcome o = {.recipient = held[0].recipient};
    assert_int_equal(queue_tell(w, &(struct ipc_outcomes_in){.outcomes = &o, .outcomes_count = 1}),
                     STATUS_BUSY);
    int turns = 0;
    for (; !vault_batch_reply(w->vault, &reply); turns++) {
        assert_true(turns < 20 && vault_batch_pending(w->vault));
        assert_true(vault_batch_commit(w->vault));
    }
    assert_true(turns > 0);
    assert_int_equal(reply.type, IPC_RESUME);
    assert_int_equal(reply.ticket.id, asked);
    assert_int_equal(reply.status, STATUS_OK);
    assert_int_equal(vault_batch_numbers(w->vault)->leased, HELD);
    assert_int_equal(queue_lease(w, 1, 0, HELD).jobs_count, 0);
    queue_outcome(w, held[HELD - 1].recipient, 0, 0);
    assert_int_equal(ROWS(w, "queue"), HELD - 1);
}

static void a_courier_that_goes_before_it_has_said_all_is_answered(void **state)
{
    struct queue_world *w = *state;
    static struct ipc_held held[HELD];
    struct vault_reply reply;
    lease_many(w, held);
    begin_to_say(w, held);
    assert_true(vault_batch_commit(w->vault));
    assert_false(vault_batch_reply(w->vault, &reply));
    vault_owner_gone(w->vault, &w->courier);
    assert_true(vault_batch_commit(w->vault));
    assert_true(vault_batch_reply(w->vault, &reply));
    assert_int_equal(reply.status, STATUS_GONE);
    assert_false(vault_batch_pending(w->vault));
    assert_int_equal(vault_batch_numbers(w->vault)->leased, 0);
    /* It comes again, and begins twice. */
    vault_resume(w->vault, queue_courier_ticket(w),
                 &(struct ipc_resume_in){.held = held, .held_count = HELD});
    assert_int_equal(queue_resume(w, NULL, 0), STATUS_OK);
    assert_int_equal(queue_lease(w, 1, 0, 1).jobs_count, 1);
    /* And so is one that was at it when the vault ends. */
    begin_to_say(w, held);
    vault_batch_abandon(w->vault);
    assert_true(vault_batch_reply(w->vault, &reply));
    assert_int_equal(reply.status, STATUS_GONE);
}

static void nobody_holds_more_than_was_ever_leased(void **state)
{
    struct queue_world *w = *state;
    static struct ipc_held held[LIMIT_QUEUE_LEASES + 1];
    assert_int_equal(queue_resume(w, held, LIMIT_QUEUE_LEASES + 1), STATUS_INVALID);
    assert_int_equal(queue_resume(w, held, LIMIT_QUEUE_LEASES), STATUS_OK);
}

/* ---- What a courier asks for
 * ---------------------------------------------------------------------
 */

static void a_destination_that_there_was_no_time_for_is_announced(void **state)
{
    enum { COUNT = 5 };
    struct queue_world *w = *state;
    struct ipc_want wants[COUNT];
    char to[32], via[32];
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < COUNT; i++) {
            snprintf(to, sizeof to, "a@d%d.test", i);
            snprintf(via, sizeof via, "dns:d%d.test", i);
            queue_send_one(w, to, via);
            if (round == 0)
                wants[i] = (struct ipc_want){queue_lease(w, 1, 0, 1).begun[0].destination, 10};
        }
    vault_batch_use_clock(w->vault, slow_clock, NULL);
    vault_lease(w->vault, queue_courier_ticket(w),
                &(struct ipc_lease_in){.wants = wants, .wants_count = COUNT});
    struct ipc_lease_out out = queue_commit(w).lease;
    assert_int_equal(out.status, STATUS_OK);
    assert_true(out.jobs_count > 0 && out.jobs_count < COUNT);
    assert_int_equal(out.wait_ms, 0);
    assert_int_equal(w->ready_count, COUNT - out.jobs_count);
    size_t total = out.jobs_count;
    for (int turns = 0; total < COUNT; turns++) {
        assert_true(turns < COUNT);
        for (size_t i = 0; i < w->ready_count; i++)
            wants[i] = (struct ipc_want){w->ready[i], 10};
        vault_lease(w->vault, queue_courier_ticket(w),
                    &(struct ipc_lease_in){.wants = wants, .wants_count = w->ready_count});
        total += queue_commit(w).lease.jobs_count;
    }
    assert_int_equal(total, COUNT);
}

static void what_is_asked_at_once_is_answered_in_several_turns(void **state)
{
    enum { COUNT = 20 };
    struct queue_world *w = *state;
    struct vault_reply reply;
    uint32_t first = w->requests + 1, answered = 0;
    vault_batch_use_clock(w->vault, slow_clock, NULL);
    for (int i = 0; i < COUNT; i++)
        vault_sts_get(w->vault, queue_courier_ticket(w),
                      &(struct ipc_sts_get_in){.domain = STR("example.org")});
    int turns = 0;
    for (; vault_batch_pending(w->vault); turns++) {
        assert_true(turns < COUNT);
        assert_true(vault_batch_commit(w->vault));
        while (vault_batch_reply(w->vault, &reply)) {
            assert_int_equal(reply.ticket.id, first + answered++);
            assert_int_equal(reply.status, STATUS_NOT_FOUND);
        }
    }
    assert_true(turns > 1);
    assert_int_equal(answered, COUNT);
}

static void more_than_a_courier_ever_tells_at_once_is_refused(void **state)
{
    enum { COUNT = 8193 };
    struct queue_world *w = *state;
    static struct ipc_outcome outcomes[COUNT];
    struct ipc_outcomes_in in = {.outcomes = outcomes, .outcomes_count = COUNT};
    assert_int_equal(queue_tell(w, &in), STATUS_INVALID);
    in.outcomes_count--;
    assert_int_equal(queue_tell(w, &in), STATUS_OK);
}

/* ---- What an edge says
 * ---------------------------------------------------------------------------
 */

static void a_message_goes_so_many_ways_and_no_more(void **state)
{
    struct queue_world *w = *state;
    static struct ipc_delivery deliveries[LIMIT_MESSAGE_WAYS];
    struct ipc_relay relay = {text_from(STR("a@x.test")), STR("dns:x.test")};
    struct ipc_accept_recipient to = {.recipient = relay.address,
                                      .deliveries = deliveries,
                                      .deliveries_count = LIMIT_MESSAGE_WAYS,
                                      .relays = &relay,
                                      .relays_count = 1};
    struct ipc_accept_in in = {.trace_id = STR("T1"), .recipients = &to, .recipients_count = 1};
    struct ipc_chunk chunk;
    struct body_writer *writer = queue_write_body(&in.email, &chunk);
    for (size_t i = 0; i < LIMIT_MESSAGE_WAYS; i++)
        deliveries[i] = (struct ipc_delivery){.account = w->alice, .mailbox = w->inbox};
    vault_accept(w->vault, queue_ticket(w), &in);
    assert_int_equal(queue_commit(w).status, STATUS_INVALID);
    assert_int_equal(ROWS(w, "entry") + ROWS(w, "queue") + ROWS(w, "chunk"), 0);
    in.recipients_count = LIMIT_MESSAGE_WAYS + 1; /* nobody looks at so many */
    vault_accept(w->vault, queue_ticket(w), &in);
    assert_int_equal(queue_commit(w).status, STATUS_INVALID);
    in.recipients_count = 1;
    to.deliveries_count--;
    vault_accept(w->vault, queue_ticket(w), &in);
    assert_int_equal(queue_commit(w).status, STATUS_OK);
    assert_int_equal(ROWS(w, "entry"), 1);
    assert_int_equal(ROWS(w, "queue"), 1);
    body_writer_free(writer);
}

static void so_many_keys_are_confirmed_at_once(void **state)
{
    enum { KEYS = 1001 };
    struct queue_world *w = *state;
    static struct ipc_key keys[KEYS];
    static char octets[KEYS][CHUNK_HASH_SIZE + 1];
    static struct ipc_accept_recipient to[KEYS];
    struct ipc_delivery delivery = {.account = w->alice, .mailbox = w->inbox};
    struct ipc_accept_in in = {.trace_id = STR("T1"), .recipients = to, .recipients_count = KEYS};
    struct ipc_chunk chunk;
    struct body_writer *writer = queue_write_body(&in.email, &chunk);
    for (size_t i = 0; i < KEYS; i++) {
        snprintf(octets[i], sizeof octets[i], "%032zu", i);
        keys[i].key = str_make(octets[i], CHUNK_HASH_SIZE);
        to[i] = (struct ipc_accept_recipient){
            .key = keys[i].key, .deliveries = &delivery, .deliveries_count = 1};
    }
    vault_accept(w->vault, queue_ticket(w), &in);
    assert_int_equal(queue_commit(w).status, STATUS_OK);
    assert_int_equal(ROWS(w, "unconfirmed"), KEYS);
    vault_confirm(w->vault, &(struct ipc_confirm_in){.keys = keys, .keys_count = KEYS});
    queue_commit(w);
    assert_int_equal(ROWS(w, "unconfirmed"), 1);
    body_writer_free(writer);
}

static enum status_code stage(struct queue_world *w, uint64_t body, const struct ipc_email *email)
{
    struct ipc_body_chunk_in in = {.body = body, .chunks = email->chunks, .chunks_count = 1};
    vault_body_chunk(w->vault, queue_ticket(w), &in);
    return body % 256 == 0 ? queue_commit(w).status : STATUS_OK;
}

static void a_sender_has_so_many_bodies_on_their_way(void **state)
{
    struct queue_world *w = *state;
    struct ipc_email email;
    struct ipc_chunk chunk;
    struct body_writer *writer = queue_write_body(&email, &chunk);
    for (uint64_t i = 1; i <= LIMIT_VAULT_STAGED; i++)
        assert_int_equal(stage(w, i, &email), STATUS_OK);
    assert_int_equal(stage(w, 65536, &email), STATUS_BUSY);
    /* Somebody else's are counted apart, and one that is over makes room. */
    vault_body_chunk(w->vault, queue_courier_ticket(w),
                     &(struct ipc_body_chunk_in){.body = 1, .chunks = &chunk, .chunks_count = 1});
    assert_int_equal(queue_commit(w).status, STATUS_OK);
    vault_body_abort(w->vault, w, 1);
    queue_commit(w);
    assert_int_equal(stage(w, 65536, &email), STATUS_OK);
    body_writer_free(writer);
}

/* ---- What a mailroom says
 * ------------------------------------------------------------------------
 */

static void what_waits_in_memory_is_bounded(void **state)
{
    enum { RANGES = 200 * 1000, REQUESTS = 60 };
    struct queue_world *w = *state;
    static struct ipc_range ranges[RANGES];
    struct vault_reply reply;
    for (uint32_t i = 0; i < RANGES; i++)
        ranges[i] = (struct ipc_range){2 * i + 1, 2 * i + 1};
    struct ipc_expunge_in in = {.mailbox = w->inbox, .uids = ranges, .uids_count = RANGES};
    assert_int_equal(queue_send(w, &(struct queue_letter){.local = true}), STATUS_OK);
    vault_batch_use_clock(w->vault, slow_clock, NULL);
    size_t answered = 0;
    for (int i = 0; i < REQUESTS; i++)
        vault_expunge(w->vault, queue_ticket(w), w->alice, &in);
    uint64_t waited = vault_batch_numbers(w->vault)->put_off;
    assert_true(waited >= LIMIT_VAULT_PUT_OFF_SIZE / (RANGES * sizeof *ranges) &&
                waited < REQUESTS);
    while (vault_batch_pending(w->vault)) {
        assert_true(vault_batch_commit(w->vault));
        while (vault_batch_reply(w->vault, &reply)) {
            assert_int_equal(reply.status, STATUS_OK);
            answered++;
        }
    }
    assert_int_equal(answered, REQUESTS);
    /* There is room again. */
    assert_int_equal(queue_send(w, &(struct queue_letter){.local = true}), STATUS_OK);
    assert_int_equal(queue_send(w, &(struct queue_letter){.local = true}), STATUS_OK);
    vault_expunge(w->vault, queue_ticket(w), w->alice, &in);
    vault_expunge(w->vault, queue_ticket(w), w->alice, &in);
    assert_true(vault_batch_numbers(w->vault)->put_off > waited);
    assert_true(vault_batch_commit(w->vault));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_WORLD(a_courier_that_holds_much_is_heard_in_slices),
        WITH_WORLD(a_courier_that_goes_before_it_has_said_all_is_answered),
        WITH_WORLD(nobody_holds_more_than_was_ever_leased),
        WITH_WORLD(a_destination_that_there_was_no_time_for_is_announced),
        WITH_WORLD(what_is_asked_at_once_is_answered_in_several_turns),
        WITH_WORLD(more_than_a_courier_ever_tells_at_once_is_refused),
        WITH_WORLD(a_message_goes_so_many_ways_and_no_more),
        WITH_WORLD(so_many_keys_are_confirmed_at_once),
        WITH_WORLD(a_sender_has_so_many_bodies_on_their_way),
        WITH_WORLD(what_waits_in_memory_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
