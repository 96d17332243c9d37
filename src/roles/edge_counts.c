#include "roles/edge_counts.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/limits.h"
#include "io/shared_memory.h"

/*
 * A key has a place in one set only, so a section is SETS * WAYS entries and no search is longer
 * than a set. Wide sets make it unlikely that one is full of connections while others have room:
 * with 20,000 addresses connected a set has 20 on average, and one of more than 64 is not to be
 * expected.
 */
enum { WAYS = 64, SETS = 1024, MINUTE_MS = 60 * 1000, AHEAD_MIN = 2, AHEAD_MAX = 64 };

struct set {
    _Atomic uint64_t keys[WAYS]; /* 0: free */
    struct edge_entry entries[WAYS];
};

struct section {
    _Atomic uint64_t bodies_size;
    _Atomic uint32_t connections;
    uint8_t unused[52]; /* totals change often, and have a cache line for themselves */
    struct set sets[SETS];
};

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "a lock would not work between processes");
_Static_assert(EDGE_COUNTS_SEED_SIZE == crypto_shorthash_KEYBYTES, "the key of SipHash");
_Static_assert(sizeof(uint64_t) == crypto_shorthash_BYTES, "a key of ours is a hash");
_Static_assert(sizeof(struct edge_entry) == 56, "an entry and its key are a cache line's worth");

struct edge_counts {
    uint8_t seed[EDGE_COUNTS_SEED_SIZE];
    struct section *own;
    bool own_is_shared;
    const struct section *siblings[EDGE_COUNTS_SECTIONS_MAX];
    unsigned sibling_count;
};

size_t edge_counts_section_size(void)
{
    return sizeof(struct section);
}

static bool set_seed(struct edge_counts *c, struct str seed)
{
    if (seed.len == sizeof c->seed)
        memcpy(c->seed, seed.ptr, sizeof c->seed);
    return seed.len == sizeof c->seed;
}

struct edge_counts *edge_counts_new(struct str seed)
{
    struct edge_counts *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    invariant(set_seed(c, seed));
    c->own = calloc(1, sizeof *c->own);
    if (c->own)
        return c;
    free(c);
    return NULL;
}

static void release_own(struct edge_counts *c)
{
    if (c->own_is_shared)
        shared_memory_unmap(c->own, sizeof *c->own);
    else
        free(c->own);
}

void edge_counts_free(struct edge_counts *c)
{
    if (!c)
        return;
    release_own(c);
    for (unsigned i = 0; i < c->sibling_count; i++)
        shared_memory_unmap((void *)(uintptr_t)c->siblings[i], sizeof *c->own);
    free(c);
}

enum status_code edge_counts_join(struct edge_counts *c, struct str seed, int fd, bool own)
{
    void *memory;
    if (!set_seed(c, seed) || (own && c->own_is_shared) ||
        (!own && c->sibling_count == EDGE_COUNTS_SECTIONS_MAX))
        return STATUS_INVALID;
    enum status_code status = shared_memory_map(fd, sizeof *c->own, own, &memory);
    if (status != STATUS_OK)
        return status;
    if (!own) {
        c->siblings[c->sibling_count++] = memory;
        return STATUS_OK;
    }
    release_own(c);
    c->own = memory;
    c->own_is_shared = true;
    return STATUS_OK;
}

unsigned edge_counts_edges(const struct edge_counts *c)
{
    return c->sibling_count + 1;
}

/* ---- Totals -------------------------------------------------------------------------------- */

uint64_t edge_counts_connections(const struct edge_counts *c)
{
    uint64_t sum = atomic_load(&c->own->connections);
    for (unsigned i = 0; i < c->sibling_count; i++)
        sum += atomic_load(&c->siblings[i]->connections);
    return sum;
}

bool edge_counts_connect(struct edge_counts *c, uint64_t connections_max)
{
    atomic_fetch_add(&c->own->connections, 1);
    if (edge_counts_connections(c) <= connections_max)
        return true;
    atomic_fetch_sub(&c->own->connections, 1);
    return false;
}

void edge_counts_disconnect(struct edge_counts *c)
{
    invariant(atomic_fetch_sub(&c->own->connections, 1) > 0);
}

bool edge_counts_is_ahead(const struct edge_counts *c)
{
    uint32_t own = atomic_load(&c->own->connections);
    for (unsigned i = 0; i < c->sibling_count; i++) {
        uint32_t theirs = atomic_load(&c->siblings[i]->connections);
        if (theirs < own && own - theirs >= AHEAD_MIN && own - theirs <= AHEAD_MAX)
            return true;
    }
    return false;
}

/* ---- One by one ---------------------------------------------------------------------------- */

uint64_t edge_counts_key(const struct edge_counts *c, const uint8_t octets[16])
{
    unsigned char hash[crypto_shorthash_BYTES];
    uint64_t key;
    crypto_shorthash(hash, octets, 16, c->seed);
    memcpy(&key, hash, sizeof key);
    return key != 0 ? key : 1;
}

