/*
 * What dialogues cannot say: the contract between the engine and its owner, and that our server
 * gets from it exactly the messages it was given, cut anywhere, in every way of sending them.
 */

#include <malloc.h>
#include <stdlib.h>

#include "base/testing.h"
#include "proto/smtp/client_state.h"
#include "proto/smtp/testing_pair.h"

static const struct now now = {1000, 1000};

static const struct smtp_client_recipient three[] = {{.path = STR("alice@demo.test")},
                                                     {.path = STR("nobody@demo.test")},
                                                     {.path = STR("later@demo.test")}};

static const struct str bodies[] = {
    STR(""),
    STR(".\r\n"),
    STR("."),
    STR("no end"),
    STR("Subject: x\r\n\r\n.\r\n..\r\n...three\r\nlast\r\n"),
    STR("\r\n.\r\n\r\n.\r\nQUIT\r\n"),
};

/* More than one connection's worth of everything, with dots at many places. */
static struct str big_body(void)
{
    static struct buf b;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < 6000; i++)
        buf_printf(&b, "%.*s line %d\r\n", i % 5, "....", i);
    buf_append_str(&b, STR("\r\n.\r\n"));
    return buf_str(&b);
}

static void send_all(const struct way *way, const struct str *list, size_t count)
{
    struct pair p;
    pair_init(&p, way);
    for (size_t i = 0; i < count; i++) {
        struct smtp_client_message m = {
            .reverse_path = STR("s@out.test"),
            .size = list[i].len + (way->chunking ? 100000 : 0), /* so that BDAT is worth it */
            .body = way->body,
            .ret = SMTP_RET_HDRS,
            .envid = STR("a+b=c"),
            .recipients = three,
            .recipient_count = 3,
        };
        pair_send(&p, &m, list[i]);
        assert_int_equal(p.told[0], 1 + SMTP_CLIENT_TAKEN);
        assert_int_equal(p.told[1], 1 + SMTP_CLIENT_REFUSED);
        assert_int_equal(p.told[2], 1 + SMTP_CLIENT_LATER);
        assert_true(pair_body_arrived(&p));
    }
    smtp_client_quit(p.c, now);
    pair_talk(&p);
    assert_true(p.closed);
    pair_release(&p);
}

static void for_each_way(void (*run)(const struct way *way, void *arg), void *arg)
{
    for (unsigned i = 0; i < 24; i++) {
        struct way way = {.lmtp = i & 1,
                          .pipelining = i & 2,
                          .chunking = i & 4,
                          .body = (enum smtp_body_type)(i / 8),
                          .cut = 1 << 20,
                          .piece = 1 << 20};
        if (way.body == SMTP_BODY_BINARYMIME)
            way.chunking = true;
        run(&way, arg);
    }
}

static void send_cut(const struct way *way, void *arg)
{
    struct way cut = *way;
    (void)arg;
    for (cut.cut = 1; cut.cut < 60; cut.cut++)
        send_all(&cut, bodies, sizeof bodies / sizeof bodies[0]);
    cut.cut = 1 << 20;
    for (cut.piece = 1; cut.piece < 20; cut.piece++)
        send_all(&cut, bodies, sizeof bodies / sizeof bodies[0]);
}

static void the_server_gets_what_was_given_cut_anywhere(void **state)
{
    (void)state;
    for_each_way(send_cut, NULL);
}

static void send_big(const struct way *way, void *arg)
{
    static const size_t sizes[] = {1 << 20, 4096, 65537, 1000};
    struct way cut = *way;
    for (size_t i = 0; i < 4; i++) {
        cut.cut = sizes[i];
        cut.piece = sizes[3 - i];
        send_all(&cut, arg, 1);
    }
}

static void a_large_message_arrives_in_every_way(void **state)
{
    (void)state;
    struct str big = big_body();
    for_each_way(send_big, &big);
    free((char *)(uintptr_t)big.ptr);
}

static void binary_arrives_as_it_is(void **state)
{
    (void)state;
    struct str bodies_binary[] = {STR("\0\r\n\n\r.\r\n.\n"), STR("\r"), STR("\n.\r\n"), STR("")};
    for (size_t cut = 1; cut < 40; cut++) {
        struct way way = {false, cut & 1, true, SMTP_BODY_BINARYMIME, cut, 1 + cut % 3};
        send_all(&way, bodies_binary, 4);
    }
}

