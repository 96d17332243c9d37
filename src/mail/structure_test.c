#include "mail/structure.h"

#include "base/testing.h"
#include "mail/mime.h"

#define MIXED "Content-Type: multipart/mixed; boundary=b\r\n\r\n"

/* Appends the stored form of the message's structure. */
static void encode(struct str message, struct buf *blob)
{
    static struct mime_parser p;
    struct arena arena;
    struct mime_event event;
    const struct structure *s;
    arena_init(&arena, 1 << 20);
    mime_init(&p, &arena);
    do
        mime_next(&p, &message, &event);
    while (event.kind != MIME_MORE);
    while (!mime_end(&p, &event))
        ;
    assert_int_equal(mime_structure(&p, &s), STATUS_OK);
    assert_true(structure_encode(s, blob));
    mime_release(&p);
    arena_reset(&arena);
}

static struct str section(const struct structure *s, struct str message, const char *path_text,
                          enum section_kind kind)
{
    uint32_t path[8];
    size_t len = 0;
    uint64_t offset;
    uint64_t size;
    for (; *path_text; path_text++)
        if (*path_text != '.')
            path[len++] = (uint32_t)(*path_text - '0');
    if (!structure_section(s, path, len, kind, &offset, &size))
        return STR("none");
    assert_in_range(offset + size, 0, message.len);
    return str_sub(message, (size_t)offset, (size_t)size);
}

static void sections_are_cut_out(void **state)
{
    (void)state;
    struct str message =
        STR(MIXED "--b\r\nX: 1\r\n\r\none\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
                  "Subject: in\r\nContent-Type: multipart/x; boundary=c\r\n\r\n"
                  "--c\r\nY: 2\r\n\r\ntwo\r\n--c--\r\n--b\r\n"
                  "Content-Type: message/rfc822\r\n\r\nSubject: s\r\n\r\nthree\r\n--b--\r\n");
    static const struct {
        const char *path;
        enum section_kind kind;
        const char *expected;
    } cases[] = {
        {"1", SECTION_BODY, "one"},
        {"1", SECTION_MIME, "X: 1\r\n\r\n"},
        {"1", SECTION_HEADER, "none"},
        {"1.1", SECTION_BODY, "none"},
        {"2.1", SECTION_BODY, "two"},
        {"2.1", SECTION_MIME, "Y: 2\r\n\r\n"},
        {"2", SECTION_MIME, "Content-Type: message/rfc822\r\n\r\n"},
        {"2", SECTION_HEADER, "Subject: in\r\nContent-Type: multipart/x; boundary=c\r\n\r\n"},
        {"2", SECTION_TEXT, "--c\r\nY: 2\r\n\r\ntwo\r\n--c--"},
        {"2.2", SECTION_BODY, "none"},
        {"2.1.1", SECTION_BODY, "none"},
        {"3.1", SECTION_BODY, "three"},
        {"3", SECTION_TEXT, "three"},
        {"3", SECTION_BODY, "Subject: s\r\n\r\nthree"},
        {"3.2", SECTION_BODY, "none"},
        {"4", SECTION_BODY, "none"},
        {"0", SECTION_BODY, "none"},
        {"", SECTION_MIME, "none"},
        {"", SECTION_HEADER, MIXED},
    };
    struct buf blob;
    struct arena arena;
    struct structure s;
    buf_init(&blob, 1 << 20);
    arena_init(&arena, 1 << 20);
    encode(message, &blob);
    assert_int_equal(structure_decode(buf_str(&blob), &arena, &s), STATUS_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct str got = section(&s, message, cases[i].path, cases[i].kind);
        if (!str_eq(got, str_from_c(cases[i].expected)))
            fail_msg("%s %d: %.*s", cases[i].path, cases[i].kind, STR_ARG(got));
    }
    assert_true(str_eq(section(&s, message, "", SECTION_BODY), message));
    buf_release(&blob);
    arena_reset(&arena);
}

