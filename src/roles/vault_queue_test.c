/* What goes into the queue beside the usual way, and who changes what is in it. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/testing.h"
#include "roles/testing_queue.h"
#include "roles/vault_internal.h"

static void a_report_is_in_the_mailbox_with_the_end_of_its_row_and_only_once(void **state)
{
    struct queue_world *w = *state;
    struct ipc_chunk chunk;
    struct ipc_delivery delivery = {.account = w->alice, .mailbox = w->inbox};
    queue_send_one(w, "carol@example.org", NULL);
    char about[16];
    memcpy(about, w->trace, sizeof about);
    struct ipc_lease_out out = queue_lease(w, 1, 0, 10);
    uint64_t destination = out.begun[0].destination;
    struct ipc_outcome o = {.recipient = out.jobs[0].recipients[0].id, .outcome = 1};
    struct ipc_report report = {.trace_id = STR("REPORT1"),
                                .about = str_from_c(about),
                                .at_ms = AT_MS,
                                .recipient = {.recipient = text_from(STR("alice@demo.test")),
                                              .deliveries = &delivery,
                                              .deliveries_count = 1}};
    struct body_writer *writer = queue_write_body(&report.email, &chunk);
    struct ipc_outcomes_in in = {
        .outcomes = &o, .outcomes_count = 1, .reports = &report, .reports_count = 1};
    assert_int_equal(queue_tell(w, &in), STATUS_OK);
    assert_int_equal(ROWS(w, "queue"), 0);
    assert_int_equal(ROWS(w, "entry"), 1);
    assert_true(queue_has_step(w, about, "report"));
    /* The answer was lost: all is said again. */
    assert_int_equal(queue_tell(w, &in), STATUS_OK);
    assert_int_equal(ROWS(w, "entry"), 1);
    /* About a row that is not this courier's to end: no mailbox gets it. */
    report.trace_id = STR("REPORT2");
    assert_int_equal(queue_tell(w, &in), STATUS_OK);
    assert_int_equal(ROWS(w, "entry"), 1);
    /* To nobody: it does not keep the rest from happening. */
    queue_send_one(w, "carol@example.org", NULL);
    memcpy(about, w->trace, sizeof about);
    out = queue_want(w, destination, 10);
    o.recipient = out.jobs[0].recipients[0].id;
    delivery.account = 999999;
    assert_int_equal(queue_tell(w, &in), STATUS_OK);
    assert_true(queue_has_step(w, about, "report-dropped"));
    body_writer_free(writer);
}

static void a_row_gets_one_report_however_often_it_is_named(void **state)
{
    struct queue_world *w = *state;
    struct ipc_chunk chunk;
    struct ipc_delivery delivery = {.account = w->alice, .mailbox = w->inbox};
    queue_send_one(w, "carol@example.org", NULL);
    struct ipc_lease_out out = queue_lease(w, 1, 0, 10);
    struct ipc_outcome o = {.recipient = out.jobs[0].recipients[0].id, .outcome = 1};
    struct ipc_outcome twice[] = {o, o};
    struct ipc_report reports[2] = {{.trace_id = STR("REPORT1"),
                                     .about = str_from_c(w->trace),
                                     .at_ms = AT_MS,
                                     .recipient = {.recipient = text_from(STR("alice@demo.test")),
                                                   .deliveries = &delivery,
                                                   .deliveries_count = 1}}};
    struct body_writer *writer = queue_write_body(&reports[0].email, &chunk);
    reports[1] = reports[0];
    reports[1].trace_id = STR("REPORT2");
    assert_int_equal(queue_tell(w, &(struct ipc_outcomes_in){.outcomes = twice,
                                                             .outcomes_count = 2,
                                                             .reports = reports,
                                                             .reports_count = 2}),
                     STATUS_OK);
    assert_int_equal(ROWS(w, "entry"), 1);
    body_writer_free(writer);
}

/* A vault that died told nobody that it had kept the first: the other comes behind it all the same.
 */
