#ifndef POSTERN_ROLES_MAILROOM_RCPT_H
#define POSTERN_ROLES_MAILROOM_RCPT_H

#include "base/arena.h"
#include "base/status.h"
#include "base/text.h"
#include "policy/recipient.h"
#include "store/db.h"

/*
 * Answers policy's questions about recipients from the directory. Everything lives in the arena;
 * no statement is left open.
 */

/*
 * Where mail for the recipient goes. A store that cannot be read is a temporary refusal (451).
 * size: as in recipient_begin.
 */
struct recipient_decision mailroom_rcpt_resolve(struct db *db, struct str hostname,
                                                struct text recipient, uint64_t size,
                                                struct arena *arena);

/*
 * Does mail for this address come to the account? STATUS_OK: yes; STATUS_DENIED: no; else the store
 * could not be read.
 */
MUST_USE enum status_code mailroom_rcpt_owns(struct db *db, struct str hostname, uint64_t account,
                                             struct text address, struct arena *arena);

#endif
