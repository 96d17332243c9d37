#include "cli/sendmail.h"

#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/arena.h"
#include "cli/cli.h"
#include "cli/sendmail_message.h"
#include "codec/conf.h"
#include "codec/utf8.h"
#include "io/files.h"
#include "io/loop.h"
#include "io/socket.h"
#include "mail/address.h"
#include "proto/smtp/client.h"
#include "roles/config.h"

enum { RECIPIENTS_SIZE_MAX = 1024 * 1024, NAME_SIZE_MAX = 1024, PIECE_SIZE = 16 * 1024 };

struct sendmail {
    FILE *out;
    FILE *err;
    struct arena arena;

    /* What was asked for. */
    const char *config_file;
    const char *sender; /* NULL: who calls */
    const char *full_name;
    bool recipients_in_header;
    bool ignore_dots;
    unsigned notify;
    enum smtp_ret ret;
    struct str envid;

    struct config config;
    struct str origin; /* the domain of addresses without one */
    struct str user;   /* address of who calls */
    struct str reverse_path;
    struct buf recipients; /* NULs between */
    struct buf message;
    int exit_code;
};

__attribute__((format(printf, 3, 4))) static int fail(struct sendmail *m, int code,
                                                      const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("sendmail: ", m->err);
    cli_vcomplain(m->err, format, args);
    va_end(args);
    m->exit_code = code;
    return code;
}

/* ---- Options ------------------------------------------------------------------------------------
 */

static bool take_notify(struct sendmail *m, const char *words)
{
    struct str rest = str_from_c(words), word;
    m->notify = str_eq_nocase(rest, STR("never")) ? SMTP_NOTIFY_NEVER : 0;
    while (m->notify != SMTP_NOTIFY_NEVER && str_split(&rest, ',', &word)) {
        unsigned bit = str_eq_nocase(word, STR("success"))   ? SMTP_NOTIFY_SUCCESS
                       : str_eq_nocase(word, STR("failure")) ? SMTP_NOTIFY_FAILURE
                       : str_eq_nocase(word, STR("delay"))   ? SMTP_NOTIFY_DELAY
                                                             : 0;
        if (bit == 0)
            return false;
        m->notify |= bit;
    }
    return m->notify != 0;
}

static bool take_ret(struct sendmail *m, const char *word)
{
    bool full = str_eq_nocase(str_from_c(word), STR("full"));
    m->ret = full ? SMTP_RET_FULL : SMTP_RET_HDRS;
    return full || str_eq_nocase(str_from_c(word), STR("hdrs"));
}

/* Options with a value. Those that only matter to other mailers are taken and mean nothing. */
static bool take_value(struct sendmail *m, char letter, const char *value)
{
    switch (letter) {
    case 'f':
    case 'r':
        m->sender = value;
        return true;
    case 'F':
        m->full_name = value;
        return true;
    case 'C':
        m->config_file = value;
        return true;
    case 'N':
        return take_notify(m, value);
    case 'R':
        return take_ret(m, value);
    case 'V':
        m->envid = str_from_c(value);
        return true;
    default:
        return true;
    }
}

/* Letters that stand together: "-ti". */
static void take_flags(struct sendmail *m, const char *letters)
{
    for (; *letters; letters++) {
        m->recipients_in_header |= *letters == 't';
        m->ignore_dots |= *letters == 'i';
    }
}

/* "--config FILE", as for every command; other mailers have no options like that. */
static bool take_long_option(struct sendmail *m, int argc, char **argv, int *i)
{
    struct str rest = str_from_c(argv[*i]), name;
    bool has_value = str_find_byte(rest, '=') >= 0;
    str_split(&rest, '=', &name);
    const char *value = has_value ? rest.ptr : *i + 1 < argc ? argv[*i + 1] : NULL;
    if (!str_eq(name, STR("--config")) || !value) {
        fail(m, EX_USAGE, value ? "there is no option %.*s" : "%.*s: a value is missing",
             STR_ARG(name));
        return false;
    }
    *i += has_value ? 0 : 1;
    m->config_file = value;
    return true;
}

/* argv[*i] is an option; false: m->exit_code is set. */
static bool take_option(struct sendmail *m, int argc, char **argv, int *i)
{
    const char *word = argv[*i] + 1;
    char letter = *word;
    if (letter == '-')
        return take_long_option(m, argc, argv, i);
    if (letter == 'b' && strcmp(word, "bm") != 0) {
        fail(m, EX_USAGE, "-%s: only -bm is known here; postern(1) has other commands", word);
        return false;
    }
    if (letter == 'o') {
        m->ignore_dots |= strcmp(word, "oi") == 0;
    } else if (strchr("frFCNRVBXLhpO", letter)) {
        const char *value = word[1] ? word + 1 : *i + 1 < argc ? argv[++*i] : NULL;
        if (!value || !take_value(m, letter, value)) {
            fail(m, EX_USAGE, "-%c: %s", letter, value ? "no such value" : "a value is missing");
            return false;
        }
    } else if (!strchr("bqdA", letter)) {
        take_flags(m, word);
    }
    return true;
}

