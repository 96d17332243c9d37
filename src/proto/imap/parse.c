#include "proto/imap/parse.h"

#include "base/buf.h"
#include "base/limits.h"
#include "codec/date.h"
#include "proto/imap/server.h"
#include "proto/imap/utf7.h"

struct imap_cursor imap_cursor_at(struct str command, struct arena *arena)
{
    return (struct imap_cursor){
        .at = command.ptr, .end = command.ptr + command.len, .arena = arena};
}

bool imap_fail(struct imap_cursor *c, const char *error)
{
    if (!c->error)
        c->error = error;
    return false;
}

int imap_peek(const struct imap_cursor *c)
{
    return c->at < c->end ? (unsigned char)*c->at : -1;
}

static struct str rest_of(const struct imap_cursor *c)
{
    return str_make(c->at, (size_t)(c->end - c->at));
}

bool imap_take(struct imap_cursor *c, char byte)
{
    if (imap_peek(c) != (unsigned char)byte)
        return false;
    c->at++;
    return true;
}

bool imap_take_word(struct imap_cursor *c, const char *word)
{
    struct str w = str_from_c(word);
    struct str rest = rest_of(c);
    if (!str_starts_nocase(rest, w))
        return false;
    if (rest.len > w.len && imap_is_atom_char(rest.ptr[w.len]) && rest.ptr[w.len] != '[')
        return false;
    c->at += w.len;
    return true;
}

bool imap_need(struct imap_cursor *c, char byte)
{
    if (imap_take(c, byte))
        return true;
    switch (byte) {
    case ' ':
        return imap_fail(c, imap_peek(c) < 0 ? "Argument missing" : "Space expected");
    case '(':
        return imap_fail(c, "Opening parenthesis expected");
    case ')':
        return imap_fail(c, "Closing parenthesis expected");
    default:
        return imap_fail(c, "Syntax error");
    }
}

bool imap_need_space(struct imap_cursor *c)
{
    return imap_need(c, ' ');
}

bool imap_need_end(struct imap_cursor *c)
{
    return c->at == c->end || imap_fail(c, "Unexpected argument");
}

/* ---- numbers ---- */

bool imap_parse_number(struct imap_cursor *c, uint32_t *ret_number)
{
    const char *start = c->at;
    uint64_t value;
    while (imap_peek(c) >= '0' && imap_peek(c) <= '9')
        c->at++;
    if (!str_to_u64(str_make(start, (size_t)(c->at - start)), UINT32_MAX, &value))
        return imap_fail(c, c->at == start ? "Number expected" : "Number too large");
    *ret_number = (uint32_t)value;
    return true;
}

bool imap_parse_nz_number(struct imap_cursor *c, uint32_t *ret_number)
{
    uint32_t value;
    if (!imap_parse_number(c, &value))
        return false;
    if (value == 0)
        return imap_fail(c, "Number must not be 0");
    *ret_number = value;
    return true;
}

/* ---- words ---- */

/*
 * RFC 3501 §9: ATOM-CHAR is any CHAR except atom-specials: "(" ")" "{" SP CTL list-wildcards
 * quoted-specials resp-specials.
 */
bool imap_is_atom_char(char c)
{
    return c > 0x20 && c < 0x7F && !strchr("(){%*\"\\]", c);
}

static bool is_astring_char(char c)
{
    return imap_is_atom_char(c) || c == ']';
}

static bool is_list_char(char c)
{
    return is_astring_char(c) || c == '%' || c == '*';
}

/* tag = 1*<any ASTRING-CHAR except "+"> */
static bool is_tag_char(char c)
{
    return is_astring_char(c) && c != '+';
}

static struct str take_while(struct imap_cursor *c, bool (*is_member)(char))
{
    const char *start = c->at;
    while (c->at < c->end && is_member(*c->at))
        c->at++;
    return str_make(start, (size_t)(c->at - start));
}

bool imap_parse_atom(struct imap_cursor *c, struct str *ret_atom)
{
    struct str atom = take_while(c, imap_is_atom_char);
    if (str_empty(atom))
        return imap_fail(c, "Word expected");
    *ret_atom = atom;
    return true;
}

bool imap_parse_tag(struct imap_cursor *c, struct str *ret_tag)
{
    struct str tag = take_while(c, is_tag_char);
    if (str_empty(tag))
        return imap_fail(c, "Tag expected");
    *ret_tag = tag;
    return true;
}

