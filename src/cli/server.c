#include "cli/server.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/files.h"
#include "io/loop.h"
#include "io/socket.h"
#include "roles/control.h"
#include "roles/link.h"
#include "roles/spawn.h"
#include "store/lock.h"

enum { PATH_SIZE = 4096, ANSWER_MS = 60 * 1000, LOG_SHOWN_MAX = 4096 };

/* ---- Configuration and database
 * ------------------------------------------------------------------ */

enum cli_exit cli_config(struct cli *cli, struct config *ret_config)
{
    struct diag diag = {0};
    struct buf text, words;
    struct conf_errors errors;
    buf_init(&text, CONFIG_TEXT_SIZE_MAX);
    enum status_code status = files_read(cli->config_file, &text, &diag);
    if (status == STATUS_OK && !arena_dup(&cli->arena, buf_str(&text), &cli->config_text))
        status = STATUS_NO_MEMORY;
    buf_release(&text);
    if (status == STATUS_NOT_FOUND && strcmp(cli->config_file, CLI_CONFIG_FILE) == 0)
        return cli_fail(cli, CLI_NOT_FOUND,
                        "%s; postern setup makes it, and --config names another", diag.words);
    if (status != STATUS_OK) /* nor does it help to try again */
        return cli_fail(cli, status == STATUS_NOT_FOUND ? CLI_NOT_FOUND : CLI_FAILED, "%s",
                        diag.words[0] ? diag.words : status_name(status));
    conf_errors_init(&errors, &cli->arena);
    status = config_parse(cli->config_text, &cli->arena, ret_config, &errors);
    if (status != STATUS_INVALID)
        return status == STATUS_OK ? CLI_OK : cli_fail_status(cli, status, NULL);
    buf_init(&words, CONFIG_TEXT_SIZE_MAX);
    conf_errors_print(&errors, str_from_c(cli->config_file), &words);
    fwrite(words.ptr, 1, words.len, cli->err);
    buf_release(&words);
    return CLI_FAILED;
}

static void store_path(const struct config *config, const char *name, char *ret_path)
{
    snprintf(ret_path, PATH_SIZE, "%.*s/store/%s", STR_ARG(config->data), name);
}

enum cli_exit cli_database(struct cli *cli, const struct config *config, struct db **ret_db)
{
    char path[PATH_SIZE];
    struct diag diag = {0};
    store_path(config, "postern.db", path);
    enum status_code status = db_open(path, DB_READ, ret_db, &diag);
    if (status == STATUS_NOT_FOUND)
        return cli_fail(cli, CLI_NOT_FOUND, "there is no %s yet: start the server, or add a domain",
                        path);
    return status == STATUS_OK ? CLI_OK : cli_fail_status(cli, status, &diag);
}

enum cli_exit cli_look(struct cli *cli, struct config *ret_config, struct db **ret_db)
{
    enum cli_exit code = cli_config(cli, ret_config);
    return code == CLI_OK ? cli_database(cli, ret_config, ret_db) : code;
}

/* ---- Roles
 * ---------------------------------------------------------------------------------------- */

/* A role that serves this command. */
struct helper {
    struct cli_server *server;
    enum ipc_role role;
    struct link *operator; /* what the command's requests go through */
    struct link *warden;   /* where the command started the role itself */
    pid_t pid;
    bool ready;
    bool ended;
};

struct cli_server {
    struct cli *cli;
    const struct config *config;
    struct loop *loop;
    struct timer timer;
    bool late;
    bool runs;  /* there is a server */
    pid_t pid;  /* and it is this process; 0: not known */
    int log_fd; /* what roles of our own say */
    enum cli_exit unreached;
    struct helper helpers[ROLE_END];
};

static const struct ipc_handlers operator_handlers;

static void on_late(void *context)
{
    struct cli_server *server = context;
    server->late = true;
}

/* Turns until one of them is true; false: it took too long. */
static bool turn_until(struct cli_server *server, const bool *this, const bool *or_that)
{
    server->late = false;
    timer_set(&server->timer, loop_now(server->loop).mono_ms + ANSWER_MS);
    while (!*this && !*or_that && !server->late)
        loop_turn(server->loop, true);
    timer_set(&server->timer, NEVER_MS);
    return !server->late;
}

static void helper_ended(void *owner, enum status_code why, const char *words)
{
    struct helper *helper = owner;
    (void)why;
    (void)words;
    helper->ended = true;
}

