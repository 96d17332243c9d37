#include "roles/edge_conn.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/limits.h"
#include "io/tls.h"
#include "proto/smtp/proxy2.h"
#include "roles/edge_pump.h"

/* How long a closed connection's last bytes are waited for, so that the peer sees our last words
 * and not a reset (RFC 1122 §4.2.2.13). */
enum { LINGER_MS = 2000 };

static const struct edge_protocol *protocol_of(enum listen_kind kind)
{
    switch (kind) {
    case LISTEN_IMAP:
    case LISTEN_IMAPS:
        return &edge_protocol_imap;
    case LISTEN_POP3:
    case LISTEN_POP3S:
        return &edge_protocol_pop3;
    case LISTEN_METRICS:
        return &edge_protocol_metrics;
    default:
        return &edge_protocol_smtp;
    }
}

void edge_conn_log(const struct edge_conn *conn, struct log_line *line, enum log_level level,
                   const char *event, const char *id)
{
    log_begin(line, role_log(conn->edge->role), edge_conn_now(conn), level, event);
    log_words(line, "id", id);
    log_words(line, "listener", listen_kind_name(conn->kind));
    log_words(line, "peer", conn->peer);
}

/* ---- Ends ---------------------------------------------------------------------------------------
 */

void edge_conn_free(struct edge_conn *conn)
{
    struct edge *edge = conn->edge;
    hook_cancel(&conn->end);
    if (conn->rdns_call != 0)
        channel_cancel(conn->rdns_channel, conn->rdns_call);
    edge_pump_free(conn->pump);
    if (conn->session)
        conn->protocol->free(conn);
    timer_set(&conn->timer, NEVER_MS);
    stream_close(&conn->stream);
    if (conn->counted)
        edge_admit_close(edge->counts, conn->address, conn->kind);
    *conn->link = conn->next;
    if (conn->next)
        conn->next->link = conn->link;
    edge->connection_count--;
    edge_counts_disconnect(edge->counts);
    edge_settings_drop(conn->settings);
    buf_release(&conn->rdns);
    free(conn);
    if (edge->stopping && !edge->connections)
        role_end(edge->role);
}

static void on_end(void *context)
{
    edge_conn_free(context);
}

void edge_conn_abort(struct edge_conn *conn, const char *reason)
{
    struct log_line line;
    if (conn->state == EDGE_CONN_CLOSED)
        return;
    if (conn->state < EDGE_CONN_CLOSING) {
        edge_conn_log(conn, &line, LOG_INFO, "disconnected", conn->id);
        log_words(&line, "reason", reason);
        log_end(&line);
    }
    conn->state = EDGE_CONN_CLOSED;
    hook_queue(&conn->end, role_loop(conn->edge->role));
}

void edge_conn_close(struct edge_conn *conn, const char *reason)
{
    struct log_line line;
    if (conn->state >= EDGE_CONN_CLOSING)
        return;
    edge_conn_log(conn, &line, LOG_INFO, "disconnected", conn->id);
    log_words(&line, "reason", reason);
    log_end(&line);
    conn->state = EDGE_CONN_CLOSING;
    conn->deadline_ms = edge_conn_now(conn).mono_ms + LIMIT_HANDSHAKE_MS;
}

/* All is written: the peer is told, and given a moment to hear it. */
static void linger(struct edge_conn *conn)
{
    conn->state = EDGE_CONN_LINGER;
    conn->stuffed = false;
    conn->deadline_ms = edge_conn_now(conn).mono_ms + LINGER_MS;
    stream_finish(&conn->stream);
}

static void drain(struct edge_conn *conn)
{
    struct str bytes;
    enum stream_result result = stream_read(&conn->stream, &bytes);
    while (result == STREAM_OK)
        result = stream_read(&conn->stream, &bytes);
    if (result != STREAM_BLOCKED)
        edge_conn_abort(conn, "closed");
}

/* ---- Bytes and events
 * ---------------------------------------------------------------------------- */

static bool act(struct edge_conn *conn, struct now now)
{
    bool acted = false;
    while ((conn->state == EDGE_CONN_OPEN || conn->state == EDGE_CONN_CLOSING) &&
           conn->protocol->act(conn, now))
        acted = true;
    return acted;
}

