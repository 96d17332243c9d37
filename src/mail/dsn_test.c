#include "mail/dsn.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/testing.h"
#include "codec/utf8.h"
#include "mail/dsn_text.h"
#include "mail/header.h"
#include "mail/mime.h"

#define NOW     1739485890000 /* Thu, 13 Feb 2025 22:31:30 +0000 */
#define TEXT(s) text_from(STR(s))

static const char header[] =
    "From: ann@a.example\r\nTo: bob@b.example\r\nSubject: =?utf-8?q?Caf=C3=A9?="
    " at\r\n noon\r\nDate: Thu, 13 Feb 2025 22:00:00 +0000\r\n"
    "Message-ID: <one@a.example>\r\n\r\n";

static struct dsn_recipient recipient(void)
{
    return (struct dsn_recipient){
        .action = DSN_FAILED,
        .address = TEXT("bob@b.example"),
        .original = TEXT("rfc822;Bob@old.example"),
        .status = STR("5.1.1"),
        .remote = TEXT("mx.b.example [192.0.2.1]:25"),
        .words = TEXT("550-5.1.1 No Bob\r\n550 5.1.1 here"),
        .is_reply = true,
        .attempt_ms = NOW - 1000,
    };
}

static struct dsn report(const struct dsn_recipient *recipients, size_t count)
{
    return (struct dsn){
        .host = STR("mx.a.example"),
        .id = STR("06abc"),
        .boundary = STR("=_0123456789abcdef"),
        .now_ms = NOW,
        .sender = TEXT("ann@a.example"),
        .trace_id = STR("06xyz"),
        .envid = TEXT("QQ 314159"),
        .arrival_ms = NOW - 5000,
        .part = DSN_PART_HEADER,
        .header = str_make(header, sizeof header - 1),
        .recipients = recipients,
        .count = count,
    };
}

/* The whole of it; the header is the original. */
static void compose(const struct dsn *dsn, struct buf *out)
{
    buf_init(out, 200000);
    assert_true(dsn_begin(out, dsn));
    assert_true(out->len <= DSN_SIZE_MAX(dsn->count));
    if (dsn->part != DSN_PART_NONE)
        buf_append_str(out, dsn->header);
    assert_true(dsn_end(out, dsn));
}

/* Parts as "type/subtype encoding" lines. */
static void describe(struct str message, char *out, size_t size)
{
    struct mime_parser *p = malloc(sizeof *p);
    struct arena arena;
    struct mime_event event;
    const struct structure *s;
    size_t used = 0;
    arena_init(&arena, 4 << 20);
    mime_init(p, &arena);
    do
        mime_next(p, &message, &event);
    while (event.kind != MIME_MORE);
    while (!mime_end(p, &event))
        ;
    assert_int_equal(mime_structure(p, &s), STATUS_OK);
    for (size_t i = 0; i < s->count; i++)
        used +=
            (size_t)snprintf(out + used, size - used, "%.*s/%.*s %.*s\n", STR_ARG(s->parts[i].type),
                             STR_ARG(s->parts[i].subtype), STR_ARG(s->parts[i].encoding));
    mime_release(p);
    arena_reset(&arena);
    free(p);
}

static void expect_parts(const struct dsn *dsn, const char *wanted)
{
    struct buf out;
    char found[4096];
    compose(dsn, &out);
    describe(buf_str(&out), found, sizeof found);
    assert_string_equal(found, wanted);
    assert_int_equal(utf8_is_ascii(buf_str(&out)), !dsn_needs_8bit(dsn) && !dsn_needs_utf8(dsn));
    buf_release(&out);
}

static void expect_contains(const struct dsn *dsn, const char *const *lines)
{
    struct buf out;
    compose(dsn, &out);
    for (; *lines; lines++) {
        if (str_find(buf_str(&out), str_from_c(*lines)) < 0)
            fail_msg("no \"%s\" in:\n%.*s", *lines, (int)out.len, out.ptr);
    }
    buf_release(&out);
}

