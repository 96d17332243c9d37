#include "policy/retry.h"

#include "base/limits.h"
#include "base/testing.h"

enum { DAY = 86400000, HOUR = 3600000 };

static const uint64_t steps[] = {60000, 300000, 4 * HOUR};
static const struct retry_schedule schedule = {steps, 3};

static void assert_about(int64_t ms, int64_t step)
{
    assert_in_range(ms, step - step / 8, step + step / 8);
}

static void a_recipient_follows_the_schedule_and_then_its_last_step(void **state)
{
    (void)state;
    for (uint64_t random = 0; random < 5000000; random += 4999) {
        assert_about(retry_recipient_in(&schedule, 1, DAY, random), 60000);
        assert_about(retry_recipient_in(&schedule, 2, DAY, random), 300000);
        assert_about(retry_recipient_in(&schedule, 3, DAY, random), 4 * HOUR);
        assert_about(retry_recipient_in(&schedule, 4000000000, DAY, random), 4 * HOUR);
    }
}

static void what_failed_together_does_not_come_back_together(void **state)
{
    (void)state;
    int64_t least = INT64_MAX, most = 0;
    for (uint64_t random = 0; random < 15001; random++) {
        int64_t ms = retry_recipient_in(&schedule, 1, DAY, random);
        least = ms < least ? ms : least;
        most = ms > most ? ms : most;
    }
    assert_int_equal(least, 52500);
    assert_int_equal(most, 67500);
}

static void the_last_attempt_is_made_when_the_message_expires(void **state)
{
    (void)state;
    assert_int_equal(retry_recipient_in(&schedule, 3, 1000, 7), 1000);
    assert_int_equal(retry_recipient_in(&schedule, 3, 1, 7), 1);
    assert_int_equal(retry_recipient_in(&schedule, 1, 0, 7), -1);
    assert_int_equal(retry_recipient_in(&schedule, 1, -5, 7), -1);
}

static void a_destination_is_never_left_alone_for_long(void **state)
{
    (void)state;
    assert_about(retry_destination_in(&schedule, 1, 99), 60000);
    assert_about(retry_destination_in(&schedule, 0, 99), 60000);
    for (uint64_t random = 0; random < 2000000; random += 4999)
        assert_in_range(retry_destination_in(&schedule, 50, random),
                        LIMIT_DESTINATION_RETRY_MS * 3 / 4, LIMIT_DESTINATION_RETRY_MS);
    /* A step that is only nearly as long as that is made longer by chance, too. */
    const uint64_t nearly_ms = LIMIT_DESTINATION_RETRY_MS - 1;
    const struct retry_schedule long_steps = {&nearly_ms, 1};
    for (uint64_t random = 0; random < 2000000; random += 4999)
        assert_in_range(retry_destination_in(&long_steps, 1, random),
                        LIMIT_DESTINATION_RETRY_MS * 3 / 4, LIMIT_DESTINATION_RETRY_MS);
}

static void attention_is_due_for_the_notice_and_then_for_the_end(void **state)
{
    (void)state;
    assert_int_equal(retry_attention_ms(100, 100 + DAY, 4 * HOUR, true), 100 + 4 * HOUR);
    assert_int_equal(retry_attention_ms(100, 100 + DAY, 4 * HOUR, false), 100 + DAY);
    assert_int_equal(retry_attention_ms(100, 100 + HOUR, 4 * HOUR, true), 100 + HOUR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_recipient_follows_the_schedule_and_then_its_last_step),
        cmocka_unit_test(what_failed_together_does_not_come_back_together),
        cmocka_unit_test(the_last_attempt_is_made_when_the_message_expires),
        cmocka_unit_test(a_destination_is_never_left_alone_for_long),
        cmocka_unit_test(attention_is_due_for_the_notice_and_then_for_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
