#include "proto/smtp/client.h"

#include <stdlib.h>

#include "base/bug.h"
#include "proto/smtp/client_state.h"

enum {
    OUTPUT_MAX = 256 * 1024, /* never reached: what adds to the output looks how much is in it */
    DOMAINS_SIZE = 16 * 1024,
    BLOCK_SIZE = 16 * 1024 /* so much must move before the patience with the peer is new */
};

const struct smtp_client_timeouts smtp_client_timeouts_default = {
    .greeting_ms = 5 * 60 * 1000,
    .hello_ms = 5 * 60 * 1000,
    .starttls_ms = 2 * 60 * 1000,
    .auth_ms = 2 * 60 * 1000,
    .mail_ms = 5 * 60 * 1000,
    .rcpt_ms = 5 * 60 * 1000,
    .data_ms = 2 * 60 * 1000,
    .block_ms = 3 * 60 * 1000,
    .end_ms = 10 * 60 * 1000,
    .rset_ms = 2 * 60 * 1000,
    .quit_ms = 10 * 1000,
};

/* What is said of a dialogue that the peer has not ended with a reply. */
static const struct {
    uint8_t class;
    uint16_t subject, detail;
    struct str words;
} close_words[] = {
    [SMTP_CLIENT_CLOSE_QUIT] = {2, 0, 0, STR("done")},
    [SMTP_CLIENT_CLOSE_REFUSED] = {4, 0, 0, STR("refused")},
    [SMTP_CLIENT_CLOSE_SHUTDOWN] = {4, 3, 2, STR("the server is going down")},
    [SMTP_CLIENT_CLOSE_TIMEOUT] = {4, 4, 2, STR("no answer in time")},
    [SMTP_CLIENT_CLOSE_PEER_GONE] = {4, 4, 2, STR("the connection was lost")},
    [SMTP_CLIENT_CLOSE_GARBAGE] = {4, 5, 0, STR("what the server said is not an answer to this")},
    [SMTP_CLIENT_CLOSE_NO_TLS] = {4, 7, 10, STR("TLS is required, and the server offers none")},
    [SMTP_CLIENT_CLOSE_INJECTION] = {4, 7, 5, STR("octets in clear behind the answer to STARTTLS")},
    [SMTP_CLIENT_CLOSE_NO_AUTH] = {4, 7, 0, STR("there is no way to log in to this server")},
    [SMTP_CLIENT_CLOSE_UNVERIFIED] = {4, 7, 0,
                                      STR("the server has not shown that it knows the password")},
    [SMTP_CLIENT_CLOSE_NO_BDAT] = {4, 5, 1, STR("the server offers CHUNKING and has no BDAT")},
    [SMTP_CLIENT_CLOSE_BAD_BODY] =
        {5, 6, 0, STR("the message holds a bare CR or LF, or NUL: it is no mail")},
    [SMTP_CLIENT_CLOSE_NO_MEMORY] = {4, 3, 0, STR("out of memory")},
};

/* ---- State and events --------------------------------------------------------------------- */

void client_set_state(struct smtp_client *c, enum client_state state)
{
    enum { CLOSED = 1 << CLIENT_CLOSED };
    static const unsigned edges[CLIENT_STATE_COUNT] = {
        [CLIENT_GREETING] = 1 << CLIENT_HELLO | CLOSED,
        [CLIENT_HELLO] =
            1 << CLIENT_HELO | 1 << CLIENT_STARTTLS | 1 << CLIENT_AUTH | 1 << CLIENT_READY | CLOSED,
        [CLIENT_HELO] = 1 << CLIENT_READY | CLOSED,
        [CLIENT_STARTTLS] = 1 << CLIENT_HANDSHAKE | 1 << CLIENT_AUTH | 1 << CLIENT_READY | CLOSED,
        [CLIENT_HANDSHAKE] = 1 << CLIENT_HELLO | CLOSED,
        [CLIENT_AUTH] = 1 << CLIENT_READY | CLOSED,
        [CLIENT_READY] = 1 << CLIENT_MESSAGE | 1 << CLIENT_QUIT | CLOSED,
        [CLIENT_MESSAGE] = 1 << CLIENT_READY | CLOSED,
        [CLIENT_QUIT] = CLOSED,
    };
    invariant(edges[c->state] & 1u << state);
    c->state = state;
}

