/*
 * Runs tests/dialogues/client/ *.dlg against the client engine: each dialogue whole, one octet of
 * the peer's at a time, and cut in two at every place. Then every way in which a dialogue can end
 * must have been seen at every stage. tests/dialogues/README.md tells the format.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/testing.h"
#include "proto/smtp/client.h"
#include "proto/smtp/testing_dialogue.h"

enum { STEPS_MAX = 200, MESSAGES_MAX = 8, RECIPIENTS_MAX = 10, SPLITS_MAX = 3000 };

/* ---- A dialogue as it stands in its file --------------------------------------------------- */

enum step_kind {
    STEP_PEER,
    STEP_SAYS,
    STEP_NOTHING,
    STEP_EVENT,
    STEP_NO_EVENT,
    STEP_ACT,
    STEP_TICK,
    STEP_GONE,
};

struct step {
    enum step_kind kind;
    int line;
    struct str data; /* escapes resolved, but in acts and events */
};

struct dialogue {
    const char *name;
    struct str text;
    struct buf unescaped; /* what steps point into */
    struct smtp_client_settings settings;
    struct str body;
    struct step steps[STEPS_MAX];
    size_t steps_count;
    size_t peer_size; /* octets of all STEP_PEER together */
};

static struct step *add_step(struct dialogue *d, enum step_kind kind, int line, struct str value,
                             uint64_t times, struct str end)
{
    size_t start = d->unescaped.len;
    for (uint64_t i = 0; i < times; i++)
        dialogue_unescape(&d->unescaped, value);
    buf_append_str(&d->unescaped, end);
    assert_in_range(d->steps_count, 0, STEPS_MAX - 1);
    struct step *step = &d->steps[d->steps_count++];
    *step = (struct step){kind, line, str_make(d->unescaped.ptr + start, d->unescaped.len - start)};
    return step;
}

/* Without escapes: acts and events, which have their own. */
static void add_plain(struct dialogue *d, enum step_kind kind, int line, struct str value)
{
    assert_in_range(d->steps_count, 0, STEPS_MAX - 1);
    d->steps[d->steps_count++] = (struct step){kind, line, value};
}

/* Lines of the peer in a row come in one piece. */
static void add_peer(struct dialogue *d, int line, struct str value, uint64_t times, struct str end)
{
    struct step *step = add_step(d, STEP_PEER, line, value, times, end);
    d->peer_size += step->data.len;
    if (d->steps_count > 1 && step[-1].kind == STEP_PEER) {
        step[-1].data.len += step->data.len;
        d->steps_count--;
    }
}

/* The number before what is repeated. */
static uint64_t take_times(struct str *value)
{
    uint64_t times = 0;
    assert_true(str_to_u64(dialogue_word(value), DIALOGUE_SIZE_MAX, &times));
    return times;
}

static bool take_setting(struct dialogue *d, struct str key, struct str value)
{
    static const struct {
        struct str name;
        enum smtp_client_tls tls;
    } modes[] = {
        {STR("no"), SMTP_CLIENT_TLS_NO},
        {STR("offered"), SMTP_CLIENT_TLS_OFFERED},
        {STR("required"), SMTP_CLIENT_TLS_REQUIRED},
        {STR("already"), SMTP_CLIENT_TLS_ALREADY},
    };
    if (str_eq(key, STR("client"))) {
        d->settings.lmtp = str_eq(value, STR("lmtp"));
    } else if (str_eq(key, STR("chunking"))) {
        d->settings.no_chunking = str_eq(value, STR("no"));
    } else if (str_eq(key, STR("auth"))) {
        d->settings.auth = str_eq(value, STR("yes"));
    } else if (str_eq(key, STR("tls"))) {
        for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++)
            if (str_eq(value, modes[i].name))
                d->settings.tls = modes[i].tls;
    } else if (str_eq(key, STR("body")) || str_eq(key, STR("body-repeat"))) {
        uint64_t times = str_eq(key, STR("body")) ? 1 : take_times(&value);
        size_t start = d->unescaped.len;
        for (uint64_t i = 0; i < times; i++)
            dialogue_unescape(&d->unescaped, value);
        d->body = str_make(d->unescaped.ptr + start, d->unescaped.len - start);
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
        struct str end;
    } kinds[] = {
        {STR("C"), STEP_SAYS, STR("\r\n")},     {STR("C-raw"), STEP_SAYS, STR("")},
        {STR("C-none"), STEP_NOTHING, STR("")}, {STR("TICK"), STEP_TICK, STR("")},
        {STR("GONE"), STEP_GONE, STR("")},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (str_eq(key, kinds[i].key)) {
            add_step(d, kinds[i].kind, line, value, 1, kinds[i].end);
            return true;
        }
    }
    return false;
}