static bool flush(struct edge_conn *conn)
{
    bool moved = false;
    while (conn->session) {
        struct str out = conn->protocol->output(conn);
        size_t n = 0;
        if (str_empty(out))
            break;
        enum stream_result result = stream_write(&conn->stream, out, &n);
        if (result == STREAM_BROKEN) {
            conn->protocol->peer_gone(conn, edge_conn_now(conn));
            edge_conn_abort(conn, "connection broken");
            return false;
        }
        if (n == 0)
            break;
        conn->protocol->output_done(conn, n);
        conn->written += n;
        moved = true;
    }
    return moved;
}

void edge_conn_flush(struct edge_conn *conn)
{
    if (conn->state != EDGE_CONN_OPEN)
        return;
    flush(conn);
    stream_read_on(&conn->stream);
}

static bool has_output(struct edge_conn *conn)
{
    return conn->session && !str_empty(conn->protocol->output(conn));
}

/*
 * Replies to a pipelined group leave together, also where one of its commands is answered by
 * another role (RFC 2920 §3.2).
 */
static bool is_asking(const struct edge_conn *conn)
{
    return conn->protocol->asking && conn->protocol->asking(conn);
}

static void take_bytes(struct edge_conn *conn, struct str bytes)
{
    struct now now = edge_conn_now(conn);
    bool moved = true;
    while (moved && bytes.len > 0 && conn->state == EDGE_CONN_OPEN && conn->holds == 0) {
        size_t n = conn->protocol->input(conn, bytes, now);
        bytes = str_skip(bytes, n);
        moved = act(conn, now) || n > 0;
        /* The engine may be waiting for room for its replies. */
        if (!moved && conn->state == EDGE_CONN_OPEN && !is_asking(conn))
            moved = flush(conn);
    }
    bool wanted = conn->state == EDGE_CONN_OPEN || conn->state == EDGE_CONN_PUMP;
    conn->stuffed = bytes.len > 0 && wanted;
    if (conn->stuffed && !stream_unread(&conn->stream, bytes))
        edge_conn_abort(conn, "out of memory");
}

static bool hears_secrets(const struct edge_conn *conn)
{
    return conn->protocol->hears_secrets && conn->protocol->hears_secrets(conn);
}

/* False where nothing more can be read, or should be. */
static bool feed(struct edge_conn *conn)
{
    struct str bytes;
    if (conn->state != EDGE_CONN_OPEN || conn->holds > 0)
        return false;
    bool again = conn->stuffed, is_secret;
    enum stream_result result = stream_read(&conn->stream, &bytes);
    switch (result) {
    case STREAM_OK:
        /* What was given back was read before: it proves no more than it did then. */
        if (!again && conn->acked != conn->written && socket_peer_acked(conn->stream.fd))
            conn->acked = conn->written;
        is_secret = hears_secrets(conn);
        if (is_secret)
            stream_hold_secrets(&conn->stream);
        take_bytes(conn, bytes);
        if (is_secret)
            stream_forget(bytes);
        return !conn->stuffed;
    case STREAM_BLOCKED:
        return false;
    default:
        conn->protocol->peer_gone(conn, edge_conn_now(conn));
        act(conn, edge_conn_now(conn));
        edge_conn_abort(conn, result == STREAM_EOF ? "closed by peer" : "connection broken");
        return false;
    }
}

/* ---- States without an engine
 * -------------------------------------------------------------------- */

static void open_session(struct edge_conn *conn)
{
    conn->state = EDGE_CONN_OPEN;
    if (!conn->protocol->open(conn, edge_conn_now(conn)))
        edge_conn_abort(conn, "out of memory");
}

static int64_t handshake_deadline(const struct edge_conn *conn)
{
    return edge_conn_now(conn).mono_ms + (int64_t)conn->settings->config.limits.handshake_ms;
}

static void begin_handshake(struct edge_conn *conn)
{
    conn->state = EDGE_CONN_HANDSHAKE;
    conn->deadline_ms = handshake_deadline(conn);
    conn->stuffed = false;
    if (!conn->settings->tls || !stream_start_tls(&conn->stream, conn->settings->tls))
        edge_conn_abort(conn, "no TLS");
}

