#include "cli/password_input.h"

#include <errno.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "io/random.h"
#include "proto/sasl/prep.h"

void cli_generate_password(struct buf *out)
{
    /* Without 0 o 1 l i: 31 characters. */
    static const char letters[] = "abcdefghjkmnpqrstuvwxyz23456789";
    enum { LENGTH = 24, COUNT = sizeof(letters) - 1, FAIR = 256 - 256 % COUNT };
    for (int made = 0; made < LENGTH;) {
        uint8_t byte;
        random_bytes(&byte, 1);
        if (byte >= FAIR)
            continue;
        buf_append_byte(out, letters[byte % COUNT]);
        made++;
        if (made % 6 == 0 && made < LENGTH)
            buf_append_byte(out, '-');
    }
}

/* One line, without its end; false at the end of the file. */
static bool read_line(FILE *in, struct buf *out)
{
    int c;
    while ((c = getc(in)) != EOF && c != '\n')
        buf_append_byte(out, (char)c);
    if (out->len > 0 && out->ptr[out->len - 1] == '\r')
        buf_truncate(out, out->len - 1);
    return c == '\n' || out->len > 0 || out->failed;
}

static bool ask_hidden(struct cli *cli, const char *question, struct buf *out)
{
    struct termios shown, hidden;
    fputs(question, cli->err);
    fflush(cli->err);
    if (tcgetattr(fileno(cli->in), &shown) != 0)
        return false;
    hidden = shown;
    hidden.c_lflag &= ~(tcflag_t)ECHO;
    tcsetattr(fileno(cli->in), TCSAFLUSH, &hidden);
    bool ok = read_line(cli->in, out);
    tcsetattr(fileno(cli->in), TCSAFLUSH, &shown);
    fputc('\n', cli->err);
    return ok;
}

static enum cli_exit ask_twice(struct cli *cli, struct buf *out)
{
    struct buf again;
    buf_init_secret(&again, CLI_PASSWORD_SIZE_MAX);
    bool ok = ask_hidden(cli, "New password: ", out) && ask_hidden(cli, "Once more: ", &again);
    bool same = str_eq_secret(buf_str(out), buf_str(&again));
    buf_wipe(&again);
    if (!ok)
        return cli_fail(cli, CLI_FAILED, "no password was given");
    return same ? CLI_OK : cli_fail(cli, CLI_FAILED, "the two passwords differ");
}

static enum cli_exit from_file(struct cli *cli, const char *path, struct buf *out)
{
    bool is_stdin = strcmp(path, "-") == 0;
    FILE *file = is_stdin ? cli->in : fopen(path, "re");
    if (!file)
        return cli_fail(cli, errno == ENOENT ? CLI_NOT_FOUND : CLI_FAILED, "%s: %s", path,
                        strerror(errno));
    setvbuf(file, NULL, _IONBF, 0);
    bool ok = read_line(file, out);
    if (!is_stdin)
        fclose(file);
    return ok ? CLI_OK
              : cli_fail(cli, CLI_FAILED, "there is no password in %s",
                         is_stdin ? "standard input (--generate makes one)" : path);
}

/* As the keeper will see it; better now than when the account is made. */
static bool is_password(const struct buf *words)
{
    struct buf prepared;
    buf_init_secret(&prepared, CLI_PASSWORD_SIZE_MAX);
    bool ok = !words->failed && sasl_prepare(buf_str(words), &prepared);
    buf_wipe(&prepared);
    return ok;
}

enum cli_exit cli_new_password(struct cli *cli, struct buf *out, bool *ret_generated)
{
    const char *path = cli_option(cli, "--password-file");
    enum cli_exit code = CLI_OK;
    *ret_generated = cli_option(cli, "--generate") != NULL;
    if (*ret_generated && path)
        return cli_usage(cli, "--generate and --password-file exclude each other");
    if (*ret_generated)
        cli_generate_password(out);
    else if (path)
        code = from_file(cli, path, out);
    else if (isatty(fileno(cli->in)))
        code = ask_twice(cli, out);
    else
        code = from_file(cli, "-", out);
    if (code == CLI_OK && out->len == 0 && !out->failed)
        code = cli_fail(cli, CLI_FAILED, "an empty password is none");
    if (code == CLI_OK && !is_password(out))
        code = cli_fail(cli, CLI_FAILED,
                        "a password is 1 to %d octets of UTF-8, without control characters",
                        CLI_PASSWORD_SIZE_MAX);
    return code;
}
