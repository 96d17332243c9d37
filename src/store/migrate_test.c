#include "store/schema.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/testing.h"
#include "store/db.h"
#include "store/queue_write.h"

/* As 0.1.0's first stores were made; kept here for good. */
static const char format_1[] =
    "CREATE TABLE meta (\n"
    "    name TEXT PRIMARY KEY,\n"
    "    value INTEGER NOT NULL\n"
    ") WITHOUT ROWID;\n"
    "CREATE TABLE counter (\n"
    "    id INTEGER PRIMARY KEY,\n"
    "    next_id INTEGER NOT NULL,\n"
    "    commit_number INTEGER NOT NULL,\n"
    "    uidvalidity INTEGER NOT NULL\n"
    ");\n"
    "CREATE TABLE domain (\n"
    "    id INTEGER PRIMARY KEY,\n"
    "    name TEXT NOT NULL UNIQUE,\n"
    "    catch_all INTEGER NOT NULL DEFAULT 0,\n"
    "    subaddress TEXT NOT NULL DEFAULT '+',\n"
    "    created_ms INTEGER NOT NULL\n"
    ");\n"
    "CREATE TABLE account (\n"
    "    id INTEGER PRIMARY KEY,\n"
    "    name TEXT NOT NULL UNIQUE,\n"
    "    quota INTEGER NOT NULL DEFAULT 0,\n"
    "    used INTEGER NOT NULL DEFAULT 0,\n"
    "    disabled INTEGER NOT NULL DEFAULT 0,\n"
    "    inbox INTEGER NOT NULL,\n"
    "    removed_ms INTEGER,\n"
    "    created_ms INTEGER NOT NULL\n"
    ");\n"
    "CREATE TABLE address (\n"
    "    domain INTEGER NOT NULL,\n"
    "    local TEXT NOT NULL,\n"
    "    account INTEGER NOT NULL,\n"
    "    alias INTEGER NOT NULL,\n"
    "    created_ms INTEGER NOT NULL,\n"
    "    PRIMARY KEY (domain, local)\n"
    ") WITHOUT ROWID;\n"
    "CREATE INDEX address_by_account ON address (account) WHERE account <> 0;\n"
    "CREATE TABLE alias_target (\n"
    "    alias INTEGER NOT NULL,\n"
    "    number INTEGER NOT NULL,\n"
    "    target TEXT NOT NULL,\n"
    "    PRIMARY KEY (alias, number)\n"
    ") WITHOUT ROWID;\n"
    "CREATE TABLE mailbox (\n"
    "    id INTEGER PRIMARY KEY,\n"
    "    account INTEGER NOT NULL,\n"
    "    uidvalidity INTEGER NOT NULL,\n"
    "    uidnext INTEGER NOT NULL DEFAULT 1,\n"
    "    modseq INTEGER NOT NULL DEFAULT 1,\n"
    "    messages INTEGER NOT NULL DEFAULT 0,\n"
    "    unseen INTEGER NOT NULL DEFAULT 0,\n"
    "    deleted INTEGER NOT NULL DEFAULT 0,\n"
    "    size INTEGER NOT NULL DEFAULT 0,\n"
    "    recent_uid INTEGER NOT NULL DEFAULT 1,\n"
    "    special_use INTEGER NOT NULL DEFAULT 0,\n"
    "    selectable INTEGER NOT NULL DEFAULT 1,\n"
    "    parent INTEGER NOT NULL,\n"
    "    name TEXT NOT NULL,\n"
    "    removed_ms INTEGER,\n"
    "    created_ms INTEGER NOT NULL\n"
    ");\n"
    "CREATE UNIQUE INDEX mailbox_by_name ON mailbox (account, parent, name) WHERE removed_ms IS "
    "NULL;\n"
    "CREATE INDEX mailbox_removed ON mailbox (removed_ms) WHERE removed_ms IS NOT NULL;\n"
    "CREATE TABLE mailbox_right (\n"
    "    account INTEGER NOT NULL,\n"
    "    mailbox INTEGER NOT NULL,\n"
    "    rights INTEGER NOT NULL,\n"
    "    PRIMARY KEY (account, mailbox)\n"
    ") WITHOUT ROWID;\n"
    "CREATE TABLE subscription (\n"
    "    account INTEGER NOT NULL,\n"
    "    path TEXT NOT NULL,\n"
    "    PRIMARY KEY (account, path)\n"
    ") WITHOUT ROWID;\n"
    "CREATE TABLE keyword (\n"
    "    mailbox INTEGER NOT NULL,\n"
    "    folded TEXT NOT NULL,\n"
    "    name TEXT NOT NULL,\n"
    "    PRIMARY KEY (mailbox, folded)\n"
    ") WITHOUT ROWID;\n"
    "CREATE TABLE chunk (\n"
    "    id INTEGER PRIMARY KEY,\n"
    "    codec INTEGER NOT NULL,\n"
    "    key_id INTEGER NOT NULL,\n"
    "    plain_size INTEGER NOT NULL,\n"
    "    hash BLOB NOT NULL,\n"
    "    data BLOB NOT NULL\n"
    ");\n"
    "CREATE TABLE staging (\n"
    "    body INTEGER PRIMARY KEY,\n"
    "    chunks INTEGER NOT NULL,\n"
    "    size INTEGER NOT NULL\n"
    ");\n"
    "CREATE TABLE email (\n"
    "    id INTEGER PRIMARY KEY,\n"
    "    account INTEGER NOT NULL,\n"
    "    body INTEGER NOT NULL,\n"
    "    size INTEGER NOT NULL,\n"
    "    thread INTEGER NOT NULL,\n"
    "    received_ms INTEGER NOT NULL,\n"
    "    sent_ms INTEGER NOT NULL,\n"
    "    parser_version INTEGER NOT NULL,\n"
    "    trace_id TEXT NOT NULL,\n"
    "    message_id BLOB NOT NULL,\n"
    "    in_reply_to BLOB NOT NULL,\n"
    "    subject BLOB NOT NULL,\n"
    "    structure BLOB NOT NULL,\n"
    "    signature BLOB NOT NULL\n"
    ");\n"
    "CREATE INDEX email_by_body ON email (body);\n"
    "CREATE TABLE entry (\n"
    "    mailbox INTEGER NOT NULL,\n"
    "    uid INTEGER NOT NULL,\n"
    "    email INTEGER NOT NULL,\n"
    "    flags INTEGER NOT NULL,\n"
    "    modseq INTEGER NOT NULL,\n"
    "    created_modseq INTEGER NOT NULL,\n"
    "    internal_ms INTEGER NOT NULL,\n"
    "    size INTEGER NOT NULL,\n"
    "    expunged_ms INTEGER,\n"
    "    keywords TEXT NOT NULL,\n"
    "    prefix BLOB NOT NULL,\n"
    "    PRIMARY KEY (mailbox, uid)\n"
    ") WITHOUT ROWID;\n"
    "CREATE INDEX entry_by_email ON entry (email);\n"
    "CREATE INDEX entry_expunged ON entry (expunged_ms) WHERE expunged_ms IS NOT NULL;\n"
    "CREATE TABLE queue (\n"
    "    id INTEGER PRIMARY KEY,\n"
    "    due_ms INTEGER NOT NULL,\n"
    "    next_hop TEXT NOT NULL,\n"
    "    body INTEGER NOT NULL,\n"
    "    size INTEGER NOT NULL,\n"
    "    sender BLOB NOT NULL,\n"
    "    recipient BLOB NOT NULL,\n"
    "    account INTEGER NOT NULL,\n"
    "    attempts INTEGER NOT NULL,\n"
    "    waited_ms INTEGER NOT NULL,\n"
    "    held INTEGER NOT NULL,\n"
    "    trace_id TEXT NOT NULL,\n"
    "    last_words BLOB NOT NULL,\n"
    "    created_ms INTEGER NOT NULL\n"
    ");\n"
    "CREATE INDEX queue_by_due ON queue (due_ms) WHERE held = 0;\n"
    "CREATE INDEX queue_by_body ON queue (body);\n"
    "CREATE TABLE unconfirmed (\n"
    "    key BLOB PRIMARY KEY,\n"
    "    at_ms INTEGER NOT NULL\n"
    ") WITHOUT ROWID;\n"
    "CREATE TABLE trace (\n"
    "    id INTEGER PRIMARY KEY,\n"
    "    trace_id TEXT NOT NULL,\n"
    "    at_ms INTEGER NOT NULL,\n"
    "    step TEXT NOT NULL,\n"
    "    words BLOB NOT NULL\n"
    ");\n"
    "CREATE INDEX trace_by_trace_id ON trace (trace_id);\n"
    "INSERT INTO meta VALUES ('epoch', 1);\n"
    "INSERT INTO counter VALUES (1, 77, 33, 1700000000);\n"
    "PRAGMA application_id = 0x506f7374;\n"
    "PRAGMA user_version = 1;\n"
    "INSERT INTO domain VALUES (1, 'demo.test', 0, '+', 5);\n"
    "INSERT INTO account VALUES (2, 'alice', 0, 1000, 0, 3, NULL, 5);\n"
    "INSERT INTO mailbox (id, account, uidvalidity, parent, name, created_ms)\n"
    " VALUES (3, 2, 1699999999, 0, 'INBOX', 5), (4, 2, 1700000000, 0, 'Sent', 5);\n"
    "INSERT INTO chunk VALUES (65536, 0, 0, 3, x'00', 'abc');\n";