static void parse_line(struct dialogue *d, int line, struct str key, struct str value)
{
    if (str_eq(key, STR("S"))) {
        add_peer(d, line, value, 1, STR("\r\n"));
    } else if (str_eq(key, STR("S-raw"))) {
        add_peer(d, line, value, 1, STR(""));
    } else if (str_eq(key, STR("S-repeat"))) {
        uint64_t times = take_times(&value);
        add_peer(d, line, value, times, STR(""));
    } else if (str_eq(key, STR("C-repeat"))) {
        uint64_t times = take_times(&value);
        add_step(d, STEP_SAYS, line, value, times, STR(""));
    } else if (str_eq(key, STR("A"))) {
        add_plain(d, STEP_ACT, line, value);
    } else if (str_eq(key, STR("E"))) {
        add_plain(d, STEP_EVENT, line, value);
    } else if (str_eq(key, STR("E-none"))) {
        add_plain(d, STEP_NO_EVENT, line, value);
    } else if (!take_step(d, line, key, value) && !take_setting(d, key, value)) {
        dialogue_give_up(d->name, line, "unknown key", key);
    }
}

static void load_dialogue(struct dialogue *d, const char *folder, const char *name)
{
    struct str key, value;
    int number = 0;
    *d = (struct dialogue){
        .name = name,
        .text = dialogue_load(folder, name),
        .settings = {.hostname = STR("out.example.org"), .timeouts = smtp_client_timeouts_default},
        .body = STR("Subject: x\r\n\r\nhello\r\n"),
    };
    /* Room for all from the start, so that steps may point into it. */
    buf_init(&d->unescaped, DIALOGUE_SIZE_MAX);
    assert_non_null(buf_reserve(&d->unescaped, DIALOGUE_SIZE_MAX));
    struct str rest = d->text;
    while (dialogue_line(name, &rest, &number, &key, &value))
        parse_line(d, number, key, value);
    assert_in_range(d->steps_count, 1, STEPS_MAX);
}

/* ---- The owner ------------------------------------------------------------------------------ */

struct run {
    struct dialogue *d;
    struct smtp_client *c;
    struct now now;
    struct buf log;  /* events, a line each */
    struct buf said; /* what the engine said and no step has read yet */
    size_t log_read;
    uint64_t token;
    struct smtp_client_message messages[MESSAGES_MAX];
    struct smtp_client_recipient recipients[MESSAGES_MAX][RECIPIENTS_MAX];
    unsigned sent;
    uint32_t told;
    size_t given;
    bool wanted, stuck, closed;
    int line;
    size_t split;
};

static size_t runs;
static unsigned seen_closed[SMTP_CLIENT_STAGE_COUNT][SMTP_CLIENT_CLOSE_NO_MEMORY + 1];
static unsigned seen_verdict[SMTP_CLIENT_STAGE_COUNT][SMTP_CLIENT_UNKNOWN + 1];

static void lose(const struct run *r, const char *what, struct str expected, struct str got)
{
    fail_msg("%s:%d: %s\n  expected: %.*s\n  got:      %.*s\n  (split %zu)\n  events:\n%.*s",
             r->d->name, r->line, what, STR_ARG(expected), STR_ARG(got), r->split,
             STR_ARG(buf_str(&r->log)));
}

static void log_reply(struct run *r, const struct smtp_client_reply *reply)
{
    buf_printf(&r->log, " %u %u.%u.%u ", reply->code, reply->class, reply->subject, reply->detail);
    text_to_log(&r->log, reply->words, 300);
}

