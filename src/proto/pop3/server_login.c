#include "base/bug.h"
#include "base/limits.h"
#include "codec/base64.h"
#include "proto/pop3/server_state.h"

/* The AUTHORIZATION state: USER, PASS, AUTH (RFC 5034), STLS (RFC 2595), UTF8 (RFC 6856). */

bool login_password_allowed(const struct pop3_server *e)
{
    return e->tls || e->config->password_clear;
}

struct str login_mechanisms(const struct pop3_server *e)
{
    return e->tls ? e->config->mechanisms_tls : e->config->mechanisms;
}

/* RFC 1939 §7. Whether there is such a user is not told before the password is known. */
void command_user(struct pop3_server *e, const struct arguments_given *args, struct now now)
{
    (void)now;
    buf_clear(&e->user);
    if (!login_password_allowed(e)) {
        pop3_server_reply(e, REPLY_REFUSED, "not without TLS: say STLS first");
        return;
    }
    if (buf_append_str(&e->user, args->text))
        pop3_server_reply(e, REPLY_OK, "now the password");
    else
        pop3_server_close(e, POP3_CLOSE_FAILED);
}

/* RFC 1939 §7: the argument is all of the rest, spaces included; only after USER. */
void command_pass(struct pop3_server *e, const struct arguments_given *args, struct now now)
{
    (void)now;
    if (e->user.len == 0) {
        pop3_server_reply(e, REPLY_STATE, "say USER first");
        return;
    }
    if (!buf_append_str(&e->secret, args->text)) {
        pop3_server_close(e, POP3_CLOSE_FAILED);
        return;
    }
    pop3_server_ask(e, (struct pop3_event){.type = POP3_LOGIN,
                                           .user = text_from(buf_str(&e->user)),
                                           .password = buf_str(&e->secret)});
}

static bool find_mechanism(struct str offered, struct str name, struct str *ret_mechanism)
{
    struct str word;
    while (str_split(&offered, ' ', &word))
        if (!str_empty(word) && str_eq_nocase(word, name)) {
            *ret_mechanism = word;
            return true;
        }
    return false;
}

/* One allocation, so that a wipe gets all of it. */
static bool decode_secret(struct pop3_server *e, struct str base64)
{
    size_t size = base64.len / 4 * 3 + 3;
    if (!buf_reserve(&e->secret, size)) {
        pop3_server_close(e, POP3_CLOSE_FAILED);
        return false;
    }
    return base64_decode(&e->secret, base64);
}

/*
 * RFC 5034 §4:
 *   AUTH mechanism [initial-response]
 *   initial-response = base64 / "="
 */
void command_auth(struct pop3_server *e, const struct arguments_given *args, struct now now)
{
    struct str text = args->text, name, mechanism;
    (void)now;
    if (!str_split(&text, ' ', &name) || !find_mechanism(login_mechanisms(e), name, &mechanism)) {
        pop3_server_reply(e, REPLY_REFUSED, "no such mechanism here");
        return;
    }
    bool has_data = name.len < args->text.len;
    if (has_data && !str_eq(text, STR("=")) && (str_empty(text) || !decode_secret(e, text))) {
        buf_wipe(&e->secret);
        pop3_server_reply(e, REPLY_SYNTAX, "not base64");
        return;
    }
    pop3_server_ask(e, (struct pop3_event){.type = POP3_SASL_START,
                                           .mechanism = mechanism,
                                           .has_data = has_data,
                                           .data = buf_str(&e->secret)});
}

/* RFC 5034 §4: a response is base64, possibly empty; "*" gives up. */
void login_sasl_line(struct pop3_server *e, struct str line)
{
    bool aborted = str_eq(line, STR("*"));
    if (!aborted && (str_empty(line) || decode_secret(e, line))) {
        pop3_server_ask(e,
                        (struct pop3_event){.type = POP3_SASL_DATA, .data = buf_str(&e->secret)});
        return;
    }
    if (e->state == STATE_CLOSED)
        return;
    buf_wipe(&e->secret);
    pop3_server_set_state(e, STATE_AUTHORIZATION);
    pop3_server_tell(e, (struct pop3_event){.type = POP3_SASL_ABORTED});
    if (aborted)
        pop3_server_reply(e, REPLY_ABORTED, "given up");
    else
        pop3_server_reply(e, REPLY_SYNTAX, "not base64");
}

/* RFC 2595 §4. */
void command_stls(struct pop3_server *e, const struct arguments_given *args, struct now now)
{
    (void)args;
    (void)now;
    if (e->tls || !e->config->starttls) {
        pop3_server_reply(e, REPLY_REFUSED, e->tls ? "TLS is there already" : "no TLS here");
        return;
    }
    pop3_server_reply(e, REPLY_OK, "begin TLS");
    pop3_server_set_state(e, STATE_HANDSHAKE);
    pop3_server_tell(e, (struct pop3_event){.type = POP3_STARTTLS});
}

/*
 * RFC 6856 §2.1: from here on the client takes messages whose headers are UTF-8. It gets what
 * everybody gets (server_body.c), and may be glad of the word.
 */
void command_utf8(struct pop3_server *e, const struct arguments_given *args, struct now now)
{
    (void)args;
    (void)now;
    pop3_server_reply(e, REPLY_OK, "UTF-8 it is");
}

static void refuse(struct pop3_server *e, enum reply kind, const char *words)
{
    pop3_server_set_state(e, STATE_AUTHORIZATION);
    pop3_server_reply(e, kind, "%s", words);
}

void pop3_answer_login(struct pop3_server *e, uint64_t token, enum pop3_login result,
                       struct now now)
{
    (void)now;
    if (!server_take_answer(e, token))
        return;
    buf_wipe(&e->user);
    switch (result) {
    case POP3_LOGIN_OK:
        pop3_server_reply(e, REPLY_OK, "welcome");
        pop3_server_set_state(e, STATE_HANDED_OVER);
        pop3_server_tell(e, (struct pop3_event){.type = POP3_HANDOVER});
        break;
    case POP3_LOGIN_DENIED:
        refuse(e, REPLY_AUTH, "wrong name or password");
        if (++e->logins_failed >= LIMIT_LOGIN_FAILURES)
            pop3_server_close(e, POP3_CLOSE_LOGINS);
        break;
    case POP3_LOGIN_MALFORMED:
        refuse(e, REPLY_SYNTAX, "not as the mechanism wants it");
        break;
    case POP3_LOGIN_IN_USE:
        refuse(e, REPLY_IN_USE, "another session has the maildrop");
        break;
    case POP3_LOGIN_TEMPORARY:
        refuse(e, REPLY_TEMPORARY, "try again later");
        break;
    }
    server_pump(e);
}

void pop3_answer_challenge(struct pop3_server *e, uint64_t token, struct str data, struct now now)
{
    struct buf base64;
    (void)now;
    /* First: data may be the peer's own, which the answer wipes. */
    buf_init(&base64, LIMIT_POP3_SASL_LINE_SIZE);
    base64_encode(&base64, data);
    if (!server_take_answer(e, token)) {
        buf_release(&base64);
        return;
    }
    invariant(e->event.type != POP3_LOGIN);
    if (base64.failed) {
        refuse(e, REPLY_TEMPORARY, "try again later");
    } else {
        pop3_server_set_state(e, STATE_SASL);
        pop3_server_reply(e, REPLY_CHALLENGE, "%.*s", STR_ARG(buf_str(&base64)));
    }
    buf_release(&base64);
    server_pump(e);
}