/* Options first; what is left are recipients. Returns the index of the first, or -1. */
static int take_options(struct sendmail *m, int argc, char **argv)
{
    int i = 1;
    for (; i < argc && argv[i][0] == '-' && argv[i][1] != '\0'; i++) {
        if (strcmp(argv[i], "--") == 0)
            return i + 1;
        if (!take_option(m, argc, argv, &i))
            return -1;
    }
    return i;
}

/* ---- Who and whereto ----------------------------------------------------------------------------
 */

static bool read_config(struct sendmail *m)
{
    struct diag diag = {0};
    struct buf text;
    struct conf_errors errors;
    buf_init(&text, CONFIG_TEXT_SIZE_MAX);
    enum status_code status = files_read(m->config_file, &text, &diag);
    if (status != STATUS_OK) {
        fail(m, EX_CONFIG, "%s", diag.words);
    } else {
        conf_errors_init(&errors, &m->arena);
        status = config_parse(buf_str(&text), &m->arena, &m->config, &errors);
        if (status != STATUS_OK)
            fail(m, EX_CONFIG, "%s has errors: see postern config check", m->config_file);
    }
    buf_release(&text);
    return status == STATUS_OK;
}

/* The domain of who logs in without one; else what Debian's mailname(5) says; else this host. */
static void find_origin(struct sendmail *m)
{
    struct buf text;
    buf_init(&text, NAME_SIZE_MAX);
    m->origin = m->config.login_domain;
    if (str_empty(m->origin) && files_read("/etc/mailname", &text, NULL) == STATUS_OK &&
        !arena_dup(&m->arena, str_trim(buf_str(&text)), &m->origin))
        m->origin = STR("");
    if (str_empty(m->origin))
        m->origin = m->config.hostname;
    buf_release(&text);
}

/* One address: false where it is none. */
static bool complete_address(struct sendmail *m, struct str words, struct str *ret_address)
{
    struct buf out;
    struct str bad;
    buf_init(&out, NAME_SIZE_MAX);
    bool ok = sendmail_put_addresses(&out, words, m->origin, &bad) && out.len > 0 &&
              str_find_byte(buf_str(&out), '\0') < 0 &&
              arena_dup(&m->arena, buf_str(&out), ret_address);
    buf_release(&out);
    return ok;
}

static bool find_sender(struct sendmail *m)
{
    const struct passwd *who = getpwuid(getuid());
    char number[32];
    snprintf(number, sizeof number, "user-%u", (unsigned)getuid());
    if (!complete_address(m, str_from_c(who ? who->pw_name : number), &m->user) &&
        !complete_address(m, str_from_c(number), &m->user)) {
        fail(m, EX_CONFIG, "%.*s is no domain", STR_ARG(m->origin));
        return false;
    }
    m->reverse_path = m->user;
    if (!m->sender)
        return true;
    if (m->sender[0] == '\0' || strcmp(m->sender, "<>") == 0) {
        m->reverse_path = STR("");
        return true;
    }
    if (complete_address(m, str_from_c(m->sender), &m->reverse_path))
        return true;
    fail(m, EX_DATAERR, "%s is no address", m->sender);
    return false;
}

/* ---- The message --------------------------------------------------------------------------------
 */

static bool read_message(struct sendmail *m, FILE *in, struct buf *ret_text)
{
    const struct config_limits *limits = &m->config.limits;
    struct diag diag = {0};
    struct buf raw;
    buf_init(&raw, limits->message_size);
    buf_init(ret_text, 2 * limits->message_size);
    enum status_code status = files_read_fd(fileno(in), &raw, &diag);
    if (status == STATUS_TOO_BIG)
        fail(m, EX_DATAERR, "the message is larger than the server takes");
    else if (status != STATUS_OK)
        fail(m, EX_IOERR, "%s", diag.words);
    else if (!sendmail_read_text(ret_text, buf_str(&raw), limits->text_line_size, m->ignore_dots))
        fail(m, EX_OSERR, "out of memory");
    buf_release(&raw);
    return m->exit_code == EX_OK;
}

