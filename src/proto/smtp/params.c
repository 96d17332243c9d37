#include "proto/smtp/params.h"

#include "codec/utf8.h"

static bool is_keyword_octet(char c)
{
    return ascii_is_alpha(c) || ascii_is_digit(c) || c == '-';
}

static bool is_keyword(struct str s)
{
    if (s.len == 0 || s.ptr[0] == '-')
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (!is_keyword_octet(s.ptr[i]))
            return false;
    return true;
}

static bool is_value(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c <= ' ' || c == '=' || c == 0x7F)
            return false;
    }
    return s.len > 0 && utf8_valid(s);
}

enum smtp_param_result smtp_param_next(struct str *rest, struct smtp_param *ret_param)
{
    if (str_empty(*rest))
        return SMTP_PARAM_END;
    if (rest->ptr[0] != ' ')
        return SMTP_PARAM_BAD;
    struct str s = str_skip(*rest, 1);
    ptrdiff_t end = str_find_byte(s, ' ');
    struct str word = end < 0 ? s : str_sub(s, 0, (size_t)end);
    ptrdiff_t equals = str_find_byte(word, '=');
    struct smtp_param param = {word, false, {NULL, 0}};
    if (equals >= 0) {
        param.keyword = str_sub(word, 0, (size_t)equals);
        param.has_value = true;
        param.value = str_skip(word, (size_t)equals + 1);
    }
    if (!is_keyword(param.keyword) || (param.has_value && !is_value(param.value)))
        return SMTP_PARAM_BAD;
    *ret_param = param;
    *rest = str_skip(s, word.len);
    return SMTP_PARAM_OK;
}

/* Upper-case hexadecimal only; -1 for anything else. */
static int hex_value(char c)
{
    if (ascii_is_digit(c))
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/*
 * xtext   = *(xchar / hexchar)
 * xchar   = any ASCII from "!" to "~" but "+" and "="
 * hexchar = "+" two upper-case hexadecimal digits
 */
bool smtp_xtext_decode(struct buf *out, struct str xtext)
{
    size_t start = out->len;
    for (size_t i = 0; i < xtext.len; i++) {
        char c = xtext.ptr[i];
        bool good = c >= '!' && c <= '~' && c != '=';
        if (good && c == '+') {
            int high = i + 2 < xtext.len ? hex_value(xtext.ptr[i + 1]) : -1;
            int low = i + 2 < xtext.len ? hex_value(xtext.ptr[i + 2]) : -1;
            good = high >= 0 && low >= 0;
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (!good || !buf_append_byte(out, c)) {
            buf_truncate(out, start);
            return false;
        }
    }
    return true;
}

void smtp_xtext_encode(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c >= '!' && c <= '~' && c != '+' && c != '=')
            buf_append_byte(out, c);
        else
            buf_printf(out, "+%02X", (unsigned char)c);
    }
}

/*
 * utf-8-addr-xtext   = 1*(QCHAR / EmbeddedUnicodeChar)
 * utf-8-addr-unitext = 1*(QUCHAR / EmbeddedUnicodeChar)
 * EmbeddedUnicodeChar = "\x{" HEXPOINT "}"
 * QCHAR  = %x21-2a / %x2c-3c / %x3e-5b / %x5d-7e
 * QUCHAR = QCHAR / UTF8-non-ascii
 *
 * A backslash is written as it is: in an address of this type it stands for a character already.
 */
void smtp_utf8_address_encode(struct buf *out, struct str s, bool utf8)
{
    while (!str_empty(s)) {
        struct str rest = s;
        uint32_t point;
        bool valid = utf8_next(&rest, &point);
        bool plain = point > ' ' && point != '+' && point != '=' && point != 0x7F;
        if (valid && plain && (point < 0x80 || utf8))
            buf_append(out, s.ptr, s.len - rest.len);
        else
            buf_printf(out, "\\x{%X}", point);
        s = rest;
    }
}
