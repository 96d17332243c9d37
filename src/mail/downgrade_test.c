#include "mail/downgrade.h"

#include <stdlib.h>

#include "base/limits.h"
#include "base/testing.h"

static enum downgrade_result convert(struct str message, size_t piece, enum downgrade_target target,
                                     struct buf *out)
{
    struct downgrade *d = downgrade_new(target);
    enum downgrade_result result = DOWNGRADE_OK;
    buf_clear(out);
    for (; message.len > 0 && result == DOWNGRADE_OK; message = str_skip(message, piece))
        result = downgrade_write(d, str_sub(message, 0, piece), out);
    if (result == DOWNGRADE_OK)
        result = downgrade_end(d, out);
    downgrade_free(d);
    return result;
}

/* In pieces of many sizes. */
static void expect(struct str message, enum downgrade_target target, struct str wanted)
{
    struct buf out;
    buf_init(&out, 4 << 20);
    for (size_t piece = 1; piece <= message.len; piece += 1 + piece / 4) {
        assert_int_equal(convert(message, piece, target, &out), DOWNGRADE_OK);
        if (!str_eq(buf_str(&out), wanted))
            print_error("came out as:\n%.*s\n", (int)out.len, out.ptr);
        assert_true(str_eq(buf_str(&out), wanted));
    }
    buf_release(&out);
}

static void expect_impossible(struct str message, enum downgrade_target target)
{
    struct buf out;
    buf_init(&out, 4 << 20);
    for (size_t piece = 1; piece <= message.len; piece += 1 + piece / 4)
        assert_int_equal(convert(message, piece, target, &out), DOWNGRADE_IMPOSSIBLE);
    buf_release(&out);
}

static void what_is_within_the_target_comes_out_as_it_went_in(void **state)
{
    (void)state;
    static const char *const messages[] = {
        "Subject: x\r\n\r\nplain\r\n",
        "Subject: no end",
        "\r\n\r\n",
        "junk without a colon\r\n\r\nbody",
        "Content-Type: multipart/mixed; boundary=b\r\n\r\npre\r\n--b\r\n\r\none\r\n--b \r\n"
        "Content-Transfer-Encoding: base64\r\n\r\nAAAA\r\n--b--\r\nepilogue",
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: "
        "message/rfc822\r\n\r\n"
        "Subject: y\r\n\r\nz\r\n",
        "Content-Transfer-Encoding: x-own\r\n\r\nabc\r\n",
    };
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        expect(str_from_c(messages[i]), DOWNGRADE_TO_7BIT, str_from_c(messages[i]));
        expect(str_from_c(messages[i]), DOWNGRADE_TO_8BIT, str_from_c(messages[i]));
        assert_true(downgrade_is_needless(str_from_c(messages[i]), DOWNGRADE_TO_7BIT));
    }
    expect(STR("Content-Transfer-Encoding: 8bit\r\n\r\ncaf\xC3\xA9\r\n"), DOWNGRADE_TO_8BIT,
           STR("Content-Transfer-Encoding: 8bit\r\n\r\ncaf\xC3\xA9\r\n"));
}

static void text_becomes_quoted_printable(void **state)
{
    (void)state;
    expect(STR("MIME-Version: 1.0\r\nContent-Transfer-Encoding: 8BIT\r\nSubject: x\r\n\r\n"
               "a caf\xC3\xA9 = one \r\n"),
           DOWNGRADE_TO_7BIT,
           STR("MIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\nSubject: x\r\n"
               "\r\na caf=C3=A9 =3D one=20\r\n"));
    expect(STR("Subject: x\r\n\r\nnothing was said of caf\xE9"), DOWNGRADE_TO_7BIT,
           STR("Subject: x\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n"
               "\r\nnothing was said of caf=E9"));
}

static void what_is_hardly_ascii_becomes_base64(void **state)
{
    (void)state;
    expect(STR("MIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xD0\xB0\xD0\xB1\r\n"),
           DOWNGRADE_TO_7BIT,
           STR("MIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n\r\n0LDQsQ0K\r\n"));
}

