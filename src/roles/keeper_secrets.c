#include "roles/keeper_secrets.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/bug.h"

enum { FORMAT = 2 };

static const char schema[] = "CREATE TABLE account ("
                             "  id INTEGER PRIMARY KEY,"
                             "  login BLOB UNIQUE,"
                             "  salt BLOB,"
                             "  iterations INTEGER,"
                             "  disabled INTEGER NOT NULL DEFAULT 0) STRICT;"
                             "CREATE TABLE credential ("
                             "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
                             "  account INTEGER NOT NULL REFERENCES account(id) ON DELETE CASCADE,"
                             "  kind INTEGER NOT NULL,"
                             "  label BLOB NOT NULL,"
                             "  hash TEXT," /* argon2id; of the account's own password only */
                             "  stored_key BLOB NOT NULL,"
                             "  server_key BLOB NOT NULL,"
                             "  created_ms INTEGER NOT NULL,"
                             "  used_ms INTEGER NOT NULL DEFAULT 0,"
                             "  UNIQUE (account, kind, label)) STRICT;"
                             "CREATE TABLE fake (secret BLOB NOT NULL) STRICT;"
                             "INSERT INTO fake VALUES (randomblob(32));";

/* Format 2: logins that ended before their time, in the run of that name (ipc.table, login_end). */
static const char schema_2[] = "CREATE TABLE run (name BLOB NOT NULL) STRICT;"
                               "CREATE TABLE ended ("
                               "  account INTEGER NOT NULL,"
                               "  credential INTEGER NOT NULL,"
                               "  issued_ms INTEGER NOT NULL,"
                               "  PRIMARY KEY (account, credential)) STRICT, WITHOUT ROWID;"
                               "PRAGMA user_version = 2;";

struct secrets {
    sqlite3 *db;
};

/* ---- SQLite ------------------------------------------------------------------------------------
 */

static enum status_code status_of(int result)
{
    switch (result & 0xFF) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return STATUS_OK;
    case SQLITE_NOMEM:
        return STATUS_NO_MEMORY;
    case SQLITE_FULL:
        return STATUS_DISK_FULL;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return STATUS_BUSY;
    case SQLITE_CONSTRAINT:
        return STATUS_EXISTS;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return STATUS_CORRUPT;
    default:
        return STATUS_IO;
    }
}

/* A statement and the first thing that went wrong with it. */
struct query {
    sqlite3_stmt *statement;
    int result;
};

static struct query prepare(struct secrets *s, const char *sql)
{
    struct query q = {0};
    q.result = sqlite3_prepare_v2(s->db, sql, -1, &q.statement, NULL);
    return q;
}

static int place(const struct query *q, const char *name)
{
    int index = sqlite3_bind_parameter_index(q->statement, name);
    invariant(index > 0);
    return index;
}

static void note(struct query *q, int result)
{
    if (q->result == SQLITE_OK)
        q->result = result;
}

static void bind_int(struct query *q, const char *name, uint64_t value)
{
    if (q->result == SQLITE_OK)
        note(q, sqlite3_bind_int64(q->statement, place(q, name), (sqlite3_int64)value));
}

static void bind_bytes(struct query *q, const char *name, struct str bytes)
{
    if (q->result == SQLITE_OK)
        note(q, sqlite3_bind_blob64(q->statement, place(q, name), bytes.ptr ? bytes.ptr : "",
                                    bytes.len, SQLITE_STATIC));
}

/* NULL binds NULL. */
static void bind_words(struct query *q, const char *name, const char *words)
{
    if (q->result == SQLITE_OK)
        note(q, sqlite3_bind_text(q->statement, place(q, name), words, -1, SQLITE_STATIC));
}

static bool next(struct query *q)
{
    if (q->result != SQLITE_OK)
        return false;
    int result = sqlite3_step(q->statement);
    if (result == SQLITE_ROW)
        return true;
    note(q, result == SQLITE_DONE ? SQLITE_OK : result);
    return false;
}

