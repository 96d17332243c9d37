/* An RSA or EC key that signs by a function of ours has, in OpenSSL 3, no other form than this. */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "roles/sign_client.h"

#include <stdlib.h>

#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <openssl/rsa.h>

#include "io/tls.h"
#include "roles/link.h"
#include "roles/sign.h"

struct sign_client {
    struct link *link;
    bool broken; /* the link ended; it is closed when it is not in use */
    RSA_METHOD *rsa_method;
    EC_KEY_METHOD *ec_method;
};

/* Hangs on the OpenSSL key. */
struct remote_key {
    struct sign_client *client;
    unsigned char id[TLS_KEY_ID_SIZE];
};

struct request {
    bool done;
    bool signed_well;
    uint8_t signature[SIGN_SIGNATURE_MAX];
    size_t size;
};

/* Where the remote key hangs; OpenSSL numbers such places for the whole process. */
static int rsa_index = -1, ec_index = -1;

static void free_remote_key(void *parent, void *ptr, CRYPTO_EX_DATA *data, int index, long argl,
                            void *argp)
{
    (void)parent;
    (void)data;
    (void)index;
    (void)argl;
    (void)argp;
    free(ptr);
}

/* ---- Asking ---------------------------------------------------------------------------------- */

static void link_over(void *owner, enum status_code why, const char *words)
{
    struct sign_client *c = owner;
    (void)why;
    (void)words;
    c->broken = true;
}

static void drop_link(struct sign_client *c)
{
    link_close(c->link);
    c->link = NULL;
    c->broken = false;
}

static void on_signed(void *context, enum status_code status, const struct ipc_sign_out *out)
{
    struct request *r = context;
    r->done = true;
    if (status != STATUS_OK || out->status != STATUS_OK || out->signature.len > sizeof r->signature)
        return;
    r->size = out->signature.len;
    r->signed_well = r->size > 0;
    if (r->size)
        memcpy(r->signature, out->signature.ptr, r->size);
}

/*
 * A reply that comes after the time-out must not be taken for the next one's: the call is
 * cancelled by its id.
 */
static bool ask(const struct remote_key *key, enum sign_algorithm algorithm, const void *digest,
                size_t digest_size, struct request *r)
{
    struct sign_client *c = key->client;
    struct channel *ch = link_channel(c->link);
    *r = (struct request){0};
    uint32_t id = ipc_sign_call(ch,
                                &(struct ipc_sign_in){.key = str_make(key->id, TLS_KEY_ID_SIZE),
                                                      .algorithm = (uint8_t)algorithm,
                                                      .digest = str_make(digest, digest_size)},
                                on_signed, r);
    if (id == 0)
        return false;
    link_wait(c->link, &r->done, SIGN_TIMEOUT_MS);
    if (!r->done)
        channel_cancel(ch, id);
    if (c->broken)
        drop_link(c);
    return r->signed_well;
}

/* ---- RSA ---------------------------------------------------------------------------------------
 */

static int rsa_sign(int digest_type, const unsigned char *digest, unsigned int digest_size,
                    unsigned char *out, unsigned int *out_size, const RSA *rsa)
{
    const struct remote_key *key = RSA_get_ex_data(rsa, rsa_index);
    enum sign_algorithm algorithm = digest_type == NID_sha256   ? SIGN_RSA_PKCS1_SHA256
                                    : digest_type == NID_sha384 ? SIGN_RSA_PKCS1_SHA384
                                    : digest_type == NID_sha512 ? SIGN_RSA_PKCS1_SHA512
                                                                : SIGN_ALGORITHMS;
    struct request r;
    if (algorithm == SIGN_ALGORITHMS || !ask(key, algorithm, digest, digest_size, &r) ||
        r.size != (size_t)RSA_size(rsa))
        return 0;
    memcpy(out, r.signature, r.size);
    *out_size = (unsigned)r.size;
    return 1;
}

/* OpenSSL makes the PSS block itself and asks for the bare operation on it. */
static int rsa_private_encrypt(int size, const unsigned char *block, unsigned char *out, RSA *rsa,
                               int padding)
{
    struct request r;
    if (padding != RSA_NO_PADDING || size != RSA_size(rsa) ||
        !ask(RSA_get_ex_data(rsa, rsa_index), SIGN_RSA_PSS_BLOCK, block, (size_t)size, &r) ||
        r.size != (size_t)size)
        return -1;
    memcpy(out, r.signature, r.size);
    return size;
}

/* No RSA key exchange: it has no forward secrecy, and every way to do it has leaked. */
static int rsa_private_decrypt(int size, const unsigned char *from, unsigned char *to, RSA *rsa,
                               int padding)
{
    (void)size;
    (void)from;
    (void)to;
    (void)rsa;
    (void)padding;
    return -1;
}

static RSA_METHOD *make_rsa_method(void)
{
    RSA_METHOD *m = RSA_meth_dup(RSA_PKCS1_OpenSSL());
    if (m && RSA_meth_set_sign(m, rsa_sign) && RSA_meth_set_priv_enc(m, rsa_private_encrypt) &&
        RSA_meth_set_priv_dec(m, rsa_private_decrypt) &&
        RSA_meth_set_flags(m, RSA_FLAG_EXT_PKEY | RSA_METHOD_FLAG_NO_CHECK))
        return m;
    RSA_meth_free(m);
    return NULL;
}

