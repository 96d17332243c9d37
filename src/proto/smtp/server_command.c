#include "proto/smtp/server_state.h"

/*
 * All that Postern knows as a command, and all that each can answer. Codes that only the owner can
 * bring in (a mailbox unknown, a disk full) stand in the row too.
 */
const struct smtp_command smtp_commands[] = {
    [ROW_CONNECTION] = {STR("(connection)"), NULL, 0, {220, 421, 554}},
    [ROW_UNKNOWN] = {STR("(unknown)"), NULL, ON_ALL, {500}},
    {STR("EHLO"), server_ehlo, ON_SMTP | NEEDS_ARGUMENT, {250, 501}},
    {STR("HELO"), server_helo, ON_SMTP | NEEDS_ARGUMENT, {250, 501}},
    {STR("LHLO"), server_ehlo, ON_LMTP | NEEDS_ARGUMENT, {250, 501}},
    {STR("MAIL"),
     server_mail,
     ON_ALL | NEEDS_HELLO | NEEDS_LOGIN | NEEDS_ARGUMENT,
     {250, 421, 451, 452, 501, 503, 530, 550, 552, 553, 555}},
    {STR("RCPT"),
     server_rcpt,
     ON_ALL | NEEDS_HELLO | NEEDS_LOGIN | NEEDS_ARGUMENT,
     {250, 251, 421, 450, 451, 452, 501, 503, 530, 550, 552, 553, 555}},
    {STR("DATA"),
     server_data,
     ON_ALL | NEEDS_HELLO | NEEDS_LOGIN | NO_ARGUMENT,
     {250, 354, 421, 451, 452, 500, 501, 503, 530, 550, 552, 554}},
    {STR("BDAT"), server_bdat, ON_ALL, {250, 421, 451, 452, 500, 501, 503, 550, 552, 554}},
    {STR("RSET"), server_rset, ON_ALL | NO_ARGUMENT, {250, 501}},
    {STR("NOOP"), server_noop, ON_ALL, {250}},
    {STR("QUIT"), server_quit, ON_ALL | NO_ARGUMENT, {221, 501}},
    {STR("VRFY"), server_vrfy, ON_ALL | NEEDS_ARGUMENT, {252, 501}},
    {STR("EXPN"), server_expn, ON_ALL | NEEDS_ARGUMENT, {501, 502}},
    {STR("HELP"), server_help, ON_ALL, {214}},
    {STR("STARTTLS"), server_starttls, ON_ALL | NO_ARGUMENT, {220, 501, 502, 503}},
    {STR("AUTH"),
     server_auth,
     ON_SMTP | NEEDS_ARGUMENT,
     {235, 334, 454, 500, 501, 502, 503, 504, 534, 535, 538}},
};
const size_t smtp_commands_count = sizeof smtp_commands / sizeof smtp_commands[0];

static const struct smtp_reply reply_bad_octets =
    SMTP_REPLY(500, 5, 5, 2, "a command line holds a bare CR or LF, or NUL");
static const struct smtp_reply reply_unknown = SMTP_REPLY(500, 5, 5, 1, "unknown command");
static const struct smtp_reply reply_hello_first =
    SMTP_REPLY(503, 5, 5, 1, "introduce yourself first");
static const struct smtp_reply reply_argument_missing =
    SMTP_REPLY(501, 5, 5, 4, "an argument is missing");
static const struct smtp_reply reply_argument_unwanted =
    SMTP_REPLY(501, 5, 5, 4, "this command has no argument");
static const struct smtp_reply reply_tls_first = SMTP_REPLY(530, 5, 7, 0, "STARTTLS first");
static const struct smtp_reply reply_login_first =
    SMTP_REPLY(530, 5, 7, 0, "authentication required");

static const struct smtp_command *find_command(const struct smtp_server *s, struct str verb)
{
    unsigned here = s->listener->kind == SMTP_LISTENER_LMTP ? ON_LMTP : ON_SMTP;
    for (size_t i = ROW_FIRST_COMMAND; i < smtp_commands_count; i++)
        if (str_eq_nocase(smtp_commands[i].name, verb) && (smtp_commands[i].flags & here))
            return &smtp_commands[i];
    return NULL;
}

/* What stands against running the command now; NULL where nothing does. */
static const struct smtp_reply *find_obstacle(const struct smtp_server *s, unsigned flags,
                                              struct str argument)
{
    if ((flags & NEEDS_HELLO) && !s->hello)
        return &reply_hello_first;
    if ((flags & NEEDS_LOGIN) && server_wants_login(s) && !s->authenticated)
        return s->tls ? &reply_login_first : &reply_tls_first;
    if ((flags & NEEDS_ARGUMENT) && str_empty(argument))
        return &reply_argument_missing;
    if ((flags & NO_ARGUMENT) && !str_empty(argument))
        return &reply_argument_unwanted;
    return NULL;
}

/* Trailing white space is tolerated (RFC 5321 §4.1.1). */
static struct str trim_end(struct str line)
{
    while (line.len > 0 && (line.ptr[line.len - 1] == ' ' || line.ptr[line.len - 1] == '\t'))
        line.len--;
    return line;
}

void server_run_command(struct smtp_server *s, struct str line, struct now now)
{
    s->command = &smtp_commands[ROW_UNKNOWN];
    if (str_find_byte(line, '\r') >= 0 || str_find_byte(line, '\n') >= 0 ||
        str_find_byte(line, '\0') >= 0) {
        server_reply(s, &reply_bad_octets);
        return;
    }
    line = trim_end(line);
    ptrdiff_t space = str_find_byte(line, ' ');
    struct str verb = space < 0 ? line : str_sub(line, 0, (size_t)space);
    struct str argument = space < 0 ? str_sub(line, line.len, 0) : str_skip(line, verb.len + 1);
    const struct smtp_command *command = find_command(s, verb);
    if (!command) {
        server_reply(s, &reply_unknown);
        return;
    }
    s->command = command;
    const struct smtp_reply *obstacle = find_obstacle(s, command->flags, argument);
    if (obstacle)
        server_reply(s, obstacle);
    else
        command->run(s, argument, now);
}

bool smtp_reply_count(size_t row, size_t column, struct str *ret_command, uint16_t *ret_code)
{
    if (row >= smtp_commands_count || column >= SMTP_COMMAND_CODES_MAX ||
        smtp_commands[row].codes[column] == 0)
        return false;
    *ret_command = smtp_commands[row].name;
    *ret_code = smtp_commands[row].codes[column];
    return true;
}
