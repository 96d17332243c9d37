#ifndef POSTERN_PROTO_SASL_SCRAM_H
#define POSTERN_PROTO_SASL_SCRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "base/str.h"

/*
 * The arithmetic of SCRAM-SHA-256 (RFC 5802 §3, RFC 7677). The functions fail (false) only where
 * libcrypto cannot get memory.
 */

enum {
    SCRAM_KEY_SIZE = 32,
    SCRAM_SALT_SIZE = 16, /* of salts that we make; others up to SCRAM_SALT_MAX are understood */
    SCRAM_SALT_MAX = 64,
    SCRAM_KEYS_MAX = 32, /* passwords of one account */
};

/* What a server keeps of a password. */
struct scram_keys {
    uint8_t stored[SCRAM_KEY_SIZE];
    uint8_t server[SCRAM_KEY_SIZE];
};

/*
 * What a server keeps of an account. The protocol tells the client one salt before it knows which
 * of the account's passwords the client will use, so all of them share salt and iterations.
 */
struct scram_credential {
    uint8_t salt[SCRAM_SALT_MAX];
    size_t salt_size;
    uint32_t iterations;
    unsigned key_count;
    struct scram_keys keys[SCRAM_KEYS_MAX];
};

/* The keys of a password (prepared by sasl_prepare). */
MUST_USE bool scram_keys_derive(struct str password, struct str salt, uint32_t iterations,
                                struct scram_keys *ret_keys);

/* Does the client's proof fit one of the keys? auth_message as in RFC 5802 §3. */
MUST_USE bool scram_proof_check(const struct scram_keys *keys, struct str auth_message,
                                const uint8_t proof[static SCRAM_KEY_SIZE], bool *ret_fits);

/*
 * The client's side: its proof, and the signature that a server which knows the keys will show.
 * Takes as long as scram_keys_derive.
 */
MUST_USE bool scram_client_proof(struct str password, struct str salt, uint32_t iterations,
                                 struct str auth_message, uint8_t ret_proof[static SCRAM_KEY_SIZE],
                                 uint8_t ret_signature[static SCRAM_KEY_SIZE]);

MUST_USE bool scram_server_signature(const struct scram_keys *keys, struct str auth_message,
                                     uint8_t ret_signature[static SCRAM_KEY_SIZE]);

/* The salt shown for a name that nobody has: the same each time, and nobody can tell. */
MUST_USE bool scram_fake_salt(struct str secret, struct str name,
                              uint8_t ret_salt[static SCRAM_SALT_SIZE]);

#endif
