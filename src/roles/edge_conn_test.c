/* Connections that come in pieces, go at bad times, or turn to TLS. */
#include "roles/edge_conn.h"

#include <signal.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/testing.h"
#include "io/shared_memory.h"
#include "roles/edge_testing.h"

static void a_proxy_header_may_come_in_pieces(void **state)
{
    (void)state;
    static const struct str header =
        STR("\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C\xC6\x33\x64\x09\x7F\0\0\1\x12\x34\0\x19");
    struct world w;
    world_open(&w);
    world_call(&w, PROXIED);
    for (size_t i = 0; i < header.len; i++) {
        assert_int_equal(w.heard.len, 0);
        world_say_all(&w, str_sub(header, i, 1));
        world_turns(&w, 2);
    }
    world_hear(&w, "220 mail.example.org");
    assert_string_equal(w.edge->connections->peer, "198.51.100.9");
    world_close(&w);
}

static void what_is_said_to_those_turned_away_ends_with_its_line(void **state)
{
    (void)state;
    const struct edge_protocol *protocols[] = {&edge_protocol_smtp, &edge_protocol_imap,
                                               &edge_protocol_pop3, &edge_protocol_metrics};
    for (size_t i = 0; i < sizeof protocols / sizeof *protocols; i++)
        assert_true(str_ends(protocols[i]->busy, STR("\r\n")));
}

/* One address that is over its limits must not fill all places by being turned away. */
static void those_turned_away_take_no_scarce_places(void **state)
{
    (void)state;
    int clients[20];
    struct world w;
    world_open(&w);
    w.edge->settings->config.limits.connections = 10;
    w.edge->settings->config.limits.connections_per_address = 1;
    for (int i = 0; i < 20; i++) {
        world_call(&w, MX);
        clients[i] = w.client;
        if (i > 0)
            world_hear(&w, "421 4.7.0");
    }
    assert_int_equal(world_connections_after_turns(&w), 5);
    for (int i = 0; i < 19; i++)
        close(clients[i]);
    world_close(&w);
}

/* ---- When the client goes ------------------------------------------------------------------ */

static void a_client_that_goes_in_the_turn_of_an_answer_is_forgotten(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    w.recipients.hold = true;
    for (int i = 0; i < 2; i++) {
        world_greet(&w, MX);
        world_say(&w, "MAIL FROM:<bob@example.net>\r\nRCPT TO:<alice@example.org>\r\n");
        world_turns(&w, 5);
        /* Both can be read in the same turn; which comes first is the kernel's choice. */
        if (i == 0)
            world_hang_up(&w);
        world_answer_recipient(&w, w.recipients.from, w.recipients.ids[i]);
        loop_turn(w.loop, false); /* flushes the answer */
        if (i == 1)
            world_hang_up(&w);
        assert_int_equal(world_connections_after_turns(&w), 0);
    }
    world_close(&w);
}

static void an_answer_for_a_connection_that_ends_in_this_turn_is_void(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    w.recipients.hold = true;
    world_greet(&w, MX);
    world_say(&w, "MAIL FROM:<bob@example.net>\r\nRCPT TO:<alice@example.org>\r\n");
    world_turns(&w, 5);
    struct edge_conn *conn = w.edge->connections;
    world_hang_up(&w);
    edge_conn_abort(conn, "gone"); /* the connection lives on to the end of the turn */
    assert_int_equal(conn->state, EDGE_CONN_CLOSED);
    world_answer_recipient(&w, w.recipients.from, w.recipients.ids[0]);
    world_kill_peer(&w.mailroom); /* which sends the answer at once */
    assert_int_equal(world_connections_after_turns(&w), 0);
    world_close(&w);
}

static void a_client_that_vanishes_during_the_commit_leaves_nothing_behind(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    w.accepts.hold = true;
    world_begin_mail(&w, MX);
    world_say(&w, "DATA\r\n");
    world_hear(&w, "354 ");
    world_say(&w, HEADER "x\r\n.\r\n");
    world_turns(&w, 5);
    world_hang_up(&w);
    assert_int_equal(world_connections_after_turns(&w), 0);
    world_answer_accept(&w, w.accepts.from, w.accepts.ids[0]);
    world_turns(&w, 5);
    assert_int_equal(w.confirmed.len, 0);
    assert_int_equal(edge_counts_own_bodies(w.edge->counts), 0);
    world_close(&w);
}

static void a_large_message_given_up_is_taken_back(void **state)
{
    (void)state;
    struct world w;
    struct buf noise;
    world_open(&w);
    world_make_noise(&noise, 1024 * 1024);
    world_begin_mail(&w, MX);
    world_say(&w, "DATA\r\n");
    world_hear(&w, "354 ");
    world_say_all(&w, buf_str(&noise));
    world_turns(&w, 5);
    world_hang_up(&w);
    assert_int_equal(world_connections_after_turns(&w), 0);
    assert_int_equal(w.aborted_body, 1);
    assert_int_equal(edge_counts_own_bodies(w.edge->counts), 0);
    buf_release(&noise);
    world_close(&w);
}

