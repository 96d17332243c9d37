#ifndef POSTERN_CLI_CLI_H
#define POSTERN_CLI_CLI_H

#include <stdarg.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/diag.h"
#include "base/status.h"
#include "base/str.h"

/*
 * The command line: a table of commands, each with its arguments, its options, its words of help
 * and one function. Everything a command says goes through here or through cli/listing.h: results
 * to standard output (as JSON with --json), errors to standard error, one line each.
 */
enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,
    CLI_NOT_FOUND = 3, /* what was named is not there */
    CLI_EXISTS = 4,    /* what should be made is there already */
    CLI_TRY_AGAIN = 5, /* busy, away or full; the same command may work later */
};

struct cli_option {
    const char *name;  /* "--quota" */
    const char *value; /* what follows it, for the help: "SIZE"; NULL: nothing does */
    const char *help;
};

struct cli;

struct cli_command {
    const char *name; /* "domain add"; matched word by word */
    const char *args; /* "DOMAIN [ACCOUNT]…", for the help */
    unsigned arg_min;
    unsigned arg_max;
    const char *summary;              /* one line */
    const char *details;              /* paragraphs, or NULL */
    const struct cli_option *options; /* ends with a NULL name; NULL: none */
    enum cli_exit (*run)(struct cli *cli);
    /* Instead of run: reads its own options, and has its own exit status; argv[0] is its name. */
    int (*run_alone)(int argc, char **argv, FILE *in, FILE *out, FILE *err);
    bool no_json;   /* it goes on and on, or tells while it does: there is no answer */
    bool no_config; /* it makes its own */
};

enum { CLI_ARGS_MAX = 64, CLI_OPTIONS_MAX = 64 };

struct cli_given {
    const struct cli_option *option;
    const char *value;
};

/* One call of the program. */
struct cli {
    const char *program; /* argv[0], to start roles from */
    const struct cli_command *command;
    const char *args[CLI_ARGS_MAX];
    size_t arg_count;
    struct cli_given given[CLI_OPTIONS_MAX];
    size_t given_count;
    bool json;
    const char *config_file;
    struct str config_text; /* once cli_config has read it */
    FILE *in;
    FILE *out;
    FILE *err;
    struct arena arena; /* for all that lives as long as the command */
};

#define CLI_CONFIG_FILE "/etc/postern/postern.conf"

/* All commands, in the order of the help; ends with a NULL name. */
extern const struct cli_command cli_commands[];

/* Runs what argv asks for and returns the exit status of the process. */
int cli_main(int argc, char **argv, FILE *in, FILE *out, FILE *err);

/* The value of an option, "" for one without value; NULL where it was not given. The last counts.
 */
const char *cli_option(const struct cli *cli, const char *name);

/* The n-th value of an option that may be given several times; NULL behind the last. */
const char *cli_option_nth(const struct cli *cli, const char *name, size_t n);

/* "postern: domain add: words" on standard error; returns `code`. */
enum cli_exit cli_fail(struct cli *cli, enum cli_exit code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same behind "warning: ", for what was done all the same. */
void cli_warn(struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The words on err, with a line end; nothing in them moves a cursor. */
void cli_vcomplain(FILE *err, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

/* The same with a pointer to the command's --help; returns CLI_USAGE. */
enum cli_exit cli_usage(struct cli *cli, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A failure of the store, the server or the system; d may be empty. */
enum cli_exit cli_fail_status(struct cli *cli, enum status_code status, const struct diag *d);

/* A sentence about what was done; with --json {"done": "sentence"}. Returns CLI_OK. */
enum cli_exit cli_done(struct cli *cli, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * Reads "500", "100K", "2G" (powers of 1024) or "none" (0). False where it is nothing of the kind.
 */
bool cli_size(const char *words, uint64_t *ret_size);

#endif
