#include "ipc/cursor.h"

#include "base/testing.h"

static void what_is_put_is_read(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 1000);
    put_u8(&out, 0xAB);
    put_u16(&out, 0xABCD);
    put_u32(&out, 0xDEADBEEF);
    put_u64(&out, UINT64_MAX - 1);
    put_u8(&out, 1);
    put_bytes(&out, STR("a\0b"));
    put_bytes(&out, (struct str){0});
    struct cursor c = cursor_over(buf_str(&out), NULL);
    assert_int_equal(cursor_u8(&c), 0xAB);
    assert_int_equal(cursor_u16(&c), 0xABCD);
    assert_int_equal(cursor_u32(&c), 0xDEADBEEF);
    assert_true(cursor_u64(&c) == UINT64_MAX - 1);
    assert_true(cursor_bool(&c));
    assert_true(str_eq(cursor_bytes(&c), STR("a\0b")));
    assert_false(cursor_done(&c));
    assert_int_equal(cursor_bytes(&c).len, 0);
    assert_true(cursor_done(&c));
    buf_release(&out);
}

static void integers_are_little_endian(void **state)
{
    (void)state;
    struct cursor c = cursor_over(STR("\x01\x02\x03\x04"), NULL);
    assert_int_equal(cursor_u32(&c), 0x04030201);
}

static void a_failure_sticks_and_yields_zero(void **state)
{
    (void)state;
    struct cursor c = cursor_over(STR("\x01\x02\x03"), NULL);
    assert_int_equal(cursor_u32(&c), 0);
    assert_true(c.failed);
    assert_int_equal(cursor_u8(&c), 0);
    assert_false(cursor_done(&c));
    c = cursor_over(STR("\x02"), NULL);
    assert_false(cursor_bool(&c));
    assert_true(c.failed);
    c = cursor_over(STR("\x05\0\0\0four"), NULL);
    assert_int_equal(cursor_bytes(&c).len, 0);
    assert_true(c.failed);
}

static void a_list_has_room_only_where_its_bytes_are_there(void **state)
{
    (void)state;
    struct arena arena;
    size_t count = 7;
    arena_init(&arena, 4096);
    struct cursor c = cursor_over(STR("\x02\0\0\0abcd"), &arena);
    assert_non_null(cursor_list(&c, 2, 16, &count));
    assert_int_equal(count, 2);
    c = cursor_over(STR("\x03\0\0\0abcd"), &arena);
    assert_null(cursor_list(&c, 2, 16, &count));
    assert_true(c.failed && count == 0);
    c = cursor_over(STR("\xFF\xFF\xFF\xFF"), &arena);
    assert_null(cursor_list(&c, 1, SIZE_MAX / 2, &count));
    assert_true(c.failed && count == 0);
    c = cursor_over(STR("\0\0\0\0"), &arena);
    assert_null(cursor_list(&c, 1, 16, &count));
    assert_true(cursor_done(&c));
    c = cursor_over(STR("\x04\0\0\0abcd"), &arena);
    assert_null(cursor_list(&c, 1, 4096, &count));
    assert_true(c.failed);
    arena_reset(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_is_read),
        cmocka_unit_test(integers_are_little_endian),
        cmocka_unit_test(a_failure_sticks_and_yields_zero),
        cmocka_unit_test(a_list_has_room_only_where_its_bytes_are_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
