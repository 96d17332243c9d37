#include "io/loop.h"

#include <stdlib.h>
#include <time.h>

#include "base/bug.h"

struct loop {
    struct event_base *base;
    struct hook hooks; /* the ring of those to run at the end of this turn */
    struct now now;
    bool now_known; /* the clock has been read in this turn */
    bool stopped;
    const struct now *clock; /* NULL: the system's */
    struct timer *timers;    /* with such a clock, those that are set */
    bool ordered;            /* see loop_use_order */
    loop_pick *pick;
    void *pick_context;
    uint64_t watch_count; /* ever */
    struct watch *fired;  /* in this turn, and not called yet, as they were watched first */
    uint64_t calls;
};

static int64_t read_clock(clockid_t clock)
{
    struct timespec at;
    invariant(clock_gettime(clock, &at) == 0);
    return (int64_t)at.tv_sec * 1000 + at.tv_nsec / 1000000;
}

struct now loop_now(struct loop *l)
{
    if (l->clock)
        return *l->clock;
    if (!l->now_known) {
        l->now.mono_ms = read_clock(CLOCK_MONOTONIC);
        l->now.wall_ms = read_clock(CLOCK_REALTIME);
        l->now_known = true;
    }
    return l->now;
}

int64_t loop_clock_us(const struct loop *l)
{
    struct timespec at;
    if (l->clock)
        return l->clock->mono_ms * 1000;
    invariant(clock_gettime(CLOCK_MONOTONIC, &at) == 0);
    return (int64_t)at.tv_sec * 1000000 + at.tv_nsec / 1000;
}

struct loop *loop_new(void)
{
    struct loop *l = calloc(1, sizeof *l);
    struct event_config *config = event_config_new();
    if (l && config) {
        event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV |
                                          EVENT_BASE_FLAG_NO_CACHE_TIME);
        l->base = event_base_new_with_config(config);
    }
    if (config)
        event_config_free(config);
    if (!l || !l->base) {
        free(l);
        return NULL;
    }
    l->hooks.next = l->hooks.before = &l->hooks;
    return l;
}

static bool hooks_empty(const struct loop *l)
{
    return l->hooks.next == &l->hooks;
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    while (!hooks_empty(l))
        hook_cancel(l->hooks.next);
    event_base_free(l->base);
    free(l);
}

struct event_base *loop_event_base(struct loop *l)
{
    return l->base;
}

/* Those queued by the hooks themselves wait for the next turn, which then does not wait. */
static void run_hooks(struct loop *l)
{
    struct hook last;
    hook_init(&last, NULL, NULL);
    hook_queue(&last, l);
    while (l->hooks.next != &last) {
        struct hook *h = l->hooks.next;
        hook_cancel(h);
        l->calls++;
        h->run(h->context);
    }
    hook_cancel(&last);
}

void loop_use_clock(struct loop *l, const struct now *clock)
{
    l->clock = clock;
}

static void timer_unlink(struct timer *t)
{
    if (!t->link)
        return;
    *t->link = t->next;
    if (t->next)
        t->next->link = t->link;
    t->link = NULL;
}

static void timer_link(struct timer *t)
{
    t->next = t->loop->timers;
    t->link = &t->loop->timers;
    if (t->next)
        t->next->link = &t->next;
    t->loop->timers = t;
}

static struct timer *first_due(const struct loop *l)
{
    struct timer *first = NULL;
    for (struct timer *t = l->timers; t; t = t->next)
        if (t->deadline_ms <= l->clock->mono_ms && (!first || t->deadline_ms < first->deadline_ms))
            first = t;
    return first;
}

/* Those that the clock has passed, in the order of their deadlines; what they set anew waits. */
static void run_timers(struct loop *l)
{
    size_t due = 0;
    struct timer *first;
    for (struct timer *t = l->timers; t; t = t->next)
        due += t->deadline_ms <= l->clock->mono_ms;
    for (; due > 0 && (first = first_due(l)); due--) {
        timer_unlink(first);
        first->deadline_ms = NEVER_MS;
        l->calls++;
        first->expired(first->context);
    }
}

void loop_use_order(struct loop *l, loop_pick *pick, void *context)
{
    l->ordered = true;
    l->pick = pick;
    l->pick_context = context;
}

static void unqueue_fired(struct watch *w)
{
    if (!w->link)
        return;
    *w->link = w->next;
    if (w->next)
        w->next->link = w->link;
    w->link = NULL;
    w->fired = 0;
}

static void queue_fired(struct watch *w, unsigned what)
{
    struct watch **at = &w->loop->fired;
    w->fired |= what;
    if (w->link)
        return;
    while (*at && (*at)->number < w->number)
        at = &(*at)->next;
    w->next = *at;
    w->link = at;
    if (w->next)
        w->next->link = &w->next;
    *at = w;
}

static struct watch *pick_fired(const struct loop *l)
{
    uint64_t count = 0;
    struct watch *w = l->fired;
    for (struct watch *each = w; each; each = each->next)
        count++;
    uint64_t skip = l->pick && count > 1 ? l->pick(l->pick_context, count) : 0;
    invariant(skip < count);
    while (skip-- > 0)
        w = w->next;
    return w;
}

static void run_fired(struct loop *l)
{
    while (l->fired) {
        struct watch *w = pick_fired(l);
        unsigned what = w->fired;
        unqueue_fired(w);
        l->calls++;
        w->ready(w->context, what);
    }
}

