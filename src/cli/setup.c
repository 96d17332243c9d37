#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/limits.h"
#include "cli/certificate.h"
#include "cli/commands.h"
#include "cli/directory.h"
#include "cli/names.h"
#include "cli/password_input.h"
#include "cli/setup_files.h"
#include "cli/setup_root.h"
#include "cli/setup_text.h"
#include "cli/setup_unit.h"
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
    struct setup_root at;
    struct cli_address address;
    struct str hostname;
    char program[PATH_SIZE];
};

static void said(const struct setup *s, const char *did, const char *path)
{
    fprintf(s->cli->out, "%-8s %s\n", did, path);
}

/* ---- Files
 * --------------------------------------------------------------------------------------------- */

static enum cli_exit open_place(struct setup *s, const char *path, struct setup_place *ret_place)
{
    struct diag diag = {0};
    enum status_code status = setup_place_open(&s->at, path, ret_place, &diag);
    return status == STATUS_OK ? CLI_OK : cli_fail_status(s->cli, status, &diag);
}

static enum cli_exit write_place(struct setup *s, const struct setup_place *place,
                                 const struct buf *text, const char *did)
{
    struct diag diag = {0};
    enum status_code status =
        text->failed ? STATUS_NO_MEMORY : setup_place_write(place, buf_str(text), 0644, &diag);
    if (status != STATUS_OK)
        return cli_fail_status(s->cli, status, &diag);
    said(s, did, place->shown);
    return CLI_OK;
}

static enum cli_exit put_file(struct setup *s, const char *path, const char *template,
                              const struct setup_word *words)
{
    struct setup_place place;
    struct buf text;
    enum cli_exit code = open_place(s, path, &place);
    if (code != CLI_OK)
        return code;
    if (setup_place_exists(&place)) {
        said(s, "kept", place.shown);
    } else {
        buf_init(&text, FILE_SIZE_MAX);
        setup_fill(&text, str_from_c(template), words);
        code = write_place(s, &place, &text, "made");
        buf_release(&text);
    }
    setup_place_close(&place);
    return code;
}

static enum status_code make_certificate(const struct setup *s, const struct setup_place *chain,
                                         const struct setup_place *key, struct diag *diag)
{
    char name[LIMIT_DOMAIN_SIZE + 1];
    if (!str_to_c(s->hostname, name, sizeof(name)))
        return STATUS_INVALID;
    enum status_code status = certificate_make(name, false, chain->path, key->path, NULL);
    if (status != STATUS_OK)
        diag_set(diag, "%s: %s", chain->shown, status_name(status));
    return status;
}

static enum cli_exit put_certificate(struct setup *s)
{
    struct setup_place chain, key;
    struct diag diag = {0};
    enum cli_exit code = open_place(s, CHAIN_FILE, &chain);
    if (code != CLI_OK)
        return code;
    code = open_place(s, KEY_FILE, &key);
    if (code == CLI_OK) {
        bool kept = setup_place_exists(&chain) && setup_place_exists(&key);
        enum status_code status = kept ? STATUS_OK : make_certificate(s, &chain, &key, &diag);
        if (status == STATUS_OK)
            said(s, kept ? "kept" : "made", chain.shown);
        else
            code = cli_fail_status(s->cli, status, &diag);
        setup_place_close(&key);
    }
    setup_place_close(&chain);
    return code;
}

/* Another mailer's stays: then programs go on to mail through that one. */
static enum cli_exit put_sendmail(struct setup *s)
{
    struct setup_place place;
    struct diag diag = {0};
    enum cli_exit code = open_place(s, SENDMAIL_FILE, &place);
    if (code != CLI_OK)
        return code;
    bool kept = setup_place_exists(&place);
    enum status_code status = kept ? STATUS_OK : setup_place_link(&place, s->program, &diag);
    if (status == STATUS_OK)
        said(s, kept ? "kept" : "made", place.shown);
    else
        code = cli_fail_status(s->cli, status, &diag);
    setup_place_close(&place);
    return code;
}

/* ---- The unit
 * ------------------------------------------------------------------------------------------ */

static enum status_code judge_unit(const struct setup_place *place, const struct buf *made,
                                   enum setup_unit *ret_kind)
{
    struct buf there;
    buf_init(&there, FILE_SIZE_MAX);
    enum status_code status = setup_place_read(place, &there, NULL);
    *ret_kind = setup_unit_judge(buf_str(&there), buf_str(made));
    buf_release(&there);
    return status;
}

/* Beside the one that somebody edited, which says more about this machine than we know. */
static enum cli_exit put_new_unit(struct setup *s, const struct buf *made)
{
    struct setup_place place;
    enum setup_unit kind;
    enum cli_exit code = open_place(s, UNIT_FILE ".new", &place);
    if (code != CLI_OK)
        return code;
    if (judge_unit(&place, made, &kind) == STATUS_OK && kind == SETUP_UNIT_SAME)
        said(s, "kept", place.shown);
    else
        code = write_place(s, &place, made, "made");
    setup_place_close(&place);
    if (code == CLI_OK)
        fputs("         is this version's unit; yours was edited, so it stays. Settings of your "
              "own last\n         where systemctl edit postern puts them: then the new unit can "
              "take its place.\n",
              s->cli->out);
    return code;
}

