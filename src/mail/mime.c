#include "mail/mime.h"

#include <stdio.h>

#include "base/bug.h"
#include "codec/hex.h"
#include "mail/content.h"
#include "mail/header.h"

enum { VALUE_SIZE_MAX = 64 * 1024, PARTS_FIRST = 2 };

static struct structure_part *part_at(struct mime_parser *p, uint32_t part)
{
    return &p->structure.parts[part];
}

static struct mime_open *top(struct mime_parser *p)
{
    return &p->open[p->depth - 1];
}

/* ---- parts ---- */

static bool grow_parts(struct mime_parser *p)
{
    if (p->structure.count < p->parts_cap)
        return true;
    size_t cap = p->parts_cap ? 2 * p->parts_cap : PARTS_FIRST;
    struct structure_part *parts = arena_alloc_array(p->arena, cap, sizeof *parts);
    if (!parts) {
        p->failed = true;
        return false;
    }
    if (p->structure.count > 0)
        memcpy(parts, p->structure.parts, p->structure.count * sizeof *parts);
    p->structure.parts = parts;
    p->parts_cap = cap;
    return true;
}

static void link_part(struct mime_parser *p, uint32_t parent, uint32_t part)
{
    uint32_t *link = &part_at(p, parent)->first_child;
    uint32_t last = p->open[p->depth - 1].last_child;
    if (last != PART_NONE)
        link = &part_at(p, last)->next_sibling;
    *link = part;
    p->open[p->depth - 1].last_child = part;
}

/* A new part below the innermost open one, at p->offset; PART_NONE where memory is full. */
static uint32_t add_part(struct mime_parser *p)
{
    if (!grow_parts(p))
        return PART_NONE;
    uint32_t part = (uint32_t)p->structure.count++;
    uint32_t parent = p->depth > 0 ? top(p)->part : PART_NONE;
    *part_at(p, part) = (struct structure_part){
        .type = STR("text"),
        .subtype = STR("plain"),
        .encoding = STR("7bit"),
        .header_offset = p->offset,
        .body_offset = p->offset,
        .parent = parent,
        .first_child = PART_NONE,
        .next_sibling = PART_NONE,
    };
    if (parent != PART_NONE)
        link_part(p, parent, part);
    if (parent == PART_NONE || part_at(p, parent)->is_message) {
        part_at(p, part)->envelope = arena_alloc(p->arena, sizeof(struct structure_envelope));
        p->failed |= !part_at(p, part)->envelope;
    }
    return part;
}

static void open_part(struct mime_parser *p)
{
    uint32_t part = p->structure.count < LIMIT_MIME_PARTS ? add_part(p) : PART_NONE;
    buf_clear(&p->header);
    p->state = part == PART_NONE ? MIME_STATE_SKIP : MIME_STATE_HEADER;
    if (part != PART_NONE)
        p->open[p->depth++] = (struct mime_open){.part = part, .last_child = PART_NONE};
}

static void forget_boundary(struct mime_parser *p, struct mime_open *open)
{
    p->boundary_count -= open->boundary.len > 0;
    open->boundary = (struct str){0};
}

/* The innermost part ends at `end`, or where its header does if that is later: returns which. */
static uint64_t close_part(struct mime_parser *p, uint64_t end, uint64_t lines)
{
    struct mime_open *open = top(p);
    if (end < part_at(p, open->part)->body_offset)
        end = part_at(p, open->part)->body_offset;
    if (part_at(p, open->part)->is_multipart && open->last_child == PART_NONE) {
        uint32_t empty = add_part(p);
        if (empty != PART_NONE)
            part_at(p, empty)->header_offset = part_at(p, empty)->body_offset = end;
    }
    struct structure_part *part = part_at(p, open->part);
    part->body_size = end - part->body_offset;
    part->lines = lines > open->lines_before ? lines - open->lines_before : 0;
    forget_boundary(p, open);
    p->depth--;
    return end;
}

static void close_down_to(struct mime_parser *p, size_t depth, uint64_t end, uint64_t lines)
{
    while (p->depth > depth)
        end = close_part(p, end, lines);
}

/* ---- header fields ---- */

