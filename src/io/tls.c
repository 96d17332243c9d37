#include "io/tls.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "io/random.h"

enum { KEY_NAME_SIZE = 16, SECRET_SIZE = 32 };

/* Ephemeral key exchange and authenticated encryption only (RFC 9325 §4.2). */
#define CIPHERS_TLS12 "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!PSK:!SRP"

/*
 * Elliptic curves only: with finite fields a client that computes nothing itself makes us compute
 * for 0.1 s a handshake (ffdhe8192; CVE-2002-20001).
 */
#define GROUPS "X25519:P-256:P-384:P-521"

struct ticket_key {
    unsigned char name[KEY_NAME_SIZE];
    unsigned char cipher[SECRET_SIZE];
    unsigned char mac[SECRET_SIZE];
};

_Static_assert(sizeof(struct ticket_key) == TLS_TICKET_KEY_SIZE, "a ticket key is 80 bytes");

struct certificate {
    SSL_CTX *ctx;
    X509 *leaf;
};

struct tls_server {
    struct certificate *certificates;
    size_t count;
    struct ticket_key tickets[TLS_TICKET_KEYS_MAX];
    size_t ticket_count;
    unsigned references; /* one for each SSL_CTX, one for the owner */
};

/* The innermost reason of OpenSSL's queue, which is then empty. */
static enum status_code fail_with(struct diag *diag, const char *what)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = ERR_reason_error_string(code);
    diag_set(diag, "%s: %s", what, reason ? reason : "not usable");
    ERR_clear_error();
    return STATUS_INVALID;
}

/* The last of those who need t lets go of it. */
static void unref(struct tls_server *t)
{
    if (--t->references > 0)
        return;
    explicit_bzero(t->tickets, sizeof t->tickets);
    free(t);
}

static void context_freed(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int index, long argl,
                          void *argp)
{
    (void)parent, (void)ad, (void)index, (void)argl, (void)argp;
    if (ptr)
        unref(ptr);
}

/* Where an SSL_CTX keeps its tls_server; -1 where OpenSSL has no memory. */
static int context_index(void)
{
    static int index = -1;
    if (index < 0)
        index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, context_freed);
    return index;
}

struct tls_server *tls_server_new(void)
{
    struct tls_server *t = calloc(1, sizeof *t);
    if (t)
        t->references = 1;
    return t;
}

void tls_server_free(struct tls_server *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->count; i++) {
        SSL_CTX_free(t->certificates[i].ctx);
        X509_free(t->certificates[i].leaf);
    }
    free(t->certificates);
    t->certificates = NULL;
    t->count = 0;
    unref(t);
}

bool tls_server_usable(const struct tls_server *t)
{
    return t && t->count > 0;
}

/* ---- Which certificate --------------------------------------------------------------------- */

/* RFC 6066 §3: nobody is refused for a name we do not have; the first certificate serves. */
static int choose_certificate(SSL *ssl, int *alert, void *arg)
{
    const struct tls_server *t = arg;
    (void)alert;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    if (!name)
        return SSL_TLSEXT_ERR_NOACK;
    for (size_t i = 0; i < t->count; i++) {
        if (X509_check_host(t->certificates[i].leaf, name, 0, 0, NULL) != 1)
            continue;
        SSL_set_SSL_CTX(ssl, t->certificates[i].ctx);
        return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_NOACK;
}

/* ---- Session tickets ----------------------------------------------------------------------- */

static bool use_ticket_key(const struct ticket_key *key, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                           EVP_MAC_CTX *mac, int encrypting)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {OSSL_PARAM_construct_octet_string(
                               OSSL_MAC_PARAM_KEY, (void *)(uintptr_t)key->mac, SECRET_SIZE),
                           OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                           OSSL_PARAM_construct_end()};
    return EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->cipher, iv, encrypting) == 1 &&
           EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* 0: no ticket, or a full handshake; 1: as asked; 2: taken, and a newer one is to be made. */
