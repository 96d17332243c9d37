#include "cli/commands.h"
#include "cli/directory.h"
#include "cli/listing.h"
#include "cli/names.h"

const struct cli_option domain_options[] = {
    {"--separators", "CHARS", "between a name and its detail (alice+shop); \"\" for none"},
    {NULL, NULL, NULL},
};

static const struct listing_column columns[] = {
    {"DOMAIN", "domain", LISTING_WORDS},
    {"SEPARATORS", "separators", LISTING_WORDS},
    {"CATCH-ALL", "catch_all", LISTING_WORDS},
    {"CREATED", "created", LISTING_TIME},
};
enum { COLUMNS = sizeof(columns) / sizeof(columns[0]) };
enum { ADDRESSES_SHOWN = 5, ADDRESSES_SIZE_MAX = 8192 };

/* "-" in a table, "" in JSON. */
static struct str account_name(struct cli *cli, struct db *db, uint64_t id)
{
    struct account_record account;
    if (id == 0 || directory_account(db, id, &cli->arena, &account) != STATUS_OK)
        return cli->json ? STR("") : STR("-");
    return account.name;
}

static void add_row(struct cli *cli, struct db *db, struct listing *l,
                    const struct domain_record *domain)
{
    listing_words(l, domain->name);
    listing_words(l, domain->subaddress);
    listing_words(l, account_name(cli, db, domain->catch_all));
    listing_number(l, domain->created_ms);
}

static enum cli_exit separators_of(struct cli *cli, struct str *ret_separators)
{
    struct str words = str_from_c(cli_option(cli, "--separators"));
    for (size_t i = 0; i < words.len; i++)
        if (!strchr("+-_=.#~", words.ptr[i]))
            return cli_usage(cli, "a separator is one of + - _ = . # ~");
    *ret_separators = words;
    return CLI_OK;
}

/* Both halves of `domain add`; a new domain has the configuration's separator unless told. */
static enum cli_exit add(struct cli *cli, struct config *config, struct str name,
                         struct str separators)
{
    struct cli_server *server = NULL;
    enum cli_exit code = cli_server_open(cli, config, &server);
    if (code == CLI_OK)
        code = directory_add_domain(server, name);
    if (code == CLI_OK && !str_eq(separators, STR("+")))
        code = directory_set_domain(server, name, 0, separators);
    cli_server_close(server);
    return code;
}

enum cli_exit run_domain_add(struct cli *cli)
{
    struct config config;
    struct str name, separators;
    enum cli_exit code = cli_domain_name(cli, cli->args[0], &name);
    if (code == CLI_OK)
        code = cli_config(cli, &config);
    if (code == CLI_OK)
        code = separators_of(cli, &separators);
    if (code != CLI_OK)
        return code;
    if (!cli_option(cli, "--separators"))
        separators = str_make(&config.recipient_delimiter, config.recipient_delimiter ? 1 : 0);
    code = add(cli, &config, name, separators);
    return code == CLI_OK ? cli_done(cli, "domain %.*s added", STR_ARG(name)) : code;
}

/* The steps that every command on one domain begins with. */
static enum cli_exit begin(struct cli *cli, struct config *config, struct db **ret_db,
                           struct domain_record *ret_domain)
{
    enum cli_exit code = cli_look(cli, config, ret_db);
    if (code == CLI_OK)
        code = cli_find_domain(cli, *ret_db, cli->args[0], ret_domain);
    return code;
}

static enum cli_exit change(struct cli *cli, const struct config *config,
                            const struct domain_record *domain, uint64_t catch_all,
                            struct str separators)
{
    struct cli_server *server = NULL;
    enum cli_exit code = cli_server_open(cli, config, &server);
    if (code == CLI_OK)
        code = directory_set_domain(server, domain->name, catch_all, separators);
    cli_server_close(server);
    return code;
}

enum cli_exit run_domain_set(struct cli *cli)
{
    struct config config;
    struct db *db = NULL;
    struct domain_record domain;
    struct str separators;
    if (!cli_option(cli, "--separators"))
        return cli_usage(cli, "there is nothing to set: say --separators");
    enum cli_exit code = separators_of(cli, &separators);
    if (code == CLI_OK)
        code = begin(cli, &config, &db, &domain);
    if (code == CLI_OK)
        code = change(cli, &config, &domain, domain.catch_all, separators);
    db_close(db);
    return code == CLI_OK ? cli_done(cli, "domain %.*s changed", STR_ARG(domain.name)) : code;
}

enum cli_exit run_domain_list(struct cli *cli)
{
    struct config config;
    struct db *db = NULL;
    struct domain_record *domains;
    struct listing l;
    size_t count;
    enum cli_exit code = cli_look(cli, &config, &db);
    if (code != CLI_OK)
        return code;
    enum status_code status = directory_domains(db, &cli->arena, &domains, &count);
    listing_init(&l, columns, COLUMNS);
    for (size_t i = 0; status == STATUS_OK && i < count; i++)
        add_row(cli, db, &l, &domains[i]);
    db_close(db);
    if (status != STATUS_OK) {
        listing_release(&l);
        return cli_fail_status(cli, status, NULL);
    }
    listing_print_table(&l, cli->out, cli->json, "There are no domains.");
    return CLI_OK;
}

