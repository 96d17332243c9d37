#include "proto/imap/server.h"

#include <stdlib.h>

#include "base/bug.h"
#include "base/limits.h"
#include "proto/imap/engine.h"
#include "proto/imap/reply.h"

/* ---- life ---- */

static const char capabilities_login[] = "IMAP4rev1 LITERAL+ SASL-IR ID ENABLE";
static const char capabilities_mailboxes[] =
    " IDLE NAMESPACE CHILDREN LIST-EXTENDED SPECIAL-USE CREATE-SPECIAL-USE UIDPLUS UNSELECT MOVE";

static bool login_allowed(const struct imap_server *e)
{
    return e->config.tls_active || e->config.clear_login;
}

void imap_put_capabilities(struct imap_server *e)
{
    struct str rest = e->config.mechanisms;
    struct str mechanism;
    buf_append_str(&e->out, str_from_c(capabilities_login));
    if (e->state != IMAP_STATE_GREETED) {
        buf_append_str(&e->out, str_from_c(capabilities_mailboxes));
        return;
    }
    if (e->config.tls_offered && !e->config.tls_active)
        buf_append_str(&e->out, STR(" STARTTLS"));
    if (!login_allowed(e)) {
        buf_append_str(&e->out, STR(" LOGINDISABLED")); /* RFC 3501 §6.2.3 */
        return;
    }
    while (str_split(&rest, ' ', &mechanism))
        buf_printf(&e->out, " AUTH=%.*s", STR_ARG(mechanism));
}

struct imap_server *imap_server_create(const struct imap_config *config, struct now now)
{
    struct imap_server *e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    e->config = *config;
    if (!e->config.append_size_max)
        e->config.append_size_max = LIMIT_IMAP_LITERAL_SIZE;
    e->start_ms = e->active_ms = now.mono_ms;
    buf_init_secret(&e->text, LIMIT_IMAP_COMMAND_SIZE);
    buf_init(&e->out, IMAP_OUTPUT_MAX);
    arena_init(&e->arena, IMAP_ARENA_BUDGET);
    imap_set_state(e, config->authenticated ? IMAP_STATE_AUTHENTICATED : IMAP_STATE_GREETED);
    if (!config->authenticated) {
        buf_append_str(&e->out, STR("* OK [CAPABILITY "));
        imap_put_capabilities(e);
        buf_printf(&e->out, "] %s Postern ready\r\n", e->config.host_name);
    }
    return e;
}

static void drop_view(struct imap_server *e)
{
    if (e->view)
        imap_view_release(e->view);
    free(e->view);
    e->view = NULL;
}

void imap_server_free(struct imap_server *e)
{
    if (!e)
        return;
    imap_end(e);
    drop_view(e);
    buf_wipe(&e->text);
    buf_release(&e->out);
    free(e);
}

/* RFC 3501 §3: the only writer of the state. */
void imap_set_state(struct imap_server *e, enum imap_state state)
{
    static const uint8_t from[] = {
        [IMAP_STATE_GREETED] = 0,
        [IMAP_STATE_AUTHENTICATED] = IMAP_STATES_ALL,
        [IMAP_STATE_SELECTED] = IMAP_STATES_AUTH,
    };
    invariant(e->state == 0 || (from[state] & e->state));
    e->state = state;
}

void imap_unselect(struct imap_server *e)
{
    if (!e->view)
        return;
    drop_view(e);
    imap_set_state(e, IMAP_STATE_AUTHENTICATED);
    imap_raise(e, IMAP_EVENT_UNSELECTED);
}

/* ---- events ---- */

void imap_raise(struct imap_server *e, enum imap_event_kind kind)
{
    invariant(e->notice_count < IMAP_NOTICES_MAX);
    e->notices[e->notice_count++] = (uint8_t)kind;
}

struct imap_event *imap_ask(struct imap_server *e, enum imap_event_kind kind)
{
    invariant(!e->question.token);
    e->question = (struct imap_event){.kind = kind, .token = ++e->last_token};
    e->question_pulled = false;
    e->run.answer = IMAP_OK;
    return &e->question;
}

bool imap_server_next(struct imap_server *e, struct imap_event *ret_event)
{
    if (e->notice_count) {
        *ret_event = (struct imap_event){.kind = e->notices[0]};
        memmove(e->notices, e->notices + 1, --e->notice_count);
        return true;
    }
    if (!e->question.token || e->question_pulled)
        return false;
    e->question_pulled = true;
    *ret_event = e->question;
    return true;
}

bool imap_answered(struct imap_server *e, uint64_t token, enum imap_event_kind kind)
{
    if (!token || token != e->question.token)
        return false;
    invariant(e->question.kind == kind);
    e->question.token = 0;
    return true;
}