static struct str column_bytes(const struct query *q, int column)
{
    const void *ptr = sqlite3_column_blob(q->statement, column);
    return str_make(ptr, (size_t)sqlite3_column_bytes(q->statement, column));
}

static int64_t column_int(const struct query *q, int column)
{
    return sqlite3_column_int64(q->statement, column);
}

static enum status_code end(struct query *q)
{
    sqlite3_finalize(q->statement);
    return status_of(q->result);
}

static enum status_code run(struct query *q)
{
    while (next(q))
        ;
    return end(q);
}

static enum status_code execute(struct secrets *s, const char *sql)
{
    return status_of(sqlite3_exec(s->db, sql, NULL, NULL, NULL));
}

/* Ends a transaction the way it went. */
static enum status_code finish(struct secrets *s, enum status_code status)
{
    if (status == STATUS_OK)
        status = execute(s, "COMMIT");
    if (status != STATUS_OK && !sqlite3_get_autocommit(s->db))
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    return status;
}

/* ---- Opening ------------------------------------------------------------------------------------
 */

static enum status_code read_format(struct secrets *s, int64_t *ret_format)
{
    struct query q = prepare(s, "PRAGMA user_version");
    if (next(&q))
        *ret_format = column_int(&q, 0);
    return end(&q);
}

static enum status_code make_schema(struct secrets *s)
{
    int64_t format = 0;
    enum status_code status = execute(s, "BEGIN IMMEDIATE");
    if (status == STATUS_OK)
        status = read_format(s, &format);
    if (status == STATUS_OK && format > FORMAT)
        status = STATUS_UNSUPPORTED;
    if (status == STATUS_OK && format == 0)
        status = execute(s, schema);
    if (status == STATUS_OK && format < FORMAT)
        status = execute(s, schema_2);
    return finish(s, status);
}

/* Nobody else ever opens the file while the keeper lives, so the lock is taken once and kept. */
static enum status_code set_up(struct secrets *s)
{
    enum status_code status =
        execute(s, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;"
                   "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"
                   "PRAGMA temp_store = MEMORY; PRAGMA secure_delete = ON;"
                   "PRAGMA trusted_schema = OFF;");
    return status == STATUS_OK ? make_schema(s) : status;
}

enum status_code secrets_open(const char *path, struct secrets **ret_secrets, struct diag *diag)
{
    /* SQLite gives the files beside it the mode of this one. */
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || fchmod(fd, 0600) < 0) {
        diag_set(diag, "cannot open %s", path);
        if (fd >= 0)
            close(fd);
        return STATUS_IO;
    }
    close(fd);
    struct secrets *s = calloc(1, sizeof *s);
    if (!s)
        return STATUS_NO_MEMORY;
    enum status_code status =
        status_of(sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL));
    if (status == STATUS_OK)
        status = set_up(s);
    if (status != STATUS_OK) {
        diag_set(diag, "%s: %s", path,
                 status == STATUS_UNSUPPORTED ? "made by a newer Postern" : secrets_words(s));
        secrets_close(s);
        return status;
    }
    *ret_secrets = s;
    return STATUS_OK;
}

void secrets_close(struct secrets *s)
{
    if (!s)
        return;
    sqlite3_close(s->db);
    free(s);
}

const char *secrets_words(const struct secrets *s)
{
    return sqlite3_errmsg(s->db);
}

/* ---- Reading ------------------------------------------------------------------------------------
 */

static bool copy_exactly(void *to, size_t size, struct str from)
{
    if (from.len != size)
        return false;
    memcpy(to, from.ptr, size);
    return true;
}

