#ifndef POSTERN_BASE_ARENA_H
#define POSTERN_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

/*
 * An arena gives memory that is freed all at once, with a byte budget that a hostile peer cannot
 * pass. Arenas nest by lifetime: connection > session > transaction > command, each reset at its
 * boundary. Nothing allocated here is freed by itself.
 */
struct arena_block;

struct arena {
    struct arena_block *blocks;
    size_t used;
    size_t budget;
};

/* Allocates nothing yet. */
void arena_init(struct arena *a, size_t budget);

/* Frees everything; pointers into the arena die. The arena may be used again. */
void arena_reset(struct arena *a);

/* As arena_reset, but overwrites the memory first: for secrets. */
void arena_wipe(struct arena *a);

/* Zeroed and aligned for any type; NULL when the budget or the memory is spent. */
void *arena_alloc(struct arena *a, size_t size);
void *arena_alloc_array(struct arena *a, size_t count, size_t size);

/* Copies s (and a NUL behind it). Returns false where there is no room. */
bool arena_dup(struct arena *a, struct str s, struct str *ret_copy);

#endif
