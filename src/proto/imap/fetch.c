#include "proto/imap/fetch.h"

#include <inttypes.h>

#include "base/limits.h"
#include "mail/header.h"
#include "proto/imap/reply.h"

/* ---- sections ---- */

static bool parse_path(struct imap_cursor *c, struct fetch_section *s, bool *ret_dot)
{
    uint32_t path[LIMIT_MIME_DEPTH];
    *ret_dot = false;
    while (imap_peek(c) >= '0' && imap_peek(c) <= '9') {
        if (s->path_len == LIMIT_MIME_DEPTH)
            return imap_fail(c, "Section is too deep");
        if (!imap_parse_nz_number(c, &path[s->path_len++]))
            return false;
        *ret_dot = imap_take(c, '.');
        if (!*ret_dot)
            break;
    }
    s->path = arena_alloc_array(c->arena, s->path_len + 1, sizeof *s->path);
    if (!s->path)
        return imap_fail(c, "Command too large");
    memcpy(s->path, path, s->path_len * sizeof *path);
    return true;
}

/* header-list = "(" header-fld-name *(SP header-fld-name) ")" */
static bool parse_fields(struct imap_cursor *c, struct fetch_request *request,
                         struct fetch_section *s)
{
    size_t left = LIMIT_IMAP_LIST_ITEMS - request->field_count;
    if (!imap_need_space(c) || !imap_need(c, '('))
        return false;
    s->fields = arena_alloc_array(c->arena, left, sizeof *s->fields);
    if (!s->fields)
        return imap_fail(c, "Command too large");
    do {
        if (s->field_count == left)
            return imap_fail(c, "Too many header fields");
        if (!imap_parse_astring(c, &s->fields[s->field_count++]))
            return false;
    } while (imap_take(c, ' '));
    request->field_count += s->field_count;
    return imap_need(c, ')');
}

/* section-text = "HEADER" / "HEADER.FIELDS" [".NOT"] SP header-list / "TEXT" / "MIME" */
static bool parse_section_text(struct imap_cursor *c, struct fetch_request *request,
                               struct fetch_section *s)
{
    s->kind = SECTION_HEADER;
    if (imap_take_word(c, "HEADER"))
        return true;
    s->only_fields = imap_take_word(c, "HEADER.FIELDS");
    s->except_fields = !s->only_fields && imap_take_word(c, "HEADER.FIELDS.NOT");
    if (s->only_fields || s->except_fields)
        return parse_fields(c, request, s);
    s->kind = SECTION_TEXT;
    if (imap_take_word(c, "TEXT"))
        return true;
    s->kind = SECTION_MIME;
    if (s->path_len && imap_take_word(c, "MIME"))
        return true;
    return imap_fail(c, "Unknown section");
}

/* section = "[" [section-spec] "]" ["<" number "." nz-number ">"] */
static bool parse_section(struct imap_cursor *c, struct fetch_request *request,
                          struct fetch_section *s)
{
    bool dot;
    s->kind = SECTION_BODY;
    if (!imap_need(c, '[') || !parse_path(c, s, &dot))
        return false;
    if ((dot || (s->path_len == 0 && imap_peek(c) != ']')) && !parse_section_text(c, request, s))
        return false;
    if (!imap_need(c, ']'))
        return false;
    s->is_partial = imap_take(c, '<');
    return !s->is_partial || (imap_parse_number(c, &s->partial_from) && imap_need(c, '.') &&
                              imap_parse_nz_number(c, &s->partial_size) && imap_need(c, '>'));
}

static struct fetch_section *add_section(struct imap_cursor *c, struct fetch_request *request)
{
    struct fetch_section **end = &request->sections;
    size_t count = 0;
    for (; *end; count++)
        end = &(*end)->next;
    if (count < LIMIT_IMAP_LIST_ITEMS)
        *end = arena_alloc(c->arena, sizeof **end);
    if (!*end)
        imap_fail(c, "Too many sections");
    return *end;
}

/* ---- items ---- */

static const struct {
    const char *name;
    unsigned items;
} plain_items[] = {
    {"FLAGS", FETCH_FLAGS},
    {"UID", FETCH_UID},
    {"INTERNALDATE", FETCH_INTERNALDATE},
    {"RFC822.SIZE", FETCH_SIZE},
    {"ENVELOPE", FETCH_ENVELOPE},
    {"BODYSTRUCTURE", FETCH_BODYSTRUCTURE},
};

static const struct {
    const char *name;
    enum section_kind kind;
    bool sets_seen;
} aliases[] = {
    {"RFC822", SECTION_BODY, true},
    {"RFC822.HEADER", SECTION_HEADER, false},
    {"RFC822.TEXT", SECTION_TEXT, true},
};

