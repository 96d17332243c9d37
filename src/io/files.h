#ifndef POSTERN_IO_FILES_H
#define POSTERN_IO_FILES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/diag.h"
#include "base/status.h"
#include "base/str.h"

/* Small files, whole. Paths come from the administrator, never from a text. */

/* Appends what fd has left; STATUS_TOO_BIG where it does not fit into the buf. */
enum status_code files_read_fd(int fd, struct buf *out, struct diag *diag) MUST_USE;
enum status_code files_read(const char *path, struct buf *out, struct diag *diag) MUST_USE;

/*
 * Replaces the file's content in one step: written beside it, synced, renamed. Mode as given, also
 * where it was there before.
 */
enum status_code files_write(const char *path, struct str content, mode_t mode,
                             struct diag *diag) MUST_USE;

/* Makes the folder where it is missing (not its parents), and sets its mode. */
enum status_code files_make_folder(const char *path, mode_t mode, struct diag *diag) MUST_USE;

/*
 * STATUS_OK where only root and we ourselves can put something else in the place of what an
 * absolute path without links names, or change it: every folder on the way is root's or ours, and
 * none is everybody's (but for those like /tmp, where each has only his own). Groups are trusted.
 */
enum status_code files_check_owners(const char *path, struct diag *diag) MUST_USE;

/* All of it, over short writes and EINTR; for blocking descriptors. */
enum status_code files_write_all(int fd, struct str bytes) MUST_USE;

/*
 * Takes the lock on a file (made where it is missing) for as long as *ret_fd stays open.
 * STATUS_BUSY: another process has it; *ret_holder is its id where it is known, else 0.
 */
enum status_code files_lock(const char *path, int *ret_fd, pid_t *ret_holder,
                            struct diag *diag) MUST_USE;

#endif
