#include "proto/smtp/reply_reader.h"

void smtp_reply_reader_init(struct smtp_reply_reader *r)
{
    *r = (struct smtp_reply_reader){0};
    buf_init_secret(&r->line, LIMIT_SMTP_REPLY_SIZE);
    buf_init_secret(&r->words, LIMIT_SMTP_REPLY_SIZE);
}

void smtp_reply_reader_release(struct smtp_reply_reader *r)
{
    buf_wipe(&r->line);
    buf_wipe(&r->words);
}

/* Takes 1*maxDIGIT off *rest. */
static bool take_number(struct str *rest, size_t digits_max, uint16_t *ret_number)
{
    size_t digits = 0;
    unsigned number = 0;
    while (digits < rest->len && digits < digits_max && ascii_is_digit(rest->ptr[digits]))
        number = number * 10 + (unsigned)(rest->ptr[digits++] - '0');
    *rest = str_skip(*rest, digits);
    *ret_number = (uint16_t)number;
    return digits > 0;
}

static bool take_byte(struct str *rest, char c)
{
    if (str_empty(*rest) || rest->ptr[0] != c)
        return false;
    *rest = str_skip(*rest, 1);
    return true;
}

/*
 * status-code = class "." subject "." detail            (RFC 3463 §2, RFC 2034 §4)
 * class       = "2" / "4" / "5"
 * subject     = 1*3DIGIT
 * detail      = 1*3DIGIT
 *
 * Taken off *text where there is one of the reply's own class; else it is text like any other.
 */
static void take_enhanced(struct smtp_reply_reader *r, struct str *text)
{
    struct str rest = *text;
    uint16_t class, subject, detail;
    bool good = take_number(&rest, 1, &class) && class == r->code / 100 && class != 3 &&
                take_byte(&rest, '.') && take_number(&rest, 3, &subject) && take_byte(&rest, '.') &&
                take_number(&rest, 3, &detail) && (str_empty(rest) || take_byte(&rest, ' '));
    if (!good)
        return;
    r->class = (uint8_t) class;
    r->subject = subject;
    r->detail = detail;
    *text = rest;
}

/* One line without its end. OK: it was the last of the reply. */
static enum smtp_read_result read_line(struct smtp_reply_reader *r, struct str line)
{
    uint16_t code;
    struct str rest = line;
    bool good = take_number(&rest, 3, &code) && rest.len + 3 == line.len && code >= 200 &&
                code <= 599 && (str_empty(rest) || rest.ptr[0] == ' ' || rest.ptr[0] == '-');
    if (!good || ++r->lines > LIMIT_SMTP_REPLY_LINES)
        return SMTP_READ_BAD;
    bool last = !take_byte(&rest, '-');
    if (last)
        take_byte(&rest, ' ');
    r->code = code;
    take_enhanced(r, &rest);
    if (r->lines > 1)
        buf_append_byte(&r->words, '\n');
    buf_append_str(&r->words, rest);
    if (r->words.failed)
        return SMTP_READ_NO_MEMORY;
    return last ? SMTP_READ_OK : SMTP_READ_MORE;
}

static void begin(struct smtp_reply_reader *r)
{
    buf_wipe(&r->words);
    r->code = 0;
    r->class = 0;
    r->subject = r->detail = 0;
    r->lines = 0;
    r->size = 0;
}

/* A line with its LF, all in one piece. */
static enum smtp_read_result end_line(struct smtp_reply_reader *r, struct str line)
{
    line.len--;
    if (line.len > 0 && line.ptr[line.len - 1] == '\r')
        line.len--;
    enum smtp_read_result result = read_line(r, line);
    buf_wipe(&r->line);
    if (result == SMTP_READ_OK)
        r->lines = 0; /* the next line begins a reply */
    return result;
}

enum smtp_read_result smtp_reply_reader_take(struct smtp_reply_reader *r, struct str bytes,
                                             size_t *ret_used)
{
    size_t used = 0;
    enum smtp_read_result result = SMTP_READ_MORE;
    if (r->lines == 0 && r->line.len == 0)
        begin(r);
    while (used < bytes.len && result == SMTP_READ_MORE) {
        struct str rest = str_skip(bytes, used);
        const char *lf = memchr(rest.ptr, '\n', rest.len);
        struct str piece = str_sub(rest, 0, lf ? (size_t)(lf + 1 - rest.ptr) : rest.len);
        used += piece.len;
        r->size += piece.len;
        if (r->size > LIMIT_SMTP_REPLY_SIZE)
            result = SMTP_READ_BAD;
        else if (lf && r->line.len == 0)
            result = end_line(r, piece);
        else if (!buf_append_str(&r->line, piece))
            result = SMTP_READ_NO_MEMORY;
        else if (lf)
            result = end_line(r, buf_str(&r->line));
    }
    *ret_used = result == SMTP_READ_OK ? used : bytes.len;
    return result;
}
