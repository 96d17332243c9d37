#include "roles/edge.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bug.h"
#include "codec/preload.h"
#include "io/random.h"
#include "io/socket.h"
#include "roles/edge_confirm.h"
#include "roles/edge_conn.h"
#include "roles/edge_login.h"
#include "roles/edge_message.h"
#include "roles/sign_client.h"

enum { ACCEPTS_PER_TURN = 64, PAUSE_MS = 100, COURTESY_MS = 1 };

struct edge_listener {
    struct edge_listener *next;
    struct edge *edge;
    uint32_t number;
    int fd;
    struct watch watch;
    struct timer pause; /* out of descriptors, or others first: wait a little */
    bool has_waited;    /* for others: the next connection is ours, if it is still there */
};

void edge_new_id(struct edge *edge, struct now now, char ret_id[EDGE_ID_SIZE])
{
    static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";
    /* 42 bits of time, 6 of the process (config.h has no more of them), 16 of the millisecond. */
    uint64_t low = (edge->id_salt + edge->id_counter++) & 0xFFFF;
    uint64_t value = (uint64_t)now.wall_ms << 22 | (uint64_t)role_index(edge->role) << 16 | low;
    for (int i = EDGE_ID_SIZE - 2; i >= 0; i--, value >>= 5)
        ret_id[i] = digits[value & 31];
    ret_id[EDGE_ID_SIZE - 1] = '\0';
}

void edge_count(struct edge *edge, const char *name, const char *help, const char *label_name,
                const char *label)
{
    metric_add(metrics_get(role_metrics(edge->role), METRIC_COUNTER, name, help, label_name, label),
               1);
}

/* ---- Listeners ----------------------------------------------------------------------------------
 */

static void listener_close(struct edge_listener *l)
{
    watch_set(&l->watch, 0);
    timer_set(&l->pause, NEVER_MS);
    close(l->fd);
    free(l);
}

static void close_listeners(struct edge *edge)
{
    while (edge->listeners) {
        struct edge_listener *l = edge->listeners;
        edge->listeners = l->next;
        listener_close(l);
    }
}

static void pause_listener(struct edge_listener *l, int64_t pause_ms)
{
    watch_set(&l->watch, 0);
    timer_set(&l->pause, role_now(l->edge->role).mono_ms + pause_ms);
}

static void on_pause_over(void *context)
{
    struct edge_listener *l = context;
    struct edge *edge = l->edge;
    if (edge_counts_connections(edge->counts) >= edge->settings->config.limits.connections)
        pause_listener(l, PAUSE_MS);
    else
        watch_set(&l->watch, WATCH_READ);
}

/*
 * Of several edges the one that has least to do takes the next: so none takes all that wait. Who
 * has more connections than another leaves it a moment for that, so that few clients who send much
 * do not all meet at one.
 */
static bool leaves_it_to_others(struct edge_listener *l)
{
    l->has_waited = !l->has_waited && edge_counts_is_ahead(l->edge->counts);
    if (l->has_waited)
        pause_listener(l, COURTESY_MS);
    return l->has_waited;
}

static unsigned accepts_of_a_turn(const struct edge *edge)
{
    return edge_counts_edges(edge->counts) > 1 ? 1 : ACCEPTS_PER_TURN;
}

/* STATUS_NO_MEMORY where there are as many connections as there may be, STATUS_BUSY for nobody. */
static enum status_code take_connection(struct edge_listener *l)
{
    struct edge *edge = l->edge;
    struct socket_address peer;
    int fd;
    if (!edge_counts_connect(edge->counts, edge->settings->config.limits.connections))
        return STATUS_NO_MEMORY;
    enum status_code status = socket_accept(l->fd, &fd, &peer);
    if (status == STATUS_OK)
        edge_conn_accept(edge, l->number, fd, &peer);
    else
        edge_counts_disconnect(edge->counts);
    return status;
}

