#include "sim/sender.h"

#include <string.h>

#include "base/bug.h"

/* What waits for a reply. */
enum {
    GREETING = 'g',
    HELLO = 'h',
    STARTTLS = 't',
    AUTH = 'a',
    MAIL = 'm',
    RCPT = '0', /* and up: by which name */
    DATA = 'd',
    DOT = '.',
    RSET = 'r',
    QUIT = 'q',
};

void sender_init(struct sender *s, struct post *post)
{
    *s = (struct sender){.post = post};
    wire_init(&s->wire, post->world);
}

void sender_release(struct sender *s)
{
    sender_drop(s);
    wire_release(&s->wire);
}

void sender_drop(struct sender *s)
{
    wire_drop(&s->wire);
    login_drop(&s->login);
    if (s->message != 0)
        s->post->messages[s->message].busy = false;
    s->in_use = false;
    s->message = 0;
    s->asked_count = 0;
}

static bool is_lmtp(const struct sender *s)
{
    return s->listener == WORLD_LMTP;
}

static bool submits(const struct sender *s)
{
    return s->listener == WORLD_SUBMISSION || s->listener == WORLD_SUBMISSIONS;
}

/* Whom a name leads to. */
static unsigned who_is(unsigned name)
{
    return name == POST_WHO ? POST_HERE : 1u << name;
}

/* ---- Saying -------------------------------------------------------------------------------------
 */

static void expect(struct sender *s, char what)
{
    invariant(s->asked_count < SENDER_ASKED);
    s->asked[s->asked_count++] = what;
}

static void say(struct sender *s, char what, const char *words)
{
    expect(s, what);
    buf_append_str(&s->wire.out, str_from_c(words));
}

static void say_quit(struct sender *s)
{
    if (!s->over)
        say(s, QUIT, "QUIT\r\n");
    s->over = true;
}

static void say_notify(struct sender *s)
{
    static const char *const names[] = {"NEVER", "SUCCESS", "FAILURE", "DELAY"};
    unsigned notify = s->post->messages[s->message].notify;
    const char *between = " NOTIFY=";
    for (unsigned i = 0; i < 4 && !is_lmtp(s); i++) {
        if (!(notify >> i & 1))
            continue;
        buf_printf(&s->wire.out, "%s%s", between, names[i]);
        between = ",";
    }
}

static bool say_rcpt(struct sender *s)
{
    for (unsigned i = 0; i <= POST_WHO; i++) {
        char address[40];
        if (!(s->wanted >> i & 1))
            continue;
        s->wanted &= ~(1u << i);
        expect(s, (char)(RCPT + i));
        post_address(s->message, i, address);
        buf_printf(&s->wire.out, "RCPT TO:<%s>", address);
        say_notify(s);
        buf_append_str(&s->wire.out, STR("\r\n"));
        return true;
    }
    return false;
}

/* LMTP takes nothing for elsewhere. */
static unsigned whom(const struct sender *s)
{
    return is_lmtp(s) ? POST_HERE : POST_ALL;
}

/* The names behind those bits. */
static unsigned names_of(const struct sender *s, unsigned missing)
{
    if (!s->post->messages[s->message].by_alias || !(missing & POST_HERE))
        return missing;
    return (missing & ~(unsigned)POST_HERE) | 1u << POST_WHO;
}

static void say_mail(struct sender *s)
{
    const struct post_message *m = &s->post->messages[s->message];
    char sender[40];
    s->accepted = s->dotted = 0;
    s->post->messages[s->message].by_lmtp |= is_lmtp(s);
    s->wanted = names_of(s, post_missing(s->post, s->message) & whom(s));
    post_sender(s->post, s->message, sender);
    expect(s, MAIL);
    buf_printf(&s->wire.out, "MAIL FROM:<%s>%s%s\r\n", sender,
               m->notify & POST_NOTIFY_SUCCESS && !is_lmtp(s) ? " RET=HDRS ENVID=e" : "",
               m->tls_only ? " REQUIRETLS" : "");
    if (!s->pipelines)
        return;
    while (say_rcpt(s))
        ;
    say(s, DATA, "DATA\r\n");
}

static void mark(struct sender *s, unsigned names, enum post_state state)
{
    struct post_message *m = &s->post->messages[s->message];
    for (unsigned name = 0; name <= POST_WHO; name++)
        for (unsigned i = 0; i < POST_WHO && names >> name & 1; i++)
            if (who_is(name) >> i & 1)
                m->states[i] = (uint8_t)state;
    if (names >> POST_WHO & 1)
        m->excused |= s->post->troubled;
}

