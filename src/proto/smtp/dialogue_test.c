/*
 * Runs tests/dialogues/ *.dlg against the engine: each dialogue whole, one octet at a time, and cut
 * in two at every place. Then every reply code of every row of the command table must have been
 * given. tests/dialogues/README.md tells the format.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/testing.h"
#include "proto/smtp/server.h"
#include "proto/smtp/testing_dialogue.h"

enum {
    STEPS_MAX = 400,
    ANSWERS_MAX = 40,
    EACH_MAX = 8,
    SPLITS_MAX = 3000, /* of one dialogue; a longer one is cut at evenly spread places */
};

/* ---- A dialogue as it stands in its file ------------------------------------------------- */

enum step_kind {
    STEP_CLIENT,
    STEP_REPLY,
    STEP_HAS,
    STEP_HAS_NOT,
    STEP_EVENT,
    STEP_NO_EVENT,
    STEP_BODY,
    STEP_BODY_SIZE,
    STEP_TLS,
    STEP_TICK,
    STEP_CLOSED,
    STEP_GONE,
    STEP_SHUTDOWN,
    STEP_UNACKED,
    STEP_EARLY,
};

struct step {
    enum step_kind kind;
    int line;
    struct str data; /* escapes resolved */
};

struct answer {
    struct str to;    /* "recipient" */
    struct str match; /* the path or data it is for; "*" for any */
    struct str words; /* the rest */
};

struct dialogue {
    const char *name;
    char *memory;
    struct buf unescaped; /* what steps point into */
    struct smtp_listener listener;
    bool trusted;
    struct answer answers[ANSWERS_MAX];
    size_t answers_count;
    struct step steps[STEPS_MAX];
    size_t steps_count;
    size_t client_size; /* octets of all STEP_CLIENT together */
};

static void add_client(struct dialogue *d, int line, struct str raw, uint64_t times, struct str end)
{
    size_t start = d->unescaped.len;
    for (uint64_t i = 0; i < times; i++)
        dialogue_unescape(&d->unescaped, raw);
    buf_append_str(&d->unescaped, end);
    size_t size = d->unescaped.len - start;
    struct step *last = d->steps_count > 0 ? &d->steps[d->steps_count - 1] : NULL;
    d->client_size += size;
    if (last && last->kind == STEP_CLIENT) {
        last->data.len += size; /* pipelined */
        return;
    }
    d->steps[d->steps_count++] =
        (struct step){STEP_CLIENT, line, str_make(d->unescaped.ptr + start, size)};
}

static void add_step(struct dialogue *d, enum step_kind kind, int line, struct str value)
{
    size_t start = d->unescaped.len;
    dialogue_unescape(&d->unescaped, value);
    assert_in_range(d->steps_count, 0, STEPS_MAX - 1);
    d->steps[d->steps_count++] =
        (struct step){kind, line, str_make(d->unescaped.ptr + start, d->unescaped.len - start)};
}

static void set_limit(struct dialogue *d, int line, struct str value)
{
    struct smtp_limits *l = &d->listener.limits;
    struct str name = dialogue_word(&value);
    const struct {
        struct str name;
        uint32_t *place;
    } places[] = {
        {STR("recipients"), &l->recipients},
        {STR("transactions"), &l->transactions},
        {STR("errors"), &l->errors},
        {STR("auth_failures"), &l->auth_failures},
        {STR("unknown_recipients"), &l->unknown_recipients},
        {STR("tarpit_ms"), &l->tarpit_ms},
        {STR("greeting_delay_ms"), &l->greeting_delay_ms},
        {STR("idle_ms"), &l->idle_ms},
        {STR("body_rate_min"), &l->body_rate_min},
        {STR("body_grace_ms"), &l->body_grace_ms},
        {STR("text_line_size"), &l->text_line_size},
    };
    uint64_t number;
    if (!str_to_u64(value, UINT32_MAX, &number))
        dialogue_give_up(d->name, line, "no number", value);
    if (str_eq(name, STR("message_size"))) {
        l->message_size = number;
        return;
    }
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        if (str_eq(name, places[i].name)) {
            *places[i].place = (uint32_t)number;
            return;
        }
    }
    dialogue_give_up(d->name, line, "no such limit", name);
}

