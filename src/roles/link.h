#ifndef POSTERN_ROLES_LINK_H
#define POSTERN_ROLES_LINK_H

#include "io/loop.h"
#include "ipc/channel.h"

/*
 * A link is the transport of a channel over a Unix stream socket: all that was queued in a turn
 * leaves in one sendmsg, descriptors with the frames they belong to.
 */
struct link;

struct link_setup {
    struct loop *loop;
    int fd; /* taken over, also on failure */
    enum ipc_role self;
    enum ipc_role peer;
    uint8_t peer_index;
    const struct ipc_handlers *handlers;
    void *context; /* for the handlers */

    /* As channel_setup's; link_close follows from the owner, at once or later. */
    void *owner;
    void (*ended)(void *owner, enum status_code why, const char *words);
};

/* NULL where there is no memory. */
struct link *link_open(const struct link_setup *setup);

/* Sends what is queued where that does not block, then closes. NULL is allowed. */
void link_close(struct link *link);

/* NULL for NULL. */
struct channel *link_channel(struct link *link);

/*
 * For a caller that cannot wait in the loop, on a link without one (setup.loop NULL): moves bytes
 * both ways until *done is true. False where the deadline or the channel's end came first.
 */
bool link_wait(struct link *link, const bool *done, int timeout_ms);

#endif
