#include "store/db.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/bug.h"
#include "store/schema.h"
#include "store/wal_gather.h"

enum {
    QUERIES_MAX = 512, /* a power of two, well above the number of statements in the program */
    PAGE_SIZE = 8192,
    BUSY_MS = 5000,
    READERS_MS = 500, /* what a new writer gives them, that it may begin the WAL anew */
    PARAMETERS_MAX = 63,
};

struct query {
    const char *sql;
    struct db *db;
    sqlite3_stmt *stmt;
    uint64_t bound; /* bit n: parameter n + 1 has its value */
    bool active;
    bool stepped;
    enum status_code status;
};

struct db {
    sqlite3 *handle;
    struct query *queries[QUERIES_MAX]; /* open addressing by the address of the SQL */
    size_t query_count;
    uint64_t wal_frames;
    uint64_t page_size;
};

static enum status_code status_from_sqlite(int result)
{
    switch (result & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return STATUS_OK;
    case SQLITE_FULL:
        return STATUS_DISK_FULL;
    case SQLITE_NOMEM:
        return STATUS_NO_MEMORY;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return STATUS_BUSY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return STATUS_CORRUPT;
    case SQLITE_CONSTRAINT:
        return STATUS_EXISTS;
    case SQLITE_PERM:
    case SQLITE_READONLY:
        return STATUS_DENIED;
    case SQLITE_TOOBIG:
        return STATUS_TOO_BIG;
    default:
        return STATUS_IO;
    }
}

void db_words(const struct db *db, struct diag *d)
{
    diag_set(d, "%s", sqlite3_errmsg(db->handle));
}

/* ---- Statements ---------------------------------------------------------------------------- */

static enum status_code exec(struct db *db, const char *sql)
{
    return status_from_sqlite(sqlite3_exec(db->handle, sql, NULL, NULL, NULL));
}

static struct query *prepare(struct db *db, const char *sql)
{
    struct query *q = calloc(1, sizeof *q);
    if (!q)
        bug("no memory for a statement");
    q->sql = sql;
    q->db = db;
    return q;
}

struct query *db_query(struct db *db, const char *sql)
{
    size_t slot = ((uintptr_t)sql >> 3) * 0x9E3779B1u & (QUERIES_MAX - 1);
    while (db->queries[slot] && db->queries[slot]->sql != sql)
        slot = (slot + 1) & (QUERIES_MAX - 1);
    if (!db->queries[slot]) {
        invariant(++db->query_count < QUERIES_MAX / 2);
        db->queries[slot] = prepare(db, sql);
    }
    struct query *q = db->queries[slot];
    invariant(!q->active);
    q->status = STATUS_OK;
    if (!q->stmt)
        q->status = status_from_sqlite(
            sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &q->stmt, NULL));
    q->active = true;
    q->stepped = false;
    q->bound = 0;
    return q;
}

/* The parameter's number, or 0 where the query has failed already. */
static int parameter(struct query *q, const char *name)
{
    invariant(q->active && !q->stepped);
    if (!q->stmt)
        return 0;
    int number = sqlite3_bind_parameter_index(q->stmt, name);
    invariant(number > 0 && number <= PARAMETERS_MAX);
    q->bound |= 1ull << (number - 1);
    return number;
}

static void bound(struct query *q, int result)
{
    if (q->status == STATUS_OK)
        q->status = status_from_sqlite(result);
}

void query_bind_int(struct query *q, const char *name, int64_t value)
{
    int number = parameter(q, name);
    if (number)
        bound(q, sqlite3_bind_int64(q->stmt, number, value));
}

void query_bind_null(struct query *q, const char *name)
{
    int number = parameter(q, name);
    if (number)
        bound(q, sqlite3_bind_null(q->stmt, number));
}

/* A NULL pointer would bind NULL: the empty str is an empty value. */
void query_bind_words(struct query *q, const char *name, struct str words)
{
    int number = parameter(q, name);
    if (number)
        bound(q, sqlite3_bind_text64(q->stmt, number, words.ptr ? words.ptr : "", words.len,
                                     SQLITE_STATIC, SQLITE_UTF8));
}

