/* What becomes of rows that are out, where courier, operator and time do not agree. */

#include <stdio.h>

#include "base/limits.h"
#include "base/testing.h"
#include "roles/testing_queue.h"

/* As the vault counts an operator's actions. */
enum { QUEUE_HOLD, QUEUE_RELEASE, QUEUE_RETRY, QUEUE_BOUNCE, QUEUE_REMOVE, QUEUE_REROUTE };

static struct ipc_queue_change_out change(struct queue_world *w, struct ipc_queue_change_in in)
{
    vault_queue_change(w->vault, queue_ticket(w), &in);
    return queue_commit(w).queue_change;
}

static uint64_t lease_one(struct queue_world *w)
{
    struct ipc_lease_out out = queue_lease(w, 1, 0, 10);
    assert_int_equal(out.jobs_count, 1);
    return out.jobs[0].recipients[0].id;
}

/* Nobody took it, and its report is made: it expired, and no server's words are in the trace. */
static void what_was_bounced_for_its_age_is_told_as_expired(void **state)
{
    struct queue_world *w = *state;
    queue_send_one(w, "carol@dead.test", NULL);
    queue_pass(w, 121 * HOUR);
    struct ipc_lease_out out = queue_lease(w, 0, 0, 0);
    assert_int_equal(out.jobs[0].recipients[0].task, IPC_TASK_EXPIRED);
    struct ipc_outcome o = {.recipient = out.jobs[0].recipients[0].id};
    assert_int_equal(queue_tell(w, &(struct ipc_outcomes_in){.outcomes = &o, .outcomes_count = 1}),
                     STATUS_OK);
    assert_int_equal(ROWS(w, "queue"), 0);
    assert_true(queue_has_step(w, w->trace, "expired"));
    assert_int_equal(vault_batch_numbers(w->vault)->bounced, 1);
}

/* The notice went out with the attempt that failed: it is not due again. */
static void a_notice_with_a_failure_is_the_only_one(void **state)
{
    struct queue_world *w = *state;
    assert_int_equal(
        queue_send(w, &(struct queue_letter){.to = {"carol@example.org"}, .notify = 8}), STATUS_OK);
    struct ipc_outcome o = {.outcome = IPC_OUTCOME_LATER, .retry_ms = 10 * HOUR, .noticed = true};
    o.recipient = lease_one(w);
    assert_int_equal(queue_tell(w, &(struct ipc_outcomes_in){.outcomes = &o, .outcomes_count = 1}),
                     STATUS_OK);
    queue_pass(w, 5 * HOUR);
    assert_int_equal(queue_lease(w, 0, 0, 0).jobs_count, 0);
    assert_int_equal(queue_count(w, "SELECT noticed FROM queue"), 1);
}

/* A courier cannot name a place that no queue has; the row waits where it was. */
static void a_row_moved_to_nowhere_stays(void **state)
{
    struct queue_world *w = *state;
    queue_send_one(w, "carol@example.org", NULL);
    struct ipc_lease_out out = queue_lease(w, 1, 0, 10);
    uint64_t destination = out.begun[0].destination;
    struct ipc_outcome o = {.recipient = out.jobs[0].recipients[0].id,
                            .outcome = IPC_OUTCOME_MOVED,
                            .destination = STR("no destination")};
    struct ipc_outcomes_in in = {.outcomes = &o, .outcomes_count = 1};
    assert_int_equal(queue_tell(w, &in), STATUS_OK);
    assert_int_equal(ROWS(w, "destination"), 1);
    out = queue_want(w, destination, 10);
    assert_int_equal(out.jobs_count, 1);
    /* What no outcome is counts as untried. */
    o.outcome = 200;
    assert_int_equal(queue_tell(w, &in), STATUS_OK);
    assert_int_equal(queue_want(w, destination, 10).jobs_count, 1);
    assert_int_equal(queue_count(w, "SELECT attempts FROM queue"), 0);
}

static void a_row_that_is_out_goes_where_the_operator_sent_it_meanwhile(void **state)
{
    struct queue_world *w = *state;
    queue_send_one(w, "carol@example.org", NULL);
    struct ipc_lease_out out = queue_lease(w, 1, 0, 10);
    uint64_t id = out.jobs[0].recipients[0].id;
    assert_int_equal(change(w, (struct ipc_queue_change_in){.action = QUEUE_REROUTE,
                                                            .destination = STR("route:other")})
                         .changed,
                     1);
    queue_outcome(w, id, IPC_OUTCOME_GIVEN_BACK, 0);
    out = queue_lease(w, 1, 0, 10);
    assert_int_equal(out.jobs_count, 1);
    assert_true(str_eq(out.begun[0].name, STR("route:other")));
    /* Held and released while it is out: it is due when it comes back. */
    id = out.jobs[0].recipients[0].id;
    uint64_t other = out.begun[0].destination;
    assert_int_equal(change(w, (struct ipc_queue_change_in){.action = QUEUE_HOLD}).changed, 1);
    assert_int_equal(change(w, (struct ipc_queue_change_in){.action = QUEUE_RELEASE}).changed, 1);
    queue_outcome(w, id, IPC_OUTCOME_GIVEN_BACK, 0);
    assert_int_equal(queue_want(w, other, 10).jobs_count, 1);
}

static void a_reroute_to_what_is_no_destination_is_refused_with_words(void **state)
{
    struct queue_world *w = *state;
    queue_send_one(w, "carol@example.org", NULL);
    struct ipc_queue_change_out out = change(
        w, (struct ipc_queue_change_in){.action = QUEUE_REROUTE, .destination = STR("nowhere")});
    assert_int_equal(out.status, STATUS_INVALID);
    assert_true(str_find(out.words, STR("nowhere")) >= 0);
    /* Without one the destination it has is tried at once. */
    assert_int_equal(change(w, (struct ipc_queue_change_in){.action = QUEUE_REROUTE}).changed, 1);
}

