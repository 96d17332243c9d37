#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/limits.h"
#include "cli/certificate.h"
#include "cli/commands.h"
#include "cli/directory.h"
#include "cli/names.h"
#include "cli/password_input.h"
#include "cli/setup_files.h"
#include "cli/setup_text.h"
#include "io/files.h"

enum { PATH_SIZE = 4096, FILE_SIZE_MAX = 256 * 1024 };

const struct cli_option setup_options[] = {
    {"--hostname", "NAME", "this machine's name (default mail.DOMAIN)"},
    {"--root", "DIR", "do it below DIR, for packages and tests; makes no users of the system"},
    PASSWORD_OPTIONS,
    {NULL, NULL, NULL},
};

#define DATA_FOLDER   "/var/lib/postern"
#define CONFIG_FOLDER "/etc/postern"
#define CHAIN_FILE    CONFIG_FOLDER "/certificate.pem"
#define KEY_FILE      CONFIG_FOLDER "/key.pem"
#define USERS_FILE    "/etc/sysusers.d/postern.conf"
#define UNIT_FILE     "/etc/systemd/system/postern.service"
#define SOCKET_FILE   "/run/postern/sendmail"
#define SENDMAIL_FILE "/usr/sbin/sendmail"

struct setup {
    struct cli *cli;
    const char *root; /* "" for the machine itself */
    struct cli_address address;
    struct str hostname;
    char program[PATH_SIZE];
};

static void place(const struct setup *s, const char *path, char *ret_path)
{
    snprintf(ret_path, PATH_SIZE, "%s%s", s->root, path);
}

static void said(const struct setup *s, const char *did, const char *path)
{
    fprintf(s->cli->out, "%-8s %s\n", did, path);
}

/* ---- Files
 * --------------------------------------------------------------------------------------------- */

