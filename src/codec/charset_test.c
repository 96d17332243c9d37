#include "codec/charset.h"

#include "base/testing.h"

/* Whole, and in pieces of every size. */
static void expect_utf8(struct str name, struct str text, struct str wanted)
{
    for (size_t piece = 1; piece <= text.len; piece++) {
        struct charset_decoder d;
        struct buf out;
        buf_init(&out, 1000);
        assert_int_equal(charset_open(&d, name), STATUS_OK);
        for (size_t at = 0; at < text.len; at += piece)
            charset_decode(&d, &out, str_sub(text, at, piece));
        charset_decode_end(&d, &out);
        charset_close(&d);
        assert_int_equal(out.len, wanted.len);
        assert_memory_equal(out.ptr, wanted.ptr, wanted.len);
        buf_release(&out);
    }
}

static void the_sets_of_mail_are_read(void **state)
{
    (void)state;
    expect_utf8(STR("UTF-8"), STR("\xC3\x9F\xF0\x9F\x8D\x8Cx"), STR("\xC3\x9F\xF0\x9F\x8D\x8Cx"));
    expect_utf8(STR("us-ascii"), STR("plain"), STR("plain"));
    expect_utf8(STR("ISO-8859-1"), STR("\xE9 \x80"), STR("\xC3\xA9 \xE2\x82\xAC"));
    expect_utf8(STR("iso-8859-15"), STR("\xA4"), STR("\xE2\x82\xAC"));
    expect_utf8(STR("koi8-r"), STR("\xC1"), STR("\xD0\xB0"));
    expect_utf8(STR("Shift_JIS"), STR("\x93\xFA\x96{"), STR("\xE6\x97\xA5\xE6\x9C\xAC"));
    expect_utf8(STR("iso-2022-jp"), STR("\x1B$B\x46|\x1B(B!"), STR("\xE6\x97\xA5!"));
    expect_utf8(STR("gb2312"), STR("\xC4\xE3"), STR("\xE4\xBD\xA0"));
    expect_utf8(STR("big5"), STR("\xA7\x41"), STR("\xE4\xBD\xA0"));
    expect_utf8(STR("euc-kr"), STR("\xB0\xA1"), STR("\xEA\xB0\x80"));
    expect_utf8(STR("utf-7"), STR("+ZeVnLA-"), STR("\xE6\x97\xA5\xE6\x9C\xAC"));
    expect_utf8(STR("utf-16le"), STR("\x3C\xD8\x4C\xDF"), STR("\xF0\x9F\x8D\x8C"));
}

static void broken_text_becomes_replacement_characters(void **state)
{
    (void)state;
    expect_utf8(STR("utf-8"), STR("a\xE2\x82"), STR("a\xEF\xBF\xBD"));
    expect_utf8(STR("utf-8"), STR("\xF0\x9F\x8D\xC3\x9F"), STR("\xEF\xBF\xBD\xC3\x9F"));
    expect_utf8(STR("utf-8"), STR("\xE0\x80!"), STR("\xEF\xBF\xBD\xEF\xBF\xBD!"));
    expect_utf8(STR("utf-16le"), STR("\x3C\xD8!\0"), STR("\xEF\xBF\xBD!"));
    expect_utf8(STR("shift_jis"), STR("a\x93"), STR("a\xEF\xBF\xBD"));
}

static void an_unknown_set_is_told_and_read_as_utf8(void **state)
{
    (void)state;
    struct charset_decoder d;
    struct buf out;
    buf_init(&out, 100);
    assert_false(charset_known(STR("x-user-defined")));
    assert_false(charset_to_utf8(&out, STR("scsu"), STR("a")));
    assert_int_equal(charset_open(&d, STR("")), STATUS_NOT_FOUND);
    charset_decode(&d, &out, STR("\xC3\x9F"));
    charset_close(&d);
    assert_true(str_eq(buf_str(&out), STR("\xC3\x9F")));
    buf_release(&out);
}

static void output_is_bounded(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 10);
    assert_true(charset_to_utf8(&out, STR("koi8-r"), STR("\xC1\xC1\xC1\xC1\xC1\xC1\xC1\xC1")));
    assert_true(out.failed);
    assert_int_equal(out.len, 10);
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_sets_of_mail_are_read),
        cmocka_unit_test(broken_text_becomes_replacement_characters),
        cmocka_unit_test(an_unknown_set_is_told_and_read_as_utf8),
        cmocka_unit_test(output_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