void imap_answer(struct imap_server *e, uint64_t token, enum imap_code code)
{
    if (!imap_answered(e, token, e->question.kind))
        return;
    e->run.answer = code;
    imap_advance(e);
}

void imap_close(struct imap_server *e)
{
    if (e->closed)
        return;
    e->closed = true;
    e->question.token = 0;
    imap_raise(e, IMAP_EVENT_CLOSE);
}

void imap_bye(struct imap_server *e, const char *words)
{
    if (e->closed)
        return;
    buf_printf(&e->out, "* BYE %s\r\n", words);
    imap_close(e);
}

void imap_count_error(struct imap_server *e)
{
    if (++e->error_count >= LIMIT_IMAP_ERRORS)
        imap_bye(e, "Too many errors");
}

void imap_server_shutdown(struct imap_server *e, const char *reason)
{
    imap_bye(e, reason);
}

/* ---- running a command ---- */

void *imap_alloc(struct imap_server *e, size_t size)
{
    void *ptr = arena_alloc(&e->arena, size);
    if (!ptr)
        imap_finish(e, IMAP_LIMIT);
    return ptr;
}

/* What a row cannot say becomes a plain NO, so that its list of replies stays true. */
static enum imap_code listed(const struct imap_command *row, enum imap_code code)
{
    return row->replies & IMAP_REPLY(code) ? code : IMAP_NO;
}

static void put_tagged(struct imap_server *e)
{
    const struct imap_running *run = &e->run;
    const struct imap_reply *reply = imap_reply_of(run->code);
    const char *words = run->words ? run->words : reply->words;
    buf_printf(&e->out, "%.*s %s ", STR_ARG(run->tag), reply->status);
    if (run->code_text.len && !run->code_text.failed)
        buf_printf(&e->out, "[%.*s] ", STR_ARG(buf_str(&run->code_text)));
    else if (reply->code)
        buf_printf(&e->out, "[%s] ", reply->code);
    if (words)
        buf_printf(&e->out, "%s\r\n", words);
    else
        buf_printf(&e->out, "%s completed\r\n", run->row ? run->row->name : "Command");
}

static void after_reply(struct imap_server *e, enum imap_event_kind after)
{
    if (after == IMAP_EVENT_CLOSE)
        imap_close(e);
    else if (after)
        imap_raise(e, after);
    e->stopped |= after == IMAP_EVENT_STARTTLS || after == IMAP_EVENT_AUTHENTICATED;
}

static bool step_finish(struct imap_server *e)
{
    bool bad = e->run.code == IMAP_BAD || e->run.code == IMAP_BADSASL;
    bool good = e->run.code == IMAP_OK;
    bool quiet = e->run.row && (e->run.row->flags & IMAP_ROW_QUIET) && !e->run.uid;
    enum imap_event_kind after = e->run.after;
    if (!bad && !imap_tell(e, !quiet))
        return false;
    put_tagged(e);
    imap_end(e);
    after_reply(e, after);
    if (bad)
        imap_count_error(e);
    else if (good)
        e->error_count = 0;
    return true;
}

bool imap_finish_words(struct imap_server *e, enum imap_code code, const char *words)
{
    if (code == IMAP_OK && e->run.missed)
        code = IMAP_EXPUNGED;
    e->run.code = e->run.row ? listed(e->run.row, code) : code;
    e->run.words = words;
    e->run.step = step_finish;
    return true;
}

bool imap_finish(struct imap_server *e, enum imap_code code)
{
    return imap_finish_words(e, code, NULL);
}

void imap_end(struct imap_server *e)
{
    struct imap_running *run = &e->run;
    if (run->release)
        run->release(e);
    bool secret = run->row && (run->row->flags & IMAP_ROW_PRIVATE);
    imap_rangeset_release(&run->set);
    buf_release(&run->code_text);
    buf_release(&run->name);
    *run = (struct imap_running){0};
    if (secret) {
        buf_wipe(&e->text);
        arena_wipe(&e->arena);
    } else {
        buf_release(&e->text);
        arena_reset(&e->arena);
    }
    /* What the client sends without waiting comes, though nobody wants it now. */
    bool swallow = e->tail_unread && !e->literal_waits;
    e->input = swallow ? IMAP_INPUT_SWALLOW : IMAP_INPUT_COMMAND;
    if (!swallow)
        e->literal_left = 0;
    e->tail_unread = false;
    e->line_start = 0;
}

void imap_advance(struct imap_server *e)
{
    while (e->run.step && !e->question.token && !e->closed && imap_has_room(e))
        if (!e->run.step(e))
            break;
    if (e->out.failed)
        imap_close(e);
}

/* ---- input and output ---- */

static bool is_accepting(const struct imap_server *e)
{
    if (e->question.token || !imap_has_room(e))
        return false;
    return e->input != IMAP_INPUT_COMMAND || !e->run.step;
}

