/* What somebody tries who wants in: each was possible before, or must never become so. */
#include "roles/keeper_testing.h"

#include <stdio.h>

enum { PARALLEL = 40, RIGHT = 30 };

/* The client's last messages of exchanges that have all begun; one of them knows the password. */
static void begin_guesses(struct world *w, struct buf finals[PARALLEL])
{
    for (int i = 0; i < PARALLEL; i++) {
        char bare[64];
        int size = snprintf(bare, sizeof bare, "n,,n=alice,r=clientnonce%d", i);
        struct str message = str_make(bare, (size_t)size);
        wait_for_reply(
            w, start(w, 100 + (uint64_t)i, "SCRAM-SHA-256", "10.0.0.1", LISTEN_IMAPS, message));
        assert_int_equal(w->outcome, CHALLENGE);
        buf_init(&finals[i], 1024);
        scram_final(&finals[i], i == RIGHT ? STR("pencil") : STR("pencil-x"), str_skip(message, 3),
                    buf_str(&w->data));
    }
}

static void guesses_side_by_side_are_no_more_than_one_after_the_other(void **state)
{
    (void)state;
    struct world w;
    struct buf finals[PARALLEL];
    int judged = 0;
    open_world(&w);
    assert_int_equal(set(&w, 7, "alice@a.test", NULL, "pencil"), STATUS_OK);
    begin_guesses(&w, finals);
    for (int i = 0; i < PARALLEL; i++) {
        uint8_t outcome = step(&w, 100 + (uint64_t)i, buf_str(&finals[i]));
        judged += outcome == WRONG;
        assert_true(outcome == WRONG || outcome == TEMPORARY);
        buf_release(&finals[i]);
    }
    assert_int_equal(judged, THROTTLE_NAME_FREE + 1);
    close_world(&w);
}

struct tries {
    int open, wrong, temporary, success;
};

static void on_try(void *context, enum status_code status, const struct ipc_sasl_start_out *out)
{
    struct tries *t = context;
    assert_int_equal(status, STATUS_OK);
    t->open--;
    t->wrong += out->result.outcome == WRONG;
    t->temporary += out->result.outcome == TEMPORARY;
    t->success += out->result.outcome == SUCCESS;
}

static void try_plain(struct world *w, struct tries *t, uint64_t session, const char *peer,
                      struct str message)
{
    t->open++;
    assert_int_not_equal(ipc_sasl_start_call(link_channel(w->edge),
                                             &(struct ipc_sasl_start_in){.session = session,
                                                                         .protocol = LISTEN_IMAPS,
                                                                         .mechanism = STR("PLAIN"),
                                                                         .has_initial = true,
                                                                         .initial = message,
                                                                         .peer = str_from_c(peer),
                                                                         .trace_id = STR("t1")},
                                             on_try, t),
                         0);
}

static void passwords_that_wait_for_a_hasher_are_no_more_either(void **state)
{
    (void)state;
    struct world w;
    struct tries t = {0};
    open_world(&w);
    assert_int_equal(set(&w, 7, "alice@a.test", NULL, "pencil"), STATUS_OK);
    for (int i = 0; i < PARALLEL; i++)
        try_plain(&w, &t, 100 + (uint64_t)i, "10.0.0.1",
                  i == RIGHT ? STR("\0alice\0pencil") : STR("\0alice\0pencil-x"));
    while (t.open > 0)
        loop_turn(w.loop, true);
    assert_int_equal(t.success, 0);
    assert_in_range(t.wrong, 1, THROTTLE_NAME_FREE + 2); /* one may be with the other hasher */
    close_world(&w);
}

