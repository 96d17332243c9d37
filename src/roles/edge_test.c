/*
 * An edge with a warden, a mailroom, a vault and a keeper that follow a script, all in one loop.
 * Clients are socket pairs. Nothing here waits: what has been sent can be read in the next turn.
 */
#include "roles/edge.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <zstd.h>

#include "base/testing.h"
#include "io/socket.h"
#include "roles/edge_conn.h"
#include "roles/link.h"
#include "store/ingest.h"

enum { MX, SUBMISSION, LMTP, IMAP, POP3, PROXIED };
enum { TURNS_MAX = 1000, HELD_MAX = 8, ALICE = 7 };

static const struct str config_text = STR("hostname mail.example.org\ndata /var/lib/postern\n"
                                          "listen mx 127.0.0.1:25 {\n    tls no\n}\n"
                                          "listen submission 127.0.0.1:587 {\n    tls no\n}\n"
                                          "listen lmtp 127.0.0.1:24 {\n    tls no\n}\n"
                                          "listen imap 127.0.0.1:143 {\n    tls no\n}\n"
                                          "listen pop3 127.0.0.1:110 {\n    tls no\n}\n"
                                          "listen mx 127.0.0.1:26 {\n    tls no\n"
                                          "    proxy-from 192.0.2.0/24\n}\n");

/* The requests of one kind that a role has not answered yet. */
struct held {
    bool hold; /* else they are answered at once */
    struct channel *from;
    uint32_t ids[HELD_MAX];
    size_t count;
};

struct world {
    struct loop *loop;
    struct log log;
    struct role *role;
    struct edge *edge;
    struct link *warden, *mailroom, *vault, *keeper;
    bool ready;

    /* The script, and what the roles were told. */
    struct held recipients, chunks, accepts;
    enum status_code chunk_status, accept_status, second_status;
    uint8_t login_outcome;
    struct buf body; /* of the last message, unpacked */
    struct buf prefix;
    struct buf keys;
    struct buf confirmed;
    struct buf accepted; /* recipients of the last accept, each with a space */
    uint64_t aborted_body;
    int accept_count;
    int session_fd;

    int client;
    bool tcp;
    struct buf heard;
};

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

static void answer_recipient(struct world *w, struct channel *from, uint32_t id)
{
    (void)w;
    struct ipc_target target = {
        .account = ALICE, .mailbox = 1, .delivered_to = STR("alice@example.org")};
    ipc_recipient_reply(
        from, id, &(struct ipc_recipient_out){.code = 250, .targets = &target, .targets_count = 1});
}

static void on_recipient(void *context, struct channel *from, uint32_t id,
                         const struct ipc_recipient_in *in)
{
    struct world *w = context;
    if (str_starts(text_peek(in->recipient), STR("nobody@")))
        ipc_recipient_reply(from, id,
                            &(struct ipc_recipient_out){.code = 550,
                                                        .enhanced = STR("5.1.1"),
                                                        .text = STR("No such user")});
    else
        hold_or(&w->recipients, from, id, answer_recipient, w);
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

static void answer_chunk(struct world *w, struct channel *from, uint32_t id)
{
    ipc_body_chunk_reply(from, id, &(struct ipc_body_chunk_out){w->chunk_status});
}

static void on_body_chunk(void *context, struct channel *from, uint32_t id,
                          const struct ipc_body_chunk_in *in)
{
    struct world *w = context;
    take_chunks(w, in->chunks, in->chunks_count);
    hold_or(&w->chunks, from, id, answer_chunk, w);
}

static void on_body_abort(void *context, struct channel *from, const struct ipc_body_abort_in *in)
{
    (void)from;
    ((struct world *)context)->aborted_body = in->body;
}

static void answer_accept(struct world *w, struct channel *from, uint32_t id)
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
    for (size_t i = 0; i < in->recipients_count; i++) {
        buf_append_str(&w->accepted, text_peek(in->recipients[i].recipient));
        buf_append_byte(&w->accepted, ' ');
        buf_append_str(&w->keys, in->recipients[i].key);
        buf_append_str(&w->prefix, in->recipients[i].deliveries[0].prefix);
    }
    hold_or(&w->accepts, from, id, answer_accept, w);
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
    uint8_t outcome = w->login_outcome ? w->login_outcome : good ? 1 : 2;
    ipc_sasl_start_reply(from, id,
                         &(struct ipc_sasl_start_out){{.outcome = outcome,
                                                       .account = outcome == 1 ? ALICE : 0,
                                                       .login = STR("alice"),
                                                       .capability = STR("capability")}});
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
                                             .sasl_abort = on_sasl_abort};

