#include "cli/queue_choice.h"

#include "cli/names.h"
#include "mail/address.h"
#include "roles/config_value.h"

static enum cli_exit read_time(struct cli *cli, const char *option, int64_t *ret_ms)
{
    const char *given = cli_option(cli, option);
    uint64_t ms = 0;
    const char *wrong = given ? config_value_duration(str_from_c(given), &ms) : NULL;
    if (wrong)
        return cli_usage(cli, "%s %s", given, wrong);
    *ret_ms = (int64_t)(ms < INT64_MAX ? ms : INT64_MAX);
    return CLI_OK;
}

/* An empty word, of a variable that was not set perhaps, would be no condition, and mean all. */
static enum cli_exit check_words(struct cli *cli)
{
    static const char *const options[] = {"--sender", "--recipient", "--trace"};
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        const char *given = cli_option(cli, options[i]);
        struct mailbox_address mailbox;
        if (!given)
            continue;
        if (given[0] == '\0')
            return cli_usage(cli, "%s needs a value that is not empty", options[i]);
        bool is_address = i == 2 || (i == 0 && strcmp(given, "<>") == 0) ||
                          address_parse_mailbox(str_from_c(given), &mailbox) == ADDRESS_OK;
        if (!is_address)
            return cli_usage(cli, "%s is no address", given);
    }
    for (size_t i = 0; i < cli->arg_count; i++)
        if (cli->args[i][0] == '\0')
            return cli_usage(cli, "an id is empty");
    return CLI_OK;
}

static enum cli_exit read_conditions(struct cli *cli, struct queue_selection *s)
{
    const char *domain = cli_option(cli, "--domain");
    *s = (struct queue_selection){
        .trace_id = str_from_c(cli_option(cli, "--trace")),
        .sender = text_from(str_from_c(cli_option(cli, "--sender"))),
        .recipient = text_from(str_from_c(cli_option(cli, "--recipient"))),
        .held_only = cli_option(cli, "--held") != NULL,
    };
    enum cli_exit code = check_words(cli);
    if (code == CLI_OK && domain)
        code = cli_domain_name(cli, domain, &s->domain);
    if (code == CLI_OK)
        code = read_time(cli, "--older", &s->older_ms);
    return code == CLI_OK ? read_time(cli, "--younger", &s->younger_ms) : code;
}

static bool has_conditions(const struct cli *cli)
{
    static const char *const names[] = {"--sender", "--recipient", "--domain", "--trace",
                                        "--older",  "--younger",   "--held",   "--all"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (cli_option(cli, names[i]))
            return true;
    return false;
}

enum cli_exit cli_queue_choice(struct cli *cli, bool must_choose, struct queue_choice *ret_choice)
{
    struct queue_selection conditions;
    enum cli_exit code = read_conditions(cli, &conditions);
    if (code != CLI_OK)
        return code;
    if (must_choose && cli->arg_count == 0 && !has_conditions(cli))
        return cli_usage(cli, "which? Say ids, or conditions, or --all");
    ret_choice->count = cli->arg_count > 0 ? cli->arg_count : 1;
    for (size_t i = 0; i < ret_choice->count; i++) {
        struct queue_selection *s = &ret_choice->selections[i];
        *s = conditions;
        if (i < cli->arg_count && !str_to_u64(str_from_c(cli->args[i]), INT64_MAX, &s->id))
            s->trace_id = str_from_c(cli->args[i]);
    }
    return CLI_OK;
}
