#include "cli/sendmail_message.h"

#include "base/limits.h"
#include "mail/address.h"
#include "mail/address_list.h"
#include "mail/header.h"

/* ---- Text -------------------------------------------------------------------------------------
 */

/* The next line, without its end; false behind the last. */
static bool next_line(struct str *rest, struct str *ret_line)
{
    size_t len = 0;
    if (rest->len == 0)
        return false;
    while (len < rest->len && rest->ptr[len] != '\n' && rest->ptr[len] != '\r')
        len++;
    *ret_line = str_sub(*rest, 0, len);
    size_t end = len;
    if (end < rest->len && rest->ptr[end] == '\r')
        end++;
    if (end < rest->len && rest->ptr[end] == '\n')
        end++;
    *rest = str_skip(*rest, end);
    return true;
}

static bool put_line(struct buf *out, struct str line, size_t line_size_max)
{
    size_t used = 0;
    for (size_t i = 0; i < line.len; i++) {
        if (line.ptr[i] == '\0')
            continue;
        if (used == line_size_max - 2) {
            buf_append_str(out, STR("\r\n"));
            used = 0;
        }
        buf_append_byte(out, line.ptr[i]);
        used++;
    }
    return buf_append_str(out, STR("\r\n"));
}

bool sendmail_read_text(struct buf *out, struct str raw, size_t line_size_max, bool ignore_dots)
{
    struct str line;
    while (next_line(&raw, &line)) {
        if (!ignore_dots && str_eq(line, STR(".")))
            return true;
        if (!put_line(out, line, line_size_max))
            return false;
    }
    return true;
}

/* ---- Header and body ----------------------------------------------------------------------------
 */

/* RFC 5322 §2.2: the name is printable ASCII; some put blanks before the colon. */
static bool is_field(struct str line)
{
    size_t name = 0;
    while (name < line.len && line.ptr[name] > ' ' && line.ptr[name] <= '~' &&
           line.ptr[name] != ':')
        name++;
    size_t colon = name;
    while (colon < line.len && (line.ptr[colon] == ' ' || line.ptr[colon] == '\t'))
        colon++;
    return name > 0 && colon < line.len && line.ptr[colon] == ':';
}

static bool is_folded(struct str line)
{
    return str_starts(line, STR(" ")) || str_starts(line, STR("\t"));
}

struct sendmail_parts sendmail_split(struct str text)
{
    struct str rest = text, line, behind;
    if (str_starts(text, STR("From ")))
        next_line(&rest, &line);
    struct sendmail_parts parts = {.header = str_sub(rest, 0, 0), .body = rest};
    const char *start = rest.ptr;
    for (behind = rest; next_line(&behind, &line); rest = behind) {
        bool is_first = rest.ptr == start;
        if (!is_field(line) && (is_first || !is_folded(line)))
            break;
        parts.header = str_make(start, (size_t)(behind.ptr - start));
        parts.body = behind;
    }
    /* The empty line is no part of either; a body that begins without one has all of its lines. */
    if (str_starts(parts.body, STR("\r\n")))
        parts.body = str_skip(parts.body, 2);
    return parts;
}

/* ---- Recipients ---------------------------------------------------------------------------------
 */

static bool put_address(struct buf *out, const struct address_item *item, struct str origin)
{
    struct mailbox_address address;
    struct buf words;
    buf_init(&words, 4 * LIMIT_PATH_SIZE);
    bool ok = address_print_parts(&words, item->mailbox, item->host.len ? item->host : origin) &&
              address_parse_mailbox(buf_str(&words), &address) == ADDRESS_OK;
    if (ok && out->len > 0)
        ok = buf_append_byte(out, '\0');
    ok = ok && buf_append_str(out, buf_str(&words));
    buf_release(&words);
    return ok;
}

bool sendmail_put_addresses(struct buf *out, struct str list, struct str origin,
                            struct str *ret_bad)
{
    struct address_list addresses;
    struct address_item item;
    bool ok = true;
    address_list_init(&addresses, list);
    while (ok && address_list_next(&addresses, &item))
        if (item.kind == ADDRESS_ITEM_MAILBOX)
            ok = put_address(out, &item, origin);
    address_list_release(&addresses);
    if (!ok)
        *ret_bad = list;
    return ok;
}

#define RESENT "Resent-"

static bool is_resent(struct str name)
{
    return str_starts_nocase(name, STR(RESENT));
}

/* RFC 5322 §3.6.6 */
static bool was_resent(struct str header)
{
    struct header_cursor cursor = header_cursor_at(header);
    struct header_field field;
    while (header_next(&cursor, &field))
        if (is_resent(field.name))
            return true;
    return false;
}

static bool names_recipients(struct str name, bool resent)
{
    static const struct str names[] = {STR("To"), STR("Cc"), STR("Bcc")};
    if (is_resent(name) != resent)
        return false;
    name = str_skip(name, resent ? STR(RESENT).len : 0);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (str_eq_nocase(name, names[i]))
            return true;
    return false;
}

bool sendmail_put_header_addresses(struct buf *out, struct str header, struct str origin,
                                   struct str *ret_bad)
{
    bool resent = was_resent(header);
    struct header_cursor cursor = header_cursor_at(header);
    struct header_field field;
    while (header_next(&cursor, &field))
        if (names_recipients(field.name, resent) &&
            !sendmail_put_addresses(out, field.value, origin, ret_bad))
            return false;
    return true;
}

/* ---- The message --------------------------------------------------------------------------------
 */

/* From: "Ann O'Nym" <ann@example.org> */
static void put_from(struct buf *out, struct str from, struct str name)
{
    buf_append_str(out, STR("From: "));
    if (name.len > 0) {
        buf_append_byte(out, '"');
        for (size_t i = 0; i < name.len; i++) {
            if (name.ptr[i] == '"' || name.ptr[i] == '\\')
                buf_append_byte(out, '\\');
            buf_append_byte(out, name.ptr[i] >= ' ' && name.ptr[i] <= '~' ? name.ptr[i] : '?');
        }
        buf_append_str(out, STR("\" "));
    }
    buf_printf(out, "<%.*s>\r\n", STR_ARG(from));
}

bool sendmail_put_message(struct buf *out, const struct sendmail_parts *parts, struct str from,
                          struct str name)
{
    struct header_cursor cursor = header_cursor_at(parts->header);
    struct header_field field;
    if (!header_find(parts->header, STR("From"), &field))
        put_from(out, from, name);
    while (header_next(&cursor, &field))
        if (!str_eq_nocase(field.name, STR("Bcc")) && !str_eq_nocase(field.name, STR(RESENT "Bcc")))
            buf_append_str(out, str_sub(parts->header, field.offset, field.size));
    buf_append_str(out, STR("\r\n"));
    return buf_append_str(out, parts->body);
}