static void log_abilities(struct run *r)
{
    const struct smtp_abilities *a = smtp_client_abilities(r->c);
    const struct {
        bool there;
        const char *name;
    } names[] = {
        {a->extended, "extended"},      {a->pipelining, "pipelining"},
        {a->chunking, "chunking"},      {a->dsn, "dsn"},
        {a->smtputf8, "smtputf8"},      {a->eight_bit_mime, "8bitmime"},
        {a->binary_mime, "binarymime"}, {a->requiretls, "requiretls"},
        {a->starttls, "starttls"},      {a->mt_priority, "mt-priority"},
        {a->deliver_by, "deliverby"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].there)
            buf_printf(&r->log, " %s", names[i].name);
    if (a->size)
        buf_printf(&r->log, " size=%llu", (unsigned long long)a->size_max);
}

static void log_event(struct run *r, const struct smtp_client_event *e)
{
    buf_printf(&r->log, "%s", smtp_client_event_name(e->kind));
    if (e->kind == SMTP_CLIENT_EVENT_READY) {
        log_abilities(r);
    } else if (e->kind == SMTP_CLIENT_EVENT_AUTH) {
        buf_printf(&r->log, " %.*s", STR_ARG(text_peek(e->mechanisms)));
    } else if (e->kind == SMTP_CLIENT_EVENT_CHALLENGE) {
        buf_printf(&r->log, " %.*s", STR_ARG(e->challenge));
    } else if (e->kind == SMTP_CLIENT_EVENT_RECIPIENT) {
        buf_printf(&r->log, " %u %s at %s", e->recipient.index,
                   smtp_client_verdict_name(e->recipient.verdict),
                   smtp_client_stage_name(e->recipient.stage));
        log_reply(r, &e->recipient.reply);
    } else if (e->kind == SMTP_CLIENT_EVENT_MESSAGE_DONE) {
        buf_printf(&r->log, "%s", e->more ? " more" : "");
    } else if (e->kind == SMTP_CLIENT_EVENT_CLOSED) {
        buf_printf(&r->log, " %s at %s", smtp_client_close_reason_name(e->closed.reason),
                   smtp_client_stage_name(e->closed.stage));
        log_reply(r, &e->closed.reply);
    }
    buf_append_byte(&r->log, '\n');
}

static void handle(struct run *r, const struct smtp_client_event *e)
{
    assert_false(r->closed); /* CLOSED is the last event */
    log_event(r, e);
    if (e->token != 0)
        r->token = e->token;
    if (e->kind == SMTP_CLIENT_EVENT_BODY_WANTED) {
        assert_false(r->wanted);
        r->wanted = true;
        r->given = 0;
    } else if (e->kind == SMTP_CLIENT_EVENT_RECIPIENT) {
        seen_verdict[e->recipient.stage][e->recipient.verdict]++;
        assert_false(r->told & 1u << e->recipient.index);
        r->told |= 1u << e->recipient.index;
    } else if (e->kind == SMTP_CLIENT_EVENT_MESSAGE_DONE) {
        assert_int_equal(r->told, (1u << r->messages[r->sent - 1].recipient_count) - 1);
        r->wanted = false;
    } else if (e->kind == SMTP_CLIENT_EVENT_CLOSED) {
        seen_closed[e->closed.stage][e->closed.reason]++;
        r->closed = true;
    }
}

static void give_body(struct run *r)
{
    while (r->wanted && smtp_client_body_wanted(r->c)) {
        struct str rest = str_skip(r->d->body, r->given);
        size_t n = smtp_client_body(r->c, rest, true, r->now);
        r->given += n;
        if (n < rest.len)
            break;
    }
}

static void pull(struct run *r)
{
    struct smtp_client_event e;
    struct str out;
    do {
        while (smtp_client_next(r->c, &e))
            handle(r, &e);
        give_body(r);
        while (smtp_client_next(r->c, &e))
            handle(r, &e);
        out = smtp_client_output(r->c);
        if (r->stuck) /* the peer reads nothing any more */
            return;
        buf_append_str(&r->said, out);
        smtp_client_output_done(r->c, out.len, r->now);
    } while (out.len > 0);
}

/* Gives a copy of exactly this size, so that a sanitizer sees a read beyond it. */
static void feed(struct run *r, struct str bytes)
{
    char *copy = malloc(bytes.len + 1);
    memcpy(copy, bytes.ptr, bytes.len);
    struct str rest = str_make(copy, bytes.len);
    size_t n;
    do {
        n = smtp_client_input(r->c, rest, r->now);
        rest = str_skip(rest, n);
        pull(r);
    } while (n > 0 && !str_empty(rest));
    if (!str_empty(rest))
        lose(r, "the engine does not take all", bytes, rest);
    free(copy);
}

