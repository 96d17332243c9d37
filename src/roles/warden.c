#include "roles/warden.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/limits.h"
#include "roles/sandbox.h"
#include "roles/spawn.h"
#include "roles/warden_notify.h"
#include "roles/warden_state.h"

enum {
    WORDS_SIZE = 64 * 1024,
    /* For each connection of an edge its socket and its session's; and for all else. */
    DESCRIPTORS = 2 * LIMIT_CONNECTIONS + 1024
};

static void log_plain(struct warden *w, enum log_level level, const char *event, const char *why)
{
    log_event(&w->log, loop_now(w->loop), level, event, why);
}

/* One event for each line of words. */
static void log_lines(struct warden *w, const char *event, struct str words)
{
    struct str one;
    while (str_split(&words, '\n', &one)) {
        struct log_line line;
        if (str_empty(one))
            continue;
        log_begin(&line, &w->log, loop_now(w->loop), LOG_ERROR, event);
        log_str(&line, "why", one);
        log_end(&line);
    }
}

static void use_log_settings(struct warden *w)
{
    w->log.json = w->settings->config.log_json;
    w->log.least = w->settings->config.log_level;
}

void warden_announce(struct warden *w)
{
    w->announced = true;
    log_plain(w, LOG_INFO, "serving", "every role is ready");
    warden_notify("READY=1", loop_now(w->loop));
    if (w->plan->ready)
        w->plan->ready(w->plan->context);
}

/* ---- Reload -------------------------------------------------------------------------------- */

/* What only a start can change stays as it is until then. */
static void keep_what_needs_a_start(struct warden *w, const struct config *next)
{
    const struct config *now = &w->settings->config;
    bool differs = !str_eq(now->data, next->data) || !str_eq(now->control, next->control) ||
                   !str_eq(now->group, next->group);
    for (int role = 0; role < ROLE_END; role++)
        differs = differs || now->processes[role] != next->processes[role] ||
                  !str_eq(now->users[role], next->users[role]);
    if (differs)
        log_plain(w, LOG_WARN, "needs-restart",
                  "data, control, user, group and processes change only at a restart");
}

static enum status_code try_reload(struct warden *w, struct buf *words)
{
    struct warden_settings *settings;
    struct warden_sockets sockets;
    struct diag diag = {0};
    enum status_code status = warden_settings_load(w->plan->config_path, &settings, words);
    if (status != STATUS_OK)
        return status;
    status = warden_sockets_open(&settings->config, &w->sockets, &sockets, &diag);
    if (status != STATUS_OK) {
        buf_printf(words, "%s\n", diag.words);
        warden_settings_free(settings);
        return status;
    }
    keep_what_needs_a_start(w, &settings->config);
    warden_sockets_close(&w->sockets);
    warden_settings_free(w->settings);
    w->settings = settings;
    w->sockets = sockets;
    use_log_settings(w);
    children_reconfigure(w);
    return STATUS_OK;
}

void warden_reloaded(struct warden *w)
{
    if (w->reload_refused)
        log_plain(w, LOG_ERROR, "not-reloaded", "a role kept its old configuration");
    else
        log_plain(w, LOG_INFO, "reloaded", "configuration and certificates");
    warden_notify("READY=1", loop_now(w->loop));
}

enum status_code warden_reload(struct warden *w, struct buf *words)
{
    if (w->stopping)
        return STATUS_BUSY;
    warden_notify("RELOADING=1", loop_now(w->loop));
    enum status_code status = try_reload(w, words);
    if (status == STATUS_OK)
        return status;
    log_lines(w, "reload-error", buf_str(words));
    log_plain(w, LOG_ERROR, "not-reloaded", "the old configuration stays");
    warden_notify("READY=1", loop_now(w->loop));
    return status;
}

/* ---- Stop ---------------------------------------------------------------------------------- */

