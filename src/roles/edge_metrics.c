#include <stdlib.h>

#include "roles/edge_conn.h"

/*
 * The metrics listener: whatever is asked by HTTP (RFC 9112), the answer is all roles' numbers as
 * OpenMetrics text. Meant for loopback.
 */
enum { REQUEST_MAX = 8192, RESPONSE_MAX = 4 * 1024 * 1024, ANSWER_MS = 10000 };

struct edge_metrics {
    struct edge_conn *conn;
    struct buf request;
    struct buf texts; /* of all, as they came */
    struct buf response;
    struct question *questions;
    bool asked;
    bool over;
    int64_t deadline_ms;
};

struct question {
    struct question *next;
    struct edge_metrics *asker;
    struct channel *channel;
    uint32_t call;
};

static void respond(struct edge_metrics *m)
{
    struct buf body;
    buf_init(&body, RESPONSE_MAX);
    metrics_regroup(buf_str(&m->texts), &body);
    metrics_end(&body);
    buf_printf(&m->response,
               "HTTP/1.1 200 OK\r\n"
               "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"
               "Content-Length: %zu\r\nConnection: close\r\n\r\n",
               body.len);
    buf_append_str(&m->response, buf_str(&body));
    buf_release(&body);
    m->over = true;
}

static void free_question(struct question *q)
{
    struct question **at = &q->asker->questions;
    while (*at != q)
        at = &(*at)->next;
    *at = q->next;
    free(q);
}

static void take_text(struct question *q, const struct str *text)
{
    struct edge_metrics *m = q->asker;
    free_question(q);
    if (text)
        buf_append_str(&m->texts, *text);
    if (!m->questions) {
        respond(m);
        edge_conn_run(m->conn);
    }
}

static void on_numbers(void *context, enum status_code status, const struct ipc_metrics_out *out)
{
    take_text(context, status == STATUS_OK ? &out->text : NULL);
}

static void on_edges_numbers(void *context, enum status_code status,
                             const struct ipc_edges_metrics_out *out)
{
    take_text(context, status == STATUS_OK ? &out->text : NULL);
}

void edge_set_gauges(void *state)
{
    struct edge *edge = state;
    struct metrics *own = role_metrics(edge->role);
    metric_set(metrics_get(own, METRIC_GAUGE, "postern_edge_connections_open",
                           "Connections of the network that are open.", NULL, NULL),
               edge->connection_count);
    metric_set(metrics_get(own, METRIC_GAUGE, "postern_edge_bodies_bytes",
                           "Bytes of messages that are arriving, held in memory.", NULL, NULL),
               edge_counts_own_bodies(edge->counts));
}

/* Who cannot be asked now is left out. */
static void ask(struct edge_metrics *m, struct channel *whom, bool warden)
{
    struct question *q = calloc(1, sizeof *q);
    if (!q)
        return;
    *q = (struct question){.next = m->questions, .asker = m, .channel = whom};
    m->questions = q;
    q->call = warden ? ipc_edges_metrics_call(whom, on_edges_numbers, q)
                     : ipc_metrics_call(whom, on_numbers, q);
    if (q->call == 0)
        free_question(q);
}

static void ask_all(struct edge_metrics *m)
{
    static const enum ipc_role roles[] = {ROLE_MAILROOM, ROLE_KEEPER, ROLE_VAULT, ROLE_COURIER};
    struct role *self = m->conn->edge->role;
    m->asked = true;
    edge_set_gauges(m->conn->edge);
    metrics_print(role_metrics(self), &m->texts);
    ask(m, role_warden(self), true);
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        unsigned index = 0;
        for (struct channel *ch; (ch = role_next_peer(self, roles[i], &index));)
            ask(m, ch, false);
    }
    if (!m->questions)
        respond(m);
}

static void forget_questions(struct edge_metrics *m)
{
    while (m->questions) {
        channel_cancel(m->questions->channel, m->questions->call);
        free_question(m->questions);
    }
}

static bool metrics_open(struct edge_conn *conn, struct now now)
{
    struct edge_metrics *m = calloc(1, sizeof *m);
    if (!m)
        return false;
    m->conn = conn;
    m->deadline_ms = now.mono_ms + ANSWER_MS;
    buf_init(&m->request, REQUEST_MAX);
    buf_init(&m->texts, RESPONSE_MAX);
    buf_init(&m->response, RESPONSE_MAX + 1024);
    conn->session = m;
    return true;
}

static void metrics_close(struct edge_conn *conn)
{
    struct edge_metrics *m = conn->session;
    forget_questions(m);
    buf_release(&m->request);
    buf_release(&m->texts);
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
        ask_all(m);
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

/* Who has not answered by now is left out, once; then the client has had its time. */
static void metrics_tick(struct edge_conn *conn, struct now now)
{
    struct edge_metrics *m = conn->session;
    if (!m->questions) {
        edge_conn_abort(conn, "timed out");
        return;
    }
    forget_questions(m);
    respond(m);
    m->deadline_ms = now.mono_ms + ANSWER_MS;
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
    .busy = STR("HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\n"),
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
