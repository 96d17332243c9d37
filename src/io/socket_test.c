#include "io/socket.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/testing.h"

static void addresses_are_read_and_printed(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
        size_t size;
    } cases[] = {{"192.0.2.1", "192.0.2.1", 4},
                 {"2001:DB8::1", "2001:db8::1", 16},
                 {"::ffff:192.0.2.1", "192.0.2.1", 4}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct socket_address a;
        struct buf out;
        buf_init(&out, 100);
        assert_true(socket_address_parse(str_from_c(cases[i].in), 25, &a));
        socket_address_print(&a, &out);
        assert_true(str_eq(buf_str(&out), str_from_c(cases[i].out)));
        assert_int_equal(socket_address_bytes(&a).len, cases[i].size);
        assert_int_equal(socket_address_port(&a), 25);
        buf_release(&out);
    }
    struct socket_address a;
    assert_false(socket_address_parse(STR("localhost"), 25, &a));
    assert_false(socket_address_parse(STR("1.2.3"), 25, &a));
    assert_false(socket_address_parse(STR("1.2.3.4 "), 25, &a));
    assert_false(socket_address_parse(STR(""), 25, &a));
}

static void check_conversation(const char *ip)
{
    struct socket_address a, peer, local;
    struct diag diag = {0};
    int listener, fd;
    assert_true(socket_address_parse(str_from_c(ip), 0, &a));
    assert_int_equal(socket_listen(&a, &listener, &diag), STATUS_OK);
    assert_true(socket_local_address(listener, &local));
    assert_int_equal(socket_accept(listener, &fd, &peer), STATUS_BUSY);
    int client = socket(local.any.sa_family, SOCK_STREAM, 0);
    assert_int_equal(connect(client, &local.any, local.len), 0);
    assert_int_equal(socket_accept(listener, &fd, &peer), STATUS_OK);
    assert_true(str_eq(socket_address_bytes(&peer), socket_address_bytes(&local)));
    int again;
    assert_int_not_equal(socket_listen(&local, &again, &diag), STATUS_OK);
    assert_non_null(strstr(diag.words, ip));
    assert_true(socket_peer_acked(fd));
    assert_int_equal(write(fd, "hello", 5), 5);
    struct pollfd p = {.fd = client, .events = POLLIN};
    assert_int_equal(poll(&p, 1, -1), 1);
    assert_true(socket_peer_acked(fd));
    close(client);
    close(fd);
    close(listener);
}

static void a_connection_over_both_families(void **state)
{
    (void)state;
    check_conversation("127.0.0.1");
    check_conversation("::1");
}

static void a_unix_socket_replaces_a_dead_one_but_not_a_live_one(void **state)
{
    (void)state;
    char folder[] = "/tmp/postern-socket-XXXXXX";
    char path[100];
    int fd, other;
    struct diag diag = {0};
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/control", folder);
    assert_int_equal(socket_listen_unix(path, 0600, &fd, &diag), STATUS_OK);
    assert_int_not_equal(socket_listen_unix(path, 0600, &other, &diag), STATUS_OK);
    close(fd);
    assert_int_equal(socket_listen_unix(path, 0600, &fd, &diag), STATUS_OK);
    assert_int_equal(socket_connect_unix(path, &other, &diag), STATUS_OK);
    close(other);
    close(fd);
    unlink(path);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_read_and_printed),
        cmocka_unit_test(a_connection_over_both_families),
        cmocka_unit_test(a_unix_socket_replaces_a_dead_one_but_not_a_live_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
