#include "base/status.h"

#include <errno.h>

#include "base/testing.h"

static void every_status_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (int a = 0; a < STATUS_COUNT; a++) {
        assert_non_null(status_name((enum status_code)a));
        for (int b = 0; b < a; b++)
            assert_string_not_equal(status_name((enum status_code)a),
                                    status_name((enum status_code)b));
    }
}

static void what_time_can_heal_is_temporary(void **state)
{
    (void)state;
    assert_true(status_is_temporary(STATUS_DISK_FULL));
    assert_true(status_is_temporary(STATUS_NO_MEMORY));
    assert_true(status_is_temporary(STATUS_GONE));
    assert_false(status_is_temporary(STATUS_OK));
    assert_false(status_is_temporary(STATUS_DENIED));
    assert_false(status_is_temporary(STATUS_TOO_BIG));
}

static void errno_values_find_their_status(void **state)
{
    (void)state;
    assert_int_equal(status_from_errno(0), STATUS_OK);
    assert_int_equal(status_from_errno(ENOSPC), STATUS_DISK_FULL);
    assert_int_equal(status_from_errno(EDQUOT), STATUS_DISK_FULL);
    assert_int_equal(status_from_errno(ENOMEM), STATUS_NO_MEMORY);
    assert_int_equal(status_from_errno(EPIPE), STATUS_GONE);
    assert_int_equal(status_from_errno(ENOENT), STATUS_NOT_FOUND);
    assert_int_equal(status_from_errno(EIO), STATUS_IO);
    assert_int_equal(status_from_errno(99999), STATUS_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_has_a_name_of_its_own),
        cmocka_unit_test(what_time_can_heal_is_temporary),
        cmocka_unit_test(errno_values_find_their_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
