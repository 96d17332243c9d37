/* AUTH (RFC 4954 §4). What the mechanisms say is the owner's. */

#include "base/bug.h"
#include "codec/base64.h"
#include "proto/smtp/client_state.h"

/* RFC 5321 §4.5.3.1.4: a longer AUTH command goes without its initial response. */
enum { COMMAND_SIZE = 512 };

void client_begin_auth(struct smtp_client *c)
{
    if (str_empty(text_peek(c->abilities.auth))) {
        client_close(c, SMTP_CLIENT_CLOSE_NO_AUTH);
        return;
    }
    client_set_state(c, CLIENT_AUTH);
    c->event.mechanisms = c->abilities.auth;
    client_ask(c, SMTP_CLIENT_EVENT_AUTH);
}

static void say_base64(struct smtp_client *c, struct str data)
{
    struct buf line;
    buf_init_secret(&line, LIMIT_SMTP_AUTH_LINE_SIZE);
    base64_encode(&line, data);
    buf_append_str(&line, STR("\r\n"));
    if (line.failed)
        client_close(c, SMTP_CLIENT_CLOSE_NO_MEMORY);
    else
        client_say(c, buf_str(&line));
    buf_wipe(&line);
}

static bool take_question(struct smtp_client *c, uint64_t token, struct now now)
{
    if (c->state == CLIENT_CLOSED)
        return false;
    invariant(token != 0 && token == c->question_token && !c->event_ready);
    c->question_token = 0;
    c->active_ms = now.mono_ms;
    buf_wipe(&c->challenge);
    return true;
}

/* initial-response = base64 / "=" (which is the empty one) */
void smtp_client_answer_auth(struct smtp_client *c, uint64_t token, struct str mechanism,
                             bool has_initial, struct str initial, bool done, struct now now)
{
    if (!take_question(c, token, now))
        return;
    c->auth_done = done;
    size_t size = mechanism.len + (initial.len + 2) / 3 * 4 + sizeof "AUTH  \r\n";
    c->auth_late = has_initial && size > COMMAND_SIZE;
    client_sayf(c, "AUTH %.*s", STR_ARG(mechanism));
    if (c->auth_late && !buf_append_str(&c->auth_initial, initial))
        client_close(c, SMTP_CLIENT_CLOSE_NO_MEMORY);
    if (!has_initial || c->auth_late) {
        client_say(c, STR("\r\n"));
    } else if (str_empty(initial)) {
        client_say(c, STR(" =\r\n"));
    } else {
        client_say(c, STR(" "));
        say_base64(c, initial);
    }
}

void smtp_client_answer_challenge(struct smtp_client *c, uint64_t token, struct str response,
                                  bool done, struct now now)
{
    if (!take_question(c, token, now))
        return;
    c->auth_done = done;
    say_base64(c, response);
}

void smtp_client_cancel_auth(struct smtp_client *c, uint64_t token, struct now now)
{
    bool asked_which = c->event.kind == SMTP_CLIENT_EVENT_AUTH;
    if (!take_question(c, token, now))
        return;
    if (asked_which) {
        client_close(c, SMTP_CLIENT_CLOSE_NO_AUTH);
        return;
    }
    c->auth_cancelled = true;
    client_say(c, STR("*\r\n"));
}

static void hear_challenge(struct smtp_client *c)
{
    struct str words = buf_str(&c->reader.words);
    buf_clear(&c->challenge);
    if (c->auth_late) {
        c->auth_late = false;
        say_base64(c, buf_str(&c->auth_initial));
        buf_wipe(&c->auth_initial);
    } else if (c->auth_cancelled || !base64_decode(&c->challenge, str_trim(words))) {
        client_close(c, SMTP_CLIENT_CLOSE_GARBAGE);
    } else {
        c->event.challenge = buf_str(&c->challenge);
        client_ask(c, SMTP_CLIENT_EVENT_CHALLENGE);
    }
}

void client_hear_auth(struct smtp_client *c)
{
    uint16_t code = c->reader.code;
    if (code == 334) {
        hear_challenge(c);
    } else if (code == 235 && (!c->auth_done || c->auth_cancelled)) {
        client_close(c, SMTP_CLIENT_CLOSE_UNVERIFIED);
    } else if (code == 235) {
        c->authenticated = true;
        c->event_auth_end = true;
        client_go_on_to_ready(c);
    } else if (c->auth_cancelled) {
        client_close(c, SMTP_CLIENT_CLOSE_UNVERIFIED);
    } else if (code >= 400) {
        client_refused(c, client_reply(c));
    } else {
        client_close(c, SMTP_CLIENT_CLOSE_GARBAGE);
    }
}