void client_tell(struct smtp_client *c, enum smtp_client_event_kind kind)
{
    invariant(!c->event_ready);
    c->event.kind = kind;
    c->event.token = 0;
    c->event_ready = true;
}

void client_ask(struct smtp_client *c, enum smtp_client_event_kind kind)
{
    invariant(c->question_token == 0);
    client_tell(c, kind);
    c->event.token = c->question_token = ++c->token_last;
}

/* The owner's turn: there is something to pull or to answer before the dialogue can go on. */
static bool owner_is_next(const struct smtp_client *c)
{
    return c->event_auth_end || c->event_ready || c->event_done || c->question_token != 0;
}

/* ---- Words -------------------------------------------------------------------------------- */

static void check_output(struct smtp_client *c, size_t before)
{
    if (c->out.failed)
        client_close(c, SMTP_CLIENT_CLOSE_NO_MEMORY);
    else
        c->out_total += c->out.len - before;
}

void client_say(struct smtp_client *c, struct str words)
{
    size_t before = c->out.len;
    if (c->state == CLIENT_CLOSED)
        return;
    buf_append_str(&c->out, words);
    check_output(c, before);
}

void client_sayf(struct smtp_client *c, const char *format, ...)
{
    size_t before = c->out.len;
    if (c->state == CLIENT_CLOSED)
        return;
    va_list args;
    va_start(args, format);
    buf_vprintf(&c->out, format, args);
    va_end(args);
    check_output(c, before);
}

struct smtp_client_reply client_own_reply(uint8_t class, uint16_t subject, uint16_t detail,
                                          struct str words)
{
    return (struct smtp_client_reply){0, class, subject, detail, text_from(words)};
}

struct smtp_client_reply client_reply(const struct smtp_client *c)
{
    const struct smtp_reply_reader *r = &c->reader;
    uint8_t class = r->class != 0 ? r->class : (uint8_t)(r->code / 100);
    return (struct smtp_client_reply){r->code, class, r->subject, r->detail,
                                      text_from(buf_str(&r->words))};
}

/* ---- The end ------------------------------------------------------------------------------ */

/* Everything was handed over, and the peer has not said what it makes of it. */
static bool is_perhaps_taken(const struct smtp_client *c)
{
    const struct client_message *m = &c->message;
    return m->phase == PHASE_END && m->end_due > 0 && c->out_total - c->out.len >= m->end_at;
}

static void close_with(struct smtp_client *c, enum smtp_client_close_reason reason,
                       struct smtp_client_reply reply)
{
    if (c->state == CLIENT_CLOSED)
        return;
    c->closed = (struct smtp_client_closed){reason, client_stage(c), reply};
    if (c->message.given) {
        enum smtp_client_verdict verdict = client_verdict(&reply);
        if (c->closed.stage < SMTP_CLIENT_MAIL) /* it is not about this message */
            verdict = SMTP_CLIENT_LATER;
        if (reply.code == 0 && is_perhaps_taken(c))
            verdict = SMTP_CLIENT_UNKNOWN;
        if (reason == SMTP_CLIENT_CLOSE_NO_BDAT)
            verdict = SMTP_CLIENT_AGAIN;
        client_settle(c, c->closed.stage, verdict, reply);
    }
    /* What is not written yet shall not be: least of all the end of a message given up above. */
    c->out_total -= c->out.len;
    buf_release(&c->out);
    c->event_ready = c->event_ready && c->event.kind == SMTP_CLIENT_EVENT_RECIPIENT;
    c->question_token = 0;
    c->event_closed = true;
    if (c->state == CLIENT_AUTH)
        c->event_auth_end = true;
    client_set_state(c, CLIENT_CLOSED);
}

/* RFC 5321 §4.1.1.10: one does not leave without a word. */
static void say_goodbye(struct smtp_client *c)
{
    if (c->closed.stage <= SMTP_CLIENT_AUTH && c->closed.stage != SMTP_CLIENT_HANDSHAKE)
        buf_append_str(&c->out, STR("QUIT\r\n"));
    c->out_total += c->out.len;
}