/* Copies the value into the arena, unfolded; absent where it is too much. */
static struct str keep(struct mime_parser *p, struct str value)
{
    struct str copy = {0};
    size_t cost = value.len + 64;
    if (value.len > VALUE_SIZE_MAX || cost > p->strings_left)
        return copy;
    p->strings_left -= cost;
    p->failed |= !arena_dup(p->arena, value, &copy);
    return copy.ptr || p->failed ? copy : STR("");
}

static struct str keep_unfolded(struct mime_parser *p, struct str value)
{
    buf_clear(&p->scratch);
    p->failed |= !header_unfold(&p->scratch, str_sub(value, 0, VALUE_SIZE_MAX));
    return keep(p, buf_str(&p->scratch));
}

static struct structure_param *keep_params(struct mime_parser *p, const struct content *c,
                                           size_t *ret_count)
{
    *ret_count = 0;
    if (c->param_count == 0)
        return NULL;
    struct structure_param *params = arena_alloc_array(p->arena, c->param_count, sizeof *params);
    p->failed |= !params;
    for (size_t i = 0; params && i < c->param_count; i++) {
        struct structure_param kept = {keep(p, c->params[i].name), keep(p, c->params[i].value)};
        if (kept.name.ptr && kept.value.ptr)
            params[(*ret_count)++] = kept;
    }
    return params;
}

static void set_type(struct structure_part *part, struct str type, struct str subtype)
{
    part->type = type;
    part->subtype = subtype;
    part->params = NULL;
    part->param_count = 0;
}

/* Content-Type without a subtype, or of none at all, is text/plain (RFC 2045 §5.2). */
static void read_type(struct mime_parser *p, struct structure_part *part)
{
    struct content c;
    if (!content_parse(p->scratch.ptr, p->scratch.len, &c))
        return;
    struct str type = keep(p, c.type);
    struct str subtype = keep(p, c.subtype);
    if (type.len == 0 || subtype.len == 0)
        return;
    set_type(part, type, subtype);
    part->params = keep_params(p, &c, &part->param_count);
}

static void read_disposition(struct mime_parser *p, struct structure_part *part)
{
    struct content c;
    if (!content_parse(p->scratch.ptr, p->scratch.len, &c))
        return;
    part->disposition = keep(p, c.type);
    if (part->disposition.ptr)
        part->disposition_params = keep_params(p, &c, &part->disposition_param_count);
}

static void read_encoding(struct mime_parser *p, struct structure_part *part)
{
    struct str encoding = keep(p, content_token(p->scratch.ptr, p->scratch.len));
    if (encoding.len > 0)
        part->encoding = encoding;
}

enum field_kind {
    FIELD_STR,
    FIELD_ENVELOPE,
    FIELD_RECIPIENTS, /* of the envelope too: all fields of the name count, as one */
    FIELD_TYPE,
    FIELD_DISPOSITION,
    FIELD_ENCODING
};

struct field_rule {
    struct str name;
    enum field_kind kind;
    size_t offset; /* of the str in the part, or in the envelope */
};

/* Of a field that comes twice, the first counts, but for recipients. */
#define PART(name)       FIELD_STR, offsetof(struct structure_part, name)
#define ENVELOPE(name)   FIELD_ENVELOPE, offsetof(struct structure_envelope, name)
#define RECIPIENTS(name) FIELD_RECIPIENTS, offsetof(struct structure_envelope, name)
#define RULE(name, ...)                                                                            \
    {                                                                                              \
        {name, sizeof(name) - 1}, __VA_ARGS__                                                      \
    }
static const struct field_rule field_rules[] = {
    RULE("Date", ENVELOPE(date)),
    RULE("Subject", ENVELOPE(subject)),
    RULE("From", ENVELOPE(from)),
    RULE("Sender", ENVELOPE(sender)),
    RULE("Reply-To", ENVELOPE(reply_to)),
    RULE("To", RECIPIENTS(to)),
    RULE("Cc", RECIPIENTS(cc)),
    RULE("Bcc", RECIPIENTS(bcc)),
    RULE("In-Reply-To", ENVELOPE(in_reply_to)),
    RULE("Message-ID", ENVELOPE(message_id)),
    RULE("Content-Type", FIELD_TYPE, 0),
    RULE("Content-Transfer-Encoding", FIELD_ENCODING, 0),
    RULE("Content-Disposition", FIELD_DISPOSITION, 0),
    RULE("Content-ID", PART(id)),
    RULE("Content-Description", PART(description)),
    RULE("Content-MD5", PART(md5)),
    RULE("Content-Language", PART(language)),
    RULE("Content-Location", PART(location)),
};
enum { RULE_COUNT = sizeof field_rules / sizeof field_rules[0] };

