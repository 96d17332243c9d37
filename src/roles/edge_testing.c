#include "roles/edge_testing.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <zstd.h>

#include "base/limits.h"
#include "base/testing.h"
#include "io/socket.h"
#include "store/ingest.h"

static const struct str config_text = STR("hostname mail.example.org\ndata /var/lib/postern\n"
                                          "listen mx 127.0.0.1:25 {\n    tls no\n}\n"
                                          "listen submission 127.0.0.1:587 {\n    tls no\n}\n"
                                          "listen lmtp 127.0.0.1:24 {\n    tls no\n}\n"
                                          "listen imap 127.0.0.1:143 {\n    tls no\n}\n"
                                          "listen pop3 127.0.0.1:110 {\n    tls no\n}\n"
                                          "listen mx 127.0.0.1:26 {\n    tls no\n"
                                          "    proxy-from 192.0.2.0/24\n}\n"
                                          "relay-from 198.51.100.0/24\n"
                                          "limits {\n    greeting-delay 0s\n}\n");

/* ---- The other roles ----------------------------------------------------------------------- */

static void hold_or(struct held *h, struct channel *from, uint32_t id,
                    void (*answer)(struct world *w, struct channel *from, uint32_t id),
                    struct world *w)
{
    h->from = from;
    if (h->hold)
        h->ids[h->count++ % HELD_MAX] = id;
    else
        answer(w, from, id);
}

static void take_chunks(struct world *w, const struct ipc_chunk *chunks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *at = buf_reserve(&w->body, chunks[i].plain_size);
        assert_non_null(at);
        if (chunks[i].codec == CHUNK_ZSTD)
            assert_int_equal(
                ZSTD_decompress(at, chunks[i].plain_size, chunks[i].data.ptr, chunks[i].data.len),
                chunks[i].plain_size);
        else
            memcpy(at, chunks[i].data.ptr, chunks[i].plain_size);
        buf_grown(&w->body, chunks[i].plain_size);
    }
}

void world_answer_recipient(struct world *w, struct channel *from, uint32_t id)
{
    static struct ipc_target targets[LIMIT_MESSAGE_WAYS];
    size_t count = w->members > 0 ? w->members : 1;
    for (size_t i = 0; i < count; i++)
        targets[i] = (struct ipc_target){
            .account = ALICE + i, .mailbox = 1, .delivered_to = STR("alice@example.org")};
    ipc_recipient_reply(
        from, id,
        &(struct ipc_recipient_out){.code = 250, .targets = targets, .targets_count = count});
}

/* Nobody lives there, so only those who may send anywhere may send there. */
static void answer_elsewhere(struct channel *from, uint32_t id, const struct ipc_recipient_in *in)
{
    struct ipc_relay relay = {.address = in->recipient, .destination = STR("dns:elsewhere.test")};
    bool may = in->trusted || in->account != 0;
    ipc_recipient_reply(from, id,
                        &(struct ipc_recipient_out){.code = may ? 250 : 550,
                                                    .enhanced = may ? STR("2.1.5") : STR("5.7.1"),
                                                    .text = STR("words"),
                                                    .relays = &relay,
                                                    .relays_count = may});
}

static void on_recipient(void *context, struct channel *from, uint32_t id,
                         const struct ipc_recipient_in *in)
{
    struct world *w = context;
    buf_printf(&w->asked, "%.*s account=%d trusted=%d\n", STR_ARG(text_peek(in->recipient)),
               (int)in->account, in->trusted);
    if (str_starts(text_peek(in->recipient), STR("nobody@")))
        ipc_recipient_reply(from, id,
                            &(struct ipc_recipient_out){.code = 550,
                                                        .enhanced = STR("5.1.1"),
                                                        .text = STR("No such user")});
    else if (str_ends(text_peek(in->recipient), STR("@elsewhere.test")))
        answer_elsewhere(from, id, in);
    else
        hold_or(&w->recipients, from, id, world_answer_recipient, w);
}

static void on_sender(void *context, struct channel *from, uint32_t id,
                      const struct ipc_sender_in *in)
{
    (void)context;
    bool own = in->account == ALICE;
    for (size_t i = 0; i < in->addresses_count; i++)
        own = own && str_eq(text_peek(in->addresses[i].address), STR("alice@example.org"));
    ipc_sender_reply(from, id, &(struct ipc_sender_out){.status = own ? STATUS_OK : STATUS_DENIED});
}

static void on_handover(void *context, struct channel *from, uint32_t id,
                        const struct ipc_handover_in *in)
{
    struct world *w = context;
    assert_int_equal(in->account, ALICE);
    w->session_fd = in->fd;
    ipc_handover_reply(from, id, &(struct ipc_handover_out){STATUS_OK});
}

