#include "roles/mailroom_imap.h"

#include <stdlib.h>

#include "roles/change.h"

typedef void event_handler(struct imap_session *i);

static void on_close(struct imap_session *i)
{
    mailroom_session_close(i->session);
}

/* Events of the login stage never come from an engine that was made logged in. */
static event_handler *const event_handlers[IMAP_EVENT_COUNT] = {
    [IMAP_EVENT_CLOSE] = on_close,
    [IMAP_EVENT_UNSELECTED] = imap_on_unselected,
    [IMAP_EVENT_LIST] = imap_on_list,
    [IMAP_EVENT_STATUS] = imap_on_status,
    [IMAP_EVENT_SELECT] = imap_on_select,
    [IMAP_EVENT_CREATE] = imap_on_create,
    [IMAP_EVENT_DELETE] = imap_on_delete,
    [IMAP_EVENT_RENAME] = imap_on_rename,
    [IMAP_EVENT_SUBSCRIBE] = imap_on_subscribe,
    [IMAP_EVENT_UNSUBSCRIBE] = imap_on_unsubscribe,
    [IMAP_EVENT_APPEND] = imap_on_append,
    [IMAP_EVENT_APPEND_DATA] = imap_on_append_data,
    [IMAP_EVENT_APPEND_END] = imap_on_append_end,
    [IMAP_EVENT_APPEND_ABORT] = imap_on_append_abort,
    [IMAP_EVENT_FETCH] = imap_on_fetch,
    [IMAP_EVENT_BODY] = imap_on_body,
    [IMAP_EVENT_STORE] = imap_on_store,
    [IMAP_EVENT_COPY] = imap_on_copy,
    [IMAP_EVENT_MOVE] = imap_on_copy,
    [IMAP_EVENT_EXPUNGE] = imap_on_expunge,
    [IMAP_EVENT_SEARCH_TEXT] = imap_on_search,
};

/* ---- Answers
 * -------------------------------------------------------------------------------------- */

static void question_over(struct imap_session *i)
{
    i->work = NULL;
    buf_release(&i->copied);
    mailroom_search_free(i->search);
    i->search = NULL;
}

void imap_say(struct imap_session *i, enum imap_code code)
{
    imap_answer(i->engine, i->event.token, code);
}

void imap_say_status(struct imap_session *i, enum status_code status)
{
    imap_say(i, imap_code_from_status(status));
}

void imap_wait(struct imap_session *i, uint32_t call)
{
    i->session->call = call;
    if (call == 0)
        imap_say(i, IMAP_UNAVAILABLE);
}

void imap_replied(struct imap_session *i)
{
    i->session->call = 0;
    hook_queue(&i->session->again, role_loop(imap_room(i)->role));
}

struct arena *imap_scratch(struct imap_session *i)
{
    struct arena *scratch = &imap_room(i)->scratch;
    arena_reset(scratch);
    return scratch;
}

enum status_code imap_mailbox(struct imap_session *i, struct str name, struct arena *a,
                              struct mailbox_record *ret_mailbox)
{
    return read_mailbox_by_path(imap_room(i)->db, i->session->account, name, a, ret_mailbox);
}

/* ---- The protocol's verbs
 * ---------------------------------------------------------------------------- */

static enum status_code imap_open(struct mailroom_session *s, struct now now, bool *ret_more)
{
    (void)ret_more;
    const struct imap_config config = {
        .host_name = s->room->host_name,
        .authenticated = true,
        .append_size_max = s->room->config.limits.message_size,
    };
    struct imap_session *i = calloc(1, sizeof(*i));
    if (!i)
        return STATUS_NO_MEMORY;
    i->session = s;
    i->dirty_first = UINT32_MAX;
    buf_init(&i->copied, SIZE_MAX / 2);
    i->engine = imap_server_create(&config, now);
    if (!i->engine) {
        free(i);
        return STATUS_NO_MEMORY;
    }
    s->state = i;
    return STATUS_OK;
}

static void imap_free(struct mailroom_session *s)
{
    struct imap_session *i = s->state;
    if (!i)
        return;
    imap_on_append_abort(i);
    question_over(i);
    imap_server_free(i->engine);
    free(i);
}

static size_t imap_input(struct mailroom_session *s, struct str bytes, struct now now)
{
    struct imap_session *i = s->state;
    return imap_server_input(i->engine, bytes, now);
}

static struct str imap_output(struct mailroom_session *s)
{
    struct imap_session *i = s->state;
    return imap_server_output(i->engine);
}

static void imap_output_done(struct mailroom_session *s, size_t n)
{
    struct imap_session *i = s->state;
    imap_server_output_done(i->engine, n);
}

/* The engine is told of changes between questions, so that an answer is not overtaken by them. */
static bool imap_act(struct mailroom_session *s, struct now now)
{
    struct imap_session *i = s->state;
    struct imap_event event;
    if (s->call != 0)
        return false;
    if (i->work) {
        s->yield = true;
        return i->work(i, now);
    }
    if (i->mailbox != 0 && i->dirty_first <= i->dirty_last && imap_sync(i, 0))
        return true;
    if (!imap_server_next(i->engine, &event))
        return false;
    question_over(i);
    i->event = event;
    event_handlers[event.kind](i);
    return true;
}

static int64_t imap_deadline(struct mailroom_session *s)
{
    struct imap_session *i = s->state;
    return imap_server_deadline(i->engine);
}

static void imap_tick(struct mailroom_session *s, struct now now)
{
    struct imap_session *i = s->state;
    imap_server_tick(i->engine, now);
}

static void note_flag_change(struct imap_session *i, const struct ipc_change *change)
{
    if (i->flag_change_count < IMAP_FLAG_CHANGES)
        i->flag_changes[i->flag_change_count] = (struct imap_flag_change){.modseq = change->modseq,
                                                                          .joined = change->joined,
                                                                          .first = change->first,
                                                                          .last = change->last};
    if (i->flag_change_count <= IMAP_FLAG_CHANGES)
        i->flag_change_count++;
}

static void imap_changed(struct mailroom_session *s, const struct ipc_change *change)
{
    struct imap_session *i = s->state;
    if (i->mailbox == 0 || change->mailbox != i->mailbox)
        return;
    if (change->kind == CHANGE_MAILBOX_GONE)
        imap_notify_mailbox_gone(i->engine);
    else if (change->kind <= CHANGE_EXPUNGED)
        imap_mark_dirty(i, change->first, change->last, change->modseq);
    if (change->kind == CHANGE_FLAGS)
        note_flag_change(i, change);
    else if (change->kind == CHANGE_EXPUNGED)
        i->dirty_gone = true;
}

static void imap_look_again(struct mailroom_session *s)
{
    struct imap_session *i = s->state;
    if (i->mailbox == 0)
        return;
    imap_mark_dirty(i, 1, UINT32_MAX, UINT64_MAX);
    i->dirty_gone = true;
    i->flag_change_count = IMAP_FLAG_CHANGES + 1;
}

static void imap_shutdown(struct mailroom_session *s, const char *reason)
{
    struct imap_session *i = s->state;
    imap_server_shutdown(i->engine, reason);
}

const struct mailroom_protocol mailroom_imap = {
    .open = imap_open,
    .free = imap_free,
    .input = imap_input,
    .output = imap_output,
    .output_done = imap_output_done,
    .act = imap_act,
    .deadline = imap_deadline,
    .tick = imap_tick,
    .changed = imap_changed,
    .look_again = imap_look_again,
    .shutdown = imap_shutdown,
};
