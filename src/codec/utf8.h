#ifndef POSTERN_CODEC_UTF8_H
#define POSTERN_CODEC_UTF8_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

/*
 * UTF-8 as RFC 3629 §4 has it: shortest forms only, no surrogates, nothing above U+10FFFF.
 */

/* What stands where bytes are not UTF-8. */
#define UTF8_REPLACEMENT 0xFFFDu

bool utf8_valid(struct str s);
bool utf8_is_ascii(struct str s);

/* How many bytes at the front of s are ASCII. */
size_t utf8_ascii_len(struct str s);

/*
 * Takes the first character off *rest, which must not be empty. Returns false where the bytes are
 * not UTF-8; the character is then UTF8_REPLACEMENT, for the longest start of a valid sequence (or
 * one byte), as Unicode recommends. So a loop that ignores the result still ends.
 */
bool utf8_next(struct str *rest, uint32_t *ret_char);

/* Appends one character; what is no Unicode scalar value becomes UTF8_REPLACEMENT. */
void utf8_put(struct buf *out, uint32_t c);

/* Appends s with every byte run that is not UTF-8 replaced by UTF8_REPLACEMENT. */
void utf8_repair(struct buf *out, struct str s);

/* The same, and each character that a terminal obeys (text_is_control) becomes a space. */
void utf8_put_shown(struct buf *out, struct str s);

/* The longest prefix of s, of at most len_max bytes, that does not cut a character in two. */
struct str utf8_prefix(struct str s, size_t len_max);

#endif
