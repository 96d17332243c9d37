#include "codec/date.h"

#include "base/testing.h"

static void every_day_of_the_calendar_comes_back(void **state)
{
    (void)state;
    struct civil first = {.year = 0, .month = 1, .day = 1};
    int64_t ms, previous_ms;
    assert_true(civil_to_ms(&first, &previous_ms));
    previous_ms -= 86400000;
    int weekday = 6; /* 0000-01-01 was a Saturday */
    for (int64_t day = 0; day < 3652425 - 1; day++) {
        struct civil c = civil_from_ms(previous_ms + 86400000, 0);
        assert_true(civil_to_ms(&c, &ms));
        assert_int_equal(ms, previous_ms + 86400000);
        assert_int_equal(c.weekday, weekday);
        weekday = (weekday + 1) % 7;
        previous_ms = ms;
    }
}

static void expect_written(int64_t ms, int zone, const char *mail, const char *imap)
{
    struct buf out;
    int64_t back_ms;
    int back_zone;
    buf_init(&out, 100);
    date_format_mail(&out, ms, zone);
    assert_true(str_eq(buf_str(&out), str_from_c(mail)));
    assert_true(date_parse_mail(buf_str(&out), &back_ms, &back_zone));
    assert_int_equal(back_ms, ms);
    assert_int_equal(back_zone, zone);
    buf_clear(&out);
    date_format_imap(&out, ms, zone);
    assert_true(str_eq(buf_str(&out), str_from_c(imap)));
    assert_true(date_parse_imap(buf_str(&out), &back_ms, &back_zone));
    assert_int_equal(back_ms, ms);
    assert_int_equal(back_zone, zone);
    buf_release(&out);
}

static void dates_are_written_as_mail_and_imap_want_them(void **state)
{
    (void)state;
    expect_written(0, 0, "Thu, 1 Jan 1970 00:00:00 +0000", " 1-Jan-1970 00:00:00 +0000");
    expect_written(1739485890000, 60, "Thu, 13 Feb 2025 23:31:30 +0100",
                   "13-Feb-2025 23:31:30 +0100");
    expect_written(-1000, -210, "Wed, 31 Dec 1969 20:29:59 -0330", "31-Dec-1969 20:29:59 -0330");
    expect_written(951782400000, 0, "Tue, 29 Feb 2000 00:00:00 +0000",
                   "29-Feb-2000 00:00:00 +0000");
}

static void iso_is_read_in_every_zone_and_nothing_else_is(void **state)
{
    (void)state;
    static const struct {
        const char *words;
        int64_t ms; /* -1: not a date-time */
    } cases[] = {
        {"2025-02-13T22:31:30Z", 1739485890000},
        {"2025-02-13t22:31:30.125z", 1739485890125},
        {"2025-02-13T22:31:30.1259999Z", 1739485890125},
        {"2025-02-13T22:31:30.5Z", 1739485890500},
        {"2025-02-13T23:31:30+01:00", 1739485890000},
        {"2025-02-13T17:01:30-05:30", 1739485890000},
        {"2025-02-13T22:31:30", -1},
        {"2025-02-13 22:31:30Z", -1},
        {"2025-02-13T22:31Z", -1},
        {"2025-02-13T22:31:30.Z", -1},
        {"2025-02-13T22:31:30+0100", -1},
        {"2025-02-13T22:31:30+01:60", -1},
        {"2025-02-30T22:31:30Z", -1},
        {"2025-2-13T22:31:30Z", -1},
        {"2025-02-13T22:31:30Zx", -1},
        {"", -1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t ms = -1;
        assert_int_equal(date_parse_iso(str_from_c(cases[i].words), &ms), cases[i].ms >= 0);
        assert_int_equal(ms, cases[i].ms);
    }
}

static void iso_has_milliseconds_and_the_range_is_clamped(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 100);
    date_format_iso(&out, 1739485890125);
    assert_true(str_eq(buf_str(&out), STR("2025-02-13T22:31:30.125Z")));
    buf_clear(&out);
    date_format_mail(&out, INT64_MAX, 60);
    assert_true(str_eq(buf_str(&out), STR("Fri, 31 Dec 9999 23:59:59 +0100")));
    buf_clear(&out);
    date_format_iso(&out, INT64_MIN);
    assert_true(str_starts(buf_str(&out), STR("0000-01-01T00:00:00.")));
    buf_release(&out);
}

static void the_dates_of_old_software_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = {
        {"13 Feb 2025 23:31:30 +0100", 1739485890000},
        {"Thu, 13 Feb 2025 23:31 +0100", 1739485860000},
        {"thu,13 FEB 2025 23:31:30+0100 (CET (really \\) it is))", 1739485890000},
        {"Thu (a day),\r\n 13\tFeb 2025 23 : 31 : 30 (x) +0100", 1739485890000},
        {"Fri, 21 Nov 97 09:55:06 -0600", 880127706000},
        {"21 Nov 097 09:55:06 CST", 880127706000},
        {"21 Nov 1997 15:55:06 GMT", 880127706000},
        {"21 Nov 1997 15:55:06 Q", 880127706000},
        {"21 Nov 1997 15:55:06", 880127706000},
        {"Thu 21 Nov 97 15:55:06 UT", 880127706000},
        {"1 Jan 49 00:00 +0000", 2493072000000},
        {"31 Dec 1998 23:59:60 +0000", 915148800000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t ms = 0;
        assert_true(date_parse_mail(str_from_c(cases[i].text), &ms, NULL));
        assert_int_equal(ms, cases[i].ms);
    }
}

static void what_is_no_moment_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "Thu",
        "Thu, 13",
        "31 Nov 2025 10:00:00 +0000",
        "29 Feb 1900 10:00:00 +0000",
        "1 Jan 2025 24:00:00 +0000",
        "1 Jan 2025 10:60 +0000",
        "1 Jan 2025 10 +0000",
        "1 Foo 2025 10:00 +0000",
        "0 Jan 2025 10:00 +0000",
        "1 Jan 2025 10:00 +9959",
    };
    int64_t ms = 42;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(date_parse_mail(str_from_c(bad[i]), &ms, NULL));
    assert_false(date_parse_imap(STR("17-Jul-1996 02:44:25"), &ms, NULL));
    assert_false(date_parse_imap(STR("17-Jul-1996 02:44:25 -0700 "), &ms, NULL));
    assert_false(date_parse_imap(STR("32-Jul-1996 02:44:25 -0700"), &ms, NULL));
    assert_false(date_parse_imap_day(STR("30-Feb-1994"), &ms));
    assert_false(date_parse_imap_day(STR("1-Feb-94"), &ms));
    assert_int_equal(ms, 42);
    assert_true(date_parse_imap_day(STR("1-feb-1994"), &ms));
    assert_int_equal(ms, 760060800000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_day_of_the_calendar_comes_back),
        cmocka_unit_test(dates_are_written_as_mail_and_imap_want_them),
        cmocka_unit_test(iso_is_read_in_every_zone_and_nothing_else_is),
        cmocka_unit_test(iso_has_milliseconds_and_the_range_is_clamped),
        cmocka_unit_test(the_dates_of_old_software_are_read),
        cmocka_unit_test(what_is_no_moment_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
