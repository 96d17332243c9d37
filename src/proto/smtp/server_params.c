/* What stands behind the path of MAIL and RCPT, a table row for each parameter. */

#include "codec/date.h"
#include "codec/utf8.h"
#include "proto/smtp/params.h"
#include "proto/smtp/server_state.h"

static const struct smtp_reply reply_bad_params =
    SMTP_REPLY(501, 5, 5, 4, "a parameter is malformed or given twice");
static const struct smtp_reply reply_unknown_param =
    SMTP_REPLY(555, 5, 5, 4, "a parameter is not known here");

struct param {
    struct str keyword;
    unsigned bit; /* parameters that share one exclude each other, and themselves */
    bool (*is_offered)(const struct smtp_server *s);
    bool (*take)(struct smtp_server *s, const struct smtp_param *param, struct now now);
};

/* ---- What is offered to whom ---------------------------------------------------------------- */

static bool is_always_offered(const struct smtp_server *s)
{
    (void)s;
    return true;
}

bool server_offers_dsn(const struct smtp_server *s)
{
    return s->listener->outbound;
}

/* RFC 8689 §2: under TLS only. */
bool server_offers_requiretls(const struct smtp_server *s)
{
    return s->listener->outbound && s->tls;
}

/* RFC 4865 §3: for submission alone. */
bool server_offers_hold(const struct smtp_server *s)
{
    return s->listener->outbound && server_wants_login(s);
}

/* Behind LMTP there is only delivery, which does not wait. */
bool server_offers_deliver_by(const struct smtp_server *s)
{
    return s->listener->outbound && s->listener->kind != SMTP_LISTENER_LMTP;
}

/* RFC 6710 §5: only to those whose word for it is trusted. */
bool server_offers_priority(const struct smtp_server *s)
{
    return s->listener->outbound && (server_wants_login(s) || s->trusted);
}

/* ---- Values -----------------------------------------------------------------------------------
 */

/* 1*max_digits DIGIT */
static bool parse_digits(struct str value, size_t max_digits, uint64_t *ret_number)
{
    return value.len <= max_digits && str_to_u64(value, UINT64_MAX, ret_number);
}

/*
 * Decodes an xtext behind what s->decoded holds; events point into it. What comes out goes into
 * reports, so it must be printable there (RFC 3461 §4.2, §4.4).
 */
static bool decode(struct smtp_server *s, struct str xtext, struct str *ret_plain)
{
    size_t start = s->decoded.len;
    /* Room for all of a command at once, so that it does not move. */
    if (start == 0 && !buf_reserve(&s->decoded, LIMIT_SMTP_COMMAND_SIZE))
        return false;
    if (!smtp_xtext_decode(&s->decoded, xtext))
        return false;
    *ret_plain = str_skip(buf_str(&s->decoded), start);
    return true;
}

static bool is_printable(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((s.ptr[i] < ' ' && s.ptr[i] != '\t') || s.ptr[i] > '~')
            return false;
    return true;
}

/* ---- MAIL -------------------------------------------------------------------------------------
 */

/* RFC 1870 §4: 1*20DIGIT. What is beyond 64 bits is too big in any case. */
static bool take_size(struct smtp_server *s, const struct smtp_param *param, struct now now)
{
    (void)now;
    struct str value = param->value;
    if (value.len == 0 || value.len > 20)
        return false;
    for (size_t i = 0; i < value.len; i++)
        if (!ascii_is_digit(value.ptr[i]))
            return false;
    if (!str_to_u64(value, UINT64_MAX, &s->event.sender.size))
        s->event.sender.size = UINT64_MAX;
    return true;
}

/* RFC 6152 §2, RFC 3030 §3 */
static bool take_body(struct smtp_server *s, const struct smtp_param *param, struct now now)
{
    (void)now;
    static const struct str names[] = {[SMTP_BODY_7BIT] = STR("7BIT"),
                                       [SMTP_BODY_8BITMIME] = STR("8BITMIME"),
                                       [SMTP_BODY_BINARYMIME] = STR("BINARYMIME")};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (str_eq_nocase(param->value, names[i])) {
            s->event.sender.body = (enum smtp_body_type)i;
            return true;
        }
    }
    return false;
}

/* RFC 6531 §3.4 */
static bool take_utf8(struct smtp_server *s, const struct smtp_param *param, struct now now)
{
    (void)now;
    s->event.sender.utf8 = true;
    return !param->has_value;
}

/* RFC 4954 §5: an xtext of a mailbox, or "<>". */
static bool take_auth(struct smtp_server *s, const struct smtp_param *param, struct now now)
{
    (void)now;
    struct mailbox_address mailbox;
    struct str plain;
    if (!param->has_value || !decode(s, param->value, &plain))
        return false;
    if (str_eq(plain, STR("<>")))
        return true;
    s->event.sender.auth = text_from(plain);
    return address_parse_mailbox(plain, &mailbox) == ADDRESS_OK;
}

