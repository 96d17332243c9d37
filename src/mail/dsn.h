#ifndef POSTERN_MAIL_DSN_H
#define POSTERN_MAIL_DSN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"
#include "base/text.h"

/*
 * Writes delivery status notifications (RFC 3464) as multipart/report (RFC 6522): words for people,
 * fields for programs, and the original or its header. Pure: facts in, octets out. What strangers
 * said (addresses, replies, the envelope id) comes in as text and cannot break out of its line.
 *
 *     dsn_begin(out, dsn)      everything in front of the original
 *     the original's octets    only where part is not DSN_PART_NONE; as they are
 *     dsn_end(out, dsn)        everything behind it
 *
 * so that a large original never need be in memory.
 */
enum dsn_action { /* RFC 3464 §2.3.3 */
                  DSN_FAILED,
                  DSN_DELAYED,
                  DSN_DELIVERED,
                  DSN_RELAYED,
                  DSN_EXPANDED,
};

struct dsn_recipient {
    enum dsn_action action;
    struct text address;  /* that of RCPT */
    struct text original; /* ORCPT, "rfc822;bob@example.org"; empty: not given */
    struct str status;    /* "5.1.1"; anything else becomes "5.0.0" and its like by action */
    struct text remote;   /* the server that answered, "mx.example.org [192.0.2.1]:25"; or empty */
    struct text words;    /* its reply, or our own reason */
    bool is_reply;        /* the words are an SMTP reply: they become the Diagnostic-Code */
    int64_t attempt_ms;   /* Unix time of the last attempt; 0: none */
    int64_t until_ms;     /* of a delayed one: when we give up; 0: not known */
};

enum dsn_part { DSN_PART_NONE, DSN_PART_HEADER, DSN_PART_MESSAGE };

struct dsn {
    struct str host;     /* our name: reporting MTA, domain of From and Message-ID */
    struct str id;       /* unique: left side of Message-ID */
    struct str boundary; /* that a stranger cannot have guessed; of RFC 2046's characters, <= 60 */
    int64_t now_ms;
    struct text sender;  /* whom it is for; never empty */
    struct str trace_id; /* of the original, for who asks; or empty */
    struct text envid;   /* or empty */
    int64_t arrival_ms;  /* of the original; 0: not known */
    bool utf8;           /* the original was sent with SMTPUTF8: RFC 6533's types */
    enum dsn_part part;  /* what of the original comes along */
    bool part_is_8bit;   /* and whether it holds octets above 127 */
    struct str header;   /* the original's header or its start: Subject, Date, Message-ID */
    const struct dsn_recipient *recipients;
    size_t count;     /* at least 1 */
    size_t quote_max; /* octets of a reply that are quoted; 0: DSN_QUOTE_MAX */
};

#define DSN_QUOTE_MAX 2000

/* What one report can take at most besides the original, for count recipients. */
#define DSN_SIZE_MAX(count) (16384 + 8192 * (size_t)(count))

/* False where `out` is full. */
bool dsn_begin(struct buf *out, const struct dsn *dsn);
bool dsn_end(struct buf *out, const struct dsn *dsn);

/* What its envelope must say: SMTPUTF8 (an address or subject in the header), and 8BITMIME. */
bool dsn_needs_utf8(const struct dsn *dsn);
bool dsn_needs_8bit(const struct dsn *dsn);

#endif
