#ifndef POSTERN_CODEC_DNS_FACTS_H
#define POSTERN_CODEC_DNS_FACTS_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/dns.h"
#include "base/str.h"

/* Rows of one answer that are looked at: a zone with more of a type wants to be a burden. */
enum { DNS_FACTS_ROWS_MAX = 100 };

/*
 * What a packet with rcode 0 says to a question for `name` and `type`, as a value: the end of the
 * aliases and the records of that type there; what is malformed is left out. outcome and secure are
 * not touched. Everything lives in the arena; false where that is spent, and where the packet does
 * not tell: it is cut off, its aliases go in a circle, or there are records of which none can be
 * read. (To say "none" then would send mail to the domain itself instead of its MX.)
 */
bool dns_facts_read(struct str packet, struct str name, enum dns_type type, struct arena *arena,
                    struct dns_facts *ret_facts);

#endif