/* Octets [from, …) of the peer's whole part; cut where r->split says, or everywhere. */
static void peer_says(struct run *r, struct str data, size_t from)
{
    size_t done = 0;
    while (done < data.len) {
        size_t size = data.len - done;
        if (r->split == SIZE_MAX)
            size = 1;
        else if (r->split > from + done && r->split < from + data.len)
            size = r->split - from - done;
        feed(r, str_sub(data, done, size));
        done += size;
    }
}

/* ---- Acts -------------------------------------------------------------------------------------
 */

/* "a@b|notify|orcpt" */
static void add_recipient(struct smtp_client_message *m, struct smtp_client_recipient *list,
                          struct str value)
{
    struct smtp_client_recipient *to = &list[m->recipient_count++];
    struct str part;
    uint64_t notify = 0;
    *to = (struct smtp_client_recipient){0};
    str_split(&value, '|', &to->path);
    if (str_split(&value, '|', &part))
        str_to_u64(part, 15, &notify);
    to->notify = (unsigned)notify;
    str_split(&value, '|', &to->orcpt);
}

static int64_t number(struct str s)
{
    uint64_t n = 0;
    bool minus = str_starts(s, STR("-"));
    assert_true(str_to_u64(str_skip(s, minus ? 1 : 0), INT64_MAX, &n));
    return minus ? -(int64_t)n : (int64_t)n;
}

static void set_by(struct smtp_client_message *m, struct str value)
{
    struct str seconds;
    str_split(&value, ';', &seconds);
    m->by_s = number(seconds);
    m->by_mode = str_starts(value, STR("R")) ? SMTP_BY_RETURN : SMTP_BY_NOTIFY;
    m->by_trace = str_ends(value, STR("T"));
}

static bool set_flag(struct smtp_client_message *m, struct str word)
{
    if (str_eq(word, STR("8bit")))
        m->body = SMTP_BODY_8BITMIME;
    else if (str_eq(word, STR("binary")))
        m->body = SMTP_BODY_BINARYMIME;
    else if (str_eq(word, STR("utf8")))
        m->utf8 = true;
    else if (str_eq(word, STR("requiretls")))
        m->requiretls = true;
    else
        return false;
    return true;
}

static void set_field(struct run *r, struct smtp_client_message *m, struct str word)
{
    struct str key, value = word;
    if (set_flag(m, word))
        return;
    str_split(&value, '=', &key);
    if (str_eq(key, STR("from")))
        m->reverse_path = value;
    else if (str_eq(key, STR("to")))
        add_recipient(m, r->recipients[m - r->messages], value);
    else if (str_eq(key, STR("size")))
        m->size = (uint64_t)number(value);
    else if (str_eq(key, STR("envid")))
        m->envid = value;
    else if (str_eq(key, STR("ret")))
        m->ret = str_eq(value, STR("full")) ? SMTP_RET_FULL : SMTP_RET_HDRS;
    else if (str_eq(key, STR("by")))
        set_by(m, value);
    else if (str_eq(key, STR("priority")))
        m->priority = (int)number(value);
    else
        dialogue_give_up(r->d->name, r->line, "unknown field", word);
}

static void act_send(struct run *r, struct str fields)
{
    assert_in_range(r->sent, 0, MESSAGES_MAX - 1);
    struct smtp_client_message *m = &r->messages[r->sent];
    *m = (struct smtp_client_message){.recipients = r->recipients[r->sent]};
    r->sent++;
    r->told = 0;
    r->wanted = false;
    while (!str_empty(fields))
        set_field(r, m, dialogue_word(&fields));
    smtp_client_send(r->c, m, r->now);
}

