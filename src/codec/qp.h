#ifndef POSTERN_CODEC_QP_H
#define POSTERN_CODEC_QP_H

#include "base/buf.h"
#include "base/str.h"

/*
 * Quoted-printable, read as leniently as RFC 2045 §6.7 advises: an `=` that begins no escape and
 * no soft line break stands for itself, lower-case digits count, and white space at a line's end
 * is what a transport added.
 *
 * A decoder takes a body in pieces of any size; start it as {0}. Both functions append to out;
 * where its ceiling is too low out->failed is set.
 */
struct qp_decoder {
    enum qp_state { QP_TEXT, QP_EQUALS, QP_HEX, QP_SOFT_SPACE, QP_SOFT_CR } state;
    char first_digit;
    unsigned char held_len;
    char held[78]; /* white space that may prove to be at a line's end */
};

void qp_decode(struct qp_decoder *d, struct buf *out, struct str piece);

/* After the last piece: what an unfinished escape stands for. Leaves d as {0}. */
void qp_decode_end(struct qp_decoder *d, struct buf *out);

/*
 * The other way, in pieces of any size; start it as {0}. Lines are at most 76 characters; CRLF is a
 * line's end, CR and LF alone are octets. No line begins with "-": a soft line break must not make
 * a delimiter of a multipart out of the middle of a line.
 */
struct qp_encoder {
    unsigned char column;
    char held_space; /* of a line's end, perhaps; 0: none */
    bool held_cr;
};

void qp_encode(struct qp_encoder *e, struct buf *out, struct str piece);

/* After the last piece. Leaves e as {0}. */
void qp_encode_end(struct qp_encoder *e, struct buf *out);

#endif
