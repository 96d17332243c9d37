#include "roles/keeper_secrets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/testing.h"
#include "roles/keeper_admin.h"

static const uint8_t fresh[SCRAM_SALT_SIZE] = "0123456789abcde";
static const uint8_t other[SCRAM_SALT_SIZE] = "abcdefghijklmno";

/* Stands in for the C library's, which SQLite calls. */
static unsigned syncs;

int fdatasync(int fd)
{
    syncs++;
    return (int)syscall(SYS_fdatasync, fd);
}

struct place {
    char folder[64];
    char path[128];
    struct secrets *s;
};

static void open_place(struct place *p)
{
    struct diag diag = {{0}};
    snprintf(p->folder, sizeof p->folder, "/tmp/postern-secrets-XXXXXX");
    assert_non_null(mkdtemp(p->folder));
    snprintf(p->path, sizeof p->path, "%s/secrets.db", p->folder);
    assert_int_equal(secrets_open(p->path, &p->s, &diag), STATUS_OK);
    assert_true(password_init());
}

static void reopen(struct place *p)
{
    struct diag diag = {{0}};
    secrets_close(p->s);
    assert_int_equal(secrets_open(p->path, &p->s, &diag), STATUS_OK);
}

static void close_place(struct place *p)
{
    secrets_close(p->s);
    unlink(p->path);
    rmdir(p->folder);
}

static int64_t mono_ms = 100; /* of what is done next */

static enum status_code set(struct place *p, uint64_t account, const char *login, const char *label,
                            const char *password, const uint8_t salt[SCRAM_SALT_SIZE])
{
    struct admin_change change;
    struct password_result result;
    struct diag diag = {{0}};
    struct admin_wish wish = {.account = account,
                              .login = str_from_c(login),
                              .kind = label ? SECRET_APPLICATION : SECRET_MAIN,
                              .label = text_from(str_from_c(label)),
                              .password = str_from_c(password)};
    enum status_code status = admin_begin(p->s, &wish, salt, &change, &diag);
    if (status != STATUS_OK)
        return status;
    password_run(&change.job, &result);
    return admin_finish(p->s, &change, &result, (struct now){.wall_ms = 1000, .mono_ms = mono_ms},
                        &diag);
}

