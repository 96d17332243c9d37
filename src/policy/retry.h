#ifndef POSTERN_POLICY_RETRY_H
#define POSTERN_POLICY_RETRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * When to try again. Pure; randomness is passed in. What is tried again is either a recipient that
 * was put off (a 4xx for it), or a destination that could not be reached at all, of which nobody
 * knows more than its failures in a row.
 */
struct retry_schedule {
    const uint64_t
        *steps_ms;     /* after the first failure, the second, ...; the last one is repeated */
    size_t step_count; /* 1 or more */
};

/*
 * In how many ms a recipient is tried again: the schedule's time, an eighth shorter to an eighth
 * longer, so that what failed together does not come back together. attempts counts the one that
 * has just failed. remaining_ms: until the message expires. The last attempt is made at that time,
 * not after it; -1: it has come, give up.
 */
int64_t retry_recipient_in(const struct retry_schedule *schedule, uint32_t attempts,
                           int64_t remaining_ms, uint64_t random);

/*
 * In how many ms a destination is tried again. trouble counts the failure that has just come. Never
 * more than LIMIT_DESTINATION_RETRY_MS: fresh mail waits for this one too.
 */
int64_t retry_destination_in(const struct retry_schedule *schedule, uint32_t trouble,
                             uint64_t random);

/*
 * When a waiting recipient needs to be looked at, whatever its destination does: when it expires,
 * or before that when its sender is to be told that it takes longer (RFC 3461 §4.1, DELAY). All
 * times are of one clock; notice_after_ms counts from created_ms.
 */
int64_t retry_attention_ms(int64_t created_ms, int64_t expires_ms, int64_t notice_after_ms,
                           bool wants_notice);

#endif
