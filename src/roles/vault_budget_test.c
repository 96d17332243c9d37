#include "roles/vault_budget.h"

#include "base/limits.h"
#include "base/testing.h"

static int64_t read_clock(void *context)
{
    return *(const int64_t *)context;
}

static void without_a_clock_only_the_count_says_how_much(void **state)
{
    (void)state;
    struct vault_budget b = {0};
    vault_budget_begin(&b);
    assert_int_equal(vault_budget_rows(&b, WORK_FLAGS), LIMIT_VAULT_SLICE);
    vault_budget_used(&b, LIMIT_VAULT_SLICE - 10);
    assert_int_equal(vault_budget_rows(&b, WORK_FLAGS), 10);
    vault_budget_used(&b, 10);
    assert_int_equal(vault_budget_rows(&b, WORK_FLAGS), 0);
    assert_false(vault_budget_is_spent(&b));
    vault_budget_begin(&b);
    assert_int_equal(vault_budget_rows(&b, WORK_FLAGS), LIMIT_VAULT_SLICE);
}

static void slices_are_as_large_as_the_time_left_has_room_for(void **state)
{
    (void)state;
    int64_t us = 5000;
    struct vault_budget b = {.clock_us = read_clock, .context = &us};
    vault_budget_begin(&b);
    unsigned first = vault_budget_rows(&b, WORK_FLAGS);
    us += first * 40; /* 40 µs each */
    vault_budget_used(&b, first);
    vault_budget_begin(&b);
    assert_int_equal(vault_budget_rows(&b, WORK_FLAGS), 10000 / 40);
    us += 5000;
    assert_int_equal(vault_budget_rows(&b, WORK_FLAGS), 5000 / 40);
    us += 5000;
    vault_budget_used(&b, 5000 / 40);
    assert_int_equal(vault_budget_rows(&b, WORK_FLAGS), 0);
    assert_true(vault_budget_is_spent(&b));
}

static void a_slow_disk_makes_them_small_at_once_and_a_quick_one_large_by_and_by(void **state)
{
    (void)state;
    int64_t us = 0;
    struct vault_budget b = {.clock_us = read_clock, .context = &us, .row_ns = {10000}};
    vault_budget_begin(&b);
    unsigned before = vault_budget_rows(&b, WORK_FLAGS);
    us += 1000 * (int64_t)before;
    vault_budget_used(&b, before);
    vault_budget_begin(&b);
    assert_int_equal(vault_budget_rows(&b, WORK_FLAGS), 16); /* and yet it gets on */
    unsigned last = 0;
    for (int i = 0; i < 200; i++) {
        vault_budget_begin(&b);
        unsigned rows = vault_budget_rows(&b, WORK_FLAGS);
        assert_true(rows >= last);
        last = rows;
        us += 10 * (int64_t)rows;
        vault_budget_used(&b, rows);
    }
    assert_int_equal(last, LIMIT_VAULT_SLICE);
}

static void what_one_kind_of_work_takes_says_nothing_of_another(void **state)
{
    (void)state;
    int64_t us = 0;
    struct vault_budget b = {.clock_us = read_clock, .context = &us, .row_ns = {1000}};
    vault_budget_begin(&b);
    assert_int_equal(vault_budget_rows(&b, WORK_FLAGS), LIMIT_VAULT_SLICE);
    assert_int_equal(vault_budget_rows(&b, WORK_COPY), 128);
    us += 128 * 50;
    vault_budget_used(&b, 128);
    vault_budget_begin(&b);
    assert_int_equal(vault_budget_rows(&b, WORK_COPY), 200);
    assert_int_equal(vault_budget_rows(&b, WORK_FLAGS), LIMIT_VAULT_SLICE);
}

static void a_late_request_gets_on_where_it_is_the_first(void **state)
{
    (void)state;
    int64_t us = 0;
    struct vault_budget b = {.clock_us = read_clock, .context = &us, .row_ns = {10000}};
    vault_budget_begin(&b);
    us = 50000; /* the mail before it took all the time */
    assert_true(vault_budget_is_spent(&b));
    assert_int_equal(vault_budget_rows(&b, WORK_FLAGS), 16);
}

static void a_commit_that_takes_long_leaves_less_to_work(void **state)
{
    (void)state;
    int64_t us = 0;
    struct vault_budget b = {.clock_us = read_clock, .context = &us, .row_ns = {100000}};
    vault_budget_begin(&b);
    assert_int_equal(vault_budget_rows(&b, WORK_FLAGS), 100);
    vault_budget_commit(&b);
    us += 15000;
    vault_budget_committed(&b);
    vault_budget_begin(&b);
    assert_int_equal(vault_budget_rows(&b, WORK_FLAGS), 50);
    us += 5000;
    assert_true(vault_budget_is_spent(&b));
    assert_false(vault_budget_is_full(&b)); /* short requests share a slow sync */
    us += 5000;
    assert_true(vault_budget_is_full(&b));
    for (int i = 0; i < 100; i++) {
        vault_budget_commit(&b);
        us += 3000;
        vault_budget_committed(&b);
    }
    vault_budget_begin(&b);
    assert_int_equal(vault_budget_rows(&b, WORK_FLAGS), 100);
    vault_budget_commit(&b);
    us += 500000;
    vault_budget_committed(&b);
    vault_budget_begin(&b);
    assert_int_equal(vault_budget_rows(&b, WORK_FLAGS),
                     20); /* something is done, however slow the disk */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_clock_only_the_count_says_how_much),
        cmocka_unit_test(slices_are_as_large_as_the_time_left_has_room_for),
        cmocka_unit_test(a_slow_disk_makes_them_small_at_once_and_a_quick_one_large_by_and_by),
        cmocka_unit_test(what_one_kind_of_work_takes_says_nothing_of_another),
        cmocka_unit_test(a_late_request_gets_on_where_it_is_the_first),
        cmocka_unit_test(a_commit_that_takes_long_leaves_less_to_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
