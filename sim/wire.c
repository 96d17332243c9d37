#include "sim/wire.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/bug.h"

enum { OUT_MAX = 4 * 1024 * 1024, HEARD_MAX = 16 * 1024 * 1024 };

void wire_init(struct wire *w, struct world *world)
{
    *w = (struct wire){.world = world, .number = ++world->wires, .fd = -1};
    buf_init(&w->out, OUT_MAX);
    buf_init(&w->heard, HEARD_MAX);
}

void wire_release(struct wire *w)
{
    wire_drop(w);
    buf_release(&w->out);
    buf_release(&w->heard);
}

void wire_drop(struct wire *w)
{
    SSL_free(w->ssl);
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
    w->ssl = NULL;
    w->shaking = w->deaf = false;
    buf_clear(&w->out);
    buf_clear(&w->heard);
}

static bool tls_at_once(enum world_listener listener)
{
    return listener == WORLD_IMAPS || listener == WORLD_POP3S || listener == WORLD_SUBMISSIONS;
}

bool wire_open(struct wire *w, enum world_listener listener)
{
    wire_drop(w);
    w->fd = world_connect(w->world, listener);
    if (w->fd >= 0 && tls_at_once(listener))
        wire_start_tls(w);
    return w->fd >= 0;
}

/* What came in clear behind the answer would be somebody else's. */
void wire_start_tls(struct wire *w)
{
    static SSL_CTX *context;
    if (!context)
        context = SSL_CTX_new(TLS_client_method());
    w->ssl = SSL_new(context);
    invariant(w->ssl && SSL_set_fd(w->ssl, w->fd) == 1);
    SSL_set_connect_state(w->ssl);
    w->shaking = true;
    buf_clear(&w->heard);
}

/* For who wants to see it (WORLD_LOG): the first of what moved. */
static void show(const struct wire *w, char way, const char *ptr, size_t len)
{
    enum { SHOWN = 300 };
    if (w->world->log_fd == STDERR_FILENO)
        fprintf(stderr, "%u%c %.*s%s\n", w->number, way, (int)(len < SHOWN ? len : SHOWN), ptr,
                len < SHOWN ? "" : "...");
}

/* True where it may go on later. */
static bool only_waits(struct wire *w, int ret)
{
    int error = SSL_get_error(w->ssl, ret);
    ERR_clear_error();
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

static bool send_some(struct wire *w, size_t most)
{
    size_t len = w->out.len < most ? w->out.len : most;
    if (len == 0)
        return true;
    if (w->ssl) {
        int ret = SSL_write(w->ssl, w->out.ptr, (int)len);
        if (ret > 0)
            show(w, '>', w->out.ptr, (size_t)ret);
        if (ret > 0)
            buf_consume(&w->out, (size_t)ret);
        return ret > 0 || only_waits(w, ret);
    }
    ssize_t n = send(w->fd, w->out.ptr, len, MSG_NOSIGNAL);
    if (n > 0)
        show(w, '>', w->out.ptr, (size_t)n);
    if (n > 0)
        buf_consume(&w->out, (size_t)n);
    return n > 0 || errno == EAGAIN;
}

static bool receive_some(struct wire *w)
{
    char piece[16 * 1024];
    for (;;) {
        ssize_t n =
            w->ssl ? SSL_read(w->ssl, piece, sizeof piece) : recv(w->fd, piece, sizeof piece, 0);
        if (n > 0)
            show(w, '<', piece, (size_t)n);
        if (n > 0)
            invariant(buf_append(&w->heard, piece, (size_t)n));
        else
            return w->ssl ? only_waits(w, (int)n) : n < 0 && errno == EAGAIN;
    }
}

static bool shake(struct wire *w)
{
    int ret = SSL_do_handshake(w->ssl);
    w->shaking = ret != 1;
    return ret == 1 || only_waits(w, ret);
}

/* What came before the end is still heard. */
bool wire_move(struct wire *w, size_t most)
{
    if (w->fd < 0)
        return false;
    ERR_clear_error();
    bool good = !w->shaking || shake(w);
    if (good && !w->shaking)
        good = send_some(w, most);
    if (!w->shaking && !w->deaf)
        good = receive_some(w) && good;
    if (good)
        return true;
    SSL_free(w->ssl);
    close(w->fd);
    w->ssl = NULL;
    w->fd = -1;
    return false;
}

bool wire_line(struct wire *w, struct str *ret_line, size_t *ret_size)
{
    ptrdiff_t end = str_find(buf_str(&w->heard), STR("\r\n"));
    if (end < 0)
        return false;
    *ret_line = str_sub(buf_str(&w->heard), 0, (size_t)end);
    *ret_size = (size_t)end + 2;
    return true;
}
