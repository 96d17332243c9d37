/* What SMTP and LMTP clients are told, and what the vault is. */
#include <signal.h>

#include "base/testing.h"
#include "roles/edge_confirm.h"
#include "roles/edge_testing.h"

/* ---- Accepting ----------------------------------------------------------------------------- */

static void a_message_is_kept_with_its_trace_on_top_and_its_prefix_beside(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    world_begin_mail(&w, MX);
    world_say(&w, "RCPT TO:<nobody@example.org>\r\nDATA\r\n");
    world_hear(&w, "550 5.1.1 No such user\r\n");
    world_hear(&w, "354 ");
    world_say(&w, HEADER "..one\r\n.\r\n");
    world_hear(&w, "250 2.0.0 Ok, kept as ");
    assert_true(
        str_starts(buf_str(&w.body), STR("Received: from client.test (unknown [192.0.2.1]) by ")));
    assert_true(str_ends(buf_str(&w.body), STR("\r\n" HEADER ".one\r\n")));
    assert_true(str_find(buf_str(&w.body), STR("for <alice@example.org>")) > 0);
    assert_true(str_eq(buf_str(&w.accepted), STR("alice@example.org ")));
    assert_true(str_eq(buf_str(&w.prefix), STR("Return-Path: <bob@example.net>\r\n"
                                               "Delivered-To: alice@example.org\r\n")));
    assert_int_equal(w.keys.len, 32);
    assert_int_equal(w.confirmed.len, 0);
    world_say(&w, "QUIT\r\n");
    world_hear(&w, "221 2.0.0");
    world_hear_confirmed(&w, 32);
    assert_true(str_eq(buf_str(&w.keys), buf_str(&w.confirmed)));
    world_hear_end(&w);
    world_close(&w);
}

static void what_names_itself_not_has_no_key(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    world_begin_mail(&w, MX);
    world_say(&w, "DATA\r\n");
    world_hear(&w, "354 ");
    world_say(&w, "From: cron@example.net\r\n\r\nagain\r\n.\r\n");
    world_hear(&w, "250 2.0.0");
    assert_int_equal(w.keys.len, 0);
    world_close(&w);
}

/* Its key, for that envelope. */
static void take_key(struct world *w, const char *sender, const char *recipient, uint8_t key[32])
{
    char words[200];
    world_open(w);
    world_greet(w, MX);
    snprintf(words, sizeof words, "MAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nDATA\r\n", sender, recipient);
    world_say(w, words);
    world_hear(w, "354 ");
    world_say(w, HEADER "x\r\n.\r\n");
    world_hear(w, "250 2.0.0");
    assert_int_equal(w->keys.len, 32);
    memcpy(key, w->keys.ptr, 32);
    world_close(w);
}

/* Where the one ends and the next begins is part of what is told apart. */
static void what_is_sent_again_has_the_same_envelope(void **state)
{
    (void)state;
    struct world w;
    uint8_t key[3][32];
    take_key(&w, "bob@example.net", "a@example.org", key[0]);
    take_key(&w, "bob@example.net", "a@example.org", key[1]);
    take_key(&w, "bob@example.n", "eta@example.org", key[2]);
    assert_memory_equal(key[0], key[1], 32);
    assert_memory_not_equal(key[0], key[2], 32);
}

static void smtp_says_that_it_is_kept_only_where_all_have_it(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    w.second_status = STATUS_OVER_QUOTA;
    world_begin_mail(&w, MX);
    world_say(&w, "RCPT TO:<carol@example.org>\r\nDATA\r\n");
    world_hear(&w, "354 ");
    world_say(&w, HEADER "x\r\n.\r\n");
    world_hear(&w, "452 4.2.2");
    world_close(&w);
}

static void lmtp_tells_each_recipient_his_own(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    w.second_status = STATUS_OVER_QUOTA;
    world_begin_mail(&w, LMTP);
    world_say(&w, "RCPT TO:<carol@example.org>\r\nDATA\r\n");
    world_hear(&w, "354 ");
    world_say(&w, HEADER "x\r\n.\r\n");
    world_hear(&w, "250 2.0.0 Ok, kept as ");
    world_hear(&w, "452 4.2.2");
    assert_true(str_find(buf_str(&w.body), STR("for <")) < 0);
    world_close(&w);
}

