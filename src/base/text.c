#include "base/text.h"

#include "base/utf8.h"

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
        struct str rest = s;
        uint32_t c;
        bool valid = utf8_next(&rest, &c);
        struct str taken = str_sub(s, 0, s.len - rest.len);
        s = rest;
        if (valid && !text_is_control(c) && c != '"' && c != '\\') {
            buf_append_str(out, taken);
            continue;
        }
        for (size_t i = 0; i < taken.len; i++)
            append_escaped(out, taken.ptr[i]);
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
