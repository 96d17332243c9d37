#include "policy/pace.h"

#include "base/testing.h"

static const struct now start = {.mono_ms = 1000};

static void open_all(struct pace *p, struct pace_total *total)
{
    while (pace_may_open(p, total))
        pace_opened(p, total);
}

static void close_all(struct pace *p, struct pace_total *total)
{
    while (p->open > 0)
        pace_closed(p, total);
}

static void connections_grow_with_each_success_up_to_the_maximum(void **state)
{
    (void)state;
    struct pace_total total = {.connections_max = 100};
    struct pace p;
    pace_begin(&p, &total, 5, 0, 0, start);
    open_all(&p, &total);
    assert_int_equal(p.open, 2);
    pace_succeeded(&p);
    open_all(&p, &total);
    assert_int_equal(p.open, 3);
    for (int i = 0; i < 10; i++)
        pace_succeeded(&p);
    open_all(&p, &total);
    assert_int_equal(p.open, 5);
    close_all(&p, &total);
    pace_end(&p, &total);
    assert_int_equal(total.open + total.destinations, 0);
}

static void trouble_halves_them_and_they_come_back_slowly(void **state)
{
    (void)state;
    struct pace_total total = {.connections_max = 100};
    struct pace p;
    pace_begin(&p, &total, 8, 0, 0, start);
    for (int i = 0; i < 6; i++)
        pace_succeeded(&p);
    assert_int_equal(p.allowed, 8);
    uint32_t wave = pace_opened(&p, &total);
    assert_int_equal(pace_opened(&p, &total), wave);
    pace_failed(&p, wave);
    assert_int_equal(p.allowed, 4);
    pace_failed(&p, wave); /* of the same wave */
    assert_int_equal(p.allowed, 4);
    assert_int_equal(p.trouble, 1);
    for (int i = 0; i < 3; i++)
        pace_succeeded(&p);
    assert_int_equal(p.allowed, 4);
    assert_int_equal(p.trouble, 0);
    pace_succeeded(&p);
    assert_int_equal(p.allowed, 5);
    for (int i = 0; i < 6; i++)
        pace_failed(&p, p.wave);
    assert_int_equal(p.allowed, 1);
}

static void a_destination_in_trouble_begins_with_one_probe(void **state)
{
    (void)state;
    struct pace_total total = {.connections_max = 100};
    struct pace p;
    pace_begin(&p, &total, 20, 0, 3, start);
    open_all(&p, &total);
    assert_int_equal(p.open, 1);
    pace_failed(&p, p.wave);
    assert_int_equal(p.trouble, 4);
    pace_succeeded(&p);
    assert_int_equal(p.allowed, 2);
    assert_int_equal(p.trouble, 0);
}

static void one_destination_does_not_take_all_connections(void **state)
{
    (void)state;
    struct pace_total total = {.connections_max = 8};
    struct pace slow, other, third;
    pace_begin(&slow, &total, 20, 0, 0, start);
    for (int i = 0; i < 30; i++)
        pace_succeeded(&slow);
    open_all(&slow, &total);
    assert_int_equal(slow.open, 8);
    close_all(&slow, &total);

    pace_begin(&other, &total, 20, 0, 0, start);
    pace_begin(&third, &total, 20, 0, 0, start);
    open_all(&slow, &total);
    assert_int_equal(slow.open, 6); /* three quarters; above that its share, a third */
    assert_true(pace_may_open(&other, &total));
    pace_opened(&other, &total);
    pace_opened(&third, &total);
    assert_false(pace_may_open(&other, &total)); /* all are taken */
    pace_closed(&slow, &total);
    assert_false(pace_may_open(&slow, &total));
    assert_true(pace_may_open(&other, &total));
}

static void more_destinations_than_connections_get_one_each(void **state)
{
    (void)state;
    struct pace_total total = {.connections_max = 4, .destinations = 100};
    struct pace p;
    pace_begin(&p, &total, 20, 0, 0, start);
    total.open = 3;
    assert_true(pace_may_open(&p, &total));
    pace_opened(&p, &total);
    pace_closed(&p, &total);
    total.open = 4;
    assert_false(pace_may_open(&p, &total));
}

/* How many messages start within so many ms when all that may start do. */
static unsigned count_messages(struct pace *p, int64_t from_ms, int64_t len_ms)
{
    unsigned count = 0;
    struct now now = {.mono_ms = from_ms};
    while (now.mono_ms < from_ms + len_ms) {
        int64_t at = pace_message_at(p, now);
        if (at <= now.mono_ms) {
            pace_message_started(p, now);
            count++;
        } else {
            now.mono_ms = at;
        }
    }
    return count;
}

static void connections_are_scarce_from_three_quarters_on(void **state)
{
    (void)state;
    assert_false(pace_is_scarce(&(struct pace_total){.connections_max = 8, .open = 5}));
    assert_true(pace_is_scarce(&(struct pace_total){.connections_max = 8, .open = 6}));
}

static void messages_keep_to_the_rate(void **state)
{
    (void)state;
    struct pace_total total = {.connections_max = 4};
    struct pace p;
    pace_begin(&p, &total, 20, 60, 0, start);
    assert_in_range(count_messages(&p, 1000, 600000), 600, 611);
    assert_in_range(count_messages(&p, 100000000, 1000), 10,
                    11); /* after a pause, ten seconds' worth */
    pace_begin(&p, &total, 20, 1, 0, start);
    assert_int_equal(count_messages(&p, 1000, 179999), 3);
    pace_begin(&p, &total, 20, 1000000, 0, start);
    assert_in_range(count_messages(&p, 1000, 1000), 16000, 190000);
}

static void without_a_rate_a_message_may_start_at_once(void **state)
{
    (void)state;
    struct pace_total total = {.connections_max = 4};
    struct pace p;
    pace_begin(&p, &total, 20, 0, 0, start);
    for (int i = 0; i < 100; i++)
        pace_message_started(&p, start);
    assert_int_equal(pace_message_at(&p, start), start.mono_ms);
}

static void a_clock_that_stands_still_gives_nothing(void **state)
{
    (void)state;
    struct pace_total total = {.connections_max = 4};
    struct pace p;
    pace_begin(&p, &total, 20, 6, 0, start);
    pace_message_started(&p, start);
    assert_int_equal(pace_message_at(&p, start), start.mono_ms + 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connections_grow_with_each_success_up_to_the_maximum),
        cmocka_unit_test(trouble_halves_them_and_they_come_back_slowly),
        cmocka_unit_test(a_destination_in_trouble_begins_with_one_probe),
        cmocka_unit_test(one_destination_does_not_take_all_connections),
        cmocka_unit_test(more_destinations_than_connections_get_one_each),
        cmocka_unit_test(connections_are_scarce_from_three_quarters_on),
        cmocka_unit_test(messages_keep_to_the_rate),
        cmocka_unit_test(without_a_rate_a_message_may_start_at_once),
        cmocka_unit_test(a_clock_that_stands_still_gives_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
