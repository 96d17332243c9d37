#include "codec/hex.h"

#include "base/testing.h"

static void bytes_become_digits_and_come_back(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 100);
    hex_encode(&out, STR("\0\x7F\xFF\xa5"));
    assert_true(str_eq(buf_str(&out), STR("007fffa5")));
    buf_clear(&out);
    assert_true(hex_decode(&out, STR("007FfFa5")));
    assert_true(str_eq(buf_str(&out), STR("\0\x7F\xFF\xa5")));
    buf_release(&out);
}

static void other_than_pairs_of_digits_is_refused(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 100);
    assert_false(hex_decode(&out, STR("0")));
    assert_false(hex_decode(&out, STR("000g")));
    assert_false(hex_decode(&out, STR("00 0")));
    assert_int_equal(out.len, 0);
    assert_true(hex_decode(&out, STR("")));
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_become_digits_and_come_back),
        cmocka_unit_test(other_than_pairs_of_digits_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
