#ifndef POSTERN_PROTO_IMAP_REPLY_H
#define POSTERN_PROTO_IMAP_REPLY_H

#include "base/buf.h"
#include "base/str.h"
#include "proto/imap/server.h"

/* How replies and the data in them are written (RFC 3501 §9). */

struct imap_reply {
    const char *status; /* OK, NO or BAD */
    const char *code;   /* of RFC 5530 and others, or NULL */
    const char *words;  /* NULL: "NAME completed" */
};

const struct imap_reply *imap_reply_of(enum imap_code code);

/* quoted / literal; NUL, which neither can hold, becomes a space. */
void imap_put_string(struct buf *out, struct str s);

/* The same, or NIL where ptr is NULL. */
void imap_put_nstring(struct buf *out, struct str s);

/* An atom where it can be one, else a string. */
void imap_put_astring(struct buf *out, struct str s);

/* A name in UTF-8, as modified UTF-7. */
void imap_put_mailbox(struct buf *out, struct str utf8);

/* "(\Seen work)" */
void imap_put_flags(struct buf *out, uint8_t flags, struct str keywords, bool recent);

/* "3,5:9" */
void imap_put_set(struct buf *out, struct imap_set set);

#endif
