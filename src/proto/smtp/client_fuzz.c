/*
 * The first octets choose settings, messages and pieces; the rest is what the server says. The
 * owner here is as moody as can be, and checks what the contract promises it: each recipient is
 * told once, CLOSED is the last event, and no bare CR, LF or NUL is ever said.
 */
#include <stdlib.h>

#include "base/bug.h"
#include "proto/smtp/client.h"
#include "proto/smtp/scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RECIPIENTS = 5, MESSAGES = 4 };

struct owner {
    struct smtp_client *c;
    struct now now;
    uint64_t mood; /* a source of decisions */
    struct smtp_scan said;
    struct smtp_client_message message;
    struct smtp_client_recipient recipients[RECIPIENTS];
    bool told[RECIPIENTS];
    bool sending, wanted, given, closed, idle, handshake;
    unsigned sent, asked;
};

static unsigned draw(struct owner *o, unsigned below)
{
    o->mood = o->mood * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(o->mood >> 33) % below;
}

static void send_any(struct owner *o)
{
    static const struct str paths[] = {STR("b@y.test"),        STR("\"b c\"@[192.0.2.1]"),
                                       STR("\xC3\xA4@y.test"), STR("b@y.test> SIZE=1\r\nRSET"),
                                       STR("b@y.test"),        STR("b@y.test")};
    static const struct str words[] = {STR(""), STR("rfc822;b+c@y.test"), STR("utf-8;\xC3\xA4@y"),
                                       STR("a\r\nb"), STR(";")};
    for (size_t i = 0; i < RECIPIENTS; i++) {
        o->recipients[i] =
            (struct smtp_client_recipient){paths[draw(o, 6)], draw(o, 16), words[draw(o, 5)]};
        o->told[i] = false;
    }
    o->message = (struct smtp_client_message){
        .reverse_path = draw(o, 3) ? STR("") : paths[draw(o, 6)],
        .size = draw(o, 2) ? 100 : 100000,
        .body = draw(o, 4) ? SMTP_BODY_7BIT : SMTP_BODY_8BITMIME,
        .utf8 = draw(o, 4) == 0,
        .requiretls = draw(o, 8) == 0,
        .envid = words[draw(o, 5)],
        .ret = (enum smtp_ret)draw(o, 3),
        .by_mode = draw(o, 4) ? SMTP_BY_NONE : (enum smtp_by_mode)draw(o, 3),
        .by_s = ((int64_t)draw(o, 100) - 50) * INT32_MAX,
        .priority = (int)draw(o, 19) - 9,
        .recipients = o->recipients,
        .recipient_count = 1 + draw(o, RECIPIENTS),
    };
    o->sending = true;
    o->wanted = o->given = o->idle = false;
    o->sent++;
    smtp_client_send(o->c, &o->message, o->now);
}

static void answer(struct owner *o, const struct smtp_client_event *e)
{
    bool done = draw(o, 2);
    struct str data = str_sub(STR("some initial response"), 0, draw(o, 20));
    if (draw(o, 8) == 0 || o->asked++ > 20)
        smtp_client_cancel_auth(o->c, e->token, o->now);
    else if (e->kind == SMTP_CLIENT_EVENT_AUTH)
        smtp_client_answer_auth(o->c, e->token, STR("PLAIN"), draw(o, 2), data, done, o->now);
    else
        smtp_client_answer_challenge(o->c, e->token, data, done, o->now);
}

static void check_done(struct owner *o, bool more)
{
    invariant(o->sending && !(more && o->closed));
    for (uint32_t i = 0; i < o->message.recipient_count; i++)
        invariant(o->told[i]);
    o->sending = o->wanted = false;
    o->idle = more;
}

static void handle(struct owner *o, const struct smtp_client_event *e)
{
    invariant(!o->closed);
    switch (e->kind) {
    case SMTP_CLIENT_EVENT_START_TLS:
        o->handshake = true;
        break;
    case SMTP_CLIENT_EVENT_AUTH:
    case SMTP_CLIENT_EVENT_CHALLENGE:
        answer(o, e);
        break;
    case SMTP_CLIENT_EVENT_READY:
        o->idle = true;
        break;
    case SMTP_CLIENT_EVENT_BODY_WANTED:
        invariant(o->sending && !o->wanted);
        o->wanted = true;
        break;
    case SMTP_CLIENT_EVENT_RECIPIENT:
        invariant(o->sending && e->recipient.index < o->message.recipient_count);
        invariant(!o->told[e->recipient.index] && e->recipient.reply.class >= 2);
        o->told[e->recipient.index] = true;
        break;
    case SMTP_CLIENT_EVENT_MESSAGE_DONE:
        check_done(o, e->more);
        break;
    case SMTP_CLIENT_EVENT_CLOSED:
        invariant(!o->sending && e->closed.reply.class >= 2);
        o->closed = true;
        break;
    case SMTP_CLIENT_EVENT_AUTH_END:
        break;
    }
}

