#include "cli/sendmail_message.h"

#include "base/testing.h"

static const char *text_of(struct buf *out, struct str raw, size_t line_size_max, bool ignore_dots)
{
    buf_init(out, 10000);
    assert_true(sendmail_read_text(out, raw, line_size_max, ignore_dots));
    buf_append_byte(out, '\0');
    return out->ptr;
}

static void every_line_end_is_one(void **state)
{
    (void)state;
    static const struct {
        struct str raw;
        size_t line_size_max;
        bool ignore_dots;
        const char *expected;
    } cases[] = {
        {STR("a\nb\r\nc\rd"), 1000, false, "a\r\nb\r\nc\r\nd\r\n"},
        {STR("a\n\n\r\rb\n"), 1000, false, "a\r\n\r\n\r\n\r\nb\r\n"},
        {STR("a\0b\n"), 1000, false, "ab\r\n"},
        {STR("a\n.\nb\n"), 1000, false, "a\r\n"},
        {STR("a\n.\nb\n"), 1000, true, "a\r\n.\r\nb\r\n"},
        {STR("a\n..\n.b\n"), 1000, false, "a\r\n..\r\n.b\r\n"},
        {STR("12345678901\n12345\n123456\n"), 7, false,
         "12345\r\n67890\r\n1\r\n12345\r\n12345\r\n6\r\n"},
        {STR(""), 1000, false, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf out;
        assert_string_equal(
            text_of(&out, cases[i].raw, cases[i].line_size_max, cases[i].ignore_dots),
            cases[i].expected);
        buf_release(&out);
    }
}

static void a_header_ends_where_no_field_is(void **state)
{
    (void)state;
    static const struct {
        struct str text, header, body;
    } cases[] = {
        {STR("To: a\r\nX: b\r\n c\r\n\r\nbody\r\n"), STR("To: a\r\nX: b\r\n c\r\n"),
         STR("body\r\n")},
        {STR("To: a\r\nbody\r\n"), STR("To: a\r\n"), STR("body\r\n")},
        {STR("To : a\r\n\r\nbody\r\n"), STR("To : a\r\n"), STR("body\r\n")},
        {STR("hello: there is\r\nno header\r\n"), STR("hello: there is\r\n"), STR("no header\r\n")},
        {STR("no header\r\n"), STR(""), STR("no header\r\n")},
        {STR(" no header\r\n"), STR(""), STR(" no header\r\n")},
        {STR("\r\nbody\r\n"), STR(""), STR("body\r\n")},
        {STR("From me Mon\r\nTo: a\r\n\r\nbody\r\n"), STR("To: a\r\n"), STR("body\r\n")},
        {STR("To: a\r\n"), STR("To: a\r\n"), STR("")},
        {STR(""), STR(""), STR("")},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sendmail_parts parts = sendmail_split(cases[i].text);
        assert_true(str_eq(parts.header, cases[i].header));
        assert_true(str_eq(parts.body, cases[i].body));
    }
}

static void recipients_are_addresses_with_a_domain(void **state)
{
    (void)state;
    struct buf out;
    struct str bad = {0};
    buf_init(&out, 10000);
    assert_true(sendmail_put_addresses(&out, STR("root, Ann <ann@b.test>"), STR("a.test"), &bad));
    assert_true(sendmail_put_header_addresses(
        &out, STR("To: x\r\nX-To: no\r\nCc: g: y@b.test,\r\n z;\r\nBcc: w\r\n"), STR("a.test"),
        &bad));
    assert_true(str_eq(buf_str(&out), STR("root@a.test\0ann@b.test\0x@a.test\0y@b.test\0z@a.test\0"
                                          "w@a.test")));
    assert_false(sendmail_put_addresses(&out, STR("a@b..c"), STR("a.test"), &bad));
    assert_true(str_eq(bad, STR("a@b..c")));
    buf_release(&out);
}

static void what_is_sent_again_goes_to_its_new_recipients(void **state)
{
    (void)state;
    struct buf out;
    struct str bad = {0};
    buf_init(&out, 10000);
    assert_true(sendmail_put_header_addresses(
        &out, STR("Resent-From: me\r\nresent-to: x\r\nResent-Bcc: y\r\nTo: old\r\nBcc: old\r\n"),
        STR("a.test"), &bad));
    assert_true(str_eq(buf_str(&out), STR("x@a.test\0y@a.test")));
    buf_clear(&out);
    assert_true(sendmail_put_header_addresses(&out, STR("Resent-From: me\r\nTo: old\r\n"),
                                              STR("a.test"), &bad));
    assert_int_equal(out.len, 0); /* which -t calls an error */
    struct sendmail_parts parts = {STR("Resent-To: x\r\nResent-Bcc: y\r\nFrom: z\r\n"), STR("")};
    assert_true(sendmail_put_message(&out, &parts, STR("root@a.test"), STR("")));
    assert_true(str_eq(buf_str(&out), STR("Resent-To: x\r\nFrom: z\r\n\r\n")));
    buf_release(&out);
}

static void a_message_has_from_and_no_bcc(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 10000);
    struct sendmail_parts parts = {STR("To: a\r\nBCC: b\r\n c\r\nX: y\r\n"), STR("body\r\n")};
    assert_true(sendmail_put_message(&out, &parts, STR("root@a.test"), STR("a \"b\" \\")));
    assert_true(str_eq(buf_str(&out), STR("From: \"a \\\"b\\\" \\\\\" <root@a.test>\r\nTo: a\r\n"
                                          "X: y\r\n\r\nbody\r\n")));
    buf_clear(&out);
    parts.header = STR("from: me\r\n");
    assert_true(sendmail_put_message(&out, &parts, STR("root@a.test"), STR("")));
    assert_true(str_eq(buf_str(&out), STR("from: me\r\n\r\nbody\r\n")));
    buf_clear(&out);
    parts.header = STR("");
    assert_true(sendmail_put_message(&out, &parts, STR("root@a.test"), STR("")));
    assert_true(str_eq(buf_str(&out), STR("From: <root@a.test>\r\n\r\nbody\r\n")));
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_line_end_is_one),
        cmocka_unit_test(a_header_ends_where_no_field_is),
        cmocka_unit_test(recipients_are_addresses_with_a_domain),
        cmocka_unit_test(what_is_sent_again_goes_to_its_new_recipients),
        cmocka_unit_test(a_message_has_from_and_no_bcc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
