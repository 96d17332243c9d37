#include "io/stream.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/bug.h"
#include "base/limits.h"

/* What all streams read into. A stream's bytes are used up, or moved into its unread, in time. */
static char scratch[LIMIT_CHUNK_SIZE];

static void update_watch(struct stream *s)
{
    unsigned interest = 0;
    if (s->broken)
        interest = 0;
    else if (s->handshaking)
        interest = s->ssl_wants_write ? WATCH_WRITE : WATCH_READ;
    else
        interest = (s->reading ? WATCH_READ : 0) |
                   (s->write_blocked || s->ssl_wants_write ? WATCH_WRITE : 0);
    watch_set(&s->watch, interest);
}

static enum stream_result broken(struct stream *s)
{
    s->broken = true;
    s->handshaking = false;
    ERR_clear_error();
    update_watch(s);
    return STREAM_BROKEN;
}

/* What an SSL call that did not succeed means. */
static enum stream_result ssl_result(struct stream *s, int ret)
{
    int error = SSL_get_error(s->ssl, ret);
    s->ssl_wants_write = error == SSL_ERROR_WANT_WRITE;
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
        update_watch(s);
        return STREAM_BLOCKED;
    }
    if (error == SSL_ERROR_ZERO_RETURN)
        return STREAM_EOF;
    return broken(s);
}

/* The peer is gone, or going: in clear what it said before that is still to be had. */
static enum stream_result write_failed(struct stream *s)
{
    s->unheard = true;
    s->drained = s->write_blocked = false;
    update_watch(s);
    return STREAM_BROKEN;
}

/* True where the handshake is over, well or not. */
static bool go_on_shaking_hands(struct stream *s)
{
    ERR_clear_error();
    int ret = SSL_do_handshake(s->ssl);
    if (ret != 1) {
        enum stream_result result = ssl_result(s, ret);
        if (result == STREAM_EOF) /* nothing can be read behind half a handshake */
            broken(s);
        return result != STREAM_BLOCKED;
    }
    s->handshaking = false;
    s->ssl_wants_write = false;
    update_watch(s);
    return true;
}

static void watch_fired(void *context, unsigned what)
{
    struct stream *s = context;
    s->drained = false;
    if (what == WATCH_READ && !s->reading && !s->handshaking) {
        update_watch(s);
        return;
    }
    if ((what & WATCH_WRITE) != 0) {
        s->write_blocked = false;
        s->ssl_wants_write = false;
        update_watch(s);
    }
    if (s->handshaking && !go_on_shaking_hands(s))
        return;
    s->ready(s->context);
}

void stream_open(struct stream *s, struct loop *l, int fd, void (*ready)(void *context),
                 void *context)
{
    *s = (struct stream){.fd = fd, .reading = true, .ready = ready, .context = context};
    watch_init(&s->watch, l, fd, watch_fired, s);
    buf_init(&s->unread, LIMIT_CHUNK_SIZE);
    update_watch(s);
}

void stream_close(struct stream *s)
{
    if (s->fd < 0)
        return;
    watch_set(&s->watch, 0);
    if (s->ssl) {
        if (!s->broken && !s->handshaking)
            (void)SSL_shutdown(s->ssl);
        SSL_free(s->ssl);
        ERR_clear_error();
        s->ssl = NULL;
    }
    close(s->fd);
    s->fd = -1;
    s->broken = true;
    buf_release(&s->unread);
}

/* OpenSSL's msg_callback: messages that came, which are not records' heads or data. */
static void count_words(int is_sent, int version, int type, const void *bytes, size_t len, SSL *ssl,
                        void *context)
{
    struct stream *s = context;
    (void)version, (void)bytes, (void)len, (void)ssl;
    if (!is_sent && (type == SSL3_RT_HANDSHAKE || type == SSL3_RT_ALERT))
        s->tls_words++;
}

/* OpenSSL comes back after each message that is no data, and there may be more behind it. */
static enum stream_result read_tls(struct stream *s, char *at, size_t max, size_t *ret_len)
{
    while (s->tls_words <= LIMIT_TLS_MESSAGES) {
        unsigned before = s->tls_words;
        ERR_clear_error();
        int ret = SSL_read_ex(s->ssl, at, max, ret_len);
        if (ret == 1)
            return STREAM_OK;
        if (s->tls_words == before || SSL_get_error(s->ssl, ret) != SSL_ERROR_WANT_READ)
            return ssl_result(s, ret);
    }
    return broken(s);
}

