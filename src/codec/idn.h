#ifndef POSTERN_CODEC_IDN_H
#define POSTERN_CODEC_IDN_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"

/*
 * Domain names between their two spellings: A-labels ("xn--bcher-kva.example"), which is how
 * Postern stores and compares them, and U-labels ("bücher.example"), which is how people and
 * SMTPUTF8 write them. UTS #46, not transitional, with the checks of RFC 5891 §4.2: what comes out
 * of idn_to_ascii is lower-case letters, digits and hyphens, with labels of 1 to 63 and a name of
 * at most 253 octets, and no final dot.
 *
 * Both append to out; false, with out as it was, where the name is no host name.
 */
bool idn_to_ascii(struct buf *out, struct str domain);
bool idn_to_unicode(struct buf *out, struct str domain);

/* Loads the tables: call it before a sandbox closes. */
enum status_code idn_preload(void) MUST_USE;

#endif
