/* DATA (RFC 5321 §4.1.1.4, §4.5.2) and BDAT (RFC 3030 §2), and what is said to them. */

#include <stdio.h>

#include "base/bug.h"
#include "proto/smtp/client_state.h"

enum {
    BODY_HIGH = 64 * 1024,    /* with this much unwritten no more of the body is taken */
    CHUNKED_FROM = 64 * 1024, /* a smaller body goes behind DATA */
    CHUNK_COMMAND_SIZE = 64,  /* "BDAT 65536 LAST" */
};

/* ---- The start ---------------------------------------------------------------------------- */

/*
 * DATA is pipelined with the envelope, and its 354 shows that both are in step: behind BDAT a reply
 * too many to the envelope would be taken for the message's. So BDAT is for what needs it, and for
 * what is large enough to be worth the wait (and an early refusal). On LMTP how many replies follow
 * it is nowhere written: there only where there is no other way.
 */
static bool is_chunked(const struct smtp_client *c)
{
    const struct smtp_client_message *m = c->message.given;
    bool worth = m->size >= CHUNKED_FROM && !c->settings->lmtp;
    return c->abilities.chunking && (worth || m->body == SMTP_BODY_BINARYMIME);
}

bool client_may_pipeline_data(const struct smtp_client *c)
{
    const struct client_message *m = &c->message;
    bool hope = m->rcpt_due + m->accepted > 0;
    return c->abilities.pipelining && hope && !is_chunked(c);
}

void client_begin_body(struct smtp_client *c)
{
    struct client_message *m = &c->message;
    m->chunked = is_chunked(c);
    c->body = (struct client_body){
        .scan = {.binary = m->given->body == SMTP_BODY_BINARYMIME, .line_size_max = UINT32_MAX},
        .line_start = true,
    };
    if (m->chunked) {
        m->phase = PHASE_BODY;
        client_tell(c, SMTP_CLIENT_EVENT_BODY_WANTED);
    } else {
        m->phase = PHASE_DATA;
        client_say(c, STR("DATA\r\n"));
        client_asked(c, &m->data_due);
    }
}

/* ---- Chunks ------------------------------------------------------------------------------- */

static void open_chunk(struct smtp_client *c)
{
    if (c->body.chunk_open)
        return;
    c->body.chunk_open = true;
    c->body.chunk_start = c->out.len;
}

/* Puts the command before its octets, now that their number is known. */
static void close_chunk(struct smtp_client *c, bool last)
{
    char command[CHUNK_COMMAND_SIZE];
    size_t start = c->body.chunk_start, size = c->out.len - start;
    int n = snprintf(command, sizeof command, "BDAT %zu%s\r\n", size, last ? " LAST" : "");
    c->body.chunk_open = false;
    client_say(c, str_make(command, (size_t)n)); /* makes the room */
    if (c->state == CLIENT_CLOSED)
        return;
    memmove(c->out.ptr + start + n, c->out.ptr + start, size);
    memcpy(c->out.ptr + start, command, (size_t)n);
    if (!last)
        c->message.chunks_due++;
}

void client_drop_chunk(struct smtp_client *c)
{
    if (!c->body.chunk_open)
        return;
    c->body.chunk_open = false;
    c->out_total -= c->out.len - c->body.chunk_start;
    buf_truncate(&c->out, c->body.chunk_start);
}

/* A chunk waits for the answer to the one before, unless the peer said that it need not. */
static bool is_chunk_held(const struct smtp_client *c)
{
    const struct client_message *m = &c->message;
    return m->chunks_due > 0 && (!c->abilities.pipelining || c->settings->lmtp);
}

/* ---- Octets ------------------------------------------------------------------------------- */

static bool is_clean(struct smtp_client *c, struct str piece)
{
    struct str span;
    bool end;
    while (!str_empty(piece))
        piece = str_skip(piece, smtp_scan_take(&c->body.scan, piece, &span, &end));
    return c->body.scan.fault == SMTP_SCAN_CLEAN;
}

