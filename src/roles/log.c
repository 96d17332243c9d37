#include "roles/log.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bug.h"
#include "codec/date.h"
#include "codec/utf8.h"

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_init(struct log *log, int fd, enum ipc_role role)
{
    struct stat file = {0};
    bool is_socket = fstat(fd, &file) == 0 && S_ISSOCK(file.st_mode);
    *log = (struct log){.fd = fd, .is_socket = is_socket, .role = role, .least = LOG_INFO};
}

static void put_json_string(struct buf *out, struct str s)
{
    buf_append_byte(out, '"');
    while (s.len > 0) {
        struct str rest = s;
        uint32_t point;
        bool valid = utf8_next(&rest, &point);
        struct str taken = str_sub(s, 0, s.len - rest.len);
        s = rest;
        if (valid && !text_is_control(point)) {
            if (point == '"' || point == '\\')
                buf_append_byte(out, '\\');
            buf_append_str(out, taken);
            continue;
        }
        if (valid) { /* none of them is beyond the 16 bits that \u has */
            buf_printf(out, "\\u%04x", (unsigned)point);
            continue;
        }
        /* What is not UTF-8: each byte as the Latin-1 character of its number. */
        for (size_t i = 0; i < taken.len; i++)
            buf_printf(out, "\\u%04x", (unsigned char)taken.ptr[i]);
    }
    buf_append_byte(out, '"');
}

/* " key=" or ",\"key\":", but not in front of the first field. */
static void put_key(struct log_line *line, const char *key)
{
    struct buf *out = &line->out;
    if (line->log->json)
        buf_printf(out, "%s\"%s\":", out->len > 1 ? "," : "", key);
    else
        buf_printf(out, "%s%s=", out->len > 0 ? " " : "", key);
}

/* A field that does not fit is left out: the line stays a line. */
static void keep_if_whole(struct log_line *line, size_t before)
{
    if (!line->out.failed)
        return;
    line->out.failed = false;
    buf_truncate(&line->out, before);
}

void log_text(struct log_line *line, const char *key, struct text value)
{
    if (!line->log)
        return;
    size_t before = line->out.len;
    put_key(line, key);
    if (line->log->json)
        put_json_string(&line->out, str_sub(text_peek(value), 0, LOG_VALUE_SIZE));
    else
        text_to_log(&line->out, value, LOG_VALUE_SIZE);
    keep_if_whole(line, before);
}

void log_str(struct log_line *line, const char *key, struct str value)
{
    log_text(line, key, text_from(value));
}

void log_words(struct log_line *line, const char *key, const char *value)
{
    log_text(line, key, text_from(str_from_c(value)));
}

void log_number(struct log_line *line, const char *key, int64_t value)
{
    if (!line->log)
        return;
    size_t before = line->out.len;
    put_key(line, key);
    buf_printf(&line->out, "%lld", (long long)value);
    keep_if_whole(line, before);
}

void log_bool(struct log_line *line, const char *key, bool value)
{
    if (!line->log)
        return;
    size_t before = line->out.len;
    put_key(line, key);
    buf_append_str(&line->out, value ? STR("true") : STR("false"));
    keep_if_whole(line, before);
}

void log_begin(struct log_line *line, struct log *log, struct now now, enum log_level level,
               const char *event)
{
    *line = (struct log_line){0};
    if (!log || level < log->least)
        return;
    line->log = log;
    buf_init(&line->out, LOG_LINE_SIZE - 2); /* room for the end of the line */
    buf_reserve(&line->out, LOG_VALUE_SIZE);
    if (log->json)
        buf_append_byte(&line->out, '{');
    struct buf time;
    buf_init(&time, 64);
    date_format_iso(&time, now.wall_ms);
    log_str(line, "time", buf_str(&time));
    buf_release(&time);
    log_words(line, "level", level_names[level]);
    log_words(line, "role", ipc_role_name(log->role));
    log_words(line, "event", event);
    if (log->dropped > 0)
        log_number(line, "dropped", (int64_t)log->dropped);
}

/* A socket (journald's) can be told not to block; other descriptors are opened so. */
static bool write_line(const struct log *log, struct str line)
{
    ssize_t n = log->is_socket ? send(log->fd, line.ptr, line.len, MSG_DONTWAIT | MSG_NOSIGNAL)
                               : write(log->fd, line.ptr, line.len);
    return n == (ssize_t)line.len;
}

void log_end(struct log_line *line)
{
    struct log *log = line->log;
    if (!log)
        return;
    line->out.max = LOG_LINE_SIZE;
    buf_append_str(&line->out, log->json ? STR("}\n") : STR("\n"));
    if (!line->out.failed && write_line(log, buf_str(&line->out))) {
        log->dropped = 0;
    } else {
        log->dropped++;
        log->dropped_total++;
    }
    buf_release(&line->out);
}

void log_event(struct log *log, struct now now, enum log_level level, const char *event,
               const char *why)
{
    struct log_line line;
    log_begin(&line, log, now, level, event);
    log_words(&line, "why", why);
    log_end(&line);
}
