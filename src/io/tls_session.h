#ifndef POSTERN_IO_TLS_SESSION_H
#define POSTERN_IO_TLS_SESSION_H

#include <stdbool.h>

#include <openssl/types.h>

#include "io/tls_client.h"

/*
 * Sessions of TLS that a client may resume, which saves both sides the public-key work. A session
 * is what a server proved once, or failed to where nobody insisted: the verdict stays with it. So
 * it is resumed only where every word of the demand is the same and so is `resume` (whom it is
 * for), for an hour at the most. LIMIT_TLS_SESSIONS in all, the oldest make room, and a few for one
 * purpose. A session of TLS 1.3 is used once (RFC 8446 appendix C.4).
 */
struct tls_sessions;

/* One reference; NULL where there is no memory. Connections that are open hold their own. */
struct tls_sessions *tls_sessions_new(void);
void tls_sessions_drop(struct tls_sessions *s);

/* Its connections may be resumed later. */
void tls_sessions_watch(SSL_CTX *ctx);

/*
 * Before the handshake: offers a session where there is one. demand->resume empty: none is, and
 * none kept. False where there is no memory.
 */
bool tls_sessions_offer(struct tls_sessions *s, SSL *ssl, const struct tls_demand *demand);

#endif