/* RFC 3461 §4.3 */
static bool take_ret(struct smtp_server *s, const struct smtp_param *param, struct now now)
{
    (void)now;
    bool full = str_eq_nocase(param->value, STR("FULL"));
    s->event.sender.ret = full ? SMTP_RET_FULL : SMTP_RET_HDRS;
    return full || str_eq_nocase(param->value, STR("HDRS"));
}

/* RFC 3461 §4.4: an xtext, up to 100 characters with its keyword. */
static bool take_envid(struct smtp_server *s, const struct smtp_param *param, struct now now)
{
    (void)now;
    enum { PARAMETER_SIZE_MAX = 100 };
    struct str plain;
    if (!param->has_value || param->keyword.len + 1 + param->value.len > PARAMETER_SIZE_MAX ||
        !decode(s, param->value, &plain) || !is_printable(plain))
        return false;
    s->event.sender.envid = text_from(plain);
    return true;
}

/* RFC 8689 §2 */
static bool take_requiretls(struct smtp_server *s, const struct smtp_param *param, struct now now)
{
    (void)now;
    s->event.sender.requiretls = true;
    return !param->has_value;
}

/*
 * RFC 4865 §4.1: future-release-integer = %x31-39 *8DIGIT
 */
static bool take_hold_for(struct smtp_server *s, const struct smtp_param *param, struct now now)
{
    (void)now;
    uint64_t seconds;
    if (!parse_digits(param->value, 9, &seconds) || param->value.ptr[0] == '0' ||
        seconds > LIMIT_SMTP_HOLD_S)
        return false;
    s->event.sender.hold_ms = seconds * 1000;
    return true;
}

/* The date-time of RFC 3339. One that has passed holds nothing. */
static bool take_hold_until(struct smtp_server *s, const struct smtp_param *param, struct now now)
{
    int64_t until_ms;
    if (!date_parse_iso(param->value, &until_ms))
        return false;
    if (until_ms <= now.wall_ms)
        return true;
    s->event.sender.hold_ms = (uint64_t)(until_ms - now.wall_ms);
    return s->event.sender.hold_ms <= LIMIT_SMTP_HOLD_S * 1000ULL;
}

/*
 * RFC 2852 §4:
 *
 *   by-value = by-time ";" by-mode [by-trace]
 *   by-time  = ["-" / "+"] 1*9DIGIT      seconds
 *   by-mode  = "N" / "R"                 notify, return
 *   by-trace = "T"
 *
 * What is to be returned after no time at all cannot be delivered.
 */
static bool take_by(struct smtp_server *s, const struct smtp_param *param, struct now now)
{
    (void)now;
    struct smtp_event_sender *sender = &s->event.sender;
    struct str value = param->value, time;
    uint64_t seconds;
    if (!param->has_value || !str_split(&value, ';', &time))
        return false;
    bool negative = str_starts(time, STR("-"));
    if (negative || str_starts(time, STR("+")))
        time = str_skip(time, 1);
    if (!parse_digits(time, 9, &seconds) || value.len < 1 || value.len > 2)
        return false;
    char mode = ascii_lower(value.ptr[0]);
    sender->by_ms = (negative ? -1000 : 1000) * (int64_t)seconds;
    sender->by_mode = mode == 'r' ? SMTP_BY_RETURN : SMTP_BY_NOTIFY;
    sender->by_trace = value.len == 2;
    if (sender->by_trace && ascii_lower(value.ptr[1]) != 't')
        return false;
    return mode == 'n' || (mode == 'r' && sender->by_ms > 0);
}

/*
 * RFC 6710 §3: priority-value = (["-"] NZDIGIT) / "0"
 */
static bool take_priority(struct smtp_server *s, const struct smtp_param *param, struct now now)
{
    (void)now;
    struct str value = param->value;
    bool negative = str_starts(value, STR("-"));
    if (negative)
        value = str_skip(value, 1);
    if (value.len != 1 || !ascii_is_digit(value.ptr[0]) || (negative && value.ptr[0] == '0'))
        return false;
    s->event.sender.priority = (value.ptr[0] - '0') * (negative ? -1 : 1);
    return true;
}

static const struct param mail_params[] = {
    {STR("SIZE"), 1 << 0, is_always_offered, take_size},
    {STR("BODY"), 1 << 1, is_always_offered, take_body},
    {STR("SMTPUTF8"), 1 << 2, is_always_offered, take_utf8},
    {STR("AUTH"), 1 << 3, server_wants_login, take_auth},
    {STR("RET"), 1 << 4, server_offers_dsn, take_ret},
    {STR("ENVID"), 1 << 5, server_offers_dsn, take_envid},
    {STR("REQUIRETLS"), 1 << 6, server_offers_requiretls, take_requiretls},
    {STR("HOLDFOR"), 1 << 7, server_offers_hold, take_hold_for},
    {STR("HOLDUNTIL"), 1 << 7, server_offers_hold, take_hold_until},
    {STR("BY"), 1 << 8, server_offers_deliver_by, take_by},
    {STR("MT-PRIORITY"), 1 << 9, server_offers_priority, take_priority},
};

