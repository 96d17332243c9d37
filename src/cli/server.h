#ifndef POSTERN_CLI_SERVER_H
#define POSTERN_CLI_SERVER_H

#include "cli/cli.h"
#include "ipc/channel.h"
#include "ipc/ipc_messages.h"
#include "roles/config.h"
#include "store/db.h"

/*
 * What commands work on. Looking needs only the database. Changing needs the vault and the keeper:
 * those of the running server, reached through its control socket; or, where none runs, ones that
 * this command starts for itself, as the server would.
 */

/* The configuration; else its errors have been told. */
enum cli_exit cli_config(struct cli *cli, struct config *ret_config);

/* The database, to look; the arena is cli's. */
enum cli_exit cli_database(struct cli *cli, const struct config *config, struct db **ret_db);

/* Both of these: what every command that looks begins with. */
enum cli_exit cli_look(struct cli *cli, struct config *ret_config, struct db **ret_db);

/* Whoever serves a command's requests. */
struct cli_server;

enum cli_exit cli_server_open(struct cli *cli, const struct config *config,
                              struct cli_server **ret_server);

/* Lets what was started finish. NULL is allowed. */
void cli_server_close(struct cli_server *server);

/* NULL: the role cannot be reached, and it has been said why. */
struct channel *cli_server_role(struct cli_server *server, enum ipc_role role);

/* What came of a request. */
struct cli_outcome {
    bool done;
    enum status_code status;
    struct diag words;
    uint64_t id;
};

/*
 * Waits for the reply to a request that has been sent (call, 0: it could not be), and tells what
 * went wrong. `outcome` is what the reply's function fills in, done last.
 */
enum cli_exit cli_server_wait(struct cli_server *server, uint32_t call,
                              struct cli_outcome *outcome);

/* Takes what every reply has; for the reply's function. */
void cli_outcome_take(struct cli_outcome *outcome, enum status_code sent, enum status_code status,
                      struct str words);

/* Whether a server runs: its control socket answers. */
bool cli_server_runs(const struct config *config);

/* The time, for what is recorded with a change. */
int64_t cli_server_wall_ms(struct cli_server *server);

/* For how long something takes. */
int64_t cli_server_mono_ms(struct cli_server *server);

/* The wall clock's time, without a server. */
int64_t cli_wall_ms(void);

#endif
