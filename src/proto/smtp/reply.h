#ifndef POSTERN_PROTO_SMTP_REPLY_H
#define POSTERN_PROTO_SMTP_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

/*
 * A reply is a value (RFC 5321 §4.2, RFC 3463): server and client, and everything that decides
 * about mail, speak of it in this form. Text is shown to people; "\n" in it begins the next line
 * of a multi-line reply. Text is borrowed, and read before the function it is given to returns.
 */
struct smtp_reply {
    uint16_t code;    /* 200 to 599; 0 is "no reply of my own, say the usual" */
    uint8_t class;    /* enhanced status class.subject.detail; class 0 for none */
    uint16_t subject; /* at most three digits each */
    uint16_t detail;
    struct str text;
};

/* For constant tables: SMTP_REPLY(550, 5, 1, 1, "no such mailbox here"). */
#define SMTP_REPLY(code, class, subject, detail, text)                                             \
    {                                                                                              \
        code, class, subject, detail,                                                              \
        {                                                                                          \
            text, sizeof(text) - 1                                                                 \
        }                                                                                          \
    }

/* RFC 5321 §4.5.3.1.5, RFC 4954 §4: a reply line, and one with a challenge, CRLF included. */
#define SMTP_REPLY_LINE_SIZE     512
#define SMTP_CHALLENGE_LINE_SIZE 12288

static inline bool smtp_reply_is_positive(const struct smtp_reply *reply)
{
    return reply->code < 400;
}

/* True where the peer may try again later. */
static inline bool smtp_reply_is_temporary(const struct smtp_reply *reply)
{
    return reply->code / 100 == 4;
}

/*
 * Appends the reply as the lines of RFC 5321 §4.2.1, the enhanced code on each (RFC 2034 §4). Bytes
 * that are neither printable ASCII nor "\n" become '?': a reply never carries what a stranger wrote
 * into the structure of the dialogue. With utf8 (RFC 6531 §3.6) bytes from 0x80 on pass. A line too
 * long is cut.
 */
void smtp_reply_write(struct buf *out, const struct smtp_reply *reply, bool utf8);

#endif