void client_refused(struct smtp_client *c, struct smtp_client_reply reply)
{
    bool shutdown = reply.code == 421;
    close_with(c, shutdown ? SMTP_CLIENT_CLOSE_SHUTDOWN : SMTP_CLIENT_CLOSE_REFUSED, reply);
    if (!shutdown)
        say_goodbye(c);
}

struct smtp_client_reply client_close_reply(enum smtp_client_close_reason reason)
{
    return client_own_reply(close_words[reason].class, close_words[reason].subject,
                            close_words[reason].detail, close_words[reason].words);
}

void client_close(struct smtp_client *c, enum smtp_client_close_reason reason)
{
    if (c->state == CLIENT_CLOSED)
        return;
    close_with(c, reason, client_close_reply(reason));
    if (reason == SMTP_CLIENT_CLOSE_NO_TLS || reason == SMTP_CLIENT_CLOSE_NO_AUTH)
        say_goodbye(c);
}

/* ---- A connection's begin and end --------------------------------------------------------- */

struct smtp_client *smtp_client_new(const struct smtp_client_settings *settings, struct now now)
{
    struct smtp_client *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->settings = settings;
    c->tls = settings->tls == SMTP_CLIENT_TLS_ALREADY;
    c->active_ms = now.mono_ms;
    smtp_reply_reader_init(&c->reader);
    buf_init_secret(&c->out, OUTPUT_MAX);
    buf_init(&c->auth, LIMIT_SMTP_REPLY_SIZE);
    buf_init(&c->domains, DOMAINS_SIZE);
    buf_init_secret(&c->challenge, LIMIT_SMTP_REPLY_SIZE);
    buf_init_secret(&c->auth_initial, LIMIT_SMTP_AUTH_LINE_SIZE);
    return c;
}

void smtp_client_free(struct smtp_client *c)
{
    if (!c)
        return;
    smtp_reply_reader_release(&c->reader);
    buf_wipe(&c->out);
    buf_release(&c->auth);
    buf_release(&c->domains);
    buf_wipe(&c->challenge);
    buf_wipe(&c->auth_initial);
    free(c->message.fates);
    free(c);
}

void smtp_client_peer_gone(struct smtp_client *c, struct now now)
{
    (void)now;
    client_close(c, c->state == CLIENT_QUIT ? SMTP_CLIENT_CLOSE_QUIT : SMTP_CLIENT_CLOSE_PEER_GONE);
    c->out_total -= c->out.len;
    buf_release(&c->out);
}

void smtp_client_quit(struct smtp_client *c, struct now now)
{
    if (c->state == CLIENT_CLOSED || c->state == CLIENT_QUIT)
        return;
    c->active_ms = now.mono_ms;
    client_set_state(c, CLIENT_QUIT);
    client_say(c, STR("QUIT\r\n"));
}

void smtp_client_tls_started(struct smtp_client *c, struct now now)
{
    if (c->state == CLIENT_CLOSED)
        return;
    invariant(c->state == CLIENT_HANDSHAKE && !c->event_ready);
    c->tls = true;
    c->active_ms = now.mono_ms;
    client_say_hello(c);
}

const struct smtp_abilities *smtp_client_abilities(const struct smtp_client *c)
{
    return &c->abilities;
}

/* ---- Input -------------------------------------------------------------------------------- */

/*
 * A reply that was there before its question is nobody's, or an attacker's who puts words in front
 * of TLS. Of a group of commands that is known of the first one.
 */
static bool is_early(const struct smtp_client *c)
{
    uint64_t taken = c->out_total - c->out.len;
    return c->state == CLIENT_MESSAGE ? taken < c->asked_at : c->out.len > 0;
}

