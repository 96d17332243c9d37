#ifndef POSTERN_ROLES_KEY_CHECK_H
#define POSTERN_ROLES_KEY_CHECK_H

#include "base/diag.h"
#include "base/status.h"
#include "base/str.h"

/*
 * Whether the PEM key that fd reads can sign (keeper_tls.h) and is that of the chain's certificate.
 * A child process looks, so that the key never is in the caller's memory. fd stays the caller's.
 */
MUST_USE enum status_code key_check(int fd, struct str chain, struct diag *diag);

#endif