void world_answer_chunk(struct world *w, struct channel *from, uint32_t id)
{
    ipc_body_chunk_reply(from, id, &(struct ipc_body_chunk_out){w->chunk_status});
}

static void on_body_chunk(void *context, struct channel *from, uint32_t id,
                          const struct ipc_body_chunk_in *in)
{
    struct world *w = context;
    take_chunks(w, in->chunks, in->chunks_count);
    hold_or(&w->chunks, from, id, world_answer_chunk, w);
}

static void on_body_abort(void *context, struct channel *from, const struct ipc_body_abort_in *in)
{
    (void)from;
    ((struct world *)context)->aborted_body = in->body;
}

void world_answer_accept(struct world *w, struct channel *from, uint32_t id)
{
    struct ipc_accept_result results[2] = {{.status = STATUS_OK}, {.status = w->second_status}};
    size_t count = 0;
    for (struct str rest = buf_str(&w->accepted), one; str_split(&rest, ' ', &one);)
        count += one.len > 0;
    assert_in_range(count, 1, 2);
    ipc_accept_reply(from, id,
                     &(struct ipc_accept_out){
                         .status = w->accept_status, .results = results, .results_count = count});
}

/* "address notify=2 orcpt=rfc822;a ->alice@b dns:b"; so many deliveries here: "+1". */
static void note_plan(struct world *w, const struct ipc_accept_recipient *r)
{
    buf_printf(&w->plan, "%.*s", STR_ARG(text_peek(r->recipient)));
    if (r->notify != 0)
        buf_printf(&w->plan, " notify=%d", r->notify);
    if (!str_empty(text_peek(r->orcpt)))
        buf_printf(&w->plan, " orcpt=%.*s", STR_ARG(text_peek(r->orcpt)));
    if (r->deliveries_count > 0)
        buf_printf(&w->plan, " +%zu", r->deliveries_count);
    for (size_t i = 0; i < r->relays_count; i++)
        buf_printf(&w->plan, " ->%.*s %.*s", STR_ARG(text_peek(r->relays[i].address)),
                   STR_ARG(r->relays[i].destination));
    buf_append_byte(&w->plan, '\n');
}

static void on_accept(void *context, struct channel *from, uint32_t id,
                      const struct ipc_accept_in *in)
{
    struct world *w = context;
    w->accept_count++;
    take_chunks(w, in->email.chunks, in->email.chunks_count);
    assert_int_equal(w->body.len, in->email.size);
    buf_clear(&w->accepted);
    buf_clear(&w->keys);
    buf_clear(&w->prefix);
    buf_clear(&w->plan);
    buf_printf(&w->plan, "%.*s\n", STR_ARG(text_peek(in->envelope.envid)));
    w->envelope = in->envelope;
    w->email = in->email;
    for (size_t i = 0; i < in->recipients_count; i++) {
        buf_append_str(&w->accepted, text_peek(in->recipients[i].recipient));
        buf_append_byte(&w->accepted, ' ');
        buf_append_str(&w->keys, in->recipients[i].key);
        for (size_t j = 0; j < in->recipients[i].deliveries_count; j++)
            buf_append_str(&w->prefix, in->recipients[i].deliveries[j].prefix);
        note_plan(w, &in->recipients[i]);
    }
    hold_or(&w->accepts, from, id, world_answer_accept, w);
}

static void on_confirm(void *context, struct channel *from, const struct ipc_confirm_in *in)
{
    (void)from;
    for (size_t i = 0; i < in->keys_count; i++)
        buf_append_str(&((struct world *)context)->confirmed, in->keys[i].key);
}

static void on_ticket_keys(void *context, struct channel *from, uint32_t id)
{
    (void)context;
    ipc_ticket_keys_reply(from, id, &(struct ipc_ticket_keys_out){0});
}

static void on_sasl_start(void *context, struct channel *from, uint32_t id,
                          const struct ipc_sasl_start_in *in)
{
    struct world *w = context;
    bool good = in->has_initial && str_eq(in->initial, STR("\0alice\0secret"));
    uint8_t outcome = w->login_challenges ? 0 : w->login_outcome ? w->login_outcome : good ? 1 : 2;
    ipc_sasl_start_reply(from, id,
                         &(struct ipc_sasl_start_out){{.outcome = outcome,
                                                       .account = outcome == 1 ? ALICE : 0,
                                                       .login = STR("alice"),
                                                       .capability = STR("capability")}});
}