static void hear(struct smtp_client *c)
{
    static void (*const hearers[CLIENT_STATE_COUNT])(struct smtp_client *) = {
        [CLIENT_GREETING] = client_hear_greeting, [CLIENT_HELLO] = client_hear_hello,
        [CLIENT_HELO] = client_hear_helo,         [CLIENT_STARTTLS] = client_hear_starttls,
        [CLIENT_AUTH] = client_hear_auth,         [CLIENT_MESSAGE] = client_hear_message,
    };
    if (c->state == CLIENT_QUIT)
        client_close(c, SMTP_CLIENT_CLOSE_QUIT);
    else if (c->reader.code == 421)
        client_refused(c, client_reply(c));
    else if (hearers[c->state] && !is_early(c))
        hearers[c->state](c);
    else
        client_close(c, SMTP_CLIENT_CLOSE_GARBAGE);
}

/* What goes on by itself, once the owner has pulled and answered everything. */
static void advance(struct smtp_client *c)
{
    while (c->sweep.on && !c->event_ready && c->sweep.next < c->message.given->recipient_count) {
        uint32_t index = c->sweep.next++;
        uint8_t *fate = c->message.fates ? &c->message.fates[index] : NULL;
        if (fate && *fate == FATE_TOLD)
            continue;
        if (fate) /* else there was no memory for them, and nobody was told anything */
            *fate = FATE_TOLD;
        c->event.recipient =
            (struct smtp_client_result){index, c->sweep.verdict, c->sweep.stage, c->sweep.reply};
        client_tell(c, SMTP_CLIENT_EVENT_RECIPIENT);
    }
    if (!owner_is_next(c) && c->message.given)
        client_continue_message(c);
}

static size_t take_reply(struct smtp_client *c, struct str bytes, struct now now)
{
    size_t used;
    switch (smtp_reply_reader_take(&c->reader, bytes, &used)) {
    case SMTP_READ_OK:
        c->active_ms = now.mono_ms; /* whole replies only: octets now and then are no answer */
        hear(c);
        break;
    case SMTP_READ_BAD:
        client_close(c, SMTP_CLIENT_CLOSE_GARBAGE);
        break;
    case SMTP_READ_NO_MEMORY:
        client_close(c, SMTP_CLIENT_CLOSE_NO_MEMORY);
        break;
    case SMTP_READ_MORE:
        break;
    }
    return used;
}

size_t smtp_client_input(struct smtp_client *c, struct str bytes, struct now now)
{
    size_t used = 0;
    advance(c);
    while (used < bytes.len && c->state != CLIENT_CLOSED && !owner_is_next(c) &&
           c->state != CLIENT_HANDSHAKE) {
        used += take_reply(c, str_skip(bytes, used), now);
        advance(c);
    }
    /* RFC 3207 §4.2, §6: what was said in clear behind the 220 is not the server's word. */
    if (used < bytes.len && c->state == CLIENT_HANDSHAKE)
        client_close(c, SMTP_CLIENT_CLOSE_INJECTION);
    return c->state == CLIENT_CLOSED ? bytes.len : used;
}

/* ---- Output and events -------------------------------------------------------------------- */

struct str smtp_client_output(const struct smtp_client *c)
{
    return str_sub(buf_str(&c->out), 0, c->body.chunk_open ? c->body.chunk_start : c->out.len);
}

void smtp_client_output_done(struct smtp_client *c, size_t n, struct now now)
{
    invariant(n <= smtp_client_output(c).len);
    buf_consume(&c->out, n);
    if (c->body.chunk_open)
        c->body.chunk_start -= n;
    c->block += n;
    if (c->block >= BLOCK_SIZE || (n > 0 && str_empty(smtp_client_output(c)))) {
        c->block = 0;
        c->active_ms = now.mono_ms;
    }
    if (c->out.len == 0)
        buf_wipe(&c->out);
    advance(c);
}

/* Clears *flag and makes the event of it, if it was set. */
static bool pull_flag(bool *flag, enum smtp_client_event_kind kind,
                      struct smtp_client_event *ret_event)
{
    if (!*flag)
        return false;
    *flag = false;
    *ret_event = (struct smtp_client_event){.kind = kind};
    return true;
}

