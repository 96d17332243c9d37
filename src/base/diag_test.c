#include "base/diag.h"

#include <string.h>

#include "base/testing.h"

static void context_goes_in_front(void **state)
{
    (void)state;
    struct diag d = {0};
    diag_set(&d, "no such %s", "table");
    diag_prefix(&d, "query %d", 7);
    diag_prefix(&d, "store");
    assert_string_equal(d.words, "store: query 7: no such table");
}

static void long_words_are_cut_and_terminated(void **state)
{
    (void)state;
    struct diag d = {0};
    char words[1000];
    memset(words, 'x', sizeof words - 1);
    words[sizeof words - 1] = '\0';
    diag_set(&d, "%s", words);
    assert_int_equal(strlen(d.words), sizeof d.words - 1);
    diag_prefix(&d, "y");
    assert_int_equal(strncmp(d.words, "y: xxx", 6), 0);
    assert_int_equal(strlen(d.words), sizeof d.words - 1);
    diag_prefix(&d, "%s", words);
    assert_int_equal(strlen(d.words), sizeof d.words - 1);
}

static void nobody_listening_is_fine(void **state)
{
    (void)state;
    diag_set(NULL, "lost");
    diag_prefix(NULL, "lost");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(context_goes_in_front),
        cmocka_unit_test(long_words_are_cut_and_terminated),
        cmocka_unit_test(nobody_listening_is_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
