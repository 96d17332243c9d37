#include "store/clock.h"

int64_t store_clock_after(int64_t noted_ms, int64_t noted_wall_ms, int64_t wall_ms)
{
    int64_t pause = wall_ms - noted_wall_ms;
    if (pause < 0)
        pause = 0;
    return noted_ms + (pause < STORE_CLOCK_PAUSE_MS ? pause : STORE_CLOCK_PAUSE_MS);
}

struct store_clock store_clock_start(int64_t noted_ms, int64_t noted_wall_ms, struct now now)
{
    return (struct store_clock){store_clock_after(noted_ms, noted_wall_ms, now.wall_ms),
                                now.mono_ms};
}

int64_t store_clock_ms(const struct store_clock *clock, struct now now)
{
    return clock->base_ms + (now.mono_ms - clock->mono_ms);
}
