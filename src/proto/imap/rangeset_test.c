#include "proto/imap/rangeset.h"

#include "base/testing.h"

static void sets_join_and_part(void **state)
{
    (void)state;
    struct imap_rangeset s = {0};
    struct imap_range slice[10];
    assert_true(imap_rangeset_add(&s, (struct imap_range){5, 6}));
    assert_true(imap_rangeset_add(&s, (struct imap_range){1, 2}));
    assert_true(imap_rangeset_add(&s, (struct imap_range){9, UINT32_MAX}));
    assert_int_equal(s.count, 3);
    assert_true(imap_rangeset_add(&s, (struct imap_range){3, 4}));
    assert_int_equal(s.count, 2);
    assert_true(imap_rangeset_contains(&s, 1) && imap_rangeset_contains(&s, 6));
    assert_false(imap_rangeset_contains(&s, 7));
    assert_true(imap_rangeset_remove(&s, (struct imap_range){3, 3}));
    assert_true(imap_rangeset_remove(&s, (struct imap_range){6, UINT32_MAX}));
    assert_int_equal(imap_set_size(imap_rangeset_set(&s)), 4);
    assert_int_equal(imap_set_slice(imap_rangeset_set(&s), 1, 2, slice), 2);
    assert_int_equal(slice[0].first, 2);
    assert_int_equal(slice[1].last, 4);
    assert_int_equal(imap_set_slice(imap_rangeset_set(&s), 5, 2, slice), 0);
    imap_rangeset_release(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_join_and_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
