#ifndef POSTERN_STORE_DB_H
#define POSTERN_STORE_DB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/diag.h"
#include "base/status.h"
#include "base/str.h"
#include "base/text.h"

/*
 * The thin layer over SQLite: a connection, and statements that are prepared once, bound by name
 * and cached. All SQL is string literals; nothing is ever spliced into it. The words of strangers
 * go in through text_to_sql, and only as blobs.
 *
 *     struct query *q = db_query(db, "SELECT uid FROM entry WHERE mailbox = $mailbox");
 *     query_bind_int(q, "$mailbox", mailbox);
 *     while (query_next(q))
 *         use(query_int(q, 0));
 *     status = query_end(q);
 *
 * Errors stick in the query: bind and step freely, look once at query_end. A statement that is
 * between its first query_next and its query_end holds a read transaction; never leave one open
 * when the event loop turns.
 *
 * A handle belongs to one process: it must not be carried over a fork.
 */
struct db;
struct query;

enum db_mode {
    DB_READ,  /* a mailroom or a command that looks: cannot write, sees every commit */
    DB_WRITE, /* the holder of the store's lock (store/lock.h), one at a time; makes the file */
};

/*
 * Opens DATA/store/postern.db, given its full path. DB_WRITE creates the file and the schema where
 * there is none, migrates an older format forward, writes the WAL again and syncs it, and runs a
 * full checkpoint, so that STATUS_OK means that everything committed so far is safe: in the
 * database file, or, where a reader holds on to a snapshot, in the WAL. A newer format is
 * STATUS_UNSUPPORTED. DB_READ: STATUS_NOT_FOUND where there is no store yet. The files are readable
 * for the group.
 */
MUST_USE enum status_code db_open(const char *path, enum db_mode mode, struct db **ret_db,
                                  struct diag *d);

/* As db_open, with the name of an SQLite VFS, for tests. NULL is the operating system's. */
MUST_USE enum status_code db_open_vfs(const char *path, enum db_mode mode, const char *vfs,
                                      struct db **ret_db, struct diag *d);

/*
 * Looks a whole store over, for the holder of its lock: SQLite's own check of every page, and,
 * where the format is an older one, its migration, which is undone again. Nothing is changed.
 * STATUS_CORRUPT and STATUS_UNSUPPORTED (a newer format) with words.
 */
MUST_USE enum status_code db_check(const char *path, int64_t *ret_format, struct diag *d);

/* NULL is fine. */
void db_close(struct db *db);

/* ---- Statements ---------------------------------------------------------------------------- */

/*
 * The statement for sql, which must be a string literal (it is found again by its address), ready
 * to bind. Not usable again before query_end: nesting the same statement is a bug.
 */
struct query *db_query(struct db *db, const char *sql);

/* Each $name of the statement must be bound; an unknown name is a bug. */
void query_bind_int(struct query *q, const char *name, int64_t value);
void query_bind_null(struct query *q, const char *name);

/* Our own words (valid UTF-8) and our own bytes. Borrowed until query_end. */
void query_bind_words(struct query *q, const char *name, struct str words);
void query_bind_bytes(struct query *q, const char *name, struct str bytes);

/* The one way of a stranger's bytes into a statement: as a blob. Borrowed until query_end. */
void text_to_sql(struct query *q, const char *name, struct text value);

/* True: there is a row. False: no more, or it failed (see query_end). */
bool query_next(struct query *q);

int64_t query_int(const struct query *q, int column);
bool query_is_null(const struct query *q, int column);

/* Borrowed until the next query_next or query_end. */
struct str query_bytes(const struct query *q, int column);

/* Resets the statement and says how it went. */
MUST_USE enum status_code query_end(struct query *q);

/* Steps a statement that yields no rows of interest to its end. */
MUST_USE enum status_code query_run(struct query *q);

/* Rows changed by the last INSERT, UPDATE or DELETE. */
int64_t db_changes(const struct db *db);

/* What SQLite said last, for logs. */
void db_words(const struct db *db, struct diag *d);

/* ---- Transactions --------------------------------------------------------------------------- */

/* A snapshot for several reads that must agree. Short: nothing may wait inside. */
MUST_USE enum status_code db_snapshot_begin(struct db *db);
void db_snapshot_end(struct db *db);

/* A snapshot is held, by a transaction or by a statement that has not been ended. */
bool db_holds_snapshot(const struct db *db);

/* The writer's. A failed commit has been rolled back. */
MUST_USE enum status_code db_begin(struct db *db);
MUST_USE enum status_code db_commit(struct db *db);
void db_rollback(struct db *db);

/* Inside a transaction, not nested. */
MUST_USE enum status_code db_savepoint(struct db *db);
MUST_USE enum status_code db_savepoint_release(struct db *db);
MUST_USE enum status_code db_savepoint_undo(struct db *db);

/*
 * Copies committed pages from the WAL into the database file, as far as readers allow; full waits
 * for them (bounded) and starts the WAL anew. *ret_left: frames not copied yet, also with
 * STATUS_BUSY.
 */
MUST_USE enum status_code db_checkpoint(struct db *db, bool full, uint64_t *ret_left);

/* Frames in the WAL as of the last commit, and bytes a frame takes. */
uint64_t db_wal_frames(const struct db *db);
uint64_t db_page_size(const struct db *db);

#endif
