#include "cli/commands.h"
#include "cli/directory.h"
#include "cli/listing.h"
#include "cli/names.h"
#include "cli/reach.h"

/* ---- Addresses
 * ---------------------------------------------------------------------------------------- */

static const struct listing_column address_columns[] = {
    {"ADDRESS", "address", LISTING_WORDS},
    {"ACCOUNT", "account", LISTING_WORDS},
    {"CREATED", "created", LISTING_TIME},
};

static const struct listing_column alias_columns[] = {
    {"ALIAS", "alias", LISTING_WORDS},
    {"TARGETS", "targets", LISTING_LIST},
    {"CREATED", "created", LISTING_TIME},
};

static enum status_code add_address_row(struct cli *cli, struct db *db, struct listing *l,
                                        const struct address_record *address)
{
    struct account_record account;
    enum status_code status = directory_account(db, address->account, &cli->arena, &account);
    if (status != STATUS_OK)
        return status;
    listing_words(l, cli_print_address(cli, address->local, address->domain_name));
    listing_words(l, account.name);
    listing_number(l, address->created_ms);
    return STATUS_OK;
}

static enum status_code add_alias_row(struct cli *cli, struct db *db, struct listing *l,
                                      const struct address_record *address)
{
    struct str *targets;
    size_t count;
    enum status_code status =
        directory_alias_targets(db, address->alias, &cli->arena, &targets, &count);
    if (status != STATUS_OK)
        return status;
    for (size_t i = 0; i < count; i++)
        targets[i] = cli_print_stored(cli, targets[i]);
    listing_words(l, cli_print_address(cli, address->local, address->domain_name));
    listing_list(l, targets, count);
    listing_number(l, address->created_ms);
    return STATUS_OK;
}

static enum cli_exit list(struct cli *cli, struct db *db, uint64_t account, bool aliases)
{
    struct address_record *addresses;
    struct listing l;
    size_t count;
    enum status_code status =
        directory_addresses(db, account, aliases, &cli->arena, &addresses, &count);
    listing_init(&l, aliases ? alias_columns : address_columns, 3);
    for (size_t i = 0; status == STATUS_OK && i < count; i++) {
        if (aliases)
            status = add_alias_row(cli, db, &l, &addresses[i]);
        else if (addresses[i].account != 0)
            status = add_address_row(cli, db, &l, &addresses[i]);
    }
    if (status != STATUS_OK) {
        listing_release(&l);
        return cli_fail_status(cli, status, NULL);
    }
    listing_print_table(&l, cli->out, cli->json,
                        aliases ? "There are no aliases." : "There are no addresses.");
    return CLI_OK;
}

enum cli_exit run_address_list(struct cli *cli)
{
    struct config config;
    struct db *db = NULL;
    struct account_record account = {.id = 0};
    enum cli_exit code = cli_look(cli, &config, &db);
    if (code == CLI_OK && cli->arg_count > 0)
        code = cli_find_account(cli, db, cli->args[0], &account);
    if (code == CLI_OK)
        code = list(cli, db, account.id, false);
    db_close(db);
    return code;
}

enum cli_exit run_alias_list(struct cli *cli)
{
    struct config config;
    struct db *db = NULL;
    enum cli_exit code = cli_look(cli, &config, &db);
    if (code == CLI_OK)
        code = list(cli, db, 0, true);
    db_close(db);
    return code;
}

/* The address named by the first argument, if it is of that kind. */
static enum cli_exit begin(struct cli *cli, bool alias, struct config *config, struct db **ret_db,
                           struct address_record *ret_address)
{
    enum cli_exit code = cli_look(cli, config, ret_db);
    if (code == CLI_OK)
        code = cli_find_address(cli, *ret_db, cli->args[0], alias, ret_address);
    if (code == CLI_OK && (ret_address->alias != 0) != alias)
        return cli_fail(cli, CLI_NOT_FOUND, "%s is %s", cli->args[0],
                        alias ? "an account's address: see postern address"
                              : "an alias: see postern alias");
    return code;
}

static enum cli_exit show(struct cli *cli, bool alias)
{
    struct config config;
    struct db *db = NULL;
    struct address_record address;
    struct listing l;
    enum cli_exit code = begin(cli, alias, &config, &db, &address);
    if (code != CLI_OK) {
        db_close(db);
        return code;
    }
    listing_init(&l, alias ? alias_columns : address_columns, 3);
    enum status_code status =
        alias ? add_alias_row(cli, db, &l, &address) : add_address_row(cli, db, &l, &address);
    db_close(db);
    if (status != STATUS_OK) {
        listing_release(&l);
        return cli_fail_status(cli, status, NULL);
    }
    listing_print_record(&l, cli->out, cli->json);
    return CLI_OK;
}

enum cli_exit run_address_show(struct cli *cli)
{
    return show(cli, false);
}

enum cli_exit run_alias_show(struct cli *cli)
{
    return show(cli, true);
}

static enum cli_exit remove_one(struct cli *cli, bool alias)
{
    struct config config;
    struct db *db = NULL;
    struct address_record address;
    struct cli_address name;
    struct cli_server *server = NULL;
    enum cli_exit code = begin(cli, alias, &config, &db, &address);
    db_close(db);
    if (code == CLI_OK)
        code = cli_address(cli, cli->args[0], &name);
    if (code == CLI_OK)
        code = cli_server_open(cli, &config, &server);
    if (code == CLI_OK)
        code = directory_remove_address(server, name.whole);
    cli_server_close(server);
    if (code != CLI_OK)
        return code;
    cli_warn_of_aliases(cli, &config, &name.whole, 1);
    return cli_done(cli, "%s %s removed", alias ? "alias" : "address", cli->args[0]);
}