static void what_was_pipelined_behind_the_dot_confirms_nothing(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    w.tcp = true;
    w.accepts.hold = true;
    world_begin_mail(&w, MX);
    world_say(&w, "DATA\r\n");
    world_hear(&w, "354 ");
    world_say(&w, HEADER "x\r\n.\r\n");
    world_turns(&w, 5);
    world_say(&w, "NOOP\r\n"); /* is read, and has to wait */
    world_turns(&w, 5);
    world_say(&w, "NOOP\r\n"); /* is not even read before the reply is written */
    world_turns(&w, 5);
    world_answer_accept(&w, w.accepts.from, w.accepts.ids[0]);
    world_hear(&w, "250 2.0.0 Ok, kept");
    world_hear(&w, "fine\r\n");
    world_hear(&w, "fine\r\n");
    edge_confirmations_send(w.edge->confirmations);
    world_turns(&w, 3);
    assert_int_equal(w.confirmed.len, 0);
    world_say(&w, "NOOP\r\n");
    world_hear(&w, "fine\r\n");
    world_hear_confirmed(&w, 32);
    world_close(&w);
}

/* ---- On its way out -------------------------------------------------------------------------- */

/* Calls as 198.51.100.9, who may send to anywhere. */
static void call_trusted(struct world *w)
{
    static const struct str header =
        STR("\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C\xC6\x33\x64\x09\x7F\0\0\1\x12\x34\0\x19");
    world_call(w, PROXIED);
    world_say_all(w, header);
    world_hear(w, "220 mail.example.org");
    world_say(w, "EHLO client.test\r\n");
    world_hear(w, "MT-PRIORITY\r\n");
}

static void mail_for_elsewhere_goes_out_for_trusted_peers_alone(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    world_greet(&w, MX);
    world_say(&w, "MAIL FROM:<bob@example.net>\r\nRCPT TO:<x@elsewhere.test>\r\n");
    world_hear(&w, "550 5.7.1");
    world_hang_up(&w);
    world_turns(&w, 3);
    world_greet(&w, LMTP);
    world_say(&w, "MAIL FROM:<bob@example.net>\r\nRCPT TO:<x@elsewhere.test>\r\n");
    world_hear(&w, "550 5.7.1");
    world_hang_up(&w);
    world_turns(&w, 3);
    call_trusted(&w);
    world_say(&w, "MAIL FROM:<>\r\nRCPT TO:<x@elsewhere.test>\r\nDATA\r\n");
    world_hear(&w, "354 ");
    world_say(&w, HEADER "x\r\n.\r\n");
    world_hear(&w, "250 2.0.0");
    assert_true(str_eq(buf_str(&w.asked), STR("x@elsewhere.test account=0 trusted=0\n"
                                              "x@elsewhere.test account=0 trusted=0\n"
                                              "x@elsewhere.test account=0 trusted=1\n")));
    assert_true(str_eq(buf_str(&w.plan),
                       STR("\nx@elsewhere.test ->x@elsewhere.test dns:elsewhere.test\n")));
    world_close(&w);
}

