#include "mail/mime.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/testing.h"

/* ---- a structure as text: one part a line ---- */

static size_t depth_of(const struct structure *s, uint32_t part)
{
    size_t depth = 0;
    for (; s->parts[part].parent != PART_NONE; part = s->parts[part].parent)
        depth++;
    return depth;
}

static void put_params(struct buf *out, const struct structure_param *params, size_t count)
{
    for (size_t i = 0; i < count; i++)
        buf_printf(out, " %.*s=%.*s", STR_ARG(params[i].name), STR_ARG(params[i].value));
}

static void put_named(struct buf *out, const char *name, struct str s)
{
    if (s.ptr)
        buf_printf(out, " %s=[%.*s]", name, STR_ARG(s));
}

static void put_part(struct buf *out, const struct structure *s, uint32_t part)
{
    const struct structure_part *p = &s->parts[part];
    buf_printf(out, "%*s%.*s/%.*s %.*s %lu+%lu+%lu l%lu", (int)depth_of(s, part), "",
               STR_ARG(p->type), STR_ARG(p->subtype), STR_ARG(p->encoding), p->header_offset,
               p->header_size, p->body_size, p->lines);
    put_params(out, p->params, p->param_count);
    put_named(out, "id", p->id);
    put_named(out, "desc", p->description);
    put_named(out, "disp", p->disposition);
    put_params(out, p->disposition_params, p->disposition_param_count);
    put_named(out, "lang", p->language);
    put_named(out, "loc", p->location);
    put_named(out, "md5", p->md5);
    if (p->envelope) {
        put_named(out, "subject", p->envelope->subject);
        put_named(out, "from", p->envelope->from);
        put_named(out, "to", p->envelope->to);
        put_named(out, "cc", p->envelope->cc);
    }
    buf_append_byte(out, '\n');
}

/* ---- parsing in pieces of one size ---- */

/* Appends the structure, and then, for each part, what was told of its header and body. */
static void parse(struct str message, size_t piece, struct buf *out, struct buf *blob)
{
    struct arena arena;
    struct mime_parser *p = malloc(sizeof *p);
    struct mime_event event;
    struct buf bodies;
    const struct structure *s;
    arena_init(&arena, 8 << 20);
    buf_init(&bodies, 1 << 20);
    mime_init(p, &arena);
    uint32_t body_of = PART_NONE;
    while (message.len > 0) {
        struct str bytes = str_sub(message, 0, piece);
        message = str_skip(message, piece);
        for (mime_next(p, &bytes, &event); event.kind != MIME_MORE; mime_next(p, &bytes, &event)) {
            if (event.kind == MIME_HEADER || event.part != body_of)
                buf_printf(&bodies, "%s%u:", event.kind == MIME_HEADER ? "\nH" : "\nB", event.part);
            body_of = event.kind == MIME_BODY ? event.part : PART_NONE;
            buf_append_str(&bodies, event.bytes);
        }
    }
    while (!mime_end(p, &event)) {
        if (event.kind == MIME_HEADER || event.part != body_of)
            buf_printf(&bodies, "%s%u:", event.kind == MIME_HEADER ? "\nH" : "\nB", event.part);
        body_of = event.kind == MIME_BODY ? event.part : PART_NONE;
        buf_append_str(&bodies, event.bytes);
    }
    assert_int_equal(mime_structure(p, &s), STATUS_OK);
    for (uint32_t i = 0; i < s->count; i++)
        put_part(out, s, i);
    if (blob)
        assert_true(structure_encode(s, blob));
    buf_append_byte(out, '\f');
    buf_append_str(out, buf_str(&bodies));
    buf_release(&bodies);
    mime_release(p);
    arena_reset(&arena);
    free(p);
}

static struct str structure_text(struct buf *out)
{
    return str_sub(buf_str(out), 0, (size_t)str_find_byte(buf_str(out), '\f'));
}

