#ifndef POSTERN_ROLES_COURIER_SETTINGS_H
#define POSTERN_ROLES_COURIER_SETTINGS_H

#include "policy/route.h"
#include "roles/courier_state.h"

/*
 * Before the sandbox closes: reads the files that the configuration names (the root's keys and
 * one's own, the authorities) and makes what must be whole by then. Files are not read again: a
 * reload that names others takes effect with the next start.
 */
enum status_code courier_settings_prepare(struct courier *c, const struct ipc_config_in *in,
                                          struct diag *diag) MUST_USE;

/* A later configuration; where it cannot be used the earlier one stays. */
enum status_code courier_settings_replace(struct courier *c,
                                          const struct ipc_config_in *in) MUST_USE;

/* How routes are found now. ret borrows from the courier's settings. */
void courier_settings_routing(const struct courier *c, const struct courier_settings *s,
                              struct route_settings *ret);

/* An address of our own to connect from; NULL: as the system likes. */
const uint8_t *courier_settings_source(const struct courier_settings *s, bool ipv4);

#endif
