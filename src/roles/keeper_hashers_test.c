#include "roles/keeper_hashers.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/testing.h"

static struct password_job job_for(const char *password)
{
    struct password_job job = {.kind = PASSWORD_MAKE,
                               .password_size = strlen(password),
                               .salt = "0123456789abcdef",
                               .salt_size = 16,
                               .iterations = 1000};
    memcpy(job.password, password, job.password_size);
    return job;
}

static void a_password_fits_its_own_hash_only(void **state)
{
    (void)state;
    struct password_result made, checked;
    struct password_job job = job_for("pass");
    assert_true(password_init());
    password_run(&job, &made);
    assert_int_equal(made.status, STATUS_OK);
    job.kind = PASSWORD_VERIFY;
    memcpy(job.hash, made.hash, sizeof job.hash);
    password_run(&job, &checked);
    assert_true(checked.fits);
    assert_memory_equal(&checked.keys, &made.keys, sizeof made.keys);
    job.password[0] = 'P';
    password_run(&job, &checked);
    assert_false(checked.fits);
    assert_memory_not_equal(&checked.keys, &made.keys, sizeof made.keys);
}

static void the_hash_of_nobody_is_a_hash_of_today(void **state)
{
    (void)state;
    assert_true(password_init());
    assert_int_equal(crypto_pwhash_argon2id_str_needs_rehash(password_hash_of_nobody(),
                                                             PASSWORD_PASSES, PASSWORD_MEMORY),
                     0);
}

struct seen {
    int count;
    bool wrong;
};

static void on_made(void *context, const struct password_result *result)
{
    struct seen *seen = context;
    seen->count++;
    seen->wrong |= result->status != STATUS_OK || strncmp(result->hash, "$argon2id$", 10) != 0;
}

static void jobs_are_done_by_children_and_wait_for_each_other(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    struct seen seen = {0}, cancelled = {0};
    struct password_job job = job_for("pass");
    assert_true(password_init());
    struct hashers *h = hashers_new(loop, 2);
    assert_non_null(h);
    for (int i = 0; i < 4; i++)
        assert_int_not_equal(hashers_submit(h, &job, on_made, &seen), 0);
    uint64_t waiting = hashers_submit(h, &job, on_made, &cancelled);
    hashers_cancel(h, waiting);
    hashers_cancel(h, 1);
    hashers_cancel(h, 12345);
    while (seen.count < 3)
        loop_turn(loop, true);
    assert_false(seen.wrong);
    assert_int_equal(cancelled.count, 0);
    hashers_free(h);
    loop_free(loop);
}

static void too_many_jobs_are_refused(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    struct seen seen = {0};
    struct password_job job = job_for("pass");
    assert_true(password_init());
    struct hashers *h = hashers_new(loop, 1);
    for (int i = 0; i < HASHERS_WAITING_MAX + 1; i++)
        assert_int_not_equal(hashers_submit(h, &job, on_made, &seen), 0);
    assert_int_equal(hashers_submit(h, &job, on_made, &seen), 0);
    hashers_free(h);
    assert_int_equal(seen.count, 0);
    loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_password_fits_its_own_hash_only),
        cmocka_unit_test(the_hash_of_nobody_is_a_hash_of_today),
        cmocka_unit_test(jobs_are_done_by_children_and_wait_for_each_other),
        cmocka_unit_test(too_many_jobs_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
