#include <openssl/ssl.h>

#include "roles/courier_connection_state.h"

void courier_login_end(struct courier_connection *conn)
{
    if (conn->call != 0)
        channel_cancel(conn->keeper, conn->call);
    if (conn->session != 0)
        ipc_sasl_client_end_note(role_peer(conn->courier->role, ROLE_KEEPER, 0),
                                 &(struct ipc_sasl_client_end_in){.session = conn->session});
    conn->call = 0;
    conn->session = conn->token = 0;
}

/* ---- Logging in ---------------------------------------------------------------------------------
 */

static void answered_auth(struct courier_connection *conn)
{
    conn->call = 0;
    conn->token = 0;
}

static void cancel(struct courier_connection *conn)
{
    uint64_t token = conn->token;
    answered_auth(conn);
    smtp_client_cancel_auth(conn->engine, token, courier_now(conn->courier));
}

static void on_sasl_step(void *context, enum status_code status,
                         const struct ipc_sasl_client_step_out *out)
{
    struct courier_connection *conn = context;
    uint64_t token = conn->token;
    struct now now = courier_now(conn->courier);
    answered_auth(conn);
    if (status == STATUS_OK && out->status == STATUS_OK)
        smtp_client_answer_challenge(conn->engine, token, out->response, out->done, now);
    else
        smtp_client_cancel_auth(conn->engine, token, now);
    courier_connection_run(conn);
}

static void on_sasl_start(void *context, enum status_code status,
                          const struct ipc_sasl_client_start_out *out)
{
    struct courier_connection *conn = context;
    uint64_t token = conn->token;
    struct now now = courier_now(conn->courier);
    answered_auth(conn);
    if (status == STATUS_OK && out->status == STATUS_OK)
        smtp_client_answer_auth(conn->engine, token, out->mechanism, out->has_initial, out->initial,
                                out->done, now);
    else
        smtp_client_cancel_auth(conn->engine, token, now);
    courier_connection_run(conn);
}

void courier_login_start(struct courier_connection *conn, const struct smtp_client_event *event)
{
    unsigned char exporter[TLS_BINDING_SIZE_MAX], end_point[TLS_BINDING_SIZE_MAX];
    SSL *tls = stream_tls(&conn->stream);
    conn->keeper = role_peer(conn->courier->role, ROLE_KEEPER, 0);
    conn->session = ++conn->courier->sasl_counter;
    conn->token = event->token;
    struct ipc_sasl_client_start_in in = {.session = conn->session,
                                          .route = conn->route->route.rule->name,
                                          .mechanisms = text_peek(event->mechanisms),
                                          .tls = tls != NULL};
    if (tls) {
        in.tls_exporter = str_make(exporter, tls_exporter_binding(tls, exporter));
        in.tls_server_end_point = str_make(end_point, tls_client_end_point_binding(tls, end_point));
    }
    conn->call = ipc_sasl_client_start_call(conn->keeper, &in, on_sasl_start, conn);
    if (conn->call == 0)
        cancel(conn);
}

void courier_login_go_on(struct courier_connection *conn, const struct smtp_client_event *event)
{
    struct ipc_sasl_client_step_in in = {.session = conn->session, .challenge = event->challenge};
    conn->keeper = role_peer(conn->courier->role, ROLE_KEEPER, 0);
    conn->token = event->token;
    conn->call = ipc_sasl_client_step_call(conn->keeper, &in, on_sasl_step, conn);
    if (conn->call == 0)
        cancel(conn);
}
