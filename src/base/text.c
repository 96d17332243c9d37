#include "base/text.h"

bool text_is_control(uint32_t c)
{
    static const uint32_t ranges[][2] = {
        {0, 0x1F},        {0x7F, 0x9F},     {0x061C, 0x061C}, {0x200E, 0x200F},
        {0x2028, 0x202E}, {0x2066, 0x2069}, {0xFEFF, 0xFEFF}, {0xFFF9, 0xFFFB},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        if (c >= ranges[i][0] && c <= ranges[i][1])
            return true;
    return false;
}

/* Bytes of the character at the front of s; 0 where it is none that is to be shown. */
static size_t utf8_length(struct str s)
{
    const unsigned char *p = (const unsigned char *)s.ptr;
    size_t want = p[0] >= 0xF0 && p[0] <= 0xF4 ? 4 : p[0] >= 0xE0 ? 3 : p[0] >= 0xC2 ? 2 : 0;
    if (p[0] > 0xF4 || want == 0 || s.len < want)
        return 0;
    for (size_t i = 1; i < want; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    bool overlong = (p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xF0 && p[1] < 0x90);
    bool surrogate = p[0] == 0xED && p[1] > 0x9F;
    bool beyond = p[0] == 0xF4 && p[1] > 0x8F;
    if (overlong || surrogate || beyond)
        return 0;
    uint32_t c = p[0] & (0xFFu >> (want + 1));
    for (size_t i = 1; i < want; i++)
        c = c << 6 | (p[i] & 0x3F);
    return text_is_control(c) ? 0 : want;
}

static bool is_plain(char c)
{
    return c > ' ' && c < 0x7F && c != '"' && c != '\\' && c != '=';
}

static void append_escaped(struct buf *out, char c)
{
    switch (c) {
    case '"':
    case '\\':
        buf_printf(out, "\\%c", c);
        break;
    case '\n':
        buf_append_str(out, STR("\\n"));
        break;
    case '\r':
        buf_append_str(out, STR("\\r"));
        break;
    case '\t':
        buf_append_str(out, STR("\\t"));
        break;
    default:
        buf_printf(out, "\\x%02X", (unsigned)(unsigned char)c);
    }
}

static void append_quoted(struct buf *out, struct str s)
{
    while (s.len > 0) {
        char c = s.ptr[0];
        size_t take = 1;
        if (is_plain(c) || c == ' ' || c == '=')
            buf_append_byte(out, c);
        else if ((take = utf8_length(s)) > 0)
            buf_append(out, s.ptr, take);
        else
            append_escaped(out, c), take = 1;
        s = str_skip(s, take);
    }
}

void text_to_log(struct buf *out, struct text t, size_t len_max)
{
    struct str s = text_peek(t);
    bool cut = s.len > len_max;
    bool plain = s.len > 0 && !cut;
    s = str_sub(s, 0, len_max);
    for (size_t i = 0; plain && i < s.len; i++)
        plain = is_plain(s.ptr[i]);
    if (plain) {
        buf_append_str(out, s);
        return;
    }
    buf_append_byte(out, '"');
    append_quoted(out, s);
    buf_append_str(out, cut ? STR("...\"") : STR("\""));
}