static void set_listener(struct dialogue *d, int line, struct str value)
{
    static const struct str kinds[] = {[SMTP_LISTENER_MX] = STR("mx"),
                                       [SMTP_LISTENER_SUBMISSION] = STR("submission"),
                                       [SMTP_LISTENER_SUBMISSIONS] = STR("submissions"),
                                       [SMTP_LISTENER_LMTP] = STR("lmtp")};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (str_eq(kinds[i], value)) {
            d->listener.kind = (enum smtp_listener_kind)i;
            return;
        }
    }
    dialogue_give_up(d->name, line, "no such listener", value);
}

static void add_answer(struct dialogue *d, int line, struct str value)
{
    if (d->answers_count == ANSWERS_MAX)
        dialogue_give_up(d->name, line, "too many answers", value);
    struct answer *a = &d->answers[d->answers_count++];
    a->to = dialogue_word(&value);
    a->match = dialogue_word(&value);
    a->words = value;
}

static bool take_setting(struct dialogue *d, int line, struct str key, struct str value)
{
    if (str_eq(key, STR("listener")))
        set_listener(d, line, value);
    else if (str_eq(key, STR("starttls")))
        d->listener.starttls = str_eq(value, STR("yes"));
    else if (str_eq(key, STR("auth")))
        d->listener.auth_mechanisms = value;
    else if (str_eq(key, STR("outbound")))
        d->listener.outbound = str_eq(value, STR("yes"));
    else if (str_eq(key, STR("trusted")))
        d->trusted = str_eq(value, STR("yes"));
    else if (str_eq(key, STR("normalise")))
        d->listener.normalise_line_ends = str_eq(value, STR("yes"));
    else if (str_eq(key, STR("limit")))
        set_limit(d, line, value);
    else if (str_eq(key, STR("answer")))
        add_answer(d, line, value);
    else
        return str_eq(key, STR("over")); /* is for the runner over TCP */
    return true;
}

static bool take_client(struct dialogue *d, int line, struct str key, struct str value)
{
    uint64_t times = 1;
    if (str_eq(key, STR("C"))) {
        add_client(d, line, value, 1, STR("\r\n"));
    } else if (str_eq(key, STR("C-raw"))) {
        add_client(d, line, value, 1, STR(""));
    } else if (str_eq(key, STR("C-repeat"))) {
        struct str count = dialogue_word(&value);
        if (!str_to_u64(count, DIALOGUE_SIZE_MAX, &times))
            dialogue_give_up(d->name, line, "no number", count);
        add_client(d, line, value, times, STR(""));
    } else {
        return false;
    }
    return true;
}

static bool take_step(struct dialogue *d, int line, struct str key, struct str value)
{
    static const struct {
        struct str key;
        enum step_kind kind;
    } kinds[] = {
        {STR("S"), STEP_REPLY},
        {STR("S-has"), STEP_HAS},
        {STR("S-has-not"), STEP_HAS_NOT},
        {STR("E"), STEP_EVENT},
        {STR("E-none"), STEP_NO_EVENT},
        {STR("BODY"), STEP_BODY},
        {STR("BODY-size"), STEP_BODY_SIZE},
        {STR("TLS"), STEP_TLS},
        {STR("TICK"), STEP_TICK},
        {STR("CLOSED"), STEP_CLOSED},
        {STR("GONE"), STEP_GONE},
        {STR("SHUTDOWN"), STEP_SHUTDOWN},
        {STR("UNACKED"), STEP_UNACKED},
        {STR("EARLY"), STEP_EARLY},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (str_eq(key, kinds[i].key)) {
            add_step(d, kinds[i].kind, line, value);
            return true;
        }
    }
    return false;
}

static void parse_dialogue(struct dialogue *d, struct str text)
{
    struct str key, value;
    int number = 0;
    while (dialogue_line(d->name, &text, &number, &key, &value)) {
        if (!take_client(d, number, key, value) && !take_step(d, number, key, value) &&
            !take_setting(d, number, key, value))
            dialogue_give_up(d->name, number, "unknown key", key);
    }
}

