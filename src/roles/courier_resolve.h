#ifndef POSTERN_ROLES_COURIER_RESOLVE_H
#define POSTERN_ROLES_COURIER_RESOLVE_H

#include "roles/courier_state.h"

/* Names of addresses, for the edge (ipc.table's reverse_name). */
void courier_on_reverse_name(void *context, struct channel *from, uint32_t id,
                             const struct ipc_reverse_name_in *in);

/* Answers all that are still asked for. */
void courier_resolve_end(struct courier *c);

#endif
