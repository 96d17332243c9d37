#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include <errno.h>
#include <limits.h>

#include "io/socket.h"
#include "roles/warden_state.h"

enum { FIRST_FRAME_SIZE = 64, NUMBER_AT = 5, REQUEST_MS = 1000, WORDS_SIZE = 64 * 1024 };

/* ---- What operators ask of the warden itself ----------------------------------------------- */

static void on_reload(void *context, struct channel *from, uint32_t id)
{
    struct operator_link *o = context;
    struct buf words;
    buf_init(&words, WORDS_SIZE);
    enum status_code status = warden_reload(o->warden, &words);
    ipc_reload_reply(from, id, &(struct ipc_reload_out){status, buf_str(&words)});
    buf_release(&words);
}

static void on_shutdown(void *context, struct channel *from, uint32_t id)
{
    struct operator_link *o = context;
    ipc_shutdown_reply(from, id, &(struct ipc_shutdown_out){STATUS_OK});
    warden_stop(o->warden);
}

static const struct ipc_handlers operator_handlers = {.reload = on_reload, .shutdown = on_shutdown};

static void operator_ended(void *owner, enum status_code why, const char *words)
{
    struct operator_link *o = owner;
    (void)why;
    (void)words;
    link_close(o->link);
    o->link = NULL;
}

static void serve_operator(struct warden *w, int fd)
{
    for (int i = 0; i < OPERATORS_MAX; i++) {
        struct operator_link *o = &w->operators[i];
        if (o->link)
            continue;
        o->warden = w;
        o->link = link_open(&(struct link_setup){.loop = w->loop,
                                                 .fd = fd,
                                                 .self = ROLE_WARDEN,
                                                 .peer = ROLE_OPERATOR,
                                                 .handlers = &operator_handlers,
                                                 .context = o,
                                                 .owner = o,
                                                 .ended = operator_ended});
        return;
    }
    close(fd);
}

/* ---- The door ------------------------------------------------------------------------------ */

static void on_connect(void *context, struct channel *from, const struct ipc_connect_in *in)
{
    (void)from;
    *(uint8_t *)context = in->role;
}

static void nothing_to_do(void *owner)
{
    (void)owner;
}

static void not_understood(void *owner, enum status_code why, const char *words)
{
    (void)owner;
    (void)why;
    (void)words;
}

/* The role that a whole "connect" frame names; 0 where it is none. */
static uint8_t read_connect(struct str frame)
{
    static const struct ipc_handlers handlers = {.connect = on_connect};
    uint8_t role = 0;
    struct buf in;
    struct channel *ch = channel_open(&(struct channel_setup){.self = ROLE_WARDEN,
                                                              .peer = ROLE_OPERATOR,
                                                              .handlers = &handlers,
                                                              .context = &role,
                                                              .wake = nothing_to_do,
                                                              .ended = not_understood});
    buf_init(&in, FIRST_FRAME_SIZE);
    if (ch && buf_append_str(&in, frame))
        channel_input(ch, &in);
    if (ch)
        channel_close(ch);
    buf_release(&in);
    return role;
}

/* Passes the connection on to a role, as its peer; what follows is between the two. */
static void pass_on(struct warden *w, uint8_t role, int fd)
{
    struct child *c = children_find(w, (enum ipc_role)role, 0);
    if (c)
        ipc_peer_note(link_channel(c->link),
                      &(struct ipc_peer_in){ROLE_OPERATOR, w->next_operator++, fd});
    else
        close(fd);
}

/*
 * The first frame comes in one write (control_connect). "connect" is taken out of the socket, and
 * not a byte more; anything else is for us, and stays there for the link.
 */
static void sort(struct warden *w, int fd)
{
    unsigned char head[FIRST_FRAME_SIZE];
    ssize_t n = recv(fd, head, sizeof head, MSG_PEEK);
    if (n <= NUMBER_AT) {
        close(fd);
        return;
    }
    if (head[NUMBER_AT] != IPC_CONNECT) {
        socket_set_blocking(fd, false);
        serve_operator(w, fd);
        return;
    }
    size_t size = 4 + (size_t)head[0];
    bool whole = head[1] == 0 && size <= (size_t)n;
    uint8_t role = 0;
    if (whole && recv(fd, head, size, 0) == (ssize_t)size)
        role = read_connect(str_make(head, size));
    socket_set_blocking(fd, false);
    pass_on(w, role, fd);
}

static bool may_operate(int fd)
{
    struct ucred who;
    socklen_t size = sizeof who;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 &&
           (who.uid == 0 || who.uid == geteuid());
}

/*
 * Root or we ourselves are at the other end and have connected to ask something at once: the
 * first frame may be waited for, but not for long.
 */
static void on_control(void *context, unsigned what)
{
    struct warden *w = context;
    struct socket_address peer;
    struct timeval patience = {.tv_sec = REQUEST_MS / 1000};
    int fd;
    (void)what;
    while (socket_accept(w->control_fd, &fd, &peer) == STATUS_OK) {
        if (!may_operate(fd)) {
            log_event(&w->log, loop_now(w->loop), LOG_WARN, "operator-refused", "not root");
            close(fd);
            continue;
        }
        socket_set_blocking(fd, true);
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        sort(w, fd);
    }
}

enum status_code control_open(struct warden *w, struct diag *diag)
{
    char path[PATH_MAX];
    w->control_fd = -1;
    if (str_empty(w->settings->config.control))
        return STATUS_OK;
    if (!str_to_c(w->settings->config.control, path, sizeof path)) {
        diag_set(diag, "control: the name is too long");
        return STATUS_INVALID;
    }
    enum status_code status = socket_listen_unix(path, 0600, &w->control_fd, diag);
    if (status != STATUS_OK)
        return status;
    watch_init(&w->control, w->loop, w->control_fd, on_control, w);
    watch_set(&w->control, WATCH_READ);
    return STATUS_OK;
}

void control_close(struct warden *w)
{
    char path[PATH_MAX];
    for (int i = 0; i < OPERATORS_MAX; i++) {
        link_close(w->operators[i].link);
        w->operators[i].link = NULL;
    }
    if (w->control_fd < 0)
        return;
    watch_set(&w->control, 0);
    close(w->control_fd);
    w->control_fd = -1;
    if (str_to_c(w->settings->config.control, path, sizeof path))
        unlink(path);
}