static void shake_hands(struct edge_conn *conn)
{
    struct str bytes;
    enum stream_result result = stream_read(&conn->stream, &bytes);
    if (result == STREAM_BROKEN || result == STREAM_EOF) {
        edge_conn_abort(conn, "TLS handshake failed");
        return;
    }
    if (stream_handshaking(&conn->stream))
        return;
    if (conn->session) {
        conn->state = EDGE_CONN_OPEN;
        conn->protocol->tls_started(conn, edge_conn_now(conn));
    } else {
        open_session(conn);
    }
    if (result == STREAM_OK && conn->state == EDGE_CONN_OPEN)
        take_bytes(conn, bytes);
}

static void ask_name(struct edge_conn *conn);
static bool admit(struct edge_conn *conn);

static void begin(struct edge_conn *conn)
{
    struct log_line line;
    if (!admit(conn))
        return;
    edge_conn_log(conn, &line, LOG_DEBUG, "connected", conn->id);
    log_end(&line);
    ask_name(conn);
    if (listen_kind_is_tls(conn->kind))
        begin_handshake(conn);
    else
        open_session(conn);
}

static void set_peer(struct edge_conn *conn, const struct socket_address *peer)
{
    struct str bytes = socket_address_bytes(peer);
    struct buf words;
    memset(conn->address.octets, 0, sizeof conn->address.octets);
    if (bytes.len == 4) {
        conn->address.octets[10] = conn->address.octets[11] = 0xFF;
        memcpy(conn->address.octets + 12, bytes.ptr, 4);
    } else if (bytes.len == 16) {
        memcpy(conn->address.octets, bytes.ptr, 16);
    }
    buf_init(&words, sizeof conn->peer);
    socket_address_print(peer, &words);
    str_to_c(buf_str(&words), conn->peer, sizeof conn->peer);
    buf_release(&words);
}

/* A local user; limits count them by their number, which stands where a network's would. */
static void set_local_peer(struct edge_conn *conn, int fd)
{
    uid_t uid = UINT32_MAX;
    if (!socket_peer_uid(fd, &uid))
        uid = UINT32_MAX;
    conn->is_local = true;
    conn->uid = uid;
    memset(conn->address.octets, 0, sizeof conn->address.octets);
    for (int i = 0; i < 4; i++)
        conn->address.octets[4 + i] = (uint8_t)(uid >> (24 - 8 * i));
    snprintf(conn->peer, sizeof conn->peer, "user %u", (unsigned)uid);
}

/* Not an octet more than the header: what comes behind it may be TLS. */
static enum proxy2_result read_proxy_header(struct edge_conn *conn,
                                            struct proxy2_header *ret_header)
{
    struct str bytes;
    for (;;) {
        enum stream_result result = stream_read_more(&conn->stream, conn->proxy_size, &bytes);
        if (result != STREAM_OK)
            return result == STREAM_BLOCKED ? PROXY2_MORE : PROXY2_BAD;
        enum proxy2_result parsed = proxy2_parse(bytes, ret_header, &conn->proxy_size);
        if (parsed != PROXY2_MORE)
            return parsed;
        if (!stream_unread(&conn->stream, bytes))
            return PROXY2_BAD;
    }
}

static void take_proxy_header(struct edge_conn *conn)
{
    struct proxy2_header header;
    struct socket_address source;
    enum proxy2_result result = read_proxy_header(conn, &header);
    if (result == PROXY2_MORE)
        return;
    if (result == PROXY2_BAD) {
        edge_conn_abort(conn, "no good PROXY header");
        return;
    }
    struct str address = str_make(header.source, header.family == PROXY2_IPV4 ? 4 : 16);
    if (header.family != PROXY2_OWN &&
        socket_address_from_bytes(address, header.source_port, &source))
        set_peer(conn, &source);
    begin(conn);
}

/* ---- Running
 * ------------------------------------------------------------------------------------- */

