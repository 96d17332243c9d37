#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/socket.h"
#include "roles/spawn.h"
#include "roles/warden_state.h"
#include "store/wal_index.h"

enum {
    SOON_MS = 1000, /* who ends before that after its start will probably do so again */
    RESTART_FIRST_MS = 50,
    RESTART_MAX_MS = 5000,
    STOP_MS = 10 * 1000,    /* for finishing what is at hand */
    STOP_NOW_MS = 3 * 1000, /* and for ending at once */
    READY_MS = 60 * 1000,   /* opening the database after a crash may take its time */
    PATH_SIZE = 4096,
    PINGS = 6 /* questions in the time that a role may be silent */
};

/* Who talks to whom; the first of the two asks. */
static const struct pairing {
    enum ipc_role a, b;
} pairings[] = {
    {ROLE_EDGE, ROLE_MAILROOM}, {ROLE_EDGE, ROLE_VAULT},       {ROLE_EDGE, ROLE_KEEPER},
    {ROLE_EDGE, ROLE_COURIER},  {ROLE_MAILROOM, ROLE_VAULT},   {ROLE_KEEPER, ROLE_VAULT},
    {ROLE_COURIER, ROLE_VAULT}, {ROLE_COURIER, ROLE_MAILROOM}, {ROLE_COURIER, ROLE_KEEPER},
};

/* Who is stopped after whom: first those that take work in, last the one that keeps it. */
static const unsigned stop_stages[] = {
    1u << ROLE_EDGE | 1u << ROLE_MAILROOM, /* which ends sessions, and itself after the edge */
    1u << ROLE_COURIER,
    1u << ROLE_KEEPER,
    1u << ROLE_VAULT,
};

enum { STAGES = sizeof stop_stages / sizeof *stop_stages };

static void child_start(struct child *c);
static bool reap(struct child *c);

struct child *children_find(struct warden *w, enum ipc_role role, uint8_t index)
{
    for (size_t i = 0; i < w->child_count; i++) {
        struct child *c = &w->children[i];
        if (c->role == role && c->index == index && c->link && c->ready)
            return c;
    }
    return NULL;
}

static void log_child(struct child *c, enum log_level level, const char *event, const char *why)
{
    struct log_line line;
    log_begin(&line, &c->warden->log, loop_now(c->warden->loop), level, event);
    log_words(&line, "child", ipc_role_name(c->role));
    log_number(&line, "index", c->index);
    log_number(&line, "pid", c->pid);
    if (why)
        log_words(&line, "why", why);
    log_end(&line);
}

/* ---- Introducing them to each other -------------------------------------------------------- */

static void send_peers(struct child *a, struct child *b, int fds[2])
{
    ipc_peer_note(link_channel(a->link), &(struct ipc_peer_in){b->role, b->index, fds[0]});
    ipc_peer_note(link_channel(b->link), &(struct ipc_peer_in){a->role, a->index, fds[1]});
}

/* The edge waits for signatures with everything else standing still: a socket of their own. */
static void send_sign_channels(struct child *edge, struct child *keeper, int fds[2])
{
    socket_set_blocking(fds[0], true);
    ipc_sign_channel_note(link_channel(edge->link),
                          &(struct ipc_sign_channel_in){keeper->index, fds[0]});
    ipc_sign_channel_note(link_channel(keeper->link),
                          &(struct ipc_sign_channel_in){edge->index, fds[1]});
}

static void introduce(struct child *a, struct child *b)
{
    int fds[2];
    if (socket_pair(fds) == STATUS_OK)
        send_peers(a, b, fds);
    if (a->role == ROLE_EDGE && b->role == ROLE_KEEPER && socket_pair(fds) == STATUS_OK)
        send_sign_channels(a, b, fds);
}

static void introduce_to_all(struct child *c)
{
    struct warden *w = c->warden;
    for (size_t p = 0; p < sizeof pairings / sizeof *pairings; p++) {
        for (size_t i = 0; i < w->child_count; i++) {
            struct child *other = &w->children[i];
            if (other == c || !other->ready || !other->link)
                continue;
            if (pairings[p].a == c->role && pairings[p].b == other->role)
                introduce(c, other);
            else if (pairings[p].a == other->role && pairings[p].b == c->role)
                introduce(other, c);
        }
    }
}