/* What was stored is what was found. */
static void expect_decodes(struct str blob, struct str expected)
{
    struct arena arena;
    struct structure s;
    struct buf out;
    arena_init(&arena, 8 << 20);
    buf_init(&out, 1 << 20);
    assert_int_equal(structure_decode(blob, &arena, &s), STATUS_OK);
    for (uint32_t i = 0; i < s.count; i++)
        put_part(&out, &s, i);
    assert_true(str_eq(buf_str(&out), expected));
    buf_release(&out);
    arena_reset(&arena);
}

static void expect_structure(struct str message, const char *expected)
{
    struct buf whole;
    struct buf blob;
    buf_init(&whole, 1 << 20);
    buf_init(&blob, 1 << 20);
    parse(message, message.len ? message.len : 1, &whole, &blob);
    if (expected && !str_eq(structure_text(&whole), str_from_c(expected)))
        fail_msg("%.*s\n  is\n%.*s", STR_ARG(message), STR_ARG(buf_str(&whole)));
    expect_decodes(buf_str(&blob), structure_text(&whole));
    for (size_t piece = 1; piece <= 7; piece += 2) {
        struct buf pieces;
        buf_init(&pieces, 1 << 20);
        parse(message, piece, &pieces, NULL);
        if (!str_eq(buf_str(&pieces), buf_str(&whole)))
            fail_msg("in pieces of %zu:\n%.*s\nnot\n%.*s", piece, STR_ARG(buf_str(&pieces)),
                     STR_ARG(buf_str(&whole)));
        buf_release(&pieces);
    }
    buf_release(&whole);
    buf_release(&blob);
}

#define MIXED "Content-Type: multipart/mixed; boundary=b\r\n\r\n"

/* ---- messages as they should be ---- */

static void single_parts_are_read(void **state)
{
    (void)state;
    expect_structure(STR("Subject: x\r\nFrom: a@b\r\n\r\none\r\ntwo\r\n"),
                     "text/plain 7bit 0+25+10 l2 subject=[x] from=[a@b]\n");
    expect_structure(
        STR("Content-Type: Text/HTML; Charset=\"UTF-8\" (c); x=y z\r\n"
            "Content-Transfer-Encoding: Quoted-Printable\r\n"
            "Content-ID: <i>\r\nContent-Description: d\r\n e\r\n"
            "Content-Disposition: Attachment; FileName=\"a\\\"b.txt\"\r\n"
            "Content-Language: en, de\r\nContent-Location: u\r\nContent-MD5: m\r\n\r\nx"),
        "text/html quoted-printable 0+262+1 l0 charset=UTF-8 x=y z id=[<i>] desc=[d e]"
        " disp=[attachment] filename=a\"b.txt lang=[en, de] loc=[u] md5=[m]\n");
}

static void multiparts_are_read(void **state)
{
    (void)state;
    expect_structure(STR(MIXED "preamble\r\n--b\r\n\r\none\r\n--b\r\nContent-Type: image/png\r\n"
                               "Content-Transfer-Encoding: BASE64\r\n\r\nAAAA\r\n\r\n--b--\r\nend"),
                     "multipart/mixed 7bit 0+45+107 l11 boundary=b\n"
                     " text/plain 7bit 60+2+3 l0\n"
                     " image/png base64 72+62+6 l1\n");
}

static void nested_messages_are_read(void **state)
{
    (void)state;
    expect_structure(STR(MIXED "--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n" MIXED
                               "--b\r\n\r\nx\r\n--b--\r\n"),
                     NULL);
    expect_structure(STR("Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nx\r\n"),
                     "message/rfc822 7bit 0+32+18 l3\n"
                     " text/plain 7bit 32+15+3 l1 subject=[in]\n");
    expect_structure(
        STR("Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\n"
            "Subject: in\r\n\r\nx\r\n--b\r\nContent-Type: text/plain\r\n\r\ny\r\n--b--"),
        "multipart/digest 7bit 0+46+66 l9 boundary=b\n"
        " message/rfc822 7bit 51+2+16 l2\n"
        "  text/plain 7bit 53+15+1 l0 subject=[in]\n"
        " text/plain 7bit 76+28+1 l0\n");
}

