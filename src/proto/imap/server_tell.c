#include <inttypes.h>

#include "base/bug.h"
#include "proto/imap/engine.h"
#include "proto/imap/reply.h"

/*
 * Telling the client what others have done to the selected mailbox (RFC 3501 §5.2, §7.3, §7.4).
 * Notifications only mark UIDs in the view; here they become untagged responses, at the end of a
 * command or during IDLE, never anywhere else.
 */

static void out_of_memory(struct imap_server *e, bool good)
{
    if (!good)
        imap_bye(e, "Out of memory");
}

void imap_notify_new(struct imap_server *e, struct imap_set uids)
{
    for (size_t i = 0; e->view && i < uids.count; i++)
        out_of_memory(e, imap_view_append(e->view, uids.ranges[i]));
    imap_advance(e);
}

void imap_notify_flags(struct imap_server *e, struct imap_set uids)
{
    for (size_t i = 0; e->view && i < uids.count; i++)
        out_of_memory(e, imap_view_note_changed(e->view, uids.ranges[i]));
    imap_advance(e);
}

void imap_notify_expunged(struct imap_server *e, struct imap_set uids)
{
    for (size_t i = 0; e->view && i < uids.count; i++)
        out_of_memory(e, imap_view_note_expunged(e->view, uids.ranges[i]));
    imap_advance(e);
}

void imap_notify_mailbox_gone(struct imap_server *e)
{
    if (e->view && e->run.step && e->run.row && e->run.row->step == imap_step_delete)
        imap_unselect(e); /* the client did it */
    else if (e->view)
        imap_bye(e, "The selected mailbox is gone");
}

/* ---- telling ---- */

static uint32_t count_recent(const struct imap_view *v)
{
    return v->recent_from ? v->count + 1 - imap_view_seq_from(v, v->recent_from) : 0;
}

void imap_tell_exists(struct imap_server *e)
{
    struct imap_view *v = e->view;
    if (v->told == v->count)
        return;
    v->told = v->count;
    buf_printf(&e->out, "* %" PRIu32 " EXISTS\r\n", v->count);
    if (v->recent_from)
        buf_printf(&e->out, "* %" PRIu32 " RECENT\r\n", count_recent(v));
}

/* From the highest down: then no number changes that is still to be told. */
static bool tell_expunges(struct imap_server *e)
{
    struct imap_view *v = e->view;
    while (v->expunged.count) {
        if (!imap_has_room(e))
            return false;
        uint32_t uid = v->expunged.ranges[v->expunged.count - 1].last;
        buf_printf(&e->out, "* %" PRIu32 " EXPUNGE\r\n", imap_view_seq(v, uid));
        if (!imap_view_remove(v, uid)) {
            imap_bye(e, "Out of memory");
            return false;
        }
    }
    return true;
}

void imap_put_flags_update(struct imap_server *e, const struct imap_message *m, bool with_uid)
{
    uint32_t recent_from = e->view->recent_from;
    uint32_t seq = imap_view_seq(e->view, m->uid);
    if (!seq || seq > e->view->told)
        return;
    buf_printf(&e->out, "* %" PRIu32 " FETCH (", seq);
    if (with_uid)
        buf_printf(&e->out, "UID %" PRIu32 " ", m->uid);
    buf_append_str(&e->out, STR("FLAGS "));
    imap_put_flags(&e->out, m->flags, m->keywords, recent_from && m->uid >= recent_from);
    buf_append_str(&e->out, STR(")\r\n"));
}

static void take_changed(struct imap_server *e, const struct imap_message *messages, size_t count,
                         uint32_t through)
{
    e->run.telling = false;
    for (size_t i = 0; i < count; i++)
        imap_put_flags_update(e, &messages[i], true);
    out_of_memory(e, imap_rangeset_remove(&e->view->changed, (struct imap_range){0, through}));
}

