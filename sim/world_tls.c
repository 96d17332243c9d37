/* The world's certificate, and who signs with its key. */
#include "sim/world_tls.h"

#include <sys/mman.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/bug.h"
#include "io/socket.h"
#include "roles/keeper_tls.h"
#include "roles/link.h"

struct join {
    struct link *link; /* to an edge */
    bool broken;
};

static struct {
    struct world *world;
    struct buf chain;
    struct keeper_tls *keys;
    struct join joins[WORLD_EDGES];
} signer;

static X509 *make_certificate(EVP_PKEY *key)
{
    X509 *x = X509_new();
    invariant(x);
    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    ASN1_TIME_set_string(X509_getm_notBefore(x), "20200101000000Z");
    ASN1_TIME_set_string(X509_getm_notAfter(x), "20991231235959Z");
    X509_set_pubkey(x, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8,
                               (const unsigned char *)"mail.sim.test", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    invariant(X509_sign(x, key, EVP_sha256()) > 0);
    return x;
}

static void take_pem(BIO *bio, struct buf *out)
{
    char *text;
    long len = BIO_get_mem_data(bio, &text);
    buf_append(out, text, (size_t)len);
    BIO_free(bio);
}

static void load_key(EVP_PKEY *key)
{
    struct diag diag;
    struct buf pem;
    BIO *bio = BIO_new(BIO_s_mem());
    int fd = memfd_create("key", MFD_CLOEXEC);
    buf_init(&pem, 20000);
    PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
    take_pem(bio, &pem);
    invariant(fd >= 0 && write(fd, pem.ptr, pem.len) == (ssize_t)pem.len && lseek(fd, 0, 0) == 0);
    invariant(keeper_tls_load(signer.keys, 0, fd, &diag) == STATUS_OK);
    close(fd);
    buf_release(&pem);
}

void world_tls_open(struct world *w)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    BIO *bio = BIO_new(BIO_s_mem());
    signer.world = w;
    signer.keys = keeper_tls_new();
    invariant(key && bio && signer.keys);
    X509 *certificate = make_certificate(key);
    buf_init(&signer.chain, 20000);
    PEM_write_bio_X509(bio, certificate);
    take_pem(bio, &signer.chain);
    load_key(key);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

static void drop(struct join *j)
{
    link_close(j->link);
    *j = (struct join){0};
}

void world_tls_close(void)
{
    for (int i = 0; i < WORLD_EDGES; i++)
        drop(&signer.joins[i]);
    keeper_tls_free(signer.keys);
    buf_release(&signer.chain);
}

struct str world_tls_chain(void)
{
    return buf_str(&signer.chain);
}

/* ---- Signing ----------------------------------------------------------------------------------
 */

static void on_sign(void *context, struct channel *from, uint32_t id, const struct ipc_sign_in *in)
{
    uint8_t signature[SIGN_SIGNATURE_MAX];
    size_t size = 0;
    (void)context;
    enum status_code status = keeper_tls_sign(
        signer.keys, in->key, (enum sign_algorithm)in->algorithm, in->digest, signature, &size);
    ipc_sign_reply(
        from, id, &(struct ipc_sign_out){.status = status, .signature = str_make(signature, size)});
}

static void on_ended(void *owner, enum status_code why, const char *words)
{
    (void)why;
    (void)words;
    ((struct join *)owner)->broken = true;
}

static const struct ipc_handlers handlers = {.sign = on_sign};

void world_tls_join(uint8_t index, struct channel *edge)
{
    struct join *j = &signer.joins[index];
    int fds[2];
    drop(j);
    invariant(socket_pair(fds) == STATUS_OK);
    ipc_sign_channel_note(edge, &(struct ipc_sign_channel_in){.index = 0, .fd = fds[0]});
    j->link = link_open(&(struct link_setup){.fd = fds[1],
                                             .self = ROLE_KEEPER,
                                             .peer = ROLE_EDGE,
                                             .handlers = &handlers,
                                             .owner = j,
                                             .ended = on_ended});
    invariant(j->link);
}

bool __real_link_wait(struct link *link, const bool *done, int timeout_ms);
bool __wrap_link_wait(struct link *link, const bool *done, int timeout_ms);

/* The keeper hears whoever has asked. */
static void serve_joins(void)
{
    bool never = false;
    for (int i = 0; i < WORLD_EDGES; i++)
        if (signer.joins[i].link)
            __real_link_wait(signer.joins[i].link, &never, 0);
}

/*
 * In place of link_wait: who is waited for lives in this very thread. The keeper that is dead signs
 * nothing, and now and then a living one comes too late.
 */
bool __wrap_link_wait(struct link *link, const bool *done, int timeout_ms)
{
    (void)timeout_ms;
    if (__real_link_wait(link, done, 0))
        return true;
    for (int i = 0; i < WORLD_EDGES; i++)
        if (signer.joins[i].broken)
            drop(&signer.joins[i]);
    if (!world_runs(signer.world, WORLD_KEEPER) || world_draw(signer.world, 50) == 0)
        return false;
    serve_joins();
    return __real_link_wait(link, done, 0);
}
