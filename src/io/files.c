#include "io/files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_SIZE = 16384 };

static enum status_code failed(struct diag *diag, const char *path)
{
    enum status_code status = status_from_errno(errno);
    diag_set(diag, "%s: %s", path, strerror(errno));
    return status;
}

enum status_code files_read_fd(int fd, struct buf *out, struct diag *diag)
{
    for (;;) {
        char one_more;
        size_t room = out->max - out->len < READ_SIZE ? out->max - out->len : READ_SIZE;
        char *at = room > 0 ? buf_reserve(out, room) : &one_more;
        if (!at) {
            diag_set(diag, "%s", status_name(STATUS_NO_MEMORY));
            return STATUS_NO_MEMORY;
        }
        ssize_t n = read(fd, at, room > 0 ? room : 1);
        if (n == 0)
            return STATUS_OK;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return failed(diag, "read");
        if (room == 0) {
            diag_set(diag, "too big");
            return STATUS_TOO_BIG;
        }
        buf_grown(out, (size_t)n);
    }
}

enum status_code files_read(const char *path, struct buf *out, struct diag *diag)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return failed(diag, path);
    enum status_code status = files_read_fd(fd, out, diag);
    if (status != STATUS_OK)
        diag_prefix(diag, "%s", path);
    close(fd);
    return status;
}

enum status_code files_write_all(int fd, struct str bytes)
{
    while (bytes.len > 0) {
        ssize_t n = write(fd, bytes.ptr, bytes.len);
        if (n < 0 && errno != EINTR)
            return status_from_errno(errno);
        if (n > 0)
            bytes = str_skip(bytes, (size_t)n);
    }
    return STATUS_OK;
}

static enum status_code fill(int fd, struct str content, mode_t mode)
{
    enum status_code status = files_write_all(fd, content);
    if (status == STATUS_OK && (fchmod(fd, mode) != 0 || fsync(fd) != 0))
        status = status_from_errno(errno);
    return status;
}

/* The rename is only there after a crash when the folder is synced, too. */
static enum status_code sync_folder_of(const char *path)
{
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash == folder)
        slash++;
    if (slash)
        *slash = 0;
    int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return status_from_errno(errno);
    enum status_code status = fsync(fd) == 0 ? STATUS_OK : status_from_errno(errno);
    close(fd);
    return status;
}

enum status_code files_write(const char *path, struct str content, mode_t mode, struct diag *diag)
{
    char beside[PATH_MAX];
    if (snprintf(beside, sizeof beside, "%s.new", path) >= (int)sizeof beside) {
        diag_set(diag, "%s: the name is too long", path);
        return STATUS_INVALID;
    }
    if (unlink(beside) != 0 && errno != ENOENT)
        return failed(diag, beside);
    int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return failed(diag, beside);
    enum status_code status = fill(fd, content, mode);
    close(fd);
    if (status == STATUS_OK && rename(beside, path) != 0)
        status = status_from_errno(errno);
    if (status == STATUS_OK)
        status = sync_folder_of(path);
    if (status != STATUS_OK) {
        unlink(beside);
        diag_set(diag, "%s: %s", path, status_name(status));
    }
    return status;
}

enum status_code files_make_folder(const char *path, mode_t mode, struct diag *diag)
{
    struct stat st;
    if (mkdir(path, mode) != 0 && errno != EEXIST)
        return failed(diag, path);
    if (stat(path, &st) != 0)
        return failed(diag, path);
    if (!S_ISDIR(st.st_mode)) {
        diag_set(diag, "%s: not a folder", path);
        return STATUS_EXISTS;
    }
    if ((st.st_mode & 07777) != mode && chmod(path, mode) != 0)
        return failed(diag, path);
    return STATUS_OK;
}

static bool is_ours(const struct stat *st, bool is_last)
{
    bool shared = (st->st_mode & S_IWOTH) != 0;
    bool each_his_own = S_ISDIR(st->st_mode) && (st->st_mode & S_ISVTX) != 0 && !is_last;
    return (st->st_uid == 0 || st->st_uid == geteuid()) && (!shared || each_his_own);
}

enum status_code files_check_owners(const char *path, struct diag *diag)
{
    char part[PATH_MAX];
    struct stat st;
    size_t len = strlen(path);
    if (len >= sizeof part || path[0] != '/') {
        diag_set(diag, "%s: not a whole path", path);
        return STATUS_INVALID;
    }
    for (size_t at = 1; at <= len; at++) {
        if (path[at] != '/' && path[at] != '\0')
            continue;
        snprintf(part, sizeof part, "%.*s", (int)at, path);
        if (lstat(part, &st) != 0)
            return failed(diag, part);
        if (!is_ours(&st, at == len)) {
            diag_set(diag, "%s: others than root and the user of this command can change it", part);
            return STATUS_DENIED;
        }
    }
    return STATUS_OK;
}

enum status_code files_lock(const char *path, int *ret_fd, pid_t *ret_holder, struct diag *diag)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return failed(diag, path);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_SETLK, &lock) == 0) {
        *ret_fd = fd;
        return STATUS_OK;
    }
    if (errno != EAGAIN && errno != EACCES) {
        enum status_code status = failed(diag, path);
        close(fd);
        return status;
    }
    *ret_holder = fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK ? lock.l_pid : 0;
    diag_set(diag, "%s: held by process %ld", path, (long)*ret_holder);
    close(fd);
    return STATUS_BUSY;
}