bool smtp_client_next(struct smtp_client *c, struct smtp_client_event *ret_event)
{
    advance(c);
    if (pull_flag(&c->event_auth_end, SMTP_CLIENT_EVENT_AUTH_END, ret_event))
        return true;
    if (c->event_ready) {
        c->event_ready = false;
        *ret_event = c->event;
        return true;
    }
    if (pull_flag(&c->event_done, SMTP_CLIENT_EVENT_MESSAGE_DONE, ret_event)) {
        uint32_t max = c->abilities.mail_max;
        ret_event->more = c->state == CLIENT_READY && !c->spent && (max == 0 || c->messages < max);
        return true;
    }
    if (c->message.given || !pull_flag(&c->event_closed, SMTP_CLIENT_EVENT_CLOSED, ret_event))
        return false;
    ret_event->closed = c->closed;
    return true;
}

/* ---- Time --------------------------------------------------------------------------------- */

enum smtp_client_stage client_stage(const struct smtp_client *c)
{
    static const enum smtp_client_stage stages[CLIENT_STATE_COUNT] = {
        [CLIENT_GREETING] = SMTP_CLIENT_GREETING,   [CLIENT_HELLO] = SMTP_CLIENT_HELLO,
        [CLIENT_HELO] = SMTP_CLIENT_HELLO,          [CLIENT_STARTTLS] = SMTP_CLIENT_STARTTLS,
        [CLIENT_HANDSHAKE] = SMTP_CLIENT_HANDSHAKE, [CLIENT_AUTH] = SMTP_CLIENT_AUTH,
        [CLIENT_READY] = SMTP_CLIENT_IDLE,          [CLIENT_QUIT] = SMTP_CLIENT_QUIT,
        [CLIENT_CLOSED] = SMTP_CLIENT_IDLE,
    };
    const struct client_message *m = &c->message;
    if (c->state != CLIENT_MESSAGE)
        return stages[c->state];
    if (m->rset_due > 0)
        return SMTP_CLIENT_RSET;
    if (m->mail_due > 0 || !m->mail_written)
        return SMTP_CLIENT_MAIL;
    if (m->rcpt_due > 0 || m->phase == PHASE_ENVELOPE)
        return SMTP_CLIENT_RCPT;
    if (m->data_due > 0)
        return SMTP_CLIENT_DATA;
    bool all_taken = m->phase > PHASE_BODY && c->out_total - c->out.len >= m->end_at;
    return all_taken && m->chunks_due == 0 ? SMTP_CLIENT_END : SMTP_CLIENT_BODY;
}

int64_t smtp_client_deadline(const struct smtp_client *c)
{
    const struct smtp_client_timeouts *t = &c->settings->timeouts;
    const uint32_t timeouts[SMTP_CLIENT_STAGE_COUNT] = {
        [SMTP_CLIENT_GREETING] = t->greeting_ms, [SMTP_CLIENT_HELLO] = t->hello_ms,
        [SMTP_CLIENT_STARTTLS] = t->starttls_ms, [SMTP_CLIENT_HANDSHAKE] = t->starttls_ms,
        [SMTP_CLIENT_AUTH] = t->auth_ms,         [SMTP_CLIENT_RSET] = t->rset_ms,
        [SMTP_CLIENT_MAIL] = t->mail_ms,         [SMTP_CLIENT_RCPT] = t->rcpt_ms,
        [SMTP_CLIENT_DATA] = t->data_ms,         [SMTP_CLIENT_BODY] = t->block_ms,
        [SMTP_CLIENT_END] = t->end_ms,           [SMTP_CLIENT_QUIT] = t->quit_ms,
    };
    if (c->state == CLIENT_CLOSED || c->state == CLIENT_READY || owner_is_next(c))
        return NEVER_MS;
    if (c->state == CLIENT_MESSAGE && !client_is_reply_due(&c->message) &&
        str_empty(smtp_client_output(c)))
        return NEVER_MS; /* the owner has to give more of the body */
    enum smtp_client_stage stage = client_stage(c);
    int64_t deadline_ms = c->active_ms + timeouts[stage];
    /* Behind the message's end it may have been taken: then all the patience there is. */
    bool bounded = c->state == CLIENT_MESSAGE && stage != SMTP_CLIENT_END;
    return bounded && c->message.given_up_ms < deadline_ms ? c->message.given_up_ms : deadline_ms;
}

