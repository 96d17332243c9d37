#include "base/str.h"

#include "base/testing.h"

static void split_yields_empty_middles_but_no_end(void **state)
{
    (void)state;
    struct str rest = STR("a,,b"), part;
    assert_true(str_split(&rest, ',', &part) && str_eq(part, STR("a")));
    assert_true(str_split(&rest, ',', &part) && str_empty(part));
    assert_true(str_split(&rest, ',', &part) && str_eq(part, STR("b")));
    assert_false(str_split(&rest, ',', &part));
}

static void numbers_are_digits_within_max(void **state)
{
    (void)state;
    uint64_t value = 7;
    assert_true(str_to_u64(STR("18446744073709551615"), UINT64_MAX, &value));
    assert_true(value == UINT64_MAX);
    assert_false(str_to_u64(STR("18446744073709551616"), UINT64_MAX, &value));
    assert_false(str_to_u64(STR("+1"), 10, &value));
    assert_false(str_to_u64(STR(""), 10, &value));
    assert_false(str_to_u64(STR("11"), 10, &value));
    assert_true(value == UINT64_MAX);
}

static void find_and_trim(void **state)
{
    (void)state;
    assert_int_equal(str_find(STR("hello"), STR("ll")), 2);
    assert_int_equal(str_find(STR("hello"), STR("lo!")), -1);
    assert_int_equal(str_rfind_byte(STR("a@b@c"), '@'), 3);
    assert_true(str_eq(str_trim(STR(" \t x y\t")), STR("x y")));
    assert_true(str_empty(str_trim(STR(" \t"))));
}

static void a_c_string_has_no_nul_inside(void **state)
{
    (void)state;
    char out[4];
    assert_true(str_to_c(STR("abc"), out, sizeof out));
    assert_string_equal(out, "abc");
    assert_false(str_to_c(STR("abcd"), out, sizeof out));
    assert_false(str_to_c(STR("a\0b"), out, sizeof out));
    assert_string_equal(out, "");
}

/* The numbers are those of FNV's own test suite. */
static void a_hash_is_the_same_in_any_case(void **state)
{
    (void)state;
    assert_true(str_hash_nocase(STR("")) == 0xCBF29CE484222325u);
    assert_true(str_hash_nocase(STR("a")) == 0xAF63DC4C8601EC8Cu);
    assert_true(str_hash_nocase(STR("foobar")) == 0x85944171F73967E8u);
    assert_true(str_hash_nocase(STR("FooBAR")) == 0x85944171F73967E8u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(split_yields_empty_middles_but_no_end),
        cmocka_unit_test(numbers_are_digits_within_max),
        cmocka_unit_test(find_and_trim),
        cmocka_unit_test(a_c_string_has_no_nul_inside),
        cmocka_unit_test(a_hash_is_the_same_in_any_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
