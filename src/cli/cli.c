#include "cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

#include "cli/listing.h"
#include "codec/utf8.h"

enum { COMPLAINT_SIZE_MAX = 1 << 17 };

/* What commands have besides their own options, but for what struct cli_command says. */
static const struct cli_option config_option[] = {
    {"--config", "FILE", "the configuration (default " CLI_CONFIG_FILE ")"},
    {NULL, NULL, NULL},
};
static const struct cli_option json_option[] = {
    {"--json", NULL, "answer as JSON"},
    {NULL, NULL, NULL},
};
static const struct cli_option help_option[] = {
    {"--help", NULL, "show this help"},
    {NULL, NULL, NULL},
};

/* The lists of options of a command, in the order of the help. */
enum { OPTION_LISTS = 4 };
static const struct cli_option *option_list(const struct cli_command *command, size_t number)
{
    switch (number) {
    case 0:
        return command->options;
    case 1:
        return command->no_config ? NULL : config_option;
    case 2:
        return command->no_json ? NULL : json_option;
    default:
        return help_option;
    }
}

static const struct {
    const char *alias;
    const char *name;
} short_options[] = {{"-c", "--config"}, {"-h", "--help"}};

/* ---- Finding the command --------------------------------------------------------------------- */

/* How many words of argv make up the command's name; 0: it is another one. */
static size_t words_matched(const struct cli_command *command, int argc, char **argv)
{
    struct str rest = str_from_c(command->name), word;
    size_t count = 0;
    while (str_split(&rest, ' ', &word)) {
        if (count >= (size_t)argc)
            return 0;
        struct str given = str_from_c(argv[count]);
        if (!str_eq(word, str_eq(given, STR("--version")) ? STR("version") : given))
            return 0;
        count++;
    }
    return count;
}

static const struct cli_command *find_command(int argc, char **argv, size_t *ret_words)
{
    for (const struct cli_command *c = cli_commands; c->name; c++) {
        *ret_words = words_matched(c, argc, argv);
        if (*ret_words > 0)
            return c;
    }
    return NULL;
}

/* ---- Help -------------------------------------------------------------------------------------
 */

static void show_options(FILE *out, const struct cli_option *options)
{
    char left[60];
    for (const struct cli_option *o = options; o && o->name; o++) {
        snprintf(left, sizeof(left), "%s%s%s", o->name, o->value ? " " : "",
                 o->value ? o->value : "");
        fprintf(out, "  %-26s %s\n", left, o->help);
    }
}

static void show_command(FILE *out, const struct cli_command *command)
{
    fprintf(out, "usage: postern %s%s%s%s\n\n%s\n", command->name, command->args[0] ? " " : "",
            command->args, command->run_alone ? "" : " [OPTION]...", command->summary);
    if (command->details)
        fprintf(out, "\n%s\n", command->details);
    fputs("\n", out);
    for (size_t i = 0; i < OPTION_LISTS && !command->run_alone; i++) /* that has said them all */
        show_options(out, option_list(command, i));
}

/* All commands, or those whose first word is `group`. */
static void show_commands(FILE *out, const char *group)
{
    for (const struct cli_command *c = cli_commands; c->name; c++) {
        char left[80];
        struct str rest = str_from_c(c->name), first;
        if (group && (!str_split(&rest, ' ', &first) || !str_eq(first, str_from_c(group))))
            continue;
        snprintf(left, sizeof(left), "%s %s", c->name, c->args);
        fprintf(out, "  %-44s %s\n", left, c->summary);
    }
}

static void show_overview(FILE *out)
{
    fputs("Postern, a mail server.\n\nusage: postern COMMAND [ARGUMENT]... [OPTION]...\n\n", out);
    show_commands(out, NULL);
    fputs("\nEvery command explains itself with --help. Exit status: 0 done, 1 failed, 2 wrong "
          "usage,\n3 no such thing, 4 exists already, 5 try again later.\n",
          out);
}

/* ---- Reading the command line
 * -------------------------------------------------------------------- */

static const struct cli_option *find_in(const struct cli_option *options, struct str name)
{
    for (; options && options->name; options++)
        if (str_eq(name, str_from_c(options->name)))
            return options;
    return NULL;
}

static const struct cli_option *find_option(const struct cli *cli, struct str name)
{
    for (size_t i = 0; i < sizeof(short_options) / sizeof(short_options[0]); i++)
        if (str_eq(name, str_from_c(short_options[i].alias)))
            name = str_from_c(short_options[i].name);
    const struct cli_option *option = NULL;
    for (size_t i = 0; i < OPTION_LISTS && !option; i++)
        option = find_in(option_list(cli->command, i), name);
    return option;
}