bool loop_turn(struct loop *l, bool wait)
{
    uint64_t before = l->calls;
    l->now_known = false;
    int flags = EVLOOP_ONCE;
    if (!wait || !hooks_empty(l) || l->stopped)
        flags |= EVLOOP_NONBLOCK;
    invariant(event_base_loop(l->base, flags) >= 0);
    run_fired(l);
    if (l->clock)
        run_timers(l);
    run_hooks(l);
    return l->calls != before;
}

void loop_run(struct loop *l)
{
    l->stopped = false;
    while (!l->stopped)
        loop_turn(l, true);
}

void loop_stop(struct loop *l)
{
    l->stopped = true;
}

/* ---- Descriptors --------------------------------------------------------------------------- */

static void watch_fired(evutil_socket_t fd, short events, void *arg)
{
    struct watch *w = arg;
    (void)fd;
    unsigned what = 0;
    if ((events & EV_READ) != 0)
        what |= WATCH_READ;
    if ((events & EV_WRITE) != 0)
        what |= WATCH_WRITE;
    if (w->loop->ordered) {
        queue_fired(w, what);
        return;
    }
    w->loop->calls++;
    w->ready(w->context, what);
}

void watch_init(struct watch *w, struct loop *l, int fd, watch_ready *ready, void *context)
{
    *w = (struct watch){
        .loop = l, .ready = ready, .context = context, .fd = fd, .number = ++l->watch_count};
}

void watch_set(struct watch *w, unsigned interest)
{
    if (interest == w->interest)
        return;
    if (w->interest != 0)
        event_del(&w->event);
    w->interest = interest;
    w->fired &= interest;
    if (w->fired == 0)
        unqueue_fired(w);
    if (interest == 0)
        return;
    short events = EV_PERSIST;
    if ((interest & WATCH_READ) != 0)
        events |= EV_READ;
    if ((interest & WATCH_WRITE) != 0)
        events |= EV_WRITE;
    if ((interest & WATCH_EDGE) != 0)
        events |= EV_ET;
    invariant(event_assign(&w->event, w->loop->base, w->fd, events, watch_fired, w) == 0);
    invariant(event_add(&w->event, NULL) == 0);
}

/* ---- Timers -------------------------------------------------------------------------------- */

static void timer_arm(struct timer *t)
{
    int64_t wait_ms = t->deadline_ms - loop_now(t->loop).mono_ms;
    if (wait_ms < 0)
        wait_ms = 0;
    struct timeval tv = {.tv_sec = wait_ms / 1000, .tv_usec = wait_ms % 1000 * 1000};
    invariant(evtimer_add(&t->event, &tv) == 0);
    t->armed_ms = t->deadline_ms;
}

/* The event may come before a deadline that was put off meanwhile. */
static void timer_fired(evutil_socket_t fd, short events, void *arg)
{
    struct timer *t = arg;
    (void)fd;
    (void)events;
    t->armed_ms = NEVER_MS;
    if (t->deadline_ms == NEVER_MS)
        return;
    if (t->deadline_ms > loop_now(t->loop).mono_ms) {
        timer_arm(t);
        return;
    }
    t->deadline_ms = NEVER_MS;
    t->loop->calls++;
    t->expired(t->context);
}

void timer_init(struct timer *t, struct loop *l, void (*expired)(void *context), void *context)
{
    *t = (struct timer){.loop = l,
                        .expired = expired,
                        .context = context,
                        .deadline_ms = NEVER_MS,
                        .armed_ms = NEVER_MS};
    invariant(evtimer_assign(&t->event, l->base, timer_fired, t) == 0);
}

void timer_set(struct timer *t, int64_t deadline_ms)
{
    t->deadline_ms = deadline_ms;
    if (t->loop->clock) {
        timer_unlink(t);
        if (deadline_ms != NEVER_MS)
            timer_link(t);
        return;
    }
    if (deadline_ms == NEVER_MS) {
        evtimer_del(&t->event);
        t->armed_ms = NEVER_MS;
    } else if (deadline_ms < t->armed_ms) {
        timer_arm(t);
    }
}

/* ---- Hooks --------------------------------------------------------------------------------- */

void hook_init(struct hook *h, void (*run)(void *context), void *context)
{
    *h = (struct hook){.run = run, .context = context};
}

void hook_queue(struct hook *h, struct loop *l)
{
    if (h->next)
        return;
    h->next = &l->hooks;
    h->before = l->hooks.before;
    h->before->next = h;
    l->hooks.before = h;
}

void hook_cancel(struct hook *h)
{
    if (!h->next)
        return;
    h->before->next = h->next;
    h->next->before = h->before;
    h->next = h->before = NULL;
}

/* ---- Signals ------------------------------------------------------------------------------- */

static void signal_fired(evutil_socket_t number, short events, void *arg)
{
    struct signal_watch *s = arg;
    (void)events;
    s->caught(s->context, number);
}

void signal_watch_start(struct signal_watch *s, struct loop *l, int number,
                        void (*caught)(void *context, int number), void *context)
{
    *s = (struct signal_watch){.loop = l, .caught = caught, .context = context};
    invariant(evsignal_assign(&s->event, l->base, number, signal_fired, s) == 0);
    invariant(evsignal_add(&s->event, NULL) == 0);
}

void signal_watch_stop(struct signal_watch *s)
{
    if (!s->loop)
        return;
    evsignal_del(&s->event);
    s->loop = NULL;
}