static void on_connection(void *context, unsigned what)
{
    struct edge_listener *l = context;
    (void)what;
    if (leaves_it_to_others(l))
        return;
    for (unsigned left = accepts_of_a_turn(l->edge); left > 0; left--) {
        enum status_code status = take_connection(l);
        if (status == STATUS_BUSY)
            return;
        if (status != STATUS_OK) {
            pause_listener(l, PAUSE_MS);
            return;
        }
    }
}

static void edge_listener(void *state, uint32_t number, int fd)
{
    struct edge *edge = state;
    struct edge_listener *l = calloc(1, sizeof *l);
    if (!l || edge->reload_refused || number >= edge->settings->config.listener_count) {
        free(l);
        close(fd);
        return;
    }
    l->edge = edge;
    l->number = number;
    l->fd = fd;
    l->next = edge->listeners;
    edge->listeners = l;
    timer_init(&l->pause, role_loop(edge->role), on_pause_over, l);
    watch_init(&l->watch, role_loop(edge->role), fd, on_connection, l);
    watch_set(&l->watch, WATCH_READ);
}

/* ---- Life ---------------------------------------------------------------------------------------
 */

static struct edge_counts *counts_new(void)
{
    char seed[EDGE_COUNTS_SEED_SIZE];
    random_bytes(seed, sizeof seed);
    return edge_counts_new(str_make(seed, sizeof seed));
}

static void *edge_create(struct role *role)
{
    struct edge *edge = calloc(1, sizeof *edge);
    if (!edge)
        return NULL;
    edge->role = role;
    edge->id_salt = random_u64();
    edge->counts = counts_new();
    edge->signer = sign_client_new();
    buf_init_secret(&edge->ticket_keys, TLS_TICKET_KEY_SIZE * TLS_TICKET_KEYS_MAX);
    edge->confirmations = edge_confirmations_new(edge);
    if (edge->counts && edge->signer && edge->confirmations)
        return edge;
    edge_confirmations_free(edge->confirmations);
    edge_counts_free(edge->counts);
    sign_client_free(edge->signer);
    free(edge);
    return NULL;
}

static void edge_destroy(void *state)
{
    struct edge *edge = state;
    close_listeners(edge);
    edge->stopping = false;
    while (edge->connections)
        edge_conn_free(edge->connections);
    edge_message_release_spare(edge);
    edge_confirmations_free(edge->confirmations);
    edge_settings_drop(edge->settings);
    edge_counts_free(edge->counts);
    sign_client_free(edge->signer);
    buf_wipe(&edge->ticket_keys);
    free(edge);
}

static enum status_code edge_prepare(void *state, const struct ipc_config_in *config,
                                     struct diag *diag)
{
    struct edge *edge = state;
    enum status_code status = codec_preload();
    if (status != STATUS_OK) {
        diag_set(diag, "cannot load what charsets need: %s", status_name(status));
        return status;
    }
    if (edge->counts_lost) {
        diag_set(diag, "the memory for counting with other edges cannot be used");
        return STATUS_NO_MEMORY;
    }
    edge->settings = edge_settings_new(edge, config, diag);
    return edge->settings ? STATUS_OK : STATUS_INVALID;
}

/* A reload may bring what is better, not what is worse. */
static bool loses_a_certificate(const struct edge_settings *now, const struct edge_settings *next)
{
    return now->tls && !next->certificates_good;
}

/* Open connections keep what they began with; the listeners that stay are sent again. */
static void edge_reconfigure(void *state, const struct ipc_config_in *config)
{
    struct edge *edge = state;
    struct diag diag = {{0}};
    struct edge_settings *settings = edge_settings_new(edge, config, &diag);
    edge->reload_refused = !settings || loses_a_certificate(edge->settings, settings);
    if (edge->reload_refused) {
        role_refuse_reload(edge->role, settings ? "a certificate cannot be used" : diag.words);
        edge_settings_drop(settings);
        return;
    }
    edge_settings_drop(edge->settings);
    edge->settings = settings;
    close_listeners(edge);
}

