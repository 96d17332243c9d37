#include <stdlib.h>

#include "proto/pop3/server.h"
#include "roles/mailroom_session.h"
#include "store/directory.h"

enum { PAGE = 1024, REQUEST_RANGES = 16384 };

struct pop3_session {
    struct mailroom_session *session;
    struct pop3_server *engine; /* NULL while the maildrop is being listed */
    struct pop3_config config;
    struct pop3_event event; /* the question under way; it borrows from the engine */
    uint64_t mailbox;
    uint32_t after; /* listed up to here */
    struct pop3_maildrop drop;
    size_t room;
    uint32_t at; /* messages before it have been removed */
};

/* ---- Opening the maildrop
 * ---------------------------------------------------------------------------------- */

/* RFC 1939 §4: one session at a time. */
static bool is_locked(const struct mailroom_session *self)
{
    for (const struct mailroom_session *s = self->room->sessions; s; s = s->next)
        if (s != self && s->protocol == self->protocol && s->account == self->account)
            return true;
    return false;
}

static enum status_code find_maildrop(struct pop3_session *p)
{
    struct mailroom_session *s = p->session;
    struct account_record account;
    struct mailbox_record inbox;
    arena_reset(&s->room->scratch);
    enum status_code status =
        directory_account(s->room->db, s->account, &s->room->scratch, &account);
    if (status == STATUS_OK)
        status = read_mailbox(s->room->db, s->account, account.inbox, &s->room->scratch, &inbox);
    if (status != STATUS_OK)
        return status;
    p->mailbox = inbox.id;
    p->drop.uid_validity = inbox.uidvalidity;
    return STATUS_OK;
}

static bool add_messages(struct pop3_session *p, const struct entry_brief *entries, size_t count)
{
    if (p->drop.count + count > p->room) {
        size_t room = p->room + p->room / 2 + PAGE;
        struct pop3_message *grown = realloc(p->drop.messages, room * sizeof(*grown));
        if (!grown)
            return false;
        p->drop.messages = grown;
        p->room = room;
    }
    for (size_t n = 0; n < count; n++)
        p->drop.messages[p->drop.count++] =
            (struct pop3_message){.octets = entries[n].size, .uid = entries[n].uid};
    return true;
}

/* One page. */
static enum status_code list_messages(struct pop3_session *p, bool *ret_more)
{
    struct entry_brief entries[PAGE];
    size_t count;
    enum status_code status =
        read_entries(p->session->room->db, p->mailbox, p->after, entries, PAGE, &count);
    if (status != STATUS_OK)
        return status;
    if (!add_messages(p, entries, count))
        return STATUS_NO_MEMORY;
    if (count > 0)
        p->after = entries[count - 1].uid;
    *ret_more = count == PAGE;
    return STATUS_OK;
}

static struct pop3_session *new_session(struct mailroom_session *s)
{
    struct pop3_session *p = calloc(1, sizeof(*p));
    if (!p)
        return NULL;
    p->session = s;
    p->config.hostname = str_from_c(s->room->host_name);
    p->config.login_ms = LIMIT_LOGIN_MS;
    p->config.idle_ms = (int64_t)s->room->config.limits.pop3_idle_ms;
    s->state = p;
    return p;
}

static enum status_code begin(struct mailroom_session *s)
{
    if (is_locked(s))
        return STATUS_BUSY;
    struct pop3_session *p = new_session(s);
    return p ? find_maildrop(p) : STATUS_NO_MEMORY;
}

static enum status_code pop3_open(struct mailroom_session *s, struct now now, bool *ret_more)
{
    enum status_code status = s->state ? STATUS_OK : begin(s);
    struct pop3_session *p = s->state;
    if (status == STATUS_OK)
        status = list_messages(p, ret_more);
    if (status != STATUS_OK || *ret_more)
        return status;
    struct pop3_maildrop drop = p->drop;
    p->drop = (struct pop3_maildrop){0};
    p->engine = pop3_server_new_maildrop(&p->config, true, drop, now);
    return p->engine ? STATUS_OK : STATUS_NO_MEMORY;
}

static void pop3_free(struct mailroom_session *s)
{
    struct pop3_session *p = s->state;
    if (!p)
        return;
    pop3_server_free(p->engine);
    free(p->drop.messages);
    free(p);
}

/* ---- Events
 * -------------------------------------------------------------------------------------------------
 */

static void on_read(struct pop3_session *p, struct now now)
{
    struct mailroom *room = p->session->room;
    const struct pop3_event *event = &p->event;
    struct message_record message;
    struct buf octets;
    uint32_t uid = event->messages[event->message].uid;
    arena_reset(&room->scratch);
    buf_init(&octets, event->size);
    enum status_code status = read_message(room->db, p->mailbox, uid, &room->scratch, &message);
    if (status == STATUS_OK)
        status = body_read(&room->reader, room->db, &message, event->from, event->size, &octets);
    if (status == STATUS_OK && octets.len == 0)
        status = STATUS_CORRUPT;
    pop3_answer_read(p->engine, event->token, status, buf_str(&octets), now);
    buf_release(&octets);
}