static void one_courier_s_end_leaves_the_other_what_it_has(void **state)
{
    struct queue_world *w = *state;
    int second = 0;
    struct vault_ticket t = {&second, 1};
    queue_send_one(w, "a@one.test", "dns:one.test");
    queue_send_one(w, "b@two.test", "dns:two.test");
    uint64_t id = lease_one(w);
    vault_resume(w->vault, t, &(struct ipc_resume_in){0});
    assert_int_equal(queue_commit(w).status, STATUS_OK);
    vault_lease(w->vault, t, &(struct ipc_lease_in){.fresh = 10, .messages = 10});
    assert_int_equal(queue_commit(w).lease.jobs_count, 1);
    vault_owner_gone(w->vault, &second);
    /* What it had is announced to the one that is left, whose own row is still out. */
    queue_commit(w);
    assert_true(w->fresh);
    struct ipc_lease_out out = queue_lease(w, 10, 10, 10);
    assert_int_equal(out.jobs_count, 1);
    assert_true(out.jobs[0].recipients[0].id != id);
    queue_outcome(w, id, IPC_OUTCOME_DONE, 0);
    assert_int_equal(ROWS(w, "queue"), 1);
}

static void rows_that_need_attention_come_a_hundred_at_a_time(void **state)
{
    enum { COUNT = 120 };
    struct queue_world *w = *state;
    for (int i = 0; i < COUNT / 4; i++)
        assert_int_equal(
            queue_send(w, &(struct queue_letter){.to = {"a@example.org", "b@example.org",
                                                        "c@example.org", "d@example.org"}}),
            STATUS_OK);
    queue_pass(w, 121 * HOUR);
    struct ipc_lease_out out = queue_lease(w, 0, 0, 0);
    assert_int_equal(out.jobs_count, 100);
    assert_int_equal(out.wait_ms, 0);
    assert_int_equal(queue_lease(w, 0, 0, 0).jobs_count, COUNT - 100);
}

/* All that was due there was out, for its report; what comes due later is not forgotten for that.
 */
static void a_destination_passed_by_is_visited_again_in_time(void **state)
{
    struct queue_world *w = *state;
    queue_send_one(w, "a@example.org", NULL);
    assert_int_equal(change(w, (struct ipc_queue_change_in){.action = QUEUE_BOUNCE}).changed, 1);
    assert_int_equal(queue_lease(w, 0, 0, 0).jobs_count, 1);
    struct queue_letter letter = {.to = {"b@example.org"}, .envelope = {.hold_ms = 2 * HOUR}};
    assert_int_equal(queue_send(w, &letter), STATUS_OK);
    struct ipc_lease_out out = queue_lease(w, 10, 10, 10);
    assert_int_equal(out.jobs_count, 0);
    assert_int_equal(out.wait_ms, 2 * HOUR);
    queue_pass(w, 2 * HOUR);
    assert_int_equal(queue_lease(w, 10, 10, 10).jobs_count, 1);
}

/* RFC 2852 §4: by-mode N asks for a notice where it is late, unless NOTIFY=NEVER. */
static void what_is_to_be_there_by_then_is_told_to_be_late(void **state)
{
    struct queue_world *w = *state;
    struct queue_letter letter = {.to = {"a@example.org"},
                                  .envelope = {.by_mode = 2, .by_ms = HOUR}};
    assert_int_equal(queue_send(w, &letter), STATUS_OK);
    letter.notify = 1;
    assert_int_equal(queue_send(w, &letter), STATUS_OK);
    queue_pass(w, HOUR);
    struct ipc_lease_out out = queue_lease(w, 0, 0, 0);
    assert_int_equal(out.jobs_count, 1);
    assert_int_equal(out.jobs[0].recipients[0].task, IPC_TASK_LATE);
}

static void a_policy_that_is_none_is_not_kept(void **state)
{
    struct queue_world *w = *state;
    static char large[65537];
    struct ipc_sts_set_in in = {.domain = STR("example.org"), .id = text_from(STR("1"))};
    struct ipc_sts_set_in bad[] = {in, in, in, in};
    bad[0].domain = STR("");
    bad[1].domain = str_make(large, LIMIT_DOMAIN_SIZE + 1);
    bad[2].id = text_from(str_make(large, 65));
    bad[3].policy = text_from(str_make(large, sizeof large));
    for (int i = 0; i < 4; i++) {
        vault_sts_set(w->vault, queue_courier_ticket(w), &bad[i]);
        assert_int_equal(queue_commit(w).status, STATUS_INVALID);
    }
    vault_sts_set(w->vault, queue_courier_ticket(w), &in);
    assert_int_equal(queue_commit(w).status, STATUS_OK);
    assert_int_equal(ROWS(w, "sts_policy"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_WORLD(what_was_bounced_for_its_age_is_told_as_expired),
        WITH_WORLD(a_notice_with_a_failure_is_the_only_one),
        WITH_WORLD(a_row_moved_to_nowhere_stays),
        WITH_WORLD(a_row_that_is_out_goes_where_the_operator_sent_it_meanwhile),
        WITH_WORLD(a_reroute_to_what_is_no_destination_is_refused_with_words),
        WITH_WORLD(one_courier_s_end_leaves_the_other_what_it_has),
        WITH_WORLD(rows_that_need_attention_come_a_hundred_at_a_time),
        WITH_WORLD(a_destination_passed_by_is_visited_again_in_time),
        WITH_WORLD(what_is_to_be_there_by_then_is_told_to_be_late),
        WITH_WORLD(a_policy_that_is_none_is_not_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
