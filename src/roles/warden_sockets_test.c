#include "roles/warden_sockets.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/testing.h"
#include "io/socket.h"

static struct config_listener at_loopback(uint16_t port)
{
    return (struct config_listener){.at = LISTEN_AT_IPV4,
                                    .octets = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1},
                                    .port = port};
}

static uint16_t port_of(int fd)
{
    struct socket_address a;
    assert_true(socket_local_address(fd, &a));
    return socket_address_port(&a);
}

static int connect_to(uint16_t port)
{
    struct socket_address a;
    assert_true(socket_address_parse(STR("127.0.0.1"), port, &a));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, &a.any, a.len) == 0)
        return fd;
    close(fd);
    return -1;
}

/* A port that is free now. */
static uint16_t free_port(void)
{
    struct socket_address a;
    int fd;
    assert_true(socket_address_parse(STR("127.0.0.1"), 0, &a));
    assert_int_equal(socket_listen(&a, &fd, NULL), STATUS_OK);
    uint16_t port = port_of(fd);
    close(fd);
    return port;
}

static void a_reload_keeps_what_stays_with_who_waits_there(void **state)
{
    (void)state;
    struct config_listener listeners[2] = {at_loopback(free_port()), at_loopback(free_port())};
    struct config config = {.listeners = listeners, .listener_count = 1};
    struct warden_sockets old = {0}, next = {0};
    struct diag diag = {0};
    assert_int_equal(warden_sockets_open(&config, &old, &old, &diag), STATUS_OK);
    assert_int_equal(old.count, 1);
    int waiting = connect_to(listeners[0].port);
    assert_true(waiting >= 0);
    config.listener_count = 2;
    assert_int_equal(warden_sockets_open(&config, &old, &next, &diag), STATUS_OK);
    warden_sockets_close(&old);
    assert_int_equal(next.count, 2);
    assert_int_equal(next.list[1].number, 1);
    struct socket_address peer;
    int accepted;
    assert_int_equal(socket_accept(next.list[0].fd, &accepted, &peer), STATUS_OK);
    close(accepted);
    close(waiting);
    uint16_t port = listeners[0].port;
    warden_sockets_close(&next);
    assert_true(connect_to(port) < 0);
}

static void an_address_that_is_taken_leaves_everything_as_it_was(void **state)
{
    (void)state;
    struct config_listener listeners[2] = {at_loopback(free_port())};
    struct config config = {.listeners = listeners, .listener_count = 1};
    struct warden_sockets none = {0}, ours = {0}, theirs = {0};
    struct diag diag = {0};
    assert_int_equal(warden_sockets_open(&config, &none, &theirs, &diag), STATUS_OK);
    listeners[1] = listeners[0];
    listeners[0] = at_loopback(free_port());
    config.listener_count = 2;
    assert_int_not_equal(warden_sockets_open(&config, &none, &ours, &diag), STATUS_OK);
    assert_non_null(strstr(diag.words, "Address already in use"));
    assert_int_equal(ours.count, 0);
    assert_true(connect_to(listeners[0].port) < 0);
    warden_sockets_close(&theirs);
}

static void a_socket_of_a_path_is_everybodys_and_stays_over_a_reload(void **state)
{
    (void)state;
    char folder[] = "/tmp/postern-test-XXXXXX", path[128], inner[64];
    struct stat there;
    assert_non_null(mkdtemp(folder));
    snprintf(inner, sizeof inner, "%s/run", folder);
    snprintf(path, sizeof path, "%s/sendmail", inner);
    struct config_listener listener = {.at = LISTEN_AT_UNIX, .unix_path = str_from_c(path)};
    struct config config = {.listeners = &listener, .listener_count = 1};
    struct warden_sockets old = {0}, next = {0};
    struct diag diag = {0};
    struct socket_address peer;
    int waiting, accepted;
    assert_int_equal(warden_sockets_open(&config, &old, &old, &diag), STATUS_OK);
    assert_int_equal(stat(path, &there), 0);
    assert_int_equal(there.st_mode & 0777, 0666);
    assert_int_equal(socket_connect_unix(path, &waiting, &diag), STATUS_OK);
    assert_int_equal(warden_sockets_open(&config, &old, &next, &diag), STATUS_OK);
    warden_sockets_close(&old);
    assert_int_equal(socket_accept(next.list[0].fd, &accepted, &peer), STATUS_OK);
    uid_t uid = 1;
    assert_true(socket_peer_uid(accepted, &uid));
    assert_int_equal(uid, getuid());
    close(accepted);
    close(waiting);
    warden_sockets_close(&next);
    unlink(path);
    rmdir(inner);
    rmdir(folder);
}

static void systemd_passes_its_sockets_by_name(void **state)
{
    (void)state;
    struct config_listener listener = {.at = LISTEN_AT_SYSTEMD, .systemd_name = STR("smtp")};
    struct config config = {.listeners = &listener, .listener_count = 1};
    struct warden_sockets none = {0}, sockets = {0};
    struct diag diag = {0};
    char pid[20];
    int fd = open("/dev/null", O_RDONLY);
    assert_true(fd >= 0 && dup2(fd, 3) == 3 && dup2(fd, 4) == 4);
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    setenv("LISTEN_FDS", "2", 1);
    setenv("LISTEN_FDNAMES", "imap:smtp", 1);
    setenv("LISTEN_PID", "1", 1);
    assert_int_equal(warden_sockets_open(&config, &none, &sockets, &diag), STATUS_NOT_FOUND);
    setenv("LISTEN_PID", pid, 1);
    assert_int_equal(warden_sockets_open(&config, &none, &sockets, &diag), STATUS_OK);
    assert_int_equal(sockets.count, 1);
    warden_sockets_close(&sockets);
    listener.systemd_name = STR("pop3");
    assert_int_equal(warden_sockets_open(&config, &none, &sockets, &diag), STATUS_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reload_keeps_what_stays_with_who_waits_there),
        cmocka_unit_test(an_address_that_is_taken_leaves_everything_as_it_was),
        cmocka_unit_test(a_socket_of_a_path_is_everybodys_and_stays_over_a_reload),
        cmocka_unit_test(systemd_passes_its_sockets_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
