#include "proto/smtp/testing_pair.h"

#include "base/bug.h"
#include "proto/smtp/client_state.h"

/* ---- The server's owner ------------------------------------------------------------------- */

static void check_sender(const struct pair *p, const struct smtp_event_sender *e)
{
    const struct smtp_client_message *m = p->message;
    struct buf path;
    buf_init(&path, LIMIT_PATH_SIZE);
    if (!e->path->is_null)
        buf_printf(&path, "%.*s@%.*s", STR_ARG(e->path->mailbox.local),
                   STR_ARG(e->path->mailbox.domain));
    invariant(str_eq(buf_str(&path), m->reverse_path));
    buf_release(&path);
    invariant(e->size == m->size && e->body == m->body && e->utf8 == m->utf8);
    invariant(e->requiretls == m->requiretls && e->ret == m->ret);
    invariant(str_eq(text_peek(e->envid), m->envid));
    if (!p->way.lmtp) {
        invariant(e->by_mode == m->by_mode && e->by_trace == m->by_trace);
        invariant(e->by_ms == m->by_s * 1000);
    }
}

static struct smtp_reply answer_recipient(struct pair *p, const struct smtp_event_recipient *e)
{
    static const struct smtp_reply no = SMTP_REPLY(550, 5, 1, 1, "no such mailbox");
    static const struct smtp_reply later = SMTP_REPLY(450, 4, 2, 1, "not now");
    invariant(p->next < p->message->recipient_count);
    const struct smtp_client_recipient *r = &p->message->recipients[p->next++];
    struct str local = e->path->mailbox.local;
    invariant(str_starts(r->path, local) && str_ends(r->path, e->path->mailbox.domain));
    invariant(e->notify == r->notify && str_eq(text_peek(e->orcpt), r->orcpt));
    if (str_starts(local, STR("no")))
        return no;
    return str_starts(local, STR("later")) ? later : (struct smtp_reply){0};
}

static void serve(struct pair *p, const struct smtp_event *e)
{
    struct smtp_reply reply = {0};
    if (e->kind == SMTP_EVENT_SENDER)
        check_sender(p, &e->sender);
    if (e->kind == SMTP_EVENT_RECIPIENT)
        reply = answer_recipient(p, &e->recipient);
    if (e->kind == SMTP_EVENT_BODY)
        invariant(buf_append_str(&p->taken, e->body));
    if (e->kind == SMTP_EVENT_ABORT)
        buf_clear(&p->taken);
    if (e->kind == SMTP_EVENT_START_TLS)
        smtp_server_tls_started(p->s, p->now);
    if (e->token != 0)
        smtp_server_answer(p->s, e->token, reply, p->now);
}

/* ---- The client's owner ------------------------------------------------------------------- */

static void own(struct pair *p, const struct smtp_client_event *e)
{
    switch (e->kind) {
    case SMTP_CLIENT_EVENT_START_TLS:
        smtp_client_tls_started(p->c, p->now);
        break;
    case SMTP_CLIENT_EVENT_READY:
        p->ready = true;
        p->c->abilities.pipelining = p->c->abilities.pipelining && p->way.pipelining;
        p->c->abilities.chunking = p->c->abilities.chunking && p->way.chunking;
        break;
    case SMTP_CLIENT_EVENT_BODY_WANTED:
        invariant(!p->wanted);
        p->wanted = true;
        break;
    case SMTP_CLIENT_EVENT_RECIPIENT:
        invariant(p->told[e->recipient.index] == 0);
        p->told[e->recipient.index] = 1 + e->recipient.verdict;
        break;
    case SMTP_CLIENT_EVENT_MESSAGE_DONE:
        p->done++;
        break;
    case SMTP_CLIENT_EVENT_CLOSED:
        p->closed = true;
        break;
    default:
        bug("an event that nobody asked for");
    }
}