static void pull(struct owner *o)
{
    struct smtp_client_event e;
    while (smtp_client_next(o->c, &e))
        handle(o, &e);
}

static void give_some(struct owner *o)
{
    static const struct str pieces[] = {STR("line\r\n"), STR(".\r\n"), STR("a"),          STR("\r"),
                                        STR("\n"),       STR(""),      STR("x\r\n.\r\n.")};
    if (!o->wanted || o->given)
        return;
    static char block[40000];
    struct str piece = pieces[draw(o, 20) ? draw(o, 3) : draw(o, 7)];
    if (draw(o, 8) == 0)
        piece = str_make(memset(block, 'x', sizeof block), sizeof block);
    bool last = draw(o, 10) == 0;
    size_t n = smtp_client_body(o->c, piece, last, o->now);
    invariant(n <= piece.len);
    o->given = last && n == piece.len;
}

/* Everything said is lines (with the body's), whatever anybody wants. */
static void check_said(struct owner *o, struct str out)
{
    struct str span;
    bool end;
    while (!str_empty(out))
        out = str_skip(out, smtp_scan_take(&o->said, out, &span, &end));
    invariant(o->said.fault == SMTP_SCAN_CLEAN);
}

static void write_output(struct owner *o)
{
    struct str out = smtp_client_output(o->c);
    invariant(out.len < 200 * 1024);
    size_t n = draw(o, 4) == 0 ? out.len / 2 : out.len;
    check_said(o, str_sub(out, 0, n));
    smtp_client_output_done(o->c, n, o->now);
}

static void act(struct owner *o)
{
    if (o->handshake && draw(o, 2)) {
        o->handshake = false;
        smtp_client_tls_started(o->c, o->now);
    }
    pull(o);
    if (o->closed)
        return;
    if (o->idle && o->sent < MESSAGES) {
        send_any(o);
    } else if (o->idle && draw(o, 4) == 0) {
        o->idle = false;
        smtp_client_quit(o->c, o->now);
    }
    give_some(o);
    pull(o);
    write_output(o);
    pull(o);
    o->now.mono_ms += draw(o, 3) == 0 ? 1000 : 0;
    int64_t deadline = smtp_client_deadline(o->c);
    if (draw(o, 100) == 0 && deadline != NEVER_MS && deadline > o->now.mono_ms)
        o->now.mono_ms = deadline;
    smtp_client_tick(o->c, o->now);
    pull(o);
}

static void talk(struct owner *o, struct str server)
{
    int idle = 0;
    while (!str_empty(server) && !o->closed && idle < 1000) {
        struct str piece = str_sub(server, 0, draw(o, 2) ? server.len : 1 + draw(o, 40));
        char *copy = malloc(piece.len);
        memcpy(copy, piece.ptr, piece.len);
        size_t n = smtp_client_input(o->c, str_make(copy, piece.len), o->now);
        free(copy);
        invariant(n <= piece.len);
        if (o->handshake && n == 0)
            o->handshake = false;
        server = str_skip(server, n);
        idle = n > 0 ? 0 : idle + 1;
        act(o);
    }
    invariant(idle < 1000); /* nothing holds a server for ever */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4)
        return 0;
    struct smtp_client_settings settings = {
        .hostname = STR("out.example.org"),
        .lmtp = data[0] & 4,
        .tls = (enum smtp_client_tls)(data[0] % 4),
        .auth = data[0] & 8,
        .timeouts = smtp_client_timeouts_default,
    };
    struct owner o = {.now = {1000, 1000}, .mood = data[1] | (uint64_t)data[2] << 8};
    o.said.line_size_max = UINT32_MAX;
    o.c = smtp_client_new(&settings, o.now);
    invariant(o.c);
    talk(&o, str_make(data + 3, size - 3));
    for (int i = data[3] % 16; i > 0 && !o.closed; i--)
        act(&o);
    pull(&o);
    smtp_client_peer_gone(o.c, o.now);
    pull(&o);
    invariant(o.closed && !o.sending);
    smtp_client_free(o.c);
    return 0;
}