static void pass(struct edge_conn *conn)
{
    struct now now = edge_conn_now(conn);
    switch (conn->state) {
    case EDGE_CONN_PROXY:
        take_proxy_header(conn);
        if (conn->state != EDGE_CONN_PROXY)
            conn->run_again = true;
        break;
    case EDGE_CONN_STARTTLS:
        flush(conn);
        if (conn->state == EDGE_CONN_STARTTLS && !has_output(conn))
            begin_handshake(conn);
        break;
    case EDGE_CONN_HANDSHAKE:
        shake_hands(conn);
        /* What came with the handshake's end may have been the end of all. */
        if (conn->state != EDGE_CONN_HANDSHAKE)
            conn->run_again = true;
        break;
    case EDGE_CONN_OPEN:
        act(conn, now);
        do {
            if (!conn->stuffed)
                flush(conn);
        } while (feed(conn));
        if (conn->stuffed && !is_asking(conn))
            flush(conn);
        if (conn->state != EDGE_CONN_OPEN)
            conn->run_again = true;
        break;
    case EDGE_CONN_PUMP:
        flush(conn);
        if (has_output(conn))
            stream_set_reading(&conn->stream, false);
        else
            edge_pump_run(conn->pump);
        break;
    case EDGE_CONN_CLOSING:
        flush(conn);
        if (conn->state == EDGE_CONN_CLOSING && !has_output(conn))
            linger(conn);
        break;
    case EDGE_CONN_LINGER:
        drain(conn);
        break;
    case EDGE_CONN_CLOSED:
        break;
    }
}

static int64_t deadline_of(struct edge_conn *conn)
{
    switch (conn->state) {
    case EDGE_CONN_OPEN:
        /* While we hold the client up ourselves it cannot be too slow. */
        return conn->holds > 0 ? NEVER_MS : conn->protocol->deadline(conn);
    case EDGE_CONN_PUMP:
    case EDGE_CONN_CLOSED:
        return NEVER_MS;
    default:
        return conn->deadline_ms;
    }
}

void edge_conn_run(struct edge_conn *conn)
{
    if (conn->running) {
        conn->run_again = true;
        return;
    }
    conn->running = true;
    do {
        conn->run_again = false;
        pass(conn);
    } while (conn->run_again && conn->state != EDGE_CONN_CLOSED);
    conn->running = false;
    timer_set(&conn->timer, deadline_of(conn));
    if (conn->state != EDGE_CONN_PUMP && conn->state != EDGE_CONN_CLOSED)
        stream_set_reading(&conn->stream, !conn->stuffed && conn->holds == 0 &&
                                              conn->state != EDGE_CONN_CLOSING &&
                                              conn->state != EDGE_CONN_STARTTLS);
    if (conn->state == EDGE_CONN_CLOSED) {
        stream_set_reading(&conn->stream, false);
        hook_queue(&conn->end, role_loop(conn->edge->role));
    }
}

static void on_ready(void *context)
{
    edge_conn_run(context);
}

static void on_timer(void *context)
{
    struct edge_conn *conn = context;
    if (conn->state == EDGE_CONN_OPEN)
        conn->protocol->tick(conn, edge_conn_now(conn));
    else if (conn->state != EDGE_CONN_PUMP)
        edge_conn_abort(conn, "timed out");
    edge_conn_run(conn);
}

void edge_conn_hold(struct edge_conn *conn)
{
    conn->holds++;
}

void edge_conn_unhold(struct edge_conn *conn)
{
    invariant(conn->holds > 0);
    if (--conn->holds == 0)
        edge_conn_run(conn);
}

void edge_conn_start_tls(struct edge_conn *conn)
{
    conn->state = EDGE_CONN_STARTTLS;
    conn->deadline_ms = handshake_deadline(conn);
}

void edge_conn_shutdown(struct edge_conn *conn)
{
    if (conn->state == EDGE_CONN_OPEN && conn->session)
        conn->protocol->shutdown(conn, edge_conn_now(conn));
    else if (conn->state != EDGE_CONN_PUMP)
        edge_conn_abort(conn, "server stops");
    edge_conn_run(conn);
}

/* ---- Beginnings
 * ---------------------------------------------------------------------------------- */

static void on_name(void *context, enum status_code status, const struct ipc_reverse_name_out *out)
{
    struct edge_conn *conn = context;
    conn->rdns_call = 0;
    if (status == STATUS_OK && out->status == STATUS_OK)
        buf_append_str(&conn->rdns, text_peek(out->name));
}

