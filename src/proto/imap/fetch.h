#ifndef POSTERN_PROTO_IMAP_FETCH_H
#define POSTERN_PROTO_IMAP_FETCH_H

#include "base/arena.h"
#include "base/buf.h"
#include "mail/structure.h"
#include "proto/imap/parse.h"
#include "proto/imap/server.h"

/* What FETCH asks for (RFC 3501 §6.4.5), parsed, and how its data items are written. */

enum {
    FETCH_FLAGS = 1,
    FETCH_UID = 2,
    FETCH_INTERNALDATE = 4,
    FETCH_SIZE = 8,
    FETCH_ENVELOPE = 16,
    FETCH_BODY = 32, /* BODY: the structure without extension data */
    FETCH_BODYSTRUCTURE = 64,
};

/* A piece of the message itself; in the order in which they were asked for. */
struct fetch_section {
    struct fetch_section *next;
    const char *alias; /* "RFC822" and its like, or NULL */
    enum section_kind kind;
    uint32_t *path;
    size_t path_len;
    bool only_fields;   /* HEADER.FIELDS */
    bool except_fields; /* HEADER.FIELDS.NOT */
    struct str *fields;
    size_t field_count;
    bool is_partial;
    uint32_t partial_from;
    uint32_t partial_size;
};

struct fetch_request {
    unsigned items;
    bool sets_seen;
    struct fetch_section *sections;
    size_t field_count; /* of all sections */
};

/* fetch-att, or a list of them, or a macro. */
bool imap_parse_fetch_items(struct imap_cursor *c, struct fetch_request *request);

/* "BODY[1.HEADER.FIELDS (To)]<5>", as responses name it. */
void imap_put_section_name(struct buf *out, const struct fetch_section *section);

/* Appends the fields of the header block that the section asks for, and an empty line. */
void imap_filter_header(struct buf *out, const struct fetch_section *section, struct str block);

void imap_put_envelope(struct buf *out, const struct structure_envelope *envelope);

/* BODY, or with extension data BODYSTRUCTURE. */
void imap_put_bodystructure(struct buf *out, const struct structure *s, bool extended);

#endif
