#include "base/limits.h"
#include "cli/commands.h"
#include "cli/directory.h"
#include "cli/listing.h"
#include "cli/names.h"
#include "cli/password_input.h"

const struct cli_option password_options[] = {
    PASSWORD_OPTIONS,
    {NULL, NULL, NULL},
};

const struct cli_option password_add_options[] = {
    {"--label", "WORDS", "what it is for, so that one knows which to remove (needed)"},
    PASSWORD_OPTIONS,
    {NULL, NULL, NULL},
};

/* The account named by the first argument, and somebody to ask about its passwords. */
static enum cli_exit begin(struct cli *cli, struct account_record *ret_account,
                           struct cli_server **ret_server)
{
    struct config *config = arena_alloc(&cli->arena, sizeof(*config));
    struct db *db = NULL;
    if (!config)
        return cli_fail_status(cli, STATUS_NO_MEMORY, NULL);
    enum cli_exit code = cli_look(cli, config, &db);
    if (code == CLI_OK)
        code = cli_find_account(cli, db, cli->args[0], ret_account);
    db_close(db);
    return code == CLI_OK ? cli_server_open(cli, config, ret_server) : code;
}

static enum cli_exit show_password(struct cli *cli, const struct account_record *account,
                                   struct str label, struct str password)
{
    static const struct listing_column columns[] = {{"ACCOUNT", "account", LISTING_WORDS},
                                                    {"LABEL", "label", LISTING_WORDS},
                                                    {"PASSWORD", "password", LISTING_WORDS}};
    struct listing l;
    listing_init(&l, columns, 3);
    listing_words(&l, account->name);
    listing_words(&l, label);
    listing_words(&l, password);
    listing_print_record(&l, cli->out, cli->json);
    return CLI_OK;
}

static enum cli_exit set(struct cli *cli, struct str label)
{
    struct account_record account;
    struct cli_server *server = NULL;
    struct buf password;
    bool generated = false;
    buf_init_secret(&password, CLI_PASSWORD_SIZE_MAX);
    enum cli_exit code = begin(cli, &account, &server);
    if (code == CLI_OK)
        code = cli_new_password(cli, &password, &generated);
    if (code == CLI_OK)
        code = directory_set_password(server, account.id, account.name, label, buf_str(&password));
    cli_server_close(server);
    if (code == CLI_OK && generated)
        code = show_password(cli, &account, label, buf_str(&password));
    else if (code == CLI_OK)
        code = cli_done(cli, "password of %.*s %s", STR_ARG(account.name),
                        str_empty(label) ? "set" : "added");
    buf_wipe(&password);
    return code;
}

enum cli_exit run_password_set(struct cli *cli)
{
    return set(cli, STR(""));
}

enum cli_exit run_password_add(struct cli *cli)
{
    struct str label = str_from_c(cli_option(cli, "--label"));
    if (str_empty(label) || label.len > LIMIT_LOCAL_PART_SIZE)
        return cli_usage(cli, "say what it is for: --label WORDS, 1 to %d octets",
                         LIMIT_LOCAL_PART_SIZE);
    return set(cli, label);
}

/* ---- list
 * -----------------------------------------------------------------------------------------------
 */

struct listed {
    struct cli_outcome outcome;
    uint64_t only; /* the id that is wanted; 0: all */
    size_t count;
    struct listing listing;
};

static void on_list(void *context, enum status_code sent, const struct ipc_password_list_out *out)
{
    struct listed *listed = context;
    for (size_t i = 0; out && i < out->passwords_count; i++) {
        const struct ipc_password *password = &out->passwords[i];
        if (listed->only != 0 && password->id != listed->only)
            continue;
        listed->count++;
        listing_number(&listed->listing, (int64_t)password->id);
        listing_words(&listed->listing, password->kind == 0 ? STR("account") : STR("application"));
        listing_words(&listed->listing, text_peek(password->label));
        listing_number(&listed->listing, password->created_ms);
        listing_number(&listed->listing, password->last_used_ms);
    }
    cli_outcome_take(&listed->outcome, sent, out ? out->status : sent, STR(""));
}

/* Fills in listed->listing, which is the caller's to print or release where it is CLI_OK. */
static enum cli_exit fetch_list(struct cli *cli, struct listed *listed)
{
    static const struct listing_column columns[] = {
        {"ID", "id", LISTING_NUMBER},
        {"KIND", "kind", LISTING_WORDS},
        {"LABEL", "label", LISTING_WORDS},
        {"CREATED", "created", LISTING_TIME},
        {"LAST USED", "last_used", LISTING_TIME},
    };
    struct account_record account;
    struct cli_server *server = NULL;
    enum cli_exit code = begin(cli, &account, &server);
    if (code != CLI_OK)
        return code;
    listing_init(&listed->listing, columns, sizeof(columns) / sizeof(columns[0]));
    const struct ipc_password_list_in in = {.account = account.id};
    struct channel *keeper = cli_server_role(server, ROLE_KEEPER);
    code = cli_server_wait(server, ipc_password_list_call(keeper, &in, on_list, listed),
                           &listed->outcome);
    cli_server_close(server);
    if (code != CLI_OK)
        listing_release(&listed->listing);
    return code;
}

enum cli_exit run_password_list(struct cli *cli)
{
    struct listed listed = {.only = 0};
    enum cli_exit code = fetch_list(cli, &listed);
    if (code == CLI_OK)
        listing_print_table(&listed.listing, cli->out, cli->json,
                            "The account has no password: nobody can log in.");
    return code;
}

static bool password_id(const char *words, uint64_t *ret_id)
{
    return str_to_u64(str_from_c(words), INT64_MAX, ret_id) && *ret_id != 0;
}

enum cli_exit run_password_show(struct cli *cli)
{
    struct listed listed = {.only = 0};
    if (!password_id(cli->args[1], &listed.only))
        return cli_usage(cli, "%s is not the id of a password", cli->args[1]);
    enum cli_exit code = fetch_list(cli, &listed);
    if (code != CLI_OK)
        return code;
    if (listed.count == 1) {
        listing_print_record(&listed.listing, cli->out, cli->json);
        return CLI_OK;
    }
    listing_release(&listed.listing);
    return cli_fail(cli, CLI_NOT_FOUND, "%s has no password %s", cli->args[0], cli->args[1]);
}

/* ---- remove
 * ---------------------------------------------------------------------------------------------- */

enum cli_exit run_password_remove(struct cli *cli)
{
    struct account_record account;
    struct cli_server *server = NULL;
    uint64_t id = 0;
    bool all = strcmp(cli->args[1], "all") == 0;
    if (!all && !password_id(cli->args[1], &id))
        return cli_usage(cli, "%s is neither the id of a password nor \"all\"", cli->args[1]);
    enum cli_exit code = begin(cli, &account, &server);
    if (code == CLI_OK)
        code = directory_remove_password(server, account.id, id);
    /* With all of them the keeper has forgotten the account; the next one must not open it. */
    if (code == CLI_OK && all && account.disabled)
        code = directory_disable_login(server, account.id, true);
    cli_server_close(server);
    if (code != CLI_OK)
        return code;
    return cli_done(cli, "%s of %.*s removed", all ? "all passwords" : "password",
                    STR_ARG(account.name));
}
