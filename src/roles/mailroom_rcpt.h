#ifndef POSTERN_ROLES_MAILROOM_RCPT_H
#define POSTERN_ROLES_MAILROOM_RCPT_H

#include "base/arena.h"
#include "base/status.h"
#include "base/text.h"
#include "policy/recipient.h"
#include "roles/config.h"
#include "store/db.h"

/*
 * Answers policy's questions about recipients from the directory. Everything lives in the arena;
 * no statement is left open.
 */

struct mailroom_rcpt {
    struct text recipient;
    uint64_t size;  /* as in recipient_begin */
    bool may_relay; /* this and the next as in recipient_rules */
    bool is_report;
};

/*
 * Where mail for the recipient goes. A store that cannot be read is a temporary refusal (451).
 * Out's strings and lists live in the arena or are static.
 */
void mailroom_rcpt_resolve(struct db *db, const struct config *config,
                           const struct mailroom_rcpt *rcpt, struct arena *arena,
                           struct ipc_recipient_out *ret_out);

/*
 * Does mail for this address come to the account and to nobody else? STATUS_OK: yes; STATUS_DENIED:
 * no; else the store could not be read.
 */
MUST_USE enum status_code mailroom_rcpt_owns(struct db *db, const struct config *config,
                                             uint64_t account, struct text address,
                                             struct arena *arena);

#endif
