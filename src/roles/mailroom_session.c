#include "roles/mailroom_session.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/bug.h"
#include "store/directory.h"

/* Events and reads a session may have, and for how long, before the others get their turn. */
enum { ROUNDS_PER_TURN = 32, TURN_US = 5000, CAPABILITY_SIZE_MAX = 4096 };

/* A capability is renewed so long before it is over, and tried again so often. */
enum { RENEW_BEFORE_MS = 60 * 60 * 1000, RENEW_AGAIN_MS = 60 * 1000 };

static const struct mailroom_protocol *protocol_of(uint8_t kind)
{
    switch (kind) {
    case LISTEN_IMAP:
    case LISTEN_IMAPS:
        return &mailroom_imap;
    case LISTEN_POP3:
    case LISTEN_POP3S:
        return &mailroom_pop3;
    default:
        return NULL;
    }
}

/* ---- Moving bytes ------------------------------------------------------------------------------
 */

static bool write_output(struct mailroom_session *s)
{
    bool moved = false;
    for (;;) {
        struct str bytes = s->protocol->output(s);
        size_t written = 0;
        if (str_empty(bytes))
            return moved;
        enum stream_result result = stream_write(&s->stream, bytes, &written);
        s->protocol->output_done(s, written);
        moved |= written > 0;
        if (result == STREAM_BROKEN)
            s->closed = true;
        if (result != STREAM_OK || s->closed)
            return moved;
    }
}

/* One read. What the engine does not take waits in the stream, which then stops reading. */
static bool read_input(struct mailroom_session *s, struct now now)
{
    struct str bytes;
    if (s->closing)
        return false;
    stream_set_reading(&s->stream, true);
    enum stream_result result = stream_read(&s->stream, &bytes);
    if (result == STREAM_BLOCKED)
        return false;
    if (result != STREAM_OK) {
        s->closed = true;
        return false;
    }
    size_t taken = s->protocol->input(s, bytes, now);
    if (taken < bytes.len) {
        stream_set_reading(&s->stream, false);
        if (!stream_unread(&s->stream, str_skip(bytes, taken)))
            s->closed = true;
    }
    return taken > 0;
}

static void run_rounds(struct mailroom_session *s, struct now now)
{
    struct loop *loop = role_loop(s->room->role);
    int64_t until_us = loop_clock_us(loop) + TURN_US;
    s->yield = false;
    for (int round = 0; round < ROUNDS_PER_TURN && !s->closed && !s->yield; round++) {
        if (round > 0 && loop_clock_us(loop) >= until_us)
            break;
        bool moved = write_output(s);
        moved |= !s->closed && s->protocol->act(s, now);
        if (!moved && !s->closed)
            moved = read_input(s, now);
        if (!moved)
            return;
    }
    hook_queue(&s->again, loop);
}

/* ---- Life
 * ---------------------------------------------------------------------------------------- */

static void answer_handover(struct mailroom_session *s, enum status_code status)
{
    if (!s->edge)
        return;
    const struct ipc_handover_out out = {.status = status};
    ipc_handover_reply(s->edge, s->handover, &out);
    s->edge = NULL;
}

/* The capability is as good as at the login; the account may have been disabled since. */
static enum status_code check_account(struct mailroom_session *s)
{
    struct account_record account;
    arena_reset(&s->room->scratch);
    enum status_code status =
        directory_account(s->room->db, s->account, &s->room->scratch, &account);
    return status == STATUS_OK && account.disabled ? STATUS_DENIED : status;
}

static void open_session(struct mailroom_session *s, struct now now)
{
    bool more = false;
    enum status_code status = s->protocol->open(s, now, &more);
    if (status == STATUS_OK && more) {
        hook_queue(&s->again, role_loop(s->room->role));
        return;
    }
    if (status == STATUS_OK)
        status = s->refused ? STATUS_DENIED : check_account(s);
    answer_handover(s, status);
    s->open = status == STATUS_OK;
    s->closed = status != STATUS_OK;
}

static void set_timer(struct mailroom_session *s)
{
    int64_t deadline = s->open ? s->protocol->deadline(s) : NEVER_MS;
    int64_t renewal = s->renew_ms < s->expires_ms ? s->renew_ms : s->expires_ms;
    bool first = s->open && !s->closing && renewal < deadline;
    timer_set(&s->timer, first ? renewal : deadline);
}

void mailroom_session_run(struct mailroom_session *s)
{
    if (s->running || !s->checked)
        return;
    s->running = true;
    struct now now = mailroom_session_now(s);
    if (!s->open)
        open_session(s, now);
    if (s->open)
        run_rounds(s, now);
    s->running = false;
    if (s->open && s->closing && str_empty(s->protocol->output(s)))
        s->closed = true;
    if (s->closed)
        mailroom_session_free(s);
    else
        set_timer(s);
}

static void on_ready(void *context)
{
    mailroom_session_run(context);
}

static void take_capability(struct mailroom_session *s, const struct ipc_session_check_out *out)
{
    if (!str_empty(out->capability)) {
        buf_clear(&s->capability);
        buf_append_str(&s->capability, out->capability);
    }
    s->expires_ms = out->expires_ms;
    s->renew_ms = out->expires_ms - RENEW_BEFORE_MS;
}

