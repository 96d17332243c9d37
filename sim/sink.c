#include "sim/sink.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bug.h"
#include "io/connect.h"

enum { HEARD_MAX = 1024 * 1024, REFUSED_EVERY = 11 };

static const struct str END = STR("\r\n.\r\n");

static void hang_up(struct sink_session *t)
{
    world_note(t->sink->post->world, "sink hangs up");
    watch_set(&t->watch, 0);
    close(t->fd);
    buf_release(&t->heard);
    t->fd = -1;
}

static bool chance(struct sink *s, uint64_t in)
{
    return !s->friendly && world_draw(s->post->world, in) == 0;
}

/* False: the other side has gone. */
static bool say(struct sink_session *t, const char *words)
{
    ssize_t n = send(t->fd, words, strlen(words), MSG_NOSIGNAL);
    if (n == (ssize_t)strlen(words))
        return true;
    hang_up(t);
    return false;
}

/* ---- Commands -----------------------------------------------------------------------------------
 */

/* Whoever can be asked to tell the sender is asked; nobody else is (RFC 3461 §5.2.1). */
static void check_notify(struct sink *s, uint32_t message, struct str line)
{
    bool wanted = s->dsn && s->post->messages[message].notify != 0;
    if (wanted != (str_find(line, STR(" NOTIFY=")) >= 0))
        world_wrong(s->post->world, "of message %u the next server is asked: %.*s", message,
                    STR_ARG(line));
}

static const char *take_recipient(struct sink_session *t, struct str line)
{
    struct sink *s = t->sink;
    uint64_t message = 0;
    if (t->recipient_count == SINK_RECIPIENTS)
        return "452 4.5.3 too many\r\n";
    if (t->null_sender) {
        if (str_find(line, STR("<carol@example.net>")) < 0)
            world_wrong(s->post->world, "a report goes to %.*s", STR_ARG(line));
    } else {
        ptrdiff_t begin = str_find(line, STR("<m")), end = str_find_byte(line, '@');
        if (begin < 0 || end < begin + 2 ||
            !str_to_u64(str_sub(line, (size_t)begin + 2, (size_t)(end - begin) - 2), POST_MESSAGES,
                        &message) ||
            message == 0 || message > s->post->count)
            world_wrong(s->post->world, "nobody wrote to %.*s", STR_ARG(line));
        check_notify(s, (uint32_t)message, line);
        if (message % REFUSED_EVERY == 0) {
            s->refused[message] = true;
            return "550 5.1.1 nobody of that name\r\n";
        }
    }
    if (s->away || chance(s, 10))
        return "450 4.2.0 not now\r\n";
    t->recipients[t->recipient_count++] = (uint32_t)message;
    return "250 2.1.5 fine\r\n";
}

static bool command(struct sink_session *t, struct str line)
{
    if (chance(t->sink, 80)) {
        hang_up(t);
        return false;
    }
    if (str_starts(line, STR("LHLO ")))
        return say(t, t->sink->dsn ? "250-sink.test\r\n250-PIPELINING\r\n250-DSN\r\n"
                                     "250-ENHANCEDSTATUSCODES\r\n250 8BITMIME\r\n"
                                   : "250-sink.test\r\n250-PIPELINING\r\n"
                                     "250-ENHANCEDSTATUSCODES\r\n250 8BITMIME\r\n");
    if (str_starts(line, STR("RCPT TO:")))
        return say(t, take_recipient(t, line));
    if (str_starts(line, STR("DATA"))) {
        t->in_body = t->recipient_count > 0;
        return say(t, t->in_body ? "354 go on\r\n" : "503 5.5.1 for nobody\r\n");
    }
    if (str_starts(line, STR("QUIT"))) {
        if (say(t, "221 2.0.0 bye\r\n"))
            hang_up(t);
        return false;
    }
    t->recipient_count = 0;
    t->null_sender = str_starts(line, STR("MAIL FROM:<>"));
    return say(t, "250 2.0.0 fine\r\n");
}

/* ---- Messages -----------------------------------------------------------------------------------
 */

static void take_message(struct sink *s, uint32_t message, struct str octets)
{
    struct world *w = s->post->world;
    world_note(w, "sink takes m%u", message);
    struct buf sent;
    uint8_t state = s->post->messages[message].states[POST_ELSEWHERE];
    buf_init(&sent, HEARD_MAX);
    post_octets(s->post, message, true, &sent);
    if (!str_starts(octets, STR("Received: from ")) || !str_ends(octets, buf_str(&sent)))
        world_wrong(w, "message %u came elsewhere not as it was sent", message);
    buf_release(&sent);
    if (state != POST_OFFERED && state != POST_KEPT)
        world_wrong(w, "message %u came elsewhere, for where it had no final dot", message);
    if (s->taken[message]++ > s->allowed[message])
        world_wrong(w, "message %u came elsewhere again", message);
    s->all++;
    s->again += s->taken[message] > 1;
}

