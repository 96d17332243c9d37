#ifndef POSTERN_STORE_QUEUE_CLOCK_H
#define POSTERN_STORE_QUEUE_CLOCK_H

#include <stdint.h>

#include "base/now.h"

/*
 * The queue's own clock, by which mail waits and grows old: it only runs while time really passes.
 * It advances with the monotonic clock while a vault runs, and over a pause by what the wall's
 * clock says has passed since it was noted last, within bounds: so a wall clock that jumps neither
 * bounces the whole queue nor stops it. It is noted in the store, from time to time, with the
 * wall's time.
 */
struct queue_clock {
    int64_t base_ms; /* what it showed */
    int64_t mono_ms; /* when the monotonic clock showed this */
};

/* The longest pause that counts. */
#define QUEUE_CLOCK_PAUSE_MS (60LL * 60 * 1000)

/* What it shows at wall_ms, when it was noted as noted_ms at noted_wall_ms. */
int64_t queue_clock_after(int64_t noted_ms, int64_t noted_wall_ms, int64_t wall_ms);

struct queue_clock queue_clock_start(int64_t noted_ms, int64_t noted_wall_ms, struct now now);

/* What it shows now. */
int64_t queue_clock_ms(const struct queue_clock *clock, struct now now);

#endif
