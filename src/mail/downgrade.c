#include "mail/downgrade.h"

#include <stdlib.h>

#include "base/limits.h"
#include "codec/base64.h"
#include "codec/qp.h"
#include "mail/header.h"
#include "mail/mime.h"

enum {
    ARENA_SIZE_MAX = 8 * 1024 * 1024, /* more than the limits of mime.h let the parser need */
    PIECE_MAX = 16 * 1024,
    LINE_LEN_MAX = 998, /* RFC 5322 §2.1.1 */
};

/* What octets hold that some transports do not take. */
struct octet_scan {
    bool eight, nul, bare, too_long;
    bool last_was_cr;
    uint64_t line_len;
    uint64_t count, eight_count;
};

enum leaf_state {
    LEAF_NONE,
    LEAF_HELD, /* not decided yet */
    LEAF_AS_IS,
    LEAF_QP,
    LEAF_BASE64,
};

enum label { LABEL_7BIT, LABEL_8BIT, LABEL_BINARY, LABEL_ENCODED };

struct downgrade {
    enum downgrade_target target;
    enum downgrade_result result;
    struct buf *out; /* during a call */
    struct arena arena;
    struct mime_parser mime;
    struct buf raw;         /* octets given to the parser, from `done` on */
    uint64_t done;          /* octets of the message that are dealt with */
    struct octet_scan sent; /* of what goes out as it came */

    uint32_t leaf;
    enum leaf_state state;
    struct buf header;     /* while held, and the body with it */
    struct buf hold;       /* at most DOWNGRADE_HOLD */
    struct octet_scan has; /* of hold */
    char eol[2];           /* of an encoded leaf: its delimiter's, perhaps */
    size_t eol_len;
    struct qp_encoder qp;
    struct base64_encoder base64;
};

static void scan_octets(struct octet_scan *s, struct str octets)
{
    s->count += octets.len;
    for (size_t i = 0; i < octets.len; i++) {
        unsigned char c = (unsigned char)octets.ptr[i];
        if (c >= ' ' && c < 0x80 && !s->last_was_cr) {
            s->line_len++;
            continue;
        }
        s->nul |= c == '\0';
        s->eight_count += c >= 0x80;
        s->bare |= s->last_was_cr != (c == '\n');
        s->last_was_cr = c == '\r';
        if (c == '\n') {
            s->too_long |= s->line_len > LINE_LEN_MAX;
            s->line_len = 0;
        } else if (c != '\r') {
            s->line_len++;
        }
    }
    s->eight = s->eight_count > 0;
    s->too_long |= s->line_len > LINE_LEN_MAX;
}

bool downgrade_is_needless(struct str octets, enum downgrade_target target)
{
    struct octet_scan s = {0};
    scan_octets(&s, octets);
    return !s.nul && !s.bare && !s.too_long && !(s.eight && target == DOWNGRADE_TO_7BIT);
}

struct downgrade *downgrade_new(enum downgrade_target target)
{
    struct downgrade *d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    d->target = target;
    d->leaf = PART_NONE;
    arena_init(&d->arena, ARENA_SIZE_MAX);
    mime_init(&d->mime, &d->arena);
    buf_init(&d->raw, LIMIT_HEADER_SIZE + 4 * PIECE_MAX);
    buf_init(&d->header, LIMIT_HEADER_SIZE);
    buf_init(&d->hold, DOWNGRADE_HOLD);
    return d;
}

void downgrade_free(struct downgrade *d)
{
    if (!d)
        return;
    mime_release(&d->mime);
    arena_reset(&d->arena);
    buf_release(&d->raw);
    buf_release(&d->header);
    buf_release(&d->hold);
    free(d);
}

static void fail(struct downgrade *d, enum downgrade_result result)
{
    if (d->result == DOWNGRADE_OK)
        d->result = result;
}

/* Octets of the frame that parts stand in: what is no mail there cannot be encoded away. */
static void scan_raw(struct downgrade *d, struct str octets)
{
    scan_octets(&d->sent, octets);
    if (d->sent.nul || d->sent.bare)
        fail(d, DOWNGRADE_IMPOSSIBLE);
}

