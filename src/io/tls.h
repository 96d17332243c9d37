#ifndef POSTERN_IO_TLS_H
#define POSTERN_IO_TLS_H

#include <stdbool.h>
#include <stddef.h>

#include <openssl/types.h>

#include "base/diag.h"
#include "base/status.h"
#include "base/str.h"

/*
 * The server side of TLS: 1.2 and 1.3, forward secrecy only (no RSA key exchange), the certificate
 * chosen by SNI, sessions resumed by tickets alone. The key may be one that lives in another
 * process (roles/sign_client.h). Streams do the talking (io/stream.h).
 */
struct tls_server;

/* NULL where there is no memory. */
struct tls_server *tls_server_new(void);

/* Connections that are open keep what they need of it. NULL is allowed. */
void tls_server_free(struct tls_server *t);

/*
 * Adds a certificate: its chain in PEM, leaf first, and its private key (which it takes a
 * reference to). It serves the names in the leaf; the first one added serves everybody else.
 */
enum status_code tls_server_add(struct tls_server *t, struct str chain_pem, EVP_PKEY *key,
                                struct diag *diag) MUST_USE;

/* True where it has a certificate. */
bool tls_server_usable(const struct tls_server *t);

/*
 * Session ticket keys, newest first, each TLS_TICKET_KEY_SIZE bytes of randomness: the first makes
 * tickets, all are taken. Without any there are no tickets.
 */
enum { TLS_TICKET_KEY_SIZE = 80, TLS_TICKET_KEYS_MAX = 4 };
void tls_server_set_ticket_keys(struct tls_server *t, struct str keys);

/* The public key of a PEM chain's leaf, for making an opaque key of it; caller frees. */
EVP_PKEY *tls_public_key(struct str chain_pem);

/* How long a PEM chain's leaf is still valid; INT64_MAX where it cannot be read. */
int64_t tls_certificate_left_ms(struct str chain_pem);

/*
 * What a key is known by, its private half and its public one alike: SHA-256 of its
 * SubjectPublicKeyInfo (RFC 7469 §2.4). False where there is no memory.
 */
enum { TLS_KEY_ID_SIZE = 32 };
bool tls_key_id(const EVP_PKEY *key, unsigned char ret_id[TLS_KEY_ID_SIZE]) MUST_USE;

/* ---- What is known of a connection ----------------------------------------------------------- */

enum { TLS_BINDING_SIZE_MAX = 64 };

/* Static strings: "TLSv1.3", "TLS_AES_256_GCM_SHA384". */
struct tls_facts {
    const char *version;
    const char *cipher;
    int bits;
    bool resumed;
};

struct tls_facts tls_facts(const SSL *ssl);

/* RFC 9266: 32 bytes; 0 where the connection cannot give it (TLS 1.2 without extended master
 * secret). Returns the length. */
size_t tls_exporter_binding(SSL *ssl, unsigned char ret_bytes[TLS_BINDING_SIZE_MAX]);

/* RFC 5929 §4: the hash of our certificate. Returns the length, 0 where there is none. */
size_t tls_server_end_point_binding(SSL *ssl, unsigned char ret_bytes[TLS_BINDING_SIZE_MAX]);

/* The same of any certificate. */
size_t tls_certificate_binding(const X509 *certificate,
                               unsigned char ret_bytes[TLS_BINDING_SIZE_MAX]);

/* For streams: the server's side of a handshake over fd. NULL where there is no memory. */
SSL *tls_accept(struct tls_server *t, int fd);

#endif
