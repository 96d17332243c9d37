#include <inttypes.h>

#include "base/limits.h"
#include "proto/imap/engine.h"
#include "proto/imap/reply.h"

/*
 * APPEND: RFC 3501 §6.3.11, RFC 7888 (LITERAL+), RFC 4315 (APPENDUID). The message goes through in
 * pieces of a fixed size; the next one is taken when the owner has room for it.
 */

enum { PIECE_SIZE = 16 * 1024 };

struct append_args {
    struct str name;
    uint8_t flags;
    struct str keywords;
    bool has_date;
    int64_t internal_ms;
    uint64_t size;
    bool begun;  /* the owner has said yes, and has not been told of an end */
    char *piece; /* PIECE_SIZE of them */
    size_t piece_len;
};

/* append = "APPEND" SP mailbox [SP flag-list] [SP date-time] SP literal */
bool imap_parse_append(struct imap_server *e, struct imap_cursor *c)
{
    struct append_args *args = e->run.args = imap_alloc(e, sizeof *args);
    uint32_t size;
    if (!args || !imap_need_space(c) || !imap_parse_mailbox(c, &args->name) || !imap_need_space(c))
        return false;
    if (imap_peek(c) == '(') {
        if (!imap_parse_flags(c, false, &args->flags, &args->keywords) || !imap_need_space(c))
            return false;
    }
    args->has_date = imap_peek(c) == '"';
    if (args->has_date && (!imap_parse_date_time(c, &args->internal_ms) || !imap_need_space(c)))
        return false;
    if (!imap_take(c, '{'))
        return imap_fail(c, "Literal expected");
    args->size = e->literal_left;
    if (!imap_parse_number(c, &size))
        return false;
    imap_take(c, '+');
    return imap_need(c, '}');
}

static bool fail(struct imap_server *e, enum imap_code code, const char *words)
{
    struct append_args *args = e->run.args;
    if (args->begun)
        imap_raise(e, IMAP_EVENT_APPEND_ABORT);
    args->begun = false;
    return imap_finish_words(e, code, words);
}

static bool wait_for_input(struct imap_server *e)
{
    (void)e;
    return false;
}

/* ---- the end ---- */

static bool wait_for_uid(struct imap_server *e)
{
    return imap_finish(e, e->run.answer);
}

void imap_answer_append(struct imap_server *e, uint64_t token, uint32_t uidvalidity, uint32_t uid)
{
    if (!imap_answered(e, token, IMAP_EVENT_APPEND_END))
        return;
    buf_printf(&e->run.code_text, "APPENDUID %" PRIu32 " %" PRIu32, uidvalidity, uid);
    imap_advance(e);
}

/* Behind the literal the command must end: MULTIAPPEND is not spoken. */
static void take_end(struct imap_server *e, struct str line)
{
    struct append_args *args = e->run.args;
    e->tail_unread = false;
    if (!str_empty(line)) {
        imap_swallow_announced(e, line);
        fail(e, IMAP_BAD, "End of line expected behind the message");
        return;
    }
    args->begun = false;
    imap_ask(e, IMAP_EVENT_APPEND_END);
    e->run.step = wait_for_uid;
}

/* ---- the message ---- */

static bool wait_for_piece(struct imap_server *e)
{
    struct append_args *args = e->run.args;
    if (e->run.answer != IMAP_OK)
        return fail(e, e->run.answer, NULL);
    args->piece_len = 0;
    if (e->literal_left == 0)
        imap_await_line(e, take_end);
    e->run.step = wait_for_input;
    return false;
}

static void hand_over_piece(struct imap_server *e)
{
    struct append_args *args = e->run.args;
    if (str_find_byte(str_make(args->piece, args->piece_len), 0) >= 0) {
        fail(e, IMAP_BADMESSAGE, NULL); /* RFC 3501 §9: a literal holds no NUL */
        return;
    }
    imap_ask(e, IMAP_EVENT_APPEND_DATA)->data = str_make(args->piece, args->piece_len);
    e->run.step = wait_for_piece;
}

size_t imap_read_message(struct imap_server *e, struct str bytes)
{
    struct append_args *args = e->run.args;
    size_t taken = PIECE_SIZE - args->piece_len;
    if (taken > bytes.len)
        taken = bytes.len;
    if (taken > e->literal_left)
        taken = (size_t)e->literal_left;
    memcpy(args->piece + args->piece_len, bytes.ptr, taken);
    args->piece_len += taken;
    e->literal_left -= taken;
    if (args->piece_len == PIECE_SIZE || e->literal_left == 0)
        hand_over_piece(e);
    return taken;
}

static bool wait_for_permission(struct imap_server *e)
{
    struct append_args *args = e->run.args;
    if (e->run.answer != IMAP_OK)
        return imap_finish(e, e->run.answer);
    args->begun = true;
    args->piece = arena_alloc(&e->arena, PIECE_SIZE);
    if (!args->piece)
        return fail(e, IMAP_LIMIT, NULL);
    if (e->literal_waits)
        buf_append_str(&e->out, STR("+ Go on\r\n"));
    e->literal_waits = false; /* it is on its way */
    e->input = IMAP_INPUT_MESSAGE;
    e->run.step = wait_for_input;
    if (e->literal_left == 0)
        imap_await_line(e, take_end);
    return false;
}

bool imap_step_append(struct imap_server *e)
{
    const struct append_args *args = e->run.args;
    if (args->size > e->config.append_size_max)
        return imap_finish(e, IMAP_TOOBIG);
    struct imap_event *q = imap_ask(e, IMAP_EVENT_APPEND);
    q->append.name = args->name;
    q->append.size = args->size;
    q->append.flags = args->flags;
    q->append.keywords = args->keywords;
    q->append.has_date = args->has_date;
    q->append.internal_ms = args->internal_ms;
    e->run.step = wait_for_permission;
    return false;
}
