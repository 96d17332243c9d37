#ifndef POSTERN_PROTO_SMTP_PARAMS_H
#define POSTERN_PROTO_SMTP_PARAMS_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"

/*
 * The parameters behind the path of MAIL and RCPT (RFC 5321 §4.1.2, RFC 6531 §3.3):
 *
 *   Mail-parameters = esmtp-param *(SP esmtp-param)
 *   esmtp-param     = esmtp-keyword ["=" esmtp-value]
 *   esmtp-keyword   = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")
 *   esmtp-value     = 1*(%d33-60 / %d62-126 / UTF8-non-ascii)
 */
struct smtp_param {
    struct str keyword;
    bool has_value;
    struct str value; /* not empty where there is one */
};

enum smtp_param_result { SMTP_PARAM_OK, SMTP_PARAM_END, SMTP_PARAM_BAD };

/* Takes the next parameter, with the one space before it, off *rest. */
enum smtp_param_result smtp_param_next(struct str *rest, struct smtp_param *ret_param);

/* Appends s as an xtext. */
void smtp_xtext_encode(struct buf *out, struct str s);

/*
 * Appends an address of the type utf-8 as it stands in ORCPT (RFC 6533 §3): with SMTPUTF8 (utf8)
 * as utf-8-addr-unitext, else as utf-8-addr-xtext.
 */
void smtp_utf8_address_encode(struct buf *out, struct str s, bool utf8);

/* Appends what an xtext stands for (RFC 3461 §4). False, and out as it was: not an xtext. */
bool smtp_xtext_decode(struct buf *out, struct str xtext);

#endif
