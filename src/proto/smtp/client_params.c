/* What MAIL and RCPT say (RFC 5321 §4.1.1.2, .3), and what stands against saying it. */

#include "mail/address.h"
#include "proto/smtp/client_state.h"
#include "proto/smtp/params.h"

enum {
    ENVID_SIZE = 100 - 6, /* RFC 3461 §4.4: with "ENVID=" */
    ORCPT_SIZE = 500 - 6, /* RFC 3461 §4.2: with "ORCPT=" */
    BY_MAX_S = 999999999
};

/* ---- What stands against it --------------------------------------------------------------- */

static bool is_path_good(struct str path, bool utf8, bool *ret_needs_utf8)
{
    struct mailbox_address address;
    *ret_needs_utf8 = false;
    if (address_parse_mailbox(path, &address) != ADDRESS_OK)
        return false;
    *ret_needs_utf8 = address.is_utf8 && !utf8;
    return true;
}

static bool find_body_obstacle(const struct smtp_client *c, const struct smtp_client_message *m)
{
    const struct smtp_abilities *a = &c->abilities;
    if (m->body == SMTP_BODY_BINARYMIME)
        return !a->binary_mime || !a->chunking; /* RFC 3030 §3 */
    return m->body == SMTP_BODY_8BITMIME && !a->eight_bit_mime;
}

static bool can_require_tls(const struct smtp_client *c)
{
    return c->abilities.requiretls && c->tls;
}

/* Without SMTPUTF8 said for it, an address in other letters is none. */
bool client_find_fault(const struct smtp_client_message *m, struct smtp_client_reply *ret_reply)
{
    bool needs_utf8 = false;
    if (str_empty(m->reverse_path))
        return false;
    if (!is_path_good(m->reverse_path, m->utf8, &needs_utf8))
        *ret_reply = client_own_reply(5, 1, 7, STR("the sender is no address"));
    else if (needs_utf8)
        *ret_reply = client_own_reply(5, 6, 7, STR("the sender's address needs SMTPUTF8"));
    else
        return false;
    return true;
}

bool client_find_lack(const struct smtp_client *c, const struct smtp_client_message *m,
                      struct smtp_client_reply *ret_reply)
{
    const struct smtp_abilities *a = &c->abilities;
    if (m->utf8 && !a->smtputf8)
        *ret_reply = client_own_reply(5, 6, 7, STR("the server does not offer SMTPUTF8"));
    else if (m->requiretls && !can_require_tls(c)) /* RFC 8689 §4.2.1 */
        *ret_reply = client_own_reply(5, 7, 30, STR("the server does not offer REQUIRETLS"));
    else if (a->size_max > 0 && m->size > a->size_max) /* RFC 1870 §6.1 */
        *ret_reply = client_own_reply(5, 3, 4, STR("the server does not take mail of this size"));
    else if (find_body_obstacle(c, m))
        *ret_reply = client_own_reply(5, 6, 3, STR("the server does not take a body of this kind"));
    else if (m->by_mode == SMTP_BY_RETURN && !a->deliver_by) /* RFC 2852 §4.1.4.1 */
        *ret_reply = client_own_reply(5, 3, 3, STR("the server does not offer DELIVERBY"));
    else
        return false;
    return true;
}

bool client_find_rcpt_obstacle(const struct smtp_client_message *m,
                               const struct smtp_client_recipient *r,
                               struct smtp_client_reply *ret_reply)
{
    bool needs_utf8;
    if (!is_path_good(r->path, m->utf8, &needs_utf8))
        *ret_reply = client_own_reply(5, 1, 3, STR("that is no address"));
    else if (needs_utf8)
        *ret_reply = client_own_reply(5, 6, 7, STR("the address needs SMTPUTF8"));
    else
        return false;
    return true;
}

/*
 * RFC 9422 §4.3: RCPTDOMAINMAX counts the domains of a session. Where too many are remembered, the
 * connection has done its work as well.
 */
bool client_take_domain(struct smtp_client *c, struct str path)
{
    struct str domain = str_skip(path, (size_t)(str_rfind_byte(path, '@') + 1));
    struct str rest = buf_str(&c->domains), known;
    if (c->abilities.rcpt_domain_max == 0)
        return true;
    while (str_split(&rest, '\n', &known))
        if (str_eq_nocase(known, domain))
            return true;
    c->spent = c->domain_count >= c->abilities.rcpt_domain_max ||
               c->domains.len + domain.len + 1 > c->domains.max ||
               !buf_append_str(&c->domains, domain) || !buf_append_byte(&c->domains, '\n');
    if (c->spent)
        return false;
    c->domain_count++;
    return true;
}

/* ---- MAIL --------------------------------------------------------------------------------- */

/* Says name and value, unless the value is longer than it may be. */
static void say_bounded(struct smtp_client *c, struct str name, struct buf *value)
{
    if (!value->failed) {
        client_say(c, name);
        client_say(c, buf_str(value));
    }
    buf_release(value);
}

