#include "roles/role.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/bug.h"
#include "roles/config.h"
#include "roles/link.h"
#include "roles/sandbox.h"

enum { WARDEN_FD = 3, LOG_FD = 2, PEERS_MAX = 300, METRICS_TEXT_SIZE = 256 * 1024 };

struct peer {
    struct role *owner;
    struct link *link;
    enum ipc_role role;
    uint8_t index;
};

struct role {
    const struct role_plan *plan;
    uint8_t index;
    bool own_process;   /* with a sandbox, and its end is the process's */
    bool unix_sockets;  /* its licence has them */
    bool wants_licence; /* the configuration asks for more: it ends, and starts anew */
    bool prepared;
    bool ended;
    bool failed;
    struct loop *loop;
    struct log *log;
    struct metrics *metrics;
    struct link *warden;
    struct ipc_handlers handlers; /* the plan's, and what the frame itself answers */
    void *state;
    struct peer *peers[PEERS_MAX];
    size_t peer_count;
};

struct loop *role_loop(struct role *role)
{
    return role->loop;
}

struct now role_now(struct role *role)
{
    return loop_now(role->loop);
}

struct log *role_log(struct role *role)
{
    return role->log;
}

struct metrics *role_metrics(struct role *role)
{
    return role->metrics;
}

uint8_t role_index(const struct role *role)
{
    return role->index;
}

void *role_state(struct role *role)
{
    return role->state;
}

void role_end(struct role *role)
{
    role->ended = true;
    if (role->own_process)
        loop_stop(role->loop);
}

bool role_has_ended(const struct role *role)
{
    return role->ended;
}

/* ---- Peers --------------------------------------------------------------------------------- */

struct channel *role_peer(struct role *role, enum ipc_role peer, uint8_t index)
{
    for (size_t i = 0; i < role->peer_count; i++)
        if (role->peers[i]->role == peer && role->peers[i]->index == index)
            return link_channel(role->peers[i]->link);
    return NULL;
}

struct channel *role_next_peer(struct role *role, enum ipc_role peer, unsigned *index)
{
    while (*index < role->peer_count) {
        const struct peer *p = role->peers[(*index)++];
        if (p->role == peer)
            return link_channel(p->link);
    }
    return NULL;
}

/* Out of the list before anybody is told, so that nobody finds it there. */
static void drop_peer(struct peer *p)
{
    struct role *role = p->owner;
    for (size_t i = 0; i < role->peer_count; i++) {
        if (role->peers[i] == p) {
            role->peers[i] = role->peers[--role->peer_count];
            break;
        }
    }
    link_close(p->link);
    if (role->plan->peer_down)
        role->plan->peer_down(role->state, p->role, p->index);
    free(p);
}

/* Both ends live, and yet will never talk again: unlike one that died, this peer is not restarted.
 */
static bool is_breach(enum status_code why)
{
    return why == STATUS_CORRUPT || why == STATUS_DENIED || why == STATUS_UNSUPPORTED ||
           why == STATUS_TOO_BIG;
}

static void peer_ended(void *owner, enum status_code why, const char *words)
{
    struct peer *p = owner;
    struct role *role = p->owner;
    struct log_line line;
    log_begin(&line, role->log, role_now(role), why == STATUS_GONE ? LOG_DEBUG : LOG_WARN,
              "peer-gone");
    log_words(&line, "peer", ipc_role_name(p->role));
    log_number(&line, "index", p->index);
    log_words(&line, "why", words);
    log_end(&line);
    if (is_breach(why) && p->role != ROLE_OPERATOR)
        ipc_peer_broken_note(link_channel(role->warden),
                             &(struct ipc_peer_broken_in){(uint8_t)p->role, p->index});
    drop_peer(p);
}

static void drop_earlier(struct role *role, enum ipc_role peer, uint8_t index)
{
    for (size_t i = 0; i < role->peer_count; i++) {
        if (role->peers[i]->role == peer && role->peers[i]->index == index) {
            drop_peer(role->peers[i]);
            return;
        }
    }
}

void role_cut_off(struct role *role)
{
    while (role->peer_count > 0)
        drop_peer(role->peers[0]);
}

static void on_peer(void *context, struct channel *from, const struct ipc_peer_in *in)
{
    struct role *role = context;
    (void)from;
    enum ipc_role peer = (enum ipc_role)in->role;
    drop_earlier(role, peer, in->index);
    bool room = !role->ended && role->peer_count < PEERS_MAX;
    struct peer *p = room ? calloc(1, sizeof *p) : NULL;
    if (!p) {
        close(in->fd);
        return;
    }
    *p = (struct peer){.owner = role, .role = peer, .index = in->index};
    p->link = link_open(&(struct link_setup){.loop = role->loop,
                                             .fd = in->fd,
                                             .self = role->plan->self,
                                             .peer = peer,
                                             .peer_index = in->index,
                                             .handlers = &role->handlers,
                                             .context = role->state,
                                             .owner = p,
                                             .ended = peer_ended});
    if (!p->link) {
        free(p);
        return;
    }
    role->peers[role->peer_count++] = p;
    if (role->plan->peer_up)
        role->plan->peer_up(role->state, peer, in->index, link_channel(p->link));
}