static void give_body(struct pair *p)
{
    while (p->wanted && smtp_client_body_wanted(p->c)) {
        struct str piece = str_sub(p->given, p->given_done, p->way.piece);
        bool last = p->given_done + piece.len == p->given.len;
        size_t n = smtp_client_body(p->c, piece, last, p->now);
        p->given_done += n;
        if (n < piece.len)
            return;
    }
}

/* ---- The wire ----------------------------------------------------------------------------- */

static bool carry_up(struct pair *p)
{
    struct str out = str_sub(smtp_client_output(p->c), 0, p->way.cut), rest = out;
    struct smtp_event e;
    for (size_t n = 1; n > 0;) {
        n = smtp_server_input(p->s, rest, 0, p->now);
        rest = str_skip(rest, n);
        while (smtp_server_next(p->s, &e)) {
            serve(p, &e);
            n = 1; /* an answer may let more in */
        }
    }
    smtp_client_output_done(p->c, out.len - rest.len, p->now);
    return out.len > rest.len;
}

static bool carry_down(struct pair *p)
{
    struct str out = str_sub(smtp_server_output(p->s), 0, p->way.cut);
    struct smtp_client_event e;
    size_t n = smtp_client_input(p->c, out, p->now);
    smtp_server_output_done(p->s, n);
    bool moved = n > 0;
    while (smtp_client_next(p->c, &e)) {
        own(p, &e);
        moved = true;
    }
    size_t done = p->given_done;
    give_body(p);
    return moved || p->given_done > done;
}

void pair_talk(struct pair *p)
{
    bool moved = true;
    while (moved) {
        moved = carry_up(p);
        moved = carry_down(p) || moved;
    }
}

/* ---- All of it ---------------------------------------------------------------------------- */

void pair_init(struct pair *p, const struct way *way)
{
    *p = (struct pair){.way = *way, .now = {1000, 1000}};
    p->settings = (struct smtp_client_settings){.hostname = STR("out.example.org"),
                                                .lmtp = way->lmtp,
                                                .tls = SMTP_CLIENT_TLS_OFFERED,
                                                .timeouts = smtp_client_timeouts_default};
    p->listener = (struct smtp_listener){.kind = way->lmtp ? SMTP_LISTENER_LMTP : SMTP_LISTENER_MX,
                                         .hostname = STR("mx.demo.test"),
                                         .starttls = true,
                                         .outbound = true,
                                         .limits = smtp_limits_default};
    p->listener.limits.tarpit_ms = 0;
    buf_init(&p->taken, 1 << 24);
    p->c = smtp_client_new(&p->settings, p->now);
    p->s = smtp_server_new(&p->listener, false, p->now);
    invariant(p->c && p->s);
    pair_talk(p);
    invariant(p->ready);
}

void pair_release(struct pair *p)
{
    smtp_client_free(p->c);
    smtp_server_free(p->s);
    buf_release(&p->taken);
}

void pair_send(struct pair *p, const struct smtp_client_message *message, struct str body)
{
    unsigned done = p->done;
    invariant(message->recipient_count <= PAIR_RECIPIENTS_MAX);
    p->message = message;
    p->given = body;
    p->given_done = 0;
    p->wanted = false;
    p->next = 0;
    memset(p->told, 0, sizeof p->told);
    buf_clear(&p->taken);
    smtp_client_send(p->c, message, p->now);
    pair_talk(p);
    invariant(p->done == done + 1);
    for (uint32_t i = 0; i < message->recipient_count; i++)
        invariant(p->told[i] != 0);
}

bool pair_body_arrived(const struct pair *p)
{
    struct str taken = buf_str(&p->taken);
    bool whole = p->way.body == SMTP_BODY_BINARYMIME || str_empty(p->given) ||
                 str_ends(p->given, STR("\r\n"));
    if (!whole && str_ends(taken, STR("\r\n")))
        taken.len -= 2;
    return str_eq(taken, p->given);
}
