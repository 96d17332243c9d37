/* Real handshakes with a key that is in another process. */
#include "roles/sign_client.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "base/testing.h"
#include "io/socket.h"
#include "io/tls.h"
#include "roles/keeper_tls.h"
#include "roles/link.h"

/* ---- A certificate and a keeper
 * ------------------------------------------------------------------ */

struct pair {
    EVP_PKEY *key;
    X509 *certificate;
    struct buf chain;
};

static struct pair make_pair(EVP_PKEY *key)
{
    struct pair p = {.key = key, .certificate = X509_new()};
    char *pem;
    assert_non_null(key);
    X509_set_version(p.certificate, 2);
    X509_gmtime_adj(X509_getm_notBefore(p.certificate), -10);
    X509_gmtime_adj(X509_getm_notAfter(p.certificate), 3600);
    X509_set_pubkey(p.certificate, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(p.certificate), "CN", MBSTRING_ASC,
                               (const unsigned char *)"a.test", -1, -1, 0);
    X509_set_issuer_name(p.certificate, X509_get_subject_name(p.certificate));
    assert_true(X509_sign(p.certificate, key, EVP_sha256()) > 0);
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, p.certificate);
    long size = BIO_get_mem_data(bio, &pem);
    buf_init(&p.chain, 65536);
    buf_append(&p.chain, pem, (size_t)size);
    BIO_free(bio);
    return p;
}

static void free_pair(struct pair *p)
{
    EVP_PKEY_free(p->key);
    X509_free(p->certificate);
    buf_release(&p->chain);
}

static int key_file(EVP_PKEY *key)
{
    int fd = memfd_create("key", MFD_CLOEXEC);
    BIO *bio = BIO_new(BIO_s_mem());
    char *pem;
    PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
    long size = BIO_get_mem_data(bio, &pem);
    assert_int_equal(write(fd, pem, (size_t)size), size);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    BIO_free(bio);
    return fd;
}

static void on_sign(void *context, struct channel *from, uint32_t id, const struct ipc_sign_in *in)
{
    uint8_t signature[SIGN_SIGNATURE_MAX];
    size_t size = 0;
    enum status_code status = keeper_tls_sign(context, in->key, (enum sign_algorithm)in->algorithm,
                                              in->digest, signature, &size);
    ipc_sign_reply(
        from, id, &(struct ipc_sign_out){.status = status, .signature = str_make(signature, size)});
}

static void on_ended(void *owner, enum status_code why, const char *words)
{
    (void)owner;
    (void)why;
    (void)words;
    _exit(0);
}

static const struct ipc_handlers handlers = {.sign = on_sign};

/* Forks it; answers to `fd` until that is closed. */
static pid_t start_keeper(EVP_PKEY *key, int *ret_fd)
{
    int fds[2];
    struct diag diag = {{0}};
    assert_int_equal(socket_pair(fds), STATUS_OK);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(fds[0]);
        struct keeper_tls *tls = keeper_tls_new();
        struct loop *loop = loop_new();
        if (keeper_tls_load(tls, 3, key_file(key), &diag) != STATUS_OK ||
            !link_open(&(struct link_setup){.loop = loop,
                                            .fd = fds[1],
                                            .self = ROLE_KEEPER,
                                            .peer = ROLE_EDGE,
                                            .handlers = &handlers,
                                            .context = tls,
                                            .ended = on_ended}))
            _exit(1);
        loop_run(loop);
        _exit(0);
    }
    close(fds[1]);
    *ret_fd = fds[0];
    return pid;
}

/* ---- Handshakes
 * ------------------------------------------------------------------------------------- */

/* In one process over memory, as far as it goes. True where both sides are through. */
static bool shake_hands(SSL *server, SSL *client)
{
    BIO *a, *b;
    assert_int_equal(BIO_new_bio_pair(&a, 0, &b, 0), 1);
    SSL_set_bio(server, a, a);
    SSL_set_bio(client, b, b);
    SSL_set_accept_state(server);
    SSL_set_connect_state(client);
    for (int i = 0; i < 10; i++) {
        SSL_do_handshake(client);
        SSL_do_handshake(server);
    }
    return SSL_is_init_finished(server) && SSL_is_init_finished(client);
}

static bool handshake(const struct pair *p, EVP_PKEY *remote, int version, const char *algorithms,
                      const char *ciphers)
{
    SSL_CTX *server = SSL_CTX_new(TLS_server_method()), *client = SSL_CTX_new(TLS_client_method());
    assert_int_equal(SSL_CTX_use_certificate(server, p->certificate), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(server, remote), 1);
    SSL_CTX_set_min_proto_version(client, version);
    SSL_CTX_set_max_proto_version(client, version);
    if (algorithms)
        assert_int_equal(SSL_CTX_set1_sigalgs_list(client, algorithms), 1);
    if (ciphers)
        assert_int_equal(SSL_CTX_set_cipher_list(client, ciphers), 1);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(client), p->certificate);
    SSL_CTX_set_verify(client, SSL_VERIFY_PEER, NULL);
    SSL *s = SSL_new(server), *c = SSL_new(client);
    bool done = shake_hands(s, c);
    SSL_free(s);
    SSL_free(c);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
    return done;
}

