#include "policy/recent.h"

/* FNV-1a */
static uint64_t hash(struct str name)
{
    uint64_t h = UINT64_C(0xCBF29CE484222325);
    for (size_t i = 0; i < name.len; i++)
        h = (h ^ (unsigned char)name.ptr[i]) * UINT64_C(0x100000001B3);
    return h;
}

void recent_note(struct recent *r, struct str name, int64_t for_ms, struct now now)
{
    r->names[r->next] = hash(name);
    r->until_ms[r->next] = now.mono_ms + for_ms;
    r->next = (r->next + 1) % RECENT_MAX;
}

bool recent_has(const struct recent *r, struct str name, struct now now)
{
    uint64_t wanted = hash(name);
    for (uint32_t i = 0; i < RECENT_MAX; i++)
        if (r->names[i] == wanted && now.mono_ms < r->until_ms[i])
            return true;
    return false;
}