static void a_report_behind_one_that_was_told_before_is_taken(void **state)
{
    struct queue_world *w = *state;
    struct ipc_chunk chunk;
    struct ipc_delivery delivery = {.account = w->alice, .mailbox = w->inbox};
    queue_send_one(w, "carol@example.org", NULL);
    struct ipc_lease_out out = queue_lease(w, 1, 0, 10);
    struct ipc_outcome o[] = {{.recipient = 999999, .outcome = 1},
                              {.recipient = out.jobs[0].recipients[0].id, .outcome = 1}};
    struct ipc_report reports[2] = {{.trace_id = STR("REPORT1"),
                                     .about = STR("6h0czt0ea46z1"),
                                     .at_ms = AT_MS,
                                     .recipient = {.recipient = text_from(STR("alice@demo.test")),
                                                   .deliveries = &delivery,
                                                   .deliveries_count = 1}}};
    struct body_writer *writer = queue_write_body(&reports[0].email, &chunk);
    reports[1] = reports[0];
    reports[1].trace_id = STR("REPORT2");
    reports[1].about = str_from_c(w->trace);
    assert_int_equal(queue_tell(w, &(struct ipc_outcomes_in){.outcomes = o,
                                                             .outcomes_count = 2,
                                                             .reports = reports,
                                                             .reports_count = 2}),
                     STATUS_OK);
    assert_int_equal(ROWS(w, "entry"), 1);
    assert_true(queue_has_step(w, w->trace, "report"));
    body_writer_free(writer);
}

/*
 * The first message's report was kept by a vault that died, another row of that message ends only
 * now, behind the second message's: the report that is known must not lead past the second's.
 */
static void a_report_that_is_known_leads_past_no_other(void **state)
{
    struct queue_world *w = *state;
    struct ipc_chunk chunk;
    struct ipc_delivery delivery = {.account = w->alice, .mailbox = w->inbox};
    char first[16], second[16];
    queue_send_one(w, "carol@example.org", NULL);
    memcpy(first, w->trace, sizeof first);
    queue_send_one(w, "carol@example.org", NULL);
    memcpy(second, w->trace, sizeof second);
    struct ipc_lease_out out = queue_lease(w, 1, 0, 10);
    assert_int_equal(out.jobs_count, 2);
    struct ipc_outcome o[] = {{.recipient = 999999, .outcome = 1},
                              {.recipient = out.jobs[1].recipients[0].id, .outcome = 1},
                              {.recipient = out.jobs[0].recipients[0].id, .outcome = 0}};
    struct ipc_report reports[2] = {{.trace_id = str_from_c(first), /* which is known */
                                     .about = str_from_c(first),
                                     .at_ms = AT_MS,
                                     .recipient = {.recipient = text_from(STR("alice@demo.test")),
                                                   .deliveries = &delivery,
                                                   .deliveries_count = 1}}};
    struct body_writer *writer = queue_write_body(&reports[0].email, &chunk);
    reports[1] = reports[0];
    reports[1].trace_id = STR("REPORT2");
    reports[1].about = str_from_c(second);
    assert_int_equal(queue_tell(w, &(struct ipc_outcomes_in){.outcomes = o,
                                                             .outcomes_count = 3,
                                                             .reports = reports,
                                                             .reports_count = 2}),
                     STATUS_OK);
    assert_true(queue_has_step(w, second, "report"));
    assert_false(queue_has_step(w, first, "report"));
    body_writer_free(writer);
}

/* What was said of the row is said again, and then happens. */
static void a_row_moves_though_the_first_try_was_undone(void **state)
{
    struct queue_world *w = *state;
    queue_send_one(w, "carol@example.org", NULL);
    struct ipc_lease_out out = queue_lease(w, 1, 0, 10);
    struct ipc_outcome o = {
        .recipient = out.jobs[0].recipients[0].id, .outcome = 4, .destination = STR("route:smart")};
    struct ipc_outcomes_in in = {.outcomes = &o, .outcomes_count = 1};
    vault_batch_at(w->vault, w->now);
    vault_outcomes(w->vault, queue_courier_ticket(w), &in);
    vault_note(w->vault, STATUS_NO_MEMORY);
    queue_commit(w);
    assert_int_equal(queue_tell(w, &in), STATUS_OK);
    out = queue_lease(w, 1, 0, 10);
    assert_int_equal(out.begun_count, 1);
    assert_true(str_eq(out.begun[0].name, STR("route:smart")));
    assert_int_equal(out.jobs_count, 1);
}

static struct ipc_queue_change_out change(struct queue_world *w, struct ipc_queue_change_in in)
{
    in.at_ms = AT_MS;
    vault_batch_at(w->vault, w->now);
    vault_queue_change(w->vault, queue_ticket(w), &in);
    return queue_commit(w).queue_change;
}