/* ---- messages as they are ---- */

static void a_missing_end_is_no_harm(void **state)
{
    (void)state;
    expect_structure(STR(MIXED "--b\r\n\r\none"), "multipart/mixed 7bit 0+45+10 l2 boundary=b\n"
                                                  " text/plain 7bit 50+2+3 l0\n");
    expect_structure(STR(MIXED "--b\r\nContent-Type: te"),
                     "multipart/mixed 7bit 0+45+21 l1 boundary=b\n"
                     " text/plain 7bit 50+16+0 l0\n");
    expect_structure(STR("Subject: no body"), "text/plain 7bit 0+16+0 l0 subject=[no body]\n");
    expect_structure(STR("Subject: x\r\n"), "text/plain 7bit 0+12+0 l0 subject=[x]\n");
    expect_structure(STR(""), "text/plain 7bit 0+0+0 l0\n");
    expect_structure(STR("\r\n"), "text/plain 7bit 0+2+0 l0\n");
    expect_structure(STR("\r"), "text/plain 7bit 0+1+0 l0\n");
}

static void empty_multiparts_get_an_empty_part(void **state)
{
    (void)state;
    expect_structure(STR(MIXED "--b--\r\n"), "multipart/mixed 7bit 0+45+7 l1 boundary=b\n"
                                             " text/plain 7bit 52+0+0 l0\n");
    expect_structure(STR(MIXED), "multipart/mixed 7bit 0+45+0 l0 boundary=b\n"
                                 " text/plain 7bit 45+0+0 l0\n");
    expect_structure(STR(MIXED "--b\r\n--b\r\n--b--"),
                     "multipart/mixed 7bit 0+45+15 l2 boundary=b\n"
                     " text/plain 7bit 50+0+0 l0\n"
                     " text/plain 7bit 55+0+0 l0\n");
    expect_structure(STR(MIXED "--b\r\nContent-Type: multipart/x; boundary=c\r\n\r\n--b--\r\n"),
                     "multipart/mixed 7bit 0+45+53 l4 boundary=b\n"
                     " multipart/x 7bit 50+41+0 l0 boundary=c\n"
                     "  text/plain 7bit 91+0+0 l0\n");
}

static void a_multipart_without_boundary_is_text(void **state)
{
    (void)state;
    expect_structure(STR("Content-Type: multipart/mixed\r\n\r\n--b\r\n\r\nx"),
                     "text/plain 7bit 0+33+8 l2\n");
    expect_structure(STR("Content-Type: multipart/mixed; boundary=\"\"\r\n\r\nx"),
                     "text/plain 7bit 0+46+1 l0\n");
}

static void what_only_begins_like_a_boundary_is_content(void **state)
{
    (void)state;
    expect_structure(STR(MIXED
                         "--b\r\n\r\n--bb\r\n--b-\r\n --b\r\n--\r\n-\r\n--b x\r\n--b--x\r\nx--b\r\n"
                         "--b-- \t\r\n"),
                     "multipart/mixed 7bit 0+45+62 l11 boundary=b\n"
                     " text/plain 7bit 50+2+44 l7\n");
}

static void the_inner_boundary_may_begin_with_the_outer(void **state)
{
    (void)state;
    expect_structure(
        STR("Content-Type: multipart/a; boundary=x\r\n\r\n--x\r\n"
            "Content-Type: multipart/b; boundary=x--\r\n\r\n--x--\r\n\r\n1\r\n--x----\r\n"
            "--x\r\n\r\n2\r\n--x--\r\n"),
        "multipart/a 7bit 0+41+86 l11 boundary=x\n"
        " multipart/b 7bit 46+43+19 l3 boundary=x--\n"
        "  text/plain 7bit 96+2+1 l0\n"
        " text/plain 7bit 115+2+1 l0\n");
}

