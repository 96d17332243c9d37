#include "roles/keeper_tls.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "base/buf.h"
#include "io/files.h"
#include "io/tls.h"

enum { KEY_FILE_MAX = 64 * 1024, RSA_BITS_MIN = 2048, RSA_BITS_MAX = 8192 };

struct loaded_key {
    EVP_PKEY *key; /* NULL: none here */
    unsigned char id[TLS_KEY_ID_SIZE];
};

struct keeper_tls {
    struct loaded_key keys[KEEPER_KEYS_MAX];
    struct loaded_key replaced[KEEPER_REPLACED_MAX]; /* a ring */
    size_t next_replaced;
};

struct keeper_tls *keeper_tls_new(void)
{
    return calloc(1, sizeof(struct keeper_tls));
}

void keeper_tls_free(struct keeper_tls *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < KEEPER_KEYS_MAX; i++)
        EVP_PKEY_free(t->keys[i].key);
    for (size_t i = 0; i < KEEPER_REPLACED_MAX; i++)
        EVP_PKEY_free(t->replaced[i].key);
    free(t);
}

/* ---- Reading -----------------------------------------------------------------------------------
 */

/* A key under a pass phrase cannot be used: there is nobody to ask. */
static int no_pass_phrase(char *to, int size, int writing, void *context)
{
    (void)to;
    (void)size;
    (void)writing;
    (void)context;
    return -1;
}

static bool is_usable(const EVP_PKEY *key)
{
    char group[32] = "";
    if (EVP_PKEY_is_a(key, "RSA"))
        return EVP_PKEY_get_bits(key) >= RSA_BITS_MIN && EVP_PKEY_get_bits(key) <= RSA_BITS_MAX;
    return EVP_PKEY_is_a(key, "EC") &&
           EVP_PKEY_get_group_name(key, group, sizeof group, NULL) == 1 &&
           (strcmp(group, "prime256v1") == 0 || strcmp(group, "secp384r1") == 0);
}

static EVP_PKEY *parse_key(struct str pem)
{
    BIO *bio = BIO_new_mem_buf(pem.ptr, (int)pem.len);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_pass_phrase, NULL) : NULL;
    BIO_free(bio);
    return key;
}

static void retire(struct keeper_tls *t, const struct loaded_key *old)
{
    struct loaded_key *place = &t->replaced[t->next_replaced++ % KEEPER_REPLACED_MAX];
    EVP_PKEY_free(place->key);
    *place = *old;
}

static enum status_code put_key(struct keeper_tls *t, uint32_t number, EVP_PKEY *key)
{
    struct loaded_key *now = &t->keys[number], next = {.key = key};
    if (!tls_key_id(key, next.id)) {
        EVP_PKEY_free(key);
        return STATUS_NO_MEMORY;
    }
    if (now->key && memcmp(now->id, next.id, TLS_KEY_ID_SIZE) != 0)
        retire(t, now);
    else
        EVP_PKEY_free(now->key);
    *now = next;
    return STATUS_OK;
}

enum status_code keeper_tls_load(struct keeper_tls *t, uint32_t number, int fd, struct diag *diag)
{
    struct buf pem;
    if (number >= KEEPER_KEYS_MAX) {
        diag_set(diag, "more than %d certificates", KEEPER_KEYS_MAX);
        return STATUS_TOO_BIG;
    }
    /* One allocation, so that a wipe gets all of it. */
    buf_init_secret(&pem, KEY_FILE_MAX);
    buf_reserve(&pem, KEY_FILE_MAX);
    enum status_code status = files_read_fd(fd, &pem, diag);
    EVP_PKEY *key = status == STATUS_OK ? parse_key(buf_str(&pem)) : NULL;
    buf_wipe(&pem);
    if (status != STATUS_OK)
        return status;
    if (!key || !is_usable(key)) {
        diag_set(diag, key ? "not an RSA key of 2048 bits or more, P-256 or P-384"
                           : "not a private key in PEM form without a pass phrase");
        EVP_PKEY_free(key);
        return STATUS_INVALID;
    }
    return put_key(t, number, key);
}

/* ---- PSS
 * ----------------------------------------------------------------------------------------- */

/* RFC 8017 §B.2.1: out ^= MGF1(seed). */
static bool unmask(const EVP_MD *md, const uint8_t *seed, size_t hash_size, uint8_t *out,
                   size_t size)
{
    uint8_t block[EVP_MAX_MD_SIZE], input[EVP_MAX_MD_SIZE + 4];
    memcpy(input, seed, hash_size);
    for (size_t at = 0, counter = 0; at < size; at += hash_size, counter++) {
        for (size_t i = 0; i < 4; i++)
            input[hash_size + i] = (uint8_t)(counter >> 8 * (3 - i));
        if (!EVP_Digest(input, hash_size + 4, block, NULL, md, NULL))
            return false;
        for (size_t i = 0; i < hash_size && at + i < size; i++)
            out[at + i] ^= block[i];
    }
    return true;
}

