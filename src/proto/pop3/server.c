#include "proto/pop3/server.h"

#include <stdlib.h>

#include "base/bug.h"
#include "base/limits.h"
#include "proto/pop3/server_state.h"

enum {
    OUTPUT_HIGH = 4096, /* with this much unsent no more input is taken */
    OUTPUT_MAX = 128 * 1024,
};

#define IN_LOGIN       (1u << STATE_AUTHORIZATION)
#define IN_TRANSACTION (1u << STATE_TRANSACTION)

static void command_capa(struct pop3_server *e, const struct arguments_given *args, struct now now);

static const struct command commands[] = {
    {STR("USER"),
     IN_LOGIN,
     ARGUMENTS_TEXT,
     command_user,
     {REPLY_OK, REPLY_SYNTAX, REPLY_STATE, REPLY_REFUSED}},
    {STR("PASS"),
     IN_LOGIN,
     ARGUMENTS_TEXT,
     command_pass,
     {REPLY_OK, REPLY_SYNTAX, REPLY_STATE, REPLY_AUTH, REPLY_TEMPORARY, REPLY_IN_USE}},
    {STR("AUTH"),
     IN_LOGIN,
     ARGUMENTS_TEXT,
     command_auth,
     {REPLY_OK, REPLY_CHALLENGE, REPLY_SYNTAX, REPLY_STATE, REPLY_REFUSED, REPLY_ABORTED,
      REPLY_AUTH, REPLY_TEMPORARY, REPLY_IN_USE, REPLY_TOO_LONG}},
    {STR("STLS"),
     IN_LOGIN,
     ARGUMENTS_NONE,
     command_stls,
     {REPLY_OK, REPLY_SYNTAX, REPLY_STATE, REPLY_REFUSED}},
    {STR("UTF8"), IN_LOGIN, ARGUMENTS_NONE, command_utf8, {REPLY_OK, REPLY_SYNTAX, REPLY_STATE}},
    {STR("CAPA"),
     IN_LOGIN | IN_TRANSACTION,
     ARGUMENTS_NONE,
     command_capa,
     {REPLY_OK, REPLY_SYNTAX}},
    {STR("QUIT"),
     IN_LOGIN | IN_TRANSACTION,
     ARGUMENTS_NONE,
     command_quit,
     {REPLY_OK, REPLY_SYNTAX, REPLY_TEMPORARY}},
    {STR("STAT"),
     IN_TRANSACTION,
     ARGUMENTS_NONE,
     command_stat,
     {REPLY_OK, REPLY_SYNTAX, REPLY_STATE}},
    {STR("LIST"),
     IN_TRANSACTION,
     ARGUMENTS_MAYBE_NUMBER,
     command_list,
     {REPLY_OK, REPLY_SYNTAX, REPLY_STATE, REPLY_MESSAGE}},
    {STR("RETR"),
     IN_TRANSACTION,
     ARGUMENTS_NUMBER,
     command_retr,
     {REPLY_OK, REPLY_SYNTAX, REPLY_STATE, REPLY_MESSAGE, REPLY_TEMPORARY}},
    {STR("DELE"),
     IN_TRANSACTION,
     ARGUMENTS_NUMBER,
     command_dele,
     {REPLY_OK, REPLY_SYNTAX, REPLY_STATE, REPLY_MESSAGE}},
    {STR("NOOP"),
     IN_TRANSACTION,
     ARGUMENTS_NONE,
     command_noop,
     {REPLY_OK, REPLY_SYNTAX, REPLY_STATE}},
    {STR("RSET"),
     IN_TRANSACTION,
     ARGUMENTS_NONE,
     command_rset,
     {REPLY_OK, REPLY_SYNTAX, REPLY_STATE}},
    {STR("TOP"),
     IN_TRANSACTION,
     ARGUMENTS_TWO_NUMBERS,
     command_top,
     {REPLY_OK, REPLY_SYNTAX, REPLY_STATE, REPLY_MESSAGE, REPLY_TEMPORARY}},
    {STR("UIDL"),
     IN_TRANSACTION,
     ARGUMENTS_MAYBE_NUMBER,
     command_uidl,
     {REPLY_OK, REPLY_SYNTAX, REPLY_STATE, REPLY_MESSAGE}},
    /* Every other line. */
    {STR("(other)"), 0, ARGUMENTS_NONE, NULL, {REPLY_UNKNOWN, REPLY_TOO_LONG}},
};

