#ifndef POSTERN_ROLES_COURIER_H
#define POSTERN_ROLES_COURIER_H

#include "roles/role.h"

/*
 * The courier: what goes out to the network. It leases mail of the vault's queue, finds where it
 * goes, hands it to the next server and tells the vault what came of it (courier_state.h lists the
 * parts); and it finds the names of addresses for the edge.
 */
extern const struct role_plan courier_plan;

#endif
