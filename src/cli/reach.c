#include "cli/reach.h"

#include "cli/names.h"
#include "cli/server.h"
#include "roles/mailroom_rcpt.h"

enum { WORDS_SIZE_MAX = 2000 };

struct str cli_refusal(struct cli *cli, const struct config *config, struct db *db,
                       struct str stored)
{
    const struct mailroom_rcpt rcpt = {.recipient = text_from(cli_print_stored(cli, stored)),
                                       .may_relay = true};
    struct ipc_recipient_out out;
    struct str kept = {0};
    struct buf words;
    mailroom_rcpt_resolve(db, config, &rcpt, &cli->arena, &out);
    if (out.code < 500)
        return kept;
    buf_init(&words, WORDS_SIZE_MAX);
    buf_printf(&words, "%u %.*s %.*s", out.code, STR_ARG(out.enhanced), STR_ARG(out.text));
    if (!arena_dup(&cli->arena, buf_str(&words), &kept))
        kept = STR("refused");
    buf_release(&words);
    return kept;
}

static bool is_in(struct str stored, const struct str *list, size_t count)
{
    bool found = false;
    for (size_t i = 0; i < count; i++)
        found = found || str_eq(stored, list[i]);
    return found;
}

static void warn_of(struct cli *cli, struct db *db, const struct address_record *alias,
                    const struct str *gone, size_t count)
{
    struct str *targets;
    size_t target_count;
    if (directory_alias_targets(db, alias->alias, &cli->arena, &targets, &target_count) !=
        STATUS_OK)
        return;
    struct str name = cli_print_address(cli, alias->local, alias->domain_name);
    for (size_t i = 0; i < target_count; i++) {
        struct str target = cli_print_stored(cli, targets[i]);
        if (is_in(targets[i], gone, count))
            cli_warn(cli, "the alias %.*s still leads to %.*s", STR_ARG(name), STR_ARG(target));
    }
}

void cli_warn_of_aliases(struct cli *cli, const struct config *config, const struct str *gone,
                         size_t count)
{
    struct db *db = NULL;
    struct address_record *aliases;
    size_t alias_count;
    if (count == 0 || cli_database(cli, config, &db) != CLI_OK)
        return;
    if (directory_addresses(db, 0, true, &cli->arena, &aliases, &alias_count) == STATUS_OK)
        for (size_t i = 0; i < alias_count; i++)
            warn_of(cli, db, &aliases[i], gone, count);
    db_close(db);
}
