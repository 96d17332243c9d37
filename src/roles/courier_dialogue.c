#include "base/bug.h"
#include "base/limits.h"
#include "roles/courier_connection_state.h"
#include "roles/courier_queue.h"

/* Codes that say "no mail here, ever" in place of a greeting (RFC 7504 §4). */
enum { NO_MAIL_CODE = 521, NO_MAIL_EITHER_CODE = 556 };

/* ---- Messages
 * ------------------------------------------------------------------------------------ */

static void on_body_ready(void *context)
{
    courier_connection_run(context);
}

/* It carries no more: who the hosts are, and whom to trust, may have changed. */
static bool is_outdated(const struct courier_connection *conn)
{
    return conn->route != conn->destination->route ||
           conn->route->settings != conn->courier->settings;
}

/* Takes the next job, or rests, or says goodbye. */
void courier_dialogue_look_for_work(struct courier_connection *conn)
{
    struct courier_destination *d = conn->destination;
    const struct config_outbound *o = &conn->route->settings->config.outbound;
    if (!courier_connection_is_idle(conn))
        return;
    struct courier_job *job = NULL;
    bool worn = is_outdated(conn) || courier_destination_wants_place(d, conn->host) ||
                (o->messages_per_connection > 0 && conn->carried >= o->messages_per_connection);
    if (!worn)
        job = courier_destination_take(d, conn->host);
    if (job) {
        conn->working = true;
        conn->hop.has_others = courier_destination_has_others(d, job, conn->host);
        courier_delivery_begin(&conn->delivery, conn->courier, job, conn->engine, on_body_ready,
                               conn);
        conn->run_again = true;
    } else if (worn || conn->put_off || courier_destination_has_only_others(d, conn->host)) {
        courier_connection_quit(conn);
    } else {
        courier_destination_run_soon(d);
    }
}

static void job_over(struct courier_connection *conn)
{
    struct courier_destination *d = conn->destination;
    bool is_lacking = conn->delivery.lacking && conn->route == d->route;
    struct courier_job *job = courier_delivery_end(&conn->delivery);
    conn->working = false;
    job->again = job->again || conn->stale;
    if (is_lacking)
        courier_destination_note_lack(d, job, conn->host);
    courier_destination_return(d, job);
}

static void message_done(struct courier_connection *conn, bool more)
{
    struct courier_destination *d = conn->destination;
    conn->carried++;
    conn->answered = conn->answered || conn->delivery.taken;
    if (conn->delivery.taken)
        pace_succeeded(&d->pace);
    job_over(conn);
    conn->run_again = true;
    if (!more)
        conn->quitting = true; /* CLOSED follows */
    else
        courier_dialogue_look_for_work(conn);
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
        courier_dialogue_look_for_work(conn);
        return;
    case DELIVERY_BROKEN:
        /* The engine tells each recipient's end, then that it is closed. */
        invariant(conn->delivery.begun);
        smtp_client_peer_gone(conn->engine, courier_now(conn->courier));
        conn->run_again = true;
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
    if (conn->route == d->route && conn->avoid == 0) {
        d->host = conn->host;
        d->address = conn->address;
        d->failed_hosts &= ~(UINT32_C(1) << conn->host);
    }
    courier_queue_ask_soon(conn->courier); /* for more than it began with */
    if (!network_is_ipv4(courier_connection_host(conn)->addresses
                             ? courier_connection_host(conn)->addresses[conn->address]
                             : (const uint8_t[16]){[10] = 0xff, [11] = 0xff}))
        conn->courier->ipv6_failed_ms = 0;
    metric_add(tls ? counts->under_tls : counts->in_clear, 1);
    if (conn->verdict.authenticated)
        metric_add(counts->authenticated, 1);
    if (!tls && conn->security.tls == SMTP_CLIENT_TLS_OFFERED && !conn->in_clear)
        courier_connection_report_tls(
            conn, conn->security.policy_type == 0 ? NULL : "starttls-not-supported",
            "the server does not offer STARTTLS");
    conn->hop = (struct courier_hop){.abilities = smtp_client_abilities(conn->engine),
                                     .remote = str_from_c(conn->remote),
                                     .tls = str_from_c(conn->tls_words),
                                     .lmtp = conn->settings.lmtp,
                                     .is_here = conn->route->route.kind == ROUTE_HERE,
                                     .authentic = conn->verdict.authenticated &&
                                                  conn->security.mx_authentic};
    courier_dialogue_look_for_work(conn);
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
    buf_init(&words, CONNECTION_WORDS_SIZE);
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
    courier_connection_note(conn, "", buf_str(&words));
    str_to_c(buf_str(&status), conn->status, sizeof conn->status);
    conn->was_reply = closed->reply.code != 0;
    buf_release(&words);
    buf_release(&status);
}

