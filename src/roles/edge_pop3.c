#include <stdlib.h>

#include "base/bug.h"
#include "base/limits.h"
#include "proto/pop3/server.h"
#include "roles/edge_conn.h"
#include "roles/edge_handover.h"
#include "roles/edge_login.h"
#include "roles/edge_pump.h"

/* A POP3 connection up to its login; then a mailroom has it. */
struct edge_pop3 {
    struct edge_conn *conn;
    struct pop3_server *engine;
    struct edge_identity who;
    struct edge_login login;
    struct edge_handover handover;
    uint64_t token;
};

static void answer_login(struct edge_pop3 *s, enum pop3_login result)
{
    uint64_t token = s->token;
    s->token = 0;
    pop3_answer_login(s->engine, token, result, edge_conn_now(s->conn));
}

static void on_handed_over(void *context, enum status_code status)
{
    struct edge_pop3 *s = context;
    answer_login(s, status == STATUS_OK       ? POP3_LOGIN_OK
                    : status == STATUS_BUSY   ? POP3_LOGIN_IN_USE
                    : status == STATUS_DENIED ? POP3_LOGIN_DENIED
                                              : POP3_LOGIN_TEMPORARY);
    edge_conn_run(s->conn);
}

static void on_login(void *context, enum edge_login_outcome outcome, struct str data)
{
    struct edge_pop3 *s = context;
    struct edge_conn *conn = s->conn;
    if (outcome == EDGE_LOGIN_CHALLENGE) {
        uint64_t token = s->token;
        s->token = 0;
        pop3_answer_challenge(s->engine, token, data, edge_conn_now(conn));
    } else if (outcome == EDGE_LOGIN_SUCCESS) {
        edge_login_log(&s->login, "login");
        if (edge_handover_start(&s->handover, &s->who))
            return;
        answer_login(s, POP3_LOGIN_TEMPORARY);
    } else {
        edge_login_log(&s->login, "login-failed");
        answer_login(s, outcome == EDGE_LOGIN_WRONG       ? POP3_LOGIN_DENIED
                        : outcome == EDGE_LOGIN_MALFORMED ? POP3_LOGIN_MALFORMED
                                                          : POP3_LOGIN_TEMPORARY);
    }
    edge_conn_run(conn);
}

static void ask_login(struct edge_pop3 *s, const struct pop3_event *event)
{
    bool asked = false;
    s->token = event->token;
    if (event->type == POP3_LOGIN)
        asked = edge_login_password(&s->login, text_peek(event->user), event->password);
    else if (event->type == POP3_SASL_START)
        asked = edge_login_start(&s->login, event->mechanism, event->has_data, event->data);
    else
        asked = edge_login_step(&s->login, event->data);
    if (!asked)
        answer_login(s, POP3_LOGIN_TEMPORARY);
}

static bool pop3_open(struct edge_conn *conn, struct now now)
{
    struct edge_pop3 *s = calloc(1, sizeof *s);
    if (!s)
        return false;
    s->conn = conn;
    s->engine = pop3_server_new_login(&edge_conn_service(conn)->pop3, edge_conn_has_tls(conn), now);
    edge_identity_init(&s->who);
    edge_login_init(&s->login, conn, &s->who, on_login, s);
    edge_handover_init(&s->handover, conn, on_handed_over, s);
    conn->session = s;
    return s->engine != NULL;
}

static void pop3_free(struct edge_conn *conn)
{
    struct edge_pop3 *s = conn->session;
    if (!s)
        return;
    edge_login_abort(&s->login);
    edge_handover_release(&s->handover);
    edge_identity_release(&s->who);
    pop3_server_free(s->engine);
    free(s);
    conn->session = NULL;
}

static bool pop3_act(struct edge_conn *conn, struct now now)
{
    struct edge_pop3 *s = conn->session;
    struct pop3_event event;
    (void)now;
    if (!pop3_next(s->engine, &event))
        return false;
    switch (event.type) {
    case POP3_LOGIN:
    case POP3_SASL_START:
    case POP3_SASL_DATA:
        ask_login(s, &event);
        break;
    case POP3_SASL_ABORTED:
        edge_login_abort(&s->login);
        break;
    case POP3_STARTTLS:
        edge_conn_start_tls(conn);
        break;
    case POP3_HANDOVER:
        edge_pump_start(conn, edge_handover_take(&s->handover));
        break;
    case POP3_CLOSE:
        edge_conn_close(conn, event.reason == POP3_CLOSE_QUIT ? "quit" : "ended");
        break;
    case POP3_READ:
    case POP3_UPDATE:
        bug("a maildrop's event before login");
    }
    return true;
}

static size_t pop3_conn_input(struct edge_conn *conn, struct str bytes, struct now now)
{
    return pop3_input(((struct edge_pop3 *)conn->session)->engine, bytes, now);
}

static struct str pop3_conn_output(struct edge_conn *conn)
{
    return pop3_output(((struct edge_pop3 *)conn->session)->engine);
}

static void pop3_conn_output_done(struct edge_conn *conn, size_t n)
{
    pop3_output_done(((struct edge_pop3 *)conn->session)->engine, n);
}

/* Until a mailroom has it. */
static bool pop3_hears_secrets(const struct edge_conn *conn)
{
    (void)conn;
    return true;
}

static int64_t pop3_conn_deadline(struct edge_conn *conn)
{
    return pop3_deadline(((struct edge_pop3 *)conn->session)->engine);
}

static void pop3_conn_tick(struct edge_conn *conn, struct now now)
{
    pop3_tick(((struct edge_pop3 *)conn->session)->engine, now);
}

static void pop3_conn_tls_started(struct edge_conn *conn, struct now now)
{
    pop3_tls_started(((struct edge_pop3 *)conn->session)->engine, now);
}

static void pop3_conn_peer_gone(struct edge_conn *conn, struct now now)
{
    (void)now;
    pop3_peer_gone(((struct edge_pop3 *)conn->session)->engine);
}

static void pop3_conn_shutdown(struct edge_conn *conn, struct now now)
{
    pop3_shutdown(((struct edge_pop3 *)conn->session)->engine, now);
}

const struct edge_protocol edge_protocol_pop3 = {
    .name = "pop3",
    .busy = STR("-ERR [SYS/TEMP] Too many connections\r\n"),
    .open = pop3_open,
    .free = pop3_free,
    .input = pop3_conn_input,
    .output = pop3_conn_output,
    .output_done = pop3_conn_output_done,
    .act = pop3_act,
    .hears_secrets = pop3_hears_secrets,
    .deadline = pop3_conn_deadline,
    .tick = pop3_conn_tick,
    .tls_started = pop3_conn_tls_started,
    .peer_gone = pop3_conn_peer_gone,
    .shutdown = pop3_conn_shutdown,
};
