#include "roles/edge_admit.h"

#include <string.h>

#include "base/bug.h"

uint64_t edge_admit_key(const struct edge_counts *c, struct edge_address address)
{
    static const uint8_t mapped[12] = {[10] = 0xFF, [11] = 0xFF};
    if (memcmp(address.octets, mapped, sizeof mapped) != 0)
        memset(address.octets + 8, 0, 8);
    return edge_counts_key(c, address.octets);
}

/* Neither mapped nor with eight zeroes behind: what an address comes to is one of the two. */
uint64_t edge_admit_account_key(const struct edge_counts *c, uint64_t account)
{
    uint8_t octets[16];
    memset(octets, 0xFF, 8);
    memcpy(octets + 8, &account, 8);
    return edge_counts_key(c, octets);
}

/* The minute begins with the first connection at any edge, and is over for all of them at once. */
static void begin_minute(struct edge_counts *c, struct edge_entry *entry, uint64_t key,
                         struct now now)
{
    const struct edge_entry *other;
    int64_t start_ms = now.mono_ms;
    for (unsigned at = 0; (other = edge_counts_next(c, key, &at)) != NULL;) {
        int64_t theirs_ms = atomic_load(&other->minute_start_ms);
        if (edge_entry_is_fresh(other, now) && theirs_ms < start_ms)
            start_ms = theirs_ms;
    }
    atomic_store(&entry->opened_this_minute, 0);
    atomic_store(&entry->minute_start_ms, start_ms);
}

static enum edge_verdict judge(const struct edge_counts *c, const struct edge_entry *entry,
                               uint64_t key, unsigned kind, const struct edge_admit_limits *limits,
                               struct now now)
{
    const struct edge_entry *other;
    uint64_t open = atomic_load(&entry->open[kind]);
    uint64_t opened = atomic_load(&entry->opened_this_minute);
    for (unsigned at = 0; (other = edge_counts_next(c, key, &at)) != NULL;) {
        open += atomic_load(&other->open[kind]);
        if (edge_entry_is_fresh(other, now))
            opened += atomic_load(&other->opened_this_minute);
    }
    if (open > limits->open_per_address || open >= UINT16_MAX)
        return EDGE_TOO_MANY_OPEN;
    return opened > limits->rate_per_minute ? EDGE_TOO_FAST : EDGE_ADMITTED;
}

enum edge_verdict edge_admit_open(struct edge_counts *c, struct edge_address address, unsigned kind,
                                  const struct edge_admit_limits *limits, struct now now)
{
    invariant(kind < EDGE_COUNTS_KINDS);
    uint64_t key = edge_admit_key(c, address);
    struct edge_entry *entry = edge_counts_take(c, key, now);
    if (!entry)
        return EDGE_TOO_FAST;
    if (!edge_entry_is_fresh(entry, now))
        begin_minute(c, entry, key, now);
    atomic_fetch_add(&entry->open[kind], 1);
    atomic_fetch_add(&entry->opened_this_minute, 1);
    enum edge_verdict verdict = judge(c, entry, key, kind, limits, now);
    if (verdict == EDGE_ADMITTED)
        return verdict;
    atomic_fetch_sub(&entry->opened_this_minute, 1);
    atomic_fetch_sub(&entry->open[kind], 1);
    edge_counts_drop(entry);
    return verdict;
}

void edge_admit_close(struct edge_counts *c, struct edge_address address, unsigned kind)
{
    struct edge_entry *entry = edge_counts_find(c, edge_admit_key(c, address));
    invariant(entry && kind < EDGE_COUNTS_KINDS);
    invariant(atomic_fetch_sub(&entry->open[kind], 1) > 0);
    edge_counts_drop(entry);
}
