#include "io/shared_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL /* Linux 6.3 */
#define MFD_NOEXEC_SEAL 0x0008U
#endif

/* Newer kernels can be told to refuse memory that could be run; older ones do not know the flag. */
static int make(void)
{
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    int fd = memfd_create("postern", flags | MFD_NOEXEC_SEAL);
    return fd < 0 && errno == EINVAL ? memfd_create("postern", flags) : fd;
}

enum status_code shared_memory_new(size_t size, int *ret_fd)
{
    int fd = make();
    if (fd < 0)
        return status_from_errno(errno);
    if (ftruncate(fd, (off_t)size) != 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        enum status_code status = status_from_errno(errno);
        close(fd);
        return status;
    }
    *ret_fd = fd;
    return STATUS_OK;
}

enum status_code shared_memory_reader(int fd, int *ret_fd)
{
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int reader = open(path, O_RDONLY | O_CLOEXEC);
    if (reader < 0)
        return status_from_errno(errno);
    *ret_fd = reader;
    return STATUS_OK;
}

enum status_code shared_memory_clear(int fd, size_t size)
{
    int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    return fallocate(fd, mode, 0, (off_t)size) == 0 ? STATUS_OK : status_from_errno(errno);
}

enum status_code shared_memory_map(int fd, size_t size, bool writable, void **ret_memory)
{
    struct stat facts;
    int access = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    if (fstat(fd, &facts) != 0)
        return status_from_errno(errno);
    if (facts.st_size != (off_t)size)
        return STATUS_INVALID;
    void *memory = mmap(NULL, size, access, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        return status_from_errno(errno);
    *ret_memory = memory;
    return STATUS_OK;
}

void shared_memory_unmap(void *memory, size_t size)
{
    munmap(memory, size);
}
