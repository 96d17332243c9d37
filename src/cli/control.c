/* The server as a whole: starting, telling, asking. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/listing.h"
#include "cli/server.h"
#include "roles/warden.h"
#include "roles/warden_settings.h"
#include "store/directory.h"
#include "store/queue.h"
#include "store/read.h"

enum cli_exit run_control_serve(struct cli *cli)
{
    const struct warden_plan plan = {.config_path = cli->config_file};
    return warden_main(&plan) == EXIT_SUCCESS ? CLI_OK : CLI_FAILED;
}

/* ---- What the running server is told
 * ---------------------------------------------------------------- */

static void on_reload(void *context, enum status_code sent, const struct ipc_reload_out *out)
{
    cli_outcome_take(context, sent, out ? out->status : sent, out ? out->words : STR(""));
}

static void on_shutdown(void *context, enum status_code sent, const struct ipc_shutdown_out *out)
{
    cli_outcome_take(context, sent, out ? out->status : sent, STR(""));
}

static enum cli_exit need_server(struct cli *cli, struct config *config,
                                 struct cli_server **ret_server)
{
    enum cli_exit code = cli_config(cli, config);
    if (code == CLI_OK && !cli_server_runs(config))
        return cli_fail(cli, CLI_NOT_FOUND, "no server is running (nobody answers at %.*s)",
                        STR_ARG(config->control));
    return code == CLI_OK ? cli_server_open(cli, config, ret_server) : code;
}

enum cli_exit run_control_reload(struct cli *cli)
{
    struct config config;
    struct cli_server *server = NULL;
    struct cli_outcome o = {.done = false};
    enum cli_exit code = need_server(cli, &config, &server);
    if (code != CLI_OK)
        return code;
    struct channel *warden = cli_server_role(server, ROLE_WARDEN);
    code = cli_server_wait(server, ipc_reload_call(warden, on_reload, &o), &o);
    cli_server_close(server);
    return code == CLI_OK ? cli_done(cli, "the configuration is read again") : code;
}

enum cli_exit run_control_stop(struct cli *cli)
{
    struct config config;
    struct cli_server *server = NULL;
    struct cli_outcome o = {.done = false};
    enum cli_exit code = need_server(cli, &config, &server);
    if (code != CLI_OK)
        return code;
    struct channel *warden = cli_server_role(server, ROLE_WARDEN);
    code = cli_server_wait(server, ipc_shutdown_call(warden, on_shutdown, &o), &o);
    cli_server_close(server);
    return code == CLI_OK ? cli_done(cli, "the server is stopping") : code;
}

/* ---- What is
 * ------------------------------------------------------------------------------------------ */

static const struct listing_column status_columns[] = {
    {"SERVER", "running", LISTING_YES_NO},    {"HOSTNAME", "hostname", LISTING_WORDS},
    {"DATA", "data", LISTING_WORDS},          {"DOMAINS", "domains", LISTING_NUMBER},
    {"ACCOUNTS", "accounts", LISTING_NUMBER}, {"MAIL", "mail", LISTING_SIZE},
    {"WAITING", "waiting", LISTING_NUMBER},   {"HELD", "held", LISTING_NUMBER},
};

/* What the store keeps. */
struct kept {
    size_t domains, accounts;
    uint64_t size;
    struct queue_numbers queue;
};

/* A store that is not there yet holds nothing. */
static enum status_code count_store(struct cli *cli, const struct config *config,
                                    struct kept *ret_kept, struct diag *diag)
{
    char path[4096];
    struct db *db = NULL;
    struct domain_record *domain_list;
    struct account_record *account_list;
    snprintf(path, sizeof(path), "%.*s/store/postern.db", STR_ARG(config->data));
    enum status_code status = db_open(path, DB_READ, &db, diag);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    if (status == STATUS_OK)
        status = directory_domains(db, &cli->arena, &domain_list, &ret_kept->domains);
    if (status == STATUS_OK)
        status = directory_accounts(db, &cli->arena, &account_list, &ret_kept->accounts);
    if (status == STATUS_OK)
        status = read_queue_numbers(db, &ret_kept->queue);
    for (size_t i = 0; status == STATUS_OK && i < ret_kept->accounts; i++)
        ret_kept->size += account_list[i].used;
    db_close(db);
    return status;
}

