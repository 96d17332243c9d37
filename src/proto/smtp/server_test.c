/* What dialogues cannot say: the contract between the engine and its owner. */

#include <malloc.h>

#include "base/testing.h"
#include "base/testing_secret.h"
#include "proto/smtp/server_state.h"

static const struct now now = {1000, 1000};

static struct smtp_listener mx(void)
{
    return (struct smtp_listener){
        .kind = SMTP_LISTENER_MX, .hostname = STR("mx.demo.test"), .limits = smtp_limits_default};
}

static void write_all(struct smtp_server *s)
{
    smtp_server_output_done(s, smtp_server_output(s).len);
}

static struct smtp_server *begin(const struct smtp_listener *listener)
{
    struct smtp_server *s = smtp_server_new(listener, false, now);
    assert_non_null(s);
    assert_true(str_starts(smtp_server_output(s), STR("220 mx.demo.test ")));
    write_all(s);
    return s;
}

/* Feeds all, accepting everything; the output is thrown away. */
static void feed(struct smtp_server *s, struct str in)
{
    size_t n;
    do {
        n = smtp_server_input(s, in, 0, now);
        in = str_skip(in, n);
        struct smtp_event e;
        while (smtp_server_next(s, &e))
            if (e.token != 0)
                smtp_server_answer(s, e.token, (struct smtp_reply){0}, now);
        write_all(s);
    } while (n > 0);
    assert_int_equal(in.len, 0);
}

static void an_idle_engine_is_small(void **state)
{
    (void)state;
    struct smtp_listener l = mx();
    struct smtp_server *s = begin(&l);
    feed(s, STR("EHLO a.rather.long.name.of.a.client.example.org\r\nMAIL FR"));
    feed(s, STR("OM:<a@b.c>\r\nRCPT TO:<alice@demo.test>\r\n"));
    size_t size = malloc_usable_size(s) + s->helo.cap + s->line.cap + s->decoded.cap + s->out.cap;
    print_message("%zu octets\n", size);
    assert_in_range(size, 1, 2048);
    smtp_server_free(s);
}

static void a_question_holds_the_pipeline(void **state)
{
    (void)state;
    struct smtp_listener l = mx();
    struct smtp_server *s = begin(&l);
    feed(s, STR("EHLO c\r\n"));
    struct str in = STR("MAIL FROM:<a@b.c>\r\nNOOP\r\n");
    struct smtp_event e;
    assert_int_equal(smtp_server_input(s, in, 0, now), 19);
    assert_int_equal(smtp_server_input(s, str_skip(in, 19), 0, now), 0);
    assert_true(smtp_server_next(s, &e));
    assert_int_equal(e.kind, SMTP_EVENT_SENDER);
    assert_false(smtp_server_next(s, &(struct smtp_event){0}));
    assert_int_equal(smtp_server_input(s, str_skip(in, 19), 0, now), 0);
    assert_true(smtp_server_deadline(s) == NEVER_MS);
    smtp_server_answer(s, e.token, (struct smtp_reply){0}, now);
    assert_int_equal(smtp_server_input(s, str_skip(in, 19), 0, now), 6);
    assert_true(str_eq(smtp_server_output(s), STR("250 2.1.0 sender taken\r\n250 2.0.0 fine\r\n")));
    smtp_server_free(s);
}

static void what_is_held_back_leaves_with_the_end_of_the_dialogue(void **state)
{
    (void)state;
    struct smtp_listener l = mx();
    struct smtp_server *s = begin(&l);
    struct smtp_event e;
    l.limits.unknown_recipients = 0;
    feed(s, STR("EHLO c\r\nMAIL FROM:<a@b.c>\r\n"));
    smtp_server_input(s, STR("RCPT TO:<bob@demo.test>\r\n"), 0, now);
    assert_true(smtp_server_next(s, &e));
    smtp_server_answer(s, e.token, (struct smtp_reply)SMTP_REPLY(421, 4, 3, 2, "not now"), now);
    while (smtp_server_next(s, &e))
        ;
    assert_int_equal(e.kind, SMTP_EVENT_CLOSE);
    assert_true(str_eq(smtp_server_output(s), STR("421 4.3.2 not now\r\n")));
    smtp_server_free(s);
}