/* ---- STARTTLS ------------------------------------------------------------------------------ */

/* Gives the edge a certificate whose key it holds itself. */
/* Connects as many clients as there is room for in `ret_fds` to a listener that the edge is given.
 */
static void crowd(struct world *w, int *ret_fds, size_t count)
{
    struct socket_address a;
    int listener;
    assert_true(socket_address_parse(STR("127.0.0.1"), 0, &a));
    assert_int_equal(socket_listen(&a, &listener, NULL), STATUS_OK);
    assert_true(socket_local_address(listener, &a));
    for (size_t i = 0; i < count; i++) {
        ret_fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(ret_fds[i], &a.any, a.len), 0);
    }
    edge_plan.listener(w->edge, MX, listener);
}

/* Another edge beside the world's, which knows of it. */
static struct edge_counts *add_sibling(struct world *w)
{
    static const struct str seed = STR("0123456789abcdef");
    struct edge_counts *sibling = edge_counts_new(seed);
    int section;
    assert_int_equal(shared_memory_new(edge_counts_section_size(), &section), STATUS_OK);
    assert_int_equal(edge_counts_join(w->edge->counts, seed, section, false), STATUS_OK);
    assert_int_equal(edge_counts_join(sibling, seed, section, true), STATUS_OK);
    close(section);
    return sibling;
}

static void of_several_edges_none_takes_all_that_wait(void **state)
{
    (void)state;
    struct world w;
    int fds[10];
    world_open(&w);
    struct edge_counts *sibling = add_sibling(&w);
    for (int i = 0; i < 10; i++)
        assert_true(edge_counts_connect(sibling, 10));
    crowd(&w, fds, 10);
    world_turns(&w, 2);
    assert_in_range(w.edge->connection_count, 1, 2);
    world_turns(&w, 8);
    assert_int_equal(w.edge->connection_count, 10);
    for (size_t i = 0; i < 10; i++)
        close(fds[i]);
    assert_int_equal(world_connections_after_turns(&w), 0);
    edge_counts_free(sibling);
    world_close(&w);
}

static void an_edge_that_has_more_leaves_the_next_connection_to_another_for_a_moment(void **state)
{
    (void)state;
    struct world w;
    struct now clock;
    int fds[10];
    world_open(&w);
    clock = loop_now(w.loop);
    loop_use_clock(w.loop, &clock);
    struct edge_counts *sibling = add_sibling(&w);
    crowd(&w, fds, 10);
    assert_int_equal(world_connections_after_turns(&w), 2);
    assert_int_equal(world_connections_after_turns(&w), 2);
    /* It does not come for it. */
    clock.mono_ms++;
    assert_int_equal(world_connections_after_turns(&w), 3);
    clock.mono_ms++;
    assert_int_equal(world_connections_after_turns(&w), 4);
    /* It has as many now. */
    for (int i = 0; i < 8; i++)
        assert_true(edge_counts_connect(sibling, 100));
    clock.mono_ms++;
    world_turns(&w, 5);
    assert_int_equal(world_connections_after_turns(&w), 10);
    for (size_t i = 0; i < 10; i++)
        close(fds[i]);
    assert_int_equal(world_connections_after_turns(&w), 0);
    edge_counts_free(sibling);
    world_close(&w);
}

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
    world_open(&w);
    give_certificate(w.edge);
    world_greet(&w, MX);
    world_say(&w, "STARTTLS\r\nMAIL FROM:<evil@example.net>\r\nRCPT TO:<alice@example.org>\r\n");
    world_hear(&w, "220 ");
    world_hear(&w, "\r\n");
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
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_proxy_header_may_come_in_pieces),
        cmocka_unit_test(what_is_said_to_those_turned_away_ends_with_its_line),
        cmocka_unit_test(those_turned_away_take_no_scarce_places),
        cmocka_unit_test(a_client_that_goes_in_the_turn_of_an_answer_is_forgotten),
        cmocka_unit_test(an_answer_for_a_connection_that_ends_in_this_turn_is_void),
        cmocka_unit_test(a_client_that_vanishes_during_the_commit_leaves_nothing_behind),
        cmocka_unit_test(a_large_message_given_up_is_taken_back),
        cmocka_unit_test(of_several_edges_none_takes_all_that_wait),
        cmocka_unit_test(an_edge_that_has_more_leaves_the_next_connection_to_another_for_a_moment),
        cmocka_unit_test(clear_text_behind_starttls_is_never_obeyed),
    };
    signal(SIGPIPE, SIG_IGN); /* as every role does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
