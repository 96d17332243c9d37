#ifndef POSTERN_IPC_CURSOR_H
#define POSTERN_IPC_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

/*
 * Reads a fixed format: integers little-endian, a run of bytes as u32 length and content, a list
 * as u32 count and elements. The error is sticky: reads after a failure yield zero, and one
 * cursor_done at the end tells. Runs of bytes are borrowed from the input; lists come from the
 * arena, whose budget bounds what a hostile count can cost.
 */
struct cursor {
    struct str rest;
    struct arena *arena;
    bool failed;
};

static inline struct cursor cursor_over(struct str bytes, struct arena *arena)
{
    return (struct cursor){.rest = bytes, .arena = arena};
}

/* True where nothing failed and nothing is left. */
static inline bool cursor_done(const struct cursor *c)
{
    return !c->failed && c->rest.len == 0;
}

uint8_t cursor_u8(struct cursor *c);
uint16_t cursor_u16(struct cursor *c);
uint32_t cursor_u32(struct cursor *c);
uint64_t cursor_u64(struct cursor *c);

/* 0 or 1; anything else fails. */
bool cursor_bool(struct cursor *c);
struct str cursor_bytes(struct cursor *c);

/*
 * Reads a count and makes room for that many elements, each at least wire_min bytes in the input
 * and size bytes in memory. Returns NULL with *ret_count 0 where there are none or it failed.
 */
void *cursor_list(struct cursor *c, size_t wire_min, size_t size, size_t *ret_count);

/* The writers of the same format; failure sticks in the buf. */
void put_u8(struct buf *out, uint8_t value);
void put_u16(struct buf *out, uint16_t value);
void put_u32(struct buf *out, uint32_t value);
void put_u64(struct buf *out, uint64_t value);
void put_bytes(struct buf *out, struct str value);

/* Fails the buf where the count does not fit. */
void put_count(struct buf *out, size_t count);

#endif
