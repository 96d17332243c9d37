#ifndef POSTERN_BASE_UTF8_H
#define POSTERN_BASE_UTF8_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/* UTF-8 as RFC 3629 §4 has it: shortest forms only, no surrogates, nothing above U+10FFFF. */

/* What stands where bytes are not UTF-8. */
#define UTF8_REPLACEMENT 0xFFFDu

/*
 * Takes the first character off *rest, which must not be empty. Returns false where the bytes are
 * not UTF-8; the character is then UTF8_REPLACEMENT, for the longest start of a valid sequence (or
 * one byte), as Unicode recommends. So a loop that ignores the result still ends.
 */
bool utf8_next(struct str *rest, uint32_t *ret_char);

#endif