static struct smtp_counts counts;

static void load_dialogue(struct dialogue *d, const char *folder, const char *name)
{
    struct str text = dialogue_load(folder, name);
    *d = (struct dialogue){.name = name, .memory = (char *)(uintptr_t)text.ptr};
    /* Room for all from the start, so that steps may point into it. */
    buf_init(&d->unescaped, DIALOGUE_SIZE_MAX);
    assert_non_null(buf_reserve(&d->unescaped, DIALOGUE_SIZE_MAX));
    d->listener = (struct smtp_listener){
        .hostname = STR("mx.demo.test"),
        .starttls = true,
        .auth_mechanisms = STR("PLAIN LOGIN"),
        .limits = smtp_limits_default,
        .counts = &counts,
    };
    parse_dialogue(d, text);
}

/* ---- The owner ----------------------------------------------------------------------------- */

struct run {
    struct dialogue *d;
    struct smtp_server *s;
    struct now now;
    struct buf log;     /* events, a line each */
    struct buf body;    /* of the message last begun */
    struct buf replies; /* what the server said and no step has read yet */
    struct str reply;   /* the one last read */
    size_t log_read;
    uint64_t written;
    bool unacked; /* nothing is known to have arrived */
    bool closed;
    uint32_t recipients;
    int line;
    size_t split;
};

static size_t runs;

static void lose(const struct run *r, const char *what, struct str expected, struct str got)
{
    fail_msg("%s:%d: %s\n  expected: %.*s\n  got:      %.*s\n  (split %zu)\n  events:\n%.*s",
             r->d->name, r->line, what, STR_ARG(expected), STR_ARG(got), r->split,
             STR_ARG(buf_str(&r->log)));
}

/* "550 5.1.1 words"; "accept" is the usual one. */
static struct smtp_reply parse_reply(struct str words)
{
    struct str code = dialogue_word(&words), enhanced = {NULL, 0}, part;
    uint64_t numbers[4] = {0};
    if (!str_to_u64(code, 599, &numbers[0]))
        return (struct smtp_reply){0};
    enhanced = dialogue_word(&words);
    for (int i = 1; i < 4 && str_split(&enhanced, '.', &part); i++)
        str_to_u64(part, 999, &numbers[i]);
    return (struct smtp_reply){(uint16_t)numbers[0], (uint8_t)numbers[1], (uint16_t)numbers[2],
                               (uint16_t)numbers[3], words};
}

static const struct answer *find_answer(const struct run *r, const char *to, struct str about)
{
    for (size_t i = 0; i < r->d->answers_count; i++) {
        const struct answer *a = &r->d->answers[i];
        if (str_eq(a->to, str_from_c(to)) &&
            (str_eq(a->match, STR("*")) || str_eq(a->match, about)))
            return a;
    }
    return NULL;
}

/* What `postern demo` says where the dialogue says nothing else. */
static struct smtp_reply demo_recipient(const struct mailbox_path *path)
{
    static const struct smtp_reply no_relay = SMTP_REPLY(550, 5, 7, 1, "no relaying");
    static const struct smtp_reply unknown = SMTP_REPLY(550, 5, 1, 1, "no such mailbox");
    struct str local = path->mailbox.local, domain = path->mailbox.domain;
    if (!str_empty(domain) && !str_eq_nocase(domain, STR("demo.test")))
        return no_relay;
    bool known = str_eq_nocase(local, STR("alice")) || str_eq_nocase(local, STR("bob")) ||
                 str_eq_nocase(local, STR("postmaster"));
    return known ? (struct smtp_reply){0} : unknown;
}

static void print_path(struct buf *out, const struct mailbox_path *path)
{
    buf_append_str(out, STR("<"));
    if (!path->is_null) {
        buf_append_str(out, path->mailbox.local);
        if (!str_empty(path->mailbox.domain))
            buf_printf(out, "@%.*s", STR_ARG(path->mailbox.domain));
    }
    buf_append_str(out, STR(">"));
}

