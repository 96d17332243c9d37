#include "store/db.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/testing.h"

static char folder[64];
static char path[96];

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/postern-db-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/postern.db", folder);
    return 0;
}

static int tear_down(void **state)
{
    static const char *const endings[] = {"", "-wal", "-shm"};
    char name[128];
    (void)state;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        snprintf(name, sizeof name, "%s%s", path, endings[i]);
        unlink(name);
    }
    return rmdir(folder);
}

static struct db *open_db(enum db_mode mode)
{
    struct db *db = NULL;
    struct diag d = {0};
    assert_int_equal(db_open(path, mode, &db, &d), STATUS_OK);
    return db;
}

static int64_t count_keys(struct db *db)
{
    struct query *q = db_query(db, "SELECT count(*) FROM unconfirmed");
    assert_true(query_next(q));
    int64_t count = query_int(q, 0);
    assert_int_equal(query_end(q), STATUS_OK);
    return count;
}

static enum status_code add_key(struct db *db, struct str key)
{
    struct query *q = db_query(db, "INSERT INTO unconfirmed (key, at_ms) VALUES ($key, $at)");
    /* By name: the order does not matter. */
    query_bind_int(q, "$at", 1);
    text_to_sql(q, "$key", text_from(key));
    return query_run(q);
}

static void a_reader_sees_every_commit_and_writes_nothing(void **state)
{
    (void)state;
    struct db *none = NULL;
    struct diag d = {0};
    assert_int_equal(db_open(path, DB_READ, &none, &d), STATUS_NOT_FOUND);
    struct db *writer = open_db(DB_WRITE), *reader = open_db(DB_READ);
    assert_int_equal(db_begin(writer), STATUS_OK);
    assert_int_equal(add_key(writer, STR("a'b\"c;--")), STATUS_OK);
    assert_int_equal(count_keys(reader), 0);
    assert_int_equal(db_commit(writer), STATUS_OK);
    assert_int_equal(count_keys(reader), 1);
    assert_int_equal(add_key(reader, STR("x")), STATUS_DENIED);
    db_close(reader);
    db_close(writer);
}

static void a_savepoint_takes_back_its_own_part(void **state)
{
    (void)state;
    struct db *db = open_db(DB_WRITE);
    assert_int_equal(db_begin(db), STATUS_OK);
    assert_int_equal(add_key(db, STR("one")), STATUS_OK);
    assert_int_equal(db_savepoint(db), STATUS_OK);
    assert_int_equal(add_key(db, STR("two")), STATUS_OK);
    assert_int_equal(add_key(db, STR("one")), STATUS_EXISTS);
    assert_int_equal(db_savepoint_undo(db), STATUS_OK);
    assert_int_equal(db_commit(db), STATUS_OK);
    assert_int_equal(count_keys(db), 1);
    db_close(db);
}

static void a_newer_format_is_refused_in_words(void **state)
{
    (void)state;
    struct db *db = open_db(DB_WRITE), *again = NULL;
    struct diag d = {0};
    assert_int_equal(query_run(db_query(db, "PRAGMA user_version = 99")), STATUS_OK);
    db_close(db);
    assert_int_equal(db_open(path, DB_WRITE, &again, &d), STATUS_UNSUPPORTED);
    assert_non_null(strstr(d.words, "format 99"));
}

static void files_are_readable_for_the_group_whatever_the_umask(void **state)
{
    struct stat st;
    char wal[128];
    (void)state;
    mode_t old = umask(0777);
    struct db *db = open_db(DB_WRITE);
    umask(old);
    assert_int_equal(add_key(db, STR("k")), STATUS_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    snprintf(wal, sizeof wal, "%s-wal", path);
    assert_int_equal(stat(wal, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    db_close(db);
}

static int64_t setting(struct db *db, const char *pragma)
{
    struct query *q = db_query(db, pragma);
    assert_true(query_next(q));
    int64_t value = query_int(q, 0);
    assert_int_equal(query_end(q), STATUS_OK);
    return value;
}

/* A commit is a sync; a file that somebody spoilt or forged runs nothing, and the WAL shrinks. */
static void the_writer_is_careful(void **state)
{
    (void)state;
    struct db *db = open_db(DB_WRITE);
    assert_int_equal(setting(db, "PRAGMA synchronous"), 2);
    assert_int_equal(setting(db, "PRAGMA trusted_schema"), 0);
    assert_int_equal(setting(db, "PRAGMA cell_size_check"), 1);
    assert_int_equal(setting(db, "PRAGMA journal_size_limit"), 64 * 1024 * 1024);
    assert_int_equal(setting(db, "PRAGMA auto_vacuum"), 2);
    db_close(db);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

static void a_snapshot_that_is_held_is_known(void **state)
{
    (void)state;
    struct db *writer = open_db(DB_WRITE), *reader = open_db(DB_READ);
    assert_false(db_holds_snapshot(reader));
    assert_int_equal(count_keys(reader), 0);
    assert_false(db_holds_snapshot(reader));
    struct query *q = db_query(reader, "SELECT next_id FROM counter");
    assert_true(query_next(q));
    assert_true(db_holds_snapshot(reader));
    assert_int_equal(query_end(q), STATUS_OK);
    assert_false(db_holds_snapshot(reader));
    assert_int_equal(db_snapshot_begin(reader), STATUS_OK);
    assert_int_equal(count_keys(reader), 0);
    assert_true(db_holds_snapshot(reader));
    db_snapshot_end(reader);
    assert_false(db_holds_snapshot(reader));
    db_close(reader);
    db_close(writer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(a_reader_sees_every_commit_and_writes_nothing),
        WITH_FOLDER(the_writer_is_careful),
        WITH_FOLDER(a_snapshot_that_is_held_is_known),
        WITH_FOLDER(a_savepoint_takes_back_its_own_part),
        WITH_FOLDER(a_newer_format_is_refused_in_words),
        WITH_FOLDER(files_are_readable_for_the_group_whatever_the_umask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
