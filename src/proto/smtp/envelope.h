#ifndef POSTERN_PROTO_SMTP_ENVELOPE_H
#define POSTERN_PROTO_SMTP_ENVELOPE_H

/* What the parameters of MAIL and RCPT say, in the words of server and client alike. */

enum smtp_body_type {
    SMTP_BODY_7BIT,
    SMTP_BODY_8BITMIME,  /* RFC 6152 */
    SMTP_BODY_BINARYMIME /* RFC 3030: NUL and bare CR and LF are content */
};

/* NOTIFY of RCPT (RFC 3461 §4.1): bits; 0 where nothing was said. */
enum smtp_notify {
    SMTP_NOTIFY_NEVER = 1,
    SMTP_NOTIFY_SUCCESS = 2,
    SMTP_NOTIFY_FAILURE = 4,
    SMTP_NOTIFY_DELAY = 8
};

/* RET of MAIL (RFC 3461 §4.3). */
enum smtp_ret { SMTP_RET_UNSAID, SMTP_RET_FULL, SMTP_RET_HDRS };

/* The mode of BY (RFC 2852 §4). */
enum smtp_by_mode { SMTP_BY_NONE, SMTP_BY_RETURN, SMTP_BY_NOTIFY };

#endif
