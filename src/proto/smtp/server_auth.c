/* AUTH (RFC 4954). What the mechanisms say to each other passes through unread. */

#include "codec/base64.h"
#include "proto/smtp/server_state.h"

static const struct smtp_reply reply_none_here =
    SMTP_REPLY(502, 5, 5, 1, "authentication is not offered here");
static const struct smtp_reply reply_tls_first =
    SMTP_REPLY(538, 5, 7, 11, "encryption is needed: STARTTLS first");
static const struct smtp_reply reply_ehlo_first = SMTP_REPLY(503, 5, 5, 1, "EHLO first");
static const struct smtp_reply reply_twice = SMTP_REPLY(503, 5, 5, 1, "authenticated already");
static const struct smtp_reply reply_in_transaction =
    SMTP_REPLY(503, 5, 5, 1, "not inside a transaction");
static const struct smtp_reply reply_unknown_mechanism =
    SMTP_REPLY(504, 5, 5, 4, "that mechanism is not offered");
static const struct smtp_reply reply_not_base64 = SMTP_REPLY(501, 5, 5, 2, "that is no base64");
static const struct smtp_reply reply_cancelled = SMTP_REPLY(501, 5, 7, 0, "cancelled");
static const struct smtp_reply reply_line_too_long = SMTP_REPLY(500, 5, 5, 6, "line too long");
static const struct smtp_reply reply_success = SMTP_REPLY(235, 2, 7, 0, "authentication succeeded");
static const struct smtp_reply reply_too_many_failures =
    SMTP_REPLY(421, 4, 7, 0, "too many failures");

static const struct smtp_reply replies_failure[] = {
    [SMTP_AUTH_BAD_CREDENTIALS] = SMTP_REPLY(535, 5, 7, 8, "authentication failed"),
    [SMTP_AUTH_MALFORMED] = SMTP_REPLY(501, 5, 5, 2, "that is not of this mechanism"),
    [SMTP_AUTH_TOO_WEAK] = SMTP_REPLY(534, 5, 7, 9, "this account needs a stronger mechanism"),
    [SMTP_AUTH_TEMPORARY] = SMTP_REPLY(454, 4, 7, 0, "temporary failure, try again"),
};

/* The listener's own spelling of it; empty where it is not offered. */
static struct str find_mechanism(const struct smtp_server *s, struct str name)
{
    struct str rest = s->listener->auth_mechanisms, offered;
    while (str_split(&rest, ' ', &offered))
        if (!str_empty(offered) && str_eq_nocase(offered, name))
            return offered;
    return str_make(NULL, 0);
}

/* RFC 4954 §4: "=" is the empty initial response. */
static bool decode(struct smtp_server *s, struct str text, struct str *ret_data)
{
    buf_clear(&s->decoded);
    if (!base64_decode(&s->decoded, text))
        return false;
    *ret_data = buf_str(&s->decoded);
    return true;
}

static const struct smtp_reply *find_obstacle(const struct smtp_server *s)
{
    if (!server_wants_login(s) || str_empty(s->listener->auth_mechanisms))
        return &reply_none_here;
    if (!s->tls)
        return &reply_tls_first;
    if (!s->extended)
        return &reply_ehlo_first;
    if (s->authenticated)
        return &reply_twice;
    return s->transaction.open ? &reply_in_transaction : NULL;
}

/* AUTH SP mechanism [SP initial-response] */
static const struct smtp_reply *parse(struct smtp_server *s, struct str argument)
{
    ptrdiff_t space = str_find_byte(argument, ' ');
    struct str name = space < 0 ? argument : str_sub(argument, 0, (size_t)space);
    s->event.auth = (struct smtp_event_auth){.mechanism = find_mechanism(s, name)};
    if (str_empty(s->event.auth.mechanism))
        return &reply_unknown_mechanism;
    if (space < 0)
        return NULL;
    struct str initial = str_skip(argument, name.len + 1);
    s->event.auth.initial = true;
    if (str_eq(initial, STR("=")))
        return NULL;
    /* An empty one is written "=". */
    if (str_empty(initial) || !decode(s, initial, &s->event.auth.data))
        return &reply_not_base64;
    return NULL;
}

void server_auth(struct smtp_server *s, struct str argument, struct now now)
{
    (void)now;
    const struct smtp_reply *problem = find_obstacle(s);
    if (!problem)
        problem = parse(s, argument);
    if (problem)
        server_reply(s, problem);
    else
        server_ask(s, SMTP_EVENT_AUTH_BEGIN);
}

static void cancel(struct smtp_server *s, const struct smtp_reply *reply)
{
    server_set_state(s, STATE_COMMAND);
    server_reply(s, reply);
    server_tell(s, SMTP_EVENT_AUTH_CANCEL);
}

void server_auth_line(struct smtp_server *s, struct str line, bool overlong)
{
    s->event.auth = (struct smtp_event_auth){.initial = false};
    if (overlong)
        cancel(s, &reply_line_too_long);
    else if (str_eq(line, STR("*")))
        cancel(s, &reply_cancelled);
    else if (!decode(s, line, &s->event.auth.data))
        cancel(s, &reply_not_base64);
    else
        server_ask(s, SMTP_EVENT_AUTH_RESPONSE);
}

void server_auth_challenge(struct smtp_server *s, struct str data)
{
    struct buf text;
    buf_init_secret(&text, SMTP_CHALLENGE_LINE_SIZE);
    base64_encode(&text, data);
    server_set_state(s, STATE_AUTH);
    if (text.failed)
        server_auth_failure(s, SMTP_AUTH_TEMPORARY);
    else
        server_reply(s, &(struct smtp_reply){.code = 334, .text = buf_str(&text)});
    buf_wipe(&text);
}

void server_auth_success(struct smtp_server *s)
{
    server_set_state(s, STATE_COMMAND);
    s->authenticated = true;
    server_reply(s, &reply_success);
}

void server_auth_failure(struct smtp_server *s, enum smtp_auth_failure failure)
{
    server_set_state(s, STATE_COMMAND);
    server_reply(s, &replies_failure[failure]);
    if (failure == SMTP_AUTH_BAD_CREDENTIALS)
        s->auth_failures++;
    if (s->auth_failures >= s->listener->limits.auth_failures)
        server_close(s, SMTP_CLOSE_ERRORS, &reply_too_many_failures);
}
