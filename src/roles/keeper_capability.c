#include "roles/keeper_capability.h"

#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

/*
 * version u8, account u64, credential u64, rights u32, session u64, issued i64, expires i64; then
 * the MAC.
 */
enum { VERSION = 2, FACTS_SIZE = 45, MAC_SIZE = 32 };
_Static_assert(FACTS_SIZE + MAC_SIZE == CAPABILITY_SIZE, "the parts are the whole");

static bool make_mac(const struct capability_key *key, const uint8_t facts[FACTS_SIZE],
                     uint8_t ret_mac[MAC_SIZE])
{
    return HMAC(EVP_sha256(), key->octets, CAPABILITY_KEY_SIZE, facts, FACTS_SIZE, ret_mac, NULL);
}

/*
 * SHA-512, where names that strangers invent are hashed under the same secret with SHA-256: neither
 * says anything of the other.
 */
bool capability_key_derive(struct str secret, struct str run, struct capability_key *ret_key)
{
    uint8_t mac[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (!HMAC(EVP_sha512(), secret.ptr, (int)secret.len, (const unsigned char *)run.ptr, run.len,
              mac, &len) ||
        len < CAPABILITY_KEY_SIZE)
        return false;
    memcpy(ret_key->octets, mac, CAPABILITY_KEY_SIZE);
    OPENSSL_cleanse(mac, sizeof mac);
    return true;
}

static uint8_t *put(uint8_t *to, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        to[i] = (uint8_t)(value >> 8 * (size - 1 - i));
    return to + size;
}

static const uint8_t *get(const uint8_t *from, size_t size, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++)
        value = value << 8 | from[i];
    *ret_value = value;
    return from + size;
}

bool capability_mint(const struct capability *c, const struct capability_key *key,
                     uint8_t ret_octets[static CAPABILITY_SIZE])
{
    uint8_t *at = put(ret_octets, VERSION, 1);
    at = put(at, c->account, 8);
    at = put(at, c->credential, 8);
    at = put(at, c->rights, 4);
    at = put(at, c->session, 8);
    at = put(at, (uint64_t)c->issued_ms, 8);
    at = put(at, (uint64_t)c->expires_ms, 8);
    return make_mac(key, ret_octets, at);
}

bool capability_keys_add(struct capability_keys *keys, struct str key)
{
    if (key.len != CAPABILITY_KEY_SIZE)
        return false;
    for (unsigned i = 0; i < keys->count; i++)
        if (CRYPTO_memcmp(keys->keys[i].octets, key.ptr, CAPABILITY_KEY_SIZE) == 0)
            return true;
    if (keys->count == CAPABILITY_KEYS_MAX)
        keys->count--;
    memmove(keys->keys + 1, keys->keys, keys->count * sizeof *keys->keys);
    memcpy(keys->keys[0].octets, key.ptr, CAPABILITY_KEY_SIZE);
    keys->count++;
    return true;
}

static bool is_genuine(const struct capability_keys *keys, const uint8_t *octets)
{
    uint8_t mac[MAC_SIZE];
    for (unsigned i = 0; i < keys->count; i++)
        if (make_mac(&keys->keys[i], octets, mac) &&
            CRYPTO_memcmp(mac, octets + FACTS_SIZE, MAC_SIZE) == 0)
            return true;
    return false;
}

bool capability_check(const struct capability_keys *keys, struct str octets, struct now now,
                      struct capability *ret_capability)
{
    const uint8_t *at = (const uint8_t *)octets.ptr;
    uint64_t version, account, credential, rights, session, issued, expires;
    if (octets.len != CAPABILITY_SIZE || !is_genuine(keys, at))
        return false;
    at = get(at, 1, &version);
    at = get(at, 8, &account);
    at = get(at, 8, &credential);
    at = get(at, 4, &rights);
    at = get(at, 8, &session);
    at = get(at, 8, &issued);
    get(at, 8, &expires);
    if (version != VERSION || now.mono_ms >= (int64_t)expires)
        return false;
    *ret_capability = (struct capability){.account = account,
                                          .credential = credential,
                                          .rights = (uint32_t)rights,
                                          .session = session,
                                          .issued_ms = (int64_t)issued,
                                          .expires_ms = (int64_t)expires};
    return true;
}

/* ---- Logins that ended -------------------------------------------------------------------------
 */

void capability_ends_release(struct capability_ends *ends)
{
    free(ends->list);
    *ends = (struct capability_ends){0};
}

/* Where it is, or belongs. */
static size_t place_of(const struct capability_ends *ends, uint64_t account, uint64_t credential)
{
    size_t low = 0, high = ends->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct capability_end *at = &ends->list[middle];
        if (at->account < account || (at->account == account && at->credential < credential))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct capability_end *find(const struct capability_ends *ends, uint64_t account,
                                   uint64_t credential)
{
    size_t at = place_of(ends, account, credential);
    bool is_there = at < ends->count && ends->list[at].account == account &&
                    ends->list[at].credential == credential;
    return is_there ? &ends->list[at] : NULL;
}

static void forget_before(struct capability_ends *ends, int64_t issued_ms)
{
    size_t kept = 0;
    for (size_t i = 0; i < ends->count; i++)
        if (ends->list[i].issued_ms >= issued_ms)
            ends->list[kept++] = ends->list[i];
    ends->count = kept;
}

static bool make_room(struct capability_ends *ends, int64_t now_ms)
{
    enum { FIRST = 16 };
    if (ends->count == ends->room)
        forget_before(ends, now_ms - CAPABILITY_END_KEPT_MS);
    if (ends->count < ends->room)
        return true;
    size_t room = ends->room ? 2 * ends->room : FIRST;
    struct capability_end *list = realloc(ends->list, room * sizeof *list);
    if (!list)
        return false;
    ends->list = list;
    ends->room = room;
    return true;
}

bool capability_ends_add(struct capability_ends *ends, const struct capability_end *end)
{
    struct capability_end *known = find(ends, end->account, end->credential);
    if (known) {
        if (known->issued_ms < end->issued_ms)
            known->issued_ms = end->issued_ms;
        return true;
    }
    if (end->account == 0)
        forget_before(ends, end->issued_ms);
    if (!make_room(ends, end->issued_ms))
        return false;
    size_t at = place_of(ends, end->account, end->credential);
    memmove(ends->list + at + 1, ends->list + at, (ends->count - at) * sizeof *ends->list);
    ends->list[at] = *end;
    ends->count++;
    return true;
}

static bool covers(const struct capability_end *end, int64_t issued_ms)
{
    return end && issued_ms <= end->issued_ms;
}

bool capability_ends_cover(const struct capability_ends *ends, uint64_t account,
                           uint64_t credential, int64_t issued_ms)
{
    return covers(find(ends, account, credential), issued_ms) ||
           covers(find(ends, account, 0), issued_ms) || covers(find(ends, 0, 0), issued_ms);
}
