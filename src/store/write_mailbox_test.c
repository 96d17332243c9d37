#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/testing.h"
#include "store/write.h"

/* A store with an account that exists by its number alone. */
struct place {
    char folder[64];
    char path[80];
    struct writer w;
};

static void open_place(struct place *p)
{
    struct diag diag = {{0}};
    *p = (struct place){.folder = "/tmp/postern-mailbox-XXXXXX"};
    assert_non_null(mkdtemp(p->folder));
    snprintf(p->path, sizeof p->path, "%s/store.db", p->folder);
    assert_int_equal(db_open(p->path, DB_WRITE, &p->w.db, &diag), STATUS_OK);
    assert_int_equal(writer_begin(&p->w), STATUS_OK);
}

static void close_place(struct place *p)
{
    writer_rollback(&p->w);
    db_close(p->w.db);
    unlink(p->path);
    rmdir(p->folder);
}

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
    struct place p;
    open_place(&p);
    struct query *q = db_query(
        p.w.db, "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < $last) "
                "INSERT INTO subscription SELECT 1, 'list-' || i FROM n");
    query_bind_int(q, "$last", LIMIT_MAILBOXES - 2);
    assert_int_equal(query_run(q), STATUS_OK);
    assert_int_equal(subscribe(&p.w, LIMIT_MAILBOXES - 1, true), STATUS_OK);
    assert_int_equal(subscribe(&p.w, LIMIT_MAILBOXES, true), STATUS_TOO_BIG);
    assert_int_equal(subscribe(&p.w, 1, true), STATUS_OK);
    assert_int_equal(subscribe(&p.w, 1, false), STATUS_OK);
    assert_int_equal(subscribe(&p.w, LIMIT_MAILBOXES, true), STATUS_OK);
    close_place(&p);
}

static enum status_code create(struct place *p, const char *path, int64_t at_ms)
{
    uint64_t mailbox;
    return mailbox_create(&p->w, 1, text_from(str_from_c(path)), SPECIAL_NONE, at_ms, &mailbox);
}

static void an_account_has_so_many_mailboxes(void **state)
{
    (void)state;
    struct place p;
    open_place(&p);
    struct query *q = db_query(
        p.w.db, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $last) "
                "INSERT INTO mailbox (account, uidvalidity, parent, name, created_ms) "
                "SELECT 1, i, 0, 'box-' || i, 0 FROM n");
    query_bind_int(q, "$last", LIMIT_MAILBOXES - 2);
    assert_int_equal(query_run(q), STATUS_OK);
    p.w.next_id = 2 * LIMIT_MAILBOXES;
    assert_int_equal(create(&p, "last-but-one", 1), STATUS_OK);
    assert_int_equal(create(&p, "no/room", 1), STATUS_TOO_BIG); /* for both */
    close_place(&p);
}

static int64_t number(struct place *p, const char *sql)
{
    struct query *q = db_query(p->w.db, sql);
    assert_true(query_next(q));
    int64_t value = query_int(q, 0);
    assert_int_equal(query_end(q), STATUS_OK);
    return value;
}

/* RFC 3501 §2.3.1.1, whatever the clock shows by then. */
static void an_old_copy_shows_no_uidvalidity_that_somebody_has_seen(void **state)
{
    (void)state;
    struct place p;
    uint64_t held;
    const int64_t late_ms = 2000000000000, early_ms = 1000000000000;
    open_place(&p);
    assert_int_equal(create(&p, "a", late_ms), STATUS_OK);
    assert_int_equal(create(&p, "b", late_ms), STATUS_OK);
    int64_t last = number(&p, "SELECT max(uidvalidity) FROM mailbox");
    assert_int_equal(store_restored(&p.w, early_ms, &held), STATUS_OK);
    assert_true(number(&p, "SELECT min(uidvalidity) FROM mailbox") > last);
    assert_int_equal(number(&p, "SELECT count(DISTINCT uidvalidity) FROM mailbox"), 2);
    assert_int_equal(create(&p, "c", early_ms), STATUS_OK);
    assert_int_equal(number(&p, "SELECT count(DISTINCT uidvalidity) FROM mailbox"), 3);
    close_place(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_account_subscribes_to_so_many_names),
        cmocka_unit_test(an_account_has_so_many_mailboxes),
        cmocka_unit_test(an_old_copy_shows_no_uidvalidity_that_somebody_has_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