/* Takes "--name value", "--name=value" or "--name" at argv[*i]. */
static bool take_option(struct cli *cli, int argc, char **argv, int *i)
{
    struct str word = str_from_c(argv[*i]);
    ptrdiff_t equals = str_starts(word, STR("--")) ? str_find_byte(word, '=') : -1;
    struct str name = equals < 0 ? word : str_sub(word, 0, (size_t)equals);
    const struct cli_option *option = find_option(cli, name);
    const char *value = equals < 0 ? NULL : argv[*i] + equals + 1;
    if (!option) {
        cli_usage(cli, "there is no option %.*s", STR_ARG(name));
        return false;
    }
    if (!option->value && value) {
        cli_usage(cli, "%s takes no value", option->name);
        return false;
    }
    if (option->value && !value && *i + 1 < argc)
        value = argv[++*i];
    if (option->value && !value) {
        cli_usage(cli, "%s needs a value", option->name);
        return false;
    }
    if (cli->given_count == CLI_OPTIONS_MAX) {
        cli_usage(cli, "too many options");
        return false;
    }
    cli->given[cli->given_count++] = (struct cli_given){option, value ? value : ""};
    return true;
}

static bool take_words(struct cli *cli, int argc, char **argv)
{
    bool options_end = false;
    for (int i = 0; i < argc; i++) {
        if (!options_end && strcmp(argv[i], "--") == 0) {
            options_end = true;
        } else if (!options_end && argv[i][0] == '-' && argv[i][1] != '\0') {
            if (!take_option(cli, argc, argv, &i))
                return false;
        } else if (cli->arg_count == CLI_ARGS_MAX) {
            cli_usage(cli, "too many arguments");
            return false;
        } else {
            cli->args[cli->arg_count++] = argv[i];
        }
    }
    return true;
}

static enum cli_exit run(struct cli *cli, int argc, char **argv)
{
    if (!take_words(cli, argc, argv))
        return CLI_USAGE;
    if (cli_option(cli, "--help")) {
        show_command(cli->out, cli->command);
        return CLI_OK;
    }
    if (cli->arg_count < cli->command->arg_min)
        return cli_usage(cli, "an argument is missing: postern %s %s", cli->command->name,
                         cli->command->args);
    if (cli->arg_count > cli->command->arg_max)
        return cli_usage(cli, "too many arguments, the first of them %s",
                         cli->args[cli->command->arg_max]);
    cli->json = cli_option(cli, "--json") != NULL;
    cli->config_file = cli_option(cli, "--config");
    if (!cli->config_file)
        cli->config_file = CLI_CONFIG_FILE;
    return cli->command->run(cli);
}

static bool is_group_name(const char *word)
{
    size_t len = strlen(word);
    for (const struct cli_command *c = cli_commands; c->name; c++)
        if (strncmp(c->name, word, len) == 0 && c->name[len] == ' ')
            return true;
    return false;
}

__attribute__((format(printf, 2, 3))) static void complain_of(FILE *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    cli_vcomplain(err, format, args);
    va_end(args);
}