static void on_sasl_step(void *context, struct channel *from, uint32_t id,
                         const struct ipc_sasl_step_in *in)
{
    (void)in;
    ((struct world *)context)->steps++;
    ipc_sasl_step_reply(from, id, &(struct ipc_sasl_step_out){{.outcome = 4}});
}

static void on_sasl_abort(void *context, struct channel *from, const struct ipc_sasl_abort_in *in)
{
    (void)context, (void)from, (void)in;
}

static const struct ipc_handlers handlers = {.recipient = on_recipient,
                                             .sender = on_sender,
                                             .handover = on_handover,
                                             .body_chunk = on_body_chunk,
                                             .body_abort = on_body_abort,
                                             .accept = on_accept,
                                             .confirm = on_confirm,
                                             .ticket_keys = on_ticket_keys,
                                             .sasl_start = on_sasl_start,
                                             .sasl_step = on_sasl_step,
                                             .sasl_abort = on_sasl_abort};

static void on_ready(void *context, struct channel *from)
{
    (void)from;
    ((struct world *)context)->ready = true;
}

static const struct ipc_handlers warden_handlers = {.ready = on_ready};

/* ---- The world ----------------------------------------------------------------------------- */

void world_turns(struct world *w, int count)
{
    for (int i = 0; i < count; i++)
        loop_turn(w->loop, false);
}

void world_hear_confirmed(struct world *w, size_t size)
{
    while (w->confirmed.len < size)
        loop_turn(w->loop, true);
    assert_int_equal(w->confirmed.len, size);
}

static void on_ended(void *owner, enum status_code why, const char *words)
{
    (void)owner, (void)why, (void)words;
}

static struct link *link_to_edge(struct world *w, enum ipc_role self, int fd,
                                 const struct ipc_handlers *its_handlers)
{
    return link_open(&(struct link_setup){.loop = w->loop,
                                          .fd = fd,
                                          .self = self,
                                          .peer = ROLE_EDGE,
                                          .handlers = its_handlers,
                                          .context = w,
                                          .owner = w,
                                          .ended = on_ended});
}

void world_start_peer(struct world *w, struct link **link, enum ipc_role role)
{
    int fds[2];
    assert_int_equal(socket_pair(fds), STATUS_OK);
    *link = link_to_edge(w, role, fds[1], &handlers);
    ipc_peer_note(link_channel(w->warden),
                  &(struct ipc_peer_in){.role = (uint8_t)role, .fd = fds[0]});
    world_turns(w, 3);
}

void world_kill_peer(struct link **link)
{
    link_close(*link);
    *link = NULL;
}

void world_open(struct world *w)
{
    int fds[2];
    *w = (struct world){.client = -1, .session_fd = -1};
    w->loop = loop_new();
    log_init(&w->log, memfd_create("log", MFD_CLOEXEC), ROLE_EDGE);
    struct buf *bufs[] = {&w->body, &w->prefix,    &w->plan,     &w->asked,
                          &w->keys, &w->confirmed, &w->accepted, &w->heard};
    for (size_t i = 0; i < sizeof bufs / sizeof bufs[0]; i++)
        buf_init(bufs[i], 64UL * 1024 * 1024);
    assert_int_equal(socket_pair(fds), STATUS_OK);
    w->role = role_new(&edge_plan, 0, w->loop, fds[0], &w->log);
    w->edge = role_state(w->role);
    w->warden = link_to_edge(w, ROLE_WARDEN, fds[1], &warden_handlers);
    ipc_config_note(link_channel(w->warden), &(struct ipc_config_in){.text = config_text});
    for (int i = 0; i < TURNS_MAX && !w->ready; i++)
        loop_turn(w->loop, false);
    assert_true(w->ready);
    world_start_peer(w, &w->mailroom, ROLE_MAILROOM);
    world_start_peer(w, &w->vault, ROLE_VAULT);
    world_start_peer(w, &w->keeper, ROLE_KEEPER);
}

void world_hang_up(struct world *w)
{
    if (w->client >= 0)
        close(w->client);
    w->client = -1;
}

void world_close(struct world *w)
{
    world_hang_up(w);
    world_turns(w, 3);
    assert_int_equal(w->edge->connection_count, 0);
    role_free(w->role);
    struct link *links[] = {w->warden, w->mailroom, w->vault, w->keeper};
    for (size_t i = 0; i < sizeof links / sizeof links[0]; i++)
        link_close(links[i]);
    loop_free(w->loop);
    close(w->log.fd);
    if (w->session_fd >= 0)
        close(w->session_fd);
    struct buf *bufs[] = {&w->body, &w->prefix,    &w->plan,     &w->asked,
                          &w->keys, &w->confirmed, &w->accepted, &w->heard};
    for (size_t i = 0; i < sizeof bufs / sizeof bufs[0]; i++)
        buf_release(bufs[i]);
}