static enum status_code find_account(struct secrets *s, struct str login, struct secrets_login *out)
{
    bool found = false, good = true;
    struct query q =
        prepare(s, "SELECT id, disabled, salt, iterations FROM account WHERE login = $login");
    bind_bytes(&q, "$login", login);
    if (next(&q)) {
        struct str salt = column_bytes(&q, 2);
        found = true;
        out->account = (uint64_t)column_int(&q, 0);
        out->disabled = column_int(&q, 1) != 0;
        out->scram.iterations = (uint32_t)column_int(&q, 3);
        out->scram.salt_size = salt.len;
        good = salt.len > 0 && salt.len <= SCRAM_SALT_MAX && out->scram.iterations > 0;
        if (good)
            memcpy(out->scram.salt, salt.ptr, salt.len);
    }
    enum status_code status = end(&q);
    if (status != STATUS_OK)
        return status;
    return !found ? STATUS_NOT_FOUND : good ? STATUS_OK : STATUS_CORRUPT;
}

static bool take_credential(const struct query *q, struct secrets_login *out)
{
    unsigned i = out->scram.key_count;
    struct scram_keys *keys = &out->scram.keys[i];
    out->ids[i] = (uint64_t)column_int(q, 0);
    out->used_ms[i] = column_int(q, 5);
    if (!copy_exactly(keys->stored, sizeof keys->stored, column_bytes(q, 3)) ||
        !copy_exactly(keys->server, sizeof keys->server, column_bytes(q, 4)))
        return false;
    out->scram.key_count++;
    if (column_int(q, 1) != SECRET_MAIN)
        return true;
    out->main_id = out->ids[i];
    return str_to_c(column_bytes(q, 2), out->main_hash, sizeof out->main_hash);
}

enum status_code secrets_fake(struct secrets *s, uint8_t ret_octets[SECRETS_FAKE_SIZE])
{
    struct query q = prepare(s, "SELECT secret FROM fake");
    bool good = next(&q) && copy_exactly(ret_octets, SECRETS_FAKE_SIZE, column_bytes(&q, 0));
    enum status_code status = end(&q);
    return status == STATUS_OK && !good ? STATUS_CORRUPT : status;
}

enum status_code secrets_find(struct secrets *s, struct str login, struct secrets_login *ret_login)
{
    bool good = true;
    *ret_login = (struct secrets_login){0};
    enum status_code status = find_account(s, login, ret_login);
    /* Nobody's passwords are looked for too, so that time tells little. */
    if (status != STATUS_OK && status != STATUS_NOT_FOUND)
        return status;
    struct query q = prepare(s, "SELECT id, kind, hash, stored_key, server_key, used_ms "
                                "FROM credential WHERE account = $account ORDER BY kind, id");
    bind_int(&q, "$account", ret_login->account);
    while (good && ret_login->scram.key_count < SCRAM_KEYS_MAX && next(&q))
        good = take_credential(&q, ret_login);
    status = end(&q);
    if (status == STATUS_OK && !good)
        return STATUS_CORRUPT;
    return status == STATUS_OK && ret_login->scram.key_count == 0 ? STATUS_NOT_FOUND : status;
}

static void take_entry(const struct query *q, struct secrets_entry *out)
{
    struct str label = str_sub(column_bytes(q, 2), 0, SECRETS_LABEL_MAX);
    *out = (struct secrets_entry){.id = (uint64_t)column_int(q, 0),
                                  .kind = (enum secret_kind)column_int(q, 1),
                                  .label_size = label.len,
                                  .created_ms = column_int(q, 3),
                                  .used_ms = column_int(q, 4)};
    if (label.len)
        memcpy(out->label, label.ptr, label.len);
}

enum status_code secrets_list(struct secrets *s, uint64_t account,
                              struct secrets_entry *ret_entries, size_t *ret_count)
{
    size_t count = 0;
    struct query q = prepare(s, "SELECT id, kind, label, created_ms, used_ms FROM credential "
                                "WHERE account = $account ORDER BY id");
    bind_int(&q, "$account", account);
    while (count < SECRETS_PER_ACCOUNT_MAX && next(&q))
        take_entry(&q, &ret_entries[count++]);
    *ret_count = count;
    return end(&q);
}