static void edge_count_section(void *state, const struct ipc_count_section_in *section)
{
    struct edge *edge = state;
    bool own = section->index == role_index(edge->role);
    /* Later ones would count for nothing: what is open by then is counted elsewhere. */
    edge->counts_lost |= edge->settings || edge_counts_join(edge->counts, section->seed,
                                                            section->fd, own) != STATUS_OK;
    close(section->fd);
}

static void edge_sign_channel(void *state, uint8_t index, int fd)
{
    struct edge *edge = state;
    (void)index;
    sign_client_connect(edge->signer, fd);
}

static void set_ticket_keys(struct edge *edge, struct str keys)
{
    buf_wipe(&edge->ticket_keys);
    buf_append_str(&edge->ticket_keys, keys);
    if (edge->settings && edge->settings->tls)
        tls_server_set_ticket_keys(edge->settings->tls, keys);
}

static void on_ticket_keys(void *context, enum status_code status,
                           const struct ipc_ticket_keys_out *out)
{
    if (status == STATUS_OK)
        set_ticket_keys(context, out->keys);
}

static void on_ticket_keys_rotated(void *context, struct channel *from,
                                   const struct ipc_ticket_keys_rotated_in *in)
{
    (void)from;
    set_ticket_keys(context, in->keys);
}

struct channel *edge_mailroom(struct edge *edge, uint64_t account)
{
    unsigned count = edge->settings->config.processes[ROLE_MAILROOM];
    uint64_t chosen = account != 0 ? account : edge->id_counter;
    return role_peer(edge->role, ROLE_MAILROOM, (uint8_t)(count > 1 ? chosen % count : 0));
}

static struct channel **peer_slot(struct edge *edge, enum ipc_role peer)
{
    switch (peer) {
    case ROLE_VAULT:
        return &edge->vault;
    case ROLE_KEEPER:
        return &edge->keeper;
    case ROLE_COURIER:
        return &edge->courier;
    default:
        return NULL;
    }
}

static void edge_peer_up(void *state, enum ipc_role peer, uint8_t index, struct channel *ch)
{
    struct edge *edge = state;
    (void)index;
    if (peer == ROLE_KEEPER) {
        edge->keepers++;
        ipc_ticket_keys_call(ch, on_ticket_keys, edge);
    }
    if (peer == ROLE_VAULT)
        edge->vaults++;
    struct channel **slot = peer_slot(edge, peer);
    if (slot)
        *slot = ch;
}

static void edge_peer_down(void *state, enum ipc_role peer, uint8_t index)
{
    struct channel **slot = peer_slot(state, peer);
    (void)index;
    if (slot)
        *slot = NULL;
}

static void edge_stop(void *state, bool now)
{
    struct edge *edge = state;
    close_listeners(edge);
    edge->stopping = true;
    if (now || !edge->connections) {
        role_end(edge->role);
        return;
    }
    for (struct edge_conn *conn = edge->connections, *next; conn; conn = next) {
        next = conn->next; /* a connection is freed at the end of the turn, not here */
        edge_conn_shutdown(conn);
    }
}

static const struct ipc_handlers handlers = {
    .ticket_keys_rotated = on_ticket_keys_rotated,
    .logins_ended = edge_on_logins_ended,
};

const struct role_plan edge_plan = {
    .self = ROLE_EDGE,
    .handlers = &handlers,
    .create = edge_create,
    .destroy = edge_destroy,
    .prepare = edge_prepare,
    .reconfigure = edge_reconfigure,
    .set_gauges = edge_set_gauges,
    .listener = edge_listener,
    .count_section = edge_count_section,
    .sign_channel = edge_sign_channel,
    .peer_up = edge_peer_up,
    .peer_down = edge_peer_down,
    .stop = edge_stop,
};
