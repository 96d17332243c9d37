/*
 * smtp_load: SMTP sessions that send distinct messages as fast as the server takes them, for a
 * bounded time or count. One thread, epoll; MAIL, RCPT and DATA are pipelined where the server
 * offers it (RFC 2920), the body goes after the 354. Bodies are slices of a large text made from a
 * seed: no two are the same, and they compress about as mail does. Prints one line of JSON.
 *
 *     smtp_load HOST PORT SESSIONS SIZE SECONDS COUNT-MAX RECIPIENT[,RECIPIENT...] [RATE [LOG]]
 *
 * A # in a recipient becomes the message's number modulo 1,000: so many domains, or people.
 * RATE: messages a second are begun at that rate, each by a session that has nothing to do (0: by
 * each as soon as it can). LOG gets "MICROSECONDS MESSAGE-ID" (CLOCK_MONOTONIC) for each 250.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    CORPUS_SIZE = 32 << 20,
    WORDS = 6000,
    MESSAGES_PER_CONNECTION = 100,
    SESSIONS_MAX = 4096,
    SAMPLES_MAX = 4 << 20,
    SILENCE_MS = 30000,
    RECIPIENTS_MAX = 64,
    NUMBERED = 1000,
};

enum step { STEP_GREETING, STEP_EHLO, STEP_IDLE, STEP_ENVELOPE, STEP_DOT };

struct session {
    int fd;
    enum step step;
    int replies_left;
    int sent_here;
    bool waits_to_write;
    bool pipelining; /* it is offered */
    uint64_t number;
    int64_t started_us;
    char envelope[1100];
    size_t envelope_at;
    char line[600];
    size_t line_len;
    char *out;
    size_t out_len, out_at, out_cap;
};

static struct {
    struct sockaddr_in server;
    size_t size;
    double rate;
    FILE *log;
    struct session *idle[SESSIONS_MAX];
    size_t idle_count;
    int64_t begin_us;
    int64_t end_us;
    uint64_t count_max, started, accepted, refused;
    char *recipients[RECIPIENTS_MAX];
    size_t recipient_count;
    char *corpus;
    uint64_t seed, run;
    uint32_t *samples;
    size_t sample_count;
    int epoll_fd;
    size_t open;
} load;

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "smtp_load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static uint64_t draw(void)
{
    load.seed ^= load.seed << 13;
    load.seed ^= load.seed >> 7;
    load.seed ^= load.seed << 17;
    return load.seed;
}

/* Words of a skewed vocabulary, in lines of about 72 octets: zstd halves it, as it does mail. */
static void make_corpus(void)
{
    static char words[WORDS][12];
    static const char letters[] = "etaoinshrdlucmfwypvbgkjqxz";
    for (int i = 0; i < WORDS; i++) {
        size_t len = 2 + draw() % 9;
        for (size_t k = 0; k < len; k++)
            words[i][k] = letters[(draw() % 26 * (draw() % 26)) / 26];
        words[i][len] = '\0';
    }
    load.corpus = malloc(CORPUS_SIZE);
    if (!load.corpus)
        die("memory");
    size_t at = 0, column = 0;
    while (at < CORPUS_SIZE - 16) {
        uint64_t r = draw() % WORDS;
        const char *word = words[r * (draw() % WORDS) / WORDS];
        size_t len = strlen(word);
        memcpy(load.corpus + at, word, len);
        at += len;
        column += len + 1;
        if (column > 68) {
            memcpy(load.corpus + at, "\r\n", 2);
            at += 2;
            column = 0;
        } else {
            load.corpus[at++] = draw() % 23 ? ' ' : ',';
        }
    }
    memset(load.corpus + at, '\n', CORPUS_SIZE - at);
}

static void out_append(struct session *s, const void *ptr, size_t len)
{
    if (s->out_len + len > s->out_cap) {
        s->out_cap = (s->out_len + len) * 2;
        s->out = realloc(s->out, s->out_cap);
        if (!s->out)
            die("memory");
    }
    memcpy(s->out + s->out_len, ptr, len);
    s->out_len += len;
}

static void out_line(struct session *s, const char *text)
{
    out_append(s, text, strlen(text));
}

static void recipient_of(uint64_t number, char *out, size_t size)
{
    const char *wanted = load.recipients[number % load.recipient_count];
    const char *mark = strchr(wanted, '#');
    if (mark)
        snprintf(out, size, "%.*s%llu%s", (int)(mark - wanted), wanted,
                 (unsigned long long)(number % NUMBERED), mark + 1);
    else
        snprintf(out, size, "%s", wanted);
}

/* The envelope's next command, or all of them. */
static void queue_commands(struct session *s)
{
    const char *at = s->envelope + s->envelope_at;
    size_t len = s->pipelining ? strlen(at) : (size_t)(strchr(at, '\n') - at) + 1;
    out_append(s, at, len);
    s->envelope_at += len;
}

