#include "sim/pop.h"

#include <stdarg.h>
#include <string.h>

#include "base/bug.h"

enum { WAITS_MAX = 200 };

void pop_client_init(struct pop_client *c, struct post *post, unsigned account)
{
    *c = (struct pop_client){.post = post, .account = account};
    wire_init(&c->wire, post->world);
}

void pop_client_drop(struct pop_client *c)
{
    wire_drop(&c->wire);
    login_drop(&c->login);
    post_claim_end(c->claim, false);
    c->claim = NULL;
    c->in = false;
}

void pop_client_release(struct pop_client *c)
{
    pop_client_drop(c);
    wire_release(&c->wire);
}

/* ---- Talking ------------------------------------------------------------------------------------
 */

static bool is_good(struct pop_client *c)
{
    return str_starts(buf_str(&c->wire.heard), STR("+"));
}

/* With all its lines; false: not yet. */
static bool is_answered(struct pop_client *c, bool lines)
{
    struct str heard = buf_str(&c->wire.heard);
    return lines && is_good(c) ? str_ends(heard, STR("\r\n.\r\n")) : str_ends(heard, STR("\r\n"));
}

/* False: the connection is over. */
static bool hear(struct pop_client *c, bool lines)
{
    struct world *w = c->post->world;
    for (int i = 0; !is_answered(c, lines); i++) {
        if (i == WAITS_MAX)
            world_wrong(w, "POP3: %s has no answer", world_names[c->account]);
        bool open = wire_move(&c->wire, c->wire.out.len);
        world_settle(w);
        if (!wire_move(&c->wire, c->wire.out.len) && !is_answered(c, lines) && !open) {
            pop_client_drop(c);
            return false;
        }
        if (i > 20)
            world_pass(w, 1000);
    }
    return true;
}