void role_refuse_reload(struct role *role, const char *why)
{
    log_event(role->log, role_now(role), LOG_ERROR, "reload-failed", why);
    ipc_reload_refused_note(link_channel(role->warden),
                            &(struct ipc_reload_refused_in){.why = str_from_c(why)});
}

void role_tell_wal_kept(struct role *role)
{
    ipc_wal_kept_note(link_channel(role->warden));
}

struct channel *role_warden(struct role *role)
{
    return link_channel(role->warden);
}

static void print_metrics(struct role *role, struct buf *text)
{
    buf_init(text, METRICS_TEXT_SIZE);
    if (role->plan->set_gauges)
        role->plan->set_gauges(role->state);
    metrics_print(role->metrics, text);
}

void role_reply_metrics(struct role *role, struct channel *from, uint32_t id)
{
    struct buf text;
    print_metrics(role, &text);
    ipc_metrics_reply(from, id, &(struct ipc_metrics_out){.text = buf_str(&text)});
    buf_release(&text);
}

/* ---- The warden ---------------------------------------------------------------------------- */

static void fail(struct role *role, const char *event, const char *why)
{
    log_event(role->log, role_now(role), LOG_ERROR, event, why);
    role->failed = true;
    role_end(role);
}

/* The folder that the role's licence names, in place of data's; false where it has none. */
static bool licence_folder(enum ipc_role self, struct str data, char *ret_path, size_t size)
{
    const char *name = self == ROLE_KEEPER ? "keeper" : "store";
    if (self != ROLE_KEEPER && self != ROLE_VAULT && self != ROLE_MAILROOM)
        return false;
    int n = snprintf(ret_path, size, "%.*s/%s", STR_ARG(data), name);
    return n > 0 && (size_t)n < size;
}

static bool has_unix_route(const struct config *config)
{
    for (size_t i = 0; i < config->routes.count; i++)
        for (size_t p = 0; p < config->routes.list[i].place_count; p++)
            if (!str_empty(config->routes.list[i].places[p].unix_path))
                return true;
    return false;
}

/* What the frame itself reads in the configuration. */
static enum status_code use_config(struct role *role, const struct ipc_config_in *in,
                                   char *ret_folder, size_t folder_size, struct diag *diag)
{
    struct arena arena;
    struct config config;
    struct conf_errors errors;
    arena_init(&arena, CONFIG_ARENA_SIZE);
    conf_errors_init(&errors, &arena);
    enum status_code status = config_parse(in->text, &arena, &config, &errors);
    if (status == STATUS_OK) {
        role->log->json = config.log_json;
        role->log->least = config.log_level;
        bool unix_sockets = role->plan->self == ROLE_COURIER && has_unix_route(&config);
        role->wants_licence = role->prepared && unix_sockets && !role->unix_sockets;
        role->unix_sockets = role->prepared ? role->unix_sockets : unix_sockets;
        if (!licence_folder(role->plan->self, config.data, ret_folder, folder_size))
            ret_folder[0] = 0;
    } else {
        diag_set(diag, "configuration: %s", status_name(status));
    }
    arena_reset(&arena);
    return status;
}

static void on_config(void *context, struct channel *from, const struct ipc_config_in *in)
{
    struct role *role = context;
    struct diag diag = {0};
    char folder[1024];
    enum status_code status = use_config(role, in, folder, sizeof folder, &diag);
    if (role->prepared) {
        if (status == STATUS_OK && role->plan->reconfigure)
            role->plan->reconfigure(role->state, in);
        ipc_ready_note(from);
        /* What the sandbox has closed stays closed: who may more from now on is another process. */
        if (role->wants_licence && role->own_process) {
            log_event(role->log, role_now(role), LOG_INFO, "starts-anew",
                      "the first route to a Unix socket");
            role->plan->stop(role->state, false);
        }
        return;
    }
    if (status == STATUS_OK && role->plan->prepare)
        status = role->plan->prepare(role->state, in, &diag);
    if (status != STATUS_OK) {
        fail(role, "cannot-start", diag.words[0] ? diag.words : status_name(status));
        return;
    }
    if (role->own_process)
        status =
            sandbox_enter(role->plan->self, folder[0] ? folder : NULL, role->unix_sockets, &diag);
    if (status != STATUS_OK) {
        fail(role, "no-sandbox", diag.words);
        return;
    }
    role->prepared = true;
    ipc_ready_note(from);
}

static void on_listener(void *context, struct channel *from, const struct ipc_listener_in *in)
{
    struct role *role = context;
    (void)from;
    if (role->plan->listener)
        role->plan->listener(role->state, in->number, in->fd);
    else
        close(in->fd);
}

static void on_key_file(void *context, struct channel *from, const struct ipc_key_file_in *in)
{
    struct role *role = context;
    (void)from;
    if (role->plan->key_file)
        role->plan->key_file(role->state, in->number, in->fd);
    else
        close(in->fd);
}

