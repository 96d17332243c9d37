/* Each licence is tried in a child of its own: what it may do works, what it may not is refused. */
#include "roles/sandbox.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/testing.h"

static char folder[] = "/tmp/postern-sandbox-XXXXXX";
static char own[100], file[100];

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(own, sizeof own, "%s/own", folder);
    snprintf(file, sizeof file, "%s/own/file", folder);
    int fd = mkdir(own, 0700) == 0 ? open(file, O_CREAT | O_WRONLY, 0600) : -1;
    return fd < 0 ? -1 : close(fd);
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(file);
    rmdir(own);
    return rmdir(folder);
}

/* "EPERM", "EACCES", "ok" ... for a call that returned result. */
static const char *outcome(long result)
{
    return result >= 0 ? "ok" : strerrorname_np(errno);
}

static int inet_connect(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(1)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int failed = fd < 0 ? -1 : connect(fd, (struct sockaddr *)&a, sizeof a);
    return failed && errno == ECONNREFUSED ? 0 : failed;
}

static int pair(void)
{
    int fds[2];
    return socketpair(AF_UNIX, SOCK_STREAM, 0, fds);
}

/* Prints one word an act. */
static void try_acts(FILE *out)
{
    char *none[] = {NULL};
    char elsewhere[200];
    snprintf(elsewhere, sizeof elsewhere, "%s/own/../../../etc/passwd", folder);
    fprintf(out, "read:%s ", outcome(open(file, O_RDONLY)));
    fprintf(out, "write:%s ", outcome(open(file, O_WRONLY)));
    fprintf(out, "elsewhere:%s ", outcome(open(elsewhere, O_RDONLY)));
    fprintf(out, "accept:%s ",
            outcome(accept4(0, NULL, NULL, 0) < 0 && errno == ENOTSOCK ? 0 : -1));
    fprintf(out, "connect:%s ", outcome(inet_connect()));
    fprintf(out, "unix:%s ", outcome(socket(AF_UNIX, SOCK_STREAM, 0)));
    fprintf(out, "pair:%s ", outcome(pair()));
    fprintf(out, "listen:%s ", outcome(listen(0, 1) < 0 && errno == ENOTSOCK ? 0 : -1));
    fprintf(out, "exec:%s ", outcome(execve("/bin/true", none, none)));
    fprintf(out, "fork:%s ", outcome(syscall(SYS_fork)));
    fprintf(out, "ptrace:%s ", outcome(ptrace(PTRACE_TRACEME, 0, 0, 0)));
    fprintf(out, "kill:%s ", outcome(kill(getppid(), 0)));
    void *code = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    fprintf(out, "code:%s", outcome(code == MAP_FAILED ? -1 : 0));
    fflush(out);
}

static void check_licence_with(enum ipc_role role, const char *its_folder, bool unix_sockets,
                               const char *expected)
{
    int fds[2];
    char seen[500] = "";
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    if (child == 0) {
        struct diag diag = {0};
        FILE *out = fdopen(fds[1], "w");
        setvbuf(out, NULL, _IOFBF, 4096);
        int null = open("/dev/null", O_RDONLY);
        dup2(null, 0);
        if (sandbox_enter(role, its_folder, unix_sockets, &diag) != STATUS_OK)
            fprintf(out, "%s", diag.words);
        else
            try_acts(out);
        fflush(out);
        _exit(0);
    }
    close(fds[1]);
    size_t len = 0;
    ssize_t n;
    while ((n = read(fds[0], seen + len, sizeof seen - 1 - len)) > 0)
        len += (size_t)n;
    close(fds[0]);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_string_equal(seen, expected);
}

static void check_licence(enum ipc_role role, const char *its_folder, const char *expected)
{
    check_licence_with(role, its_folder, false, expected);
}

#define NOBODY "exec:EPERM fork:EPERM ptrace:EPERM kill:EPERM code:EPERM"

static void the_edge_accepts_and_nothing_else(void **state)
{
    (void)state;
    check_licence(ROLE_EDGE, NULL,
                  "read:EPERM write:EPERM elsewhere:EPERM accept:ok connect:EPERM unix:EPERM "
                  "pair:ok listen:EPERM " NOBODY);
}

