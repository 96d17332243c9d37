#include "proto/imap/utf7.h"

#include "codec/utf8.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static bool is_direct(uint32_t c)
{
    return c >= 0x20 && c <= 0x7E;
}

/* ---- encoding ---- */

struct shift {
    struct buf *out;
    uint32_t bits;
    unsigned bit_count;
    bool active;
};

static void shift_unit(struct shift *s, uint32_t unit)
{
    s->bits = s->bits << 16 | unit;
    s->bit_count += 16;
    while (s->bit_count >= 6) {
        s->bit_count -= 6;
        buf_append_byte(s->out, alphabet[s->bits >> s->bit_count & 63]);
    }
}

static void shift_in(struct shift *s)
{
    if (!s->active)
        buf_append_byte(s->out, '&');
    s->active = true;
}

static void shift_out(struct shift *s)
{
    if (!s->active)
        return;
    if (s->bit_count)
        buf_append_byte(s->out, alphabet[s->bits << (6 - s->bit_count) & 63]);
    buf_append_byte(s->out, '-');
    *s = (struct shift){.out = s->out};
}

void imap_utf7_encode(struct buf *out, struct str utf8)
{
    struct shift s = {.out = out};
    while (!str_empty(utf8)) {
        uint32_t c;
        utf8_next(&utf8, &c);
        if (is_direct(c)) {
            shift_out(&s);
            buf_append_byte(out, (char)c);
            if (c == '&')
                buf_append_byte(out, '-');
            continue;
        }
        shift_in(&s);
        if (c >= 0x10000) {
            shift_unit(&s, 0xD800 + ((c - 0x10000) >> 10));
            c = 0xDC00 + ((c - 0x10000) & 0x3FF);
        }
        shift_unit(&s, c);
    }
    shift_out(&s);
}

/* ---- decoding ---- */

static int alphabet_value(char c)
{
    const char *at = c ? strchr(alphabet, c) : NULL;
    return at ? (int)(at - alphabet) : -1;
}

/* Joins surrogates; what is unpaired is put as it is not, and found when the name is compared. */
static void put_unit(struct buf *out, uint32_t unit, uint32_t *high)
{
    if (unit >= 0xD800 && unit < 0xDC00) {
        *high = unit;
        return;
    }
    if (unit >= 0xDC00 && unit < 0xE000 && *high)
        unit = 0x10000 + ((*high - 0xD800) << 10) + (unit - 0xDC00);
    *high = 0;
    utf8_put(out, unit);
}

/* Takes "...-" behind the '&'. */
static bool decode_shifted(struct buf *out, struct str *rest)
{
    uint32_t bits = 0;
    uint32_t high = 0;
    unsigned bit_count = 0;
    ptrdiff_t end = str_find_byte(*rest, '-');
    if (end < 0)
        return false;
    for (ptrdiff_t i = 0; i < end; i++) {
        int value = alphabet_value(rest->ptr[i]);
        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
        bit_count += 6;
        if (bit_count >= 16) {
            bit_count -= 16;
            put_unit(out, bits >> bit_count & 0xFFFF, &high);
        }
    }
    if (end == 0)
        buf_append_byte(out, '&');
    *rest = str_skip(*rest, (size_t)end + 1);
    return true;
}

static bool decode_loosely(struct buf *out, struct str s)
{
    while (!str_empty(s)) {
        char c = s.ptr[0];
        s = str_skip(s, 1);
        if (c == '&') {
            if (!decode_shifted(out, &s))
                return false;
        } else if (is_direct((unsigned char)c)) {
            buf_append_byte(out, c);
        } else {
            return false;
        }
    }
    return true;
}

bool imap_utf7_decode(struct buf *out, struct str s)
{
    struct buf again;
    size_t start = out->len;
    buf_init(&again, s.len + 1);
    bool good = decode_loosely(out, s) && !out->failed;
    if (good) {
        imap_utf7_encode(&again, str_skip(buf_str(out), start));
        good = !again.failed && str_eq(buf_str(&again), s);
    }
    buf_release(&again);
    if (!good)
        buf_truncate(out, start);
    return good;
}