static void an_outer_delimiter_closes_what_is_inside(void **state)
{
    (void)state;
    expect_structure(
        STR(MIXED "--b\r\nContent-Type: multipart/x; boundary=\"c \"\r\n\r\n--c\r\n\r\nin\r\n"
                  "--b\r\n\r\nout\r\n--c\r\n--b--\r\n"),
        "multipart/mixed 7bit 0+45+84 l11 boundary=b\n"
        " multipart/x 7bit 50+44+9 l2 boundary=c \n"
        "  text/plain 7bit 99+2+2 l0\n"
        " text/plain 7bit 110+2+8 l1\n");
}

static void lines_may_end_with_lf(void **state)
{
    (void)state;
    expect_structure(STR("Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\ntwo\n--b--\n"),
                     "multipart/mixed 7bit 0+43+19 l5 boundary=b\n"
                     " text/plain 7bit 47+1+7 l1\n");
}

static void encoded_messages_stay_shut(void **state)
{
    (void)state;
    expect_structure(STR("Content-Type: message/rfc822; name=a\r\n"
                         "Content-Transfer-Encoding: base64\r\n\r\nU3ViamVjdDogeA0KDQo=\r\n"),
                     "application/octet-stream base64 0+75+22 l1 name=a\n");
}

static void the_first_of_two_fields_counts(void **state)
{
    (void)state;
    expect_structure(STR("Subject: a\r\nSubject: b\r\nContent-Type: text/a\r\n"
                         "Content-Type: text/b\r\n\r\n"),
                     "text/a 7bit 0+70+0 l0 subject=[a]\n");
}

static void all_fields_of_recipients_count(void **state)
{
    (void)state;
    expect_structure(STR("To: a@b\r\nCc: c@d\r\nto: g: e@f;\r\nCC: h@i\r\nTO:\r\n j@k\r\n\r\n"),
                     "text/plain 7bit 0+53+0 l0 to=[a@b, g: e@f;, j@k] cc=[c@d, h@i]\n");
}

/* RFC 2231 §3 and §4. All of these say "a-%41". */
static void boundaries_may_come_in_pieces(void **state)
{
    (void)state;
    static const char *const given[] = {
        "boundary*0=a-; boundary*1=%41", "boundary*=us-ascii'en'a-%2541",
        "boundary*1=%41; boundary*0*=''a%2d; boundary*3=x", "boundary*=a-x; boundary=a-%41"};
    for (size_t i = 0; i < sizeof given / sizeof given[0]; i++) {
        char message[200];
        struct buf out;
        buf_init(&out, 4096);
        snprintf(message, sizeof message,
                 "Content-Type: multipart/mixed; %s\r\n\r\n--a-%%41\r\n\r\nx\r\n--a-%%41--\r\n",
                 given[i]);
        parse(str_from_c(message), 10, &out, NULL);
        assert_true(str_find(buf_str(&out), STR("+2+1 l0\n")) > 0);
        buf_release(&out);
    }
}

static void broken_content_types_are_text(void **state)
{
    (void)state;
    static const char *const broken[] = {"",   "text",         "/", "text/", "; charset=x",
                                         "(c", "\"text/html\""};
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        char message[100];
        char expected[100];
        snprintf(message, sizeof message, "Content-Type: %s\r\n\r\n", broken[i]);
        snprintf(expected, sizeof expected, "text/plain 7bit 0+%zu+0 l0\n", strlen(message));
        expect_structure(str_from_c(message), expected);
    }
}

/* ---- limits ---- */

static size_t count_parts(struct str message, size_t *ret_depth)
{
    struct buf out;
    struct buf blob;
    struct arena arena;
    struct structure s;
    buf_init(&out, 1 << 20);
    buf_init(&blob, 1 << 20);
    arena_init(&arena, 8 << 20);
    parse(message, 1000, &out, &blob);
    assert_int_equal(structure_decode(buf_str(&blob), &arena, &s), STATUS_OK);
    for (uint32_t i = 0; i < s.count; i++)
        if (depth_of(&s, i) > *ret_depth)
            *ret_depth = depth_of(&s, i);
    size_t count = s.count;
    buf_release(&out);
    buf_release(&blob);
    arena_reset(&arena);
    return count;
}

