#ifndef POSTERN_BASE_STR_H
#define POSTERN_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * A str is a borrowed run of bytes: pointer and length, never owned, not NUL-terminated, and free
 * to hold NUL. Whoever hands one out says how long the bytes live. {NULL, 0} is the empty str, and
 * every function here takes it. Case folding is ASCII only (RFC 5321 §2.4 and its relatives ask
 * for no more).
 */
struct str {
    const char *ptr;
    size_t len;
};

/* A str over a string literal. */
#define STR(lit) ((struct str){"" lit, sizeof(lit) - 1})

/* For printf: printf("%.*s", STR_ARG(s)). */
#define STR_ARG(s) ((int)(s).len), ((s).ptr ? (s).ptr : "")

static inline struct str str_make(const void *ptr, size_t len)
{
    return (struct str){(const char *)ptr, len};
}

/* cstr may be NULL, which is the empty str. */
static inline struct str str_from_c(const char *cstr)
{
    return (struct str){cstr, cstr ? strlen(cstr) : 0};
}

static inline bool str_empty(struct str s)
{
    return s.len == 0;
}

bool str_eq(struct str a, struct str b);
bool str_eq_nocase(struct str a, struct str b);
bool str_starts(struct str s, struct str prefix);
bool str_starts_nocase(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);

/* memcmp order, the shorter first where one is a prefix of the other. */
int str_cmp(struct str a, struct str b);

/* Offset of the first (last) c, or -1. */
ptrdiff_t str_find_byte(struct str s, char c);
ptrdiff_t str_rfind_byte(struct str s, char c);

/* Offset of the first needle, or -1. */
ptrdiff_t str_find(struct str s, struct str needle);

/* Bytes [from, from+len), clamped to what s has. */
struct str str_sub(struct str s, size_t from, size_t len);

/* Everything behind the first n bytes (empty where n >= s.len). */
static inline struct str str_skip(struct str s, size_t n)
{
    if (!s.ptr) /* adding even 0 to it is undefined */
        return s;
    return n >= s.len ? str_make(s.ptr + s.len, 0) : str_make(s.ptr + n, s.len - n);
}

/* Without leading and trailing space and tab. */
struct str str_trim(struct str s);

/*
 * Takes the part before the next sep off *rest. Returns false when nothing is left: "a,,b" yields
 * "a", "", "b"; "" yields nothing.
 */
bool str_split(struct str *rest, char sep, struct str *ret_part);

/*
 * Decimal digits only, no sign, no space, not empty, no more than max: anything else is false and
 * leaves *ret_value alone.
 */
bool str_to_u64(struct str s, uint64_t max, uint64_t *ret_value);

/* Copies into dst and terminates it; false (and an empty dst) where s does not fit or holds NUL. */
bool str_to_c(struct str s, char *dst, size_t dst_size);

/*
 * FNV-1a of s in lower case: the place of a name in a table. Whoever chooses names can find many
 * with one hash, so what that costs must be bounded.
 */
uint64_t str_hash_nocase(struct str s);

/* Equal, in time that depends only on the lengths: for secrets. */
bool str_eq_secret(struct str a, struct str b);

static inline char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static inline char ascii_upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - ('a' - 'A')) : c;
}

static inline bool ascii_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline bool ascii_is_alpha(char c)
{
    return ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z';
}

#endif