static struct link *open_link(struct helper *helper, int fd, enum ipc_role self,
                              const struct ipc_handlers *handlers)
{
    return link_open(&(struct link_setup){.loop = helper->server->loop,
                                          .fd = fd,
                                          .self = self,
                                          .peer = helper->role,
                                          .handlers = handlers,
                                          .context = helper,
                                          .owner = helper,
                                          .ended = helper_ended});
}

static enum status_code reach(struct helper *helper, struct diag *diag)
{
    char path[PATH_SIZE];
    int fd;
    str_to_c(helper->server->config->control, path, sizeof(path));
    enum status_code status = control_connect(path, helper->role, &fd, diag);
    if (status != STATUS_OK)
        return status;
    if (!socket_peer_pid(fd, &helper->server->pid))
        helper->server->pid = 0;
    helper->operator= open_link(helper, fd, ROLE_OPERATOR, &operator_handlers);
    return helper->operator? STATUS_OK : STATUS_NO_MEMORY;
}

/* The program has been replaced since the server was started, or is another one's server's. */
static bool is_other_program(const struct cli_server *server)
{
    char path[40];
    struct stat theirs, ours;
    snprintf(path, sizeof(path), "/proc/%ld/exe", (long)server->pid);
    return server->runs && server->pid != 0 && stat(path, &theirs) == 0 &&
           stat("/proc/self/exe", &ours) == 0 &&
           (theirs.st_dev != ours.st_dev || theirs.st_ino != ours.st_ino);
}

/* ---- A role of our own
 * --------------------------------------------------------------------------- */

static void on_ready(void *context, struct channel *from)
{
    struct helper *helper = context;
    (void)from;
    helper->ready = true;
}

static const struct ipc_handlers warden_handlers = {.ready = on_ready};

/* Why a role of ours did not start is in its log. */
static void show_log(struct cli_server *server)
{
    char words[LOG_SHOWN_MAX];
    ssize_t n = pread(server->log_fd, words, sizeof(words), 0);
    if (n > 0)
        fwrite(words, 1, (size_t)n, server->cli->err);
}

static enum status_code connect_operator(struct helper *helper)
{
    int fds[2];
    enum status_code status = socket_pair(fds);
    if (status != STATUS_OK)
        return status;
    const struct ipc_peer_in peer = {.fd = fds[1], .role = ROLE_OPERATOR};
    helper->operator= open_link(helper, fds[0], ROLE_OPERATOR, &operator_handlers);
    bool sent = ipc_peer_note(link_channel(helper->warden), &peer);
    return helper->operator&& sent ? STATUS_OK : STATUS_NO_MEMORY;
}

static enum status_code start(struct helper *helper, struct diag *diag)
{
    struct cli_server *server = helper->server;
    int fd;
    enum status_code status =
        spawn_role(server->config, helper->role, 0, server->log_fd, &helper->pid, &fd, diag);
    if (status != STATUS_OK)
        return status;
    helper->warden = open_link(helper, fd, ROLE_WARDEN, &warden_handlers);
    const struct ipc_config_in config = {.file_name = str_from_c(server->cli->config_file),
                                         .text = server->cli->config_text};
    if (!helper->warden || !ipc_config_note(link_channel(helper->warden), &config))
        return STATUS_NO_MEMORY;
    if (turn_until(server, &helper->ready, &helper->ended) && helper->ready)
        return connect_operator(helper);
    show_log(server);
    diag_set(diag, "the %s does not start", ipc_role_name(helper->role));
    return STATUS_GONE;
}

static void end_helper(struct helper *helper)
{
    const struct ipc_stop_in stop = {.now = false};
    static const bool never = false;
    link_close(helper->operator);
    if (helper->warden && !helper->ended && ipc_stop_note(link_channel(helper->warden), &stop))
        turn_until(helper->server, &helper->ended, &never);
    link_close(helper->warden);
    if (helper->pid > 0)
        while (waitpid(helper->pid, NULL, 0) < 0 && errno == EINTR)
            ;
}

/* ---- For commands
 * ----------------------------------------------------------------------------------- */

bool cli_server_runs(const struct config *config)
{
    char path[PATH_SIZE];
    struct diag diag = {0};
    int fd;
    if (!str_to_c(config->control, path, sizeof(path)))
        return false;
    enum status_code status = socket_connect_unix(path, &fd, &diag);
    if (status == STATUS_OK)
        close(fd);
    /* Where we may not ask, to try will say so. */
    return status == STATUS_OK || status == STATUS_DENIED;
}