static void answer(struct run *r, const struct smtp_event *e, const char *to, struct str about)
{
    const struct answer *a = find_answer(r, to, about);
    struct smtp_reply reply = a ? parse_reply(a->words) : (struct smtp_reply){0};
    if (!a && e->kind == SMTP_EVENT_RECIPIENT)
        reply = demo_recipient(e->recipient.path);
    if (e->kind == SMTP_EVENT_RECIPIENT && reply.code < 400)
        r->recipients++;
    smtp_server_answer(r->s, e->token, reply, r->now);
}

/* "each": replies separated by "|", one for each recipient. */
static void answer_body_end(struct run *r, const struct smtp_event *e)
{
    const struct answer *a = find_answer(r, "each", STR("*"));
    if (!a) {
        answer(r, e, "body-end", STR("*"));
        return;
    }
    struct smtp_reply replies[EACH_MAX];
    struct str rest = a->words, part;
    size_t count = 0;
    while (count < EACH_MAX && str_split(&rest, '|', &part))
        replies[count++] = parse_reply(part);
    smtp_server_answer_each(r->s, e->token, replies, count, r->now);
}

static void answer_auth_as_demo(struct run *r, const struct smtp_event *e)
{
    struct str data = e->auth.data;
    bool begins = e->kind == SMTP_EVENT_AUTH_BEGIN && !e->auth.initial;
    if (begins)
        smtp_server_answer_challenge(
            r->s, e->token, str_eq(e->auth.mechanism, STR("LOGIN")) ? STR("Username:") : STR(""),
            r->now);
    else if (str_eq(data, STR("alice")))
        smtp_server_answer_challenge(r->s, e->token, STR("Password:"), r->now);
    else if (str_eq(data, STR("\0alice\0wonderland")) || str_eq(data, STR("wonderland")))
        smtp_server_answer_auth_success(r->s, e->token, r->now);
    else if (str_find_byte(data, '\0') < 0)
        smtp_server_answer_auth_failure(r->s, e->token, SMTP_AUTH_MALFORMED, r->now);
    else
        smtp_server_answer_auth_failure(r->s, e->token, SMTP_AUTH_BAD_CREDENTIALS, r->now);
}

static void answer_auth(struct run *r, const struct smtp_event *e)
{
    const struct answer *a = find_answer(r, "auth", e->auth.data);
    if (!a)
        answer_auth_as_demo(r, e);
    else if (str_eq(a->words, STR("success")))
        smtp_server_answer_auth_success(r->s, e->token, r->now);
    else if (str_eq(a->words, STR("weak")))
        smtp_server_answer_auth_failure(r->s, e->token, SMTP_AUTH_TOO_WEAK, r->now);
    else if (str_eq(a->words, STR("temporary")))
        smtp_server_answer_auth_failure(r->s, e->token, SMTP_AUTH_TEMPORARY, r->now);
    else
        smtp_server_answer_challenge(r->s, e->token, a->words, r->now);
}

/* What was not said does not show. */
static void log_extensions(struct run *r, const struct smtp_event_sender *sender)
{
    static const char *const rets[] = {"", " ret=FULL", " ret=HDRS"};
    static const char *const modes[] = {"", "return", "notify"};
    buf_printf(&r->log, "%s", rets[sender->ret]);
    if (!str_empty(text_peek(sender->envid)))
        buf_printf(&r->log, " envid=%.*s", STR_ARG(text_peek(sender->envid)));
    if (sender->requiretls)
        buf_printf(&r->log, " requiretls");
    if (sender->hold_ms > 0)
        buf_printf(&r->log, " hold=%llu", (unsigned long long)sender->hold_ms);
    if (sender->by_mode != SMTP_BY_NONE)
        buf_printf(&r->log, " by=%lld %s%s", (long long)sender->by_ms, modes[sender->by_mode],
                   sender->by_trace ? " trace" : "");
    if (sender->priority != 0)
        buf_printf(&r->log, " priority=%d", sender->priority);
}

static void log_sender(struct run *r, const struct smtp_event_sender *sender)
{
    static const char *const bodies[] = {"7BIT", "8BITMIME", "BINARYMIME"};
    print_path(&r->log, sender->path);
    buf_printf(&r->log, " size=%llu body=%s%s", (unsigned long long)sender->size,
               bodies[sender->body], sender->utf8 ? " utf8" : "");
    if (!str_empty(text_peek(sender->auth)))
        buf_printf(&r->log, " auth=%.*s", STR_ARG(text_peek(sender->auth)));
    log_extensions(r, sender);
}