static void queue_envelope(struct session *s)
{
    char recipient[512];
    s->number = load.started++;
    recipient_of(s->number, recipient, sizeof recipient);
    snprintf(s->envelope, sizeof s->envelope,
             "MAIL FROM:<sender%llu@load.test>\r\nRCPT TO:<%s>\r\nDATA\r\n",
             (unsigned long long)(s->number % 997), recipient);
    s->envelope_at = 0;
    queue_commands(s);
    s->step = STEP_ENVELOPE;
    s->replies_left = 3;
    s->started_us = now_us();
}

static void queue_body(struct session *s)
{
    char head[600];
    int len = snprintf(
        head, sizeof head,
        "From: Sender <sender%llu@load.test>\r\nTo: <%s>\r\n"
        "Subject: message %llu of the load\r\n"
        "Date: Thu, 01 Jan 2026 12:00:00 +0000\r\n"
        "Message-ID: <%llx.%llx@load.test>\r\nMIME-Version: 1.0\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n\r\n",
        (unsigned long long)(s->number % 997), load.recipients[s->number % load.recipient_count],
        (unsigned long long)s->number, (unsigned long long)s->number, (unsigned long long)load.run);
    size_t want = load.size > (size_t)len ? load.size - (size_t)len : 1;
    size_t at = draw() % (CORPUS_SIZE - want - 200);
    while (load.corpus[at - (at > 0)] != '\n' && at > 0)
        at--;
    out_append(s, head, (size_t)len);
    out_append(s, load.corpus + at, want);
    if (load.corpus[at + want - 1] == '\r')
        s->out_len--;
    out_line(s, "\r\n.\r\n");
    s->step = STEP_DOT;
    s->replies_left = 1;
}

static void session_close(struct session *s)
{
    close(s->fd);
    s->fd = -1;
    load.open--;
}

static void session_open(struct session *s)
{
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->fd < 0 || connect(s->fd, (struct sockaddr *)&load.server, sizeof load.server) < 0)
        die("connect");
    int one = 1;
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(s->fd, F_SETFL, O_NONBLOCK);
    s->step = STEP_GREETING;
    s->replies_left = 1;
    s->sent_here = 0;
    s->waits_to_write = s->pipelining = false;
    s->line_len = s->out_len = s->out_at = 0;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = s};
    if (epoll_ctl(load.epoll_fd, EPOLL_CTL_ADD, s->fd, &event) < 0)
        die("epoll_ctl");
    load.open++;
}

static bool is_over(void)
{
    return load.started >= load.count_max || now_us() >= load.end_us;
}

/* The next message, where it is its time. */
static void session_ready(struct session *s)
{
    if (load.rate == 0) {
        queue_envelope(s);
        return;
    }
    s->step = STEP_IDLE;
    load.idle[load.idle_count++] = s;
}

static void session_quit(struct session *s)
{
    if (write(s->fd, "QUIT\r\n", 6) < 0 && errno != EAGAIN && errno != EPIPE)
        die("write");
    session_close(s);
}

/* Begins the messages that are due at the offered rate, as far as there are idle sessions. */
static void begin_due(void)
{
    while (load.idle_count > 0 && !is_over() &&
           (double)load.started < (double)(now_us() - load.begin_us) * load.rate / 1e6)
        queue_envelope(load.idle[--load.idle_count]);
    while (load.idle_count > 0 && is_over())
        session_quit(load.idle[--load.idle_count]);
}

static void message_done(struct session *s, bool kept)
{
    int64_t now = now_us();
    if (kept && load.sample_count < SAMPLES_MAX)
        load.samples[load.sample_count++] = (uint32_t)(now - s->started_us);
    if (kept && load.log)
        fprintf(load.log, "%lld <%llx.%llx@load.test>\n", (long long)now,
                (unsigned long long)s->number, (unsigned long long)load.run);
    *(kept ? &load.accepted : &load.refused) += 1;
    s->sent_here++;
    if (!is_over() && s->sent_here < MESSAGES_PER_CONNECTION) {
        session_ready(s);
        return;
    }
    session_quit(s);
    if (!is_over())
        session_open(s);
}

/* One whole reply has come; its last line starts at line. */
static void on_reply(struct session *s, const char *line)
{
    bool good = line[0] == '2' || line[0] == '3';
    if (!good && s->step != STEP_DOT) {
        fprintf(stderr, "smtp_load: unexpected reply: %.100s\n", line);
        exit(1);
    }
    if (!good && load.refused == 0)
        fprintf(stderr, "smtp_load: first refusal: %.100s\n", line);
    if (--s->replies_left > 0) {
        if (s->step == STEP_ENVELOPE && s->envelope[s->envelope_at])
            queue_commands(s);
        return;
    }
    switch (s->step) {
    case STEP_GREETING:
        out_line(s, "EHLO load.test\r\n");
        s->step = STEP_EHLO;
        s->replies_left = 1;
        break;
    case STEP_EHLO:
        session_ready(s);
        break;
    case STEP_IDLE:
        break;
    case STEP_ENVELOPE:
        queue_body(s);
        break;
    case STEP_DOT:
        message_done(s, good);
        break;
    }
}

