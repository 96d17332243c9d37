#include "cli/directory.h"

/* The function that takes the reply to `call` into a struct cli_outcome. */
#define OUTCOME_WITH_WORDS(call)                                                                   \
    static void on_##call(void *context, enum status_code sent,                                    \
                          const struct ipc_##call##_out *out)                                      \
    {                                                                                              \
        cli_outcome_take(context, sent, out ? out->status : sent, out ? out->words : STR(""));     \
    }
#define OUTCOME(call)                                                                              \
    static void on_##call(void *context, enum status_code sent,                                    \
                          const struct ipc_##call##_out *out)                                      \
    {                                                                                              \
        cli_outcome_take(context, sent, out ? out->status : sent, STR(""));                        \
    }

OUTCOME_WITH_WORDS(domain_add)
OUTCOME_WITH_WORDS(domain_set)
OUTCOME_WITH_WORDS(domain_remove)
OUTCOME_WITH_WORDS(account_set)
OUTCOME_WITH_WORDS(account_remove)
OUTCOME_WITH_WORDS(address_add)
OUTCOME_WITH_WORDS(address_remove)
OUTCOME_WITH_WORDS(alias_set)
OUTCOME_WITH_WORDS(password_set)
OUTCOME(login_disable)

static void on_password_remove(void *context, enum status_code sent,
                               const struct ipc_password_remove_out *out)
{
    enum status_code status = out ? out->status : sent;
    struct str none = STR("there is no such password (postern password list has their ids)");
    cli_outcome_take(context, sent, status, status == STATUS_NOT_FOUND ? none : STR(""));
}

static void on_account_add(void *context, enum status_code sent,
                           const struct ipc_account_add_out *out)
{
    struct cli_outcome *outcome = context;
    outcome->id = out ? out->account : 0;
    cli_outcome_take(outcome, sent, out ? out->status : sent, out ? out->words : STR(""));
}

enum cli_exit directory_add_domain(struct cli_server *server, struct str name)
{
    const struct ipc_domain_add_in in = {.at_ms = cli_server_wall_ms(server), .name = name};
    struct cli_outcome o = {0};
    struct channel *vault = cli_server_role(server, ROLE_VAULT);
    return cli_server_wait(server, ipc_domain_add_call(vault, &in, on_domain_add, &o), &o);
}

enum cli_exit directory_set_domain(struct cli_server *server, struct str name, uint64_t catch_all,
                                   struct str separators)
{
    const struct ipc_domain_set_in in = {.at_ms = cli_server_wall_ms(server),
                                         .name = name,
                                         .catch_all = catch_all,
                                         .subaddress = separators};
    struct cli_outcome o = {0};
    struct channel *vault = cli_server_role(server, ROLE_VAULT);
    return cli_server_wait(server, ipc_domain_set_call(vault, &in, on_domain_set, &o), &o);
}

enum cli_exit directory_remove_domain(struct cli_server *server, struct str name)
{
    const struct ipc_domain_remove_in in = {.at_ms = cli_server_wall_ms(server), .name = name};
    struct cli_outcome o = {0};
    struct channel *vault = cli_server_role(server, ROLE_VAULT);
    return cli_server_wait(server, ipc_domain_remove_call(vault, &in, on_domain_remove, &o), &o);
}

enum cli_exit directory_add_account(struct cli_server *server, struct str name, uint64_t quota,
                                    const struct str *addresses, size_t count,
                                    uint64_t *ret_account)
{
    struct ipc_address list[CLI_ARGS_MAX];
    const struct ipc_account_add_in in = {.at_ms = cli_server_wall_ms(server),
                                          .name = name,
                                          .quota = quota,
                                          .addresses = list,
                                          .addresses_count = count};
    struct cli_outcome o = {0};
    for (size_t i = 0; i < count; i++)
        list[i].address = text_from(addresses[i]);
    struct channel *vault = cli_server_role(server, ROLE_VAULT);
    enum cli_exit code =
        cli_server_wait(server, ipc_account_add_call(vault, &in, on_account_add, &o), &o);
    *ret_account = o.id;
    return code;
}