/* ---- RCPT -------------------------------------------------------------------------------------
 */

/*
 * RFC 3461 §4.1:
 *
 *   notify-esmtp-value  = "NEVER" / 1#notify-list-element
 *   notify-list-element = "SUCCESS" / "FAILURE" / "DELAY"
 */
static bool take_notify(struct smtp_server *s, const struct smtp_param *param, struct now now)
{
    (void)now;
    static const struct {
        struct str word;
        uint8_t bit;
    } words[] = {
        {STR("SUCCESS"), SMTP_NOTIFY_SUCCESS},
        {STR("FAILURE"), SMTP_NOTIFY_FAILURE},
        {STR("DELAY"), SMTP_NOTIFY_DELAY},
    };
    struct str rest = param->value, word;
    uint8_t notify = 0;
    if (str_eq_nocase(rest, STR("NEVER"))) {
        s->event.recipient.notify = SMTP_NOTIFY_NEVER;
        return true;
    }
    /* An empty word behind a comma at the end is one too many. */
    bool good = param->has_value && !str_ends(rest, STR(","));
    while (good && str_split(&rest, ',', &word)) {
        uint8_t bit = 0;
        for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
            if (str_eq_nocase(word, words[i].word))
                bit = words[i].bit;
        good = bit != 0;
        notify |= bit;
    }
    s->event.recipient.notify = notify;
    return good;
}

/* RFC 5322 §3.2.3 */
static bool is_atom(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!ascii_is_alpha(s.ptr[i]) && !ascii_is_digit(s.ptr[i]) &&
            !memchr("!#$%&'*+-/=?^_`{|}~", s.ptr[i], 19))
            return false;
    return s.len > 0;
}

/*
 * RFC 3461 §4.2, up to 500 characters with the keyword:
 *
 *   original-recipient-address = addr-type ";" xtext
 *   addr-type                  = atom
 *
 * RFC 6533 §3: an address of type utf-8 may stand there in UTF-8, in a transaction with SMTPUTF8.
 */
static bool take_orcpt(struct smtp_server *s, const struct smtp_param *param, struct now now)
{
    (void)now;
    enum { PARAMETER_SIZE_MAX = 500 };
    struct str address = param->value, type, plain;
    if (!param->has_value || param->keyword.len + 1 + param->value.len > PARAMETER_SIZE_MAX ||
        !str_split(&address, ';', &type) || str_empty(address) || !is_atom(type))
        return false;
    if (!utf8_is_ascii(address)) {
        s->event.recipient.orcpt = text_from(param->value);
        return s->transaction.utf8 && str_eq_nocase(type, STR("utf-8"));
    }
    buf_append_str(&s->decoded, type);
    buf_append_byte(&s->decoded, ';');
    if (s->decoded.failed || !smtp_xtext_decode(&s->decoded, address))
        return false;
    plain = buf_str(&s->decoded);
    s->event.recipient.orcpt = text_from(plain);
    return is_printable(plain);
}

static const struct param rcpt_params[] = {
    {STR("NOTIFY"), 1 << 0, server_offers_dsn, take_notify},
    {STR("ORCPT"), 1 << 1, server_offers_dsn, take_orcpt},
};

/* ---- All of them ------------------------------------------------------------------------------
 */

static const struct param *find(const struct smtp_server *s, const struct param *table,
                                size_t count, struct str keyword)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq_nocase(keyword, table[i].keyword) && table[i].is_offered(s))
            return &table[i];
    return NULL;
}

static const struct smtp_reply *take_all(struct smtp_server *s, const struct param *table,
                                         size_t count, struct str rest, struct now now)
{
    struct smtp_param param;
    enum smtp_param_result result;
    unsigned given = 0;
    buf_clear(&s->decoded);
    while ((result = smtp_param_next(&rest, &param)) != SMTP_PARAM_END) {
        if (result != SMTP_PARAM_OK)
            return &reply_bad_params;
        const struct param *known = find(s, table, count, param.keyword);
        if (!known)
            return &reply_unknown_param;
        if ((given & known->bit) || !known->take(s, &param, now))
            return &reply_bad_params;
        given |= known->bit;
    }
    return NULL;
}

const struct smtp_reply *server_take_mail_params(struct smtp_server *s, struct str rest,
                                                 struct now now)
{
    return take_all(s, mail_params, sizeof mail_params / sizeof mail_params[0], rest, now);
}

const struct smtp_reply *server_take_rcpt_params(struct smtp_server *s, struct str rest,
                                                 struct now now)
{
    return take_all(s, rcpt_params, sizeof rcpt_params / sizeof rcpt_params[0], rest, now);
}