static bool ask(struct pop_client *c, bool lines, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool ask(struct pop_client *c, bool lines, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    buf_clear(&c->wire.heard);
    buf_vprintf(&c->wire.out, format, args);
    va_end(args);
    return hear(c, lines) && is_good(c);
}

/* ---- Logging in ---------------------------------------------------------------------------------
 */

static bool authenticate(struct pop_client *c)
{
    struct world *w = c->post->world;
    if (world_draw(w, 3) == 0)
        return ask(c, false, "USER %s\r\n", world_names[c->account]) &&
               ask(c, false, "PASS " WORLD_PASSWORD "\r\n");
    buf_append_str(&c->wire.out, STR("AUTH "));
    login_begin(&c->login, w, c->account, &c->wire.out);
    bool good = ask(c, false, "\r\n");
    while (good && str_starts(buf_str(&c->wire.heard), STR("+ "))) {
        struct str words = str_skip(buf_str(&c->wire.heard), 2);
        if (!login_step(&c->login, str_sub(words, 0, words.len - 2), &c->wire.out))
            world_wrong(w, "POP3: a challenge is not of its mechanism");
        good = ask(c, false, "\r\n");
    }
    if (good && !login_done(&c->login))
        world_wrong(w, "POP3: the server did not show that it knows the password");
    return good;
}

static bool log_in(struct pop_client *c)
{
    struct world *w = c->post->world;
    if (!wire_open(&c->wire, world_draw(w, 2) ? WORLD_POP3 : WORLD_POP3S) || !hear(c, false))
        return false;
    if (!c->wire.ssl && world_draw(w, 2)) {
        if (!ask(c, false, "STLS\r\n"))
            return false;
        wire_start_tls(&c->wire);
    }
    return authenticate(c);
}

/* The maildrop is what the INBOX is now, but for what came in this moment. */
static bool take_list(struct pop_client *c, size_t before)
{
    struct world *w = c->post->world;
    struct post_box *box = &c->post->boxes[c->account][0];
    post_check(c->post, false);
    if (!ask(c, true, "UIDL\r\n"))
        return false;
    struct str rest = buf_str(&c->wire.heard), line;
    str_split(&rest, '\n', &line);
    for (c->count = 0; str_split(&rest, '\n', &line) && !str_starts(line, STR(".")); c->count++)
        if (c->count >= box->count)
            world_wrong(w, "POP3: %s sees too many messages", world_names[c->account]);
    if (c->count < before)
        world_wrong(w, "POP3: %s sees %zu messages of %zu", world_names[c->account], c->count,
                    before);
    for (size_t i = 0; i < c->count; i++)
        c->uids[i] = box->entries[i].uid;
    memset(c->marked, 0, sizeof c->marked);
    return true;
}

static void begin(struct pop_client *c)
{
    post_check(c->post, false);
    size_t before = c->post->boxes[c->account][0].count;
    c->in = log_in(c) && take_list(c, before);
    c->sessions += c->in;
    if (!c->in)
        pop_client_drop(c);
}

/* ---- A session ----------------------------------------------------------------------------------
 */

/* Dots that were put in front are taken away (RFC 1939 §3). */
static void unstuff(struct str lines, struct buf *out)
{
    bool at_start = true;
    for (size_t i = 0; i < lines.len; i++) {
        if (!(at_start && lines.ptr[i] == '.'))
            buf_append_byte(out, lines.ptr[i]);
        at_start = lines.ptr[i] == '\n';
    }
}

static void retrieve(struct pop_client *c, size_t i)
{
    struct post_entry *e = post_find(&c->post->boxes[c->account][0], c->uids[i]);
    struct buf octets;
    if (!ask(c, true, "RETR %zu\r\n", i + 1))
        return;
    struct str lines = buf_str(&c->wire.heard);
    ptrdiff_t end = str_find_byte(lines, '\n');
    buf_init(&octets, 4 * 1024 * 1024);
    unstuff(str_sub(lines, (size_t)end + 1, lines.len - (size_t)end - 1 - 3), &octets);
    uint32_t message = post_identify(c->post, c->account, buf_str(&octets));
    if (e && e->message != message)
        world_wrong(c->post->world, "POP3: %s gets message %u for %u", world_names[c->account],
                    message, e->message);
    buf_release(&octets);
}

static bool claim_marked(struct pop_client *c)
{
    c->claim = post_claim_new(c->post, c->account, 0);
    if (!c->claim)
        return false;
    c->claim->removes = true;
    for (size_t i = 0; i < c->count; i++)
        if (c->marked[i])
            post_claim_add(c->post, c->claim, c->uids[i]);
    post_claim_begin(c->post, c->claim);
    return true;
}

static void quit(struct pop_client *c)
{
    struct world *w = c->post->world;
    if (!claim_marked(c))
        return;
    c->quits++;
    if (world_draw(w, 6) == 0) { /* says it, and does not wait */
        buf_append_str(&c->wire.out, STR("QUIT\r\n"));
        wire_move(&c->wire, c->wire.out.len);
        world_turns(w, (int)world_draw(w, 6));
    } else {
        bool good = ask(c, false, "QUIT\r\n");
        post_claim_end(c->claim, good);
        c->claim = NULL;
    }
    pop_client_drop(c);
}

void pop_client_step(struct pop_client *c)
{
    struct world *w = c->post->world;
    if (!c->in) {
        begin(c);
        return;
    }
    uint64_t what = world_draw(w, 12);
    size_t i = c->count > 0 ? world_draw(w, c->count) : 0;
    if (what < 4 && c->count > 0 && !c->marked[i]) {
        retrieve(c, i);
    } else if (what < 8 && c->count > 0 && !c->marked[i]) {
        c->marked[i] = ask(c, false, "DELE %zu\r\n", i + 1);
    } else if (what == 8) {
        if (ask(c, false, "RSET\r\n"))
            memset(c->marked, 0, sizeof c->marked);
    } else if (what == 9) {
        pop_client_drop(c);
    } else if (what == 10) {
        quit(c);
    } else {
        ask(c, false, "NOOP\r\n");
    }
}
