#include <inttypes.h>

#include "base/bug.h"
#include "proto/pop3/server_state.h"

/*
 * RETR and TOP: a message goes out piece by piece, as the peer takes it. Each line that begins with
 * a dot gets another one in front (RFC 1939 §3). CRLF ends a line, and nothing else does.
 *
 * RFC 6856 §5 would have us keep a message whose header is UTF-8 from a client that did not say
 * UTF8: refuse it, or show it rewritten. It goes out as it is, as from other
 * servers and as old mail with odd octets always has. A refusal stops fetchmail and its like at
 * that message for ever, so that anybody could shut a mailbox by one mail; and a client that knows
 * nothing of UTF8 mostly shows such a header as it should be.
 */

enum { READ_SIZE = 32 * 1024, BODY_HIGH = 16 * 1024 };

static void ask_for_more(struct pop3_server *e)
{
    uint64_t left = e->maildrop.messages[e->body.message].octets - e->body.from;
    pop3_server_ask(e, (struct pop3_event){.type = POP3_READ,
                                           .message = e->body.message,
                                           .messages = e->maildrop.messages,
                                           .from = e->body.from,
                                           .size = left < READ_SIZE ? (size_t)left : READ_SIZE});
}

/* Octets of s up to and with the first CRLF, else all of them. */
static size_t line_end(char before, struct str s, bool *ret_ended)
{
    for (size_t at = 0; at < s.len;) {
        ptrdiff_t lf = str_find_byte(str_skip(s, at), '\n');
        if (lf < 0)
            break;
        size_t end = at + (size_t)lf + 1;
        *ret_ended = (end >= 2 ? s.ptr[end - 2] : before) == '\r';
        if (*ret_ended)
            return end;
        at = end;
    }
    *ret_ended = false;
    return s.len;
}

/* RFC 1939 §7, TOP: the header, the empty line, and so many lines of the body. */
static void line_sent(struct body *b)
{
    if (b->in_header)
        b->in_header = b->line_octets != 2;
    else if (b->lines_left != UINT64_MAX)
        b->lines_left--;
    b->complete = !b->in_header && b->lines_left == 0;
    b->line_octets = 0;
}

/* Takes a line off bytes, or the part of it that is there. */
static struct str next_line(struct body *b, struct str *bytes)
{
    bool ended;
    struct str line = str_sub(*bytes, 0, line_end(b->last, *bytes, &ended));
    *bytes = str_skip(*bytes, line.len);
    b->line_octets += line.len;
    b->last = line.ptr[line.len - 1];
    if (ended)
        line_sent(b);
    return line;
}

static void append_lines(struct pop3_server *e, struct str bytes)
{
    struct body *b = &e->body;
    while (!str_empty(bytes) && !b->complete) {
        if (b->line_octets == 0 && bytes.ptr[0] == '.')
            buf_append_byte(&e->out, '.');
        buf_append_str(&e->out, next_line(b, &bytes));
    }
}

static void start_reply(struct pop3_server *e)
{
    const struct pop3_message *m = &e->maildrop.messages[e->body.message];
    if (e->body.lines_left == UINT64_MAX)
        pop3_server_reply(e, REPLY_OK, "%" PRIu64 " octets", m->octets);
    else
        pop3_server_reply(e, REPLY_OK, "top of it");
}

static void finish(struct pop3_server *e)
{
    if (e->body.line_octets > 0)
        buf_append_str(&e->out, STR("\r\n"));
    buf_append_str(&e->out, STR(".\r\n"));
    e->job = JOB_NONE;
}

void body_pump(struct pop3_server *e)
{
    uint64_t octets = e->maildrop.messages[e->body.message].octets;
    if (e->asking)
        return;
    if (e->body.from == octets && octets == 0)
        start_reply(e);
    if (e->body.complete || e->body.from == octets)
        finish(e);
    else if (server_unsent(e) < BODY_HIGH)
        ask_for_more(e);
}

static void start_body(struct pop3_server *e, uint64_t number, uint64_t lines)
{
    if (!maildrop_find(e, number))
        return;
    e->job = JOB_BODY;
    e->body =
        (struct body){.message = (uint32_t)(number - 1), .lines_left = lines, .in_header = true};
}

void command_retr(struct pop3_server *e, const struct arguments_given *args, struct now now)
{
    (void)now;
    start_body(e, args->numbers[0], UINT64_MAX);
}

void command_top(struct pop3_server *e, const struct arguments_given *args, struct now now)
{
    (void)now;
    start_body(e, args->numbers[0], args->numbers[1]);
}

/* Half a message cannot be taken back: only the end of the connection tells of it. */
static void read_failed(struct pop3_server *e, enum status_code status)
{
    e->job = JOB_NONE;
    if (e->body.from > 0)
        pop3_server_close(e, POP3_CLOSE_FAILED);
    else if (status_is_temporary(status))
        pop3_server_reply(e, REPLY_TEMPORARY, "the message cannot be read now");
    else
        pop3_server_reply(e, REPLY_MESSAGE, "the message is gone");
}

static void send_piece(struct pop3_server *e, struct str bytes)
{
    if (e->body.from == 0)
        start_reply(e);
    append_lines(e, bytes);
    e->body.from += bytes.len;
}

void pop3_answer_read(struct pop3_server *e, uint64_t token, enum status_code status,
                      struct str bytes, struct now now)
{
    if (!server_take_answer(e, token))
        return;
    invariant(e->event.type == POP3_READ);
    e->deadline_ms = now.mono_ms + e->config->idle_ms;
    if (status != STATUS_OK) {
        read_failed(e, status);
    } else {
        invariant(bytes.len >= 1 && bytes.len <= e->event.size);
        send_piece(e, bytes);
    }
    server_pump(e);
}
