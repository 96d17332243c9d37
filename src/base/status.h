#ifndef POSTERN_BASE_STATUS_H
#define POSTERN_BASE_STATUS_H

#include <stdbool.h>

/*
 * How an attempt at the world went (disk, memory, another process). A bug is not a status (see
 * bug.h), and a peer's mistake is not one either (it is a protocol value). Every status says
 * whether trying again may help; the table in status.c is the only place that decides it. A
 * function that returns one is declared MUST_USE.
 */
#define MUST_USE __attribute__((warn_unused_result))

enum status_code {
    STATUS_OK,
    STATUS_NO_MEMORY,   /* memory or a memory budget is spent */
    STATUS_IO,          /* a system call failed */
    STATUS_DISK_FULL,   /* no space, or a quota of the file system */
    STATUS_BUSY,        /* somebody else holds it now */
    STATUS_GONE,        /* the other process, or the channel to it, went away */
    STATUS_TIMEOUT,     /* no answer in time */
    STATUS_CORRUPT,     /* stored or sent bytes are not what they must be */
    STATUS_NOT_FOUND,   /* no such thing */
    STATUS_EXISTS,      /* there is one already */
    STATUS_DENIED,      /* not allowed */
    STATUS_INVALID,     /* the request makes no sense */
    STATUS_OVER_QUOTA,  /* the account's quota is spent */
    STATUS_TOO_BIG,     /* over a limit of limits.h or the configuration */
    STATUS_UNSUPPORTED, /* a format or version we do not speak */
    STATUS_COUNT
};

/* True where the same attempt may succeed later (an SMTP 4xx), false where it cannot (5xx). */
bool status_is_temporary(enum status_code code);

/* A few lower-case words, static: "disk full". */
const char *status_name(enum status_code code);

/* The status for an errno value. */
enum status_code status_from_errno(int error);

#endif
