#ifndef POSTERN_MAIL_TRANSCRIPT_H
#define POSTERN_MAIL_TRANSCRIPT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"
#include "mail/decode.h"
#include "mail/mime.h"

/*
 * The searchable text of a message that flows by: each header (the message's, its parts', those of
 * messages inside it) with encoded words decoded, and each text part decoded to UTF-8. What makes
 * signatures and what verifies a search both read this, so they see the same.
 */
struct transcript_event {
    uint32_t part;
    bool begins;       /* a text of its own: nothing is found across its beginning */
    bool is_header;    /* a whole header; else a piece of a body */
    struct str text;   /* lives until the next call, perhaps empty */
    struct str header; /* the header as it came */
};

struct transcript {
    struct arena arena;
    struct mime_parser mime;
    struct decoder *decoder; /* of the text part that flows by, or NULL */
    struct buf scratch;
    struct str body; /* not decoded yet */
    struct str header;
    uint32_t part;
    bool has_header; /* `header` is to be told */
    bool begins;
    bool failed;
};

void transcript_init(struct transcript *t);
void transcript_release(struct transcript *t);

/* Takes bytes off *bytes until there is something to tell; false: all are taken. */
bool transcript_next(struct transcript *t, struct str *bytes, struct transcript_event *ret_event);

/* Behind the last byte, until it says false: then the structure is complete. */
bool transcript_end(struct transcript *t, struct transcript_event *ret_event);

#endif
