#include "proto/imap/utf7.h"

#include "base/testing.h"

static bool decodes(const char *wire, const char *utf8)
{
    struct buf out;
    buf_init(&out, 1000);
    bool good = imap_utf7_decode(&out, str_from_c(wire)) &&
                str_eq(buf_str(&out), str_from_c(utf8 ? utf8 : ""));
    buf_release(&out);
    return good;
}

static void names_have_one_form(void **state)
{
    (void)state;
    assert_true(decodes("INBOX", "INBOX"));
    assert_true(decodes("", ""));
    assert_true(decodes("R&-D", "R&D"));
    assert_true(decodes("~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/\xE5\x8F\xB0\xE5\x8C\x97/"
                                                           "\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E"));
    assert_true(decodes("&2D3eAA-", "\xF0\x9F\x98\x80"));
    assert_false(decodes("&Jjo", NULL));               /* no end */
    assert_false(decodes("&AGE-", NULL));              /* "a" needs no shift */
    assert_false(decodes("&U,BTFw-&ZeVnLIqe-", NULL)); /* superfluous shift */
    assert_false(decodes("&2D0-", NULL));              /* half a pair */
    assert_false(decodes("&U,BTFx-", NULL));           /* stray bits */
    assert_false(decodes("Entw\xC3\xBCrfe", NULL));    /* not encoded */
    assert_false(decodes("a\tb", NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_have_one_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
