/* MAIL and RCPT (RFC 5321 §4.1.1.2, .3) with SIZE, BODY, SMTPUTF8 and AUTH. */

#include "proto/smtp/params.h"
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
static const struct smtp_reply reply_bad_params =
    SMTP_REPLY(501, 5, 5, 4, "a parameter is malformed or given twice");
static const struct smtp_reply reply_unknown_param =
    SMTP_REPLY(555, 5, 5, 4, "a parameter is not known here");
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

/* ---- Parameters of MAIL ------------------------------------------------------------------- */

enum { GIVEN_SIZE = 1, GIVEN_BODY = 2, GIVEN_UTF8 = 4, GIVEN_AUTH = 8 };

/* RFC 1870 §4: 1*20DIGIT. What is beyond 64 bits is too big in any case. */
static bool parse_size(struct str value, uint64_t *ret_size)
{
    if (value.len > 20)
        return false;
    for (size_t i = 0; i < value.len; i++)
        if (!ascii_is_digit(value.ptr[i]))
            return false;
    if (!str_to_u64(value, UINT64_MAX, ret_size))
        *ret_size = UINT64_MAX;
    return true;
}

/* RFC 6152 §2, RFC 3030 §3 */
static bool parse_body(struct str value, enum smtp_body_type *ret_body)
{
    static const struct str names[] = {[SMTP_BODY_7BIT] = STR("7BIT"),
                                       [SMTP_BODY_8BITMIME] = STR("8BITMIME"),
                                       [SMTP_BODY_BINARYMIME] = STR("BINARYMIME")};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (str_eq_nocase(value, names[i])) {
            *ret_body = (enum smtp_body_type)i;
            return true;
        }
    }
    return false;
}

/* RFC 4954 §5: an xtext of a mailbox, or "<>". */
static bool parse_auth(struct smtp_server *s, struct str value, struct text *ret_auth)
{
    struct mailbox_address mailbox;
    buf_clear(&s->decoded);
    if (!smtp_xtext_decode(&s->decoded, value))
        return false;
    if (str_eq(buf_str(&s->decoded), STR("<>")))
        return true;
    *ret_auth = text_from(buf_str(&s->decoded));
    return address_parse_mailbox(buf_str(&s->decoded), &mailbox) == ADDRESS_OK;
}

/* One parameter; what is wrong with it, or NULL. */
static const struct smtp_reply *take_param(struct smtp_server *s, const struct smtp_param *param,
                                           unsigned *given)
{
    struct smtp_event_sender *sender = &s->event.sender;
    unsigned which = 0;
    bool good = false;
    if (str_eq_nocase(param->keyword, STR("SIZE"))) {
        which = GIVEN_SIZE;
        good = param->has_value && parse_size(param->value, &sender->size);
    } else if (str_eq_nocase(param->keyword, STR("BODY"))) {
        which = GIVEN_BODY;
        good = param->has_value && parse_body(param->value, &sender->body);
    } else if (str_eq_nocase(param->keyword, STR("SMTPUTF8"))) {
        which = GIVEN_UTF8;
        good = !param->has_value; /* RFC 6531 §3.4 */
        sender->utf8 = true;
    } else if (str_eq_nocase(param->keyword, STR("AUTH")) && server_wants_login(s)) {
        which = GIVEN_AUTH;
        good = param->has_value && parse_auth(s, param->value, &sender->auth);
    } else {
        return &reply_unknown_param;
    }
    bool twice = *given & which;
    *given |= which;
    return good && !twice ? NULL : &reply_bad_params;
}

static const struct smtp_reply *parse_mail_params(struct smtp_server *s, struct str rest)
{
    struct smtp_param param;
    enum smtp_param_result result;
    const struct smtp_reply *problem = NULL;
    unsigned given = 0;
    while (!problem && (result = smtp_param_next(&rest, &param)) != SMTP_PARAM_END)
        problem = result == SMTP_PARAM_OK ? take_param(s, &param, &given) : &reply_bad_params;
    return problem;
}

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

static const struct smtp_reply *parse_mail(struct smtp_server *s, struct str argument)
{
    size_t used;
    if (!take_prefix(&argument, STR("FROM:")))
        return &reply_no_from;
    enum address_result result = address_parse_path(argument, PATH_REVERSE, &s->path, &used);
    if (result != ADDRESS_OK)
        return result == ADDRESS_TOO_LONG ? &reply_long_sender : &reply_bad_sender;
    s->event.sender = (struct smtp_event_sender){.path = &s->path};
    const struct smtp_reply *problem = parse_mail_params(s, str_skip(argument, used));
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
    (void)now;
    if (s->transaction.open) {
        server_reply(s, &reply_nested);
        return;
    }
    if (s->transactions >= s->listener->limits.transactions) {
        server_reply(s, &reply_transactions);
        server_close(s, SMTP_CLOSE_ERRORS, NULL);
        return;
    }
    const struct smtp_reply *problem = parse_mail(s, argument);
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

/* No extension of ours has a parameter here. */
static const struct smtp_reply *parse_rcpt_params(struct str rest)
{
    struct smtp_param param;
    switch (smtp_param_next(&rest, &param)) {
    case SMTP_PARAM_END:
        return NULL;
    case SMTP_PARAM_OK:
        return &reply_unknown_param;
    case SMTP_PARAM_BAD:
        break;
    }
    return &reply_bad_params;
}

static const struct smtp_reply *parse_rcpt(struct smtp_server *s, struct str argument)
{
    size_t used;
    if (!take_prefix(&argument, STR("TO:")))
        return &reply_no_to;
    enum address_result result = address_parse_path(argument, PATH_FORWARD, &s->path, &used);
    if (result != ADDRESS_OK)
        return result == ADDRESS_TOO_LONG ? &reply_long_recipient : &reply_bad_recipient;
    const struct smtp_reply *problem = parse_rcpt_params(str_skip(argument, used));
    if (problem)
        return problem;
    if (!str_empty(s->path.route))
        return &reply_source_route;
    return s->path.mailbox.is_utf8 && !s->transaction.utf8 ? &reply_recipient_ascii : NULL;
}

void server_rcpt(struct smtp_server *s, struct str argument, struct now now)
{
    (void)now;
    const struct smtp_reply *problem;
    if (!s->transaction.open)
        problem = &reply_sender_first;
    else if (s->transaction.chunked)
        problem = &reply_chunks_begun;
    else if (s->transaction.recipients >= s->listener->limits.recipients)
        problem = &reply_too_many_recipients;
    else
        problem = parse_rcpt(s, argument);
    if (problem) {
        server_reply(s, problem);
        return;
    }
    s->event.recipient = (struct smtp_event_recipient){&s->path};
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
