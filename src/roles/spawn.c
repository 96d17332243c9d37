#include "roles/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/files.h"
#include "io/socket.h"
#include "roles/sandbox.h"

enum { NAME_SIZE = 64, CHANNEL_FD = 3, EXEC_FAILED = 127, NO_GROUP = 65534 };

/* Who a role is to be; `own` is false where it stays who we are. */
struct identity {
    bool own;
    uid_t uid;
    gid_t gid;
};

static enum status_code find_group(struct str name, gid_t *ret_gid, struct diag *diag)
{
    char text[NAME_SIZE];
    uint64_t number;
    if (str_to_u64(name, UINT32_MAX - 1, &number)) {
        *ret_gid = (gid_t)number;
        return STATUS_OK;
    }
    const struct group *group = str_to_c(name, text, sizeof text) ? getgrnam(text) : NULL;
    if (!group) {
        diag_set(diag, "there is no group \"%.*s\"", STR_ARG(name));
        return STATUS_NOT_FOUND;
    }
    *ret_gid = group->gr_gid;
    return STATUS_OK;
}

/* A number needs no entry in the list of users; its group is then nobody's. */
static enum status_code find_user(struct str name, struct identity *ret_id, struct diag *diag)
{
    char text[NAME_SIZE];
    uint64_t number;
    const struct passwd *user = NULL;
    bool is_number = str_to_u64(name, UINT32_MAX - 1, &number);
    if (is_number)
        user = getpwuid((uid_t)number);
    else if (str_to_c(name, text, sizeof text))
        user = getpwnam(text);
    if (!user && !is_number) {
        diag_set(diag, "there is no user \"%.*s\"", STR_ARG(name));
        return STATUS_NOT_FOUND;
    }
    ret_id->own = true;
    ret_id->uid = user ? user->pw_uid : (uid_t)number;
    ret_id->gid = user ? user->pw_gid : NO_GROUP;
    return STATUS_OK;
}

/* Only vault and mailroom are in the group that may read the store. */
static enum status_code find_identity(const struct config *config, enum ipc_role role,
                                      struct identity *ret_id, struct diag *diag)
{
    gid_t group = NO_GROUP;
    *ret_id = (struct identity){.own = false};
    if (geteuid() != 0 || str_empty(config->users[role]))
        return STATUS_OK;
    enum status_code status = find_user(config->users[role], ret_id, diag);
    if (status == STATUS_OK && !str_empty(config->group))
        status = find_group(config->group, &group, diag);
    if (status == STATUS_OK && group != NO_GROUP) {
        if (role == ROLE_VAULT || role == ROLE_MAILROOM)
            ret_id->gid = group;
        else if (ret_id->gid == group)
            ret_id->gid = NO_GROUP;
    }
    return status;
}

/* Where all roles stay who they are nobody asks for it. */
static bool needs_group(const struct config *config)
{
    bool needed = false;
    for (int role = 0; role < ROLE_END; role++)
        needed = needed || !str_empty(config->users[role]);
    return needed && !str_empty(config->group);
}

static void tell_place(struct conf_errors *errors, const char *directive, struct config_place place,
                       const struct diag *diag)
{
    if (place.line != 0)
        conf_error_add(errors, place.line, place.column, "%s: %s", directive, diag->words);
    else
        conf_error_add(errors, 1, 1, "%s: %s, the usual one (postern setup makes it)", directive,
                       diag->words);
}

enum status_code spawn_check_users(const struct config *config, struct conf_errors *errors)
{
    enum status_code status = STATUS_OK;
    bool root = geteuid() == 0;
    struct identity id;
    gid_t gid;
    for (int role = 0; role < ROLE_END; role++) {
        struct diag diag = {0};
        bool counts = root || config->user_places[role].line != 0;
        if (!counts || str_empty(config->users[role]) ||
            find_user(config->users[role], &id, &diag) == STATUS_OK)
            continue;
        tell_place(errors, "user", config->user_places[role], &diag);
        status = STATUS_INVALID;
    }
    struct diag diag = {0};
    bool counts = needs_group(config) && (root || config->group_place.line != 0);
    if (counts && find_group(config->group, &gid, &diag) != STATUS_OK) {
        tell_place(errors, "group", config->group_place, &diag);
        status = STATUS_INVALID;
    }
    return status;
}

/* ---- Folders ------------------------------------------------------------------------------- */

static enum status_code make_folder(const char *path, mode_t mode, const struct identity *id,
                                    struct diag *diag)
{
    enum status_code status = files_make_folder(path, mode, diag);
    if (status == STATUS_OK && id->own && chown(path, id->uid, id->gid) != 0) {
        status = status_from_errno(errno);
        diag_set(diag, "%s: %s", path, strerror(errno));
    }
    return status;
}

