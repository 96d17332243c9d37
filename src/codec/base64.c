#include "codec/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* The six bits of an alphabet byte plus one; 0 for every other byte. */
static const uint8_t sextet_plus_one[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
    ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63, ['/'] = 64,
};

void base64_encode(struct buf *out, struct str bytes)
{
    if (bytes.len > SIZE_MAX / 4 || bytes.len == 0) {
        out->failed |= bytes.len > 0;
        return;
    }
    char *at = buf_reserve(out, (bytes.len + 2) / 3 * 4);
    if (!at)
        return;
    char *start = at;
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t have = bytes.len - i;
        uint32_t group = (uint32_t)(uint8_t)bytes.ptr[i] << 16;
        group |= have > 1 ? (uint32_t)(uint8_t)bytes.ptr[i + 1] << 8 : 0;
        group |= have > 2 ? (uint32_t)(uint8_t)bytes.ptr[i + 2] : 0;
        *at++ = alphabet[group >> 18];
        *at++ = alphabet[group >> 12 & 63];
        *at++ = have > 1 ? alphabet[group >> 6 & 63] : '=';
        *at++ = have > 2 ? alphabet[group & 63] : '=';
    }
    buf_grown(out, (size_t)(at - start));
}

/* Reads four bytes; returns the bytes written to dst (1 to 3), or 0 where they are no group. */
static size_t decode_group(const char *group, bool last, char *dst)
{
    size_t pads = 0;
    if (last && group[3] == '=')
        pads = group[2] == '=' ? 2 : 1;
    uint32_t bits = 0;
    for (size_t i = 0; i < 4; i++) {
        uint32_t sextet = i < 4 - pads ? sextet_plus_one[(uint8_t)group[i]] : 1;
        if (sextet == 0)
            return 0;
        bits = bits << 6 | (sextet - 1);
    }
    /* RFC 4648 §3.5: the bits that padding leaves unused must be zero. */
    if ((pads == 1 && (bits & 0xFF)) || (pads == 2 && (bits & 0xFFFF)))
        return 0;
    for (size_t i = 0; i < 3 - pads; i++)
        dst[i] = (char)(bits >> (16 - 8 * i));
    return 3 - pads;
}

bool base64_decode(struct buf *out, struct str text)
{
    size_t len_before = out->len;
    if (text.len % 4 != 0)
        return false;
    for (size_t i = 0; i < text.len; i += 4) {
        char bytes[3];
        size_t count = decode_group(text.ptr + i, i + 4 == text.len, bytes);
        if (count == 0 || !buf_append(out, bytes, count)) {
            buf_truncate(out, len_before);
            return false;
        }
    }
    return true;
}

void base64_decode_body(struct base64_decoder *d, struct buf *out, struct str piece)
{
    char *at = buf_reserve(out, piece.len / 4 * 3 + 3);
    if (!at)
        return;
    size_t count = 0;
    for (size_t i = 0; i < piece.len; i++) {
        uint32_t sextet = sextet_plus_one[(uint8_t)piece.ptr[i]];
        if (sextet == 0) {
            if (piece.ptr[i] == '=')
                *d = (struct base64_decoder){0};
            continue;
        }
        d->bits = (d->bits << 6 | (sextet - 1)) & 0xFFFF;
        d->bit_count += 6;
        if (d->bit_count >= 8) {
            d->bit_count -= 8;
            at[count++] = (char)(d->bits >> d->bit_count);
        }
    }
    buf_grown(out, count);
}

static void put_line(struct base64_encoder *e, struct buf *out, struct str octets)
{
    if (e->has_line)
        buf_append_str(out, STR("\r\n"));
    base64_encode(out, octets);
    e->has_line = true;
}

void base64_encode_body(struct base64_encoder *e, struct buf *out, struct str piece)
{
    while (piece.len > 0) {
        if (e->held_len == 0 && piece.len >= BASE64_LINE_OCTETS) {
            put_line(e, out, str_sub(piece, 0, BASE64_LINE_OCTETS));
            piece = str_skip(piece, BASE64_LINE_OCTETS);
            continue;
        }
        struct str part = str_sub(piece, 0, BASE64_LINE_OCTETS - (size_t)e->held_len);
        memcpy(e->held + e->held_len, part.ptr, part.len);
        e->held_len += (unsigned char)part.len;
        piece = str_skip(piece, part.len);
        if (e->held_len == BASE64_LINE_OCTETS) {
            put_line(e, out, str_make(e->held, sizeof e->held));
            e->held_len = 0;
        }
    }
}

void base64_encode_body_end(struct base64_encoder *e, struct buf *out)
{
    if (e->held_len > 0)
        put_line(e, out, str_make(e->held, e->held_len));
    *e = (struct base64_encoder){0};
}