static void what_is_released_is_tried_even_when_its_time_is_over(void **state)
{
    struct queue_world *w = *state;
    struct queue_letter letter = {.to = {"carol@example.org"}};
    assert_int_equal(queue_send(w, &letter), STATUS_OK);
    struct ipc_selection all = {0};
    change(w, (struct ipc_queue_change_in){.selection = all});
    queue_pass(w, 30LL * 24 * HOUR);
    assert_int_equal(queue_lease(w, 10, 10, 10).jobs_count, 0);
    change(w, (struct ipc_queue_change_in){.selection = all, .action = 1});
    struct ipc_lease_out out = queue_lease(w, 10, 10, 10);
    assert_int_equal(out.jobs_count, 1);
    assert_int_equal(out.jobs[0].recipients[0].task, 0);
    assert_true(out.jobs[0].recipients[0].remaining_ms < 0);
}

static void operators_hold_release_bounce_remove_and_reroute(void **state)
{
    struct queue_world *w = *state;
    queue_send_one(w, "a@one.test", "dns:one.test");
    queue_send_one(w, "b@two.test", "dns:two.test");
    struct ipc_selection one = {.domain = STR("ONE.test")},
                         two = {.recipient = text_from(STR("b@two.test"))};
    assert_int_equal(change(w, (struct ipc_queue_change_in){.selection = one}).changed, 1);
    assert_int_equal(queue_lease(w, 10, 10, 10).jobs_count, 1);
    assert_int_equal(change(w, (struct ipc_queue_change_in){.selection = one, .action = 1}).changed,
                     1);
    struct ipc_lease_out out = queue_lease(w, 10, 10, 10);
    assert_int_equal(out.jobs_count, 1);
    queue_give_up(w, &out, 50 * HOUR, 1, 50 * HOUR);
    assert_int_equal(queue_lease(w, 10, 10, 10).jobs_count, 0);
    /* Now, whatever trouble there was. */
    assert_int_equal(change(w, (struct ipc_queue_change_in){.selection = one, .action = 2}).changed,
                     1);
    out = queue_lease(w, 10, 10, 10);
    assert_int_equal(out.jobs_count, 1);
    queue_outcome(w, out.jobs[0].recipients[0].id, 2, HOUR);
    assert_int_equal(change(w, (struct ipc_queue_change_in){.selection = one,
                                                            .action = 5,
                                                            .destination = STR("route:relay")})
                         .changed,
                     1);
    out = queue_lease(w, 10, 10, 10);
    assert_int_equal(out.jobs_count, 1);
    assert_true(str_eq(out.begun[0].name, STR("route:relay")));
    queue_outcome(w, out.jobs[0].recipients[0].id, 2, HOUR);
    struct text words = text_from(STR("no such road"));
    assert_int_equal(
        change(w, (struct ipc_queue_change_in){.selection = one, .action = 3, .words = words})
            .changed,
        1);
    out = queue_lease(w, 0, 0, 0);
    assert_int_equal(out.jobs_count, 1);
    assert_int_equal(out.jobs[0].recipients[0].task, 3);
    assert_true(str_eq(text_peek(out.jobs[0].recipients[0].last_words), STR("no such road")));
    assert_int_equal(change(w, (struct ipc_queue_change_in){.selection = two, .action = 4}).changed,
                     1);
    assert_int_equal(ROWS(w, "queue"), 1);
    assert_int_equal(change(w, (struct ipc_queue_change_in){.action = 99}).status, STATUS_INVALID);
}

static void an_outcome_after_an_operator_told_to_bounce_does_not_undo_that(void **state)
{
    struct queue_world *w = *state;
    queue_send_one(w, "a@one.test", "dns:one.test");
    struct ipc_lease_out out = queue_lease(w, 10, 10, 10);
    uint64_t id = out.jobs[0].recipients[0].id;
    change(w, (struct ipc_queue_change_in){.action = 3, .words = text_from(STR("enough"))});
    assert_int_equal(queue_lease(w, 0, 0, 0).jobs_count, 0);
    queue_outcome(w, id, 2, HOUR);
    out = queue_lease(w, 0, 0, 0);
    assert_int_equal(out.jobs_count, 1);
    assert_int_equal(out.jobs[0].recipients[0].task, 3);
}

/* Each look at it costs four milliseconds. */
static int64_t slow_clock(void *context)
{
    return *(int64_t *)context += 4000;
}