/* ---- What a child is told ------------------------------------------------------------------ */

static void send_config(struct child *c)
{
    const struct warden_settings *s = c->warden->settings;
    ipc_config_note(link_channel(c->link),
                    &(struct ipc_config_in){.file_name = s->file_name,
                                            .text = s->text,
                                            .certificates = s->certificates,
                                            .certificates_count = s->config.certificate_count});
}

static void send_keys(struct child *c)
{
    const struct warden_settings *s = c->warden->settings;
    for (size_t i = 0; i < s->config.certificate_count; i++) {
        struct diag diag = {0};
        int fd;
        if (warden_settings_open_key(s, i, &fd, &diag) == STATUS_OK)
            ipc_key_file_note(link_channel(c->link), &(struct ipc_key_file_in){(uint32_t)i, fd});
        else
            log_child(c, LOG_ERROR, "no-key", diag.words);
    }
}

static void send_secrets(struct child *c)
{
    const struct route_rules *routes = &c->warden->settings->config.routes;
    for (size_t i = 0; i < routes->count; i++) {
        const struct route_rule *route = &routes->list[i];
        struct diag diag = {0};
        int fd;
        if (str_empty(route->password_file))
            continue;
        if (warden_settings_open_secret(route, &fd, &diag) == STATUS_OK)
            ipc_route_secret_note(link_channel(c->link),
                                  &(struct ipc_route_secret_in){route->name, route->login, fd});
        else
            log_child(c, LOG_ERROR, "no-password-file", diag.words);
    }
}

static void send_trust(struct child *c)
{
    enum status_code status = STATUS_OK;
    for (size_t i = 0; status != STATUS_GONE; i++) {
        struct diag diag = {0};
        int fd;
        status = warden_settings_open_trust(c->warden->settings, i, &fd, &diag);
        if (status == STATUS_OK)
            ipc_trust_file_note(link_channel(c->link), &(struct ipc_trust_file_in){i > 0, fd});
        else if (status != STATUS_GONE && status != STATUS_NOT_FOUND)
            log_child(c, LOG_ERROR, "no-trust-anchor", diag.words);
    }
}

static void send_listeners(struct child *c)
{
    const struct warden_sockets *s = &c->warden->sockets;
    for (size_t i = 0; i < s->count; i++) {
        int fd = fcntl(s->list[i].fd, F_DUPFD_CLOEXEC, 0);
        if (fd >= 0)
            ipc_listener_note(link_channel(c->link),
                              &(struct ipc_listener_in){s->list[i].number, fd});
        else
            log_child(c, LOG_ERROR, "no-listener", strerror(errno));
    }
}

/* An edge that did not know of the others would let everybody in twice. */
static void send_count_sections(struct child *c)
{
    enum status_code status =
        warden_counts_send(c->warden->counts, link_channel(c->link), c->index);
    if (status == STATUS_OK)
        return;
    log_child(c, LOG_ERROR, "child-killed", status_name(status));
    kill(c->pid, SIGKILL);
}

/* Should that fail they are refused who are over a limit with the dead; and it is told. */
static void clear_count_section(struct child *c)
{
    enum status_code status = warden_counts_clear(c->warden->counts, c->index);
    if (status != STATUS_OK)
        log_child(c, LOG_ERROR, "counts-not-cleared", status_name(status));
}

static void reconfigure(struct child *c)
{
    if (!c->link)
        return;
    c->reloading = c->ready;
    if (c->role == ROLE_KEEPER) {
        send_keys(c);
        send_secrets(c);
    }
    if (c->role == ROLE_COURIER)
        send_trust(c);
    send_config(c);
    if (c->role == ROLE_EDGE && c->ready && c->warden->announced)
        send_listeners(c);
}

static bool any_is_reloading(const struct warden *w)
{
    for (size_t i = 0; i < w->child_count; i++)
        if (w->children[i].reloading)
            return true;
    return false;
}

/* The keeper first: the edge's new certificates must find their keys there. */
static void reload_go_on(struct warden *w)
{
    if (w->stopping)
        return;
    if (w->reload == RELOAD_OF_KEEPER && !any_is_reloading(w)) {
        w->reload = RELOAD_OF_OTHERS;
        for (size_t i = 0; i < w->child_count; i++)
            if (w->children[i].role != ROLE_KEEPER)
                reconfigure(&w->children[i]);
    }
    if (w->reload == RELOAD_OF_OTHERS && !any_is_reloading(w)) {
        w->reload = RELOAD_NONE;
        warden_reloaded(w);
    }
}

