#include "base/status.h"

#include <errno.h>

#include "base/bug.h"

static const struct {
    const char *name;
    bool temporary;
} table[STATUS_COUNT] = {
    [STATUS_OK] = {"ok", false},
    [STATUS_NO_MEMORY] = {"out of memory", true},
    [STATUS_IO] = {"input/output error", true},
    [STATUS_DISK_FULL] = {"disk full", true},
    [STATUS_BUSY] = {"busy", true},
    [STATUS_GONE] = {"peer process gone", true},
    [STATUS_TIMEOUT] = {"timed out", true},
    [STATUS_CORRUPT] = {"corrupt data", true},
    [STATUS_NOT_FOUND] = {"not found", false},
    [STATUS_EXISTS] = {"exists already", false},
    [STATUS_DENIED] = {"denied", false},
    [STATUS_INVALID] = {"invalid", false},
    [STATUS_OVER_QUOTA] = {"over quota", true},
    [STATUS_TOO_BIG] = {"too big", false},
    [STATUS_UNSUPPORTED] = {"not supported", false},
};

bool status_is_temporary(enum status_code code)
{
    invariant(code >= 0 && code < STATUS_COUNT);
    return table[code].temporary;
}

const char *status_name(enum status_code code)
{
    invariant(code >= 0 && code < STATUS_COUNT);
    return table[code].name;
}

enum status_code status_from_errno(int error)
{
    switch (error) {
    case 0:
        return STATUS_OK;
    case ENOMEM:
        return STATUS_NO_MEMORY;
    case ENOSPC:
    case EDQUOT:
        return STATUS_DISK_FULL;
    case EAGAIN:
    case EBUSY:
        return STATUS_BUSY;
    case EPIPE:
    case ECONNRESET:
        return STATUS_GONE;
    case ETIMEDOUT:
        return STATUS_TIMEOUT;
    case ENOENT:
        return STATUS_NOT_FOUND;
    case EEXIST:
        return STATUS_EXISTS;
    case EACCES:
    case EPERM:
        return STATUS_DENIED;
    default:
        return STATUS_IO;
    }
}
