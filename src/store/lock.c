#include "store/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/str.h"

enum { TRY_MS = 10 };

static void tell_holder(int fd, struct diag *d)
{
    char holder[32] = "";
    ssize_t len = pread(fd, holder, sizeof holder - 1, 0);
    for (ssize_t i = 0; i < len; i++)
        if (!ascii_is_digit(holder[i]))
            holder[i] = '\0';
    diag_set(d, "the store is in use by process %s", holder[0] ? holder : "unknown");
}

static enum status_code note_holder(int fd)
{
    char words[32];
    int len = snprintf(words, sizeof words, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, words, (size_t)len, 0) != len)
        return status_from_errno(errno);
    return STATUS_OK;
}

/* flock can wait, but not for a while only. */
static bool lock_within(int fd, int wait_ms)
{
    static const struct timespec pause = {.tv_nsec = TRY_MS * 1000000L};
    for (int waited_ms = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; waited_ms += TRY_MS) {
        if (waited_ms >= wait_ms)
            return false;
        nanosleep(&pause, NULL);
    }
    return true;
}

enum status_code lock_take(const char *path, int wait_ms, int *ret_fd, struct diag *d)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0) {
        diag_set(d, "cannot open %s: %s", path, strerror(errno));
        return status_from_errno(errno);
    }
    if (!lock_within(fd, wait_ms)) {
        tell_holder(fd, d);
        close(fd);
        return STATUS_BUSY;
    }
    /* Who it is helps people only: a full disk must not keep the vault from starting. */
    enum status_code noted = note_holder(fd);
    (void)noted;
    *ret_fd = fd;
    return STATUS_OK;
}

void lock_release(int fd)
{
    close(fd);
}
