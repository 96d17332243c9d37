#include "roles/courier_tls_report.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/testing.h"
#include "roles/courier.h"
#include "roles/courier_queue.h"

enum { MANY = 1100, DUE_MS = 5000 }; /* many: more than one call takes */

/* A courier of which there is only what counts, on a loop whose time is the test's. */
struct world {
    struct loop *loop;
    struct now clock;
    struct log log;
    int peer;
    struct courier courier;
    struct arena arena;
};

static void open_world(struct world *w)
{
    int fds[2];
    *w = (struct world){.loop = loop_new(), .clock = {1000, 1000}};
    loop_use_clock(w->loop, &w->clock);
    log_init(&w->log, open("/dev/null", O_WRONLY | O_CLOEXEC), ROLE_COURIER);
    assert_int_equal(socket_pair(fds), STATUS_OK);
    w->peer = fds[1];
    w->courier.role = role_new(&courier_plan, 0, w->loop, fds[0], &w->log);
    w->courier.queue = courier_queue_new(&w->courier);
    w->courier.tls_report = courier_tls_report_new(&w->courier);
    arena_init(&w->arena, 1024 * 1024);
    while (loop_turn(w->loop, false))
        continue;
}

static void close_world(struct world *w)
{
    arena_reset(&w->arena);
    courier_queue_free(w->courier.queue);
    courier_tls_report_free(w->courier.tls_report);
    role_free(w->courier.role);
    loop_free(w->loop);
    close(w->peer);
    close(w->log.fd);
}

static void note_failures(struct world *w, int count)
{
    char domain[32];
    for (int i = 0; i < count; i++) {
        snprintf(domain, sizeof domain, "d%d.test", i);
        courier_tls_report_policy(&w->courier, str_from_c(domain), "sts-policy-fetch-error",
                                  STR("why"));
    }
}

static size_t tell(struct world *w)
{
    struct ipc_outcomes_in in = {0};
    courier_tls_report_tell(&w->courier, &w->arena, &in);
    return in.tls_count;
}

/* True where the courier looks at its queue by itself, once so much time has passed. */
static bool looks_after(struct world *w, int64_t ms)
{
    w->clock.mono_ms += ms;
    return loop_turn(w->loop, false);
}

static void equal_failures_are_one_row(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    note_failures(&w, 2);
    note_failures(&w, 2);
    assert_false(courier_tls_report_is_due(&w.courier));
    assert_true(looks_after(&w, DUE_MS));
    assert_true(courier_tls_report_is_due(&w.courier));
    assert_int_equal(tell(&w), 2);
    courier_tls_report_told(&w.courier);
    assert_false(courier_tls_report_is_due(&w.courier));
    assert_false(looks_after(&w, DUE_MS));
    close_world(&w);
}

static void what_one_call_has_no_room_for_is_told_by_itself(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    note_failures(&w, MANY);
    size_t calls = 0, told = 0;
    for (; told < MANY; calls++) {
        assert_true(looks_after(&w, DUE_MS));
        told += tell(&w);
        courier_tls_report_told(&w.courier);
    }
    assert_true(calls > 1);
    assert_false(looks_after(&w, DUE_MS));
    close_world(&w);
}

static void what_was_not_kept_is_told_again_by_itself(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    note_failures(&w, 3);
    assert_true(looks_after(&w, DUE_MS));
    assert_int_equal(tell(&w), 3);
    courier_tls_report_again(&w.courier);
    assert_true(looks_after(&w, DUE_MS));
    assert_int_equal(tell(&w), 3);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_failures_are_one_row),
        cmocka_unit_test(what_one_call_has_no_room_for_is_told_by_itself),
        cmocka_unit_test(what_was_not_kept_is_told_again_by_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