enum cli_exit run_address_remove(struct cli *cli)
{
    return remove_one(cli, false);
}

enum cli_exit run_alias_remove(struct cli *cli)
{
    return remove_one(cli, true);
}

enum cli_exit run_address_add(struct cli *cli)
{
    struct config config;
    struct db *db = NULL;
    struct account_record account;
    struct cli_address address;
    struct cli_server *server = NULL;
    enum cli_exit code = cli_address(cli, cli->args[0], &address);
    if (code == CLI_OK)
        code = cli_look(cli, &config, &db);
    if (code == CLI_OK)
        code = cli_find_account(cli, db, cli->args[1], &account);
    db_close(db);
    if (code == CLI_OK)
        code = cli_server_open(cli, &config, &server);
    if (code == CLI_OK)
        code = directory_add_address(server, address.whole, account.id);
    cli_server_close(server);
    if (code != CLI_OK)
        return code;
    return cli_done(cli, "address %s added to %.*s", cli->args[0], STR_ARG(account.name));
}

/* ---- Aliases
 * ------------------------------------------------------------------------------------------- */

/* Where no mail leaves, a target must be here. */
static enum cli_exit read_targets(struct cli *cli, struct db *db, bool outbound,
                                  struct str *targets)
{
    for (size_t i = 1; i < cli->arg_count; i++) {
        struct cli_address target;
        struct domain_record domain;
        enum cli_exit code = cli_address(cli, cli->args[i], &target);
        if (code != CLI_OK)
            return code;
        enum status_code status = directory_domain(db, target.domain, &cli->arena, &domain);
        if (status == STATUS_NOT_FOUND && !outbound)
            return cli_fail(cli, CLI_FAILED,
                            "%s is in no domain of this server, and it sends no mail out",
                            cli->args[i]);
        if (status != STATUS_OK && status != STATUS_NOT_FOUND)
            return cli_fail_status(cli, status, NULL);
        targets[i - 1] = target.whole;
    }
    return CLI_OK;
}

/* add: there must be none of that name; set: there must be one. */
static enum cli_exit check_alias(struct cli *cli, struct db *db, const struct cli_address *alias,
                                 bool is_new)
{
    struct domain_record domain;
    struct address_record address;
    enum status_code status = directory_domain(db, alias->domain, &cli->arena, &domain);
    if (status == STATUS_NOT_FOUND)
        return cli_fail(cli, CLI_NOT_FOUND, "there is no domain %.*s", STR_ARG(alias->domain));
    if (status == STATUS_OK)
        status = directory_address(db, domain.id, alias->local, &cli->arena, &address);
    if (status == STATUS_OK && (is_new || address.alias == 0))
        return cli_fail(cli, CLI_EXISTS, "there is %s %s already",
                        address.alias != 0 ? "an alias" : "an account's address", cli->args[0]);
    if (status == STATUS_NOT_FOUND && !is_new)
        return cli_fail(cli, CLI_NOT_FOUND, "there is no alias %s", cli->args[0]);
    if (status != STATUS_OK && status != STATUS_NOT_FOUND)
        return cli_fail_status(cli, status, NULL);
    return CLI_OK;
}

/* Those who could not get a copy, had it come now: mistyped, perhaps, or to be made later. */
static void warn_of_targets(struct cli *cli, const struct config *config,
                            const struct cli_address *alias, const struct str *targets)
{
    struct db *db = NULL;
    if (cli_database(cli, config, &db) != CLI_OK)
        return;
    bool all = !str_empty(cli_refusal(cli, config, db, alias->whole));
    for (size_t i = 0; i + 1 < cli->arg_count; i++) {
        struct str why = cli_refusal(cli, config, db, targets[i]);
        if (!str_empty(why))
            cli_warn(cli, "mail for %s is refused now: %.*s", cli->args[i + 1], STR_ARG(why));
    }
    if (all)
        cli_warn(cli, "so all mail for %s is refused", cli->args[0]);
    db_close(db);
}

static enum cli_exit put_alias(struct cli *cli, bool is_new)
{
    struct config config;
    struct db *db = NULL;
    struct cli_address alias;
    struct str targets[CLI_ARGS_MAX];
    struct cli_server *server = NULL;
    enum cli_exit code = cli_address(cli, cli->args[0], &alias);
    if (code == CLI_OK)
        code = cli_look(cli, &config, &db);
    if (code == CLI_OK)
        code = check_alias(cli, db, &alias, is_new);
    if (code == CLI_OK)
        code = read_targets(cli, db, config.outbound.enabled, targets);
    db_close(db);
    if (code == CLI_OK)
        code = cli_server_open(cli, &config, &server);
    if (code == CLI_OK)
        code = directory_set_alias(server, alias.whole, targets, cli->arg_count - 1);
    cli_server_close(server);
    if (code != CLI_OK)
        return code;
    warn_of_targets(cli, &config, &alias, targets);
    return cli_done(cli, "alias %s %s", cli->args[0], is_new ? "added" : "changed");
}

enum cli_exit run_alias_add(struct cli *cli)
{
    return put_alias(cli, true);
}

enum cli_exit run_alias_set(struct cli *cli)
{
    return put_alias(cli, false);
}