/* On success the remote key belongs to what is made. */
static EVP_PKEY *make_rsa(struct remote_key *key, EVP_PKEY *public)
{
    RSA *rsa = EVP_PKEY_get1_RSA(public);
    RSA *own = rsa ? RSAPublicKey_dup(rsa) : NULL;
    EVP_PKEY *pkey = EVP_PKEY_new();
    RSA_free(rsa);
    if (own && pkey && RSA_set_method(own, key->client->rsa_method) &&
        EVP_PKEY_assign_RSA(pkey, own)) {
        if (RSA_set_ex_data(own, rsa_index, key))
            return pkey;
        own = NULL;
    }
    RSA_free(own);
    EVP_PKEY_free(pkey);
    return NULL;
}

/* ---- EC ----------------------------------------------------------------------------------------
 */

static int ec_sign(int type, const unsigned char *digest, int digest_size, unsigned char *out,
                   unsigned int *out_size, const BIGNUM *kinv, const BIGNUM *r_value, EC_KEY *ec)
{
    struct request r;
    (void)type;
    (void)kinv;
    (void)r_value;
    if (!ask(EC_KEY_get_ex_data(ec, ec_index), SIGN_ECDSA, digest, (size_t)digest_size, &r) ||
        r.size > (size_t)ECDSA_size(ec))
        return 0;
    memcpy(out, r.signature, r.size);
    *out_size = (unsigned)r.size;
    return 1;
}

static EC_KEY_METHOD *make_ec_method(void)
{
    int (*sign)(int, const unsigned char *, int, unsigned char *, unsigned int *, const BIGNUM *,
                const BIGNUM *, EC_KEY *) = NULL;
    int (*setup)(EC_KEY *, BN_CTX *, BIGNUM **, BIGNUM **) = NULL;
    ECDSA_SIG *(*sign_sig)(const unsigned char *, int, const BIGNUM *, const BIGNUM *, EC_KEY *) =
        NULL;
    EC_KEY_METHOD *m = EC_KEY_METHOD_new(EC_KEY_OpenSSL());
    if (!m)
        return NULL;
    EC_KEY_METHOD_get_sign(m, &sign, &setup, &sign_sig);
    EC_KEY_METHOD_set_sign(m, ec_sign, setup, NULL);
    return m;
}

static EVP_PKEY *make_ec(struct remote_key *key, EVP_PKEY *public)
{
    EC_KEY *ec = EVP_PKEY_get1_EC_KEY(public);
    EC_KEY *own = ec ? EC_KEY_dup(ec) : NULL;
    EVP_PKEY *pkey = EVP_PKEY_new();
    EC_KEY_free(ec);
    if (own && pkey && EC_KEY_set_method(own, key->client->ec_method) &&
        EVP_PKEY_assign_EC_KEY(pkey, own)) {
        if (EC_KEY_set_ex_data(own, ec_index, key))
            return pkey;
        own = NULL;
    }
    EC_KEY_free(own);
    EVP_PKEY_free(pkey);
    return NULL;
}

/* ---- The client --------------------------------------------------------------------------------
 */

struct sign_client *sign_client_new(void)
{
    struct sign_client *c = calloc(1, sizeof *c);
    if (rsa_index < 0)
        rsa_index = RSA_get_ex_new_index(0, NULL, NULL, NULL, free_remote_key);
    if (ec_index < 0)
        ec_index = EC_KEY_get_ex_new_index(0, NULL, NULL, NULL, free_remote_key);
    if (!c)
        return NULL;
    c->rsa_method = make_rsa_method();
    c->ec_method = make_ec_method();
    if (rsa_index >= 0 && ec_index >= 0 && c->rsa_method && c->ec_method)
        return c;
    sign_client_free(c);
    return NULL;
}

void sign_client_free(struct sign_client *c)
{
    if (!c)
        return;
    drop_link(c);
    RSA_meth_free(c->rsa_method);
    EC_KEY_METHOD_free(c->ec_method);
    free(c);
}

void sign_client_connect(struct sign_client *c, int fd)
{
    static const struct ipc_handlers none;
    struct link_setup setup = {.fd = fd,
                               .self = ROLE_EDGE,
                               .peer = ROLE_KEEPER,
                               .handlers = &none,
                               .owner = c,
                               .ended = link_over};
    drop_link(c);
    c->link = link_open(&setup);
}

EVP_PKEY *sign_client_key(struct sign_client *c, struct str chain_pem)
{
    EVP_PKEY *public = tls_public_key(chain_pem), *pkey = NULL;
    struct remote_key *key = calloc(1, sizeof *key);
    if (public && key && tls_key_id(public, key->id)) {
        key->client = c;
        if (EVP_PKEY_is_a(public, "RSA"))
            pkey = make_rsa(key, public);
        else if (EVP_PKEY_is_a(public, "EC"))
            pkey = make_ec(key, public);
    }
    if (!pkey)
        free(key);
    EVP_PKEY_free(public);
    return pkey;
}

bool sign_client_can_sign(EVP_PKEY *key)
{
    static const unsigned char words[] = "does it fit?";
    unsigned char signature[SIGN_SIGNATURE_MAX];
    size_t size = sizeof signature;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
              EVP_DigestSign(ctx, signature, &size, words, sizeof words) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return ok;
}
