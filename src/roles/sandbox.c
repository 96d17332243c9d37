#include "roles/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <linux/sockios.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bug.h"

/* ---- The licences -------------------------------------------------------------------------- */

enum licence {
    MAY_ACCEPT = 1,       /* accept; pairs of Unix sockets for handing sessions over */
    MAY_CONNECT = 2,      /* sockets of the network, outwards */
    MAY_READ_FILES = 4,   /* of its folder */
    MAY_WRITE_FILES = 8,  /* of its folder */
    MAY_CONNECT_UNIX = 16 /* to Unix sockets, beside those of the network */
};

static const unsigned licences[ROLE_END] = {
    [ROLE_EDGE] = MAY_ACCEPT,
    [ROLE_COURIER] = MAY_CONNECT,
    [ROLE_KEEPER] = MAY_READ_FILES | MAY_WRITE_FILES,
    [ROLE_MAILROOM] = MAY_READ_FILES,
    [ROLE_VAULT] = MAY_READ_FILES | MAY_WRITE_FILES,
};

/* What an event loop over descriptors it was given takes; whatever their arguments. */
static const int everybody[] = {
    SCMP_SYS(read),
    SCMP_SYS(readv),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    SCMP_SYS(close),
    SCMP_SYS(recvmsg),
    SCMP_SYS(recvfrom),
    SCMP_SYS(sendmsg),
    SCMP_SYS(sendto),
    SCMP_SYS(shutdown),
    SCMP_SYS(getsockopt),
    SCMP_SYS(setsockopt),
    SCMP_SYS(getsockname),
    SCMP_SYS(getpeername),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(epoll_pwait2),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_create1),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(timerfd_settime),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(brk),
    SCMP_SYS(futex),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(getrandom),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getgid),
    SCMP_SYS(getegid),
    SCMP_SYS(getrusage),
    SCMP_SYS(sysinfo),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(fstat),
    SCMP_SYS(lseek),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
};

/* Paths are Landlock's matter. */
static const int readers[] = {
    SCMP_SYS(stat),       SCMP_SYS(lstat),     SCMP_SYS(newfstatat), SCMP_SYS(statx),
    SCMP_SYS(access),     SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(readlink),
    SCMP_SYS(readlinkat), SCMP_SYS(getcwd),    SCMP_SYS(pread64),    SCMP_SYS(getdents64),
    SCMP_SYS(fstatfs),    SCMP_SYS(fadvise64),
};

static const int writers[] = {
    SCMP_SYS(open),      SCMP_SYS(openat),    SCMP_SYS(pwrite64),  SCMP_SYS(pwritev),
    SCMP_SYS(fsync),     SCMP_SYS(fdatasync), SCMP_SYS(ftruncate), SCMP_SYS(fallocate),
    SCMP_SYS(unlink),    SCMP_SYS(unlinkat),  SCMP_SYS(rename),    SCMP_SYS(renameat),
    SCMP_SYS(renameat2), SCMP_SYS(fchmod),    SCMP_SYS(fchown),    SCMP_SYS(mkdir),
    SCMP_SYS(rmdir),     SCMP_SYS(utimensat),
};

static const int accepters[] = {SCMP_SYS(accept4)};
static const int connecters[] = {SCMP_SYS(connect), SCMP_SYS(bind)};

/* Nothing of ours has a reason to try these: whoever does has taken the process over. */
static const int intruders[] = {
    SCMP_SYS(bpf),
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(pivot_root),
    SCMP_SYS(chroot),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(kexec_load),
    SCMP_SYS(reboot),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(add_key),
    SCMP_SYS(keyctl),
    SCMP_SYS(request_key),
    SCMP_SYS(unshare),
    SCMP_SYS(setns),
    SCMP_SYS(open_by_handle_at),
};

/* ---- Seccomp ------------------------------------------------------------------------------- */

static int allow_all(scmp_filter_ctx filter, uint32_t action, const int *calls, size_t count)
{
    int failed = 0;
    for (size_t i = 0; i < count && !failed; i++)
        failed = seccomp_rule_add(filter, action, calls[i], 0);
    return failed;
}

#define ADD_ALL(filter, action, calls)                                                             \
    allow_all((filter), (action), (calls), sizeof(calls) / sizeof *(calls))

