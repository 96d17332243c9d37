#ifndef POSTERN_CLI_SENDMAIL_MESSAGE_H
#define POSTERN_CLI_SENDMAIL_MESSAGE_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"

/*
 * What programs give to sendmail(8), as mail: text with line ends of Unix, perhaps without a
 * header, recipients perhaps only in it. Pure.
 */

/*
 * Appends the text with CRLF as its only line end: LF, CRLF and the lone CR of progress bars are
 * one each. NULs go, since no server takes them; lines are broken where they get longer than
 * line_size_max with their CRLF. A line of one dot ends the text, but for ignore_dots.
 */
bool sendmail_read_text(struct buf *out, struct str raw, size_t line_size_max, bool ignore_dots);

/* Header lines, without the empty line; what is behind it. An mbox line in front is left out. */
struct sendmail_parts {
    struct str header;
    struct str body;
};

struct sendmail_parts sendmail_split(struct str text);

/*
 * Appends the addresses of a list ("root, Ann <ann@example.org>"), each behind a NUL that ends the
 * one before; those without a domain are of `origin`. False where one is no address
 * (*ret_bad says which, as far as one can), or out is full.
 */
bool sendmail_put_addresses(struct buf *out, struct str list, struct str origin,
                            struct str *ret_bad);

/* The same for those in the header's To, Cc and Bcc; all of them where there are several. */
bool sendmail_put_header_addresses(struct buf *out, struct str header, struct str origin,
                                   struct str *ret_bad);

/*
 * Appends the message: a From field where there is none (from: an address; name may be empty), the
 * header without Bcc (RFC 5322 §3.6.3), the body. Date and Message-ID are the server's to add.
 */
bool sendmail_put_message(struct buf *out, const struct sendmail_parts *parts, struct str from,
                          struct str name);

#endif