/* The folder of path, and those above it. */
static enum status_code make_parents(const char *path, struct diag *diag)
{
    char folder[PATH_SIZE];
    snprintf(folder, sizeof(folder), "%s", path);
    for (char *slash = strchr(folder + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        bool made = mkdir(folder, 0755) == 0;
        /* Whatever the umask is: sendmail reads the configuration for everybody. */
        if (made ? chmod(folder, 0755) != 0 : errno != EEXIST) {
            diag_set(diag, "%s: %s", folder, strerror(errno));
            return status_from_errno(errno);
        }
        *slash = '/';
    }
    return STATUS_OK;
}

static enum cli_exit put_file(struct setup *s, const char *where, const char *template,
                              const struct setup_word *words)
{
    char path[PATH_SIZE];
    struct diag diag = {0};
    struct buf text;
    place(s, where, path);
    if (access(path, F_OK) == 0) {
        said(s, "kept", path);
        return CLI_OK;
    }
    buf_init(&text, FILE_SIZE_MAX);
    setup_fill(&text, str_from_c(template), words);
    enum status_code status = text.failed ? STATUS_NO_MEMORY : make_parents(path, &diag);
    if (status == STATUS_OK)
        status = files_write(path, buf_str(&text), 0644, &diag);
    buf_release(&text);
    if (status != STATUS_OK)
        return cli_fail_status(s->cli, status, &diag);
    said(s, "made", path);
    return CLI_OK;
}

static enum cli_exit put_certificate(struct setup *s)
{
    char chain[PATH_SIZE], key[PATH_SIZE], name[LIMIT_DOMAIN_SIZE + 1];
    struct diag diag = {0};
    place(s, CHAIN_FILE, chain);
    place(s, KEY_FILE, key);
    if (access(chain, F_OK) == 0 && access(key, F_OK) == 0) {
        said(s, "kept", chain);
        return CLI_OK;
    }
    enum status_code status = make_parents(chain, &diag);
    if (status == STATUS_OK && !str_to_c(s->hostname, name, sizeof(name)))
        status = STATUS_INVALID;
    if (status == STATUS_OK)
        status = certificate_make(name, false, chain, key, &diag);
    if (status != STATUS_OK)
        return cli_fail_status(s->cli, status, &diag);
    said(s, "made", chain);
    return CLI_OK;
}

struct setup_paths {
    char data[PATH_SIZE], chain[PATH_SIZE], key[PATH_SIZE], socket[PATH_SIZE];
};

/* In a folder of --root the data lies there too, and belongs to whoever runs setup. */
static void config_words(const struct setup *s, bool installed, struct setup_paths *paths,
                         struct setup_word words[8])
{
    const char *root = installed ? "" : s->root;
    struct setup_word filled[] = {
        {"@HOSTNAME@", s->hostname},
        {"@DOMAIN@", s->address.domain},
        {"@DATA@", {0}},
        {"@CHAIN@", {0}},
        {"@KEY@", {0}},
        {"@EXTRA@", STR("")},
        {"@SENDMAIL@", {0}},
        {NULL, {0}},
    };
    snprintf(paths->data, PATH_SIZE, "%s%s", root, DATA_FOLDER);
    snprintf(paths->chain, PATH_SIZE, "%s%s", root, CHAIN_FILE);
    snprintf(paths->key, PATH_SIZE, "%s%s", root, KEY_FILE);
    snprintf(paths->socket, PATH_SIZE, "%s%s", root, SOCKET_FILE);
    filled[2].with = str_from_c(paths->data);
    filled[3].with = str_from_c(paths->chain);
    filled[4].with = str_from_c(paths->key);
    filled[6].with = str_from_c(paths->socket);
    if (!installed)
        filled[5].with =
            STR("user edge -\nuser courier -\nuser keeper -\nuser mailroom -\nuser vault -\n");
    memcpy(words, filled, sizeof(filled));
}

/* Another mailer's stays: then programs go on to mail through that one. */
static enum cli_exit put_sendmail(struct setup *s)
{
    char path[PATH_SIZE];
    struct stat there;
    struct diag diag = {0};
    place(s, SENDMAIL_FILE, path);
    if (lstat(path, &there) == 0) {
        said(s, "kept", path);
        return CLI_OK;
    }
    enum status_code status = make_parents(path, &diag);
    if (status == STATUS_OK && symlink(s->program, path) != 0) {
        status = status_from_errno(errno);
        diag_set(&diag, "%s: %s", path, strerror(errno));
    }
    if (status != STATUS_OK)
        return cli_fail_status(s->cli, status, &diag);
    said(s, "made", path);
    return CLI_OK;
}

static enum cli_exit put_files(struct setup *s)
{
    struct setup_paths paths;
    struct setup_word words[8];
    const struct setup_word unit_words[] = {{"@PROGRAM@", str_from_c(s->program)}, {NULL, {0}}};
    config_words(s, true, &paths, words);
    enum cli_exit code = put_file(s, CLI_CONFIG_FILE, setup_config, words);
    if (code == CLI_OK)
        code = put_certificate(s);
    if (code == CLI_OK)
        code = put_file(s, USERS_FILE, setup_sysusers, unit_words);
    if (code == CLI_OK)
        code = put_file(s, UNIT_FILE, setup_service, unit_words);
    if (code == CLI_OK)
        code = put_sendmail(s);
    return code;
}

/* ---- Users of the system
 * ----------------------------------------------------------------------------------- */

static bool run_program(char *const argv[])
{
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        execv(argv[0], argv);
        _exit(127);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

static bool add_users_by_hand(void)
{
    static const char *const users[] = {"postern-edge", "postern-courier", "postern-keeper",
                                        "postern-mailroom", "postern-vault"};
    char groupadd[] = "/usr/sbin/groupadd", force[] = "--force", system[] = "--system",
         group[] = "postern";
    char *const group_argv[] = {groupadd, force, system, group, NULL};
    bool ok = run_program(group_argv);
    for (size_t i = 0; ok && i < sizeof(users) / sizeof(users[0]); i++) {
        char useradd[] = "/usr/sbin/useradd", gid[] = "--gid", home[] = "--home-dir",
             no[] = "/nonexistent", shell[] = "--shell", nologin[] = "/usr/sbin/nologin", name[32];
        char *const argv[] = {useradd, system, gid, group, home, no, shell, nologin, name, NULL};
        snprintf(name, sizeof(name), "%s", users[i]);
        ok = getpwnam(name) || run_program(argv);
    }
    return ok;
}

static enum cli_exit put_users(struct setup *s)
{
    char sysusers[] = "/usr/bin/systemd-sysusers", file[] = USERS_FILE;
    char *const argv[] = {sysusers, file, NULL};
    if (s->root[0] != '\0')
        return CLI_OK;
    if (getpwnam("postern-vault") && getpwnam("postern-edge")) {
        said(s, "kept", "the users postern-…");
        return CLI_OK;
    }
    if (access(sysusers, X_OK) == 0 ? !run_program(argv) : !add_users_by_hand())
        return cli_fail(s->cli, CLI_FAILED, "the users of %s cannot be made", USERS_FILE);
    said(s, "made", "the users postern-…");
    return CLI_OK;
}

/* ---- Domain and account
 * ---------------------------------------------------------------------------------------- */

/* The configuration that the commands go by: the installed one, or one for below --root. */
static enum cli_exit use_config(struct setup *s, struct config *ret_config)
{
    char path[PATH_SIZE];
    struct setup_paths paths;
    struct setup_word words[8];
    struct conf_errors errors;
    struct buf text;
    place(s, CLI_CONFIG_FILE, path);
    if (!arena_dup(&s->cli->arena, str_from_c(path), &words[0].with))
        return cli_fail_status(s->cli, STATUS_NO_MEMORY, NULL);
    s->cli->config_file = words[0].with.ptr;
    if (s->root[0] == '\0')
        return cli_config(s->cli, ret_config);
    config_words(s, false, &paths, words);
    buf_init(&text, FILE_SIZE_MAX);
    setup_fill(&text, str_from_c(setup_config), words);
    bool ok = !text.failed && arena_dup(&s->cli->arena, buf_str(&text), &s->cli->config_text);
    buf_release(&text);
    conf_errors_init(&errors, &s->cli->arena);
    if (!ok || config_parse(s->cli->config_text, &s->cli->arena, ret_config, &errors) != STATUS_OK)
        return cli_fail(s->cli, CLI_FAILED, "the path of --root cannot be used");
    return make_parents(paths.data, NULL) == STATUS_OK
               ? CLI_OK
               : cli_fail(s->cli, CLI_FAILED, "%s: %s", paths.data, strerror(errno));
}

static enum cli_exit put_domain(struct setup *s, struct cli_server *server, struct db *db)
{
    struct domain_record domain;
    char words[LIMIT_DOMAIN_SIZE + 16];
    enum status_code status = directory_domain(db, s->address.domain, &s->cli->arena, &domain);
    enum cli_exit code = CLI_OK;
    snprintf(words, sizeof(words), "domain %.*s", STR_ARG(s->address.domain));
    if (status == STATUS_NOT_FOUND)
        code = directory_add_domain(server, s->address.domain);
    else if (status != STATUS_OK)
        code = cli_fail_status(s->cli, status, NULL);
    if (code == CLI_OK)
        said(s, status == STATUS_OK ? "kept" : "made", words);
    return code;
}

struct passwords {
    struct cli_outcome outcome;
    bool has_own; /* of the account itself, not of an application */
};

static void on_passwords(void *context, enum status_code sent,
                         const struct ipc_password_list_out *out)
{
    struct passwords *p = context;
    for (size_t i = 0; out && i < out->passwords_count; i++)
        p->has_own = p->has_own || out->passwords[i].kind == 0;
    cli_outcome_take(&p->outcome, sent, out ? out->status : sent, STR(""));
}

/* An account that an earlier run left without a password gets it now. */
static enum cli_exit put_password(struct setup *s, struct cli_server *server, uint64_t account)
{
    struct passwords known = {0};
    struct buf password;
    bool generated = false;
    const struct ipc_password_list_in in = {.account = account};
    struct channel *keeper = cli_server_role(server, ROLE_KEEPER);
    enum cli_exit code = cli_server_wait(
        server, ipc_password_list_call(keeper, &in, on_passwords, &known), &known.outcome);
    if (code != CLI_OK || known.has_own)
        return code;
    buf_init_secret(&password, CLI_PASSWORD_SIZE_MAX);
    code = cli_new_password(s->cli, &password, &generated);
    if (code == CLI_OK)
        code =
            directory_set_password(server, account, s->address.whole, STR(""), buf_str(&password));
    if (code == CLI_OK && generated)
        fprintf(s->cli->out, "%-8s the password of %.*s: %.*s\n", "made", STR_ARG(s->address.whole),
                STR_ARG(buf_str(&password)));
    buf_wipe(&password);
    return code;
}

static enum cli_exit put_account(struct setup *s, struct cli_server *server, struct db *db)
{
    struct account_record account;
    char words[LIMIT_PATH_SIZE * 2];
    enum status_code status =
        directory_account_by_name(db, s->address.whole, &s->cli->arena, &account);
    enum cli_exit code = CLI_OK;
    snprintf(words, sizeof(words), "account %.*s", STR_ARG(s->address.whole));
    if (status == STATUS_NOT_FOUND)
        code =
            directory_add_account(server, s->address.whole, 0, &s->address.whole, 1, &account.id);
    else if (status != STATUS_OK)
        code = cli_fail_status(s->cli, status, NULL);
    if (code == CLI_OK)
        code = put_password(s, server, account.id);
    if (code == CLI_OK)
        said(s, status == STATUS_OK ? "kept" : "made", words);
    return code;
}

/* What the machine has to say, cron's mail for example, is for root. */
static enum cli_exit put_root(struct setup *s, struct cli_server *server, struct db *db)
{
    struct domain_record domain;
    struct address_record address;
    char words[LIMIT_PATH_SIZE * 2];
    struct str root;
    snprintf(words, sizeof(words), "root@%.*s", STR_ARG(s->address.domain));
    if (!arena_dup(&s->cli->arena, str_from_c(words), &root))
        return cli_fail_status(s->cli, STATUS_NO_MEMORY, NULL);
    enum status_code status = directory_domain(db, s->address.domain, &s->cli->arena, &domain);
    if (status == STATUS_OK)
        status = directory_address(db, domain.id, STR("root"), &s->cli->arena, &address);
    enum cli_exit code = CLI_OK;
    if (status == STATUS_NOT_FOUND)
        code = directory_set_alias(server, root, &s->address.whole, 1);
    else if (status != STATUS_OK)
        code = cli_fail_status(s->cli, status, NULL);
    snprintf(words, sizeof(words), "alias %.*s", STR_ARG(root));
    if (code == CLI_OK)
        said(s, status == STATUS_OK ? "kept" : "made", words);
    return code;
}

static enum cli_exit put_directory(struct setup *s)
{
    struct config config;
    struct cli_server *server = NULL;
    struct db *db = NULL;
    enum cli_exit code = use_config(s, &config);
    if (code == CLI_OK)
        code = cli_server_open(s->cli, &config, &server);
    if (code == CLI_OK && !cli_server_role(server, ROLE_VAULT))
        code = CLI_FAILED;
    if (code == CLI_OK)
        code = cli_database(s->cli, &config, &db);
    if (code == CLI_OK)
        code = put_domain(s, server, db);
    if (code == CLI_OK)
        code = put_account(s, server, db);
    if (code == CLI_OK)
        code = put_root(s, server, db);
    db_close(db);
    cli_server_close(server);
    return code;
}

/* ---- The command
 * ----------------------------------------------------------------------------------------------------
 */

static enum cli_exit read_arguments(struct setup *s)
{
    struct cli *cli = s->cli;
    const char *hostname = cli_option(cli, "--hostname"), *root = cli_option(cli, "--root");
    struct diag diag = {0};
    char name[LIMIT_DOMAIN_SIZE * 2];
    s->root = root ? root : "";
    if (root && root[0] != '/')
        return cli_usage(cli, "--root needs an absolute path");
    if (!root && geteuid() != 0)
        return cli_fail(cli, CLI_FAILED, "this needs root; to try Postern out: postern demo DIR");
    enum cli_exit code = cli_address(cli, cli->args[0], &s->address);
    if (code != CLI_OK)
        return code;
    snprintf(name, sizeof(name), "mail.%.*s", STR_ARG(s->address.domain));
    ssize_t n = readlink("/proc/self/exe", s->program, sizeof(s->program) - 1);
    if (n <= 0)
        return cli_fail(cli, CLI_FAILED, "/proc/self/exe: %s", strerror(errno));
    s->program[n] = '\0';
    /* Root, and its cron, will run it. */
    enum status_code status = root ? STATUS_OK : files_check_owners(s->program, &diag);
    if (status != STATUS_OK)
        return cli_fail(cli, CLI_FAILED, "%s; install the program first (make install)",
                        diag.words);
    return cli_domain_name(cli, hostname ? hostname : name, &s->hostname);
}

enum cli_exit run_setup(struct cli *cli)
{
    struct setup s = {.cli = cli};
    enum cli_exit code = read_arguments(&s);
    if (code == CLI_OK)
        code = put_files(&s);
    if (code == CLI_OK)
        code = put_users(&s);
    if (code == CLI_OK)
        code = put_directory(&s);
    if (code == CLI_OK)
        setup_explain(cli->out, s.address.domain, s.hostname);
    return code;
}