/* One call with one of its arguments exactly so. */
static int allow_equal(scmp_filter_ctx filter, int call, unsigned argument, uint64_t value)
{
    return seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 1,
                            SCMP_CMP(argument, SCMP_CMP_EQ, value));
}

/* No memory that can be run, no descriptor tricks but these, signals to ourselves only. */
static int add_arguments(scmp_filter_ctx f)
{
    static const int ioctls[] = {FIONBIO, FIONREAD, SIOCOUTQ, TCGETS};
    static const int fcntls[] = {F_GETFD, F_SETFD, F_GETFL,  F_SETFL,    F_DUPFD_CLOEXEC,
                                 F_GETLK, F_SETLK, F_SETLKW, F_OFD_SETLK};
    int failed = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
                                  SCMP_CMP(2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)) ||
                 seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                                  SCMP_CMP(2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)) ||
                 allow_equal(f, SCMP_SYS(newfstatat), 3, AT_EMPTY_PATH) ||
                 allow_equal(f, SCMP_SYS(tgkill), 0, (uint64_t)getpid());
    for (size_t i = 0; i < sizeof ioctls / sizeof *ioctls && !failed; i++)
        failed = allow_equal(f, SCMP_SYS(ioctl), 1, (uint64_t)ioctls[i]);
    for (size_t i = 0; i < sizeof fcntls / sizeof *fcntls && !failed; i++)
        failed = allow_equal(f, SCMP_SYS(fcntl), 1, (uint64_t)fcntls[i]);
    return failed;
}

/* A reader's open must not ask for more than reading. */
static int add_read_only_open(scmp_filter_ctx f)
{
    const uint64_t writing = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC;
    uint32_t no = SCMP_ACT_ERRNO(EACCES);
    static const uint64_t one_of[] = {O_WRONLY, O_RDWR, O_CREAT, O_TRUNC};
    int failed = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(open), 1,
                                  SCMP_CMP(1, SCMP_CMP_MASKED_EQ, writing, 0)) ||
                 seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
                                  SCMP_CMP(2, SCMP_CMP_MASKED_EQ, writing, 0));
    for (size_t i = 0; i < sizeof one_of / sizeof *one_of && !failed; i++)
        failed = seccomp_rule_add(f, no, SCMP_SYS(open), 1,
                                  SCMP_CMP(1, SCMP_CMP_MASKED_EQ, one_of[i], one_of[i])) ||
                 seccomp_rule_add(f, no, SCMP_SYS(openat), 1,
                                  SCMP_CMP(2, SCMP_CMP_MASKED_EQ, one_of[i], one_of[i]));
    return failed;
}

static int add_licence(scmp_filter_ctx f, unsigned may)
{
    int failed = 0;
    if ((may & MAY_ACCEPT) != 0)
        failed = ADD_ALL(f, SCMP_ACT_ALLOW, accepters) ||
                 allow_equal(f, SCMP_SYS(socketpair), 0, AF_UNIX);
    if (!failed && (may & MAY_CONNECT) != 0)
        failed = ADD_ALL(f, SCMP_ACT_ALLOW, connecters) ||
                 allow_equal(f, SCMP_SYS(socket), 0, AF_INET) ||
                 allow_equal(f, SCMP_SYS(socket), 0, AF_INET6);
    if (!failed && (may & MAY_CONNECT_UNIX) != 0)
        failed = allow_equal(f, SCMP_SYS(socket), 0, AF_UNIX);
    if (!failed && (may & (MAY_READ_FILES | MAY_WRITE_FILES)) != 0)
        failed = ADD_ALL(f, SCMP_ACT_ALLOW, readers);
    if (!failed && (may & MAY_WRITE_FILES) != 0)
        failed = ADD_ALL(f, SCMP_ACT_ALLOW, writers);
    else if (!failed && (may & MAY_READ_FILES) != 0)
        failed = add_read_only_open(f);
    return failed;
}

static int filter_system_calls(unsigned may)
{
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (!f)
        return -1;
    /* No other architecture's calls, no x32. */
    int failed = seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS) ||
                 seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2) ||
                 ADD_ALL(f, SCMP_ACT_ALLOW, everybody) ||
                 ADD_ALL(f, SCMP_ACT_KILL_PROCESS, intruders) || add_arguments(f) ||
                 add_licence(f, may) || seccomp_load(f);
    seccomp_release(f);
    return failed ? -1 : 0;
}

