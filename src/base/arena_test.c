#include "base/arena.h"

#include "base/testing.h"

static void memory_is_zeroed_and_aligned(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 100000);
    for (size_t size = 1; size < 300; size += 7) {
        unsigned char *ptr = arena_alloc(&a, size);
        assert_non_null(ptr);
        assert_int_equal((uintptr_t)ptr % _Alignof(max_align_t), 0);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(ptr[i], 0);
        memset(ptr, 0xAA, size);
    }
    arena_reset(&a);
    assert_int_equal(a.used, 0);
    arena_reset(&a);
}

static void the_budget_holds(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 4096);
    assert_null(arena_alloc(&a, 4097));
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_non_null(arena_alloc(&a, 4000));
    assert_null(arena_alloc(&a, 100));
    assert_non_null(arena_alloc(&a, 90));
    arena_reset(&a);
    assert_non_null(arena_alloc(&a, 4096));
    arena_wipe(&a);
}

static void an_array_that_overflows_is_refused(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, SIZE_MAX);
    assert_null(arena_alloc_array(&a, SIZE_MAX / 2, 3));
    assert_non_null(arena_alloc_array(&a, 10, 3));
    arena_reset(&a);
}

static void a_copy_is_its_own_and_terminated(void **state)
{
    (void)state;
    struct arena a;
    struct str copy = STR("untouched");
    char source[] = "abc";
    arena_init(&a, 64);
    assert_true(arena_dup(&a, str_make(source, 3), &copy));
    source[0] = 'x';
    assert_string_equal(copy.ptr, "abc");
    assert_true(arena_dup(&a, (struct str){0}, &copy));
    assert_int_equal(copy.len, 0);
    copy = STR("untouched");
    assert_false(arena_dup(&a, str_make(copy.ptr, 64), &copy));
    assert_true(str_eq(copy, STR("untouched")));
    arena_wipe(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_zeroed_and_aligned),
        cmocka_unit_test(the_budget_holds),
        cmocka_unit_test(an_array_that_overflows_is_refused),
        cmocka_unit_test(a_copy_is_its_own_and_terminated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
