#ifndef POSTERN_MAIL_DOWNGRADE_H
#define POSTERN_MAIL_DOWNGRADE_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"

/*
 * Converts a message for a server that takes less than the message needs (RFC 6152 §3, RFC 3030
 * §3): octets in, octets out, in one pass and in bounded memory.
 *
 * What changes: the bodies of parts that hold more than the target takes become quoted-printable
 * (mostly ASCII text) or base64, and their Content-Transfer-Encoding says so; "8bit" and "binary"
 * labels that no longer hold, on multiparts and messages too, become what is true now. Everything
 * else stays octet for octet, so a message that is within the target, labels included, comes out as
 * it went in; decoding the result gives what decoding the message gave.
 *
 * A part is looked at for DOWNGRADE_HOLD octets before its encoding is chosen; a longer one is
 * believed to be, behind those, what its label says.
 *
 * What stays although it is not ASCII: header fields, preambles and epilogues, and octets that turn
 * up late in a part that called itself 7bit. RFC 6152 gives no right to eight bits there, their
 * charset is not known, and the sender has said that there are none; nothing is gained by guessing.
 * Parts of multipart/signed are converted as all others (RFC 1847 §2.1 makes it the signer's duty
 * to sign 7-bit parts only): the signature breaks, the message arrives.
 *
 * Where the target is no binary transport, NUL, bare CR and bare LF outside a part that can be
 * encoded make the conversion impossible; so do parts that must not be encoded (message/partial,
 * message/external-body: RFC 2046 §5.2.2.1, §5.2.3) and need it.
 */
enum downgrade_target {
    DOWNGRADE_TO_8BIT, /* lines of up to 998 octets, no NUL */
    DOWNGRADE_TO_7BIT, /* and ASCII only */
};

#define DOWNGRADE_HOLD 32768

/* The most that one write, or the end, appends to `out` for n octets of input. */
#define DOWNGRADE_OUT_MAX(n) (4 * ((n) + DOWNGRADE_HOLD) + 1024 * 1024)

struct downgrade;

/* NULL where there is no memory. */
struct downgrade *downgrade_new(enum downgrade_target target);
void downgrade_free(struct downgrade *d);

enum downgrade_result {
    DOWNGRADE_OK,
    DOWNGRADE_IMPOSSIBLE, /* for ever: 5.6.3 (RFC 3463 §3.7) */
    DOWNGRADE_NO_MEMORY,  /* or `out` was full */
};

/* Results other than DOWNGRADE_OK stick; what was appended then is of no use. */
enum downgrade_result downgrade_write(struct downgrade *d, struct str octets, struct buf *out);
enum downgrade_result downgrade_end(struct downgrade *d, struct buf *out);

/* True where octets that are whole, or the start of more, are within the target as they are. */
bool downgrade_is_needless(struct str octets, enum downgrade_target target);

#endif