static void a_failure_has_all_that_is_known(void **state)
{
    (void)state;
    struct dsn_recipient r = recipient();
    struct dsn dsn = report(&r, 1);
    static const char *const lines[] = {
        "From: Mail Delivery System <postmaster@mx.a.example>\r\nTo: <ann@a.example>\r\n"
        "Subject: Undelivered mail: your message to\r\n bob@b.example\r\n"
        "Date: Thu, 13 Feb 2025 22:31:30 +0000\r\nMessage-ID: <06abc@mx.a.example>\r\n"
        "In-Reply-To: <one@a.example>\r\nReferences: <one@a.example>\r\n"
        "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n",
        "Your message to bob@b.example was not delivered. Nobody has this address",
        "The server mx.b.example [192.0.2.1]:25 said:\r\n\r\n    550-5.1.1 No Bob 550 5.1.1 "
        "here\r\n",
        "tell this number: 06xyz\r\n",
        "\r\n\r\nOriginal-Envelope-Id: QQ 314159\r\nReporting-MTA: dns; mx.a.example\r\n"
        "Arrival-Date: Thu, 13 Feb 2025 22:31:25 +0000\r\n\r\n"
        "Original-Recipient: rfc822;Bob@old.example\r\nFinal-Recipient: rfc822; bob@b.example\r\n"
        "Action: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; mx.b.example\r\n"
        "Diagnostic-Code: smtp; 550-5.1.1 No Bob 550 5.1.1 here\r\n"
        "Last-Attempt-Date: Thu, 13 Feb 2025 22:31:29 +0000\r\n\r\n--=_",
        "Content-Type: text/rfc822-headers\r\n\r\nFrom: ann@a.example\r\n",
        "\r\n--=_0123456789abcdef--\r\n",
        NULL,
    };
    expect_contains(&dsn, lines);
    expect_parts(&dsn, "multipart/report 7bit\ntext/plain quoted-printable\n"
                       "message/delivery-status 7bit\ntext/rfc822-headers 7bit\n");
}

static void the_parts_follow_what_comes_along(void **state)
{
    (void)state;
    struct dsn_recipient r = recipient();
    struct dsn dsn = report(&r, 1);
    dsn.header = STR("Subject: x\r\n\r\n");
    dsn.part = DSN_PART_NONE;
    expect_parts(&dsn, "multipart/report 7bit\ntext/plain 7bit\nmessage/delivery-status 7bit\n");
    dsn.part = DSN_PART_MESSAGE;
    expect_parts(&dsn, "multipart/report 7bit\ntext/plain 7bit\nmessage/delivery-status 7bit\n"
                       "message/rfc822 7bit\ntext/plain 7bit\n");
    dsn.part_is_8bit = true;
    dsn.header = STR("Subject: caf\xE9\r\n\r\n");
    expect_parts(&dsn, "multipart/report 8bit\ntext/plain quoted-printable\n"
                       "message/delivery-status 7bit\nmessage/rfc822 8bit\ntext/plain 7bit\n");
}

/* RFC 6533 */
static void international_mail_has_its_own_types(void **state)
{
    (void)state;
    struct dsn_recipient r = recipient();
    struct dsn dsn = report(&r, 1);
    dsn.header = STR("Subject: x\r\n\r\n");
    dsn.utf8 = true;
    expect_parts(&dsn,
                 "multipart/report 7bit\ntext/plain 7bit\nmessage/global-delivery-status 7bit\n"
                 "message/global-headers 7bit\n");
    dsn.part = DSN_PART_MESSAGE;
    r.address = TEXT("b\xC3\xB6"
                     "b@b.example");
    r.original = TEXT("utf-8;b\xC3\xB6"
                      "b@b.example");
    expect_parts(&dsn,
                 "multipart/report 8bit\ntext/plain quoted-printable\n"
                 "message/global-delivery-status 8bit\nmessage/global 7bit\ntext/plain 7bit\n");
    assert_false(dsn_needs_utf8(&dsn));
    static const char *const lines[] = {
        "Subject: Undelivered mail\r\n",
        "Original-Recipient: utf-8;b\xC3\xB6"
        "b@b.example\r\nFinal-Recipient: utf-8; b\xC3\xB6"
        "b@b.example\r\n",
        NULL,
    };
    expect_contains(&dsn, lines);
    dsn.sender = TEXT("\xC3\xA4nn@a.example");
    assert_true(dsn_needs_utf8(&dsn));
}

