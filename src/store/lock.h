#ifndef POSTERN_STORE_LOCK_H
#define POSTERN_STORE_LOCK_H

#include "base/diag.h"
#include "base/status.h"

/*
 * The store's lock: whoever writes holds it, a running server's vault or a command that works
 * alone, never both. It is an flock on a file of its own, so it ends with its holder, however that
 * ends.
 */

/*
 * Takes the lock on path (DATA/store/lock), making the file if need be; waits up to wait_ms for one
 * that has it. STATUS_BUSY: somebody else still has it; the diag tells the process id. The
 * descriptor is closed on exec.
 */
enum { LOCK_WAIT_MS = 3000 }; /* for one who is just ending, or works alone for a moment */
MUST_USE enum status_code lock_take(const char *path, int wait_ms, int *ret_fd, struct diag *d);

void lock_release(int fd);

#endif
