#ifndef POSTERN_CODEC_ENCODED_H
#define POSTERN_CODEC_ENCODED_H

#include "base/buf.h"
#include "base/str.h"

/*
 * Encoded words, RFC 2047 (with the language suffix of RFC 2231 §5): "=?utf-8?q?caf=C3=A9?=".
 *
 * Appends the value of a header field, as it stands in the message, as people read it: UTF-8, on
 * one line (folding is undone), encoded words decoded, the white space between two of them
 * dropped (§6.2). A character cut in two by neighbours of the same charset is put together. What
 * only looks like an encoded word, or has a charset nobody knows, stays as it is. Bytes that are
 * not UTF-8 become U+FFFD.
 */
void encoded_decode(struct buf *out, struct str value);

#endif
