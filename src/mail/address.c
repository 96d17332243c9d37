#include "mail/address.h"

#include <arpa/inet.h>

#include "base/limits.h"
#include "codec/fold.h"
#include "codec/idn.h"
#include "codec/utf8.h"

/* ---- grammar of RFC 5321 §4.1.2, with UTF8-non-ascii of RFC 6531 §3.3 ---- */

struct cursor {
    struct str in;
    size_t at;
};

static bool peek_is(const struct cursor *c, char wanted)
{
    return c->at < c->in.len && c->in.ptr[c->at] == wanted;
}

static bool take(struct cursor *c, char wanted)
{
    bool there = peek_is(c, wanted);
    c->at += there;
    return there;
}

static struct str taken_since(const struct cursor *c, size_t from)
{
    return str_sub(c->in, from, c->at - from);
}

/* One character beyond ASCII: UTF8-non-ascii. C1 controls are none of anybody's name. */
static bool take_utf8(struct cursor *c)
{
    struct str rest = str_skip(c->in, c->at);
    uint32_t character;
    if (rest.len == 0 || (unsigned char)rest.ptr[0] < 0x80 || !utf8_next(&rest, &character) ||
        character < 0xA0)
        return false;
    c->at = c->in.len - rest.len;
    return true;
}

static bool is_alnum(char c)
{
    return ascii_is_alpha(c) || ascii_is_digit(c);
}

/* RFC 5322 §3.2.3 */
static bool is_atext(char c)
{
    return is_alnum(c) || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

/* Atom = 1*atext */
static bool take_atom(struct cursor *c)
{
    size_t from = c->at;
    for (;;) {
        if (c->at < c->in.len && is_atext(c->in.ptr[c->at]))
            c->at++;
        else if (!take_utf8(c))
            return c->at > from;
    }
}

/* Dot-string = Atom *("."  Atom) */
static bool take_dot_string(struct cursor *c)
{
    do
        if (!take_atom(c))
            return false;
    while (take(c, '.'));
    return true;
}

/*
 * Quoted-string  = DQUOTE *QcontentSMTP DQUOTE
 * QcontentSMTP   = qtextSMTP / quoted-pairSMTP
 * quoted-pairSMTP= %d92 %d32-126
 * qtextSMTP      = %d32-33 / %d35-91 / %d93-126 / UTF8-non-ascii
 */
static bool take_quoted_string(struct cursor *c)
{
    if (!take(c, '"'))
        return false;
    while (c->at < c->in.len && !peek_is(c, '"')) {
        take(c, '\\');
        if (c->at < c->in.len && c->in.ptr[c->at] >= ' ' && c->in.ptr[c->at] < 0x7F)
            c->at++;
        else if (!take_utf8(c))
            return false;
    }
    return take(c, '"');
}

/* sub-domain = Let-dig [Ldh-str] / U-label; 63 octets at most (RFC 1035 §2.3.4) as an A-label. */
static bool take_label(struct cursor *c)
{
    size_t from = c->at;
    bool ascii = true;
    while (c->at < c->in.len) {
        char byte = c->in.ptr[c->at];
        if (is_alnum(byte) || (byte == '-' && c->at > from))
            c->at++;
        else if (take_utf8(c))
            ascii = false;
        else
            break;
    }
    size_t len = c->at - from;
    return len > 0 && c->in.ptr[c->at - 1] != '-' && (!ascii || len <= 63);
}

/* Domain = sub-domain *("." sub-domain) */
static bool take_domain(struct cursor *c)
{
    do
        if (!take_label(c))
            return false;
    while (take(c, '.'));
    return true;
}

bool address_is_ipv4(struct str s)
{
    char text[INET_ADDRSTRLEN];
    struct in_addr address;
    return str_to_c(s, text, sizeof text) && inet_pton(AF_INET, text, &address) == 1;
}

bool address_is_ipv6(struct str s)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;
    return str_to_c(s, text, sizeof text) && inet_pton(AF_INET6, text, &address) == 1;
}

/*
 * General-address-literal = Standardized-tag ":" 1*dcontent
 * Standardized-tag        = Ldh-str (that ends in a letter or digit)
 * dcontent                = %d33-90 / %d94-126
 */
