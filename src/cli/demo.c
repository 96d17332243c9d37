#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "cli/certificate.h"
#include "cli/commands.h"
#include "cli/directory.h"
#include "cli/names.h"
#include "cli/password_input.h"
#include "codec/conf.h"
#include "io/files.h"
#include "mail/address.h"
#include "roles/warden.h"

enum { PATH_SIZE = 1024, USERS_MAX = 32, CONFIG_SIZE_MAX = 65536 };

/* There is no well-known port for metrics; one among the others lets two demos stand side by side,
 * a thousand apart, and PORT be as high as those others let it. */
enum { METRICS_PORT = 100, PORT_MAX = 995, BASE_DEFAULT = 2000, BASE_MAX = UINT16_MAX - PORT_MAX };

const struct cli_option demo_options[] = {
    {"--base", "PORT", "ports are PORT plus the well-known number (default 2000)"},
    {"--domain", "NAME", "the domain that gets mail (default demo.test)"},
    {"--user", "NAME:PASSWORD", "an account (may be repeated; default alice and bob)"},
    {NULL, NULL, NULL},
};

static const struct {
    const char *kind;
    const char *shown;
    int port;
    bool may_log_in_clear;
} listeners[] = {
    {"mx", "smtp", 25, false},
    {"submission", "submission", 587, false},
    {"submissions", "submissions", 465, false},
    {"lmtp", "lmtp", 24, false},
    {"imap", "imap", 143, true},
    {"imaps", "imaps", 993, false},
    {"pop3", "pop3", 110, true},
    {"pop3s", "pop3s", 995, false},
    {"metrics", "metrics", METRICS_PORT, false},
};
enum { LISTENERS = sizeof(listeners) / sizeof(listeners[0]) };

struct demo_user {
    struct str name; /* name@domain */
    struct str password;
};

struct demo {
    struct cli *cli;
    char folder[PATH_SIZE];
    char config_path[PATH_SIZE + 32];
    uint64_t base;
    struct str domain;
    struct demo_user users[USERS_MAX];
    size_t user_count;
    struct buf passwords; /* those we made, and their file */
};

static const char *path_in(const struct demo *demo, const char *name, char *ret_path)
{
    snprintf(ret_path, PATH_SIZE + 32, "%s/%s", demo->folder, name);
    return ret_path;
}

/* ---- What is asked for
 * ---------------------------------------------------------------------------- */

static enum cli_exit add_user(struct demo *demo, struct str name, struct str password)
{
    struct cli *cli = demo->cli;
    struct cli_address address;
    char whole[LIMIT_PATH_SIZE * 2];
    if (demo->user_count == USERS_MAX)
        return cli_usage(cli, "too many users");
    snprintf(whole, sizeof(whole), "%.*s@%.*s", STR_ARG(name), STR_ARG(demo->domain));
    enum cli_exit code =
        cli_address(cli, str_find_byte(name, '@') < 0 ? whole : name.ptr, &address);
    if (code != CLI_OK)
        return code;
    if (!str_eq(address.domain, demo->domain))
        return cli_usage(cli, "%.*s is not in %.*s", STR_ARG(name), STR_ARG(demo->domain));
    demo->users[demo->user_count++] = (struct demo_user){address.whole, password};
    return CLI_OK;
}

static enum cli_exit read_users(struct demo *demo)
{
    const char *given;
    for (size_t n = 0; (given = cli_option_nth(demo->cli, "--user", n)); n++) {
        struct str words = str_from_c(given), name;
        ptrdiff_t colon = str_find_byte(words, ':');
        if (colon <= 0 || (size_t)colon + 1 == words.len)
            return cli_usage(demo->cli, "--user needs NAME:PASSWORD");
        if (!arena_dup(&demo->cli->arena, str_sub(words, 0, (size_t)colon), &name))
            return cli_fail_status(demo->cli, STATUS_NO_MEMORY, NULL);
        enum cli_exit code = add_user(demo, name, str_skip(words, (size_t)colon + 1));
        if (code != CLI_OK)
            return code;
    }
    return CLI_OK;
}

static enum cli_exit read_options(struct demo *demo)
{
    struct cli *cli = demo->cli;
    const char *base = cli_option(cli, "--base"), *domain = cli_option(cli, "--domain");
    demo->base = BASE_DEFAULT;
    if (base && !str_to_u64(str_from_c(base), BASE_MAX, &demo->base))
        return cli_usage(cli, "--base is a number from 0 to %d", BASE_MAX);
    enum cli_exit code = cli_domain_name(cli, domain ? domain : "demo.test", &demo->domain);
    return code == CLI_OK ? read_users(demo) : code;
}