/* Says a piece of the text with a dot before each dot at the start of a line (RFC 5321 §4.5.2). */
static void say_stuffed(struct smtp_client *c, struct str piece)
{
    if (c->body.line_start && piece.ptr[0] == '.')
        client_say(c, STR("."));
    for (;;) {
        ptrdiff_t at = str_find(piece, STR("\n."));
        if (at < 0)
            break;
        client_say(c, str_sub(piece, 0, (size_t)at + 1));
        client_say(c, STR("."));
        piece = str_skip(piece, (size_t)at + 1);
    }
    client_say(c, piece);
}

static void say_octets(struct smtp_client *c, struct str piece)
{
    if (str_empty(piece))
        return;
    if (c->message.chunked) {
        open_chunk(c);
        client_say(c, piece);
    } else {
        say_stuffed(c, piece);
    }
    c->body.line_start = piece.ptr[piece.len - 1] == '\n';
}

/* A CR at the end goes out with its LF, or not at all. */
static void say_lines(struct smtp_client *c, struct str piece)
{
    bool ends_in_cr = !c->body.scan.binary && piece.ptr[piece.len - 1] == '\r';
    if (c->body.cr_held)
        say_octets(c, STR("\r"));
    c->body.cr_held = ends_in_cr;
    say_octets(c, str_sub(piece, 0, piece.len - (ends_in_cr ? 1 : 0)));
}

static void refuse_body(struct smtp_client *c)
{
    if (!c->message.chunked) {
        client_close(c, SMTP_CLIENT_CLOSE_BAD_BODY);
        return;
    }
    c->dirty = true;
    client_settle(c, SMTP_CLIENT_BODY, SMTP_CLIENT_REFUSED,
                  client_close_reply(SMTP_CLIENT_CLOSE_BAD_BODY));
}

static void end_body(struct smtp_client *c)
{
    struct client_message *m = &c->message;
    smtp_scan_finish(&c->body.scan);
    if (c->body.scan.fault != SMTP_SCAN_CLEAN) {
        refuse_body(c);
        return;
    }
    if (!c->body.line_start && !c->body.scan.binary)
        say_octets(c, STR("\r\n"));
    if (m->chunked) {
        open_chunk(c);
        close_chunk(c, true);
    } else {
        client_say(c, STR(".\r\n"));
    }
    if (c->state == CLIENT_CLOSED)
        return;
    m->phase = PHASE_END;
    m->end_due = c->settings->lmtp ? m->accepted : 1;
    m->end_at = c->out_total;
}

void client_continue_body(struct smtp_client *c)
{
    if (c->message.phase == PHASE_BODY && c->body.given && !is_chunk_held(c))
        end_body(c);
}

bool smtp_client_body_wanted(const struct smtp_client *c)
{
    return c->state == CLIENT_MESSAGE && c->message.phase == PHASE_BODY && !c->body.given;
}

size_t smtp_client_body(struct smtp_client *c, struct str piece, bool last, struct now now)
{
    invariant(c->state != CLIENT_MESSAGE || c->message.phase >= PHASE_BODY);
    if (!smtp_client_body_wanted(c))
        return piece.len;
    size_t room = c->out.len < BODY_HIGH && !is_chunk_held(c) ? BODY_HIGH - c->out.len : 0;
    struct str taken = str_sub(piece, 0, room);
    if (str_empty(smtp_client_output(c)))
        c->active_ms = now.mono_ms;
    if (!is_clean(c, taken)) {
        refuse_body(c);
        return piece.len;
    }
    if (!str_empty(taken))
        say_lines(c, taken);
    c->body.given = last && taken.len == piece.len;
    if (c->body.chunk_open && !c->body.given && c->out.len >= BODY_HIGH)
        close_chunk(c, false);
    client_continue_body(c);
    return taken.len;
}