static int ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                      EVP_MAC_CTX *mac, int encrypting)
{
    const struct tls_server *t = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), context_index());
    if (!t || t->ticket_count == 0)
        return 0;
    if (encrypting) {
        memcpy(name, t->tickets[0].name, KEY_NAME_SIZE);
        random_bytes(iv, (size_t)EVP_CIPHER_get_iv_length(EVP_aes_256_cbc()));
        return use_ticket_key(&t->tickets[0], iv, cipher, mac, 1) ? 1 : 0;
    }
    for (size_t i = 0; i < t->ticket_count; i++) {
        if (memcmp(name, t->tickets[i].name, KEY_NAME_SIZE) == 0 &&
            use_ticket_key(&t->tickets[i], iv, cipher, mac, 0))
            return i == 0 ? 1 : 2;
    }
    return 0;
}

static void allow_tickets(const struct tls_server *t, SSL_CTX *ctx)
{
    SSL_CTX_set_num_tickets(ctx, t->ticket_count > 0 ? 1 : 0);
    if (t->ticket_count > 0)
        SSL_CTX_clear_options(ctx, SSL_OP_NO_TICKET);
    else
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
}

void tls_server_set_ticket_keys(struct tls_server *t, struct str keys)
{
    t->ticket_count = 0;
    for (size_t i = 0; i < TLS_TICKET_KEYS_MAX && keys.len >= TLS_TICKET_KEY_SIZE; i++) {
        memcpy(&t->tickets[i], keys.ptr, TLS_TICKET_KEY_SIZE);
        t->ticket_count++;
        keys = str_skip(keys, TLS_TICKET_KEY_SIZE);
    }
    for (size_t i = 0; i < t->count; i++)
        allow_tickets(t, t->certificates[i].ctx);
}

/* ---- Certificates -------------------------------------------------------------------------- */

static BIO *open_pem(struct str pem)
{
    return pem.len <= INT32_MAX ? BIO_new_mem_buf(pem.ptr, (int)pem.len) : NULL;
}

static X509 *read_certificate(BIO *pem)
{
    return PEM_read_bio_X509(pem, NULL, NULL, NULL);
}

static enum status_code load_chain(SSL_CTX *ctx, struct str chain_pem, X509 **ret_leaf,
                                   struct diag *diag)
{
    BIO *pem = open_pem(chain_pem);
    X509 *leaf = pem ? read_certificate(pem) : NULL;
    bool ok = leaf && SSL_CTX_use_certificate(ctx, leaf) == 1;
    X509 *next;
    while (ok && (next = read_certificate(pem)) != NULL) {
        ok = SSL_CTX_add0_chain_cert(ctx, next) == 1;
        if (!ok)
            X509_free(next);
    }
    BIO_free(pem);
    if (ok) {
        ERR_clear_error(); /* the end of the PEM counts as an error there */
        *ret_leaf = leaf;
        return STATUS_OK;
    }
    X509_free(leaf);
    return fail_with(diag, "certificate");
}

EVP_PKEY *tls_public_key(struct str chain_pem)
{
    BIO *pem = open_pem(chain_pem);
    X509 *leaf = pem ? read_certificate(pem) : NULL;
    EVP_PKEY *key = leaf ? X509_get_pubkey(leaf) : NULL;
    X509_free(leaf);
    BIO_free(pem);
    ERR_clear_error();
    return key;
}

int64_t tls_certificate_left_ms(struct str chain_pem)
{
    enum { S_MS = 1000, DAY_S = 24 * 60 * 60 };
    BIO *pem = open_pem(chain_pem);
    X509 *leaf = pem ? read_certificate(pem) : NULL;
    int days = 0, seconds = 0;
    bool ok = leaf && ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(leaf)) == 1;
    X509_free(leaf);
    BIO_free(pem);
    ERR_clear_error();
    return ok ? ((int64_t)days * DAY_S + seconds) * S_MS : INT64_MAX;
}

bool tls_key_id(const EVP_PKEY *key, unsigned char ret_id[TLS_KEY_ID_SIZE])
{
    unsigned char *der = NULL;
    int size = i2d_PUBKEY(key, &der);
    bool ok = size > 0 && EVP_Digest(der, (size_t)size, ret_id, NULL, EVP_sha256(), NULL) == 1;
    OPENSSL_free(der);
    return ok;
}

static SSL_CTX *make_context(struct tls_server *t)
{
    static const unsigned char session_context[] = "postern";
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (!ctx || context_index() < 0 || !SSL_CTX_set_ex_data(ctx, context_index(), t)) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    t->references++;
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                 SSL_OP_PRIORITIZE_CHACHA | SSL_OP_CLEANSE_PLAINTEXT);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_clear_mode(ctx, SSL_MODE_AUTO_RETRY); /* the stream counts what is no data */
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_session_id_context(ctx, session_context, sizeof session_context - 1);
    SSL_CTX_set_tlsext_servername_callback(ctx, choose_certificate);
    SSL_CTX_set_tlsext_servername_arg(ctx, t);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, ticket_key);
    allow_tickets(t, ctx);
    return ctx;
}

