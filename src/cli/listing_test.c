#include "cli/listing.h"

#include <stdlib.h>
#include <string.h>

#include "base/testing.h"

static const struct listing_column columns[] = {
    {"NAME", "name", LISTING_WORDS},    {"LIST", "list", LISTING_LIST},
    {"COUNT", "count", LISTING_NUMBER}, {"SIZE", "size", LISTING_SIZE},
    {"QUOTA", "quota", LISTING_QUOTA},  {"TIME", "time", LISTING_TIME},
    {"ON", "on", LISTING_YES_NO},
};

static void add_row(struct listing *l, struct str name, int64_t number)
{
    const struct str words[] = {STR("a"), STR("b")};
    listing_words(l, name);
    listing_list(l, words, 2);
    listing_number(l, number);
    listing_number(l, number);
    listing_number(l, number);
    listing_number(l, number);
    listing_yes_no(l, number > 0);
}

enum { MANY = 2500 };

enum shape { TABLE, RECORD, RECORDS, JSON_TABLE, JSON_RECORD };

/* What is printed of rows with these names; the caller frees it. */
static char *printed(enum shape shape, const struct str *names, size_t count, int64_t number)
{
    struct listing l;
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    listing_init(&l, columns, sizeof(columns) / sizeof(columns[0]));
    for (size_t i = 0; i < count; i++)
        add_row(&l, names[i], number);
    if (shape == TABLE || shape == JSON_TABLE)
        listing_print_table(&l, out, shape == JSON_TABLE, "none");
    else if (shape == RECORDS)
        listing_print_records(&l, out, false);
    else
        listing_print_record(&l, out, shape == JSON_RECORD);
    fclose(out);
    return text;
}

static void expect(enum shape shape, const struct str *names, size_t count, int64_t number,
                   const char *expected)
{
    char *text = printed(shape, names, count, number);
    assert_string_equal(text, expected);
    free(text);
}

static void a_table_is_aligned_by_characters(void **state)
{
    (void)state;
    const struct str names[] = {STR("x"), STR("m\xc3\xbcller")};
    expect(TABLE, names, 2, 1536,
           "NAME    LIST  COUNT  SIZE     QUOTA    TIME                      ON\n"
           "x       a, b  1536   1.5 KiB  1.5 KiB  1970-01-01T00:00:01.536Z  yes\n"
           "m\xc3\xbcller  a, b  1536   1.5 KiB  1.5 KiB  1970-01-01T00:00:01.536Z  yes\n");
    expect(TABLE, names, 0, 0, "none\n");
}

static void a_record_has_a_line_a_column(void **state)
{
    (void)state;
    const struct str name = STR("x");
    expect(
        RECORD, &name, 1, 0,
        "NAME             x\nLIST             a, b\nCOUNT            0\n"
        "SIZE             0 B\nQUOTA            none\nTIME             -\nON               no\n");
}

static void between_records_is_an_empty_line(void **state)
{
    (void)state;
    const struct str names[] = {STR("x"), STR("y")};
    char *text = printed(RECORDS, names, 2, 0);
    assert_non_null(strstr(text, "ON               no\n\nNAME             y\n"));
    free(text);
}

static void json_has_numbers_lists_and_nulls(void **state)
{
    (void)state;
    const struct str name = STR("x\"y");
    expect(JSON_RECORD, &name, 1, 0,
           "{\n  \"name\": \"x\\\"y\",\n  \"list\": [\n    \"a\",\n    \"b\"\n  ],\n"
           "  \"count\": 0,\n  \"size\": 0,\n  \"quota\": 0,\n  \"time\": null,\n"
           "  \"on\": false\n}\n");
    expect(JSON_TABLE, &name, 0, 0, "[]\n");
}

static void nothing_a_stranger_wrote_moves_the_cursor(void **state)
{
    (void)state;
    const struct str name = STR("a\x1b[2Jb\r\nc\xff\xc2\x9b"
                                "2J\xe2\x80\xae");
    char *text = printed(RECORD, &name, 1, 0);
    assert_null(strchr(text, 0x1b));
    assert_null(strchr(text, '\r'));
    assert_non_null(strstr(text, "a [2Jb  c\xef\xbf\xbd 2J \n"));
    free(text);
}

/* All at once, or page by page. */
static char *printed_many(enum listing_shape shape, bool json, bool paged)
{
    struct listing l;
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    listing_init(&l, columns, sizeof(columns) / sizeof(columns[0]));
    for (int i = 0; i < MANY; i++) {
        add_row(&l, STR("name"), 1);
        if (paged)
            listing_print_page(&l, out, json, shape);
    }
    if (paged) {
        fflush(out);
        assert_true(size > 0); /* it did not wait for the end */
    }
    if (shape == LISTING_TABLE)
        listing_print_table(&l, out, json, "none");
    else
        listing_print_records(&l, out, json);
    fclose(out);
    return text;
}

static void a_list_printed_in_pages_is_the_same(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        char *whole = printed_many((enum listing_shape)(i & 1), i & 2, false);
        char *paged = printed_many((enum listing_shape)(i & 1), i & 2, true);
        assert_string_equal(whole, paged);
        free(whole);
        free(paged);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_is_aligned_by_characters),
        cmocka_unit_test(a_record_has_a_line_a_column),
        cmocka_unit_test(between_records_is_an_empty_line),
        cmocka_unit_test(json_has_numbers_lists_and_nulls),
        cmocka_unit_test(a_list_printed_in_pages_is_the_same),
        cmocka_unit_test(nothing_a_stranger_wrote_moves_the_cursor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
