#include "io/tls_client.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/bug.h"
#include "io/tls_session.h"

enum { DANE_TA = 2, DANE_EE = 3, SELECTORS = 2, NAME_SIZE = 256 };

/*
 * An old server's ciphers are still better than none; nothing anonymous, nothing broken. And
 * nothing with finite fields: how large they are is the server's choice, and computing with the
 * largest takes us a second, in which nobody else is served. Who has TLS 1.2 has one of the others.
 */
#define CIPHERS_TLS12 "DEFAULT:!kDHE:!aNULL:!PSK:!SRP:!RC4:!3DES:!MD5"
#define GROUPS        "X25519:P-256:P-384:P-521"

/* One context looks at nothing, which saves building a chain that nobody asks for. */
struct tls_client {
    SSL_CTX *unchecked, *pkix, *dane;
    struct tls_sessions *sessions;
};

static int accept_anybody(X509_STORE_CTX *store, void *context)
{
    (void)context;
    X509_STORE_CTX_set_error(store, X509_V_OK);
    return 1;
}

bool tls_client_bound(SSL_CTX *ctx)
{
    SSL_CTX_clear_mode(ctx, SSL_MODE_AUTO_RETRY); /* one message that is no data at a time */
    return SSL_CTX_set_cipher_list(ctx, CIPHERS_TLS12) == 1 &&
           SSL_CTX_set1_groups_list(ctx, GROUPS) == 1;
}

static SSL_CTX *make_context(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    if (!ctx)
        return NULL;
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ctx, 1);
    tls_sessions_watch(ctx);
    if (tls_client_bound(ctx))
        return ctx;
    SSL_CTX_free(ctx);
    return NULL;
}

struct tls_client *tls_client_new(void)
{
    struct tls_client *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->unchecked = make_context();
    t->pkix = make_context();
    t->dane = make_context();
    t->sessions = tls_sessions_new();
    if (!t->unchecked || !t->pkix || !t->dane || !t->sessions ||
        SSL_CTX_dane_enable(t->dane) != 1) {
        ERR_clear_error();
        tls_client_free(t);
        return NULL;
    }
    SSL_CTX_set_cert_verify_callback(t->unchecked, accept_anybody, NULL);
    return t;
}

void tls_client_free(struct tls_client *t)
{
    if (!t)
        return;
    SSL_CTX_free(t->unchecked);
    SSL_CTX_free(t->pkix);
    SSL_CTX_free(t->dane);
    tls_sessions_drop(t->sessions);
    free(t);
}

enum status_code tls_client_trust(struct tls_client *t, struct str bundle_pem, struct diag *diag)
{
    X509_STORE *store = SSL_CTX_get_cert_store(t->pkix);
    BIO *pem =
        bundle_pem.len <= INT32_MAX ? BIO_new_mem_buf(bundle_pem.ptr, (int)bundle_pem.len) : NULL;
    X509 *certificate;
    size_t count = 0;
    while (pem && (certificate = PEM_read_bio_X509_AUX(pem, NULL, NULL, NULL)) != NULL) {
        if (X509_STORE_add_cert(store, certificate) == 1)
            count++;
        X509_free(certificate);
    }
    BIO_free(pem);
    ERR_clear_error();
    if (count > 0)
        return STATUS_OK;
    diag_set(diag, "no certificate of an authority in it");
    return STATUS_INVALID;
}

/* ---- DANE ---------------------------------------------------------------------------------- */

/* Octets that the matching type's digest has; 0: the thing itself; -1: no such type. */
static int digest_size(uint8_t matching)
{
    static const int sizes[] = {0, 32, 64};
    return matching < sizeof sizes / sizeof *sizes ? sizes[matching] : -1;
}

static bool is_usable(const struct tls_tlsa *r)
{
    int size = digest_size(r->matching);
    return (r->usage == DANE_TA || r->usage == DANE_EE) && r->selector < SELECTORS && size >= 0 &&
           r->data.len > 0 && (size == 0 || r->data.len == (size_t)size);
}

size_t tls_tlsa_usable(const struct tls_tlsa *records, size_t count)
{
    size_t usable = 0;
    for (size_t i = 0; i < count; i++)
        usable += is_usable(&records[i]);
    return usable;
}

