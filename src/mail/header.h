#ifndef POSTERN_MAIL_HEADER_H
#define POSTERN_MAIL_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"
#include "base/text.h"
#include "mail/address.h"

/*
 * Header fields (RFC 5322 §2.2): reading those of a message, and writing our own.
 *
 * Reading: lines end with CRLF or LF; an empty line or the end of the bytes ends the header. Lines
 * that are no field (no colon, or a strange name) are passed over with what is folded below them.
 */
struct header_field {
    struct str name;  /* as written, without the space some put before the colon */
    struct str value; /* behind the colon, folded as it was, without the last line end */
    size_t offset;    /* where the field starts in the block, and its size with line ends */
    size_t size;
};

/* `block` is a header, or a message. */
struct header_cursor {
    struct str block;
    size_t at;
};

static inline struct header_cursor header_cursor_at(struct str block)
{
    return (struct header_cursor){block, 0};
}

/* False at the end; then cursor->at is where the body starts (behind the empty line). */
bool header_next(struct header_cursor *cursor, struct header_field *ret_field);

/* The first field of that name (any case); false where there is none. */
bool header_find(struct str block, struct str name, struct header_field *ret_field);

/*
 * Appends the value unfolded: line ends go, the white space behind them stays (RFC 5322 §2.2.3),
 * blanks at both ends go. Bytes are otherwise kept, CR, LF and NUL in odd places become spaces.
 */
bool header_unfold(struct buf *out, struct str value);

/* What must be known of a message before it is accepted; values are raw and borrow the block. */
struct header_facts {
    uint32_t received_count; /* RFC 5321 §6.3 */
    uint32_t date_count;
    uint32_t message_id_count;
    uint32_t from_count;
    uint32_t sender_count;
    bool has_end;      /* an empty line ends it; else it may go on behind the block */
    bool tls_optional; /* one TLS-Required field, and it says "No" (RFC 8689 §5) */
    struct str from;   /* the first of each */
    struct str sender;
    struct str date;
    struct str message_id;
    struct str subject;
};

void header_facts_of(struct str block, struct header_facts *ret_facts);

/*
 * The only way of a stranger's text into a header: control bytes (line ends and NUL with them) go,
 * bytes that are not UTF-8 become "?", what is longer than len_max is cut, and it folds where the
 * line gets long. Appends no line end. Parentheses and quotes are kept: see text_to_comment.
 */
bool text_to_header(struct buf *out, struct text t, size_t len_max);

/* The same inside a comment: parentheses and backslashes become "_" too. */
bool text_to_comment(struct buf *out, struct text t, size_t len_max);

/* The facts of a Received field (RFC 5321 §4.4). Empty strs are left out. */
struct received_facts {
    struct text helo;    /* what the client called itself */
    struct text rdns;    /* the name of its address; empty: "unknown" */
    struct str peer;     /* its address, "192.0.2.1" or "2001:db8::1"; empty: a local client */
    const uint32_t *uid; /* of a local client, else NULL */
    struct str host;     /* who received it */
    struct str protocol; /* RFC 3848: SMTP, ESMTP, ESMTPS, ESMTPSA, LMTP, UTF8SMTPSA (RFC 6531) … */
    struct str id;       /* our name for the transaction */
    struct str tls;      /* "TLSv1.3"; empty in clear */
    struct str cipher;
    const struct mailbox_address *recipient; /* where there is only one; else NULL */
    int64_t wall_ms;
};

/* Each appends a whole field with its CRLF; false where `out` is full. */
bool header_put_received(struct buf *out, const struct received_facts *facts);
bool header_put_return_path(struct buf *out, const struct mailbox_path *path);
bool header_put_delivered_to(struct buf *out, const struct mailbox_address *address);
bool header_put_date(struct buf *out, int64_t wall_ms);

/* "Message-ID: <unique@host>"; unique is for the caller to make so (hex of random bytes). */
bool header_put_message_id(struct buf *out, struct str unique, struct str host);

#endif