struct world {
    struct pair pair;
    struct sign_client *client;
    EVP_PKEY *remote;
    pid_t keeper;
};

static void open_world(struct world *w, EVP_PKEY *key)
{
    int fd;
    w->pair = make_pair(key);
    w->keeper = start_keeper(key, &fd);
    w->client = sign_client_new();
    assert_non_null(w->client);
    sign_client_connect(w->client, fd);
    w->remote = sign_client_key(w->client, buf_str(&w->pair.chain));
    assert_non_null(w->remote);
}

static void close_world(struct world *w)
{
    int status;
    EVP_PKEY_free(w->remote);
    sign_client_free(w->client);
    assert_int_equal(waitpid(w->keeper, &status, 0), w->keeper);
    assert_int_equal(status, 0);
    free_pair(&w->pair);
}

static void rsa_keys_sign_from_afar(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, EVP_RSA_gen(2048));
    assert_true(handshake(&w.pair, w.remote, TLS1_3_VERSION, NULL, NULL));
    assert_true(handshake(&w.pair, w.remote, TLS1_3_VERSION, "rsa_pss_rsae_sha512", NULL));
    assert_true(handshake(&w.pair, w.remote, TLS1_2_VERSION, NULL, NULL));
    assert_true(handshake(&w.pair, w.remote, TLS1_2_VERSION, "RSA+SHA256", NULL));
    assert_true(handshake(&w.pair, w.remote, TLS1_2_VERSION, "RSA+SHA384", NULL));
    assert_true(handshake(&w.pair, w.remote, TLS1_2_VERSION, "RSA+SHA512", NULL));
    assert_true(handshake(&w.pair, w.remote, TLS1_2_VERSION, "rsa_pss_rsae_sha384", NULL));
    close_world(&w);
}

static void nothing_is_decrypted_from_afar(void **state)
{
    (void)state;
    struct world w;
    unsigned char secret[32] = "secret", sealed[256], opened[256];
    size_t sealed_size = sizeof sealed, opened_size = sizeof opened;
    open_world(&w, EVP_RSA_gen(2048));
    assert_false(handshake(&w.pair, w.remote, TLS1_2_VERSION, NULL, "AES128-GCM-SHA256"));
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(w.pair.key, NULL);
    assert_int_equal(EVP_PKEY_encrypt_init(ctx), 1);
    assert_int_equal(EVP_PKEY_encrypt(ctx, sealed, &sealed_size, secret, sizeof secret), 1);
    EVP_PKEY_CTX_free(ctx);
    ctx = EVP_PKEY_CTX_new(w.remote, NULL);
    assert_int_equal(EVP_PKEY_decrypt_init(ctx), 1);
    assert_true(EVP_PKEY_decrypt(ctx, opened, &opened_size, sealed, sealed_size) <= 0);
    EVP_PKEY_CTX_free(ctx);
    close_world(&w);
}

static void ec_keys_sign_from_afar(void **state)
{
    (void)state;
    static const char *const groups[] = {"P-256", "P-384"};
    for (int i = 0; i < 2; i++) {
        struct world w;
        open_world(&w, EVP_EC_gen(groups[i]));
        assert_true(handshake(&w.pair, w.remote, TLS1_3_VERSION, NULL, NULL));
        assert_true(handshake(&w.pair, w.remote, TLS1_2_VERSION, NULL, NULL));
        close_world(&w);
    }
}

/* The handshake fails, the edge goes on; a new channel makes it work again. */
static void a_keeper_that_is_gone_costs_the_handshake_only(void **state)
{
    (void)state;
    struct world w;
    int fd, status;
    open_world(&w, EVP_EC_gen("P-256"));
    kill(w.keeper, SIGKILL);
    assert_int_equal(waitpid(w.keeper, &status, 0), w.keeper);
    assert_false(handshake(&w.pair, w.remote, TLS1_3_VERSION, NULL, NULL));
    assert_false(handshake(&w.pair, w.remote, TLS1_3_VERSION, NULL, NULL));
    w.keeper = start_keeper(w.pair.key, &fd);
    sign_client_connect(w.client, fd);
    assert_true(handshake(&w.pair, w.remote, TLS1_3_VERSION, NULL, NULL));
    close_world(&w);
}

/* ---- The keeper's side by itself
 * ----------------------------------------------------------------------- */

static struct str id_of(const EVP_PKEY *key, unsigned char id[TLS_KEY_ID_SIZE])
{
    assert_true(tls_key_id(key, id));
    return str_make(id, TLS_KEY_ID_SIZE);
}

static enum status_code load(struct keeper_tls *t, uint32_t number, EVP_PKEY *key)
{
    struct diag diag = {{0}};
    int fd = key_file(key);
    enum status_code status = keeper_tls_load(t, number, fd, &diag);
    close(fd);
    EVP_PKEY_free(key);
    return status;
}

