/* Logging in, and the session that goes to a mailroom. */
#include "roles/edge_pump.h"

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/testing.h"
#include "roles/edge_testing.h"

/* ---- Logging in ---------------------------------------------------------------------------- */

static void a_session_goes_to_the_mailroom_and_is_pumped_both_ways(void **state)
{
    (void)state;
    struct world w;
    struct buf noise, got;
    char piece[65536];
    world_open(&w);
    world_call(&w, IMAP);
    world_hear(&w, "* OK");
    world_say(&w, "a LOGIN alice wrong\r\n");
    world_hear(&w, "a NO [AUTHENTICATIONFAILED]");
    world_say(&w, "b LOGIN alice secret\r\nc NOOP\r\n");
    world_hear(&w, "b OK");
    world_turns(&w, 5);
    assert_int_equal(recv(w.session_fd, piece, sizeof piece, MSG_DONTWAIT), 8);
    assert_memory_equal(piece, "c NOOP\r\n", 8);
    /* More than all buffers hold, each way. */
    world_make_noise(&noise, 2UL * 1024 * 1024);
    buf_init(&got, 4UL * 1024 * 1024);
    struct str rest = buf_str(&noise);
    while (got.len < noise.len) {
        ssize_t n = send(w.session_fd, rest.ptr, rest.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        rest = str_skip(rest, n > 0 ? (size_t)n : 0);
        world_turns(&w, 3);
        if (n <= 0 && (n = recv(w.client, piece, sizeof piece, 0)) > 0)
            buf_append(&got, piece, (size_t)n);
    }
    ptrdiff_t from = str_find(buf_str(&got), str_sub(buf_str(&noise), 0, 72));
    assert_true(from >= 0);
    assert_true(str_starts(buf_str(&noise), str_skip(buf_str(&got), (size_t)from)));
    buf_clear(&got);
    while (recv(w.client, piece, sizeof piece, 0) > 0)
        world_turns(&w, 3);
    rest = buf_str(&noise);
    while (got.len < noise.len) {
        ssize_t n = send(w.client, rest.ptr, rest.len, MSG_NOSIGNAL);
        rest = str_skip(rest, n > 0 ? (size_t)n : 0);
        world_turns(&w, 3);
        if (n <= 0 && (n = recv(w.session_fd, piece, sizeof piece, MSG_DONTWAIT)) > 0)
            buf_append(&got, piece, (size_t)n);
    }
    assert_true(str_eq(buf_str(&got), buf_str(&noise)));
    send(w.session_fd, "* BYE\r\n", 7, MSG_NOSIGNAL);
    close(w.session_fd);
    w.session_fd = -1;
    world_hear(&w, "* BYE\r\n");
    world_hear_end(&w);
    buf_release(&noise);
    buf_release(&got);
    world_close(&w);
}

static void a_client_that_goes_ends_its_session_in_the_mailroom(void **state)
{
    (void)state;
    struct world w;
    char byte;
    world_open(&w);
    world_call(&w, POP3);
    world_hear(&w, "+OK");
    world_say(&w, "USER alice\r\nPASS secret\r\n");
    world_hear(&w, "+OK");
    world_hear(&w, "+OK");
    world_hang_up(&w);
    world_turns(&w, 5);
    assert_int_equal(recv(w.session_fd, &byte, 1, MSG_DONTWAIT), 0);
    close(w.session_fd);
    w.session_fd = -1;
    assert_int_equal(world_connections_after_turns(&w), 0);
    world_close(&w);
}

static void without_a_keeper_or_mailroom_nobody_logs_in_and_all_may_try_again(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    world_call(&w, IMAP);
    world_hear(&w, "* OK");
    world_kill_peer(&w.keeper);
    world_say(&w, "a LOGIN alice secret\r\n");
    world_hear(&w, "a NO [UNAVAILABLE]");
    world_start_peer(&w, &w.keeper, ROLE_KEEPER);
    world_kill_peer(&w.mailroom);
    world_say(&w, "b LOGIN alice secret\r\n");
    world_hear(&w, "b NO [UNAVAILABLE]");
    world_start_peer(&w, &w.mailroom, ROLE_MAILROOM);
    world_say(&w, "c LOGIN alice secret\r\n");
    world_hear(&w, "c OK");
    close(w.session_fd);
    w.session_fd = -1;
    world_close(&w);
}

/* The new one's channel lies where the old one's did, as like as not. */
static void a_login_that_one_keeper_began_is_not_given_to_the_next(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    w.login_challenges = true;
    world_call(&w, IMAP);
    world_hear(&w, "* OK");
    for (int i = 0; i < 3; i++) {
        world_say(&w, "a AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==\r\n");
        world_hear(&w, "+ ");
        world_kill_peer(&w.keeper);
        world_turns(&w, 3);
        world_start_peer(&w, &w.keeper, ROLE_KEEPER);
        world_say(&w, "AA==\r\n");
        world_hear(&w, "a NO [UNAVAILABLE]");
    }
    assert_int_equal(w.steps, 0);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_goes_to_the_mailroom_and_is_pumped_both_ways),
        cmocka_unit_test(a_client_that_goes_ends_its_session_in_the_mailroom),
        cmocka_unit_test(a_login_that_one_keeper_began_is_not_given_to_the_next),
        cmocka_unit_test(without_a_keeper_or_mailroom_nobody_logs_in_and_all_may_try_again),
    };
    signal(SIGPIPE, SIG_IGN); /* as every role does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