static int rule_for(struct str name)
{
    for (int i = 0; i < RULE_COUNT; i++)
        if (field_rules[i].name.len == name.len && str_eq_nocase(field_rules[i].name, name))
            return i;
    return -1;
}

static void read_structured(struct mime_parser *p, struct structure_part *part,
                            enum field_kind kind, struct str value)
{
    buf_clear(&p->scratch);
    p->failed |= !header_unfold(&p->scratch, str_sub(value, 0, VALUE_SIZE_MAX));
    if (p->scratch.len == 0)
        return;
    if (kind == FIELD_TYPE)
        read_type(p, part);
    else if (kind == FIELD_DISPOSITION)
        read_disposition(p, part);
    else
        read_encoding(p, part);
}

/* RFC 5322 §4.5.3: several fields of recipients are one, their lists joined by commas. */
static struct str keep_recipients(struct mime_parser *p, struct str value,
                                  struct header_cursor behind, struct str name)
{
    struct header_field field;
    buf_clear(&p->scratch);
    p->failed |= !header_unfold(&p->scratch, str_sub(value, 0, VALUE_SIZE_MAX));
    while (header_next(&behind, &field) && p->scratch.len + 2 < VALUE_SIZE_MAX) {
        if (!str_eq_nocase(field.name, name))
            continue;
        buf_append_str(&p->scratch, STR(", "));
        p->failed |=
            !header_unfold(&p->scratch, str_sub(field.value, 0, VALUE_SIZE_MAX - p->scratch.len));
    }
    return keep(p, buf_str(&p->scratch));
}

/* `behind`: what comes after the field. */
static void read_field(struct mime_parser *p, struct structure_part *part,
                       const struct field_rule *rule, struct str value, struct header_cursor behind)
{
    if (rule->kind >= FIELD_TYPE) {
        read_structured(p, part, rule->kind, value);
        return;
    }
    char *base = rule->kind == FIELD_STR ? (char *)part : (char *)part->envelope;
    if (!base)
        return;
    struct str *kept = (void *)(base + rule->offset);
    *kept = rule->kind == FIELD_RECIPIENTS ? keep_recipients(p, value, behind, rule->name)
                                           : keep_unfolded(p, value);
}

static void read_header(struct mime_parser *p, struct structure_part *part)
{
    struct header_cursor cursor = header_cursor_at(buf_str(&p->header));
    struct header_field field;
    bool seen[RULE_COUNT] = {false};
    while (header_next(&cursor, &field)) {
        int rule = rule_for(field.name);
        if (rule < 0 || seen[rule])
            continue;
        seen[rule] = true;
        read_field(p, part, &field_rules[rule], field.value, cursor);
    }
}

/* RFC 2046 §5.1.5: parts of a digest are messages where they do not say. */
static void set_default_type(struct mime_parser *p, struct structure_part *part)
{
    if (part->parent == PART_NONE)
        return;
    const struct structure_part *parent = part_at(p, part->parent);
    if (parent->is_multipart && str_eq(parent->subtype, STR("digest")))
        set_type(part, STR("message"), STR("rfc822"));
}

/* ---- the end of a header ---- */

static bool is_identity(struct str encoding)
{
    return str_eq(encoding, STR("7bit")) || str_eq(encoding, STR("8bit")) ||
           str_eq(encoding, STR("binary"));
}

static bool is_message_type(const struct structure_part *part)
{
    return str_eq(part->type, STR("message")) &&
           (str_eq(part->subtype, STR("rfc822")) || str_eq(part->subtype, STR("global")));
}

static bool may_nest(const struct mime_parser *p)
{
    return p->depth < LIMIT_MIME_DEPTH && p->structure.count < LIMIT_MIME_PARTS;
}

