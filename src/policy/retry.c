#include "policy/retry.h"

#include "base/bug.h"
#include "base/limits.h"

static int64_t step_ms(const struct retry_schedule *schedule, uint32_t failures)
{
    invariant(schedule->step_count > 0);
    size_t step = failures > 0 ? failures - 1 : 0;
    if (step >= schedule->step_count)
        step = schedule->step_count - 1;
    return (int64_t)schedule->steps_ms[step];
}

/* From 7/8 to 9/8 of it. */
static int64_t vary(int64_t ms, uint64_t random)
{
    return ms - ms / 8 + (int64_t)(random % (uint64_t)(ms / 4 + 1));
}

int64_t retry_recipient_in(const struct retry_schedule *schedule, uint32_t attempts,
                           int64_t remaining_ms, uint64_t random)
{
    int64_t ms = vary(step_ms(schedule, attempts), random);
    if (remaining_ms <= 0)
        return -1;
    return ms < remaining_ms ? ms : remaining_ms;
}

int64_t retry_destination_in(const struct retry_schedule *schedule, uint32_t trouble,
                             uint64_t random)
{
    const int64_t most_ms = LIMIT_DESTINATION_RETRY_MS / 9 * 8; /* vary adds an eighth */
    int64_t ms = step_ms(schedule, trouble);
    return vary(ms < most_ms ? ms : most_ms, random);
}

int64_t retry_attention_ms(int64_t created_ms, int64_t expires_ms, int64_t notice_after_ms,
                           bool wants_notice)
{
    int64_t notice_ms = created_ms + notice_after_ms;
    return wants_notice && notice_ms < expires_ms ? notice_ms : expires_ms;
}