/* So many may be wrong before the answers come late. */
static void who_guesses_too_often_waits(void **state)
{
    (void)state;
    struct smtp_listener l = mx();
    struct smtp_server *s = begin(&l);
    struct smtp_event e;
    l.limits.unknown_recipients = 2;
    l.limits.tarpit_ms = 5000;
    feed(s, STR("EHLO c\r\nMAIL FROM:<a@b.c>\r\n"));
    for (int i = 0; i < 3; i++) {
        smtp_server_input(s, STR("RCPT TO:<bob@demo.test>\r\n"), 0, now);
        assert_true(smtp_server_next(s, &e));
        smtp_server_answer(s, e.token, (struct smtp_reply)SMTP_REPLY(550, 5, 1, 1, "who"), now);
        assert_int_equal(smtp_server_output(s).len > 0, i < 2);
        write_all(s);
    }
    assert_int_equal(smtp_server_deadline(s), now.mono_ms + 5000);
    smtp_server_tick(s, (struct now){now.mono_ms + 5000, now.wall_ms});
    assert_true(str_eq(smtp_server_output(s), STR("550 5.1.1 who\r\n")));
    smtp_server_free(s);
}

/* Whole or in two pieces, with the command or behind it, right or wrong. */
static void a_password_leaves_nothing_behind(void **state)
{
    (void)state;
    static const char *const before[] = {"AUTH PLAIN ", "AUTH PLAIN ?", "AUTH NONE "};
    struct smtp_listener l = mx();
    l.kind = SMTP_LISTENER_SUBMISSIONS;
    l.auth_mechanisms = STR("PLAIN");
    for (unsigned number = 0; number < 6; number++) {
        struct smtp_server *s = smtp_server_new(&l, true, now);
        struct smtp_event e;
        write_all(s);
        feed(s, STR("EHLO c\r\n"));
        struct testing_page page = testing_page_new(before[number % 3], number, "QUI\r\n");
        struct str all = {page.ptr, page.len}, head = str_sub(all, 0, number < 3 ? 20 : all.len);
        smtp_server_input(s, head, 0, now);
        smtp_server_input(s, str_skip(all, head.len), 0, now);
        testing_page_free(&page);
        assert_true(smtp_server_output(s).len > 0 || s->question_token != 0);
        if (smtp_server_next(s, &e) && e.token != 0)
            smtp_server_answer_auth_failure(s, e.token, SMTP_AUTH_BAD_CREDENTIALS, now);
        write_all(s);
        assert_false(testing_memory_holds(number));
        smtp_server_free(s);
    }
}

static void a_client_that_does_not_read_is_not_read(void **state)
{
    (void)state;
    struct smtp_listener l = mx();
    struct smtp_server *s = begin(&l);
    size_t taken = 0;
    for (int i = 0; i < 100000; i++)
        taken += smtp_server_input(s, STR("HELP\r\n"), 0, now);
    assert_in_range(taken, 6, 6 * 200);
    assert_in_range(s->out.cap, 1, 16384);
    write_all(s);
    assert_int_equal(smtp_server_input(s, STR("HELP\r\n"), 0, now), 6);
    smtp_server_free(s);
}

static void octets_of_a_message_are_not_copied(void **state)
{
    (void)state;
    struct smtp_listener l = mx();
    struct smtp_server *s = begin(&l);
    feed(s, STR("EHLO c\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<alice@demo.test>\r\nDATA\r\n"));
    struct str in = STR("one\r\ntwo\r\nthree\r\n..four\r\n.\r\n");
    struct smtp_event e;
    size_t n = smtp_server_input(s, in, 0, now);
    assert_int_equal(n, 17);
    assert_true(smtp_server_next(s, &e));
    assert_ptr_equal(e.body.ptr, in.ptr);
    assert_int_equal(e.body.len, 17);
    n += smtp_server_input(s, str_skip(in, n), 0, now);
    assert_int_equal(n, 25);
    assert_true(smtp_server_next(s, &e));
    assert_ptr_equal(e.body.ptr, in.ptr + 18);
    n += smtp_server_input(s, str_skip(in, n), 0, now);
    assert_true(smtp_server_next(s, &e));
    assert_int_equal(e.kind, SMTP_EVENT_BODY_END);
    assert_int_equal(n, in.len);
    smtp_server_free(s);
}

