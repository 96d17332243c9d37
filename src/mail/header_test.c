#include "mail/header.h"

#include "base/testing.h"

static void expect_fields(struct str block, const char *expected, size_t body_at)
{
    struct header_cursor cursor = header_cursor_at(block);
    struct header_field field;
    struct buf out;
    buf_init(&out, 10000);
    while (header_next(&cursor, &field)) {
        buf_append_str(&out, field.name);
        buf_append_byte(&out, '=');
        header_unfold(&out, field.value);
        buf_append_byte(&out, '|');
        assert_in_range(field.offset + field.size, field.offset, block.len);
    }
    if (!str_eq(buf_str(&out), str_from_c(expected)))
        fail_msg("%.*s", STR_ARG(buf_str(&out)));
    assert_int_equal(cursor.at, body_at);
    buf_release(&out);
}

static void fields_are_read_and_unfolded(void **state)
{
    (void)state;
    expect_fields(STR("A: 1\r\nB : 2\r\n\t3\r\n\r\nbody: x\r\n"), "A=1|B=2\t3|", 19);
    expect_fields(STR("A: 1\nB: 2\n\nC: 3\n"), "A=1|B=2|", 11);
    expect_fields(STR("A: 1"), "A=1|", 4);
    expect_fields(STR("A:\r\n\r\n"), "A=|", 6);
    expect_fields(STR("A:\r\n \r\n x\r\n"), "A=x|", 11);
    expect_fields(STR(""), "", 0);
    expect_fields(STR("\r\nA: 1\r\n"), "", 2);
}

static void lines_that_are_no_fields_are_passed_over(void **state)
{
    (void)state;
    expect_fields(STR("From x@y Mon\r\nA: 1\r\n"), "A=1|", 20);
    expect_fields(STR(" odd: 1\r\nA: 1\r\n"), "A=1|", 15);
    expect_fields(STR("no colon\r\n but: folded\r\nA: 1\r\n"), "A=1|", 30);
    expect_fields(STR("a b: 1\r\n: 2\r\nA: 1\r\n"), "A=1|", 19);
}

static void unfolding_leaves_no_line_end(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 100);
    assert_true(header_unfold(&out, STR(" a\rb\nc\r\n d\r\n\te\0f ")));
    assert_true(str_eq(buf_str(&out), STR("a b c d\te f")));
    buf_release(&out);
}

static void facts_are_counted(void **state)
{
    (void)state;
    struct header_facts f;
    header_facts_of(
        STR("Received: a\r\nreceived: b\r\nReceived : c\r\nDate: d\r\nMessage-Id: <m>\r\n"
            "From: a\r\nFROM: b\r\nX-Received: no\r\n\r\nReceived: no\r\n"),
        &f);
    assert_true(f.has_end);
    assert_int_equal(f.received_count, 3);
    assert_int_equal(f.from_count, 2);
    assert_int_equal(f.date_count, 1);
    assert_int_equal(f.sender_count, 0);
    assert_true(str_eq(f.from, STR("a")));
    assert_true(str_eq(f.message_id, STR("<m>")));
}

static void only_an_empty_line_ends_a_header(void **state)
{
    (void)state;
    static const struct {
        struct str block;
        bool has_end;
    } cases[] = {
        {STR(""), false},
        {STR("\r\n"), true},
        {STR("\n"), true},
        {STR("a: b"), false},
        {STR("a: b\r\n"), false},
        {STR("a: b\r\n\r\n"), true},
        {STR("a: b\n\nc: d\r\n"), true},
        {STR("a: b\r\n \r\n"), false},
        {STR("a: b\r\n\r"), false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct header_facts f;
        header_facts_of(cases[i].block, &f);
        assert_int_equal(f.has_end, cases[i].has_end);
    }
}

static void a_stranger_cannot_end_a_line(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 4000);
    text_to_header(&out, text_from(STR("a\r\nBcc: x\0\x7F\xC2\x85\xFF\xC3\xA9")), 100);
    assert_true(str_eq(buf_str(&out), STR("aBcc: x?\xC3\xA9")));
    buf_clear(&out);
    text_to_comment(&out, text_from(STR("a)(\\b")), 100);
    assert_true(str_eq(buf_str(&out), STR("a___b")));
    buf_clear(&out);
    text_to_header(&out, text_from(STR("h\xC3\xA9llo")), 2);
    assert_true(str_eq(buf_str(&out), STR("h")));
    buf_release(&out);
}

static void long_text_folds_and_unfolds_to_itself(void **state)
{
    (void)state;
    char text[400];
    struct buf out;
    struct buf back;
    buf_init(&out, 4000);
    buf_init(&back, 4000);
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = i % 9 == 8 ? ' ' : 'x';
    buf_append_str(&out, STR("X: "));
    text_to_header(&out, text_from(str_make(text, sizeof text)), 1000);
    struct str rest = buf_str(&out);
    struct str line;
    while (str_split(&rest, '\n', &line))
        assert_in_range(line.len, 1, 80);
    header_unfold(&back, str_skip(buf_str(&out), 3));
    assert_true(str_eq(buf_str(&back), str_make(text, sizeof text)));
    buf_release(&out);
    buf_release(&back);
}

static struct str received(struct buf *out, const struct received_facts *f)
{
    buf_init(out, 4000);
    assert_true(header_put_received(out, f));
    return buf_str(out);
}