static bool tell_changed(struct imap_server *e)
{
    struct imap_rangeset *changed = &e->view->changed;
    if (e->run.telling && e->run.answer != IMAP_OK)
        imap_rangeset_release(changed); /* the client will ask, or hear of the next change */
    e->run.telling = false;
    if (!changed->count)
        return true;
    if (!e->run.slice)
        e->run.slice = arena_alloc_array(&e->arena, IMAP_SLICE, sizeof *e->run.slice);
    if (!e->run.slice)
        return true;
    e->run.slice_count = imap_set_slice(imap_rangeset_set(changed), 0, IMAP_SLICE, e->run.slice);
    struct imap_event *q = imap_ask(e, IMAP_EVENT_FETCH);
    q->fetch.set = (struct imap_set){e->run.slice, e->run.slice_count};
    q->fetch.need = IMAP_NEED_FLAGS;
    e->run.on_messages = take_changed;
    e->run.telling = true;
    return false;
}

bool imap_tell(struct imap_server *e, bool expunges_allowed)
{
    if (e->state != IMAP_STATE_SELECTED)
        return true;
    if (expunges_allowed && !tell_expunges(e))
        return false;
    imap_tell_exists(e);
    return tell_changed(e);
}

/* ---- sets of messages ---- */

static struct imap_range ordered(uint32_t a, uint32_t b)
{
    return a < b ? (struct imap_range){a, b} : (struct imap_range){b, a};
}

static bool pick(struct imap_server *e, struct imap_range range, bool uid,
                 struct imap_rangeset *out)
{
    bool good =
        uid ? imap_view_pick_uids(e->view, range, out) : imap_view_pick_seqs(e->view, range, out);
    out_of_memory(e, good);
    return good;
}

/* RFC 3501 §9, seq-number: a number past the last message is an error; a UID that is none is not.
 */
bool imap_resolve_set(struct imap_server *e, struct imap_cursor *c, const struct imap_raw_set *raw,
                      bool uid, struct imap_rangeset *out)
{
    struct imap_rangeset wanted = {0};
    uint32_t told = e->view->told;
    uint32_t star = uid ? imap_view_uid(e->view, told) : told;
    bool good = true;
    for (size_t i = 0; told && good && i < raw->count; i++) {
        uint32_t first = raw->ranges[i].first ? raw->ranges[i].first : star;
        uint32_t last = raw->ranges[i].last ? raw->ranges[i].last : star;
        if (!uid && (first > told || last > told))
            good = imap_fail(c, "No message has that number");
        else
            good = imap_rangeset_add(&wanted, ordered(first, last));
    }
    for (size_t i = 0; good && i < wanted.count; i++)
        good = pick(e, wanted.ranges[i], uid, out);
    imap_rangeset_release(&wanted);
    return good;
}

bool imap_parse_messages(struct imap_server *e, struct imap_cursor *c)
{
    struct imap_raw_set raw;
    return imap_parse_set(c, &raw) && imap_resolve_set(e, c, &raw, e->run.uid, &e->run.set);
}

bool imap_next_slice(struct imap_server *e, size_t messages_max, struct imap_set *ret_set)
{
    struct imap_running *run = &e->run;
    if (!run->slice)
        run->slice = imap_alloc(e, IMAP_SLICE * sizeof *run->slice);
    if (!run->slice)
        return false;
    if (messages_max > IMAP_SLICE)
        messages_max = IMAP_SLICE;
    run->slice_count =
        imap_set_slice(imap_rangeset_set(&run->set), run->done_uid, messages_max, run->slice);
    *ret_set = (struct imap_set){run->slice, run->slice_count};
    return run->slice_count > 0;
}

void imap_slice_done(struct imap_server *e, size_t count, uint32_t through)
{
    struct imap_running *run = &e->run;
    uint64_t asked = 0;
    invariant(run->slice_count > 0 && through >= run->slice[0].first);
    for (size_t i = 0; i < run->slice_count && run->slice[i].first <= through; i++) {
        uint32_t last = run->slice[i].last < through ? run->slice[i].last : through;
        asked += (uint64_t)last - run->slice[i].first + 1;
        run->done_uid = last;
    }
    run->missed |= count < asked;
}

void imap_answer_messages(struct imap_server *e, uint64_t token,
                          const struct imap_message *messages, size_t count, uint32_t through)
{
    if (!imap_answered(e, token, IMAP_EVENT_FETCH))
        return;
    e->run.on_messages(e, messages, count, through);
    imap_advance(e);
}
