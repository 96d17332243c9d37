#ifndef POSTERN_ROLES_SPAWN_H
#define POSTERN_ROLES_SPAWN_H

#include <stdint.h>
#include <sys/types.h>

#include "base/diag.h"
#include "base/status.h"
#include "roles/config.h"

/*
 * Starts roles: fork and exec of this very program, so that nothing is inherited but the channel
 * (descriptor 3) and the log (descriptor 2); under the role's own uid where we are root and the
 * configuration names one. The child's first message must be the configuration (ipc.table).
 */

/*
 * Adds an error for each user and group that the system does not have, and is then STATUS_INVALID:
 * of those that the file names and, where we are root and so need them, of the usual ones.
 */
enum status_code spawn_check_users(const struct config *config,
                                   struct conf_errors *errors) MUST_USE;

/*
 * Makes what must be there before: the data folder and in it store/ (the vault's, readable for the
 * group) and keeper/ (the keeper's alone). Safe to repeat.
 */
enum status_code spawn_prepare(const struct config *config, struct diag *diag) MUST_USE;

/* *ret_fd: the warden's end of the channel, for link_open. log_fd is not taken over. */
enum status_code spawn_role(const struct config *config, enum ipc_role role, uint8_t index,
                            int log_fd, pid_t *ret_pid, int *ret_fd, struct diag *diag) MUST_USE;

/*
 * A descriptor for the log that never blocks: standard error, opened once more where it can be. A
 * file is shared with whoever passed it, and appended to from now on.
 * Stays open for the life of the process.
 */
int spawn_log_fd(void);

#endif