/* WAYS where it is not there. */
static size_t place_of(const struct set *set, uint64_t key)
{
    size_t i = 0;
    while (i < WAYS && atomic_load_explicit(&set->keys[i], memory_order_acquire) != key)
        i++;
    return i;
}

struct edge_entry *edge_counts_find(struct edge_counts *c, uint64_t key)
{
    struct set *set = &c->own->sets[key % SETS];
    size_t place = place_of(set, key);
    return place < WAYS ? &set->entries[place] : NULL;
}

const struct edge_entry *edge_counts_next(const struct edge_counts *c, uint64_t key, unsigned *at)
{
    while (*at < c->sibling_count) {
        const struct set *set = &c->siblings[(*at)++]->sets[key % SETS];
        size_t place = place_of(set, key);
        if (place < WAYS)
            return &set->entries[place];
    }
    return NULL;
}

/* A sibling's clock may be a little ahead of ours; and its word, anything. */
bool edge_entry_is_fresh(const struct edge_entry *entry, struct now now)
{
    return atomic_load(&entry->minute_start_ms) > now.mono_ms - MINUTE_MS;
}

/* Whom it costs less to forget: who did less this minute; of equals he whose minute is older. */
static bool is_lesser(const struct set *set, size_t a, size_t b, struct now now)
{
    const struct edge_entry *one = &set->entries[a], *two = &set->entries[b];
    uint32_t did_one = edge_entry_is_fresh(one, now) ? atomic_load(&one->opened_this_minute) : 0;
    uint32_t did_two = edge_entry_is_fresh(two, now) ? atomic_load(&two->opened_this_minute) : 0;
    if (did_one != did_two)
        return did_one < did_two;
    return atomic_load(&one->minute_start_ms) < atomic_load(&two->minute_start_ms);
}

static size_t place_for_another(const struct set *set, struct now now)
{
    size_t found = place_of(set, 0);
    if (found < WAYS)
        return found;
    for (size_t i = 0; i < WAYS; i++)
        if (atomic_load(&set->entries[i].users) == 0 &&
            (found == WAYS || is_lesser(set, i, found, now)))
            found = i;
    return found;
}

/* Who reads meanwhile finds nothing, or what belongs to the key. */
static struct edge_entry *make_entry(struct set *set, uint64_t key, struct now now)
{
    size_t place = place_for_another(set, now);
    if (place == WAYS)
        return NULL;
    struct edge_entry *entry = &set->entries[place];
    atomic_store(&set->keys[place], 0);
    atomic_store(&entry->opened_this_minute, 0);
    atomic_store(&entry->minute_start_ms, now.mono_ms - MINUTE_MS);
    atomic_store(&set->keys[place], key);
    return entry;
}

struct edge_entry *edge_counts_take(struct edge_counts *c, uint64_t key, struct now now)
{
    struct edge_entry *entry = edge_counts_find(c, key);
    if (!entry)
        entry = make_entry(&c->own->sets[key % SETS], key, now);
    if (entry)
        atomic_fetch_add(&entry->users, 1);
    return entry;
}

void edge_counts_drop(struct edge_entry *entry)
{
    invariant(atomic_fetch_sub(&entry->users, 1) > 0);
}

/* ---- Bodies in flight ---------------------------------------------------------------------- */

/* More than a sibling can have; and few enough that all of them add up. */
static const uint64_t claim_max = UINT64_C(1) << 48;

static uint64_t claim(const _Atomic uint64_t *size)
{
    uint64_t said = atomic_load(size);
    return said < claim_max ? said : claim_max;
}

void edge_counts_charge(struct edge_counts *c, struct edge_entry *payer, size_t before, size_t now)
{
    uint64_t more = (uint64_t)now - before; /* modulo 2^64, as atomic sums are */
    atomic_fetch_add(&c->own->bodies_size, more);
    if (payer)
        atomic_fetch_add(&payer->bodies_size, more);
}

uint64_t edge_counts_own_bodies(const struct edge_counts *c)
{
    return atomic_load(&c->own->bodies_size);
}

static uint64_t all_bodies(const struct edge_counts *c)
{
    uint64_t sum = edge_counts_own_bodies(c);
    for (unsigned i = 0; i < c->sibling_count; i++)
        sum += claim(&c->siblings[i]->bodies_size);
    return sum;
}

static uint64_t bodies_of(const struct edge_counts *c, const struct edge_entry *payer, uint64_t key)
{
    const struct edge_entry *entry;
    uint64_t sum = atomic_load(&payer->bodies_size);
    for (unsigned at = 0; (entry = edge_counts_next(c, key, &at)) != NULL;)
        sum += claim(&entry->bodies_size);
    return sum;
}

bool edge_counts_bodies_fit(const struct edge_counts *c, const struct edge_entry *payer,
                            uint64_t key, uint64_t size_max)
{
    uint64_t all = all_bodies(c), share_max = size_max / 4;
    if (share_max < LIMIT_BODIES_SHARE_SIZE_MIN)
        share_max = LIMIT_BODIES_SHARE_SIZE_MIN;
    if (all > size_max)
        return false;
    return !payer || all <= size_max / 2 || bodies_of(c, payer, key) <= share_max;
}