static bool list_recipients(struct sendmail *m, struct str header, int argc, char **argv)
{
    struct str bad = STR("");
    bool ok = true;
    for (int i = 0; ok && i < argc; i++)
        ok = sendmail_put_addresses(&m->recipients, str_from_c(argv[i]), m->origin, &bad);
    if (ok && m->recipients_in_header)
        ok = sendmail_put_header_addresses(&m->recipients, header, m->origin, &bad);
    if (!ok)
        fail(m, EX_DATAERR, "%.*s is no address", STR_ARG(bad));
    else if (m->recipients.len == 0)
        fail(m, EX_USAGE, "nobody is named to send it to");
    return m->exit_code == EX_OK;
}

static bool compose(struct sendmail *m, FILE *in, int argc, char **argv)
{
    struct buf text;
    if (!read_message(m, in, &text)) {
        buf_release(&text);
        return false;
    }
    struct sendmail_parts parts = sendmail_split(buf_str(&text));
    struct str from = str_empty(m->reverse_path) ? m->user : m->reverse_path;
    buf_init(&m->message, text.len + 2 * NAME_SIZE_MAX);
    if (list_recipients(m, parts.header, argc, argv) &&
        !sendmail_put_message(&m->message, &parts, from, str_from_c(m->full_name)))
        fail(m, EX_OSERR, "out of memory");
    buf_release(&text);
    return m->exit_code == EX_OK;
}

/* ---- The server ---------------------------------------------------------------------------------
 */

struct delivery {
    struct sendmail *mail;
    struct smtp_client *client;
    struct loop *loop; /* for its clock */
    int fd;
    struct smtp_client_message message;
    struct str body; /* what is still to be given */
    bool body_wanted;
    bool sent;
    bool closed;
};

static struct now now_of(struct delivery *d)
{
    loop_turn(d->loop, false);
    return loop_now(d->loop);
}

static bool describe(struct delivery *d)
{
    struct sendmail *m = d->mail;
    struct str rest = buf_str(&m->recipients), path;
    uint32_t count = 1;
    for (size_t i = 0; i < rest.len; i++)
        count += rest.ptr[i] == '\0';
    struct smtp_client_recipient *list = arena_alloc_array(&m->arena, count, sizeof *list);
    for (uint32_t i = 0; list && str_split(&rest, '\0', &path); i++)
        list[i] = (struct smtp_client_recipient){.path = path, .notify = m->notify};
    d->body = buf_str(&m->message);
    d->message = (struct smtp_client_message){
        .reverse_path = m->reverse_path,
        .size = d->body.len,
        .body = utf8_is_ascii(d->body) ? SMTP_BODY_7BIT : SMTP_BODY_8BITMIME,
        .utf8 = !utf8_is_ascii(buf_str(&m->recipients)) || !utf8_is_ascii(m->reverse_path),
        .envid = m->envid,
        .ret = m->ret,
        .recipients = list,
        .recipient_count = count,
    };
    return list != NULL;
}

/* A refusal that may pass is the mailer's to retry, and so goes before one that stays. */
static void note_result(struct delivery *d, const struct smtp_client_result *result)
{
    struct sendmail *m = d->mail;
    int before = m->exit_code;
    if (result->verdict == SMTP_CLIENT_TAKEN)
        return;
    bool is_final =
        result->verdict == SMTP_CLIENT_REFUSED || result->verdict == SMTP_CLIENT_LACKING;
    bool is_unknown = result->reply.subject == 1;
    fail(m,
         !is_final    ? EX_TEMPFAIL
         : is_unknown ? EX_NOUSER
                      : EX_UNAVAILABLE,
         "%.*s: %.*s", STR_ARG(d->message.recipients[result->index].path),
         STR_ARG(text_peek(result->reply.words)));
    if (before == EX_TEMPFAIL)
        m->exit_code = before;
}

static void handle(struct delivery *d, const struct smtp_client_event *event)
{
    switch (event->kind) {
    case SMTP_CLIENT_EVENT_READY:
        d->sent = true;
        smtp_client_send(d->client, &d->message, now_of(d));
        break;
    case SMTP_CLIENT_EVENT_BODY_WANTED:
        d->body_wanted = true;
        break;
    case SMTP_CLIENT_EVENT_RECIPIENT:
        note_result(d, &event->recipient);
        break;
    case SMTP_CLIENT_EVENT_MESSAGE_DONE:
        d->body_wanted = false;
        smtp_client_quit(d->client, now_of(d));
        break;
    case SMTP_CLIENT_EVENT_CLOSED:
        d->closed = true;
        if (!d->sent)
            fail(d->mail, EX_TEMPFAIL, "the server does not take it: %.*s",
                 STR_ARG(text_peek(event->closed.reply.words)));
        break;
    default: /* TLS and logging in are for the network */
        smtp_client_peer_gone(d->client, now_of(d));
    }
}