static void send_removals(struct pop3_session *p);

static void on_removed(void *context, enum status_code status, const struct ipc_expunge_out *out)
{
    struct pop3_session *p = context;
    struct mailroom_session *s = p->session;
    s->call = 0;
    hook_queue(&s->again, role_loop(s->room->role));
    if (out)
        status = out->status;
    if (status == STATUS_OK && out) {
        while (p->at < p->event.count && p->event.messages[p->at].uid <= out->through)
            p->at++;
        send_removals(p);
        return;
    }
    pop3_answer_update(p->engine, p->event.token, status, mailroom_session_now(s));
}

/* The messages marked deleted from p->at on, as ranges; *ret_count 0: none are left. */
static struct ipc_range *removals(struct pop3_session *p, size_t *ret_count)
{
    struct arena *a = &p->session->room->scratch;
    arena_reset(a);
    struct ipc_range *ranges = arena_alloc_array(a, REQUEST_RANGES, sizeof(*ranges));
    size_t count = 0;
    for (uint32_t n = p->at; ranges && n < p->event.count; n++) {
        const struct pop3_message *message = &p->event.messages[n];
        if (!message->deleted)
            continue;
        if (count > 0 && ranges[count - 1].last + 1 == message->uid)
            ranges[count - 1].last = message->uid;
        else if (count < REQUEST_RANGES)
            ranges[count++] = (struct ipc_range){message->uid, message->uid};
        else
            break;
    }
    *ret_count = count;
    return ranges;
}

static void send_removals(struct pop3_session *p)
{
    struct mailroom_session *s = p->session;
    struct now now = mailroom_session_now(s);
    struct ipc_expunge_in in = {
        .capability = mailroom_session_capability(s),
        .at_ms = now.wall_ms,
        .mailbox = p->mailbox,
        .only_deleted = false,
    };
    in.uids = removals(p, &in.uids_count);
    if (in.uids && in.uids_count == 0) {
        pop3_answer_update(p->engine, p->event.token, STATUS_OK, now);
        return;
    }
    s->call = in.uids ? ipc_expunge_call(s->room->vault, &in, on_removed, p) : 0;
    if (s->call == 0)
        pop3_answer_update(p->engine, p->event.token, STATUS_GONE, now);
}

static bool pop3_act(struct mailroom_session *s, struct now now)
{
    struct pop3_session *p = s->state;
    if (s->call != 0 || !pop3_next(p->engine, &p->event))
        return false;
    switch (p->event.type) {
    case POP3_READ:
        on_read(p, now);
        break;
    case POP3_UPDATE:
        p->at = 0;
        send_removals(p);
        break;
    default:
        mailroom_session_close(s);
        break;
    }
    return true;
}

/* ---- The protocol's verbs
 * ------------------------------------------------------------------------------------ */

static size_t pop3_in(struct mailroom_session *s, struct str bytes, struct now now)
{
    struct pop3_session *p = s->state;
    return pop3_input(p->engine, bytes, now);
}

static struct str pop3_out(struct mailroom_session *s)
{
    struct pop3_session *p = s->state;
    return pop3_output(p->engine);
}

static void pop3_out_done(struct mailroom_session *s, size_t n)
{
    struct pop3_session *p = s->state;
    pop3_output_done(p->engine, n);
}

static int64_t pop3_due(struct mailroom_session *s)
{
    struct pop3_session *p = s->state;
    return pop3_deadline(p->engine);
}

static void pop3_time(struct mailroom_session *s, struct now now)
{
    struct pop3_session *p = s->state;
    pop3_tick(p->engine, now);
}

/* A maildrop is what it was when it was opened (RFC 1939 §5). */
static void pop3_changed(struct mailroom_session *s, const struct ipc_change *change)
{
    (void)s;
    (void)change;
}

static void pop3_look_again(struct mailroom_session *s)
{
    (void)s;
}

static void pop3_end(struct mailroom_session *s, const char *reason)
{
    struct pop3_session *p = s->state;
    (void)reason;
    pop3_shutdown(p->engine, mailroom_session_now(s));
}

const struct mailroom_protocol mailroom_pop3 = {
    .open = pop3_open,
    .free = pop3_free,
    .input = pop3_in,
    .output = pop3_out,
    .output_done = pop3_out_done,
    .act = pop3_act,
    .deadline = pop3_due,
    .tick = pop3_time,
    .changed = pop3_changed,
    .look_again = pop3_look_again,
    .shutdown = pop3_end,
};
