#include "base/text.h"

#include "base/testing.h"

static void expect_logged(struct str bytes, size_t len_max, struct str wanted)
{
    struct buf out;
    buf_init(&out, 4096);
    text_to_log(&out, text_from(bytes), len_max);
    assert_int_equal(out.len, wanted.len);
    assert_memory_equal(out.ptr, wanted.ptr, wanted.len);
    buf_release(&out);
}

static void plain_words_stay_bare(void **state)
{
    (void)state;
    expect_logged(STR("bob@example.org"), 100, STR("bob@example.org"));
    expect_logged(STR("10.0.0.1:25"), 100, STR("10.0.0.1:25"));
}

static void everything_else_is_quoted(void **state)
{
    (void)state;
    expect_logged(STR(""), 100, STR("\"\""));
    expect_logged(STR("a b"), 100, STR("\"a b\""));
    expect_logged(STR("a=b"), 100, STR("\"a=b\""));
    expect_logged(STR("say \"hi\"\\"), 100, STR("\"say \\\"hi\\\"\\\\\""));
    expect_logged(STR("caf\xC3\xA9"), 100, STR("\"caf\xC3\xA9\""));
}

static void nothing_can_forge_a_line_or_drive_a_terminal(void **state)
{
    (void)state;
    expect_logged(STR("x\r\nlevel=error\t"), 100, STR("\"x\\r\\nlevel=error\\t\""));
    expect_logged(STR("\x1B[2J\0\x7F"), 100, STR("\"\\x1B[2J\\x00\\x7F\""));
    expect_logged(STR("\xC2\x9B!"), 100, STR("\"\\xC2\\x9B!\""));
    expect_logged(STR("\xE2\x80\xAE!"), 100, STR("\"\\xE2\\x80\\xAE!\""));
    expect_logged(STR("\xE2\x80\xA8!"), 100, STR("\"\\xE2\\x80\\xA8!\""));
    expect_logged(STR("\xE2\x82\xAC\xF0\x9F\x93\xAE"), 100,
                  STR("\"\xE2\x82\xAC\xF0\x9F\x93\xAE\""));
    expect_logged(STR("\xC0\xAF\xED\xA0\x80\xF4\x90\x80\x80"), 100,
                  STR("\"\\xC0\\xAF\\xED\\xA0\\x80\\xF4\\x90\\x80\\x80\""));
    expect_logged(STR("\xE2\x82"), 100, STR("\"\\xE2\\x82\""));
}

static void long_texts_are_cut(void **state)
{
    (void)state;
    expect_logged(STR("abcdef"), 6, STR("abcdef"));
    expect_logged(STR("abcdef"), 5, STR("\"abcde...\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_words_stay_bare),
        cmocka_unit_test(everything_else_is_quoted),
        cmocka_unit_test(nothing_can_forge_a_line_or_drive_a_terminal),
        cmocka_unit_test(long_texts_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