static bool add_records(SSL *ssl, const struct tls_demand *demand)
{
    for (size_t i = 0; i < demand->record_count; i++) {
        const struct tls_tlsa *r = &demand->records[i];
        /* 0: OpenSSL does not take it (a certificate that is none): it vouches for nobody. */
        if (is_usable(r) && SSL_dane_tlsa_add(ssl, r->usage, r->selector, r->matching,
                                              (const unsigned char *)r->data.ptr, r->data.len) < 0)
            return false;
    }
    return true;
}

static bool add_names(SSL *ssl, const struct tls_demand *demand)
{
    char name[NAME_SIZE];
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    for (size_t i = 0; i < demand->name_count; i++)
        if (!str_to_c(demand->names[i], name, sizeof name) || SSL_add1_host(ssl, name) != 1)
            return false;
    /* No name at all would let every certificate pass. */
    return demand->name_count > 0;
}

static bool demand_dane(SSL *ssl, const struct tls_demand *demand)
{
    char base[NAME_SIZE];
    if (demand->name_count == 0 || !str_to_c(demand->names[0], base, sizeof base) ||
        SSL_dane_enable(ssl, base) != 1)
        return false;
    /* RFC 7672 §3.1.1: of a DANE-EE neither name nor dates count. */
    SSL_dane_set_flags(ssl, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
    return add_records(ssl, demand) && add_names(ssl, demand);
}

static bool apply(SSL *ssl, const struct tls_demand *demand, int fd)
{
    char name[NAME_SIZE];
    bool ok = SSL_set_fd(ssl, fd) == 1;
    if (ok && !str_empty(demand->server_name))
        ok = str_to_c(demand->server_name, name, sizeof name) &&
             SSL_set_tlsext_host_name(ssl, name) == 1;
    if (ok && demand->check == TLS_CHECK_DANE)
        ok = demand_dane(ssl, demand);
    if (ok && demand->check == TLS_CHECK_PKIX)
        ok = add_names(ssl, demand);
    if (!ok)
        return false;
    bool enforced = demand->enforced && demand->check != TLS_CHECK_NOTHING;
    SSL_set_verify(ssl, enforced ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    SSL_set_connect_state(ssl);
    return true;
}

SSL *tls_connect(struct tls_client *t, const struct tls_demand *demand, int fd)
{
    SSL_CTX *contexts[] = {
        [TLS_CHECK_NOTHING] = t->unchecked, [TLS_CHECK_PKIX] = t->pkix, [TLS_CHECK_DANE] = t->dane};
    SSL *ssl = SSL_new(contexts[demand->check]);
    if (ssl && apply(ssl, demand, fd) && tls_sessions_offer(t->sessions, ssl, demand))
        return ssl;
    SSL_free(ssl);
    ERR_clear_error();
    return NULL;
}

/* ---- Verdicts ------------------------------------------------------------------------------ */

/* RFC 8460 §4.3.2.1. */
static const char *result_type(long error)
{
    switch (error) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
        return "certificate-host-mismatch";
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return "certificate-expired";
    case X509_V_ERR_DANE_NO_MATCH:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_UNTRUSTED:
        return "certificate-not-trusted";
    default:
        return "validation-failure";
    }
}

/* Only a demand has names (the context that looks at nothing is given none). */
static bool was_checked(const SSL *ssl)
{
    return X509_VERIFY_PARAM_get0_host(SSL_get0_param((SSL *)(uintptr_t)ssl), 0) != NULL;
}

struct tls_verdict tls_client_verdict(const SSL *ssl)
{
    long error = SSL_get_verify_result(ssl);
    if (was_checked(ssl) && error != X509_V_OK)
        return (struct tls_verdict){.resumed = SSL_session_reused(ssl) == 1,
                                    .result = result_type(error),
                                    .words = X509_verify_cert_error_string(error)};
    if (!SSL_is_init_finished(ssl))
        return (struct tls_verdict){.result = "validation-failure",
                                    .words = "the TLS handshake failed"};
    return (struct tls_verdict){.authenticated = was_checked(ssl),
                                .resumed = SSL_session_reused(ssl) == 1,
                                .result = "",
                                .words = ""};
}

size_t tls_client_end_point_binding(SSL *ssl, unsigned char ret_bytes[TLS_BINDING_SIZE_MAX])
{
    X509 *leaf = SSL_get0_peer_certificate(ssl);
    return leaf ? tls_certificate_binding(leaf, ret_bytes) : 0;
}
