#include "io/stream.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/limits.h"
#include "base/testing.h"
#include "io/random.h"
#include "io/socket.h"

/* A server's stream and an OpenSSL client at the other end, in one loop. */
struct world {
    struct loop *loop;
    struct stream stream;
    int peer;
    int readies;
    SSL_CTX *client_ctx;
    SSL *client;
    struct tls_server *server;
};

static void on_ready(void *context)
{
    ((struct world *)context)->readies++;
}

static void open_world(struct world *w)
{
    int fds[2];
    memset(w, 0, sizeof *w);
    w->loop = loop_new();
    assert_int_equal(socket_pair(fds), STATUS_OK);
    w->peer = fds[1];
    stream_open(&w->stream, w->loop, fds[0], on_ready, w);
}

static void close_world(struct world *w)
{
    SSL_free(w->client);
    SSL_CTX_free(w->client_ctx);
    stream_close(&w->stream);
    tls_server_free(w->server);
    if (w->peer >= 0)
        close(w->peer);
    loop_free(w->loop);
}

static EVP_PKEY *make_certificate(const char *name, struct buf *pem)
{
    char alt[100];
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    snprintf(alt, sizeof alt, "DNS:%s", name);
    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), 0);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8,
                               (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(cert));
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, alt);
    X509_add_ext(cert, extension, -1);
    X509_EXTENSION_free(extension);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, cert);
    char *text;
    long len = BIO_get_mem_data(bio, &text);
    buf_append(pem, text, (size_t)len);
    BIO_free(bio);
    X509_free(cert);
    return key;
}

static void add_certificate(struct tls_server *t, const char *name)
{
    struct buf pem;
    struct diag diag = {0};
    buf_init(&pem, 10000);
    EVP_PKEY *key = make_certificate(name, &pem);
    assert_int_equal(tls_server_add(t, buf_str(&pem), key, &diag), STATUS_OK);
    EVP_PKEY *public_key = tls_public_key(buf_str(&pem));
    assert_int_equal(EVP_PKEY_eq(public_key, key), 1);
    EVP_PKEY_free(public_key);
    EVP_PKEY_free(key);
    buf_release(&pem);
}

static void start_client(struct world *w, const char *name)
{
    w->client_ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_session_cache_mode(w->client_ctx, SSL_SESS_CACHE_OFF);
    w->client = SSL_new(w->client_ctx);
    SSL_set_tlsext_host_name(w->client, name);
    SSL_set_fd(w->client, w->peer);
    SSL_set_connect_state(w->client);
}

/* False where the handshake failed. */
static bool shake_hands(struct world *w)
{
    for (;;) {
        int ret = SSL_do_handshake(w->client);
        if (ret == 1 && !stream_handshaking(&w->stream))
            return true;
        if (ret != 1 && SSL_get_error(w->client, ret) != SSL_ERROR_WANT_READ)
            return false;
        loop_turn(w->loop, ret != 1 && stream_handshaking(&w->stream));
        if (w->stream.broken)
            return false;
    }
}

static void secure(struct world *w, const char *name)
{
    w->server = tls_server_new();
    add_certificate(w->server, "first.example");
    add_certificate(w->server, "second.example");
    start_client(w, name);
    assert_true(stream_start_tls(&w->stream, w->server));
}

static void clear_bytes_go_both_ways_and_the_end_is_seen(void **state)
{
    (void)state;
    struct world w;
    struct str bytes;
    size_t n;
    open_world(&w);
    assert_int_equal(stream_read(&w.stream, &bytes), STREAM_BLOCKED);
    assert_int_equal(write(w.peer, "hello", 5), 5);
    loop_turn(w.loop, true);
    assert_int_equal(w.readies, 1);
    assert_int_equal(stream_read(&w.stream, &bytes), STREAM_OK);
    assert_true(str_eq(bytes, STR("hello")));
    assert_true(stream_unread(&w.stream, str_skip(bytes, 3)));
    assert_int_equal(stream_read(&w.stream, &bytes), STREAM_OK);
    assert_true(str_eq(bytes, STR("lo")));
    assert_null(w.stream.unread.ptr);
    assert_int_equal(stream_write(&w.stream, STR("yes"), &n), STREAM_OK);
    assert_int_equal(n, 3);
    char back[4];
    assert_int_equal(read(w.peer, back, 4), 3);
    close(w.peer);
    w.peer = -1;
    loop_turn(w.loop, true);
    assert_int_equal(w.readies, 2);
    assert_int_equal(stream_read(&w.stream, &bytes), STREAM_EOF);
    assert_int_equal(stream_write(&w.stream, STR("x"), &n), STREAM_BROKEN);
    close_world(&w);
}