static bool is_general_literal(struct str s)
{
    ptrdiff_t colon = str_find_byte(s, ':');
    if (colon < 1 || (size_t)colon + 1 == s.len || !is_alnum(s.ptr[colon - 1]))
        return false;
    for (ptrdiff_t i = 0; i < colon; i++)
        if (!is_alnum(s.ptr[i]) && s.ptr[i] != '-')
            return false;
    return true;
}

/* address-literal = "[" ( IPv4 / "IPv6:" IPv6-addr / General-address-literal ) "]" (§4.1.3) */
static bool take_literal(struct cursor *c)
{
    if (!take(c, '['))
        return false;
    size_t from = c->at;
    while (c->at < c->in.len && c->in.ptr[c->at] > ' ' && c->in.ptr[c->at] < 0x7F &&
           !strchr("[\\]", c->in.ptr[c->at]))
        c->at++;
    struct str inside = taken_since(c, from);
    if (!take(c, ']'))
        return false;
    if (str_starts_nocase(inside, STR("IPv6:")))
        return address_is_ipv6(str_skip(inside, 5));
    return address_is_ipv4(inside) || is_general_literal(inside);
}

static bool has_utf8(struct str s)
{
    return !utf8_is_ascii(s);
}

/* Local-part = Dot-string / Quoted-string */
static bool take_local(struct cursor *c, struct mailbox_address *a)
{
    size_t from = c->at;
    a->is_quoted = peek_is(c, '"');
    if (!(a->is_quoted ? take_quoted_string(c) : take_dot_string(c)))
        return false;
    a->local = taken_since(c, from);
    a->is_utf8 = has_utf8(a->local);
    return true;
}

/* Mailbox = Local-part "@" ( Domain / address-literal ) */
static bool take_mailbox(struct cursor *c, struct mailbox_address *a)
{
    *a = (struct mailbox_address){0};
    if (!take_local(c, a) || !take(c, '@'))
        return false;
    size_t from = c->at;
    a->is_literal = peek_is(c, '[');
    if (!(a->is_literal ? take_literal(c) : take_domain(c)))
        return false;
    a->domain = taken_since(c, from);
    a->is_utf8 |= has_utf8(a->domain);
    return true;
}

/* A-d-l = At-domain *( "," At-domain ), At-domain = "@" Domain */
static bool take_route(struct cursor *c, struct str *ret_route)
{
    size_t from = c->at;
    do
        if (!take(c, '@') || !take_domain(c))
            return false;
    while (take(c, ','));
    *ret_route = taken_since(c, from);
    return take(c, ':');
}

static enum address_result check_lengths(const struct mailbox_address *a)
{
    bool fits = a->local.len <= LIMIT_LOCAL_PART_SIZE && a->domain.len <= LIMIT_DOMAIN_SIZE;
    return fits ? ADDRESS_OK : ADDRESS_TOO_LONG;
}

/* RFC 5321 §4.1.1.3: "<Postmaster>" has no domain, and any case. */
static bool take_postmaster(struct cursor *c, struct mailbox_address *a)
{
    struct str name = STR("<postmaster>");
    struct str rest = str_skip(c->in, c->at);
    if (!str_starts_nocase(rest, name))
        return false;
    *a = (struct mailbox_address){.local = str_sub(rest, 1, name.len - 2)};
    c->at += name.len;
    return true;
}

/*
 * Reverse-path = Path / "<>"
 * Forward-path = Path / "<Postmaster>"
 * Path         = "<" [ A-d-l ":" ] Mailbox ">"
 */
enum address_result address_parse_path(struct str in, enum path_kind kind,
                                       struct mailbox_path *ret_path, size_t *ret_used)
{
    struct cursor c = {in, 0};
    struct mailbox_path path = {0};
    if (kind == PATH_REVERSE && str_starts(in, STR("<>"))) {
        path.is_null = true;
        c.at = 2;
    } else if (kind != PATH_FORWARD || !take_postmaster(&c, &path.mailbox)) {
        if (!take(&c, '<') || (peek_is(&c, '@') && !take_route(&c, &path.route)) ||
            !take_mailbox(&c, &path.mailbox) || !take(&c, '>'))
            return ADDRESS_BAD;
    }
    if (c.at > LIMIT_PATH_SIZE || check_lengths(&path.mailbox) != ADDRESS_OK)
        return ADDRESS_TOO_LONG;
    *ret_path = path;
    *ret_used = c.at;
    return ADDRESS_OK;
}

