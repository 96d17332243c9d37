#ifndef POSTERN_PROTO_IMAP_USES_H
#define POSTERN_PROTO_IMAP_USES_H

#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

/* The special uses of mailboxes (RFC 6154 §2): bits of server.h and names on the wire. */

/* The bit for a name without its backslash, or 0. */
uint8_t imap_use_of(struct str name);

/* Appends " \Sent" for each bit. */
void imap_put_uses(struct buf *out, uint8_t uses);

#endif
