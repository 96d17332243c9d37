#include "io/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bug.h"

enum { BACKLOG = 4096, IPV4_SIZE = 4, IPV6_SIZE = 16 };

bool socket_address_from_bytes(struct str bytes, uint16_t port, struct socket_address *ret_address)
{
    struct socket_address a = {0};
    if (bytes.len == IPV4_SIZE) {
        a.len = sizeof(struct sockaddr_in);
        a.v4.sin_family = AF_INET;
        a.v4.sin_port = htons(port);
        memcpy(&a.v4.sin_addr, bytes.ptr, IPV4_SIZE);
    } else if (bytes.len == IPV6_SIZE) {
        a.len = sizeof(struct sockaddr_in6);
        a.v6.sin6_family = AF_INET6;
        a.v6.sin6_port = htons(port);
        memcpy(&a.v6.sin6_addr, bytes.ptr, IPV6_SIZE);
    } else {
        return false;
    }
    *ret_address = a;
    return true;
}

bool socket_address_parse(struct str ip, uint16_t port, struct socket_address *ret_address)
{
    char text[INET6_ADDRSTRLEN];
    unsigned char bytes[IPV6_SIZE];
    if (!str_to_c(ip, text, sizeof text))
        return false;
    if (inet_pton(AF_INET, text, bytes) == 1)
        return socket_address_from_bytes(str_make(bytes, IPV4_SIZE), port, ret_address);
    if (inet_pton(AF_INET6, text, bytes) == 1)
        return socket_address_from_bytes(str_make(bytes, IPV6_SIZE), port, ret_address);
    return false;
}

struct str socket_address_bytes(const struct socket_address *a)
{
    if (a->storage.ss_family == AF_INET)
        return str_make(&a->v4.sin_addr, IPV4_SIZE);
    if (a->storage.ss_family != AF_INET6)
        return (struct str){0};
    struct str v6 = str_make(&a->v6.sin6_addr, IPV6_SIZE);
    if (IN6_IS_ADDR_V4MAPPED(&a->v6.sin6_addr))
        return str_skip(v6, IPV6_SIZE - IPV4_SIZE);
    return v6;
}

uint16_t socket_address_port(const struct socket_address *a)
{
    if (a->storage.ss_family == AF_INET)
        return ntohs(a->v4.sin_port);
    return a->storage.ss_family == AF_INET6 ? ntohs(a->v6.sin6_port) : 0;
}

void socket_address_print(const struct socket_address *a, struct buf *out)
{
    char text[INET6_ADDRSTRLEN];
    struct str bytes = socket_address_bytes(a);
    if (bytes.len == 0)
        buf_append_str(out, STR("local"));
    else if (inet_ntop(bytes.len == IPV4_SIZE ? AF_INET : AF_INET6, bytes.ptr, text, sizeof text))
        buf_append_str(out, str_from_c(text));
}

static enum status_code fail_with(int fd, struct diag *diag, const char *what)
{
    enum status_code status = status_from_errno(errno);
    diag_set(diag, "%s: %s", what, strerror(errno));
    if (fd >= 0)
        close(fd);
    return status;
}

static void prefix_with_address(struct diag *diag, const struct socket_address *a)
{
    struct buf text;
    buf_init(&text, INET6_ADDRSTRLEN + 1);
    socket_address_print(a, &text);
    diag_prefix(diag, "listen on %.*s port %u", STR_ARG(buf_str(&text)), socket_address_port(a));
    buf_release(&text);
}

enum status_code socket_listen(const struct socket_address *a, int *ret_fd, struct diag *diag)
{
    int on = 1;
    int fd = socket(a->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    enum status_code status = STATUS_OK;
    if (fd < 0)
        status = fail_with(fd, diag, "socket");
    else if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
             (a->storage.ss_family == AF_INET6 &&
              setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0))
        status = fail_with(fd, diag, "setsockopt");
    else if (bind(fd, &a->any, a->len) != 0)
        status = fail_with(fd, diag, "bind");
    else if (listen(fd, BACKLOG) != 0)
        status = fail_with(fd, diag, "listen");
    if (status == STATUS_OK)
        *ret_fd = fd;
    else
        prefix_with_address(diag, a);
    return status;
}

