#include "roles/courier_connection.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "base/bug.h"
#include "base/limits.h"
#include "io/connect.h"
#include "io/random.h"
#include "io/stream.h"
#include "roles/courier_delivery.h"
#include "roles/courier_queue.h"
#include "roles/courier_security.h"
#include "roles/courier_settings.h"
#include "roles/courier_tls_report.h"

enum {
    REMOTE_SIZE = LIMIT_DOMAIN_SIZE + 64,
    TLS_WORDS_SIZE = 128,
    WORDS_SIZE = 2048,
    /* Codes that say "no mail here, ever" in place of a greeting (RFC 7504 §4). */
    NO_MAIL_CODE = 521,
    NO_MAIL_EITHER_CODE = 556
};

enum courier_connection_state {
    CONN_CONNECTING,
    CONN_TALKING,
    CONN_HANDSHAKE,
    CONN_CLOSED /* freed at the end of the turn */
};

struct courier_connection {
    struct courier_connection *next, **at; /* of the destination */
    struct courier *courier;
    struct courier_destination *destination;
    struct courier_route *route;
    size_t host, address;             /* being tried */
    size_t first_host, first_address; /* where it began */
    bool wrapped;                     /* it has begun again with the first host */
    uint32_t wave;
    enum courier_connection_state state;
    bool in_clear; /* TLS that nobody demands has failed here */
    bool ready, working, running, run_again, quitting;
    bool put_off;     /* the server wants something later: it is not held on to until then */
    bool stale;       /* it broke while it rested: what was begun then was no attempt */
    uint32_t carried; /* messages */
    struct connect connect;
    struct stream stream;
    struct smtp_client *engine;
    struct smtp_client_settings settings;
    struct courier_security security;
    struct tls_verdict verdict;
    struct socket_address peer;
    struct courier_delivery delivery;
    struct courier_hop hop;
    char remote[REMOTE_SIZE];
    char tls_words[TLS_WORDS_SIZE];
    struct timer timer;
    struct hook end;

    /* Why the last address did not let us in. */
    char status[16];
    struct buf words;
    bool was_reply;
    uint32_t tries, never; /* addresses tried; those that said that they never take mail */

    /* The login, at the keeper. */
    struct channel *keeper;
    uint32_t call;
    uint64_t session, token;
};

static void run(struct courier_connection *conn);
static void try_address(struct courier_connection *conn);
static int64_t deadline(const struct courier_connection *conn, int64_t usual_ms);

static const struct route_host *host_of(const struct courier_connection *conn)
{
    return &conn->route->route.decision.hosts[conn->host];
}

bool courier_connection_is_idle(const struct courier_connection *conn)
{
    return conn->state == CONN_TALKING && conn->ready && !conn->working && !conn->quitting;
}

struct courier_connection *courier_connection_next(const struct courier_connection *conn)
{
    return conn->next;
}

static void log_line(const struct courier_connection *conn, struct log_line *line,
                     enum log_level level, const char *event)
{
    log_begin(line, role_log(conn->courier->role), courier_now(conn->courier), level, event);
    log_str(line, "destination", buf_str(&conn->destination->name));
    log_words(line, "remote", conn->remote);
}

/* ---- Ends ---------------------------------------------------------------------------------- */

static void end_session(struct courier_connection *conn)
{
    if (conn->call != 0)
        channel_cancel(conn->keeper, conn->call);
    if (conn->session != 0)
        ipc_sasl_client_end_note(conn->keeper,
                                 &(struct ipc_sasl_client_end_in){.session = conn->session});
    conn->call = 0;
    conn->session = 0;
}

/* Whatever this address had open. */
static void hang_up(struct courier_connection *conn)
{
    end_session(conn);
    connect_cancel(&conn->connect);
    if (conn->stream.watch.loop)
        stream_close(&conn->stream);
    smtp_client_free(conn->engine);
    conn->engine = NULL;
    timer_set(&conn->timer, NEVER_MS);
}

static void give_back(struct courier_connection *conn)
{
    struct courier_destination *d = conn->destination;
    if (!conn->delivery.job)
        return;
    struct courier_job *job = courier_delivery_end(&conn->delivery);
    conn->working = false;
    courier_destination_return(d, job);
}

