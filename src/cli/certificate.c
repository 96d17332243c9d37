#include "cli/certificate.h"

#include <stdio.h>

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "io/files.h"
#include "io/random.h"

enum { DAYS = 3650, SERIAL_SIZE = 16, NAMES_SIZE = 512 };

static bool add_extension(X509 *cert, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, cert, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    bool ok = extension && X509_add_ext(cert, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return ok;
}

static bool set_serial(X509 *cert)
{
    unsigned char bytes[SERIAL_SIZE];
    random_bytes(bytes, sizeof(bytes));
    bytes[0] &= 0x7f; /* RFC 5280 §4.1.2.2: positive, at most 20 octets */
    BIGNUM *number = BN_bin2bn(bytes, sizeof(bytes), NULL);
    bool ok = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert));
    BN_free(number);
    return ok;
}

static bool fill(X509 *cert, EVP_PKEY *key, const char *name, bool loopback)
{
    char names[NAMES_SIZE];
    snprintf(names, sizeof(names), "DNS:%s%s", name,
             loopback ? ",DNS:localhost,IP:127.0.0.1,IP:::1" : "");
    X509_NAME *subject = X509_get_subject_name(cert);
    return X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert) &&
           X509_gmtime_adj(X509_getm_notBefore(cert), -3600) &&
           X509_time_adj_ex(X509_getm_notAfter(cert), DAYS, 0, NULL) &&
           X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                                      (const unsigned char *)"Postern", -1, -1, 0) == 1 &&
           X509_set_issuer_name(cert, subject) == 1 && X509_set_pubkey(cert, key) == 1 &&
           add_extension(cert, NID_subject_alt_name, names) &&
           add_extension(cert, NID_basic_constraints, "critical,CA:FALSE") &&
           add_extension(cert, NID_key_usage, "critical,digitalSignature") &&
           add_extension(cert, NID_ext_key_usage, "serverAuth") &&
           X509_sign(cert, key, EVP_sha256()) > 0;
}

static enum status_code write_pem(BIO *pem, bool written, const char *path, mode_t mode,
                                  struct diag *diag)
{
    char *bytes;
    long size = written ? BIO_get_mem_data(pem, &bytes) : 0;
    if (size <= 0)
        return STATUS_NO_MEMORY;
    return files_write(path, str_make(bytes, (size_t)size), mode, diag);
}

enum status_code certificate_make(const char *name, bool loopback, const char *chain_path,
                                  const char *key_path, struct diag *diag)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    BIO *key_pem = BIO_new(BIO_s_secmem()), *cert_pem = BIO_new(BIO_s_mem());
    enum status_code status = STATUS_NO_MEMORY;
    if (key && cert && key_pem && cert_pem && fill(cert, key, name, loopback)) {
        bool ok = PEM_write_bio_PKCS8PrivateKey(key_pem, key, NULL, NULL, 0, NULL, NULL) == 1;
        status = write_pem(key_pem, ok, key_path, 0600, diag);
        ok = PEM_write_bio_X509(cert_pem, cert) == 1;
        if (status == STATUS_OK)
            status = write_pem(cert_pem, ok, chain_path, 0644, diag);
    }
    BIO_free(cert_pem);
    BIO_free(key_pem);
    X509_free(cert);
    EVP_PKEY_free(key);
    return status;
}