void query_bind_bytes(struct query *q, const char *name, struct str bytes)
{
    int number = parameter(q, name);
    if (number)
        bound(q, sqlite3_bind_blob64(q->stmt, number, bytes.ptr ? bytes.ptr : "", bytes.len,
                                     SQLITE_STATIC));
}

void text_to_sql(struct query *q, const char *name, struct text value)
{
    query_bind_bytes(q, name, text_peek(value));
}

/*
 * A reader that comes upon the head of the WAL's index while the writer is at it, and then finds
 * the writer's lock free because it has just finished, is told that nobody will ever mend it
 * (SQLITE_READONLY_RECOVERY). It looks again: only where it is told so again and again is there no
 * writer. That can only be while it begins to read, before the first row.
 */
static int step(struct query *q)
{
    enum { LOOKS_MAX = 20 };
    int result = sqlite3_step(q->stmt);
    for (int i = 0; i < LOOKS_MAX && result == SQLITE_READONLY_RECOVERY; i++) {
        sqlite3_reset(q->stmt);
        result = sqlite3_step(q->stmt);
    }
    return result;
}

bool query_next(struct query *q)
{
    invariant(q->active);
    if (q->status != STATUS_OK)
        return false;
    if (!q->stepped) {
        int count = sqlite3_bind_parameter_count(q->stmt);
        invariant(q->bound == (count ? UINT64_MAX >> (64 - count) : 0));
        q->stepped = true;
    }
    int result = step(q);
    q->status = status_from_sqlite(result);
    return result == SQLITE_ROW;
}

int64_t query_int(const struct query *q, int column)
{
    return sqlite3_column_int64(q->stmt, column);
}

bool query_is_null(const struct query *q, int column)
{
    return sqlite3_column_type(q->stmt, column) == SQLITE_NULL;
}

struct str query_bytes(const struct query *q, int column)
{
    const void *ptr = sqlite3_column_blob(q->stmt, column);
    return str_make(ptr, ptr ? (size_t)sqlite3_column_bytes(q->stmt, column) : 0);
}

enum status_code query_end(struct query *q)
{
    invariant(q->active);
    q->active = false;
    if (q->stmt)
        sqlite3_reset(q->stmt);
    return q->status;
}

enum status_code query_run(struct query *q)
{
    while (query_next(q))
        ;
    return query_end(q);
}

int64_t db_changes(const struct db *db)
{
    return sqlite3_changes64(db->handle);
}

/* ---- Transactions --------------------------------------------------------------------------- */

enum status_code db_snapshot_begin(struct db *db)
{
    return query_run(db_query(db, "BEGIN"));
}

void db_snapshot_end(struct db *db)
{
    db_rollback(db);
}

bool db_holds_snapshot(const struct db *db)
{
    return sqlite3_txn_state(db->handle, NULL) != SQLITE_TXN_NONE;
}

enum status_code db_begin(struct db *db)
{
    return query_run(db_query(db, "BEGIN IMMEDIATE"));
}

enum status_code db_commit(struct db *db)
{
    enum status_code status = query_run(db_query(db, "COMMIT"));
    if (status != STATUS_OK)
        db_rollback(db);
    return status;
}

void db_rollback(struct db *db)
{
    /* Some failures have rolled back already; then there is nothing to do. */
    if (!sqlite3_get_autocommit(db->handle)) {
        enum status_code status = query_run(db_query(db, "ROLLBACK"));
        invariant(status == STATUS_OK || sqlite3_get_autocommit(db->handle));
    }
}

enum status_code db_savepoint(struct db *db)
{
    return query_run(db_query(db, "SAVEPOINT op"));
}

enum status_code db_savepoint_release(struct db *db)
{
    return query_run(db_query(db, "RELEASE op"));
}

enum status_code db_savepoint_undo(struct db *db)
{
    enum status_code status = query_run(db_query(db, "ROLLBACK TO op"));
    return status == STATUS_OK ? db_savepoint_release(db) : status;
}