void warden_stop(struct warden *w)
{
    if (w->stopping) {
        children_hurry(w);
    } else {
        log_plain(w, LOG_INFO, "stopping", w->failed ? "a role could not start" : "as told");
        warden_notify("STOPPING=1", loop_now(w->loop));
    }
    w->stopping = true;
    warden_sockets_close(&w->sockets);
    children_stop(w);
}

void warden_finished(struct warden *w)
{
    loop_stop(w->loop);
}

/* ---- Life ---------------------------------------------------------------------------------- */

static void on_signal(void *context, int number)
{
    struct warden *w = context;
    struct buf words;
    switch (number) {
    case SIGCHLD:
        children_reap(w);
        return;
    case SIGHUP:
        buf_init(&words, WORDS_SIZE);
        (void)!warden_reload(w, &words);
        buf_release(&words);
        return;
    default:
        warden_stop(w);
    }
}

/* Each role inherits the limit; where we may not raise it as far, as far as we may. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    rlim_t before = limit.rlim_max;
    if (limit.rlim_max < DESCRIPTORS)
        limit.rlim_max = DESCRIPTORS;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0)
        return;
    limit.rlim_cur = limit.rlim_max = before;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static enum status_code prepare_counts(struct warden *w, struct diag *diag)
{
    unsigned edges = w->settings->config.processes[ROLE_EDGE];
    if (edges < 2) /* it counts for itself */
        return STATUS_OK;
    enum status_code status = warden_counts_new(edges, &w->counts);
    if (status != STATUS_OK)
        diag_set(diag, "processes: the memory that %u edges count in: %s", edges,
                 status_name(status));
    return status;
}

/* What can fail before there is anybody to serve; words say why. */
static enum status_code prepare(struct warden *w, struct buf *words)
{
    struct diag diag = {0};
    enum status_code status = warden_settings_load(w->plan->config_path, &w->settings, words);
    if (status != STATUS_OK)
        return status;
    use_log_settings(w);
    status = spawn_prepare(&w->settings->config, &diag);
    if (status == STATUS_OK)
        status = warden_sockets_open(&w->settings->config, &w->sockets, &w->sockets, &diag);
    if (status == STATUS_OK)
        status = prepare_counts(w, &diag);
    if (status == STATUS_OK)
        status = control_open(w, &diag);
    if (status != STATUS_OK)
        buf_printf(words, "%s\n", diag.words[0] ? diag.words : status_name(status));
    return status;
}

static void serve(struct warden *w)
{
    static const int numbers[] = {SIGCHLD, SIGHUP, SIGTERM, SIGINT};
    struct signal_watch watches[sizeof numbers / sizeof *numbers];
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        signal_watch_start(&watches[i], w->loop, numbers[i], on_signal, w);
    if (!sandbox_has_landlock())
        log_plain(w, LOG_WARN, "no-landlock",
                  "this kernel or container has none: seccomp and users keep the roles from files");
    children_start(w);
    loop_run(w->loop);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        signal_watch_stop(&watches[i]);
}

static void release(struct warden *w)
{
    if (w->settings)
        control_close(w);
    warden_sockets_close(&w->sockets);
    warden_counts_free(w->counts);
    warden_settings_free(w->settings);
    loop_free(w->loop);
    free(w);
}

int warden_main(const struct warden_plan *plan)
{
    struct buf words;
    struct warden *w = calloc(1, sizeof *w);
    if (!w || !(w->loop = loop_new())) {
        free(w);
        return EXIT_FAILURE;
    }
    w->plan = plan;
    w->control_fd = -1;
    signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    log_init(&w->log, spawn_log_fd(), ROLE_WARDEN);
    buf_init(&words, WORDS_SIZE);
    if (prepare(w, &words) == STATUS_OK) {
        serve(w);
    } else {
        w->failed = true;
        fprintf(stderr, "%.*s", STR_ARG(buf_str(&words)));
    }
    bool failed = w->failed;
    buf_release(&words);
    release(w);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
