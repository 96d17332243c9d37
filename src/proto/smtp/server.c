#include "proto/smtp/server.h"

#include <stdlib.h>

#include "base/bug.h"
#include "proto/smtp/server_state.h"

enum {
    OUTPUT_HIGH = 4096,      /* with this much unwritten no more input is taken */
    OUTPUT_SLACK = 16 * 1024 /* what one command adds at most, but for LMTP's final replies */
};

const struct smtp_limits smtp_limits_default = {
    .message_size = LIMIT_MESSAGE_SIZE,
    .recipients = LIMIT_SMTP_RECIPIENTS,
    .transactions = LIMIT_SMTP_TRANSACTIONS,
    .errors = LIMIT_SMTP_ERRORS,
    .auth_failures = LIMIT_LOGIN_FAILURES,
    .unknown_recipients = LIMIT_SMTP_UNKNOWN_RECIPIENTS,
    .tarpit_ms = LIMIT_SMTP_TARPIT_MS,
    .idle_ms = LIMIT_SMTP_IDLE_MS,
    .body_rate_min = LIMIT_SMTP_BODY_RATE_MIN,
    .body_grace_ms = LIMIT_SMTP_BODY_GRACE_MS,
    .text_line_size = LIMIT_SMTP_TEXT_LINE_SIZE,
};

static const struct smtp_reply reply_early_talk =
    SMTP_REPLY(554, 5, 5, 1, "you spoke before the greeting");
static const struct smtp_reply reply_line_too_long =
    SMTP_REPLY(500, 5, 5, 6, "command line too long");
static const struct smtp_reply reply_too_many_errors = SMTP_REPLY(421, 4, 7, 0, "too many errors");
static const struct smtp_reply reply_idle = SMTP_REPLY(421, 4, 4, 2, "nothing heard for too long");
static const struct smtp_reply reply_too_slow = SMTP_REPLY(421, 4, 4, 2, "the message is too slow");
static const struct smtp_reply reply_shutdown =
    SMTP_REPLY(421, 4, 3, 2, "the server is going down, try again soon");

/* ---- State, replies, events --------------------------------------------------------------- */

void server_set_state(struct smtp_server *s, enum server_state state)
{
    static const unsigned edges[STATE_COUNT] = {
        [STATE_COMMAND] = 1 << STATE_AUTH | 1 << STATE_TEXT | 1 << STATE_CHUNK |
                          1 << STATE_HANDSHAKE | 1 << STATE_CLOSED,
        [STATE_AUTH] = 1 << STATE_COMMAND | 1 << STATE_CLOSED,
        [STATE_TEXT] = 1 << STATE_COMMAND | 1 << STATE_CLOSED,
        [STATE_CHUNK] = 1 << STATE_COMMAND | 1 << STATE_CLOSED,
        [STATE_HANDSHAKE] = 1 << STATE_COMMAND | 1 << STATE_CLOSED,
    };
    /* Nothing leads out of STATE_CLOSED: what a command still wanted to do is void. */
    if (s->state == state || s->state == STATE_CLOSED)
        return;
    invariant(edges[s->state] & 1u << state);
    s->state = state;
}

static bool counts_as_error(const struct smtp_server *s, uint16_t code)
{
    bool in_command = s->state != STATE_TEXT && s->state != STATE_CLOSED;
    return in_command &&
           ((code >= 500 && code <= 504) || code == 530 || code == 538 || code == 555);
}

static void count_reply(struct smtp_server *s, uint16_t code)
{
    struct smtp_counts *counts = s->listener->counts;
    if (!counts)
        return;
    for (size_t i = 0; i < SMTP_COMMAND_CODES_MAX; i++) {
        if (s->command->codes[i] == code) {
            counts->replies[s->command - smtp_commands][i]++;
            return;
        }
    }
    counts->unlisted++;
}

void server_reply(struct smtp_server *s, const struct smtp_reply *reply)
{
    size_t before = s->out.len;
    smtp_reply_write(&s->out, reply, s->transaction.utf8);
    if (s->out.failed) {
        buf_release(&s->out);
        server_close(s, SMTP_CLOSE_NO_MEMORY, NULL);
        return;
    }
    s->out_total += s->out.len - before;
    count_reply(s, reply->code);
    if (counts_as_error(s, reply->code))
        s->errors++;
}

void server_reply_or(struct smtp_server *s, const struct smtp_reply *reply,
                     const struct smtp_reply *usual)
{
    server_reply(s, reply->code == 0 ? usual : reply);
}