static const struct {
    const char *name;
    unsigned items;
} macros[] = {
    {"ALL", FETCH_FLAGS | FETCH_INTERNALDATE | FETCH_SIZE | FETCH_ENVELOPE},
    {"FAST", FETCH_FLAGS | FETCH_INTERNALDATE | FETCH_SIZE},
    {"FULL", FETCH_FLAGS | FETCH_INTERNALDATE | FETCH_SIZE | FETCH_ENVELOPE | FETCH_BODY},
};

static bool parse_body_item(struct imap_cursor *c, struct fetch_request *request, bool peek)
{
    if (!peek && imap_peek(c) != '[') {
        request->items |= FETCH_BODY;
        return true;
    }
    struct fetch_section *s = add_section(c, request);
    request->sets_seen |= !peek;
    return s && parse_section(c, request, s);
}

static bool parse_item(struct imap_cursor *c, struct fetch_request *request)
{
    for (size_t i = 0; i < sizeof plain_items / sizeof plain_items[0]; i++) {
        if (!imap_take_word(c, plain_items[i].name))
            continue;
        request->items |= plain_items[i].items;
        return true;
    }
    for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++) {
        if (!imap_take_word(c, aliases[i].name))
            continue;
        struct fetch_section *s = add_section(c, request);
        if (!s)
            return false;
        s->alias = aliases[i].name;
        s->kind = aliases[i].kind;
        request->sets_seen |= aliases[i].sets_seen;
        return true;
    }
    if (imap_take_word(c, "BODY.PEEK"))
        return parse_body_item(c, request, true);
    if (imap_take_word(c, "BODY"))
        return parse_body_item(c, request, false);
    return imap_fail(c, "Unknown item of FETCH");
}

bool imap_parse_fetch_items(struct imap_cursor *c, struct fetch_request *request)
{
    for (size_t i = 0; i < sizeof macros / sizeof macros[0]; i++) {
        if (!imap_take_word(c, macros[i].name))
            continue;
        request->items |= macros[i].items;
        return true;
    }
    if (!imap_take(c, '('))
        return parse_item(c, request);
    do {
        if (!parse_item(c, request))
            return false;
    } while (imap_take(c, ' '));
    return imap_need(c, ')');
}

/* ---- writing ---- */

static void put_fields(struct buf *out, const struct fetch_section *s)
{
    buf_append_str(out, s->only_fields ? STR(".FIELDS (") : STR(".FIELDS.NOT ("));
    for (size_t i = 0; i < s->field_count; i++) {
        if (i)
            buf_append_byte(out, ' ');
        imap_put_astring(out, s->fields[i]);
    }
    buf_append_byte(out, ')');
}

void imap_put_section_name(struct buf *out, const struct fetch_section *s)
{
    static const char *const names[] = {
        [SECTION_BODY] = "",
        [SECTION_HEADER] = "HEADER",
        [SECTION_TEXT] = "TEXT",
        [SECTION_MIME] = "MIME",
    };
    if (s->alias) {
        buf_append_str(out, str_from_c(s->alias));
        return;
    }
    buf_append_str(out, STR("BODY["));
    for (size_t i = 0; i < s->path_len; i++)
        buf_printf(out, "%s%" PRIu32, i ? "." : "", s->path[i]);
    if (s->path_len && s->kind != SECTION_BODY)
        buf_append_byte(out, '.');
    buf_append_str(out, str_from_c(names[s->kind]));
    if (s->only_fields || s->except_fields)
        put_fields(out, s);
    buf_append_byte(out, ']');
    if (s->is_partial)
        buf_printf(out, "<%" PRIu32 ">", s->partial_from);
}

static bool names_field(const struct fetch_section *s, struct str name)
{
    for (size_t i = 0; i < s->field_count; i++)
        if (str_eq_nocase(s->fields[i], name))
            return true;
    return false;
}

/*
 * RFC 3501 §6.4.5: the empty line is there in any case, "except in the case of a message which has
 * no body and no blank line".
 */
static bool has_empty_line(struct str block)
{
    return block.len >= LIMIT_HEADER_SIZE /* cut off before it */ || str_eq(block, STR("\r\n")) ||
           str_eq(block, STR("\n")) || str_ends(block, STR("\n\r\n")) ||
           str_ends(block, STR("\n\n"));
}

void imap_filter_header(struct buf *out, const struct fetch_section *s, struct str block)
{
    struct header_cursor cursor = header_cursor_at(block);
    struct header_field field;
    while (header_next(&cursor, &field))
        if (names_field(s, str_trim(field.name)) == s->only_fields)
            buf_append_str(out, str_sub(block, field.offset, field.size));
    if (has_empty_line(block))
        buf_append_str(out, STR("\r\n"));
}
