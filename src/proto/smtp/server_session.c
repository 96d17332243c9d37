/* RSET, NOOP, QUIT, VRFY, EXPN, HELP (RFC 5321 §4.1.1.5 to .10) and STARTTLS (RFC 3207). */

#include "proto/smtp/server_state.h"

static const struct smtp_reply reply_reset = SMTP_REPLY(250, 2, 0, 0, "forgotten");
static const struct smtp_reply reply_noop = SMTP_REPLY(250, 2, 0, 0, "fine");
static const struct smtp_reply reply_bye = SMTP_REPLY(221, 2, 0, 0, "good bye");
/* RFC 5321 §7.3: what names exist is nobody's business; RCPT will tell. */
static const struct smtp_reply reply_vrfy =
    SMTP_REPLY(252, 2, 5, 0, "cannot verify, but will take a message and try");
static const struct smtp_reply reply_expn = SMTP_REPLY(502, 5, 5, 1, "lists are not shown");
static const struct smtp_reply reply_go_ahead = SMTP_REPLY(220, 2, 0, 0, "ready for TLS");
static const struct smtp_reply reply_no_tls = SMTP_REPLY(502, 5, 5, 1, "TLS is not available");
static const struct smtp_reply reply_tls_twice = SMTP_REPLY(503, 5, 5, 1, "TLS is active already");

void server_rset(struct smtp_server *s, struct str argument, struct now now)
{
    (void)argument, (void)now;
    server_abort(s);
    server_reply(s, &reply_reset);
}

void server_noop(struct smtp_server *s, struct str argument, struct now now)
{
    (void)argument, (void)now;
    server_reply(s, &reply_noop);
}

void server_quit(struct smtp_server *s, struct str argument, struct now now)
{
    (void)argument, (void)now;
    server_reply(s, &reply_bye);
    server_close(s, SMTP_CLOSE_QUIT, NULL);
}

void server_vrfy(struct smtp_server *s, struct str argument, struct now now)
{
    (void)argument, (void)now;
    server_reply(s, &reply_vrfy);
}

void server_expn(struct smtp_server *s, struct str argument, struct now now)
{
    (void)argument, (void)now;
    server_reply(s, &reply_expn);
}

void server_help(struct smtp_server *s, struct str argument, struct now now)
{
    (void)argument, (void)now;
    unsigned here = s->listener->kind == SMTP_LISTENER_LMTP ? ON_LMTP : ON_SMTP;
    struct buf text;
    buf_init(&text, SMTP_REPLY_LINE_SIZE);
    buf_append_str(&text, STR("RFC 5321 tells all; known here:"));
    for (size_t i = ROW_FIRST_COMMAND; i < smtp_commands_count; i++)
        if (smtp_commands[i].flags & here)
            buf_printf(&text, " %.*s", STR_ARG(smtp_commands[i].name));
    server_reply(s, &(struct smtp_reply){214, 2, 0, 0, buf_str(&text)});
    buf_release(&text);
}

void server_starttls(struct smtp_server *s, struct str argument, struct now now)
{
    (void)argument, (void)now;
    if (s->tls) {
        server_reply(s, &reply_tls_twice);
        return;
    }
    if (!s->listener->starttls) {
        server_reply(s, &reply_no_tls);
        return;
    }
    /* RFC 3207 §4.2: what was said in clear is forgotten. */
    server_abort(s);
    server_reply(s, &reply_go_ahead);
    server_set_state(s, STATE_HANDSHAKE);
    server_tell(s, SMTP_EVENT_START_TLS);
}

void smtp_server_tls_started(struct smtp_server *s, struct now now)
{
    if (s->state != STATE_HANDSHAKE)
        return;
    s->tls = true;
    s->hello = s->extended = s->authenticated = false;
    buf_release(&s->helo);
    s->active_ms = now.mono_ms;
    server_set_state(s, STATE_COMMAND);
}
