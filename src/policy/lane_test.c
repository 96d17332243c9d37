#include "policy/lane.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/testing.h"

static enum lane one(struct lanes *l, const char *sender, int64_t at_ms)
{
    return lane_choose(l, 0, str_from_c(sender), 0, 1, at_ms);
}

static void a_sender_over_its_burst_joins_the_third_lane_and_comes_back(void **state)
{
    (void)state;
    struct lanes *l = calloc(1, sizeof *l);
    for (int i = 0; i < LANE_BURST; i++)
        assert_int_equal(one(l, "a@x", 0), LANE_USUAL);
    assert_int_equal(one(l, "a@x", 0), LANE_BULK);
    assert_int_equal(one(l, "A@X", 0), LANE_BULK);
    assert_int_equal(one(l, "b@x", 0), LANE_USUAL);
    /* Ten a second come back. */
    assert_int_equal(one(l, "a@x", 1000), LANE_USUAL);
    free(l);
}

static void a_flood_is_not_held_against_its_sender_for_ever(void **state)
{
    (void)state;
    struct lanes *l = calloc(1, sizeof *l);
    for (int i = 0; i < 1000000; i++)
        one(l, "a@x", 0);
    assert_int_equal(one(l, "a@x", 19000), LANE_BULK);
    assert_int_equal(one(l, "a@x", 40000), LANE_USUAL);
    free(l);
}

static void an_account_is_one_sender_whatever_its_reverse_path(void **state)
{
    (void)state;
    struct lanes *l = calloc(1, sizeof *l);
    assert_int_equal(lane_choose(l, 7, STR("a@x"), 0, 1000, 0), LANE_USUAL);
    assert_int_equal(lane_choose(l, 7, STR("b@x"), 0, 1, 0), LANE_BULK);
    assert_int_equal(lane_choose(l, 8, STR("b@x"), 0, 1, 0), LANE_USUAL);
    free(l);
}

static void priority_decides_for_those_within_their_burst(void **state)
{
    (void)state;
    struct lanes *l = calloc(1, sizeof *l);
    assert_int_equal(lane_choose(l, 7, STR(""), 3, 100, 0), LANE_URGENT);
    assert_int_equal(lane_choose(l, 7, STR(""), -1, 100, 0), LANE_BULK);
    assert_int_equal(lane_choose(l, 7, STR(""), 9, 1, 0), LANE_BULK);
    free(l);
}

static void a_hundred_thousand_senders_do_not_hide_one_that_floods(void **state)
{
    (void)state;
    struct lanes *l = calloc(1, sizeof *l);
    char name[32];
    lane_choose(l, 0, STR("flood@x"), 0, LANE_BURST, 0);
    lane_choose(l, 0, STR("flood@x"), 0, LANE_BURST, 0);
    for (int i = 0; i < 100000; i++) {
        snprintf(name, sizeof name, "%d@x", i);
        assert_int_equal(one(l, name, 1), LANE_USUAL);
    }
    assert_int_equal(one(l, "flood@x", 1), LANE_BULK);
    free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sender_over_its_burst_joins_the_third_lane_and_comes_back),
        cmocka_unit_test(a_flood_is_not_held_against_its_sender_for_ever),
        cmocka_unit_test(an_account_is_one_sender_whatever_its_reverse_path),
        cmocka_unit_test(priority_decides_for_those_within_their_burst),
        cmocka_unit_test(a_hundred_thousand_senders_do_not_hide_one_that_floods),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
