#include "proto/smtp/params.h"

#include "base/testing.h"

static void parameters_come_one_by_one(void **state)
{
    (void)state;
    struct str rest = STR(" SIZE=10 SMTPUTF8 X-a1=\xc3\xa4<>");
    struct smtp_param p;
    assert_int_equal(smtp_param_next(&rest, &p), SMTP_PARAM_OK);
    assert_true(str_eq(p.keyword, STR("SIZE")) && p.has_value && str_eq(p.value, STR("10")));
    assert_int_equal(smtp_param_next(&rest, &p), SMTP_PARAM_OK);
    assert_true(str_eq(p.keyword, STR("SMTPUTF8")) && !p.has_value);
    assert_int_equal(smtp_param_next(&rest, &p), SMTP_PARAM_OK);
    assert_true(str_eq(p.keyword, STR("X-a1")) && str_eq(p.value, STR("\xc3\xa4<>")));
    assert_int_equal(smtp_param_next(&rest, &p), SMTP_PARAM_END);
}

static void malformed_parameters_are_refused(void **state)
{
    (void)state;
    static const struct str cases[] = {
        STR("SIZE=1"), STR(" "),       STR("  SIZE=1"), STR(" SIZE="),  STR(" =1"),
        STR(" -X=1"),  STR(" A=b=c"),  STR(" A\tB"),    STR(" A=\x7f"), STR(" A=\xc3"),
        STR(" A_B"),   STR(" A=\x01"), STR("\tA"),      STR(">"),
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct str rest = cases[i];
        struct smtp_param p;
        assert_int_equal(smtp_param_next(&rest, &p), SMTP_PARAM_BAD);
    }
}

static void xtext_is_decoded_strictly(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 100);
    assert_true(smtp_xtext_decode(&out, STR("e+3Dmc2@example.com+2B")));
    assert_true(str_eq(buf_str(&out), STR("e=mc2@example.com+")));
    static const struct str bad[] = {STR("a=b"), STR("a b"), STR("+"),    STR("+2"),
                                     STR("+2b"), STR("+G0"), STR("\x80"), STR("a\0")};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(smtp_xtext_decode(&out, bad[i]));
    assert_int_equal(out.len, 18);
    buf_release(&out);
}

static void what_is_encoded_is_decoded(void **state)
{
    (void)state;
    struct buf out, back;
    buf_init(&out, 100);
    buf_init(&back, 100);
    smtp_xtext_encode(&out, STR("a+b=c d\0\xFF~"));
    assert_true(str_eq(buf_str(&out), STR("a+2Bb+3Dc+20d+00+FF~")));
    assert_true(smtp_xtext_decode(&back, buf_str(&out)));
    assert_true(str_eq(buf_str(&back), STR("a+b=c d\0\xFF~")));
    buf_release(&out);
    buf_release(&back);
}

/* RFC 6533 §3 */
static void an_address_in_utf8_has_two_forms(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 100);
    struct str address = STR("\xC3\xA4+b@\\x{E4}.test\r");
    smtp_utf8_address_encode(&out, address, true);
    assert_true(str_eq(buf_str(&out), STR("\xC3\xA4\\x{2B}b@\\x{E4}.test\\x{D}")));
    buf_clear(&out);
    smtp_utf8_address_encode(&out, address, false);
    assert_true(str_eq(buf_str(&out), STR("\\x{E4}\\x{2B}b@\\x{E4}.test\\x{D}")));
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_come_one_by_one),
        cmocka_unit_test(malformed_parameters_are_refused),
        cmocka_unit_test(xtext_is_decoded_strictly),
        cmocka_unit_test(what_is_encoded_is_decoded),
        cmocka_unit_test(an_address_in_utf8_has_two_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
