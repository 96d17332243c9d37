#include "io/connect.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/testing.h"

struct world {
    struct loop *loop;
    struct connect connect;
    int calls, fd, error;
};

static void on_done(void *context, int fd, int error)
{
    struct world *w = context;
    w->calls++;
    w->fd = fd;
    w->error = error;
}

static void wait_for_it(struct world *w)
{
    while (w->calls == 0)
        loop_turn(w->loop, true);
}

static void start(struct world *w, const struct socket_address *to,
                  const struct socket_address *from)
{
    w->calls = 0;
    connect_start(&w->connect, w->loop, to, from, NEVER_MS, on_done, w);
    assert_int_equal(w->calls, 0);
}

static int listen_here(struct socket_address *a)
{
    struct diag diag = {0};
    int listener;
    assert_true(socket_address_parse(STR("127.0.0.1"), 0, a));
    assert_int_equal(socket_listen(a, &listener, &diag), STATUS_OK);
    assert_true(socket_local_address(listener, a));
    return listener;
}

static void an_address_of_ones_own_is_used(void **state)
{
    (void)state;
    struct world w = {.loop = loop_new()};
    struct socket_address a, from, local;
    struct buf words;
    int listener = listen_here(&a);
    assert_true(socket_address_parse(STR("127.0.0.9"), 0, &from));
    start(&w, &a, &from);
    wait_for_it(&w);
    assert_int_equal(w.error, 0);
    assert_true(socket_local_address(w.fd, &local));
    buf_init(&words, 50);
    socket_address_print(&local, &words);
    assert_true(str_eq(buf_str(&words), STR("127.0.0.9")));
    buf_release(&words);
    close(w.fd);
    close(listener);
    connect_cancel(&w.connect);
    loop_free(w.loop);
}

static void what_refuses_is_told_and_what_is_cancelled_is_not(void **state)
{
    (void)state;
    struct world w = {.loop = loop_new()};
    struct socket_address a;
    close(listen_here(&a));
    start(&w, &a, NULL);
    wait_for_it(&w);
    assert_int_equal(w.error, ECONNREFUSED);
    assert_int_equal(w.fd, -1);
    start(&w, &a, NULL);
    connect_cancel(&w.connect);
    loop_turn(w.loop, false);
    assert_int_equal(w.calls, 0);
    loop_free(w.loop);
}

/* A listener whose backlog is full answers nobody. */
static void the_deadline_ends_it(void **state)
{
    (void)state;
    struct world w = {.loop = loop_new()};
    struct socket_address a;
    int listener = listen_here(&a), fillers[2];
    assert_int_equal(listen(listener, 0), 0);
    for (int i = 0; i < 2; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(fillers[i], &a.any, a.len);
    }
    connect_start(&w.connect, w.loop, &a, NULL, loop_now(w.loop).mono_ms + 20, on_done, &w);
    wait_for_it(&w);
    assert_int_equal(w.error, ETIMEDOUT);
    for (int i = 0; i < 2; i++)
        close(fillers[i]);
    close(listener);
    loop_free(w.loop);
}

static void unix_sockets_are_reached_too(void **state)
{
    (void)state;
    struct world w = {.loop = loop_new()};
    struct diag diag = {0};
    struct socket_address a;
    char folder[] = "/tmp/connect-test-XXXXXX", path[100];
    int listener;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/s", folder);
    assert_int_equal(socket_listen_unix(path, 0600, &listener, &diag), STATUS_OK);
    assert_true(socket_address_unix(str_from_c(path), &a));
    start(&w, &a, NULL);
    wait_for_it(&w);
    assert_int_equal(w.error, 0);
    close(w.fd);
    close(listener);
    unlink(path);
    rmdir(folder);
    assert_false(socket_address_unix(STR(""), &a));
    loop_free(w.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_of_ones_own_is_used),
        cmocka_unit_test(what_refuses_is_told_and_what_is_cancelled_is_not),
        cmocka_unit_test(the_deadline_ends_it),
        cmocka_unit_test(unix_sockets_are_reached_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
