#include "roles/edge_pump.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "roles/edge_conn.h"

enum { PIECE_SIZE = 16384, TURNS_MAX = 16 };

struct edge_pump {
    struct edge_conn *conn;
    struct watch inner;
    struct hook again; /* the next turn goes on where this one moved its share */
    int fd;
    struct buf out;     /* from the mailroom, not yet written to the client */
    bool client_done;   /* the client sends no more */
    bool mailroom_done; /* the mailroom sends no more */
    bool inner_full;    /* the mailroom does not take more now */
};

static void on_again(void *context)
{
    edge_conn_run(((struct edge_pump *)context)->conn);
}

static void on_inner(void *context, unsigned what)
{
    struct edge_pump *p = context;
    if (what & WATCH_WRITE)
        p->inner_full = false;
    edge_conn_run(p->conn);
}

void edge_pump_start(struct edge_conn *conn, int fd)
{
    struct edge_pump *p = calloc(1, sizeof *p);
    if (!p) {
        close(fd);
        edge_conn_abort(conn, "out of memory");
        return;
    }
    p->conn = conn;
    p->fd = fd;
    buf_init(&p->out, PIECE_SIZE);
    watch_init(&p->inner, role_loop(conn->edge->role), fd, on_inner, p);
    hook_init(&p->again, on_again, p);
    conn->pump = p;
    conn->state = EDGE_CONN_PUMP;
}

void edge_pump_free(struct edge_pump *p)
{
    if (!p)
        return;
    watch_set(&p->inner, 0);
    hook_cancel(&p->again);
    close(p->fd);
    buf_release(&p->out);
    free(p);
}

/* True where anything moved towards the mailroom. */
static bool inwards(struct edge_pump *p)
{
    struct str bytes;
    if (p->client_done || p->inner_full)
        return false;
    enum stream_result result = stream_read(&p->conn->stream, &bytes);
    if (result == STREAM_BLOCKED)
        return false;
    if (result != STREAM_OK) {
        p->client_done = true;
        shutdown(p->fd, SHUT_WR);
        if (result == STREAM_BROKEN)
            edge_conn_abort(p->conn, "connection broken");
        return false;
    }
    ssize_t n = send(p->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN) {
        edge_conn_abort(p->conn, "mailroom gone");
        return false;
    }
    bytes = str_skip(bytes, n > 0 ? (size_t)n : 0);
    p->inner_full = bytes.len > 0;
    if (p->inner_full && !stream_unread(&p->conn->stream, bytes))
        edge_conn_abort(p->conn, "out of memory");
    return n > 0;
}

static bool write_out(struct edge_pump *p, struct str bytes, size_t *ret_written)
{
    *ret_written = 0;
    while (bytes.len > 0) {
        size_t n = 0;
        enum stream_result result = stream_write(&p->conn->stream, bytes, &n);
        if (result == STREAM_BROKEN) {
            edge_conn_abort(p->conn, "connection broken");
            return false;
        }
        if (n == 0)
            break;
        *ret_written += n;
        bytes = str_skip(bytes, n);
    }
    return true;
}

/* True where anything moved towards the client. */
static bool outwards(struct edge_pump *p)
{
    static char piece[PIECE_SIZE];
    size_t written;
    if (p->out.len > 0) {
        if (!write_out(p, buf_str(&p->out), &written))
            return false;
        buf_consume(&p->out, written);
        if (p->out.len > 0)
            return written > 0;
        buf_release(&p->out);
    }
    if (p->mailroom_done)
        return false;
    ssize_t n = recv(p->fd, piece, sizeof piece, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return false;
    p->mailroom_done = n <= 0;
    if (n <= 0)
        return false;
    struct str bytes = str_make(piece, (size_t)n);
    if (!write_out(p, bytes, &written))
        return false;
    if (!buf_append_str(&p->out, str_skip(bytes, written)))
        edge_conn_abort(p->conn, "out of memory");
    return true;
}

void edge_pump_run(struct edge_pump *p)
{
    struct edge_conn *conn = p->conn;
    bool moved = true;
    for (int turns = 0; moved && turns < TURNS_MAX && conn->state == EDGE_CONN_PUMP; turns++) {
        moved = inwards(p);
        if (conn->state == EDGE_CONN_PUMP)
            moved = outwards(p) || moved;
    }
    if (moved)
        hook_queue(&p->again, role_loop(conn->edge->role));
    if (conn->state == EDGE_CONN_PUMP && p->mailroom_done && p->out.len == 0)
        edge_conn_close(conn, "session ended");
    if (conn->state != EDGE_CONN_PUMP) {
        watch_set(&p->inner, 0);
        if (conn->state == EDGE_CONN_CLOSING)
            conn->run_again = true;
        return;
    }
    watch_set(&p->inner, (p->out.len == 0 && !p->mailroom_done ? WATCH_READ : 0) |
                             (p->inner_full ? WATCH_WRITE : 0));
    stream_set_reading(&conn->stream, !p->inner_full && !p->client_done);
}
