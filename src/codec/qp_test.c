#include "codec/qp.h"

#include "base/testing.h"

/* Whole, and in pieces of every size. */
static void expect_decoded(struct str text, struct str wanted)
{
    for (size_t piece = 1; piece <= text.len; piece++) {
        struct qp_decoder d = {0};
        struct buf out;
        buf_init(&out, 1000);
        for (size_t at = 0; at < text.len; at += piece)
            qp_decode(&d, &out, str_sub(text, at, piece));
        qp_decode_end(&d, &out);
        assert_int_equal(out.len, wanted.len);
        if (wanted.len > 0)
            assert_memory_equal(out.ptr, wanted.ptr, wanted.len);
        buf_release(&out);
    }
}

static void escapes_and_soft_breaks_are_undone(void **state)
{
    (void)state;
    expect_decoded(STR("caf=C3=A9"), STR("caf\xC3\xA9"));
    expect_decoded(STR("caf=c3=a9=3d"), STR("caf\xC3\xA9="));
    expect_decoded(STR("one=\r\n line\r\n"), STR("one line\r\n"));
    expect_decoded(STR("one= \t\r\n line"), STR("one line"));
    expect_decoded(STR("one=\nline"), STR("oneline"));
    expect_decoded(STR("a=00b"), STR("a\0b"));
}

static void padding_at_a_line_end_is_dropped_and_inside_kept(void **state)
{
    (void)state;
    expect_decoded(STR("a b \t\r\n c \r\n"), STR("a b\r\n c\r\n"));
    expect_decoded(STR("end "), STR("end"));
    expect_decoded(STR("kept=20\r\n"), STR("kept \r\n"));
}

static void what_is_no_escape_stands_for_itself(void **state)
{
    (void)state;
    expect_decoded(STR("1+1=2 a=GHb"), STR("1+1=2 a=GHb"));
    expect_decoded(STR("x=4"), STR("x=4"));
    expect_decoded(STR("x="), STR("x="));
    expect_decoded(STR("x==41"), STR("x=A"));
    expect_decoded(STR("x=4=41"), STR("x=4A"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(escapes_and_soft_breaks_are_undone),
        cmocka_unit_test(padding_at_a_line_end_is_dropped_and_inside_kept),
        cmocka_unit_test(what_is_no_escape_stands_for_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