static void part_one_of_a_plain_message_is_its_text(void **state)
{
    (void)state;
    struct str message = STR("A: 1\r\n\r\nx\r\n");
    struct structure_envelope envelope = {0};
    struct structure_part part = {.header_size = 8,
                                  .body_offset = 8,
                                  .body_size = 3,
                                  .parent = PART_NONE,
                                  .first_child = PART_NONE,
                                  .next_sibling = PART_NONE,
                                  .envelope = &envelope};
    struct structure s = {&part, 1};
    assert_true(str_eq(section(&s, message, "1", SECTION_BODY), STR("x\r\n")));
    assert_true(str_eq(section(&s, message, "", SECTION_TEXT), STR("x\r\n")));
    assert_true(str_eq(section(&s, message, "1", SECTION_MIME), STR("A: 1\r\n\r\n")));
    assert_true(str_eq(section(&s, message, "2", SECTION_BODY), STR("none")));
    assert_true(str_eq(section(&s, message, "1.1", SECTION_BODY), STR("none")));
}

static void broken_records_are_told_from_foreign_ones(void **state)
{
    (void)state;
    struct buf blob;
    struct arena arena;
    struct structure s;
    buf_init(&blob, 1 << 20);
    arena_init(&arena, 1 << 20);
    encode(STR("Subject: x\r\n" MIXED "--b\r\n\r\n1\r\n--b--"), &blob);
    struct str record = buf_str(&blob);
    for (size_t len = 0; len < record.len; len++)
        assert_int_equal(structure_decode(str_sub(record, 0, len), &arena, &s), STATUS_CORRUPT);
    buf_append_byte(&blob, 0);
    assert_int_equal(structure_decode(buf_str(&blob), &arena, &s), STATUS_CORRUPT);
    blob.ptr[0]++;
    assert_int_equal(structure_decode(buf_str(&blob), &arena, &s), STATUS_UNSUPPORTED);
    blob.ptr[0]--;
    arena_reset(&arena);
    arena_init(&arena, 16);
    assert_int_equal(structure_decode(record, &arena, &s), STATUS_NO_MEMORY);
    buf_release(&blob);
    arena_reset(&arena);
}

static void parameters_are_found_by_name(void **state)
{
    (void)state;
    struct structure_param params[] = {{STR("a"), STR("1")}, {STR("b"), STR("2")}};
    assert_true(str_eq(structure_param_of(params, 2, STR("b")), STR("2")));
    assert_true(str_empty(structure_param_of(params, 2, STR("c"))));
    assert_true(str_empty(structure_param_of(NULL, 0, STR("c"))));
}

/* A record of a lone text/plain part, with one number of it replaced. */
static enum status_code decode_patched(size_t at, char value)
{
    char record[] = "\1\1\4\0\0\2\3\0\5text\6plain\0057bit\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    struct arena arena;
    struct structure s;
    arena_init(&arena, 1 << 20);
    record[at] = value;
    enum status_code code = structure_decode(str_make(record, sizeof record - 1), &arena, &s);
    arena_reset(&arena);
    return code;
}

static void broken_promises_are_corrupt(void **state)
{
    (void)state;
    enum { VERSION, COUNT, FLAGS, PARENT, HEADER_OFFSET };
    assert_int_equal(decode_patched(VERSION, 1), STATUS_OK);
    assert_int_equal(decode_patched(COUNT, 0), STATUS_CORRUPT);
    assert_int_equal(decode_patched(COUNT, 2), STATUS_CORRUPT);
    assert_int_equal(decode_patched(FLAGS, 0), STATUS_CORRUPT);
    assert_int_equal(decode_patched(FLAGS, 5), STATUS_CORRUPT);
    assert_int_equal(decode_patched(FLAGS, 6), STATUS_CORRUPT);
    assert_int_equal(decode_patched(FLAGS, 12), STATUS_CORRUPT);
    assert_int_equal(decode_patched(PARENT, 1), STATUS_CORRUPT);
    assert_int_equal(decode_patched(HEADER_OFFSET, 1), STATUS_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sections_are_cut_out),
        cmocka_unit_test(part_one_of_a_plain_message_is_its_text),
        cmocka_unit_test(broken_records_are_told_from_foreign_ones),
        cmocka_unit_test(parameters_are_found_by_name),
        cmocka_unit_test(broken_promises_are_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