/* ---- Logins that ended --------------------------------------------------------------------------
 */

static enum status_code is_run(struct secrets *s, struct str run, bool *ret_is)
{
    struct query q = prepare(s, "SELECT 1 FROM run WHERE name = $name");
    bind_bytes(&q, "$name", run);
    *ret_is = next(&q);
    return end(&q);
}

static enum status_code put_run(struct secrets *s, struct str name)
{
    struct query q = prepare(s, "INSERT INTO run VALUES ($name)");
    bind_bytes(&q, "$name", name);
    return run(&q);
}

enum status_code secrets_begin_run(struct secrets *s, struct str run)
{
    bool same = false;
    enum status_code status = is_run(s, run, &same);
    if (status != STATUS_OK || same)
        return status;
    status = execute(s, "BEGIN IMMEDIATE; DELETE FROM ended; DELETE FROM run");
    if (status == STATUS_OK)
        status = put_run(s, run);
    return finish(s, status);
}

enum status_code secrets_ends(struct secrets *s, uint64_t account, struct capability_ends *ends)
{
    bool added = true;
    struct query q = prepare(s, "SELECT account, credential, issued_ms FROM ended "
                                "WHERE $account = 0 OR account IN (0, $account)");
    bind_int(&q, "$account", account);
    while (added && next(&q))
        added = capability_ends_add(
            ends, &(struct capability_end){.account = (uint64_t)column_int(&q, 0),
                                           .credential = (uint64_t)column_int(&q, 1),
                                           .issued_ms = column_int(&q, 2)});
    enum status_code status = end(&q);
    return added ? status : STATUS_NO_MEMORY;
}

static enum status_code put_end(struct secrets *s, const struct capability_end *e)
{
    struct query q = prepare(s, "INSERT INTO ended VALUES ($account, $credential, $issued) "
                                "ON CONFLICT DO UPDATE SET issued_ms = max(issued_ms, $issued)");
    bind_int(&q, "$account", e->account);
    bind_int(&q, "$credential", e->credential);
    bind_int(&q, "$issued", (uint64_t)e->issued_ms);
    return run(&q);
}

static enum status_code forget_ends(struct secrets *s, int64_t before_ms)
{
    struct query q = prepare(s, "DELETE FROM ended WHERE issued_ms < $before");
    bind_int(&q, "$before", (uint64_t)before_ms);
    return run(&q);
}

static enum status_code count_ends(struct secrets *s, int64_t *ret_count)
{
    struct query q = prepare(s, "SELECT count(*) FROM ended");
    if (next(&q))
        *ret_count = column_int(&q, 0);
    return end(&q);
}

/* Within a transaction. What cannot be remembered one by one has ended for everybody. */
static enum status_code end_logins(struct secrets *s, uint64_t account, uint64_t credential,
                                   int64_t mono_ms)
{
    int64_t count = 0;
    struct capability_end e = {account, credential, mono_ms};
    enum status_code status = forget_ends(s, mono_ms - CAPABILITY_END_KEPT_MS);
    if (status == STATUS_OK)
        status = count_ends(s, &count);
    if (status == STATUS_OK && count >= SECRETS_ENDS_MAX) {
        e = (struct capability_end){.issued_ms = mono_ms};
        status = execute(s, "DELETE FROM ended");
    }
    return status == STATUS_OK ? put_end(s, &e) : status;
}

/* ---- Changing -----------------------------------------------------------------------------------
 */

