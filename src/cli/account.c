#include <stdlib.h>

#include "base/limits.h"
#include "cli/commands.h"
#include "cli/directory.h"
#include "cli/listing.h"
#include "cli/names.h"
#include "cli/password_input.h"
#include "cli/reach.h"

const struct cli_option account_add_options[] = {
    {"--address", "ADDRESS", "an address of it (may be repeated); default: the name itself"},
    {"--quota", "SIZE", "how much it may keep: 500M, 2G, none (default)"},
    {"--no-password", NULL, "nobody can log in until `postern password set`"},
    PASSWORD_OPTIONS,
    {NULL, NULL, NULL},
};

static const struct listing_column list_columns[] = {
    {"ACCOUNT", "account", LISTING_WORDS},    {"DISABLED", "disabled", LISTING_YES_NO},
    {"USED", "used", LISTING_SIZE},           {"QUOTA", "quota", LISTING_QUOTA},
    {"ADDRESSES", "addresses", LISTING_LIST}, {"CREATED", "created", LISTING_TIME},
};
enum { COLUMNS = sizeof(list_columns) / sizeof(list_columns[0]) };

static enum status_code add_row(struct cli *cli, struct db *db, struct listing *l,
                                const struct account_record *account)
{
    struct address_record *addresses;
    size_t count;
    enum status_code status =
        directory_addresses(db, account->id, false, &cli->arena, &addresses, &count);
    if (status != STATUS_OK)
        return status;
    struct str *words = arena_alloc_array(&cli->arena, count + 1, sizeof(*words));
    if (!words)
        return STATUS_NO_MEMORY;
    for (size_t i = 0; i < count; i++)
        words[i] = cli_print_address(cli, addresses[i].local, addresses[i].domain_name);
    listing_words(l, account->name);
    listing_yes_no(l, account->disabled);
    listing_number(l, (int64_t)account->used);
    listing_number(l, (int64_t)account->quota);
    listing_list(l, words, count);
    listing_number(l, account->created_ms);
    return STATUS_OK;
}

/* ---- add
 * ------------------------------------------------------------------------------------------ */

struct new_account {
    struct str name;
    struct str addresses[CLI_ARGS_MAX];
    size_t address_count;
    uint64_t quota;
    struct buf password;
    bool generated;
};

static enum cli_exit read_addresses(struct cli *cli, struct new_account *new)
{
    const char *typed;
    struct cli_address address;
    for (size_t n = 0; (typed = cli_option_nth(cli, "--address", n)); n++) {
        enum cli_exit code = cli_address(cli, typed, &address);
        if (code != CLI_OK)
            return code;
        new->addresses[new->address_count++] = address.whole;
    }
    if (new->address_count == 0 && str_find_byte(new->name, '@') >= 0)
        new->addresses[new->address_count++] = new->name;
    return CLI_OK;
}

static enum cli_exit read_new(struct cli *cli, struct new_account *new)
{
    const char *quota = cli_option(cli, "--quota");
    enum cli_exit code = cli_account_name(cli, cli->args[0], &new->name);
    if (code == CLI_OK)
        code = read_addresses(cli, new);
    if (code == CLI_OK && quota && !cli_size(quota, &new->quota))
        code = cli_usage(cli, "%s is no size (like 500M, 2G or none)", quota);
    if (code == CLI_OK && !cli_option(cli, "--no-password"))
        code = cli_new_password(cli, &new->password, &new->generated);
    return code;
}

static enum cli_exit make_account(struct cli *cli, const struct config *config,
                                  const struct new_account *new)
{
    struct cli_server *server = NULL;
    uint64_t account = 0;
    enum cli_exit code = cli_server_open(cli, config, &server);
    if (code == CLI_OK)
        code = directory_add_account(server, new->name, new->quota, new->addresses,
                                     new->address_count, &account);
    if (code == CLI_OK && new->password.len > 0) {
        code = directory_set_password(server, account, new->name, STR(""), buf_str(&new->password));
        if (code != CLI_OK)
            cli_fail(cli, code, "the account is there, but has no password yet");
    }
    cli_server_close(server);
    return code;
}

static void show_new(struct cli *cli, const struct new_account *new)
{
    static const struct listing_column columns[] = {{"ACCOUNT", "account", LISTING_WORDS},
                                                    {"ADDRESSES", "addresses", LISTING_LIST},
                                                    {"PASSWORD", "password", LISTING_WORDS}};
    struct listing l;
    listing_init(&l, columns, new->generated ? 3 : 2);
    listing_words(&l, new->name);
    listing_list(&l, new->addresses, new->address_count);
    if (new->generated)
        listing_words(&l, buf_str(&new->password));
    listing_print_record(&l, cli->out, cli->json);
}

enum cli_exit run_account_add(struct cli *cli)
{
    struct config config;
    struct new_account new = {.quota = 0};
    buf_init_secret(&new.password, CLI_PASSWORD_SIZE_MAX);
    enum cli_exit code = cli_config(cli, &config);
    if (code == CLI_OK)
        code = read_new(cli, &new);
    if (code == CLI_OK)
        code = make_account(cli, &config, &new);
    if (code == CLI_OK)
        show_new(cli, &new);
    buf_wipe(&new.password);
    return code;
}

/* ---- list, show
 * -------------------------------------------------------------------------------------- */

