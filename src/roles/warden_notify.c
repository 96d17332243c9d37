#include "roles/warden_notify.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/str.h"

void warden_notify(const char *state, struct now now)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct str path = str_from_c(getenv("NOTIFY_SOCKET"));
    char text[100];
    if (str_empty(path) || !str_to_c(path, address.sun_path, sizeof address.sun_path))
        return;
    if (address.sun_path[0] == '@') /* an abstract name */
        address.sun_path[0] = 0;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.len);
    int len = snprintf(text, sizeof text, "%s\nMONOTONIC_USEC=%lld\n", state,
                       (long long)now.mono_ms * 1000);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    (void)sendto(fd, text, (size_t)len, MSG_NOSIGNAL, (struct sockaddr *)&address, size);
    close(fd);
}
