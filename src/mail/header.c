#include "mail/header.h"

#include "base/limits.h"
#include "codec/date.h"
#include "codec/utf8.h"

/* ---- reading ---- */

/* ftext = %d33-57 / %d59-126 (RFC 5322 §3.6.8); bytes beyond ASCII are let through. */
static bool is_name(struct str name)
{
    for (size_t i = 0; i < name.len; i++)
        if ((unsigned char)name.ptr[i] <= ' ' || name.ptr[i] == 0x7F)
            return false;
    return name.len > 0;
}

/* The line at the front of rest, its line end included. */
static struct str line_at(struct str rest)
{
    ptrdiff_t end = str_find_byte(rest, '\n');
    return str_sub(rest, 0, end < 0 ? rest.len : (size_t)end + 1);
}

static struct str without_line_end(struct str line)
{
    if (str_ends(line, STR("\n")))
        line.len--;
    if (str_ends(line, STR("\r")))
        line.len--;
    return line;
}

static bool is_folded(struct str rest)
{
    return rest.len > 0 && (rest.ptr[0] == ' ' || rest.ptr[0] == '\t');
}

/* The size of the field at the front of rest: its line and those folded below. */
static size_t field_size(struct str rest)
{
    size_t size = line_at(rest).len;
    while (is_folded(str_skip(rest, size)))
        size += line_at(str_skip(rest, size)).len;
    return size;
}

static bool split_field(struct str bytes, struct header_field *ret_field)
{
    ptrdiff_t colon = str_find_byte(line_at(bytes), ':');
    if (colon < 0)
        return false;
    ret_field->name = str_trim(str_sub(bytes, 0, (size_t)colon));
    ret_field->value = without_line_end(str_skip(bytes, (size_t)colon + 1));
    return !is_folded(bytes) && is_name(ret_field->name);
}

bool header_next(struct header_cursor *cursor, struct header_field *ret_field)
{
    while (cursor->at < cursor->block.len) {
        struct str rest = str_skip(cursor->block, cursor->at);
        struct header_field field = {.offset = cursor->at};
        struct str line = line_at(rest);
        if (without_line_end(line).len == 0) {
            cursor->at += line.len;
            cursor->block.len = cursor->at;
            return false;
        }
        field.size = field_size(rest);
        cursor->at += field.size;
        if (split_field(str_sub(rest, 0, field.size), &field)) {
            *ret_field = field;
            return true;
        }
    }
    return false;
}

bool header_find(struct str block, struct str name, struct header_field *ret_field)
{
    struct header_cursor cursor = header_cursor_at(block);
    struct header_field field;
    while (header_next(&cursor, &field))
        if (str_eq_nocase(field.name, name)) {
            *ret_field = field;
            return true;
        }
    return false;
}