/* ---- Replies ------------------------------------------------------------------------------ */

/* RFC 2920 §3.1: a 354 for a message that nobody is to have is answered with a dot. */
static void decline(struct smtp_client *c)
{
    struct client_message *m = &c->message;
    m->phase = PHASE_DEAD;
    client_say(c, STR(".\r\n"));
    m->end_due = 1;
    m->end_at = c->out_total;
    c->dirty = true;
}

void client_hear_data(struct smtp_client *c)
{
    struct client_message *m = &c->message;
    bool nobody = m->accepted == 0 || m->phase == PHASE_DEAD;
    /* RFC 2033 §4.2: on LMTP 354 must not be then, and no reply would follow the dot. */
    bool good = c->reader.code >= 400 || (c->reader.code == 354 && !(nobody && c->settings->lmtp));
    if (!good) {
        client_close(c, SMTP_CLIENT_CLOSE_GARBAGE);
        return;
    }
    m->data_due = 0;
    if (c->reader.code != 354) {
        client_settle_refused(c, SMTP_CLIENT_DATA);
    } else if (nobody) {
        decline(c);
    } else {
        m->phase = PHASE_BODY;
        client_tell(c, SMTP_CLIENT_EVENT_BODY_WANTED);
    }
}

/*
 * The first BDAT is answered as a word that the server does not know, and not as what it thinks of
 * the message: then it took the octets for commands, and there is no way to be in step again.
 */
static bool is_bdat_unknown(struct smtp_client *c)
{
    const struct smtp_reply_reader *r = &c->reader;
    bool is_first = c->message.chunked && !c->message.answered && c->message.phase != PHASE_DEAD;
    bool about_syntax = r->class == 0 || r->subject == 0 || (r->subject == 5 && r->detail <= 2);
    c->message.answered = true;
    if (!is_first || !about_syntax || (r->code != 500 && r->code != 502))
        return false;
    client_close(c, SMTP_CLIENT_CLOSE_NO_BDAT);
    return true;
}

void client_hear_chunk(struct smtp_client *c)
{
    c->message.chunks_due--;
    if (is_bdat_unknown(c))
        return;
    if (c->reader.code >= 400 && c->message.phase != PHASE_DEAD)
        client_settle_refused(c, SMTP_CLIENT_BODY);
}

static void hear_end_each(struct smtp_client *c)
{
    struct client_message *m = &c->message;
    struct smtp_client_reply reply = client_reply(c);
    while (m->fates[m->end_heard] != FATE_ACCEPTED)
        m->end_heard++;
    client_tell_recipient(c, m->end_heard, client_verdict(&reply), SMTP_CLIENT_END, reply);
    if (m->end_due == 0)
        m->phase = PHASE_DEAD;
}

void client_hear_end(struct smtp_client *c)
{
    struct client_message *m = &c->message;
    struct smtp_client_reply reply;
    if (is_bdat_unknown(c))
        return;
    reply = client_reply(c);
    /* A chunk may be refused when it is announced: its octets follow, and are thrown away. */
    bool early = c->out_total - c->out.len < m->end_at;
    if (early && !(m->chunked && c->reader.code >= 400)) {
        client_hear_early(c);
        return;
    }
    m->end_due--;
    if (m->phase == PHASE_DEAD)
        return;
    if (c->settings->lmtp)
        hear_end_each(c);
    else
        client_settle(c, SMTP_CLIENT_END, client_verdict(&reply), reply);
}

/*
 * A refusal in the middle of the text behind DATA counts, but there is no way to go on from it
 * without sending the rest.
 */
void client_hear_early(struct smtp_client *c)
{
    const struct client_message *m = &c->message;
    bool in_text = !m->chunked && (m->phase == PHASE_BODY || m->phase == PHASE_END);
    if (in_text && c->reader.code >= 400)
        client_refused(c, client_reply(c));
    else
        client_close(c, SMTP_CLIENT_CLOSE_GARBAGE);
}
