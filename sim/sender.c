#include "sim/sender.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bug.h"

/* What waits for a reply. */
enum {
    GREETING = 'g',
    HELLO = 'h',
    MAIL = 'm',
    RCPT = '0', /* and up: for whom */
    DATA = 'd',
    DOT = '.',
    RSET = 'r',
    QUIT = 'q',
};

void sender_init(struct sender *s, struct post *post)
{
    *s = (struct sender){.post = post, .fd = -1};
    buf_init(&s->out, 1024 * 1024);
    buf_init(&s->heard, 64 * 1024);
}

void sender_release(struct sender *s)
{
    sender_drop(s);
    buf_release(&s->out);
    buf_release(&s->heard);
}

void sender_drop(struct sender *s)
{
    if (s->fd >= 0)
        close(s->fd);
    if (s->message != 0)
        s->post->busy[s->message] = false;
    s->fd = -1;
    s->message = 0;
    s->asked_count = 0;
    buf_clear(&s->out);
    buf_clear(&s->heard);
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
    buf_append_str(&s->out, str_from_c(words));
}

static void say_quit(struct sender *s)
{
    if (!s->over)
        say(s, QUIT, "QUIT\r\n");
    s->over = true;
}

static bool say_rcpt(struct sender *s)
{
    for (unsigned i = 0; i < POST_WHO; i++) {
        char address[40];
        if (!(s->wanted >> i & 1))
            continue;
        s->wanted &= ~(1u << i);
        expect(s, (char)(RCPT + i));
        post_address(s->message, i, address);
        buf_printf(&s->out, "RCPT TO:<%s>\r\n", address);
        return true;
    }
    return false;
}

/* LMTP takes nothing for elsewhere. */
static unsigned whom(const struct sender *s)
{
    return s->lmtp ? POST_HERE : POST_ALL;
}

static void say_mail(struct sender *s)
{
    s->accepted = s->dotted = 0;
    s->wanted = post_missing(s->post, s->message) & whom(s);
    say(s, MAIL, "MAIL FROM:<carol@example.net>\r\n");
    if (!s->pipelines)
        return;
    while (say_rcpt(s))
        ;
    say(s, DATA, "DATA\r\n");
}

static void say_body(struct sender *s)
{
    post_octets(s->message, true, &s->out);
    s->dotted = s->accepted;
    for (int i = 0; i < POST_WHO; i++)
        if (s->accepted >> i & 1)
            s->post->states[s->message][i] = POST_OFFERED;
    int replies = s->lmtp ? __builtin_popcount(s->accepted) : 1;
    for (int i = 0; i < replies; i++)
        expect(s, DOT);
    if (s->hasty)
        say_quit(s);
}

/* What was begun and came to no final dot is still the server's. */
static void next_message(struct sender *s, bool begun)
{
    s->post->busy[s->message] = false;
    s->message = 0;
    uint32_t message = s->left > 0 && !s->over ? post_unfinished(s->post, whom(s)) : 0;
    if (message == 0) {
        say_quit(s);
        return;
    }
    s->left--;
    s->message = message;
    s->post->busy[message] = true;
    if (begun)
        say(s, RSET, "RSET\r\n");
    else
        say_mail(s);
}

/* ---- Hearing ------------------------------------------------------------------------------------
 */

static void answered_rcpt(struct sender *s, unsigned who, unsigned code)
{
    char address[40];
    post_address(s->message, who, address);
    if (code == 250)
        s->accepted |= 1u << who;
    else if (code / 100 != 4 && code != 503)
        world_wrong(s->post->world, "RCPT for %s was answered %u", address, code);
    if (s->pipelines || say_rcpt(s))
        return;
    if (s->accepted)
        say(s, DATA, "DATA\r\n");
    else
        next_message(s, true);
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
    unsigned told = s->lmtp ? s->dotted & -s->dotted : s->dotted;
    s->dotted &= ~told;
    if (code != 250 && code / 100 != 4 && told != 0)
        world_wrong(s->post->world, "the final dot was answered %u", code);
    for (int i = 0; i < POST_WHO && code == 250; i++)
        if (told >> i & 1)
            s->post->states[s->message][i] = POST_KEPT;
    if (s->dotted == 0)
        next_message(s, false);
}

static void answered(struct sender *s, char what, unsigned code)
{
    switch (what) {
    case GREETING:
        say(s, HELLO, s->lmtp ? "LHLO client.test\r\n" : "EHLO client.test\r\n");
        break;
    case HELLO:
    case RSET:
        say_mail(s);
        break;
    case MAIL:
        if (code != 250 && code / 100 != 4)
            world_wrong(s->post->world, "MAIL was answered %u", code);
        if (!s->pipelines && code == 250)
            say_rcpt(s);
        else if (!s->pipelines)
            next_message(s, true);
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
    answered(s, what, (unsigned)code);
}

static void hear_lines(struct sender *s)
{
    ptrdiff_t end;
    while (s->fd >= 0 && (end = str_find(buf_str(&s->heard), STR("\r\n"))) >= 0) {
        char line[1024];
        size_t len = (size_t)end < sizeof line ? (size_t)end : sizeof line;
        memcpy(line, buf_str(&s->heard).ptr, len);
        buf_consume(&s->heard, (size_t)end + 2);
        hear_line(s, str_make(line, len));
    }
}

void sender_hear(struct sender *s)
{
    char piece[4096];
    ssize_t n = 0;
    while (s->fd >= 0 && (n = recv(s->fd, piece, sizeof piece, 0)) > 0) {
        invariant(buf_append(&s->heard, piece, (size_t)n));
        hear_lines(s);
    }
    if (s->fd >= 0 && (n == 0 || errno != EAGAIN))
        sender_drop(s);
}

/* ---- Moving -------------------------------------------------------------------------------------
 */

void sender_start(struct sender *s, uint32_t message, unsigned left)
{
    struct world *w = s->post->world;
    s->lmtp = world_draw(w, 4) == 0 && (post_missing(s->post, message) & POST_HERE) != 0;
    s->pipelines = world_draw(w, 2);
    s->hasty = world_draw(w, 4) == 0;
    s->over = false;
    s->left = left;
    s->fd = world_connect(w, s->lmtp ? WORLD_LMTP : WORLD_MX);
    if (s->fd < 0)
        return;
    s->message = message;
    s->post->busy[message] = true;
    expect(s, GREETING);
}

void sender_speak(struct sender *s, bool all)
{
    if (s->fd < 0 || s->out.len == 0)
        return;
    size_t len = all ? s->out.len : 1 + world_draw(s->post->world, s->out.len);
    ssize_t n = send(s->fd, buf_str(&s->out).ptr, len, MSG_NOSIGNAL);
    if (n > 0)
        buf_consume(&s->out, (size_t)n);
    else if (n < 0 && errno != EAGAIN)
        sender_hear(s);
}