void world_expect_log(struct world *w, const char *words)
{
    static char text[256 * 1024];
    ssize_t n = pread(w->log.fd, text, sizeof text, 0);
    assert_true(n >= 0);
    assert_true(str_find(str_make(text, (size_t)n), str_from_c(words)) >= 0);
}

/* ---- The client ---------------------------------------------------------------------------- */

/* Unix sockets do not tell what the peer's kernel has: where that counts it is to be TCP. */
static void tcp_pair(int ret_fds[2])
{
    struct socket_address a;
    int listener;
    assert_true(socket_address_parse(STR("127.0.0.1"), 0, &a));
    assert_int_equal(socket_listen(&a, &listener, NULL), STATUS_OK);
    assert_true(socket_local_address(listener, &a));
    ret_fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(ret_fds[1], &a.any, a.len), 0);
    socket_set_blocking(ret_fds[1], false);
    socket_set_no_delay(ret_fds[1]);
    assert_int_equal(socket_accept(listener, &ret_fds[0], &a), STATUS_OK);
    close(listener);
}

void world_call(struct world *w, uint32_t listener)
{
    int fds[2];
    struct socket_address peer;
    assert_true(socket_address_parse(STR("192.0.2.1"), 4321, &peer));
    if (w->tcp)
        tcp_pair(fds);
    else
        assert_int_equal(socket_pair(fds), STATUS_OK);
    w->client = fds[1];
    buf_clear(&w->heard);
    assert_true(edge_counts_connect(w->edge->counts, UINT64_MAX));
    edge_conn_accept(w->edge, listener, fds[0], &peer);
}

static bool read_client(struct world *w)
{
    char piece[4096];
    ssize_t n = recv(w->client, piece, sizeof piece, 0);
    if (n > 0)
        buf_append(&w->heard, piece, (size_t)n);
    return n > 0;
}

/* Turns until the client has heard `words`, and forgets all up to their end. */
void world_hear(struct world *w, const char *words)
{
    for (int i = 0; i < TURNS_MAX; i++) {
        while (read_client(w))
            ;
        ptrdiff_t at = str_find(buf_str(&w->heard), str_from_c(words));
        if (at >= 0) {
            buf_consume(&w->heard, (size_t)at + strlen(words));
            return;
        }
        loop_turn(w->loop, false);
    }
    fail_msg("waited for \"%s\", heard \"%.*s\"", words, STR_ARG(buf_str(&w->heard)));
}

void world_say_all(struct world *w, struct str octets)
{
    for (int i = 0; octets.len > 0 && i < TURNS_MAX; i++) {
        ssize_t n = send(w->client, octets.ptr, octets.len, MSG_NOSIGNAL);
        octets = str_skip(octets, n > 0 ? (size_t)n : 0);
        if (octets.len > 0)
            loop_turn(w->loop, false);
    }
    assert_int_equal(octets.len, 0);
}

void world_say(struct world *w, const char *words)
{
    world_say_all(w, str_from_c(words));
}

void world_hear_end(struct world *w)
{
    char byte;
    for (int i = 0; i < TURNS_MAX; i++) {
        while (read_client(w))
            ;
        if (recv(w->client, &byte, 1, 0) == 0)
            return;
        loop_turn(w->loop, false);
    }
    fail_msg("the connection stays open");
}

void world_greet(struct world *w, uint32_t listener)
{
    world_call(w, listener);
    world_hear(w, "220 mail.example.org");
    world_say(w, listener == LMTP ? "LHLO client.test\r\n" : "EHLO client.test\r\n");
    world_hear(w, "LIMITS RCPTMAX=1000 MAILMAX=1000\r\n");
}

void world_begin_mail(struct world *w, uint32_t listener)
{
    world_greet(w, listener);
    world_say(w, "MAIL FROM:<bob@example.net>\r\nRCPT TO:<alice@example.org>\r\n");
    world_hear(w, "250 2.1.5");
}

size_t world_connections_after_turns(struct world *w)
{
    world_turns(w, 5);
    return w->edge->connection_count;
}

/* A body of `size` octets that zstd cannot make smaller. */
void world_make_noise(struct buf *out, size_t size)
{
    uint64_t x = 88172645463325252u;
    buf_init(out, size + 100);
    while (out->len < size) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        size_t column = out->len % 72;
        buf_append_byte(out, column < 70 ? (char)('!' + x % 90) : "\r\n"[column - 70]);
    }
}
