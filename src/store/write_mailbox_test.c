#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/testing.h"
#include "store/write.h"

static enum status_code subscribe(struct writer *w, int number, bool on)
{
    char path[32];
    snprintf(path, sizeof path, "list-%d", number);
    return subscription_set(w, 1, text_from(str_from_c(path)), on);
}

/* Names need no mailbox, so that nothing else bounds them. */
static void an_account_subscribes_to_so_many_names(void **state)
{
    (void)state;
    char folder[] = "/tmp/postern-subscribe-XXXXXX";
    char path[64];
    struct writer w = {0};
    struct diag diag = {{0}};
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/store.db", folder);
    assert_int_equal(db_open(path, DB_WRITE, &w.db, &diag), STATUS_OK);
    assert_int_equal(writer_begin(&w), STATUS_OK);
    struct query *q = db_query(
        w.db, "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < $last) "
              "INSERT INTO subscription SELECT 1, 'list-' || i FROM n");
    query_bind_int(q, "$last", LIMIT_MAILBOXES - 2);
    assert_int_equal(query_run(q), STATUS_OK);
    assert_int_equal(subscribe(&w, LIMIT_MAILBOXES - 1, true), STATUS_OK);
    assert_int_equal(subscribe(&w, LIMIT_MAILBOXES, true), STATUS_TOO_BIG);
    assert_int_equal(subscribe(&w, 1, true), STATUS_OK);
    assert_int_equal(subscribe(&w, 1, false), STATUS_OK);
    assert_int_equal(subscribe(&w, LIMIT_MAILBOXES, true), STATUS_OK);
    writer_rollback(&w);
    db_close(w.db);
    unlink(path);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_account_subscribes_to_so_many_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