enum cli_exit run_control_status(struct cli *cli)
{
    struct config config;
    struct listing l;
    struct kept kept = {0};
    struct diag diag = {0};
    enum cli_exit code = cli_config(cli, &config);
    if (code != CLI_OK)
        return code;
    enum status_code status = count_store(cli, &config, &kept, &diag);
    if (status != STATUS_OK)
        return cli_fail_status(cli, status, &diag);
    bool running = cli_server_runs(&config);
    listing_init(&l, status_columns, sizeof(status_columns) / sizeof(status_columns[0]));
    listing_yes_no(&l, running);
    listing_words(&l, config.hostname);
    listing_words(&l, config.data);
    listing_number(&l, (int64_t)kept.domains);
    listing_number(&l, (int64_t)kept.accounts);
    listing_number(&l, (int64_t)kept.size);
    listing_number(&l, (int64_t)kept.queue.waiting);
    listing_number(&l, (int64_t)kept.queue.held);
    listing_print_record(&l, cli->out, cli->json);
    return running ? CLI_OK : CLI_NOT_FOUND;
}

enum cli_exit run_control_version(struct cli *cli)
{
    static const struct listing_column columns[] = {{"VERSION", "version", LISTING_WORDS}};
    struct listing l;
    if (!cli->json) {
        fprintf(cli->out, "postern %s\n", POSTERN_VERSION);
        return CLI_OK;
    }
    listing_init(&l, columns, 1);
    listing_words(&l, STR(POSTERN_VERSION));
    listing_print_record(&l, cli->out, true);
    return CLI_OK;
}

/* As the server reads it, so with the certificates and their keys. */
enum cli_exit run_config_check(struct cli *cli)
{
    struct warden_settings *settings = NULL;
    struct buf words;
    if (cli->arg_count > 0)
        cli->config_file = cli->args[0];
    if (access(cli->config_file, R_OK) != 0) {
        struct diag diag = {0};
        diag_set(&diag, "%s: %s", cli->config_file, strerror(errno));
        return cli_fail_status(cli, status_from_errno(errno), &diag);
    }
    buf_init(&words, CONFIG_TEXT_SIZE_MAX);
    enum status_code status = warden_settings_load(cli->config_file, &settings, &words);
    if (words.len > 0)
        fwrite(words.ptr, 1, words.len, cli->err);
    buf_release(&words);
    warden_settings_free(settings);
    return status == STATUS_OK ? cli_done(cli, "%s is right", cli->config_file) : CLI_FAILED;
}

enum cli_exit run_trace_show(struct cli *cli)
{
    static const struct listing_column columns[] = {{"TIME", "time", LISTING_TIME},
                                                    {"STEP", "step", LISTING_WORDS},
                                                    {"WORDS", "words", LISTING_WORDS}};
    struct config config;
    struct db *db = NULL;
    struct trace_record *steps;
    struct listing l;
    size_t count;
    enum cli_exit code = cli_look(cli, &config, &db);
    if (code != CLI_OK)
        return code;
    enum status_code status = read_trace(db, str_from_c(cli->args[0]), &cli->arena, &steps, &count);
    db_close(db);
    if (status == STATUS_NOT_FOUND)
        return cli_fail(cli, CLI_NOT_FOUND, "no trace of %s is kept", cli->args[0]);
    if (status != STATUS_OK)
        return cli_fail_status(cli, status, NULL);
    listing_init(&l, columns, 3);
    for (size_t i = 0; i < count; i++) {
        listing_number(&l, steps[i].at_ms);
        listing_words(&l, steps[i].step);
        listing_words(&l, text_peek(steps[i].words));
    }
    listing_print_table(&l, cli->out, cli->json, "");
    return CLI_OK;
}
