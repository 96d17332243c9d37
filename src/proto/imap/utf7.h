#ifndef POSTERN_PROTO_IMAP_UTF7_H
#define POSTERN_PROTO_IMAP_UTF7_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"

/*
 * Mailbox names on the wire: the modified UTF-7 of RFC 3501 §5.1.3. Each name has exactly one
 * form; decoding refuses every other, so that two spellings never mean one mailbox.
 */

/* Appends the UTF-8 of s; false, with out as it was, where s is not the form of a name. */
bool imap_utf7_decode(struct buf *out, struct str s);

/* Appends the wire form of a UTF-8 name. */
void imap_utf7_encode(struct buf *out, struct str utf8);

#endif