enum { COMMAND_COUNT = sizeof commands / sizeof *commands, COMMAND_OTHER = COMMAND_COUNT - 1 };
_Static_assert(sizeof commands / sizeof *commands <= (size_t)POP3_COMMANDS_MAX,
               "pop3_counts has too few rows");

static const struct {
    const char *name;
    const char *start;
} replies[REPLY_COUNT] = {
    [REPLY_OK] = {"ok", "+OK "},
    [REPLY_CHALLENGE] = {"challenge", "+ "},
    [REPLY_SYNTAX] = {"syntax", "-ERR "},
    [REPLY_STATE] = {"state", "-ERR "},
    [REPLY_REFUSED] = {"refused", "-ERR "},
    [REPLY_ABORTED] = {"aborted", "-ERR "},
    [REPLY_MESSAGE] = {"message", "-ERR "},
    [REPLY_AUTH] = {"auth", "-ERR [AUTH] "},
    [REPLY_TEMPORARY] = {"temporary", "-ERR [SYS/TEMP] "},
    [REPLY_IN_USE] = {"in-use", "-ERR [IN-USE] "},
    [REPLY_UNKNOWN] = {"unknown", "-ERR "},
    [REPLY_TOO_LONG] = {"too-long", "-ERR "},
};

/* ---- State, replies, events --------------------------------------------------------------- */

void pop3_server_set_state(struct pop3_server *e, enum state state)
{
    static const unsigned edges[STATE_COUNT] = {
        [STATE_AUTHORIZATION] =
            1u << STATE_SASL | 1u << STATE_HANDSHAKE | 1u << STATE_HANDED_OVER | 1u << STATE_CLOSED,
        [STATE_SASL] = 1u << STATE_AUTHORIZATION | 1u << STATE_HANDED_OVER | 1u << STATE_CLOSED,
        [STATE_HANDSHAKE] = 1u << STATE_AUTHORIZATION | 1u << STATE_CLOSED,
        [STATE_HANDED_OVER] = 1u << STATE_CLOSED,
        [STATE_TRANSACTION] = 1u << STATE_CLOSED,
    };
    if (e->state == state || e->state == STATE_CLOSED)
        return;
    invariant(edges[e->state] & 1u << state);
    e->state = state;
}

static void count_reply(struct pop3_server *e, enum reply kind)
{
    size_t column = 0;
    while (e->command->replies[column] != kind) {
        invariant(e->command->replies[column] != REPLY_END);
        column++;
    }
    if (e->config->counts)
        e->config->counts->replies[e->command - commands][column]++;
}

static bool counts_as_error(enum reply kind)
{
    return kind == REPLY_SYNTAX || kind == REPLY_STATE || kind == REPLY_REFUSED ||
           kind == REPLY_ABORTED || kind == REPLY_MESSAGE || kind == REPLY_UNKNOWN ||
           kind == REPLY_TOO_LONG;
}

void pop3_server_reply(struct pop3_server *e, enum reply kind, const char *format, ...)
{
    va_list args;
    count_reply(e, kind);
    buf_append_str(&e->out, str_from_c(replies[kind].start));
    va_start(args, format);
    buf_vprintf(&e->out, format, args);
    va_end(args);
    buf_append_str(&e->out, STR("\r\n"));
    if (kind == REPLY_OK)
        e->errors = 0;
    if (counts_as_error(kind) && ++e->errors >= LIMIT_POP3_ERRORS)
        pop3_server_close(e, POP3_CLOSE_ERRORS);
}

void pop3_server_close(struct pop3_server *e, enum pop3_close reason)
{
    if (e->state == STATE_CLOSED)
        return;
    pop3_server_set_state(e, STATE_CLOSED);
    e->close_reason = reason;
    e->job = JOB_NONE;
    e->asking = false;
    buf_wipe(&e->line);
    buf_wipe(&e->user);
}

void pop3_server_tell(struct pop3_server *e, struct pop3_event event)
{
    invariant(!e->has_event);
    e->event = event;
    e->has_event = true;
}