static void each_action_has_its_words_and_status(void **state)
{
    (void)state;
    static const struct {
        enum dsn_action action;
        const char *status, *wanted_status, *field, *subject, *words;
    } cases[] = {
        {DSN_FAILED, "4.4.7", "4.4.7", "failed", "Undelivered mail", "We have given up."},
        {DSN_FAILED, "2.0.0", "5.0.0", "failed", "Undelivered mail", "ask the people"},
        {DSN_FAILED, "5.1.1.", "5.0.0", "failed", "Undelivered mail", "was not delivered"},
        {DSN_FAILED, "", "5.0.0", "failed", "Undelivered mail", "was not delivered"},
        {DSN_FAILED, "5.6.7", "5.6.7", "failed", "Undelivered mail", "other letters"},
        {DSN_DELAYED, "5.1.1", "4.0.0", "delayed", "Delayed mail", "We try until Fri, 14 Feb"},
        {DSN_DELIVERED, "2.1.5", "2.1.5", "delivered", "Delivered mail", "was delivered."},
        {DSN_RELAYED, "4.1.1", "2.0.0", "relayed", "Mail passed on", "was passed on."},
        {DSN_EXPANDED, "2.0", "2.0.0", "expanded", "Mail passed on", "to many."},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct dsn_recipient r = recipient();
        struct dsn dsn = report(&r, 1);
        struct buf out, text;
        char status[64], action[64];
        r.action = cases[i].action;
        r.status = str_from_c(cases[i].status);
        r.until_ms = NOW + 24 * 3600 * 1000;
        snprintf(status, sizeof status, "\r\nStatus: %s\r\n", cases[i].wanted_status);
        snprintf(action, sizeof action, "\r\nAction: %s\r\n", cases[i].field);
        compose(&dsn, &out);
        buf_init(&text, 10000);
        assert_true(dsn_text_put(&text, &dsn));
        for (size_t at = 0; at + 1 < text.len; at++)
            if (text.ptr[at] == '\r') {
                text.ptr[at] = ' ';
                memmove(text.ptr + at + 1, text.ptr + at + 2, text.len - at - 2);
                text.len--;
            }
        assert_true(str_find(buf_str(&out), str_from_c(status)) > 0);
        assert_true(str_find(buf_str(&out), str_from_c(action)) > 0);
        assert_true(str_find(buf_str(&out), str_from_c(cases[i].subject)) > 0);
        assert_true(str_find(buf_str(&text), str_from_c(cases[i].words)) > 0);
        assert_int_equal(str_find(buf_str(&out), STR("Will-Retry-Until")) > 0,
                         cases[i].action == DSN_DELAYED);
        buf_release(&out);
        buf_release(&text);
    }
}

static void several_recipients_are_told_in_one_report(void **state)
{
    (void)state;
    struct dsn_recipient r[3] = {recipient(), recipient(), recipient()};
    struct dsn dsn = report(r, 3);
    r[0].action = DSN_RELAYED;
    r[2].address = TEXT("cyd@c.example");
    r[2].is_reply = false;
    r[2].words = TEXT("no server answered");
    static const char *const lines[] = {
        "Subject: Undelivered mail: your message to\r\n bob@b.example and 2 more\r\n",
        "was not delivered for 2 recipients.",
        "Your message to cyd@c.example was not delivered.",
        "The reason:\r\n\r\n    no server answered\r\n",
        "Final-Recipient: rfc822; cyd@c.example\r\n",
        "Diagnostic-Code: x-postern; no server answered\r\n",
        NULL,
    };
    expect_contains(&dsn, lines);
}

