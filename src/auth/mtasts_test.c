#include "auth/mtasts.h"

#include "base/testing.h"

/* ---- The record -------------------------------------------------------------------------------
 */

static void expect_id(const char *const texts[], size_t count, const char *id)
{
    struct dns_row rows[4] = {0};
    struct str found = STR("");
    for (size_t i = 0; i < count; i++)
        rows[i].data = str_from_c(texts[i]);
    struct dns_facts facts = {.rows = rows, .row_count = count};
    assert_int_equal(mtasts_record_read(&facts, &found), id != NULL);
    assert_true(str_eq(found, str_from_c(id)));
}

static void expect_record(const char *text, const char *id)
{
    expect_id(&text, 1, id);
}

static void a_record_has_a_version_and_an_id(void **state)
{
    (void)state;
    expect_record("v=STSv1; id=20160831085700Z;", "20160831085700Z");
    expect_record("v=STSv1;id=1", "1");
    expect_record("v=STSv1 \t; \tid=1 ; x-y.z=a:b ", "1");
    expect_record("v=STSv1; x=y; id=a; id=b", "a");
    expect_record("v=STSv1; id=12345678901234567890123456789012",
                  "12345678901234567890123456789012");
}

static void what_is_no_record_is_none(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "v=STSv1",
                                        "v=STSv1;",
                                        "v=STSv1; id=",
                                        "v=STSv1; id=a-b",
                                        "V=STSv1; id=1",
                                        " v=STSv1; id=1",
                                        "v=STSv1; ID=1",
                                        "v=STSv11; id=1",
                                        "v=STSv1; id=1; ; x=y",
                                        "v=STSv1; id=1; x",
                                        "v=STSv1; id=1; x=",
                                        "v=STSv1; id=1; x=a b",
                                        "v=STSv1; id=1; -x=a",
                                        "v=STSv1; id=123456789012345678901234567890123",
                                        "id=1; v=STSv1"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        expect_record(texts[i], NULL);
}

static void more_than_one_record_is_none(void **state)
{
    (void)state;
    expect_id((const char *const[]){"v=spf1 -all", "v=STSv1; id=7", "x"}, 3, "7");
    expect_id((const char *const[]){"v=STSv1; id=7", "v=STSv1; id=7"}, 2, NULL);
    expect_id(NULL, 0, NULL);
    struct dns_row row = {.data = STR("v=STSv1; id=7")};
    struct dns_facts facts = {.outcome = DNS_BOGUS, .rows = &row, .row_count = 1};
    struct str id;
    assert_false(mtasts_record_read(&facts, &id));
}

/* ---- The policy -------------------------------------------------------------------------------
 */

static struct mtasts_policy read_policy(const char *text)
{
    struct mtasts_policy policy;
    struct diag diag = {0};
    if (!mtasts_policy_read(str_from_c(text), &policy, &diag))
        fail_msg("%s", diag.words);
    return policy;
}

static void expect_wrong(const char *text, const char *words)
{
    struct mtasts_policy policy;
    struct diag diag = {0};
    assert_false(mtasts_policy_read(str_from_c(text), &policy, &diag));
    assert_string_equal(diag.words, words);
}

static void a_policy_is_read(void **state)
{
    (void)state;
    struct mtasts_policy p =
        read_policy("version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\n"
                    "mx:*.example.net\r\nmx: backupmx.example.com  \r\n"
                    "max_age: 604800\r\n");
    assert_int_equal(p.mode, MTASTS_ENFORCE);
    assert_int_equal(p.max_age_s, 604800);
    struct str rest = p.text, mx;
    assert_true(mtasts_next_mx(&rest, &mx) && str_eq(mx, STR("mail.example.com")));
    assert_true(mtasts_next_mx(&rest, &mx) && str_eq(mx, STR("*.example.net")));
    assert_true(mtasts_next_mx(&rest, &mx) && str_eq(mx, STR("backupmx.example.com")));
    assert_false(mtasts_next_mx(&rest, &mx));

    p = read_policy("mode: testing\nmode: none\nmx: a.test\nfuture: thing: x\nversion: STSv1\n"
                    "max_age: 9999999999");
    assert_int_equal(p.mode, MTASTS_TESTING);
    assert_int_equal(p.max_age_s, 31557600);
    p = read_policy("version: STSv1\nmode: none\nmax_age: 0\n\n");
    assert_int_equal(p.mode, MTASTS_NONE);
}

