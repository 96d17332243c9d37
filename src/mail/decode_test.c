#include "mail/decode.h"

#include "base/testing.h"

static void expect_text(struct str subtype, struct str encoding, struct str charset,
                        struct str body, const char *expected)
{
    struct structure_param param = {STR("charset"), charset};
    struct structure_part part = {.type = STR("text"),
                                  .subtype = subtype,
                                  .encoding = encoding,
                                  .params = &param,
                                  .param_count = charset.len > 0};
    assert_true(decode_is_text(&part));
    for (size_t piece = 1; piece < 20; piece += 3) {
        struct decoder *d = decoder_new(&part);
        struct buf out;
        buf_init(&out, 10000);
        for (struct str rest = body; rest.len > 0; rest = str_skip(rest, piece))
            buf_append_str(&out, decoder_write(d, str_sub(rest, 0, piece), false));
        buf_append_str(&out, decoder_write(d, STR(""), true));
        if (!str_eq(buf_str(&out), str_from_c(expected)))
            fail_msg("%.*s in %zu: %.*s", STR_ARG(body), piece, STR_ARG(buf_str(&out)));
        buf_release(&out);
        decoder_free(d);
    }
}

static void all_stages_work_together(void **state)
{
    (void)state;
    struct str plain = STR("plain");
    expect_text(plain, STR("7bit"), STR(""), STR("as it is"), "as it is");
    expect_text(plain, STR("base64"), STR("us-ascii"), STR("aGVs\r\nbG8="), "hello");
    expect_text(plain, STR("quoted-printable"), STR("ISO-8859-1"), STR("caf=E9=\r\n!"),
                "caf\xC3\xA9!");
    expect_text(plain, STR("8bit"), STR("koi8-r"), STR("\xF0\xF2"), "\xD0\x9F\xD0\xA0");
    expect_text(STR("html"), STR("base64"), STR("utf-8"), STR("PGI+YTwvYj4mYW1wOw=="), "a&");
}

static void the_unknown_is_left_as_it_is(void **state)
{
    (void)state;
    struct str plain = STR("plain");
    expect_text(plain, STR("x-uuencode"), STR(""), STR("begin"), "begin");
    expect_text(plain, STR("7bit"), STR("no-such-set"), STR("text"), "text");
}

static void only_text_is_text(void **state)
{
    (void)state;
    struct structure_part part = {.type = STR("image"), .subtype = STR("png")};
    assert_false(decode_is_text(&part));
}

static void headers_are_decoded_where_they_need_it(void **state)
{
    (void)state;
    struct buf scratch;
    buf_init(&scratch, 10000);
    struct str plain = STR("A: 1\r\nB: 2\r\n\r\n");
    assert_ptr_equal(decode_header(plain, &scratch).ptr, plain.ptr);
    struct str encoded = STR("A: 1\r\n 2\r\nSubject: =?utf-8?q?caf=C3=A9?=\r\n\r\n");
    assert_true(
        str_eq(decode_header(encoded, &scratch), STR("A: 1\r\n 2\nSubject: caf\xC3\xA9\n")));
    buf_release(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_stages_work_together),
        cmocka_unit_test(the_unknown_is_left_as_it_is),
        cmocka_unit_test(only_text_is_text),
        cmocka_unit_test(headers_are_decoded_where_they_need_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
