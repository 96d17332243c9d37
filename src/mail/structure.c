#include "mail/structure.h"

#include "base/limits.h"

/* ---- looking ---- */

struct str structure_param_of(const struct structure_param *params, size_t count, struct str name)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(params[i].name, name))
            return params[i].value;
    return (struct str){0};
}

static uint32_t nth_child(const struct structure *s, uint32_t parent, uint32_t n)
{
    uint32_t child = s->parts[parent].first_child;
    while (child != PART_NONE && n > 1) {
        child = s->parts[child].next_sibling;
        n--;
    }
    return n == 0 ? PART_NONE : child;
}

/*
 * RFC 3501 §6.4.5: every message has at least a part 1. So each number chooses among the children
 * of a multipart; for a message that is none, 1 is its only part. What lies in a message part is
 * numbered as in that message.
 */
uint32_t structure_find(const struct structure *s, const uint32_t *path, size_t path_len)
{
    uint32_t at = 0;
    for (size_t i = 0; i < path_len; i++) {
        bool is_root = i == 0;
        if (i > 0 && s->parts[at].is_message) {
            at = s->parts[at].first_child;
            is_root = true;
        }
        if (s->parts[at].is_multipart)
            at = nth_child(s, at, path[i]);
        else if (!is_root || path[i] != 1)
            at = PART_NONE;
        if (at == PART_NONE)
            return PART_NONE;
    }
    return at;
}

static bool part_section(const struct structure *s, uint32_t part, enum section_kind kind,
                         bool is_top, uint64_t *ret_offset, uint64_t *ret_size)
{
    const struct structure_part *p = &s->parts[part];
    if (kind == SECTION_HEADER || kind == SECTION_TEXT) {
        if (!is_top && !p->is_message)
            return false;
        p = is_top ? p : &s->parts[p->first_child];
    }
    bool header = kind == SECTION_HEADER || kind == SECTION_MIME;
    *ret_offset = header ? p->header_offset : p->body_offset;
    *ret_size = header ? p->header_size : p->body_size;
    if (kind == SECTION_BODY && is_top) {
        *ret_offset = 0;
        *ret_size = p->header_size + p->body_size;
    }
    return true;
}

bool structure_section(const struct structure *s, const uint32_t *path, size_t path_len,
                       enum section_kind kind, uint64_t *ret_offset, uint64_t *ret_size)
{
    uint32_t part = structure_find(s, path, path_len);
    if (part == PART_NONE || (kind == SECTION_MIME && path_len == 0))
        return false;
    return part_section(s, part, kind, path_len == 0, ret_offset, ret_size);
}

/* ---- the stored form ----
 *
 * version byte, number of parts, parts. A number is a varint (LEB128). A str is its length + 1 and
 * its bytes; 0 is an absent one. Children are found again from the parents.
 */

enum { FLAG_MULTIPART = 1, FLAG_MESSAGE = 2, FLAG_ENVELOPE = 4, FLAG_KNOWN = 7 };

static void put_number(struct buf *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        buf_append_byte(out, (char)(value | 0x80));
    buf_append_byte(out, (char)value);
}

static void put_str(struct buf *out, struct str s)
{
    put_number(out, s.ptr ? s.len + 1 : 0);
    buf_append_str(out, s);
}

static void put_params(struct buf *out, const struct structure_param *params, size_t count)
{
    put_number(out, count);
    for (size_t i = 0; i < count; i++) {
        put_str(out, params[i].name);
        put_str(out, params[i].value);
    }
}

/* The strs of an envelope, and of a part, in their stored order. */
enum { ENVELOPE_STRS = 10, PART_STRS = 9 };

static void envelope_strs(struct structure_envelope *e, struct str *ret_strs[ENVELOPE_STRS])
{
    struct str *strs[ENVELOPE_STRS] = {
        &e->date, &e->subject, &e->from, &e->sender,      &e->reply_to,
        &e->to,   &e->cc,      &e->bcc,  &e->in_reply_to, &e->message_id,
    };
    memcpy(ret_strs, strs, sizeof strs);
}

