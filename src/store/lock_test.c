#include "store/lock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/testing.h"

static void the_lock_has_one_holder_and_tells_who(void **state)
{
    int first = -1, second = -1;
    char folder[] = "/tmp/postern-lock-XXXXXX", name[64], holder[32];
    struct diag d = {0};
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(name, sizeof name, "%s/lock", folder);
    snprintf(holder, sizeof holder, "process %ld", (long)getpid());
    assert_int_equal(lock_take(name, 0, &first, &d), STATUS_OK);
    assert_int_equal(lock_take(name, 20, &second, &d), STATUS_BUSY);
    assert_non_null(strstr(d.words, holder));
    lock_release(first);
    assert_int_equal(lock_take(name, 0, &second, &d), STATUS_OK);
    lock_release(second);
    unlink(name);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_lock_has_one_holder_and_tells_who)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
