/*
 * smtp_sink: an SMTP server that takes every message, throws it away, and notes when it had it. One
 * thread, epoll; it offers PIPELINING, CHUNKING, 8BITMIME, SMTPUTF8, SIZE and DSN. It ends at
 * SIGTERM.
 *
 *     smtp_sink HOST PORT LOG
 *
 * LOG gets a line for each message when its last octet has come, in front of the 250:
 *
 *     MICROSECONDS MESSAGE-ID RECIPIENT...
 *
 * (CLOCK_MONOTONIC, as smtp_load's, so that both can be compared). It is written out within 50 ms.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    IN_SIZE = 64 << 10,
    OUT_SIZE = 64 << 10,
    ID_SIZE = 256,
    NAMES_SIZE = 8 << 10,
    FLUSH_MS = 50
};

enum step { STEP_COMMAND, STEP_DATA, STEP_CHUNK };

struct session {
    int fd;
    enum step step;
    bool in_header;  /* of the message that is coming */
    bool line_begun; /* STEP_DATA: what is at hand continues a line */
    bool chunk_is_last;
    size_t chunk_left;
    bool ends;
    char id[ID_SIZE];
    char names[NAMES_SIZE];
    size_t names_len;
    size_t in_len, out_len;
    char in[IN_SIZE], out[OUT_SIZE];
};

static FILE *log_file;
static volatile sig_atomic_t is_over;

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "smtp_sink: %s: %s\n", what, strerror(errno));
    exit(1);
}

static long long now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void on_signal(int number)
{
    (void)number;
    is_over = 1;
}

static void reply(struct session *s, const char *text)
{
    size_t len = strlen(text);
    if (s->out_len + len > sizeof s->out)
        s->ends = true; /* it sends and sends, and reads no reply */
    else
        memcpy(s->out + s->out_len, text, len), s->out_len += len;
}

static void message_begins(struct session *s)
{
    s->in_header = true;
    s->line_begun = false;
    strcpy(s->id, "-");
}

static void message_ends(struct session *s)
{
    fprintf(log_file, "%lld %s%.*s\n", now_us(), s->id, (int)s->names_len, s->names);
    s->names_len = 0;
    reply(s, "250 2.0.0 Taken\r\n");
}

/* A line of a header, or what there is of it. */
static void header_line(struct session *s, const char *line, size_t len)
{
    static const char name[] = "message-id:";
    if (len == 0)
        s->in_header = false;
    if (len < sizeof name || strncasecmp(line, name, sizeof name - 1) != 0)
        return;
    for (line += sizeof name - 1, len -= sizeof name - 1; len > 0 && *line == ' '; len--)
        line++;
    snprintf(s->id, sizeof s->id, "%.*s", (int)len, line);
}

static void add_name(struct session *s, const char *line)
{
    const char *begin = strchr(line, '<'), *end = strchr(line, '>');
    if (!begin || !end || s->names_len + (size_t)(end - begin) > sizeof s->names) {
        reply(s, "501 5.5.4 No\r\n");
        return;
    }
    s->names[s->names_len++] = ' ';
    memcpy(s->names + s->names_len, begin + 1, (size_t)(end - begin) - 1);
    s->names_len += (size_t)(end - begin) - 1;
    reply(s, "250 2.1.5 Ok\r\n");
}

static void chunk_ends(struct session *s)
{
    s->step = STEP_COMMAND;
    if (s->chunk_is_last)
        message_ends(s);
    else
        reply(s, "250 2.0.0 Ok\r\n");
}

static void begin_chunk(struct session *s, const char *line)
{
    char *end;
    s->chunk_left = strtoul(line, &end, 10);
    s->chunk_is_last = strcasecmp(end, " LAST") == 0;
    if (!s->id[0])
        message_begins(s);
    s->step = STEP_CHUNK;
    if (s->chunk_left == 0)
        chunk_ends(s);
}

static void on_command(struct session *s, const char *line)
{
    if (strncasecmp(line, "EHLO", 4) == 0 || strncasecmp(line, "LHLO", 4) == 0) {
        reply(s, "250-sink.test\r\n250-PIPELINING\r\n250-SIZE 104857600\r\n250-8BITMIME\r\n"
                 "250-SMTPUTF8\r\n250-DSN\r\n250-ENHANCEDSTATUSCODES\r\n250 CHUNKING\r\n");
    } else if (strncasecmp(line, "HELO", 4) == 0) {
        reply(s, "250 sink.test\r\n");
    } else if (strncasecmp(line, "MAIL", 4) == 0) {
        s->names_len = 0;
        s->id[0] = '\0';
        reply(s, "250 2.1.0 Ok\r\n");
    } else if (strncasecmp(line, "RCPT", 4) == 0) {
        add_name(s, line);
    } else if (strncasecmp(line, "DATA", 4) == 0) {
        message_begins(s);
        s->step = STEP_DATA;
        reply(s, "354 Go\r\n");
    } else if (strncasecmp(line, "BDAT ", 5) == 0) {
        begin_chunk(s, line + 5);
    } else if (strncasecmp(line, "QUIT", 4) == 0) {
        s->ends = true;
        reply(s, "221 2.0.0 Bye\r\n");
    } else {
        reply(s, "250 2.0.0 Ok\r\n");
    }
}