static void part_strs(struct structure_part *p, struct str *ret_strs[PART_STRS])
{
    struct str *strs[PART_STRS] = {
        &p->type,        &p->subtype, &p->encoding, &p->id,       &p->description,
        &p->disposition, &p->md5,     &p->language, &p->location,
    };
    memcpy(ret_strs, strs, sizeof strs);
}

static void put_part(struct buf *out, const struct structure_part *part)
{
    struct structure_part p = *part;
    struct str *strs[PART_STRS];
    struct str *envelope[ENVELOPE_STRS];
    buf_append_byte(out,
                    (char)((p.is_multipart ? FLAG_MULTIPART : 0) |
                           (p.is_message ? FLAG_MESSAGE : 0) | (p.envelope ? FLAG_ENVELOPE : 0)));
    put_number(out, (uint32_t)(p.parent + 1)); /* PART_NONE is 0 */
    put_number(out, p.header_offset);
    put_number(out, p.header_size);
    put_number(out, p.body_size);
    put_number(out, p.lines);
    part_strs(&p, strs);
    for (size_t i = 0; i < PART_STRS; i++)
        put_str(out, *strs[i]);
    put_params(out, p.params, p.param_count);
    put_params(out, p.disposition_params, p.disposition_param_count);
    if (p.envelope) {
        envelope_strs(p.envelope, envelope);
        for (size_t i = 0; i < ENVELOPE_STRS; i++)
            put_str(out, *envelope[i]);
    }
}

bool structure_encode(const struct structure *s, struct buf *out)
{
    buf_append_byte(out, STRUCTURE_VERSION);
    put_number(out, s->count);
    for (size_t i = 0; i < s->count; i++)
        put_part(out, &s->parts[i]);
    return !out->failed;
}

/* Sticky: once `bad` or `full`, everything reads as zero or absent. */
struct reader {
    struct str rest;
    struct arena *arena;
    bool bad;
    bool full;
};

static uint64_t get_byte(struct reader *r)
{
    if (r->bad || r->rest.len == 0) {
        r->bad = true;
        return 0;
    }
    unsigned char byte = (unsigned char)r->rest.ptr[0];
    r->rest = str_skip(r->rest, 1);
    return byte;
}

static uint64_t get_number(struct reader *r, uint64_t max)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 63; shift += 7) {
        uint64_t byte = get_byte(r);
        value |= (byte & 0x7F) << shift;
        if (byte < 0x80) {
            r->bad |= value > max;
            return r->bad ? 0 : value;
        }
    }
    r->bad = true;
    return 0;
}

static struct str get_str(struct reader *r)
{
    size_t len = (size_t)get_number(r, r->rest.len);
    if (r->bad || len == 0)
        return (struct str){0};
    struct str s = str_sub(r->rest, 0, len - 1);
    r->bad |= s.len != len - 1;
    r->rest = str_skip(r->rest, len - 1);
    return s;
}

static void *get_array(struct reader *r, size_t count, size_t size)
{
    void *array = r->bad || r->full || count == 0 ? NULL : arena_alloc_array(r->arena, count, size);
    r->full |= count > 0 && !r->bad && !array;
    return array;
}

static struct structure_param *get_params(struct reader *r, size_t *ret_count)
{
    /* Two bytes at least for each. */
    size_t count = (size_t)get_number(r, r->rest.len / 2);
    struct structure_param *params = get_array(r, count, sizeof *params);
    *ret_count = params ? count : 0;
    for (size_t i = 0; i < *ret_count; i++) {
        params[i].name = get_str(r);
        params[i].value = get_str(r);
    }
    return params;
}

static void get_envelope(struct reader *r, struct structure_part *p)
{
    struct str *strs[ENVELOPE_STRS];
    p->envelope = get_array(r, 1, sizeof *p->envelope);
    if (!p->envelope)
        return;
    envelope_strs(p->envelope, strs);
    for (size_t i = 0; i < ENVELOPE_STRS; i++)
        *strs[i] = get_str(r);
}