static void the_courier_connects_and_nothing_else(void **state)
{
    (void)state;
    check_licence(ROLE_COURIER, NULL,
                  "read:EPERM write:EPERM elsewhere:EPERM accept:EPERM connect:ok unix:EPERM "
                  "pair:EPERM listen:EPERM " NOBODY);
}

static void the_courier_connects_to_unix_sockets_where_a_route_names_one(void **state)
{
    (void)state;
    check_licence_with(ROLE_COURIER, NULL, true,
                       "read:EPERM write:EPERM elsewhere:EPERM accept:EPERM connect:ok unix:ok "
                       "pair:EPERM listen:EPERM " NOBODY);
}

static void the_mailroom_reads_its_folder_and_nothing_else(void **state)
{
    (void)state;
    check_licence(ROLE_MAILROOM, own,
                  "read:ok write:EACCES elsewhere:EACCES accept:EPERM connect:EPERM unix:EPERM "
                  "pair:EPERM listen:EPERM " NOBODY);
}

static void vault_and_keeper_write_their_folder_and_nothing_else(void **state)
{
    (void)state;
    const char *expected =
        "read:ok write:ok elsewhere:EACCES accept:EPERM connect:EPERM unix:EPERM pair:EPERM "
        "listen:EPERM " NOBODY;
    check_licence(ROLE_VAULT, own, expected);
    check_licence(ROLE_KEEPER, own, expected);
}

static void the_kernel_confirms_it(void **state)
{
    (void)state;
    int fds[2];
    char seen[4096] = "";
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    if (child == 0) {
        int status = open("/proc/self/status", O_RDONLY);
        if (sandbox_enter(ROLE_EDGE, NULL, false, NULL) != STATUS_OK)
            _exit(1);
        ssize_t n = read(status, seen, sizeof seen);
        _exit(n > 0 && write(fds[1], seen, (size_t)n) == n ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_true(read(fds[0], seen, sizeof seen - 1) > 0);
    assert_non_null(strstr(seen, "Seccomp:\t2\n"));
    assert_non_null(strstr(seen, "NoNewPrivs:\t1\n"));
    assert_non_null(strstr(seen, "CapEff:\t0000000000000000\n"));
    assert_non_null(strstr(seen, "CapPrm:\t0000000000000000\n"));
    close(fds[0]);
    close(fds[1]);
}

static void an_intruder_ends_the_process(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        if (sandbox_enter(ROLE_EDGE, NULL, false, NULL) != STATUS_OK)
            _exit(1);
        syscall(SYS_bpf, 0, 0, 0);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSYS);
}

/* As containers do whose filter is older than Landlock. */
static bool refuse_landlock(void)
{
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_ALLOW);
    bool ok = f &&
              seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SYS_landlock_create_ruleset, 0) == 0 &&
              seccomp_load(f) == 0;
    seccomp_release(f);
    return ok;
}

static void a_container_that_refuses_landlock_leaves_the_other_fences(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        if (!refuse_landlock() || sandbox_has_landlock() ||
            sandbox_enter(ROLE_MAILROOM, own, false, NULL) != STATUS_OK)
            _exit(1);
        _exit(open(file, O_RDONLY) >= 0 && socket(AF_INET, SOCK_STREAM, 0) < 0 ? 0 : 2);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_edge_accepts_and_nothing_else),
        cmocka_unit_test(the_courier_connects_and_nothing_else),
        cmocka_unit_test(the_courier_connects_to_unix_sockets_where_a_route_names_one),
        cmocka_unit_test(the_mailroom_reads_its_folder_and_nothing_else),
        cmocka_unit_test(vault_and_keeper_write_their_folder_and_nothing_else),
        cmocka_unit_test(the_kernel_confirms_it),
        cmocka_unit_test(an_intruder_ends_the_process),
        cmocka_unit_test(a_container_that_refuses_landlock_leaves_the_other_fences),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
