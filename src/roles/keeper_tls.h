#ifndef POSTERN_ROLES_KEEPER_TLS_H
#define POSTERN_ROLES_KEEPER_TLS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/diag.h"
#include "base/status.h"
#include "base/str.h"
#include "roles/sign.h"

/* The private keys of the certificates: read from open descriptors, used to sign, never shown. */
struct keeper_tls;

enum { KEEPER_KEYS_MAX = 256, KEEPER_REPLACED_MAX = 16 };

struct keeper_tls *keeper_tls_new(void);
void keeper_tls_free(struct keeper_tls *t);

/*
 * Reads a PEM key (RSA of 2048 bits and more, P-256, P-384) from fd, which stays the caller's, as
 * the key of certificate `number`, instead of any earlier one; after a failure the earlier one is
 * kept. One that was replaced still signs for the connections that began with its certificate,
 * until KEEPER_REPLACED_MAX others have been replaced after it.
 */
MUST_USE enum status_code keeper_tls_load(struct keeper_tls *t, uint32_t number, int fd,
                                          struct diag *diag);

/* Whether keeper_tls_sign would find it. */
bool keeper_tls_has(const struct keeper_tls *t, struct str id);

/*
 * id: see tls_key_id. signature has room for SIGN_SIGNATURE_MAX. STATUS_NOT_FOUND: no such key.
 * STATUS_INVALID: not what the algorithm signs. STATUS_DENIED: a block that is not PSS's.
 */
MUST_USE enum status_code keeper_tls_sign(const struct keeper_tls *t, struct str id,
                                          enum sign_algorithm algorithm, struct str digest,
                                          uint8_t *ret_signature, size_t *ret_size);

#endif