/* It ended between STARTTLS and the handshake. */
static bool is_about_tls(const struct smtp_client_closed *closed)
{
    return closed->reason == SMTP_CLIENT_CLOSE_INJECTION || closed->stage == SMTP_CLIENT_STARTTLS ||
           closed->stage == SMTP_CLIENT_HANDSHAKE;
}

/*
 * A server that greets and then turns the first message away (421, silence, a hang-up) is trouble
 * of the destination, where no other connection shows that it works: else each message that waits
 * there would find that out for itself.
 */
static bool is_turned_away(const struct courier_connection *conn,
                           const struct smtp_client_closed *closed)
{
    bool went = closed->reason == SMTP_CLIENT_CLOSE_SHUTDOWN ||
                closed->reason == SMTP_CLIENT_CLOSE_TIMEOUT ||
                closed->reason == SMTP_CLIENT_CLOSE_PEER_GONE;
    return went && closed->stage <= SMTP_CLIENT_MAIL && !conn->answered &&
           (conn->carried > 0 || conn->working) && conn->destination->ready_count == 1;
}

static void on_closed(struct courier_connection *conn, const struct smtp_client_closed *closed)
{
    struct courier_destination *d = conn->destination;
    struct log_line line;
    if (!conn->ready && is_about_tls(closed) && courier_handshake_falls_back(conn, closed))
        return;
    if (!conn->ready) {
        if (closed->reason == SMTP_CLIENT_CLOSE_NO_TLS)
            courier_connection_report_tls(conn, "starttls-not-supported",
                                          "the server does not offer STARTTLS");
        note_close(conn, closed);
        courier_connection_next_address(conn);
        return;
    }
    if (is_turned_away(conn, closed)) {
        note_close(conn, closed);
        courier_connection_turned_away(conn);
        return;
    }
    /* An idle connection may go when it likes. */
    bool is_own_end =
        closed->reason == SMTP_CLIENT_CLOSE_QUIT || closed->reason == SMTP_CLIENT_CLOSE_NO_BDAT;
    bool trouble = !conn->stale && !is_own_end && closed->stage != SMTP_CLIENT_IDLE &&
                   closed->stage != SMTP_CLIENT_QUIT;
    if (closed->reason == SMTP_CLIENT_CLOSE_NO_BDAT)
        recent_note(&conn->courier->without_bdat, str_from_c(conn->remote), LIMIT_BDAT_UNKNOWN_MS,
                    courier_now(conn->courier));
    courier_connection_log(conn, &line, trouble ? LOG_INFO : LOG_DEBUG, "disconnected");
    log_words(&line, "stage", smtp_client_stage_name(closed->stage));
    log_words(&line, "reason", smtp_client_close_reason_name(closed->reason));
    log_end(&line);
    if (trouble)
        pace_failed(&d->pace, conn->wave);
    courier_connection_close(conn);
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
    courier_connection_log(conn, &line, LOG_INFO, smtp_client_verdict_name(result->verdict));
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
        courier_connection_start_tls(conn);
        return;
    case SMTP_CLIENT_EVENT_AUTH:
        courier_login_start(conn, event);
        return;
    case SMTP_CLIENT_EVENT_CHALLENGE:
        courier_login_go_on(conn, event);
        return;
    case SMTP_CLIENT_EVENT_AUTH_END:
        courier_login_end(conn);
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

static bool pull(struct courier_connection *conn)
{
    struct smtp_client_event event;
    bool pulled = false;
    while (conn->state == CONN_TALKING && smtp_client_next(conn->engine, &event)) {
        on_event(conn, &event);
        pulled = true;
    }
    return pulled;
}

/* What is delivered may end at once, without a word to the server: then there are events again. */
static bool act(struct courier_connection *conn)
{
    bool acted = pull(conn);
    deliver(conn);
    while (pull(conn)) {
        acted = true;
        deliver(conn);
    }
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
        courier_connection_close(conn);
}

static bool flush(struct courier_connection *conn)
{
    bool moved = false;
    while (conn->state == CONN_TALKING) {
        struct str out = smtp_client_output(conn->engine);
        size_t n = 0;
        if (str_empty(out))
            break;
        /* Broken: reading tells, and what the server said before it hung up. */
        if (stream_write(&conn->stream, out, &n) == STREAM_BROKEN || n == 0)
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
        courier_connection_shake_hands(conn);
        return;
    }
    if (conn->state != CONN_TALKING)
        return;
    bool moved;
    do {
        act(conn);
        /* First, for a write that fails would end what can be read under TLS. */
        moved = feed(conn);
        moved = (flush(conn) && conn->working) || moved;
    } while (moved && conn->state == CONN_TALKING);
}

/* The engine's deadline; until the server has let us in, we look now and then who else waits. */
static int64_t next_look(const struct courier_connection *conn)
{
    int64_t at_ms = smtp_client_deadline(conn->engine);
    int64_t past_ms = courier_now(conn->courier).mono_ms - conn->begun_ms;
    /* Whatever it says meanwhile: a word now and then does not put the look off. */
    int64_t look_ms = conn->begun_ms + (past_ms / LIMIT_OUTBOUND_PATIENCE_MS + 1) *
                                           (int64_t)LIMIT_OUTBOUND_PATIENCE_MS;
    return !conn->ready && look_ms < at_ms ? look_ms : at_ms;
}

static bool is_out_of_patience(const struct courier_connection *conn)
{
    return !conn->ready && pace_is_scarce(&conn->courier->pace) &&
           courier_now(conn->courier).mono_ms - conn->begun_ms >= LIMIT_OUTBOUND_PATIENCE_MS;
}

void courier_connection_run(struct courier_connection *conn)
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
    if (conn->state == CONN_TALKING) {
        /* While the keeper is asked nobody reads what the server says. */
        stream_set_reading(&conn->stream, conn->token == 0);
        timer_set(&conn->timer, next_look(conn));
    } else if (conn->state == CONN_HANDSHAKE) {
        timer_set(&conn->timer, courier_connection_deadline(conn, LIMIT_HANDSHAKE_MS));
    }
}

