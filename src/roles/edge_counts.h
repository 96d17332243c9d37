#ifndef POSTERN_ROLES_EDGE_COUNTS_H
#define POSTERN_ROLES_EDGE_COUNTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/now.h"
#include "base/status.h"
#include "base/str.h"

/*
 * What the edges of a server have open, counted together: several of them hold a peer to the
 * limits as one would. Each edge counts in a section of its own, which nobody else can write, and
 * reads those of its siblings. First it counts, then it adds the siblings' counts, and takes its
 * own back where that is over a limit: so of two who take the last place at once at least one
 * sees the other.
 *
 * A sibling's section may hold anything: whoever has taken over an edge can claim what he likes
 * for it, and so have the others refuse; what they have he cannot change. No pointers are in it,
 * no lengths, nothing that a reader goes by but numbers that it adds up.
 *
 * Sections come from the warden (see ipc.table), which clears that of an edge that has ended.
 * Without them it is memory of this process's own, and there are no siblings.
 */
struct edge_counts;

enum { EDGE_COUNTS_KINDS = 16, EDGE_COUNTS_SEED_SIZE = 16, EDGE_COUNTS_SECTIONS_MAX = 64 };

size_t edge_counts_section_size(void);

/* seed: random, so that strangers cannot choose addresses that collide. NULL: no memory. */
struct edge_counts *edge_counts_new(struct str seed);
void edge_counts_free(struct edge_counts *c);

/*
 * To be called before anything is counted. seed: that of all sections. fd, which stays the
 * caller's: this edge's section, or a sibling's.
 */
enum status_code edge_counts_join(struct edge_counts *c, struct str seed, int fd,
                                  bool own) MUST_USE;

/* Edges that count together, this one among them. */
unsigned edge_counts_edges(const struct edge_counts *c);

/* ---- Totals -------------------------------------------------------------------------------- */

/* Counts a connection, where there are then no more than connections_max. */
bool edge_counts_connect(struct edge_counts *c, uint64_t connections_max);
void edge_counts_disconnect(struct edge_counts *c);
uint64_t edge_counts_connections(const struct edge_counts *c);

/*
 * Whether a sibling has clearly fewer connections, and not so many fewer that it says nothing of
 * what they have to do: a sibling that has just started has none, and we have many that are idle.
 */
bool edge_counts_is_ahead(const struct edge_counts *c);

/* ---- One by one ---------------------------------------------------------------------------- */

/* Who is counted: an address of the network, or an account; never 0. */
uint64_t edge_counts_key(const struct edge_counts *c, const uint8_t octets[16]);

/* Of one key, in one section. Only its owner writes it. */
struct edge_entry {
    _Atomic int64_t minute_start_ms;
    _Atomic uint64_t bodies_size;
    _Atomic uint32_t opened_this_minute;
    _Atomic uint32_t users; /* for as long as there are any it stays */
    _Atomic uint16_t open[EDGE_COUNTS_KINDS];
};

/*
 * The own entry of a key, found or made, with one user more, until edge_counts_drop. To make one
 * that of somebody goes who has no users and has connected least: so who comes with ever new
 * addresses pushes out his own, and not those that are held back for what they did. NULL: there is
 * no room, for all near it have users.
 */
struct edge_entry *edge_counts_take(struct edge_counts *c, uint64_t key, struct now now);
void edge_counts_drop(struct edge_entry *entry);

/* The own entry of a key that has users. */
struct edge_entry *edge_counts_find(struct edge_counts *c, uint64_t key);

/* The siblings' entries of a key, one after the other from *at = 0 on; NULL behind the last. */
const struct edge_entry *edge_counts_next(const struct edge_counts *c, uint64_t key, unsigned *at);

/* Whether the minute that the entry counts is not over. */
bool edge_entry_is_fresh(const struct edge_entry *entry, struct now now);

/* ---- Bodies in flight (limits.h) ----------------------------------------------------------- */

/* What a message holds has changed. payer: of whoever sends it; NULL where nobody is counted. */
void edge_counts_charge(struct edge_counts *c, struct edge_entry *payer, size_t before, size_t now);

/*
 * Whether all bodies, with those of the payer (and its key), keep within the budget: all of them
 * together, and once they need more than half of it nobody has more than a quarter.
 */
bool edge_counts_bodies_fit(const struct edge_counts *c, const struct edge_entry *payer,
                            uint64_t key, uint64_t size_max);

/* Of this edge. */
uint64_t edge_counts_own_bodies(const struct edge_counts *c);

#endif