enum status_code db_checkpoint(struct db *db, bool full, uint64_t *ret_left)
{
    int in_wal = 0, copied = 0;
    int result = sqlite3_wal_checkpoint_v2(
        db->handle, NULL, full ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE, &in_wal,
        &copied);
    if (result == SQLITE_OK || (result == SQLITE_BUSY && in_wal >= copied)) {
        *ret_left = (uint64_t)(in_wal > copied ? in_wal - copied : 0);
        db->wal_frames = *ret_left == 0 ? 0 : (uint64_t)in_wal;
    }
    return status_from_sqlite(result);
}

uint64_t db_wal_frames(const struct db *db)
{
    return db->wal_frames;
}

uint64_t db_page_size(const struct db *db)
{
    return db->page_size;
}

/* ---- Opening --------------------------------------------------------------------------------- */

/* Takes the place of SQLite's automatic checkpoint: the vault does its own. */
static int wal_grew(void *context, sqlite3 *handle, const char *name, int frames)
{
    struct db *db = context;
    (void)handle;
    (void)name;
    db->wal_frames = (uint64_t)frames;
    return SQLITE_OK;
}

static enum status_code pragma_int(struct db *db, const char *sql, int64_t *ret_value)
{
    struct query *q = db_query(db, sql);
    if (query_next(q))
        *ret_value = query_int(q, 0);
    return query_end(q);
}

#define DIGITS(number)    DIGITS_OF(number)
#define DIGITS_OF(number) #number
#define SET_FORMAT        "PRAGMA user_version = " DIGITS(STORE_FORMAT)

static enum status_code create_schema(struct db *db)
{
    enum status_code status = db_begin(db);
    if (status == STATUS_OK)
        status = exec(db, schema_sql);
    if (status == STATUS_OK)
        status = exec(db, "INSERT INTO meta VALUES ('epoch', 1);"
                          "INSERT INTO counter VALUES (1, 1, 0, 0, 0, 0);"
                          "PRAGMA application_id = 0x506f7374;" SET_FORMAT);
    if (status == STATUS_OK)
        return db_commit(db);
    db_rollback(db);
    return status;
}

/* One transaction from whatever format it has to ours; undone again where it is a trial. */
static enum status_code migrate(struct db *db, int64_t format, bool trial)
{
    enum status_code status = db_begin(db);
    for (int64_t next = format + 1; status == STATUS_OK && next <= STORE_FORMAT; next++)
        status = exec(db, migrations[next - 2]);
    if (status == STATUS_OK)
        status = exec(db, SET_FORMAT);
    if (status == STATUS_OK && !trial)
        return db_commit(db);
    db_rollback(db);
    return status;
}

static enum status_code read_format(struct db *db, int64_t *ret_format, bool *ret_empty)
{
    int64_t tables = 0;
    enum status_code status = pragma_int(db, "PRAGMA user_version", ret_format);
    if (status == STATUS_OK)
        status = pragma_int(db, "SELECT count(*) FROM sqlite_master", &tables);
    *ret_empty = *ret_format == 0 && tables == 0;
    return status;
}

static enum status_code check_format(struct db *db, enum db_mode mode, struct diag *d)
{
    int64_t format = 0;
    bool empty = false;
    enum status_code status = read_format(db, &format, &empty);
    if (status != STATUS_OK || format == STORE_FORMAT)
        return status;
    if (empty)
        return mode == DB_WRITE ? create_schema(db) : STATUS_NOT_FOUND;
    bool older = format > 0 && format < STORE_FORMAT;
    if (older && mode == DB_WRITE)
        return migrate(db, format, false);
    diag_set(d, "the store has format %lld, this program %s %d", (long long)format,
             older ? "makes it, when the server starts, format" : "knows", STORE_FORMAT);
    return STATUS_UNSUPPORTED;
}

