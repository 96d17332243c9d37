#ifndef POSTERN_IO_TESTING_TLS_H
#define POSTERN_IO_TESTING_TLS_H

#include <openssl/x509.h>

#include "base/buf.h"

/* Certificates for tests. */
struct testing_certificate {
    EVP_PKEY *key;
    X509 *certificate;
    struct buf pem;
};

/* issuer NULL: self-signed (an authority of its own). Valid for `seconds` from now on: ended, where
 * that is negative. */
void testing_certificate_make(struct testing_certificate *c, const char *name,
                              const struct testing_certificate *issuer, long seconds);
void testing_certificate_release(struct testing_certificate *c);

/* SHA-256 of the certificate (selector 0) or its public key (1): what a TLSA record says. */
void testing_certificate_digest(const struct testing_certificate *c, int selector,
                                unsigned char ret_digest[32]);

#endif
