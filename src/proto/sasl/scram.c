#include "proto/sasl/scram.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include "base/bug.h"

static bool hmac(const void *key, size_t key_size, struct str data, uint8_t out[SCRAM_KEY_SIZE])
{
    return HMAC(EVP_sha256(), key, (int)key_size, (const unsigned char *)data.ptr, data.len, out,
                NULL) != NULL;
}

static bool hash(const uint8_t in[SCRAM_KEY_SIZE], uint8_t out[SCRAM_KEY_SIZE])
{
    return SHA256(in, SCRAM_KEY_SIZE, out) != NULL;
}

/*
 * RFC 5802 §3:
 *   SaltedPassword := Hi(Normalize(password), salt, i)
 *   ClientKey      := HMAC(SaltedPassword, "Client Key")
 *   StoredKey      := H(ClientKey)
 *   ServerKey      := HMAC(SaltedPassword, "Server Key")
 */
static bool derive(struct str password, struct str salt, uint32_t iterations,
                   uint8_t client[SCRAM_KEY_SIZE], struct scram_keys *keys)
{
    uint8_t salted[SCRAM_KEY_SIZE];
    invariant(iterations > 0 && iterations <= INT32_MAX);
    bool ok = PKCS5_PBKDF2_HMAC(password.ptr, (int)password.len, (const unsigned char *)salt.ptr,
                                (int)salt.len, (int)iterations, EVP_sha256(), SCRAM_KEY_SIZE,
                                salted) == 1 &&
              hmac(salted, sizeof salted, STR("Client Key"), client) &&
              hash(client, keys->stored) &&
              hmac(salted, sizeof salted, STR("Server Key"), keys->server);
    OPENSSL_cleanse(salted, sizeof salted);
    return ok;
}

bool scram_keys_derive(struct str password, struct str salt, uint32_t iterations,
                       struct scram_keys *ret_keys)
{
    uint8_t client[SCRAM_KEY_SIZE];
    struct scram_keys keys;
    bool ok = derive(password, salt, iterations, client, &keys);
    if (ok)
        *ret_keys = keys;
    OPENSSL_cleanse(client, sizeof client);
    OPENSSL_cleanse(&keys, sizeof keys);
    return ok;
}

/*
 * RFC 5802 §3:
 *   ClientSignature := HMAC(StoredKey, AuthMessage)
 *   ClientProof     := ClientKey XOR ClientSignature
 */
bool scram_proof_check(const struct scram_keys *keys, struct str auth_message,
                       const uint8_t proof[static SCRAM_KEY_SIZE], bool *ret_fits)
{
    uint8_t client[SCRAM_KEY_SIZE], stored[SCRAM_KEY_SIZE];
    if (!hmac(keys->stored, SCRAM_KEY_SIZE, auth_message, client))
        return false;
    for (size_t i = 0; i < SCRAM_KEY_SIZE; i++)
        client[i] ^= proof[i];
    bool ok = hash(client, stored);
    if (ok)
        *ret_fits = CRYPTO_memcmp(stored, keys->stored, SCRAM_KEY_SIZE) == 0;
    OPENSSL_cleanse(client, sizeof client);
    return ok;
}

bool scram_client_proof(struct str password, struct str salt, uint32_t iterations,
                        struct str auth_message, uint8_t ret_proof[static SCRAM_KEY_SIZE],
                        uint8_t ret_signature[static SCRAM_KEY_SIZE])
{
    uint8_t client[SCRAM_KEY_SIZE], signature[SCRAM_KEY_SIZE];
    struct scram_keys keys;
    bool ok = derive(password, salt, iterations, client, &keys) &&
              hmac(keys.stored, SCRAM_KEY_SIZE, auth_message, signature) &&
              scram_server_signature(&keys, auth_message, ret_signature);
    for (size_t i = 0; ok && i < SCRAM_KEY_SIZE; i++)
        ret_proof[i] = client[i] ^ signature[i];
    OPENSSL_cleanse(client, sizeof client);
    OPENSSL_cleanse(&keys, sizeof keys);
    return ok;
}

bool scram_server_signature(const struct scram_keys *keys, struct str auth_message,
                            uint8_t ret_signature[static SCRAM_KEY_SIZE])
{
    return hmac(keys->server, SCRAM_KEY_SIZE, auth_message, ret_signature);
}

bool scram_fake_salt(struct str secret, struct str name, uint8_t ret_salt[static SCRAM_SALT_SIZE])
{
    uint8_t mac[SCRAM_KEY_SIZE];
    if (!hmac(secret.ptr, secret.len, name, mac))
        return false;
    memcpy(ret_salt, mac, SCRAM_SALT_SIZE);
    return true;
}