void children_reconfigure(struct warden *w)
{
    w->reload = RELOAD_OF_KEEPER;
    w->reload_refused = false;
    for (size_t i = 0; i < w->child_count; i++)
        if (w->children[i].role == ROLE_KEEPER)
            reconfigure(&w->children[i]);
    reload_go_on(w);
}

/* ---- Life ---------------------------------------------------------------------------------- */

static bool all_ready(const struct warden *w)
{
    for (size_t i = 0; i < w->child_count; i++)
        if (!w->children[i].ready)
            return false;
    return true;
}

/* Nobody is let in before there is everybody to serve him. */
static void open_the_doors(struct warden *w)
{
    for (size_t i = 0; i < w->child_count; i++)
        if (w->children[i].role == ROLE_EDGE)
            send_listeners(&w->children[i]);
    warden_announce(w);
}

static void start_those_who_waited(struct warden *w)
{
    for (size_t i = 0; i < w->child_count; i++)
        if (w->children[i].pid == 0 && w->children[i].timer.deadline_ms == NEVER_MS)
            child_start(&w->children[i]);
}

/* ---- Whether it still answers -----------------------------------------------------------------
 */

static void ping_later(struct child *c)
{
    int64_t silence_ms = (int64_t)c->warden->settings->config.limits.role_silence_ms;
    c->pinged = false;
    timer_set(&c->timer, loop_now(c->warden->loop).mono_ms + silence_ms / PINGS);
}

static void on_pong(void *context, enum status_code status, const struct ipc_ping_out *out)
{
    struct child *c = context;
    (void)out;
    if (status == STATUS_OK && !c->told_to_stop)
        ping_later(c);
}

/* A channel that is too full for the question is not read: that is no answer either. */
static void ping(struct child *c)
{
    uint64_t silence_ms = c->warden->settings->config.limits.role_silence_ms;
    if (c->pinged) {
        log_child(c, LOG_ERROR, "child-killed", "does not answer any more");
        kill(c->pid, SIGKILL);
        return;
    }
    c->pinged = true;
    ipc_ping_call(link_channel(c->link), on_pong, c);
    timer_set(&c->timer, loop_now(c->warden->loop).mono_ms + (int64_t)silence_ms);
}

/* ---- Getting ready -------------------------------------------------------------------------- */

static void on_reload_refused(void *context, struct channel *from,
                              const struct ipc_reload_refused_in *in)
{
    struct child *c = context;
    (void)from;
    (void)in; /* the role has logged why */
    c->warden->reload_refused = true;
}

static void on_ready(void *context, struct channel *from)
{
    struct child *c = context;
    struct warden *w = c->warden;
    (void)from;
    if (w->stopping)
        return;
    c->reloading = false;
    reload_go_on(w);
    if (c->ready)
        return;
    c->ready = true;
    ping_later(c);
    log_child(c, LOG_INFO, "child-ready", NULL);
    introduce_to_all(c);
    if (c->role == ROLE_EDGE && w->announced)
        send_listeners(c);
    if (!w->announced && c->role == ROLE_VAULT)
        start_those_who_waited(w);
    if (!w->announced && all_ready(w))
        open_the_doors(w);
}

/* Who reads what strangers send comes first, who keeps everything last. */
static int trust_in(enum ipc_role role)
{
    static const int levels[ROLE_END] = {[ROLE_EDGE] = 1,
                                         [ROLE_COURIER] = 2,
                                         [ROLE_MAILROOM] = 3,
                                         [ROLE_KEEPER] = 4,
                                         [ROLE_VAULT] = 5};
    return levels[role];
}

/*
 * Two that live, but not with each other. The less trusted one starts anew and is introduced
 * again; so whoever has taken over an edge ends only that edge, whatever it says or complains of.
 */
