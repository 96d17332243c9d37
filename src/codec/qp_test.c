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

/* Whole, and in pieces of every size; and it decodes to what it was. */
static void expect_encoded(struct str octets, struct str wanted)
{
    for (size_t piece = 1; piece <= octets.len; piece++) {
        struct qp_encoder e = {0};
        struct qp_decoder d = {0};
        struct buf out, back;
        buf_init(&out, 4000);
        buf_init(&back, 4000);
        for (size_t at = 0; at < octets.len; at += piece)
            qp_encode(&e, &out, str_sub(octets, at, piece));
        qp_encode_end(&e, &out);
        if (wanted.ptr)
            assert_true(str_eq(buf_str(&out), wanted));
        qp_decode(&d, &back, buf_str(&out));
        qp_decode_end(&d, &back);
        assert_true(str_eq(buf_str(&back), octets));
        buf_release(&out);
        buf_release(&back);
    }
}

static void octets_that_are_not_plain_are_escaped(void **state)
{
    (void)state;
    expect_encoded(STR("caf\xC3\xA9 = 1\r\n"), STR("caf=C3=A9 =3D 1\r\n"));
    expect_encoded(STR("a\0b\x7F"), STR("a=00b=7F"));
    expect_encoded(STR("end \r\n\tend\t"), STR("end=20\r\n\tend=09"));
    expect_encoded(STR("\r\r\n\n \r"), STR("=0D\r\n=0A=20=0D"));
}

static void lines_are_short_and_none_begins_with_a_dash(void **state)
{
    (void)state;
    char line[400];
    expect_encoded(STR("--b\r\na-b"), STR("=2D-b\r\na-b"));
    for (size_t len = 60; len < sizeof line; len += 13) {
        struct qp_encoder e = {0};
        struct buf out;
        struct str rest, part;
        memset(line, '-', len);
        line[len / 2] = (char)0xE9;
        expect_encoded(str_make(line, len), (struct str){0});
        buf_init(&out, 4000);
        qp_encode(&e, &out, str_make(line, len));
        qp_encode_end(&e, &out);
        for (rest = buf_str(&out); str_split(&rest, '\n', &part);) {
            assert_true(part.len <= 77);
            assert_false(str_starts(part, STR("-")));
        }
        buf_release(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(escapes_and_soft_breaks_are_undone),
        cmocka_unit_test(padding_at_a_line_end_is_dropped_and_inside_kept),
        cmocka_unit_test(what_is_no_escape_stands_for_itself),
        cmocka_unit_test(octets_that_are_not_plain_are_escaped),
        cmocka_unit_test(lines_are_short_and_none_begins_with_a_dash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