/* ---- strings ---- */

/* quoted = DQUOTE *QUOTED-CHAR DQUOTE; QUOTED-CHAR may be "\" quoted-specials. */
static bool parse_quoted(struct imap_cursor *c, struct str *ret_string)
{
    const char *start = ++c->at;
    size_t escapes = 0;
    for (; c->at < c->end && *c->at != '"'; c->at++) {
        if (*c->at == '\r' || *c->at == '\n' || *c->at == 0)
            return imap_fail(c, "Bad byte in a quoted string");
        if (*c->at != '\\')
            continue;
        if (++c->at == c->end || (*c->at != '"' && *c->at != '\\'))
            return imap_fail(c, "Bad escape in a quoted string");
        escapes++;
    }
    struct str raw = str_make(start, (size_t)(c->at - start));
    if (!imap_take(c, '"'))
        return imap_fail(c, "Quoted string does not end");
    *ret_string = raw;
    if (!escapes)
        return true;
    char *plain = arena_alloc(c->arena, raw.len);
    if (!plain)
        return imap_fail(c, "Command too large");
    size_t len = 0;
    for (size_t i = 0; i < raw.len; i++) {
        i += raw.ptr[i] == '\\';
        plain[len++] = raw.ptr[i];
    }
    *ret_string = str_make(plain, len);
    return true;
}

/* literal = "{" number ["+"] "}" CRLF *CHAR8 (RFC 7888 §7) */
static bool parse_literal(struct imap_cursor *c, struct str *ret_string)
{
    uint32_t size;
    c->at++;
    if (!imap_parse_number(c, &size))
        return false;
    imap_take(c, '+');
    if (!imap_need(c, '}'))
        return false;
    imap_take(c, '\r');
    if (!imap_need(c, '\n'))
        return false;
    if (size > (size_t)(c->end - c->at))
        return imap_fail(c, "Literal does not end");
    struct str bytes = str_make(c->at, size);
    if (str_find_byte(bytes, 0) >= 0)
        return imap_fail(c, "NUL in a literal");
    c->at += size;
    *ret_string = bytes;
    return true;
}

bool imap_parse_string(struct imap_cursor *c, struct str *ret_string)
{
    switch (imap_peek(c)) {
    case '"':
        return parse_quoted(c, ret_string);
    case '{':
        return parse_literal(c, ret_string);
    default:
        return imap_fail(c, "String expected");
    }
}

static bool parse_string_or(struct imap_cursor *c, bool (*is_member)(char), struct str *ret_string)
{
    struct str word = take_while(c, is_member);
    if (str_empty(word))
        return imap_parse_string(c, ret_string);
    *ret_string = word;
    return true;
}

bool imap_parse_astring(struct imap_cursor *c, struct str *ret_string)
{
    return parse_string_or(c, is_astring_char, ret_string);
}

bool imap_parse_list_mailbox(struct imap_cursor *c, struct str *ret_string)
{
    return parse_string_or(c, is_list_char, ret_string);
}

/* RFC 3501 §5.1: INBOX is special in any case. */
void imap_normalise_inbox(char *name, size_t size)
{
    static const char inbox[] = "INBOX";
    struct str s = str_make(name, size);
    if (str_starts_nocase(s, STR("INBOX")) && (size == 5 || name[5] == IMAP_SEPARATOR))
        memcpy(name, inbox, 5);
}

bool imap_parse_mailbox(struct imap_cursor *c, struct str *ret_name)
{
    struct str wire, name;
    struct buf utf8;
    if (!imap_parse_astring(c, &wire))
        return false;
    buf_init(&utf8, wire.len * 3 + 1);
    if (imap_utf7_decode(&utf8, wire))
        imap_normalise_inbox(utf8.ptr, utf8.len);
    else
        c->bad_name = true;
    bool kept = arena_dup(c->arena, buf_str(&utf8), &name);
    buf_release(&utf8);
    if (!kept)
        return imap_fail(c, "Command too large");
    *ret_name = name;
    return true;
}

/* ---- flags ---- */

static const char *const flag_names[] = {"\\Seen", "\\Answered", "\\Flagged", "\\Deleted",
                                         "\\Draft"};

const char *imap_flag_name(uint8_t flag)
{
    return flag_names[__builtin_ctz(flag)];
}

