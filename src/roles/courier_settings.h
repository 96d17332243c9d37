#ifndef POSTERN_ROLES_COURIER_SETTINGS_H
#define POSTERN_ROLES_COURIER_SETTINGS_H

#include "policy/route.h"
#include "roles/courier_state.h"

void courier_settings_init(struct courier *c);
void courier_settings_forget_trust(struct courier *c);

/* The trust_file note: counts with the configuration that follows. */
void courier_settings_trust_file(void *state, uint8_t kind, int fd);

/* The configuration, the first or a later one; where it cannot be used the earlier one stays. */
enum status_code courier_settings_use(struct courier *c, const struct ipc_config_in *in,
                                      struct diag *diag) MUST_USE;

/* How routes are found now. ret borrows from the courier's settings. */
void courier_settings_routing(const struct courier *c, const struct courier_settings *s,
                              struct route_settings *ret);

/* An address of our own to connect from; NULL: as the system likes. */
const uint8_t *courier_settings_source(const struct courier_settings *s, bool ipv4);

#endif
