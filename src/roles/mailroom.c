#include "roles/mailroom.h"

#include <stdio.h>
#include <stdlib.h>

#include "codec/conf.h"
#include "codec/preload.h"
#include "roles/change.h"
#include "roles/mailroom_rcpt.h"
#include "roles/mailroom_session.h"
#include "store/directory.h"

enum { SCRATCH_SIZE = 16 * 1024 * 1024, DATABASE_PATH_SIZE = 4096 };

/* ---- What the edge asks -------------------------------------------------------------------------
 */

static void on_recipient(void *context, struct channel *from, uint32_t id,
                         const struct ipc_recipient_in *in)
{
    struct mailroom *room = context;
    arena_reset(&room->scratch);
    const struct mailroom_rcpt rcpt = {.recipient = in->recipient,
                                       .size = in->size,
                                       .may_relay = in->trusted || in->account != 0,
                                       .is_report = channel_peer_role(from) == ROLE_COURIER};
    struct ipc_recipient_out out;
    mailroom_rcpt_resolve(room->db, &room->config, &rcpt, &room->scratch, &out);
    ipc_recipient_reply(from, id, &out);
}

/* RFC 6409 §6.1. Stops at the first address that is somebody else's. */
static void on_sender(void *context, struct channel *from, uint32_t id,
                      const struct ipc_sender_in *in)
{
    struct mailroom *room = context;
    struct ipc_sender_out out = {.status = STATUS_OK};
    for (size_t i = 0; i < in->addresses_count && out.status == STATUS_OK; i++) {
        arena_reset(&room->scratch);
        out.status = mailroom_rcpt_owns(room->db, &room->config, in->account,
                                        in->addresses[i].address, &room->scratch);
        out.foreign = in->addresses[i].address;
    }
    if (out.status != STATUS_DENIED)
        out.foreign = text_from(STR(""));
    ipc_sender_reply(from, id, &out);
}

static void on_handover(void *context, struct channel *from, uint32_t id,
                        const struct ipc_handover_in *in)
{
    mailroom_session_new(context, from, id, in);
}

static void set_gauges(void *state)
{
    struct mailroom *room = state;
    metric_set(metrics_get(role_metrics(room->role), METRIC_GAUGE, "postern_mailroom_sessions",
                           "Sessions of people who have logged in", NULL, NULL),
               room->session_count);
}

static void on_metrics(void *context, struct channel *from, uint32_t id)
{
    struct mailroom *room = context;
    role_reply_metrics(room->role, from, id);
}

/* ---- What the vault says ------------------------------------------------------------------------
 */

/* A person whose account was disabled or removed is shown out; so is he by whose password. */
static void check_account(struct mailroom_session *s)
{
    struct account_record account;
    arena_reset(&s->room->scratch);
    enum status_code status =
        directory_account(s->room->db, s->account, &s->room->scratch, &account);
    if (status == STATUS_NOT_FOUND || (status == STATUS_OK && account.disabled))
        s->protocol->shutdown(s, "The account is closed");
    else
        mailroom_session_doubt(s);
}

/* False where it was none of the session's business. */
static bool tell_session(struct mailroom_session *s, const struct ipc_changed_in *in)
{
    bool told = false;
    for (size_t i = 0; i < in->changes_count; i++) {
        const struct ipc_change *change = &in->changes[i];
        if (change->kind != CHANGE_UNKNOWN && change->account != s->account)
            continue;
        told = true;
        if (!s->open && change->kind >= CHANGE_ACCOUNT)
            mailroom_session_doubt(s);
        if (!s->open)
            continue;
        if (change->kind < CHANGE_ACCOUNT)
            s->protocol->changed(s, change);
        else
            check_account(s);
        if (change->kind == CHANGE_UNKNOWN)
            s->protocol->look_again(s);
    }
    return told;
}

static void on_changed(void *context, struct channel *from, const struct ipc_changed_in *in)
{
    struct mailroom *room = context;
    struct mailroom_session *next;
    (void)from;
    for (struct mailroom_session *s = room->sessions; s; s = next) {
        next = s->next;
        if (tell_session(s, in) && s->open)
            hook_queue(&s->again, role_loop(room->role));
    }
}

static void show_out(struct mailroom *room, const char *words)
{
    struct mailroom_session *next;
    for (struct mailroom_session *s = room->sessions; s; s = next) {
        next = s->next;
        if (s->open)
            s->protocol->shutdown(s, words);
        mailroom_session_run(s);
    }
}

static void end_sessions(struct mailroom *room)
{
    while (room->sessions)
        mailroom_session_free(room->sessions);
}