static void reply_for_connection(struct smtp_server *s, const struct smtp_reply *reply)
{
    const struct smtp_command *command = s->command;
    s->command = &smtp_commands[ROW_CONNECTION];
    server_reply(s, reply);
    s->command = command;
}

void server_tell(struct smtp_server *s, enum smtp_event_kind kind)
{
    if (s->state == STATE_CLOSED)
        return;
    invariant(!s->event_ready);
    s->event.kind = kind;
    s->event.token = 0;
    s->event_ready = true;
}

void server_ask(struct smtp_server *s, enum smtp_event_kind kind)
{
    if (s->state == STATE_CLOSED)
        return;
    invariant(s->question_token == 0);
    server_tell(s, kind);
    s->event.token = s->question_token = ++s->token_last;
    s->question = kind;
}

void server_abort(struct smtp_server *s)
{
    if (s->transaction.known)
        s->event_abort = true;
    s->transaction = (struct server_transaction){0};
}

void server_close(struct smtp_server *s, enum smtp_close_reason reason,
                  const struct smtp_reply *reply)
{
    if (s->state == STATE_CLOSED)
        return;
    /* A complete message that the owner has not seen yet was not taken over by it. */
    if (s->event_ready && s->event.kind == SMTP_EVENT_BODY_END)
        s->transaction.known = true;
    server_abort(s);
    server_set_state(s, STATE_CLOSED);
    s->event_ready = false;
    s->question_token = 0;
    s->held_until_ms = NEVER_MS; /* nobody ticks a closed engine */
    s->event_close = true;
    s->close_reason = reason;
    if (reply)
        reply_for_connection(s, reply);
}

bool server_wants_login(const struct smtp_server *s)
{
    return s->listener->kind == SMTP_LISTENER_SUBMISSION ||
           s->listener->kind == SMTP_LISTENER_SUBMISSIONS;
}

static bool is_in_body(const struct smtp_server *s)
{
    return s->state == STATE_TEXT || s->state == STATE_CHUNK;
}

static bool is_held(const struct smtp_server *s)
{
    return s->held_until_ms != NEVER_MS;
}

/* The owner's turn: there is something to pull or to answer before the dialogue can go on. */
static bool owner_is_next(const struct smtp_server *s)
{
    return s->event_abort || s->event_ready || s->event_close || s->question_token != 0;
}

/* What goes on by itself, once the owner has pulled and answered everything. */
static void advance(struct smtp_server *s)
{
    if (owner_is_next(s) || s->state == STATE_CLOSED)
        return;
    if (s->state == STATE_CHUNK && s->body.chunk_left == 0)
        server_end_chunk(s);
    bool between_bodies = s->state == STATE_COMMAND || s->state == STATE_AUTH;
    if (s->last_words && between_bodies && !is_held(s) && !owner_is_next(s))
        server_close(s, SMTP_CLOSE_SHUTDOWN, s->last_words);
}

/* ---- A connection's begin and end --------------------------------------------------------- */

static void greet(struct smtp_server *s)
{
    bool lmtp = s->listener->kind == SMTP_LISTENER_LMTP;
    struct buf text;
    buf_init(&text, SMTP_REPLY_LINE_SIZE);
    buf_printf(&text, "%.*s %s ready", STR_ARG(s->listener->hostname), lmtp ? "LMTP" : "ESMTP");
    reply_for_connection(s, &(struct smtp_reply){.code = 220, .text = buf_str(&text)});
    buf_release(&text);
}

struct smtp_server *smtp_server_new(const struct smtp_listener *listener, bool tls, struct now now)
{
    struct smtp_server *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->listener = listener;
    s->command = &smtp_commands[ROW_CONNECTION];
    s->tls = tls;
    buf_init(&s->helo, LIMIT_DOMAIN_SIZE);
    buf_init_secret(&s->line, LIMIT_SMTP_AUTH_LINE_SIZE);
    buf_init_secret(&s->decoded, LIMIT_SMTP_AUTH_LINE_SIZE);
    buf_init(&s->out, OUTPUT_SLACK + (size_t)listener->limits.recipients * SMTP_REPLY_LINE_SIZE);
    s->active_ms = now.mono_ms;
    uint32_t delay_ms = listener->limits.greeting_delay_ms;
    s->held_until_ms = delay_ms > 0 ? now.mono_ms + delay_ms : NEVER_MS;
    server_set_state(s, STATE_COMMAND);
    greet(s);
    return s;
}

