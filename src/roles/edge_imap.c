#include <stdlib.h>

#include "base/bug.h"
#include "base/limits.h"
#include "codec/base64.h"
#include "proto/imap/server.h"
#include "roles/edge_conn.h"
#include "roles/edge_handover.h"
#include "roles/edge_login.h"
#include "roles/edge_pump.h"

/* An IMAP connection up to its login; then a mailroom has it. */
struct edge_imap {
    struct edge_conn *conn;
    struct imap_config config; /* the listener's, with this connection's TLS */
    struct imap_server *engine;
    struct edge_identity who;
    struct edge_login login;
    struct edge_handover handover;
    struct buf last_data; /* what the mechanism says along with success, in base64 */
    int64_t login_deadline_ms;
    uint64_t token;
};

static void answer_login(struct edge_imap *s, enum imap_code code)
{
    uint64_t token = s->token;
    s->token = 0;
    imap_answer_auth(s->engine, token, code, buf_str(&s->last_data));
    if (code == IMAP_AUTHENTICATIONFAILED &&
        s->login.failures >= s->conn->settings->config.limits.login_failures)
        imap_server_shutdown(s->engine, "Too many failed logins");
}

static void on_handed_over(void *context, enum status_code status)
{
    struct edge_imap *s = context;
    answer_login(s, status == STATUS_OK       ? IMAP_OK
                    : status == STATUS_DENIED ? IMAP_EXPIRED
                                              : IMAP_UNAVAILABLE);
    edge_conn_run(s->conn);
}

static void challenge(struct edge_imap *s, struct str data)
{
    struct buf encoded;
    uint64_t token = s->token;
    s->token = 0;
    buf_init_secret(&encoded, LIMIT_SMTP_AUTH_LINE_SIZE);
    base64_encode(&encoded, data);
    imap_answer_auth_challenge(s->engine, token, buf_str(&encoded));
    buf_wipe(&encoded);
}

static void on_login(void *context, enum edge_login_outcome outcome, struct str data)
{
    struct edge_imap *s = context;
    struct edge_conn *conn = s->conn;
    buf_clear(&s->last_data);
    if (outcome == EDGE_LOGIN_CHALLENGE) {
        challenge(s, data);
    } else if (outcome == EDGE_LOGIN_SUCCESS) {
        edge_login_log(&s->login, "login");
        base64_encode(&s->last_data, data);
        if (edge_handover_start(&s->handover, &s->who))
            return;
        answer_login(s, IMAP_UNAVAILABLE);
    } else {
        edge_login_log(&s->login, "login-failed");
        answer_login(s, outcome == EDGE_LOGIN_WRONG       ? IMAP_AUTHENTICATIONFAILED
                        : outcome == EDGE_LOGIN_MALFORMED ? IMAP_BADSASL
                                                          : IMAP_UNAVAILABLE);
    }
    edge_conn_run(conn);
}

/* SASL messages come as base64; RFC 3501 §6.2.2: a BAD where they are not. */
static bool ask_sasl(struct edge_imap *s, const struct imap_event *event, bool *ret_malformed)
{
    struct buf data;
    bool asked = false;
    buf_init_secret(&data, LIMIT_SMTP_AUTH_LINE_SIZE);
    *ret_malformed = !base64_decode(&data, event->auth.data);
    if (*ret_malformed)
        edge_login_abort(&s->login);
    else if (event->kind == IMAP_EVENT_AUTH_START)
        asked = edge_login_start(&s->login, event->auth.mechanism, event->auth.has_data,
                                 buf_str(&data));
    else
        asked = edge_login_step(&s->login, buf_str(&data));
    buf_wipe(&data);
    return asked;
}

static void ask_login(struct edge_imap *s, const struct imap_event *event)
{
    bool malformed = false;
    s->token = event->token;
    buf_clear(&s->last_data);
    bool asked = event->kind == IMAP_EVENT_LOGIN
                     ? edge_login_password(&s->login, event->login.user, event->login.password)
                     : ask_sasl(s, event, &malformed);
    if (!asked)
        answer_login(s, malformed ? IMAP_BADSASL : IMAP_UNAVAILABLE);
}