static void on_stream(void *context)
{
    courier_connection_run(context);
}

void courier_dialogue_expired(void *context)
{
    struct courier_connection *conn = context;
    if (conn->state == CONN_HANDSHAKE) {
        courier_connection_handshake_failed(conn);
        return;
    }
    if (conn->state == CONN_TALKING && !conn->ready && courier_connection_searched_enough(conn)) {
        courier_connection_note(conn, "4.4.2", STR("it takes too long to let us in"));
        courier_connection_next_address(conn);
        return;
    }
    if (conn->state == CONN_TALKING && is_out_of_patience(conn)) {
        courier_connection_note(conn, "4.4.2", STR("it says too little while others wait"));
        courier_connection_next_address(conn);
        return;
    }
    if (conn->state == CONN_TALKING)
        smtp_client_tick(conn->engine, courier_now(conn->courier));
    courier_connection_run(conn);
}

/* ---- Beginnings ------------------------------------------------------------------------------ */

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

static void make_settings(struct courier_connection *conn)
{
    const struct route_rule *rule = conn->route->route.rule;
    conn->settings = (struct smtp_client_settings){
        .hostname = conn->route->settings->config.hostname,
        .lmtp = rule && rule->lmtp,
        .tls = conn->in_clear ? SMTP_CLIENT_TLS_NO : conn->security.tls,
        .auth = rule && !str_empty(rule->login),
        .no_chunking = recent_has(&conn->courier->without_bdat, str_from_c(conn->remote),
                                  courier_now(conn->courier)),
        .timeouts = smtp_client_timeouts_default};
    shorten_all(&conn->settings.timeouts, conn->route->settings->config.outbound.timeout_ms);
}

void courier_dialogue_begin(struct courier_connection *conn, int fd)
{
    make_settings(conn);
    stream_open(&conn->stream, courier_loop(conn->courier), fd, on_stream, conn);
    conn->engine = smtp_client_new(&conn->settings, courier_now(conn->courier));
    if (!conn->engine) {
        courier_connection_note(conn, "4.3.1", STR("no memory for a connection"));
        courier_connection_next_address(conn);
        return;
    }
    conn->state = CONN_TALKING;
    courier_connection_run(conn);
}
