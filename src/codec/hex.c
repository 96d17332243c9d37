#include "codec/hex.h"

void hex_encode(struct buf *out, struct str bytes)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes.len; i++) {
        unsigned char byte = (unsigned char)bytes.ptr[i];
        char pair[2] = {digits[byte >> 4], digits[byte & 15]};
        buf_append(out, pair, sizeof pair);
    }
}

int hex_digit(char c)
{
    if (ascii_is_digit(c))
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool hex_decode(struct buf *out, struct str digits)
{
    size_t len_before = out->len;
    if (digits.len % 2 != 0)
        return false;
    for (size_t i = 0; i < digits.len; i += 2) {
        int high = hex_digit(digits.ptr[i]);
        int low = hex_digit(digits.ptr[i + 1]);
        if (high < 0 || low < 0 || !buf_append_byte(out, (char)(high << 4 | low))) {
            buf_truncate(out, len_before);
            return false;
        }
    }
    return true;
}
