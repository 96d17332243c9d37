#include "proto/smtp/scan.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/testing.h"

struct result {
    struct buf content;
    size_t used;
    bool end;
    enum smtp_scan_fault fault;
};

/* Feeds pieces of `piece` octets until the end mark or the end. */
static void scan_all(struct smtp_scan scan, struct str in, size_t piece, struct result *ret_result)
{
    buf_init(&ret_result->content, 1 << 20);
    ret_result->used = 0;
    ret_result->end = false;
    while (!ret_result->end && ret_result->used < in.len) {
        struct str span;
        size_t n =
            smtp_scan_take(&scan, str_sub(in, ret_result->used, piece), &span, &ret_result->end);
        assert_in_range(n, 1, piece);
        buf_append_str(&ret_result->content, span);
        ret_result->used += n;
    }
    ret_result->fault = scan.fault;
}

/* The rules once more, an octet at a time: what the scan must agree with. */
static void scan_slowly(struct str in, bool dots, struct result *ret_result)
{
    struct buf *out = &ret_result->content;
    bool line_start = true;
    *ret_result = (struct result){.fault = SMTP_SCAN_CLEAN};
    buf_init(out, 1 << 20);
    size_t i = 0;
    while (i < in.len) {
        struct str rest = str_skip(in, i);
        if (dots && line_start && str_starts(rest, STR(".\r\n"))) {
            ret_result->end = true;
            i += 3;
            break;
        }
        if (dots && line_start && rest.ptr[0] == '.') {
            i++;
            line_start = false;
            continue;
        }
        line_start = str_starts(rest, STR("\r\n"));
        if (!line_start && (rest.ptr[0] == '\r' || rest.ptr[0] == '\n' || rest.ptr[0] == '\0'))
            ret_result->fault = SMTP_SCAN_BARE_CR; /* or another: see below */
        size_t take = line_start ? 2 : 1;
        buf_append(out, rest.ptr, take);
        i += take;
    }
    ret_result->used = i;
}

static void compare(struct str in, bool dots, size_t piece)
{
    struct result quick, slow;
    struct smtp_scan scan = {.dots = dots, .line_size_max = 1000};
    scan_all(scan, in, piece, &quick);
    scan_slowly(in, dots, &slow);
    assert_int_equal(quick.end, slow.end);
    assert_int_equal(quick.used, slow.used);
    /* Without an end the last CR or dot may still be undecided. */
    if (slow.end) {
        assert_int_equal(quick.fault != SMTP_SCAN_CLEAN, slow.fault != SMTP_SCAN_CLEAN);
        if (slow.fault == SMTP_SCAN_CLEAN)
            assert_true(str_eq(buf_str(&quick.content), buf_str(&slow.content)));
    }
    buf_release(&quick.content);
    buf_release(&slow.content);
}

static void every_short_text_is_read_as_the_rules_say(void **state)
{
    (void)state;
    static const char alphabet[] = {'.', '\r', '\n', '\0', 'a'};
    enum { LENGTH = 7 };
    char text[LENGTH + 5];
    size_t count = 1;
    for (int i = 0; i < LENGTH; i++)
        count *= sizeof alphabet;
    for (size_t number = 0; number < count; number++) {
        size_t rest = number;
        for (int i = 0; i < LENGTH; i++, rest /= sizeof alphabet)
            text[i] = alphabet[rest % sizeof alphabet];
        for (int i = 0; i < 5; i++)
            text[LENGTH + i] = "\r\n.\r\n"[i];
        for (size_t piece = 1; piece <= 3; piece++)
            compare(str_make(text, sizeof text), true, piece);
        compare(str_make(text, sizeof text), true, sizeof text);
    }
}

static void faults_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        struct str text;
        enum smtp_scan_fault fault;
    } cases[] = {
        {STR("a\r\nb\r\n.\r\n"), SMTP_SCAN_CLEAN},
        {STR("a\rb\r\n.\r\n"), SMTP_SCAN_BARE_CR},
        {STR("a\nb\r\n.\r\n"), SMTP_SCAN_BARE_LF},
        {STR("a\0b\r\n.\r\n"), SMTP_SCAN_NUL},
        {STR("0123456789\r\n.\r\n"), SMTP_SCAN_LONG_LINE},
        {STR("01234567\r\n.\r\n"), SMTP_SCAN_CLEAN},
        {STR("\r\n\r\n\r\n\r\n\r\n\r\n\r\n.\r\n"), SMTP_SCAN_CLEAN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t piece = 1; piece <= cases[i].text.len; piece++) {
            struct result r;
            scan_all((struct smtp_scan){.dots = true, .line_size_max = 10}, cases[i].text, piece,
                     &r);
            assert_true(r.end);
            assert_int_equal(r.fault, cases[i].fault);
            buf_release(&r.content);
        }
    }
}

static void a_carriage_return_at_the_end_of_chunks_is_bare(void **state)
{
    (void)state;
    struct smtp_scan scan = {.line_size_max = 1000};
    struct str span;
    bool end;
    assert_int_equal(smtp_scan_take(&scan, STR(".\r\nx\r"), &span, &end), 5);
    assert_true(str_eq(span, STR(".\r\nx\r")));
    assert_int_equal(scan.fault, SMTP_SCAN_CLEAN);
    smtp_scan_finish(&scan);
    assert_int_equal(scan.fault, SMTP_SCAN_BARE_CR);
}

static void binary_chunks_pass_as_they_are(void **state)
{
    (void)state;
    struct smtp_scan scan = {.binary = true, .line_size_max = 1};
    struct str span;
    bool end;
    assert_int_equal(smtp_scan_take(&scan, STR("\r\0\n\r\n.\r\n"), &span, &end), 8);
    smtp_scan_finish(&scan);
    assert_int_equal(span.len, 8);
    assert_int_equal(scan.fault, SMTP_SCAN_CLEAN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_short_text_is_read_as_the_rules_say),
        cmocka_unit_test(faults_are_told_apart),
        cmocka_unit_test(a_carriage_return_at_the_end_of_chunks_is_bare),
        cmocka_unit_test(binary_chunks_pass_as_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
