#include "cli/reach.h"

#include "cli/names.h"
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
