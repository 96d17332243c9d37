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

/* As the grammar has it, in whatever time. */
static bool matches_slowly(struct str pattern, struct str name)
{
    if (pattern.len == 0)
        return name.len == 0;
    char c = pattern.ptr[0];
    if (c != '*' && c != '%')
        return name.len > 0 && name.ptr[0] == c &&
               matches_slowly(str_skip(pattern, 1), str_skip(name, 1));
    return matches_slowly(str_skip(pattern, 1), name) ||
           (name.len > 0 && (c == '*' || name.ptr[0] != '/') &&
            matches_slowly(pattern, str_skip(name, 1)));
}

/* The number as a word of so many letters. */
static struct str word(char *out, size_t len, size_t number, const char *letters)
{
    for (size_t i = 0; i < len; i++, number /= strlen(letters))
        out[i] = letters[number % strlen(letters)];
    return str_make(out, len);
}

static size_t words(size_t len, const char *letters)
{
    size_t count = 1;
    while (len-- > 0)
        count *= strlen(letters);
    return count;
}

static void short_patterns_match_what_they_say_and_nothing_else(void **state)
{
    (void)state;
    char p[5], n[4];
    for (size_t p_len = 0; p_len <= sizeof p; p_len++)
        for (size_t i = 0; i < words(p_len, "ab/*%"); i++)
            for (size_t n_len = 0; n_len <= sizeof n; n_len++)
                for (size_t k = 0; k < words(n_len, "ab/"); k++) {
                    struct str pattern = word(p, p_len, i, "ab/*%");
                    struct str name = word(n, n_len, k, "ab/");
                    assert_int_equal(imap_pattern_matches(pattern, name),
                                     matches_slowly(pattern, name));
                }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_match_as_rfc_3501_says),
        cmocka_unit_test(short_patterns_match_what_they_say_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