/* No snapshot outlives a turn; where one has, only another process can let go of it. */
static void on_wal_stalled(void *context, struct channel *from)
{
    struct mailroom *room = context;
    (void)from;
    if (!db_holds_snapshot(room->db))
        return;
    log_event(role_log(room->role), role_now(room->role), LOG_ERROR, "snapshot-held",
              "it keeps the WAL from being copied; starting anew");
    show_out(room, "The server has to start anew, please log in again");
    end_sessions(room);
    role_end(room->role);
}

/* ---- Life
 * ---------------------------------------------------------------------------------------- */

static const struct ipc_handlers handlers = {
    .recipient = on_recipient,
    .sender = on_sender,
    .handover = on_handover,
    .metrics = on_metrics,
    .changed = on_changed,
    .wal_stalled = on_wal_stalled,
};

static void *create(struct role *role)
{
    struct mailroom *room = calloc(1, sizeof(*room));
    if (!room)
        return NULL;
    room->role = role;
    arena_init(&room->config_arena, CONFIG_ARENA_SIZE);
    arena_init(&room->scratch, SCRATCH_SIZE);
    body_reader_init(&room->reader);
    return room;
}

static void destroy(void *state)
{
    struct mailroom *room = state;
    end_sessions(room);
    body_reader_release(&room->reader);
    db_close(room->db);
    arena_reset(&room->scratch);
    arena_reset(&room->config_arena);
    free(room);
}

static enum status_code read_config(struct mailroom *room, struct str text)
{
    struct conf_errors errors;
    arena_reset(&room->config_arena);
    conf_errors_init(&errors, &room->config_arena);
    enum status_code status = config_parse(text, &room->config_arena, &room->config, &errors);
    if (status == STATUS_OK &&
        !str_to_c(room->config.hostname, room->host_name, sizeof(room->host_name)))
        status = STATUS_INVALID;
    return status;
}

static enum status_code prepare(void *state, const struct ipc_config_in *config, struct diag *diag)
{
    struct mailroom *room = state;
    char path[DATABASE_PATH_SIZE];
    enum status_code status = read_config(room, config->text);
    if (status != STATUS_OK) {
        diag_set(diag, "the configuration cannot be read");
        return status;
    }
    status = codec_preload();
    if (status != STATUS_OK) {
        diag_set(diag, "the character sets cannot be loaded");
        return status;
    }
    snprintf(path, sizeof(path), "%.*s/store/postern.db", STR_ARG(room->config.data));
    return db_open(path, DB_READ, &room->db, diag);
}

static void reconfigure(void *state, const struct ipc_config_in *config)
{
    struct mailroom *room = state;
    if (read_config(room, config->text) != STATUS_OK)
        role_end(room->role);
}

static void peer_up(void *state, enum ipc_role peer, uint8_t index, struct channel *ch)
{
    struct mailroom *room = state;
    if (peer != ROLE_VAULT || index != 0)
        return;
    room->vault = ch;
    room->vaults++;
    /* The vault before may have died between a commit and its word of it. */
    for (struct mailroom_session *s = room->sessions; s; s = s->next) {
        mailroom_session_watch(s, true);
        mailroom_session_doubt(s);
        if (!s->open)
            continue;
        s->protocol->look_again(s);
        hook_queue(&s->again, role_loop(room->role));
    }
}

static bool has_edge(struct mailroom *room)
{
    unsigned at = 0;
    return role_next_peer(room->role, ROLE_EDGE, &at) != NULL;
}

static void peer_down(void *state, enum ipc_role peer, uint8_t index)
{
    struct mailroom *room = state;
    if (peer == ROLE_VAULT && index == 0)
        room->vault = NULL;
    if (room->stopping && !has_edge(room))
        role_end(room->role);
}

/*
 * Sessions end between two commands of theirs, with a word; or at once. Edges that are finishing
 * may still ask for recipients.
 */
static void stop(void *state, bool now)
{
    struct mailroom *room = state;
    room->stopping = true;
    if (!now)
        show_out(room, "The server is stopping");
    end_sessions(room);
    if (now || !has_edge(room))
        role_end(room->role);
}

const struct role_plan mailroom_plan = {
    .self = ROLE_MAILROOM,
    .handlers = &handlers,
    .create = create,
    .destroy = destroy,
    .prepare = prepare,
    .reconfigure = reconfigure,
    .set_gauges = set_gauges,
    .peer_up = peer_up,
    .peer_down = peer_down,
    .stop = stop,
};
