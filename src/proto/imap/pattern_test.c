#include "proto/imap/pattern.h"

#include "base/testing.h"

static bool matches(const char *pattern, const char *name)
{
    return imap_pattern_matches(str_from_c(pattern), str_from_c(name));
}

static void patterns_match_as_rfc_3501_says(void **state)
{
    (void)state;
    assert_true(matches("*", "a/b/c"));
    assert_true(matches("%", "a"));
    assert_false(matches("%", "a/b"));
    assert_true(matches("a/%", "a/b"));
    assert_false(matches("a/%", "a/b/c"));
    assert_true(matches("%/%", "a/b"));
    assert_true(matches("*b", "a/b"));
    assert_true(matches("a*%", "a"));
    assert_true(matches("iNbOx", "INBOX"));
    assert_false(matches("a", "A"));
    assert_false(matches("", "a"));
    assert_true(matches("**%%a**", "xa"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_match_as_rfc_3501_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