/* ---- Landlock ------------------------------------------------------------------------------ */

#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif

static const uint64_t reading = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
static const uint64_t writing =
    LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG;

/* Every right that the running kernel can take away. */
static uint64_t handled_rights(int abi)
{
    uint64_t rights = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;
    if (abi >= 2)
        rights |= LANDLOCK_ACCESS_FS_REFER;
    if (abi >= 3)
        rights |= LANDLOCK_ACCESS_FS_TRUNCATE;
    return rights;
}

static int allow_beneath(int ruleset, const char *folder, uint64_t rights)
{
    int fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    struct landlock_path_beneath_attr beneath = {.allowed_access = rights, .parent_fd = fd};
    long failed = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0);
    close(fd);
    return failed ? -1 : 0;
}

/*
 * 0 where the kernel has none (not Debian's), or the filter of a container that we run in keeps it
 * from us: the kernel itself never answers EPERM here.
 */
static long landlock_abi(void)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    return abi < 0 && (errno == ENOSYS || errno == EOPNOTSUPP || errno == EPERM) ? 0 : abi;
}

bool sandbox_has_landlock(void)
{
    return landlock_abi() > 0;
}

/*
 * Without Landlock there are seccomp and the uid, which hold for the roles that read strangers'
 * bytes: those have no files at all.
 */
static int hide_files(unsigned may, const char *folder)
{
    long abi = landlock_abi();
    if (abi < 1)
        return (int)abi;
    struct landlock_ruleset_attr handled = {.handled_access_fs = handled_rights((int)abi)};
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &handled, sizeof handled, 0);
    if (ruleset < 0)
        return -1;
    uint64_t rights = reading;
    if ((may & MAY_WRITE_FILES) != 0)
        rights |= writing | (abi >= 3 ? LANDLOCK_ACCESS_FS_TRUNCATE : 0);
    long failed = 0;
    if (folder && (may & (MAY_READ_FILES | MAY_WRITE_FILES)) != 0)
        failed = allow_beneath(ruleset, folder, rights);
    if (!failed)
        failed = syscall(SYS_landlock_restrict_self, ruleset, 0);
    close(ruleset);
    return failed ? -1 : 0;
}

/* ---- Privileges ---------------------------------------------------------------------------- */

/* Only a process with CAP_SETPCAP can, and only one that has capabilities needs to. */
static void empty_bounding_set(void)
{
    for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        (void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
}

static int drop_capabilities(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};
    empty_bounding_set();
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    return (int)syscall(SYS_capset, &head, none);
}

enum status_code sandbox_become(uid_t uid, gid_t gid, const gid_t *groups, size_t group_count)
{
    empty_bounding_set();
    if (setgroups(group_count, groups) != 0 || setresgid(gid, gid, gid) != 0 ||
        setresuid(uid, uid, uid) != 0)
        return status_from_errno(errno);
    return uid == 0 || setuid(0) != 0 ? STATUS_OK : STATUS_DENIED;
}

/* No core with mail in it, no child, and nobody of our uid may look into us. */
static int limit_resources(void)
{
    struct rlimit none = {0};
    return setrlimit(RLIMIT_CORE, &none) || setrlimit(RLIMIT_NPROC, &none) ||
           prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

static enum status_code failed(struct diag *diag, const char *what)
{
    enum status_code status = status_from_errno(errno);
    diag_set(diag, "%s: %s", what, strerror(errno));
    return status == STATUS_OK ? STATUS_IO : status;
}

enum status_code sandbox_enter(enum ipc_role role, const char *folder, bool unix_sockets,
                               struct diag *diag)
{
    invariant(role < ROLE_END && licences[role] != 0);
    unsigned may = licences[role] | (unix_sockets ? MAY_CONNECT_UNIX : 0);
    if (limit_resources() != 0)
        return failed(diag, "resource limits");
    if (drop_capabilities() != 0)
        return failed(diag, "capabilities");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return failed(diag, "no_new_privs");
    if (hide_files(may, folder) != 0)
        return failed(diag, "landlock");
    if (filter_system_calls(may) != 0)
        return failed(diag, "seccomp");
    return STATUS_OK;
}