static void say_body(struct sender *s)
{
    post_octets(s->post, s->message, true, &s->wire.out);
    s->dotted = s->accepted;
    mark(s, s->dotted, POST_OFFERED);
    int replies = is_lmtp(s) ? __builtin_popcount(s->accepted) : 1;
    for (int i = 0; i < replies; i++)
        expect(s, DOT);
    if (s->hasty)
        say_quit(s);
}

/* What was begun and came to no final dot is still the server's. */
static void next_message(struct sender *s, bool begun)
{
    s->post->messages[s->message].busy = false;
    s->message = 0;
    uint32_t message = s->left > 0 && !s->over ? post_unfinished(s->post, s->person, whom(s)) : 0;
    if (message == 0) {
        say_quit(s);
        return;
    }
    s->left--;
    s->message = message;
    s->post->messages[message].busy = true;
    if (begun)
        say(s, RSET, "RSET\r\n");
    else
        say_mail(s);
}

/* ---- Hearing ------------------------------------------------------------------------------------
 */

/* Whose mailbox is full or closed is refused for ever, for now. */
static bool may_be_refused(const struct sender *s, unsigned name, unsigned code)
{
    return code / 100 == 4 || code == 503 ||
           ((code == 550 || code == 552) && (who_is(name) & s->post->troubled) != 0);
}

static void answered_rcpt(struct sender *s, unsigned name, unsigned code)
{
    char address[40];
    post_address(s->message, name, address);
    if (code == 250)
        s->accepted |= 1u << name;
    else if (!may_be_refused(s, name, code))
        world_wrong(s->post->world, "RCPT for %s was answered %u", address, code);
    if (code == 250 && name == POST_WHO)
        s->post->messages[s->message].excused |= s->post->troubled;
    if (s->pipelines || say_rcpt(s))
        return;
    if (s->accepted)
        say(s, DATA, "DATA\r\n");
    else
        next_message(s, true);
}

static bool may_all_be_refused(const struct sender *s, unsigned names)
{
    if (submits(s) && (s->post->troubled >> (s->person - POST_ACCOUNTS) & 1))
        return true; /* nothing is this account's own any more */
    for (unsigned name = 0; name <= POST_WHO; name++)
        if ((names >> name & 1) && !may_be_refused(s, name, 550))
            return false;
    return true;
}

static void answered_data(struct sender *s, unsigned code)
{
    if (code == 354)
        say_body(s);
    else if (code / 100 == 4 || s->accepted == 0)
        next_message(s, true);
    else
        world_wrong(s->post->world, "DATA was answered %u", code);
}

/* SMTP answers for all at once, LMTP for each in turn. */
static void answered_dot(struct sender *s, unsigned code)
{
    unsigned told = is_lmtp(s) ? s->dotted & -s->dotted : s->dotted;
    s->dotted &= ~told;
    if (code != 250 && code / 100 != 4 && told != 0 && !may_all_be_refused(s, told))
        world_wrong(s->post->world, "the final dot was answered %u", code);
    if (code == 250)
        mark(s, told, POST_KEPT);
    if (s->dotted == 0)
        next_message(s, false);
}

static void say_hello(struct sender *s)
{
    say(s, HELLO, is_lmtp(s) ? "LHLO client.test\r\n" : "EHLO client.test\r\n");
}

static void answered_hello(struct sender *s)
{
    if (s->starts_tls) {
        say(s, STARTTLS, "STARTTLS\r\n");
    } else if (submits(s)) {
        expect(s, AUTH);
        buf_append_str(&s->wire.out, STR("AUTH "));
        login_begin(&s->login, s->post->world, s->person - POST_ACCOUNTS, &s->wire.out);
        buf_append_str(&s->wire.out, STR("\r\n"));
    } else {
        say_mail(s);
    }
}

static void answered_starttls(struct sender *s, unsigned code)
{
    s->starts_tls = false;
    if (code == 220) {
        wire_start_tls(&s->wire);
        say_hello(s);
    } else {
        sender_drop(s);
    }
}