static void strangers_by_the_thousand_keep_nobody_out_who_was_here_before(void **state)
{
    (void)state;
    struct world w;
    struct tries strangers = {0}, known = {0}, newcomer = {0};
    char peer[32];
    open_world(&w);
    assert_int_equal(set(&w, 7, "alice@a.test", NULL, "pencil"), STATUS_OK);
    assert_int_equal(set(&w, 7, "alice@a.test", "phone", "pencil-app"), STATUS_OK);
    assert_int_equal(plain_from(&w, "10.0.0.1", LISTEN_IMAPS, "alice", "pencil"), SUCCESS);
    for (int i = 0; i < HASHERS_WAITING_MAX + 10; i++) {
        snprintf(peer, sizeof peer, "10.1.1.%d", i);
        try_plain(&w, &strangers, 100 + (uint64_t)i, peer, STR("\0mallory\0pencil-x"));
    }
    try_plain(&w, &newcomer, 1000, "10.0.0.2", STR("\0alice\0pencil-app"));
    try_plain(&w, &known, 1001, "10.0.0.1", STR("\0alice\0pencil-app"));
    while (known.open > 0)
        loop_turn(w.loop, true);
    assert_int_equal(known.success, 1);
    assert_int_equal(newcomer.temporary, 1);
    while (strangers.open > 0)
        loop_turn(w.loop, true);
    close_world(&w);
}

/* All that an edge can say of a client that is not there. */
static void an_edge_that_was_taken_over_gets_in_by_no_words_of_its_own(void **state)
{
    (void)state;
    static const char *const peers[] = {"", "127.0.0.1", "user 0", "::1", "fe80::1%lo", "x"};
    struct world w;
    open_world(&w);
    assert_int_equal(set(&w, 7, "alice@a.test", NULL, "pencil"), STATUS_OK);
    for (size_t i = 0; i < sizeof peers / sizeof *peers; i++)
        for (unsigned protocol = 0; protocol < 256; protocol += 5) {
            assert_int_not_equal(plain_from(&w, peers[i], (uint8_t)protocol, "alice", ""), SUCCESS);
            assert_int_equal(w.account, 0);
            assert_int_equal(w.capability.len, 0);
        }
    /* Another's name to act as, and sessions of which it has not heard. */
    wait_for_reply(&w, start(&w, 1, "PLAIN", "::1", LISTEN_IMAP, STR("alice\0mallory\0pencil")));
    assert_int_not_equal(w.outcome, SUCCESS);
    assert_int_equal(step(&w, 12345, STR("")), MALFORMED);
    assert_int_equal(plain_from(&w, "::1", 200, "alice", "pencil"), SUCCESS);
    assert_int_equal(w.capability.len, 0); /* of a protocol that there is not: no rights */
    close_world(&w);
}

static void the_last_use_follows_the_clock_wherever_it_goes(void **state)
{
    (void)state;
    enum { MINUTE_MS = 60 * 1000, DAY_MS = 24 * 60 * MINUTE_MS };
    struct world w;
    open_world(&w);
    int64_t noon_ms = w.clock.wall_ms;
    assert_int_equal(set(&w, 7, "alice@a.test", NULL, "pencil"), STATUS_OK);
    list(&w, 7);
    assert_true(w.used_ms == 0);
    static const struct {
        int64_t at_ms, kept_ms;
    } rows[] = {
        {0, 0},
        {59 * MINUTE_MS, 0}, /* kept no finer */
        {61 * MINUTE_MS, 61 * MINUTE_MS},
        {-DAY_MS, -DAY_MS}, /* what has not come yet was not the last */
        {-DAY_MS + MINUTE_MS, -DAY_MS},
        {300LL * DAY_MS, 300LL * DAY_MS},
        {0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        w.clock.wall_ms = noon_ms + rows[i].at_ms;
        assert_int_equal(plain(&w, "alice", "pencil"), SUCCESS);
        list(&w, 7);
        assert_true(w.used_ms == noon_ms + rows[i].kept_ms);
    }
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guesses_side_by_side_are_no_more_than_one_after_the_other),
        cmocka_unit_test(passwords_that_wait_for_a_hasher_are_no_more_either),
        cmocka_unit_test(strangers_by_the_thousand_keep_nobody_out_who_was_here_before),
        cmocka_unit_test(an_edge_that_was_taken_over_gets_in_by_no_words_of_its_own),
        cmocka_unit_test(the_last_use_follows_the_clock_wherever_it_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
