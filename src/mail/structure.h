#ifndef POSTERN_MAIL_STRUCTURE_H
#define POSTERN_MAIL_STRUCTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"

/*
 * The MIME structure of a message (RFC 2045, 2046): what IMAP's BODYSTRUCTURE and ENVELOPE are
 * written from, and where each section lies in the message, so that nobody parses it twice. It is
 * made by mail/mime.h while the message comes in, stored encoded, and decoded when it is read.
 *
 * Parts stand in one array in the order in which they come; parts[0] is the message itself. A
 * message/rfc822 part has one child: the message inside it (whose header starts where the body of
 * the part starts). Offsets count from the first byte of the message.
 *
 * Promises a reader may rely on, decoded or parsed: a multipart has at least one child, a message
 * part exactly one, all others none; no part is deeper than LIMIT_MIME_DEPTH; `envelope` is set for
 * parts[0] and for the child of each message part, and for no other; a part lies within its parent;
 * type, subtype and encoding are never empty.
 */
#define STRUCTURE_VERSION 1
#define PART_NONE         UINT32_MAX

struct structure_param {
    struct str name;  /* lower case, as written otherwise ("filename*0*") */
    struct str value; /* without quotes, not decoded further */
};

/* Field values, unfolded, not decoded; absent ones have a NULL ptr. Addresses: address_list.h. */
struct structure_envelope {
    struct str date;
    struct str subject;
    struct str from;
    struct str sender;
    struct str reply_to;
    struct str to;
    struct str cc;
    struct str bcc;
    struct str in_reply_to;
    struct str message_id;
};

struct structure_part {
    struct str type; /* lower case; "text" "plain" where the message says nothing */
    struct str subtype;
    struct structure_param *params;
    size_t param_count;
    struct str encoding;    /* lower case, "7bit" where the message says nothing */
    struct str id;          /* here and below: NULL ptr where absent */
    struct str description; /* not decoded */
    struct str disposition; /* lower case */
    struct structure_param *disposition_params;
    size_t disposition_param_count;
    struct str md5;
    struct str language; /* as written: one tag or several with commas (RFC 3282) */
    struct str location;
    uint64_t header_offset;
    uint64_t header_size; /* with the empty line that ends it */
    uint64_t body_offset; /* header_offset + header_size */
    uint64_t body_size;
    uint64_t lines; /* line ends in the body */
    uint32_t parent;
    uint32_t first_child;
    uint32_t next_sibling;
    bool is_multipart;
    bool is_message;
    struct structure_envelope *envelope;
};

struct structure {
    struct structure_part *parts;
    size_t count;
};

/* The parameter of that (lower-case) name, or an empty str. */
struct str structure_param_of(const struct structure_param *params, size_t count, struct str name);

/* Sections of RFC 3501 §6.4.5. */
enum section_kind {
    SECTION_BODY,   /* BODY[path]; the whole message where the path is empty */
    SECTION_HEADER, /* BODY[path.HEADER]: of the message, or of a message part */
    SECTION_TEXT,   /* BODY[path.TEXT]: likewise */
    SECTION_MIME,   /* BODY[path.MIME]: the part's own header; needs a path */
};

/* The part a path of IMAP part numbers (from 1) leads to, or PART_NONE. An empty path: part 0. */
uint32_t structure_find(const struct structure *s, const uint32_t *path, size_t path_len);

/* Where a section lies in the message; false where there is none of that name. */
bool structure_section(const struct structure *s, const uint32_t *path, size_t path_len,
                       enum section_kind kind, uint64_t *ret_offset, uint64_t *ret_size);

/* Appends the stored form; false where `out` is full. */
bool structure_encode(const struct structure *s, struct buf *out);

/*
 * Reads the stored form. Everything lives in `arena`, and strs borrow `blob`. STATUS_CORRUPT: it is
 * broken, or breaks a promise from above. STATUS_UNSUPPORTED: of another version; parse the
 * message again. STATUS_NO_MEMORY: the arena is full.
 */
enum status_code structure_decode(struct str blob, struct arena *arena,
                                  struct structure *ret_structure) MUST_USE;

#endif