static void what_was_unread_is_read_again_with_what_came_behind_it(void **state)
{
    (void)state;
    struct world w;
    struct str bytes;
    open_world(&w);
    assert_int_equal(write(w.peer, "he", 2), 2);
    assert_int_equal(stream_read_more(&w.stream, 5, &bytes), STREAM_OK);
    assert_true(stream_unread(&w.stream, bytes));
    assert_int_equal(stream_read_more(&w.stream, 5, &bytes), STREAM_BLOCKED);
    assert_int_equal(write(w.peer, "llo, world", 10), 10);
    loop_turn(w.loop, true);
    assert_int_equal(stream_read_more(&w.stream, 5, &bytes), STREAM_OK);
    assert_true(str_eq(bytes, STR("hello")));
    assert_int_equal(stream_read(&w.stream, &bytes), STREAM_OK);
    assert_true(str_eq(bytes, STR(", world")));
    close_world(&w);
}

static void after_a_short_read_the_next_waits_for_ready(void **state)
{
    (void)state;
    struct world w;
    struct str bytes;
    open_world(&w);
    assert_int_equal(write(w.peer, "one", 3), 3);
    assert_int_equal(stream_read(&w.stream, &bytes), STREAM_OK);
    assert_int_equal(write(w.peer, "two", 3), 3);
    assert_int_equal(stream_read(&w.stream, &bytes), STREAM_BLOCKED);
    loop_turn(w.loop, true);
    assert_int_equal(w.readies, 1);
    assert_int_equal(stream_read(&w.stream, &bytes), STREAM_OK);
    assert_true(str_eq(bytes, STR("two")));
    close_world(&w);
}

static void a_stream_that_is_not_read_is_not_watched(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    stream_set_reading(&w.stream, false);
    assert_int_equal(write(w.peer, "hello", 5), 5);
    loop_turn(w.loop, false);
    assert_int_equal(w.readies, 0);
    stream_set_reading(&w.stream, true);
    loop_turn(w.loop, false);
    assert_int_equal(w.readies, 1);
    close_world(&w);
}

static void a_peer_that_does_not_read_blocks_the_writer_until_it_does(void **state)
{
    (void)state;
    static char block[65536];
    struct world w;
    size_t n, sent = 0;
    open_world(&w);
    while (stream_write(&w.stream, str_make(block, sizeof block), &n) == STREAM_OK)
        sent += n;
    loop_turn(w.loop, false);
    assert_int_equal(w.readies, 0);
    while (sent > 0)
        sent -= (size_t)read(w.peer, block, sizeof block);
    loop_turn(w.loop, true);
    assert_int_equal(w.readies, 1);
    assert_int_equal(stream_write(&w.stream, STR("x"), &n), STREAM_OK);
    close_world(&w);
}

static void what_the_peer_said_before_it_left_is_read_behind_a_write_that_failed(void **state)
{
    (void)state;
    struct world w;
    struct str bytes;
    size_t n;
    open_world(&w);
    assert_int_equal(stream_read(&w.stream, &bytes), STREAM_BLOCKED);
    assert_int_equal(write(w.peer, "one", 3), 3);
    loop_turn(w.loop, true);
    assert_int_equal(stream_read(&w.stream, &bytes), STREAM_OK);
    assert_int_equal(write(w.peer, "bye", 3), 3);
    close(w.peer);
    w.peer = -1;
    assert_int_equal(stream_write(&w.stream, STR("x"), &n), STREAM_BROKEN);
    assert_int_equal(stream_read(&w.stream, &bytes), STREAM_OK);
    assert_true(str_eq(bytes, STR("bye")));
    assert_int_equal(stream_write(&w.stream, STR("x"), &n), STREAM_BROKEN);
    stream_read_on(&w.stream);
    assert_int_equal(stream_read(&w.stream, &bytes), STREAM_EOF);
    close_world(&w);
}

static void tls_serves_the_certificate_of_the_name_asked_for(void **state)
{
    (void)state;
    static const char *const names[][2] = {{"first.example", "first.example"},
                                           {"second.example", "second.example"},
                                           {"other.example", "first.example"}};
    for (size_t i = 0; i < 3; i++) {
        struct world w;
        struct str bytes;
        size_t n;
        open_world(&w);
        secure(&w, names[i][0]);
        assert_true(shake_hands(&w));
        X509 *leaf = SSL_get1_peer_certificate(w.client);
        assert_int_equal(X509_check_host(leaf, names[i][1], 0, 0, NULL), 1);
        X509_free(leaf);
        assert_string_equal(tls_facts(stream_tls(&w.stream)).version, "TLSv1.3");
        assert_int_equal(SSL_write(w.client, "hello", 5), 5);
        assert_int_equal(stream_read(&w.stream, &bytes), STREAM_OK);
        assert_true(str_eq(bytes, STR("hello")));
        assert_int_equal(stream_write(&w.stream, STR("yes"), &n), STREAM_OK);
        char back[4];
        assert_int_equal(SSL_read(w.client, back, sizeof back), 3);
        SSL_shutdown(w.client);
        assert_int_equal(stream_read(&w.stream, &bytes), STREAM_EOF);
        close_world(&w);
    }
}