static void composites_say_what_is_inside_them_now(void **state)
{
    (void)state;
    expect(STR("MIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=b\r\n"
               "Content-Transfer-Encoding: 8bit\r\n\r\n--b\r\n"
               "Content-Transfer-Encoding: 8bit\r\n\r\nall of it ASCII\r\n--b\r\n"
               "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
               "Subject: caf\xE9\r\n\r\na longer caf\xE9\r\n--b--\r\n"),
           DOWNGRADE_TO_7BIT,
           STR("MIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=b\r\n"
               "Content-Transfer-Encoding: 7bit\r\n\r\n--b\r\n"
               "Content-Transfer-Encoding: 7bit\r\n\r\nall of it ASCII\r\n--b\r\n"
               "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"
               "Subject: caf\xE9\r\nMIME-Version: 1.0\r\n"
               "Content-Transfer-Encoding: quoted-printable\r\n\r\na longer caf=E9\r\n--b--\r\n"));
}

static void binary_parts_become_base64_for_both_targets(void **state)
{
    (void)state;
    struct str message = STR(
        "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n"
        "Content-Transfer-Encoding: binary\r\n\r\n--b\r\n"
        "Content-Type: image/x\r\nContent-Transfer-Encoding: binary\r\n\r\n\0\r\n\n\r\r\n--b\r\n"
        "Content-Transfer-Encoding: binary\r\n\r\ncaf\xE9 with text around\r\n--b--\r\n");
    expect(
        message, DOWNGRADE_TO_8BIT,
        STR("MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n"
            "Content-Transfer-Encoding: 8bit\r\n\r\n--b\r\n"
            "Content-Type: image/x\r\nContent-Transfer-Encoding: base64\r\n\r\nAA0KCg0=\r\n--b\r\n"
            "Content-Transfer-Encoding: 8bit\r\n\r\ncaf\xE9 with text around\r\n--b--\r\n"));
    expect(
        message, DOWNGRADE_TO_7BIT,
        STR("MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n"
            "Content-Transfer-Encoding: 7bit\r\n\r\n--b\r\n"
            "Content-Type: image/x\r\nContent-Transfer-Encoding: base64\r\n\r\nAA0KCg0=\r\n--b\r\n"
            "Content-Transfer-Encoding: quoted-printable\r\n\r\ncaf=E9 with text around\r\n"
            "--b--\r\n"));
}

static void a_soft_line_break_makes_no_delimiter(void **state)
{
    (void)state;
    struct buf in, out;
    buf_init(&in, 4000);
    buf_init(&out, 400000);
    for (size_t len = 60; len < 90; len++) {
        buf_clear(&in);
        buf_append_str(&in,
                       STR("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n\xE9"));
        for (size_t i = 0; i < len; i++)
            buf_append_byte(&in, 'x');
        buf_append_str(&in, STR("--b\r\nstill the first part\r\n--b--\r\n"));
        assert_int_equal(convert(buf_str(&in), 4000, DOWNGRADE_TO_7BIT, &out), DOWNGRADE_OK);
        assert_true(str_find(buf_str(&out), STR("=\r\n--b\r\n")) < 0);
    }
    buf_release(&in);
    buf_release(&out);
}

static void what_cannot_be_encoded_is_impossible(void **state)
{
    (void)state;
    expect_impossible(STR("Subject: a\0b\r\n\r\n"), DOWNGRADE_TO_8BIT);
    expect_impossible(STR("Content-Type: message/partial\r\n\r\ncaf\xE9\r\n"), DOWNGRADE_TO_7BIT);
    expect_impossible(STR("Content-Type: message/external-body\r\n\r\ncaf\xE9"), DOWNGRADE_TO_7BIT);
    expect_impossible(
        STR("Content-Type: multipart/mixed; boundary=b\r\n\r\npre\ramble\r\n--b--\r\n"),
        DOWNGRADE_TO_7BIT);
    expect_impossible(STR("Content-Transfer-Encoding: base64\r\n\r\nAAAA\n"), DOWNGRADE_TO_7BIT);
    expect_impossible(STR("Subject: x\r\n\r\r"), DOWNGRADE_TO_7BIT);
}

