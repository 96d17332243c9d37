#include "proto/smtp/reply.h"

/* "250-2.1.0 ": the head of one line. */
static void write_head(struct buf *out, const struct smtp_reply *reply, bool last)
{
    buf_printf(out, "%03u%c", reply->code, last ? ' ' : '-');
    if (reply->class != 0)
        buf_printf(out, "%u.%u.%u ", reply->class, reply->subject, reply->detail);
}

static void write_words(struct buf *out, struct str words, size_t size_max, bool utf8)
{
    words = str_sub(words, 0, size_max);
    char *to = buf_reserve(out, words.len);
    if (!to)
        return;
    for (size_t i = 0; i < words.len; i++) {
        unsigned char c = (unsigned char)words.ptr[i];
        bool shown = (c >= ' ' && c < 0x7F) || (utf8 && c >= 0x80);
        to[i] = shown ? (char)c : '?';
    }
    buf_grown(out, words.len);
}

void smtp_reply_write(struct buf *out, const struct smtp_reply *reply, bool utf8)
{
    struct str rest = reply->text;
    size_t size_max = reply->code == 334 ? SMTP_CHALLENGE_LINE_SIZE : SMTP_REPLY_LINE_SIZE;
    bool last;
    do {
        ptrdiff_t end = str_find_byte(rest, '\n');
        last = end < 0;
        size_t start = out->len;
        write_head(out, reply, last);
        size_t room = size_max - 2 - (out->len - start);
        write_words(out, last ? rest : str_sub(rest, 0, (size_t)end), room, utf8);
        buf_append_str(out, STR("\r\n"));
        rest = last ? rest : str_skip(rest, (size_t)end + 1);
    } while (!last);
}
