#include "proto/imap/view.h"

#include <stdio.h>

#include "base/testing.h"

/* Against a plain array of UIDs. */
static void a_view_numbers_messages_as_an_array_would(void **state)
{
    (void)state;
    enum { COUNT = 300 };
    struct imap_view v = {0};
    uint32_t uids[COUNT];
    uint32_t count = 0;
    uint64_t seed = 1;
    for (uint32_t uid = 1; count < COUNT; uid += 1 + (seed >> 60) % 3) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        assert_true(imap_view_append(&v, (struct imap_range){uid, uid}));
        uids[count++] = uid;
    }
    v.told = v.count;
    while (count > 0) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        uint32_t at = (uint32_t)(seed >> 33) % count;
        for (uint32_t i = 0; i < count; i++) {
            assert_int_equal(imap_view_uid(&v, i + 1), uids[i]);
            assert_int_equal(imap_view_seq(&v, uids[i]), i + 1);
        }
        assert_true(imap_view_remove(&v, uids[at]));
        assert_int_equal(imap_view_seq(&v, uids[at]), 0);
        count--;
        memmove(uids + at, uids + at + 1, (count - at) * sizeof *uids);
        assert_int_equal(v.count, count);
    }
    assert_int_equal(v.run_count, 0);
    imap_view_release(&v);
}

static void a_view_of_100000_messages_is_small(void **state)
{
    (void)state;
    struct imap_view v = {0};
    for (uint32_t i = 1; i <= 100000; i++) /* the worst: a gap behind each */
        assert_true(imap_view_append(&v, (struct imap_range){2 * i, 2 * i}));
    size_t worst = v.run_cap * sizeof *v.runs;
    printf("worst case: %zu octets a message\n", worst / 100000);
    assert_true(worst <= 12 * 100000);
    imap_view_release(&v);
    assert_true(imap_view_append(&v, (struct imap_range){1, 100000}));
    assert_int_equal(v.run_count, 1);
    imap_view_release(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_view_numbers_messages_as_an_array_would),
        cmocka_unit_test(a_view_of_100000_messages_is_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
