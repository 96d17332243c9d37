#ifndef POSTERN_MAIL_DSN_TEXT_H
#define POSTERN_MAIL_DSN_TEXT_H

#include "mail/dsn.h"

/* The words of a report for people; for mail/dsn.c and its test. */

/* Appends the whole text part's content, UTF-8, lines with CRLF and of moderate length. */
bool dsn_text_put(struct buf *out, const struct dsn *dsn);

/*
 * A stranger's words as one line without controls: line ends and tabs become single spaces, bytes
 * that are not UTF-8 "?", and where `ascii` all others beyond ASCII too. At most len_max bytes; a
 * space is put into words of more than 200.
 */
bool dsn_line(struct buf *out, struct text words, size_t len_max, bool ascii);

/* An address as one writes it; where it is none, its words. */
bool dsn_address(struct buf *out, struct text address, bool ascii);

/* The worst of all: failed before delayed before relayed before delivered. */
enum dsn_action dsn_main_action(const struct dsn *dsn);

/* How much of a reply is quoted. */
static inline size_t dsn_quote_max(const struct dsn *dsn)
{
    return dsn->quote_max > 0 && dsn->quote_max < DSN_QUOTE_MAX ? dsn->quote_max : DSN_QUOTE_MAX;
}

#endif