static void both_ends_agree_on_the_channel_bindings(void **state)
{
    (void)state;
    struct world w;
    unsigned char ours[TLS_BINDING_SIZE_MAX], theirs[32];
    unsigned len;
    open_world(&w);
    secure(&w, "first.example");
    assert_true(shake_hands(&w));
    assert_int_equal(tls_exporter_binding(stream_tls(&w.stream), ours), 32);
    assert_int_equal(SSL_export_keying_material(w.client, theirs, 32, "EXPORTER-Channel-Binding",
                                                24, NULL, 0, 0),
                     1);
    assert_memory_equal(ours, theirs, 32);
    assert_int_equal(tls_server_end_point_binding(stream_tls(&w.stream), ours), 32);
    X509 *leaf = SSL_get1_peer_certificate(w.client);
    X509_digest(leaf, EVP_sha256(), theirs, &len);
    X509_free(leaf);
    assert_memory_equal(ours, theirs, 32);
    close_world(&w);
}

static void old_versions_and_key_exchange_without_forward_secrecy_are_refused(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world w;
        open_world(&w);
        secure(&w, "first.example");
        SSL_set_max_proto_version(w.client, i == 0 ? TLS1_1_VERSION : TLS1_2_VERSION);
        SSL_set_min_proto_version(w.client, TLS1_VERSION);
        SSL_set_cipher_list(w.client, i == 0 ? "ALL:@SECLEVEL=0" : "kRSA:@SECLEVEL=0");
        assert_false(shake_hands(&w));
        close_world(&w);
    }
}

static void key_exchange_that_costs_us_more_than_the_client_is_refused(void **state)
{
    (void)state;
    static const char *const groups[] = {"ffdhe2048", "ffdhe8192"};
    for (int i = 0; i < 3; i++) {
        struct world w;
        open_world(&w);
        secure(&w, "first.example");
        if (i < 2)
            assert_int_equal(SSL_set1_groups_list(w.client, groups[i]), 1);
        else
            SSL_set_max_proto_version(w.client, TLS1_2_VERSION);
        SSL_set_cipher_list(w.client, "DHE");
        assert_false(shake_hands(&w));
        close_world(&w);
    }
}

/* Sends as many messages that are no data as go into the socket; false where the stream is over. */
static bool send_new_keys(struct world *w)
{
    for (int i = 0; i < LIMIT_TLS_MESSAGES; i++) {
        SSL_key_update(w->client, SSL_KEY_UPDATE_NOT_REQUESTED);
        if (SSL_do_handshake(w->client) != 1)
            return SSL_get_error(w->client, -1) == SSL_ERROR_WANT_WRITE;
    }
    return true;
}

static void a_peer_that_only_makes_new_keys_is_left(void **state)
{
    (void)state;
    struct world w;
    struct str bytes;
    enum stream_result result = STREAM_BLOCKED;
    open_world(&w);
    secure(&w, "first.example");
    assert_true(shake_hands(&w));
    socket_set_blocking(w.peer, false);
    SSL_key_update(w.client, SSL_KEY_UPDATE_NOT_REQUESTED);
    assert_int_equal(SSL_write(w.client, "hello", 5), 5);
    assert_int_equal(stream_read(&w.stream, &bytes), STREAM_OK);
    assert_true(str_eq(bytes, STR("hello")));
    for (int i = 0; result == STREAM_BLOCKED && i < 10; i++)
        if (send_new_keys(&w))
            result = stream_read(&w.stream, &bytes);
    assert_int_equal(result, STREAM_BROKEN);
    close_world(&w);
}

static void bytes_in_clear_behind_starttls_are_dropped(void **state)
{
    (void)state;
    struct world w;
    struct str bytes;
    open_world(&w);
    assert_int_equal(write(w.peer, "STARTTLS\r\nMAIL", 14), 14);
    assert_int_equal(stream_read(&w.stream, &bytes), STREAM_OK);
    assert_true(stream_unread(&w.stream, str_skip(bytes, 10)));
    secure(&w, "first.example");
    assert_true(shake_hands(&w));
    assert_int_equal(stream_read(&w.stream, &bytes), STREAM_BLOCKED);
    close_world(&w);
}

