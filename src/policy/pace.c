#include "policy/pace.h"

#include "base/bug.h"

enum { CONNECTIONS_AT_FIRST = 2, MS_PER_MINUTE = 60000 };

/* ---- Connections ------------------------------------------------------------------------------
 */

void pace_begin(struct pace *p, struct pace_total *total, uint32_t connections_max,
                uint64_t rate_per_minute, uint32_t trouble, struct now now)
{
    invariant(connections_max > 0);
    uint32_t first = trouble > 0 ? 1 : CONNECTIONS_AT_FIRST;
    *p = (struct pace){
        .connections_max = connections_max,
        .allowed = first < connections_max ? first : connections_max,
        .trouble = trouble,
        .cautious = trouble > 0,
        .rate_per_minute = rate_per_minute,
        .tokens = MS_PER_MINUTE,
        .filled_ms = now.mono_ms,
    };
    total->destinations++;
}

void pace_end(struct pace *p, struct pace_total *total)
{
    invariant(p->open == 0 && total->destinations > 0);
    total->destinations--;
}

/* What each destination gets while connections are scarce; a first one always. */
static uint32_t even_share(const struct pace_total *total)
{
    uint32_t share = total->connections_max / (total->destinations ? total->destinations : 1);
    return share > 0 ? share : 1;
}

bool pace_is_scarce(const struct pace_total *total)
{
    return total->open >= total->connections_max - total->connections_max / 4;
}

bool pace_may_open(const struct pace *p, const struct pace_total *total)
{
    if (p->open >= p->allowed || total->open >= total->connections_max)
        return false;
    return !pace_is_scarce(total) || p->open < even_share(total);
}

uint32_t pace_opened(struct pace *p, struct pace_total *total)
{
    p->open++;
    total->open++;
    return p->wave;
}

void pace_closed(struct pace *p, struct pace_total *total)
{
    invariant(p->open > 0 && total->open > 0);
    p->open--;
    total->open--;
}

void pace_succeeded(struct pace *p)
{
    p->trouble = 0;
    p->successes++;
    if (p->allowed >= p->connections_max || (p->cautious && p->successes < p->allowed))
        return;
    p->allowed++;
    p->successes = 0;
}

void pace_failed(struct pace *p, uint32_t wave)
{
    if (wave != p->wave)
        return;
    p->wave++;
    p->trouble++;
    p->cautious = true;
    p->successes = 0;
    p->allowed = p->allowed > 1 ? p->allowed / 2 : 1;
}

/* ---- Rate: a bucket that holds ten seconds' worth, one message at least -------------------------
 */

static void fill(struct pace *p, struct now now)
{
    uint64_t full = p->rate_per_minute * 10000;
    if (full < MS_PER_MINUTE)
        full = MS_PER_MINUTE;
    uint64_t elapsed_ms = now.mono_ms > p->filled_ms ? (uint64_t)(now.mono_ms - p->filled_ms) : 0;
    p->filled_ms = now.mono_ms;
    p->tokens =
        elapsed_ms > full / p->rate_per_minute ? full : p->tokens + elapsed_ms * p->rate_per_minute;
    if (p->tokens > full)
        p->tokens = full;
}

int64_t pace_message_at(struct pace *p, struct now now)
{
    if (p->rate_per_minute == 0)
        return now.mono_ms;
    fill(p, now);
    if (p->tokens >= MS_PER_MINUTE)
        return now.mono_ms;
    uint64_t missing = MS_PER_MINUTE - p->tokens;
    return now.mono_ms + (int64_t)((missing + p->rate_per_minute - 1) / p->rate_per_minute);
}

void pace_message_started(struct pace *p, struct now now)
{
    if (p->rate_per_minute == 0)
        return;
    fill(p, now);
    p->tokens -= p->tokens < MS_PER_MINUTE ? p->tokens : MS_PER_MINUTE;
}
