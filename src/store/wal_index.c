#include "store/wal_index.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

enum {
    LAST_FRAME_AT = 16,
    READ_MARKS_AT = 100,
    READ_LOCKS_AT = 123,
    READERS = 5, /* the first, with mark 0, are those who began when all was copied */
    INDEX_HEAD_SIZE = READ_MARKS_AT + 4 * READERS,
};

static uint32_t number_at(const char *index, size_t at)
{
    uint32_t number;
    memcpy(&number, index + at, sizeof number);
    return number;
}

/* 0: nobody has a lock there, or nobody that we may know. */
static pid_t holder_of(int fd, int reader)
{
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = READ_LOCKS_AT + reader, .l_len = 1};
    return fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK && lock.l_pid > 0 ? lock.l_pid
                                                                                      : 0;
}

static pid_t oldest_reader(int fd, const char *index)
{
    uint32_t oldest = number_at(index, LAST_FRAME_AT);
    pid_t found = 0;
    for (int reader = 0; reader < READERS; reader++) {
        uint32_t mark = number_at(index, READ_MARKS_AT + 4 * (size_t)reader);
        pid_t holder = mark < oldest ? holder_of(fd, reader) : 0;
        if (holder != 0) {
            found = holder;
            oldest = mark;
        }
    }
    return found;
}

enum status_code wal_index_oldest_reader(const char *index, pid_t *ret_pid)
{
    char head[INDEX_HEAD_SIZE];
    int fd = open(index, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return status_from_errno(errno);
    ssize_t len = pread(fd, head, sizeof head, 0);
    enum status_code status = len == (ssize_t)sizeof head ? STATUS_OK : STATUS_CORRUPT;
    if (status == STATUS_OK)
        *ret_pid = oldest_reader(fd, head);
    close(fd);
    return status;
}
