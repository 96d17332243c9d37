#ifndef POSTERN_IO_TLS_CLIENT_H
#define POSTERN_IO_TLS_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/types.h>

#include "base/diag.h"
#include "base/status.h"
#include "base/str.h"
#include "io/tls.h"

/*
 * The client's side of TLS: 1.2 and 1.3. Who the server is, is checked as the caller demands, by
 * authorities (PKIX) or by TLSA records (DANE, RFC 7671 and 7672). Streams do the talking:
 * stream_start_tls_client.
 */
struct tls_client;

/* NULL where there is no memory. It trusts no authority yet. */
struct tls_client *tls_client_new(void);

/* Connections that are open keep what they need of it. NULL is allowed. */
void tls_client_free(struct tls_client *t);

/* The authorities, a bundle in PEM: what of it is no certificate is passed over. */
enum status_code tls_client_trust(struct tls_client *t, struct str bundle_pem,
                                  struct diag *diag) MUST_USE;

/*
 * For a context whose handshakes libcurl makes: what a stranger's server can make us compute has
 * the same bounds as with those made here. False where OpenSSL does not take them.
 */
bool tls_client_bound(SSL_CTX *ctx) MUST_USE;

enum tls_check {
    TLS_CHECK_NOTHING, /* opportunistic: encryption against listeners only (RFC 7435) */
    TLS_CHECK_PKIX,    /* an authority vouches for one of the names */
    TLS_CHECK_DANE     /* the TLSA records vouch; of the names, where they are those of a DANE-TA */
};

/* As in a TLSA record (RFC 6698 §2.1). */
struct tls_tlsa {
    uint8_t usage, selector, matching;
    struct str data;
};

struct tls_demand {
    enum tls_check check;
    /* False: a server that does not pass is told nothing, and tls_client_verdict tells. */
    bool enforced;
    struct str server_name;  /* SNI (RFC 7672 §8.1, RFC 8461 §4.1); empty: none */
    const struct str *names; /* one of which the certificate must have (RFC 7672 §3.2.2); with
                                TLS_CHECK_PKIX ".example.org" is every name below it */
    size_t name_count;
    const struct tls_tlsa *records;
    size_t record_count;
    /*
     * Whom the connection is for: a later one with the same words and the same demand may resume
     * its session (io/tls_session.h). Empty: none may.
     */
    struct str resume;
};

/*
 * How many of the records can be used at all for mail: usages DANE-TA and DANE-EE (RFC 7672
 * §3.1.3), and selectors, matching types and data as they should be. With none the demand is to be
 * TLS_CHECK_NOTHING: encrypted, unauthenticated (§2.2).
 */
size_t tls_tlsa_usable(const struct tls_tlsa *records, size_t count);

/* For streams: the client's side of a handshake over fd. NULL where there is no memory. */
SSL *tls_connect(struct tls_client *t, const struct tls_demand *demand, int fd);

/* ---- What came of it ------------------------------------------------------------------------- */

/*
 * How a server passed or failed, once the handshake is over or the stream broke in it. result: a
 * result type of RFC 8460 §4.3, static, empty where nothing failed; words: why, for people, static
 * too. authenticated: it is who the demand says.
 */
struct tls_verdict {
    bool authenticated;
    bool resumed; /* an earlier session, and its proof of who it is */
    const char *result;
    const char *words;
};

struct tls_verdict tls_client_verdict(const SSL *ssl);

/*
 * After a handshake that failed: true where a session had been offered, which may have been why.
 * None of that kind is offered again; the caller may try once more.
 */
bool tls_client_forget_sessions(SSL *ssl);

/* RFC 5929 §4: the hash of the server's certificate. Returns the length, 0 where there is none. */
size_t tls_client_end_point_binding(SSL *ssl, unsigned char ret_bytes[TLS_BINDING_SIZE_MAX]);

#endif