static void log_recipient(struct run *r, const struct smtp_event_recipient *recipient)
{
    static const char *const words[] = {" NEVER", " SUCCESS", " FAILURE", " DELAY"};
    print_path(&r->log, recipient->path);
    for (int i = 0; i < 4; i++)
        buf_printf(&r->log, "%s", recipient->notify & (1 << i) ? words[i] : "");
    if (!str_empty(text_peek(recipient->orcpt)))
        buf_printf(&r->log, " orcpt=%.*s", STR_ARG(text_peek(recipient->orcpt)));
}

static void log_event(struct run *r, const struct smtp_event *e)
{
    buf_printf(&r->log, "%s ", smtp_event_name(e->kind));
    if (e->kind == SMTP_EVENT_SENDER)
        log_sender(r, &e->sender);
    else if (e->kind == SMTP_EVENT_RECIPIENT)
        log_recipient(r, &e->recipient);
    else if (e->kind == SMTP_EVENT_BODY_START)
        buf_printf(&r->log, "with=%.*s helo=%.*s recipients=%u", STR_ARG(e->body_start.with),
                   STR_ARG(text_peek(e->body_start.helo)), e->body_start.recipients);
    else if (e->kind == SMTP_EVENT_BODY_END)
        buf_printf(&r->log, "%llu", (unsigned long long)e->body_size);
    else if (e->kind == SMTP_EVENT_AUTH_BEGIN)
        buf_printf(&r->log, "%.*s%s", STR_ARG(e->auth.mechanism),
                   e->auth.initial ? " initial" : "");
    else if (e->kind == SMTP_EVENT_CLOSE)
        buf_printf(&r->log, "%s", smtp_close_reason_name(e->close));
    else if (e->kind == SMTP_EVENT_ABORT)
        buf_append_str(&r->log, e->refused);
    buf_append_byte(&r->log, '\n');
}

static void handle(struct run *r, const struct smtp_event *e)
{
    assert_false(r->closed); /* CLOSE is the last event */
    if (e->kind == SMTP_EVENT_BODY) {
        assert_true(e->body.len > 0);
        assert_true(buf_append_str(&r->body, e->body));
        return;
    }
    log_event(r, e);
    struct buf about;
    buf_init(&about, 1024);
    switch (e->kind) {
    case SMTP_EVENT_SENDER:
        r->recipients = 0;
        print_path(&about, e->sender.path);
        answer(r, e, "sender", buf_str(&about));
        break;
    case SMTP_EVENT_RECIPIENT:
        print_path(&about, e->recipient.path);
        answer(r, e, "recipient", buf_str(&about));
        break;
    case SMTP_EVENT_BODY_START:
        buf_clear(&r->body);
        answer(r, e, "body-start", STR("*"));
        break;
    case SMTP_EVENT_BODY_END:
        assert_int_equal(e->body_size, r->body.len);
        answer_body_end(r, e);
        break;
    case SMTP_EVENT_AUTH_BEGIN:
    case SMTP_EVENT_AUTH_RESPONSE:
        answer_auth(r, e);
        break;
    case SMTP_EVENT_CLOSE:
        r->closed = true;
        break;
    default:
        break;
    }
    buf_release(&about);
}

/* ---- A run ---------------------------------------------------------------------------------- */

static void pull(struct run *r)
{
    struct smtp_event e;
    while (smtp_server_next(r->s, &e))
        handle(r, &e);
    struct str out = smtp_server_output(r->s);
    buf_append_str(&r->replies, out);
    r->written += out.len;
    smtp_server_output_done(r->s, out.len);
}

/* Gives a copy of exactly this size, so that a sanitizer sees a read beyond it. */
static void feed(struct run *r, struct str bytes, uint64_t acked)
{
    char *copy = malloc(bytes.len + 1);
    memcpy(copy, bytes.ptr, bytes.len);
    struct str rest = str_make(copy, bytes.len);
    size_t n;
    do {
        n = smtp_server_input(r->s, rest, acked, r->now);
        rest = str_skip(rest, n);
        pull(r);
    } while (n > 0);
    if (!str_empty(rest))
        lose(r, "the engine does not take all", bytes, rest);
    free(copy);
}

