#ifndef POSTERN_POLICY_PACE_H
#define POSTERN_POLICY_PACE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/now.h"

/*
 * How fast a courier goes. Pure: facts and the time in, permissions out.
 *
 * A destination gets two connections at first and one more for each message it takes, up to its
 * maximum. A connection that fails halves the number; from then on it takes a whole round of
 * successes to get one back. What fails in one wave counts once. A destination that was in trouble
 * begins with one connection, the probe.
 *
 * All destinations together have a maximum. While there is room anybody may take it; once three
 * quarters are taken, a destination gets no more than its even share. So many slow destinations
 * cannot keep a new one from its first connection, as long as not every slot is taken by probes.
 */
struct pace_total {
    uint32_t connections_max;
    uint32_t open;         /* connections */
    uint32_t destinations; /* that have a struct pace now */
};

struct pace {
    uint32_t connections_max;
    uint32_t allowed; /* connections at once, for now */
    uint32_t open;
    uint32_t successes;       /* since allowed last changed */
    uint32_t trouble;         /* failures in a row */
    uint32_t wave;            /* counts the times that allowed shrank */
    bool cautious;            /* it has shrunk once */
    uint64_t rate_per_minute; /* messages; 0: no limit */
    uint64_t tokens;          /* in 60,000ths of a message */
    int64_t filled_ms;
};

void pace_begin(struct pace *p, struct pace_total *total, uint32_t connections_max,
                uint64_t rate_per_minute, uint32_t trouble, struct now now);

/* All its connections are closed. */
void pace_end(struct pace *p, struct pace_total *total);

/* Three quarters of all connections are taken. */
bool pace_is_scarce(const struct pace_total *total);

/* May one more connection be opened for it? */
bool pace_may_open(const struct pace *p, const struct pace_total *total);

/* One is being opened. The wave is told when it fails. */
uint32_t pace_opened(struct pace *p, struct pace_total *total);
void pace_closed(struct pace *p, struct pace_total *total);

/* The other side took a message, or refused it in good order. */
void pace_succeeded(struct pace *p);

/* A connection could not be made, broke, timed out, or ended in 421. */
void pace_failed(struct pace *p, uint32_t wave);

/* When the next message may start: now.mono_ms or earlier means at once. */
int64_t pace_message_at(struct pace *p, struct now now);
void pace_message_started(struct pace *p, struct now now);

#endif