static void endless_nesting_and_parts_are_cut(void **state)
{
    (void)state;
    static const char *const unit[] = {"Content-Type: message/rfc822\r\n\r\n", MIXED "--b\r\n",
                                       "--b\r\n\r\nx\r\n", MIXED "\r\n--b\r\n\r\n--b\r\n"};
    for (size_t i = 0; i < sizeof unit / sizeof unit[0]; i++) {
        struct buf message;
        size_t depth = 0;
        buf_init(&message, 1 << 20);
        buf_append_str(&message, STR(MIXED));
        buf_append_str(&message, STR("--b\r\n"));
        for (size_t n = 0; n < 3000; n++)
            buf_append_str(&message, str_from_c(unit[i]));
        assert_in_range(count_parts(buf_str(&message), &depth), 2,
                        LIMIT_MIME_PARTS + LIMIT_MIME_DEPTH);
        assert_in_range(depth, 1, LIMIT_MIME_DEPTH);
        buf_release(&message);
    }
}

static void a_huge_header_is_cut(void **state)
{
    (void)state;
    struct buf message;
    struct buf out;
    buf_init(&message, 4 << 20);
    buf_init(&out, 4 << 20);
    buf_append_str(&message, STR("Subject: first\r\n"));
    while (message.len < 2 * LIMIT_HEADER_SIZE)
        buf_append_str(&message, STR("X-Filler: 0123456789012345678901234567890123456789\r\n"));
    buf_append_str(&message, STR("From: not@seen\r\n\r\nbody"));
    parse(buf_str(&message), 4096, &out, NULL);
    struct str text = structure_text(&out);
    assert_true(str_find(text, STR("subject=[first]\n")) > 0);
    assert_true(str_find(text, STR("+4 l0")) > 0);
    buf_release(&message);
    buf_release(&out);
}

static void full_memory_is_told(void **state)
{
    (void)state;
    struct mime_parser *p = malloc(sizeof *p);
    for (size_t budget = 0; budget < 3000; budget += 97) {
        struct arena arena;
        struct mime_event event;
        const struct structure *s;
        struct str bytes = STR("Subject: x\r\n" MIXED "--b\r\n\r\n1\r\n--b\r\n\r\n2\r\n--b--");
        arena_init(&arena, budget);
        mime_init(p, &arena);
        do
            mime_next(p, &bytes, &event);
        while (event.kind != MIME_MORE);
        while (!mime_end(p, &event))
            ;
        if (budget < 1500)
            assert_int_equal(mime_structure(p, &s), STATUS_NO_MEMORY);
        mime_release(p);
        arena_reset(&arena);
    }
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(single_parts_are_read),
        cmocka_unit_test(multiparts_are_read),
        cmocka_unit_test(nested_messages_are_read),
        cmocka_unit_test(a_missing_end_is_no_harm),
        cmocka_unit_test(empty_multiparts_get_an_empty_part),
        cmocka_unit_test(a_multipart_without_boundary_is_text),
        cmocka_unit_test(what_only_begins_like_a_boundary_is_content),
        cmocka_unit_test(the_inner_boundary_may_begin_with_the_outer),
        cmocka_unit_test(an_outer_delimiter_closes_what_is_inside),
        cmocka_unit_test(lines_may_end_with_lf),
        cmocka_unit_test(encoded_messages_stay_shut),
        cmocka_unit_test(the_first_of_two_fields_counts),
        cmocka_unit_test(all_fields_of_recipients_count),
        cmocka_unit_test(boundaries_may_come_in_pieces),
        cmocka_unit_test(broken_content_types_are_text),
        cmocka_unit_test(endless_nesting_and_parts_are_cut),
        cmocka_unit_test(a_huge_header_is_cut),
        cmocka_unit_test(full_memory_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