static void on_route_secret(void *context, struct channel *from,
                            const struct ipc_route_secret_in *in)
{
    struct role *role = context;
    (void)from;
    if (role->plan->route_secret)
        role->plan->route_secret(role->state, in->route, in->login, in->fd);
    else
        close(in->fd);
}

static void on_trust_file(void *context, struct channel *from, const struct ipc_trust_file_in *in)
{
    struct role *role = context;
    (void)from;
    if (role->plan->trust_file)
        role->plan->trust_file(role->state, in->kind, in->fd);
    else
        close(in->fd);
}

static void on_count_section(void *context, struct channel *from,
                             const struct ipc_count_section_in *in)
{
    struct role *role = context;
    (void)from;
    if (role->plan->count_section)
        role->plan->count_section(role->state, in);
    else
        close(in->fd);
}

static void on_sign_channel(void *context, struct channel *from,
                            const struct ipc_sign_channel_in *in)
{
    struct role *role = context;
    (void)from;
    if (role->plan->sign_channel)
        role->plan->sign_channel(role->state, in->index, in->fd);
    else
        close(in->fd);
}

static void on_stop(void *context, struct channel *from, const struct ipc_stop_in *in)
{
    struct role *role = context;
    (void)from;
    if (role->plan->stop && role->prepared)
        role->plan->stop(role->state, in->now);
    else
        role_end(role);
}

/* Without a warden nobody would ever restart us, or tell us anything. */
static void warden_ended(void *owner, enum status_code why, const char *words)
{
    struct role *role = owner;
    (void)why;
    if (!role->ended)
        fail(role, "warden-gone", words);
}

static void on_ping(void *context, struct channel *from, uint32_t id)
{
    (void)context;
    ipc_ping_reply(from, id, &(struct ipc_ping_out){.status = STATUS_OK});
}

static void on_edge_metrics(void *context, struct channel *from, uint32_t id)
{
    struct buf text;
    print_metrics(context, &text);
    ipc_edge_metrics_reply(from, id, &(struct ipc_edge_metrics_out){.text = buf_str(&text)});
    buf_release(&text);
}

static const struct ipc_handlers warden_handlers = {
    .edge_metrics = on_edge_metrics,
    .config = on_config,
    .peer = on_peer,
    .listener = on_listener,
    .key_file = on_key_file,
    .count_section = on_count_section,
    .sign_channel = on_sign_channel,
    .route_secret = on_route_secret,
    .trust_file = on_trust_file,
    .stop = on_stop,
    .ping = on_ping,
};

/* ---- Life ---------------------------------------------------------------------------------- */

struct role *role_new(const struct role_plan *plan, uint8_t index, struct loop *loop, int fd,
                      struct log *log)
{
    struct role *role = calloc(1, sizeof *role);
    if (!role) {
        close(fd);
        return NULL;
    }
    role->plan = plan;
    role->index = index;
    role->loop = loop;
    role->log = log;
    if (plan->handlers)
        role->handlers = *plan->handlers;
    bool may_be_several = plan->self == ROLE_EDGE || plan->self == ROLE_MAILROOM;
    role->metrics = metrics_new(may_be_several ? index : -1);
    role->warden = link_open(&(struct link_setup){.loop = loop,
                                                  .fd = fd,
                                                  .self = plan->self,
                                                  .peer = ROLE_WARDEN,
                                                  .handlers = &warden_handlers,
                                                  .context = role,
                                                  .owner = role,
                                                  .ended = warden_ended});
    role->state = role->metrics && role->warden ? plan->create(role) : NULL;
    if (!role->state) {
        role_free(role);
        return NULL;
    }
    return role;
}

void role_free(struct role *role)
{
    if (!role)
        return;
    while (role->peer_count > 0)
        drop_peer(role->peers[role->peer_count - 1]);
    if (role->state && role->plan->destroy)
        role->plan->destroy(role->state);
    link_close(role->warden);
    metrics_free(role->metrics);
    free(role);
}

/* The warden alone decides when a role ends: a Ctrl-C on the terminal reaches all of them. */
static void ignore_signals(void)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
}

/* For top and ss, which else show what /proc/self/exe was started as; 15 octets of it. */
static void take_name(enum ipc_role self)
{
    char name[32];
    snprintf(name, sizeof name, "postern-%s", ipc_role_name(self));
    (void)prctl(PR_SET_NAME, name, 0, 0, 0);
}

int role_main(const struct role_plan *plan, uint8_t index)
{
    struct log log;
    ignore_signals();
    take_name(plan->self);
    log_init(&log, LOG_FD, plan->self);
    struct loop *loop = loop_new();
    struct role *role = loop ? role_new(plan, index, loop, WARDEN_FD, &log) : NULL;
    if (!role)
        return EXIT_FAILURE;
    role->own_process = true;
    if (!role->ended)
        loop_run(loop);
    bool failed = role->failed;
    role_free(role);
    loop_free(loop);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
