#include "proto/smtp/reply.h"

#include "base/testing.h"

static void replies_are_written_in_lines(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 4096);
    struct smtp_reply reply = SMTP_REPLY(550, 5, 7, 1, "first\nsecond\r\n\xc3\xa4");
    smtp_reply_write(&out, &reply, false);
    assert_true(
        str_eq(buf_str(&out), STR("550-5.7.1 first\r\n550-5.7.1 second?\r\n550 5.7.1 ??\r\n")));
    buf_clear(&out);
    smtp_reply_write(&out, &(struct smtp_reply)SMTP_REPLY(354, 0, 0, 0, "go"), false);
    assert_true(str_eq(buf_str(&out), STR("354 go\r\n")));
    buf_clear(&out);
    smtp_reply_write(&out, &(struct smtp_reply)SMTP_REPLY(250, 2, 0, 0, "\xc3\xa4"), true);
    assert_true(str_eq(buf_str(&out), STR("250 2.0.0 \xc3\xa4\r\n")));
    buf_release(&out);
}

static void a_reply_line_is_never_too_long(void **state)
{
    (void)state;
    char text[2000];
    memset(text, 'x', sizeof text);
    struct buf out;
    buf_init(&out, 4096);
    struct smtp_reply reply = {250, 2, 0, 0, str_make(text, sizeof text)};
    smtp_reply_write(&out, &reply, false);
    assert_int_equal(out.len, SMTP_REPLY_LINE_SIZE);
    assert_true(str_ends(buf_str(&out), STR("x\r\n")));
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_are_written_in_lines),
        cmocka_unit_test(a_reply_line_is_never_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
