#ifndef POSTERN_PROTO_IMAP_PARSE_H
#define POSTERN_PROTO_IMAP_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"

/*
 * The pieces that commands are made of (RFC 3501 §9), read from a whole command whose literals
 * stand in it as they came ("{3}" CRLF "abc").
 *
 * A function that returns false has put the reason into `error`, if it was not set before, and the
 * command is BAD. What is read borrows the command where it can, else it is in the arena.
 */
struct imap_cursor {
    const char *at;
    const char *end;
    const char *error;
    struct arena *arena;
    bool bad_name; /* a mailbox name was no modified UTF-7: the command is NO [CANNOT] */
};

struct imap_cursor imap_cursor_at(struct str command, struct arena *arena);

/* Sets the reason; always false. */
bool imap_fail(struct imap_cursor *c, const char *error);

/* The next byte, or -1 at the end. */
int imap_peek(const struct imap_cursor *c);

/* Takes the byte (the word, in any case, with no atom character behind it) if it comes next. */
bool imap_take(struct imap_cursor *c, char byte);
bool imap_take_word(struct imap_cursor *c, const char *word);

/* As imap_take, but it has to come. */
bool imap_need(struct imap_cursor *c, char byte);
bool imap_need_space(struct imap_cursor *c);
bool imap_need_end(struct imap_cursor *c);

/* number: 0 to 2^32 - 1; nz-number: from 1. */
bool imap_parse_number(struct imap_cursor *c, uint32_t *ret_number);
bool imap_parse_nz_number(struct imap_cursor *c, uint32_t *ret_number);

bool imap_parse_atom(struct imap_cursor *c, struct str *ret_atom);
bool imap_parse_tag(struct imap_cursor *c, struct str *ret_tag);

/* quoted / literal */
bool imap_parse_string(struct imap_cursor *c, struct str *ret_string);
bool imap_parse_astring(struct imap_cursor *c, struct str *ret_string);

/* list-mailbox: an astring that may hold wildcards. */
bool imap_parse_list_mailbox(struct imap_cursor *c, struct str *ret_string);

/* The name in UTF-8, INBOX in capitals. */
bool imap_parse_mailbox(struct imap_cursor *c, struct str *ret_name);

/* "inbox" and "inbox/..." in any case get their first level in capitals, in place. */
void imap_normalise_inbox(char *name, size_t size);

/* flag-list, or (STORE) its items without parentheses. Keywords come parted by spaces. */
bool imap_parse_flags(struct imap_cursor *c, bool bare_allowed, uint8_t *ret_flags,
                      struct str *ret_keywords);

/* DQUOTE date-time DQUOTE; date, quoted or not (00:00 UTC of the day). */
bool imap_parse_date_time(struct imap_cursor *c, int64_t *ret_ms);
bool imap_parse_date(struct imap_cursor *c, int64_t *ret_ms);

/*
 * sequence-set, as written: 0 is "*". RFC 3501 §9: seq-range may name its ends in either order.
 */
struct imap_raw_range {
    uint32_t first;
    uint32_t last;
};

struct imap_raw_set {
    struct imap_raw_range *ranges;
    size_t count;
};

bool imap_parse_set(struct imap_cursor *c, struct imap_raw_set *ret_set);

/* Bytes that may stand in an atom. */
bool imap_is_atom_char(char c);

/* The name of a system flag (with its backslash) for a bit; the bit for a name, or 0. */
const char *imap_flag_name(uint8_t flag);
uint8_t imap_flag_of(struct str name);

#endif