/* Nothing that strangers say ends a line, and no line is longer than mail allows. */
static void check_lines(const struct dsn *dsn)
{
    struct buf out;
    struct str rest, line;
    char found[4096];
    compose(dsn, &out);
    assert_true(str_find(buf_str(&out), STR("\nX-Injected:")) < 0);
    assert_true(str_find(buf_str(&out), STR("\nAction: delivered")) < 0);
    assert_true(str_find_byte(buf_str(&out), '\0') < 0);
    for (rest = buf_str(&out); str_split(&rest, '\n', &line);) {
        assert_true(line.len <= 999);
        assert_true(line.len == 0 || str_ends(line, STR("\r")));
        assert_int_equal(str_find_byte(line, '\r'), (ptrdiff_t)line.len - 1);
    }
    describe(buf_str(&out), found, sizeof found);
    assert_true(str_starts(str_from_c(found), STR("multipart/report ")));
    assert_true(str_find(str_from_c(found), STR("message/delivery-status 7bit\n")) > 0);
    assert_true(utf8_is_ascii(buf_str(&out)));
    buf_release(&out);
}

static void strangers_cannot_break_out_of_their_line(void **state)
{
    (void)state;
    char longer[5000];
    memset(longer, 'x', sizeof longer);
    const struct text attacks[] = {
        TEXT("rfc822;a\r\nX-Injected: 1\r\n\r\nAction: delivered"),
        TEXT("a;\nX-Injected: 1"),
        TEXT("a;\rX-Injected: 1\0b"),
        TEXT("\xFF;\xC3(\xE2\x80\xA8\x85X-Injected: \x1b[2J"),
        TEXT("\r\n--=_0123456789abcdef--\r\nX-Injected: 1"),
        TEXT("a\"<>()\\;, b@c.example>\r\nX-Injected: 1"),
        text_from(str_make(longer, sizeof longer)),
        TEXT("; \t \r\n \r\n"),
    };
    for (size_t i = 0; i < sizeof attacks / sizeof attacks[0]; i++) {
        for (int field = 0; field < 6; field++) {
            struct dsn_recipient r = recipient();
            struct dsn dsn = report(&r, 1);
            struct text *targets[] = {&r.words,   &r.remote,   &r.original,
                                      &dsn.envid, &dsn.sender, NULL};
            if (targets[field])
                *targets[field] = attacks[i];
            else
                dsn.header = text_peek(attacks[i]);
            dsn.part = DSN_PART_NONE;
            check_lines(&dsn);
        }
    }
}

static void no_words_turn_the_text_around_them(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 100);
    assert_true(dsn_line(&out,
                         TEXT("a\xE2\x80\xAE"
                              "b\xC2\x9B\x1b\xE2\x80\xA8"
                              "c\xC3\xA9\xFF"),
                         100, false));
    assert_true(str_eq(buf_str(&out), STR("abc\xC3\xA9?")));
    buf_release(&out);
}

static void the_original_may_say_anything_in_its_header(void **state)
{
    (void)state;
    static const char *const headers[] = {
        "Subject: a\r\n\tX-Injected: 1\r\nMessage-ID: <a\r\n b>\r\n",
        "Subject: =?utf-8?q?a=0D=0AX-Injected:_1?=\r\nMessage-ID: <a b>\r\n",
        "Subject\r\nMessage-ID: not one\r\n",
        "Message-ID: <\x01>\r\nDate: \xFF\xFE\r\n",
        "",
    };
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        struct dsn_recipient r = recipient();
        struct dsn dsn = report(&r, 1);
        struct buf out;
        dsn.header = str_from_c(headers[i]);
        dsn.part = DSN_PART_NONE;
        check_lines(&dsn);
        compose(&dsn, &out);
        assert_true(str_find(buf_str(&out), STR("References:")) < 0);
        buf_release(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failure_has_all_that_is_known),
        cmocka_unit_test(the_parts_follow_what_comes_along),
        cmocka_unit_test(international_mail_has_its_own_types),
        cmocka_unit_test(each_action_has_its_words_and_status),
        cmocka_unit_test(several_recipients_are_told_in_one_report),
        cmocka_unit_test(no_words_turn_the_text_around_them),
        cmocka_unit_test(strangers_cannot_break_out_of_their_line),
        cmocka_unit_test(the_original_may_say_anything_in_its_header),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
