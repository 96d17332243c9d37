#ifndef POSTERN_MAIL_HTML_H
#define POSTERN_MAIL_HTML_H

#include <stddef.h>

#include "base/buf.h"
#include "base/str.h"

/*
 * The text of HTML, for search: tags, comments, scripts and styles go, character references become
 * characters. A tag becomes a space unless it is one that stands inside words (<b>, <span> …). It
 * is no parser of HTML: it never fails, looks at each byte once and keeps next to nothing.
 *
 * Start it as {0}; UTF-8 comes in pieces of any size.
 */
struct html_stripper {
    enum html_state {
        HTML_TEXT,
        HTML_OPEN,      /* behind "<" */
        HTML_NAME,      /* in the name of a tag */
        HTML_TAG,       /* behind it */
        HTML_BANG,      /* behind "<!" */
        HTML_COMMENT,   /* behind "<!--" */
        HTML_REFERENCE, /* behind "&" */
    } state;
    char name[12]; /* of the tag or reference, in lower case; longer ones are cut */
    size_t name_len;
    size_t dashes;
    char hidden[12]; /* the element whose content is dropped until its end tag, or empty */
};

void html_strip(struct html_stripper *h, struct buf *out, struct str piece);

/* After the last piece: an unfinished reference stands for itself. */
void html_strip_end(struct html_stripper *h, struct buf *out);

#endif
