#include "mail/search.h"

#include <stdio.h>

#include "base/testing.h"

/* Adds a text in pieces of one size. */
static void add(struct signature_builder *b, struct str text, size_t piece)
{
    for (; text.len > 0; text = str_skip(text, piece))
        signature_add(b, str_sub(text, 0, piece));
}

static struct str signature_of(struct buf *out, struct str text, size_t piece)
{
    struct signature_builder b;
    buf_init(out, 1 << 20);
    signature_init(&b);
    add(&b, text, piece);
    assert_true(signature_finish(&b, out));
    signature_release(&b);
    return buf_str(out);
}

static bool may_contain(struct str signature, struct str needle)
{
    struct search_needle n;
    assert_true(needle_init(&n, needle));
    bool may = signature_may_contain(signature, &n);
    needle_release(&n);
    return may;
}

static bool matches(struct str text, struct str needle, size_t piece)
{
    struct search_needle n;
    struct search_matcher m;
    assert_true(needle_init(&n, needle));
    matcher_init(&m, &n);
    for (; text.len > 0; text = str_skip(text, piece))
        matcher_add(&m, str_sub(text, 0, piece));
    bool found = matcher_gap(&m);
    matcher_release(&m);
    needle_release(&n);
    return found;
}

static const char mixed_text[] = "Hello  World,\r\n\tthis is Stra\xC3\x9F"
                                 "e J\xC3\xB6rg Jo\xCC\x88rg \xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E"
                                 " \xD0\x9F\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82 end. "
                                 "\xF0\x9F\x98\x80 bad \xFF\xC3 \xE2\x82 ok";

static bool is_tail(char c)
{
    return ((unsigned char)c & 0xC0) == 0x80;
}

static void every_substring_hits(void **state)
{
    (void)state;
    struct buf out;
    struct str text = str_from_c(mixed_text);
    struct str signature = signature_of(&out, text, 5);
    for (size_t from = 0; from < text.len; from++)
        for (size_t to = from + 3; to <= text.len; to++) {
            /* Between characters, and not before a combining mark: that is where words are cut. */
            if (is_tail(text.ptr[from]) || text.ptr[from] == '\xCC' ||
                (to < text.len && (is_tail(text.ptr[to]) || text.ptr[to] == '\xCC')))
                continue;
            struct str needle = str_sub(text, from, to - from);
            if (!may_contain(signature, needle) || !matches(text, needle, 3))
                fail_msg("missed: %.*s", STR_ARG(needle));
        }
    buf_release(&out);
}

static void case_and_white_space_do_not_count(void **state)
{
    (void)state;
    struct str text = str_from_c(mixed_text);
    assert_true(matches(text, STR("hello world, THIS"), 4));
    assert_true(matches(text, STR("STRASSE"), 1));
    assert_true(matches(text, STR("J\xC3\x96RG J\xC3\x96RG"), 2));
    assert_true(matches(text, STR("\xD0\x9F\xD0\xA0\xD0\x98"), 1));
    assert_true(matches(text, STR("\xE6\x9C\xAC"), 1));
    assert_true(matches(text, STR(""), 1));
    assert_true(matches(text, STR("."), 1));
    assert_false(matches(text, STR("helloworld"), 4));
    assert_false(matches(text, STR("absent"), 4));
}

static void pieces_make_no_difference(void **state)
{
    (void)state;
    struct buf text;
    struct buf whole;
    buf_init(&text, 1 << 20);
    /* Long enough for the large set, and with runs beyond ASCII that must be cut. */
    for (int i = 0; text.len < 60000; i++) {
        buf_printf(&text, "line %d of text\r\n", i * 7919);
        for (int n = 0; i % 50 == 0 && n < 700; n++)
            buf_append_str(&text, n % 5 ? STR("\xE6\x97\xA5") : STR("e\xCC\x81\xE2\x82"));
        for (int n = 0; i % 70 == 0 && n < 700; n++)
            buf_append_str(&text, STR("\xD0\x9F"));
    }
    struct str signature = signature_of(&whole, buf_str(&text), text.len);
    static const size_t pieces[] = {1, 2, 3, 5, 511, 512, 513, 4095, 4096, 4097, 30000};
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        struct buf out;
        if (!str_eq(signature_of(&out, buf_str(&text), pieces[i]), signature))
            fail_msg("pieces of %zu", pieces[i]);
        buf_release(&out);
    }
    assert_true(may_contain(signature, STR("line 7919 of text")));
    assert_false(may_contain(signature, STR("zyxwvutsrqponm")));
    buf_release(&text);
    buf_release(&whole);
}

static void texts_that_do_not_touch_share_no_needle(void **state)
{
    (void)state;
    struct signature_builder b;
    struct buf out;
    buf_init(&out, 1 << 20);
    signature_init(&b);
    signature_add(&b, STR("abc"));
    signature_gap(&b);
    signature_add(&b, STR("def"));
    assert_true(signature_finish(&b, &out));
    assert_true(may_contain(buf_str(&out), STR("abc")));
    assert_true(may_contain(buf_str(&out), STR("def")));
    assert_false(may_contain(buf_str(&out), STR("abcdef")));
    signature_release(&b);
    buf_release(&out);
}

static size_t size_of(struct str text)
{
    struct buf out;
    size_t size = signature_of(&out, text, 10000).len;
    buf_release(&out);
    return size;
}

