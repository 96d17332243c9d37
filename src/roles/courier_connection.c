#include "roles/courier_connection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io/random.h"
#include "roles/courier_connection_state.h"
#include "roles/courier_settings.h"

static void try_address(struct courier_connection *conn);

const struct route_host *courier_connection_host(const struct courier_connection *conn)
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

void courier_connection_log(const struct courier_connection *conn, struct log_line *line,
                            enum log_level level, const char *event)
{
    log_begin(line, role_log(conn->courier->role), courier_now(conn->courier), level, event);
    log_str(line, "destination", buf_str(&conn->destination->name));
    log_words(line, "remote", conn->remote);
}

/* ---- Ends ---------------------------------------------------------------------------------- */

/* Whatever this address had open. */
void courier_connection_hang_up(struct courier_connection *conn)
{
    courier_login_end(conn);
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
    courier_connection_hang_up(conn);
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

void courier_connection_close(struct courier_connection *conn)
{
    if (conn->state == CONN_CLOSED)
        return;
    conn->state = CONN_CLOSED;
    conn->destination->live--;
    give_back(conn);
    courier_connection_hang_up(conn);
    hook_cancel(&conn->end);
    hook_init(&conn->end, on_end, conn);
    hook_queue(&conn->end, courier_loop(conn->courier));
}

/* ---- The next address --------------------------------------------------------------------------
 */

void courier_connection_note(struct courier_connection *conn, const char *status, struct str words)
{
    str_to_c(str_from_c(status), conn->status, sizeof conn->status);
    buf_clear(&conn->words);
    buf_append_str(&conn->words, str_sub(words, 0, CONNECTION_WORDS_SIZE));
    conn->was_reply = false;
}

static uint32_t host_bit(const struct courier_connection *conn)
{
    return UINT32_C(1) << conn->host;
}

/* RFC 5321 §5.1: the addresses of a host, then the next host's; false where all were tried. */
static bool step(struct courier_connection *conn)
{
    const struct route_decision *decision = &conn->route->route.decision;
    if (++conn->address >= courier_connection_host(conn)->address_count) {
        conn->address = 0;
        if (++conn->host >= decision->host_count) {
            conn->host = 0;
            conn->wrapped = true;
        }
    }
    return !conn->wrapped || conn->host < conn->first_host ||
           (conn->host == conn->first_host && conn->address < conn->first_address);
}

/* Passes over the hosts that are of no use; false where none is left. */
static bool pass_over(struct courier_connection *conn)
{
    bool is_left = true;
    while (is_left && (conn->avoid & host_bit(conn)))
        is_left = step(conn);
    return is_left;
}

static bool advance(struct courier_connection *conn)
{
    bool is_last = conn->address + 1 >= courier_connection_host(conn)->address_count;
    conn->in_clear = false;
    if (is_last && conn->route == conn->destination->route)
        conn->destination->failed_hosts |= host_bit(conn);
    return step(conn) && pass_over(conn);
}

static void came_to_nothing(struct courier_connection *conn)
{
    struct courier_destination *d = conn->destination;
    bool never = conn->never > 0 && conn->never == conn->tries;
    struct courier_fate fate = {.outcome = never ? IPC_OUTCOME_FAILED : IPC_OUTCOME_LATER,
                                .status = str_from_c(conn->status),
                                .words = text_from(buf_str(&conn->words)),
                                .remote = text_from(str_from_c(conn->remote)),
                                .is_reply = conn->was_reply};
    metric_add(conn->courier->counts.connections_failed, 1);
    uint32_t wave = conn->wave, avoid = conn->route == d->route ? conn->avoid : 0;
    struct buf words = conn->words;
    char status[sizeof conn->status], remote[CONNECTION_REMOTE_SIZE];
    memcpy(status, conn->status, sizeof status);
    memcpy(remote, conn->remote, sizeof remote);
    fate.status = str_from_c(status);
    fate.remote = text_from(str_from_c(remote));
    buf_init(&conn->words, CONNECTION_WORDS_SIZE);
    courier_connection_close(conn);
    if (avoid != 0)
        courier_destination_unfit(d, avoid, &fate);
    else
        courier_destination_unreachable(d, wave, &fate);
    buf_release(&words);
}

static void on_retry(void *context)
{
    try_address(context);
}

/* Not from inside whoever called us: the stream and the engine are still in use there. */
void courier_connection_try_soon(struct courier_connection *conn)
{
    conn->state = CONN_CONNECTING;
    hook_init(&conn->end, on_retry, conn);
    hook_queue(&conn->end, courier_loop(conn->courier));
}

bool courier_connection_searched_enough(const struct courier_connection *conn)
{
    return conn->tries >= LIMIT_OUTBOUND_SEARCH_ADDRESSES ||
           courier_now(conn->courier).mono_ms - conn->search_ms >= LIMIT_OUTBOUND_SEARCH_MS;
}

/* This address did not let us in. */
void courier_connection_next_address(struct courier_connection *conn)
{
    struct log_line line;
    courier_connection_log(conn, &line, LOG_INFO, "not-let-in");
    log_text(&line, "why", text_from(buf_str(&conn->words)));
    log_end(&line);
    courier_connection_hang_up(conn);
    conn->tries++;
    if (advance(conn) && !courier_connection_searched_enough(conn))
        courier_connection_try_soon(conn);
    else
        came_to_nothing(conn);
}

void courier_connection_turned_away(struct courier_connection *conn)
{
    struct courier_destination *d = conn->destination;
    give_back(conn);
    d->ready_count--;
    conn->ready = conn->put_off = conn->quitting = false;
    conn->carried = 0;
    pace_failed(&d->pace, conn->wave);
    courier_connection_next_address(conn);
}

/* ---- Beginnings
 * ------------------------------------------------------------------------------------ */

static void name_remote(struct courier_connection *conn)
{
    const struct route_host *host = courier_connection_host(conn);
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

int64_t courier_connection_deadline(const struct courier_connection *conn, int64_t usual_ms)
{
    int64_t max_ms = (int64_t)conn->route->settings->config.outbound.timeout_ms;
    if (pace_is_scarce(&conn->courier->pace) && usual_ms > LIMIT_OUTBOUND_PATIENCE_MS)
        usual_ms = LIMIT_OUTBOUND_PATIENCE_MS;
    int64_t in_ms = max_ms > 0 && max_ms < usual_ms ? max_ms : usual_ms;
    return courier_now(conn->courier).mono_ms + in_ms;
}

/* A host that refuses says nothing about the way to it. */
static void note_ipv6(struct courier_connection *conn, int error)
{
    bool no_way = error == ENETUNREACH || error == EHOSTUNREACH || error == EADDRNOTAVAIL ||
                  error == ETIMEDOUT;
    if (no_way && conn->peer.any.sa_family == AF_INET6)
        conn->courier->ipv6_failed_ms = courier_now(conn->courier).mono_ms;
}

static void on_connect(void *context, int fd, int error)
{
    struct courier_connection *conn = context;
    if (fd < 0) {
        note_ipv6(conn, error);
        courier_connection_note(conn, "4.4.1", str_from_c(strerror(error)));
        courier_connection_next_address(conn);
        return;
    }
    conn->begun_ms = courier_now(conn->courier).mono_ms;
    courier_dialogue_begin(conn, fd);
}

static bool address_of(struct courier_connection *conn)
{
    const struct route_host *host = courier_connection_host(conn);
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
        courier_connection_note(conn, "4.4.4", STR("it has no address that can be used"));
        courier_connection_next_address(conn);
        return;
    }
    name_remote(conn);
    courier_security_decide(conn->route, courier_connection_host(conn), &conn->security);
    if (!conn->security.usable) {
        courier_connection_report_tls(conn, conn->security.result, conn->security.words);
        courier_connection_note(conn, "4.7.5", str_from_c(conn->security.words));
        courier_connection_next_address(conn);
        return;
    }
    metric_add(conn->courier->counts.connections, 1);
    connect_start(&conn->connect, courier_loop(conn->courier), &conn->peer,
                  source_of(conn, &source), courier_connection_deadline(conn, LIMIT_CONNECT_MS),
                  on_connect, conn);
}

struct courier_connection *courier_connection_open(struct courier_destination *d)
{
    struct courier *c = d->courier;
    struct courier_connection *conn = calloc(1, sizeof *conn);
    uint32_t avoid = courier_destination_avoids(d);
    size_t host =
        route_draw(&d->route->route.decision, d->host, d->failed_hosts | avoid, random_u64());
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
                                        .first_address = address,
                                        .avoid = avoid,
                                        .search_ms = courier_now(c).mono_ms};
    if (conn->next)
        conn->next->at = &conn->next;
    d->connections = conn;
    d->connection_count++;
    d->live++;
    buf_init(&conn->words, CONNECTION_WORDS_SIZE);
    timer_init(&conn->timer, courier_loop(c), courier_dialogue_expired, conn);
    conn->wave = pace_opened(&d->pace, &c->pace);
    metric_set(c->counts.open, c->pace.open);
    pass_over(conn);
    courier_connection_try_soon(conn);
    return conn;
}

void courier_connection_wake(struct courier_connection *conn)
{
    if (!courier_connection_is_idle(conn))
        return;
    courier_dialogue_look_for_work(conn);
    courier_connection_run(conn);
}

void courier_connection_quit(struct courier_connection *conn)
{
    if (conn->quitting || conn->state == CONN_CLOSED)
        return;
    if (!conn->ready) {
        courier_connection_close(conn);
        return;
    }
    if (conn->working) /* look_for_work asks again */
        return;
    conn->quitting = true;
    smtp_client_quit(conn->engine, courier_now(conn->courier));
    courier_connection_run(conn);
}