void courier_connection_free(struct courier_connection *conn)
{
    struct courier_destination *d = conn->destination;
    give_back(conn);
    hang_up(conn);
    hook_cancel(&conn->end);
    d->live -= conn->state != CONN_CLOSED;
    *conn->at = conn->next;
    if (conn->next)
        conn->next->at = conn->at;
    d->connection_count--;
    d->ready_count -= conn->ready;
    pace_closed(&d->pace, &conn->courier->pace);
    metric_set(conn->courier->counts.open, conn->courier->pace.open);
    courier_route_drop(conn->route);
    buf_release(&conn->words);
    free(conn);
    courier_destination_run_soon(d);
}

static void on_end(void *context)
{
    courier_connection_free(context);
}

static void close_connection(struct courier_connection *conn)
{
    if (conn->state == CONN_CLOSED)
        return;
    conn->state = CONN_CLOSED;
    conn->destination->live--;
    give_back(conn);
    hang_up(conn);
    hook_cancel(&conn->end);
    hook_init(&conn->end, on_end, conn);
    hook_queue(&conn->end, courier_loop(conn->courier));
}

/* ---- The next address --------------------------------------------------------------------------
 */

static void note_failure(struct courier_connection *conn, const char *status, struct str words)
{
    str_to_c(str_from_c(status), conn->status, sizeof conn->status);
    buf_clear(&conn->words);
    buf_append_str(&conn->words, str_sub(words, 0, WORDS_SIZE));
    conn->was_reply = false;
}

/* RFC 5321 §5.1: the addresses of a host, then the next host's; false where all were tried. */
static bool advance(struct courier_connection *conn)
{
    const struct route_decision *decision = &conn->route->route.decision;
    const struct route_host *host = host_of(conn);
    conn->in_clear = false;
    if (++conn->address >= host->address_count) {
        if (conn->route == conn->destination->route)
            conn->destination->failed_hosts |= UINT32_C(1) << conn->host;
        conn->address = 0;
        if (++conn->host >= decision->host_count) {
            conn->host = 0;
            conn->wrapped = true;
        }
    }
    return !conn->wrapped || conn->host < conn->first_host ||
           (conn->host == conn->first_host && conn->address < conn->first_address);
}

static void came_to_nothing(struct courier_connection *conn)
{
    struct courier_destination *d = conn->destination;
    bool never = conn->never > 0 && conn->never == conn->tries;
    struct courier_fate fate = {.outcome = never ? OUTCOME_FAILED : OUTCOME_LATER,
                                .status = str_from_c(conn->status),
                                .words = text_from(buf_str(&conn->words)),
                                .remote = text_from(str_from_c(conn->remote)),
                                .is_reply = conn->was_reply};
    metric_add(conn->courier->counts.connections_failed, 1);
    uint32_t wave = conn->wave;
    struct buf words = conn->words;
    char status[sizeof conn->status], remote[REMOTE_SIZE];
    memcpy(status, conn->status, sizeof status);
    memcpy(remote, conn->remote, sizeof remote);
    fate.status = str_from_c(status);
    fate.remote = text_from(str_from_c(remote));
    buf_init(&conn->words, WORDS_SIZE);
    close_connection(conn);
    courier_destination_unreachable(d, wave, &fate);
    buf_release(&words);
}

static void on_retry(void *context)
{
    try_address(context);
}

/* Not from inside whoever called us: the stream and the engine are still in use there. */
static void try_soon(struct courier_connection *conn)
{
    conn->state = CONN_CONNECTING;
    hook_init(&conn->end, on_retry, conn);
    hook_queue(&conn->end, courier_loop(conn->courier));
}

/* This address did not let us in. */
static void address_failed(struct courier_connection *conn)
{
    struct log_line line;
    log_line(conn, &line, LOG_INFO, "not-let-in");
    log_text(&line, "why", text_from(buf_str(&conn->words)));
    log_end(&line);
    hang_up(conn);
    conn->tries++;
    if (advance(conn))
        try_soon(conn);
    else
        came_to_nothing(conn);
}

/* ---- TLS ---------------------------------------------------------------------------------------
 */

