#ifndef POSTERN_ROLES_LOG_H
#define POSTERN_ROLES_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/now.h"
#include "base/str.h"
#include "base/text.h"
#include "ipc/ipc_messages.h"

/*
 * One line an event, as logfmt or JSON:
 *
 *   time=2026-01-02T03:04:05.678Z level=info role=edge event=accepted id=01J… from=a@b size=123
 *
 * A line is one write(2) to a descriptor and never holds serving up: where the reader is too slow
 * it is dropped and counted, and the next line that gets through says how many were. No body and
 * no password is ever put into one.
 *
 *   struct log_line line;
 *   log_begin(&line, log, now, LOG_INFO, "accepted");
 *   log_str(&line, "id", id);
 *   log_text(&line, "from", reverse_path);
 *   log_end(&line);
 */
enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

struct log {
    int fd;
    bool is_socket;
    enum ipc_role role;
    bool json;
    enum log_level least; /* lines below it are not written */
    uint64_t dropped;     /* since the last line that got through */
    uint64_t dropped_total;
};

/* fd is not owned; INFO, logfmt. */
void log_init(struct log *log, int fd, enum ipc_role role);

enum { LOG_LINE_SIZE = 4096, LOG_VALUE_SIZE = 512 };

struct log_line {
    struct log *log; /* NULL where the line will not be written */
    struct buf out;
};

/* event: lower-case words with dashes. */
void log_begin(struct log_line *line, struct log *log, struct now now, enum log_level level,
               const char *event);

/* Keys are literals. str and text are quoted alike; longer than LOG_VALUE_SIZE is cut. */
void log_str(struct log_line *line, const char *key, struct str value);
void log_text(struct log_line *line, const char *key, struct text value);
void log_words(struct log_line *line, const char *key, const char *value);
void log_number(struct log_line *line, const char *key, int64_t value);
void log_bool(struct log_line *line, const char *key, bool value);
void log_end(struct log_line *line);

/* A whole event that has no more than an explanation. */
void log_event(struct log *log, struct now now, enum log_level level, const char *event,
               const char *why);

#endif