static bool asks_for_help(const char *word)
{
    return strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* Words that are no command: perhaps a question, perhaps a group of commands, perhaps a slip. */
static enum cli_exit no_command(int argc, char **argv, FILE *out, FILE *err)
{
    if (argc == 0) {
        show_overview(err);
        return CLI_USAGE;
    }
    if (asks_for_help(argv[0])) {
        show_overview(out);
        return CLI_OK;
    }
    bool is_group = is_group_name(argv[0]);
    if (is_group && argc > 1 && asks_for_help(argv[1])) {
        show_commands(out, argv[0]);
        return CLI_OK;
    }
    fputs("postern: ", err);
    if (is_group && argc == 1)
        complain_of(err, "%s what? One of", argv[0]);
    else if (is_group)
        complain_of(err, "there is no command %s %s, but", argv[0], argv[1]);
    else
        complain_of(err, "there is no command %s; see postern --help", argv[0]);
    if (is_group)
        show_commands(err, argv[0]);
    return CLI_USAGE;
}

int cli_main(int argc, char **argv, FILE *in, FILE *out, FILE *err)
{
    size_t words = 0;
    struct cli cli = {.program = argv[0], .in = in, .out = out, .err = err};
    cli.command = find_command(argc - 1, argv + 1, &words);
    if (!cli.command)
        return (int)no_command(argc - 1, argv + 1, out, err);
    if (cli.command->run_alone && !(argc > 2 && strcmp(argv[2], "--help") == 0))
        return cli.command->run_alone(argc - (int)words, argv + words, in, out, err);
    arena_init(&cli.arena, 256UL * 1024 * 1024);
    enum cli_exit code = run(&cli, argc - 1 - (int)words, argv + 1 + words);
    arena_reset(&cli.arena);
    errno = 0;
    if (fflush(out) != 0 || ferror(out)) { /* whoever reads it has not all of it */
        cli_fail(&cli, CLI_FAILED, "standard output: %s", strerror(errno ? errno : EIO));
        code = code == CLI_OK ? CLI_FAILED : code;
    }
    return (int)code;
}

/* ---- For commands
 * -------------------------------------------------------------------------------- */

const char *cli_option_nth(const struct cli *cli, const char *name, size_t n)
{
    for (size_t i = 0; i < cli->given_count; i++)
        if (strcmp(cli->given[i].option->name, name) == 0 && n-- == 0)
            return cli->given[i].value;
    return NULL;
}

const char *cli_option(const struct cli *cli, const char *name)
{
    const char *last = NULL, *value;
    for (size_t n = 0; (value = cli_option_nth(cli, name, n)); n++)
        last = value;
    return last;
}

void cli_vcomplain(FILE *err, const char *format, va_list args)
{
    struct buf words, shown;
    struct str rest, line;
    buf_init(&words, COMPLAINT_SIZE_MAX);
    buf_init(&shown, 3 * COMPLAINT_SIZE_MAX);
    buf_vprintf(&words, format, args);
    rest = buf_str(&words);
    while (str_split(&rest, '\n', &line)) {
        utf8_put_shown(&shown, line);
        buf_append_byte(&shown, '\n');
    }
    fwrite(shown.ptr, 1, shown.len, err);
    buf_release(&words);
    buf_release(&shown);
}

__attribute__((format(printf, 2, 0))) static void complain(struct cli *cli, const char *format,
                                                           va_list args)
{
    fflush(cli->out);
    fprintf(cli->err, "postern: %s: ", cli->command->name);
    cli_vcomplain(cli->err, format, args);
}

enum cli_exit cli_fail(struct cli *cli, enum cli_exit code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    complain(cli, format, args);
    va_end(args);
    return code;
}

void cli_warn(struct cli *cli, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fflush(cli->out);
    fprintf(cli->err, "postern: %s: warning: ", cli->command->name);
    cli_vcomplain(cli->err, format, args);
    va_end(args);
}

enum cli_exit cli_usage(struct cli *cli, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    complain(cli, format, args);
    va_end(args);
    fprintf(cli->err, "see postern %s --help\n", cli->command->name);
    return CLI_USAGE;
}

static enum cli_exit exit_of(enum status_code status)
{
    switch (status) {
    case STATUS_OK:
        return CLI_OK;
    case STATUS_NOT_FOUND:
        return CLI_NOT_FOUND;
    case STATUS_EXISTS:
        return CLI_EXISTS;
    default:
        return status_is_temporary(status) ? CLI_TRY_AGAIN : CLI_FAILED;
    }
}

enum cli_exit cli_fail_status(struct cli *cli, enum status_code status, const struct diag *d)
{
    if (d && d->words[0])
        return cli_fail(cli, exit_of(status), "%s", d->words);
    return cli_fail(cli, exit_of(status), "%s", status_name(status));
}

enum cli_exit cli_done(struct cli *cli, const char *format, ...)
{
    char words[1000];
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof(words), format, args);
    va_end(args);
    if (!cli->json) {
        fprintf(cli->out, "%s\n", words);
        return CLI_OK;
    }
    static const struct listing_column columns[] = {{"", "done", LISTING_WORDS}};
    struct listing l;
    listing_init(&l, columns, 1);
    listing_words(&l, str_from_c(words));
    listing_print_record(&l, cli->out, true);
    return CLI_OK;
}

bool cli_size(const char *words, uint64_t *ret_size)
{
    static const char units[] = "KMGT";
    struct str s = str_from_c(words);
    uint64_t value;
    unsigned shift = 0;
    if (str_eq(s, STR("none"))) {
        *ret_size = 0;
        return true;
    }
    const char *unit = s.len > 1 ? strchr(units, ascii_upper(s.ptr[s.len - 1])) : NULL;
    if (unit) {
        shift = 10 * (unsigned)(unit - units + 1);
        s.len--;
    }
    if (!str_to_u64(s, INT64_MAX >> shift, &value))
        return false;
    *ret_size = value << shift;
    return true;
}