/* The account's salt where a password other than the one being replaced stands on it. */
static enum status_code salt_in_use(struct secrets *s, uint64_t account, enum secret_kind kind,
                                    uint8_t salt[SCRAM_SALT_MAX], size_t *ret_size,
                                    uint32_t *ret_iterations)
{
    *ret_size = 0;
    struct query q =
        prepare(s, "SELECT salt, iterations FROM account WHERE id = $account AND EXISTS ("
                   "SELECT 1 FROM credential WHERE account = $account AND kind >= $kind)");
    bind_int(&q, "$account", account);
    bind_int(&q, "$kind", kind == SECRET_MAIN ? SECRET_APPLICATION : SECRET_MAIN);
    if (next(&q)) {
        struct str kept = column_bytes(&q, 0);
        if (kept.len <= SCRAM_SALT_MAX) {
            memcpy(salt, kept.ptr, kept.len);
            *ret_size = kept.len;
            *ret_iterations = (uint32_t)column_int(&q, 1);
        }
    }
    return end(&q);
}

enum status_code secrets_salt(struct secrets *s, uint64_t account, enum secret_kind kind,
                              const uint8_t fresh[static SCRAM_SALT_SIZE], struct password_job *job)
{
    enum status_code status =
        salt_in_use(s, account, kind, job->salt, &job->salt_size, &job->iterations);
    if (status == STATUS_OK && job->salt_size == 0) {
        memcpy(job->salt, fresh, SCRAM_SALT_SIZE);
        job->salt_size = SCRAM_SALT_SIZE;
        job->iterations = PASSWORD_ITERATIONS;
    }
    return status;
}

static enum status_code check_salt(struct secrets *s, const struct secrets_change *c)
{
    uint8_t salt[SCRAM_SALT_MAX];
    size_t size;
    uint32_t iterations = 0;
    enum status_code status = salt_in_use(s, c->account, c->kind, salt, &size, &iterations);
    if (status != STATUS_OK || size == 0)
        return status;
    bool same = size == c->job->salt_size && iterations == c->job->iterations &&
                memcmp(salt, c->job->salt, size) == 0;
    return same ? STATUS_OK : STATUS_BUSY;
}

static enum status_code put_account(struct secrets *s, const struct secrets_change *c)
{
    struct query q = prepare(s, "INSERT INTO account (id, login, salt, iterations) "
                                "VALUES ($account, $login, $salt, $iterations) "
                                "ON CONFLICT (id) DO UPDATE SET login = $login, salt = $salt, "
                                "iterations = $iterations");
    bind_int(&q, "$account", c->account);
    bind_bytes(&q, "$login", c->login);
    bind_bytes(&q, "$salt", str_make(c->job->salt, c->job->salt_size));
    bind_int(&q, "$iterations", c->job->iterations);
    return run(&q);
}

static enum status_code count_credentials(struct secrets *s, uint64_t account)
{
    int64_t count = 0;
    struct query q = prepare(s, "SELECT count(*) FROM credential WHERE account = $account");
    bind_int(&q, "$account", account);
    if (next(&q))
        count = column_int(&q, 0);
    enum status_code status = end(&q);
    return status == STATUS_OK && count >= SECRETS_PER_ACCOUNT_MAX ? STATUS_TOO_BIG : status;
}

/* With the sessions that it opened. */
static enum status_code remove_main(struct secrets *s, uint64_t account, int64_t mono_ms)
{
    uint64_t id = 0;
    struct query q = prepare(s, "DELETE FROM credential WHERE account = $account AND kind = $main "
                                "RETURNING id");
    bind_int(&q, "$account", account);
    bind_int(&q, "$main", SECRET_MAIN);
    while (next(&q))
        id = (uint64_t)column_int(&q, 0);
    enum status_code status = end(&q);
    return status == STATUS_OK && id != 0 ? end_logins(s, account, id, mono_ms) : status;
}