/* Somebody else may work alone right now, or run a server whose control socket we may not use. */
static enum cli_exit check_alone(struct cli *cli, const struct config *config)
{
    char path[PATH_SIZE];
    struct diag diag = {0};
    int fd;
    enum status_code status = spawn_prepare(config, &diag);
    if (status == STATUS_DENIED)
        return cli_fail(cli, CLI_FAILED, "%s (this is for root, or for whose data it is)",
                        diag.words);
    if (status != STATUS_OK)
        return cli_fail_status(cli, status, &diag);
    store_path(config, "lock", path);
    if (access(path, F_OK) != 0)
        return CLI_OK;
    status = lock_take(path, LOCK_WAIT_MS, &fd, &diag);
    if (status == STATUS_OK)
        lock_release(fd);
    return status == STATUS_OK ? CLI_OK : cli_fail_status(cli, status, &diag);
}

enum cli_exit cli_server_open(struct cli *cli, const struct config *config,
                              struct cli_server **ret_server)
{
    bool runs = cli_server_runs(config);
    enum cli_exit code = runs ? CLI_OK : check_alone(cli, config);
    if (code != CLI_OK)
        return code;
    struct cli_server *server = calloc(1, sizeof(*server));
    struct loop *loop = loop_new();
    if (!server || !loop) {
        free(server);
        loop_free(loop);
        return cli_fail_status(cli, STATUS_NO_MEMORY, NULL);
    }
    *server = (struct cli_server){.cli = cli, .config = config, .loop = loop, .runs = runs};
    server->log_fd = memfd_create("log", MFD_CLOEXEC);
    timer_init(&server->timer, loop, on_late, server);
    *ret_server = server;
    return CLI_OK;
}

void cli_server_close(struct cli_server *server)
{
    if (!server)
        return;
    for (size_t i = 0; i < ROLE_END; i++)
        end_helper(&server->helpers[i]);
    timer_set(&server->timer, NEVER_MS);
    loop_free(server->loop);
    close(server->log_fd);
    free(server);
}

struct channel *cli_server_role(struct cli_server *server, enum ipc_role role)
{
    struct helper *helper = &server->helpers[role];
    struct diag diag = {0};
    if (!helper->server) {
        helper->server = server;
        helper->role = role;
        enum status_code status = server->runs ? reach(helper, &diag) : start(helper, &diag);
        if (status != STATUS_OK) {
            server->unreached = cli_fail_status(server->cli, status, &diag);
            helper->ended = true;
        }
    }
    return helper->ended ? NULL : link_channel(helper->operator);
}

int64_t cli_server_wall_ms(struct cli_server *server)
{
    return loop_now(server->loop).wall_ms;
}

int64_t cli_server_mono_ms(struct cli_server *server)
{
    return loop_now(server->loop).mono_ms;
}

int64_t cli_wall_ms(void)
{
    struct loop *loop = loop_new();
    int64_t wall_ms = loop ? loop_now(loop).wall_ms : 0;
    loop_free(loop);
    return wall_ms;
}

void cli_outcome_take(struct cli_outcome *outcome, enum status_code sent, enum status_code status,
                      struct str words)
{
    outcome->status = sent == STATUS_OK ? status : sent;
    if (!str_empty(words))
        diag_set(&outcome->words, "%.*s", STR_ARG(words));
    outcome->done = true;
}

/* It took the connection, and ended it in place of an answer. */
static enum cli_exit fail_gone(struct cli_server *server)
{
    if (is_other_program(server))
        return cli_fail(server->cli, CLI_FAILED,
                        "the server that runs (process %ld) is another program than this one, and "
                        "does not understand it: restart it (systemctl restart postern)",
                        (long)server->pid);
    return cli_fail(server->cli, CLI_TRY_AGAIN, "the server went away before it answered");
}

enum cli_exit cli_server_wait(struct cli_server *server, uint32_t call, struct cli_outcome *outcome)
{
    static const bool never = false;
    if (call == 0)
        /* cli_server_role has said why; or it has ended since */
        return server->unreached != CLI_OK ? server->unreached : fail_gone(server);
    if (!turn_until(server, &outcome->done, &never))
        return cli_fail(server->cli, CLI_TRY_AGAIN, "the server does not answer");
    if (outcome->status == STATUS_GONE && !outcome->words.words[0])
        return fail_gone(server);
    if (outcome->status != STATUS_OK)
        return cli_fail_status(server->cli, outcome->status, &outcome->words);
    return CLI_OK;
}