static void an_operator_s_change_of_many_rows_stops_when_its_time_is_up(void **state)
{
    struct queue_world *w = *state;
    struct ipc_queue_change_in in = {.action = 0};
    int64_t us = 0;
    int asked = 0;
    for (int i = 0; i < 10; i++)
        queue_send_one(w, "a@one.test", "dns:one.test");
    vault_batch_use_clock(w->vault, slow_clock, &us);
    do {
        vault_queue_change(w->vault, queue_ticket(w), &in);
        struct ipc_queue_change_out out = queue_commit(w).queue_change;
        assert_int_equal(out.status, STATUS_OK);
        assert_true(out.changed > 0 && out.changed < 5);
        in.after = out.through;
        asked++;
    } while (in.after != 0);
    assert_true(asked > 2);
    assert_int_equal(queue_count(w, "SELECT count(*) FROM queue WHERE held = 1"), 10);
}

static void policies_are_kept_with_the_time_they_were_seen(void **state)
{
    struct queue_world *w = *state;
    struct ipc_sts_get_in get = {STR("example.org")};
    vault_sts_get(w->vault, queue_courier_ticket(w), &get);
    assert_int_equal(queue_commit(w).status, STATUS_NOT_FOUND);
    struct ipc_sts_set_in set = {.at_ms = AT_MS,
                                 .domain = STR("example.org"),
                                 .id = text_from(STR("7")),
                                 .policy = text_from(STR("version: STSv1"))};
    vault_sts_set(w->vault, queue_courier_ticket(w), &set);
    assert_int_equal(queue_commit(w).status, STATUS_OK);
    queue_pass(w, HOUR);
    w->now.wall_ms -= 10 * 366 * 24 * HOUR; /* whatever the wall says */
    vault_sts_get(w->vault, queue_courier_ticket(w), &get);
    struct ipc_sts_get_out out = queue_commit(w).sts_get;
    assert_int_equal(out.status, STATUS_OK);
    assert_int_equal(out.age_ms, HOUR);
    assert_true(str_eq(text_peek(out.policy), STR("version: STSv1")));
}

static void the_clock_goes_on_over_a_restart(void **state)
{
    struct queue_world *w = *state;
    bool more;
    queue_send_one(w, "a@one.test", "dns:one.test");
    queue_outcome(w, queue_lease(w, 1, 0, 1).jobs[0].recipients[0].id, 2, HOUR);
    assert_int_equal(vault_purge(w->vault, HOUR, &more), STATUS_OK);
    vault_batch_close(w->vault);
    /* Years by the wall, another boot's monotonic clock: an hour, not five days. */
    w->now = (struct now){5, AT_MS + 20000 * HOUR};
    queue_open(w);
    assert_int_equal(queue_resume(w, NULL, 0), STATUS_OK);
    struct ipc_lease_out out = queue_lease(w, 1, 0, 1);
    assert_int_equal(out.jobs_count, 1);
    assert_int_equal(out.jobs[0].recipients[0].task, 0);
    assert_int_equal(out.jobs[0].recipients[0].age_ms, HOUR);
}

/* A whole number of hours: some things are looked at once in one. */
static void purge_after(struct queue_world *w, int64_t ms)
{
    bool more = true;
    queue_pass(w, ms);
    vault_batch_at(w->vault, w->now);
    while (more)
        assert_int_equal(vault_purge(w->vault, 24 * HOUR, &more), STATUS_OK);
}

