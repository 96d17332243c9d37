#ifndef POSTERN_MAIL_DECODE_H
#define POSTERN_MAIL_DECODE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/str.h"
#include "mail/structure.h"

/*
 * Decodes for search: bytes of a message as they are stored -> the UTF-8 text a reader sees. It
 * takes everything: broken encodings and unknown charsets give what can be made of them.
 */
struct decoder;

/* True for parts whose body is searchable text (text of any kind, in any encoding). */
bool decode_is_text(const struct structure_part *part);

/*
 * A decoder for the body of one text part. It decodes the transfer encoding, then the charset,
 * then drops the tags of HTML. NULL where memory is full.
 */
struct decoder *decoder_new(const struct structure_part *part);
void decoder_free(struct decoder *d);

/* Larger pieces are for the caller to cut. */
#define DECODE_PIECE_MAX 16384

/*
 * Takes the next piece and gives its text, which lives until the next call. `last` flushes; give
 * it once, perhaps with no bytes.
 */
struct str decoder_write(struct decoder *d, struct str bytes, bool last);

/*
 * A header as searchable text: fields "Name: value" one a line, unfolded, encoded words decoded.
 * Gives `block` itself where there is nothing to decode, else the content of `scratch`.
 */
struct str decode_header(struct str block, struct buf *scratch);

#endif
