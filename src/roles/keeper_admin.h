#ifndef POSTERN_ROLES_KEEPER_ADMIN_H
#define POSTERN_ROLES_KEEPER_ADMIN_H

#include "base/buf.h"
#include "base/diag.h"
#include "roles/keeper_secrets.h"

/*
 * Setting a password in three steps, of which the middle one is slow: admin_begin, password_run
 * (or a hasher), admin_finish. For the keeper, and for commands that work without one.
 */
struct admin_change {
    uint64_t account;
    char login[512];
    size_t login_size;
    enum secret_kind kind;
    char label[SECRETS_LABEL_MAX];
    size_t label_size;
    struct password_job job;
};

/*
 * Checks and prepares what was given. fresh: SCRAM_SALT_SIZE random octets, never used again. Wipe
 * the change when done.
 */
struct admin_wish {
    uint64_t account;
    struct str login;
    enum secret_kind kind;
    struct text label; /* of an application password */
    struct str password;
};

MUST_USE enum status_code admin_begin(struct secrets *s, const struct admin_wish *wish,
                                      const uint8_t fresh[static SCRAM_SALT_SIZE],
                                      struct admin_change *ret_change, struct diag *diag);

MUST_USE enum status_code admin_finish(struct secrets *s, const struct admin_change *change,
                                       const struct password_result *result, struct now now,
                                       struct diag *diag);

/* Appends name as logins are compared: prepared, in lower case. False where it is no name. */
bool admin_fold_login(struct str name, struct buf *out);

#endif