static void answered_auth(struct sender *s, unsigned code, struct str words)
{
    if (code == 334) {
        expect(s, AUTH);
        if (!login_step(&s->login, words, &s->wire.out))
            world_wrong(s->post->world, "a challenge is not of its mechanism");
        buf_append_str(&s->wire.out, STR("\r\n"));
        return;
    }
    if (code == 235 && !login_done(&s->login))
        world_wrong(s->post->world, "the server did not show that it knows the password");
    if (code != 235 && code != 454 && !(s->post->ever_troubled >> (s->person - POST_ACCOUNTS) & 1))
        world_wrong(s->post->world, "AUTH was answered %u", code);
    s->logins += code == 235;
    if (code == 235)
        say_mail(s);
    else
        sender_drop(s);
}

static void answered_mail(struct sender *s, unsigned code)
{
    if (code != 250 && code / 100 != 4 && !submits(s))
        world_wrong(s->post->world, "MAIL was answered %u", code);
    if (!s->pipelines && code == 250)
        say_rcpt(s);
    else if (!s->pipelines)
        next_message(s, true);
}

static void answered(struct sender *s, char what, unsigned code, struct str words)
{
    switch (what) {
    case GREETING:
        say_hello(s);
        break;
    case HELLO:
        answered_hello(s);
        break;
    case STARTTLS:
        answered_starttls(s, code);
        break;
    case AUTH:
        answered_auth(s, code, words);
        break;
    case RSET:
        say_mail(s);
        break;
    case MAIL:
        answered_mail(s, code);
        break;
    case DATA:
        answered_data(s, code);
        break;
    case DOT:
        answered_dot(s, code);
        break;
    case QUIT:
        sender_drop(s);
        break;
    default:
        answered_rcpt(s, (unsigned)(what - RCPT), code);
        break;
    }
}

static void hear_line(struct sender *s, struct str line)
{
    uint64_t code;
    if (!str_to_u64(str_sub(line, 0, 3), 599, &code) || line.len < 4)
        world_wrong(s->post->world, "no reply: %.*s", STR_ARG(line));
    if (line.ptr[3] == '-')
        return;
    if (code == 421) {
        sender_drop(s);
        return;
    }
    if (s->asked_count == 0)
        world_wrong(s->post->world, "nobody asked for: %.*s", STR_ARG(line));
    char what = s->asked[0];
    memmove(s->asked, s->asked + 1, --s->asked_count);
    answered(s, what, (unsigned)code, str_skip(line, 4));
}

static void hear_lines(struct sender *s)
{
    struct str line;
    size_t size;
    while (s->in_use && wire_line(&s->wire, &line, &size)) {
        char copy[2048];
        size_t len = line.len < sizeof copy ? line.len : sizeof copy;
        memcpy(copy, line.ptr, len);
        buf_consume(&s->wire.heard, size);
        hear_line(s, str_make(copy, len));
    }
}

void sender_hear(struct sender *s)
{
    if (!s->in_use)
        return;
    bool open = wire_move(&s->wire, 0);
    hear_lines(s);
    if (!open && s->in_use && s->wire.fd < 0)
        sender_drop(s);
}

/* ---- Moving -------------------------------------------------------------------------------------
 */

static enum world_listener draw_listener(struct sender *s, uint32_t message)
{
    struct world *w = s->post->world;
    if (s->person != POST_CAROL)
        return world_draw(w, 2) ? WORLD_SUBMISSION : WORLD_SUBMISSIONS;
    bool here = (post_missing(s->post, message) & POST_HERE) != 0;
    return here && world_draw(w, 4) == 0 ? WORLD_LMTP : WORLD_MX;
}

void sender_start(struct sender *s, uint32_t message, unsigned left)
{
    struct world *w = s->post->world;
    s->person = s->post->messages[message].sender;
    s->listener = draw_listener(s, message);
    s->starts_tls =
        s->listener == WORLD_SUBMISSION || (s->listener == WORLD_MX && world_draw(w, 4) == 0);
    s->pipelines = world_draw(w, 2);
    s->hasty = world_draw(w, 4) == 0;
    s->over = false;
    s->left = left;
    if (!wire_open(&s->wire, s->listener))
        return;
    s->in_use = true;
    s->message = message;
    s->post->messages[message].busy = true;
    expect(s, GREETING);
}

void sender_speak(struct sender *s, bool all)
{
    if (!s->in_use)
        return;
    size_t len = s->wire.out.len;
    wire_move(&s->wire, all || len == 0 ? len : 1 + world_draw(s->post->world, len));
    sender_hear(s);
}