static enum cli_exit renew_unit(struct setup *s, const struct setup_place *place,
                                const struct buf *made)
{
    enum setup_unit kind;
    enum status_code status = judge_unit(place, made, &kind);
    if (status == STATUS_OK && kind == SETUP_UNIT_OURS) {
        enum cli_exit code = write_place(s, place, made, "renewed");
        if (code == CLI_OK)
            fputs("         systemctl daemon-reload && systemctl restart postern puts it to use\n",
                  s->cli->out);
        return code;
    }
    said(s, "kept", place->shown);
    /* What is no file masks the unit, or stands for one elsewhere. */
    return status == STATUS_OK && kind == SETUP_UNIT_STRANGE ? put_new_unit(s, made) : CLI_OK;
}

static enum cli_exit put_unit(struct setup *s)
{
    struct setup_place place;
    struct buf made;
    enum cli_exit code = open_place(s, UNIT_FILE, &place);
    if (code != CLI_OK)
        return code;
    buf_init(&made, FILE_SIZE_MAX);
    setup_unit_make(&made, str_from_c(setup_service), str_from_c(s->program));
    code = setup_place_exists(&place) && !made.failed ? renew_unit(s, &place, &made)
                                                      : write_place(s, &place, &made, "made");
    buf_release(&made);
    setup_place_close(&place);
    return code;
}

/* ---- The configuration
 * --------------------------------------------------------------------------------- */

/* `data`: the folder of it. Without an installed server all roles stay who we are. */
static void config_words(const struct setup *s, const char *data, bool installed,
                         struct setup_word words[8])
{
    const struct setup_word filled[] = {
        {"@HOSTNAME@", s->hostname},
        {"@DOMAIN@", s->address.domain},
        {"@DATA@", str_from_c(data)},
        {"@CHAIN@", STR(CHAIN_FILE)},
        {"@KEY@", STR(KEY_FILE)},
        {"@EXTRA@", installed ? STR("")
                              : STR("user edge -\nuser courier -\nuser keeper -\n"
                                    "user mailroom -\nuser vault -\n")},
        {"@SENDMAIL@", STR(SOCKET_FILE)},
        {NULL, {0}},
    };
    memcpy(words, filled, sizeof(filled));
}

static enum cli_exit put_files(struct setup *s)
{
    struct setup_word words[8];
    config_words(s, DATA_FOLDER, true, words);
    enum cli_exit code = put_file(s, CLI_CONFIG_FILE, setup_config, words);
    if (code == CLI_OK)
        code = put_certificate(s);
    if (code == CLI_OK)
        code = put_file(s, USERS_FILE, setup_sysusers, words);
    if (code == CLI_OK)
        code = put_unit(s);
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

static const char *const users[] = {"postern-edge", "postern-courier", "postern-keeper",
                                    "postern-mailroom", "postern-vault"};
enum { USERS = sizeof(users) / sizeof(users[0]) };

static bool has_users(void)
{
    bool all = getgrnam("postern") != NULL;
    for (size_t i = 0; i < USERS; i++)
        all = all && getpwnam(users[i]);
    return all;
}

static bool add_users_by_hand(void)
{
    char groupadd[] = "/usr/sbin/groupadd", force[] = "--force", system[] = "--system",
         group[] = "postern";
    char *const group_argv[] = {groupadd, force, system, group, NULL};
    bool ok = run_program(group_argv);
    for (size_t i = 0; ok && i < USERS; i++) {
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
    if (has_users()) {
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

/* Where the data below --root really is; nobody else may be able to put something else there. */
static enum cli_exit find_data(struct setup *s, char ret_path[PATH_MAX])
{
    struct setup_place inside;
    struct diag diag = {0};
    enum cli_exit code = open_place(s, DATA_FOLDER "/store", &inside);
    if (code != CLI_OK)
        return code;
    enum status_code status = setup_place_folder(&inside, ret_path, &diag);
    setup_place_close(&inside);
    if (status == STATUS_OK)
        status = files_check_owners(ret_path, &diag);
    return status == STATUS_OK ? CLI_OK : cli_fail_status(s->cli, status, &diag);
}

/* The configuration that the commands go by: the installed one, or one for below --root. */
static enum cli_exit use_config(struct setup *s, struct config *ret_config)
{
    char data[PATH_MAX];
    struct setup_word words[8];
    struct conf_errors errors;
    struct buf text;
    s->cli->config_file = CLI_CONFIG_FILE;
    if (s->root[0] == '\0')
        return cli_config(s->cli, ret_config);
    enum cli_exit code = find_data(s, data);
    if (code != CLI_OK)
        return code;
    config_words(s, data, false, words);
    buf_init(&text, FILE_SIZE_MAX);
    setup_fill(&text, str_from_c(setup_config), words);
    bool ok = !text.failed && arena_dup(&s->cli->arena, buf_str(&text), &s->cli->config_text);
    buf_release(&text);
    conf_errors_init(&errors, &s->cli->arena);
    if (!ok || config_parse(s->cli->config_text, &s->cli->arena, ret_config, &errors) != STATUS_OK)
        return cli_fail(s->cli, CLI_FAILED, "the path of --root cannot be used");
    return CLI_OK;
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
    if (code != CLI_OK)
        cli_fail(s->cli, code, "the account %.*s is there, without a password: run this again",
                 STR_ARG(s->address.whole));
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
    struct diag diag = {0};
    enum cli_exit code = read_arguments(&s);
    if (code != CLI_OK)
        return code;
    enum status_code status = setup_root_open(s.root, &s.at, &diag);
    if (status != STATUS_OK)
        return cli_fail_status(cli, status, &diag);
    code = put_files(&s);
    if (code == CLI_OK)
        code = put_users(&s);
    if (code == CLI_OK)
        code = put_directory(&s);
    if (code == CLI_OK)
        setup_explain(cli->out, s.address.domain, s.hostname);
    setup_root_close(&s.at);
    return code;
}