enum cli_exit run_domain_show(struct cli *cli)
{
    struct config config;
    struct db *db = NULL;
    struct domain_record domain;
    struct listing l;
    enum cli_exit code = begin(cli, &config, &db, &domain);
    if (code == CLI_OK) {
        listing_init(&l, columns, COLUMNS);
        add_row(cli, db, &l, &domain);
        listing_print_record(&l, cli->out, cli->json);
    }
    db_close(db);
    return code;
}

/* Those that are still in a domain, the first few by name. */
static enum cli_exit check_empty(struct cli *cli, struct db *db, const struct domain_record *domain)
{
    struct address_record *all;
    size_t count, found = 0;
    struct buf words;
    enum status_code status = directory_addresses(db, 0, false, &cli->arena, &all, &count);
    if (status != STATUS_OK)
        return cli_fail_status(cli, status, NULL);
    buf_init(&words, ADDRESSES_SIZE_MAX);
    for (size_t i = 0; i < count; i++) {
        if (all[i].domain != domain->id || ++found > ADDRESSES_SHOWN)
            continue;
        struct str address = cli_print_address(cli, all[i].local, all[i].domain_name);
        buf_printf(&words, "\n  postern %s remove %.*s", all[i].alias != 0 ? "alias" : "address",
                   STR_ARG(address));
    }
    if (found > ADDRESSES_SHOWN)
        buf_printf(&words, "\n  and %zu more", found - ADDRESSES_SHOWN);
    if (found > 0)
        cli_fail(cli, CLI_FAILED, "there are addresses in %.*s; without them it can go:%.*s",
                 STR_ARG(domain->name), STR_ARG(buf_str(&words)));
    buf_release(&words);
    return found > 0 ? CLI_FAILED : CLI_OK;
}

enum cli_exit run_domain_remove(struct cli *cli)
{
    struct config config;
    struct db *db = NULL;
    struct domain_record domain;
    struct cli_server *server = NULL;
    enum cli_exit code = begin(cli, &config, &db, &domain);
    if (code == CLI_OK)
        code = check_empty(cli, db, &domain);
    if (code == CLI_OK)
        code = cli_server_open(cli, &config, &server);
    if (code == CLI_OK)
        code = directory_remove_domain(server, domain.name);
    cli_server_close(server);
    db_close(db);
    return code == CLI_OK ? cli_done(cli, "domain %.*s removed", STR_ARG(domain.name)) : code;
}

/* ---- Catch-all
 * ----------------------------------------------------------------------------------- */

enum cli_exit run_catch_all_set(struct cli *cli)
{
    struct config config;
    struct db *db = NULL;
    struct domain_record domain;
    struct account_record account;
    enum cli_exit code = begin(cli, &config, &db, &domain);
    if (code == CLI_OK)
        code = cli_find_account(cli, db, cli->args[1], &account);
    if (code == CLI_OK)
        code = change(cli, &config, &domain, account.id, domain.subaddress);
    db_close(db);
    if (code != CLI_OK)
        return code;
    return cli_done(cli, "mail for unknown addresses in %.*s goes to %.*s", STR_ARG(domain.name),
                    STR_ARG(account.name));
}

enum cli_exit run_catch_all_show(struct cli *cli)
{
    static const struct listing_column shown[] = {{"DOMAIN", "domain", LISTING_WORDS},
                                                  {"CATCH-ALL", "catch_all", LISTING_WORDS}};
    struct config config;
    struct db *db = NULL;
    struct domain_record domain;
    struct listing l;
    enum cli_exit code = begin(cli, &config, &db, &domain);
    if (code == CLI_OK) {
        listing_init(&l, shown, 2);
        listing_words(&l, domain.name);
        listing_words(&l, account_name(cli, db, domain.catch_all));
        listing_print_record(&l, cli->out, cli->json);
    }
    db_close(db);
    return code;
}

enum cli_exit run_catch_all_remove(struct cli *cli)
{
    struct config config;
    struct db *db = NULL;
    struct domain_record domain;
    enum cli_exit code = begin(cli, &config, &db, &domain);
    if (code == CLI_OK && domain.catch_all == 0)
        code = cli_fail(cli, CLI_NOT_FOUND, "%.*s has no catch-all", STR_ARG(domain.name));
    if (code == CLI_OK)
        code = change(cli, &config, &domain, 0, domain.subaddress);
    db_close(db);
    if (code != CLI_OK)
        return code;
    return cli_done(cli, "mail for unknown addresses in %.*s is refused", STR_ARG(domain.name));
}