static void flush(struct session *s)
{
    while (s->fd >= 0 && s->out_at < s->out_len) {
        ssize_t n = send(s->fd, s->out + s->out_at, s->out_len - s->out_at, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            die("send");
        if (n < 0)
            break;
        s->out_at += (size_t)n;
    }
    if (s->fd < 0)
        return;
    bool more = s->out_at < s->out_len;
    if (!more)
        s->out_at = s->out_len = 0;
    if (more == s->waits_to_write)
        return;
    s->waits_to_write = more;
    struct epoll_event event = {.events = more ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = s};
    if (epoll_ctl(load.epoll_fd, EPOLL_CTL_MOD, s->fd, &event) < 0)
        die("epoll_ctl");
}

static void on_input(struct session *s)
{
    char in[4096];
    ssize_t n = recv(s->fd, in, sizeof in, 0);
    if (n <= 0)
        die("the server closed the connection");
    for (ssize_t i = 0; i < n && s->fd >= 0; i++) {
        if (s->line_len < sizeof s->line - 1)
            s->line[s->line_len++] = in[i];
        if (in[i] != '\n')
            continue;
        s->line[s->line_len] = '\0';
        bool last = s->line_len > 3 && s->line[3] != '-';
        s->line_len = 0;
        if (s->step == STEP_EHLO && strstr(s->line, "PIPELINING"))
            s->pipelining = true;
        if (last)
            on_reply(s, s->line);
    }
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void print_result(int64_t took_us)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    qsort(load.samples, load.sample_count, sizeof *load.samples, compare);
    size_t n = load.sample_count;
    printf("{\"accepted\": %llu, \"refused\": %llu, \"seconds\": %.3f, \"rate\": %.1f, "
           "\"p50_us\": %u, \"p99_us\": %u, \"client_cpu_s\": %.3f}\n",
           (unsigned long long)load.accepted, (unsigned long long)load.refused,
           (double)took_us / 1e6, (double)load.accepted * 1e6 / (double)took_us,
           n ? load.samples[n / 2] : 0, n ? load.samples[n * 99 / 100] : 0,
           (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
               (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6);
}

static void run(struct session *sessions, size_t count)
{
    struct epoll_event events[64];
    for (size_t i = 0; i < count; i++)
        session_open(&sessions[i]);
    int64_t heard_us = now_us();
    while (load.open > 0) {
        int n = epoll_wait(load.epoll_fd, events, 64, load.rate > 0 ? 1 : SILENCE_MS);
        if (n < 0 && errno != EINTR)
            die("epoll_wait");
        if (n > 0 || load.idle_count == load.open)
            heard_us = now_us();
        else if (now_us() - heard_us > SILENCE_MS * 1000LL)
            die("no answer within 30 s");
        for (int i = 0; i < n; i++) {
            struct session *s = events[i].data.ptr;
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                on_input(s);
            flush(s);
        }
        size_t idle = load.idle_count;
        begin_due();
        for (size_t i = load.idle_count; i < idle; i++)
            flush(load.idle[i]);
    }
}

int main(int argc, char **argv)
{
    static struct session sessions[SESSIONS_MAX];
    if (argc < 8 || argc > 10) {
        fprintf(stderr, "usage: smtp_load HOST PORT SESSIONS SIZE SECONDS COUNT-MAX RECIPIENTS "
                        "[RATE [LOG]]\n");
        return 2;
    }
    size_t count = strtoul(argv[3], NULL, 10);
    load.server.sin_family = AF_INET;
    load.server.sin_port = htons((uint16_t)strtoul(argv[2], NULL, 10));
    if (inet_pton(AF_INET, argv[1], &load.server.sin_addr) != 1 || count < 1 ||
        count > SESSIONS_MAX) {
        fprintf(stderr, "smtp_load: bad host or number of sessions\n");
        return 2;
    }
    load.size = strtoul(argv[4], NULL, 10);
    load.count_max = strtoull(argv[6], NULL, 10);
    for (char *list = argv[7], *name;
         (name = strsep(&list, ",")) && load.recipient_count < RECIPIENTS_MAX;)
        load.recipients[load.recipient_count++] = name;
    load.rate = argc > 8 ? strtod(argv[8], NULL) : 0;
    if (argc > 9 && !(load.log = fopen(argv[9], "w")))
        die(argv[9]);
    load.seed = load.run = (uint64_t)now_us() | 1;
    load.samples = calloc(SAMPLES_MAX, sizeof *load.samples);
    load.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    make_corpus();
    int64_t start = load.begin_us = now_us();
    load.end_us = start + (int64_t)strtoul(argv[5], NULL, 10) * 1000000;
    run(sessions, count);
    print_result(now_us() - start);
    if (load.log && fclose(load.log) != 0)
        die("log");
    return load.refused > 0;
}
