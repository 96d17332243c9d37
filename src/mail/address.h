#ifndef POSTERN_MAIL_ADDRESS_H
#define POSTERN_MAIL_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/str.h"

/*
 * Addresses of the envelope: the strict Mailbox and Path of RFC 5321 §4.1.2, with the UTF-8 of
 * RFC 6531 §3.3. What headers call an address is a wilder thing, see mail/address_list.h.
 *
 * A parsed address borrows the bytes it was parsed from and keeps them as they were written;
 * comparing and looking up goes through address_normalise.
 */
struct mailbox_address {
    struct str local;  /* as written, in its quotes where it had them */
    struct str domain; /* as written; a literal in its brackets; empty only in <Postmaster> */
    bool is_quoted;    /* local is a Quoted-string */
    bool is_literal;   /* domain is an address-literal */
    bool is_utf8;      /* holds non-ASCII bytes (valid UTF-8): only with SMTPUTF8 */
};

struct mailbox_path {
    bool is_null;     /* "<>" */
    struct str route; /* the obsolete source route "@a,@b" (RFC 5321 appendix C), or empty */
    struct mailbox_address mailbox;
};

enum address_result {
    ADDRESS_OK,
    ADDRESS_BAD,      /* not of the grammar */
    ADDRESS_TOO_LONG, /* LIMIT_LOCAL_PART_SIZE, LIMIT_DOMAIN_SIZE or LIMIT_PATH_SIZE */
};

enum path_kind {
    PATH_REVERSE, /* of MAIL: may be "<>" */
    PATH_FORWARD, /* of RCPT: may be "<Postmaster>", without a domain, in any case */
};

/*
 * Parses the path at the start of `in`, its angle brackets included. What stands behind it (the
 * parameters) starts at *ret_used, and the caller sees to the space between.
 */
enum address_result address_parse_path(struct str in, enum path_kind kind,
                                       struct mailbox_path *ret_path, size_t *ret_used);

/* Parses a Mailbox, "local@domain", that is the whole of `in`. */
enum address_result address_parse_mailbox(struct str in, struct mailbox_address *ret_address);

/* Parses a domain or an address-literal that is the whole of `in`: the argument of EHLO. */
bool address_parse_domain(struct str in, bool *ret_is_literal);

/* "192.0.2.1" or (RFC 5321 §4.1.3, IPv6-addr) "2001:db8::1"; no brackets, no prefix. */
bool address_is_ipv4(struct str s);
bool address_is_ipv6(struct str s);

/*
 * The forms in which addresses are stored and looked up, appended to `out`: domains as lower-case
 * A-labels without a trailing dot (literals in lower case); local parts without quotes,
 * case-folded. `"Alice"@EXAMPLE.org` and `alice@example.org` are one. False: a U-label that IDNA
 * does not allow, or `out` is full; then what was appended is taken back.
 */
bool address_normal_domain(struct buf *out, struct str domain);
bool address_normal_local(struct buf *out, const struct mailbox_address *address);

/* "local@domain" of the two; "local" alone where there is no domain. */
bool address_normalise(struct buf *out, const struct mailbox_address *address);

/* The local part as meant: without quotes and backslashes, case kept. */
bool address_plain_local(struct buf *out, const struct mailbox_address *address);

/*
 * The address as one writes it: the local part without needless quotes, the rest as it was. No
 * angle brackets.
 */
bool address_print(struct buf *out, const struct mailbox_address *address);

/* The same for a local part that has no quotes (as stored) and a domain. */
bool address_print_parts(struct buf *out, struct str plain_local, struct str domain);

/*
 * Splits "user+detail" at the first sep; false where there is none, or nothing before it. Give it
 * a plain or normal local part.
 */
bool address_split_detail(struct str local, char sep, struct str *ret_user, struct str *ret_detail);

/*
 * True where a plain local part asks for further routing of its own: "user%host", "host!user",
 * "user@host" (in quotes), or a leading "@". Such addresses are how open relays are found.
 */
bool address_is_relay_attempt(struct str plain_local);

#endif
