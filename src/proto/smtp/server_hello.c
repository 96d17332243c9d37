/* EHLO, HELO (RFC 5321 §4.1.1.1) and LHLO (RFC 2033 §4.1). */

#include "codec/date.h"
#include "codec/utf8.h"
#include "proto/smtp/server_state.h"

static const struct smtp_reply reply_bad_name =
    SMTP_REPLY(501, 5, 5, 4, "that is no name of a host");

/*
 * Many honest clients call themselves things that are no domain, so anything without spaces and
 * controls will do: it is for the trace header only, and nothing is decided by it.
 */
static bool is_name(struct str s)
{
    if (s.len > LIMIT_DOMAIN_SIZE || !utf8_valid(s))
        return false;
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] <= ' ' || s.ptr[i] == 0x7F)
            return false;
    return true;
}

/* Takes the name, or says why not. Any hello ends a transaction (RFC 5321 §4.1.4). */
static bool take_name(struct smtp_server *s, struct str name)
{
    if (!is_name(name)) {
        server_reply(s, &reply_bad_name);
        return false;
    }
    server_abort(s);
    buf_clear(&s->helo);
    if (!buf_append_str(&s->helo, name)) {
        server_close(s, SMTP_CLOSE_NO_MEMORY, NULL);
        return false;
    }
    s->hello = true;
    return true;
}

/* RFC 4865 §4.1: the longest interval, and the date-time at its end. */
static void offer_hold(struct buf *text, struct now now)
{
    struct civil c = civil_from_ms(now.wall_ms + LIMIT_SMTP_HOLD_S * 1000LL, 0);
    buf_printf(text, "\nFUTURERELEASE %d %04d-%02d-%02dT%02d:%02d:%02dZ", LIMIT_SMTP_HOLD_S, c.year,
               c.month, c.day, c.hour, c.minute, c.second);
}

/* What only makes sense where mail leaves. */
static void offer_outbound(const struct smtp_server *s, struct buf *text, struct now now)
{
    if (server_offers_dsn(s))
        buf_append_str(text, STR("\nDSN"));
    if (server_offers_requiretls(s))
        buf_append_str(text, STR("\nREQUIRETLS"));
    if (server_offers_deliver_by(s))
        buf_append_str(text, STR("\nDELIVERBY"));
    if (server_offers_priority(s))
        buf_append_str(text, STR("\nMT-PRIORITY"));
    if (server_offers_hold(s))
        offer_hold(text, now);
}

void server_ehlo(struct smtp_server *s, struct str argument, struct now now)
{
    if (!take_name(s, argument))
        return;
    s->extended = true;
    const struct smtp_listener *l = s->listener;
    struct buf text;
    buf_init(&text, 2048);
    buf_append_str(&text, l->hostname);
    buf_printf(&text, "\nPIPELINING\nSIZE %llu", (unsigned long long)l->limits.message_size);
    /* Never last: there are clients that look for "250-STARTTLS", gsasl one of them. */
    if (l->starttls && !s->tls)
        buf_append_str(&text, STR("\nSTARTTLS"));
    if (server_wants_login(s) && s->tls && !str_empty(l->auth_mechanisms))
        buf_printf(&text, "\nAUTH %.*s", STR_ARG(l->auth_mechanisms));
    buf_append_str(&text, STR("\n8BITMIME\nBINARYMIME\nCHUNKING\nSMTPUTF8\nENHANCEDSTATUSCODES"));
    /* RFC 9422 §4 */
    buf_printf(&text, "\nLIMITS RCPTMAX=%u MAILMAX=%u", l->limits.recipients,
               l->limits.transactions);
    offer_outbound(s, &text, now);
    if (text.failed)
        server_close(s, SMTP_CLOSE_NO_MEMORY, NULL);
    else
        server_reply(s, &(struct smtp_reply){.code = 250, .text = buf_str(&text)});
    buf_release(&text);
}

void server_helo(struct smtp_server *s, struct str argument, struct now now)
{
    (void)now;
    if (!take_name(s, argument))
        return;
    s->extended = false;
    server_reply(s, &(struct smtp_reply){.code = 250, .text = s->listener->hostname});
}
