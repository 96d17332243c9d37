#include "codec/encoded.h"

#include "codec/base64.h"
#include "codec/charset.h"
#include "codec/hex.h"
#include "codec/utf8.h"

/* encoded-word = "=?" charset "?" encoding "?" encoded-text "?=" */
struct word {
    struct str charset;
    char encoding; /* 'b' or 'q' */
    struct str text;
    size_t len; /* of the whole word */
};

/* A token has no space, control or especials; we look for its end only. */
static bool take_until_mark(struct str *rest, struct str *ret_part)
{
    for (size_t i = 0; i < rest->len; i++) {
        if (rest->ptr[i] == '?') {
            *ret_part = str_sub(*rest, 0, i);
            *rest = str_skip(*rest, i + 1);
            return true;
        }
        if (rest->ptr[i] == '\r' || rest->ptr[i] == '\n')
            return false;
    }
    return false;
}

static bool parse_word(struct str s, struct word *ret_word)
{
    struct str rest = s, encoding;
    struct word w;
    if (!str_starts(s, STR("=?")))
        return false;
    rest = str_skip(rest, 2);
    if (!take_until_mark(&rest, &w.charset) || !take_until_mark(&rest, &encoding) ||
        !take_until_mark(&rest, &w.text) || !str_starts(rest, STR("=")))
        return false;
    ptrdiff_t language = str_find_byte(w.charset, '*');
    if (language >= 0)
        w.charset = str_sub(w.charset, 0, (size_t)language);
    w.encoding = encoding.len == 1 ? ascii_lower(encoding.ptr[0]) : '\0';
    if ((w.encoding != 'b' && w.encoding != 'q') || !charset_known(w.charset))
        return false;
    w.len = (size_t)(rest.ptr + 1 - s.ptr);
    *ret_word = w;
    return true;
}

/* RFC 2047 §4.2: as quoted-printable, and "_" is a space. */
static void decode_q(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        int high = c == '=' && i + 2 < text.len ? hex_digit(text.ptr[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(text.ptr[i + 2]) : -1;
        if (low >= 0) {
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '_') {
            c = ' ';
        }
        buf_append_byte(out, c);
    }
}

static void decode_bytes(const struct word *w, struct buf *out)
{
    struct base64_decoder d = {0};
    if (w->encoding == 'b')
        base64_decode_body(&d, out, w->text);
    else
        decode_q(out, w->text);
}

/* Line ends inside decoded text would let a word forge what is shown on a line of its own. */
static void put_one_line(struct buf *out, struct str utf8)
{
    for (size_t i = 0; i < utf8.len; i++) {
        char c = utf8.ptr[i];
        buf_append_byte(out, c == '\r' || c == '\n' || c == '\0' ? ' ' : c);
    }
}

static size_t space_len(struct str s)
{
    size_t len = 0;
    while (len < s.len && strchr(" \t\r\n", s.ptr[len]) && s.ptr[len] != '\0')
        len++;
    return len;
}

/* Decodes a word and those that follow it; returns the bytes of value that they took. */
static size_t decode_run(struct buf *out, struct str value, const struct word *first)
{
    struct buf bytes, text;
    struct charset_decoder decoder;
    struct word w = *first, next;
    size_t taken = w.len;
    buf_init(&bytes, value.len + 3);
    buf_init(&text, 4 * value.len + 16);
    bool more;
    do {
        decode_bytes(&w, &bytes);
        struct str rest = str_skip(value, taken);
        size_t space = space_len(rest);
        more = parse_word(str_skip(rest, space), &next);
        if (!more || !str_eq_nocase(next.charset, w.charset)) {
            if (charset_open(&decoder, w.charset) != STATUS_OK)
                out->failed = true; /* it is known, so there is no memory */
            charset_decode(&decoder, &text, buf_str(&bytes));
            charset_decode_end(&decoder, &text);
            charset_close(&decoder);
            buf_clear(&bytes);
        }
        taken += more ? space + next.len : 0;
        w = next;
    } while (more);
    out->failed |= text.failed;
    put_one_line(out, buf_str(&text));
    buf_release(&bytes);
    buf_release(&text);
    return taken;
}

/* Appends text between words, without its line ends. */
static void put_plain(struct buf *out, struct str s)
{
    while (s.len > 0) {
        size_t len = 0;
        while (len < s.len && s.ptr[len] != '\r' && s.ptr[len] != '\n')
            len++;
        utf8_repair(out, str_sub(s, 0, len));
        s = str_skip(s, len + 1);
    }
}

void encoded_decode(struct buf *out, struct str value)
{
    struct word w;
    size_t plain = 0;
    for (size_t i = 0; i < value.len;) {
        if (value.ptr[i] == '=' && parse_word(str_skip(value, i), &w)) {
            put_plain(out, str_sub(value, plain, i - plain));
            i += decode_run(out, str_skip(value, i), &w);
            plain = i;
        } else {
            i++;
        }
    }
    put_plain(out, str_skip(value, plain));
}
