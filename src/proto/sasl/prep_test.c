#include "proto/sasl/prep.h"

#include "base/testing.h"

static bool prepares_to(struct str raw, struct str want)
{
    struct buf out;
    buf_init(&out, 100);
    bool ok = sasl_prepare(raw, &out) && str_eq(buf_str(&out), want);
    buf_release(&out);
    return ok;
}

static bool is_refused(struct str raw)
{
    struct buf out;
    buf_init(&out, 100);
    bool refused = !sasl_prepare(raw, &out) && out.len == 0;
    buf_release(&out);
    return refused;
}

static void ascii_stays_as_it_is(void **state)
{
    (void)state;
    assert_true(prepares_to(STR("Correct Horse ~!"), STR("Correct Horse ~!")));
}

/* RFC 8265 §4.3, table 4. */
static void spaces_and_compositions_are_made_alike(void **state)
{
    (void)state;
    assert_true(prepares_to(STR("\xCF\x80\xC3\x9F\xC3\xA5"), STR("\xCF\x80\xC3\x9F\xC3\xA5")));
    assert_true(prepares_to(STR("Jack of \xE2\x99\xA6s"), STR("Jack of \xE2\x99\xA6s")));
    assert_true(prepares_to(STR("foo\xE1\x9A\x80"
                                "bar"),
                            STR("foo bar")));
    assert_true(prepares_to(STR("u\xCC\x88"), STR("\xC3\xBC")));
    assert_true(prepares_to(STR("\xF0\x9F\x98\x80"), STR("\xF0\x9F\x98\x80")));
}

static void joiners_stand_only_behind_a_virama(void **state)
{
    (void)state;
    struct str ok = STR("\xE0\xA4\x95\xE0\xA5\x8D\xE2\x80\x8D\xE0\xA4\xB7");
    assert_true(prepares_to(ok, ok));
    assert_true(is_refused(STR("a\xE2\x80\x8D"
                               "b")));
}

static void what_the_profile_forbids_is_refused(void **state)
{
    (void)state;
    assert_true(is_refused(STR("")));
    assert_true(is_refused(STR("my cat is a \x09"
                               "by")));
    assert_true(is_refused(STR("nul\0inside")));
    assert_true(is_refused(STR("\xC3")));         /* half a character */
    assert_true(is_refused(STR("\xC0\xAF")));     /* overlong */
    assert_true(is_refused(STR("\xED\xA0\x80"))); /* surrogate */
    assert_true(is_refused(STR("\xC2\xAD"
                               "a")));            /* soft hyphen: ignorable */
    assert_true(is_refused(STR("\xE2\x80\xA8"))); /* line separator */
    assert_true(is_refused(STR("\xE1\x84\x80"))); /* old Hangul jamo */
    assert_true(is_refused(STR("\xEE\x80\x80"))); /* private use */
    assert_true(is_refused(STR("\xEF\xBF\xBF"))); /* noncharacter */
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 3);
    assert_false(sasl_prepare(STR("\xC3\xBC\xC3\xBC"), &out));
    assert_int_equal(out.len, 0);
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ascii_stays_as_it_is),
        cmocka_unit_test(spaces_and_compositions_are_made_alike),
        cmocka_unit_test(joiners_stand_only_behind_a_virama),
        cmocka_unit_test(what_the_profile_forbids_is_refused),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