/* Octets [from, …) of the client's whole part; cut where r->split says, or everywhere. */
static void send_step(struct run *r, struct str data, size_t from)
{
    uint64_t acked = r->unacked ? 0 : r->written;
    size_t done = 0;
    while (done < data.len) {
        size_t size = data.len - done;
        if (r->split == SIZE_MAX)
            size = 1;
        else if (r->split > from + done && r->split < from + data.len)
            size = r->split - from - done;
        feed(r, str_sub(data, done, size), acked);
        done += size;
    }
}

/* Takes one reply, of one or more lines, off what the server said. */
static void read_reply(struct run *r, struct str expected)
{
    size_t end = 0;
    struct str all = str_skip(buf_str(&r->replies), (size_t)(r->reply.ptr ? r->reply.len : 0));
    for (;;) {
        ptrdiff_t lf = str_find_byte(str_skip(all, end), '\n');
        if (lf < 0)
            lose(r, "no reply", expected, all);
        bool more = all.len > end + 3 && all.ptr[end + 3] == '-';
        end += (size_t)lf + 1;
        if (!more)
            break;
    }
    buf_consume(&r->replies, r->reply.ptr ? r->reply.len : 0);
    r->reply = str_sub(buf_str(&r->replies), 0, end);
}

static bool reply_has(const struct run *r, struct str words)
{
    struct str rest = r->reply, line;
    while (str_split(&rest, '\n', &line))
        if (line.len > 4 && str_starts(str_skip(line, 4), words))
            return true;
    return false;
}

static void expect_reply(struct run *r, struct str expected)
{
    read_reply(r, expected);
    struct str code = str_sub(expected, 0, 3), words = str_skip(expected, 4);
    if (!str_starts(r->reply, code) || !str_starts(str_skip(r->reply, 4), words))
        lose(r, "another reply", expected, r->reply);
}

/* Finds the event behind those already found; its line begins with `expected`. */
static void expect_event(struct run *r, struct str expected)
{
    struct str rest = str_skip(buf_str(&r->log), r->log_read), line;
    while (str_split(&rest, '\n', &line)) {
        if (str_starts(line, expected)) {
            r->log_read = (size_t)(line.ptr + line.len + 1 - r->log.ptr);
            return;
        }
    }
    lose(r, "no such event", expected, str_skip(buf_str(&r->log), r->log_read));
}

static void expect_no_event(struct run *r, struct str unwanted)
{
    struct str rest = str_skip(buf_str(&r->log), r->log_read), line;
    while (str_split(&rest, '\n', &line))
        if (str_starts(line, unwanted))
            lose(r, "an event that must not be", unwanted, line);
}

static void expect_body(struct run *r, const struct step *step)
{
    uint64_t size;
    struct str body = buf_str(&r->body);
    if (step->kind == STEP_BODY && !str_eq(body, step->data))
        lose(r, "another body", step->data, body);
    if (step->kind == STEP_BODY_SIZE &&
        (!str_to_u64(step->data, UINT64_MAX, &size) || size != body.len))
        lose(r, "a body of another size", step->data, str_sub(body, 0, 200));
}

static void expect_closed(struct run *r, struct str reason)
{
    if (!r->closed)
        lose(r, "not closed", reason, buf_str(&r->replies));
    struct str log = buf_str(&r->log);
    if (!str_ends(str_sub(log, 0, log.len - 1), reason))
        lose(r, "closed for another reason", reason, log);
}

static void tick(struct run *r, struct str ms)
{
    uint64_t number = 0;
    assert_true(str_to_u64(ms, UINT32_MAX, &number));
    r->now.mono_ms += (int64_t)number;
    smtp_server_tick(r->s, r->now);
    pull(r);
}