size_t imap_server_input(struct imap_server *e, struct str bytes, struct now now)
{
    size_t taken = 0;
    if (bytes.len)
        e->active_ms = now.mono_ms;
    while (taken < bytes.len && !e->closed && !e->stopped && is_accepting(e)) {
        taken += imap_read(e, str_skip(bytes, taken));
        imap_advance(e);
    }
    /* What came in clear behind STARTTLS is dropped, never run (RFC 3501 §6.2.1). */
    bool dropping = e->closed || (e->stopped && e->state == IMAP_STATE_GREETED);
    return dropping ? bytes.len : taken;
}

struct str imap_server_output(const struct imap_server *e)
{
    return buf_str(&e->out);
}

void imap_server_output_done(struct imap_server *e, size_t n)
{
    buf_consume(&e->out, n);
    if (e->out.len == 0)
        buf_release(&e->out);
    imap_advance(e);
}

void imap_server_tls_started(struct imap_server *e, struct str mechanisms)
{
    invariant(e->state == IMAP_STATE_GREETED && e->stopped);
    e->stopped = false;
    e->config.tls_active = true;
    e->config.mechanisms = mechanisms;
}

/* ---- time ---- */

int64_t imap_server_deadline(const struct imap_server *e)
{
    if (e->closed || (e->stopped && e->state != IMAP_STATE_GREETED))
        return NEVER_MS;
    if (e->state == IMAP_STATE_GREETED)
        return e->start_ms + LIMIT_LOGIN_MS;
    return e->active_ms + LIMIT_IMAP_IDLE_MS;
}

void imap_server_tick(struct imap_server *e, struct now now)
{
    if (now.mono_ms < imap_server_deadline(e))
        return;
    if (e->state != IMAP_STATE_GREETED && e->question.token)
        e->active_ms = now.mono_ms; /* the owner is slow, not the client */
    else if (e->state == IMAP_STATE_GREETED)
        imap_bye(e, "No login in time");
    else
        imap_bye(e, "Idle for too long");
}

/* ---- dispatch ---- */

static const struct imap_command *find_row(struct str name)
{
    for (size_t i = 0; i < imap_command_count; i++)
        if (str_eq_nocase(name, str_from_c(imap_commands[i].name)))
            return &imap_commands[i];
    return NULL;
}

/* command-name, or "UID" SP command-name (RFC 3501 §6.4.8). */
static bool parse_name(struct imap_server *e, struct imap_cursor *c)
{
    struct str name;
    if (!imap_parse_atom(c, &name))
        return false;
    bool uid = str_eq_nocase(name, STR("UID"));
    if (uid && (!imap_need_space(c) || !imap_parse_atom(c, &name)))
        return false;
    const struct imap_command *row = find_row(name);
    if (!row || (uid && !(row->flags & IMAP_ROW_UID)))
        return imap_fail(c, "Unknown command");
    e->run.row = row;
    e->run.uid = uid;
    return true;
}

static const char *wrong_state(const struct imap_server *e)
{
    if (e->state != IMAP_STATE_GREETED && e->run.row->states == IMAP_STATE_GREETED)
        return "Already logged in";
    return e->state == IMAP_STATE_GREETED ? "Log in first" : "Select a mailbox first";
}

static bool parse_command(struct imap_server *e, struct imap_cursor *c)
{
    const struct imap_command *row = e->run.row;
    if (!(row->states & e->state))
        return imap_fail(c, wrong_state(e));
    if ((row->flags & IMAP_ROW_PRIVATE) && !login_allowed(e)) {
        imap_finish(e, IMAP_PRIVACYREQUIRED);
        return true;
    }
    /* So that "*" means what the client sees; of SELECT it would take it for the new mailbox's. */
    if (row->states == IMAP_STATE_SELECTED)
        imap_tell_exists(e);
    return row->parse(e, c) && imap_need_end(c);
}

void imap_dispatch(struct imap_server *e)
{
    struct imap_cursor c = imap_cursor_at(buf_str(&e->text), &e->arena);
    struct str tag = STR("*");
    buf_init(&e->run.code_text, IMAP_OUTPUT_MAX);
    buf_init(&e->run.name, LIMIT_IMAP_COMMAND_SIZE);
    bool good = imap_parse_tag(&c, &tag);
    e->run.tag = STR("*");
    if (!arena_dup(&e->arena, tag, &e->run.tag))
        imap_bye(e, "Out of memory");
    good = good && imap_need_space(&c) && parse_name(e, &c) && parse_command(e, &c);
    if (e->run.step)
        return; /* refused, or out of memory, while it was parsed */
    if (!good)
        imap_finish_words(e, IMAP_BAD, c.error ? c.error : "Syntax error");
    else if (c.bad_name)
        imap_finish_words(e, IMAP_CANNOT, "Mailbox name is not modified UTF-7");
    else
        e->run.step = e->run.row->step;
}
