#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"

enum { BUF_CAP_FIRST = 64 };

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

void buf_init_secret(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max, .secret = true};
}

void buf_release(struct buf *b)
{
    if (b->ptr && b->secret)
        explicit_bzero(b->ptr, b->cap);
    free(b->ptr);
    *b = (struct buf){.max = b->max, .secret = b->secret};
}

void buf_wipe(struct buf *b)
{
    if (b->ptr)
        explicit_bzero(b->ptr, b->cap);
    buf_release(b);
}

/* realloc would leave what it moves behind in memory that is free. */
static char *move_secret(struct buf *b, size_t cap)
{
    char *ptr = malloc(cap);
    if (ptr && b->ptr) {
        memcpy(ptr, b->ptr, b->len);
        explicit_bzero(b->ptr, b->cap);
        free(b->ptr);
    }
    return ptr;
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->failed = false;
}

static bool grow(struct buf *b, size_t need)
{
    size_t cap = b->cap ? b->cap : BUF_CAP_FIRST;
    while (cap < need)
        cap += cap;
    if (cap > b->max)
        cap = b->max;
    char *ptr = b->secret ? move_secret(b, cap) : realloc(b->ptr, cap);
    if (!ptr)
        return false;
    b->ptr = ptr;
    b->cap = cap;
    return true;
}

char *buf_reserve(struct buf *b, size_t len)
{
    if (b->failed || len > b->max || b->len > b->max - len)
        goto fail;
    if ((!b->ptr || b->len + len > b->cap) && !grow(b, b->len + len))
        goto fail;
    return b->ptr + b->len;
fail:
    b->failed = true;
    return NULL;
}

void buf_grown(struct buf *b, size_t len)
{
    invariant(len <= b->cap - b->len);
    b->len += len;
}

bool buf_append(struct buf *b, const void *ptr, size_t len)
{
    if (len == 0)
        return !b->failed;
    char *at = buf_reserve(b, len);
    if (!at)
        return false;
    memcpy(at, ptr, len);
    b->len += len;
    return true;
}

bool buf_append_byte(struct buf *b, char c)
{
    return buf_append(b, &c, 1);
}

bool buf_vprintf(struct buf *b, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int need = vsnprintf(NULL, 0, format, again);
    va_end(again);
    invariant(need >= 0);
    /* vsnprintf writes a NUL behind its text: the ceiling must leave a byte for it. */
    char *at = buf_reserve(b, (size_t)need + 1);
    if (!at)
        return false;
    vsnprintf(at, (size_t)need + 1, format, args);
    b->len += (size_t)need;
    return true;
}

bool buf_printf(struct buf *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    bool ok = buf_vprintf(b, format, args);
    va_end(args);
    return ok;
}

void buf_consume(struct buf *b, size_t n)
{
    invariant(n <= b->len);
    if (n == 0)
        return;
    memmove(b->ptr, b->ptr + n, b->len - n);
    b->len -= n;
}

void buf_truncate(struct buf *b, size_t len)
{
    invariant(len <= b->len);
    b->len = len;
}