void smtp_server_trust(struct smtp_server *s)
{
    s->trusted = true;
}

void smtp_server_free(struct smtp_server *s)
{
    if (!s)
        return;
    buf_release(&s->helo);
    buf_wipe(&s->line);
    buf_wipe(&s->decoded);
    buf_release(&s->out);
    free(s);
}

void smtp_server_peer_gone(struct smtp_server *s)
{
    server_close(s, SMTP_CLOSE_PEER_GONE, NULL);
    buf_release(&s->out);
}

void smtp_server_shutdown(struct smtp_server *s, const struct smtp_reply *words, struct now now)
{
    s->active_ms = now.mono_ms;
    s->last_words = words ? words : &reply_shutdown;
    advance(s);
}

/* ---- Input -------------------------------------------------------------------------------- */

/* What the line, so far, may grow to, CRLF included. */
static size_t line_size_max(const struct smtp_server *s, struct str line)
{
    bool auth = s->state == STATE_AUTH || str_starts_nocase(line, STR("AUTH "));
    return auth ? LIMIT_SMTP_AUTH_LINE_SIZE : LIMIT_SMTP_COMMAND_SIZE;
}

/* Offset behind the first CRLF, or 0. The CR may have come before. */
static size_t find_line_end(const struct smtp_server *s, struct str in)
{
    size_t from = 0;
    const char *lf;
    while ((lf = memchr(in.ptr + from, '\n', in.len - from))) {
        size_t at = (size_t)(lf - in.ptr);
        if ((at > 0 ? in.ptr[at - 1] : s->line_last) == '\r')
            return at + 1;
        from = at + 1;
    }
    return 0;
}

/* Keeps a piece of a line for later, or gives the line up where it is too long. */
static void keep_piece(struct smtp_server *s, struct str piece)
{
    if (s->line_overlong)
        return;
    bool fits = piece.len <= s->line.max - s->line.len;
    if (fits && !buf_append_str(&s->line, piece)) {
        server_close(s, SMTP_CLOSE_NO_MEMORY, NULL);
    } else if (!fits || s->line.len > line_size_max(s, buf_str(&s->line))) {
        s->line_overlong = true;
        buf_wipe(&s->line);
    }
}

static void run_line(struct smtp_server *s, struct str line, struct now now)
{
    bool overlong = s->line_overlong;
    s->line_overlong = false;
    s->line_last = '\0';
    s->active_ms = now.mono_ms; /* whole lines only: octets now and then are no activity */
    line = str_sub(line, 0, line.len >= 2 ? line.len - 2 : 0);
    if (s->state == STATE_AUTH) {
        server_auth_line(s, line, overlong);
    } else if (overlong) {
        s->command = &smtp_commands[ROW_UNKNOWN];
        server_reply(s, &reply_line_too_long);
    } else {
        server_run_command(s, line, now);
    }
    if (s->errors >= s->listener->limits.errors)
        server_close(s, SMTP_CLOSE_ERRORS, &reply_too_many_errors);
    if (s->question_token == 0) {
        buf_wipe(&s->line);
        buf_wipe(&s->decoded);
    }
}

static size_t take_line(struct smtp_server *s, struct str in, struct now now)
{
    size_t used = find_line_end(s, in);
    struct str piece = str_sub(in, 0, used ? used : in.len);
    if (used && str_empty(buf_str(&s->line)) && !s->line_overlong &&
        piece.len <= line_size_max(s, piece)) {
        run_line(s, piece, now);
        return used;
    }
    keep_piece(s, piece);
    s->line_last = piece.ptr[piece.len - 1];
    if (used && s->state != STATE_CLOSED)
        run_line(s, buf_str(&s->line), now);
    return piece.len;
}

static size_t take_some(struct smtp_server *s, struct str in, struct now now)
{
    switch (s->state) {
    case STATE_COMMAND:
    case STATE_AUTH:
        return take_line(s, in, now);
    case STATE_TEXT:
        return server_take_text(s, in);
    case STATE_CHUNK:
        return server_take_chunk(s, in);
    case STATE_HANDSHAKE:
    case STATE_CLOSED:
    case STATE_COUNT:
        break;
    }
    return in.len; /* nobody's: clear text behind STARTTLS, anything behind the end */
}

/*
 * Commands that came in one group are taken one after the other, each when the one before is
 * answered, and their replies leave together (RFC 2920 §3.2).
 */
static bool is_ready(const struct smtp_server *s)
{
    return !owner_is_next(s) && !is_held(s) && s->out.len < OUTPUT_HIGH;
}

