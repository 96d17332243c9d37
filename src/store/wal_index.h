#ifndef POSTERN_STORE_WAL_INDEX_H
#define POSTERN_STORE_WAL_INDEX_H

#include <sys/types.h>

#include "base/status.h"

/*
 * Who reads the database from the oldest snapshot, and so keeps the WAL from being copied, by the
 * WAL's index and the locks on it, both of which are a part of SQLite's file format
 * (https://www.sqlite.org/walformat.html §2.3).
 *
 * Only for a process that has the database nowhere open: closing a descriptor of a file gives up
 * all locks that the process has on it.
 */

/* index: DATA/store/postern.db-shm. *ret_pid: one of those, or 0 where nobody keeps it. */
MUST_USE enum status_code wal_index_oldest_reader(const char *index, pid_t *ret_pid);

#endif
