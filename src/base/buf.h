#ifndef POSTERN_BASE_BUF_H
#define POSTERN_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

/*
 * A buf owns bytes that grow up to a ceiling given at init. An append that would pass the ceiling,
 * or for which there is no memory, changes nothing, returns false and sets `failed`, which sticks
 * until buf_clear: a writer may append freely and look once at the end.
 *
 * `ptr` moves when the buf grows: a str into it lives until the next append.
 */
struct buf {
    char *ptr;
    size_t len;
    size_t cap;
    size_t max;
    bool failed;
    bool secret;
};

/* Allocates nothing yet. */
void buf_init(struct buf *b, size_t max);

/* As buf_init, for secrets: what it held is overwritten wherever it grows out of or is released. */
void buf_init_secret(struct buf *b, size_t max);

/* Gives the memory back; the buf may be used again (same ceiling). */
void buf_release(struct buf *b);

/* As buf_release, but overwrites the memory first: for secrets. */
void buf_wipe(struct buf *b);

/* Forgets the content and the failure, keeps the memory. */
void buf_clear(struct buf *b);

bool buf_append(struct buf *b, const void *ptr, size_t len);
bool buf_append_byte(struct buf *b, char c);

static inline bool buf_append_str(struct buf *b, struct str s)
{
    return buf_append(b, s.ptr, s.len);
}

bool buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool buf_vprintf(struct buf *b, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

/* Makes room for len more bytes and returns where they go, or NULL; commit with buf_grown. */
char *buf_reserve(struct buf *b, size_t len);
void buf_grown(struct buf *b, size_t len);

/* Drops the first n bytes (moves the rest to the front). */
void buf_consume(struct buf *b, size_t n);

/* Cuts the content to len bytes, which must not be more than it has. */
void buf_truncate(struct buf *b, size_t len);

static inline struct str buf_str(const struct buf *b)
{
    return str_make(b->ptr, b->len);
}

#endif
