#ifndef POSTERN_SIM_WORLD_TLS_H
#define POSTERN_SIM_WORLD_TLS_H

#include "base/str.h"
#include "ipc/channel.h"
#include "sim/world.h"

/* One certificate for all listeners. Its key signs here, in place: see link_wait. */
void world_tls_open(struct world *w);
void world_tls_close(void);

/* PEM. */
struct str world_tls_chain(void);

/* A new edge, one of WORLD_EDGES, gets its signing channel. */
void world_tls_join(uint8_t index, struct channel *edge);

#endif