enum cli_exit directory_set_account(struct cli_server *server, uint64_t account, uint64_t quota,
                                    bool disabled)
{
    const struct ipc_account_set_in in = {.at_ms = cli_server_wall_ms(server),
                                          .account = account,
                                          .quota = quota,
                                          .disabled = disabled};
    struct cli_outcome o = {0};
    struct channel *vault = cli_server_role(server, ROLE_VAULT);
    return cli_server_wait(server, ipc_account_set_call(vault, &in, on_account_set, &o), &o);
}

enum cli_exit directory_remove_account(struct cli_server *server, uint64_t account)
{
    const struct ipc_account_remove_in in = {.at_ms = cli_server_wall_ms(server),
                                             .account = account};
    struct cli_outcome o = {0};
    struct channel *vault = cli_server_role(server, ROLE_VAULT);
    return cli_server_wait(server, ipc_account_remove_call(vault, &in, on_account_remove, &o), &o);
}

enum cli_exit directory_add_address(struct cli_server *server, struct str address, uint64_t account)
{
    const struct ipc_address_add_in in = {
        .at_ms = cli_server_wall_ms(server), .address = text_from(address), .account = account};
    struct cli_outcome o = {0};
    struct channel *vault = cli_server_role(server, ROLE_VAULT);
    return cli_server_wait(server, ipc_address_add_call(vault, &in, on_address_add, &o), &o);
}

enum cli_exit directory_remove_address(struct cli_server *server, struct str address)
{
    const struct ipc_address_remove_in in = {.at_ms = cli_server_wall_ms(server),
                                             .address = text_from(address)};
    struct cli_outcome o = {0};
    struct channel *vault = cli_server_role(server, ROLE_VAULT);
    return cli_server_wait(server, ipc_address_remove_call(vault, &in, on_address_remove, &o), &o);
}

enum cli_exit directory_set_alias(struct cli_server *server, struct str address,
                                  const struct str *targets, size_t count)
{
    struct ipc_address list[CLI_ARGS_MAX];
    const struct ipc_alias_set_in in = {.at_ms = cli_server_wall_ms(server),
                                        .address = text_from(address),
                                        .targets = list,
                                        .targets_count = count};
    struct cli_outcome o = {0};
    for (size_t i = 0; i < count; i++)
        list[i].address = text_from(targets[i]);
    struct channel *vault = cli_server_role(server, ROLE_VAULT);
    return cli_server_wait(server, ipc_alias_set_call(vault, &in, on_alias_set, &o), &o);
}

enum cli_exit directory_set_password(struct cli_server *server, uint64_t account, struct str login,
                                     struct str label, struct str password)
{
    const struct ipc_password_set_in in = {.account = account,
                                           .login = login,
                                           .kind = str_empty(label) ? 0 : 1,
                                           .label = text_from(label),
                                           .password = password};
    struct cli_outcome o = {0};
    struct channel *keeper = cli_server_role(server, ROLE_KEEPER);
    return cli_server_wait(server, ipc_password_set_call(keeper, &in, on_password_set, &o), &o);
}

enum cli_exit directory_remove_password(struct cli_server *server, uint64_t account, uint64_t id)
{
    const struct ipc_password_remove_in in = {.account = account, .id = id};
    struct cli_outcome o = {0};
    struct channel *keeper = cli_server_role(server, ROLE_KEEPER);
    return cli_server_wait(server, ipc_password_remove_call(keeper, &in, on_password_remove, &o),
                           &o);
}

enum cli_exit directory_disable_login(struct cli_server *server, uint64_t account, bool disabled)
{
    const struct ipc_login_disable_in in = {.account = account, .disabled = disabled};
    struct cli_outcome o = {0};
    struct channel *keeper = cli_server_role(server, ROLE_KEEPER);
    return cli_server_wait(server, ipc_login_disable_call(keeper, &in, on_login_disable, &o), &o);
}
