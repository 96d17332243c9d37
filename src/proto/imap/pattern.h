#ifndef POSTERN_PROTO_IMAP_PATTERN_H
#define POSTERN_PROTO_IMAP_PATTERN_H

#include <stdbool.h>

#include "base/str.h"

/*
 * Does a mailbox name match a pattern of LIST (RFC 3501 §6.3.8)? "*" stands for anything, "%" for
 * anything within one level. Both are UTF-8. INBOX matches in any case. The time is bounded by the
 * product of the two lengths; patterns longer than LIMIT_IMAP_PATTERN_SIZE match nothing.
 */
bool imap_pattern_matches(struct str pattern, struct str name);

#endif
