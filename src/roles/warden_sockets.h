#ifndef POSTERN_ROLES_WARDEN_SOCKETS_H
#define POSTERN_ROLES_WARDEN_SOCKETS_H

#include <stddef.h>
#include <stdint.h>

#include "base/diag.h"
#include "base/status.h"
#include "roles/config.h"

/*
 * The listening sockets. They belong to the warden and stay open over reloads, so that nobody's
 * connection attempt is refused meanwhile; edges get duplicates.
 */
struct warden_socket {
    uint32_t number; /* of the configuration's listener */
    int fd;
    enum listen_at at;
    uint8_t octets[16];
    uint16_t port;
    char *path; /* LISTEN_AT_UNIX; else NULL */
};

struct warden_sockets {
    struct warden_socket *list;
    size_t count;
};

/*
 * The sockets that config asks for: taken from `old` where it has them, from systemd where they
 * are its, else bound. All or nothing; `old` is left as it is.
 */
enum status_code warden_sockets_open(const struct config *config, const struct warden_sockets *old,
                                     struct warden_sockets *ret_sockets,
                                     struct diag *diag) MUST_USE;
void warden_sockets_close(struct warden_sockets *s);

#endif