static void what_is_known_of_the_way_out_is_forgotten_in_time(void **state)
{
    struct queue_world *w = *state;
    struct ipc_tls_outcome tls = {.domain = STR("one.test"), .mx = STR("mx"), .sessions = 3};
    struct queue_letter letter = {.to = {"a@one.test"}, .via = "dns:one.test", .account = w->alice};
    int64_t day_ms = 24 * HOUR;
    assert_int_equal(queue_send(w, &letter), STATUS_OK);
    struct ipc_lease_out out = queue_lease(w, 1, 0, 1);
    uint64_t destination = out.begun[0].destination;
    queue_outcome(w, out.jobs[0].recipients[0].id, 0, 0);
    queue_arrive(w, destination, 0, 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(queue_tell(w, &(struct ipc_outcomes_in){.tls = &tls, .tls_count = 1}),
                         STATUS_OK);
    assert_int_equal(queue_count(w, "SELECT sessions FROM tls_result"), 6);
    struct ipc_sts_set_in set = {.at_ms = w->now.wall_ms, .domain = STR("one.test")};
    vault_sts_set(w->vault, queue_courier_ticket(w), &set);
    assert_int_equal(queue_commit(w).status, STATUS_OK);
    purge_after(w, 6 * day_ms);
    w->now.wall_ms += 100 * 366 * day_ms;
    purge_after(w, 0);
    assert_int_equal(ROWS(w, "destination") + ROWS(w, "sent") + ROWS(w, "tls_result"), 3);
    w->now.wall_ms = 0;
    purge_after(w, 34 * day_ms);
    assert_int_equal(ROWS(w, "destination") + ROWS(w, "sent") + ROWS(w, "tls_result"), 0);
    assert_int_equal(ROWS(w, "sts_policy"), 1);
    purge_after(w, 360 * day_ms);
    assert_int_equal(ROWS(w, "sts_policy"), 0);
    /* And is learned anew. */
    assert_int_equal(queue_send(w, &letter), STATUS_OK);
    assert_int_equal(queue_lease(w, 1, 0, 1).jobs_count, 1);
}

static void an_envelope_beyond_reason_is_refused(void **state)
{
    struct queue_world *w = *state;
    struct queue_letter letter = {.to = {"a@one.test"}, .envelope = {.hold_ms = UINT64_MAX}};
    assert_int_equal(queue_send(w, &letter), STATUS_INVALID);
    letter.envelope = (struct ipc_envelope){.by_mode = 1, .by_ms = INT64_MIN};
    assert_int_equal(queue_send(w, &letter), STATUS_INVALID);
    letter.envelope = (struct ipc_envelope){.priority = 10};
    assert_int_equal(queue_send(w, &letter), STATUS_INVALID);
    letter.envelope = (struct ipc_envelope){0};
    letter.via = "example.org";
    assert_int_equal(queue_send(w, &letter), STATUS_INVALID);
    letter.via = "dns:two words";
    assert_int_equal(queue_send(w, &letter), STATUS_INVALID);
    assert_int_equal(ROWS(w, "queue"), 0);
}

static void mail_is_returned_when_its_time_is_over(void **state)
{
    struct queue_world *w = *state;
    struct queue_letter letter = {.to = {"a@one.test"}, .envelope = {.by_mode = 1, .by_ms = 5000}};
    assert_int_equal(queue_send(w, &letter), STATUS_OK);
    struct ipc_lease_out out = queue_lease(w, 1, 0, 1);
    assert_int_equal(out.jobs[0].envelope.by_ms, 5000);
    queue_give_up(w, &out, HOUR, 0, 0);
    queue_pass(w, 5000);
    out = queue_lease(w, 0, 0, 0);
    assert_int_equal(out.jobs_count, 1);
    assert_int_equal(out.jobs[0].recipients[0].task, 2);
}

static void mail_can_be_held_for_a_time(void **state)
{
    struct queue_world *w = *state;
    struct queue_letter letter = {.to = {"a@one.test"}, .envelope = {.hold_ms = 5000}};
    assert_int_equal(queue_send(w, &letter), STATUS_OK);
    assert_true(w->fresh); /* the courier must learn until when there is nothing */
    struct ipc_lease_out out = queue_lease(w, 1, 1, 1);
    assert_int_equal(out.jobs_count, 0);
    assert_int_equal(out.wait_ms, 5000);
    queue_pass(w, 5000);
    assert_int_equal(queue_lease(w, 1, 0, 1).jobs_count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_WORLD(a_report_is_in_the_mailbox_with_the_end_of_its_row_and_only_once),
        WITH_WORLD(a_row_gets_one_report_however_often_it_is_named),
        WITH_WORLD(a_report_behind_one_that_was_told_before_is_taken),
        WITH_WORLD(a_report_that_is_known_leads_past_no_other),
        WITH_WORLD(a_row_moves_though_the_first_try_was_undone),
        WITH_WORLD(what_is_released_is_tried_even_when_its_time_is_over),
        WITH_WORLD(operators_hold_release_bounce_remove_and_reroute),
        WITH_WORLD(an_outcome_after_an_operator_told_to_bounce_does_not_undo_that),
        WITH_WORLD(an_operator_s_change_of_many_rows_stops_when_its_time_is_up),
        WITH_WORLD(policies_are_kept_with_the_time_they_were_seen),
        WITH_WORLD(the_clock_goes_on_over_a_restart),
        WITH_WORLD(what_is_known_of_the_way_out_is_forgotten_in_time),
        WITH_WORLD(an_envelope_beyond_reason_is_refused),
        WITH_WORLD(mail_is_returned_when_its_time_is_over),
        WITH_WORLD(mail_can_be_held_for_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