static void get_part(struct reader *r, struct structure_part *p)
{
    const uint64_t size_max = UINT64_MAX / 4;
    struct str *strs[PART_STRS];
    uint64_t flags = get_byte(r);
    r->bad |= (flags & ~(uint64_t)FLAG_KNOWN) != 0;
    p->is_multipart = flags & FLAG_MULTIPART;
    p->is_message = flags & FLAG_MESSAGE;
    p->parent = (uint32_t)get_number(r, LIMIT_MIME_PARTS + LIMIT_MIME_DEPTH) - 1;
    p->header_offset = get_number(r, size_max);
    p->header_size = get_number(r, size_max);
    p->body_offset = p->header_offset + p->header_size;
    p->body_size = get_number(r, size_max);
    p->lines = get_number(r, size_max);
    part_strs(p, strs);
    for (size_t i = 0; i < PART_STRS; i++)
        *strs[i] = get_str(r);
    p->params = get_params(r, &p->param_count);
    p->disposition_params = get_params(r, &p->disposition_param_count);
    if (flags & FLAG_ENVELOPE)
        get_envelope(r, p);
}

static bool lies_within(const struct structure_part *child, const struct structure_part *parent)
{
    return child->header_offset >= parent->body_offset &&
           child->body_offset + child->body_size <= parent->body_offset + parent->body_size;
}

struct link {
    uint32_t last_child;
    uint32_t depth;
};

/* Hangs part i below its parent, which comes before it; false where that cannot be. */
static bool link_part(struct structure *s, uint32_t i, struct link *links)
{
    struct structure_part *p = &s->parts[i];
    p->first_child = p->next_sibling = PART_NONE;
    links[i] = (struct link){PART_NONE, 0};
    if (i == 0)
        return p->parent == PART_NONE && p->header_offset == 0 && p->envelope;
    if (p->parent >= i)
        return false;
    struct structure_part *parent = &s->parts[p->parent];
    struct link *above = &links[p->parent];
    if (above->last_child == PART_NONE)
        parent->first_child = i;
    else if (parent->is_message)
        return false;
    else
        s->parts[above->last_child].next_sibling = i;
    above->last_child = i;
    links[i].depth = above->depth + 1;
    return (parent->is_multipart || parent->is_message) &&
           parent->is_message == (p->envelope != NULL) && lies_within(p, parent) &&
           links[i].depth <= LIMIT_MIME_DEPTH;
}

static bool keeps_promises(const struct structure_part *p)
{
    bool has_child = p->first_child != PART_NONE;
    return has_child == (p->is_multipart || p->is_message) && !(p->is_multipart && p->is_message) &&
           p->type.len > 0 && p->subtype.len > 0 && p->encoding.len > 0;
}

static bool link_parts(struct structure *s)
{
    struct link links[LIMIT_MIME_PARTS + LIMIT_MIME_DEPTH];
    for (uint32_t i = 0; i < s->count; i++)
        if (!link_part(s, i, links))
            return false;
    for (size_t i = 0; i < s->count; i++)
        if (!keeps_promises(&s->parts[i]))
            return false;
    return s->count > 0;
}

enum status_code structure_decode(struct str blob, struct arena *arena,
                                  struct structure *ret_structure)
{
    struct reader r = {.rest = blob, .arena = arena};
    uint64_t version = get_byte(&r);
    if (r.bad || version != STRUCTURE_VERSION)
        return r.bad ? STATUS_CORRUPT : STATUS_UNSUPPORTED;
    struct structure s = {0};
    s.count = (size_t)get_number(&r, LIMIT_MIME_PARTS + LIMIT_MIME_DEPTH);
    r.bad |= s.count > r.rest.len;
    s.parts = get_array(&r, s.count, sizeof *s.parts);
    for (size_t i = 0; s.parts && i < s.count && !r.bad && !r.full; i++)
        get_part(&r, &s.parts[i]);
    if (r.full)
        return STATUS_NO_MEMORY;
    if (r.bad || r.rest.len > 0 || !link_parts(&s))
        return STATUS_CORRUPT;
    *ret_structure = s;
    return STATUS_OK;
}
