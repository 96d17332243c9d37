#ifndef POSTERN_ROLES_WARDEN_COUNTS_H
#define POSTERN_ROLES_WARDEN_COUNTS_H

#include "ipc/ipc_messages.h"

/*
 * The memory in which several edges count what they have open (edge_counts.h). It is the warden's,
 * so that it outlives each of them; the warden never looks into it.
 */
struct warden_counts;

enum status_code warden_counts_new(unsigned edges, struct warden_counts **ret_counts) MUST_USE;
void warden_counts_free(struct warden_counts *counts);

/* Before the configuration of the edge that is behind the channel. counts may be NULL in these two:
 * one edge counts for itself. */
enum status_code warden_counts_send(const struct warden_counts *counts, struct channel *edge,
                                    unsigned index) MUST_USE;

/* That edge has ended: what it had open is not open any more. */
enum status_code warden_counts_clear(struct warden_counts *counts, unsigned index) MUST_USE;

#endif