/* RFC 3461 §4.3, §4.4 */
static void say_mail_dsn(struct smtp_client *c, const struct smtp_client_message *m)
{
    if (m->ret != SMTP_RET_UNSAID)
        client_say(c, m->ret == SMTP_RET_FULL ? STR(" RET=FULL") : STR(" RET=HDRS"));
    if (str_empty(m->envid))
        return;
    struct buf envid;
    buf_init(&envid, ENVID_SIZE);
    smtp_xtext_encode(&envid, m->envid);
    say_bounded(c, STR(" ENVID="), &envid);
}

/* RFC 2852 §4: by-time ";" by-mode [ "T" ] */
static void say_by(struct smtp_client *c, const struct smtp_client_message *m)
{
    int64_t by_s = m->by_s > BY_MAX_S ? BY_MAX_S : m->by_s < -BY_MAX_S ? -BY_MAX_S : m->by_s;
    client_sayf(c, " BY=%lld;%c%s", (long long)by_s, m->by_mode == SMTP_BY_RETURN ? 'R' : 'N',
                m->by_trace ? "T" : "");
}

void client_say_mail(struct smtp_client *c, const struct smtp_client_message *m)
{
    const struct smtp_abilities *a = &c->abilities;
    client_sayf(c, "MAIL FROM:<%.*s>", STR_ARG(m->reverse_path));
    if (a->size && m->size > 0)
        client_sayf(c, " SIZE=%llu", (unsigned long long)m->size);
    if (m->body == SMTP_BODY_8BITMIME)
        client_say(c, STR(" BODY=8BITMIME"));
    if (m->body == SMTP_BODY_BINARYMIME)
        client_say(c, STR(" BODY=BINARYMIME"));
    if (m->utf8)
        client_say(c, STR(" SMTPUTF8"));
    if (m->requiretls)
        client_say(c, STR(" REQUIRETLS"));
    if (a->dsn)
        say_mail_dsn(c, m);
    if (a->deliver_by && m->by_mode != SMTP_BY_NONE)
        say_by(c, m);
    if (a->mt_priority && m->priority != 0)
        client_sayf(c, " MT-PRIORITY=%d", m->priority); /* RFC 6710 §4 */
    client_say(c, STR("\r\n"));
}

/* ---- RCPT --------------------------------------------------------------------------------- */

/* RFC 3461 §4.1: "NEVER" / 1#("SUCCESS" / "FAILURE" / "DELAY") */
static void say_notify(struct smtp_client *c, unsigned notify)
{
    static const struct {
        unsigned bit;
        struct str name;
    } names[] = {
        {SMTP_NOTIFY_SUCCESS, STR("SUCCESS")},
        {SMTP_NOTIFY_FAILURE, STR("FAILURE")},
        {SMTP_NOTIFY_DELAY, STR("DELAY")},
    };
    client_say(c, STR(" NOTIFY="));
    if (notify & SMTP_NOTIFY_NEVER) {
        client_say(c, STR("NEVER"));
        return;
    }
    bool first = true;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (!(notify & names[i].bit))
            continue;
        client_say(c, first ? STR("") : STR(","));
        client_say(c, names[i].name);
        first = false;
    }
}

/* RFC 3461 §4.2: addr-type ";" xtext; addr-type is an atom */
static bool is_address_type(struct str type)
{
    for (size_t i = 0; i < type.len; i++)
        if (!ascii_is_alpha(type.ptr[i]) && !ascii_is_digit(type.ptr[i]) && type.ptr[i] != '-')
            return false;
    return type.len > 0;
}

static void say_orcpt(struct smtp_client *c, struct str orcpt, bool utf8)
{
    ptrdiff_t semicolon = str_find_byte(orcpt, ';');
    if (semicolon < 0 || !is_address_type(str_sub(orcpt, 0, (size_t)semicolon)))
        return;
    struct str type = str_sub(orcpt, 0, (size_t)semicolon), address = str_skip(orcpt, type.len + 1);
    struct buf value;
    buf_init(&value, ORCPT_SIZE);
    buf_append_str(&value, type);
    buf_append_str(&value, STR(";"));
    if (str_eq_nocase(type, STR("utf-8")))
        smtp_utf8_address_encode(&value, address, utf8);
    else
        smtp_xtext_encode(&value, address);
    say_bounded(c, STR(" ORCPT="), &value);
}

void client_say_rcpt(struct smtp_client *c, const struct smtp_client_message *m,
                     const struct smtp_client_recipient *r)
{
    client_sayf(c, "RCPT TO:<%.*s>", STR_ARG(r->path));
    if (c->abilities.dsn && r->notify != 0)
        say_notify(c, r->notify);
    if (c->abilities.dsn && !str_empty(r->orcpt))
        say_orcpt(c, r->orcpt, m->utf8);
    client_say(c, STR("\r\n"));
}
