#ifndef POSTERN_CODEC_UTF8_H
#define POSTERN_CODEC_UTF8_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"
#include "base/utf8.h"

/* UTF-8 (base/utf8.h reads it character by character): whole texts, and writing it. */

bool utf8_valid(struct str s);
bool utf8_is_ascii(struct str s);

/* How many bytes at the front of s are ASCII. */
size_t utf8_ascii_len(struct str s);

/* Appends one character; what is no Unicode scalar value becomes UTF8_REPLACEMENT. */
void utf8_put(struct buf *out, uint32_t c);

/* Appends s with every byte run that is not UTF-8 replaced by UTF8_REPLACEMENT. */
void utf8_repair(struct buf *out, struct str s);

/* The same, and each character that a terminal obeys (text_is_control) becomes a space. */
void utf8_put_shown(struct buf *out, struct str s);

/* The longest prefix of s, of at most len_max bytes, that does not cut a character in two. */
struct str utf8_prefix(struct str s, size_t len_max);

#endif