/* Takes one line or what there is of it; how many octets that was, 0 where it must wait. */
static size_t take_line(struct session *s, char *at, size_t len)
{
    char *end = memchr(at, '\n', len);
    size_t line_len = end ? (size_t)(end - at) + 1 : len;
    size_t text_len = line_len;
    while (text_len > 0 && (at[text_len - 1] == '\n' || at[text_len - 1] == '\r'))
        text_len--;
    if (s->step == STEP_COMMAND && end) {
        at[text_len] = '\0';
        on_command(s, at);
        return line_len;
    }
    if (s->step == STEP_COMMAND || (!end && len < IN_SIZE && !s->line_begun))
        return 0;
    if (!s->line_begun && end && text_len == 1 && at[0] == '.') {
        s->step = STEP_COMMAND;
        message_ends(s);
    } else if (s->in_header && !s->line_begun) {
        header_line(s, at, text_len);
    }
    s->line_begun = !end;
    return line_len;
}

/* Looks at the whole lines of the header there are; how many octets those were. */
static size_t chunk_header(struct session *s, const char *at, size_t len)
{
    const char *line = at;
    for (const char *end; s->in_header && (end = memchr(line, '\n', (size_t)(at + len - line)));
         line = end + 1)
        header_line(s, line, (size_t)(end - line) - (end > line && end[-1] == '\r'));
    return (size_t)(line - at);
}

static size_t take_chunk(struct session *s, const char *at, size_t len)
{
    size_t take = len < s->chunk_left ? len : s->chunk_left;
    size_t whole = s->in_header ? chunk_header(s, at, take) : take;
    if (s->in_header && take < s->chunk_left && take < IN_SIZE)
        take = whole;
    s->chunk_left -= take;
    if (s->chunk_left == 0)
        chunk_ends(s);
    return take;
}

static void take_all(struct session *s)
{
    size_t at = 0, took = 1;
    while (!s->ends && took > 0 && at < s->in_len) {
        took = s->step == STEP_CHUNK ? take_chunk(s, s->in + at, s->in_len - at)
                                     : take_line(s, s->in + at, s->in_len - at);
        at += took;
    }
    memmove(s->in, s->in + at, s->in_len - at);
    s->in_len -= at;
}

/* Replies are small and few: what does not fit into the socket's buffer ends the session. */
static bool flush(struct session *s)
{
    size_t len = s->out_len;
    s->out_len = 0;
    return len == 0 || send(s->fd, s->out, len, MSG_NOSIGNAL) == (ssize_t)len;
}

static void on_input(struct session *s)
{
    ssize_t n = recv(s->fd, s->in + s->in_len, sizeof s->in - s->in_len, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n > 0) {
        s->in_len += (size_t)n;
        take_all(s);
    }
    if (!flush(s) || n <= 0 || s->ends || s->in_len == sizeof s->in) {
        close(s->fd);
        free(s);
    }
}

static void on_connection(int epoll_fd, int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), one = 1;
    if (fd < 0)
        return;
    struct session *s = malloc(sizeof *s);
    if (!s)
        die("memory");
    /* Not zeroed as a whole: most of the buffers is never touched. */
    memset(s, 0, offsetof(struct session, names));
    s->fd = fd;
    s->names_len = s->in_len = s->out_len = 0;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = s};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        die("epoll_ctl");
    reply(s, "220 sink.test ESMTP\r\n");
    flush(s);
}

static int listen_at(const char *host, const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    if (fd < 0 || inet_pton(AF_INET, host, &address.sin_addr) != 1)
        die("bad host");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 1024) < 0)
        die("listen");
    return fd;
}

static void serve(int epoll_fd, int listener)
{
    struct epoll_event events[64];
    long long flushed_us = now_us();
    while (!is_over) {
        int n = epoll_wait(epoll_fd, events, 64, FLUSH_MS);
        if (n < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr)
                on_input(events[i].data.ptr);
            else
                on_connection(epoll_fd, listener);
        }
        if (now_us() - flushed_us >= FLUSH_MS * 1000LL) {
            fflush(log_file);
            flushed_us = now_us();
        }
    }
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: smtp_sink HOST PORT LOG\n");
        return 2;
    }
    log_file = fopen(argv[3], "w");
    if (!log_file)
        die(argv[3]);
    signal(SIGTERM, on_signal);
    int listener = listen_at(argv[1], argv[2]), epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    if (epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event) < 0)
        die("epoll");
    serve(epoll_fd, listener);
    return fclose(log_file) == 0 ? 0 : 1;
}
