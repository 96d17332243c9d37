#ifndef POSTERN_ROLES_CONFIG_OUTBOUND_H
#define POSTERN_ROLES_CONFIG_OUTBOUND_H

#include "roles/config_read.h"

/* The directives `route`, `policy` and `outbound`, and what stands in their blocks. */
extern const struct config_table config_route_table, config_policy_table, config_outbound_table;

void config_add_route(struct config_reader *r, const struct config_directive *row,
                      const struct conf_directive *given);
void config_add_policy(struct config_reader *r, const struct config_directive *row,
                       const struct conf_directive *given);

#endif
