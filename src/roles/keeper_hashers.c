#include "roles/keeper_hashers.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "roles/sandbox.h"

struct work {
    struct work *next;
    uint64_t number;
    hasher_done *done; /* NULL where it was cancelled */
    void *context;
    struct password_job job;
};

struct hasher {
    struct hashers *all;
    struct watch watch;
    pid_t pid;
    int fd;
    struct work *work; /* what it is at */
};

struct hashers {
    struct work *first, **last; /* waiting */
    unsigned waiting;
    uint64_t number;
    void (*gone)(void *context);
    void *gone_context;
    unsigned count;
    struct hasher list[];
};

/* ---- In the child ------------------------------------------------------------------------------
 */

/* Each job and each result is one packet. */
static _Noreturn void serve(int fd)
{
    static struct password_job job;
    static struct password_result result;
    while (read(fd, &job, sizeof job) == (ssize_t)sizeof job) {
        password_run(&job, &result);
        explicit_bzero(&job, sizeof job);
        if (write(fd, &result, sizeof result) != (ssize_t)sizeof result)
            break;
        explicit_bzero(&result, sizeof result);
    }
    _exit(0);
}

static _Noreturn void be_hasher(int fd, pid_t parent)
{
    struct diag diag = {{0}};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || dup2(fd, STDIN_FILENO) < 0)
        _exit(1);
    close_range(STDERR_FILENO + 1, ~0U, 0);
    if (sandbox_enter(ROLE_KEEPER, NULL, false, &diag) != STATUS_OK)
        _exit(1);
    serve(STDIN_FILENO);
}

/* ---- In the keeper ------------------------------------------------------------------------------
 */

static void free_work(struct work *w)
{
    if (w)
        explicit_bzero(w, sizeof *w);
    free(w);
}

static void fail(struct hashers *h)
{
    void (*gone)(void *) = h->gone;
    for (unsigned i = 0; i < h->count; i++)
        watch_set(&h->list[i].watch, 0);
    h->gone = NULL;
    if (gone)
        gone(h->gone_context);
}

static bool give(struct hasher *x, struct work *w)
{
    x->work = w;
    return write(x->fd, &w->job, sizeof w->job) == (ssize_t)sizeof w->job;
}

static struct work *take_waiting(struct hashers *h)
{
    struct work *w = h->first;
    if (!w)
        return NULL;
    h->first = w->next;
    if (!h->first)
        h->last = &h->first;
    h->waiting--;
    return w;
}

static void on_result(void *context, unsigned what)
{
    struct hasher *x = context;
    struct hashers *h = x->all;
    struct password_result result;
    struct work *w = x->work;
    (void)what;
    ssize_t n = read(x->fd, &result, sizeof result);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n != (ssize_t)sizeof result || !w) {
        fail(h);
        return;
    }
    x->work = take_waiting(h);
    bool given = !x->work || give(x, x->work);
    hasher_done *done = w->done;
    void *done_context = w->context;
    free_work(w);
    if (done)
        done(done_context, &result);
    explicit_bzero(&result, sizeof result);
    if (!given)
        fail(h);
}

static bool start(struct hasher *x, struct loop *loop)
{
    int fds[2];
    pid_t parent = getpid();
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
        return false;
    x->pid = fork();
    if (x->pid == 0)
        be_hasher(fds[1], parent);
    close(fds[1]);
    if (x->pid < 0) {
        close(fds[0]);
        return false;
    }
    x->fd = fds[0];
    watch_init(&x->watch, loop, x->fd, on_result, x);
    watch_set(&x->watch, WATCH_READ);
    return true;
}

struct hashers *hashers_new(struct loop *loop, unsigned count)
{
    struct hashers *h = calloc(1, sizeof *h + count * sizeof h->list[0]);
    if (!h)
        return NULL;
    h->last = &h->first;
    for (; h->count < count; h->count++) {
        h->list[h->count].all = h;
        if (!start(&h->list[h->count], loop)) {
            hashers_free(h);
            return NULL;
        }
    }
    return h;
}

/* A child that is at a job does not see its end of the line; it is ended. */
void hashers_free(struct hashers *h)
{
    if (!h)
        return;
    for (unsigned i = 0; i < h->count; i++) {
        struct hasher *x = &h->list[i];
        watch_set(&x->watch, 0);
        close(x->fd);
        kill(x->pid, SIGKILL);
        waitpid(x->pid, NULL, 0);
        free_work(x->work);
    }
    for (struct work *w; (w = take_waiting(h));)
        free_work(w);
    free(h);
}

void hashers_on_gone(struct hashers *h, void (*gone)(void *context), void *context)
{
    h->gone = gone;
    h->gone_context = context;
}

unsigned hashers_waiting(const struct hashers *h)
{
    return h->waiting;
}

uint64_t hashers_submit(struct hashers *h, const struct password_job *job, hasher_done *done,
                        void *context)
{
    struct work *w = h->waiting < HASHERS_WAITING_MAX ? malloc(sizeof *w) : NULL;
    if (!w)
        return 0;
    *w = (struct work){.number = ++h->number, .done = done, .context = context, .job = *job};
    for (unsigned i = 0; i < h->count; i++)
        if (!h->list[i].work) {
            if (give(&h->list[i], w))
                return w->number;
            h->list[i].work = NULL;
            free_work(w);
            return 0;
        }
    *h->last = w;
    h->last = &w->next;
    h->waiting++;
    return w->number;
}

void hashers_cancel(struct hashers *h, uint64_t number)
{
    for (unsigned i = 0; i < h->count; i++)
        if (h->list[i].work && h->list[i].work->number == number)
            h->list[i].work->done = NULL;
    for (struct work **at = &h->first; *at; at = &(*at)->next)
        if ((*at)->number == number) {
            struct work *w = *at;
            *at = w->next;
            if (!*at)
                h->last = at;
            h->waiting--;
            free_work(w);
            return;
        }
}
