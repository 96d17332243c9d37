#include "codec/qp.h"

#include "codec/hex.h"

static void flush_held(struct qp_decoder *d, struct buf *out)
{
    buf_append(out, d->held, d->held_len);
    d->held_len = 0;
}

static void take_text(struct qp_decoder *d, struct buf *out, char c)
{
    if (c == ' ' || c == '\t') {
        /* More than a legal line can hold (76) is no padding. */
        if (d->held_len == sizeof d->held)
            flush_held(d, out);
        d->held[d->held_len++] = c;
        return;
    }
    if (c == '\r' || c == '\n')
        d->held_len = 0;
    flush_held(d, out);
    if (c == '=')
        d->state = QP_EQUALS;
    else
        buf_append_byte(out, c);
}

/* An escape that is none: its bytes stand for themselves, and c is looked at again. */
static void give_up(struct qp_decoder *d, struct buf *out, char c)
{
    buf_append_byte(out, '=');
    if (d->state == QP_HEX)
        buf_append_byte(out, d->first_digit);
    d->state = QP_TEXT;
    take_text(d, out, c);
}

static void take_equals(struct qp_decoder *d, struct buf *out, char c)
{
    if (hex_digit(c) >= 0) {
        d->first_digit = c;
        d->state = QP_HEX;
    } else if (c == '\n') {
        d->state = QP_TEXT;
    } else if (c == '\r') {
        d->state = QP_SOFT_CR;
    } else if (c == ' ' || c == '\t') {
        d->state = QP_SOFT_SPACE;
    } else {
        give_up(d, out, c);
    }
}

static void take_hex(struct qp_decoder *d, struct buf *out, char c)
{
    if (hex_digit(c) < 0) {
        give_up(d, out, c);
        return;
    }
    d->state = QP_TEXT;
    buf_append_byte(out, (char)(hex_digit(d->first_digit) << 4 | hex_digit(c)));
}

/* Behind "= ": still a soft break where only white space follows. */
static void take_soft_space(struct qp_decoder *d, struct buf *out, char c)
{
    if (c == '\r')
        d->state = QP_SOFT_CR;
    else if (c == '\n')
        d->state = QP_TEXT;
    else if (c != ' ' && c != '\t')
        give_up(d, out, c);
}

static void take_soft_cr(struct qp_decoder *d, struct buf *out, char c)
{
    d->state = QP_TEXT;
    if (c != '\n')
        take_text(d, out, c);
}

/* How many bytes at the front of s stand for themselves wherever they are. */
static size_t plain_len(struct str s)
{
    size_t len = 0;
    while (len < s.len && (unsigned char)s.ptr[len] > ' ' && s.ptr[len] != '=')
        len++;
    return len;
}

void qp_decode(struct qp_decoder *d, struct buf *out, struct str piece)
{
    static void (*const take[])(struct qp_decoder *, struct buf *, char) = {
        [QP_TEXT] = take_text,       [QP_EQUALS] = take_equals,
        [QP_HEX] = take_hex,         [QP_SOFT_SPACE] = take_soft_space,
        [QP_SOFT_CR] = take_soft_cr,
    };
    while (piece.len > 0) {
        size_t plain = d->state == QP_TEXT ? plain_len(piece) : 0;
        if (plain > 0) {
            flush_held(d, out);
            buf_append(out, piece.ptr, plain);
            piece = str_skip(piece, plain);
        } else {
            take[d->state](d, out, piece.ptr[0]);
            piece = str_skip(piece, 1);
        }
    }
}

void qp_decode_end(struct qp_decoder *d, struct buf *out)
{
    if (d->state == QP_EQUALS || d->state == QP_HEX)
        buf_append_byte(out, '=');
    if (d->state == QP_HEX)
        buf_append_byte(out, d->first_digit);
    *d = (struct qp_decoder){0};
}

/* ---- encoding ---- */

enum { QP_LINE_LEN = 76 };

/* One octet that is not of a line's end, on this line or, behind a soft line break, the next. */
static void put_octet(struct qp_encoder *e, struct buf *out, char c, bool plain)
{
    static const char digits[] = "0123456789ABCDEF";
    /* The last column is for the "=" of a soft line break. */
    if (e->column + (plain ? 1 : 3) > QP_LINE_LEN - 1) {
        buf_append_str(out, STR("=\r\n"));
        e->column = 0;
    }
    if (plain && !(c == '-' && e->column == 0)) {
        buf_append_byte(out, c);
        e->column++;
        return;
    }
    char escape[3] = {'=', digits[(unsigned char)c >> 4], digits[(unsigned char)c & 15]};
    buf_append(out, escape, sizeof escape);
    e->column += sizeof escape;
}

/* What was held turns out to be no line's end. */
static void put_held(struct qp_encoder *e, struct buf *out, bool space_is_plain)
{
    if (e->held_space)
        put_octet(e, out, e->held_space, space_is_plain);
    if (e->held_cr)
        put_octet(e, out, '\r', false);
    e->held_space = 0;
    e->held_cr = false;
}

static void put_line_end(struct qp_encoder *e, struct buf *out)
{
    e->held_cr = false;
    put_held(e, out, false);
    buf_append_str(out, STR("\r\n"));
    e->column = 0;
}

void qp_encode(struct qp_encoder *e, struct buf *out, struct str piece)
{
    for (size_t i = 0; i < piece.len; i++) {
        char c = piece.ptr[i];
        if (c == '\n' && e->held_cr) {
            put_line_end(e, out);
            continue;
        }
        if (c == '\r' && !e->held_cr) {
            e->held_cr = true;
            continue;
        }
        put_held(e, out, true);
        if (c == ' ' || c == '\t')
            e->held_space = c;
        else if (c == '\r')
            e->held_cr = true;
        else
            put_octet(e, out, c, c > ' ' && c < 0x7F && c != '=');
    }
}

void qp_encode_end(struct qp_encoder *e, struct buf *out)
{
    put_held(e, out, false);
    *e = (struct qp_encoder){0};
}
