#include "base/bug.h"
#include "base/limits.h"
#include "proto/imap/engine.h"

/*
 * From bytes to commands. A command is a line, or several where one ends in a literal; it is
 * gathered whole, literals in place, before it is parsed (RFC 3501 §2.2.1, RFC 7888). Only the
 * message of APPEND passes through without being gathered.
 */

struct announcement {
    uint64_t size;
    bool waits; /* for "+ ..." (not a LITERAL+ one) */
};

/* True where the line ends in "{n}" or "{n+}". Sizes past all reason are UINT64_MAX. */
static bool find_announcement(struct str line, struct announcement *ret)
{
    if (line.len < 3 || line.ptr[line.len - 1] != '}')
        return false;
    size_t end = line.len - 1;
    bool waits = line.ptr[end - 1] != '+';
    end -= !waits;
    size_t start = end;
    while (start > 0 && ascii_is_digit(line.ptr[start - 1]))
        start--;
    if (start == end || start == 0 || line.ptr[start - 1] != '{')
        return false;
    ret->waits = waits;
    if (!str_to_u64(str_sub(line, start, end - start), UINT32_MAX, &ret->size))
        ret->size = UINT64_MAX;
    return true;
}

static struct str without_line_end(struct str line)
{
    if (str_ends(line, STR("\n")))
        line.len--;
    if (str_ends(line, STR("\r")))
        line.len--;
    return line;
}

/*
 * append = "APPEND" SP mailbox [SP flag-list] [SP date-time] SP literal: every literal is the
 * message, but the first one where it stands in the mailbox's place.
 */
static bool announces_message(struct str text)
{
    struct imap_cursor c = imap_cursor_at(text, NULL);
    struct str tag;
    if (!imap_parse_tag(&c, &tag) || !imap_take(&c, ' ') || !imap_take_word(&c, "APPEND") ||
        !imap_take(&c, ' '))
        return false;
    return imap_peek(&c) != '{' || str_find_byte(text, '\n') < (ptrdiff_t)text.len - 1;
}

static void refuse_literal(struct imap_server *e, bool waits)
{
    struct imap_cursor c = imap_cursor_at(buf_str(&e->text), NULL);
    struct str tag = STR("*");
    (void)imap_parse_tag(&c, &tag);
    buf_printf(&e->out, "%.*s BAD [TOOBIG] Literal too large\r\n", STR_ARG(tag));
    buf_wipe(&e->text);
    e->line_start = 0;
    if (!waits)
        imap_bye(e, "Literal too large");
    else
        imap_count_error(e);
}

static void command_line_done(struct imap_server *e)
{
    struct announcement a;
    /* What a literal ended in is no announcement, and none of the line end. */
    struct str line = without_line_end(str_skip(buf_str(&e->text), e->line_start));
    size_t size = e->line_start + line.len;
    if (!find_announcement(line, &a)) {
        buf_truncate(&e->text, size);
        imap_dispatch(e);
        return;
    }
    bool is_message = announces_message(buf_str(&e->text));
    size_t room = LIMIT_IMAP_COMMAND_SIZE - e->text.len;
    if (a.size > (is_message ? UINT32_MAX : room)) {
        refuse_literal(e, a.waits);
        return;
    }
    if (is_message) {
        buf_truncate(&e->text, size);
        e->literal_left = a.size;
        e->literal_waits = a.waits;
        e->tail_unread = true;
        imap_dispatch(e);
        return;
    }
    e->literal_left = a.size;
    e->line_start = e->text.len + (size_t)a.size;
    if (a.waits)
        buf_append_str(&e->out, STR("+ Go on\r\n"));
}

static void input_line_done(struct imap_server *e)
{
    e->run.on_line(e, without_line_end(buf_str(&e->text)));
}

/* RFC 7888 §4: what was announced without waiting comes, wanted or not. */
static void swallow_line_done(struct imap_server *e)
{
    struct announcement a;
    bool more = find_announcement(without_line_end(buf_str(&e->text)), &a) && !a.waits;
    buf_release(&e->text);
    if (more && a.size == UINT64_MAX)
        imap_bye(e, "Literal too large");
    else if (more)
        e->literal_left = a.size;
    else
        e->input = IMAP_INPUT_COMMAND;
}

void imap_swallow_announced(struct imap_server *e, struct str line)
{
    struct announcement a;
    if (!find_announcement(line, &a) || a.waits)
        return;
    e->tail_unread = true;
    e->literal_waits = false;
    e->literal_left = a.size; /* where it is endless, silence ends it (imap_server_tick) */
}

static size_t read_line(struct imap_server *e, struct str bytes,
                        void (*done)(struct imap_server *e))
{
    ptrdiff_t line_end = str_find_byte(bytes, '\n');
    size_t taken = line_end < 0 ? bytes.len : (size_t)line_end + 1;
    if (!buf_append(&e->text, bytes.ptr, taken)) {
        buf_append_str(&e->out, STR("* BAD [TOOBIG] Command too large\r\n"));
        imap_bye(e, "Command too large");
        return taken;
    }
    if (line_end >= 0)
        done(e);
    return taken;
}

static size_t read_literal(struct imap_server *e, struct str bytes)
{
    size_t taken = bytes.len < e->literal_left ? bytes.len : (size_t)e->literal_left;
    e->literal_left -= taken;
    if (e->input == IMAP_INPUT_COMMAND && !buf_append(&e->text, bytes.ptr, taken))
        imap_bye(e, "Out of memory");
    return taken;
}

size_t imap_read(struct imap_server *e, struct str bytes)
{
    switch (e->input) {
    case IMAP_INPUT_COMMAND:
        return e->literal_left ? read_literal(e, bytes) : read_line(e, bytes, command_line_done);
    case IMAP_INPUT_SWALLOW:
        return e->literal_left ? read_literal(e, bytes) : read_line(e, bytes, swallow_line_done);
    case IMAP_INPUT_LINE:
        return read_line(e, bytes, input_line_done);
    case IMAP_INPUT_MESSAGE:
        return imap_read_message(e, bytes);
    }
    bug("no such input");
}

void imap_await_line(struct imap_server *e, void (*on_line)(struct imap_server *e, struct str line))
{
    buf_clear(&e->text);
    e->input = IMAP_INPUT_LINE;
    e->run.on_line = on_line;
}