/* Octets as they came. */
static void send_raw(struct downgrade *d, struct str octets)
{
    scan_raw(d, octets);
    buf_append_str(d->out, octets);
}

/* ---- labels ---- */

static enum label label_of(const struct structure_part *part)
{
    if (str_eq(part->encoding, STR("7bit")))
        return LABEL_7BIT;
    if (str_eq(part->encoding, STR("8bit")))
        return LABEL_8BIT;
    return str_eq(part->encoding, STR("binary")) ? LABEL_BINARY : LABEL_ENCODED;
}

static bool ends_with_empty_line(struct str header)
{
    return str_ends(header, STR("\r\n\r\n")) || str_eq(header, STR("\r\n"));
}

static void put_encoding(struct downgrade *d, const char *encoding)
{
    send_raw(d, STR("Content-Transfer-Encoding: "));
    send_raw(d, str_from_c(encoding));
    send_raw(d, STR("\r\n"));
}

/*
 * A header with its Content-Transfer-Encoding replaced by this one; where there is none, it and
 * (RFC 2045 §4) a MIME-Version that a message lacks become its last fields.
 */
static void send_header_as(struct downgrade *d, struct str header, bool is_message,
                           const char *encoding)
{
    struct header_cursor cursor = header_cursor_at(header);
    struct header_field field;
    size_t sent = 0;
    bool placed = false, versioned = !is_message;
    while (header_next(&cursor, &field)) {
        versioned |= str_eq_nocase(field.name, STR("MIME-Version"));
        if (!str_eq_nocase(field.name, STR("Content-Transfer-Encoding")))
            continue;
        send_raw(d, str_sub(header, sent, field.offset - sent));
        sent = field.offset + field.size;
        scan_raw(d, str_sub(header, field.offset, field.size));
        if (!placed)
            put_encoding(d, encoding);
        placed = true;
    }
    size_t end = header.len - (ends_with_empty_line(header) ? 2 : 0);
    send_raw(d, str_sub(header, sent, end - sent));
    if (!versioned)
        send_raw(d, STR("MIME-Version: 1.0\r\n"));
    if (!placed)
        put_encoding(d, encoding);
    send_raw(d, str_skip(header, end));
}

/*
 * RFC 2045 §6.4: a composite's label must cover what is inside, and may only be 7bit, 8bit, binary.
 */
static void send_composite(struct downgrade *d, const struct structure_part *part,
                           struct str header)
{
    enum label label = label_of(part);
    bool holds = label == LABEL_7BIT || label == LABEL_ENCODED ||
                 (label == LABEL_8BIT && d->target == DOWNGRADE_TO_8BIT);
    if (holds)
        send_raw(d, header);
    else
        send_header_as(d, header, part->envelope != NULL,
                       d->target == DOWNGRADE_TO_7BIT ? "7bit" : "8bit");
}

/* ---- leaves ---- */

static const struct structure_part *leaf_part(const struct downgrade *d)
{
    return &d->mime.structure.parts[d->leaf];
}

/* `complete`: the leaf is no longer than what is held. */
static bool leaf_needs_encoding(const struct downgrade *d, bool complete)
{
    enum label label = label_of(leaf_part(d));
    if (label == LABEL_ENCODED)
        return false;
    if (d->has.nul || d->has.bare || d->has.too_long)
        return true;
    if (d->target == DOWNGRADE_TO_7BIT && d->has.eight)
        return true;
    return !complete && label > (d->target == DOWNGRADE_TO_7BIT ? LABEL_7BIT : LABEL_8BIT);
}

static bool may_be_encoded(const struct structure_part *part)
{
    return !str_eq(part->type, STR("message")) ||
           !(str_eq(part->subtype, STR("partial")) || str_eq(part->subtype, STR("external-body")));
}

/* RFC 2045 §6.7, §6.8: quoted-printable is for what is mostly readable, base64 for the rest. */
static enum leaf_state choose_encoding(const struct downgrade *d)
{
    const struct structure_part *part = leaf_part(d);
    bool readable = str_eq(part->type, STR("text")) || str_eq(part->type, STR("message"));
    bool mostly_ascii = d->has.eight_count * 6 <= d->has.count;
    return readable && mostly_ascii && !d->has.nul && !d->has.bare ? LEAF_QP : LEAF_BASE64;
}