/* page_size and auto_vacuum count only before the first table. docs/schema.md says how chosen. */
static enum status_code configure(struct db *db, enum db_mode mode, struct diag *d)
{
    enum status_code status = exec(db, "PRAGMA temp_store = memory; PRAGMA trusted_schema = off;"
                                       "PRAGMA cell_size_check = on; PRAGMA cache_size = -16384");
    if (status == STATUS_OK && mode == DB_WRITE)
        status = exec(db, "PRAGMA page_size = 8192; PRAGMA auto_vacuum = incremental;"
                          "PRAGMA journal_mode = wal; PRAGMA synchronous = full;"
                          "PRAGMA journal_size_limit = 67108864; PRAGMA cache_size = -16384");
    if (status == STATUS_OK)
        status = check_format(db, mode, d);
    int64_t page_size = PAGE_SIZE;
    if (status == STATUS_OK)
        status = pragma_int(db, "PRAGMA page_size", &page_size);
    db->page_size = (uint64_t)page_size;
    return status;
}

/*
 * Writes the WAL again, as it reads, and syncs it. After a sync that failed, the kernel goes on to
 * show what it never wrote, and no later sync writes it either: the WAL that we read may have
 * frames that the disk's lacks. A power cut behind a checkpoint from it would bring the disk's
 * older frames back over the newer pages.
 */
