#ifndef POSTERN_POLICY_LANE_H
#define POSTERN_POLICY_LANE_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/*
 * In which lane of its destination's queue a message waits. Lanes are taken in turn, so one
 * sender's thousands of messages delay nobody else's few: who has sent more than a burst in a short
 * time joins the third lane, until the rest of the world has caught up.
 *
 *     0  urgent: a priority above 0 (MT-PRIORITY)
 *     1  usual
 *     2  a sender over its burst, or a priority below 0
 */
enum lane {
    LANE_URGENT,
    LANE_USUAL,
    LANE_BULK,
    LANES,
};

/* A sender may send LANE_BURST recipients at once, and LANE_RATE a second in the long run. */
enum { LANE_BURST = 200, LANE_RATE = 10, LANE_SENDERS = 4096, LANE_WAYS = 4 };

/*
 * The senders of late: a fixed table. Whoever finds no room takes the place of one that has rested
 * longest, and with it next to nothing is forgotten. Zeroed, it is empty.
 */
struct lane_sender {
    uint64_t name;   /* a hash; 0: nobody */
    int64_t full_ms; /* when its burst is whole again */
};

struct lanes {
    struct lane_sender senders[LANE_SENDERS / LANE_WAYS][LANE_WAYS];
};

/*
 * The lane of a message for so many recipients. account: who submitted it, or 0, when it is the
 * reverse-path that counts.
 */
enum lane lane_choose(struct lanes *l, uint64_t account, struct str reverse_path, int64_t priority,
                      size_t recipients, int64_t mono_ms);

#endif
