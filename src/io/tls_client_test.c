#include "io/tls_client.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/testing.h"
#include "io/socket.h"
#include "io/stream.h"
#include "io/testing_tls.h"

/* A server and a client, each with its stream, in one loop. */
struct world {
    struct loop *loop;
    struct stream server_end, client_end;
    struct tls_server *server;
    struct tls_client *client;
    struct testing_certificate authority, leaf;
    struct tls_verdict verdict;
    bool through; /* an octet of the client's reached the server */
};

static void on_ready(void *context)
{
    (void)context;
}

static void open_world(struct world *w, const char *name, long seconds)
{
    struct diag diag = {0};
    memset(w, 0, sizeof *w);
    w->loop = loop_new();
    testing_certificate_make(&w->authority, "authority.test", NULL, 3600);
    testing_certificate_make(&w->leaf, name, &w->authority, seconds);
    w->server = tls_server_new();
    assert_int_equal(tls_server_add(w->server, buf_str(&w->leaf.pem), w->leaf.key, &diag),
                     STATUS_OK);
    unsigned char ticket_key[TLS_TICKET_KEY_SIZE] = "not random";
    tls_server_set_ticket_keys(w->server, str_make(ticket_key, sizeof ticket_key));
    w->client = tls_client_new();
    assert_non_null(w->client);
}

static void close_world(struct world *w)
{
    tls_server_free(w->server);
    tls_client_free(w->client);
    testing_certificate_release(&w->leaf);
    testing_certificate_release(&w->authority);
    loop_free(w->loop);
}

static void trust_authority(struct world *w)
{
    struct diag diag = {0};
    assert_int_equal(tls_client_trust(w->client, buf_str(&w->authority.pem), &diag), STATUS_OK);
}

/* One connection; true where the client goes on after the handshake. */
static bool connects(struct world *w, const struct tls_demand *demand)
{
    int fds[2];
    struct str bytes;
    size_t n;
    unsigned char ours[TLS_BINDING_SIZE_MAX], theirs[TLS_BINDING_SIZE_MAX];
    assert_int_equal(socket_pair(fds), STATUS_OK);
    stream_open(&w->server_end, w->loop, fds[0], on_ready, w);
    stream_open(&w->client_end, w->loop, fds[1], on_ready, w);
    assert_true(stream_start_tls(&w->server_end, w->server));
    assert_true(stream_start_tls_client(&w->client_end, w->client, demand));
    while (stream_handshaking(&w->client_end))
        loop_turn(w->loop, true);
    bool ok = stream_write(&w->client_end, STR("x"), &n) == STREAM_OK;
    w->verdict = tls_client_verdict(stream_tls(&w->client_end));
    while (ok && stream_read(&w->server_end, &bytes) != STREAM_OK)
        loop_turn(w->loop, true);
    if (ok) {
        assert_int_equal(stream_read(&w->client_end, &bytes), STREAM_BLOCKED); /* tickets */
        size_t len = tls_client_end_point_binding(stream_tls(&w->client_end), theirs);
        assert_int_equal(len, tls_server_end_point_binding(stream_tls(&w->server_end), ours));
        assert_true(len > 0 && memcmp(ours, theirs, len) == 0);
    }
    stream_close(&w->client_end);
    stream_close(&w->server_end);
    return ok;
}

static const struct str mx = STR("mx.test");

static struct tls_demand pkix(void)
{
    return (struct tls_demand){.check = TLS_CHECK_PKIX,
                               .enforced = true,
                               .server_name = mx,
                               .names = &mx,
                               .name_count = 1};
}

static struct tls_demand dane(const struct tls_tlsa *record)
{
    return (struct tls_demand){.check = TLS_CHECK_DANE,
                               .enforced = true,
                               .server_name = mx,
                               .names = &mx,
                               .name_count = 1,
                               .records = record,
                               .record_count = 1};
}

static void opportunism_asks_for_nothing(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, "other.test", -3600);
    assert_true(connects(&w, &(struct tls_demand){.server_name = mx}));
    assert_false(w.verdict.authenticated);
    assert_string_equal(w.verdict.result, "");
    close_world(&w);
}