static enum status_code put_credential(struct secrets *s, const struct secrets_change *c)
{
    const struct scram_keys *keys = &c->result->keys;
    struct query q =
        prepare(s, "INSERT INTO credential "
                   "(account, kind, label, hash, stored_key, server_key, created_ms) VALUES "
                   "($account, $kind, $label, $hash, $stored, $server, $created)");
    bind_int(&q, "$account", c->account);
    bind_int(&q, "$kind", c->kind);
    bind_bytes(&q, "$label", c->kind == SECRET_MAIN ? STR("") : text_peek(c->label));
    bind_words(&q, "$hash", c->kind == SECRET_MAIN ? c->result->hash : NULL);
    bind_bytes(&q, "$stored", str_make(keys->stored, sizeof keys->stored));
    bind_bytes(&q, "$server", str_make(keys->server, sizeof keys->server));
    bind_int(&q, "$created", (uint64_t)c->at_ms);
    return run(&q);
}

enum status_code secrets_set(struct secrets *s, const struct secrets_change *change)
{
    if (change->account == 0 || change->account > INT64_MAX || str_empty(change->login) ||
        text_peek(change->label).len > SECRETS_LABEL_MAX)
        return STATUS_INVALID;
    enum status_code status = execute(s, "BEGIN IMMEDIATE");
    if (status == STATUS_OK)
        status = check_salt(s, change);
    if (status == STATUS_OK)
        status = put_account(s, change);
    if (status == STATUS_OK && change->kind == SECRET_MAIN)
        status = remove_main(s, change->account, change->mono_ms);
    if (status == STATUS_OK)
        status = count_credentials(s, change->account);
    if (status == STATUS_OK)
        status = put_credential(s, change);
    return finish(s, status);
}

static enum status_code remove_one(struct secrets *s, uint64_t account, uint64_t id)
{
    struct query q = prepare(s, "DELETE FROM credential WHERE account = $account AND id = $id");
    bind_int(&q, "$account", account);
    bind_int(&q, "$id", id);
    enum status_code status = run(&q);
    return status == STATUS_OK && sqlite3_changes(s->db) == 0 ? STATUS_NOT_FOUND : status;
}

static enum status_code remove_all(struct secrets *s, uint64_t account)
{
    struct query q = prepare(s, "DELETE FROM account WHERE id = $account");
    bind_int(&q, "$account", account);
    return run(&q);
}

enum status_code secrets_remove(struct secrets *s, uint64_t account, uint64_t id, int64_t mono_ms)
{
    if (account == 0 || account > INT64_MAX || id > INT64_MAX)
        return STATUS_NOT_FOUND;
    enum status_code status = execute(s, "BEGIN IMMEDIATE");
    if (status == STATUS_OK)
        status = id != 0 ? remove_one(s, account, id) : remove_all(s, account);
    if (status == STATUS_OK)
        status = end_logins(s, account, id, mono_ms);
    return finish(s, status);
}

static enum status_code set_disabled(struct secrets *s, uint64_t account, bool disabled)
{
    struct query q = prepare(s, "INSERT INTO account (id, disabled) VALUES ($account, $disabled) "
                                "ON CONFLICT (id) DO UPDATE SET disabled = $disabled");
    bind_int(&q, "$account", account);
    bind_int(&q, "$disabled", disabled);
    return run(&q);
}

enum status_code secrets_disable(struct secrets *s, uint64_t account, bool disabled,
                                 int64_t mono_ms)
{
    if (account == 0 || account > INT64_MAX)
        return STATUS_NOT_FOUND;
    enum status_code status = execute(s, "BEGIN IMMEDIATE");
    if (status == STATUS_OK)
        status = set_disabled(s, account, disabled);
    if (status == STATUS_OK && disabled)
        status = end_logins(s, account, 0, mono_ms);
    return finish(s, status);
}

enum status_code secrets_used(struct secrets *s, uint64_t id, int64_t at_ms)
{
    struct query q = prepare(s, "UPDATE credential SET used_ms = $at WHERE id = $id");
    bind_int(&q, "$at", (uint64_t)at_ms);
    bind_int(&q, "$id", id);
    return run(&q);
}