static void what_a_client_asks_goes_with_its_message(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    call_trusted(&w);
    world_say(&w, "MAIL FROM:<bob@example.net> RET=HDRS ENVID=a+2Bb BODY=8BITMIME SMTPUTF8 "
                  "BY=120;RT MT-PRIORITY=-2\r\n"
                  "RCPT TO:<x@elsewhere.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;y@z\r\n"
                  "RCPT TO:<alice@example.org> NOTIFY=NEVER\r\nDATA\r\n");
    world_hear(&w, "354 ");
    world_say(&w, HEADER "x\r\n.\r\n");
    world_hear(&w, "250 2.0.0");
    assert_true(str_eq(buf_str(&w.plan),
                       STR("a+b\n"
                           "x@elsewhere.test notify=10 orcpt=rfc822;y@z ->x@elsewhere.test "
                           "dns:elsewhere.test\n"
                           "alice@example.org notify=1 +1\n")));
    assert_int_equal(w.envelope.ret, SMTP_RET_HDRS);
    assert_int_equal(w.envelope.body, SMTP_BODY_8BITMIME);
    assert_true(w.envelope.utf8);
    assert_int_equal(w.envelope.by_mode, SMTP_BY_RETURN);
    assert_int_equal(w.envelope.by_ms, 120000);
    assert_true(w.envelope.by_trace);
    assert_int_equal(w.envelope.priority, -2);
    assert_int_equal(w.keys.len, 64);
    assert_true(w.email.signature.len > 0);
    world_close(&w);
}

/* RFC 8689 §5 */
static void mail_that_wants_no_tls_waits_under_a_name_of_its_own(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    call_trusted(&w);
    world_say(&w, "MAIL FROM:<bob@example.net>\r\nRCPT TO:<x@elsewhere.test>\r\n"
                  "RCPT TO:<alice@example.org>\r\nDATA\r\n");
    world_hear(&w, "354 ");
    world_say(&w, "TLS-Required: no\r\n" HEADER "x\r\n.\r\n");
    world_hear(&w, "250 2.0.0");
    assert_true(str_eq(buf_str(&w.plan),
                       STR("\nx@elsewhere.test ->x@elsewhere.test dns-any-tls:elsewhere.test\n"
                           "alice@example.org +1\n")));
    world_close(&w);
}

static void the_envelope_says_of_the_octets_what_is_true(void **state)
{
    (void)state;
    static const struct {
        const char *said, *body;
        enum smtp_body_type expected;
    } cases[] = {
        {"", "x", SMTP_BODY_7BIT},
        {"", "\xc3\xa9", SMTP_BODY_8BITMIME},
        {" BODY=7BIT", "\xc3\xa9", SMTP_BODY_8BITMIME},
        {" BODY=8BITMIME", "x", SMTP_BODY_8BITMIME},
    };
    struct world w;
    world_open(&w);
    call_trusted(&w);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        world_say(&w, "MAIL FROM:<bob@example.net>");
        world_say(&w, cases[i].said);
        world_say(&w, "\r\nRCPT TO:<x@elsewhere.test>\r\nDATA\r\n");
        world_hear(&w, "354 ");
        world_say(&w, HEADER);
        world_say(&w, cases[i].body);
        world_say(&w, "\r\n.\r\n");
        world_hear(&w, "250 2.0.0");
        assert_int_equal(w.envelope.body, cases[i].expected);
        buf_clear(&w.body);
    }
    world_close(&w);
}

static void nothing_is_made_of_a_body_that_nobody_here_will_read(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    call_trusted(&w);
    world_say(&w, "MAIL FROM:<bob@example.net>\r\nRCPT TO:<x@elsewhere.test>\r\nDATA\r\n");
    world_hear(&w, "354 ");
    world_say(&w, HEADER "x\r\n.\r\n");
    world_hear(&w, "250 2.0.0");
    assert_true(str_find(buf_str(&w.body), STR("Return-Path")) < 0);
    assert_true(str_find(buf_str(&w.body), STR("for <x@elsewhere.test>")) > 0);
    assert_int_equal(w.email.structure.len + w.email.signature.len, 0);
    assert_int_equal(w.email.sent_at_ms, 1751364000000);
    assert_int_equal(text_peek(w.email.message_id).len, 5);
    assert_int_equal(w.keys.len, 32);
    world_close(&w);
}

/* ---- When others are away ------------------------------------------------------------------ */