/* From the socket, or from under TLS, into the scratch buffer: from `at` on, up to `max`. */
static enum stream_result read_some(struct stream *s, size_t at, size_t max, size_t *ret_len)
{
    if (s->ssl)
        return read_tls(s, scratch + at, max - at, ret_len);
    if (s->drained)
        return STREAM_BLOCKED;
    ssize_t n;
    do
        n = recv(s->fd, scratch + at, max - at, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? STREAM_BLOCKED : broken(s);
    *ret_len = (size_t)n;
    s->drained = n > 0 && (size_t)n < max - at;
    return n > 0 ? STREAM_OK : STREAM_EOF;
}

enum stream_result stream_read(struct stream *s, struct str *ret_bytes)
{
    if (s->broken)
        return STREAM_BROKEN;
    if (s->handshaking)
        return STREAM_BLOCKED;
    size_t len;
    if (s->unread.len > 0) {
        len = s->unread.len;
        memcpy(scratch, s->unread.ptr, len);
        buf_release(&s->unread);
    } else {
        enum stream_result result = read_some(s, 0, sizeof scratch, &len);
        if (result != STREAM_OK)
            return result;
    }
    *ret_bytes = str_make(scratch, len);
    return STREAM_OK;
}

enum stream_result stream_read_more(struct stream *s, size_t max, struct str *ret_bytes)
{
    if (s->broken)
        return STREAM_BROKEN;
    if (s->handshaking)
        return STREAM_BLOCKED;
    size_t before = s->unread.len, len;
    invariant(before < max && max <= sizeof scratch);
    enum stream_result result = read_some(s, before, max, &len);
    if (result != STREAM_OK)
        return result;
    if (before > 0)
        memcpy(scratch, s->unread.ptr, before);
    buf_release(&s->unread);
    *ret_bytes = str_make(scratch, before + len);
    return STREAM_OK;
}

bool stream_unread(struct stream *s, struct str rest)
{
    return rest.len == 0 || buf_append_str(&s->unread, rest);
}

void stream_forget(struct str bytes)
{
    invariant(bytes.ptr == scratch && bytes.len <= sizeof scratch);
    explicit_bzero(scratch, bytes.len);
}

void stream_hold_secrets(struct stream *s)
{
    s->unread.secret = true;
}

void stream_set_reading(struct stream *s, bool reading)
{
    s->reading = reading;
    /* Watching ends when bytes come that nobody wants: mostly the owner wants them again before. */
    if (reading)
        update_watch(s);
}

enum stream_result stream_write(struct stream *s, struct str bytes, size_t *ret_written)
{
    *ret_written = 0;
    if (s->broken || s->unheard)
        return STREAM_BROKEN;
    if (s->handshaking)
        return STREAM_BLOCKED;
    if (bytes.len == 0)
        return STREAM_OK;
    if (s->ssl) {
        ERR_clear_error();
        int ret = SSL_write_ex(s->ssl, bytes.ptr, bytes.len, ret_written);
        if (ret == 1)
            return STREAM_OK;
        enum stream_result result = ssl_result(s, ret);
        return result == STREAM_EOF ? broken(s) : result;
    }
    ssize_t n;
    do
        n = send(s->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
        return write_failed(s);
    if (n >= 0) {
        *ret_written = (size_t)n;
        return STREAM_OK;
    }
    s->write_blocked = true;
    update_watch(s);
    return STREAM_BLOCKED;
}

void stream_finish(struct stream *s)
{
    if (s->broken)
        return;
    if (s->ssl && !s->handshaking)
        (void)SSL_shutdown(s->ssl);
    ERR_clear_error();
    shutdown(s->fd, SHUT_WR);
}

static bool begin_tls(struct stream *s, SSL *ssl)
{
    buf_release(&s->unread);
    s->ssl = ssl;
    if (!s->ssl)
        return false;
    SSL_set_msg_callback(ssl, count_words);
    SSL_set_msg_callback_arg(ssl, s);
    s->handshaking = true;
    update_watch(s);
    return true;
}

bool stream_start_tls(struct stream *s, struct tls_server *t)
{
    return begin_tls(s, tls_accept(t, s->fd));
}

bool stream_start_tls_client(struct stream *s, struct tls_client *t,
                             const struct tls_demand *demand)
{
    if (!begin_tls(s, tls_connect(t, demand, s->fd)))
        return false;
    s->ssl_wants_write = true; /* the client speaks first */
    update_watch(s);
    return true;
}