static void on_peer_broken(void *context, struct channel *from, const struct ipc_peer_broken_in *in)
{
    struct child *c = context, *other;
    (void)from;
    if (in->role >= ROLE_END || c->warden->stopping)
        return;
    other = children_find(c->warden, (enum ipc_role)in->role, in->index);
    if (!other) /* it is on its way back already */
        return;
    if (trust_in(other->role) < trust_in(c->role))
        c = other;
    log_child(c, LOG_ERROR, "child-killed", "its channel to another role is broken");
    if (c->pid > 0)
        kill(c->pid, SIGKILL);
}

static void log_foreign_reader(struct warden *w, pid_t pid)
{
    struct log_line line;
    log_begin(&line, &w->log, loop_now(w->loop), LOG_WARN, "wal-kept");
    log_number(&line, "pid", pid);
    log_words(&line, "why", "this process reads the store and keeps the WAL from being copied");
    log_end(&line);
}

/* A command that an operator runs, or a tool of his, is his to end. */
static void on_wal_kept(void *context, struct channel *from)
{
    struct warden *w = ((struct child *)context)->warden;
    char index[PATH_SIZE];
    pid_t pid = 0;
    (void)from;
    snprintf(index, sizeof index, "%.*s/store/postern.db-shm", STR_ARG(w->settings->config.data));
    if (wal_index_oldest_reader(index, &pid) != STATUS_OK || pid == 0)
        return;
    for (size_t i = 0; i < w->child_count; i++) {
        struct child *c = &w->children[i];
        if (c->pid != pid || c->role != ROLE_MAILROOM)
            continue;
        log_child(c, LOG_ERROR, "child-killed", "it keeps the WAL from being copied");
        kill(c->pid, SIGKILL);
        return;
    }
    log_foreign_reader(w, pid);
}

static const struct ipc_handlers child_handlers = {.ready = on_ready,
                                                   .reload_refused = on_reload_refused,
                                                   .peer_broken = on_peer_broken,
                                                   .wal_kept = on_wal_kept,
                                                   .edges_metrics = warden_on_edges_metrics};

/* A child that has broken the channel to us is of no use any more. */
static void link_ended(void *owner, enum status_code why, const char *words)
{
    struct child *c = owner;
    if (why != STATUS_GONE)
        log_child(c, LOG_ERROR, "child-channel", words);
    link_close(c->link);
    c->link = NULL;
    c->ready = false;
    if (c->pid > 0 && !c->told_to_stop && why != STATUS_GONE)
        kill(c->pid, SIGKILL);
}

static void child_start(struct child *c)
{
    struct warden *w = c->warden;
    struct diag diag = {0};
    int fd;
    c->started_ms = loop_now(w->loop).mono_ms;
    enum status_code status =
        spawn_role(&w->settings->config, c->role, c->index, spawn_log_fd(), &c->pid, &fd, &diag);
    if (status == STATUS_OK)
        c->link = link_open(&(struct link_setup){.loop = w->loop,
                                                 .fd = fd,
                                                 .self = ROLE_WARDEN,
                                                 .peer = c->role,
                                                 .peer_index = c->index,
                                                 .handlers = &child_handlers,
                                                 .context = c,
                                                 .owner = c,
                                                 .ended = link_ended});
    if (!c->link) {
        log_child(c, LOG_ERROR, "child-not-started", diag.words);
        timer_set(&c->timer, c->started_ms + RESTART_MAX_MS);
        return;
    }
    timer_set(&c->timer, c->started_ms + READY_MS);
    if (c->role == ROLE_COURIER)
        send_trust(c);
    if (c->role == ROLE_EDGE)
        send_count_sections(c);
    send_config(c);
    if (c->role == ROLE_KEEPER) {
        send_keys(c);
        send_secrets(c);
    }
}

/* Its next start is due, or it took too long to get ready or to stop. */
static void timer_expired(void *context)
{
    struct child *c = context;
    if (c->pid == 0) {
        if (!c->warden->stopping)
            child_start(c);
        return;
    }
    /* It may have ended while nobody could hear of it: it was not late, and nobody kills it. */
    if (reap(c))
        return;
    if (c->told_to_stop && !c->failures) {
        c->failures = 1;
        if (c->link) /* else it is about to end */
            ipc_stop_note(link_channel(c->link), &(struct ipc_stop_in){.now = true});
        timer_set(&c->timer, loop_now(c->warden->loop).mono_ms + STOP_NOW_MS);
        return;
    }
    if (c->ready && !c->told_to_stop) {
        ping(c);
        return;
    }
    log_child(c, LOG_ERROR, "child-killed", c->told_to_stop ? "did not stop" : "did not get ready");
    kill(c->pid, SIGKILL);
}

