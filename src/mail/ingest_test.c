#include "mail/ingest.h"

#include "base/testing.h"
#include "mail/search.h"

static const char message[] =
    "Received: by a\r\n"
    "Received: by b\r\n"
    "From: =?utf-8?q?J=C3=B6rg?= <j@example.org>\r\n"
    "Subject: =?iso-8859-1?q?Gr=FC=DFe?= there\r\n"
    "Date: Thu, 13 Feb 2025 23:31:30 +0100\r\n"
    "Message-ID: <1@x>\r\n"
    "Content-Type: multipart/mixed; boundary=b\r\n"
    "\r\n"
    "--b\r\n"
    "Content-Type: text/plain; charset=iso-8859-1\r\n"
    "Content-Transfer-Encoding: quoted-printable\r\n"
    "\r\n"
    "Die S=FC=\r\n"
    "d-See ist=20\r\n"
    "weit.\r\n"
    "--b\r\n"
    "Content-Type: text/html\r\n"
    "\r\n"
    "<style>p { hidden }</style><p class=\"attr\">caf&eacute; <b>un</b>seen</p>next &amp; last\r\n"
    "--b\r\n"
    "Content-Type: text/plain; charset=koi8-r\r\n"
    "Content-Transfer-Encoding: base64\r\n"
    "\r\n"
    "8NLJ18XU\r\n"
    "--b\r\n"
    "Content-Type: image/png; name=picture.png\r\n"
    "\r\n"
    "opaquebytes\r\n"
    "--b\r\n"
    "Content-Type: message/rfc822\r\n"
    "\r\n"
    "Subject: inside\r\n"
    "\r\n"
    "innermost\r\n"
    "--b--\r\n";

static void ingest_in_pieces(struct ingest *in, struct str bytes, size_t piece,
                             struct ingest_facts *facts)
{
    for (; bytes.len > 0; bytes = str_skip(bytes, piece))
        ingest_write(in, str_sub(bytes, 0, piece));
    assert_int_equal(ingest_finish(in, facts), STATUS_OK);
}

static void one_pass_learns_everything(void **state)
{
    (void)state;
    struct ingest *in = ingest_new();
    struct ingest_facts facts;
    struct str all = str_from_c(message);
    ingest_in_pieces(in, all, 100, &facts);
    assert_int_equal(facts.size, all.len);
    assert_int_equal(facts.header.received_count, 2);
    assert_int_equal(facts.header.from_count, 1);
    assert_int_equal(facts.header.date_count, 1);
    assert_true(str_eq(facts.header.message_id, STR("<1@x>")));
    assert_int_equal(facts.structure->count, 7);
    assert_true(str_eq(facts.structure->parts[0].envelope->message_id, STR("<1@x>")));
    ingest_free(in);
}

static void only_the_header_can_be_learnt(void **state)
{
    (void)state;
    struct str all = str_from_c(message);
    const struct str headless = STR("\r\nSubject: of the body\r\n\r\n");
    struct ingest_facts facts;
    for (size_t piece = 1; piece <= all.len; piece++) {
        struct ingest *in = ingest_new();
        ingest_only_header(in);
        ingest_in_pieces(in, all, piece, &facts);
        assert_int_equal(facts.size, all.len);
        assert_int_equal(facts.header.received_count, 2);
        assert_int_equal(facts.header.date_count, 1);
        assert_true(str_eq(facts.header.message_id, STR("<1@x>")));
        assert_null(facts.structure);
        assert_int_equal(facts.structure_blob.len + facts.signature.len, 0);
        ingest_reset(in);
        ingest_only_header(in);
        ingest_in_pieces(in, headless, piece, &facts);
        assert_int_equal(facts.header.subject.len, 0);
        ingest_reset(in);
        ingest_in_pieces(in, all, piece, &facts);
        assert_non_null(facts.structure);
        ingest_free(in);
    }
}

static void header_facts_come_with_the_end_of_the_header(void **state)
{
    (void)state;
    struct ingest *in = ingest_new();
    struct str all = str_from_c(message);
    size_t header = (size_t)str_find(all, STR("\r\n\r\n")) + 4;
    ingest_write(in, str_sub(all, 0, header - 1));
    assert_null(ingest_header(in));
    ingest_write(in, str_sub(all, header - 1, 1));
    assert_non_null(ingest_header(in));
    assert_int_equal(ingest_header(in)->received_count, 2);
    ingest_free(in);
}