void pop3_server_ask(struct pop3_server *e, struct pop3_event event)
{
    invariant(!e->asking);
    e->asking = true;
    event.token = ++e->token;
    pop3_server_tell(e, event);
}

bool server_take_answer(struct pop3_server *e, uint64_t token)
{
    if (e->state == STATE_CLOSED)
        return false;
    invariant(e->asking && !e->has_event && token == e->token);
    e->asking = false;
    buf_wipe(&e->secret);
    return true;
}

size_t server_unsent(const struct pop3_server *e)
{
    return e->out.len - e->out_sent;
}

void server_pump(struct pop3_server *e)
{
    if (e->job == JOB_BODY)
        body_pump(e);
    else if (e->job != JOB_NONE)
        listing_pump(e);
    if (e->out.failed)
        pop3_server_close(e, POP3_CLOSE_FAILED);
    if (e->stopping && e->job == JOB_NONE && !e->asking && e->state != STATE_HANDED_OVER)
        pop3_server_close(e, POP3_CLOSE_SHUTDOWN);
}

/* RFC 1939 §3: silence in the TRANSACTION state ends it; the time to log in is not renewed. */
static void heard(struct pop3_server *e, struct now now)
{
    if (e->state == STATE_TRANSACTION)
        e->deadline_ms = now.mono_ms + e->config->idle_ms;
}

/* ---- Commands ------------------------------------------------------------------------------ */

/* RFC 2449 §5, §6: what is announced before the login is announced after it too. */
static void command_capa(struct pop3_server *e, const struct arguments_given *args, struct now now)
{
    struct str mechanisms = login_mechanisms(e);
    (void)args;
    (void)now;
    pop3_server_reply(e, REPLY_OK, "capabilities follow");
    buf_append_str(&e->out, STR("TOP\r\nUIDL\r\nPIPELINING\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\n"
                                "EXPIRE NEVER\r\nUTF8 USER\r\n"));
    if (login_password_allowed(e))
        buf_append_str(&e->out, STR("USER\r\n"));
    if (!str_empty(mechanisms))
        buf_printf(&e->out, "SASL %.*s\r\n", STR_ARG(mechanisms));
    if (e->config->starttls && !e->tls)
        buf_append_str(&e->out, STR("STLS\r\n"));
    buf_append_str(&e->out, STR("IMPLEMENTATION Postern\r\n.\r\n"));
}

static const struct command *find_command(struct str keyword)
{
    for (size_t i = 0; i < COMMAND_OTHER; i++)
        if (str_eq_nocase(commands[i].name, keyword))
            return &commands[i];
    return &commands[COMMAND_OTHER];
}

/* RFC 1939 §3: arguments are separated by a single space. */
static bool parse_numbers(struct str text, unsigned max, struct arguments_given *ret_args)
{
    struct str word;
    ret_args->count = 0;
    while (ret_args->count < max && str_split(&text, ' ', &word))
        if (!str_to_u64(word, UINT32_MAX, &ret_args->numbers[ret_args->count++]))
            return false;
    return str_empty(text);
}

static bool parse_arguments(enum arguments kind, struct str text, struct arguments_given *ret_args)
{
    ret_args->text = text;
    switch (kind) {
    case ARGUMENTS_NONE:
        return str_empty(text);
    case ARGUMENTS_TEXT:
        return !str_empty(text);
    case ARGUMENTS_NUMBER:
        return parse_numbers(text, 1, ret_args) && ret_args->count == 1;
    case ARGUMENTS_MAYBE_NUMBER:
        return parse_numbers(text, 1, ret_args);
    case ARGUMENTS_TWO_NUMBERS:
        return parse_numbers(text, 2, ret_args) && ret_args->count == 2;
    }
    bug("unknown kind of arguments");
}

static void run_line(struct pop3_server *e, struct str line, struct now now)
{
    struct arguments_given args = {0};
    ptrdiff_t space = str_find_byte(line, ' ');
    size_t end = space < 0 ? line.len : (size_t)space;
    const struct command *command = find_command(str_sub(line, 0, end));
    struct str text = space < 0 ? STR("") : str_skip(line, end + 1);
    e->command = command;
    if (!command->run)
        pop3_server_reply(e, REPLY_UNKNOWN, "no such command");
    else if (!(command->states & 1u << e->state))
        pop3_server_reply(e, REPLY_STATE, "not now");
    else if (str_find_byte(text, '\0') >= 0 || !parse_arguments(command->arguments, text, &args))
        pop3_server_reply(e, REPLY_SYNTAX, "bad arguments");
    else
        command->run(e, &args, now);
}

