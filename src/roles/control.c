#include "roles/control.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/socket.h"
#include "ipc/channel.h"

static void nothing_to_do(void *owner)
{
    (void)owner;
}

static void never_ended(void *owner, enum status_code why, const char *words)
{
    (void)owner;
    (void)why;
    (void)words;
}

/* A server that ends the connection at once is for the link to find, and no signal's affair. */
static enum status_code send_all(int fd, struct str bytes)
{
    while (bytes.len > 0) {
        ssize_t n = send(fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
        if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
            return STATUS_OK;
        if (n < 0 && errno != EINTR)
            return status_from_errno(errno);
        if (n > 0)
            bytes = str_skip(bytes, (size_t)n);
    }
    return STATUS_OK;
}

/* One frame, in one write: the warden reads no further than that. */
static enum status_code ask_for(int fd, enum ipc_role role)
{
    static const struct ipc_handlers none;
    struct str bytes;
    int no_fd;
    struct channel *ch = channel_open(&(struct channel_setup){.self = ROLE_OPERATOR,
                                                              .peer = ROLE_WARDEN,
                                                              .handlers = &none,
                                                              .wake = nothing_to_do,
                                                              .ended = never_ended});
    if (!ch)
        return STATUS_NO_MEMORY;
    enum status_code status = STATUS_NO_MEMORY;
    if (ipc_connect_note(ch, &(struct ipc_connect_in){.role = (uint8_t)role}) &&
        channel_output(ch, &bytes, &no_fd))
        status = send_all(fd, bytes);
    channel_close(ch);
    return status;
}

enum status_code control_connect(const char *path, enum ipc_role role, int *ret_fd,
                                 struct diag *diag)
{
    int fd;
    enum status_code status = socket_connect_unix(path, &fd, diag);
    if (status != STATUS_OK)
        return status;
    if (role != ROLE_WARDEN)
        status = ask_for(fd, role);
    if (status != STATUS_OK) {
        diag_set(diag, "%s: %s", path, status_name(status));
        close(fd);
        return status;
    }
    socket_set_blocking(fd, false);
    *ret_fd = fd;
    return STATUS_OK;
}