static void a_received_field_says_all(void **state)
{
    (void)state;
    struct mailbox_address a;
    struct buf out;
    assert_int_equal(address_parse_mailbox(STR("alice@example.org"), &a), ADDRESS_OK);
    struct received_facts f = {.helo = text_from(STR("client.example")),
                               .rdns = text_from(STR("host.example")),
                               .peer = STR("2001:db8::1"),
                               .host = STR("mx.example.org"),
                               .protocol = STR("ESMTPS"),
                               .id = STR("abc123"),
                               .tls = STR("TLSv1.3"),
                               .cipher = STR("TLS_AES_256_GCM_SHA384"),
                               .recipient = &a,
                               .wall_ms = 1739485890000};
    struct str expected =
        STR("Received: from client.example (host.example [IPv6:2001:db8::1]) by\r\n"
            "\tmx.example.org (Postern) with ESMTPS (TLSv1.3 TLS_AES_256_GCM_SHA384) id\r\n"
            "\tabc123 for <alice@example.org>;\r\n"
            "\tThu, 13 Feb 2025 22:31:30 +0000\r\n");
    struct str field = received(&out, &f);
    if (!str_eq(field, expected))
        fail_msg("%.*s", STR_ARG(field));
    buf_release(&out);
}

static void a_local_client_is_a_user(void **state)
{
    (void)state;
    struct buf out;
    const uint32_t uid = 1000;
    struct received_facts f = {.helo = text_from(STR("whatever")),
                               .uid = &uid,
                               .host = STR("mx.example.org"),
                               .protocol = STR("ESMTP"),
                               .id = STR("abc123"),
                               .wall_ms = 1739485890000};
    struct str field = received(&out, &f);
    assert_true(
        str_eq(field, STR("Received: by mx.example.org (Postern, userid 1000) with ESMTP id "
                          "abc123;\r\n\tThu, 13 Feb 2025 22:31:30 +0000\r\n")));
    buf_release(&out);
}

static void a_hostile_helo_stays_one_word(void **state)
{
    (void)state;
    struct buf out;
    struct received_facts f = {.helo = text_from(STR("x) by evil;\r\nBcc: a\xFF")),
                               .peer = STR("192.0.2.1"),
                               .host = STR("mx"),
                               .protocol = STR("SMTP"),
                               .id = STR("1")};
    struct str field = received(&out, &f);
    assert_true(
        str_starts(field, STR("Received: from x??by?evil???Bcc:?a? (unknown [192.0.2.1]) by mx")));
    buf_release(&out);
}

static void our_other_fields_are_whole_lines(void **state)
{
    (void)state;
    struct buf out;
    struct mailbox_path path = {.is_null = true};
    buf_init(&out, 4000);
    assert_true(header_put_return_path(&out, &path));
    path.is_null = false;
    assert_int_equal(address_parse_mailbox(STR("\"a\"@b"), &path.mailbox), ADDRESS_OK);
    assert_true(header_put_return_path(&out, &path));
    assert_true(header_put_delivered_to(&out, &path.mailbox));
    assert_true(header_put_date(&out, 0));
    assert_true(header_put_message_id(&out, STR("12ab"), STR("mx")));
    assert_true(str_eq(buf_str(&out), STR("Return-Path: <>\r\nReturn-Path: <a@b>\r\n"
                                          "Delivered-To: a@b\r\n"
                                          "Date: Thu, 1 Jan 1970 00:00:00 +0000\r\n"
                                          "Message-ID: <12ab@mx>\r\n")));
    buf_release(&out);
}

static void tls_is_optional_where_exactly_one_field_says_so(void **state)
{
    (void)state;
    static const struct {
        struct str block;
        bool optional;
    } cases[] = {
        {STR("TLS-Required: No\r\n\r\n"), true},
        {STR("A: b\r\ntls-required :\r\n\tNO \r\n\r\nbody"), true},
        {STR("TLS-Required: No\r\nTLS-Required: No\r\n\r\n"), false},
        {STR("TLS-Required: No\r\nTLS-Required: Yes\r\n\r\n"), false},
        {STR("TLS-Required: Yes\r\n\r\n"), false},
        {STR("TLS-Required: No (really)\r\n\r\n"), false},
        {STR("TLS-Required:\r\n\r\n"), false},
        {STR("X-TLS-Required: No\r\n\r\n"), false},
        {STR("A: b\r\n\r\nTLS-Required: No\r\n"), false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct header_facts f;
        header_facts_of(cases[i].block, &f);
        assert_int_equal(f.tls_optional, cases[i].optional);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_read_and_unfolded),
        cmocka_unit_test(lines_that_are_no_fields_are_passed_over),
        cmocka_unit_test(unfolding_leaves_no_line_end),
        cmocka_unit_test(facts_are_counted),
        cmocka_unit_test(tls_is_optional_where_exactly_one_field_says_so),
        cmocka_unit_test(only_an_empty_line_ends_a_header),
        cmocka_unit_test(a_stranger_cannot_end_a_line),
        cmocka_unit_test(long_text_folds_and_unfolds_to_itself),
        cmocka_unit_test(a_received_field_says_all),
        cmocka_unit_test(a_local_client_is_a_user),
        cmocka_unit_test(a_hostile_helo_stays_one_word),
        cmocka_unit_test(our_other_fields_are_whole_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