static void the_server_does_not_choose_how_long_we_compute(void **state)
{
    (void)state;
    struct world w;
    int fds[2];
    const struct tls_demand demand = {.server_name = mx};
    open_world(&w, "mx.test", 3600);
    assert_int_equal(socket_pair(fds), STATUS_OK);
    SSL *ssl = tls_connect(w.client, &demand, fds[0]);
    STACK_OF(SSL_CIPHER) *ciphers = SSL_get1_supported_ciphers(ssl);
    assert_true(sk_SSL_CIPHER_num(ciphers) > 0);
    for (int i = 0; i < sk_SSL_CIPHER_num(ciphers); i++)
        assert_int_not_equal(SSL_CIPHER_get_kx_nid(sk_SSL_CIPHER_value(ciphers, i)), NID_kx_dhe);
    sk_SSL_CIPHER_free(ciphers);
    SSL_free(ssl);
    SSL_CTX *server = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate(server, w.leaf.certificate);
    SSL_CTX_use_PrivateKey(server, w.leaf.key);
    assert_int_equal(SSL_CTX_set1_groups_list(server, "ffdhe8192"), 1);
    SSL *peer = SSL_new(server);
    ssl = tls_connect(w.client, &demand, fds[0]);
    SSL_set_fd(peer, fds[1]);
    assert_int_not_equal(SSL_do_handshake(ssl), 1);
    assert_int_not_equal(SSL_accept(peer), 1);
    assert_int_equal(ERR_GET_REASON(ERR_peek_last_error()), SSL_R_NO_SUITABLE_KEY_SHARE);
    SSL_free(ssl);
    SSL_free(peer);
    SSL_CTX_free(server);
    close(fds[0]);
    close(fds[1]);
    close_world(&w);
}

static void an_authority_must_vouch_for_the_name(void **state)
{
    (void)state;
    struct world w;
    struct tls_demand demand = pkix();
    open_world(&w, "mx.test", 3600);
    assert_false(connects(&w, &demand));
    assert_string_equal(w.verdict.result, "certificate-not-trusted");
    trust_authority(&w);
    assert_true(connects(&w, &demand));
    assert_true(w.verdict.authenticated);
    const struct str two[] = {STR("other.test"), STR("mx.test")};
    demand.names = two;
    demand.name_count = 2;
    assert_true(connects(&w, &demand));
    demand.name_count = 1;
    assert_false(connects(&w, &demand));
    assert_string_equal(w.verdict.result, "certificate-host-mismatch");
    close_world(&w);
}

static void a_session_is_resumed_for_the_same_demand_only(void **state)
{
    (void)state;
    struct world w;
    unsigned char digest[32];
    struct tls_demand demand = pkix();
    open_world(&w, "mx.test", 3600);
    trust_authority(&w);
    demand.resume = STR("a.test at mx");
    assert_true(connects(&w, &demand));
    assert_false(w.verdict.resumed);
    assert_true(connects(&w, &demand));
    assert_true(w.verdict.resumed && w.verdict.authenticated);
    struct tls_demand other = demand;
    other.resume = STR("b.test at mx");
    assert_true(connects(&w, &other));
    assert_false(w.verdict.resumed);
    other = demand;
    other.check = TLS_CHECK_NOTHING;
    assert_true(connects(&w, &other));
    assert_false(w.verdict.resumed);
    const struct str wrong = STR("other.test");
    other = demand;
    other.names = &wrong;
    assert_false(connects(&w, &other));
    testing_certificate_digest(&w.leaf, 1, digest);
    struct tls_tlsa record = {3, 1, 1, str_make(digest, sizeof digest)};
    other = dane(&record);
    other.resume = demand.resume;
    assert_true(connects(&w, &other));
    assert_true(connects(&w, &other));
    assert_true(w.verdict.resumed && w.verdict.authenticated);
    digest[0] ^= 1;
    assert_false(connects(&w, &other));
    /* Who asks for nothing gets nothing. */
    demand.resume = STR("");
    assert_true(connects(&w, &demand));
    assert_false(w.verdict.resumed);
    close_world(&w);
}

