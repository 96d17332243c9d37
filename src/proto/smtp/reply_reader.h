#ifndef POSTERN_PROTO_SMTP_REPLY_READER_H
#define POSTERN_PROTO_SMTP_REPLY_READER_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/str.h"

/*
 * Reads the replies of a server that may be old, odd or hostile, in pieces cut anywhere:
 *
 *   Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF
 *
 * (RFC 5321 §4.2). What honest servers have been seen to do is taken: lines that end in a bare LF,
 * no text, any octets in the text, lines longer than 512 octets, another code on the last line
 * (which then counts). What has no code from 200 to 599, or is larger than LIMIT_SMTP_REPLY_SIZE
 * or LIMIT_SMTP_REPLY_LINES, is no reply.
 */
struct smtp_reply_reader {
    struct buf line;  /* a line that did not come in one piece */
    struct buf words; /* the text of the lines, "\n" between, enhanced codes taken off */
    uint16_t code;
    uint8_t class; /* the enhanced code of the last line that had one (RFC 2034); class 0: none */
    uint16_t subject;
    uint16_t detail;
    unsigned lines;
    size_t size;
};

enum smtp_read_result {
    SMTP_READ_MORE,
    SMTP_READ_OK, /* code to detail and words are the reply's until the next take */
    SMTP_READ_BAD,
    SMTP_READ_NO_MEMORY
};

/* Allocates nothing yet. */
void smtp_reply_reader_init(struct smtp_reply_reader *r);
void smtp_reply_reader_release(struct smtp_reply_reader *r);

/* Takes octets up to the end of one reply; *ret_used is how many, all of them unless OK. */
enum smtp_read_result smtp_reply_reader_take(struct smtp_reply_reader *r, struct str bytes,
                                             size_t *ret_used);

#endif
