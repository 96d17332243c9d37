#include "roles/warden_sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/socket.h"

enum { SYSTEMD_FIRST_FD = 3, SYSTEMD_FDS_MAX = 1000 };

static void release(struct warden_socket *socket)
{
    close(socket->fd);
    free(socket->path);
}

void warden_sockets_close(struct warden_sockets *s)
{
    for (size_t i = 0; i < s->count; i++)
        release(&s->list[i]);
    free(s->list);
    *s = (struct warden_sockets){0};
}

/* Takes the socket over. */
static enum status_code add(struct warden_sockets *s, const struct warden_socket *socket)
{
    struct warden_socket *list = realloc(s->list, (s->count + 1) * sizeof *list);
    if (!list) {
        struct warden_socket lost = *socket;
        release(&lost);
        return STATUS_NO_MEMORY;
    }
    s->list = list;
    s->list[s->count++] = *socket;
    return STATUS_OK;
}

static const struct warden_socket *find(const struct warden_sockets *s,
                                        const struct warden_socket *like)
{
    for (size_t i = 0; i < s->count; i++) {
        const struct warden_socket *one = &s->list[i];
        if (one->at == like->at && one->port == like->port &&
            memcmp(one->octets, like->octets, sizeof one->octets) == 0)
            return one;
    }
    return NULL;
}

/* The kept one, or a new one; socket says which. */
static enum status_code open_one(struct warden_sockets *s, const struct warden_sockets *old,
                                 struct warden_socket *socket, struct diag *diag)
{
    const struct warden_socket *kept = find(old, socket);
    enum status_code status = STATUS_OK;
    if (kept) {
        socket->fd = fcntl(kept->fd, F_DUPFD_CLOEXEC, 0);
        status = socket->fd >= 0 ? STATUS_OK : status_from_errno(errno);
    } else {
        bool v4 = socket->at == LISTEN_AT_IPV4;
        struct str octets = str_make(socket->octets, sizeof socket->octets);
        struct socket_address address;
        if (!socket_address_from_bytes(v4 ? str_skip(octets, 12) : octets, socket->port, &address))
            return STATUS_INVALID;
        status = socket_listen(&address, &socket->fd, diag);
    }
    return status == STATUS_OK ? add(s, socket) : status;
}

static const struct warden_socket *find_unix(const struct warden_sockets *s, const char *path)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->list[i].at == LISTEN_AT_UNIX && strcmp(s->list[i].path, path) == 0)
            return &s->list[i];
    return NULL;
}

/* Everybody may connect: who it is, the kernel says. The folder is made where it is missing. */
static enum status_code listen_unix(const char *path, int *ret_fd, struct diag *diag)
{
    char *folder = strdup(path);
    if (!folder)
        return STATUS_NO_MEMORY;
    *strrchr(folder, '/') = '\0';
    if (folder[0] != '\0' && mkdir(folder, 0755) == 0)
        chmod(folder, 0755); /* whatever the umask is */
    free(folder);
    return socket_listen_unix(path, 0666, ret_fd, diag);
}

static enum status_code add_unix(struct warden_sockets *s, const struct warden_sockets *old,
                                 const struct config_listener *l, uint32_t number,
                                 struct diag *diag)
{
    struct warden_socket socket = {.number = number, .at = LISTEN_AT_UNIX};
    socket.path = strndup(l->unix_path.ptr, l->unix_path.len);
    if (!socket.path)
        return STATUS_NO_MEMORY;
    const struct warden_socket *kept = find_unix(old, socket.path);
    enum status_code status = STATUS_OK;
    if (kept) {
        socket.fd = fcntl(kept->fd, F_DUPFD_CLOEXEC, 0);
        status = socket.fd >= 0 ? STATUS_OK : status_from_errno(errno);
    } else {
        status = listen_unix(socket.path, &socket.fd, diag);
    }
    if (status == STATUS_OK)
        return add(s, &socket);
    free(socket.path);
    return status;
}

/* sd_listen_fds(3), without its library: descriptors from 3 on, their names divided by colons. */
static enum status_code add_systemd(struct warden_sockets *s, const struct config_listener *l,
                                    uint32_t number, struct diag *diag)
{
    uint64_t pid, count;
    struct str names = str_from_c(getenv("LISTEN_FDNAMES"));
    struct str name;
    size_t before = s->count;
    if (!str_to_u64(str_from_c(getenv("LISTEN_PID")), INT32_MAX, &pid) ||
        pid != (uint64_t)getpid() ||
        !str_to_u64(str_from_c(getenv("LISTEN_FDS")), SYSTEMD_FDS_MAX, &count))
        count = 0;
    for (int fd = SYSTEMD_FIRST_FD; fd < SYSTEMD_FIRST_FD + (int)count; fd++) {
        if (!str_split(&names, ':', &name) || !str_eq(name, l->systemd_name))
            continue;
        struct warden_socket socket = {.number = number, .at = LISTEN_AT_SYSTEMD};
        socket.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (socket.fd < 0)
            return status_from_errno(errno);
        socket_set_blocking(socket.fd, false);
        enum status_code status = add(s, &socket);
        if (status != STATUS_OK)
            return status;
    }
    if (s->count > before)
        return STATUS_OK;
    diag_set(diag, "listen %.*s: systemd has passed no socket of that name", STR_ARG(l->where));
    return STATUS_NOT_FOUND;
}

static enum status_code add_listener(struct warden_sockets *s, const struct warden_sockets *old,
                                     const struct config_listener *l, uint32_t number,
                                     struct diag *diag)
{
    struct warden_socket socket = {.number = number, .at = l->at, .port = l->port};
    memcpy(socket.octets, l->octets, sizeof socket.octets);
    if (l->at == LISTEN_AT_SYSTEMD)
        return add_systemd(s, l, number, diag);
    if (l->at == LISTEN_AT_UNIX)
        return add_unix(s, old, l, number, diag);
    if (l->at != LISTEN_AT_ANY)
        return open_one(s, old, &socket, diag);
    memset(socket.octets, 0, sizeof socket.octets);
    socket.at = LISTEN_AT_IPV4;
    enum status_code status = open_one(s, old, &socket, diag);
    socket.at = LISTEN_AT_IPV6;
    if (status == STATUS_OK && open_one(s, old, &socket, NULL) != STATUS_OK &&
        errno != EAFNOSUPPORT && errno != EADDRNOTAVAIL)
        status = open_one(s, old, &socket, diag);
    return status;
}

enum status_code warden_sockets_open(const struct config *config, const struct warden_sockets *old,
                                     struct warden_sockets *ret_sockets, struct diag *diag)
{
    struct warden_sockets sockets = {0};
    for (size_t i = 0; i < config->listener_count; i++) {
        enum status_code status =
            add_listener(&sockets, old, &config->listeners[i], (uint32_t)i, diag);
        if (status != STATUS_OK) {
            warden_sockets_close(&sockets);
            return status;
        }
    }
    *ret_sockets = sockets;
    return STATUS_OK;
}
