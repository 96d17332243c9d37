/* The store as a whole. */

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/server.h"
#include "store/lock.h"
#include "store/schema.h"

static enum cli_exit need_no_server(struct cli *cli, struct config *config)
{
    enum cli_exit code = cli_config(cli, config);
    if (code == CLI_OK && cli_server_runs(config))
        return cli_fail(cli, CLI_TRY_AGAIN, "the server runs: stop it first");
    return code;
}

static enum cli_exit tell_checked(struct cli *cli, int64_t format)
{
    if (format == STORE_FORMAT)
        return cli_done(cli, "no damage; the store has format %d, as this program", STORE_FORMAT);
    return cli_done(cli,
                    "no damage; the store has format %lld, and can be made format %d when the "
                    "server starts",
                    (long long)format, STORE_FORMAT);
}

enum cli_exit run_store_check(struct cli *cli)
{
    struct config config;
    struct diag diag = {0};
    char path[4096];
    int64_t format = 0;
    int fd = -1;
    enum cli_exit code = need_no_server(cli, &config);
    if (code != CLI_OK)
        return code;
    /* Where there is no lock nobody has it; one that root makes here the vault could not open. */
    snprintf(path, sizeof path, "%.*s/store/lock", STR_ARG(config.data));
    bool there = access(path, F_OK) == 0;
    if (!there && errno != ENOENT)
        return cli_fail(cli, CLI_FAILED, "%s: %s", path, strerror(errno));
    enum status_code status = there ? lock_take(path, 0, &fd, &diag) : STATUS_OK;
    if (status != STATUS_OK)
        return cli_fail_status(cli, status, &diag);
    snprintf(path, sizeof path, "%.*s/store/postern.db", STR_ARG(config.data));
    status = db_check(path, &format, &diag);
    if (fd >= 0)
        lock_release(fd);
    if (status == STATUS_NOT_FOUND)
        return cli_fail(cli, CLI_NOT_FOUND, "there is no store at %s yet", path);
    return status == STATUS_OK ? tell_checked(cli, format) : cli_fail_status(cli, status, &diag);
}

static void on_store_restored(void *context, enum status_code sent,
                              const struct ipc_store_restored_out *out)
{
    struct cli_outcome *outcome = context;
    outcome->id = out ? out->held : 0;
    cli_outcome_take(outcome, sent, out ? out->status : sent, out ? out->words : STR(""));
}

enum cli_exit run_store_restored(struct cli *cli)
{
    struct config config;
    struct cli_server *server = NULL;
    struct cli_outcome o = {0};
    enum cli_exit code = need_no_server(cli, &config);
    if (code == CLI_OK)
        code = cli_server_open(cli, &config, &server);
    if (code != CLI_OK)
        return code;
    struct channel *vault = cli_server_role(server, ROLE_VAULT);
    const struct ipc_store_restored_in in = {.at_ms = cli_server_wall_ms(server)};
    code = cli_server_wait(server, ipc_store_restored_call(vault, &in, on_store_restored, &o), &o);
    cli_server_close(server);
    return code == CLI_OK ? cli_done(cli,
                                     "the store is another one for all who knew the old; %llu "
                                     "recipients are held",
                                     (unsigned long long)o.id)
                          : code;
}
