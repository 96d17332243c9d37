#include "policy/lane.h"

#include "base/str.h"

enum { REFILL_MS = 1000 / LANE_RATE, BURST_MS = LANE_BURST * REFILL_MS };

/* Letters count in any case, so that a sender is one however it is written. */
static uint64_t name_of(uint64_t account, struct str reverse_path)
{
    uint64_t hash = account ? account : str_hash_nocase(reverse_path);
    hash *= 0x9E3779B97F4A7C15u;
    return hash ? hash : 1;
}

static struct lane_sender *find(struct lanes *l, uint64_t name)
{
    struct lane_sender *set = l->senders[(name >> 32) % (LANE_SENDERS / LANE_WAYS)];
    struct lane_sender *rested = set;
    for (size_t i = 0; i < LANE_WAYS; i++) {
        if (set[i].name == name)
            return &set[i];
        if (set[i].full_ms < rested->full_ms)
            rested = &set[i];
    }
    *rested = (struct lane_sender){.name = name, .full_ms = INT64_MIN};
    return rested;
}

/*
 * A token bucket, kept as the time when it is full again: full_ms - now, in steps of REFILL_MS, is
 * what is missing from it. It never lacks more than two bursts, so nobody waits for ever.
 */
static bool within_burst(struct lane_sender *s, size_t recipients, int64_t mono_ms)
{
    if (s->full_ms < mono_ms)
        s->full_ms = mono_ms;
    bool within = s->full_ms - mono_ms < BURST_MS;
    if (recipients > LANE_BURST)
        recipients = LANE_BURST;
    s->full_ms += (int64_t)recipients * REFILL_MS;
    if (s->full_ms > mono_ms + 2LL * BURST_MS)
        s->full_ms = mono_ms + 2LL * BURST_MS;
    return within;
}

enum lane lane_choose(struct lanes *l, uint64_t account, struct str reverse_path, int64_t priority,
                      size_t recipients, int64_t mono_ms)
{
    bool within = within_burst(find(l, name_of(account, reverse_path)), recipients, mono_ms);
    if (!within || priority < 0)
        return LANE_BULK;
    return priority > 0 ? LANE_URGENT : LANE_USUAL;
}