/* "auth MECHANISM [initial]", "response data"; a word "undone" at the end: not yet satisfied. */
static void act_auth(struct run *r, struct str verb, struct str rest)
{
    bool done = !str_ends(rest, STR("undone"));
    if (!done)
        rest = str_trim(str_sub(rest, 0, rest.len - 6));
    if (str_eq(verb, STR("auth"))) {
        struct str mechanism = dialogue_word(&rest);
        bool initial = !str_empty(rest);
        struct str data = str_eq(rest, STR("empty")) ? STR("") : rest;
        smtp_client_answer_auth(r->c, r->token, mechanism, initial, data, done, r->now);
    } else {
        smtp_client_answer_challenge(r->c, r->token, rest, done, r->now);
    }
}

static void act(struct run *r, struct str words)
{
    struct str verb = dialogue_word(&words);
    if (str_eq(verb, STR("send")))
        act_send(r, words);
    else if (str_eq(verb, STR("auth")) || str_eq(verb, STR("response")))
        act_auth(r, verb, words);
    else if (str_eq(verb, STR("cancel")))
        smtp_client_cancel_auth(r->c, r->token, r->now);
    else if (str_eq(verb, STR("tls")))
        smtp_client_tls_started(r->c, r->now);
    else if (str_eq(verb, STR("quit")))
        smtp_client_quit(r->c, r->now);
    else if (str_eq(verb, STR("stuck")))
        r->stuck = true;
    else
        dialogue_give_up(r->d->name, r->line, "unknown act", verb);
    pull(r);
}

/* ---- A run ---------------------------------------------------------------------------------- */

static void expect_said(struct run *r, struct str expected)
{
    struct str said = buf_str(&r->said);
    if (!str_starts(said, expected))
        lose(r, "something else was said", expected, said);
    buf_consume(&r->said, expected.len);
}

/* Finds the event behind those already found; its line begins with `expected`. */
static void expect_event(struct run *r, struct str expected, bool wanted)
{
    struct str rest = str_skip(buf_str(&r->log), r->log_read), line;
    while (str_split(&rest, '\n', &line)) {
        if (!str_starts(line, expected))
            continue;
        if (!wanted)
            lose(r, "an event that must not be", expected, line);
        r->log_read = (size_t)(line.ptr + line.len + 1 - r->log.ptr);
        return;
    }
    if (wanted)
        lose(r, "no such event", expected, str_skip(buf_str(&r->log), r->log_read));
}

static void do_step(struct run *r, const struct step *step, size_t from)
{
    r->line = step->line;
    switch (step->kind) {
    case STEP_PEER:
        peer_says(r, step->data, from);
        break;
    case STEP_SAYS:
        expect_said(r, step->data);
        break;
    case STEP_NOTHING:
        if (r->said.len > 0)
            lose(r, "something was said", STR(""), buf_str(&r->said));
        break;
    case STEP_EVENT:
    case STEP_NO_EVENT:
        expect_event(r, step->data, step->kind == STEP_EVENT);
        break;
    case STEP_ACT:
        act(r, step->data);
        break;
    case STEP_TICK:
        r->now.mono_ms += number(step->data);
        smtp_client_tick(r->c, r->now);
        pull(r);
        break;
    case STEP_GONE:
        smtp_client_peer_gone(r->c, r->now);
        pull(r);
        break;
    }
}

static void run_dialogue(struct dialogue *d, size_t split)
{
    struct run r = {.d = d, .now = {1000, 1000}, .split = split};
    runs++;
    buf_init(&r.log, 1 << 20);
    buf_init(&r.said, DIALOGUE_SIZE_MAX);
    r.c = smtp_client_new(&d->settings, r.now);
    assert_non_null(r.c);
    size_t heard = 0;
    for (size_t i = 0; i < d->steps_count; i++) {
        do_step(&r, &d->steps[i], heard);
        heard += d->steps[i].kind == STEP_PEER ? d->steps[i].data.len : 0;
    }
    if (r.said.len > 0)
        lose(&r, "more was said than expected", STR(""), buf_str(&r.said));
    smtp_client_free(r.c);
    buf_release(&r.log);
    buf_release(&r.said);
}

static void run_file(const char *folder, const char *name)
{
    static struct dialogue d;
    load_dialogue(&d, folder, name);
    run_dialogue(&d, 0);
    run_dialogue(&d, SIZE_MAX);
    size_t stride = d.peer_size / SPLITS_MAX + 1;
    for (size_t split = 1; split < d.peer_size; split += stride)
        run_dialogue(&d, split);
    buf_release(&d.unescaped);
    free((char *)(uintptr_t)d.text.ptr);
}