static void nothing_that_is_no_mail_leaves(void **state)
{
    (void)state;
    static const struct str bad[] = {STR("a\rb\r\n"), STR("a\nb\r\n"),    STR("a\0b\r\n"),
                                     STR("a\r"),      STR("\n.\r\n"),     STR("a\r\n\r.\r\n"),
                                     STR("\r\r\n"),   STR("a\r\n.\n\r\n")};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        for (unsigned j = 0; j < 8; j++) {
            struct way way = {false, j & 1, j & 2, SMTP_BODY_7BIT, 1 << 20, j & 4 ? 1 : 1 << 20};
            struct pair p;
            pair_init(&p, &way);
            struct smtp_client_message m = {
                .size = way.chunking ? 100000 : 1, .recipients = three, .recipient_count = 1};
            pair_send(&p, &m, bad[i]);
            assert_int_equal(p.told[0], 1 + SMTP_CLIENT_REFUSED);
            assert_int_equal(p.c->out.len, 0);
            if (way.chunking) { /* the connection is still good */
                pair_send(&p, &m, bodies[4]);
                assert_int_equal(p.told[0], 1 + SMTP_CLIENT_TAKEN);
                assert_true(pair_body_arrived(&p));
            }
            pair_release(&p);
        }
    }
}

/* ---- The contract ------------------------------------------------------------------------- */

static const struct smtp_client_settings plain = {.hostname = STR("out.example.org"),
                                                  .timeouts = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}};

static void take_output(struct smtp_client *c, const char *expected)
{
    struct str out = smtp_client_output(c);
    assert_int_equal(out.len, strlen(expected));
    assert_memory_equal(out.ptr, expected, out.len);
    smtp_client_output_done(c, out.len, now);
}

static struct smtp_client *begin(const struct smtp_client_settings *settings, const char *abilities)
{
    struct smtp_client *c = smtp_client_new(settings, now);
    struct smtp_client_event e;
    assert_non_null(c);
    struct str greeting = STR("220 hi\r\n");
    assert_int_equal(smtp_client_input(c, greeting, now), greeting.len);
    take_output(c, "EHLO out.example.org\r\n");
    smtp_client_input(c, str_from_c(abilities), now);
    assert_true(smtp_client_next(c, &e));
    assert_int_equal(e.kind, SMTP_CLIENT_EVENT_READY);
    return c;
}

static void an_idle_engine_is_small(void **state)
{
    (void)state;
    struct smtp_client *c = begin(&plain, "250-mx\r\n250-AUTH PLAIN\r\n250 SIZE\r\n");
    size_t size = malloc_usable_size(c) + c->out.cap + c->auth.cap + c->reader.line.cap +
                  c->reader.words.cap + c->challenge.cap;
    print_message("%zu octets\n", size);
    assert_in_range(size, 1, 2048);
    smtp_client_free(c);
}

static void abilities_are_understood(void **state)
{
    (void)state;
    struct smtp_client *c = begin(
        &plain, "250-mx.example.org says hello, AUTH and DSN\r\n250-pipelining\r\n"
                "250-SIZE 1000\r\n250-8BITMIME\r\n250-LIMITS MAILMAX=3 rcptmax=2 RCPTDOMAINMAX=x "
                "FOO=1\r\n250-DELIVERBY 60\r\n250-AUTH=login\r\n250-AUTH plain X.Y\r\n"
                "250-CHUNKINGX\r\n250 MT-PRIORITY MIXER\r\n");
    const struct smtp_abilities *a = smtp_client_abilities(c);
    assert_true(a->extended && a->pipelining && a->size && a->eight_bit_mime && a->mt_priority);
    assert_true(a->deliver_by && a->size_max == 1000);
    assert_false(a->dsn || a->chunking || a->starttls || a->smtputf8);
    assert_int_equal(a->mail_max, 3);
    assert_int_equal(a->rcpt_max, 2);
    assert_int_equal(a->rcpt_domain_max, 0);
    assert_true(str_eq(text_peek(a->auth), STR("LOGIN PLAIN")));
    smtp_client_free(c);
}

static void a_thousand_recipients_go_out_in_bounded_output(void **state)
{
    (void)state;
    struct smtp_client *c = begin(&plain, "250-mx\r\n250 PIPELINING\r\n");
    static struct smtp_client_recipient many[1000];
    for (size_t i = 0; i < 1000; i++)
        many[i].path = STR("somebody@a.rather.long.name.of.a.domain.example.org");
    struct smtp_client_message m = {.recipients = many, .recipient_count = 1000};
    struct smtp_client_event e;
    smtp_client_send(c, &m, now);
    unsigned told = 0, rounds = 0;
    while (!smtp_client_next(c, &e)) {
        size_t size = smtp_client_output(c).len;
        assert_in_range(size, 1, 16 * 1024);
        assert_in_range(c->out.cap, 1, 16 * 1024);
        smtp_client_output_done(c, size, now);
        assert_in_range(rounds++, 0, 100);
        if (str_empty(smtp_client_output(c)))
            break;
    }
    smtp_client_peer_gone(c, now);
    while (smtp_client_next(c, &e) && e.kind == SMTP_CLIENT_EVENT_RECIPIENT) {
        assert_int_equal(e.recipient.verdict, SMTP_CLIENT_LATER);
        assert_int_equal(e.recipient.index, told++);
    }
    assert_int_equal(told, 1000);
    assert_int_equal(e.kind, SMTP_CLIENT_EVENT_MESSAGE_DONE);
    assert_false(e.more);
    assert_true(smtp_client_next(c, &e));
    assert_int_equal(e.kind, SMTP_CLIENT_EVENT_CLOSED);
    assert_false(smtp_client_next(c, &e));
    smtp_client_free(c);
}

