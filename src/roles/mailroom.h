#ifndef POSTERN_ROLES_MAILROOM_H
#define POSTERN_ROLES_MAILROOM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/limits.h"
#include "roles/config.h"
#include "roles/role.h"
#include "store/db.h"
#include "store/read.h"

/*
 * The mailroom: reads the database, answers what the edge asks about recipients and senders, and
 * speaks IMAP and POP3 with people who have logged in. It changes nothing itself; the vault does,
 * on sight of the session's capability.
 *
 * No statement is stepped and no read transaction is open when the loop turns.
 */
extern const struct role_plan mailroom_plan;

struct mailroom_session;

struct mailroom {
    struct role *role;
    struct db *db;
    struct channel *vault; /* NULL while it is away: changes are temporarily refused */
    struct arena config_arena;
    struct config config;
    char host_name[LIMIT_DOMAIN_SIZE + 1];
    struct arena scratch; /* reset before each use: nothing in it outlives a call */
    struct body_reader reader;
    struct mailroom_session *sessions;
    size_t session_count;
    uint64_t next_body; /* name of the next body sent ahead of its APPEND */
    uint64_t vaults;    /* so many there were: the next has nothing of what one was sent */
    bool stopping;
};

#endif