static void the_size_is_about_a_third_with_floor_and_ceiling(void **state)
{
    (void)state;
    static const size_t sizes[][2] = {{0, 128},        {10, 128},      {4096, 1024},
                                      {5000, 2048},    {16384, 4096},  {20000, 8192},
                                      {300000, 65536}, {900000, 65536}};
    static char text[900000];
    uint32_t seed = 1;
    for (size_t i = 0; i < sizeof text; i++) {
        seed = seed * 1664525 + 1013904223;
        text[i] = (char)('!' + (seed >> 16) % 94);
    }
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        assert_int_equal(size_of(str_make(text, sizes[i][0])), sizes[i][1]);
}

static void a_text_that_repeats_itself_has_a_small_set(void **state)
{
    (void)state;
    static char text[300000];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)('a' + i % 26);
    assert_int_equal(size_of(str_make(text, sizeof text)), SIGNATURE_SIZE_MIN);
}

static void folding_is_the_same_wherever_eight_bytes_begin(void **state)
{
    (void)state;
    static const char words[] =
        "AZ@[`az{ ~ a  b\t\x7F\x01 \r\n c /09: \xC3\x84 ZZZZZZZZ   end of it";
    for (size_t from = 0; from < sizeof words - 1; from++) {
        struct search_needle once, twice;
        struct str text = str_make(words + from, sizeof words - 1 - from);
        struct buf slow;
        buf_init(&slow, 200);
        bool space = false;
        assert_true(needle_init(&once, text));
        for (size_t i = 0; i < once.folded.len; i++) {
            char c = once.folded.ptr[i];
            assert_false(c >= 'A' && c <= 'Z');
            assert_false(c == ' ' && space);
            assert_true((unsigned char)c >= ' ' && c != 0x7F);
            space = c == ' ';
            buf_append_byte(&slow, c);
        }
        assert_true(needle_init(&twice, buf_str(&slow)));
        assert_true(str_eq(buf_str(&once.folded), buf_str(&twice.folded)));
        needle_release(&once);
        needle_release(&twice);
        buf_release(&slow);
    }
}

/* Processor time for the signature of 2 MiB of this, over and over. */
static double seconds_for(struct str unit)
{
    enum { TEXT = 2 * 1024 * 1024 };
    struct buf text, out;
    buf_init(&text, TEXT);
    while (text.len + unit.len <= TEXT)
        buf_append_str(&text, unit);
    double before = testing_cost();
    signature_of(&out, buf_str(&text), 65536);
    double seconds = testing_cost() - before;
    buf_release(&out);
    buf_release(&text);
    return seconds;
}

/* A stranger's mail that took hundreds of times as long as other mail held everybody up. */
static void no_text_takes_much_longer_than_others(void **state)
{
    (void)state;
    struct buf unit;
    buf_init(&unit, 4096);
    while (unit.len < 3600)
        buf_append_str(&unit, STR("a\xC3\xA4"));
    while (unit.len < 4094)
        buf_append_str(&unit, STR("\xC3\xA4"));
    buf_append_str(&unit, STR("a"));
    double usual = seconds_for(STR("a\xC3\xA4"));
    double hostile = seconds_for(buf_str(&unit));
    buf_release(&unit);
    assert_true(hostile < 8 * usual + 0.1);
}

static void eight_bytes_fold_as_one_after_the_other(void **state)
{
    (void)state;
    static const char letters[] = "aZ@[ \r\n\t\x7F\x01";
    uint64_t x = 88172645463325252u;
    for (int round = 0; round < 2000; round++) {
        char text[100], slow[100];
        size_t slow_len = 0;
        for (size_t i = 0; i < sizeof text; i++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            /* Some rounds have few spaces, others hardly anything else. */
            text[i] = letters[x % (sizeof letters - 1) % (round % 9 + 2)];
            char c = text[i] == 'Z' ? 'z' : text[i] <= ' ' || text[i] == 0x7F ? ' ' : text[i];
            if (c != ' ' || slow_len == 0 || slow[slow_len - 1] != ' ')
                slow[slow_len++] = c;
        }
        struct search_needle n;
        assert_true(needle_init(&n, str_make(text, sizeof text)));
        assert_true(str_eq(buf_str(&n.folded), str_make(slow, slow_len)));
        needle_release(&n);
    }
}

static void short_needles_and_strange_signatures_pass(void **state)
{
    (void)state;
    struct buf out;
    struct str signature = signature_of(&out, STR("nothing"), 10);
    assert_true(may_contain(signature, STR("zz")));
    assert_false(may_contain(signature, STR("zzz")));
    assert_true(may_contain(str_sub(signature, 0, 100), STR("zzz")));
    assert_true(may_contain(STR(""), STR("zzz")));
    buf_release(&out);
}

static void a_needle_has_a_limit(void **state)
{
    (void)state;
    static char text[1001];
    struct search_needle n;
    memset(text, 'x', sizeof text);
    assert_false(needle_init(&n, str_make(text, 1001)));
    needle_release(&n);
    assert_true(needle_init(&n, str_make(text, 1000)));
    needle_release(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_substring_hits),
        cmocka_unit_test(case_and_white_space_do_not_count),
        cmocka_unit_test(pieces_make_no_difference),
        cmocka_unit_test(texts_that_do_not_touch_share_no_needle),
        cmocka_unit_test(the_size_is_about_a_third_with_floor_and_ceiling),
        cmocka_unit_test(a_text_that_repeats_itself_has_a_small_set),
        cmocka_unit_test(folding_is_the_same_wherever_eight_bytes_begin),
        cmocka_unit_test(no_text_takes_much_longer_than_others),
        cmocka_unit_test(eight_bytes_fold_as_one_after_the_other),
        cmocka_unit_test(short_needles_and_strange_signatures_pass),
        cmocka_unit_test(a_needle_has_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