static bool unix_address(const char *path, struct sockaddr_un *ret_address)
{
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    return str_to_c(str_from_c(path), ret_address->sun_path, sizeof ret_address->sun_path);
}

enum status_code socket_connect_unix(const char *path, int *ret_fd, struct diag *diag)
{
    struct sockaddr_un address;
    if (!unix_address(path, &address)) {
        diag_set(diag, "%s: too long for a socket", path);
        return STATUS_INVALID;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        return fail_with(fd, diag, path);
    *ret_fd = fd;
    return STATUS_OK;
}

/* What a process that is gone left behind stands in the way of bind. */
static void remove_stale(const char *path)
{
    struct stat st;
    int fd = -1;
    if (lstat(path, &st) != 0 || !S_ISSOCK(st.st_mode))
        return;
    if (socket_connect_unix(path, &fd, NULL) == STATUS_OK)
        close(fd);
    else
        unlink(path);
}

enum status_code socket_listen_unix(const char *path, mode_t mode, int *ret_fd, struct diag *diag)
{
    struct sockaddr_un address;
    if (!unix_address(path, &address)) {
        diag_set(diag, "%s: too long for a socket", path);
        return STATUS_INVALID;
    }
    remove_stale(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fail_with(fd, diag, path);
    mode_t before = umask(0777 & ~mode);
    int bound = bind(fd, (struct sockaddr *)&address, sizeof address);
    umask(before);
    if (bound != 0 && errno == EADDRINUSE) {
        diag_set(diag, "%s: a server listens there already, or it is no socket", path);
        close(fd);
        return STATUS_EXISTS;
    }
    if (bound != 0 || listen(fd, BACKLOG) != 0)
        return fail_with(fd, diag, path);
    *ret_fd = fd;
    return STATUS_OK;
}

enum status_code socket_accept(int listener, int *ret_fd, struct socket_address *ret_peer)
{
    struct socket_address peer = {.len = sizeof peer.storage};
    int fd;
    do
        fd = accept4(listener, &peer.any, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    while (fd < 0 && (errno == EINTR || errno == ECONNABORTED || errno == EPROTO));
    if (fd < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return STATUS_BUSY;
    if (fd < 0)
        return errno == EMFILE || errno == ENFILE ? STATUS_NO_MEMORY : status_from_errno(errno);
    *ret_fd = fd;
    *ret_peer = peer;
    return STATUS_OK;
}

bool socket_local_address(int fd, struct socket_address *ret_address)
{
    struct socket_address a = {.len = sizeof a.storage};
    if (getsockname(fd, &a.any, &a.len) != 0)
        return false;
    *ret_address = a;
    return true;
}

bool socket_peer_uid(int fd, uid_t *ret_uid)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
        return false;
    *ret_uid = peer.uid;
    return true;
}

bool socket_peer_pid(int fd, pid_t *ret_pid)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
        return false;
    *ret_pid = peer.pid;
    return true;
}

enum status_code socket_pair(int ret_fds[2])
{
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0)
        return status_from_errno(errno);
    ret_fds[0] = fds[0];
    ret_fds[1] = fds[1];
    return STATUS_OK;
}

void socket_set_blocking(int fd, bool blocking)
{
    int flags = fcntl(fd, F_GETFL);
    invariant(flags >= 0);
    int wanted = blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK;
    if (wanted != flags)
        invariant(fcntl(fd, F_SETFL, wanted) == 0);
}

/* Fails on Unix sockets, which have no such delay. */
void socket_set_no_delay(int fd)
{
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

bool socket_peer_acked(int fd)
{
    int unacked = 0;
    return ioctl(fd, SIOCOUTQ, &unacked) == 0 && unacked == 0;
}
