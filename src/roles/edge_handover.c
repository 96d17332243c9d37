#include "roles/edge_handover.h"

#include <unistd.h>

#include "roles/edge_conn.h"

void edge_handover_init(struct edge_handover *h, struct edge_conn *conn, edge_handed_over *done,
                        void *context)
{
    *h = (struct edge_handover){.conn = conn, .fd = -1, .done = done, .context = context};
}

static void on_handover(void *context, enum status_code status, const struct ipc_handover_out *out)
{
    struct edge_handover *h = context;
    h->call = 0;
    if (status == STATUS_OK)
        status = out->status;
    if (status != STATUS_OK)
        edge_handover_release(h);
    h->done(h->context, status);
}

bool edge_handover_start(struct edge_handover *h, const struct edge_identity *who)
{
    struct edge_conn *conn = h->conn;
    struct buf tls;
    int pair[2];
    if (socket_pair(pair) != STATUS_OK)
        return false;
    buf_init(&tls, 128);
    edge_conn_tls_words(conn, &tls);
    struct ipc_handover_in in = {
        .protocol = (uint8_t)conn->kind,
        .account = who->account,
        .login = buf_str(&who->login),
        .capability = buf_str(&who->capability),
        .peer = str_from_c(conn->peer),
        .tls = buf_str(&tls),
        .trace_id = str_from_c(conn->id),
        .fd = pair[1],
    };
    h->fd = pair[0];
    h->channel = edge_mailroom(conn->edge, who->account);
    h->call = ipc_handover_call(h->channel, &in, on_handover, h);
    buf_release(&tls);
    if (h->call == 0)
        edge_handover_release(h);
    return h->call != 0;
}

int edge_handover_take(struct edge_handover *h)
{
    int fd = h->fd;
    h->fd = -1;
    return fd;
}

void edge_handover_release(struct edge_handover *h)
{
    if (h->call != 0)
        channel_cancel(h->channel, h->call);
    h->call = 0;
    if (h->fd >= 0)
        close(h->fd);
    h->fd = -1;
}