static void encode(struct downgrade *d, struct str octets)
{
    if (d->state == LEAF_QP)
        qp_encode(&d->qp, d->out, octets);
    else
        base64_encode_body(&d->base64, d->out, octets);
}

static size_t line_end_size(struct str octets)
{
    if (str_ends(octets, STR("\r\n")))
        return 2;
    return str_ends(octets, STR("\r")) || str_ends(octets, STR("\n"));
}

/* All but a line end at the end, which may turn out to be the delimiter's. */
static void encode_held_back(struct downgrade *d, struct str octets)
{
    char joined[sizeof d->eol + 1];
    if (octets.len == 0)
        return;
    if (octets.len == 1) {
        memcpy(joined, d->eol, d->eol_len);
        joined[d->eol_len] = octets.ptr[0];
        octets = str_make(joined, d->eol_len + 1);
    } else {
        encode(d, str_make(d->eol, d->eol_len));
    }
    d->eol_len = line_end_size(octets);
    encode(d, str_sub(octets, 0, octets.len - d->eol_len));
    memcpy(d->eol, octets.ptr + octets.len - d->eol_len, d->eol_len);
}

static void send_leaf_as_is(struct downgrade *d, bool complete)
{
    enum label label = label_of(leaf_part(d));
    enum label found = d->has.eight ? LABEL_8BIT : LABEL_7BIT;
    bool relabel = complete && label != LABEL_ENCODED && label > found &&
                   label > (d->target == DOWNGRADE_TO_7BIT ? LABEL_7BIT : LABEL_8BIT);
    d->state = LEAF_AS_IS;
    if (relabel)
        send_header_as(d, buf_str(&d->header), leaf_part(d)->envelope != NULL,
                       found == LABEL_8BIT ? "8bit" : "7bit");
    else
        send_raw(d, buf_str(&d->header));
    send_raw(d, buf_str(&d->hold));
}

static void decide_leaf(struct downgrade *d, bool complete)
{
    d->has.bare |= d->has.last_was_cr && complete;
    if (!leaf_needs_encoding(d, complete)) {
        send_leaf_as_is(d, complete);
    } else if (!may_be_encoded(leaf_part(d))) {
        d->state = LEAF_AS_IS;
        fail(d, DOWNGRADE_IMPOSSIBLE);
    } else {
        d->state = choose_encoding(d);
        send_header_as(d, buf_str(&d->header), leaf_part(d)->envelope != NULL,
                       d->state == LEAF_QP ? "quoted-printable" : "base64");
        encode_held_back(d, buf_str(&d->hold));
    }
    buf_clear(&d->header);
    buf_clear(&d->hold);
}

static void begin_leaf(struct downgrade *d, uint32_t part, struct str header)
{
    d->leaf = part;
    d->state = LEAF_HELD;
    d->has = (struct octet_scan){0};
    d->eol_len = 0;
    if (!buf_append_str(&d->header, header))
        fail(d, DOWNGRADE_NO_MEMORY);
}

static void write_leaf(struct downgrade *d, struct str octets)
{
    if (d->state == LEAF_HELD) {
        struct str part = str_sub(octets, 0, DOWNGRADE_HOLD - d->hold.len);
        octets = str_skip(octets, part.len);
        scan_octets(&d->has, part);
        if (!buf_append_str(&d->hold, part))
            fail(d, DOWNGRADE_NO_MEMORY);
        if (octets.len == 0)
            return;
        decide_leaf(d, false);
    }
    if (d->state == LEAF_QP || d->state == LEAF_BASE64)
        encode_held_back(d, octets);
    else
        send_raw(d, octets);
}

/* delimited: a delimiter follows, whose line end is the last one that came. */
static void end_leaf(struct downgrade *d, bool delimited)
{
    if (d->state == LEAF_HELD)
        decide_leaf(d, true);
    if (d->state == LEAF_QP || d->state == LEAF_BASE64) {
        struct str eol = str_make(d->eol, d->eol_len);
        if (!delimited)
            encode(d, eol);
        qp_encode_end(&d->qp, d->out);
        base64_encode_body_end(&d->base64, d->out);
        if (delimited)
            send_raw(d, eol);
        else if (d->state == LEAF_BASE64)
            send_raw(d, STR("\r\n"));
    }
    d->state = LEAF_NONE;
}