enum cli_exit run_account_list(struct cli *cli)
{
    struct config config;
    struct db *db = NULL;
    struct account_record *accounts;
    struct listing l;
    size_t count;
    enum cli_exit code = cli_look(cli, &config, &db);
    if (code != CLI_OK)
        return code;
    enum status_code status = directory_accounts(db, &cli->arena, &accounts, &count);
    listing_init(&l, list_columns, COLUMNS);
    for (size_t i = 0; status == STATUS_OK && i < count; i++)
        status = add_row(cli, db, &l, &accounts[i]);
    db_close(db);
    if (status == STATUS_OK) {
        listing_print_table(&l, cli->out, cli->json, "There are no accounts.");
        return CLI_OK;
    }
    listing_release(&l);
    return cli_fail_status(cli, status, NULL);
}

static enum cli_exit begin(struct cli *cli, struct config *config, struct db **ret_db,
                           struct account_record *ret_account)
{
    enum cli_exit code = cli_look(cli, config, ret_db);
    return code == CLI_OK ? cli_find_account(cli, *ret_db, cli->args[0], ret_account) : code;
}

enum cli_exit run_account_show(struct cli *cli)
{
    struct config config;
    struct db *db = NULL;
    struct account_record account;
    struct listing l;
    enum cli_exit code = begin(cli, &config, &db, &account);
    if (code == CLI_OK) {
        listing_init(&l, list_columns, COLUMNS);
        enum status_code status = add_row(cli, db, &l, &account);
        if (status == STATUS_OK) {
            listing_print_record(&l, cli->out, cli->json);
        } else {
            listing_release(&l);
            code = cli_fail_status(cli, status, NULL);
        }
    }
    db_close(db);
    return code;
}

/* ---- Changes
 * ------------------------------------------------------------------------------------------ */

/* The login goes first, so that nobody can come in to an account that is being closed. */
static enum cli_exit remove_both(struct cli_server *server, uint64_t account)
{
    enum cli_exit code = directory_remove_password(server, account, 0);
    if (code == CLI_OK || code == CLI_NOT_FOUND)
        code = directory_remove_account(server, account);
    return code;
}

static enum cli_exit set_disabled(struct cli_server *server, const struct account_record *account,
                                  bool disabled)
{
    enum cli_exit code = directory_disable_login(server, account->id, disabled);
    if (code == CLI_OK || code == CLI_NOT_FOUND)
        code = directory_set_account(server, account->id, account->quota, disabled);
    return code;
}

/* As stored, for the time when they are gone. */
static enum cli_exit addresses_of(struct cli *cli, struct db *db, uint64_t account,
                                  struct str **ret_addresses, size_t *ret_count)
{
    struct address_record *records;
    enum status_code status =
        directory_addresses(db, account, false, &cli->arena, &records, ret_count);
    if (status == STATUS_OK) {
        *ret_addresses = arena_alloc_array(&cli->arena, *ret_count + 1, sizeof **ret_addresses);
        status = *ret_addresses ? STATUS_OK : STATUS_NO_MEMORY;
    }
    for (size_t i = 0; status == STATUS_OK && i < *ret_count; i++) {
        struct buf whole;
        buf_init(&whole, 2 * LIMIT_PATH_SIZE);
        buf_printf(&whole, "%.*s@%.*s", STR_ARG(records[i].local), STR_ARG(records[i].domain_name));
        if (!arena_dup(&cli->arena, buf_str(&whole), &(*ret_addresses)[i]))
            status = STATUS_NO_MEMORY;
        buf_release(&whole);
    }
    return status == STATUS_OK ? CLI_OK : cli_fail_status(cli, status, NULL);
}

enum cli_exit run_account_remove(struct cli *cli)
{
    struct config config;
    struct db *db = NULL;
    struct account_record account;
    struct cli_server *server = NULL;
    struct str *addresses = NULL;
    size_t count = 0;
    enum cli_exit code = begin(cli, &config, &db, &account);
    if (code == CLI_OK)
        code = addresses_of(cli, db, account.id, &addresses, &count);
    db_close(db);
    if (code == CLI_OK)
        code = cli_server_open(cli, &config, &server);
    if (code == CLI_OK)
        code = remove_both(server, account.id);
    cli_server_close(server);
    if (code != CLI_OK)
        return code;
    cli_warn_of_aliases(cli, &config, addresses, count);
    return cli_done(cli, "account %.*s removed", STR_ARG(account.name));
}

static enum cli_exit change_disabled(struct cli *cli, bool disabled)
{
    struct config config;
    struct db *db = NULL;
    struct account_record account;
    struct cli_server *server = NULL;
    enum cli_exit code = begin(cli, &config, &db, &account);
    db_close(db);
    if (code == CLI_OK)
        code = cli_server_open(cli, &config, &server);
    if (code == CLI_OK)
        code = set_disabled(server, &account, disabled);
    cli_server_close(server);
    if (code != CLI_OK)
        return code;
    return cli_done(cli, "account %.*s %s", STR_ARG(account.name),
                    disabled ? "disabled" : "enabled");
}

enum cli_exit run_account_disable(struct cli *cli)
{
    return change_disabled(cli, true);
}

enum cli_exit run_account_enable(struct cli *cli)
{
    return change_disabled(cli, false);
}

enum cli_exit run_account_quota(struct cli *cli)
{
    struct config config;
    struct db *db = NULL;
    struct account_record account;
    struct cli_server *server = NULL;
    uint64_t quota;
    if (!cli_size(cli->args[1], &quota))
        return cli_usage(cli, "%s is no size (like 500M, 2G or none)", cli->args[1]);
    enum cli_exit code = begin(cli, &config, &db, &account);
    db_close(db);
    if (code == CLI_OK)
        code = cli_server_open(cli, &config, &server);
    if (code == CLI_OK)
        code = directory_set_account(server, account.id, quota, account.disabled);
    cli_server_close(server);
    if (code != CLI_OK)
        return code;
    return cli_done(cli, "the quota of %.*s is %s", STR_ARG(account.name), cli->args[1]);
}