/*
 * RFC 8017 §9.1.1: EM = maskedDB || H || 0xbc, DB = zeros || 0x01 || salt, and TLS has a salt as
 * long as the hash (RFC 8446 §4.2.3). What the hash is over is the edge's; a block of this form
 * with more than a hundred zero octets at places of our choosing is no ciphertext.
 */
static bool is_pss_block(const EVP_MD *md, struct str block, int bits)
{
    const uint8_t *em = (const uint8_t *)block.ptr;
    size_t hash_size = (size_t)EVP_MD_get_size(md), db_size = block.len - hash_size - 1;
    uint8_t db[RSA_BITS_MAX / 8], wrong = 0;
    if (block.len < 2 * hash_size + 2 || block.len > sizeof db || em[block.len - 1] != 0xbc ||
        bits % 8 != 0 || em[0] & 0x80)
        return false;
    memcpy(db, em, db_size);
    if (!unmask(md, em + db_size, hash_size, db, db_size))
        return false;
    db[0] &= 0x7F;
    size_t zeros = db_size - hash_size - 1;
    for (size_t i = 0; i < zeros; i++)
        wrong |= db[i];
    return wrong == 0 && db[zeros] == 1;
}

static bool is_any_pss_block(struct str block, int bits)
{
    return is_pss_block(EVP_sha256(), block, bits) || is_pss_block(EVP_sha384(), block, bits) ||
           is_pss_block(EVP_sha512(), block, bits);
}

/* ---- Signing
 * -------------------------------------------------------------------------------------- */

static const struct row {
    const char *type;
    int padding;
    const EVP_MD *(*md)(void); /* NULL where any digest is taken */
} rows[SIGN_ALGORITHMS] = {
    [SIGN_RSA_PKCS1_SHA256] = {"RSA", RSA_PKCS1_PADDING, EVP_sha256},
    [SIGN_RSA_PKCS1_SHA384] = {"RSA", RSA_PKCS1_PADDING, EVP_sha384},
    [SIGN_RSA_PKCS1_SHA512] = {"RSA", RSA_PKCS1_PADDING, EVP_sha512},
    [SIGN_RSA_PSS_BLOCK] = {"RSA", RSA_NO_PADDING, NULL},
    [SIGN_ECDSA] = {"EC", 0, NULL},
};

static enum status_code check_digest(const EVP_PKEY *key, enum sign_algorithm algorithm,
                                     struct str digest)
{
    const struct row *row = &rows[algorithm];
    if (!EVP_PKEY_is_a(key, row->type))
        return STATUS_INVALID;
    if (algorithm == SIGN_RSA_PSS_BLOCK) {
        if (digest.len != (size_t)EVP_PKEY_get_size(key))
            return STATUS_INVALID;
        return is_any_pss_block(digest, EVP_PKEY_get_bits(key)) ? STATUS_OK : STATUS_DENIED;
    }
    bool fits = row->md ? digest.len == (size_t)EVP_MD_get_size(row->md())
                        : digest.len >= 32 && digest.len <= EVP_MAX_MD_SIZE;
    return fits ? STATUS_OK : STATUS_INVALID;
}

static bool sign(EVP_PKEY *key, const struct row *row, struct str digest, uint8_t *out,
                 size_t *size)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
    bool ok = ctx && EVP_PKEY_sign_init(ctx) == 1;
    if (ok && row->padding)
        ok = EVP_PKEY_CTX_set_rsa_padding(ctx, row->padding) == 1;
    if (ok && row->md)
        ok = EVP_PKEY_CTX_set_signature_md(ctx, row->md()) == 1;
    ok = ok && EVP_PKEY_sign(ctx, out, size, (const unsigned char *)digest.ptr, digest.len) == 1;
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static EVP_PKEY *find_among(const struct loaded_key *list, size_t count, struct str id)
{
    for (size_t i = 0; i < count; i++)
        if (list[i].key && str_eq(id, str_make(list[i].id, TLS_KEY_ID_SIZE)))
            return list[i].key;
    return NULL;
}

static EVP_PKEY *find_key(const struct keeper_tls *t, struct str id)
{
    EVP_PKEY *key = find_among(t->keys, KEEPER_KEYS_MAX, id);
    return key ? key : find_among(t->replaced, KEEPER_REPLACED_MAX, id);
}

bool keeper_tls_has(const struct keeper_tls *t, struct str id)
{
    return find_key(t, id) != NULL;
}

enum status_code keeper_tls_sign(const struct keeper_tls *t, struct str id,
                                 enum sign_algorithm algorithm, struct str digest,
                                 uint8_t *ret_signature, size_t *ret_size)
{
    EVP_PKEY *key = find_key(t, id);
    if (!key)
        return STATUS_NOT_FOUND;
    if ((unsigned)algorithm >= SIGN_ALGORITHMS)
        return STATUS_INVALID;
    enum status_code status = check_digest(key, algorithm, digest);
    if (status != STATUS_OK)
        return status;
    size_t size = SIGN_SIGNATURE_MAX;
    if (!sign(key, &rows[algorithm], digest, ret_signature, &size))
        return STATUS_NO_MEMORY;
    *ret_size = size;
    return STATUS_OK;
}
