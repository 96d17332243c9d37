#ifndef POSTERN_MAIL_INGEST_H
#define POSTERN_MAIL_INGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"
#include "mail/header.h"
#include "mail/structure.h"

/*
 * Learns all that Postern wants to know of a message, in one pass while it flows in: what is
 * stored beside it, and what its acceptance depends on. Used for each message by whoever takes it
 * in (SMTP, LMTP, APPEND, import). Memory is bounded; failure of memory shows at the end.
 *
 *     struct ingest *in = ingest_new();
 *     ingest_write(in, bytes) ...        in pieces of any size
 *     ingest_finish(in, &facts)
 *     ingest_free(in)
 */
struct ingest;

/* Everything here lives as long as the ingest. */
struct ingest_facts {
    uint64_t size;
    struct header_facts header;        /* raw, of the message's own header */
    const struct structure *structure; /* envelope: structure->parts[0].envelope; may be NULL */
    struct str structure_blob;         /* structure_encode of it */
    struct str signature;              /* see mail/search.h */
};

/* NULL where memory is full. */
struct ingest *ingest_new(void);
void ingest_free(struct ingest *in);

/*
 * Before the first byte, for mail that nobody will read or search here: only size and header are
 * looked at. The facts have no structure then, an empty blob and no signature.
 */
void ingest_only_header(struct ingest *in);

void ingest_write(struct ingest *in, struct str bytes);

/*
 * The facts of the message's header as soon as it is complete, else NULL: for what is decided
 * before the body is there (loops, a missing Date).
 */
const struct header_facts *ingest_header(const struct ingest *in);

/* Once, after the last byte. STATUS_NO_MEMORY or STATUS_OK. */
enum status_code ingest_finish(struct ingest *in, struct ingest_facts *ret_facts) MUST_USE;

/* Forgets the message and keeps the memory, for the next one. */
void ingest_reset(struct ingest *in);

/* ---- looking into a stored message ---- */

enum search_scope {
    SEARCH_TEXT, /* header and body */
    SEARCH_BODY, /* no header, not those of parts either */
};

struct search_needle;

/*
 * Exact search over a message of which all bytes are at hand in pieces: the same text that the
 * signature was made of.
 */
struct message_search;

struct message_search *message_search_new(const struct search_needle *needle,
                                          enum search_scope scope);
void message_search_free(struct message_search *s);

/* True as soon as it is found: the rest of the message need not be read. */
bool message_search_write(struct message_search *s, struct str bytes);
bool message_search_finish(struct message_search *s);

#endif