/* A vault that cannot say is no reason to end: it is asked again, or says of itself what changed.
 */
static void on_asked_again(void *context, enum status_code status,
                           const struct ipc_session_check_out *out)
{
    struct mailroom_session *s = context;
    s->doubt = 0;
    if (status != STATUS_OK || s->closing)
        return;
    if (out->status == STATUS_OK)
        take_capability(s, out);
    if (out->status != STATUS_DENIED)
        return;
    if (s->open)
        s->protocol->shutdown(
            s, "This login has ended: its password was changed, or the account closed");
    else
        s->refused = true;
    hook_queue(&s->again, role_loop(s->room->role));
}

static void ask_again(struct mailroom_session *s, bool renew)
{
    const struct ipc_session_check_in in = {.capability = buf_str(&s->capability), .renew = renew};
    if (s->doubt != 0)
        channel_cancel(s->room->vault, s->doubt);
    s->doubt = ipc_session_check_call(s->room->vault, &in, on_asked_again, s);
}

void mailroom_session_doubt(struct mailroom_session *s)
{
    if (s->checked && !s->closing)
        ask_again(s, false);
}

static void on_timer(void *context)
{
    struct mailroom_session *s = context;
    struct now now = mailroom_session_now(s);
    if (now.mono_ms >= s->expires_ms) {
        s->expires_ms = NEVER_MS; /* said once */
        s->protocol->shutdown(s, "Your login is too old, please log in again");
    } else if (now.mono_ms >= s->renew_ms) {
        ask_again(s, true);
        s->renew_ms = now.mono_ms + RENEW_AGAIN_MS;
    } else {
        s->protocol->tick(s, now);
    }
    mailroom_session_run(s);
}

static struct mailroom_session *session_alloc(struct mailroom *room,
                                              const struct ipc_handover_in *in)
{
    struct mailroom_session *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->room = room;
    s->protocol = protocol_of(in->protocol);
    s->account = in->account;
    buf_init_secret(&s->capability, CAPABILITY_SIZE_MAX);
    if (!s->protocol || !buf_append_str(&s->capability, in->capability) ||
        !str_to_c(in->trace_id, s->trace_id, sizeof(s->trace_id))) {
        buf_release(&s->capability);
        free(s);
        return NULL;
    }
    return s;
}

static void on_checked(void *context, enum status_code status,
                       const struct ipc_session_check_out *out)
{
    struct mailroom_session *s = context;
    s->call = 0;
    if (status == STATUS_OK)
        status =
            out->status == STATUS_OK && out->account != s->account ? STATUS_DENIED : out->status;
    if (status != STATUS_OK) {
        answer_handover(s, status);
        mailroom_session_free(s);
        return;
    }
    s->checked = true;
    take_capability(s, out);
    mailroom_session_run(s);
}

bool mailroom_session_watch(struct mailroom_session *s, bool on)
{
    const struct ipc_watch_in in = {.account = s->account, .on = on};
    return ipc_watch_note(s->room->vault, &in);
}

/* The edge says who has logged in; the capability, which it cannot make, has to say the same. */
static void check(struct mailroom_session *s)
{
    struct ipc_session_check_in in = {.capability = buf_str(&s->capability)};
    stream_set_reading(&s->stream, false);
    if (mailroom_session_watch(s, true))
        s->call = ipc_session_check_call(s->room->vault, &in, on_checked, s);
    if (s->call == 0)
        mailroom_session_free(s);
}

void mailroom_session_new(struct mailroom *room, struct channel *edge, uint32_t id,
                          const struct ipc_handover_in *in)
{
    struct loop *loop = role_loop(room->role);
    struct mailroom_session *s = room->stopping ? NULL : session_alloc(room, in);
    if (!s) {
        const struct ipc_handover_out out = {.status = STATUS_NO_MEMORY};
        ipc_handover_reply(edge, id, &out);
        close(in->fd);
        return;
    }
    s->edge = edge;
    s->handover = id;
    stream_open(&s->stream, loop, in->fd, on_ready, s);
    timer_init(&s->timer, loop, on_timer, s);
    hook_init(&s->again, on_ready, s);
    s->next = room->sessions;
    s->at = &room->sessions;
    if (s->next)
        s->next->at = &s->next;
    room->sessions = s;
    room->session_count++;
    check(s);
}

void mailroom_session_close(struct mailroom_session *s)
{
    s->closing = true;
}

void mailroom_session_free(struct mailroom_session *s)
{
    invariant(!s->running);
    answer_handover(s, STATUS_GONE);
    if (s->call != 0)
        channel_cancel(s->room->vault, s->call);
    if (s->doubt != 0)
        channel_cancel(s->room->vault, s->doubt);
    mailroom_session_watch(s, false);
    s->protocol->free(s);
    timer_set(&s->timer, NEVER_MS);
    hook_cancel(&s->again);
    stream_close(&s->stream);
    buf_wipe(&s->capability);
    *s->at = s->next;
    if (s->next)
        s->next->at = s->at;
    s->room->session_count--;
    free(s);
}
