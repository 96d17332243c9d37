#ifndef POSTERN_IO_LOOP_H
#define POSTERN_IO_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "base/now.h"

/*
 * The event loop of a role. A turn is: wait, call whoever has something, then run the hooks that
 * were asked for during the turn. What is queued for other roles and for peers leaves in hooks, so
 * that one turn makes one system call for each of them. Everything here is for one thread.
 *
 * A callback may free its own watch or timer, and any other.
 */
struct loop;

/* NULL where the system has no more of what it takes. */
struct loop *loop_new(void);
void loop_free(struct loop *l);

/* Turns until loop_stop. */
void loop_run(struct loop *l);
void loop_stop(struct loop *l);

/*
 * One turn, which waits for something to happen only where `wait` is true and nothing is due. True
 * where anybody was called.
 */
bool loop_turn(struct loop *l, bool wait);

/* The time as it was when this turn began to call. */
struct now loop_now(struct loop *l);

/* The monotonic clock as it is now, for how long things take within a turn. */
int64_t loop_clock_us(const struct loop *l);

/*
 * For simulation: from now on the time is what *clock says, and stands still until its owner moves
 * it. Before any timer is made; clock outlives the loop.
 */
void loop_use_clock(struct loop *l, const struct now *clock);

/*
 * For simulation: from now on descriptors that are ready in one turn are called in an order of the
 * owner's, not of the kernel's: pick says which of so many comes next, each as often as it is
 * asked. Before anything is watched. NULL: in the order in which they began to be watched.
 */
typedef uint64_t loop_pick(void *context, uint64_t below);
void loop_use_order(struct loop *l, loop_pick *pick, void *context);

/* For a library that brings its own events (libunbound). */
struct event_base *loop_event_base(struct loop *l);

/* ---- Descriptors --------------------------------------------------------------------------- */

enum { WATCH_READ = 1, WATCH_WRITE = 2, WATCH_EDGE = 4 };

/* `what` is WATCH_READ, WATCH_WRITE or both. Hang-ups and errors count as readable. */
typedef void watch_ready(void *context, unsigned what);

struct watch {
    struct event event;
    struct loop *loop;
    watch_ready *ready;
    void *context;
    int fd;
    unsigned interest;
    unsigned fired;             /* what it will be called for in this turn */
    uint64_t number;            /* on a loop with an order of its own */
    struct watch *next, **link; /* there, while it waits to be called */
};

/* Embedded in its owner; watches nothing yet. Does not own fd. */
void watch_init(struct watch *w, struct loop *l, int fd, watch_ready *ready, void *context);

/* Of the WATCH_ flags; 0 stops watching, which must be so before fd is closed or w is freed. */
void watch_set(struct watch *w, unsigned interest);

/* ---- Timers -------------------------------------------------------------------------------- */

struct timer {
    struct event event;
    struct loop *loop;
    void (*expired)(void *context);
    void *context;
    int64_t deadline_ms;
    int64_t armed_ms;
    struct timer *next, **link; /* on a loop with a clock of its own */
};

/* Embedded in its owner; not set. */
void timer_init(struct timer *t, struct loop *l, void (*expired)(void *context), void *context);

/*
 * On the mono_ms clock; NEVER_MS stops it. Putting a deadline off, again and again, is cheap. Must
 * be stopped before t is freed.
 */
void timer_set(struct timer *t, int64_t deadline_ms);

/* ---- Hooks --------------------------------------------------------------------------------- */

struct hook {
    struct hook *next; /* NULL where it is not queued */
    struct hook *before;
    void (*run)(void *context);
    void *context;
};

void hook_init(struct hook *h, void (*run)(void *context), void *context);

/* Runs once, at the end of this turn (of the next, where hooks are running). Asking twice is once.
 */
void hook_queue(struct hook *h, struct loop *l);
void hook_cancel(struct hook *h);

/* ---- Signals ------------------------------------------------------------------------------- */

struct signal_watch {
    struct event event;
    struct loop *loop;
    void (*caught)(void *context, int number);
    void *context;
};

/* Called in the loop, not in the signal handler. */
void signal_watch_start(struct signal_watch *s, struct loop *l, int number,
                        void (*caught)(void *context, int number), void *context);
void signal_watch_stop(struct signal_watch *s);

#endif