/* ---- The folder
 * -------------------------------------------------------------------------------------- */

static enum cli_exit open_folder(struct demo *demo)
{
    const char *given = demo->cli->args[0];
    struct diag diag = {0};
    char *real;
    if (mkdir(given, 0700) != 0 && errno != EEXIST)
        return cli_fail(demo->cli, CLI_FAILED, "%s: %s", given, strerror(errno));
    real = realpath(given, NULL);
    if (!real || strlen(real) >= PATH_SIZE) {
        free(real);
        return cli_fail(demo->cli, CLI_FAILED, "%s: %s", given,
                        real ? "the name is too long" : strerror(errno));
    }
    snprintf(demo->folder, sizeof(demo->folder), "%s", real);
    free(real);
    /* Who can change the configuration under our hands has all that we may do. */
    enum status_code status = files_check_owners(demo->folder, &diag);
    if (status != STATUS_OK)
        return cli_fail_status(demo->cli, status, &diag);
    path_in(demo, "postern.conf", demo->config_path);
    demo->cli->config_file = demo->config_path;
    return CLI_OK;
}

static void put_path(struct buf *out, const char *path)
{
    buf_append_byte(out, ' ');
    conf_write_word(out, str_from_c(path));
}

/* Loopback only, as whoever starts it, and without limits for those who try it out. */
static enum status_code write_config(struct demo *demo, struct diag *diag)
{
    static const char *const roles[] = {"edge", "courier", "keeper", "mailroom", "vault"};
    char path[PATH_SIZE + 32];
    struct buf out;
    buf_init(&out, CONFIG_SIZE_MAX);
    buf_printf(&out, "# Made by postern demo at each start.\nhostname mail.%.*s\ndata",
               STR_ARG(demo->domain));
    put_path(&out, demo->folder);
    buf_append_str(&out, STR("\ncertificate"));
    put_path(&out, path_in(demo, "certificate.pem", path));
    put_path(&out, path_in(demo, "key.pem", path));
    buf_printf(&out,
               "\nlogin-domain %.*s\ntrust 127.0.0.0/8\nreverse-dns no\n"
               "limits {\n    tarpit 0s\n}\n"
               "# Nothing leaves this machine.\noutbound {\n    enabled no\n}\n",
               STR_ARG(demo->domain));
    for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
        buf_printf(&out, "user %s -\n", roles[i]);
    for (size_t i = 0; i < LISTENERS; i++)
        buf_printf(&out, "listen %s 127.0.0.1:%u%s\n", listeners[i].kind,
                   (unsigned)demo->base + (unsigned)listeners[i].port,
                   listeners[i].may_log_in_clear ? " {\n    tls starttls\n}" : "");
    enum status_code status =
        out.failed ? STATUS_TOO_BIG : files_write(demo->config_path, buf_str(&out), 0600, diag);
    buf_release(&out);
    return status;
}

static enum cli_exit write_files(struct demo *demo)
{
    char chain[PATH_SIZE + 32], key[PATH_SIZE + 32], name[LIMIT_DOMAIN_SIZE + 8];
    struct diag diag = {0};
    enum status_code status = write_config(demo, &diag);
    path_in(demo, "certificate.pem", chain);
    path_in(demo, "key.pem", key);
    snprintf(name, sizeof(name), "mail.%.*s", STR_ARG(demo->domain));
    if (status == STATUS_OK && (access(chain, F_OK) != 0 || access(key, F_OK) != 0))
        status = certificate_make(name, true, chain, key, &diag);
    return status == STATUS_OK ? CLI_OK : cli_fail_status(demo->cli, status, &diag);
}

/* ---- The accounts
 * -------------------------------------------------------------------------------------- */

