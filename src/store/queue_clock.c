#include "store/queue_clock.h"

int64_t queue_clock_after(int64_t noted_ms, int64_t noted_wall_ms, int64_t wall_ms)
{
    int64_t pause = wall_ms - noted_wall_ms;
    if (pause < 0)
        pause = 0;
    return noted_ms + (pause < QUEUE_CLOCK_PAUSE_MS ? pause : QUEUE_CLOCK_PAUSE_MS);
}

struct queue_clock queue_clock_start(int64_t noted_ms, int64_t noted_wall_ms, struct now now)
{
    return (struct queue_clock){queue_clock_after(noted_ms, noted_wall_ms, now.wall_ms),
                                now.mono_ms};
}

int64_t queue_clock_ms(const struct queue_clock *clock, struct now now)
{
    return clock->base_ms + (now.mono_ms - clock->mono_ms);
}
