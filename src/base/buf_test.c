#include "base/buf.h"

#include "base/testing.h"

static void a_buf_grows_up_to_its_ceiling_and_no_further(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 200);
    for (int i = 0; i < 200; i++)
        assert_true(buf_append_byte(&b, (char)i));
    assert_int_equal(b.len, 200);
    assert_false(buf_append_byte(&b, 'x'));
    assert_int_equal(b.len, 200);
    for (int i = 0; i < 200; i++)
        assert_int_equal(b.ptr[i], (char)i);
    buf_release(&b);
}

static void a_failure_sticks_until_clear(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 4);
    assert_true(buf_append_str(&b, STR("abc")));
    assert_false(buf_append_str(&b, STR("de")));
    assert_false(buf_append_str(&b, STR("d")));
    assert_false(buf_append(&b, NULL, 0));
    assert_true(b.failed && str_eq(buf_str(&b), STR("abc")));
    buf_clear(&b);
    assert_true(buf_append_str(&b, STR("d")));
    buf_release(&b);
}

static void printf_leaves_its_text_and_no_nul(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    assert_true(buf_printf(&b, "%d-%s", 42, "xyz"));
    assert_true(str_eq(buf_str(&b), STR("42-xyz")));
    assert_false(buf_printf(&b, "%s", "long"));
    assert_true(b.failed && b.len == 6);
    buf_release(&b);
}

static void consume_and_truncate_keep_the_rest(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100);
    buf_append_str(&b, STR("hello world"));
    buf_consume(&b, 6);
    assert_true(str_eq(buf_str(&b), STR("world")));
    buf_truncate(&b, 3);
    assert_true(str_eq(buf_str(&b), STR("wor")));
    buf_consume(&b, 3);
    buf_consume(&b, 0);
    assert_int_equal(b.len, 0);
    buf_release(&b);
}

static void a_released_buf_can_be_used_again(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 3);
    buf_append_str(&b, STR("abcd"));
    buf_wipe(&b);
    assert_false(b.failed);
    assert_int_equal(b.max, 3);
    assert_true(buf_append_str(&b, STR("abc")));
    buf_release(&b);
}

static void a_secret_grows_like_anything_else(void **state)
{
    (void)state;
    struct buf b;
    buf_init_secret(&b, 1000);
    for (int i = 0; i < 100; i++)
        assert_true(buf_append_str(&b, STR("0123456789")));
    assert_false(buf_append_byte(&b, 'x'));
    assert_int_equal(b.len, 1000);
    assert_memory_equal(b.ptr + 990, "0123456789", 10);
    buf_release(&b);
    assert_true(b.secret && b.max == 1000 && !b.ptr);
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_buf_grows_up_to_its_ceiling_and_no_further),
        cmocka_unit_test(a_failure_sticks_until_clear),
        cmocka_unit_test(printf_leaves_its_text_and_no_nul),
        cmocka_unit_test(consume_and_truncate_keep_the_rest),
        cmocka_unit_test(a_released_buf_can_be_used_again),
        cmocka_unit_test(a_secret_grows_like_anything_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
