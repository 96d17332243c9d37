#ifndef POSTERN_CODEC_BASE64_H
#define POSTERN_CODEC_BASE64_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

/*
 * Base64 in its two readings. Protocol data (SASL, keys) is strict: what is not exactly what the
 * encoder would have written is refused. Bodies and encoded words are what people's software made
 * of them: bytes outside the alphabet are skipped (RFC 2045 §6.8).
 *
 * Every function appends to out; where out's ceiling is too low out->failed is set.
 */

/* Appends the encoding of bytes, padded, on one line. */
void base64_encode(struct buf *out, struct str bytes);

/*
 * Strict: the alphabet of RFC 4648 §4 and its padding only, unused bits zero, no line ends, no
 * spaces. Returns false, with out as it was, for anything else, and where out has no room.
 */
bool base64_decode(struct buf *out, struct str text);

/*
 * The lenient reading, in pieces of any size. Start it as {0}. There is no end call: bits that do
 * not fill a byte are dropped. Padding ends a group, not the text, so that concatenated encodings
 * are read whole.
 */
struct base64_decoder {
    uint32_t bits;
    unsigned bit_count;
};

void base64_decode_body(struct base64_decoder *d, struct buf *out, struct str piece);

/*
 * A body in pieces of any size, in lines of 76 characters (RFC 2045 §6.8) with CRLF between them
 * and none behind the last. Start it as {0}.
 */
#define BASE64_LINE_OCTETS 57

struct base64_encoder {
    bool has_line;
    unsigned char held_len;
    char held[BASE64_LINE_OCTETS];
};

void base64_encode_body(struct base64_encoder *e, struct buf *out, struct str piece);

/* After the last piece. Leaves e as {0}. */
void base64_encode_body_end(struct base64_encoder *e, struct buf *out);

#endif
