/* MAIL and RCPT (RFC 5321 §4.1.1.2, .3). Their parameters are in server_params.c. */

#include "proto/smtp/server_state.h"

static const struct smtp_reply reply_sender_ok = SMTP_REPLY(250, 2, 1, 0, "sender taken");
static const struct smtp_reply reply_recipient_ok = SMTP_REPLY(250, 2, 1, 5, "recipient taken");
static const struct smtp_reply reply_nested =
    SMTP_REPLY(503, 5, 5, 1, "there is a transaction already");
static const struct smtp_reply reply_transactions =
    SMTP_REPLY(421, 4, 7, 0, "enough for one connection, connect again");
static const struct smtp_reply reply_no_from =
    SMTP_REPLY(501, 5, 5, 4, "the form is MAIL FROM:<path>");
static const struct smtp_reply reply_no_to = SMTP_REPLY(501, 5, 5, 4, "the form is RCPT TO:<path>");
static const struct smtp_reply reply_bad_sender = SMTP_REPLY(501, 5, 1, 7, "that is no address");
static const struct smtp_reply reply_bad_recipient = SMTP_REPLY(501, 5, 1, 3, "that is no address");
static const struct smtp_reply reply_long_sender = SMTP_REPLY(501, 5, 1, 7, "address too long");
static const struct smtp_reply reply_long_recipient = SMTP_REPLY(501, 5, 1, 3, "address too long");
static const struct smtp_reply reply_too_big =
    SMTP_REPLY(552, 5, 3, 4, "the message is larger than is taken here");
static const struct smtp_reply reply_sender_ascii =
    SMTP_REPLY(550, 5, 6, 7, "an address that is not ASCII needs SMTPUTF8");
static const struct smtp_reply reply_recipient_ascii =
    SMTP_REPLY(553, 5, 6, 7, "an address that is not ASCII needs SMTPUTF8");
static const struct smtp_reply reply_sender_first = SMTP_REPLY(503, 5, 5, 1, "MAIL first");
static const struct smtp_reply reply_chunks_begun =
    SMTP_REPLY(503, 5, 5, 1, "the message has begun");
static const struct smtp_reply reply_too_many_recipients =
    SMTP_REPLY(452, 4, 5, 3, "enough recipients for one message");
/* RFC 5321 §3.6.1 and appendix C: a server may refuse source routes, and ought not to follow. */
static const struct smtp_reply reply_source_route =
    SMTP_REPLY(550, 5, 7, 1, "source routes are not followed");

/* ---- MAIL --------------------------------------------------------------------------------- */

/*
 * Takes "FROM:" or "TO:" and spaces off *argument. There must be none (RFC 5321 §3.3), but too many
 * honest programs write one, and it cannot be mistaken for anything.
 */
static bool take_prefix(struct str *argument, struct str prefix)
{
    if (!str_starts_nocase(*argument, prefix))
        return false;
    *argument = str_skip(*argument, prefix.len);
    while (argument->len > 0 && argument->ptr[0] == ' ')
        *argument = str_skip(*argument, 1);
    return true;
}

static const struct smtp_reply *parse_mail(struct smtp_server *s, struct str argument,
                                           struct now now)
{
    size_t used;
    if (!take_prefix(&argument, STR("FROM:")))
        return &reply_no_from;
    enum address_result result = address_parse_path(argument, PATH_REVERSE, &s->path, &used);
    if (result != ADDRESS_OK)
        return result == ADDRESS_TOO_LONG ? &reply_long_sender : &reply_bad_sender;
    s->event.sender = (struct smtp_event_sender){.path = &s->path};
    const struct smtp_reply *problem = server_take_mail_params(s, str_skip(argument, used), now);
    if (problem)
        return problem;
    if (!str_empty(s->path.route))
        return &reply_source_route;
    if (s->path.mailbox.is_utf8 && !s->event.sender.utf8)
        return &reply_sender_ascii;
    /* RFC 1870 §6.1 */
    return s->event.sender.size > s->listener->limits.message_size ? &reply_too_big : NULL;
}

void server_mail(struct smtp_server *s, struct str argument, struct now now)
{
    if (s->transaction.open) {
        server_reply(s, &reply_nested);
        return;
    }
    if (s->transactions >= s->listener->limits.transactions) {
        server_reply(s, &reply_transactions);
        server_close(s, SMTP_CLOSE_ERRORS, NULL);
        return;
    }
    const struct smtp_reply *problem = parse_mail(s, argument, now);
    if (problem)
        server_reply(s, problem);
    else
        server_ask(s, SMTP_EVENT_SENDER);
}

void server_answer_sender(struct smtp_server *s, const struct smtp_reply *reply)
{
    if (smtp_reply_is_positive(reply)) {
        s->transactions++;
        s->transaction = (struct server_transaction){
            .open = true,
            .known = true,
            .body_type = s->event.sender.body,
            .utf8 = s->event.sender.utf8,
        };
    }
    server_reply_or(s, reply, &reply_sender_ok);
}

/* ---- RCPT --------------------------------------------------------------------------------- */

static const struct smtp_reply *parse_rcpt(struct smtp_server *s, struct str argument,
                                           struct now now)
{
    size_t used;
    if (!take_prefix(&argument, STR("TO:")))
        return &reply_no_to;
    enum address_result result = address_parse_path(argument, PATH_FORWARD, &s->path, &used);
    if (result != ADDRESS_OK)
        return result == ADDRESS_TOO_LONG ? &reply_long_recipient : &reply_bad_recipient;
    s->event.recipient = (struct smtp_event_recipient){.path = &s->path};
    const struct smtp_reply *problem = server_take_rcpt_params(s, str_skip(argument, used), now);
    if (problem)
        return problem;
    if (!str_empty(s->path.route))
        return &reply_source_route;
    return s->path.mailbox.is_utf8 && !s->transaction.utf8 ? &reply_recipient_ascii : NULL;
}

void server_rcpt(struct smtp_server *s, struct str argument, struct now now)
{
    const struct smtp_reply *problem;
    if (!s->transaction.open)
        problem = &reply_sender_first;
    else if (s->transaction.chunked)
        problem = &reply_chunks_begun;
    else if (s->transaction.recipients >= s->listener->limits.recipients)
        problem = &reply_too_many_recipients;
    else
        problem = parse_rcpt(s, argument, now);
    if (problem)
        server_reply(s, problem);
    else
        server_ask(s, SMTP_EVENT_RECIPIENT);
}

/* A peer that has guessed wrong often enough waits for each further answer. */
static void hold_answer(struct smtp_server *s, struct now now)
{
    const struct smtp_limits *limits = &s->listener->limits;
    if (limits->tarpit_ms == 0 || s->refused_recipients < limits->unknown_recipients)
        return;
    s->held_from = s->out.len;
    s->held_until_ms = now.mono_ms + limits->tarpit_ms;
}

void server_answer_recipient(struct smtp_server *s, const struct smtp_reply *reply, struct now now)
{
    hold_answer(s, now);
    if (smtp_reply_is_positive(reply))
        s->transaction.recipients++;
    else if (!smtp_reply_is_temporary(reply))
        s->refused_recipients++;
    server_reply_or(s, reply, &reply_recipient_ok);
}
