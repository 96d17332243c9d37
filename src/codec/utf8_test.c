#include "codec/utf8.h"

#include "base/testing.h"

static void every_scalar_value_comes_back(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 8);
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        if (c >= 0xD800 && c <= 0xDFFF)
            continue;
        buf_clear(&out);
        utf8_put(&out, c);
        struct str rest = buf_str(&out);
        uint32_t back;
        assert_true(utf8_next(&rest, &back));
        assert_int_equal(back, c);
        assert_int_equal(rest.len, 0);
    }
    buf_release(&out);
}

static void what_rfc_3629_forbids_is_not_valid(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\x80",
        "\xC0\xAF",
        "\xC1\xBF",
        "\xE0\x9F\xBF",
        "\xED\xA0\x80",
        "\xF0\x8F\xBF\xBF",
        "\xF4\x90\x80\x80",
        "\xF5\x80\x80\x80",
        "\xFE",
        "\xC3",
        "\xE2\x82",
        "\xC3(",
        "\xF8\x88\x80\x80\x80",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(utf8_valid(str_from_c(bad[i])));
    assert_true(utf8_valid(STR("z\xC3\x9F\xE6\xB0\xB4\xF0\x9F\x8D\x8C")));
    assert_true(utf8_valid(STR("\0")));
    assert_false(utf8_is_ascii(STR("a\xC3\x9F")));
    assert_true(utf8_is_ascii(STR("a\0\x7F")));
}

static void repair_puts_one_mark_for_each_broken_start(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 100);
    utf8_repair(&out, STR("a\xF0\x9F\x8D(b\x80\x80\xC3\x9F"));
    assert_true(str_eq(buf_str(&out), STR("a\xEF\xBF\xBD(b\xEF\xBF\xBD\xEF\xBF\xBD\xC3\x9F")));
    buf_clear(&out);
    utf8_repair(&out, STR("ok\xE2\x82"));
    assert_true(str_eq(buf_str(&out), STR("ok\xEF\xBF\xBD")));
    buf_clear(&out);
    utf8_put(&out, 0xD800);
    assert_true(str_eq(buf_str(&out), STR("\xEF\xBF\xBD")));
    buf_release(&out);
}

static void a_prefix_cuts_no_character(void **state)
{
    (void)state;
    struct str s = STR("ab\xF0\x9F\x8D\x8C!");
    for (size_t max = 2; max < 6; max++)
        assert_int_equal(utf8_prefix(s, max).len, 2);
    assert_int_equal(utf8_prefix(s, 6).len, 6);
    assert_int_equal(utf8_prefix(s, 100).len, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_scalar_value_comes_back),
        cmocka_unit_test(what_rfc_3629_forbids_is_not_valid),
        cmocka_unit_test(repair_puts_one_mark_for_each_broken_start),
        cmocka_unit_test(a_prefix_cuts_no_character),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
