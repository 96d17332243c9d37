/* The verbs of a connection that speaks SMTP or LMTP, and AUTH. */

#include "roles/edge_smtp.h"

#include <stdlib.h>

#include "base/bug.h"
#include "base/limits.h"

const struct smtp_reply edge_smtp_reply_no_room =
    SMTP_REPLY(452, 4, 3, 1, "Too much mail at once, try again later");
const struct smtp_reply edge_smtp_reply_temporary =
    SMTP_REPLY(451, 4, 3, 0, "Cannot do this now, try again later");
const struct smtp_reply edge_smtp_reply_not_yours =
    SMTP_REPLY(550, 5, 7, 1, "That sender address is not one of yours");
const struct smtp_reply edge_smtp_reply_login_ended = SMTP_REPLY(
    421, 4, 7, 0, "This login has ended: its password was changed, or the account closed");
const struct smtp_reply edge_smtp_reply_usual = {0};

bool edge_smtp_is_submission(const struct edge_smtp *s)
{
    return s->conn->kind == LISTEN_SUBMISSION || s->conn->kind == LISTEN_SUBMISSIONS;
}

bool edge_smtp_is_trusted(const struct edge_smtp *s)
{
    if (s->conn->kind == LISTEN_SENDMAIL)
        return true;
    return s->conn->kind == LISTEN_MX &&
           networks_have(&s->conn->settings->config.relay_from, s->conn->address.octets);
}

uint64_t edge_smtp_take_token(struct edge_smtp *s)
{
    uint64_t token = s->token;
    invariant(token != 0);
    s->token = 0;
    s->call = 0;
    return token;
}

void edge_smtp_answer(struct edge_smtp *s, const struct smtp_reply *reply)
{
    uint64_t token = edge_smtp_take_token(s);
    smtp_server_answer(s->engine, token, *reply, edge_conn_now(s->conn));
}

void edge_smtp_answer_later(struct edge_smtp *s, const struct smtp_reply *reply)
{
    edge_smtp_answer(s, reply);
    edge_conn_run(s->conn);
}

void edge_smtp_let_go(struct edge_smtp *s)
{
    if (!s->held)
        return;
    s->held = false;
    edge_conn_unhold(s->conn);
}

void edge_smtp_drop_message(struct edge_smtp *s)
{
    edge_message_free(s->message);
    s->message = NULL;
    edge_smtp_let_go(s);
}

/* The answer is not wanted any more. */
static void forget_call(struct edge_smtp *s)
{
    if (s->call != 0)
        channel_cancel(s->call_channel, s->call);
    s->call = 0;
}

/* ---- AUTH --------------------------------------------------------------------------------------
 */

static void on_login(void *context, enum edge_login_outcome outcome, struct str data)
{
    struct edge_smtp *s = context;
    struct edge_conn *conn = s->conn;
    struct now now = edge_conn_now(conn);
    uint64_t token = edge_smtp_take_token(s);
    switch (outcome) {
    case EDGE_LOGIN_CHALLENGE:
        smtp_server_answer_challenge(s->engine, token, data, now);
        break;
    case EDGE_LOGIN_SUCCESS:
        edge_login_log(&s->login, "login");
        smtp_server_answer_auth_success(s->engine, token, now);
        break;
    default:
        edge_login_log(&s->login, "login-failed");
        smtp_server_answer_auth_failure(s->engine, token,
                                        outcome == EDGE_LOGIN_WRONG ? SMTP_AUTH_BAD_CREDENTIALS
                                        : outcome == EDGE_LOGIN_MALFORMED ? SMTP_AUTH_MALFORMED
                                                                          : SMTP_AUTH_TEMPORARY,
                                        now);
    }
    edge_conn_run(conn);
}

static void ask_login(struct edge_smtp *s, const struct smtp_event *event, struct now now)
{
    bool asked = event->kind == SMTP_EVENT_AUTH_BEGIN
                     ? edge_login_start(&s->login, event->auth.mechanism, event->auth.initial,
                                        event->auth.data)
                     : edge_login_step(&s->login, event->auth.data);
    if (!asked) {
        s->token = 0;
        smtp_server_answer_auth_failure(s->engine, event->token, SMTP_AUTH_TEMPORARY, now);
    }
}

/* ---- The protocol's verbs -----------------------------------------------------------------------
 */

static bool smtp_open(struct edge_conn *conn, struct now now)
{
    struct edge_smtp *s = calloc(1, sizeof *s);
    if (!s)
        return false;
    s->conn = conn;
    s->engine = smtp_server_new(&edge_conn_service(conn)->smtp, edge_conn_has_tls(conn), now);
    buf_init(&s->asked, 2 * LIMIT_PATH_SIZE);
    buf_init(&s->orcpt, LIMIT_SMTP_COMMAND_SIZE);
    buf_init(&s->envid, LIMIT_SMTP_COMMAND_SIZE);
    buf_init(&s->helo, LIMIT_SMTP_COMMAND_SIZE);
    buf_init(&s->unconfirmed, EDGE_SMTP_KEY_SIZE * conn->settings->config.limits.recipients);
    edge_identity_init(&s->who);
    edge_login_init(&s->login, conn, &s->who, on_login, s);
    conn->session = s;
    if (s->engine && edge_smtp_is_trusted(s))
        smtp_server_trust(s->engine);
    return s->engine != NULL;
}

