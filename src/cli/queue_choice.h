#ifndef POSTERN_CLI_QUEUE_CHOICE_H
#define POSTERN_CLI_QUEUE_CHOICE_H

#include "cli/cli.h"
#include "store/queue.h"

/*
 * Which rows of the queue a command is about: its arguments are ids of rows, or of messages (trace
 * ids), and its options are conditions that all of them must meet as well. Tells what is wrong.
 */
struct queue_choice {
    struct queue_selection selections[CLI_ARGS_MAX]; /* the rows of any of them */
    size_t count;
};

#define QUEUE_CHOICE_OPTIONS                                                                       \
    {"--sender", "ADDRESS", "of this sender (\"<>\": reports)"},                                   \
        {"--recipient", "ADDRESS", "to this recipient"},                                           \
        {"--domain", "DOMAIN", "to recipients in this domain"},                                    \
        {"--trace", "ID", "of this message"},                                                      \
        {"--older", "TIME", "that has waited longer (90s, 5m, 1h, 7d)"},                           \
        {"--younger", "TIME", "that has not waited so long"}, {"--held", NULL, "that is held"},    \
    {                                                                                              \
        "--all", NULL, "whatever it is"                                                            \
    }

/* must_choose: it is an error to say nothing, which otherwise means all. */
enum cli_exit cli_queue_choice(struct cli *cli, bool must_choose, struct queue_choice *ret_choice);

#endif
