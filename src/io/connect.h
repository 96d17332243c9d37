#ifndef POSTERN_IO_CONNECT_H
#define POSTERN_IO_CONNECT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "io/loop.h"
#include "io/socket.h"

/*
 * A connection to one address in the making. Embedded in its owner, who tries addresses in the
 * order it thinks right, one after the other.
 */
struct connect {
    struct loop *loop;
    struct watch watch;
    struct timer timer;
    struct hook hook;
    int fd;
    int error;
    void (*done)(void *context, int fd, int error);
    void *context;
};

/*
 * `done` is called exactly once, later: with a connected descriptor (non-blocking; the owner's from
 * then on) and 0, or with -1 and an errno (ETIMEDOUT at the deadline). from: the address of our own
 * to use (its port 0), NULL for the system's choice; not for Unix sockets.
 */
void connect_start(struct connect *c, struct loop *l, const struct socket_address *to,
                   const struct socket_address *from, int64_t deadline_ms,
                   void (*done)(void *context, int fd, int error), void *context);

/* `done` will not be called any more; fine also where it has been, or nothing was started ({0}). */
void connect_cancel(struct connect *c);

/* False where the path is too long for one. */
bool socket_address_unix(struct str path, struct socket_address *ret_address);

#endif