enum address_result address_parse_mailbox(struct str in, struct mailbox_address *ret_address)
{
    struct cursor c = {in, 0};
    struct mailbox_address address;
    if (!take_mailbox(&c, &address) || c.at != in.len)
        return ADDRESS_BAD;
    if (check_lengths(&address) != ADDRESS_OK)
        return ADDRESS_TOO_LONG;
    *ret_address = address;
    return ADDRESS_OK;
}

bool address_parse_domain(struct str in, bool *ret_is_literal)
{
    struct cursor c = {in, 0};
    bool is_literal = peek_is(&c, '[');
    if (!(is_literal ? take_literal(&c) : take_domain(&c)) || c.at != in.len ||
        in.len > LIMIT_DOMAIN_SIZE)
        return false;
    *ret_is_literal = is_literal;
    return true;
}

/* ---- forms ---- */

bool address_plain_local(struct buf *out, const struct mailbox_address *a)
{
    if (!a->is_quoted)
        return buf_append_str(out, a->local);
    for (size_t i = 1; i + 1 < a->local.len; i++) {
        i += a->local.ptr[i] == '\\';
        buf_append_byte(out, a->local.ptr[i]);
    }
    return !out->failed;
}

static bool is_dot_string(struct str s)
{
    struct cursor c = {s, 0};
    return take_dot_string(&c) && c.at == s.len;
}

bool address_print_parts(struct buf *out, struct str plain_local, struct str domain)
{
    if (is_dot_string(plain_local)) {
        buf_append_str(out, plain_local);
    } else {
        buf_append_byte(out, '"');
        for (size_t i = 0; i < plain_local.len; i++) {
            if (plain_local.ptr[i] == '"' || plain_local.ptr[i] == '\\')
                buf_append_byte(out, '\\');
            buf_append_byte(out, plain_local.ptr[i]);
        }
        buf_append_byte(out, '"');
    }
    if (domain.len > 0) {
        buf_append_byte(out, '@');
        buf_append_str(out, domain);
    }
    return !out->failed;
}

bool address_print(struct buf *out, const struct mailbox_address *a)
{
    struct buf plain;
    buf_init(&plain, a->local.len + 1);
    bool done =
        address_plain_local(&plain, a) && address_print_parts(out, buf_str(&plain), a->domain);
    buf_release(&plain);
    return done;
}

bool address_split_detail(struct str local, char sep, struct str *ret_user, struct str *ret_detail)
{
    ptrdiff_t at = str_find_byte(local, sep);
    if (at < 1)
        return false;
    *ret_user = str_sub(local, 0, (size_t)at);
    *ret_detail = str_skip(local, (size_t)at + 1);
    return true;
}

bool address_is_relay_attempt(struct str plain_local)
{
    for (size_t i = 0; i < plain_local.len; i++)
        if (strchr("%!@", plain_local.ptr[i]) && plain_local.ptr[i] != '\0')
            return true;
    return false;
}

static void put_lower(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        buf_append_byte(out, ascii_lower(s.ptr[i]));
}

bool address_normal_domain(struct buf *out, struct str domain)
{
    if (!str_starts(domain, STR("[")))
        return idn_to_ascii(out, domain);
    size_t before = out->len;
    put_lower(out, domain);
    if (out->failed)
        buf_truncate(out, before);
    return !out->failed;
}

bool address_normal_local(struct buf *out, const struct mailbox_address *a)
{
    struct buf plain;
    buf_init(&plain, a->local.len + 1);
    bool done = address_plain_local(&plain, a) && fold_name(out, buf_str(&plain));
    buf_release(&plain);
    return done;
}

bool address_normalise(struct buf *out, const struct mailbox_address *a)
{
    size_t before = out->len;
    bool done = address_normal_local(out, a);
    if (done && a->domain.len > 0)
        done = buf_append_byte(out, '@') && address_normal_domain(out, a->domain);
    if (!done)
        buf_truncate(out, before);
    return done;
}
