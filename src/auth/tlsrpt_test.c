#include "auth/tlsrpt.h"

#include "base/testing.h"

static void every_result_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (int i = 0; i < TLSRPT_RESULTS; i++) {
        enum tlsrpt_result found = TLSRPT_RESULTS;
        struct str name = str_from_c(tlsrpt_result_name((enum tlsrpt_result)i));
        assert_true(tlsrpt_result_find(name, &found));
        assert_int_equal(found, i);
    }
    enum tlsrpt_result none;
    assert_false(tlsrpt_result_find(STR("nonsense"), &none));
}

static void policies_have_the_names_of_the_standard(void **state)
{
    (void)state;
    assert_string_equal(tlsrpt_policy_name(TLSRPT_NO_POLICY), "no-policy-found");
    assert_string_equal(tlsrpt_policy_name(TLSRPT_TLSA), "tlsa");
    assert_string_equal(tlsrpt_policy_name(TLSRPT_STS), "sts");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_result_has_a_name_of_its_own),
        cmocka_unit_test(policies_have_the_names_of_the_standard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
