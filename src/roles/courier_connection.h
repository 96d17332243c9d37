#ifndef POSTERN_ROLES_COURIER_CONNECTION_H
#define POSTERN_ROLES_COURIER_CONNECTION_H

#include "roles/courier_destination.h"

/*
 * One connection to a destination: it tries the hosts' addresses in their order until one lets it
 * in (RFC 5321 §5.1), then carries the destination's messages one after the other.
 */
struct courier_connection;

/* Counted in the destination's pace. NULL where there is no memory. */
struct courier_connection *courier_connection_open(struct courier_destination *d);

/* Closes it at once. What was on its way comes back to the destination, as put off. */
void courier_connection_free(struct courier_connection *conn);

/* There may be work: takes the next job where it is idle. */
void courier_connection_wake(struct courier_connection *conn);

/* Says goodbye when what it carries is done. */
void courier_connection_quit(struct courier_connection *conn);

struct courier_connection *courier_connection_next(const struct courier_connection *conn);

#endif
