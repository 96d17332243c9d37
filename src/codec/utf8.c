#include "codec/utf8.h"

#include "base/text.h"

/*
 * RFC 3629 §4:
 *   UTF8-octets = *( UTF8-char )
 *   UTF8-1      = %x00-7F
 *   UTF8-2      = %xC2-DF UTF8-tail
 *   UTF8-3      = %xE0 %xA0-BF UTF8-tail / %xE1-EC 2( UTF8-tail ) /
 *                 %xED %x80-9F UTF8-tail / %xEE-EF 2( UTF8-tail )
 *   UTF8-4      = %xF0 %x90-BF 2( UTF8-tail ) / %xF1-F3 3( UTF8-tail ) /
 *                 %xF4 %x80-8F 2( UTF8-tail )
 *   UTF8-tail   = %x80-BF
 */
struct lead {
    uint8_t first, last;            /* the lead byte */
    uint8_t second_min, second_max; /* what may follow it */
    uint8_t len;
};

static const struct lead leads[] = {
    {0x00, 0x7F, 0, 0, 1},       {0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3},
    {0xE1, 0xEC, 0x80, 0xBF, 3}, {0xED, 0xED, 0x80, 0x9F, 3}, {0xEE, 0xEF, 0x80, 0xBF, 3},
    {0xF0, 0xF0, 0x90, 0xBF, 4}, {0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4},
};

static const struct lead *find_lead(uint8_t byte)
{
    for (size_t i = 0; i < sizeof leads / sizeof leads[0]; i++)
        if (byte >= leads[i].first && byte <= leads[i].last)
            return &leads[i];
    return NULL;
}

bool utf8_next(struct str *rest, uint32_t *ret_char)
{
    static const uint8_t lead_bits[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    uint8_t first = (uint8_t)rest->ptr[0];
    const struct lead *lead = find_lead(first);
    if (!lead) {
        *rest = str_skip(*rest, 1);
        *ret_char = UTF8_REPLACEMENT;
        return false;
    }
    uint32_t c = first & lead_bits[lead->len];
    size_t i = 1;
    for (; i < lead->len && i < rest->len; i++) {
        uint8_t byte = (uint8_t)rest->ptr[i];
        uint8_t min = i == 1 ? lead->second_min : 0x80;
        uint8_t max = i == 1 ? lead->second_max : 0xBF;
        if (byte < min || byte > max)
            break;
        c = c << 6 | (byte & 0x3F);
    }
    bool whole = i == lead->len;
    *rest = str_skip(*rest, i);
    *ret_char = whole ? c : UTF8_REPLACEMENT;
    return whole;
}

size_t utf8_ascii_len(struct str s)
{
    const uint64_t high = UINT64_C(0x8080808080808080);
    size_t i = 0;
    for (uint64_t four[4]; i + sizeof four <= s.len; i += sizeof four) {
        memcpy(four, s.ptr + i, sizeof four);
        if ((four[0] | four[1] | four[2] | four[3]) & high)
            break;
    }
    for (uint64_t word; i + sizeof word <= s.len; i += sizeof word) {
        memcpy(&word, s.ptr + i, sizeof word);
        if (word & high)
            break;
    }
    while (i < s.len && (uint8_t)s.ptr[i] < 0x80)
        i++;
    return i;
}

bool utf8_is_ascii(struct str s)
{
    return utf8_ascii_len(s) == s.len;
}

/* How many bytes at the front of s are UTF-8. */
static size_t valid_len(struct str s)
{
    struct str rest = s;
    while (rest.len > 0) {
        rest = str_skip(rest, utf8_ascii_len(rest));
        struct str before = rest;
        uint32_t c;
        if (rest.len > 0 && !utf8_next(&rest, &c))
            return s.len - before.len;
    }
    return s.len;
}

bool utf8_valid(struct str s)
{
    return valid_len(s) == s.len;
}

void utf8_put(struct buf *out, uint32_t c)
{
    if (c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
        c = UTF8_REPLACEMENT;
    char bytes[4];
    size_t len = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const uint8_t marks[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = len; i-- > 1; c >>= 6)
        bytes[i] = (char)(0x80 | (c & 0x3F));
    bytes[0] = (char)(marks[len] | c);
    buf_append(out, bytes, len);
}

void utf8_repair(struct buf *out, struct str s)
{
    while (s.len > 0) {
        size_t len = valid_len(s);
        buf_append(out, s.ptr, len);
        s = str_skip(s, len);
        uint32_t c;
        if (s.len > 0 && !utf8_next(&s, &c))
            utf8_put(out, UTF8_REPLACEMENT);
    }
}

void utf8_put_shown(struct buf *out, struct str s)
{
    while (s.len > 0) {
        uint32_t c;
        utf8_next(&s, &c);
        utf8_put(out, text_is_control(c) ? ' ' : c);
    }
}

struct str utf8_prefix(struct str s, size_t len_max)
{
    if (s.len <= len_max)
        return s;
    size_t len = len_max;
    /* Go back over tails, at most three, to a byte that starts a character. */
    for (size_t i = 0; i < 3 && len > 0 && ((uint8_t)s.ptr[len] & 0xC0) == 0x80; i++)
        len--;
    return str_make(s.ptr, len);
}