uint8_t imap_flag_of(struct str name)
{
    for (size_t i = 0; i < sizeof flag_names / sizeof flag_names[0]; i++)
        if (str_eq_nocase(name, str_from_c(flag_names[i])))
            return (uint8_t)(1 << i);
    return 0;
}

/* Adds a keyword to those gathered, which have room for it; the same word twice counts once. */
static void add_keyword(char *gathered, size_t *len, struct str keyword)
{
    struct str rest = str_make(gathered, *len);
    struct str word;
    while (str_split(&rest, ' ', &word))
        if (str_eq_nocase(word, keyword))
            return;
    if (*len)
        gathered[(*len)++] = ' ';
    memcpy(gathered + *len, keyword.ptr, keyword.len);
    *len += keyword.len;
}

static bool parse_flag(struct imap_cursor *c, uint8_t *flags, char *gathered, size_t *len)
{
    const char *start = c->at;
    struct str atom;
    bool is_system = imap_take(c, '\\');
    if (!imap_parse_atom(c, &atom))
        return false;
    if (!is_system) {
        add_keyword(gathered, len, atom);
        return true;
    }
    uint8_t flag = imap_flag_of(str_make(start, (size_t)(c->at - start)));
    if (!flag)
        return imap_fail(c, "No such system flag, or not one that can be set");
    *flags |= flag;
    return true;
}

/* flag-list = "(" [flag *(SP flag)] ")" */
bool imap_parse_flags(struct imap_cursor *c, bool bare_allowed, uint8_t *ret_flags,
                      struct str *ret_keywords)
{
    uint8_t flags = 0;
    size_t len = 0;
    size_t items = 0;
    char *gathered = arena_alloc(c->arena, (size_t)(c->end - c->at) + 1);
    if (!gathered)
        return imap_fail(c, "Command too large");
    bool in_list = imap_take(c, '(');
    if (!in_list && !bare_allowed)
        return imap_fail(c, "Flag list expected");
    if (!in_list || imap_peek(c) != ')') {
        do {
            if (++items > LIMIT_IMAP_LIST_ITEMS)
                return imap_fail(c, "Too many flags");
            if (!parse_flag(c, &flags, gathered, &len))
                return false;
        } while (imap_take(c, ' '));
    }
    if (in_list && !imap_need(c, ')'))
        return false;
    *ret_flags = flags;
    *ret_keywords = str_make(gathered, len);
    return true;
}

/* ---- dates ---- */

bool imap_parse_date_time(struct imap_cursor *c, int64_t *ret_ms)
{
    struct str text;
    if (imap_peek(c) != '"' || !parse_quoted(c, &text) || !date_parse_imap(text, ret_ms, NULL))
        return imap_fail(c, "Date and time expected");
    return true;
}

bool imap_parse_date(struct imap_cursor *c, int64_t *ret_ms)
{
    struct str text;
    if (!imap_parse_astring(c, &text) || !date_parse_imap_day(text, ret_ms))
        return imap_fail(c, "Date expected");
    return true;
}

/* ---- sets ---- */

/* seq-number = nz-number / "*" */
static bool parse_seq_number(struct imap_cursor *c, uint32_t *ret_number)
{
    if (imap_take(c, '*')) {
        *ret_number = 0;
        return true;
    }
    return imap_parse_nz_number(c, ret_number) || imap_fail(c, "Message set expected");
}

static size_t count_commas(const struct imap_cursor *c)
{
    size_t count = 0;
    for (const char *p = c->at; p < c->end && *p != ' ' && *p != ')'; p++)
        count += *p == ',';
    return count;
}

/* sequence-set = (seq-number / seq-range) *("," sequence-set) */
bool imap_parse_set(struct imap_cursor *c, struct imap_raw_set *ret_set)
{
    struct imap_raw_set set = {NULL, 0};
    size_t max = count_commas(c) + 1;
    if (max > LIMIT_IMAP_SET_RANGES)
        return imap_fail(c, "Too many ranges in the message set");
    set.ranges = arena_alloc_array(c->arena, max, sizeof *set.ranges);
    if (!set.ranges)
        return imap_fail(c, "Command too large");
    do {
        struct imap_raw_range r;
        if (set.count == max)
            return imap_fail(c, "Message set expected");
        if (!parse_seq_number(c, &r.first))
            return false;
        r.last = r.first;
        if (imap_take(c, ':') && !parse_seq_number(c, &r.last))
            return false;
        set.ranges[set.count++] = r;
    } while (imap_take(c, ','));
    *ret_set = set;
    return true;
}