static void smtp_free(struct edge_conn *conn)
{
    struct edge_smtp *s = conn->session;
    if (!s)
        return;
    forget_call(s);
    edge_login_abort(&s->login);
    edge_message_free(s->message);
    edge_identity_release(&s->who);
    smtp_server_free(s->engine);
    buf_release(&s->asked);
    buf_release(&s->orcpt);
    buf_release(&s->envid);
    buf_release(&s->helo);
    buf_release(&s->unconfirmed);
    free(s);
    conn->session = NULL;
}

static bool smtp_act(struct edge_conn *conn, struct now now)
{
    struct edge_smtp *s = conn->session;
    struct smtp_event event;
    if (!smtp_server_next(s->engine, &event))
        return false;
    if (event.token != 0)
        s->token = event.token;
    switch (event.kind) {
    case SMTP_EVENT_START_TLS:
        edge_conn_start_tls(conn);
        break;
    case SMTP_EVENT_AUTH_BEGIN:
    case SMTP_EVENT_AUTH_RESPONSE:
        ask_login(s, &event, now);
        break;
    case SMTP_EVENT_AUTH_CANCEL:
        edge_login_abort(&s->login);
        break;
    case SMTP_EVENT_SENDER:
        edge_smtp_ask_sender(s, &event.sender);
        break;
    case SMTP_EVENT_RECIPIENT:
        edge_smtp_ask_recipient(s, &event.recipient);
        break;
    case SMTP_EVENT_BODY_START:
        edge_smtp_begin_body(s, &event.body_start, now);
        break;
    case SMTP_EVENT_BODY:
        edge_smtp_take_body(s, event.body);
        break;
    case SMTP_EVENT_BODY_END:
        edge_smtp_end_body(s, now);
        break;
    case SMTP_EVENT_ABORT:
        forget_call(s); /* it was about this message */
        if (!str_empty(event.refused))
            edge_smtp_note_refused(s, event.refused);
        edge_smtp_drop_message(s);
        break;
    case SMTP_EVENT_REPLY_SEEN:
        edge_smtp_confirm(s);
        break;
    case SMTP_EVENT_CLOSE:
        edge_conn_close(conn, smtp_close_reason_name(event.close));
        break;
    }
    return true;
}

static size_t smtp_input(struct edge_conn *conn, struct str bytes, struct now now)
{
    struct edge_smtp *s = conn->session;
    return smtp_server_input(s->engine, bytes, conn->acked, now);
}

static struct str smtp_output(struct edge_conn *conn)
{
    return smtp_server_output(((struct edge_smtp *)conn->session)->engine);
}

static void smtp_output_done(struct edge_conn *conn, size_t n)
{
    smtp_server_output_done(((struct edge_smtp *)conn->session)->engine, n);
}

static bool smtp_asking(const struct edge_conn *conn)
{
    return ((const struct edge_smtp *)conn->session)->token != 0;
}

static bool smtp_hears_secrets(const struct edge_conn *conn)
{
    const struct edge_smtp *s = conn->session;
    return edge_smtp_is_submission(s) && s->who.account == 0;
}

static int64_t smtp_deadline(struct edge_conn *conn)
{
    return smtp_server_deadline(((struct edge_smtp *)conn->session)->engine);
}

static void smtp_tick(struct edge_conn *conn, struct now now)
{
    smtp_server_tick(((struct edge_smtp *)conn->session)->engine, now);
}

static void smtp_tls_started(struct edge_conn *conn, struct now now)
{
    smtp_server_tls_started(((struct edge_smtp *)conn->session)->engine, now);
}

static void smtp_peer_gone(struct edge_conn *conn, struct now now)
{
    (void)now;
    smtp_server_peer_gone(((struct edge_smtp *)conn->session)->engine);
}

static void smtp_shutdown(struct edge_conn *conn, struct now now)
{
    smtp_server_shutdown(((struct edge_smtp *)conn->session)->engine, NULL, now);
}

/* A message that the vault has is answered for; one that is still coming is not taken. */
static void smtp_logins_ended(struct edge_conn *conn, const struct ipc_logins_ended_in *ended,
                              struct now now)
{
    struct edge_smtp *s = conn->session;
    if (s->login_ended || !edge_identity_has_ended(&s->who, ended))
        return;
    edge_login_log(&s->login, "login-ended");
    s->login_ended = true;
    smtp_server_shutdown(s->engine, &edge_smtp_reply_login_ended, now);
    edge_conn_run(conn);
}

const struct edge_protocol edge_protocol_smtp = {
    .name = "smtp",
    .busy = STR("421 4.7.0 Too many connections, try again later\r\n"),
    .open = smtp_open,
    .free = smtp_free,
    .input = smtp_input,
    .output = smtp_output,
    .output_done = smtp_output_done,
    .act = smtp_act,
    .asking = smtp_asking,
    .hears_secrets = smtp_hears_secrets,
    .deadline = smtp_deadline,
    .tick = smtp_tick,
    .tls_started = smtp_tls_started,
    .peer_gone = smtp_peer_gone,
    .shutdown = smtp_shutdown,
    .logins_ended = smtp_logins_ended,
};