/* RFC 2231 §4: charset "'" language "'" and octets, some as "%" HEXDIG HEXDIG. */
static void put_extended(struct buf *out, struct str value, bool first)
{
    for (int quotes = first ? 2 : 0; quotes > 0; quotes--)
        value = str_skip(value, (size_t)(str_find_byte(value, '\'') + 1));
    for (size_t i = 0; i < value.len; i++) {
        int high = value.ptr[i] == '%' && i + 2 < value.len ? hex_digit(value.ptr[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(value.ptr[i + 2]) : -1;
        buf_append_byte(out, low >= 0 ? (char)(high << 4 | low) : value.ptr[i]);
        i += low >= 0 ? 2 : 0;
    }
}

/* The parameter of that name, or the extended one; false where there is neither. */
static bool put_piece(struct buf *out, const struct structure_part *part, const char *name,
                      bool first)
{
    char extended[40];
    snprintf(extended, sizeof extended, "%s*", name);
    struct str plain = structure_param_of(part->params, part->param_count, str_from_c(name));
    struct str other = structure_param_of(part->params, part->param_count, str_from_c(extended));
    if (plain.ptr)
        buf_append_str(out, plain);
    else
        put_extended(out, other, first);
    return plain.ptr || other.ptr;
}

/* RFC 2231 §3: where it is not given as one, "boundary*0", "boundary*1" and so on make it. */
static struct str read_boundary(struct mime_parser *p, const struct structure_part *part)
{
    char name[32] = "boundary";
    struct str plain = structure_param_of(part->params, part->param_count, STR("boundary"));
    if (plain.ptr)
        return plain;
    buf_clear(&p->scratch);
    bool more = !put_piece(&p->scratch, part, name, true);
    for (unsigned n = 0; more; n++) {
        snprintf(name, sizeof name, "boundary*%u", n);
        more = put_piece(&p->scratch, part, name, n == 0);
    }
    return keep(p, buf_str(&p->scratch));
}

static void open_multipart(struct mime_parser *p, struct structure_part *part)
{
    struct str boundary = str_trim(read_boundary(p, part));
    if (boundary.len == 0 || boundary.len > MIME_BOUNDARY_MAX) {
        set_type(part, STR("text"), STR("plain"));
        p->state = MIME_STATE_LEAF;
        return;
    }
    part->is_multipart = true;
    top(p)->boundary = boundary;
    p->boundary_count++;
    p->state = MIME_STATE_SKIP;
}

static void open_body(struct mime_parser *p, struct structure_part *part)
{
    bool multipart = str_eq(part->type, STR("multipart"));
    bool message = is_message_type(part);
    p->state = MIME_STATE_LEAF;
    if (!multipart && !message)
        return;
    if (!may_nest(p) || (message && !is_identity(part->encoding))) {
        part->type = STR("application"); /* with its parameters: one may be its name */
        part->subtype = STR("octet-stream");
    } else if (multipart)
        open_multipart(p, part);
    else
        part->is_message = true;
}

static void end_header(struct mime_parser *p, struct mime_event *ret_event)
{
    uint32_t index = top(p)->part;
    struct structure_part *part = part_at(p, index);
    part->header_size = p->offset - part->header_offset;
    part->body_offset = p->offset;
    top(p)->lines_before = p->lines;
    set_default_type(p, part);
    read_header(p, part);
    open_body(p, part);
    *ret_event = (struct mime_event){MIME_HEADER, index, buf_str(&p->header)};
    p->open_child = part->is_message;
}

/* ---- lines ---- */

/* Passes over bytes that are no delimiter; all but the last of their lines are whole. */
static void pass(struct mime_parser *p, struct str bytes, uint64_t line_ends)
{
    char last = bytes.ptr[bytes.len - 1];
    bool cr = bytes.len > 1 ? bytes.ptr[bytes.len - 2] == '\r' : p->last_was_cr;
    p->offset += bytes.len;
    p->lines += line_ends;
    p->last_was_cr = last == '\r';
    if (last == '\n') {
        p->last_eol = cr ? 2 : 1;
        p->line_len = 0;
    } else {
        const char *start = line_ends ? memrchr(bytes.ptr, '\n', bytes.len) : NULL;
        p->line_len = start ? (size_t)(bytes.ptr + bytes.len - start - 1) : p->line_len + bytes.len;
    }
}

enum line_verdict {
    LINE_CONTENT,
    LINE_DELIMITER,
    LINE_UNKNOWN /* its end has not come yet */
};

/*
 * delimiter       := CRLF "--" boundary
 * close-delimiter := delimiter "--"
 * both followed by transport-padding := *LWSP-char                RFC 2046 §5.1.1
 *
 * The depth of the open multipart that the line delimits, innermost first; SIZE_MAX where none.
 */
static size_t find_delimited(const struct mime_parser *p, struct str line, bool *ret_closes)
{
    while (line.len > 0 && strchr(" \t\r\n", line.ptr[line.len - 1]) && line.ptr[line.len - 1])
        line.len--;
    struct str rest = str_skip(line, 2);
    for (size_t depth = p->depth; depth-- > 0;) {
        struct str boundary = p->open[depth].boundary;
        if (boundary.len == 0 || !str_starts(rest, boundary))
            continue;
        struct str behind = str_skip(rest, boundary.len);
        *ret_closes = behind.len > 0;
        if (behind.len == 0 || str_eq(behind, STR("--")))
            return depth;
    }
    return SIZE_MAX;
}

/* For bytes at the start of a line; `at_end`: nothing comes behind them. */
static enum line_verdict judge_line(const struct mime_parser *p, struct str bytes, bool at_end)
{
    bool closes;
    if (p->boundary_count == 0 || bytes.ptr[0] != '-' || (bytes.len > 1 && bytes.ptr[1] != '-'))
        return LINE_CONTENT;
    struct str line = str_sub(bytes, 0, sizeof p->held);
    ptrdiff_t end = str_find_byte(line, '\n');
    if (end < 0 && !at_end)
        return line.len == sizeof p->held ? LINE_CONTENT : LINE_UNKNOWN;
    if (end >= 0)
        line.len = (size_t)end + 1;
    if (line.len < 3 || find_delimited(p, line, &closes) == SIZE_MAX)
        return LINE_CONTENT;
    return LINE_DELIMITER;
}

/* The line end before a delimiter belongs to it (RFC 2046 §5.1.1). */
static void take_delimiter(struct mime_parser *p, struct str line)
{
    bool closes = false;
    size_t depth = find_delimited(p, line, &closes);
    invariant(depth != SIZE_MAX);
    close_down_to(p, depth + 1, p->offset - p->last_eol, p->lines - (p->last_eol > 0));
    pass(p, line, line.ptr[line.len - 1] == '\n');
    p->state = MIME_STATE_SKIP;
    if (closes)
        forget_boundary(p, top(p));
    else
        open_part(p);
}

/* How many bytes at the front of `bytes`, which start with content, are content. */
static size_t content_len(const struct mime_parser *p, struct str bytes, uint64_t *ret_line_ends)
{
    size_t len = 0;
    *ret_line_ends = 0;
    for (;;) {
        const char *end = memchr(bytes.ptr + len, '\n', bytes.len - len);
        if (!end)
            return bytes.len;
        ++*ret_line_ends;
        len = (size_t)(end + 1 - bytes.ptr);
        if (len == bytes.len || (p->boundary_count > 0 && *(end + 1) == '-' &&
                                 judge_line(p, str_skip(bytes, len), false) != LINE_CONTENT))
            return len;
    }
}

static void keep_header_bytes(struct mime_parser *p, struct str bytes)
{
    size_t room = LIMIT_HEADER_SIZE - p->header.len;
    if (!buf_append_str(&p->header, str_sub(bytes, 0, room)))
        p->failed = true;
}

/* One line of a header, or a piece of it; true where the header has ended with it. */
static bool take_header_line(struct mime_parser *p, struct str line)
{
    bool whole = line.ptr[line.len - 1] == '\n';
    uint64_t len = p->line_len + line.len - whole;
    bool cr = line.len > 1 ? line.ptr[line.len - 2] == '\r' : p->last_was_cr;
    keep_header_bytes(p, line);
    pass(p, line, whole);
    return whole && (len == 0 || (len == 1 && cr));
}

/* Takes content off the front of *bytes; true where there is something to tell. */
static bool take_content(struct mime_parser *p, struct str *bytes, struct mime_event *ret_event)
{
    if (p->state == MIME_STATE_HEADER) {
        ptrdiff_t end = str_find_byte(*bytes, '\n');
        struct str line = str_sub(*bytes, 0, end < 0 ? bytes->len : (size_t)end + 1);
        *bytes = str_skip(*bytes, line.len);
        bool ended = take_header_line(p, line);
        if (ended)
            end_header(p, ret_event);
        return ended;
    }
    uint64_t line_ends;
    struct str content = str_sub(*bytes, 0, content_len(p, *bytes, &line_ends));
    *bytes = str_skip(*bytes, content.len);
    pass(p, content, line_ends);
    if (p->state == MIME_STATE_SKIP)
        return false;
    *ret_event = (struct mime_event){MIME_BODY, top(p)->part, content};
    return true;
}

/* Takes what stands at the front of *bytes, at least one byte; true where there is an event. */
static bool step(struct mime_parser *p, struct str *bytes, bool at_end,
                 struct mime_event *ret_event)
{
    enum line_verdict verdict = p->line_len > 0 ? LINE_CONTENT : judge_line(p, *bytes, at_end);
    if (verdict == LINE_CONTENT)
        return take_content(p, bytes, ret_event);
    if (verdict == LINE_UNKNOWN) {
        memcpy(p->held, bytes->ptr, bytes->len);
        p->held_len = bytes->len;
        *bytes = str_skip(*bytes, bytes->len);
        return false;
    }
    if (p->state == MIME_STATE_HEADER) {
        /* A header that a delimiter cuts off. The line is judged again behind it. */
        end_header(p, ret_event);
        return true;
    }
    ptrdiff_t end = str_find_byte(*bytes, '\n');
    struct str line = str_sub(*bytes, 0, end < 0 ? bytes->len : (size_t)end + 1);
    *bytes = str_skip(*bytes, line.len);
    take_delimiter(p, line);
    return false;
}

/* Adds bytes to the held line until it can be judged; false where they do not suffice. */
static bool fill_held(struct mime_parser *p, struct str *bytes)
{
    while (judge_line(p, str_make(p->held, p->held_len), false) == LINE_UNKNOWN) {
        if (bytes->len == 0)
            return false;
        p->held[p->held_len++] = bytes->ptr[0];
        *bytes = str_skip(*bytes, 1);
    }
    return true;
}

static bool step_held(struct mime_parser *p, bool at_end, struct mime_event *ret_event)
{
    struct str held = str_make(p->held, p->held_len);
    bool event = step(p, &held, at_end, ret_event);
    p->held_len = held.len;
    invariant(held.len == 0 || event);
    return event;
}

static void open_child(struct mime_parser *p)
{
    if (p->open_child)
        open_part(p);
    p->open_child = false;
}

void mime_init(struct mime_parser *p, struct arena *arena)
{
    p->arena = arena;
    p->structure = (struct structure){0};
    p->parts_cap = p->depth = p->boundary_count = 0;
    p->strings_left = MIME_STRINGS_MAX;
    p->offset = p->lines = p->line_len = 0;
    p->last_eol = p->held_len = 0;
    p->last_was_cr = p->failed = p->open_child = false;
    buf_init(&p->header, LIMIT_HEADER_SIZE);
    buf_init(&p->scratch, VALUE_SIZE_MAX + 1);
    open_part(p);
}

void mime_release(struct mime_parser *p)
{
    buf_release(&p->header);
    buf_release(&p->scratch);
}

void mime_next(struct mime_parser *p, struct str *bytes, struct mime_event *ret_event)
{
    open_child(p);
    while (p->held_len > 0 && !p->failed) {
        if (!fill_held(p, bytes))
            break;
        if (step_held(p, false, ret_event))
            return;
    }
    while (bytes->len > 0 && !p->failed)
        if (step(p, bytes, false, ret_event))
            return;
    *bytes = str_skip(*bytes, bytes->len);
    *ret_event = (struct mime_event){.kind = MIME_MORE};
}

bool mime_end(struct mime_parser *p, struct mime_event *ret_event)
{
    open_child(p);
    while (p->held_len > 0 && !p->failed)
        if (step_held(p, true, ret_event))
            return false;
    if (p->state == MIME_STATE_HEADER && !p->failed) {
        end_header(p, ret_event);
        return false;
    }
    close_down_to(p, 0, p->offset, p->lines);
    return true;
}

enum status_code mime_structure(struct mime_parser *p, const struct structure **ret)
{
    if (p->failed)
        return STATUS_NO_MEMORY;
    *ret = &p->structure;
    return STATUS_OK;
}