static void report_tls(struct courier_connection *conn, const char *result, const char *words)
{
    courier_tls_report_add(conn->courier, &(struct courier_tls_session){
                                              .route = conn->route,
                                              .host = host_of(conn),
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

static void handshake_failed(struct courier_connection *conn)
{
    struct tls_verdict verdict = tls_client_verdict(stream_tls(&conn->stream));
    report_tls(conn, verdict.result, verdict.words);
    note_failure(conn, "4.7.5", str_from_c(verdict.words));
    if (!may_fall_back(conn)) {
        address_failed(conn);
        return;
    }
    hang_up(conn);
    conn->in_clear = true;
    try_soon(conn);
}

static void start_tls(struct courier_connection *conn)
{
    conn->state = CONN_HANDSHAKE;
    if (!stream_start_tls_client(&conn->stream, conn->courier->tls, &conn->security.demand)) {
        note_failure(conn, "4.3.1", STR("no memory for TLS"));
        address_failed(conn);
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

static void shake_hands(struct courier_connection *conn)
{
    struct str bytes;
    enum stream_result result = stream_read(&conn->stream, &bytes);
    if (result == STREAM_BROKEN || result == STREAM_EOF) {
        handshake_failed(conn);
        return;
    }
    if (stream_handshaking(&conn->stream))
        return;
    if (result == STREAM_OK && !stream_unread(&conn->stream, bytes)) {
        note_failure(conn, "4.3.1", STR("no memory"));
        address_failed(conn);
        return;
    }
    conn->verdict = tls_client_verdict(stream_tls(&conn->stream));
    report_tls(conn, conn->verdict.result, conn->verdict.words);
    say_tls_words(conn);
    conn->state = CONN_TALKING;
    conn->run_again = true;
    smtp_client_tls_started(conn->engine, courier_now(conn->courier));
}

/* ---- Logging in ---------------------------------------------------------------------------------
 */

static void answered_auth(struct courier_connection *conn)
{
    conn->call = 0;
    conn->token = 0;
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
    run(conn);
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
    run(conn);
}

static void log_in(struct courier_connection *conn, const struct smtp_client_event *event)
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
        smtp_client_cancel_auth(conn->engine, event->token, courier_now(conn->courier));
}

static void go_on_logging_in(struct courier_connection *conn, const struct smtp_client_event *event)
{
    struct ipc_sasl_client_step_in in = {.session = conn->session, .challenge = event->challenge};
    conn->token = event->token;
    conn->call = ipc_sasl_client_step_call(conn->keeper, &in, on_sasl_step, conn);
    if (conn->call == 0)
        smtp_client_cancel_auth(conn->engine, event->token, courier_now(conn->courier));
}

/* ---- Messages
 * ------------------------------------------------------------------------------------ */

static void on_body_ready(void *context)
{
    run(context);
}

/* Takes the next job, or rests, or says goodbye. */
static void look_for_work(struct courier_connection *conn)
{
    struct courier_destination *d = conn->destination;
    const struct config_outbound *o = &conn->route->settings->config.outbound;
    if (!courier_connection_is_idle(conn))
        return;
    struct courier_job *job = NULL;
    bool worn = o->messages_per_connection > 0 && conn->carried >= o->messages_per_connection;
    if (!worn)
        job = courier_destination_take(d);
    if (job) {
        conn->working = true;
        courier_delivery_begin(&conn->delivery, conn->courier, job, conn->engine, on_body_ready,
                               conn);
        conn->run_again = true;
    } else if (worn || conn->put_off) {
        courier_connection_quit(conn);
    } else {
        courier_destination_run_soon(d);
    }
}

static void job_over(struct courier_connection *conn)
{
    struct courier_job *job = courier_delivery_end(&conn->delivery);
    conn->working = false;
    job->again = job->again || conn->stale;
    courier_destination_return(conn->destination, job);
}

static void message_done(struct courier_connection *conn, bool more)
{
    struct courier_destination *d = conn->destination;
    conn->carried++;
    if (conn->delivery.taken)
        pace_succeeded(&d->pace);
    job_over(conn);
    conn->run_again = true;
    if (!more)
        conn->quitting = true; /* CLOSED follows */
    else
        look_for_work(conn);
}

static void deliver(struct courier_connection *conn)
{
    if (!conn->working || conn->state != CONN_TALKING)
        return;
    switch (courier_delivery_run(&conn->delivery, &conn->hop, courier_now(conn->courier))) {
    case DELIVERY_GOES_ON:
    case DELIVERY_WAITS:
        return;
    case DELIVERY_OVER:
        job_over(conn);
        look_for_work(conn);
        return;
    case DELIVERY_BROKEN:
        /* The engine tells each recipient's end, then that it is closed. */
        if (conn->delivery.begun) {
            smtp_client_peer_gone(conn->engine, courier_now(conn->courier));
            conn->run_again = true;
        } else {
            job_over(conn);
        }
        return;
    }
}

static void got_ready(struct courier_connection *conn)
{
    struct courier_destination *d = conn->destination;
    struct courier_counts *counts = &conn->courier->counts;
    bool tls = stream_tls(&conn->stream) != NULL;
    conn->ready = true;
    d->ready_count++;
    if (conn->route == d->route) {
        d->host = conn->host;
        d->address = conn->address;
        d->failed_hosts &= ~(UINT32_C(1) << conn->host);
    }
    courier_queue_ask_soon(conn->courier); /* for more than it began with */
    if (!network_is_ipv4(host_of(conn)->addresses ? host_of(conn)->addresses[conn->address]
                                                  : (const uint8_t[16]){[10] = 0xff, [11] = 0xff}))
        conn->courier->ipv6_failed_ms = 0;
    metric_add(tls ? counts->under_tls : counts->in_clear, 1);
    if (conn->verdict.authenticated)
        metric_add(counts->authenticated, 1);
    if (!tls && conn->security.tls == SMTP_CLIENT_TLS_OFFERED && !conn->in_clear)
        report_tls(conn, conn->security.policy_type == 0 ? NULL : "starttls-not-supported",
                   "the server does not offer STARTTLS");
    conn->hop = (struct courier_hop){.abilities = smtp_client_abilities(conn->engine),
                                     .remote = str_from_c(conn->remote),
                                     .tls = str_from_c(conn->tls_words),
                                     .lmtp = conn->settings.lmtp,
                                     .authentic = conn->verdict.authenticated &&
                                                  conn->security.mx_authentic};
    look_for_work(conn);
}

/* ---- Events
 * --------------------------------------------------------------------------------------- */

static const char *status_of_close(const struct smtp_client_closed *closed)
{
    switch (closed->reason) {
    case SMTP_CLIENT_CLOSE_NO_TLS:
    case SMTP_CLIENT_CLOSE_INJECTION:
        return "4.7.10";
    case SMTP_CLIENT_CLOSE_NO_AUTH:
    case SMTP_CLIENT_CLOSE_UNVERIFIED:
        return "4.7.8";
    case SMTP_CLIENT_CLOSE_NO_MEMORY:
        return "4.3.1";
    default:
        return "4.4.2";
    }
}

static void note_close(struct courier_connection *conn, const struct smtp_client_closed *closed)
{
    struct buf words, status;
    buf_init(&words, WORDS_SIZE);
    buf_init(&status, sizeof conn->status - 1);
    courier_reply_words(&closed->reply, &words);
    if (closed->reply.code != 0) {
        /* What refuses us now may let us in later: a 5xx here is not about the recipients. */
        bool never =
            closed->reply.code == NO_MAIL_CODE || closed->reply.code == NO_MAIL_EITHER_CODE;
        courier_reply_status(&closed->reply, &status);
        if (!never && status.len > 0)
            status.ptr[0] = '4';
        conn->never += never;
    } else {
        buf_append_str(&status, str_from_c(status_of_close(closed)));
    }
    note_failure(conn, "", buf_str(&words));
    str_to_c(buf_str(&status), conn->status, sizeof conn->status);
    conn->was_reply = closed->reply.code != 0;
    buf_release(&words);
    buf_release(&status);
}

static void on_closed(struct courier_connection *conn, const struct smtp_client_closed *closed)
{
    struct courier_destination *d = conn->destination;
    struct log_line line;
    if (!conn->ready) {
        if (closed->reason == SMTP_CLIENT_CLOSE_NO_TLS)
            report_tls(conn, "starttls-not-supported", "the server does not offer STARTTLS");
        note_close(conn, closed);
        address_failed(conn);
        return;
    }
    /* An idle connection may go when it likes. */
    bool trouble = !conn->stale && closed->stage != SMTP_CLIENT_IDLE &&
                   closed->stage != SMTP_CLIENT_QUIT && closed->reason != SMTP_CLIENT_CLOSE_QUIT;
    log_line(conn, &line, trouble ? LOG_INFO : LOG_DEBUG, "disconnected");
    log_words(&line, "stage", smtp_client_stage_name(closed->stage));
    log_words(&line, "reason", smtp_client_close_reason_name(closed->reason));
    log_end(&line);
    if (trouble)
        pace_failed(&d->pace, conn->wave);
    close_connection(conn);
}

/* Broken before the first command of a message was answered, after others went well: it had ended
 * while it rested, and this message was not tried. */
static bool was_not_tried(const struct courier_connection *conn,
                          const struct smtp_client_result *result)
{
    return conn->carried > 0 && result->verdict == SMTP_CLIENT_LATER && result->reply.code == 0 &&
           result->stage <= SMTP_CLIENT_MAIL && !conn->delivery.job->again &&
           !conn->delivery.broken;
}

static void on_recipient(struct courier_connection *conn, const struct smtp_client_result *result)
{
    struct log_line line;
    if (was_not_tried(conn, result)) {
        conn->stale = true;
        return;
    }
    log_line(conn, &line, LOG_INFO, smtp_client_verdict_name(result->verdict));
    log_str(&line, "id", conn->delivery.job->job.trace_id);
    log_text(
        &line, "to",
        conn->delivery.job->job.recipients[conn->delivery.recipients[result->index]].recipient);
    log_number(&line, "code", result->reply.code);
    log_text(&line, "reply", result->reply.words);
    log_end(&line);
    conn->put_off = conn->put_off || result->verdict == SMTP_CLIENT_LATER;
    courier_delivery_recipient(&conn->delivery, result, &conn->hop);
}

static void on_event(struct courier_connection *conn, const struct smtp_client_event *event)
{
    switch (event->kind) {
    case SMTP_CLIENT_EVENT_START_TLS:
        start_tls(conn);
        return;
    case SMTP_CLIENT_EVENT_AUTH:
        log_in(conn, event);
        return;
    case SMTP_CLIENT_EVENT_CHALLENGE:
        go_on_logging_in(conn, event);
        return;
    case SMTP_CLIENT_EVENT_AUTH_END:
        end_session(conn);
        return;
    case SMTP_CLIENT_EVENT_READY:
        got_ready(conn);
        return;
    case SMTP_CLIENT_EVENT_BODY_WANTED:
        courier_delivery_body_wanted(&conn->delivery);
        return;
    case SMTP_CLIENT_EVENT_RECIPIENT:
        on_recipient(conn, &event->recipient);
        return;
    case SMTP_CLIENT_EVENT_MESSAGE_DONE:
        message_done(conn, event->more);
        return;
    case SMTP_CLIENT_EVENT_CLOSED:
        on_closed(conn, &event->closed);
        return;
    }
}

static bool act(struct courier_connection *conn)
{
    struct smtp_client_event event;
    bool acted = false;
    while (conn->state == CONN_TALKING && smtp_client_next(conn->engine, &event)) {
        on_event(conn, &event);
        acted = true;
    }
    deliver(conn);
    return acted;
}

/* ---- Bytes
 * ---------------------------------------------------------------------------------------- */

static void peer_gone(struct courier_connection *conn)
{
    smtp_client_peer_gone(conn->engine, courier_now(conn->courier));
    act(conn);
    /* CLOSED is certain by now, and was acted upon. */
    if (conn->state == CONN_TALKING)
        close_connection(conn);
}

static bool flush(struct courier_connection *conn)
{
    bool moved = false;
    while (conn->state == CONN_TALKING) {
        struct str out = smtp_client_output(conn->engine);
        size_t n = 0;
        if (str_empty(out))
            break;
        if (stream_write(&conn->stream, out, &n) == STREAM_BROKEN) {
            /* What the server said before it hung up is still to be read. */
            break;
        }
        if (n == 0)
            break;
        smtp_client_output_done(conn->engine, n, courier_now(conn->courier));
        moved = true;
    }
    return moved;
}

/* False where nothing more can be read now. */
static bool feed(struct courier_connection *conn)
{
    struct str bytes;
    if (conn->state != CONN_TALKING || conn->token != 0)
        return false;
    enum stream_result result = stream_read(&conn->stream, &bytes);
    if (result == STREAM_BLOCKED)
        return false;
    if (result != STREAM_OK) {
        peer_gone(conn);
        return false;
    }
    bool moved = true;
    while (moved && bytes.len > 0 && conn->state == CONN_TALKING && conn->token == 0) {
        size_t n = smtp_client_input(conn->engine, bytes, courier_now(conn->courier));
        bytes = str_skip(bytes, n);
        moved = act(conn) || n > 0;
        if (!moved)
            moved = flush(conn);
    }
    if (bytes.len > 0 && conn->state == CONN_TALKING) {
        if (!stream_unread(&conn->stream, bytes))
            peer_gone(conn);
        return false;
    }
    return conn->state == CONN_TALKING;
}

static void pass(struct courier_connection *conn)
{
    if (conn->state == CONN_HANDSHAKE) {
        shake_hands(conn);
        return;
    }
    if (conn->state != CONN_TALKING)
        return;
    bool moved;
    do {
        act(conn);
        moved = flush(conn) && conn->working;
        moved = feed(conn) || moved;
    } while (moved && conn->state == CONN_TALKING);
}

static void run(struct courier_connection *conn)
{
    if (conn->running) {
        conn->run_again = true;
        return;
    }
    conn->running = true;
    do {
        conn->run_again = false;
        pass(conn);
    } while (conn->run_again && (conn->state == CONN_TALKING || conn->state == CONN_HANDSHAKE));
    conn->running = false;
    if (conn->state == CONN_TALKING)
        timer_set(&conn->timer, smtp_client_deadline(conn->engine));
    else if (conn->state == CONN_HANDSHAKE)
        timer_set(&conn->timer, deadline(conn, LIMIT_HANDSHAKE_MS));
}

static void on_stream(void *context)
{
    run(context);
}

static void on_timer(void *context)
{
    struct courier_connection *conn = context;
    if (conn->state == CONN_HANDSHAKE) {
        handshake_failed(conn);
        return;
    }
    if (conn->state == CONN_TALKING)
        smtp_client_tick(conn->engine, courier_now(conn->courier));
    run(conn);
}

/* ---- Beginnings
 * ------------------------------------------------------------------------------------ */

static void name_remote(struct courier_connection *conn)
{
    const struct route_host *host = host_of(conn);
    struct buf out;
    buf_init(&out, sizeof conn->remote - 1);
    if (!str_empty(host->unix_path)) {
        buf_append_str(&out, host->unix_path);
    } else {
        buf_append_str(&out, host->name);
        buf_append_str(&out, str_empty(host->name) ? STR("[") : STR(" ["));
        socket_address_print(&conn->peer, &out);
        buf_printf(&out, "]:%u", host->port);
    }
    str_to_c(buf_str(&out), conn->remote, sizeof conn->remote);
    buf_release(&out);
}

static void shorten(uint32_t *ms, uint64_t max_ms)
{
    if (*ms > max_ms)
        *ms = (uint32_t)max_ms;
}

/* What an administrator thinks long enough; the times of RFC 5321 §4.5.3.2 are the most. */
static void shorten_all(struct smtp_client_timeouts *t, uint64_t max_ms)
{
    uint32_t *const each[] = {&t->greeting_ms, &t->hello_ms, &t->starttls_ms, &t->auth_ms,
                              &t->mail_ms,     &t->rcpt_ms,  &t->data_ms,     &t->block_ms,
                              &t->end_ms,      &t->rset_ms,  &t->quit_ms};
    for (size_t i = 0; max_ms > 0 && i < sizeof each / sizeof *each; i++)
        shorten(each[i], max_ms);
}

static int64_t deadline(const struct courier_connection *conn, int64_t usual_ms)
{
    int64_t max_ms = (int64_t)conn->route->settings->config.outbound.timeout_ms;
    int64_t in_ms = max_ms > 0 && max_ms < usual_ms ? max_ms : usual_ms;
    return courier_now(conn->courier).mono_ms + in_ms;
}

static void make_settings(struct courier_connection *conn)
{
    const struct route_rule *rule = conn->route->route.rule;
    conn->settings = (struct smtp_client_settings){
        .hostname = conn->route->settings->config.hostname,
        .lmtp = rule && rule->lmtp,
        .tls = conn->in_clear ? SMTP_CLIENT_TLS_NO : conn->security.tls,
        .auth = rule && !str_empty(rule->login),
        .timeouts = smtp_client_timeouts_default};
    shorten_all(&conn->settings.timeouts, conn->route->settings->config.outbound.timeout_ms);
}

static void note_ipv6(struct courier_connection *conn)
{
    if (conn->peer.any.sa_family == AF_INET6)
        conn->courier->ipv6_failed_ms = courier_now(conn->courier).mono_ms;
}

static void on_connect(void *context, int fd, int error)
{
    struct courier_connection *conn = context;
    if (fd < 0) {
        note_ipv6(conn);
        note_failure(conn, "4.4.1", str_from_c(strerror(error)));
        address_failed(conn);
        return;
    }
    make_settings(conn);
    stream_open(&conn->stream, courier_loop(conn->courier), fd, on_stream, conn);
    conn->engine = smtp_client_new(&conn->settings, courier_now(conn->courier));
    if (!conn->engine) {
        note_failure(conn, "4.3.1", STR("no memory for a connection"));
        address_failed(conn);
        return;
    }
    conn->state = CONN_TALKING;
    run(conn);
}

static bool address_of(struct courier_connection *conn)
{
    const struct route_host *host = host_of(conn);
    if (!str_empty(host->unix_path))
        return socket_address_unix(host->unix_path, &conn->peer);
    if (conn->address >= host->address_count)
        return false;
    const uint8_t *octets = host->addresses[conn->address];
    bool v4 = network_is_ipv4(octets);
    return socket_address_from_bytes(str_make(octets + (v4 ? 12 : 0), v4 ? 4 : 16), host->port,
                                     &conn->peer);
}

static const struct socket_address *source_of(const struct courier_connection *conn,
                                              struct socket_address *room)
{
    if (conn->peer.any.sa_family == AF_UNIX)
        return NULL;
    bool v4 = conn->peer.any.sa_family == AF_INET;
    const uint8_t *octets = courier_settings_source(conn->route->settings, v4);
    if (!octets ||
        !socket_address_from_bytes(str_make(octets + (v4 ? 12 : 0), v4 ? 4 : 16), 0, room))
        return NULL;
    return room;
}

static void try_address(struct courier_connection *conn)
{
    struct socket_address source;
    conn->state = CONN_CONNECTING;
    conn->tls_words[0] = 0;
    conn->verdict = (struct tls_verdict){.result = "", .words = ""};
    if (!address_of(conn)) {
        note_failure(conn, "4.4.4", STR("it has no address that can be used"));
        address_failed(conn);
        return;
    }
    name_remote(conn);
    courier_security_decide(conn->route, host_of(conn), &conn->security);
    if (!conn->security.usable) {
        report_tls(conn, conn->security.result, conn->security.words);
        note_failure(conn, "4.7.5", str_from_c(conn->security.words));
        address_failed(conn);
        return;
    }
    metric_add(conn->courier->counts.connections, 1);
    connect_start(&conn->connect, courier_loop(conn->courier), &conn->peer,
                  source_of(conn, &source), deadline(conn, LIMIT_CONNECT_MS), on_connect, conn);
}

struct courier_connection *courier_connection_open(struct courier_destination *d)
{
    struct courier *c = d->courier;
    struct courier_connection *conn = calloc(1, sizeof *conn);
    size_t host = route_draw(&d->route->route.decision, d->host, d->failed_hosts, random_u64());
    size_t address = host == d->host ? d->address : 0;
    if (!conn)
        return NULL;
    *conn = (struct courier_connection){.next = d->connections,
                                        .at = &d->connections,
                                        .courier = c,
                                        .destination = d,
                                        .route = courier_route_take(d->route),
                                        .host = host,
                                        .address = address,
                                        .first_host = host,
                                        .first_address = address};
    if (conn->next)
        conn->next->at = &conn->next;
    d->connections = conn;
    d->connection_count++;
    d->live++;
    buf_init(&conn->words, WORDS_SIZE);
    timer_init(&conn->timer, courier_loop(c), on_timer, conn);
    conn->wave = pace_opened(&d->pace, &c->pace);
    metric_set(c->counts.open, c->pace.open);
    try_soon(conn);
    return conn;
}

bool courier_connection_wake(struct courier_connection *conn)
{
    look_for_work(conn);
    if (!conn->working)
        return false;
    run(conn);
    return true;
}

void courier_connection_quit(struct courier_connection *conn)
{
    if (conn->quitting || conn->state == CONN_CLOSED)
        return;
    if (!conn->ready) {
        close_connection(conn);
        return;
    }
    if (conn->working) /* look_for_work asks again */
        return;
    conn->quitting = true;
    smtp_client_quit(conn->engine, courier_now(conn->courier));
    run(conn);
}
