#include "roles/edge_admit.h"

#include <stdlib.h>
#include <string.h>

#include "base/bug.h"

enum { BUCKETS = 4096, ENTRIES_MAX = 65536, MINUTE_MS = 60 * 1000 };

struct entry {
    struct entry *next;
    uint8_t key[16];
    int64_t minute_start_ms;
    uint32_t opened_this_minute;
    uint32_t open[EDGE_ADMIT_KINDS];
    uint32_t open_total;
};

struct edge_admit {
    uint64_t seed;
    size_t entries;
    struct entry *buckets[BUCKETS];
};

struct edge_admit *edge_admit_new(uint64_t seed)
{
    struct edge_admit *a = calloc(1, sizeof *a);
    if (a)
        a->seed = seed;
    return a;
}

void edge_admit_free(struct edge_admit *a)
{
    if (!a)
        return;
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct entry *e = a->buckets[i], *next; e; e = next) {
            next = e->next;
            free(e);
        }
    }
    free(a);
}

static void key_of(struct edge_address address, uint8_t key[16])
{
    static const uint8_t mapped[12] = {[10] = 0xFF, [11] = 0xFF};
    memcpy(key, address.octets, 16);
    if (memcmp(key, mapped, sizeof mapped) != 0)
        memset(key + 8, 0, 8);
}

static struct entry **bucket_of(struct edge_admit *a, const uint8_t key[16])
{
    uint64_t hash = a->seed;
    for (int i = 0; i < 16; i++)
        hash = (hash ^ key[i]) * 0x100000001B3u + (hash >> 29);
    return &a->buckets[(hash ^ hash >> 32) % BUCKETS];
}

static struct entry *find(struct edge_admit *a, const uint8_t key[16])
{
    for (struct entry *e = *bucket_of(a, key); e; e = e->next)
        if (memcmp(e->key, key, 16) == 0)
            return e;
    return NULL;
}

static bool is_stale(const struct entry *e, struct now now)
{
    return e->open_total == 0 && now.mono_ms - e->minute_start_ms >= MINUTE_MS;
}

/* Frees what nobody needs any more in one bucket: each visit pays for what it finds. */
static void sweep(struct edge_admit *a, struct entry **bucket, struct now now)
{
    for (struct entry **at = bucket; *at;) {
        struct entry *e = *at;
        if (is_stale(e, now)) {
            *at = e->next;
            free(e);
            a->entries--;
        } else {
            at = &e->next;
        }
    }
}

/*
 * Drops the address of those near the bucket that has connected least and is not connected. There
 * is always one: there are more places than connections. So whoever comes with ever new addresses
 * pushes out his own, and not those that are held back for what they did.
 */
static void make_room(struct edge_admit *a, size_t bucket)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        struct entry **least = NULL;
        for (struct entry **at = &a->buckets[(bucket + i) % BUCKETS]; *at; at = &(*at)->next)
            if ((*at)->open_total == 0 &&
                (!least || (*at)->opened_this_minute <= (*least)->opened_this_minute))
                least = at;
        if (!least)
            continue;
        struct entry *e = *least;
        *least = e->next;
        free(e);
        a->entries--;
        return;
    }
}

static struct entry *find_or_add(struct edge_admit *a, const uint8_t key[16], struct now now)
{
    struct entry **bucket = bucket_of(a, key);
    struct entry *e = find(a, key);
    if (e)
        return e;
    sweep(a, bucket, now);
    if (a->entries >= ENTRIES_MAX)
        make_room(a, (size_t)(bucket - a->buckets));
    if (a->entries >= ENTRIES_MAX)
        return NULL;
    e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    memcpy(e->key, key, 16);
    e->minute_start_ms = now.mono_ms;
    e->next = *bucket;
    *bucket = e;
    a->entries++;
    return e;
}

enum edge_verdict edge_admit_open(struct edge_admit *a, struct edge_address address, unsigned kind,
                                  const struct edge_admit_limits *limits, struct now now)
{
    invariant(kind < EDGE_ADMIT_KINDS);
    uint8_t key[16];
    key_of(address, key);
    struct entry *e = find_or_add(a, key, now);
    if (!e)
        return EDGE_TOO_FAST;
    if (now.mono_ms - e->minute_start_ms >= MINUTE_MS) {
        e->minute_start_ms = now.mono_ms;
        e->opened_this_minute = 0;
    }
    if (e->open[kind] >= limits->open_per_address)
        return EDGE_TOO_MANY_OPEN;
    if (e->opened_this_minute >= limits->rate_per_minute)
        return EDGE_TOO_FAST;
    e->opened_this_minute++;
    e->open[kind]++;
    e->open_total++;
    return EDGE_ADMITTED;
}

void edge_admit_close(struct edge_admit *a, struct edge_address address, unsigned kind)
{
    uint8_t key[16];
    key_of(address, key);
    struct entry *e = find(a, key);
    invariant(e && kind < EDGE_ADMIT_KINDS && e->open[kind] > 0);
    e->open[kind]--;
    e->open_total--;
}