static bool is_fold(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Without blanks and line ends at both ends. */
static struct str trim_folds(struct str s)
{
    while (s.len > 0 && is_fold(s.ptr[0]))
        s = str_skip(s, 1);
    while (s.len > 0 && is_fold(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

static bool is_break(char c)
{
    return c == '\r' || c == '\n' || c == '\0';
}

bool header_unfold(struct buf *out, struct str value)
{
    value = trim_folds(value);
    while (value.len > 0) {
        size_t plain = 0;
        while (plain < value.len && !is_break(value.ptr[plain]))
            plain++;
        buf_append(out, value.ptr, plain);
        value = str_skip(value, plain);
        size_t end = str_starts(value, STR("\r\n")) ? 2 : value.len > 0;
        bool fold = end > 0 && value.ptr[end - 1] == '\n' && is_folded(str_skip(value, end));
        if (end > 0 && !fold)
            buf_append_byte(out, ' ');
        value = str_skip(value, end);
    }
    return !out->failed;
}

/* The cursor has come to its end: because of an empty line? */
static bool is_at_empty_line(const struct header_cursor *cursor)
{
    struct str seen = str_sub(cursor->block, 0, cursor->at);
    struct str before = without_line_end(seen);
    return str_ends(seen, STR("\n")) && (before.len == 0 || str_ends(before, STR("\n")));
}

static void note(struct str value, uint32_t *count, struct str *first)
{
    if ((*count)++ == 0)
        *first = value;
}

void header_facts_of(struct str block, struct header_facts *ret_facts)
{
    struct header_facts f = {0};
    struct header_cursor cursor = header_cursor_at(block);
    struct header_field field;
    struct str tls_required = STR("");
    uint32_t subjects = 0, tls_requireds = 0;
    while (header_next(&cursor, &field)) {
        struct str value = trim_folds(field.value);
        if (str_eq_nocase(field.name, STR("Received")))
            f.received_count++;
        else if (str_eq_nocase(field.name, STR("Date")))
            note(value, &f.date_count, &f.date);
        else if (str_eq_nocase(field.name, STR("Message-ID")))
            note(value, &f.message_id_count, &f.message_id);
        else if (str_eq_nocase(field.name, STR("From")))
            note(value, &f.from_count, &f.from);
        else if (str_eq_nocase(field.name, STR("Sender")))
            note(value, &f.sender_count, &f.sender);
        else if (str_eq_nocase(field.name, STR("Subject")))
            note(value, &subjects, &f.subject);
        else if (str_eq_nocase(field.name, STR("TLS-Required")))
            note(value, &tls_requireds, &tls_required);
    }
    f.has_end = is_at_empty_line(&cursor);
    f.tls_optional = tls_requireds == 1 && str_eq_nocase(tls_required, STR("No"));
    *ret_facts = f;
}

/* ---- writing ---- */

/* RFC 5322 §2.1.1 asks for lines of 78 characters at most. */
enum { LINE_LEN = 78 };

static size_t column(const struct buf *out)
{
    return out->len - (size_t)(str_rfind_byte(buf_str(out), '\n') + 1);
}

/* A word behind a space, or on the next line where it would not fit on this one. */
static void put_word(struct buf *out, struct str word)
{
    size_t at = column(out);
    bool fits = at + 1 + word.len <= LINE_LEN || at <= 1;
    buf_append_str(out, fits ? STR(" ") : STR("\r\n\t"));
    buf_append_str(out, word);
}

/* Appends one character of a stranger, made safe; takes it off *rest. */
static void put_safe(struct buf *out, struct str *rest, const char *forbidden)
{
    struct str before = *rest;
    uint32_t c;
    bool valid = utf8_next(rest, &c);
    struct str bytes = str_sub(before, 0, before.len - rest->len);
    if (!valid)
        buf_append_byte(out, '?');
    else if (c < ' ' || (c >= 0x7F && c < 0xA0))
        return;
    else if (c < 0x80 && strchr(forbidden, (char)c))
        buf_append_byte(out, '_');
    else
        buf_append_str(out, bytes);
}

/* Folds at spaces; a fold keeps its space, so that unfolding gives the text again. */
static bool put_text(struct buf *out, struct text t, size_t len_max, const char *forbidden)
{
    struct str rest = utf8_prefix(text_peek(t), len_max);
    while (rest.len > 0) {
        ptrdiff_t space = str_find_byte(str_skip(rest, 1), ' ');
        size_t ahead = space < 0 ? rest.len : (size_t)space + 1;
        if (rest.ptr[0] == ' ' && ahead > 1 && column(out) > 1 && column(out) + ahead > LINE_LEN)
            buf_append_str(out, STR("\r\n"));
        put_safe(out, &rest, forbidden);
    }
    return !out->failed;
}

bool text_to_header(struct buf *out, struct text t, size_t len_max)
{
    return put_text(out, t, len_max, "");
}

bool text_to_comment(struct buf *out, struct text t, size_t len_max)
{
    return put_text(out, t, len_max, "()\\");
}

/* A stranger's host name in a trace field: what no host name or literal has becomes "?". */
static void put_host(struct buf *out, const char *before, struct text host, const char *behind)
{
    struct buf word;
    buf_init(&word, LIMIT_DOMAIN_SIZE + 64);
    buf_append_str(&word, str_from_c(before));
    struct str s = str_sub(text_peek(host), 0, LIMIT_DOMAIN_SIZE);
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool usual = ascii_is_alpha(c) || ascii_is_digit(c) || (c && strchr("-._:[]", c));
        buf_append_byte(&word, usual ? c : '?');
    }
    buf_append_str(&word, str_from_c(behind));
    put_word(out, buf_str(&word));
    buf_release(&word);
}

static void put_pair(struct buf *out, const char *keyword, struct str value)
{
    if (value.len == 0)
        return;
    put_word(out, str_from_c(keyword));
    put_word(out, value);
}

/* From-domain = "FROM" FWS Extended-Domain, with TCP-info in its comment (RFC 5321 §4.4). */
static void put_from(struct buf *out, const struct received_facts *f)
{
    if (f->peer.len == 0)
        return;
    struct str helo = text_peek(f->helo);
    struct str rdns = text_peek(f->rdns);
    put_word(out, STR("from"));
    put_host(out, "", helo.len ? f->helo : text_from(STR("unknown")), "");
    put_host(out, "(", rdns.len ? f->rdns : text_from(STR("unknown")), "");
    bool is_ipv6 = str_find_byte(f->peer, ':') >= 0;
    put_host(out, is_ipv6 ? "[IPv6:" : "[", text_from(f->peer), "])");
}

static void put_for(struct buf *out, const struct mailbox_address *recipient)
{
    struct buf word;
    buf_init(&word, 2 * LIMIT_PATH_SIZE + LIMIT_DOMAIN_SIZE);
    buf_append_byte(&word, '<');
    address_print(&word, recipient);
    buf_append_str(&word, STR(">"));
    put_pair(out, "for", buf_str(&word));
    buf_release(&word);
}

/* RFC 5321 §4.4 lets comments stand anywhere. */
static void put_program(struct buf *out, const uint32_t *uid)
{
    struct buf number;
    put_word(out, uid ? STR("(Postern,") : STR("(Postern)"));
    if (!uid)
        return;
    buf_init(&number, 16);
    buf_printf(&number, "%u)", (unsigned)*uid);
    put_pair(out, "userid", buf_str(&number));
    buf_release(&number);
}

/* Time-stamp-line = "Received:" FWS Stamp <CRLF> (RFC 5321 §4.4) */
bool header_put_received(struct buf *out, const struct received_facts *f)
{
    buf_append_str(out, STR("Received:"));
    put_from(out, f);
    put_pair(out, "by", f->host);
    put_program(out, f->uid);
    put_pair(out, "with", f->protocol);
    if (f->tls.len > 0) {
        put_host(out, "(", text_from(f->tls), f->cipher.len ? "" : ")");
        if (f->cipher.len > 0)
            put_host(out, "", text_from(f->cipher), ")");
    }
    put_pair(out, "id", f->id);
    if (f->recipient)
        put_for(out, f->recipient);
    buf_append_str(out, STR(";\r\n\t"));
    date_format_mail(out, f->wall_ms, 0);
    return buf_append_str(out, STR("\r\n"));
}

/* Return-path-line = "Return-Path:" FWS Reverse-path <CRLF> (RFC 5321 §4.4) */
bool header_put_return_path(struct buf *out, const struct mailbox_path *path)
{
    buf_append_str(out, STR("Return-Path: <"));
    if (!path->is_null)
        address_print(out, &path->mailbox);
    return buf_append_str(out, STR(">\r\n")) && !out->failed;
}

bool header_put_delivered_to(struct buf *out, const struct mailbox_address *address)
{
    buf_append_str(out, STR("Delivered-To: "));
    address_print(out, address);
    return buf_append_str(out, STR("\r\n")) && !out->failed;
}

bool header_put_date(struct buf *out, int64_t wall_ms)
{
    buf_append_str(out, STR("Date: "));
    date_format_mail(out, wall_ms, 0);
    return buf_append_str(out, STR("\r\n")) && !out->failed;
}

bool header_put_message_id(struct buf *out, struct str unique, struct str host)
{
    return buf_printf(out, "Message-ID: <%.*s@%.*s>\r\n", STR_ARG(unique), STR_ARG(host)) &&
           !out->failed;
}
