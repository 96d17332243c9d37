#include "ipc/cursor.h"

#include <string.h>

/* The next n bytes, or NULL and a failure that sticks. */
static const unsigned char *take(struct cursor *c, size_t n)
{
    if (c->failed || c->rest.len < n) {
        c->failed = true;
        return NULL;
    }
    const unsigned char *at = (const unsigned char *)c->rest.ptr;
    c->rest = str_skip(c->rest, n);
    return at;
}

static uint64_t take_integer(struct cursor *c, size_t size)
{
    const unsigned char *at = take(c, size);
    uint64_t value = 0;
    for (size_t i = at ? size : 0; i > 0; i--)
        value = value << 8 | at[i - 1];
    return value;
}

uint8_t cursor_u8(struct cursor *c)
{
    return (uint8_t)take_integer(c, 1);
}

uint16_t cursor_u16(struct cursor *c)
{
    return (uint16_t)take_integer(c, 2);
}

uint32_t cursor_u32(struct cursor *c)
{
    return (uint32_t)take_integer(c, 4);
}

uint64_t cursor_u64(struct cursor *c)
{
    return take_integer(c, 8);
}

bool cursor_bool(struct cursor *c)
{
    uint8_t value = cursor_u8(c);
    if (value > 1)
        c->failed = true;
    return value == 1;
}

struct str cursor_bytes(struct cursor *c)
{
    uint32_t len = cursor_u32(c);
    const unsigned char *at = take(c, len);
    return at ? str_make(at, len) : (struct str){0};
}

void *cursor_list(struct cursor *c, size_t wire_min, size_t size, size_t *ret_count)
{
    *ret_count = 0;
    size_t count = cursor_u32(c);
    if (c->failed || count == 0)
        return NULL;
    void *list = NULL;
    if (count <= c->rest.len / wire_min)
        list = arena_alloc_array(c->arena, count, size);
    if (!list) {
        c->failed = true;
        return NULL;
    }
    *ret_count = count;
    return list;
}

static void put_integer(struct buf *out, uint64_t value, size_t size)
{
    unsigned char bytes[8];
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(value >> (8 * i));
    buf_append(out, bytes, size);
}

void put_u8(struct buf *out, uint8_t value)
{
    put_integer(out, value, 1);
}

void put_u16(struct buf *out, uint16_t value)
{
    put_integer(out, value, 2);
}

void put_u32(struct buf *out, uint32_t value)
{
    put_integer(out, value, 4);
}

void put_u64(struct buf *out, uint64_t value)
{
    put_integer(out, value, 8);
}

void put_count(struct buf *out, size_t count)
{
    if (count > UINT32_MAX)
        out->failed = true;
    put_u32(out, (uint32_t)count);
}

void put_bytes(struct buf *out, struct str value)
{
    put_count(out, value.len);
    buf_append_str(out, value);
}
