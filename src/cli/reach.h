#ifndef POSTERN_CLI_REACH_H
#define POSTERN_CLI_REACH_H

#include "cli/cli.h"
#include "roles/config.h"
#include "store/db.h"

/*
 * Why mail for an address ("local@domain" as stored) is refused for good now: "550 5.1.1 words", in
 * cli's arena. Empty where it is not.
 */
struct str cli_refusal(struct cli *cli, const struct config *config, struct db *db,
                       struct str stored);

/* Warns of each alias that still leads to an address ("local@domain") that was removed. */
void cli_warn_of_aliases(struct cli *cli, const struct config *config, const struct str *gone,
                         size_t count);

#endif
