#include "roles/link.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/limits.h"

enum { READ_SIZE = 128 * 1024, READS_A_TURN = 8, KEPT_SIZE = 256 * 1024 };

struct link {
    struct link_setup setup;
    struct channel *channel;
    struct watch watch;
    struct hook flush;
    struct buf in;
    bool write_blocked;
    bool closed;
    unsigned busy; /* calls of ours that still use it */
};

static void free_if_done(struct link *link)
{
    if (!link->closed || link->busy > 0)
        return;
    buf_release(&link->in);
    free(link);
}

static void update_watch(struct link *link)
{
    if (link->closed || !link->setup.loop)
        return;
    unsigned interest = channel_wants_input(link->channel) ? WATCH_READ : 0;
    watch_set(&link->watch, interest | (link->write_blocked ? WATCH_WRITE : 0));
}

static void broke(struct link *link, const char *what)
{
    channel_gone(link->channel, errno == EPIPE ? STATUS_GONE : status_from_errno(errno), what);
}

/* One sendmsg; false where there is nothing more to do now. */
static bool send_some(struct link *link)
{
    struct str bytes;
    int fd;
    if (!channel_output(link->channel, &bytes, &fd))
        return false;
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec part = {.iov_base = (void *)(uintptr_t)bytes.ptr, .iov_len = bytes.len};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        control.head.cmsg_level = SOL_SOCKET;
        control.head.cmsg_type = SCM_RIGHTS;
        control.head.cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
        message.msg_control = &control;
        message.msg_controllen = sizeof control.space;
    }
    ssize_t n = sendmsg(link->setup.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n >= 0) {
        channel_output_done(link->channel, (size_t)n);
        return true;
    }
    if (errno == EINTR)
        return true;
    link->write_blocked = errno == EAGAIN || errno == EWOULDBLOCK;
    if (!link->write_blocked)
        broke(link, "sending failed");
    return false;
}

static void send_all(struct link *link)
{
    link->write_blocked = false;
    while (send_some(link))
        ;
}

/* At the end of a turn in which something was queued, answered or ended. */
static void flush(void *context)
{
    struct link *link = context;
    link->busy++;
    send_all(link);
    if (link->in.len > 0 && channel_wants_input(link->channel))
        channel_input(link->channel, &link->in);
    if (!link->closed)
        channel_settle(link->channel);
    update_watch(link);
    link->busy--;
    free_if_done(link);
}

static void take_descriptors(struct link *link, struct msghdr *message)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            channel_input_fd(link->channel, fd);
        }
    }
    if ((message->msg_flags & MSG_CTRUNC) != 0)
        channel_gone(link->channel, STATUS_CORRUPT, "descriptors that nobody asked for");
}

/* One recvmsg, of up to READ_SIZE. Returns how many bytes came. */
static size_t receive_some(struct link *link)
{
    enum { DESCRIPTORS_MAX = 16 };
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int))];
    } control;
    char *at = buf_reserve(&link->in, READ_SIZE);
    if (!at) {
        channel_gone(link->channel, STATUS_NO_MEMORY, "no memory to receive");
        return 0;
    }
    struct iovec part = {.iov_base = at, .iov_len = READ_SIZE};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control.space};
    ssize_t n = recvmsg(link->setup.fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (n < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
            broke(link, "receiving failed");
        return 0;
    }
    take_descriptors(link, &message);
    if (n == 0)
        channel_gone(link->channel, STATUS_GONE, "the other end closed");
    buf_grown(&link->in, (size_t)n);
    return (size_t)n;
}

static bool may_receive(const struct link *link)
{
    return !link->closed && channel_wants_input(link->channel);
}

static void ready(void *context, unsigned what)
{
    struct link *link = context;
    link->busy++;
    if ((what & WATCH_WRITE) != 0)
        send_all(link);
    if ((what & WATCH_READ) != 0) {
        /* All that is there, within reason: what comes in one turn shares one commit. */
        size_t got = READ_SIZE;
        for (int i = 0; i < READS_A_TURN && got == READ_SIZE && may_receive(link); i++) {
            got = receive_some(link);
            if (got > 0)
                channel_input(link->channel, &link->in);
        }
        if (!link->closed && link->in.len == 0 && link->in.cap > KEPT_SIZE)
            buf_release(&link->in);
    }
    if (!link->closed)
        channel_settle(link->channel);
    update_watch(link);
    link->busy--;
    free_if_done(link);
}

static void wake(void *owner)
{
    struct link *link = owner;
    if (link->setup.loop)
        hook_queue(&link->flush, link->setup.loop);
}

static void ended(void *owner, enum status_code why, const char *words)
{
    struct link *link = owner;
    link->setup.ended(link->setup.owner, why, words);
}

struct link *link_open(const struct link_setup *setup)
{
    struct link *link = calloc(1, sizeof *link);
    if (link)
        link->channel = channel_open(&(struct channel_setup){.self = setup->self,
                                                             .peer = setup->peer,
                                                             .peer_index = setup->peer_index,
                                                             .handlers = setup->handlers,
                                                             .context = setup->context,
                                                             .owner = link,
                                                             .wake = wake,
                                                             .ended = ended});
    if (!link || !link->channel) {
        free(link);
        close(setup->fd);
        return NULL;
    }
    link->setup = *setup;
    buf_init(&link->in, LIMIT_IPC_FRAME_SIZE + 2 * READ_SIZE);
    link->in.secret = channel_has_secrets(setup->self, setup->peer);
    hook_init(&link->flush, flush, link);
    if (setup->loop) {
        watch_init(&link->watch, setup->loop, setup->fd, ready, link);
        update_watch(link);
    }
    return link;
}

void link_close(struct link *link)
{
    if (!link)
        return;
    invariant(!link->closed);
    send_all(link);
    link->closed = true;
    hook_cancel(&link->flush);
    if (link->setup.loop)
        watch_set(&link->watch, 0);
    channel_close(link->channel);
    close(link->setup.fd);
    free_if_done(link);
}

struct channel *link_channel(struct link *link)
{
    return link ? link->channel : NULL;
}

bool link_wait(struct link *link, const bool *done, int timeout_ms)
{
    invariant(!link->setup.loop);
    for (;;) {
        send_all(link);
        channel_settle(link->channel);
        if (*done)
            return true;
        if (!channel_wants_input(link->channel))
            return false;
        struct pollfd p = {.fd = link->setup.fd, .events = POLLIN};
        if (link->write_blocked)
            p.events |= POLLOUT;
        int n = poll(&p, 1, timeout_ms);
        if (n == 0)
            return false;
        if (n > 0 && (p.revents & ~POLLOUT) != 0 && receive_some(link) > 0)
            channel_input(link->channel, &link->in);
    }
}
