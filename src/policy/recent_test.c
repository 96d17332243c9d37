#include "policy/recent.h"

#include <stdio.h>

#include "base/testing.h"

static void what_was_noted_is_known_for_its_time(void **state)
{
    (void)state;
    struct recent r = {0};
    struct now now = {.mono_ms = 1000};
    assert_false(recent_has(&r, STR("a"), now));
    recent_note(&r, STR("a"), 500, now);
    assert_true(recent_has(&r, STR("a"), now));
    assert_false(recent_has(&r, STR("b"), now));
    now.mono_ms = 1499;
    assert_true(recent_has(&r, STR("a"), now));
    now.mono_ms = 1500;
    assert_false(recent_has(&r, STR("a"), now));
}

static void the_oldest_makes_room(void **state)
{
    (void)state;
    static char names[RECENT_MAX + 1][16];
    struct recent r = {0};
    struct now now = {.mono_ms = 1};
    for (int i = 0; i <= RECENT_MAX; i++) {
        snprintf(names[i], sizeof names[i], "host%d", i);
        recent_note(&r, str_from_c(names[i]), 1000, now);
    }
    assert_false(recent_has(&r, STR("host0"), now));
    for (int i = 1; i <= RECENT_MAX; i++)
        assert_true(recent_has(&r, str_from_c(names[i]), now));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_noted_is_known_for_its_time),
        cmocka_unit_test(the_oldest_makes_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
