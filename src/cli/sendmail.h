#ifndef POSTERN_CLI_SENDMAIL_H
#define POSTERN_CLI_SENDMAIL_H

#include <stdio.h>

/*
 * The personality of sendmail(8): a message from `in` is handed to the running server, through the
 * socket of its `listen sendmail`. Returns the exit status, one of sysexits(3).
 */
int sendmail_main(int argc, char **argv, FILE *in, FILE *out, FILE *err);

#endif
