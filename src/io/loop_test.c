#include "io/loop.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/testing.h"

/* What happened, one letter each, in order. */
struct seen {
    struct loop *loop;
    char letters[20];
    struct watch watch;
    struct timer early, late;
    struct hook hook, again;
    int fds[2];
};

static void note(struct seen *s, char letter)
{
    s->letters[strlen(s->letters)] = letter;
}

static void on_ready(void *context, unsigned what)
{
    struct seen *s = context;
    char c;
    assert_int_equal(what, WATCH_READ);
    assert_int_equal(read(s->fds[0], &c, 1), 1);
    note(s, 'r');
    hook_queue(&s->hook, s->loop);
    hook_queue(&s->hook, s->loop);
}

static void on_hook(void *context)
{
    struct seen *s = context;
    note(s, 'h');
    hook_queue(&s->again, s->loop);
}

static void on_again(void *context)
{
    note(context, 'a');
}

static void on_early(void *context)
{
    note(context, 'e');
}

static void on_late(void *context)
{
    struct seen *s = context;
    note(s, 'l');
    loop_stop(s->loop);
}

static void on_signal(void *context, int number)
{
    assert_int_equal(number, SIGUSR1);
    note(context, 's');
}

static void start(struct seen *s)
{
    memset(s, 0, sizeof *s);
    s->loop = loop_new();
    assert_non_null(s->loop);
    hook_init(&s->hook, on_hook, s);
    hook_init(&s->again, on_again, s);
    timer_init(&s->early, s->loop, on_early, s);
    timer_init(&s->late, s->loop, on_late, s);
}

static void hooks_run_once_at_the_end_of_the_turn(void **state)
{
    (void)state;
    struct seen s;
    start(&s);
    assert_int_equal(pipe(s.fds), 0);
    watch_init(&s.watch, s.loop, s.fds[0], on_ready, &s);
    watch_set(&s.watch, WATCH_READ);
    assert_int_equal(write(s.fds[1], "x", 1), 1);
    loop_turn(s.loop, true);
    assert_string_equal(s.letters, "rh");
    loop_turn(s.loop, true);
    assert_string_equal(s.letters, "rha");
    watch_set(&s.watch, 0);
    assert_int_equal(write(s.fds[1], "x", 1), 1);
    loop_turn(s.loop, false);
    assert_string_equal(s.letters, "rha");
    hook_queue(&s.hook, s.loop);
    hook_cancel(&s.hook);
    loop_turn(s.loop, false);
    assert_string_equal(s.letters, "rha");
    close(s.fds[0]);
    close(s.fds[1]);
    loop_free(s.loop);
}

static void timers_expire_in_order_and_can_be_put_off_and_stopped(void **state)
{
    (void)state;
    struct seen s;
    start(&s);
    int64_t now_ms = loop_now(s.loop).mono_ms;
    timer_set(&s.late, now_ms);
    timer_set(&s.late, now_ms + 20);
    timer_set(&s.early, now_ms + 10);
    loop_run(s.loop);
    assert_string_equal(s.letters, "el");
    assert_true(loop_now(s.loop).mono_ms >= now_ms + 20);
    timer_set(&s.early, now_ms);
    timer_set(&s.early, NEVER_MS);
    timer_set(&s.late, now_ms);
    loop_run(s.loop);
    assert_string_equal(s.letters, "ell");
    loop_free(s.loop);
}

static void timers_follow_a_clock_of_the_owners(void **state)
{
    (void)state;
    struct seen s;
    struct now clock = {.mono_ms = 1000, .wall_ms = 5};
    memset(&s, 0, sizeof s);
    s.loop = loop_new();
    loop_use_clock(s.loop, &clock);
    timer_init(&s.early, s.loop, on_early, &s);
    timer_init(&s.late, s.loop, on_late, &s);
    timer_set(&s.late, 1020);
    timer_set(&s.early, 1010);
    assert_false(loop_turn(s.loop, false));
    clock.mono_ms = 1015;
    assert_true(loop_turn(s.loop, false));
    assert_string_equal(s.letters, "e");
    timer_set(&s.early, 1018);
    clock = (struct now){.mono_ms = 5000, .wall_ms = -7};
    assert_true(loop_turn(s.loop, false));
    assert_string_equal(s.letters, "eel");
    assert_int_equal(loop_now(s.loop).wall_ms, -7);
    timer_set(&s.late, 1);
    timer_set(&s.late, NEVER_MS);
    assert_false(loop_turn(s.loop, false));
    loop_free(s.loop);
}