static int renew_wal(sqlite3 *handle)
{
    static char piece[65536];
    sqlite3_file *wal = NULL;
    sqlite3_int64 size = 0;
    int result = sqlite3_file_control(handle, "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal);
    if (result != SQLITE_OK || !wal || !wal->pMethods)
        return result;
    result = wal->pMethods->xFileSize(wal, &size);
    for (sqlite3_int64 at = 0; result == SQLITE_OK && at < size; at += (int)sizeof piece) {
        sqlite3_int64 left = size - at;
        int len = left < (sqlite3_int64)sizeof piece ? (int)left : (int)sizeof piece;
        result = wal->pMethods->xRead(wal, piece, len, at);
        if (result == SQLITE_OK)
            result = wal->pMethods->xWrite(wal, piece, len, at);
    }
    return result == SQLITE_OK ? wal->pMethods->xSync(wal, SQLITE_SYNC_FULL) : result;
}

/*
 * A reader that holds on to a snapshot keeps some of the WAL from being copied, and the WAL then
 * has it as safely: it was written and synced just now. No such reader keeps the vault out.
 */
static enum status_code open_writer(struct db *db)
{
    uint64_t left = 0;
    sqlite3_wal_hook(db->handle, wal_grew, db);
    enum status_code status = status_from_sqlite(renew_wal(db->handle));
    if (status == STATUS_OK)
        status = status_from_sqlite(sqlite3_busy_timeout(db->handle, READERS_MS));
    if (status == STATUS_OK)
        status = db_checkpoint(db, true, &left);
    sqlite3_busy_timeout(db->handle, BUSY_MS);
    return status == STATUS_BUSY ? STATUS_OK : status;
}

/* Readable for the group, whatever the umask; SQLite gives the WAL and its index the same mode. */
static enum status_code make_file(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return errno == EEXIST ? STATUS_OK : status_from_errno(errno);
    enum status_code status = fchmod(fd, 0640) == 0 ? STATUS_OK : status_from_errno(errno);
    close(fd);
    return status;
}

/* SQLite calls most of what a full disk does to it an I/O error. */
static bool is_disk_full(const char *path)
{
    struct statvfs disk;
    return statvfs(path, &disk) == 0 && disk.f_bavail == 0;
}

enum status_code db_open_vfs(const char *path, enum db_mode mode, const char *vfs,
                             struct db **ret_db, struct diag *d)
{
    enum status_code made = mode == DB_WRITE && !vfs ? make_file(path) : STATUS_OK;
    if (made != STATUS_OK) {
        diag_set(d, "cannot make %s", path);
        return made;
    }
    struct db *db = calloc(1, sizeof *db);
    if (!db)
        return STATUS_NO_MEMORY;
    int flags =
        SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE |
        (mode == DB_WRITE ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY);
    const char *layer = mode == DB_WRITE ? wal_gather(vfs) : vfs;
    int result = mode == DB_WRITE && !layer ? SQLITE_NOMEM
                                            : sqlite3_open_v2(path, &db->handle, flags, layer);
    if (result == SQLITE_OK)
        result = sqlite3_busy_timeout(db->handle, BUSY_MS);
    enum status_code status = status_from_sqlite(result);
    struct diag words = {0};
    if (result == SQLITE_CANTOPEN) {
        int error = sqlite3_system_errno(db->handle);
        status = error == 0 && mode == DB_READ ? STATUS_NOT_FOUND : status_from_errno(error);
        if (error != 0)
            diag_set(&words, "%s", strerror(error));
    }
    if (status == STATUS_OK)
        status = configure(db, mode, &words);
    if (status == STATUS_OK && mode == DB_WRITE)
        status = open_writer(db);
    if (status == STATUS_OK) {
        *ret_db = db;
        return STATUS_OK;
    }
    if (status == STATUS_IO && is_disk_full(path)) {
        status = STATUS_DISK_FULL;
        diag_set(&words, "the disk is full");
    }
    diag_set(d, "cannot open %s: %s", path,
             words.words[0] ? words.words : sqlite3_errmsg(db->handle));
    db_close(db);
    return status;
}

enum status_code db_open(const char *path, enum db_mode mode, struct db **ret_db, struct diag *d)
{
    return db_open_vfs(path, mode, NULL, ret_db, d);
}

/* ---- Checking ---------------------------------------------------------------------------------
 */

static enum status_code look_for_damage(struct db *db, struct diag *d)
{
    struct query *q = db_query(db, "PRAGMA quick_check(1)");
    enum status_code read = STATUS_CORRUPT;
    if (query_next(q)) {
        struct str words = query_bytes(q, 0);
        read = str_eq(words, STR("ok")) ? STATUS_OK : STATUS_CORRUPT;
        if (read != STATUS_OK)
            diag_set(d, "%.*s", STR_ARG(words));
    }
    enum status_code status = query_end(q);
    return status == STATUS_OK ? read : status;
}

static enum status_code check(struct db *db, int64_t *ret_format, struct diag *d)
{
    bool empty = false;
    enum status_code status = read_format(db, ret_format, &empty);
    if (status == STATUS_OK && empty)
        status = STATUS_NOT_FOUND;
    if (status == STATUS_OK && (*ret_format < 1 || *ret_format > STORE_FORMAT)) {
        diag_set(d, "the store has format %lld, this program knows %d", (long long)*ret_format,
                 STORE_FORMAT);
        status = STATUS_UNSUPPORTED;
    }
    if (status == STATUS_OK)
        status = look_for_damage(db, d);
    if (status == STATUS_OK && *ret_format < STORE_FORMAT)
        status = migrate(db, *ret_format, true);
    return status;
}

enum status_code db_check(const char *path, int64_t *ret_format, struct diag *d)
{
    struct db *db = calloc(1, sizeof *db);
    struct diag words = {0};
    if (!db)
        return STATUS_NO_MEMORY;
    int result = sqlite3_open_v2(path, &db->handle,
                                 SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE |
                                     SQLITE_OPEN_EXRESCODE | SQLITE_OPEN_READWRITE,
                                 NULL);
    if (result == SQLITE_OK)
        result = sqlite3_busy_timeout(db->handle, BUSY_MS);
    enum status_code status =
        result == SQLITE_CANTOPEN ? STATUS_NOT_FOUND : status_from_sqlite(result);
    if (status == STATUS_OK)
        status = check(db, ret_format, &words);
    if (status != STATUS_OK)
        diag_set(d, "%s: %s", path, words.words[0] ? words.words : sqlite3_errmsg(db->handle));
    db_close(db);
    return status;
}

void db_close(struct db *db)
{
    if (!db)
        return;
    for (size_t i = 0; i < QUERIES_MAX; i++) {
        if (db->queries[i])
            sqlite3_finalize(db->queries[i]->stmt);
        free(db->queries[i]);
    }
    sqlite3_close_v2(db->handle);
    free(db);
}
