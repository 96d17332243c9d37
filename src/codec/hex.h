#ifndef POSTERN_CODEC_HEX_H
#define POSTERN_CODEC_HEX_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"

/* Appends the bytes as lower-case hexadecimal digits. */
void hex_encode(struct buf *out, struct str bytes);

/*
 * Appends the bytes that the digits (either case, nothing else, an even number) stand for. Returns
 * false, with out as it was, for anything else, and where out has no room.
 */
bool hex_decode(struct buf *out, struct str digits);

/* The value of one hexadecimal digit, or -1. */
int hex_digit(char c);

#endif
