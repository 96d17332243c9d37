#include "roles/keeper_cache.h"

#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

enum { PLACES = 1024, MAC_SIZE = 32, WHAT_MAX = 2048 };

struct place {
    uint8_t mac[MAC_SIZE];
    uint64_t credential; /* 0: free */
    int64_t until_ms;
};

struct login_cache {
    uint8_t key[LOGIN_CACHE_KEY_SIZE];
    struct place places[PLACES];
};

struct login_cache *login_cache_new(const uint8_t key[static LOGIN_CACHE_KEY_SIZE])
{
    struct login_cache *c = calloc(1, sizeof *c);
    if (c)
        memcpy(c->key, key, LOGIN_CACHE_KEY_SIZE);
    return c;
}

void login_cache_free(struct login_cache *c)
{
    if (c)
        OPENSSL_cleanse(c, sizeof *c);
    free(c);
}

void login_cache_clear(struct login_cache *c)
{
    OPENSSL_cleanse(c->places, sizeof c->places);
}

/* name NUL password; a prepared name has no NUL. */
static bool make_mac(const struct login_cache *c, struct str name, struct str password,
                     uint8_t ret_mac[MAC_SIZE])
{
    uint8_t what[WHAT_MAX];
    size_t size = name.len + 1 + password.len;
    if (size > sizeof what || str_empty(name) || str_empty(password))
        return false;
    memcpy(what, name.ptr, name.len);
    what[name.len] = 0;
    memcpy(what + name.len + 1, password.ptr, password.len);
    bool ok = HMAC(EVP_sha256(), c->key, sizeof c->key, what, size, ret_mac, NULL);
    OPENSSL_cleanse(what, size);
    return ok;
}

static struct place *place_of(struct login_cache *c, const uint8_t mac[MAC_SIZE])
{
    return &c->places[(mac[0] | (size_t)mac[1] << 8) % PLACES];
}

bool login_cache_find(struct login_cache *c, struct str name, struct str password, struct now now,
                      uint64_t *ret_credential)
{
    uint8_t mac[MAC_SIZE];
    if (!make_mac(c, name, password, mac))
        return false;
    const struct place *p = place_of(c, mac);
    if (p->credential == 0 || now.mono_ms >= p->until_ms ||
        CRYPTO_memcmp(p->mac, mac, sizeof mac) != 0)
        return false;
    *ret_credential = p->credential;
    return true;
}

void login_cache_add(struct login_cache *c, struct str name, struct str password,
                     uint64_t credential, struct now now)
{
    uint8_t mac[MAC_SIZE];
    if (!make_mac(c, name, password, mac))
        return;
    struct place *p = place_of(c, mac);
    *p = (struct place){.credential = credential, .until_ms = now.mono_ms + LOGIN_CACHE_MS};
    memcpy(p->mac, mac, sizeof mac);
}