static void pieces_make_no_difference(void **state)
{
    (void)state;
    struct ingest *whole = ingest_new();
    struct ingest *in = ingest_new();
    struct ingest_facts expected;
    struct ingest_facts facts;
    struct str all = str_from_c(message);
    ingest_in_pieces(whole, all, all.len, &expected);
    for (size_t piece = 1; piece < 80; piece += 1 + piece / 4) {
        ingest_reset(in);
        ingest_in_pieces(in, all, piece, &facts);
        assert_true(str_eq(facts.structure_blob, expected.structure_blob));
        assert_true(str_eq(facts.signature, expected.signature));
    }
    ingest_free(whole);
    ingest_free(in);
}

static bool finds(struct str text, const char *needle, enum search_scope scope, size_t piece)
{
    struct search_needle n;
    assert_true(needle_init(&n, str_from_c(needle)));
    struct message_search *s = message_search_new(&n, scope);
    bool found = false;
    for (; text.len > 0 && !found; text = str_skip(text, piece))
        found = message_search_write(s, str_sub(text, 0, piece));
    found = found || message_search_finish(s);
    message_search_free(s);
    needle_release(&n);
    return found;
}

static bool may_contain(struct str signature, const char *needle)
{
    struct search_needle n;
    assert_true(needle_init(&n, str_from_c(needle)));
    bool may = signature_may_contain(signature, &n);
    needle_release(&n);
    return may;
}

static void what_a_reader_sees_is_found(void **state)
{
    (void)state;
    static const char *const there[] = {
        "J\xC3\xB6rg <j@", "GR\xC3\x9CSSE there",
        "-See ist weit",   "caf\xC3\xA9 unseen",
        "next & last",     "\xD0\xBF\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82",
        "picture.png",     "inside",
        "innermost",       "received: by b",
    };
    static const char *const absent[] = {
        "opaquebytes", "hidden", "attr", "8NLJ18XU", "eacute", "weit. caf\xC3\xA9", "iso-8859-1?q"};
    struct ingest *in = ingest_new();
    struct ingest_facts facts;
    struct str all = str_from_c(message);
    ingest_in_pieces(in, all, 33, &facts);
    for (size_t i = 0; i < sizeof there / sizeof there[0]; i++)
        if (!may_contain(facts.signature, there[i]) || !finds(all, there[i], SEARCH_TEXT, 7))
            fail_msg("not found: %s", there[i]);
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++)
        if (finds(all, absent[i], SEARCH_TEXT, 11))
            fail_msg("found: %s", absent[i]);
    ingest_free(in);
}

static void the_body_is_not_the_header(void **state)
{
    (void)state;
    struct str all = str_from_c(message);
    assert_true(finds(all, "innermost", SEARCH_BODY, 1));
    assert_false(finds(all, "subject: inside", SEARCH_BODY, 1));
    assert_false(finds(all, "picture.png", SEARCH_BODY, 1));
    assert_true(finds(all, "subject: inside", SEARCH_TEXT, 1));
    assert_false(finds(all, "there", SEARCH_BODY, 1));
    assert_true(finds(all, "there", SEARCH_TEXT, 1));
}

static void an_empty_message_is_a_message(void **state)
{
    (void)state;
    struct ingest *in = ingest_new();
    struct ingest_facts facts;
    assert_int_equal(ingest_finish(in, &facts), STATUS_OK);
    assert_int_equal(facts.size, 0);
    assert_int_equal(facts.structure->count, 1);
    assert_int_equal(facts.header.date_count, 0);
    ingest_free(in);
}

static void hostile_parts_stay_within_memory(void **state)
{
    (void)state;
    struct ingest *in = ingest_new();
    struct ingest_facts facts;
    struct buf part;
    buf_init(&part, 1 << 20);
    buf_append_str(&part, STR("--b\r\nContent-Type: text/plain"));
    for (int i = 0; i < 1000; i++)
        buf_printf(&part, "; p%d=%040d", i, i);
    buf_append_str(&part, STR("\r\n\r\nx\r\n"));
    ingest_write(in, STR("Content-Type: multipart/mixed; boundary=b\r\n\r\n"));
    for (int i = 0; i < 200; i++)
        ingest_write(in, buf_str(&part));
    assert_int_equal(ingest_finish(in, &facts), STATUS_OK);
    assert_int_equal(facts.structure->count, 201);
    assert_in_range(facts.structure_blob.len, 1000, 1 << 20);
    buf_release(&part);
    ingest_free(in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_pass_learns_everything),
        cmocka_unit_test(only_the_header_can_be_learnt),
        cmocka_unit_test(header_facts_come_with_the_end_of_the_header),
        cmocka_unit_test(pieces_make_no_difference),
        cmocka_unit_test(what_a_reader_sees_is_found),
        cmocka_unit_test(the_body_is_not_the_header),
        cmocka_unit_test(an_empty_message_is_a_message),
        cmocka_unit_test(hostile_parts_stay_within_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
