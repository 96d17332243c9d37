#include <string.h>

#include "base/limits.h"
#include "roles/courier_connection_state.h"
#include "roles/courier_tls_report.h"

/* ---- TLS ---------------------------------------------------------------------------------------
 */

void courier_connection_report_tls(struct courier_connection *conn, const char *result,
                                   const char *words)
{
    courier_tls_report_add(conn->courier, &(struct courier_tls_session){
                                              .route = conn->route,
                                              .host = courier_connection_host(conn),
                                              .policy_type = conn->security.policy_type,
                                              .result = result,
                                              .words = words,
                                              .peer = &conn->peer,
                                              .fd = conn->stream.fd,
                                          });
}

/* Nobody demands TLS here: then the same address once more, in clear (RFC 7435). */
static bool may_fall_back(const struct courier_connection *conn)
{
    return conn->security.tls == SMTP_CLIENT_TLS_OFFERED && !conn->in_clear;
}

static bool fall_back(struct courier_connection *conn)
{
    if (!may_fall_back(conn))
        return false;
    courier_connection_hang_up(conn);
    conn->in_clear = true;
    courier_connection_try_soon(conn);
    return true;
}

void courier_connection_handshake_failed(struct courier_connection *conn)
{
    struct tls_verdict verdict = tls_client_verdict(stream_tls(&conn->stream));
    if (tls_client_forget_sessions(stream_tls(&conn->stream))) {
        courier_connection_hang_up(conn);
        courier_connection_try_soon(conn);
        return;
    }
    courier_connection_report_tls(conn, verdict.result, verdict.words);
    courier_connection_note(conn, "4.7.5", str_from_c(verdict.words));
    if (!fall_back(conn))
        courier_connection_next_address(conn);
}

bool courier_handshake_falls_back(struct courier_connection *conn,
                                  const struct smtp_client_closed *closed)
{
    courier_connection_report_tls(conn, "validation-failure",
                                  smtp_client_close_reason_name(closed->reason));
    return fall_back(conn);
}

void courier_connection_start_tls(struct courier_connection *conn)
{
    struct buf whom;
    conn->state = CONN_HANDSHAKE;
    /* No session for one destination or server is ever another's. */
    buf_init(&whom, LIMIT_DESTINATION_SIZE + CONNECTION_REMOTE_SIZE);
    buf_append_str(&whom, conn->route->destination);
    buf_append_byte(&whom, '\n');
    buf_append_str(&whom, str_from_c(conn->remote));
    conn->security.demand.resume = buf_str(&whom);
    bool ok = stream_start_tls_client(&conn->stream, conn->courier->tls, &conn->security.demand);
    conn->security.demand.resume = STR("");
    buf_release(&whom);
    if (!ok) {
        courier_connection_note(conn, "4.3.1", STR("no memory for TLS"));
        courier_connection_next_address(conn);
    }
}

static void say_tls_words(struct courier_connection *conn)
{
    static const char *const by[] = {"", " by DANE", " by MTA-STS"};
    struct buf out;
    struct tls_facts facts = tls_facts(stream_tls(&conn->stream));
    buf_init(&out, sizeof conn->tls_words - 1);
    buf_printf(&out, "%s %s", facts.version, facts.cipher);
    if (conn->verdict.authenticated)
        buf_printf(&out, " verified%s", by[conn->security.policy_type]);
    str_to_c(buf_str(&out), conn->tls_words, sizeof conn->tls_words);
    buf_release(&out);
}

void courier_connection_shake_hands(struct courier_connection *conn)
{
    struct str bytes;
    enum stream_result result = stream_read(&conn->stream, &bytes);
    if (result == STREAM_BROKEN || result == STREAM_EOF) {
        courier_connection_handshake_failed(conn);
        return;
    }
    if (stream_handshaking(&conn->stream))
        return;
    if (result == STREAM_OK && !stream_unread(&conn->stream, bytes)) {
        courier_connection_note(conn, "4.3.1", STR("no memory"));
        courier_connection_next_address(conn);
        return;
    }
    conn->verdict = tls_client_verdict(stream_tls(&conn->stream));
    if (conn->verdict.resumed)
        metric_add(conn->courier->counts.resumed, 1);
    courier_connection_report_tls(conn, conn->verdict.result, conn->verdict.words);
    say_tls_words(conn);
    conn->state = CONN_TALKING;
    conn->run_again = true;
    smtp_client_tls_started(conn->engine, courier_now(conn->courier));
}
