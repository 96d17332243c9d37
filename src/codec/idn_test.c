#include "codec/idn.h"

#include "base/testing.h"

static void expect_names(const char *written, const char *ascii, const char *unicode)
{
    struct buf out;
    buf_init(&out, 1000);
    assert_true(idn_to_ascii(&out, str_from_c(written)));
    assert_true(str_eq(buf_str(&out), str_from_c(ascii)));
    buf_clear(&out);
    assert_true(idn_to_unicode(&out, str_from_c(written)));
    assert_true(str_eq(buf_str(&out), str_from_c(unicode)));
    buf_release(&out);
}

static void both_spellings_meet(void **state)
{
    (void)state;
    expect_names("Example.ORG", "example.org", "example.org");
    expect_names("a-1.2b.c", "a-1.2b.c", "a-1.2b.c");
    expect_names("B\xC3\xBC"
                 "cher.example",
                 "xn--bcher-kva.example",
                 "b\xC3\xBC"
                 "cher.example");
    expect_names("XN--BCHER-KVA.example", "xn--bcher-kva.example",
                 "b\xC3\xBC"
                 "cher.example");
    expect_names("fa\xC3\x9F.de", "xn--fa-hia.de", "fa\xC3\x9F.de");
    expect_names("\xE6\x97\xA5\xE6\x9C\xAC\xE3\x80\x82jp", "xn--wgv71a.jp",
                 "\xE6\x97\xA5\xE6\x9C\xAC.jp");
}

static void what_is_no_host_name_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        "-a.b",
        "a-.b",
        "a_b.c",
        "a b",
        "a\xC3.b",
        "\xC3\xBC..b",
        "\xC3\xBC.b.",
        "xn--a-.b",
        "xn--zzzzzzz99999.b",
        "\xD7\x90-a.example",
        "[10.0.0.1]",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b",
    };
    struct buf out;
    buf_init(&out, 1000);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(idn_to_ascii(&out, str_from_c(bad[i])));
        assert_false(idn_to_unicode(&out, str_from_c(bad[i])));
    }
    assert_int_equal(out.len, 0);
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_spellings_meet),
        cmocka_unit_test(what_is_no_host_name_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