static void an_answer_after_the_end_is_ignored(void **state)
{
    (void)state;
    struct smtp_listener l = mx();
    struct smtp_server *s = begin(&l);
    feed(s, STR("EHLO c\r\n"));
    struct smtp_event e, end;
    smtp_server_input(s, STR("MAIL FROM:<a@b.c>\r\n"), 0, now);
    assert_true(smtp_server_next(s, &e));
    smtp_server_peer_gone(s);
    assert_true(smtp_server_next(s, &end));
    assert_int_equal(end.kind, SMTP_EVENT_CLOSE);
    smtp_server_answer(s, e.token, (struct smtp_reply){0}, now);
    assert_false(smtp_server_next(s, &end));
    assert_int_equal(smtp_server_output(s).len, 0);
    smtp_server_free(s);
}

/* A message whose end the owner has pulled is the owner's; before, it is given up. */
static void a_message_not_yet_handed_over_is_aborted(void **state)
{
    (void)state;
    struct smtp_listener l = mx();
    for (int pulled = 0; pulled < 2; pulled++) {
        struct smtp_server *s = begin(&l);
        feed(s, STR("EHLO c\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<alice@demo.test>\r\nDATA\r\n"));
        struct smtp_event e;
        assert_int_equal(smtp_server_input(s, STR(".\r\n"), 0, now), 3);
        if (pulled)
            assert_true(smtp_server_next(s, &e));
        smtp_server_peer_gone(s);
        assert_true(smtp_server_next(s, &e));
        assert_int_equal(e.kind, pulled ? SMTP_EVENT_CLOSE : SMTP_EVENT_ABORT);
        smtp_server_free(s);
    }
}

/* Offered again later, octets keep the number they were read under. */
static void only_octets_read_after_the_acknowledgement_confirm(void **state)
{
    (void)state;
    struct smtp_listener l = mx();
    struct smtp_server *s = smtp_server_new(&l, false, now);
    uint64_t written = smtp_server_output(s).len;
    write_all(s);
    struct str in = STR("EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.c>\r\nBDAT 0 LAST\r\nNOOP\r\n");
    size_t n;
    do {
        n = smtp_server_input(s, in, written, now);
        in = str_skip(in, n);
        struct smtp_event e;
        while (smtp_server_next(s, &e)) {
            assert_int_not_equal(e.kind, SMTP_EVENT_REPLY_SEEN);
            if (e.token != 0)
                smtp_server_answer(s, e.token, (struct smtp_reply){0}, now);
        }
    } while (n > 0);
    written += smtp_server_output(s).len;
    write_all(s);
    struct smtp_event e;
    assert_int_equal(smtp_server_input(s, STR("NOOP\r\n"), 20, now), 6);
    assert_false(smtp_server_next(s, &e));
    assert_int_equal(smtp_server_input(s, STR("NOOP\r\n"), written, now), 6);
    assert_true(smtp_server_next(s, &e));
    assert_int_equal(e.kind, SMTP_EVENT_REPLY_SEEN);
    smtp_server_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_idle_engine_is_small),
        cmocka_unit_test(a_question_holds_the_pipeline),
        cmocka_unit_test(what_is_held_back_leaves_with_the_end_of_the_dialogue),
        cmocka_unit_test(who_guesses_too_often_waits),
        cmocka_unit_test(a_password_leaves_nothing_behind),
        cmocka_unit_test(a_client_that_does_not_read_is_not_read),
        cmocka_unit_test(octets_of_a_message_are_not_copied),
        cmocka_unit_test(an_answer_after_the_end_is_ignored),
        cmocka_unit_test(a_message_not_yet_handed_over_is_aborted),
        cmocka_unit_test(only_octets_read_after_the_acknowledgement_confirm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