static void do_step(struct run *r, const struct step *step, size_t from)
{
    r->line = step->line;
    switch (step->kind) {
    case STEP_CLIENT:
        send_step(r, step->data, from);
        break;
    case STEP_REPLY:
        expect_reply(r, step->data);
        break;
    case STEP_HAS:
    case STEP_HAS_NOT:
        if (reply_has(r, step->data) != (step->kind == STEP_HAS))
            lose(r, "a line too few or too many", step->data, r->reply);
        break;
    case STEP_EVENT:
        expect_event(r, step->data);
        break;
    case STEP_NO_EVENT:
        expect_no_event(r, step->data);
        break;
    case STEP_BODY:
    case STEP_BODY_SIZE:
        expect_body(r, step);
        break;
    case STEP_TLS:
        expect_event(r, STR("START_TLS"));
        smtp_server_tls_started(r->s, r->now);
        pull(r);
        break;
    case STEP_TICK:
        tick(r, step->data);
        break;
    case STEP_CLOSED:
        expect_closed(r, step->data);
        break;
    case STEP_GONE:
        smtp_server_peer_gone(r->s);
        pull(r);
        break;
    case STEP_SHUTDOWN:
        smtp_server_shutdown(r->s, NULL, r->now);
        pull(r);
        break;
    case STEP_UNACKED:
        r->unacked = str_eq(step->data, STR("yes"));
        break;
    case STEP_EARLY:
        break;
    }
}

static void run_dialogue(struct dialogue *d, size_t split)
{
    struct run r = {.d = d, .now = {1000, 1000}, .split = split};
    runs++;
    buf_init(&r.log, 1 << 20);
    buf_init(&r.body, DIALOGUE_SIZE_MAX);
    buf_init(&r.replies, DIALOGUE_SIZE_MAX);
    r.s = smtp_server_new(&d->listener, d->listener.kind == SMTP_LISTENER_SUBMISSIONS, r.now);
    assert_non_null(r.s);
    if (d->trusted)
        smtp_server_trust(r.s);
    size_t sent = 0;
    if (d->steps[0].kind != STEP_EARLY)
        pull(&r);
    for (size_t i = 0; i < d->steps_count; i++) {
        do_step(&r, &d->steps[i], sent);
        sent += d->steps[i].kind == STEP_CLIENT ? d->steps[i].data.len : 0;
    }
    struct str unread = str_skip(buf_str(&r.replies), r.reply.ptr ? r.reply.len : 0);
    if (!str_empty(unread))
        lose(&r, "more replies than expected", STR(""), unread);
    smtp_server_peer_gone(r.s);
    smtp_server_free(r.s);
    buf_release(&r.log);
    buf_release(&r.body);
    buf_release(&r.replies);
}

static void run_file(const char *folder, const char *name)
{
    static struct dialogue d;
    load_dialogue(&d, folder, name);
    assert_in_range(d.steps_count, 1, STEPS_MAX);
    run_dialogue(&d, 0);
    run_dialogue(&d, SIZE_MAX);
    size_t stride = d.client_size / SPLITS_MAX + 1;
    for (size_t split = 1; split < d.client_size; split += stride)
        run_dialogue(&d, split);
    buf_release(&d.unescaped);
    free(d.memory);
}

static void every_dialogue_holds_at_every_split(void **state)
{
    (void)state;
    int files = dialogue_run_all("", run_file);
    print_message("%d dialogues, %zu runs\n", files, runs);
    assert_true(files > 0);
}

static void every_row_has_given_every_reply_code(void **state)
{
    (void)state;
    struct str command;
    uint16_t code;
    int given = 0, missing = 0;
    for (size_t row = 0; smtp_reply_count(row, 0, &command, &code); row++) {
        for (size_t column = 0; smtp_reply_count(row, column, &command, &code); column++) {
            bool seen = counts.replies[row][column] > 0;
            given += seen;
            missing += !seen;
            if (!seen)
                print_error("no dialogue has %.*s answered with %u\n", STR_ARG(command), code);
        }
    }
    print_message("%d of %d rows times reply codes\n", given, given + missing);
    assert_int_equal(missing, 0);
    assert_int_equal(counts.unlisted, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_dialogue_holds_at_every_split),
        cmocka_unit_test(every_row_has_given_every_reply_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
