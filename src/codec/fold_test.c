#include "codec/fold.h"

#include "base/testing.h"

static void expect_folded(const char *text, const char *wanted)
{
    struct buf out;
    buf_init(&out, 100000);
    fold_case(&out, str_from_c(text));
    assert_false(out.failed);
    assert_true(str_eq(buf_str(&out), str_from_c(wanted)));
    buf_release(&out);
}

static void what_people_call_the_same_is_the_same(void **state)
{
    (void)state;
    expect_folded("Hello, WORLD 42", "hello, world 42");
    expect_folded("CAF\xC3\x89", "caf\xC3\xA9");
    expect_folded("CAFE\xCC\x81 au lait", "caf\xC3\xA9 au lait");
    expect_folded("\xC3\xA9"
                  "ab\xCC\x80",
                  "\xC3\xA9"
                  "ab\xCC\x80");
    expect_folded("\xC3\xA9"
                  "aA\xCC\x80",
                  "\xC3\xA9"
                  "a\xC3\xA0");
    expect_folded("Stra\xC3\x9F"
                  "e",
                  "strasse");
    expect_folded("\xEF\xBC\xA1\xEF\xBC\xA2", "ab");
    expect_folded("so\xC2\xAD"
                  "ft",
                  "soft");
    expect_folded("\xCE\xA3\xCF\x82", "\xCF\x83\xCF\x83");
    expect_folded("x\xFFY", "x\xEF\xBF\xBDy");
    expect_folded("", "");
}

static void a_long_text_folds_like_its_parts(void **state)
{
    (void)state;
    struct buf text, wanted, out;
    buf_init(&text, 100000);
    buf_init(&wanted, 100000);
    buf_init(&out, 100000);
    for (int i = 0; i < 2000; i++) {
        buf_append_str(&text, STR("E\xCC\x81\xD0\x96"));
        buf_append_str(&wanted, STR("\xC3\xA9\xD0\xB6"));
    }
    fold_case(&out, buf_str(&text));
    assert_true(str_eq(buf_str(&out), buf_str(&wanted)));
    /* One base with more marks than any text has: cut, but all there. */
    buf_clear(&text);
    buf_clear(&out);
    for (int i = 0; i < 5000; i++)
        buf_append_str(&text, STR("\xCC\x81"));
    fold_case(&out, buf_str(&text));
    assert_true(str_eq(buf_str(&out), buf_str(&text)));
    buf_release(&text);
    buf_release(&wanted);
    buf_release(&out);
}

static void names_are_clean_or_refused(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 20);
    assert_true(fold_name(&out, STR("J\xC3\x9CRGEN")));
    assert_true(str_eq(buf_str(&out), STR("j\xC3\xBCrgen")));
    buf_clear(&out);
    assert_false(fold_name(&out, STR("a\xFF")));
    assert_false(fold_name(&out, STR("a\nb")));
    assert_false(fold_name(&out, STR("a\xC2\x80")));
    assert_true(fold_nfc(&out, STR("Jo\xCC\x88rg")));
    assert_true(str_eq(buf_str(&out), STR("J\xC3\xB6rg")));
    assert_false(fold_name(&out, STR("this is longer than the buf has room for")));
    assert_int_equal(out.len, 5);
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_people_call_the_same_is_the_same),
        cmocka_unit_test(a_long_text_folds_like_its_parts),
        cmocka_unit_test(names_are_clean_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
