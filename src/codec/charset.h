#ifndef POSTERN_CODEC_CHARSET_H
#define POSTERN_CODEC_CHARSET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"

/*
 * Text in the character sets of mail, turned into UTF-8. Known are the sets of the table in
 * charset.c, by every name that mail uses for them; each is read as the superset that its users
 * really meant (ISO-8859-1 as windows-1252, GB2312 as GB18030), as browsers do. Bytes that are no
 * text of the set become U+FFFD; what comes out is always valid UTF-8.
 *
 * A decoder takes text in pieces of any size. Every one that charset_open made must be closed.
 */
struct charset_decoder {
    struct UConverter *converter; /* NULL for UTF-8, which is read here */
    uint16_t high_surrogate;      /* held until its low one comes */
    unsigned char held_len;
    char held[4]; /* the start of a UTF-8 character */
};

bool charset_known(struct str name);

/*
 * STATUS_NOT_FOUND where no such set is known (the decoder then reads UTF-8 and may be used all
 * the same), STATUS_NO_MEMORY where it could not be made (likewise).
 */
enum status_code charset_open(struct charset_decoder *d, struct str name) MUST_USE;

void charset_decode(struct charset_decoder *d, struct buf *out, struct str piece);

/* After the last piece: what an unfinished character stands for. The decoder starts anew. */
void charset_decode_end(struct charset_decoder *d, struct buf *out);

void charset_close(struct charset_decoder *d);

/* The three steps in one, for text that is whole. False where the set is not known. */
bool charset_to_utf8(struct buf *out, struct str name, struct str s);

/*
 * Loads every converter, and forbids ICU to look for more in files: call it before a sandbox
 * closes. Everything works without it, with files.
 */
enum status_code charset_preload(void) MUST_USE;

#endif
