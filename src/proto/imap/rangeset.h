#ifndef POSTERN_PROTO_IMAP_RANGESET_H
#define POSTERN_PROTO_IMAP_RANGESET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/imap/server.h"

/*
 * A growing set of UIDs, kept as ascending ranges that do not touch. Start it as {0}. Functions
 * that return false had no memory, and left the set as it was.
 */
struct imap_rangeset {
    struct imap_range *ranges;
    size_t count;
    size_t cap;
};

void imap_rangeset_release(struct imap_rangeset *s);

bool imap_rangeset_add(struct imap_rangeset *s, struct imap_range range);
bool imap_rangeset_remove(struct imap_rangeset *s, struct imap_range range);
bool imap_rangeset_contains(const struct imap_rangeset *s, uint32_t uid);

/* Index of the first range that ends at uid or above (count where there is none). */
size_t imap_set_find(struct imap_set s, uint32_t uid);
bool imap_set_contains(struct imap_set s, uint32_t uid);

/* How many UIDs. */
uint64_t imap_set_size(struct imap_set s);

/*
 * The first of the members behind `after` (0: from the start), at most messages_max of them, into
 * ranges[], which has room for as many. Returns the number of ranges.
 */
size_t imap_set_slice(struct imap_set s, uint32_t after, size_t messages_max,
                      struct imap_range *ranges);

static inline struct imap_set imap_rangeset_set(const struct imap_rangeset *s)
{
    return (struct imap_set){s->ranges, s->count};
}

#endif
