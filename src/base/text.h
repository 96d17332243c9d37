#ifndef POSTERN_BASE_TEXT_H
#define POSTERN_BASE_TEXT_H

#include "base/buf.h"
#include "base/str.h"

/*
 * A text is bytes that a stranger chose. The compiler keeps it apart from str, so that it reaches
 * a log line, a header, an SQL parameter or a reply only through the one function for that place:
 *
 *   text_to_log     here           quoted and escaped, one line, bounded
 *   text_to_header  mail/header.h  printable, folded
 *   text_to_sql     store/db.h     bound as a parameter, never spliced
 *   text_peek       here           to look at the bytes: parsing and comparing only
 *
 * A text never becomes a path.
 */
struct text {
    struct str stranger;
};

static inline struct text text_from(struct str s)
{
    return (struct text){s};
}

static inline struct str text_peek(struct text t)
{
    return t.stranger;
}

/*
 * True of characters that a terminal obeys instead of showing them: controls (C0, DEL, C1), line
 * and paragraph separators, and the marks that turn the direction of what stands beside them, with
 * which a stranger's words can look like ours.
 */
bool text_is_control(uint32_t c);

/*
 * Appends t as a logfmt value: bare where it is plain, else in double quotes with \" \\ \n \r \t
 * and \xHH for every byte of a control, or that is not UTF-8. What is longer than
 * len_max bytes ends in "...".
 */
void text_to_log(struct buf *out, struct text t, size_t len_max);

#endif
