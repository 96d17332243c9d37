#include "roles/edge_login.h"

#include "base/buf.h"
#include "roles/edge_conn.h"

void edge_identity_init(struct edge_identity *id)
{
    *id = (struct edge_identity){0};
    buf_init(&id->login, 1024);
    buf_init_secret(&id->capability, 1024);
}

void edge_identity_release(struct edge_identity *id)
{
    buf_release(&id->login);
    buf_wipe(&id->capability);
    id->account = 0;
}

bool edge_identity_has_ended(const struct edge_identity *id,
                             const struct ipc_logins_ended_in *ended)
{
    for (size_t i = 0; id->account != 0 && i < ended->ends_count; i++) {
        const struct ipc_login_end *e = &ended->ends[i];
        if ((e->account == 0 || e->account == id->account) &&
            (e->credential == 0 || e->credential == id->credential) &&
            id->issued_ms <= e->issued_ms)
            return true;
    }
    return false;
}

void edge_on_logins_ended(void *context, struct channel *from, const struct ipc_logins_ended_in *in)
{
    struct edge *edge = context;
    (void)from;
    for (struct edge_conn *conn = edge->connections, *next; conn; conn = next) {
        next = conn->next; /* a connection is freed at the end of the turn, not here */
        if (conn->session && conn->protocol->logins_ended)
            conn->protocol->logins_ended(conn, in, edge_conn_now(conn));
    }
}

void edge_login_init(struct edge_login *l, struct edge_conn *conn, struct edge_identity *identity,
                     edge_login_done *done, void *context)
{
    *l = (struct edge_login){.conn = conn, .identity = identity, .done = done, .context = context};
}

void edge_login_abort(struct edge_login *l)
{
    if (l->call != 0)
        channel_cancel(l->channel, l->call);
    if (l->session != 0)
        ipc_sasl_abort_note(l->conn->edge->keeper,
                            &(struct ipc_sasl_abort_in){.session = l->session});
    l->call = 0;
    l->session = 0;
}

static void accept_identity(struct edge_login *l, const struct ipc_sasl_result *r)
{
    buf_clear(&l->identity->login);
    buf_clear(&l->identity->capability);
    buf_append_str(&l->identity->login, r->login);
    buf_append_str(&l->identity->capability, r->capability);
    l->identity->account = r->account;
    l->identity->credential = r->credential;
    l->identity->issued_ms = r->issued_ms;
}

static enum edge_login_outcome outcome_of(const struct ipc_sasl_result *r)
{
    static const enum edge_login_outcome outcomes[] = {
        EDGE_LOGIN_CHALLENGE, EDGE_LOGIN_SUCCESS,   EDGE_LOGIN_WRONG,
        EDGE_LOGIN_TEMPORARY, EDGE_LOGIN_MALFORMED, EDGE_LOGIN_WRONG,
    };
    return r->outcome < sizeof outcomes / sizeof *outcomes ? outcomes[r->outcome]
                                                           : EDGE_LOGIN_TEMPORARY;
}

static void on_result(struct edge_login *l, enum status_code status,
                      const struct ipc_sasl_result *r)
{
    l->call = 0;
    bool answered = status == STATUS_OK && r;
    enum edge_login_outcome outcome = answered ? outcome_of(r) : EDGE_LOGIN_TEMPORARY;
    if (outcome == EDGE_LOGIN_SUCCESS)
        accept_identity(l, r);
    if (outcome == EDGE_LOGIN_WRONG)
        l->failures++;
    if (outcome != EDGE_LOGIN_CHALLENGE)
        l->session = 0;
    l->done(l->context, outcome, answered ? r->data : STR(""));
}

static void on_start(void *context, enum status_code status, const struct ipc_sasl_start_out *out)
{
    on_result(context, status, out ? &out->result : NULL);
}

static void on_step(void *context, enum status_code status, const struct ipc_sasl_step_out *out)
{
    on_result(context, status, out ? &out->result : NULL);
}

void edge_login_log(const struct edge_login *l, const char *event)
{
    struct log_line line;
    edge_conn_log(l->conn, &line, LOG_INFO, event, l->conn->id);
    if (l->identity->account != 0)
        log_str(&line, "login", buf_str(&l->identity->login));
    log_end(&line);
}

bool edge_login_start(struct edge_login *l, struct str mechanism, bool has_initial,
                      struct str initial)
{
    struct edge_conn *conn = l->conn;
    unsigned char exporter[TLS_BINDING_SIZE_MAX], end_point[TLS_BINDING_SIZE_MAX];
    SSL *ssl = stream_tls(&conn->stream);
    struct ipc_sasl_start_in in = {
        .session = ++conn->edge->next_session,
        .protocol = (uint8_t)conn->kind,
        .mechanism = mechanism,
        .has_initial = has_initial,
        .initial = initial,
        .peer = str_from_c(conn->peer),
        .tls = ssl != NULL,
        .tls_exporter = str_make(exporter, ssl ? tls_exporter_binding(ssl, exporter) : 0),
        .tls_server_end_point =
            str_make(end_point, ssl ? tls_server_end_point_binding(ssl, end_point) : 0),
        .trace_id = str_from_c(conn->id),
    };
    l->session = in.session;
    l->channel = conn->edge->keeper;
    l->keeper = conn->edge->keepers;
    l->call = ipc_sasl_start_call(l->channel, &in, on_start, l);
    return l->call != 0;
}

bool edge_login_step(struct edge_login *l, struct str response)
{
    struct ipc_sasl_step_in in = {.session = l->session, .response = response};
    /*
     * An exchange does not move to a keeper that was started in the middle of it, whose channel may
     * lie where the last one's did.
     */
    if (l->session == 0 || !l->conn->edge->keeper || l->keeper != l->conn->edge->keepers)
        return false;
    l->call = ipc_sasl_step_call(l->channel, &in, on_step, l);
    return l->call != 0;
}

bool edge_login_password(struct edge_login *l, struct str user, struct str password)
{
    struct buf plain; /* RFC 4616 §2: authzid NUL authcid NUL passwd */
    buf_init_secret(&plain, 2 + user.len + password.len);
    buf_append_byte(&plain, '\0');
    buf_append_str(&plain, user);
    buf_append_byte(&plain, '\0');
    bool ok = buf_append_str(&plain, password) &&
              edge_login_start(l, STR("PLAIN"), true, buf_str(&plain));
    buf_wipe(&plain);
    return ok;
}

struct str edge_login_mechanisms(bool tls)
{
    return tls ? STR("PLAIN LOGIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS")
               : STR("PLAIN LOGIN SCRAM-SHA-256");
}
