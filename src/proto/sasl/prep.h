#ifndef POSTERN_PROTO_SASL_PREP_H
#define POSTERN_PROTO_SASL_PREP_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"

/*
 * Prepares a user name or password for comparison: the OpaqueString profile (RFC 8265 §4.2, which
 * replaces SASLprep): other spaces become the ASCII one, then normalisation form C. Appends the
 * result. False, with nothing appended, where s is empty, is not UTF-8, holds a control character
 * or a code point that the profile forbids, or does not fit. ASCII stays as it is.
 */
bool sasl_prepare(struct str s, struct buf *out);

#endif
