/*
 * The first octets choose listener, answers and pieces; the rest is what the client says. The owner
 * here is as moody as can be, and checks what the contract promises it.
 */
#include <stdlib.h>

#include "base/bug.h"
#include "proto/smtp/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct owner {
    struct smtp_server *s;
    struct now now;
    uint64_t mood; /* a source of answers */
    bool transaction, body, closed;
    uint32_t recipients;
    uint64_t body_size, written;
};

static unsigned draw(struct owner *o, unsigned below)
{
    o->mood = o->mood * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(o->mood >> 33) % below;
}

static struct smtp_reply any_answer(struct owner *o)
{
    static const struct smtp_reply answers[] = {
        {0},
        {0},
        {0},
        {0},
        SMTP_REPLY(250, 2, 1, 5, "fine\ntwo lines"),
        SMTP_REPLY(550, 5, 1, 1, "no"),
        SMTP_REPLY(452, 4, 3, 1, "later"),
    };
    return answers[draw(o, sizeof answers / sizeof answers[0])];
}

static void answer_auth(struct owner *o, const struct smtp_event *e)
{
    switch (draw(o, 4)) {
    case 0:
        smtp_server_answer_auth_success(o->s, e->token, o->now);
        break;
    case 1:
        smtp_server_answer_auth_failure(o->s, e->token, (enum smtp_auth_failure)draw(o, 4), o->now);
        break;
    default:
        smtp_server_answer_challenge(o->s, e->token, e->auth.data, o->now);
    }
}

static void answer_body_end(struct owner *o, const struct smtp_event *e, bool lmtp)
{
    invariant(o->body && e->body_size == o->body_size);
    o->body = o->transaction = false;
    if (!lmtp || draw(o, 2) == 0) {
        smtp_server_answer(o->s, e->token, any_answer(o), o->now);
        return;
    }
    struct smtp_reply *replies = calloc(o->recipients, sizeof *replies);
    for (uint32_t i = 0; i < o->recipients; i++)
        replies[i] = any_answer(o);
    smtp_server_answer_each(o->s, e->token, replies, o->recipients, o->now);
    free(replies);
}

/* What reports will be written with. */
static bool is_printable(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((s.ptr[i] >= 0 && s.ptr[i] < ' ' && s.ptr[i] != '\t') || s.ptr[i] == 0x7F)
            return false;
    return true;
}

static void check_sender(const struct smtp_event_sender *sender)
{
    invariant(is_printable(text_peek(sender->envid)));
    invariant(sender->hold_ms <= LIMIT_SMTP_HOLD_S * 1000ULL);
    invariant(sender->by_mode != SMTP_BY_RETURN || sender->by_ms > 0);
    invariant(sender->priority >= -9 && sender->priority <= 9);
}

static void check_recipient(const struct smtp_event_recipient *recipient)
{
    struct str orcpt = text_peek(recipient->orcpt);
    bool never = recipient->notify & SMTP_NOTIFY_NEVER;
    invariant(!never || recipient->notify == SMTP_NOTIFY_NEVER);
    invariant(is_printable(orcpt));
    invariant(str_empty(orcpt) || str_find_byte(orcpt, ';') > 0);
}

static void answer(struct owner *o, const struct smtp_event *e)
{
    struct smtp_reply reply = any_answer(o);
    bool yes = reply.code < 400;
    if (e->kind == SMTP_EVENT_SENDER) {
        invariant(!o->transaction && e->sender.path);
        check_sender(&e->sender);
        o->transaction = yes;
        o->recipients = 0;
    } else if (e->kind == SMTP_EVENT_RECIPIENT) {
        invariant(o->transaction && !o->body && str_empty(e->recipient.path->route));
        check_recipient(&e->recipient);
        o->recipients += yes;
    } else {
        invariant(o->transaction && !o->body && o->recipients > 0);
        o->body = yes;
        o->body_size = 0;
    }
    smtp_server_answer(o->s, e->token, reply, o->now);
}

