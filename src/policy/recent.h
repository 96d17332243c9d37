#ifndef POSTERN_POLICY_RECENT_H
#define POSTERN_POLICY_RECENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/now.h"
#include "base/str.h"

/*
 * What was found out of late of a few servers, by name (in any case): a bounded memory of which the
 * newest stays. Two names may be taken for one, very rarely; so it is for what does no harm then.
 * Zeroed it is empty.
 */
enum { RECENT_MAX = 128 };

struct recent {
    uint64_t names[RECENT_MAX]; /* hashes */
    int64_t until_ms[RECENT_MAX];
    uint32_t next; /* to be overwritten */
};

void recent_note(struct recent *r, struct str name, int64_t for_ms, struct now now);
bool recent_has(const struct recent *r, struct str name, struct now now);

#endif
