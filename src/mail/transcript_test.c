#include "mail/transcript.h"

#include <stdlib.h>

#include "base/testing.h"

static void see(struct buf *out, const struct transcript_event *event)
{
    if (event->begins)
        buf_printf(out, "\n%c%u:", event->is_header ? 'H' : 'B', event->part);
    buf_append_str(out, event->text);
}

/* Each text behind "H" or "B" and the number of its part. */
static void transcribe(struct str message, size_t piece, struct buf *out)
{
    struct transcript *t = malloc(sizeof *t);
    struct transcript_event event;
    transcript_init(t);
    for (; message.len > 0; message = str_skip(message, piece)) {
        struct str bytes = str_sub(message, 0, piece);
        while (transcript_next(t, &bytes, &event))
            see(out, &event);
    }
    while (transcript_end(t, &event))
        see(out, &event);
    assert_false(t->failed);
    transcript_release(t);
    free(t);
}

static void texts_come_in_order_and_whole(void **state)
{
    (void)state;
    struct str message =
        STR("Content-Type: multipart/mixed; boundary=b\n\n"
            "--b\nContent-Transfer-Encoding: base64\n\naGVsbG8=\n"
            "--b\nContent-Type: image/png\n\nhidden\n"
            "--b\nContent-Type: text/html\n\nx<p>y&am\n"
            "--b\nContent-Type: message/rfc822\n\nSubject: =?utf-8?q?a?=\n\nin\n--b--");
    struct str expected = STR("\nH0:Content-Type: multipart/mixed; boundary=b\n\n"
                              "\nH1:Content-Transfer-Encoding: base64\n\n"
                              "\nB1:hello"
                              "\nH2:Content-Type: image/png\n\n"
                              "\nH3:Content-Type: text/html\n\n"
                              "\nB3:x y&am\n"
                              "\nH4:Content-Type: message/rfc822\n\n"
                              "\nH5:Subject: a\n"
                              "\nB5:in\n");
    for (size_t piece = 1; piece < 300; piece += 1 + piece / 2) {
        struct buf out;
        buf_init(&out, 10000);
        transcribe(message, piece, &out);
        if (!str_eq(buf_str(&out), expected))
            fail_msg("in %zu: %.*s", piece, STR_ARG(buf_str(&out)));
        buf_release(&out);
    }
}

static void large_bodies_pass_through(void **state)
{
    (void)state;
    struct buf message;
    struct buf out;
    buf_init(&message, 1 << 20);
    buf_init(&out, 1 << 20);
    buf_append_str(&message, STR("A: 1\n\n"));
    while (message.len < 200000)
        buf_append_str(&message, STR("a line of the body\n"));
    transcribe(buf_str(&message), message.len, &out);
    assert_int_equal(out.len, message.len + 8);
    buf_release(&message);
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_come_in_order_and_whole),
        cmocka_unit_test(large_bodies_pass_through),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
