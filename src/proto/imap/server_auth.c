#include "base/limits.h"
#include "proto/imap/engine.h"
#include "proto/imap/reply.h"

/* LOGIN and AUTHENTICATE: RFC 3501 §6.2.2, §6.2.3, RFC 4959 (SASL-IR). */

struct auth_args {
    struct str user; /* LOGIN */
    struct str password;
    struct str mechanism; /* AUTHENTICATE */
    struct str initial;
    bool has_initial;
    bool succeeded; /* the client has yet to see the last data */
};

/* login = "LOGIN" SP userid SP password */
bool imap_parse_login(struct imap_server *e, struct imap_cursor *c)
{
    struct auth_args *args = e->run.args = imap_alloc(e, sizeof *args);
    return args && imap_need_space(c) && imap_parse_astring(c, &args->user) && imap_need_space(c) &&
           imap_parse_astring(c, &args->password);
}

static bool is_base64(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!ascii_is_alpha(s.ptr[i]) && !ascii_is_digit(s.ptr[i]) && s.ptr[i] != '+' &&
            s.ptr[i] != '/' && s.ptr[i] != '=')
            return false;
    return true;
}

/* authenticate = "AUTHENTICATE" SP auth-type [SP (base64 / "=")] */
bool imap_parse_authenticate(struct imap_server *e, struct imap_cursor *c)
{
    struct auth_args *args = e->run.args = imap_alloc(e, sizeof *args);
    struct str name;
    if (!args || !imap_need_space(c) || !imap_parse_atom(c, &name))
        return false;
    char *mechanism = arena_alloc(&e->arena, name.len);
    if (!mechanism)
        return imap_fail(c, "Command too large");
    for (size_t i = 0; i < name.len; i++)
        mechanism[i] = ascii_upper(name.ptr[i]);
    args->mechanism = str_make(mechanism, name.len);
    args->has_initial = imap_take(c, ' ');
    if (!args->has_initial)
        return true;
    if (!imap_parse_astring(c, &args->initial) || !is_base64(args->initial))
        return imap_fail(c, "Base64 expected");
    if (str_eq(args->initial, STR("=")))
        args->initial = STR("");
    return true;
}

/* ---- how it ends ---- */

static bool wait_for_owner(struct imap_server *e)
{
    /* Only a code without data leads here: imap_answer, the exchange failed. */
    if (e->run.answer == IMAP_AUTHENTICATIONFAILED)
        e->login_failure_count++;
    if (e->login_failure_count >= LIMIT_LOGIN_FAILURES) {
        buf_printf(&e->out, "%.*s NO [AUTHENTICATIONFAILED] Wrong name or password\r\n",
                   STR_ARG(e->run.tag));
        imap_bye(e, "Too many failed logins");
        return false;
    }
    return imap_finish(e, e->run.answer == IMAP_OK ? IMAP_NO : e->run.answer);
}

/* The tagged OK tells what can be done now (RFC 3501 §7.1, CAPABILITY). */
static void log_in(struct imap_server *e)
{
    struct buf out = e->out;
    imap_set_state(e, IMAP_STATE_AUTHENTICATED);
    buf_init(&e->out, IMAP_OUTPUT_MAX);
    buf_append_str(&e->out, STR("CAPABILITY "));
    imap_put_capabilities(e);
    e->run.code_text = e->out;
    e->out = out;
    e->run.after = IMAP_EVENT_AUTHENTICATED;
    imap_finish_words(e, IMAP_OK, "Logged in");
}

/* ---- the exchange ---- */

static void ask_with(struct imap_server *e, enum imap_event_kind kind, struct str data,
                     bool has_data)
{
    const struct auth_args *args = e->run.args;
    struct imap_event *q = imap_ask(e, kind);
    q->auth.mechanism = args->mechanism;
    q->auth.data = data;
    q->auth.has_data = has_data;
    e->run.step = wait_for_owner;
}

static void take_response(struct imap_server *e, struct str line)
{
    const struct auth_args *args = e->run.args;
    if (str_eq(line, STR("*")) || !is_base64(line)) {
        imap_raise(e, IMAP_EVENT_AUTH_CANCEL);
        imap_finish_words(e, IMAP_BAD, line.len == 1 ? "Cancelled" : "Base64 expected");
    } else if (args->succeeded) {
        log_in(e);
    } else {
        ask_with(e, IMAP_EVENT_AUTH_RESPONSE, line, true);
    }
}

static bool wait_for_client(struct imap_server *e)
{
    (void)e;
    return false;
}

static void challenge(struct imap_server *e, struct str data)
{
    buf_printf(&e->out, "+ %.*s\r\n", STR_ARG(data));
    imap_await_line(e, take_response);
    e->run.step = wait_for_client;
}

static bool answered(struct imap_server *e, uint64_t token)
{
    enum imap_event_kind kind = e->question.kind;
    bool is_login = kind == IMAP_EVENT_LOGIN || kind == IMAP_EVENT_AUTH_START ||
                    kind == IMAP_EVENT_AUTH_RESPONSE;
    return is_login && imap_answered(e, token, kind);
}

void imap_answer_auth_challenge(struct imap_server *e, uint64_t token, struct str data)
{
    if (!answered(e, token))
        return;
    challenge(e, data);
    imap_advance(e);
}

void imap_answer_auth(struct imap_server *e, uint64_t token, enum imap_code code,
                      struct str last_data)
{
    if (!answered(e, token))
        return;
    e->run.answer = code;
    if (code == IMAP_OK && !str_empty(last_data)) {
        ((struct auth_args *)e->run.args)->succeeded = true;
        challenge(e, last_data);
    } else if (code == IMAP_OK) {
        log_in(e);
    }
    imap_advance(e);
}

bool imap_step_login(struct imap_server *e)
{
    const struct auth_args *args = e->run.args;
    struct imap_event *q = imap_ask(e, IMAP_EVENT_LOGIN);
    q->login.user = args->user;
    q->login.password = args->password;
    e->run.step = wait_for_owner;
    return false;
}

bool imap_step_authenticate(struct imap_server *e)
{
    const struct auth_args *args = e->run.args;
    struct str rest = e->config.mechanisms;
    struct str offered;
    while (str_split(&rest, ' ', &offered)) {
        if (!str_eq(offered, args->mechanism))
            continue;
        ask_with(e, IMAP_EVENT_AUTH_START, args->initial, args->has_initial);
        return false;
    }
    return imap_finish(e, IMAP_BADMECHANISM);
}
