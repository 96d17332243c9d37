#include "codec/utf8.h"

#include "base/text.h"

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
