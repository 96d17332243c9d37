#ifndef POSTERN_ROLES_COURIER_EXPLAIN_H
#define POSTERN_ROLES_COURIER_EXPLAIN_H

#include "roles/courier_state.h"

/* Where mail for an address would go now, asked of the DNS on the spot (`postern explain`). */
void courier_on_explain(void *context, struct channel *from, uint32_t id,
                        const struct ipc_explain_in *in);

/* Answers all that are still asked for. */
void courier_explain_end(struct courier *c);

#endif