/* The name goes into Received if it is there by then; nobody waits for it. */
static void ask_name(struct edge_conn *conn)
{
    const struct config *config = &conn->settings->config;
    if (!config->reverse_dns || conn->kind != LISTEN_MX ||
        networks_have(&config->trust, conn->address.octets))
        return;
    static const uint8_t mapped[12] = {[10] = 0xFF, [11] = 0xFF};
    bool is_v4 = memcmp(conn->address.octets, mapped, sizeof mapped) == 0;
    struct ipc_reverse_name_in in = {
        .address = str_skip(str_make(conn->address.octets, 16), is_v4 ? 12 : 0)};
    conn->rdns_channel = conn->edge->courier;
    conn->rdns_call = ipc_reverse_name_call(conn->rdns_channel, &in, on_name, conn);
}

static bool admit(struct edge_conn *conn)
{
    const struct config *config = &conn->settings->config;
    struct edge_admit_limits limits = {
        .open_per_address = (uint32_t)config->limits.connections_per_address,
        .rate_per_minute = (uint32_t)config->limits.connection_rate_per_minute,
    };
    struct log_line line;
    size_t written;
    if (networks_have(&config->trust, conn->address.octets))
        return true;
    enum edge_verdict verdict = edge_admit_open(conn->edge->counts, conn->address, conn->kind,
                                                &limits, edge_conn_now(conn));
    conn->counted = verdict == EDGE_ADMITTED;
    if (conn->counted)
        return true;
    edge_conn_log(conn, &line, LOG_INFO, "turned-away", conn->id);
    log_words(&line, "reason",
              verdict == EDGE_TOO_FAST ? "too many connections a minute" : "too many connections");
    log_end(&line);
    edge_count(conn->edge, "postern_edge_turned_away", "Connections over a limit.", "listener",
               listen_kind_name(conn->kind));
    if (!listen_kind_is_tls(conn->kind))
        stream_write(&conn->stream, conn->protocol->busy, &written);
    linger(conn);
    /* Where places get scarce, those who are turned away take none from others. */
    if (edge_counts_connections(conn->edge->counts) > config->limits.connections / 2)
        edge_conn_abort(conn, "turned away");
    return false;
}

void edge_conn_accept(struct edge *edge, uint32_t listener, int fd,
                      const struct socket_address *peer)
{
    const struct config_listener *l = &edge->settings->config.listeners[listener];
    struct edge_conn *conn = calloc(1, sizeof *conn);
    if (!conn) {
        edge_counts_disconnect(edge->counts);
        close(fd);
        return;
    }
    conn->edge = edge;
    conn->settings = edge_settings_take(edge->settings);
    conn->number = listener;
    conn->kind = l->kind;
    conn->protocol = protocol_of(l->kind);
    conn->link = &edge->connections;
    conn->next = edge->connections;
    if (conn->next)
        conn->next->link = &conn->next;
    edge->connections = conn;
    edge->connection_count++;
    edge_count(edge, "postern_edge_connections", "Connections of the network.", "listener",
               listen_kind_name(conn->kind));
    buf_init(&conn->rdns, LIMIT_DOMAIN_SIZE + 1);
    edge_new_id(edge, edge_conn_now(conn), conn->id);
    if (l->kind == LISTEN_SENDMAIL)
        set_local_peer(conn, fd);
    else
        set_peer(conn, peer);
    socket_set_no_delay(fd);
    stream_open(&conn->stream, role_loop(edge->role), fd, on_ready, conn);
    timer_init(&conn->timer, role_loop(edge->role), on_timer, conn);
    hook_init(&conn->end, on_end, conn);
    if (networks_have(&l->proxy_from, conn->address.octets)) {
        conn->state = EDGE_CONN_PROXY;
        conn->proxy_size = PROXY2_HEAD_SIZE;
        conn->deadline_ms = handshake_deadline(conn);
    } else {
        begin(conn);
    }
    edge_conn_run(conn);
}

/* ---- Facts
 * --------------------------------------------------------------------------------------- */

bool edge_conn_has_tls(const struct edge_conn *conn)
{
    return stream_tls(&conn->stream) != NULL;
}

void edge_conn_tls_words(const struct edge_conn *conn, struct buf *out)
{
    if (!edge_conn_has_tls(conn))
        return;
    struct tls_facts facts = tls_facts(stream_tls(&conn->stream));
    buf_printf(out, "%s %s", facts.version, facts.cipher);
}
