#ifndef POSTERN_ROLES_WARDEN_NOTIFY_H
#define POSTERN_ROLES_WARDEN_NOTIFY_H

#include "base/now.h"

/*
 * Tells a service manager how it stands (sd_notify(3), without its library); nothing where none
 * asked. `state` is its text: "READY=1", "RELOADING=1", "STOPPING=1".
 */
void warden_notify(const char *state, struct now now);

#endif