/* ---- Lines --------------------------------------------------------------------------------- */

static size_t line_max(const struct pop3_server *e)
{
    return e->state == STATE_SASL ? LIMIT_POP3_SASL_LINE_SIZE : LIMIT_POP3_COMMAND_SIZE;
}

static void line_too_long(struct pop3_server *e)
{
    if (e->state == STATE_SASL) {
        pop3_server_set_state(e, STATE_AUTHORIZATION);
        pop3_server_tell(e, (struct pop3_event){.type = POP3_SASL_ABORTED});
    } else {
        e->command = &commands[COMMAND_OTHER];
    }
    pop3_server_reply(e, REPLY_TOO_LONG, "line too long");
}

/* A line ends in CRLF; a client that sends a bare LF is understood too. */
static void take_line(struct pop3_server *e, struct str line, struct now now)
{
    line = str_sub(line, 0, line.len - 1);
    if (str_ends(line, STR("\r")))
        line.len--;
    if (e->state == STATE_SASL)
        login_sasl_line(e, line);
    else
        run_line(e, line, now);
}

/*
 * Takes bytes up to the end of a line, or all of them. A line that comes in one piece is used
 * where it is; the start of a longer one is kept, in one allocation, so that a wipe gets all of
 * it.
 */
static size_t input_line(struct pop3_server *e, struct str bytes, struct now now)
{
    ptrdiff_t lf = str_find_byte(bytes, '\n');
    size_t n = lf < 0 ? bytes.len : (size_t)lf + 1;
    struct str piece = str_sub(bytes, 0, n);
    if (e->skipping || e->line.len + n > line_max(e)) {
        buf_wipe(&e->line);
        e->skipping = lf < 0;
        if (lf >= 0)
            line_too_long(e);
        return n;
    }
    if (lf >= 0 && e->line.len == 0) {
        take_line(e, piece, now);
        return n;
    }
    if (e->line.len == 0) {
        buf_init_secret(&e->line, line_max(e));
        buf_reserve(&e->line, line_max(e));
    }
    if (!buf_append_str(&e->line, piece)) {
        pop3_server_close(e, POP3_CLOSE_FAILED);
    } else if (lf >= 0) {
        struct buf line = e->line;
        buf_init_secret(&e->line, 0);
        take_line(e, buf_str(&line), now);
        buf_wipe(&line);
    }
    return n;
}

static bool takes_input(const struct pop3_server *e)
{
    return !e->asking && !e->has_event && e->job == JOB_NONE && server_unsent(e) < OUTPUT_HIGH &&
           (e->state == STATE_AUTHORIZATION || e->state == STATE_SASL ||
            e->state == STATE_TRANSACTION);
}

/* ---- The contract -------------------------------------------------------------------------- */

static struct pop3_server *server_new(const struct pop3_config *config, bool tls, enum state state)
{
    struct pop3_server *e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    e->config = config;
    e->tls = tls;
    e->state = state;
    e->command = &commands[COMMAND_OTHER];
    buf_init_secret(&e->user, LIMIT_POP3_COMMAND_SIZE);
    buf_init_secret(&e->secret, LIMIT_POP3_SASL_LINE_SIZE);
    buf_init(&e->out, OUTPUT_MAX);
    return e;
}

struct pop3_server *pop3_server_new_login(const struct pop3_config *config, bool tls,
                                          struct now now)
{
    struct pop3_server *e = server_new(config, tls, STATE_AUTHORIZATION);
    if (!e)
        return NULL;
    e->deadline_ms = now.mono_ms + config->login_ms;
    if (!buf_printf(&e->out, "+OK %.*s Postern is ready\r\n", STR_ARG(config->hostname)))
        pop3_server_close(e, POP3_CLOSE_FAILED);
    return e;
}

