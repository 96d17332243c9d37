#ifndef POSTERN_ROLES_COURIER_H
#define POSTERN_ROLES_COURIER_H

#include "roles/role.h"

/*
 * The courier: what goes out to the network. So far it resolves: the name of an address, which
 * counts only where the name leads back to the address.
 */
extern const struct role_plan courier_plan;

#endif
