#include <stdlib.h>

#include "roles/edge_conn.h"

/*
 * The metrics listener: whatever is asked by HTTP (RFC 9112), the answer is all roles' numbers as
 * OpenMetrics text. Meant for loopback.
 */
enum { REQUEST_MAX = 8192, RESPONSE_MAX = 1024 * 1024, ANSWER_MS = 10000, ROLES_ASKED = 4 };

struct edge_metrics {
    struct edge_conn *conn;
    struct buf request;
    struct buf body;
    struct buf response;
    struct question {
        struct edge_metrics *asker;
        struct channel *channel;
        uint32_t call;
    } questions[ROLES_ASKED];
    unsigned waiting;
    bool asked;
    bool over;
    int64_t deadline_ms;
};

static void respond(struct edge_metrics *m)
{
    metrics_end(&m->body);
    buf_printf(&m->response,
               "HTTP/1.1 200 OK\r\n"
               "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"
               "Content-Length: %zu\r\nConnection: close\r\n\r\n",
               m->body.len);
    buf_append_str(&m->response, buf_str(&m->body));
    m->over = true;
}

static void on_numbers(void *context, enum status_code status, const struct ipc_metrics_out *out)
{
    struct question *q = context;
    struct edge_metrics *m = q->asker;
    q->call = 0;
    if (status == STATUS_OK)
        buf_append_str(&m->body, out->text);
    if (--m->waiting == 0) {
        respond(m);
        edge_conn_run(m->conn);
    }
}

/* What is a state, not a count, is looked at when somebody asks. */
static void set_gauges(struct edge *edge)
{
    struct metrics *own = role_metrics(edge->role);
    metric_set(metrics_get(own, METRIC_GAUGE, "postern_edge_connections_open",
                           "Connections of the network that are open.", NULL, NULL),
               edge->connection_count);
    metric_set(metrics_get(own, METRIC_GAUGE, "postern_edge_bodies_bytes",
                           "Bytes of messages that are arriving, held in memory.", NULL, NULL),
               edge->bodies_in_flight_size);
}

static void ask(struct edge_metrics *m)
{
    struct edge *edge = m->conn->edge;
    struct channel *channels[ROLES_ASKED] = {edge_mailroom(edge, 0), edge->keeper, edge->vault,
                                             edge->courier};
    m->asked = true;
    set_gauges(edge);
    metrics_print(role_metrics(edge->role), &m->body);
    for (size_t i = 0; i < ROLES_ASKED; i++) {
        struct question *q = &m->questions[i];
        q->asker = m;
        q->channel = channels[i];
        q->call = ipc_metrics_call(q->channel, on_numbers, q);
        m->waiting += q->call != 0;
    }
    if (m->waiting == 0)
        respond(m);
}

static bool metrics_open(struct edge_conn *conn, struct now now)
{
    struct edge_metrics *m = calloc(1, sizeof *m);
    if (!m)
        return false;
    m->conn = conn;
    m->deadline_ms = now.mono_ms + ANSWER_MS;
    buf_init(&m->request, REQUEST_MAX);
    buf_init(&m->body, RESPONSE_MAX);
    buf_init(&m->response, RESPONSE_MAX + 1024);
    conn->session = m;
    return true;
}

static void metrics_close(struct edge_conn *conn)
{
    struct edge_metrics *m = conn->session;
    for (size_t i = 0; i < ROLES_ASKED; i++)
        if (m->questions[i].call != 0)
            channel_cancel(m->questions[i].channel, m->questions[i].call);
    buf_release(&m->request);
    buf_release(&m->body);
    buf_release(&m->response);
    free(m);
    conn->session = NULL;
}

static size_t metrics_input(struct edge_conn *conn, struct str bytes, struct now now)
{
    struct edge_metrics *m = conn->session;
    (void)now;
    if (m->asked)
        return bytes.len;
    if (!buf_append_str(&m->request, bytes))
        m->over = true;
    else if (str_find(buf_str(&m->request), STR("\r\n\r\n")) >= 0)
        ask(m);
    return bytes.len;
}

static struct str metrics_output(struct edge_conn *conn)
{
    return buf_str(&((struct edge_metrics *)conn->session)->response);
}

static void metrics_output_done(struct edge_conn *conn, size_t n)
{
    buf_consume(&((struct edge_metrics *)conn->session)->response, n);
}

static bool metrics_act(struct edge_conn *conn, struct now now)
{
    struct edge_metrics *m = conn->session;
    (void)now;
    if (!m->over)
        return false;
    m->over = false;
    edge_conn_close(conn, "answered");
    return true;
}

static int64_t metrics_deadline(struct edge_conn *conn)
{
    return ((struct edge_metrics *)conn->session)->deadline_ms;
}

static void metrics_tick(struct edge_conn *conn, struct now now)
{
    (void)now;
    edge_conn_abort(conn, "timed out");
}

static void metrics_tls_started(struct edge_conn *conn, struct now now)
{
    (void)conn;
    (void)now;
}

static void metrics_peer_gone(struct edge_conn *conn, struct now now)
{
    edge_conn_abort(conn, "closed by peer");
    (void)now;
}

static void metrics_shutdown(struct edge_conn *conn, struct now now)
{
    edge_conn_abort(conn, "server stops");
    (void)now;
}

const struct edge_protocol edge_protocol_metrics = {
    .name = "metrics",
    .busy = {"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\n", 57},
    .open = metrics_open,
    .free = metrics_close,
    .input = metrics_input,
    .output = metrics_output,
    .output_done = metrics_output_done,
    .act = metrics_act,
    .deadline = metrics_deadline,
    .tick = metrics_tick,
    .tls_started = metrics_tls_started,
    .peer_gone = metrics_peer_gone,
    .shutdown = metrics_shutdown,
};
