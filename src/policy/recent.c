#include "policy/recent.h"

void recent_note(struct recent *r, struct str name, int64_t for_ms, struct now now)
{
    r->names[r->next] = str_hash_nocase(name);
    r->until_ms[r->next] = now.mono_ms + for_ms;
    r->next = (r->next + 1) % RECENT_MAX;
}

bool recent_has(const struct recent *r, struct str name, struct now now)
{
    uint64_t wanted = str_hash_nocase(name);
    for (uint32_t i = 0; i < RECENT_MAX; i++)
        if (r->names[i] == wanted && now.mono_ms < r->until_ms[i])
            return true;
    return false;
}