static void take_report(struct sink *s, struct str octets)
{
    struct str rest = octets;
    uint32_t message = post_next_id(&rest);
    if (message == 0 || message > s->post->count || s->post->messages[message].sender != POST_CAROL)
        world_wrong(s->post->world, "a report tells of message %u", message);
    if (!post_take_report(s->post, message, octets) && s->reports_allowed-- == 0)
        world_wrong(s->post->world, "a report about message %u came again", message);
    s->reports++;
}

/* The final dot: a reply for each, or none of the last, who has the message all the same. */
static bool end_body(struct sink_session *t, struct str octets)
{
    struct sink *s = t->sink;
    t->in_body = false;
    if (chance(s, 40)) {
        hang_up(t);
        return false;
    }
    for (size_t i = 0; i < t->recipient_count; i++) {
        uint32_t message = t->recipients[i];
        if (chance(s, 20)) {
            if (!say(t, "451 4.3.0 not now\r\n"))
                return false;
            continue;
        }
        bool lost = chance(s, 40);
        if (message != 0)
            take_message(s, message, octets);
        else
            take_report(s, octets);
        if (lost)
            hang_up(t);
        /* Whoever waits no more hears nothing either, and sends it again. */
        if (!lost && say(t, "250 2.0.0 taken\r\n"))
            continue;
        if (message != 0)
            s->allowed[message]++;
        else
            s->reports_allowed++;
        return false;
    }
    t->recipient_count = 0;
    return true;
}

/* False where nothing more can be done with what has come. */
static bool go_on(struct sink_session *t)
{
    ptrdiff_t end = str_find(buf_str(&t->heard), t->in_body ? END : STR("\r\n"));
    if (end < 0)
        return false;
    size_t size = (size_t)end + (t->in_body ? END.len : 2);
    struct str part = str_sub(buf_str(&t->heard), 0, size);
    if (!(t->in_body ? end_body(t, part) : command(t, part)))
        return false;
    buf_consume(&t->heard, size);
    return true;
}

static void on_heard(void *context, unsigned what)
{
    struct sink_session *t = context;
    char piece[16 * 1024];
    ssize_t n;
    (void)what;
    t->stalled |= chance(t->sink, 100);
    if (t->stalled) {
        watch_set(&t->watch, 0);
        return;
    }
    while (t->fd >= 0 && (n = recv(t->fd, piece, sizeof piece, 0)) != 0) {
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0)
            break;
        invariant(buf_append(&t->heard, piece, (size_t)n));
        while (go_on(t))
            ;
    }
    if (t->fd >= 0)
        hang_up(t);
}