static void plan_restart(struct child *c)
{
    struct warden *w = c->warden;
    int64_t now_ms = loop_now(w->loop).mono_ms, wait_ms = 0;
    if (now_ms - c->started_ms > SOON_MS)
        c->failures = 0;
    else
        c->failures++;
    if (c->failures > 0) {
        unsigned doublings = c->failures < 10 ? c->failures - 1 : 9;
        wait_ms = (int64_t)RESTART_FIRST_MS << doublings;
        if (wait_ms > RESTART_MAX_MS)
            wait_ms = RESTART_MAX_MS;
    }
    timer_set(&c->timer, now_ms + wait_ms);
}

static void describe_end(int status, char *words, size_t size)
{
    if (WIFSIGNALED(status))
        snprintf(words, size, "signal %d", WTERMSIG(status));
    else
        snprintf(words, size, "exit status %d", WEXITSTATUS(status));
}

static void child_ended(struct child *c, int status)
{
    struct warden *w = c->warden;
    char words[40];
    bool well = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    describe_end(status, words, sizeof words);
    log_child(c, well ? LOG_INFO : LOG_ERROR, "child-ended", words);
    link_close(c->link);
    c->link = NULL;
    c->ready = c->reloading = false;
    c->pid = 0;
    if (c->role == ROLE_EDGE)
        clear_count_section(c);
    timer_set(&c->timer, NEVER_MS);
    reload_go_on(w);
    if (w->stopping) {
        children_stop(w);
    } else if (!w->announced) {
        w->failed = true; /* what cannot start now needs a person */
        warden_stop(w);
    } else {
        plan_restart(c);
    }
}

static bool reap(struct child *c)
{
    int status;
    bool ended = c->pid > 0 && waitpid(c->pid, &status, WNOHANG) == c->pid;
    if (ended)
        child_ended(c, status);
    return ended;
}

void children_reap(struct warden *w)
{
    for (size_t i = 0; i < w->child_count; i++)
        reap(&w->children[i]);
}

static void child_stop(struct child *c)
{
    if (c->told_to_stop)
        return;
    c->told_to_stop = true;
    c->failures = 0;
    if (c->link)
        ipc_stop_note(link_channel(c->link), &(struct ipc_stop_in){.now = !c->warden->announced});
    timer_set(&c->timer, loop_now(c->warden->loop).mono_ms + STOP_MS);
}

/* True where nobody of the stage is left. */
static bool stage_stopped(struct warden *w, unsigned roles)
{
    bool stopped = true;
    for (size_t i = 0; i < w->child_count; i++) {
        struct child *c = &w->children[i];
        if ((roles & 1u << c->role) == 0 || c->pid == 0)
            continue;
        child_stop(c);
        stopped = false;
    }
    return stopped;
}

void children_stop(struct warden *w)
{
    for (int stage = 0; stage < STAGES; stage++)
        if (!stage_stopped(w, stop_stages[stage]))
            return;
    warden_finished(w);
}

void children_hurry(struct warden *w)
{
    for (size_t i = 0; i < w->child_count; i++)
        if (w->children[i].told_to_stop && w->children[i].pid > 0 && w->children[i].failures == 0)
            timer_set(&w->children[i].timer, loop_now(w->loop).mono_ms);
}

void children_start(struct warden *w)
{
    static const enum ipc_role roles[] = {ROLE_VAULT, ROLE_KEEPER, ROLE_MAILROOM, ROLE_COURIER,
                                          ROLE_EDGE};
    for (size_t r = 0; r < sizeof roles / sizeof *roles; r++) {
        unsigned count = w->settings->config.processes[roles[r]];
        for (unsigned i = 0; i < count && w->child_count < CHILDREN_MAX; i++) {
            struct child *c = &w->children[w->child_count++];
            *c = (struct child){.warden = w, .role = roles[r], .index = (uint8_t)i};
            timer_init(&c->timer, w->loop, timer_expired, c);
        }
    }
    for (size_t i = 0; i < w->child_count; i++)
        if (w->children[i].role == ROLE_VAULT)
            child_start(&w->children[i]);
}
