#ifndef POSTERN_ROLES_SIGN_CLIENT_H
#define POSTERN_ROLES_SIGN_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include <openssl/types.h>

#include "base/str.h"

/*
 * The edge's end of signing with keys that live in the keeper. OpenSSL cannot wait in a loop for a
 * signature, so each is a blocking request on a channel of its own, with a time-out: a keeper that
 * does not answer costs the handshake, not the edge.
 */
struct sign_client;

enum { SIGN_TIMEOUT_MS = 2000 };

/* NULL where there is no memory. */
struct sign_client *sign_client_new(void);

/* The keys made of it must be gone by then. NULL is fine. */
void sign_client_free(struct sign_client *c);

/* The channel to the keeper, instead of any earlier one. Takes the descriptor over. */
void sign_client_connect(struct sign_client *c, int fd);

/*
 * The key of a certificate, for OpenSSL: the public half is the chain's, the private half
 * is asked for. RSA, P-256 and P-384. NULL where the chain has no such key. The caller frees it.
 */
EVP_PKEY *sign_client_key(struct sign_client *c, struct str chain_pem);

/* Asks for a signature, to see whether the keeper has the private half. */
bool sign_client_can_sign(EVP_PKEY *key);

#endif