static void a_password_is_kept_over_a_restart(void **state)
{
    (void)state;
    struct place p;
    struct secrets_login login;
    struct stat st;
    uint8_t fake[2][SECRETS_FAKE_SIZE];
    open_place(&p);
    assert_int_equal(secrets_fake(p.s, fake[0]), STATUS_OK);
    assert_int_equal(secrets_find(p.s, STR("alice@a.test"), &login), STATUS_NOT_FOUND);
    assert_int_equal(set(&p, 7, "Alice@A.test", NULL, "pencil", fresh), STATUS_OK);
    reopen(&p);
    assert_int_equal(secrets_fake(p.s, fake[1]), STATUS_OK);
    assert_memory_equal(fake[0], fake[1], SECRETS_FAKE_SIZE);
    assert_int_equal(secrets_find(p.s, STR("alice@a.test"), &login), STATUS_OK);
    assert_int_equal(login.account, 7);
    assert_false(login.disabled);
    assert_int_equal(login.scram.key_count, 1);
    assert_int_equal(login.ids[0], login.main_id);
    struct password_job job = {.kind = PASSWORD_VERIFY, .password = "pencil", .password_size = 6};
    struct password_result result;
    memcpy(job.hash, login.main_hash, sizeof job.hash);
    password_run(&job, &result);
    assert_true(result.fits);
    assert_int_equal(stat(p.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    close_place(&p);
}

static void a_password_is_on_disk_before_anybody_hears_so(void **state)
{
    (void)state;
    struct place p;
    struct secrets_login login;
    open_place(&p);
    syncs = 0;
    assert_int_equal(set(&p, 7, "alice", NULL, "one", fresh), STATUS_OK);
    assert_true(syncs > 0);
    assert_int_equal(secrets_find(p.s, STR("alice"), &login), STATUS_OK);
    syncs = 0;
    assert_int_equal(secrets_disable(p.s, 7, true, 1000), STATUS_OK);
    assert_true(syncs > 0);
    syncs = 0;
    assert_int_equal(secrets_remove(p.s, 7, 0, 1000), STATUS_OK);
    assert_true(syncs > 0);
    /* With the account its passwords, for whoever gets its number next. */
    assert_int_equal(set(&p, 7, "carol", NULL, "two", fresh), STATUS_OK);
    assert_int_equal(secrets_find(p.s, STR("carol"), &login), STATUS_OK);
    assert_int_equal(login.scram.key_count, 1);
    close_place(&p);
}

static void passwords_of_an_account_share_their_salt(void **state)
{
    (void)state;
    struct place p;
    struct secrets_login login;
    open_place(&p);
    assert_int_equal(set(&p, 7, "alice", NULL, "one", fresh), STATUS_OK);
    assert_int_equal(set(&p, 7, "alice", NULL, "two", other), STATUS_OK);
    assert_int_equal(secrets_find(p.s, STR("alice"), &login), STATUS_OK);
    assert_memory_equal(login.scram.salt, other, SCRAM_SALT_SIZE);
    assert_int_equal(set(&p, 7, "alice", "phone", "three", fresh), STATUS_OK);
    assert_int_equal(set(&p, 7, "alice", "phone", "four", fresh), STATUS_EXISTS);
    assert_int_equal(set(&p, 7, "alice", NULL, "five", fresh), STATUS_OK);
    assert_int_equal(secrets_find(p.s, STR("alice"), &login), STATUS_OK);
    assert_memory_equal(login.scram.salt, other, SCRAM_SALT_SIZE);
    assert_int_equal(login.scram.key_count, 2);
    close_place(&p);
}

static void passwords_are_listed_used_and_removed(void **state)
{
    (void)state;
    struct place p;
    struct secrets_entry list[SECRETS_PER_ACCOUNT_MAX];
    struct secrets_login login;
    size_t count = 99;
    open_place(&p);
    assert_int_equal(secrets_list(p.s, 7, list, &count), STATUS_OK);
    assert_int_equal(count, 0);
    assert_int_equal(set(&p, 7, "alice", NULL, "one", fresh), STATUS_OK);
    assert_int_equal(set(&p, 7, "alice", "phone", "two", fresh), STATUS_OK);
    assert_int_equal(secrets_list(p.s, 7, list, &count), STATUS_OK);
    assert_int_equal(count, 2);
    assert_int_equal(list[0].kind, SECRET_MAIN);
    assert_true(str_eq(str_make(list[1].label, list[1].label_size), STR("phone")));
    assert_int_equal(list[1].created_ms, 1000);
    assert_int_equal(secrets_used(p.s, list[1].id, 5000), STATUS_OK);
    assert_int_equal(secrets_remove(p.s, 8, list[1].id, mono_ms), STATUS_NOT_FOUND);
    assert_int_equal(secrets_remove(p.s, 7, list[0].id, mono_ms), STATUS_OK);
    assert_int_equal(secrets_remove(p.s, 7, list[0].id, mono_ms), STATUS_NOT_FOUND);
    assert_int_equal(secrets_find(p.s, STR("alice"), &login), STATUS_OK);
    assert_int_equal(login.main_id, 0);
    assert_int_equal(login.used_ms[0], 5000);
    assert_int_equal(secrets_remove(p.s, 7, 0, mono_ms), STATUS_OK);
    assert_int_equal(secrets_find(p.s, STR("alice"), &login), STATUS_NOT_FOUND);
    assert_int_equal(secrets_list(p.s, 7, list, &count), STATUS_OK);
    assert_int_equal(count, 0);
    close_place(&p);
}

static void a_login_name_is_one_accounts(void **state)
{
    (void)state;
    struct place p;
    struct secrets_login login;
    open_place(&p);
    assert_int_equal(set(&p, 7, "alice", NULL, "one", fresh), STATUS_OK);
    assert_int_equal(set(&p, 8, "ALICE", NULL, "one", fresh), STATUS_EXISTS);
    assert_int_equal(set(&p, 7, "alice2", NULL, "one", fresh), STATUS_OK);
    assert_int_equal(secrets_find(p.s, STR("alice"), &login), STATUS_NOT_FOUND);
    assert_int_equal(set(&p, 8, "alice", NULL, "one", fresh), STATUS_OK);
    close_place(&p);
}

static void an_account_can_be_disabled_before_it_has_a_password(void **state)
{
    (void)state;
    struct place p;
    struct secrets_login login;
    open_place(&p);
    assert_int_equal(secrets_disable(p.s, 7, true, mono_ms), STATUS_OK);
    assert_int_equal(set(&p, 7, "alice", NULL, "one", fresh), STATUS_OK);
    assert_int_equal(secrets_find(p.s, STR("alice"), &login), STATUS_OK);
    assert_true(login.disabled);
    assert_int_equal(secrets_disable(p.s, 7, false, mono_ms), STATUS_OK);
    assert_int_equal(secrets_find(p.s, STR("alice"), &login), STATUS_OK);
    assert_false(login.disabled);
    close_place(&p);
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    struct place p;
    char label[SECRETS_LABEL_MAX + 2];
    memset(label, 'x', sizeof label - 1);
    label[sizeof label - 1] = 0;
    open_place(&p);
    assert_int_equal(set(&p, 7, "", NULL, "one", fresh), STATUS_INVALID);
    assert_int_equal(set(&p, 7, "alice", NULL, "", fresh), STATUS_INVALID);
    assert_int_equal(set(&p, 7, "alice", NULL, "tab\there", fresh), STATUS_INVALID);
    assert_int_equal(set(&p, 7, "alice", "", "one", fresh), STATUS_INVALID);
    assert_int_equal(set(&p, 7, "alice", label, "one", fresh), STATUS_INVALID);
    assert_int_equal(set(&p, 0, "alice", NULL, "one", fresh), STATUS_INVALID);
    close_place(&p);
}

static void the_number_of_passwords_is_bounded(void **state)
{
    (void)state;
    struct place p;
    struct secrets_login login;
    struct password_job job = {.salt_size = 16, .iterations = 1};
    struct password_result result = {.hash = "x"};
    open_place(&p);
    for (int i = 0; i <= SECRETS_PER_ACCOUNT_MAX; i++) {
        char label[16];
        snprintf(label, sizeof label, "%d", i);
        struct secrets_change c = {.account = 7,
                                   .login = STR("alice"),
                                   .kind = SECRET_APPLICATION,
                                   .label = text_from(str_from_c(label)),
                                   .job = &job,
                                   .result = &result};
        assert_int_equal(secrets_set(p.s, &c),
                         i < SECRETS_PER_ACCOUNT_MAX ? STATUS_OK : STATUS_TOO_BIG);
    }
    assert_int_equal(secrets_find(p.s, STR("alice"), &login), STATUS_OK);
    assert_int_equal(login.scram.key_count, SCRAM_KEYS_MAX);
    job.iterations = 2;
    struct secrets_change c = {
        .account = 7, .login = STR("alice"), .kind = SECRET_MAIN, .job = &job, .result = &result};
    assert_int_equal(secrets_set(p.s, &c), STATUS_BUSY);
    close_place(&p);
}

static void a_newer_format_and_a_broken_file_are_refused(void **state)
{
    (void)state;
    struct place p;
    struct secrets *s;
    struct diag diag = {{0}};
    sqlite3 *db;
    open_place(&p);
    secrets_close(p.s);
    assert_int_equal(sqlite3_open(p.path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 3", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(secrets_open(p.path, &s, &diag), STATUS_UNSUPPORTED);
    FILE *f = fopen(p.path, "r+");
    assert_non_null(f);
    fputs("this is no database, whatever it was", f);
    fclose(f);
    assert_int_equal(secrets_open(p.path, &s, &diag), STATUS_CORRUPT);
    p.s = NULL;
    close_place(&p);
}

/* ---- Logins that ended
 * -------------------------------------------------------------------------------------------- */

/* Whether a session of the account that was opened by the credential at that time has ended. */
static bool has_ended(struct place *p, uint64_t account, uint64_t credential, int64_t issued_ms)
{
    struct capability_ends ends = {0};
    assert_int_equal(secrets_ends(p->s, account, &ends), STATUS_OK);
    bool ended = capability_ends_cover(&ends, account, credential, issued_ms);
    capability_ends_release(&ends);
    return ended;
}

static uint64_t last_id(struct place *p, uint64_t account)
{
    struct secrets_entry list[SECRETS_PER_ACCOUNT_MAX];
    size_t count = 0;
    assert_int_equal(secrets_list(p->s, account, list, &count), STATUS_OK);
    return count ? list[count - 1].id : 0;
}

static void logins_end_with_their_password_and_no_others_do(void **state)
{
    (void)state;
    struct place p;
    open_place(&p);
    mono_ms = 100;
    assert_int_equal(set(&p, 7, "alice", NULL, "one", fresh), STATUS_OK);
    uint64_t main = last_id(&p, 7);
    assert_int_equal(set(&p, 7, "alice", "phone", "two", fresh), STATUS_OK);
    uint64_t phone = last_id(&p, 7);
    assert_int_equal(set(&p, 8, "bob", NULL, "one", fresh), STATUS_OK);
    assert_false(has_ended(&p, 7, main, 0));
    mono_ms = 200;
    assert_int_equal(set(&p, 7, "alice", NULL, "new", fresh), STATUS_OK);
    assert_true(has_ended(&p, 7, main, 200));
    assert_false(has_ended(&p, 7, phone, 200));
    assert_false(has_ended(&p, 7, last_id(&p, 7), 200));
    assert_int_equal(secrets_remove(p.s, 7, phone, 300), STATUS_OK);
    assert_true(has_ended(&p, 7, phone, 300));
    assert_false(has_ended(&p, 7, last_id(&p, 7), 300));
    assert_int_equal(secrets_remove(p.s, 7, phone, 400), STATUS_NOT_FOUND);
    assert_false(has_ended(&p, 7, phone, 400));
    assert_int_equal(secrets_disable(p.s, 7, true, 500), STATUS_OK);
    assert_int_equal(secrets_disable(p.s, 7, false, 600), STATUS_OK);
    assert_true(has_ended(&p, 7, last_id(&p, 7), 500));
    assert_false(has_ended(&p, 7, last_id(&p, 7), 501));
    assert_int_equal(secrets_remove(p.s, 7, 0, 700), STATUS_OK);
    assert_true(has_ended(&p, 7, 99, 700));
    assert_false(has_ended(&p, 8, last_id(&p, 8), 0));
    assert_int_equal(secrets_remove(p.s, 0, 0, 800), STATUS_NOT_FOUND);
    assert_int_equal(secrets_disable(p.s, 0, true, 800), STATUS_NOT_FOUND);
    assert_false(has_ended(&p, 8, last_id(&p, 8), 0));
    close_place(&p);
}

static void ends_are_known_for_a_run_of_the_server(void **state)
{
    (void)state;
    struct place p;
    open_place(&p);
    assert_int_equal(secrets_begin_run(p.s, STR("one")), STATUS_OK);
    assert_int_equal(secrets_disable(p.s, 7, true, 500), STATUS_OK);
    reopen(&p);
    assert_int_equal(secrets_begin_run(p.s, STR("one")), STATUS_OK);
    assert_true(has_ended(&p, 7, 1, 500));
    assert_int_equal(secrets_begin_run(p.s, STR("two")), STATUS_OK);
    assert_false(has_ended(&p, 7, 1, 0));
    /* Those that are too old to matter make room. */
    assert_int_equal(secrets_disable(p.s, 7, true, 500), STATUS_OK);
    assert_int_equal(secrets_disable(p.s, 8, true, 501 + CAPABILITY_END_KEPT_MS), STATUS_OK);
    assert_false(has_ended(&p, 7, 1, 500));
    close_place(&p);
}

static void fill_ends(const char *path)
{
    sqlite3 *db;
    char sql[200];
    snprintf(sql, sizeof sql,
             "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT %d) "
             "INSERT INTO ended SELECT 1000 + i, 0, 500 FROM n",
             SECRETS_ENDS_MAX);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void more_ends_than_can_be_kept_end_everything(void **state)
{
    (void)state;
    struct place p;
    struct diag diag = {{0}};
    open_place(&p);
    secrets_close(p.s);
    fill_ends(p.path);
    assert_int_equal(secrets_open(p.path, &p.s, &diag), STATUS_OK);
    assert_false(has_ended(&p, 7, 1, 600));
    assert_int_equal(secrets_disable(p.s, 8, true, 600), STATUS_OK);
    assert_true(has_ended(&p, 7, 1, 600));
    assert_false(has_ended(&p, 7, 1, 601));
    close_place(&p);
}

static void a_file_of_format_1_goes_on(void **state)
{
    (void)state;
    struct place p;
    struct secrets_login login;
    struct diag diag = {{0}};
    sqlite3 *db;
    open_place(&p);
    assert_int_equal(set(&p, 7, "alice", NULL, "one", fresh), STATUS_OK);
    secrets_close(p.s);
    assert_int_equal(sqlite3_open(p.path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "DROP TABLE run; DROP TABLE ended; PRAGMA user_version = 1",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(secrets_open(p.path, &p.s, &diag), STATUS_OK);
    assert_int_equal(secrets_find(p.s, STR("alice"), &login), STATUS_OK);
    assert_int_equal(secrets_remove(p.s, 7, login.main_id, 500), STATUS_OK);
    assert_true(has_ended(&p, 7, login.main_id, 500));
    close_place(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_password_is_kept_over_a_restart),
        cmocka_unit_test(a_password_is_on_disk_before_anybody_hears_so),
        cmocka_unit_test(passwords_of_an_account_share_their_salt),
        cmocka_unit_test(passwords_are_listed_used_and_removed),
        cmocka_unit_test(a_login_name_is_one_accounts),
        cmocka_unit_test(an_account_can_be_disabled_before_it_has_a_password),
        cmocka_unit_test(what_makes_no_sense_is_refused),
        cmocka_unit_test(the_number_of_passwords_is_bounded),
        cmocka_unit_test(logins_end_with_their_password_and_no_others_do),
        cmocka_unit_test(ends_are_known_for_a_run_of_the_server),
        cmocka_unit_test(more_ends_than_can_be_kept_end_everything),
        cmocka_unit_test(a_file_of_format_1_goes_on),
        cmocka_unit_test(a_newer_format_and_a_broken_file_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