struct pop3_server *pop3_server_new_maildrop(const struct pop3_config *config, bool tls,
                                             struct pop3_maildrop maildrop, struct now now)
{
    struct pop3_server *e = server_new(config, tls, STATE_TRANSACTION);
    if (!e) {
        free(maildrop.messages);
        return NULL;
    }
    e->maildrop = maildrop;
    heard(e, now);
    return e;
}

void pop3_server_free(struct pop3_server *e)
{
    if (!e)
        return;
    buf_wipe(&e->line);
    buf_wipe(&e->user);
    buf_wipe(&e->secret);
    buf_release(&e->out);
    free(e->maildrop.messages);
    free(e);
}

size_t pop3_input(struct pop3_server *e, struct str bytes, struct now now)
{
    size_t taken = 0;
    if (bytes.len)
        heard(e, now);
    if (e->state == STATE_HANDSHAKE && !e->has_event)
        return bytes.len;
    while (taken < bytes.len && takes_input(e)) {
        taken += input_line(e, str_skip(bytes, taken), now);
        server_pump(e);
    }
    return taken;
}

struct str pop3_output(const struct pop3_server *e)
{
    return str_skip(buf_str(&e->out), e->out_sent);
}

void pop3_output_done(struct pop3_server *e, size_t n)
{
    invariant(n <= server_unsent(e));
    e->out_sent += n;
    if (e->out_sent == e->out.len) {
        buf_release(&e->out);
        e->out_sent = 0;
    } else if (e->out_sent >= server_unsent(e)) {
        /* Moves no more octets than have been sent since the last time. */
        buf_consume(&e->out, e->out_sent);
        e->out_sent = 0;
    }
    server_pump(e);
}

bool pop3_next(struct pop3_server *e, struct pop3_event *ret_event)
{
    if (e->state == STATE_CLOSED) {
        if (e->close_told)
            return false;
        e->close_told = true;
        *ret_event = (struct pop3_event){.type = POP3_CLOSE, .reason = e->close_reason};
        return true;
    }
    if (!e->has_event)
        return false;
    e->has_event = false;
    *ret_event = e->event;
    return true;
}

int64_t pop3_deadline(const struct pop3_server *e)
{
    bool waits = e->state != STATE_CLOSED && e->state != STATE_HANDED_OVER && !e->asking;
    return waits ? e->deadline_ms : NEVER_MS;
}

/* RFC 1939 §3: an autologout closes without a word, and removes nothing. */
void pop3_tick(struct pop3_server *e, struct now now)
{
    if (now.mono_ms >= pop3_deadline(e))
        pop3_server_close(e, POP3_CLOSE_IDLE);
}

/* RFC 2595 §4: what the client said in clear may have been said by somebody else. */
void pop3_tls_started(struct pop3_server *e, struct now now)
{
    (void)now;
    invariant(e->state == STATE_HANDSHAKE || e->state == STATE_CLOSED);
    pop3_server_set_state(e, STATE_AUTHORIZATION);
    e->tls = true;
    buf_wipe(&e->user);
}

void pop3_peer_gone(struct pop3_server *e)
{
    pop3_server_close(e, POP3_CLOSE_GONE);
}

void pop3_shutdown(struct pop3_server *e, struct now now)
{
    (void)now;
    e->stopping = true;
    server_pump(e);
}

const char *pop3_close_name(enum pop3_close reason)
{
    static const char *const names[POP3_CLOSE_COUNT] = {
        [POP3_CLOSE_QUIT] = "quit",     [POP3_CLOSE_ERRORS] = "too many errors",
        [POP3_CLOSE_LOGINS] = "logins", [POP3_CLOSE_IDLE] = "idle",
        [POP3_CLOSE_GONE] = "gone",     [POP3_CLOSE_SHUTDOWN] = "shutdown",
        [POP3_CLOSE_FAILED] = "failed"};
    return names[reason];
}

bool pop3_reply_count(size_t row, size_t column, struct str *ret_command, const char **ret_reply)
{
    if (row >= COMMAND_COUNT || column >= POP3_COMMAND_REPLIES_MAX ||
        commands[row].replies[column] == REPLY_END)
        return false;
    *ret_command = commands[row].name;
    *ret_reply = replies[commands[row].replies[column]].name;
    return true;
}
