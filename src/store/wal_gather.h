#ifndef POSTERN_STORE_WAL_GATHER_H
#define POSTERN_STORE_WAL_GATHER_H

/*
 * An SQLite VFS on top of another one, for the writer of a store. SQLite writes each page of a
 * commit to the WAL with two calls; here they are gathered, and are one write before the sync that
 * every commit ends with (synchronous = FULL, which is what makes this right: no reader is told of
 * frames that are not synced). All other files and calls pass through.
 *
 * A gathered write that fails (a full disk, mostly) is an error of the sync, and so of the commit,
 * as one that failed at once would have been.
 */

/*
 * The name of the VFS that gathers on top of the one named `below` (NULL: the system's), which is
 * registered where it is not yet. NULL where there is no memory or no such VFS.
 */
const char *wal_gather(const char *below);

#endif
