#ifndef POSTERN_CLI_PASSWORD_INPUT_H
#define POSTERN_CLI_PASSWORD_INPUT_H

#include "base/buf.h"
#include "cli/cli.h"

/*
 * Where a new password comes from: --generate, the first line of --password-file FILE ("-" is
 * standard input), a question at the terminal (asked twice), or a line of standard input. Never
 * the command line, where others could see it.
 */
#define PASSWORD_OPTIONS                                                                           \
    {"--password-file", "FILE", "take the password from FILE's first line (- is stdin)"},          \
    {                                                                                              \
        "--generate", NULL, "make a password and show it"                                          \
    }

/* Appends it; wipe it with buf_wipe. *ret_generated: it must be shown. */
enum cli_exit cli_new_password(struct cli *cli, struct buf *out, bool *ret_generated);

/* Appends a generated one: 24 letters and digits that are hard to mistake, 118 bits. */
void cli_generate_password(struct buf *out);

enum { CLI_PASSWORD_SIZE_MAX = 1024 };

#endif