static bool imap_open(struct edge_conn *conn, struct now now)
{
    struct edge_imap *s = calloc(1, sizeof *s);
    if (!s)
        return false;
    s->conn = conn;
    s->config = edge_conn_service(conn)->imap;
    s->config.tls_active = edge_conn_has_tls(conn);
    if (s->config.tls_active || s->config.clear_login)
        s->config.mechanisms = edge_login_mechanisms(s->config.tls_active);
    s->engine = imap_server_create(&s->config, now);
    s->login_deadline_ms = now.mono_ms + (int64_t)conn->settings->config.limits.login_ms;
    buf_init_secret(&s->last_data, LIMIT_SMTP_AUTH_LINE_SIZE);
    edge_identity_init(&s->who);
    edge_login_init(&s->login, conn, &s->who, on_login, s);
    edge_handover_init(&s->handover, conn, on_handed_over, s);
    conn->session = s;
    return s->engine != NULL;
}

static void imap_free(struct edge_conn *conn)
{
    struct edge_imap *s = conn->session;
    if (!s)
        return;
    edge_login_abort(&s->login);
    edge_handover_release(&s->handover);
    edge_identity_release(&s->who);
    imap_server_free(s->engine);
    buf_wipe(&s->last_data);
    free(s);
    conn->session = NULL;
}

static bool imap_act(struct edge_conn *conn, struct now now)
{
    struct edge_imap *s = conn->session;
    struct imap_event event;
    (void)now;
    if (!imap_server_next(s->engine, &event))
        return false;
    switch (event.kind) {
    case IMAP_EVENT_LOGIN:
    case IMAP_EVENT_AUTH_START:
    case IMAP_EVENT_AUTH_RESPONSE:
        ask_login(s, &event);
        break;
    case IMAP_EVENT_AUTH_CANCEL:
        edge_login_abort(&s->login);
        break;
    case IMAP_EVENT_STARTTLS:
        edge_conn_start_tls(conn);
        break;
    case IMAP_EVENT_AUTHENTICATED:
        edge_pump_start(conn, edge_handover_take(&s->handover));
        break;
    case IMAP_EVENT_CLOSE:
        edge_conn_close(conn, "ended");
        break;
    default:
        bug("a mailbox's event before login");
    }
    return true;
}

static size_t imap_conn_input(struct edge_conn *conn, struct str bytes, struct now now)
{
    return imap_server_input(((struct edge_imap *)conn->session)->engine, bytes, now);
}

static struct str imap_conn_output(struct edge_conn *conn)
{
    return imap_server_output(((struct edge_imap *)conn->session)->engine);
}

static void imap_conn_output_done(struct edge_conn *conn, size_t n)
{
    imap_server_output_done(((struct edge_imap *)conn->session)->engine, n);
}

/* Until a mailroom has it. */
static bool imap_hears_secrets(const struct edge_conn *conn)
{
    (void)conn;
    return true;
}

static int64_t imap_conn_deadline(struct edge_conn *conn)
{
    struct edge_imap *s = conn->session;
    int64_t engine = imap_server_deadline(s->engine);
    return engine < s->login_deadline_ms ? engine : s->login_deadline_ms;
}

static void imap_conn_tick(struct edge_conn *conn, struct now now)
{
    struct edge_imap *s = conn->session;
    if (now.mono_ms >= s->login_deadline_ms) {
        s->login_deadline_ms = NEVER_MS;
        imap_server_shutdown(s->engine, "Too slow to log in");
    }
    imap_server_tick(s->engine, now);
}

static void imap_conn_tls_started(struct edge_conn *conn, struct now now)
{
    struct edge_imap *s = conn->session;
    (void)now;
    imap_server_tls_started(s->engine, edge_login_mechanisms(true));
}

static void imap_conn_peer_gone(struct edge_conn *conn, struct now now)
{
    (void)now;
    edge_conn_close(conn, "peer gone");
}

static void imap_conn_shutdown(struct edge_conn *conn, struct now now)
{
    (void)now;
    imap_server_shutdown(((struct edge_imap *)conn->session)->engine, "Server shutting down");
}

const struct edge_protocol edge_protocol_imap = {
    .name = "imap",
    .busy = STR("* BYE Too many connections\r\n"),
    .open = imap_open,
    .free = imap_free,
    .input = imap_conn_input,
    .output = imap_conn_output,
    .output_done = imap_conn_output_done,
    .act = imap_act,
    .hears_secrets = imap_hears_secrets,
    .deadline = imap_conn_deadline,
    .tick = imap_conn_tick,
    .tls_started = imap_conn_tls_started,
    .peer_gone = imap_conn_peer_gone,
    .shutdown = imap_conn_shutdown,
};