static void every_dialogue_holds_at_every_split(void **state)
{
    (void)state;
    int files = dialogue_run_all("client", run_file);
    print_message("%d dialogues, %zu runs\n", files, runs);
    assert_true(files > 0);
}

/* Which ends a stage can have, besides those that all have that wait for the peer. */
static const unsigned closes[SMTP_CLIENT_STAGE_COUNT] = {
#define END(reason) (1u << SMTP_CLIENT_CLOSE_##reason)
#define USUAL       (END(SHUTDOWN) | END(TIMEOUT) | END(PEER_GONE) | END(GARBAGE))
    [SMTP_CLIENT_GREETING] = USUAL | END(REFUSED),
    [SMTP_CLIENT_HELLO] = USUAL | END(REFUSED) | END(NO_TLS) | END(NO_AUTH),
    [SMTP_CLIENT_STARTTLS] = USUAL | END(REFUSED),
    [SMTP_CLIENT_HANDSHAKE] = END(TIMEOUT) | END(PEER_GONE) | END(INJECTION),
    [SMTP_CLIENT_AUTH] = USUAL | END(REFUSED) | END(NO_AUTH) | END(UNVERIFIED),
    [SMTP_CLIENT_IDLE] = END(SHUTDOWN) | END(PEER_GONE) | END(GARBAGE),
    [SMTP_CLIENT_RSET] = USUAL | END(REFUSED),
    [SMTP_CLIENT_MAIL] = USUAL,
    [SMTP_CLIENT_RCPT] = USUAL,
    [SMTP_CLIENT_DATA] = USUAL,
    [SMTP_CLIENT_BODY] = USUAL | END(REFUSED) | END(BAD_BODY) | END(NO_BDAT),
    [SMTP_CLIENT_END] = USUAL | END(NO_BDAT),
    [SMTP_CLIENT_QUIT] = END(QUIT),
#undef USUAL
#undef END
};

static const unsigned verdicts[SMTP_CLIENT_STAGE_COUNT] = {
#define BIT(verdict) (1u << SMTP_CLIENT_##verdict)
    [SMTP_CLIENT_RSET] = BIT(LATER),
    [SMTP_CLIENT_MAIL] = BIT(LATER) | BIT(REFUSED) | BIT(LACKING),
    [SMTP_CLIENT_RCPT] = BIT(LATER) | BIT(REFUSED) | BIT(AGAIN),
    [SMTP_CLIENT_DATA] = BIT(LATER) | BIT(REFUSED),
    [SMTP_CLIENT_BODY] = BIT(LATER) | BIT(REFUSED) | BIT(AGAIN),
    [SMTP_CLIENT_END] = BIT(TAKEN) | BIT(LATER) | BIT(REFUSED) | BIT(AGAIN) | BIT(UNKNOWN),
#undef BIT
};

static void every_stage_has_ended_in_every_way(void **state)
{
    (void)state;
    int wrong = 0;
    for (int stage = 0; stage < SMTP_CLIENT_STAGE_COUNT; stage++) {
        for (int reason = 0; reason < SMTP_CLIENT_CLOSE_NO_MEMORY; reason++) {
            bool can = closes[stage] & 1u << reason, seen = seen_closed[stage][reason] > 0;
            if (can != seen)
                print_error("%s %s closed at %s\n", seen ? "unexpected:" : "no dialogue has:",
                            smtp_client_close_reason_name((enum smtp_client_close_reason)reason),
                            smtp_client_stage_name((enum smtp_client_stage)stage));
            wrong += can != seen;
        }
        for (int verdict = 0; verdict <= SMTP_CLIENT_UNKNOWN; verdict++) {
            bool can = verdicts[stage] & 1u << verdict, seen = seen_verdict[stage][verdict] > 0;
            if (can != seen)
                print_error("%s a recipient %s at %s\n", seen ? "unexpected:" : "no dialogue has:",
                            smtp_client_verdict_name((enum smtp_client_verdict)verdict),
                            smtp_client_stage_name((enum smtp_client_stage)stage));
            wrong += can != seen;
        }
    }
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_dialogue_holds_at_every_split),
        cmocka_unit_test(every_stage_has_ended_in_every_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