static void release_held(struct smtp_server *s, struct now now)
{
    if (is_held(s) && now.mono_ms >= s->held_until_ms) {
        s->held_until_ms = NEVER_MS;
        s->active_ms = now.mono_ms;
    }
}

static void refuse_early_talk(struct smtp_server *s)
{
    buf_clear(&s->out);
    server_close(s, SMTP_CLOSE_EARLY_TALK, &reply_early_talk);
}

size_t smtp_server_input(struct smtp_server *s, struct str bytes, uint64_t acked, struct now now)
{
    if (str_empty(bytes))
        return 0;
    if (s->state != STATE_CLOSED && !s->greeted)
        refuse_early_talk(s);
    if (s->state == STATE_CLOSED || s->state == STATE_HANDSHAKE)
        return bytes.len;
    if (s->confirm_at != 0 && acked >= s->confirm_at) {
        s->confirm_at = 0;
        s->event_reply_seen = true;
    }
    release_held(s, now);
    size_t used = 0;
    while (used < bytes.len && is_ready(s)) {
        if (is_in_body(s))
            s->active_ms = now.mono_ms;
        used += take_some(s, str_skip(bytes, used), now);
        advance(s);
    }
    return used;
}

/* ---- Output, events, time ----------------------------------------------------------------- */

struct str smtp_server_output(const struct smtp_server *s)
{
    return is_held(s) ? str_make(s->out.ptr, s->held_from) : buf_str(&s->out);
}

void smtp_server_output_done(struct smtp_server *s, size_t n)
{
    invariant(n <= smtp_server_output(s).len);
    if (n == 0)
        return;
    s->greeted = true;
    buf_consume(&s->out, n);
    if (is_held(s))
        s->held_from -= n;
    if (s->out.len == 0)
        buf_release(&s->out);
}

/* Clears *flag and makes the event of it, if it was set. */
static bool pull_flag(bool *flag, enum smtp_event_kind kind, struct smtp_event *ret_event)
{
    if (!*flag)
        return false;
    *flag = false;
    *ret_event = (struct smtp_event){.kind = kind};
    return true;
}

bool smtp_server_next(struct smtp_server *s, struct smtp_event *ret_event)
{
    advance(s);
    if (pull_flag(&s->event_reply_seen, SMTP_EVENT_REPLY_SEEN, ret_event))
        return true;
    if (pull_flag(&s->event_abort, SMTP_EVENT_ABORT, ret_event)) {
        ret_event->refused = s->event_refused ? s->event_refused->text : STR("");
        s->event_refused = NULL;
        return true;
    }
    if (s->event_ready) {
        s->event_ready = false;
        *ret_event = s->event;
        return true;
    }
    if (!pull_flag(&s->event_close, SMTP_EVENT_CLOSE, ret_event))
        return false;
    ret_event->close = s->close_reason;
    return true;
}

int64_t smtp_server_deadline(const struct smtp_server *s)
{
    if (s->state == STATE_CLOSED || s->question_token != 0)
        return NEVER_MS;
    if (is_held(s))
        return s->held_until_ms;
    if (s->state == STATE_HANDSHAKE)
        return s->active_ms + LIMIT_HANDSHAKE_MS;
    int64_t idle_ms = s->active_ms + s->listener->limits.idle_ms;
    int64_t slow_ms = is_in_body(s) ? server_body_deadline(s) : NEVER_MS;
    return slow_ms < idle_ms ? slow_ms : idle_ms;
}

void smtp_server_tick(struct smtp_server *s, struct now now)
{
    if (now.mono_ms < smtp_server_deadline(s))
        return;
    if (is_held(s)) {
        release_held(s, now);
        advance(s);
    } else if (s->state == STATE_HANDSHAKE) {
        server_close(s, SMTP_CLOSE_TIMEOUT, NULL);
    } else if (is_in_body(s) && now.mono_ms >= server_body_deadline(s)) {
        server_close(s, SMTP_CLOSE_TOO_SLOW, &reply_too_slow);
    } else {
        server_close(s, SMTP_CLOSE_TIMEOUT, &reply_idle);
    }
}

/* ---- Answers ------------------------------------------------------------------------------ */

/* False where the question died with the dialogue. */
static bool begin_answer(struct smtp_server *s, uint64_t token, struct now now)
{
    if (s->state == STATE_CLOSED)
        return false;
    invariant(token != 0 && token == s->question_token && !s->event_ready);
    s->question_token = 0;
    s->active_ms = now.mono_ms;
    return true;
}