static void what_is_wrong_with_a_policy_is_told(void **state)
{
    (void)state;
    expect_wrong("", "version is missing");
    expect_wrong("version: STSv1\nmode: enforce\nmax_age: 1\n", "mx is missing");
    expect_wrong("version: STSv1\nmode: enforce\nmx: a.test\n", "max_age is missing");
    expect_wrong("version: STSv1\nmax_age: 1\nmx: a.test\n", "mode is missing");
    expect_wrong("version: STSv2\n", "unknown version: \"STSv2\"");
    expect_wrong("version: STSv1\nmode: Enforce\n", "unknown mode: \"Enforce\"");
    expect_wrong("max_age: 12345678901\n", "wrong max_age: \"12345678901\"");
    expect_wrong("max_age: -1\n", "wrong max_age: \"-1\"");
    expect_wrong("mx: a..b\n", "wrong mx: \"a..b\"");
    expect_wrong("mx: *\n", "wrong mx: \"*\"");
    expect_wrong("mx: a.*.test\n", "wrong mx: \"a.*.test\"");
    expect_wrong("mx: a.test.\n", "wrong mx: \"a.test.\"");
    expect_wrong("mx: .a.test\n", "wrong mx: \".a.test\"");
    expect_wrong("version: STSv1\n\nmode: none\nmax_age: 1\n", "a line that is no field: \"\"");
    expect_wrong("<html>\n", "a line that is no field: \"\"");
    expect_wrong("<a: b\n", "a line that is no field: \"<a\"");
}

static void a_policy_too_big_is_refused(void **state)
{
    (void)state;
    static char text[MTASTS_POLICY_SIZE_MAX + 1];
    struct mtasts_policy policy;
    struct diag diag = {0};
    memset(text, '\n', sizeof text);
    assert_false(mtasts_policy_read(str_make(text, sizeof text), &policy, &diag));
    assert_string_equal(diag.words, "more than 65536 octets");
}

/* ---- Hosts ------------------------------------------------------------------------------------
 */

static void a_star_stands_for_one_label(void **state)
{
    (void)state;
    struct mtasts_policy p =
        read_policy("version: STSv1\nmode: enforce\nmx: Mail.example.com\nmx: *.example.net\n"
                    "max_age: 1\n");
    assert_true(mtasts_names_host(&p, STR("mail.example.com")));
    assert_true(mtasts_names_host(&p, STR("a.example.net")));
    assert_false(mtasts_names_host(&p, STR("example.net")));
    assert_false(mtasts_names_host(&p, STR("a.b.example.net")));
    assert_false(mtasts_names_host(&p, STR(".example.net")));
    assert_false(mtasts_names_host(&p, STR("a.mail.example.com")));
    assert_false(mtasts_names_host(&p, STR("")));
}

static void the_mode_says_what_a_host_must_have(void **state)
{
    (void)state;
    struct mtasts_policy p = read_policy("version: STSv1\nmode: enforce\nmx: a.test\nmax_age: 1\n");
    assert_int_equal(mtasts_check_host(&p, STR("a.test")), MTASTS_VERIFY);
    assert_int_equal(mtasts_check_host(&p, STR("b.test")), MTASTS_NOT_NAMED);
    p = read_policy("version: STSv1\nmode: testing\nmx: a.test\nmax_age: 1\n");
    assert_int_equal(mtasts_check_host(&p, STR("a.test")), MTASTS_WATCH);
    assert_int_equal(mtasts_check_host(&p, STR("b.test")), MTASTS_WATCH);
    p = read_policy("version: STSv1\nmode: none\nmax_age: 1\n");
    assert_int_equal(mtasts_check_host(&p, STR("b.test")), MTASTS_FREE);
}

static void a_kept_policy_is_refreshed_and_ends(void **state)
{
    (void)state;
    struct mtasts_policy p = {.max_age_s = 604800}; /* a week */
    assert_int_equal(mtasts_age_of(&p, STR("1"), 0, STR("1")), MTASTS_FRESH);
    assert_int_equal(mtasts_age_of(&p, STR("1"), 0, STR("")), MTASTS_FRESH);
    assert_int_equal(mtasts_age_of(&p, STR("1"), 0, STR("2")), MTASTS_REFRESH);
    assert_int_equal(mtasts_age_of(&p, STR("1"), 86400000, STR("1")), MTASTS_REFRESH);
    assert_int_equal(mtasts_age_of(&p, STR("1"), 604799999, STR("")), MTASTS_REFRESH);
    assert_int_equal(mtasts_age_of(&p, STR("1"), 604800000, STR("1")), MTASTS_EXPIRED);
    p.max_age_s = 100;
    assert_int_equal(mtasts_age_of(&p, STR("1"), 49999, STR("1")), MTASTS_FRESH);
    assert_int_equal(mtasts_age_of(&p, STR("1"), 50000, STR("1")), MTASTS_REFRESH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_has_a_version_and_an_id),
        cmocka_unit_test(what_is_no_record_is_none),
        cmocka_unit_test(more_than_one_record_is_none),
        cmocka_unit_test(a_policy_is_read),
        cmocka_unit_test(what_is_wrong_with_a_policy_is_told),
        cmocka_unit_test(a_policy_too_big_is_refused),
        cmocka_unit_test(a_star_stands_for_one_label),
        cmocka_unit_test(the_mode_says_what_a_host_must_have),
        cmocka_unit_test(a_kept_policy_is_refreshed_and_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