static void fill(struct buf *b, const char *line, size_t len)
{
    while (b->len < len)
        buf_append_str(b, str_from_c(line));
}

/* A long part is judged by its first octets, and behind them by its label. */
static void long_parts_are_converted_by_their_label(void **state)
{
    (void)state;
    struct buf in, out;
    buf_init(&in, 4 << 20);
    buf_init(&out, 16 << 20);
    buf_append_str(&in, STR("MIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"));
    fill(&in, "ASCII only, for long\r\n", 3 * DOWNGRADE_HOLD);
    buf_append_str(&in, STR("caf\xE9\r\n"));
    assert_int_equal(convert(buf_str(&in), 70000, DOWNGRADE_TO_7BIT, &out), DOWNGRADE_OK);
    assert_true(str_ends(buf_str(&out), STR("for long\r\ncaf=E9\r\n")));
    assert_true(out.len < in.len + 40);

    buf_clear(&in);
    buf_append_str(&in, STR("Subject: x\r\n\r\n"));
    fill(&in, "ASCII only, for long\r\n", 3 * DOWNGRADE_HOLD);
    buf_append_str(&in, STR("a late caf\xE9\r\n"));
    assert_int_equal(convert(buf_str(&in), 70000, DOWNGRADE_TO_7BIT, &out), DOWNGRADE_OK);
    assert_true(str_eq(buf_str(&in), buf_str(&out)));
    buf_append_str(&in, STR("a late\rCR"));
    assert_int_equal(convert(buf_str(&in), 70000, DOWNGRADE_TO_8BIT, &out), DOWNGRADE_IMPOSSIBLE);
    buf_release(&in);
    buf_release(&out);
}

static void long_lines_are_folded_by_quoted_printable(void **state)
{
    (void)state;
    struct buf in, out;
    buf_init(&in, 4000);
    buf_init(&out, 400000);
    buf_append_str(&in, STR("Subject: x\r\n\r\n"));
    for (size_t i = 0; i < 999; i++)
        buf_append_byte(&in, 'a');
    assert_false(downgrade_is_needless(buf_str(&in), DOWNGRADE_TO_7BIT));
    assert_int_equal(convert(buf_str(&in), 100, DOWNGRADE_TO_7BIT, &out), DOWNGRADE_OK);
    assert_true(str_find(buf_str(&out), STR("aaa=\r\naaa")) > 0);
    buf_release(&in);
    buf_release(&out);
}

/* What is larger than any header may be passes through; memory stays bounded. */
static void a_header_without_end_passes_through(void **state)
{
    (void)state;
    struct buf in, out;
    buf_init(&in, 4 << 20);
    buf_init(&out, 4 << 20);
    fill(&in, "X-Field: caf\xE9\r\n", 3 * LIMIT_HEADER_SIZE);
    buf_append_str(&in, STR("\r\ncaf\xE9\r\n"));
    assert_int_equal(convert(buf_str(&in), 9999, DOWNGRADE_TO_7BIT, &out), DOWNGRADE_OK);
    assert_true(str_eq(buf_str(&in), buf_str(&out)));
    buf_release(&in);
    buf_release(&out);
}

static void a_full_buf_is_told(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 10);
    assert_int_equal(convert(STR("Subject: x\r\n\r\nplain\r\n"), 100, DOWNGRADE_TO_7BIT, &out),
                     DOWNGRADE_NO_MEMORY);
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_within_the_target_comes_out_as_it_went_in),
        cmocka_unit_test(text_becomes_quoted_printable),
        cmocka_unit_test(what_is_hardly_ascii_becomes_base64),
        cmocka_unit_test(composites_say_what_is_inside_them_now),
        cmocka_unit_test(binary_parts_become_base64_for_both_targets),
        cmocka_unit_test(a_soft_line_break_makes_no_delimiter),
        cmocka_unit_test(what_cannot_be_encoded_is_impossible),
        cmocka_unit_test(long_parts_are_converted_by_their_label),
        cmocka_unit_test(long_lines_are_folded_by_quoted_printable),
        cmocka_unit_test(a_header_without_end_passes_through),
        cmocka_unit_test(a_full_buf_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
