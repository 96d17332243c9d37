#ifndef POSTERN_CODEC_FOLD_H
#define POSTERN_CODEC_FOLD_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"

/*
 * Text made comparable. Two texts that a person would call the same word (upper or lower case,
 * composed or decomposed accents, full-width letters, with or without invisible characters) fold
 * to the same bytes: Unicode's NFKC_Casefold. For ASCII that is lower case, and quick.
 */

/* Appends the folded text. Bytes that are not UTF-8 count as U+FFFD. */
void fold_case(struct buf *out, struct str utf8);

/*
 * For local parts and login names: as fold_case, but false, with out as it was, where s is not
 * UTF-8, has control characters, or where out has no room.
 */
bool fold_name(struct buf *out, struct str s);

/* Appends s in normal form C, case kept: for names that people see. Else as fold_name. */
bool fold_nfc(struct buf *out, struct str s);

/* Loads the tables: call it before a sandbox closes. */
enum status_code fold_preload(void) MUST_USE;

#endif
