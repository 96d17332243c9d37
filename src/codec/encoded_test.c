#include "codec/encoded.h"

#include "base/testing.h"

static void expect_read(const char *value, const char *wanted)
{
    struct buf out;
    buf_init(&out, 1000);
    encoded_decode(&out, str_from_c(value));
    assert_false(out.failed);
    buf_append_byte(&out, '\0');
    assert_string_equal(out.ptr, wanted);
    buf_release(&out);
}

static void the_examples_of_rfc_2047(void **state)
{
    (void)state;
    expect_read("=?US-ASCII?Q?Keith_Moore?= <moore@cs.utk.edu>", "Keith Moore <moore@cs.utk.edu>");
    expect_read("=?ISO-8859-1?Q?Andr=E9?= Pirard", "Andr\xC3\xA9 Pirard");
    expect_read("=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=\r\n "
                "=?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?=",
                "If you can read this you understand the example.");
    expect_read("(=?ISO-8859-1?Q?a?=)", "(a)");
    expect_read("(=?ISO-8859-1?Q?a?= b)", "(a b)");
    expect_read("(=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=)", "(ab)");
    expect_read("(=?ISO-8859-1?Q?a?=  \r\n\t =?ISO-8859-1?Q?b?=)", "(ab)");
    expect_read("(=?ISO-8859-1?Q?a_b?=)", "(a b)");
    expect_read("(=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=)", "(a b)");
}

static void a_character_may_be_cut_between_words(void **state)
{
    (void)state;
    expect_read("=?utf-8?q?caf=C3?= =?UTF-8?Q?=A9?=", "caf\xC3\xA9");
    expect_read("=?utf-8*fr?b?w6k=?= =?utf-8?b?w6k=?=", "\xC3\xA9\xC3\xA9");
    expect_read("=?utf-8?q?=C3?= =?us-ascii?Q?x?=", "\xEF\xBF\xBDx");
}

static void what_only_looks_like_one_stays(void **state)
{
    (void)state;
    expect_read("=?x-nobody?q?a?= b", "=?x-nobody?q?a?= b");
    expect_read("=?utf-8?x?a?=", "=?utf-8?x?a?=");
    expect_read("=?utf-8?q?a", "=?utf-8?q?a");
    expect_read("=?utf-8?q?a?b", "=?utf-8?q?a?b");
    expect_read("1 =? 2 == 3?=", "1 =? 2 == 3?=");
    expect_read("=?=?utf-8?q?a?=", "=?a");
    expect_read("", "");
}

static void the_result_is_one_line_of_utf8(void **state)
{
    (void)state;
    expect_read("a\r\n b\n\tc", "a b\tc");
    expect_read("=?utf-8?q?a=0D=0ABcc:_x=00?=", "a  Bcc: x ");
    expect_read("caf\xE9", "caf\xEF\xBF\xBD");
    expect_read("=?utf-8?q?=4=?=", "=4=");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_examples_of_rfc_2047),
        cmocka_unit_test(a_character_may_be_cut_between_words),
        cmocka_unit_test(what_only_looks_like_one_stays),
        cmocka_unit_test(the_result_is_one_line_of_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
