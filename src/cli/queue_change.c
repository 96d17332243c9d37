/* Changing the queue: each command is one request, repeated until all rows have been looked at. */

#include "cli/commands.h"
#include "cli/queue_choice.h"
#include "cli/server.h"

/* Numbers of ipc.table's queue_change. */
enum { ACTION_HOLD, ACTION_RELEASE, ACTION_RETRY, ACTION_BOUNCE, ACTION_REMOVE, ACTION_REROUTE };

const struct cli_option queue_change_options[] = {QUEUE_CHOICE_OPTIONS, {NULL, NULL, NULL}};
const struct cli_option queue_bounce_options[] = {
    QUEUE_CHOICE_OPTIONS,
    {"--words", "WORDS", "tell the senders why"},
    {NULL, NULL, NULL},
};
const struct cli_option queue_reroute_options[] = {
    QUEUE_CHOICE_OPTIONS,
    {"--to", "DESTINATION",
     "route:NAME, dns:DOMAIN, dns-any-tls:DOMAIN or literal:ADDRESS, not where the configuration "
     "says now"},
    {NULL, NULL, NULL},
};

struct changing {
    struct cli_outcome outcome;
    uint64_t changed;
    uint64_t through;
};

static void on_queue_change(void *context, enum status_code sent,
                            const struct ipc_queue_change_out *out)
{
    struct changing *c = context;
    c->changed += out ? out->changed : 0;
    c->through = out ? out->through : 0;
    cli_outcome_take(&c->outcome, sent, out ? out->status : sent, out ? out->words : STR(""));
}

static struct ipc_selection selection_of(const struct queue_selection *s)
{
    return (struct ipc_selection){.id = s->id,
                                  .trace_id = s->trace_id,
                                  .sender = s->sender,
                                  .recipient = s->recipient,
                                  .domain = s->domain,
                                  .older_ms = s->older_ms,
                                  .younger_ms = s->younger_ms,
                                  .held_only = s->held_only};
}

static enum cli_exit change_selection(struct cli_server *server, struct ipc_queue_change_in *in,
                                      uint64_t *changed)
{
    enum cli_exit code;
    in->after = 0;
    do {
        struct changing c = {0};
        struct channel *vault = cli_server_role(server, ROLE_VAULT);
        in->at_ms = cli_server_wall_ms(server);
        code = cli_server_wait(server, ipc_queue_change_call(vault, in, on_queue_change, &c),
                               &c.outcome);
        *changed += c.changed;
        in->after = c.through;
    } while (code == CLI_OK && in->after != 0);
    return code;
}

static enum cli_exit change(struct cli *cli, struct ipc_queue_change_in *in, const char *done)
{
    struct config config;
    struct queue_choice choice;
    struct cli_server *server = NULL;
    uint64_t changed = 0;
    enum cli_exit code = cli_queue_choice(cli, true, &choice);
    if (code == CLI_OK)
        code = cli_config(cli, &config);
    if (code == CLI_OK)
        code = cli_server_open(cli, &config, &server);
    for (size_t i = 0; code == CLI_OK && i < choice.count; i++) {
        in->selection = selection_of(&choice.selections[i]);
        code = change_selection(server, in, &changed);
    }
    cli_server_close(server);
    if (code != CLI_OK)
        return code;
    if (changed == 0 && cli->arg_count > 0)
        return cli_fail(cli, CLI_NOT_FOUND, "nothing like that waits, or it is so already");
    return cli_done(cli, "%llu %s %s", (unsigned long long)changed,
                    changed == 1 ? "recipient" : "recipients", done);
}

enum cli_exit run_queue_hold(struct cli *cli)
{
    return change(cli, &(struct ipc_queue_change_in){.action = ACTION_HOLD}, "held");
}

enum cli_exit run_queue_release(struct cli *cli)
{
    return change(cli, &(struct ipc_queue_change_in){.action = ACTION_RELEASE}, "released");
}

enum cli_exit run_queue_retry(struct cli *cli)
{
    return change(cli, &(struct ipc_queue_change_in){.action = ACTION_RETRY}, "tried again now");
}

enum cli_exit run_queue_bounce(struct cli *cli)
{
    const char *words = cli_option(cli, "--words");
    struct ipc_queue_change_in in = {.action = ACTION_BOUNCE};
    in.words = text_from(words ? str_from_c(words) : STR("Given up by the administrator"));
    return change(cli, &in, "bounced");
}

enum cli_exit run_queue_remove(struct cli *cli)
{
    return change(cli, &(struct ipc_queue_change_in){.action = ACTION_REMOVE}, "removed");
}

enum cli_exit run_queue_reroute(struct cli *cli)
{
    static const char *const kinds[] = {"route:", "dns:", "dns-any-tls:", "literal:"};
    struct ipc_queue_change_in in = {.action = ACTION_REROUTE};
    const char *to = cli_option(cli, "--to");
    bool is_kind = to == NULL;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        is_kind = is_kind || (strncmp(to, kinds[i], strlen(kinds[i])) == 0 && to[strlen(kinds[i])]);
    if (!is_kind)
        return cli_usage(cli, "%s is no destination (like route:NAME or dns:DOMAIN)", to);
    in.destination = str_from_c(to);
    return change(cli, &in, "rerouted");
}