static void handle(struct owner *o, const struct smtp_event *e, bool lmtp)
{
    invariant(!o->closed);
    switch (e->kind) {
    case SMTP_EVENT_START_TLS:
        smtp_server_tls_started(o->s, o->now);
        break;
    case SMTP_EVENT_AUTH_BEGIN:
    case SMTP_EVENT_AUTH_RESPONSE:
        answer_auth(o, e);
        break;
    case SMTP_EVENT_SENDER:
    case SMTP_EVENT_RECIPIENT:
    case SMTP_EVENT_BODY_START:
        answer(o, e);
        break;
    case SMTP_EVENT_BODY:
        invariant(o->body && e->body.len > 0);
        o->body_size += e->body.len;
        o->mood += (unsigned char)e->body.ptr[e->body.len - 1];
        break;
    case SMTP_EVENT_BODY_END:
        answer_body_end(o, e, lmtp);
        break;
    case SMTP_EVENT_ABORT:
        invariant(o->transaction);
        o->transaction = o->body = false;
        break;
    case SMTP_EVENT_CLOSE:
        invariant(!o->transaction);
        o->closed = true;
        break;
    case SMTP_EVENT_AUTH_CANCEL:
    case SMTP_EVENT_REPLY_SEEN:
        break;
    }
}

static void write_output(struct owner *o)
{
    struct str out = smtp_server_output(o->s);
    size_t n = draw(o, 4) == 0 ? out.len / 2 : out.len;
    o->written += n;
    smtp_server_output_done(o->s, n);
}

/* One turn of the owner's loop; returns how much of the piece was taken. */
static size_t turn(struct owner *o, struct str piece, bool lmtp)
{
    size_t n = smtp_server_input(o->s, piece, o->written, o->now);
    invariant(n <= piece.len);
    struct smtp_event e;
    while (smtp_server_next(o->s, &e))
        handle(o, &e, lmtp);
    write_output(o);
    return n;
}

static void pass_time(struct owner *o)
{
    int64_t deadline = smtp_server_deadline(o->s);
    o->now.mono_ms += draw(o, 3) == 0 ? 1000 : 0;
    if (draw(o, 30) == 0 && deadline != NEVER_MS && deadline > o->now.mono_ms)
        o->now.mono_ms = deadline;
    smtp_server_tick(o->s, o->now);
}

static void talk(struct owner *o, struct str client, bool lmtp)
{
    int idle = 0;
    while (!str_empty(client) && !o->closed && idle < 100) {
        struct str piece = str_sub(client, 0, draw(o, 2) ? client.len : 1 + draw(o, 40));
        char *copy = malloc(piece.len);
        memcpy(copy, piece.ptr, piece.len);
        size_t n = turn(o, str_make(copy, piece.len), lmtp);
        free(copy);
        client = str_skip(client, n);
        idle = n > 0 ? 0 : idle + 1;
        if (idle > 50)
            o->now.mono_ms += 10000; /* a tarpit ends */
        pass_time(o);
    }
    invariant(idle < 100); /* nothing holds a client for ever */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4)
        return 0;
    struct smtp_listener listener = {
        .kind = (enum smtp_listener_kind)(data[0] % 4),
        .hostname = STR("mx.demo.test"),
        .starttls = data[0] & 4,
        .auth_mechanisms = STR("PLAIN LOGIN"),
        .normalise_line_ends = data[0] & 8,
        .outbound = data[0] & 16,
        .limits = smtp_limits_default,
    };
    listener.limits.recipients = 1 + data[1] % 8;
    listener.limits.text_line_size = 2 + data[1];
    listener.limits.message_size = 8u * data[2];
    bool lmtp = listener.kind == SMTP_LISTENER_LMTP;
    struct owner o = {.now = {1000, 1000}, .mood = data[3]};
    o.s = smtp_server_new(&listener, listener.kind == SMTP_LISTENER_SUBMISSIONS, o.now);
    invariant(o.s);
    if (data[0] & 32)
        smtp_server_trust(o.s);
    smtp_server_output_done(o.s, smtp_server_output(o.s).len);
    talk(&o, str_make(data + 4, size - 4), lmtp);
    smtp_server_peer_gone(o.s);
    struct smtp_event e;
    while (smtp_server_next(o.s, &e))
        handle(&o, &e, lmtp);
    invariant(o.closed);
    smtp_server_free(o.s);
    return 0;
}