static bool resumes(struct tls_server *server, SSL_SESSION **session)
{
    struct world w;
    struct str bytes;
    char nothing;
    open_world(&w);
    start_client(&w, "first.example");
    if (*session)
        SSL_set_session(w.client, *session);
    assert_true(stream_start_tls(&w.stream, server));
    assert_true(shake_hands(&w));
    assert_int_equal(stream_read(&w.stream, &bytes), STREAM_BLOCKED);
    SSL_read(w.client, &nothing, 1);
    bool resumed = tls_facts(stream_tls(&w.stream)).resumed;
    SSL_SESSION_free(*session);
    *session = SSL_get1_session(w.client);
    SSL_shutdown(w.client); /* else OpenSSL takes the session for a broken one */
    close_world(&w);
    return resumed;
}

static void a_peer_that_goes_in_the_handshake_is_gone(void **state)
{
    (void)state;
    struct world w;
    struct str bytes;
    open_world(&w);
    w.server = tls_server_new();
    add_certificate(w.server, "first.example");
    assert_true(stream_start_tls(&w.stream, w.server));
    assert_int_equal(write(w.peer, "\x16\3\1\2\0\1\0", 7), 7); /* a hello's first octets */
    loop_turn(w.loop, false);
    assert_int_equal(w.readies, 0);
    close(w.peer);
    w.peer = -1;
    loop_turn(w.loop, false);
    assert_int_equal(w.readies, 1);
    assert_int_equal(stream_read(&w.stream, &bytes), STREAM_BROKEN);
    loop_turn(w.loop, false);
    assert_int_equal(w.readies, 1);
    close_world(&w);
}

static void sessions_resume_by_tickets_while_their_key_is_known(void **state)
{
    (void)state;
    char keys[2 * TLS_TICKET_KEY_SIZE];
    SSL_SESSION *session = NULL;
    struct tls_server *server = tls_server_new();
    random_bytes(keys, sizeof keys);
    add_certificate(server, "first.example");
    assert_false(resumes(server, &session));
    assert_false(resumes(server, &session));
    tls_server_set_ticket_keys(server, str_make(keys + TLS_TICKET_KEY_SIZE, TLS_TICKET_KEY_SIZE));
    assert_false(resumes(server, &session));
    assert_true(resumes(server, &session));
    tls_server_set_ticket_keys(server, str_make(keys, sizeof keys));
    assert_true(resumes(server, &session));
    tls_server_set_ticket_keys(server, str_make(keys + TLS_TICKET_KEY_SIZE, TLS_TICKET_KEY_SIZE));
    assert_false(resumes(server, &session));
    SSL_SESSION_free(session);
    tls_server_free(server);
}

static void a_connection_outlives_the_settings_it_was_made_with(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    secure(&w, "second.example");
    tls_server_free(w.server);
    w.server = NULL;
    loop_turn(w.loop, false);
    close_world(&w);
}

static void what_is_no_certificate_or_not_its_key_is_refused(void **state)
{
    (void)state;
    struct diag diag = {0};
    struct buf pem;
    buf_init(&pem, 10000);
    struct tls_server *server = tls_server_new();
    EVP_PKEY *key = make_certificate("first.example", &pem);
    EVP_PKEY *other = EVP_EC_gen("P-256");
    assert_int_equal(tls_server_add(server, STR("nonsense"), key, &diag), STATUS_INVALID);
    assert_int_equal(tls_server_add(server, buf_str(&pem), other, &diag), STATUS_INVALID);
    assert_non_null(strstr(diag.words, "private key"));
    assert_false(tls_server_usable(server));
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
    buf_release(&pem);
    tls_server_free(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clear_bytes_go_both_ways_and_the_end_is_seen),
        cmocka_unit_test(what_was_unread_is_read_again_with_what_came_behind_it),
        cmocka_unit_test(after_a_short_read_the_next_waits_for_ready),
        cmocka_unit_test(a_stream_that_is_not_read_is_not_watched),
        cmocka_unit_test(a_peer_that_does_not_read_blocks_the_writer_until_it_does),
        cmocka_unit_test(what_the_peer_said_before_it_left_is_read_behind_a_write_that_failed),
        cmocka_unit_test(tls_serves_the_certificate_of_the_name_asked_for),
        cmocka_unit_test(both_ends_agree_on_the_channel_bindings),
        cmocka_unit_test(old_versions_and_key_exchange_without_forward_secrecy_are_refused),
        cmocka_unit_test(key_exchange_that_costs_us_more_than_the_client_is_refused),
        cmocka_unit_test(a_peer_that_only_makes_new_keys_is_left),
        cmocka_unit_test(bytes_in_clear_behind_starttls_are_dropped),
        cmocka_unit_test(a_peer_that_goes_in_the_handshake_is_gone),
        cmocka_unit_test(sessions_resume_by_tickets_while_their_key_is_known),
        cmocka_unit_test(a_connection_outlives_the_settings_it_was_made_with),
        cmocka_unit_test(what_is_no_certificate_or_not_its_key_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
