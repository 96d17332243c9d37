#include "roles/keeper_throttle.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

enum { SETS = 2048, WAYS = 4 };
_Static_assert(THROTTLE_SECRET_SIZE == crypto_shorthash_siphashx24_KEYBYTES, "the key of SipHash");
_Static_assert(crypto_shorthash_siphashx24_BYTES == 2 * sizeof(uint64_t), "a tag is 128 bits");

/* Who is meant: a hash, so that an entry has one size and holds no names. */
struct tag {
    uint64_t high, low;
};

struct entry {
    struct tag tag;
    int64_t last_ms; /* 0: free */
    int64_t until_ms;
    uint32_t failures;
};

struct table {
    struct entry entries[SETS][WAYS];
};

struct throttle {
    uint8_t secret[THROTTLE_SECRET_SIZE];
    struct table addresses;
    struct table names;
    struct table known; /* name and address of logins that went well */
};

struct throttle *throttle_new(const uint8_t secret[static THROTTLE_SECRET_SIZE])
{
    struct throttle *t = calloc(1, sizeof *t);
    if (t)
        memcpy(t->secret, secret, THROTTLE_SECRET_SIZE);
    return t;
}

void throttle_free(struct throttle *t)
{
    if (t)
        sodium_memzero(t->secret, sizeof t->secret);
    free(t);
}

static struct tag hash(const struct throttle *t, const void *octets, size_t size)
{
    struct tag tag;
    unsigned char out[crypto_shorthash_siphashx24_BYTES];
    crypto_shorthash_siphashx24(out, octets, size, t->secret);
    memcpy(&tag.high, out, sizeof tag.high);
    memcpy(&tag.low, out + sizeof tag.high, sizeof tag.low);
    return tag;
}

/* An IPv6 /64 is one customer; a longer prefix is his to choose from. */
static struct str network_of(struct str address)
{
    return str_sub(address, 0, address.len == 16 ? 8 : address.len);
}

static struct tag hash_pair(const struct throttle *t, struct str name, struct str address)
{
    struct tag a = hash(t, name.ptr, name.len);
    struct str network = network_of(address);
    struct tag b = hash(t, network.ptr, network.len);
    struct tag both[2] = {a, b};
    return hash(t, both, sizeof both);
}

static struct entry *find(struct table *table, struct tag tag)
{
    struct entry *set = table->entries[tag.low % SETS];
    for (int i = 0; i < WAYS; i++)
        if (set[i].last_ms != 0 && set[i].tag.high == tag.high && set[i].tag.low == tag.low)
            return &set[i];
    return NULL;
}

static uint32_t weight(const struct entry *e, struct now now)
{
    return now.mono_ms - e->last_ms < THROTTLE_FORGET_MS ? e->failures : 0;
}

static bool gives_way(const struct entry *one, const struct entry *other, struct now now)
{
    uint32_t a = weight(one, now), b = weight(other, now);
    return a != b ? a < b : one->last_ms < other->last_ms;
}

/* The entry, or a new one in the place of what matters least. */
static struct entry *take(struct table *table, struct tag tag, struct now now)
{
    struct entry *set = table->entries[tag.low % SETS], *found = find(table, tag);
    if (found)
        return found;
    struct entry *least = &set[0];
    for (int i = 1; i < WAYS; i++)
        if (gives_way(&set[i], least, now))
            least = &set[i];
    *least = (struct entry){.tag = tag};
    return least;
}

/* 0 is a free entry's, so time begins at 1. */
static int64_t stamp(struct now now)
{
    return now.mono_ms > 0 ? now.mono_ms : 1;
}

static void count_failure(struct table *table, struct tag tag, uint32_t free_failures,
                          struct now now)
{
    struct entry *e = take(table, tag, now);
    if (now.mono_ms - e->last_ms >= THROTTLE_FORGET_MS)
        e->failures = 0;
    e->last_ms = stamp(now);
    if (++e->failures <= free_failures)
        return;
    uint32_t doublings = e->failures - free_failures - 1;
    int64_t wait = doublings >= 20 ? THROTTLE_MOST_MS : (int64_t)THROTTLE_FIRST_MS << doublings;
    e->until_ms = now.mono_ms + (wait < THROTTLE_MOST_MS ? wait : THROTTLE_MOST_MS);
}

int64_t throttle_address_until(struct throttle *t, struct str address, struct now now)
{
    struct str network = network_of(address);
    (void)now;
    if (str_empty(address))
        return 0;
    const struct entry *e = find(&t->addresses, hash(t, network.ptr, network.len));
    return e ? e->until_ms : 0;
}

bool throttle_knows(struct throttle *t, struct str name, struct str address, struct now now)
{
    const struct entry *known = find(&t->known, hash_pair(t, name, address));
    return str_empty(address) || (known && now.mono_ms - known->last_ms < THROTTLE_KNOWN_MS);
}

int64_t throttle_name_until(struct throttle *t, struct str name, struct str address, struct now now)
{
    if (throttle_knows(t, name, address, now))
        return 0;
    const struct entry *e = find(&t->names, hash(t, name.ptr, name.len));
    return e ? e->until_ms : 0;
}

void throttle_failed(struct throttle *t, struct str name, struct str address, struct now now)
{
    struct str network = network_of(address);
    if (str_empty(address))
        return;
    count_failure(&t->addresses, hash(t, network.ptr, network.len), THROTTLE_ADDRESS_FREE, now);
    if (!str_empty(name))
        count_failure(&t->names, hash(t, name.ptr, name.len), THROTTLE_NAME_FREE, now);
}

/*
 * The address is known to the name from now on. Its own failures are not forgiven: one good
 * account must not pay for guesses at others.
 */
void throttle_succeeded(struct throttle *t, struct str name, struct str address, struct now now)
{
    if (!str_empty(address))
        take(&t->known, hash_pair(t, name, address), now)->last_ms = stamp(now);
}
