#ifndef POSTERN_ROLES_CONTROL_H
#define POSTERN_ROLES_CONTROL_H

#include "base/diag.h"
#include "base/status.h"
#include "ipc/ipc_messages.h"

/*
 * The operator's end of the control socket. A connection is for the warden itself (reload,
 * shutdown) or, from its first message on, for the role it names; the caller then opens a link
 * over it: self ROLE_OPERATOR, peer as asked.
 *
 * STATUS_NOT_FOUND, STATUS_GONE or STATUS_IO: no server runs there.
 */
enum status_code control_connect(const char *path, enum ipc_role role, int *ret_fd,
                                 struct diag *diag) MUST_USE;

#endif