static void without_a_vault_the_client_hears_451_and_may_try_again(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    world_begin_mail(&w, MX);
    world_kill_peer(&w.vault);
    world_say(&w, "DATA\r\n");
    world_hear(&w, "354 ");
    world_say(&w, HEADER "x\r\n.\r\n");
    world_hear(&w, "451 4.3.0");
    world_start_peer(&w, &w.vault, ROLE_VAULT);
    world_say(&w, "MAIL FROM:<>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n");
    world_hear(&w, "354 ");
    world_say(&w, HEADER "x\r\n.\r\n");
    world_hear(&w, "250 2.0.0");
    assert_true(str_starts(buf_str(&w.prefix), STR("Return-Path: <>\r\n")));
    world_close(&w);
}

static void a_vault_that_dies_with_an_accept_is_451(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    w.accepts.hold = true;
    world_begin_mail(&w, MX);
    world_say(&w, "DATA\r\n");
    world_hear(&w, "354 ");
    world_say(&w, HEADER "x\r\n.\r\n");
    world_turns(&w, 5);
    assert_int_equal(w.accepts.count, 1);
    world_kill_peer(&w.vault);
    world_hear(&w, "451 4.3.0");
    world_answer_accept(&w, w.accepts.from, w.accepts.ids[0]);
    world_close(&w);
}

static void a_vault_that_dies_in_a_large_message_is_451_after_the_dot(void **state)
{
    (void)state;
    struct world w;
    struct buf noise;
    world_open(&w);
    world_make_noise(&noise, 4UL * 1024 * 1024);
    world_begin_mail(&w, MX);
    world_say(&w, "DATA\r\n");
    world_hear(&w, "354 ");
    world_say(&w, HEADER);
    world_say_all(&w, str_sub(buf_str(&noise), 0, 1024 * 1024));
    world_kill_peer(&w.vault);
    world_say_all(&w, str_skip(buf_str(&noise), 1024 * 1024));
    world_say(&w, "\r\n.\r\n");
    world_hear(&w, "451 4.3.0");
    world_say(&w, "NOOP\r\n");
    world_hear(&w, "250 2.0.0");
    assert_int_equal(edge_counts_own_bodies(w.edge->counts), 0);
    buf_release(&noise);
    world_close(&w);
}

static void a_mailroom_that_dies_during_rcpt_is_451(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    w.recipients.hold = true;
    world_greet(&w, MX);
    world_say(&w, "MAIL FROM:<bob@example.net>\r\nRCPT TO:<alice@example.org>\r\n");
    world_turns(&w, 5);
    assert_int_equal(w.recipients.count, 1);
    world_kill_peer(&w.mailroom);
    world_hear(&w, "451 4.3.0");
    world_say(&w, "RCPT TO:<alice@example.org>\r\n");
    world_hear(&w, "451 4.3.0");
    world_answer_recipient(&w, w.recipients.from, w.recipients.ids[0]);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_is_kept_with_its_trace_on_top_and_its_prefix_beside),
        cmocka_unit_test(what_names_itself_not_has_no_key),
        cmocka_unit_test(what_is_sent_again_has_the_same_envelope),
        cmocka_unit_test(smtp_says_that_it_is_kept_only_where_all_have_it),
        cmocka_unit_test(lmtp_tells_each_recipient_his_own),
        cmocka_unit_test(what_was_pipelined_behind_the_dot_confirms_nothing),
        cmocka_unit_test(mail_for_elsewhere_goes_out_for_trusted_peers_alone),
        cmocka_unit_test(what_a_client_asks_goes_with_its_message),
        cmocka_unit_test(mail_that_wants_no_tls_waits_under_a_name_of_its_own),
        cmocka_unit_test(the_envelope_says_of_the_octets_what_is_true),
        cmocka_unit_test(nothing_is_made_of_a_body_that_nobody_here_will_read),
        cmocka_unit_test(without_a_vault_the_client_hears_451_and_may_try_again),
        cmocka_unit_test(a_vault_that_dies_with_an_accept_is_451),
        cmocka_unit_test(a_vault_that_dies_in_a_large_message_is_451_after_the_dot),
        cmocka_unit_test(a_mailroom_that_dies_during_rcpt_is_451),
    };
    signal(SIGPIPE, SIG_IGN); /* as every role does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
