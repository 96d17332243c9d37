#ifndef POSTERN_ROLES_VAULT_H
#define POSTERN_ROLES_VAULT_H

#include "roles/role.h"

/*
 * The vault: the only writer of the database. All requests that came while it was syncing are the
 * next transaction; replies leave when that is on disk. When the disk fails it ends without a
 * word, and the next vault starts by making sure of what is on the disk.
 */
extern const struct role_plan vault_plan;

#endif
