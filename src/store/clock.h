#ifndef POSTERN_STORE_CLOCK_H
#define POSTERN_STORE_CLOCK_H

#include <stdint.h>

#include "base/now.h"

/*
 * The store's own clock, by which mail waits and all else grows old (what was expunged, keys of
 * retransmission, policies, counts of a day): it only runs while time really passes. It advances
 * with the monotonic clock while a vault runs, and over a pause by what the wall's clock says has
 * passed since it was noted last, within bounds: so a wall clock that jumps neither bounces the
 * queue nor stops it, and neither purges what is young nor keeps what is old. It is noted in the
 * store, from time to time, with the wall's time. What people are shown is the wall's.
 *
 * A vault that was killed goes on a little behind, and stores of earlier versions have times of the
 * wall in some columns; so a time may be one that has not come yet. Purging makes it now.
 */
struct store_clock {
    int64_t base_ms; /* what it showed */
    int64_t mono_ms; /* when the monotonic clock showed this */
};

/* The longest pause that counts. */
#define STORE_CLOCK_PAUSE_MS (60LL * 60 * 1000)

/* What it shows at wall_ms, when it was noted as noted_ms at noted_wall_ms. */
int64_t store_clock_after(int64_t noted_ms, int64_t noted_wall_ms, int64_t wall_ms);

struct store_clock store_clock_start(int64_t noted_ms, int64_t noted_wall_ms, struct now now);

/* What it shows now. */
int64_t store_clock_ms(const struct store_clock *clock, struct now now);

#endif