static bool join(char *path, size_t size, struct str folder, const char *name)
{
    int n = snprintf(path, size, "%.*s%s", STR_ARG(folder), name);
    return n > 0 && (size_t)n < size;
}

enum status_code spawn_prepare(const struct config *config, struct diag *diag)
{
    char data[PATH_MAX], store[PATH_MAX], keeper[PATH_MAX];
    struct identity nobody = {0}, vault, keeper_id, other;
    if (!join(data, sizeof data, config->data, "") ||
        !join(store, sizeof store, config->data, "/store") ||
        !join(keeper, sizeof keeper, config->data, "/keeper")) {
        diag_set(diag, "data: the name is too long");
        return STATUS_INVALID;
    }
    enum status_code status = find_identity(config, ROLE_VAULT, &vault, diag);
    if (status == STATUS_OK)
        status = find_identity(config, ROLE_KEEPER, &keeper_id, diag);
    for (int role = 0; status == STATUS_OK && role < ROLE_END; role++)
        status = find_identity(config, (enum ipc_role)role, &other, diag);
    if (status == STATUS_OK)
        status = make_folder(data, vault.own ? 0755 : 0700, &nobody, diag);
    if (status == STATUS_OK)
        status = make_folder(store, 0750, &vault, diag);
    if (status == STATUS_OK)
        status = make_folder(keeper, 0700, &keeper_id, diag);
    return status;
}

/* ---- Processes ----------------------------------------------------------------------------- */

/* Who else writes to the same file, a script for example, is not to write over our lines. */
static bool is_appended_file(void)
{
    struct stat file;
    int flags = fcntl(STDERR_FILENO, F_GETFL);
    return fstat(STDERR_FILENO, &file) == 0 && S_ISREG(file.st_mode) && flags >= 0 &&
           fcntl(STDERR_FILENO, F_SETFL, flags | O_APPEND) == 0;
}

int spawn_log_fd(void)
{
    static int fd = -1;
    if (fd < 0 && !is_appended_file())
        fd = open("/proc/self/fd/2", O_WRONLY | O_APPEND | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) /* a file does not block; and a socket the log tells not to */
        fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
    return fd;
}

/* Runs in the child; nothing here but system calls. */
static _Noreturn void become_role(const struct identity *id, int channel, int log_fd,
                                  char *const argv[], char *const environment[])
{
    /* Out of the way of the numbers they go to. */
    int moved_channel = fcntl(channel, F_DUPFD, 10);
    int moved_log = fcntl(log_fd, F_DUPFD, 10);
    int null = open("/dev/null", O_RDWR);
    if (moved_channel < 0 || moved_log < 0 || null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 ||
        dup2(moved_log, 2) < 0 || dup2(moved_channel, CHANNEL_FD) < 0 ||
        close_range(CHANNEL_FD + 1, ~0U, 0) != 0)
        _exit(EXEC_FAILED);
    umask(0027);
    if (id->own && sandbox_become(id->uid, id->gid, NULL, 0) != STATUS_OK)
        _exit(EXEC_FAILED);
    execve("/proc/self/exe", argv, environment);
    _exit(EXEC_FAILED);
}

/* Our own environment stays ours, but for what steers a build with sanitizers. */
static void pick_environment(char *ret_picked[], size_t count)
{
    static const char *const names[] = {"ASAN_OPTIONS=", "UBSAN_OPTIONS=", "LSAN_OPTIONS="};
    size_t picked = 0;
    for (char **at = environ; *at && picked + 1 < count; at++)
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            if (str_starts(str_from_c(*at), str_from_c(names[i])))
                ret_picked[picked++] = *at;
    ret_picked[picked] = NULL;
}

enum status_code spawn_role(const struct config *config, enum ipc_role role, uint8_t index,
                            int log_fd, pid_t *ret_pid, int *ret_fd, struct diag *diag)
{
    struct identity id;
    int fds[2];
    char name[] = "postern", role_option[] = "--role", index_option[] = "--index";
    char role_text[16], index_text[8];
    char *argv[] = {name, role_option, role_text, index_option, index_text, NULL};
    char *environment[8];
    snprintf(role_text, sizeof role_text, "%s", ipc_role_name(role));
    snprintf(index_text, sizeof index_text, "%u", index);
    pick_environment(environment, sizeof environment / sizeof *environment);
    enum status_code status = find_identity(config, role, &id, diag);
    if (status == STATUS_OK)
        status = socket_pair(fds);
    if (status != STATUS_OK)
        return status;
    pid_t pid = fork();
    if (pid == 0)
        become_role(&id, fds[1], log_fd, argv, environment);
    close(fds[1]);
    if (pid < 0) {
        status = status_from_errno(errno);
        diag_set(diag, "fork: %s", strerror(errno));
        close(fds[0]);
        return status;
    }
    *ret_pid = pid;
    *ret_fd = fds[0];
    return STATUS_OK;
}