/* alice's and bob's passwords are made once and kept beside the data. */
static enum cli_exit default_users(struct demo *demo)
{
    char path[PATH_SIZE + 32];
    struct diag diag = {0};
    struct str rest, line, name;
    enum status_code status = STATUS_OK;
    path_in(demo, "passwords", path);
    if (access(path, F_OK) == 0) {
        status = files_read(path, &demo->passwords, &diag);
    } else {
        buf_append_str(&demo->passwords, STR("alice:"));
        cli_generate_password(&demo->passwords);
        buf_append_str(&demo->passwords, STR("\nbob:"));
        cli_generate_password(&demo->passwords);
        buf_append_byte(&demo->passwords, '\n');
        status = files_write(path, buf_str(&demo->passwords), 0600, &diag);
    }
    if (status != STATUS_OK)
        return cli_fail_status(demo->cli, status, &diag);
    rest = buf_str(&demo->passwords);
    while (str_split(&rest, '\n', &line)) {
        if (!str_split(&line, ':', &name))
            continue;
        enum cli_exit code = add_user(demo, name, line);
        if (code != CLI_OK)
            return code;
    }
    return CLI_OK;
}

/* What is there already stays; a password that was asked for is set again. */
static enum cli_exit make_user(struct demo *demo, struct cli_server *server, struct db *db,
                               const struct demo_user *user)
{
    struct account_record account = {.id = 0};
    enum cli_exit code = CLI_OK;
    enum status_code status =
        directory_account_by_name(db, user->name, &demo->cli->arena, &account);
    if (status == STATUS_NOT_FOUND)
        code = directory_add_account(server, user->name, 0, &user->name, 1, &account.id);
    else if (status != STATUS_OK)
        code = cli_fail_status(demo->cli, status, NULL);
    if (code == CLI_OK)
        code = directory_set_password(server, account.id, user->name, STR(""), user->password);
    return code;
}

static enum cli_exit make_directory(struct demo *demo, struct cli_server *server,
                                    const struct config *config)
{
    struct db *db = NULL;
    struct domain_record domain;
    if (!cli_server_role(server, ROLE_VAULT))
        return CLI_FAILED;
    enum cli_exit code = cli_database(demo->cli, config, &db);
    if (code != CLI_OK)
        return code;
    enum status_code status = directory_domain(db, demo->domain, &demo->cli->arena, &domain);
    if (status == STATUS_NOT_FOUND)
        code = directory_add_domain(server, demo->domain);
    else if (status != STATUS_OK)
        code = cli_fail_status(demo->cli, status, NULL);
    for (size_t i = 0; code == CLI_OK && i < demo->user_count; i++)
        code = make_user(demo, server, db, &demo->users[i]);
    db_close(db);
    return code;
}

static enum cli_exit fill_directory(struct demo *demo)
{
    struct config config;
    struct cli_server *server = NULL;
    enum cli_exit code = cli_config(demo->cli, &config);
    if (code == CLI_OK && cli_server_runs(&config))
        code = cli_fail(demo->cli, CLI_TRY_AGAIN, "a demo is running in %s already", demo->folder);
    if (code == CLI_OK)
        code = cli_server_open(demo->cli, &config, &server);
    if (code == CLI_OK)
        code = make_directory(demo, server, &config);
    cli_server_close(server);
    return code;
}

/* ---- Serving
 * --------------------------------------------------------------------------------------------- */

static void say_ready(void *context)
{
    struct demo *demo = context;
    FILE *out = demo->cli->out;
    for (size_t i = 0; i < demo->user_count; i++)
        fprintf(out, "account %.*s password %.*s\n", STR_ARG(demo->users[i].name),
                STR_ARG(demo->users[i].password));
    fputs("ready", out);
    for (size_t i = 0; i < LISTENERS; i++)
        fprintf(out, " %s=127.0.0.1:%u", listeners[i].shown,
                (unsigned)demo->base + (unsigned)listeners[i].port);
    fputc('\n', out);
    fflush(out);
}

static enum cli_exit prepare(struct demo *demo)
{
    enum cli_exit code = read_options(demo);
    if (code == CLI_OK)
        code = open_folder(demo);
    if (code == CLI_OK && demo->user_count == 0)
        code = default_users(demo);
    if (code == CLI_OK)
        code = write_files(demo);
    return code == CLI_OK ? fill_directory(demo) : code;
}

enum cli_exit run_demo(struct cli *cli)
{
    struct demo demo = {.cli = cli};
    buf_init_secret(&demo.passwords, CONFIG_SIZE_MAX);
    enum cli_exit code = prepare(&demo);
    if (code == CLI_OK) {
        const struct warden_plan plan = {
            .config_path = demo.config_path, .ready = say_ready, .context = &demo};
        code = warden_main(&plan) == EXIT_SUCCESS ? CLI_OK : CLI_FAILED;
    }
    buf_wipe(&demo.passwords);
    return code;
}
