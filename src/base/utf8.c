#include "base/utf8.h"

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