static void only_good_keys_are_loaded(void **state)
{
    (void)state;
    struct diag diag = {{0}};
    struct keeper_tls *t = keeper_tls_new();
    int fd = memfd_create("key", MFD_CLOEXEC);
    assert_int_equal(load(t, 0, EVP_RSA_gen(1024)), STATUS_INVALID);
    assert_int_equal(load(t, 0, EVP_EC_gen("P-521")), STATUS_INVALID);
    assert_int_equal(load(t, 0, EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")), STATUS_INVALID);
    assert_int_equal(load(t, KEEPER_KEYS_MAX, EVP_EC_gen("P-256")), STATUS_TOO_BIG);
    assert_int_equal(load(t, 0, EVP_EC_gen("P-256")), STATUS_OK);
    assert_int_equal(keeper_tls_load(t, 0, fd, &diag), STATUS_INVALID);
    close(fd);
    keeper_tls_free(t);
}

static void only_what_is_a_signature_is_made(void **state)
{
    (void)state;
    uint8_t out[SIGN_SIGNATURE_MAX], block[256] = {0, 2, 1, 1};
    size_t size;
    struct str digest = STR("0123456789abcdef0123456789abcdef");
    struct str whole = str_make(block, sizeof block);
    struct keeper_tls *t = keeper_tls_new();
    unsigned char rsa_id[TLS_KEY_ID_SIZE], ec_id[TLS_KEY_ID_SIZE];
    EVP_PKEY *rsa_key = EVP_RSA_gen(2048), *ec_key = EVP_EC_gen("P-256");
    struct str rsa = id_of(rsa_key, rsa_id), ec = id_of(ec_key, ec_id);
    assert_int_equal(load(t, 0, rsa_key), STATUS_OK);
    assert_int_equal(load(t, 1, ec_key), STATUS_OK);
    assert_int_equal(keeper_tls_sign(t, STR("nobody"), SIGN_ECDSA, digest, out, &size),
                     STATUS_NOT_FOUND);
    assert_int_equal(keeper_tls_sign(t, rsa, SIGN_ECDSA, digest, out, &size), STATUS_INVALID);
    assert_int_equal(keeper_tls_sign(t, ec, SIGN_RSA_PKCS1_SHA256, digest, out, &size),
                     STATUS_INVALID);
    assert_int_equal(keeper_tls_sign(t, rsa, SIGN_RSA_PKCS1_SHA384, digest, out, &size),
                     STATUS_INVALID);
    assert_int_equal(keeper_tls_sign(t, rsa, SIGN_ALGORITHMS, digest, out, &size), STATUS_INVALID);
    assert_int_equal(keeper_tls_sign(t, ec, SIGN_ECDSA, STR("short"), out, &size), STATUS_INVALID);
    assert_int_equal(keeper_tls_sign(t, rsa, SIGN_RSA_PSS_BLOCK, digest, out, &size),
                     STATUS_INVALID);
    assert_int_equal(keeper_tls_sign(t, rsa, SIGN_RSA_PSS_BLOCK, whole, out, &size), STATUS_DENIED);
    block[255] = 0xbc;
    assert_int_equal(keeper_tls_sign(t, rsa, SIGN_RSA_PSS_BLOCK, whole, out, &size), STATUS_DENIED);
    keeper_tls_free(t);
}

/* Connections that began with the old certificate go on with it (STARTTLS may come late). */
static void a_replaced_key_still_signs(void **state)
{
    (void)state;
    uint8_t out[SIGN_SIGNATURE_MAX];
    size_t size;
    unsigned char ids[KEEPER_REPLACED_MAX + 2][TLS_KEY_ID_SIZE];
    struct str digest = STR("0123456789abcdef0123456789abcdef");
    struct keeper_tls *t = keeper_tls_new();
    for (size_t i = 0; i < KEEPER_REPLACED_MAX + 2; i++) {
        EVP_PKEY *key = EVP_EC_gen("P-256");
        id_of(key, ids[i]);
        EVP_PKEY_up_ref(key);
        assert_int_equal(load(t, 5, key), STATUS_OK);
        assert_int_equal(load(t, 5, key), STATUS_OK); /* the same again replaces nothing */
    }
    for (size_t i = 0; i < KEEPER_REPLACED_MAX + 2; i++)
        assert_int_equal(
            keeper_tls_sign(t, str_make(ids[i], TLS_KEY_ID_SIZE), SIGN_ECDSA, digest, out, &size),
            i == 0 ? STATUS_NOT_FOUND : STATUS_OK);
    keeper_tls_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rsa_keys_sign_from_afar),
        cmocka_unit_test(nothing_is_decrypted_from_afar),
        cmocka_unit_test(ec_keys_sign_from_afar),
        cmocka_unit_test(a_keeper_that_is_gone_costs_the_handshake_only),
        cmocka_unit_test(only_good_keys_are_loaded),
        cmocka_unit_test(only_what_is_a_signature_is_made),
        cmocka_unit_test(a_replaced_key_still_signs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