/* ---- the message ---- */

/* The octets up to that offset of the message; they are dealt with then. */
static struct str take_raw(const struct downgrade *d, uint64_t offset)
{
    return str_sub(buf_str(&d->raw), 0, (size_t)(offset - d->done));
}

static void taken(struct downgrade *d, uint64_t offset)
{
    buf_consume(&d->raw, (size_t)(offset - d->done));
    d->done = offset;
}

/* Delimiters, preambles, epilogues: everything that is no header and no leaf. */
static void pass_structure(struct downgrade *d, uint64_t offset)
{
    if (offset <= d->done)
        return;
    end_leaf(d, true);
    send_raw(d, take_raw(d, offset));
    taken(d, offset);
}

static void take_header(struct downgrade *d, uint32_t index)
{
    const struct structure_part *part = &d->mime.structure.parts[index];
    pass_structure(d, part->header_offset);
    struct str header = take_raw(d, part->body_offset);
    if (d->done > part->header_offset || header.len > LIMIT_HEADER_SIZE) {
        /* Too large to be held: it is gone already, and nothing can be promised about its part. */
        send_raw(d, header);
        d->state = part->is_multipart || part->is_message ? LEAF_NONE : LEAF_AS_IS;
    } else if (part->is_multipart || part->is_message) {
        send_composite(d, part, header);
    } else {
        begin_leaf(d, index, header);
    }
    taken(d, part->body_offset);
}

/* The parser has nothing to tell about these: structure, or a header that is not complete. */
static void take_rest(struct downgrade *d)
{
    uint64_t end = d->mime.offset;
    if (d->mime.state != MIME_STATE_HEADER || d->mime.depth == 0) {
        pass_structure(d, end);
        return;
    }
    uint64_t header = d->mime.structure.parts[d->mime.open[d->mime.depth - 1].part].header_offset;
    pass_structure(d, header < end ? header : end);
    if (end - header > LIMIT_HEADER_SIZE && end > d->done) {
        send_raw(d, take_raw(d, end));
        taken(d, end);
    }
}

static void handle(struct downgrade *d, const struct mime_event *event)
{
    if (event->kind == MIME_HEADER) {
        take_header(d, event->part);
    } else if (event->kind == MIME_BODY) {
        pass_structure(d, d->mime.offset - event->bytes.len);
        write_leaf(d, event->bytes);
        taken(d, d->mime.offset);
    } else {
        take_rest(d);
    }
}

static enum downgrade_result result_of(struct downgrade *d)
{
    if (d->mime.failed || d->raw.failed || d->out->failed)
        d->result = DOWNGRADE_NO_MEMORY;
    return d->result;
}

enum downgrade_result downgrade_write(struct downgrade *d, struct str octets, struct buf *out)
{
    d->out = out;
    while (octets.len > 0 && result_of(d) == DOWNGRADE_OK) {
        struct str piece = str_sub(octets, 0, PIECE_MAX);
        struct mime_event event;
        octets = str_skip(octets, piece.len);
        buf_append_str(&d->raw, piece);
        do {
            mime_next(&d->mime, &piece, &event);
            if (result_of(d) == DOWNGRADE_OK)
                handle(d, &event);
        } while (event.kind != MIME_MORE);
    }
    return result_of(d);
}

enum downgrade_result downgrade_end(struct downgrade *d, struct buf *out)
{
    struct mime_event event;
    d->out = out;
    while (!mime_end(&d->mime, &event))
        if (result_of(d) == DOWNGRADE_OK)
            handle(d, &event);
    if (result_of(d) != DOWNGRADE_OK)
        return d->result;
    pass_structure(d, d->mime.offset);
    end_leaf(d, false);
    if (d->sent.last_was_cr)
        fail(d, DOWNGRADE_IMPOSSIBLE);
    return result_of(d);
}
