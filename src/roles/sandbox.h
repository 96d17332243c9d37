#ifndef POSTERN_ROLES_SANDBOX_H
#define POSTERN_ROLES_SANDBOX_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/diag.h"
#include "base/status.h"
#include "ipc/ipc_messages.h"

/*
 * Shuts the process in for good, as its role's licence says: no new privileges, no capabilities,
 * resource limits, Landlock where there is one (no file but the folder's), and a seccomp
 * allow-list. A forbidden system call answers EPERM (EACCES for a file), except those that only an
 * intruder makes: they end the process. `folder` is NULL for roles whose licence has no files.
 *
 *   edge      accept; no files; no socket of the network made, none connected
 *   courier   sockets of the network, connected outwards; no files. Unix sockets too, where a route
 *             of the configuration names one (unix_sockets)
 *   keeper    its folder; no sockets
 *   mailroom  its folder, to read; no sockets
 *   vault     its folder; no sockets
 */
enum status_code sandbox_enter(enum ipc_role role, const char *folder, bool unix_sockets,
                               struct diag *diag) MUST_USE;

/* Whether we may use Landlock here. Without it a sandbox is made of the other fences. */
bool sandbox_has_landlock(void);

/*
 * In a child of a warden that is root, before exec: gives up uid, gid, groups and the bounding set
 * for good. Async-signal-safe.
 */
enum status_code sandbox_become(uid_t uid, gid_t gid, const gid_t *groups,
                                size_t group_count) MUST_USE;

#endif