static void who_did_not_pass_has_not_passed_when_resumed(void **state)
{
    (void)state;
    struct world w;
    struct tls_demand demand = pkix();
    open_world(&w, "mx.test", 3600);
    demand.enforced = false;
    demand.resume = STR("a.test at mx");
    for (int i = 0; i < 2; i++) {
        assert_true(connects(&w, &demand));
        assert_int_equal(w.verdict.resumed, i > 0);
        assert_false(w.verdict.authenticated);
        assert_string_equal(w.verdict.result, "certificate-not-trusted");
    }
    close_world(&w);
}

static void where_it_is_not_enforced_the_failure_is_only_told(void **state)
{
    (void)state;
    struct world w;
    struct tls_demand demand = pkix();
    open_world(&w, "mx.test", -3600);
    trust_authority(&w);
    assert_false(connects(&w, &demand));
    demand.enforced = false;
    assert_true(connects(&w, &demand));
    assert_false(w.verdict.authenticated);
    assert_string_equal(w.verdict.result, "certificate-expired");
    close_world(&w);
}

static void a_dane_ee_vouches_whatever_names_and_dates_say(void **state)
{
    (void)state;
    struct world w;
    unsigned char digest[32];
    struct tls_tlsa record = {.usage = 3, .selector = 1, .matching = 1};
    open_world(&w, "other.test", -3600);
    testing_certificate_digest(&w.leaf, 1, digest);
    record.data = str_make(digest, sizeof digest);
    struct tls_demand demand = dane(&record);
    assert_true(connects(&w, &demand));
    assert_true(w.verdict.authenticated);
    digest[7] ^= 1;
    assert_false(connects(&w, &demand));
    assert_string_equal(w.verdict.result, "certificate-not-trusted");
    close_world(&w);
}

static void a_dane_ta_vouches_for_the_name_only(void **state)
{
    (void)state;
    struct world w;
    unsigned char digest[32];
    struct tls_tlsa record = {.usage = 2, .selector = 0, .matching = 1};
    open_world(&w, "mx.test", 3600);
    testing_certificate_digest(&w.authority, 0, digest);
    record.data = str_make(digest, sizeof digest);
    struct tls_demand demand = dane(&record);
    assert_true(connects(&w, &demand));
    assert_true(w.verdict.authenticated);
    const struct str other = STR("other.test");
    demand.names = &other;
    assert_false(connects(&w, &demand));
    assert_string_equal(w.verdict.result, "certificate-host-mismatch");
    close_world(&w);
}

/* RFC 7672 §3.1.3, RFC 7671 §2. */
static void records_that_mail_cannot_use_are_not_counted(void **state)
{
    (void)state;
    static const char bytes[64];
    const struct tls_tlsa records[] = {
        {0, 0, 1, {bytes, 32}}, {1, 1, 1, {bytes, 32}}, {3, 2, 1, {bytes, 32}},
        {3, 1, 3, {bytes, 32}}, {3, 1, 1, {bytes, 31}}, {2, 0, 2, {bytes, 32}},
        {3, 1, 0, {bytes, 0}},
    };
    assert_int_equal(tls_tlsa_usable(records, sizeof records / sizeof *records), 0);
    const struct tls_tlsa usable[] = {{3, 1, 1, {bytes, 32}}, {2, 0, 2, {bytes, 64}}};
    assert_int_equal(tls_tlsa_usable(usable, 2), 2);
}

static void a_bundle_without_certificates_is_refused(void **state)
{
    (void)state;
    struct diag diag = {0};
    struct tls_client *t = tls_client_new();
    assert_int_equal(tls_client_trust(t, STR("nothing"), &diag), STATUS_INVALID);
    tls_client_free(t);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opportunism_asks_for_nothing),
        cmocka_unit_test(the_server_does_not_choose_how_long_we_compute),
        cmocka_unit_test(an_authority_must_vouch_for_the_name),
        cmocka_unit_test(a_session_is_resumed_for_the_same_demand_only),
        cmocka_unit_test(who_did_not_pass_has_not_passed_when_resumed),
        cmocka_unit_test(where_it_is_not_enforced_the_failure_is_only_told),
        cmocka_unit_test(a_dane_ee_vouches_whatever_names_and_dates_say),
        cmocka_unit_test(a_dane_ta_vouches_for_the_name_only),
        cmocka_unit_test(records_that_mail_cannot_use_are_not_counted),
        cmocka_unit_test(a_bundle_without_certificates_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