static void on_ready(void *context, struct channel *from)
{
    (void)from;
    ((struct world *)context)->ready = true;
}

static const struct ipc_handlers warden_handlers = {.ready = on_ready};

/* ---- The world ----------------------------------------------------------------------------- */

static void turns(struct world *w, int count)
{
    for (int i = 0; i < count; i++)
        loop_turn(w->loop, false);
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

static void start_peer(struct world *w, struct link **link, enum ipc_role role)
{
    int fds[2];
    assert_int_equal(socket_pair(fds), STATUS_OK);
    *link = link_to_edge(w, role, fds[1], &handlers);
    ipc_peer_note(link_channel(w->warden),
                  &(struct ipc_peer_in){.role = (uint8_t)role, .fd = fds[0]});
    turns(w, 3);
}

static void kill_peer(struct link **link)
{
    link_close(*link);
    *link = NULL;
}

static void open_world(struct world *w)
{
    int fds[2];
    *w = (struct world){.client = -1, .session_fd = -1};
    w->loop = loop_new();
    log_init(&w->log, open("/dev/null", O_WRONLY | O_CLOEXEC), ROLE_EDGE);
    struct buf *bufs[] = {&w->body, &w->prefix, &w->keys, &w->confirmed, &w->accepted, &w->heard};
    for (size_t i = 0; i < sizeof bufs / sizeof *bufs; i++)
        buf_init(bufs[i], 64UL * 1024 * 1024);
    assert_int_equal(socket_pair(fds), STATUS_OK);
    w->role = role_new(&edge_plan, 0, w->loop, fds[0], &w->log);
    w->edge = role_state(w->role);
    w->warden = link_to_edge(w, ROLE_WARDEN, fds[1], &warden_handlers);
    ipc_config_note(link_channel(w->warden), &(struct ipc_config_in){.text = config_text});
    for (int i = 0; i < TURNS_MAX && !w->ready; i++)
        loop_turn(w->loop, false);
    assert_true(w->ready);
    start_peer(w, &w->mailroom, ROLE_MAILROOM);
    start_peer(w, &w->vault, ROLE_VAULT);
    start_peer(w, &w->keeper, ROLE_KEEPER);
}

static void hang_up(struct world *w)
{
    if (w->client >= 0)
        close(w->client);
    w->client = -1;
}

static void close_world(struct world *w)
{
    hang_up(w);
    turns(w, 3);
    assert_int_equal(w->edge->connection_count, 0);
    role_free(w->role);
    struct link *links[] = {w->warden, w->mailroom, w->vault, w->keeper};
    for (size_t i = 0; i < sizeof links / sizeof *links; i++)
        link_close(links[i]);
    loop_free(w->loop);
    close(w->log.fd);
    if (w->session_fd >= 0)
        close(w->session_fd);
    struct buf *bufs[] = {&w->body, &w->prefix, &w->keys, &w->confirmed, &w->accepted, &w->heard};
    for (size_t i = 0; i < sizeof bufs / sizeof *bufs; i++)
        buf_release(bufs[i]);
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

static void call(struct world *w, uint32_t listener)
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
static void hear(struct world *w, const char *words)
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

static void say_all(struct world *w, struct str octets)
{
    for (int i = 0; octets.len > 0 && i < TURNS_MAX; i++) {
        ssize_t n = send(w->client, octets.ptr, octets.len, MSG_NOSIGNAL);
        octets = str_skip(octets, n > 0 ? (size_t)n : 0);
        if (octets.len > 0)
            loop_turn(w->loop, false);
    }
    assert_int_equal(octets.len, 0);
}

static void say(struct world *w, const char *words)
{
    say_all(w, str_from_c(words));
}

static void hear_end(struct world *w)
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

static void greet(struct world *w, uint32_t listener)
{
    call(w, listener);
    hear(w, "220 mail.example.org");
    say(w, listener == LMTP ? "LHLO client.test\r\n" : "EHLO client.test\r\n");
    hear(w, "LIMITS RCPTMAX=1000 MAILMAX=1000\r\n");
}

static void begin_mail(struct world *w, uint32_t listener)
{
    greet(w, listener);
    say(w, "MAIL FROM:<bob@example.net>\r\nRCPT TO:<alice@example.org>\r\n");
    hear(w, "250 2.1.5");
}

#define HEADER                                                                                     \
    "From: bob@example.net\r\nDate: Tue, 1 Jul 2025 10:00:00 +0000\r\nMessage-ID: <1@a>\r\n\r\n"

static size_t connections_after_turns(struct world *w)
{
    turns(w, 5);
    return w->edge->connection_count;
}

/* A body of `size` octets that zstd cannot make smaller. */
static void make_noise(struct buf *out, size_t size)
{
    uint64_t x = 88172645463325252u;
    buf_init(out, size + 100);
    while (out->len < size) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        size_t column = out->len % 72;
        buf_append_byte(out, column < 70 ? (char)('!' + x % 90) : "\r\n"[column - 70]);
    }
}

/* ---- Accepting ----------------------------------------------------------------------------- */

static void a_message_is_kept_with_its_trace_on_top_and_its_prefix_beside(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    begin_mail(&w, MX);
    say(&w, "RCPT TO:<nobody@example.org>\r\nDATA\r\n");
    hear(&w, "550 5.1.1 No such user\r\n");
    hear(&w, "354 ");
    say(&w, HEADER "..one\r\n.\r\n");
    hear(&w, "250 2.0.0 Ok, kept as ");
    assert_true(
        str_starts(buf_str(&w.body), STR("Received: from client.test (unknown [192.0.2.1]) by ")));
    assert_true(str_ends(buf_str(&w.body), STR("\r\n" HEADER ".one\r\n")));
    assert_true(str_find(buf_str(&w.body), STR("for <alice@example.org>")) > 0);
    assert_true(str_eq(buf_str(&w.accepted), STR("alice@example.org ")));
    assert_true(str_eq(buf_str(&w.prefix), STR("Return-Path: <bob@example.net>\r\n"
                                               "Delivered-To: alice@example.org\r\n")));
    assert_int_equal(w.keys.len, 32);
    assert_int_equal(w.confirmed.len, 0);
    say(&w, "QUIT\r\n");
    hear(&w, "221 2.0.0");
    turns(&w, 2);
    assert_true(str_eq(buf_str(&w.keys), buf_str(&w.confirmed)));
    hear_end(&w);
    close_world(&w);
}

static void what_names_itself_not_has_no_key(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    begin_mail(&w, MX);
    say(&w, "DATA\r\n");
    hear(&w, "354 ");
    say(&w, "From: cron@example.net\r\n\r\nagain\r\n.\r\n");
    hear(&w, "250 2.0.0");
    assert_int_equal(w.keys.len, 0);
    close_world(&w);
}

static void lmtp_tells_each_recipient_his_own(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    w.second_status = STATUS_OVER_QUOTA;
    begin_mail(&w, LMTP);
    say(&w, "RCPT TO:<carol@example.org>\r\nDATA\r\n");
    hear(&w, "354 ");
    say(&w, HEADER "x\r\n.\r\n");
    hear(&w, "250 2.0.0");
    hear(&w, "452 4.2.2");
    assert_true(str_find(buf_str(&w.body), STR("for <")) < 0);
    close_world(&w);
}

static void what_was_pipelined_behind_the_dot_confirms_nothing(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    w.tcp = true;
    w.accepts.hold = true;
    begin_mail(&w, MX);
    say(&w, "DATA\r\n");
    hear(&w, "354 ");
    say(&w, HEADER "x\r\n.\r\n");
    turns(&w, 5);
    say(&w, "NOOP\r\n"); /* is read, and has to wait */
    turns(&w, 5);
    say(&w, "NOOP\r\n"); /* is not even read before the reply is written */
    turns(&w, 5);
    answer_accept(&w, w.accepts.from, w.accepts.ids[0]);
    hear(&w, "250 2.0.0 Ok, kept");
    hear(&w, "fine\r\n");
    hear(&w, "fine\r\n");
    turns(&w, 3);
    assert_int_equal(w.confirmed.len, 0);
    say(&w, "NOOP\r\n");
    hear(&w, "fine\r\n");
    turns(&w, 3);
    assert_int_equal(w.confirmed.len, 32);
    close_world(&w);
}

static void a_proxy_header_may_come_in_pieces(void **state)
{
    (void)state;
    static const struct str header =
        STR("\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C\xC6\x33\x64\x09\x7F\0\0\1\x12\x34\0\x19");
    struct world w;
    open_world(&w);
    call(&w, PROXIED);
    for (size_t i = 0; i < header.len; i++) {
        assert_int_equal(w.heard.len, 0);
        say_all(&w, str_sub(header, i, 1));
        turns(&w, 2);
    }
    hear(&w, "220 mail.example.org");
    assert_string_equal(w.edge->connections->peer, "198.51.100.9");
    close_world(&w);
}

/* ---- When others are away ------------------------------------------------------------------ */

static void without_a_vault_the_client_hears_451_and_may_try_again(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    begin_mail(&w, MX);
    kill_peer(&w.vault);
    say(&w, "DATA\r\n");
    hear(&w, "354 ");
    say(&w, HEADER "x\r\n.\r\n");
    hear(&w, "451 4.3.0");
    start_peer(&w, &w.vault, ROLE_VAULT);
    say(&w, "MAIL FROM:<>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n");
    hear(&w, "354 ");
    say(&w, HEADER "x\r\n.\r\n");
    hear(&w, "250 2.0.0");
    assert_true(str_starts(buf_str(&w.prefix), STR("Return-Path: <>\r\n")));
    close_world(&w);
}

static void a_vault_that_dies_with_an_accept_is_451(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    w.accepts.hold = true;
    begin_mail(&w, MX);
    say(&w, "DATA\r\n");
    hear(&w, "354 ");
    say(&w, HEADER "x\r\n.\r\n");
    turns(&w, 5);
    assert_int_equal(w.accepts.count, 1);
    kill_peer(&w.vault);
    hear(&w, "451 4.3.0");
    answer_accept(&w, w.accepts.from, w.accepts.ids[0]);
    close_world(&w);
}

static void a_vault_that_dies_in_a_large_message_is_451_after_the_dot(void **state)
{
    (void)state;
    struct world w;
    struct buf noise;
    open_world(&w);
    make_noise(&noise, 4UL * 1024 * 1024);
    begin_mail(&w, MX);
    say(&w, "DATA\r\n");
    hear(&w, "354 ");
    say(&w, HEADER);
    say_all(&w, str_sub(buf_str(&noise), 0, 1024 * 1024));
    kill_peer(&w.vault);
    say_all(&w, str_skip(buf_str(&noise), 1024 * 1024));
    say(&w, "\r\n.\r\n");
    hear(&w, "451 4.3.0");
    say(&w, "NOOP\r\n");
    hear(&w, "250 2.0.0");
    assert_int_equal(w.edge->bodies_in_flight_size, 0);
    buf_release(&noise);
    close_world(&w);
}

static void a_mailroom_that_dies_during_rcpt_is_451(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    w.recipients.hold = true;
    greet(&w, MX);
    say(&w, "MAIL FROM:<bob@example.net>\r\nRCPT TO:<alice@example.org>\r\n");
    turns(&w, 5);
    assert_int_equal(w.recipients.count, 1);
    kill_peer(&w.mailroom);
    hear(&w, "451 4.3.0");
    say(&w, "RCPT TO:<alice@example.org>\r\n");
    hear(&w, "451 4.3.0");
    answer_recipient(&w, w.recipients.from, w.recipients.ids[0]);
    close_world(&w);
}

/* ---- When the client goes ------------------------------------------------------------------ */

static void a_client_that_goes_in_the_turn_of_an_answer_is_forgotten(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    w.recipients.hold = true;
    for (int i = 0; i < 2; i++) {
        greet(&w, MX);
        say(&w, "MAIL FROM:<bob@example.net>\r\nRCPT TO:<alice@example.org>\r\n");
        turns(&w, 5);
        /* Both can be read in the same turn; which comes first is the kernel's choice. */
        if (i == 0)
            hang_up(&w);
        answer_recipient(&w, w.recipients.from, w.recipients.ids[i]);
        loop_turn(w.loop, false); /* flushes the answer */
        if (i == 1)
            hang_up(&w);
        assert_int_equal(connections_after_turns(&w), 0);
    }
    close_world(&w);
}

static void an_answer_for_a_connection_that_ends_in_this_turn_is_void(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    w.recipients.hold = true;
    greet(&w, MX);
    say(&w, "MAIL FROM:<bob@example.net>\r\nRCPT TO:<alice@example.org>\r\n");
    turns(&w, 5);
    struct edge_conn *conn = w.edge->connections;
    hang_up(&w);
    edge_conn_abort(conn, "gone"); /* the connection lives on to the end of the turn */
    assert_int_equal(conn->state, EDGE_CONN_CLOSED);
    answer_recipient(&w, w.recipients.from, w.recipients.ids[0]);
    kill_peer(&w.mailroom); /* which sends the answer at once */
    assert_int_equal(connections_after_turns(&w), 0);
    close_world(&w);
}

static void a_client_that_vanishes_during_the_commit_leaves_nothing_behind(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    w.accepts.hold = true;
    begin_mail(&w, MX);
    say(&w, "DATA\r\n");
    hear(&w, "354 ");
    say(&w, HEADER "x\r\n.\r\n");
    turns(&w, 5);
    hang_up(&w);
    assert_int_equal(connections_after_turns(&w), 0);
    answer_accept(&w, w.accepts.from, w.accepts.ids[0]);
    turns(&w, 5);
    assert_int_equal(w.confirmed.len, 0);
    assert_int_equal(w.edge->bodies_in_flight_size, 0);
    close_world(&w);
}

static void a_large_message_given_up_is_taken_back(void **state)
{
    (void)state;
    struct world w;
    struct buf noise;
    open_world(&w);
    make_noise(&noise, 1024 * 1024);
    begin_mail(&w, MX);
    say(&w, "DATA\r\n");
    hear(&w, "354 ");
    say_all(&w, buf_str(&noise));
    turns(&w, 5);
    hang_up(&w);
    assert_int_equal(connections_after_turns(&w), 0);
    assert_int_equal(w.aborted_body, 1);
    assert_int_equal(w.edge->bodies_in_flight_size, 0);
    buf_release(&noise);
    close_world(&w);
}

/* ---- Back-pressure ------------------------------------------------------------------------- */

static void a_vault_that_is_behind_holds_the_client_back(void **state)
{
    (void)state;
    struct world w;
    struct buf noise;
    open_world(&w);
    make_noise(&noise, 1024 * 1024);
    w.chunks.hold = true;
    begin_mail(&w, MX);
    say(&w, "DATA\r\n");
    hear(&w, "354 ");
    struct str rest = buf_str(&noise);
    for (int i = 0; i < TURNS_MAX && w.chunks.count < 4; i++) {
        ssize_t n = send(w.client, rest.ptr, rest.len, MSG_NOSIGNAL);
        rest = str_skip(rest, n > 0 ? (size_t)n : 0);
        loop_turn(w.loop, false);
    }
    assert_int_equal(w.chunks.count, 4);
    turns(&w, 20);
    assert_int_equal(w.chunks.count, 4);
    w.chunks.hold = false;
    for (size_t i = 0; i < 4; i++)
        answer_chunk(&w, w.chunks.from, w.chunks.ids[i]);
    say_all(&w, rest);
    say(&w, "\r\n.\r\n");
    hear(&w, "250 2.0.0");
    assert_true(str_ends(buf_str(&w.body), STR("\r\n")));
    buf_release(&noise);
    close_world(&w);
}

static void bodies_beyond_the_budget_are_452(void **state)
{
    (void)state;
    struct world w;
    struct buf noise;
    open_world(&w);
    make_noise(&noise, 128 * 1024);
    w.edge->settings->config.limits.bodies_in_flight_size = 1024 * 1024;
    /* Others have nearly all of it. */
    w.edge->bodies_in_flight_size = 768 * 1024;
    begin_mail(&w, MX);
    say(&w, "DATA\r\n");
    hear(&w, "354 ");
    say_all(&w, buf_str(&noise));
    say(&w, "\r\n.\r\n");
    hear(&w, "452 4.3.1");
    assert_int_equal(w.edge->bodies_in_flight_size, 768 * 1024);
    w.edge->bodies_in_flight_size = 900 * 1024;
    say(&w, "MAIL FROM:<>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n");
    hear(&w, "452 4.3.1");
    w.edge->bodies_in_flight_size = 0;
    say(&w, "DATA\r\n");
    hear(&w, "354 ");
    say(&w, HEADER "x\r\n.\r\n");
    hear(&w, "250 2.0.0");
    assert_int_equal(w.edge->bodies_in_flight_size, 0);
    assert_int_equal(w.accept_count, 1);
    buf_release(&noise);
    close_world(&w);
}

/* A message that is refused while the vault is behind must not hold its connection for ever. */
static void a_refused_message_gives_its_connection_free(void **state)
{
    (void)state;
    struct world w;
    struct buf noise, bdat;
    open_world(&w);
    make_noise(&noise, 1024 * 1024);
    buf_init(&bdat, 1024 * 1024);
    for (int i = 0; i < 60; i++)
        buf_append_str(&bdat, STR("Received: by loop; Tue, 1 Jul 2025 10:00:00 +0000\r\n"));
    buf_append_str(&bdat, STR("\r\n"));
    /* The last octets make the fourth shipment: 256 KiB at first, then 64 KiB each. */
    buf_append_str(&bdat, str_sub(buf_str(&noise), 0, 7UL * LIMIT_CHUNK_SIZE - bdat.len));
    w.chunks.hold = true;
    begin_mail(&w, MX);
    say(&w, "BDAT 458752 LAST\r\n");
    turns(&w, 2);
    struct str rest = buf_str(&bdat);
    for (int i = 0; i < TURNS_MAX && rest.len > 0; i++) {
        ssize_t n = send(w.client, rest.ptr, rest.len < 65536 ? rest.len : 65536, MSG_NOSIGNAL);
        rest = str_skip(rest, n > 0 ? (size_t)n : 0);
        loop_turn(w.loop, false);
    }
    hear(&w, "554 5.4.6");
    say(&w, "QUIT\r\n");
    hear(&w, "221 ");
    assert_int_equal(w.chunks.count, 4);
    w.chunks.hold = false;
    for (size_t i = 0; i < w.chunks.count; i++)
        answer_chunk(&w, w.chunks.from, w.chunks.ids[i]);
    turns(&w, 5);
    assert_int_equal(w.aborted_body, 1);
    buf_release(&noise);
    buf_release(&bdat);
    close_world(&w);
}

/* ---- Logging in ---------------------------------------------------------------------------- */

static void a_session_goes_to_the_mailroom_and_is_pumped_both_ways(void **state)
{
    (void)state;
    struct world w;
    struct buf noise, got;
    char piece[65536];
    open_world(&w);
    call(&w, IMAP);
    hear(&w, "* OK");
    say(&w, "a LOGIN alice wrong\r\n");
    hear(&w, "a NO [AUTHENTICATIONFAILED]");
    say(&w, "b LOGIN alice secret\r\nc NOOP\r\n");
    hear(&w, "b OK");
    turns(&w, 5);
    assert_int_equal(recv(w.session_fd, piece, sizeof piece, MSG_DONTWAIT), 8);
    assert_memory_equal(piece, "c NOOP\r\n", 8);
    /* More than all buffers hold, each way. */
    make_noise(&noise, 2UL * 1024 * 1024);
    buf_init(&got, 4UL * 1024 * 1024);
    struct str rest = buf_str(&noise);
    while (got.len < noise.len) {
        ssize_t n = send(w.session_fd, rest.ptr, rest.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        rest = str_skip(rest, n > 0 ? (size_t)n : 0);
        turns(&w, 3);
        if (n <= 0 && (n = recv(w.client, piece, sizeof piece, 0)) > 0)
            buf_append(&got, piece, (size_t)n);
    }
    ptrdiff_t from = str_find(buf_str(&got), str_sub(buf_str(&noise), 0, 72));
    assert_true(from >= 0);
    assert_true(str_starts(buf_str(&noise), str_skip(buf_str(&got), (size_t)from)));
    buf_clear(&got);
    while (recv(w.client, piece, sizeof piece, 0) > 0)
        turns(&w, 3);
    rest = buf_str(&noise);
    while (got.len < noise.len) {
        ssize_t n = send(w.client, rest.ptr, rest.len, MSG_NOSIGNAL);
        rest = str_skip(rest, n > 0 ? (size_t)n : 0);
        turns(&w, 3);
        if (n <= 0 && (n = recv(w.session_fd, piece, sizeof piece, MSG_DONTWAIT)) > 0)
            buf_append(&got, piece, (size_t)n);
    }
    assert_true(str_eq(buf_str(&got), buf_str(&noise)));
    send(w.session_fd, "* BYE\r\n", 7, MSG_NOSIGNAL);
    close(w.session_fd);
    w.session_fd = -1;
    hear(&w, "* BYE\r\n");
    hear_end(&w);
    buf_release(&noise);
    buf_release(&got);
    close_world(&w);
}

static void a_client_that_goes_ends_its_session_in_the_mailroom(void **state)
{
    (void)state;
    struct world w;
    char byte;
    open_world(&w);
    call(&w, POP3);
    hear(&w, "+OK");
    say(&w, "USER alice\r\nPASS secret\r\n");
    hear(&w, "+OK");
    hear(&w, "+OK");
    hang_up(&w);
    turns(&w, 5);
    assert_int_equal(recv(w.session_fd, &byte, 1, MSG_DONTWAIT), 0);
    close(w.session_fd);
    w.session_fd = -1;
    assert_int_equal(connections_after_turns(&w), 0);
    close_world(&w);
}

static void without_a_keeper_or_mailroom_nobody_logs_in_and_all_may_try_again(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    call(&w, IMAP);
    hear(&w, "* OK");
    kill_peer(&w.keeper);
    say(&w, "a LOGIN alice secret\r\n");
    hear(&w, "a NO [UNAVAILABLE]");
    start_peer(&w, &w.keeper, ROLE_KEEPER);
    kill_peer(&w.mailroom);
    say(&w, "b LOGIN alice secret\r\n");
    hear(&w, "b NO [UNAVAILABLE]");
    start_peer(&w, &w.mailroom, ROLE_MAILROOM);
    say(&w, "c LOGIN alice secret\r\n");
    hear(&w, "c OK");
    close(w.session_fd);
    w.session_fd = -1;
    close_world(&w);
}

/* ---- STARTTLS ------------------------------------------------------------------------------ */

/* Gives the edge a certificate whose key it holds itself. */
static void give_certificate(struct edge *edge)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), 0);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    BIO *pem = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(pem, cert);
    char *text;
    size_t len = (size_t)BIO_get_mem_data(pem, &text);
    struct diag diag = {0};
    edge->settings->tls = tls_server_new();
    assert_int_equal(tls_server_add(edge->settings->tls, str_make(text, len), key, &diag),
                     STATUS_OK);
    edge->settings->services[MX].smtp.starttls = true;
    BIO_free(pem);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static void clear_text_behind_starttls_is_never_obeyed(void **state)
{
    (void)state;
    struct world w;
    char line[200];
    size_t n = 0;
    open_world(&w);
    give_certificate(w.edge);
    greet(&w, MX);
    say(&w, "STARTTLS\r\nMAIL FROM:<evil@example.net>\r\nRCPT TO:<alice@example.org>\r\n");
    hear(&w, "220 ");
    hear(&w, "\r\n");
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(ctx);
    SSL_set_fd(ssl, w.client);
    for (int i = 0; i < TURNS_MAX && SSL_connect(ssl) != 1; i++)
        loop_turn(w.loop, false);
    assert_true(SSL_is_init_finished(ssl));
    assert_true(SSL_write(ssl, "RCPT TO:<alice@example.org>\r\n", 29) > 0);
    for (int i = 0; i < TURNS_MAX && !SSL_read_ex(ssl, line, sizeof line, &n); i++)
        loop_turn(w.loop, false);
    assert_true(str_starts(str_make(line, n), STR("503 5.5.1")));
    assert_int_equal(w.recipients.count, 0);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_is_kept_with_its_trace_on_top_and_its_prefix_beside),
        cmocka_unit_test(what_names_itself_not_has_no_key),
        cmocka_unit_test(lmtp_tells_each_recipient_his_own),
        cmocka_unit_test(what_was_pipelined_behind_the_dot_confirms_nothing),
        cmocka_unit_test(a_proxy_header_may_come_in_pieces),
        cmocka_unit_test(without_a_vault_the_client_hears_451_and_may_try_again),
        cmocka_unit_test(a_vault_that_dies_with_an_accept_is_451),
        cmocka_unit_test(a_vault_that_dies_in_a_large_message_is_451_after_the_dot),
        cmocka_unit_test(a_mailroom_that_dies_during_rcpt_is_451),
        cmocka_unit_test(a_client_that_goes_in_the_turn_of_an_answer_is_forgotten),
        cmocka_unit_test(an_answer_for_a_connection_that_ends_in_this_turn_is_void),
        cmocka_unit_test(a_client_that_vanishes_during_the_commit_leaves_nothing_behind),
        cmocka_unit_test(a_large_message_given_up_is_taken_back),
        cmocka_unit_test(a_vault_that_is_behind_holds_the_client_back),
        cmocka_unit_test(bodies_beyond_the_budget_are_452),
        cmocka_unit_test(a_refused_message_gives_its_connection_free),
        cmocka_unit_test(a_session_goes_to_the_mailroom_and_is_pumped_both_ways),
        cmocka_unit_test(a_client_that_goes_ends_its_session_in_the_mailroom),
        cmocka_unit_test(without_a_keeper_or_mailroom_nobody_logs_in_and_all_may_try_again),
        cmocka_unit_test(clear_text_behind_starttls_is_never_obeyed),
    };
    signal(SIGPIPE, SIG_IGN); /* as every role does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
