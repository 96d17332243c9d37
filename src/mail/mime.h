#ifndef POSTERN_MAIL_MIME_H
#define POSTERN_MAIL_MIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/limits.h"
#include "base/status.h"
#include "base/str.h"
#include "mail/structure.h"

/*
 * Finds the MIME structure of a message that flows by in pieces of any size (RFC 2045, 2046). The
 * memory it takes is bounded by the limits of limits.h, never by the message. It accepts every
 * message: what is wrong is read as plain text or as opaque bytes.
 *
 * - A delimiter is a line of "--", the boundary, perhaps "--", and blanks. The line end in front
 *   of it belongs to it. It closes all parts inside its multipart, wherever they are.
 * - An empty line ends a header, and so does a delimiter, or the end.
 * - A multipart without a usable boundary is text/plain. One without parts gets an empty part.
 * - What is nested deeper than LIMIT_MIME_DEPTH is application/octet-stream; parts behind
 *   LIMIT_MIME_PARTS are not told apart from the multipart's epilogue.
 * - A message/rfc822 in base64 or quoted-printable (RFC 2046 §5.2.1 forbids it) is not opened:
 *   it is application/octet-stream.
 * - Fields behind the first LIMIT_HEADER_SIZE bytes of a header are not seen. A value is kept up to
 *   64 KiB, and all values of a message up to MIME_STRINGS_MAX; the rest is as if it were absent.
 */
enum mime_event_kind {
    MIME_MORE,   /* all bytes are taken; offer the next piece */
    MIME_HEADER, /* the header of `part` is complete: `bytes`, without what is over the limit */
    MIME_BODY,   /* `bytes` of the body of `part`, which is no multipart and no message part */
};

struct mime_event {
    enum mime_event_kind kind;
    uint32_t part;
    struct str bytes; /* lives until the next call. Bodies come with the line end that turns out
                         to belong to the delimiter. */
};

#define MIME_STRINGS_MAX (512 * 1024)

/* Boundaries longer than RFC 2046's 70 exist; longer than this: no usable boundary. */
#define MIME_BOUNDARY_MAX 200

struct mime_open {
    uint32_t part;
    uint32_t last_child;
    uint64_t lines_before; /* line ends before its body */
    struct str boundary;   /* empty where it has none (any longer) */
};

enum mime_state { MIME_STATE_HEADER, MIME_STATE_LEAF, MIME_STATE_SKIP };

struct mime_parser {
    struct arena *arena;
    struct structure structure;
    size_t parts_cap;
    struct mime_open open[LIMIT_MIME_DEPTH + 1]; /* from the message down to the current part */
    size_t depth;
    size_t boundary_count; /* of open parts that have one */
    enum mime_state state;
    struct buf header;   /* of the current part, while it comes in */
    struct buf scratch;  /* a value, unfolded */
    size_t strings_left; /* bytes of strings that may still be kept */
    uint64_t offset;     /* bytes behind us */
    uint64_t lines;      /* line ends among them */
    uint64_t line_len;   /* bytes of the current line behind us; 0 at the start of a line */
    size_t last_eol;     /* size of the line end in front of it */
    bool last_was_cr;
    bool open_child; /* the message inside a message part begins here */
    bool failed;
    size_t held_len; /* the start of a line that may become a delimiter */
    char held[MIME_BOUNDARY_MAX + 56];
};

/* Everything that is found lives in the arena. */
void mime_init(struct mime_parser *p, struct arena *arena);
void mime_release(struct mime_parser *p);

/*
 * Takes bytes from the front of *bytes (and shortens it) until there is something to tell. Call it
 * until it says MIME_MORE.
 */
void mime_next(struct mime_parser *p, struct str *bytes, struct mime_event *ret_event);

/*
 * Ends the message. First it may have events left, as mime_next: false while so. The structure
 * is complete when it returns true.
 */
bool mime_end(struct mime_parser *p, struct mime_event *ret_event);

/* After the end. STATUS_NO_MEMORY: the arena was full, and the structure is of no use. */
enum status_code mime_structure(struct mime_parser *p, const struct structure **ret) MUST_USE;

#endif