static char folder[64];
static char path[96], fresh_path[96];

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/postern-migrate-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/old.db", folder);
    snprintf(fresh_path, sizeof fresh_path, "%s/fresh.db", folder);
    sqlite3 *old = NULL;
    assert_int_equal(sqlite3_open(path, &old), SQLITE_OK);
    assert_int_equal(sqlite3_exec(old,
                                  "PRAGMA page_size = 8192; PRAGMA auto_vacuum = incremental;"
                                  "PRAGMA journal_mode = wal",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_exec(old, format_1, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(old);
    return 0;
}

static void remove_store(const char *name)
{
    static const char *const endings[] = {"", "-wal", "-shm"};
    char file[128];
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        snprintf(file, sizeof file, "%s%s", name, endings[i]);
        unlink(file);
    }
}

static int tear_down(void **state)
{
    (void)state;
    remove_store(path);
    remove_store(fresh_path);
    return rmdir(folder);
}

/* Every column of every table and index, and what else the schema says of them. */
static char *shape_of(const char *store)
{
    static const char sql[] =
        "SELECT group_concat(line, char(10)) FROM (SELECT m.type || ' ' || m.name || ' ' || "
        "m.tbl_name || ' ' || c.cid || ' ' || c.name || ' ' || c.type || ' ' || c.\"notnull\" || "
        "' ' || coalesce(c.dflt_value, '-') || ' ' || c.pk AS line FROM sqlite_master m "
        "JOIN pragma_table_info(m.name) c WHERE m.type = 'table' UNION ALL "
        "SELECT 'index ' || m.name || ' ' || m.tbl_name || ' ' || coalesce(m.sql, '-') "
        "FROM sqlite_master m WHERE m.type = 'index' UNION ALL "
        "SELECT 'without rowid ' || name FROM pragma_table_list WHERE wr ORDER BY 1)";
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    assert_int_equal(sqlite3_open_v2(store, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    char *shape = strdup((const char *)sqlite3_column_text(stmt, 0));
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return shape;
}

static int64_t number(struct db *db, const char *sql)
{
    struct query *q = db_query(db, sql);
    assert_true(query_next(q));
    int64_t value = query_int(q, 0);
    assert_int_equal(query_end(q), STATUS_OK);
    return value;
}

static struct db *open_store(const char *name, enum db_mode mode)
{
    struct db *db = NULL;
    struct diag d = {0};
    assert_int_equal(db_open(name, mode, &db, &d), STATUS_OK);
    return db;
}

static void a_store_of_format_1_becomes_what_a_new_one_is(void **state)
{
    (void)state;
    db_close(open_store(path, DB_WRITE));
    db_close(open_store(fresh_path, DB_WRITE));
    char *migrated = shape_of(path), *fresh = shape_of(fresh_path);
    assert_string_equal(migrated, fresh);
    free(migrated);
    free(fresh);
    struct db *db = open_store(path, DB_READ);
    assert_int_equal(number(db, "PRAGMA user_version"), STORE_FORMAT);
    assert_int_equal(number(db, "SELECT next_id FROM counter"), 77);
    assert_int_equal(number(db, "SELECT waiting + held FROM counter"), 0);
    assert_int_equal(number(db, "SELECT count(*) FROM mailbox"), 2);
    assert_int_equal(number(db, "SELECT plain_size FROM chunk"), 3);
    db_close(db);
}

static void what_was_expunged_before_that_was_counted_is_counted(void **state)
{
    static const char rows[] =
        "INSERT INTO account VALUES (5, 'bob', 9, 9, 0, 6, NULL, 5);\n"
        "UPDATE mailbox SET removed_ms = 7, messages = 2, size = 500 WHERE id = 4;\n"
        "INSERT INTO keyword VALUES (4, 'a', 'A');\n"
        "INSERT INTO entry VALUES (3, 1, 9, 0, 1, 1, 1, 100, 7, '', ''),\n"
        " (3, 2, 9, 0, 1, 1, 1, 100, NULL, '', ''), (4, 1, 9, 0, 1, 1, 1, 50, 6, '', ''),\n"
        " (4, 2, 9, 0, 1, 1, 1, 500, NULL, '', '');\n";
    sqlite3 *old = NULL;
    (void)state;
    assert_int_equal(sqlite3_open(path, &old), SQLITE_OK);
    assert_int_equal(sqlite3_exec(old, rows, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(old);
    struct db *db = open_store(path, DB_WRITE);
    assert_int_equal(number(db, "SELECT expunged FROM account WHERE id = 2"),
                     100 + 50 + 500 + (2 + 2 + 1 + 1) * LIMIT_EXPUNGED_ROW_SIZE);
    assert_int_equal(number(db, "SELECT expunged FROM account WHERE id = 5"), 0);
    assert_int_equal(number(db, "SELECT count(*) FROM entry WHERE expunged_account = 2"), 2);
    assert_int_equal(number(db, "SELECT count(*) FROM entry WHERE expunged_account IS NULL"), 2);
    db_close(db);
}

static void readers_wait_for_the_migration_in_words(void **state)
{
    struct db *db = NULL;
    struct diag d = {0};
    (void)state;
    assert_int_equal(db_open(path, DB_READ, &db, &d), STATUS_UNSUPPORTED);
    assert_non_null(strstr(d.words, "when the server starts"));
}

static void a_trial_changes_nothing(void **state)
{
    int64_t format = 0;
    struct diag d = {0};
    (void)state;
    char *before = shape_of(path);
    assert_int_equal(db_check(path, &format, &d), STATUS_OK);
    assert_int_equal(format, 1);
    char *after = shape_of(path);
    assert_string_equal(before, after);
    free(before);
    free(after);
    db_close(open_store(path, DB_WRITE));
    assert_int_equal(db_check(path, &format, &d), STATUS_OK);
    assert_int_equal(format, STORE_FORMAT);
    assert_int_equal(db_check("/nowhere/postern.db", &format, &d), STATUS_NOT_FOUND);
}

static void a_newer_format_is_left_alone(void **state)
{
    int64_t format = 0;
    struct diag d = {0};
    struct db *db = open_store(path, DB_WRITE), *again = NULL;
    (void)state;
    assert_int_equal(query_run(db_query(db, "PRAGMA user_version = 99")), STATUS_OK);
    db_close(db);
    assert_int_equal(db_check(path, &format, &d), STATUS_UNSUPPORTED);
    assert_int_equal(db_open(path, DB_WRITE, &again, &d), STATUS_UNSUPPORTED);
}

static void damage_is_found(void **state)
{
    int64_t format = 0;
    struct diag d = {0};
    (void)state;
    db_close(open_store(path, DB_WRITE));
    FILE *f = fopen(path, "r+b");
    assert_int_equal(fseek(f, 3L * 8192, SEEK_SET), 0);
    for (int i = 0; i < 8192; i++)
        fputc(0x5a, f);
    fclose(f);
    assert_int_equal(db_check(path, &format, &d), STATUS_CORRUPT);
    assert_true(strlen(d.words) > strlen(path));
}

static void a_restored_copy_repeats_nothing_that_was_seen(void **state)
{
    static const int64_t AT_MS = 1800000000000;
    struct db *db = open_store(path, DB_WRITE);
    struct writer w = {.db = db};
    uint64_t held = 0;
    (void)state;
    assert_int_equal(writer_begin(&w), STATUS_OK);
    struct outgoing_row message = {.trace_id = STR("T")};
    assert_int_equal(outgoing_insert(&w, &message), STATUS_OK);
    struct waiting_row row = {.outgoing = message.id};
    assert_int_equal(waiting_insert(&w, &row), STATUS_OK);
    assert_int_equal(writer_commit(&w), STATUS_OK);
    assert_int_equal(writer_begin(&w), STATUS_OK);
    assert_int_equal(store_restored(&w, AT_MS, &held), STATUS_OK);
    assert_int_equal(writer_commit(&w), STATUS_OK);
    assert_int_equal(held, 1);
    assert_int_equal(number(db, "SELECT value FROM meta WHERE name = 'epoch'"), 2);
    assert_int_equal(number(db, "SELECT count(*) FROM mailbox WHERE uidvalidity > 1800000000"), 2);
    assert_int_equal(number(db, "SELECT count(DISTINCT uidvalidity) FROM mailbox"), 2);
    assert_int_equal(number(db, "SELECT uidvalidity FROM counter"), 1800000002);
    assert_true(number(db, "SELECT next_id FROM counter") > 1000000000);
    assert_int_equal(number(db, "SELECT held FROM counter"), 1);
    assert_int_equal(number(db, "SELECT count(*) FROM queue WHERE held = 0"), 0);
    db_close(db);
}

#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_STORE(a_store_of_format_1_becomes_what_a_new_one_is),
        WITH_STORE(what_was_expunged_before_that_was_counted_is_counted),
        WITH_STORE(readers_wait_for_the_migration_in_words),
        WITH_STORE(a_trial_changes_nothing),
        WITH_STORE(a_newer_format_is_left_alone),
        WITH_STORE(damage_is_found),
        WITH_STORE(a_restored_copy_repeats_nothing_that_was_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
