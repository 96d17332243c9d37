#include "io/connect.h"

#include <errno.h>
#include <sys/un.h>
#include <unistd.h>

bool socket_address_unix(struct str path, struct socket_address *ret_address)
{
    struct socket_address a = {.len = sizeof(struct sockaddr_un)};
    struct sockaddr_un *local = (struct sockaddr_un *)&a.storage;
    local->sun_family = AF_UNIX;
    if (str_empty(path) || !str_to_c(path, local->sun_path, sizeof local->sun_path))
        return false;
    *ret_address = a;
    return true;
}

/* Gives the descriptor, or the error, to the owner, who may start again from inside. */
static void finish(struct connect *c, int error)
{
    int fd = error == 0 ? c->fd : -1;
    watch_set(&c->watch, 0);
    if (error == 0)
        c->fd = -1;
    connect_cancel(c);
    c->done(c->context, fd, error);
}

static void on_hook(void *context)
{
    struct connect *c = context;
    finish(c, c->error);
}

static void on_ready(void *context, unsigned what)
{
    struct connect *c = context;
    int error = 0;
    socklen_t len = sizeof error;
    (void)what;
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    finish(c, error);
}

static void on_timer(void *context)
{
    finish(context, ETIMEDOUT);
}

/* 0 where it is connected at once, EINPROGRESS, or what is wrong. */
static int begin(struct connect *c, const struct socket_address *to,
                 const struct socket_address *from)
{
    c->fd = socket(to->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        return errno;
    if (to->any.sa_family != AF_UNIX) {
        socket_set_no_delay(c->fd);
        if (from && bind(c->fd, &from->any, from->len) != 0)
            return errno;
    }
    return connect(c->fd, &to->any, to->len) == 0 ? 0 : errno;
}

void connect_start(struct connect *c, struct loop *l, const struct socket_address *to,
                   const struct socket_address *from, int64_t deadline_ms,
                   void (*done)(void *context, int fd, int error), void *context)
{
    *c = (struct connect){.loop = l, .fd = -1, .done = done, .context = context};
    hook_init(&c->hook, on_hook, c);
    timer_init(&c->timer, l, on_timer, c);
    c->error = begin(c, to, from);
    watch_init(&c->watch, l, c->fd, on_ready, c);
    if (c->error != EINPROGRESS) {
        hook_queue(&c->hook, l);
        return;
    }
    watch_set(&c->watch, WATCH_WRITE);
    timer_set(&c->timer, deadline_ms);
}

void connect_cancel(struct connect *c)
{
    if (!c->loop)
        return;
    c->loop = NULL;
    hook_cancel(&c->hook);
    timer_set(&c->timer, NEVER_MS);
    if (c->fd < 0)
        return;
    watch_set(&c->watch, 0);
    close(c->fd);
    c->fd = -1;
}