/* All that can be done without hearing from the server. */
static void talk(struct delivery *d)
{
    struct smtp_client_event event;
    bool moved = true;
    while (moved && !d->closed) {
        moved = false;
        for (; !d->closed && smtp_client_next(d->client, &event); moved = true)
            handle(d, &event);
        if (d->body_wanted) {
            size_t n = smtp_client_body(d->client, d->body, true, now_of(d));
            d->body_wanted = n < d->body.len;
            d->body = str_skip(d->body, n);
            moved = moved || n > 0;
        }
        struct str out = smtp_client_output(d->client);
        if (out.len == 0)
            continue;
        moved = true;
        if (files_write_all(d->fd, out) == STATUS_OK)
            smtp_client_output_done(d->client, out.len, now_of(d));
        else
            smtp_client_peer_gone(d->client, now_of(d));
    }
}

static void listen_to(struct delivery *d)
{
    char piece[PIECE_SIZE];
    int64_t deadline_ms = smtp_client_deadline(d->client), now_ms = now_of(d).mono_ms;
    int64_t wait_ms = deadline_ms == NEVER_MS ? -1 : deadline_ms - now_ms;
    struct pollfd watch = {.fd = d->fd, .events = POLLIN};
    if (wait_ms > 0 || deadline_ms == NEVER_MS)
        wait_ms = poll(&watch, 1, (int)wait_ms);
    if (wait_ms <= 0) {
        smtp_client_tick(d->client, now_of(d));
        return;
    }
    ssize_t n = read(d->fd, piece, sizeof piece);
    if (n <= 0) {
        smtp_client_peer_gone(d->client, now_of(d));
        return;
    }
    struct str rest = str_make(piece, (size_t)n);
    while (rest.len > 0 && !d->closed) {
        rest = str_skip(rest, smtp_client_input(d->client, rest, now_of(d)));
        talk(d);
    }
}

static void hand_over(struct sendmail *m, int fd)
{
    struct smtp_client_settings settings = {.hostname = m->config.hostname,
                                            .tls = SMTP_CLIENT_TLS_NO,
                                            .timeouts = smtp_client_timeouts_default};
    struct delivery d = {.mail = m, .fd = fd, .loop = loop_new()};
    if (d.loop)
        d.client = smtp_client_new(&settings, now_of(&d));
    if (!d.client || !describe(&d)) {
        fail(m, EX_OSERR, "out of memory");
    } else {
        talk(&d);
        while (!d.closed) {
            listen_to(&d);
            talk(&d);
        }
    }
    smtp_client_free(d.client);
    loop_free(d.loop);
}

/* The socket of the first listener for this. */
static bool connect_server(struct sendmail *m, int *ret_fd)
{
    struct diag diag = {0};
    for (size_t i = 0; i < m->config.listener_count; i++) {
        const struct config_listener *l = &m->config.listeners[i];
        if (l->at != LISTEN_AT_UNIX)
            continue;
        char path[200];
        if (!str_to_c(l->unix_path, path, sizeof path))
            continue;
        if (socket_connect_unix(path, ret_fd, &diag) == STATUS_OK)
            return true;
        fail(m, EX_TEMPFAIL, "the server does not answer: %s", diag.words);
        return false;
    }
    fail(m, EX_CONFIG, "%s has no \"listen sendmail unix:/path\"", m->config_file);
    return false;
}

static int run(struct sendmail *m, int argc, char **argv, FILE *in)
{
    int first = take_options(m, argc, argv), fd;
    if (first < 0 || !read_config(m))
        return m->exit_code;
    find_origin(m);
    if (!find_sender(m) || !compose(m, in, argc - first, argv + first) || !connect_server(m, &fd))
        return m->exit_code;
    hand_over(m, fd);
    close(fd);
    return m->exit_code;
}

int sendmail_main(int argc, char **argv, FILE *in, FILE *out, FILE *err)
{
    struct sendmail m = {.out = out, .err = err, .config_file = CLI_CONFIG_FILE, .full_name = ""};
    signal(SIGPIPE, SIG_IGN); /* a server that has gone is to be told of, not died of */
    arena_init(&m.arena, CONFIG_ARENA_SIZE + RECIPIENTS_SIZE_MAX * 16);
    buf_init(&m.recipients, RECIPIENTS_SIZE_MAX);
    buf_init(&m.message, 0);
    int code = run(&m, argc, argv, in);
    buf_release(&m.recipients);
    buf_release(&m.message);
    arena_reset(&m.arena);
    return code;
}