static void a_closed_engine_still_takes_a_message(void **state)
{
    (void)state;
    struct smtp_client *c = begin(&plain, "250 mx\r\n");
    struct smtp_client_message m = {.recipients = three, .recipient_count = 2};
    struct smtp_client_event e;
    smtp_client_input(c, STR("421 4.3.2 bye\r\n"), now);
    smtp_client_send(c, &m, now);
    for (uint32_t i = 0; i < 2; i++) {
        assert_true(smtp_client_next(c, &e));
        assert_int_equal(e.kind, SMTP_CLIENT_EVENT_RECIPIENT);
        assert_int_equal(e.recipient.verdict, SMTP_CLIENT_LATER);
        assert_int_equal(e.recipient.reply.code, 421);
    }
    assert_true(smtp_client_next(c, &e) && e.kind == SMTP_CLIENT_EVENT_MESSAGE_DONE && !e.more);
    assert_true(smtp_client_next(c, &e) && e.kind == SMTP_CLIENT_EVENT_CLOSED);
    assert_int_equal(e.closed.reason, SMTP_CLIENT_CLOSE_SHUTDOWN);
    assert_int_equal(e.closed.stage, SMTP_CLIENT_IDLE);
    smtp_client_free(c);
}

/* Octets that trickle are no answer, and a body that trickles is no progress. */
static void patience_ends_with_a_peer_that_trickles(void **state)
{
    (void)state;
    struct smtp_client_settings s = plain;
    s.timeouts = smtp_client_timeouts_default;
    struct smtp_client *c = smtp_client_new(&s, now);
    struct now later = {now.mono_ms + 200000, now.wall_ms};
    int64_t deadline = smtp_client_deadline(c);
    smtp_client_input(c, STR("220-a\r\n"), later);
    assert_true(smtp_client_deadline(c) == deadline);
    smtp_client_input(c, STR("220 b\r\n"), later);
    assert_true(smtp_client_deadline(c) == later.mono_ms + 300000);
    smtp_client_output_done(c, 1, (struct now){later.mono_ms + 1000, 0});
    assert_true(smtp_client_deadline(c) == later.mono_ms + 300000);
    smtp_client_free(c);
}

/* A server that answers each command just in time keeps a message no longer than others do. */
static void a_message_ends_whatever_the_peer_does(void **state)
{
    (void)state;
    static struct smtp_client_recipient many[200];
    for (size_t i = 0; i < 200; i++)
        many[i].path = STR("b@y.test");
    struct smtp_client_settings s = plain;
    s.timeouts = smtp_client_timeouts_default;
    struct smtp_client *c = begin(&s, "250 mx\r\n");
    struct smtp_client_message m = {.recipients = many, .recipient_count = 200, .size = 1000000};
    struct now then = now;
    struct smtp_client_event e;
    smtp_client_send(c, &m, then);
    while (!smtp_client_next(c, &e)) {
        smtp_client_output_done(c, smtp_client_output(c).len, then);
        then.mono_ms = smtp_client_deadline(c) - 1;
        smtp_client_input(c, STR("250 ok\r\n"), then);
        then.mono_ms++;
        smtp_client_tick(c, then);
    }
    assert_int_equal(e.kind, SMTP_CLIENT_EVENT_RECIPIENT);
    assert_int_equal(e.recipient.verdict, SMTP_CLIENT_LATER);
    assert_int_equal(e.recipient.reply.detail, 2);
    assert_int_equal(then.mono_ms - now.mono_ms, (30 * 60 + 200 * 10 + 1000) * 1000);
    smtp_client_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_server_gets_what_was_given_cut_anywhere),
        cmocka_unit_test(a_large_message_arrives_in_every_way),
        cmocka_unit_test(binary_arrives_as_it_is),
        cmocka_unit_test(nothing_that_is_no_mail_leaves),
        cmocka_unit_test(an_idle_engine_is_small),
        cmocka_unit_test(abilities_are_understood),
        cmocka_unit_test(a_thousand_recipients_go_out_in_bounded_output),
        cmocka_unit_test(a_closed_engine_still_takes_a_message),
        cmocka_unit_test(patience_ends_with_a_peer_that_trickles),
        cmocka_unit_test(a_message_ends_whatever_the_peer_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
