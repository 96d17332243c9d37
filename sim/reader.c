#include "sim/reader.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bug.h"

/* Above this many messages somebody tidies up, down to half of it. */
enum { SHOWN_MAX = 40, HEARD_MAX = 4 * 1024 * 1024, WAITS_MAX = 100 };

void reader_init(struct reader *r, struct post *post, unsigned account)
{
    *r = (struct reader){.post = post, .account = account, .fd = -1};
    buf_init(&r->heard, HEARD_MAX);
}

void reader_drop(struct reader *r)
{
    if (r->fd >= 0)
        close(r->fd);
    r->fd = -1;
}

void reader_release(struct reader *r)
{
    reader_drop(r);
    buf_release(&r->heard);
}

/* ---- Talking ------------------------------------------------------------------------------------
 */

static bool has_line(const struct buf *heard, const char *begin)
{
    struct str rest = buf_str(heard), line;
    size_t len = strlen(begin);
    while (str_split(&rest, '\n', &line))
        if (line.len > len && line.ptr[line.len - 1] == '\r' && memcmp(line.ptr, begin, len) == 0)
            return true;
    return false;
}

/* False: the connection is over. */
static bool hear_some(struct reader *r)
{
    char piece[4096];
    ssize_t n;
    while ((n = recv(r->fd, piece, sizeof piece, 0)) > 0)
        invariant(buf_append(&r->heard, piece, (size_t)n));
    return n < 0 && errno == EAGAIN;
}

/*
 * Until a line begins so, or so; false where the connection ended before. Whoever gives no answer
 * while nothing moves waits for time to pass.
 */
static bool hear(struct reader *r, const char *begin, const char *or_begin)
{
    struct world *w = r->post->world;
    for (int waits = 0; waits < WAITS_MAX; waits++) {
        world_settle(w);
        bool open = hear_some(r);
        if (has_line(&r->heard, begin) || has_line(&r->heard, or_begin))
            return true;
        if (!open) {
            reader_drop(r);
            return false;
        }
        world_pass(w, 1000);
    }
    world_wrong(w, "no answer, but %.*s", STR_ARG(buf_str(&r->heard)));
}

static void say(struct reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct reader *r, const char *format, ...)
{
    char words[256];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(words, sizeof words, format, args);
    va_end(args);
    invariant(n > 0 && (size_t)n < sizeof words);
    buf_clear(&r->heard);
    if (send(r->fd, words, (size_t)n, MSG_NOSIGNAL) != n)
        invariant(errno == EPIPE || errno == ECONNRESET);
}

/* ---- IMAP ---------------------------------------------------------------------------------------
 */

/* 1: OK. 0: NO. -1: the connection is over. */
static int ask(struct reader *r, const char *command)
{
    say(r, "t %s\r\n", command);
    if (!hear(r, "t OK", "t NO"))
        return -1;
    return has_line(&r->heard, "t OK");
}

static bool log_in(struct reader *r)
{
    char words[64];
    r->fd = world_connect(r->post->world, WORLD_IMAP);
    buf_clear(&r->heard);
    if (r->fd < 0 || !hear(r, "* OK", "* BYE"))
        return false;
    snprintf(words, sizeof words, "LOGIN %s \"open sesame\"", world_names[r->account]);
    if (ask(r, words) == 1 && ask(r, "SELECT INBOX") == 1)
        return true;
    reader_drop(r);
    return false;
}

/* The number behind the next `word`; *words moves on behind it. */
static bool next_number(struct str *words, struct str word, uint32_t *ret_number)
{
    ptrdiff_t at = str_find(*words, word);
    if (at < 0)
        return false;
    *words = str_skip(*words, (size_t)at + word.len);
    uint32_t number = 0;
    while (words->len > 0 && ascii_is_digit(words->ptr[0])) {
        number = number * 10 + (uint32_t)(words->ptr[0] - '0');
        *words = str_skip(*words, 1);
    }
    *ret_number = number;
    return true;
}