void smtp_client_tick(struct smtp_client *c, struct now now)
{
    if (now.mono_ms >= smtp_client_deadline(c))
        client_close(c,
                     c->state == CLIENT_QUIT ? SMTP_CLIENT_CLOSE_QUIT : SMTP_CLIENT_CLOSE_TIMEOUT);
}

/* ---- Names -------------------------------------------------------------------------------- */

const char *smtp_client_stage_name(enum smtp_client_stage stage)
{
    static const char *const names[] = {
        [SMTP_CLIENT_GREETING] = "greeting", [SMTP_CLIENT_HELLO] = "EHLO",
        [SMTP_CLIENT_STARTTLS] = "STARTTLS", [SMTP_CLIENT_HANDSHAKE] = "TLS handshake",
        [SMTP_CLIENT_AUTH] = "AUTH",         [SMTP_CLIENT_IDLE] = "between messages",
        [SMTP_CLIENT_RSET] = "RSET",         [SMTP_CLIENT_MAIL] = "MAIL FROM",
        [SMTP_CLIENT_RCPT] = "RCPT TO",      [SMTP_CLIENT_DATA] = "DATA",
        [SMTP_CLIENT_BODY] = "message",      [SMTP_CLIENT_END] = "end of message",
        [SMTP_CLIENT_QUIT] = "QUIT",
    };
    return names[stage];
}

const char *smtp_client_verdict_name(enum smtp_client_verdict verdict)
{
    static const char *const names[] = {
        [SMTP_CLIENT_TAKEN] = "taken",     [SMTP_CLIENT_LATER] = "later",
        [SMTP_CLIENT_REFUSED] = "refused", [SMTP_CLIENT_LACKING] = "lacking",
        [SMTP_CLIENT_AGAIN] = "again",     [SMTP_CLIENT_UNKNOWN] = "unknown",
    };
    return names[verdict];
}

const char *smtp_client_close_reason_name(enum smtp_client_close_reason reason)
{
    static const char *const names[] = {
        [SMTP_CLIENT_CLOSE_QUIT] = "quit",
        [SMTP_CLIENT_CLOSE_REFUSED] = "refused",
        [SMTP_CLIENT_CLOSE_SHUTDOWN] = "shutdown",
        [SMTP_CLIENT_CLOSE_TIMEOUT] = "timeout",
        [SMTP_CLIENT_CLOSE_PEER_GONE] = "peer gone",
        [SMTP_CLIENT_CLOSE_GARBAGE] = "garbage",
        [SMTP_CLIENT_CLOSE_NO_TLS] = "no TLS",
        [SMTP_CLIENT_CLOSE_INJECTION] = "injection",
        [SMTP_CLIENT_CLOSE_NO_AUTH] = "no AUTH",
        [SMTP_CLIENT_CLOSE_UNVERIFIED] = "server unverified",
        [SMTP_CLIENT_CLOSE_NO_BDAT] = "no BDAT",
        [SMTP_CLIENT_CLOSE_BAD_BODY] = "bad body",
        [SMTP_CLIENT_CLOSE_NO_MEMORY] = "out of memory",
    };
    return names[reason];
}

const char *smtp_client_event_name(enum smtp_client_event_kind kind)
{
    static const char *const names[] = {
        [SMTP_CLIENT_EVENT_START_TLS] = "START_TLS",
        [SMTP_CLIENT_EVENT_AUTH] = "AUTH",
        [SMTP_CLIENT_EVENT_CHALLENGE] = "CHALLENGE",
        [SMTP_CLIENT_EVENT_AUTH_END] = "AUTH_END",
        [SMTP_CLIENT_EVENT_READY] = "READY",
        [SMTP_CLIENT_EVENT_BODY_WANTED] = "BODY_WANTED",
        [SMTP_CLIENT_EVENT_RECIPIENT] = "RECIPIENT",
        [SMTP_CLIENT_EVENT_MESSAGE_DONE] = "MESSAGE_DONE",
        [SMTP_CLIENT_EVENT_CLOSED] = "CLOSED",
    };
    return names[kind];
}
