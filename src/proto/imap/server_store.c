#include <inttypes.h>

#include "proto/imap/engine.h"
#include "proto/imap/reply.h"

/* STORE, COPY, MOVE and EXPUNGE: RFC 3501 §6.4, RFC 4315 (UIDPLUS), RFC 6851 (MOVE). */

struct change_args {
    enum imap_store_mode mode;
    bool silent;
    uint8_t flags;
    struct str keywords;
    struct str name; /* target of COPY and MOVE */
};

/* ---- STORE ---- */

/* store-att-flags = (["+" / "-"] "FLAGS" [".SILENT"]) SP (flag-list / (flag *(SP flag))) */
bool imap_parse_store(struct imap_server *e, struct imap_cursor *c)
{
    struct change_args *args = e->run.args = imap_alloc(e, sizeof *args);
    if (!args || !imap_need_space(c) || !imap_parse_messages(e, c) || !imap_need_space(c))
        return false;
    if (imap_take(c, '+'))
        args->mode = IMAP_STORE_ADD;
    else if (imap_take(c, '-'))
        args->mode = IMAP_STORE_REMOVE;
    args->silent = imap_take_word(c, "FLAGS.SILENT");
    if (!args->silent && !imap_take_word(c, "FLAGS"))
        return imap_fail(c, "FLAGS expected");
    return imap_need_space(c) && imap_parse_flags(c, true, &args->flags, &args->keywords);
}

static uint64_t count_slice(const struct imap_server *e)
{
    return imap_set_size((struct imap_set){e->run.slice, e->run.slice_count});
}

static void take_stored(struct imap_server *e, const struct imap_message *messages, size_t count)
{
    const struct change_args *args = e->run.args;
    e->run.missed |= count < count_slice(e);
    for (size_t i = 0; i < count && !args->silent; i++)
        imap_put_flags_update(e, &messages[i], e->run.uid);
}

void imap_answer_store(struct imap_server *e, uint64_t token, const struct imap_message *messages,
                       size_t count)
{
    if (!imap_answered(e, token, IMAP_EVENT_STORE))
        return;
    e->run.on_store(e, messages, count);
    imap_advance(e);
}

static bool store_slice(struct imap_server *e)
{
    const struct change_args *args = e->run.args;
    struct imap_set set;
    if (e->run.answer != IMAP_OK)
        return imap_finish(e, e->run.answer);
    if (!imap_next_slice(e, IMAP_SLICE, &set))
        return imap_finish(e, IMAP_OK);
    e->run.done_uid = set.ranges[set.count - 1].last;
    e->run.on_store = take_stored;
    struct imap_event *q = imap_ask(e, IMAP_EVENT_STORE);
    q->store.set = set;
    q->store.mode = args->mode;
    q->store.flags = args->flags;
    q->store.keywords = args->keywords;
    return false;
}

bool imap_step_store(struct imap_server *e)
{
    if (e->view->read_only)
        return imap_finish(e, IMAP_READ_ONLY);
    e->run.step = store_slice;
    return true;
}

/* ---- COPY and MOVE ---- */

/* copy = "COPY" SP sequence-set SP mailbox */
bool imap_parse_copy(struct imap_server *e, struct imap_cursor *c)
{
    struct change_args *args = e->run.args = imap_alloc(e, sizeof *args);
    return args && imap_need_space(c) && imap_parse_messages(e, c) && imap_need_space(c) &&
           imap_parse_mailbox(c, &args->name);
}

static bool wait_for_code(struct imap_server *e)
{
    return imap_finish(e, e->run.answer);
}

static bool ask_to_copy(struct imap_server *e, enum imap_event_kind kind)
{
    const struct change_args *args = e->run.args;
    if (str_empty(args->name))
        return imap_finish(e, IMAP_CANNOT);
    if (e->run.set.count == 0)
        return imap_finish(e, IMAP_OK);
    struct imap_event *q = imap_ask(e, kind);
    q->copy.set = imap_rangeset_set(&e->run.set);
    q->copy.name = args->name;
    e->run.step = wait_for_code;
    return false;
}

bool imap_step_copy(struct imap_server *e)
{
    return ask_to_copy(e, IMAP_EVENT_COPY);
}

bool imap_step_move(struct imap_server *e)
{
    if (e->view->read_only)
        return imap_finish(e, IMAP_READ_ONLY);
    return ask_to_copy(e, IMAP_EVENT_MOVE);
}

static void put_number(struct buf *out, const char *gap, uint32_t first, uint32_t last)
{
    buf_printf(out, "%s%" PRIu32, gap, first);
    if (last != first)
        buf_printf(out, ":%" PRIu32, last);
}

/*
 * RFC 4315 §3: two sets of the same length, whose members stand for each other in order; so both
 * are cut into runs at the same places only where each allows it by itself.
 */
static void put_column(struct buf *out, const struct imap_copied *copied, size_t count, bool target)
{
    for (size_t i = 0; i < count;) {
        uint32_t first = target ? copied[i].new_uid : copied[i].uid;
        uint32_t last = first;
        for (i++; i < count; i++, last++)
            if ((target ? copied[i].new_uid : copied[i].uid) != last + 1)
                break;
        put_number(out, i == last - first + 1 ? "" : ",", first, last);
    }
}

static void put_copyuid(struct buf *out, uint32_t uidvalidity, const struct imap_copied *copied,
                        size_t count)
{
    buf_printf(out, "COPYUID %" PRIu32 " ", uidvalidity);
    put_column(out, copied, count, false);
    buf_append_byte(out, ' ');
    put_column(out, copied, count, true);
}

void imap_answer_copy(struct imap_server *e, uint64_t token, uint32_t uidvalidity,
                      const struct imap_copied *copied, size_t count)
{
    bool is_move = e->question.kind == IMAP_EVENT_MOVE;
    if (!imap_answered(e, token, is_move ? IMAP_EVENT_MOVE : IMAP_EVENT_COPY))
        return;
    e->run.missed |= count < imap_set_size(imap_rangeset_set(&e->run.set));
    if (count && is_move) {
        /* RFC 6851 §4.3: before the EXPUNGEs, hence untagged. */
        buf_append_str(&e->out, STR("* OK ["));
        put_copyuid(&e->out, uidvalidity, copied, count);
        buf_append_str(&e->out, STR("] Moved\r\n"));
    } else if (count) {
        put_copyuid(&e->run.code_text, uidvalidity, copied, count);
    }
    imap_advance(e);
}

/* ---- EXPUNGE ---- */

/* "EXPUNGE", or "UID" SP "EXPUNGE" SP sequence-set (RFC 4315 §2.1) */
bool imap_parse_expunge(struct imap_server *e, struct imap_cursor *c)
{
    return !e->run.uid || (imap_need_space(c) && imap_parse_messages(e, c));
}

bool imap_step_expunge(struct imap_server *e)
{
    if (e->view->read_only)
        return imap_finish(e, IMAP_READ_ONLY);
    if (e->run.uid && e->run.set.count == 0)
        return imap_finish(e, IMAP_OK);
    struct imap_event *q = imap_ask(e, IMAP_EVENT_EXPUNGE);
    q->expunge.all = !e->run.uid;
    q->expunge.set = imap_rangeset_set(&e->run.set);
    e->run.step = wait_for_code;
    return false;
}
