#include "store/clock.h"

#include "base/testing.h"

static const int64_t HOUR = 60LL * 60 * 1000;
static const int64_t DAY = 24 * 60LL * 60 * 1000;

static void it_runs_with_the_monotonic_clock_whatever_the_wall_says(void **state)
{
    (void)state;
    struct store_clock c = store_clock_start(5000, 1000000, (struct now){77, 1000000});
    assert_int_equal(store_clock_ms(&c, (struct now){77, 1000000}), 5000);
    assert_int_equal(store_clock_ms(&c, (struct now){1077, 1000000 + 400 * DAY}), 6000);
    assert_int_equal(store_clock_ms(&c, (struct now){2077, 0}), 7000);
}

static void a_pause_counts_as_the_wall_says_up_to_an_hour(void **state)
{
    (void)state;
    assert_int_equal(store_clock_after(5000, DAY, DAY + 250), 5250);
    assert_int_equal(store_clock_after(5000, DAY, DAY + HOUR), 5000 + HOUR);
    assert_int_equal(store_clock_after(5000, DAY, 400 * DAY), 5000 + HOUR);
}

static void a_wall_that_went_back_stops_nothing(void **state)
{
    (void)state;
    struct store_clock c = store_clock_start(5000, DAY, (struct now){10, 0});
    assert_int_equal(store_clock_ms(&c, (struct now){11, 1}), 5001);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_runs_with_the_monotonic_clock_whatever_the_wall_says),
        cmocka_unit_test(a_pause_counts_as_the_wall_says_up_to_an_hour),
        cmocka_unit_test(a_wall_that_went_back_stops_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
