#include "io/testing_tls.h"

#include <stdio.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/testing.h"

static void add_extension(X509 *certificate, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    assert_non_null(extension);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
}

void testing_certificate_make(struct testing_certificate *c, const char *name,
                              const struct testing_certificate *issuer, long seconds)
{
    static long serial;
    char alternative[100];
    X509 *x = X509_new();
    c->key = EVP_EC_gen("P-256");
    c->certificate = x;
    snprintf(alternative, sizeof alternative, "DNS:%s", name);
    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(x), -7200);
    X509_gmtime_adj(X509_getm_notAfter(x), seconds);
    X509_set_pubkey(x, c->key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8,
                               (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(issuer ? issuer->certificate : x));
    if (!issuer)
        add_extension(x, NID_basic_constraints, "critical,CA:TRUE");
    add_extension(x, NID_subject_alt_name, alternative);
    assert_true(X509_sign(x, issuer ? issuer->key : c->key, EVP_sha256()) > 0);
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, x);
    if (issuer)
        PEM_write_bio_X509(bio, issuer->certificate);
    char *text;
    long len = BIO_get_mem_data(bio, &text);
    buf_init(&c->pem, 20000);
    buf_append(&c->pem, text, (size_t)len);
    BIO_free(bio);
}

void testing_certificate_release(struct testing_certificate *c)
{
    EVP_PKEY_free(c->key);
    X509_free(c->certificate);
    buf_release(&c->pem);
}

void testing_certificate_digest(const struct testing_certificate *c, int selector,
                                unsigned char ret_digest[32])
{
    unsigned char *der = NULL;
    int size = selector == 0 ? i2d_X509(c->certificate, &der) : i2d_PUBKEY(c->key, &der);
    assert_true(size > 0);
    assert_int_equal(EVP_Digest(der, (size_t)size, ret_digest, NULL, EVP_sha256(), NULL), 1);
    OPENSSL_free(der);
}