/* ---- An order of the owner's ---------------------------------------------------------------- */

enum { MANY = 4 };

struct many {
    struct loop *loop;
    struct one {
        struct many *all;
        struct watch watch;
        char letter;
        int fds[2];
    } list[MANY];
    char letters[20];
    uint64_t picks; /* asked for */
    char stops;     /* that one stops the one before it */
};

static void on_one(void *context, unsigned what)
{
    struct one *o = context;
    char c;
    (void)what;
    assert_int_equal(read(o->fds[0], &c, 1), 1);
    o->all->letters[strlen(o->all->letters)] = o->letter;
    if (o->letter == o->all->stops)
        watch_set(&o[-1].watch, 0);
}

static uint64_t pick_last(void *context, uint64_t below)
{
    struct many *m = context;
    m->picks++;
    return below - 1;
}

/* Watched from a to d; ready from d to a. */
static void open_many(struct many *m, loop_pick *pick)
{
    *m = (struct many){.loop = loop_new()};
    loop_use_order(m->loop, pick, m);
    for (int i = 0; i < MANY; i++) {
        m->list[i].all = m;
        m->list[i].letter = (char)('a' + i);
        assert_int_equal(pipe(m->list[i].fds), 0);
        watch_init(&m->list[i].watch, m->loop, m->list[i].fds[0], on_one, &m->list[i]);
        watch_set(&m->list[i].watch, WATCH_READ);
    }
    for (int i = MANY - 1; i >= 0; i--)
        assert_int_equal(write(m->list[i].fds[1], "x", 1), 1);
}

static void close_many(struct many *m)
{
    for (int i = 0; i < MANY; i++) {
        watch_set(&m->list[i].watch, 0);
        close(m->list[i].fds[0]);
        close(m->list[i].fds[1]);
    }
    loop_free(m->loop);
}

static void what_is_ready_is_called_in_the_owners_order(void **state)
{
    (void)state;
    struct many m;
    open_many(&m, NULL);
    assert_true(loop_turn(m.loop, true));
    assert_string_equal(m.letters, "abcd");
    assert_false(loop_turn(m.loop, false));
    close_many(&m);
    open_many(&m, pick_last);
    assert_true(loop_turn(m.loop, true));
    assert_string_equal(m.letters, "dcba");
    assert_int_equal(m.picks, MANY - 1);
    close_many(&m);
}

static void who_is_stopped_by_another_is_not_called_in_any_order(void **state)
{
    (void)state;
    struct many m;
    open_many(&m, pick_last);
    m.stops = 'c';
    assert_true(loop_turn(m.loop, true));
    assert_string_equal(m.letters, "dca");
    assert_false(loop_turn(m.loop, false));
    watch_set(&m.list[1].watch, WATCH_READ);
    assert_true(loop_turn(m.loop, true));
    assert_string_equal(m.letters, "dcab");
    close_many(&m);
}

static void signals_arrive_in_the_loop(void **state)
{
    (void)state;
    struct seen s;
    struct signal_watch watch;
    start(&s);
    signal_watch_start(&watch, s.loop, SIGUSR1, on_signal, &s);
    raise(SIGUSR1);
    loop_turn(s.loop, true);
    assert_string_equal(s.letters, "s");
    signal_watch_stop(&watch);
    loop_free(s.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hooks_run_once_at_the_end_of_the_turn),
        cmocka_unit_test(timers_expire_in_order_and_can_be_put_off_and_stopped),
        cmocka_unit_test(timers_follow_a_clock_of_the_owners),
        cmocka_unit_test(what_is_ready_is_called_in_the_owners_order),
        cmocka_unit_test(who_is_stopped_by_another_is_not_called_in_any_order),
        cmocka_unit_test(signals_arrive_in_the_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