static void on_connection(void *context, unsigned what)
{
    struct sink *s = context;
    int fd;
    (void)what;
    while ((fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        size_t i = 0;
        while (i < SINK_SESSIONS && s->sessions[i].fd >= 0)
            i++;
        if (i == SINK_SESSIONS || chance(s, 20)) {
            close(fd);
            continue;
        }
        struct sink_session *t = &s->sessions[i];
        *t = (struct sink_session){.sink = s, .fd = fd};
        buf_init(&t->heard, HEARD_MAX);
        watch_init(&t->watch, s->post->world->loop, fd, on_heard, t);
        watch_set(&t->watch, WATCH_READ);
        say(t, "220 sink.test\r\n");
    }
}

void sink_wake(struct sink *s)
{
    s->away = !s->friendly && (chance(s, 25) ? !s->away : s->away);
    for (size_t i = 0; i < SINK_SESSIONS; i++) {
        struct sink_session *t = &s->sessions[i];
        if (t->fd < 0 || !t->stalled || chance(s, 4))
            continue;
        t->stalled = false;
        watch_set(&t->watch, WATCH_READ);
    }
}

void sink_open(struct sink *s, struct post *post)
{
    struct socket_address address;
    *s = (struct sink){.post = post, .dsn = world_draw(post->world, 2)};
    for (size_t i = 0; i < SINK_SESSIONS; i++)
        s->sessions[i].fd = -1;
    snprintf(s->path, sizeof s->path, "%s/sink", post->world->folder);
    s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    invariant(socket_address_unix(str_from_c(s->path), &address));
    invariant(bind(s->listener, &address.any, address.len) == 0);
    invariant(listen(s->listener, SINK_SESSIONS) == 0);
    watch_init(&s->watch, post->world->loop, s->listener, on_connection, s);
    watch_set(&s->watch, WATCH_READ);
}

void sink_close(struct sink *s)
{
    for (size_t i = 0; i < SINK_SESSIONS; i++)
        if (s->sessions[i].fd >= 0)
            hang_up(&s->sessions[i]);
    watch_set(&s->watch, 0);
    close(s->listener);
    unlink(s->path);
}

/* ---- Looking ------------------------------------------------------------------------------------
 */

struct waiting {
    bool messages[POST_MESSAGES];
    size_t count, reports;
};

static void look(struct sink *s, struct waiting *ret)
{
    struct query *q = db_query(s->post->world->reader, "SELECT recipient FROM queue");
    *ret = (struct waiting){0};
    for (; query_next(q); ret->count++) {
        struct str words = query_bytes(q, 0);
        uint64_t message = 0;
        ptrdiff_t end = str_find_byte(words, '@');
        if (str_starts(words, STR("carol@")) || str_ends(words, STR("@sim.test")))
            ret->reports++; /* or will become one */
        else if (end > 1 &&
                 str_to_u64(str_sub(words, 1, (size_t)end - 1), POST_MESSAGES - 1, &message))
            ret->messages[message] = true;
        else
            world_wrong(s->post->world, "%.*s waits", STR_ARG(words));
    }
    if (query_end(q) != STATUS_OK)
        world_wrong(s->post->world, "the queue cannot be read");
}

static void allow_all(struct sink *s, const struct waiting *waiting)
{
    for (uint32_t m = 1; m <= s->post->count; m++)
        if (waiting->messages[m] && s->allowed[m] <= s->taken[m])
            s->allowed[m] = s->taken[m] + 1;
}

/* What is on its way comes still; what a stalled one has not read so far, maybe later. */
static void take_what_is_on_its_way(struct sink *s)
{
    for (size_t i = 0; i < SINK_SESSIONS; i++) {
        struct sink_session *t = &s->sessions[i];
        if (t->fd >= 0 && !t->stalled)
            on_heard(t, WATCH_READ);
    }
}

void sink_note_death(struct sink *s)
{
    struct waiting waiting;
    take_what_is_on_its_way(s);
    look(s, &waiting);
    world_note(s->post->world, "courier dies, %zu wait", waiting.count);
    for (uint32_t m = 1; m <= s->post->count; m++)
        if (waiting.messages[m] && s->taken[m] > s->allowed[m]) {
            s->allowed[m] = s->taken[m];
            s->caught++;
        }
    s->reports_allowed += waiting.reports;
    for (size_t i = 0; i < SINK_SESSIONS; i++)
        if (s->sessions[i].fd >= 0 && s->sessions[i].stalled)
            allow_all(s, &waiting);
}

uint32_t sink_some_waiting(struct sink *s)
{
    struct waiting waiting;
    look(s, &waiting);
    uint64_t skip = waiting.count > 0 ? world_draw(s->post->world, waiting.count) : 0;
    for (uint32_t m = 1; m <= s->post->count; m++)
        if (waiting.messages[m] && skip-- == 0)
            return m;
    return 0;
}

void sink_give_up(struct sink *s, uint32_t message, bool bounce)
{
    struct waiting waiting;
    look(s, &waiting);
    /* What a sender is at may come to wait while it is being done. */
    for (uint32_t m = 1; m <= s->post->count; m++)
        if ((waiting.messages[m] && (message == 0 || message == m)) ||
            (message == 0 && s->post->messages[m].busy))
            *(bounce ? &s->bounced[m] : &s->removed[m]) = true;
    /* Reports that wait go too, and what they tell of is not known here. */
    for (uint32_t m = 1; m <= s->post->count && message == 0 && waiting.reports > 0; m++)
        s->removed[m] = true;
}

/* A sender whose account was closed for a while. */
static bool cannot_be_told(const struct sink *s, const struct post_message *m)
{
    return m->sender != POST_CAROL && (s->post->ever_troubled >> (m->sender - POST_ACCOUNTS) & 1);
}

/* It cannot go on, and its sender was told, or is going to be, or did not want to be. */
static bool came_back(const struct sink *s, uint32_t message, const struct waiting *waiting)
{
    const struct post_message *m = &s->post->messages[message];
    if (!s->refused[message] && !s->bounced[message] && !m->tls_only)
        return false;
    return m->failed > 0 || waiting->reports > 0 || !post_wants_failure(s->post, message) ||
           cannot_be_told(s, m);
}

void sink_check(struct sink *s)
{
    struct waiting waiting;
    look(s, &waiting);
    for (uint32_t m = 1; m <= s->post->count; m++)
        if (s->post->messages[m].states[POST_ELSEWHERE] == POST_KEPT && s->taken[m] == 0 &&
            !waiting.messages[m] && !s->removed[m] && !came_back(s, m, &waiting))
            world_wrong(s->post->world, "message %u was answered 250 and is lost", m);
}

void sink_check_told(struct sink *s)
{
    for (uint32_t i = 1; i <= s->post->count; i++) {
        const struct post_message *m = &s->post->messages[i];
        unsigned expected = s->taken[i] > 0 && !s->dsn;
        for (int a = 0; a < (m->by_alias ? 1 : WORLD_ACCOUNTS); a++)
            expected += m->states[a] == POST_KEPT;
        if (s->taken[i] > 0 && m->failed > 0 && !s->bounced[i])
            world_wrong(s->post->world, "message %u came elsewhere, and failed", i);
        if (m->appended || !(m->notify & POST_NOTIFY_SUCCESS) || m->by_lmtp || m->excused ||
            s->removed[i] || s->bounced[i] || cannot_be_told(s, m))
            continue;
        if (m->delivered != expected)
            world_wrong(s->post->world,
                        "message %u (sender %u, notify %x) was told of as delivered to %u, not %u",
                        i, m->sender, m->notify, m->delivered, expected);
    }
}

size_t sink_awaits(struct sink *s)
{
    struct waiting waiting;
    look(s, &waiting);
    return waiting.count;
}
