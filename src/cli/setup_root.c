#include "cli/setup_root.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "io/files.h"

static enum status_code failed(struct diag *diag, const char *shown)
{
    enum status_code status = status_from_errno(errno);
    diag_set(diag, "%s: %s", shown, strerror(errno));
    return status;
}

/* -1 and errno, as open(2). */
static int open_folder(int root, const char *path)
{
    const struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
                                 .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    return (int)syscall(SYS_openat2, root, path, &how, sizeof how);
}

enum status_code setup_root_open(const char *path, struct setup_root *ret_root, struct diag *diag)
{
    int fd = open(path[0] ? path : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return failed(diag, path);
    *ret_root = (struct setup_root){fd, path};
    return STATUS_OK;
}

void setup_root_close(struct setup_root *r)
{
    close(r->fd);
    r->fd = -1;
}

/* A folder in one that is open. Whatever the umask is: sendmail reads the configuration for all. */
static bool make_folder(int parent, const char *name)
{
    if (mkdirat(parent, name, 0755) != 0)
        return errno == EEXIST;
    return fchmodat(parent, name, 0755, 0) == 0;
}

/* The folder that path has before the slash at `end`; -1 and errno. */
static int enter(int root, int parent, const char *path, size_t from, size_t end)
{
    char whole[PATH_MAX], name[NAME_MAX + 1];
    int n = snprintf(whole, sizeof whole, "%.*s", (int)end, path);
    int m = snprintf(name, sizeof name, "%.*s", (int)(end - from), path + from);
    if (n >= (int)sizeof whole || m >= (int)sizeof name) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int fd = open_folder(root, whole);
    if (fd < 0 && errno == ENOENT && make_folder(parent, name))
        fd = open_folder(root, whole);
    return fd;
}

enum status_code setup_place_open(const struct setup_root *r, const char *path,
                                  struct setup_place *ret_place, struct diag *diag)
{
    struct setup_place p = {.folder = fcntl(r->fd, F_DUPFD_CLOEXEC, 0)};
    size_t from = 1;
    snprintf(p.shown, sizeof p.shown, "%s%s", r->path, path);
    for (const char *slash; p.folder >= 0 && (slash = strchr(path + from, '/'));) {
        size_t end = (size_t)(slash - path);
        int fd = enter(r->fd, p.folder, path, from, end);
        int error = errno;
        close(p.folder);
        p.folder = fd;
        from = end + 1;
        if (fd < 0) {
            p.shown[strlen(r->path) + end] = '\0';
            errno = error;
        }
    }
    if (p.folder < 0)
        return failed(diag, p.shown);
    snprintf(p.name, sizeof p.name, "%s", path + from);
    snprintf(p.path, sizeof p.path, "/proc/self/fd/%d/%s", p.folder, p.name);
    *ret_place = p;
    return STATUS_OK;
}

void setup_place_close(struct setup_place *p)
{
    close(p->folder);
    p->folder = -1;
}

bool setup_place_exists(const struct setup_place *p)
{
    struct stat there;
    return fstatat(p->folder, p->name, &there, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
}

enum status_code setup_place_read(const struct setup_place *p, struct buf *out, struct diag *diag)
{
    struct stat facts;
    int fd = openat(p->folder, p->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 && errno != ELOOP)
        return failed(diag, p->shown);
    if (fd < 0 || fstat(fd, &facts) != 0 || !S_ISREG(facts.st_mode)) {
        diag_set(diag, "%s: not a file", p->shown);
        if (fd >= 0)
            close(fd);
        return STATUS_INVALID;
    }
    enum status_code status = files_read_fd(fd, out, diag);
    if (status != STATUS_OK)
        diag_prefix(diag, "%s", p->shown);
    close(fd);
    return status;
}

enum status_code setup_place_write(const struct setup_place *p, struct str content, mode_t mode,
                                   struct diag *diag)
{
    enum status_code status = files_write(p->path, content, mode, NULL);
    if (status != STATUS_OK)
        diag_set(diag, "%s: %s", p->shown, status_name(status));
    return status;
}

enum status_code setup_place_link(const struct setup_place *p, const char *to, struct diag *diag)
{
    return symlinkat(to, p->folder, p->name) == 0 ? STATUS_OK : failed(diag, p->shown);
}

enum status_code setup_place_folder(const struct setup_place *p, char ret_path[PATH_MAX],
                                    struct diag *diag)
{
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", p->folder);
    ssize_t n = readlink(link, ret_path, PATH_MAX - 1);
    if (n < 0)
        return failed(diag, p->shown);
    ret_path[n] = '\0';
    return STATUS_OK;
}
