#ifndef POSTERN_CLI_DIRECTORY_H
#define POSTERN_CLI_DIRECTORY_H

#include "cli/server.h"
#include "store/directory.h"

/*
 * Changes to the directory, one request each, waited for. They say what went wrong; on success
 * they say nothing, for several may make up one command.
 */
enum cli_exit directory_add_domain(struct cli_server *server, struct str name);
enum cli_exit directory_set_domain(struct cli_server *server, struct str name, uint64_t catch_all,
                                   struct str separators);
enum cli_exit directory_remove_domain(struct cli_server *server, struct str name);
enum cli_exit directory_add_account(struct cli_server *server, struct str name, uint64_t quota,
                                    const struct str *addresses, size_t count,
                                    uint64_t *ret_account);
enum cli_exit directory_set_account(struct cli_server *server, uint64_t account, uint64_t quota,
                                    bool disabled);
enum cli_exit directory_remove_account(struct cli_server *server, uint64_t account);
enum cli_exit directory_add_address(struct cli_server *server, struct str address,
                                    uint64_t account);
enum cli_exit directory_remove_address(struct cli_server *server, struct str address);
enum cli_exit directory_set_alias(struct cli_server *server, struct str address,
                                  const struct str *targets, size_t count);

/* The keeper's part. label empty: the account's own password, else an application's. */
enum cli_exit directory_set_password(struct cli_server *server, uint64_t account, struct str login,
                                     struct str label, struct str password);
enum cli_exit directory_remove_password(struct cli_server *server, uint64_t account, uint64_t id);
enum cli_exit directory_disable_login(struct cli_server *server, uint64_t account, bool disabled);

#endif