enum status_code tls_server_add(struct tls_server *t, struct str chain_pem, EVP_PKEY *key,
                                struct diag *diag)
{
    struct certificate *grown = realloc(t->certificates, (t->count + 1) * sizeof *t->certificates);
    if (!grown)
        return STATUS_NO_MEMORY;
    t->certificates = grown;
    SSL_CTX *ctx = make_context(t);
    if (!ctx)
        return STATUS_NO_MEMORY;
    X509 *leaf;
    enum status_code status = STATUS_OK;
    if (SSL_CTX_set_cipher_list(ctx, CIPHERS_TLS12) != 1 ||
        SSL_CTX_set1_groups_list(ctx, GROUPS) != 1)
        status = fail_with(diag, "ciphers");
    if (status == STATUS_OK)
        status = load_chain(ctx, chain_pem, &leaf, diag);
    if (status != STATUS_OK) {
        SSL_CTX_free(ctx);
        return status;
    }
    t->certificates[t->count++] = (struct certificate){ctx, leaf};
    if (SSL_CTX_use_PrivateKey(ctx, key) == 1)
        return STATUS_OK;
    t->count--;
    SSL_CTX_free(ctx);
    X509_free(leaf);
    return fail_with(diag, "private key");
}

SSL *tls_accept(struct tls_server *t, int fd)
{
    if (!tls_server_usable(t))
        return NULL;
    SSL *ssl = SSL_new(t->certificates[0].ctx);
    if (ssl && SSL_set_fd(ssl, fd) == 1) {
        SSL_set_accept_state(ssl);
        return ssl;
    }
    SSL_free(ssl);
    ERR_clear_error();
    return NULL;
}

/* ---- What is known of a connection --------------------------------------------------------- */

struct tls_facts tls_facts(const SSL *ssl)
{
    const SSL_CIPHER *cipher = SSL_get_current_cipher(ssl);
    return (struct tls_facts){.version = SSL_get_version(ssl),
                              .cipher = SSL_CIPHER_get_name(cipher),
                              .bits = SSL_CIPHER_get_bits(cipher, NULL),
                              .resumed = SSL_session_reused(ssl) == 1};
}

/* RFC 9266 §4.2: under TLS 1.2 only with the extended master secret. */
size_t tls_exporter_binding(SSL *ssl, unsigned char ret_bytes[TLS_BINDING_SIZE_MAX])
{
    static const char label[] = "EXPORTER-Channel-Binding";
    enum { EXPORTER_SIZE = 32 };
    if (SSL_version(ssl) < TLS1_3_VERSION && SSL_get_extms_support(ssl) != 1)
        return 0;
    if (SSL_export_keying_material(ssl, ret_bytes, EXPORTER_SIZE, label, sizeof label - 1, NULL, 0,
                                   0) != 1)
        return 0;
    return EXPORTER_SIZE;
}

/* RFC 5929 §4.1: the signature's own hash, SHA-256 for MD5 and SHA-1; undefined without one. */
size_t tls_certificate_binding(const X509 *certificate,
                               unsigned char ret_bytes[TLS_BINDING_SIZE_MAX])
{
    X509 *leaf = (X509 *)(uintptr_t)certificate;
    int hash = NID_undef;
    unsigned len = 0;
    if (X509_get_signature_info(leaf, &hash, NULL, NULL, NULL) != 1 || hash == NID_undef)
        return 0;
    const EVP_MD *md =
        hash == NID_md5 || hash == NID_sha1 ? EVP_sha256() : EVP_get_digestbynid(hash);
    if (!md || X509_digest(leaf, md, ret_bytes, &len) != 1)
        return 0;
    return len;
}

size_t tls_server_end_point_binding(SSL *ssl, unsigned char ret_bytes[TLS_BINDING_SIZE_MAX])
{
    const X509 *leaf = SSL_get_certificate(ssl);
    return leaf ? tls_certificate_binding(leaf, ret_bytes) : 0;
}