static void compare(struct reader *r)
{
    struct post_box *box = &r->post->boxes[r->account];
    struct str words = buf_str(&r->heard);
    uint32_t uid;
    size_t i = 0;
    for (; next_number(&words, STR("(UID "), &uid); i++) {
        uint32_t message = post_next_id(&words);
        if (i >= box->count || box->entries[i].uid != uid || box->entries[i].message != message)
            world_wrong(r->post->world, "%s sees UID %u, message %u, as number %zu",
                        world_names[r->account], uid, message, i + 1);
    }
    if (i != box->count)
        world_wrong(r->post->world, "%s sees %zu messages of %zu", world_names[r->account], i,
                    box->count);
}

/* From the n-th on, or where there are too many, the older half. */
static size_t doom(struct reader *r)
{
    struct post_box *box = &r->post->boxes[r->account];
    size_t count = box->count > SHOWN_MAX               ? box->count - SHOWN_MAX / 2
                   : world_draw(r->post->world, 3) == 0 ? world_draw(r->post->world, 4)
                                                        : 0;
    if (count > box->count)
        count = box->count;
    for (size_t i = 0; i < count; i++)
        box->entries[i].doomed = true;
    return count;
}

/* A removal that was refused may still have happened, where the vault went before it could say. */
static void remove_some(struct reader *r)
{
    struct post_box *box = &r->post->boxes[r->account];
    char words[100];
    size_t count = doom(r);
    if (count == 0)
        return;
    uint32_t last = box->entries[count - 1].uid;
    snprintf(words, sizeof words, "UID STORE 1:%u +FLAGS.SILENT (\\Deleted)", last);
    if (ask(r, words) != 1 || ask(r, "EXPUNGE") != 1)
        return;
    post_check(r->post, false);
    if (box->count > 0 && box->entries[0].uid <= last)
        world_wrong(r->post->world, "UID %u of %s was expunged and is still there",
                    box->entries[0].uid, world_names[r->account]);
}

void reader_read(struct reader *r)
{
    if (r->fd < 0 && !log_in(r))
        return;
    if (ask(r, "NOOP") != 1)
        return;
    post_check(r->post, false);
    if (ask(r, "UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])") != 1)
        return;
    post_check(r->post, false);
    compare(r);
    remove_some(r);
}

/* ---- POP3 ---------------------------------------------------------------------------------------
 */

static bool ask_pop(struct reader *r, const char *command)
{
    say(r, "%s\r\n", command);
    return hear(r, "+OK", "-ERR") && has_line(&r->heard, "+OK");
}

static void pop(struct reader *r)
{
    struct post_box *box = &r->post->boxes[r->account];
    char words[64];
    uint32_t shown = 0;
    snprintf(words, sizeof words, "USER %s", world_names[r->account]);
    buf_clear(&r->heard);
    if (!hear(r, "+OK", "-ERR") || !ask_pop(r, words) || !ask_pop(r, "PASS open sesame") ||
        !ask_pop(r, "STAT"))
        return;
    post_check(r->post, false);
    struct str rest = buf_str(&r->heard);
    if (!next_number(&rest, STR("+OK "), &shown) || shown != box->count)
        world_wrong(r->post->world, "%s sees %u messages of %zu", world_names[r->account], shown,
                    box->count);
    bool removes = box->count > 0 && world_draw(r->post->world, 3) == 0;
    uint32_t first = removes ? box->entries[0].uid : 0;
    if (removes && !ask_pop(r, "DELE 1"))
        return;
    if (removes)
        box->entries[0].doomed = true;
    if (!ask_pop(r, "QUIT") || !removes)
        return;
    post_check(r->post, false);
    if (box->count > 0 && box->entries[0].uid == first)
        world_wrong(r->post->world, "UID %u of %s was deleted and is still there", first,
                    world_names[r->account]);
}

void reader_pop(struct reader *r)
{
    int kept = r->fd;
    r->fd = world_connect(r->post->world, WORLD_POP3);
    if (r->fd >= 0)
        pop(r);
    reader_drop(r);
    r->fd = kept;
}