static void end_answer(struct smtp_server *s)
{
    buf_wipe(&s->line);
    buf_wipe(&s->decoded);
    advance(s);
}

static bool is_answer(const struct smtp_reply *reply)
{
    return reply->code == 0 || (reply->code >= 200 && reply->code < 300) ||
           (reply->code >= 400 && reply->code < 600);
}

void smtp_server_answer(struct smtp_server *s, uint64_t token, struct smtp_reply reply,
                        struct now now)
{
    invariant(is_answer(&reply));
    if (!begin_answer(s, token, now))
        return;
    switch (s->question) {
    case SMTP_EVENT_SENDER:
        server_answer_sender(s, &reply);
        break;
    case SMTP_EVENT_RECIPIENT:
        server_answer_recipient(s, &reply, now);
        break;
    case SMTP_EVENT_BODY_START:
        server_answer_body_start(s, &reply, now);
        break;
    case SMTP_EVENT_BODY_END:
        server_answer_body_end(s, &reply, 1);
        break;
    default:
        bug("this question has answers of its own");
    }
    if (reply.code == 421)
        server_close(s, SMTP_CLOSE_SHUTDOWN, NULL);
    end_answer(s);
}

void smtp_server_answer_each(struct smtp_server *s, uint64_t token,
                             const struct smtp_reply *replies, size_t count, struct now now)
{
    if (!begin_answer(s, token, now))
        return;
    invariant(s->question == SMTP_EVENT_BODY_END);
    server_answer_body_end(s, replies, count);
    end_answer(s);
}

static bool begin_auth_answer(struct smtp_server *s, uint64_t token, struct now now)
{
    if (!begin_answer(s, token, now))
        return false;
    invariant(s->question == SMTP_EVENT_AUTH_BEGIN || s->question == SMTP_EVENT_AUTH_RESPONSE);
    return true;
}

void smtp_server_answer_challenge(struct smtp_server *s, uint64_t token, struct str data,
                                  struct now now)
{
    if (!begin_auth_answer(s, token, now))
        return;
    server_auth_challenge(s, data);
    end_answer(s);
}

void smtp_server_answer_auth_success(struct smtp_server *s, uint64_t token, struct now now)
{
    if (!begin_auth_answer(s, token, now))
        return;
    server_auth_success(s);
    end_answer(s);
}

void smtp_server_answer_auth_failure(struct smtp_server *s, uint64_t token,
                                     enum smtp_auth_failure failure, struct now now)
{
    if (!begin_auth_answer(s, token, now))
        return;
    server_auth_failure(s, failure);
    end_answer(s);
}

/* ---- Names -------------------------------------------------------------------------------- */

const char *smtp_event_name(enum smtp_event_kind kind)
{
    static const char *const names[] = {
        [SMTP_EVENT_START_TLS] = "START_TLS",
        [SMTP_EVENT_AUTH_BEGIN] = "AUTH_BEGIN",
        [SMTP_EVENT_AUTH_RESPONSE] = "AUTH_RESPONSE",
        [SMTP_EVENT_AUTH_CANCEL] = "AUTH_CANCEL",
        [SMTP_EVENT_SENDER] = "SENDER",
        [SMTP_EVENT_RECIPIENT] = "RECIPIENT",
        [SMTP_EVENT_BODY_START] = "BODY_START",
        [SMTP_EVENT_BODY] = "BODY",
        [SMTP_EVENT_BODY_END] = "BODY_END",
        [SMTP_EVENT_ABORT] = "ABORT",
        [SMTP_EVENT_REPLY_SEEN] = "REPLY_SEEN",
        [SMTP_EVENT_CLOSE] = "CLOSE",
    };
    return names[kind];
}

const char *smtp_close_reason_name(enum smtp_close_reason reason)
{
    static const char *const names[] = {
        [SMTP_CLOSE_QUIT] = "quit",           [SMTP_CLOSE_EARLY_TALK] = "early talk",
        [SMTP_CLOSE_ERRORS] = "errors",       [SMTP_CLOSE_TIMEOUT] = "timeout",
        [SMTP_CLOSE_TOO_SLOW] = "too slow",   [SMTP_CLOSE_SHUTDOWN] = "shutdown",
        [SMTP_CLOSE_NO_MEMORY] = "no memory", [SMTP_CLOSE_PEER_GONE] = "peer gone",
    };
    return names[reason];
}
