#include "store/wal_gather.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

enum {
    GATHERED_MAX = 1024 * 1024, /* a larger commit takes several writes */
    KEPT_SIZE = 256 * 1024,
    WRITTEN_MAX = 0x1f000, /* the system's VFS takes at most 0x1ffff at once */
    NAME_SIZE = 64,
};

/* In memory of SQLite's, with the file of the VFS below behind it. */
struct wal {
    sqlite3_file file; /* first: what SQLite sees */
    sqlite3_file *below;
    struct buf gathered; /* what belongs at `at` in the file below, and is not there yet */
    sqlite3_int64 at;
};

struct layer {
    sqlite3_vfs vfs; /* first */
    sqlite3_vfs *below;
    char name[NAME_SIZE];
};

static struct wal *wal_of(sqlite3_file *f)
{
    return (struct wal *)(void *)f;
}

static sqlite3_file *below_of(sqlite3_file *f)
{
    return wal_of(f)->below;
}

/* What could not be written stays gathered. */
static int flush(struct wal *w)
{
    for (struct str left = buf_str(&w->gathered); left.len > 0;) {
        struct str piece = str_sub(left, 0, WRITTEN_MAX);
        sqlite3_int64 offset = w->at + (piece.ptr - w->gathered.ptr);
        int result = w->below->pMethods->xWrite(w->below, piece.ptr, (int)piece.len, offset);
        if (result != SQLITE_OK)
            return result;
        left = str_skip(left, piece.len);
    }
    if (w->gathered.cap > KEPT_SIZE)
        buf_release(&w->gathered);
    buf_clear(&w->gathered);
    return SQLITE_OK;
}

/* How the octets from `offset` on lie to what is gathered. */
static bool is_inside(const struct wal *w, sqlite3_int64 offset, int len)
{
    return offset >= w->at && offset + len <= w->at + (sqlite3_int64)w->gathered.len;
}

static bool is_outside(const struct wal *w, sqlite3_int64 offset, int len)
{
    return offset >= w->at + (sqlite3_int64)w->gathered.len || offset + len <= w->at;
}

static int wal_write(sqlite3_file *f, const void *data, int len, sqlite3_int64 offset)
{
    struct wal *w = wal_of(f);
    if (w->gathered.len > 0 && is_inside(w, offset, len)) {
        memcpy(w->gathered.ptr + (offset - w->at), data, (size_t)len);
        return SQLITE_OK;
    }
    bool follows = offset == w->at + (sqlite3_int64)w->gathered.len;
    if (!follows || w->gathered.len + (size_t)len > GATHERED_MAX) {
        int result = flush(w);
        if (result != SQLITE_OK)
            return result;
    }
    if (w->gathered.len == 0)
        w->at = offset;
    char *room = buf_reserve(&w->gathered, (size_t)len);
    if (!room) {
        w->gathered.failed = false;
        return SQLITE_NOMEM;
    }
    memcpy(room, data, (size_t)len);
    buf_grown(&w->gathered, (size_t)len);
    return SQLITE_OK;
}

static int wal_read(sqlite3_file *f, void *out, int len, sqlite3_int64 offset)
{
    struct wal *w = wal_of(f);
    if (w->gathered.len > 0 && is_inside(w, offset, len)) {
        memcpy(out, w->gathered.ptr + (offset - w->at), (size_t)len);
        return SQLITE_OK;
    }
    int result = is_outside(w, offset, len) ? SQLITE_OK : flush(w);
    return result == SQLITE_OK ? w->below->pMethods->xRead(w->below, out, len, offset) : result;
}

/* A commit that fails here is undone by SQLite: its frames are nobody's any more. */
static int wal_sync(sqlite3_file *f, int flags)
{
    int result = flush(wal_of(f));
    buf_clear(&wal_of(f)->gathered);
    return result == SQLITE_OK ? below_of(f)->pMethods->xSync(below_of(f), flags) : result;
}

static int wal_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    int result = flush(wal_of(f));
    return result == SQLITE_OK ? below_of(f)->pMethods->xTruncate(below_of(f), size) : result;
}

static int wal_size(sqlite3_file *f, sqlite3_int64 *ret_size)
{
    int result = flush(wal_of(f));
    return result == SQLITE_OK ? below_of(f)->pMethods->xFileSize(below_of(f), ret_size) : result;
}

/* What is still gathered belongs to no commit. */
static int wal_close(sqlite3_file *f)
{
    buf_release(&wal_of(f)->gathered);
    return below_of(f)->pMethods->xClose(below_of(f));
}

static int wal_lock(sqlite3_file *f, int level)
{
    return below_of(f)->pMethods->xLock(below_of(f), level);
}

static int wal_unlock(sqlite3_file *f, int level)
{
    return below_of(f)->pMethods->xUnlock(below_of(f), level);
}

static int wal_is_reserved(sqlite3_file *f, int *ret_reserved)
{
    return below_of(f)->pMethods->xCheckReservedLock(below_of(f), ret_reserved);
}

static int wal_control(sqlite3_file *f, int op, void *argument)
{
    return below_of(f)->pMethods->xFileControl(below_of(f), op, argument);
}

static int wal_sector_size(sqlite3_file *f)
{
    return below_of(f)->pMethods->xSectorSize(below_of(f));
}

static int wal_characteristics(sqlite3_file *f)
{
    return below_of(f)->pMethods->xDeviceCharacteristics(below_of(f));
}

/* Version 1: a WAL is not mapped and has no index of its own. */
static const sqlite3_io_methods wal_methods = {
    .iVersion = 1,
    .xClose = wal_close,
    .xRead = wal_read,
    .xWrite = wal_write,
    .xTruncate = wal_truncate,
    .xSync = wal_sync,
    .xFileSize = wal_size,
    .xLock = wal_lock,
    .xUnlock = wal_unlock,
    .xCheckReservedLock = wal_is_reserved,
    .xFileControl = wal_control,
    .xSectorSize = wal_sector_size,
    .xDeviceCharacteristics = wal_characteristics,
};

/* Other files are those of the VFS below, which finds room enough for its own. */
static int layer_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags,
                      int *ret_flags)
{
    sqlite3_vfs *below = ((struct layer *)(void *)vfs)->below;
    if ((flags & SQLITE_OPEN_WAL) == 0)
        return below->xOpen(below, name, f, flags, ret_flags);
    struct wal *w = wal_of(f);
    *w = (struct wal){.below = (sqlite3_file *)(void *)(w + 1)};
    int result = below->xOpen(below, name, w->below, flags, ret_flags);
    if (result != SQLITE_OK)
        return result;
    buf_init(&w->gathered, GATHERED_MAX);
    w->file.pMethods = &wal_methods;
    return SQLITE_OK;
}

const char *wal_gather(const char *below_name)
{
    sqlite3_vfs *below = sqlite3_vfs_find(below_name);
    if (!below)
        return NULL;
    char name[NAME_SIZE];
    snprintf(name, sizeof name, "gather-%s", below->zName);
    sqlite3_vfs *known = sqlite3_vfs_find(name);
    if (known)
        return known->zName;
    struct layer *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    /* The other functions of the VFS below look for nothing of their own in the VFS given. */
    l->vfs = *below;
    l->below = below;
    memcpy(l->name, name, sizeof name);
    l->vfs.pNext = NULL;
    l->vfs.zName = l->name;
    l->vfs.szOsFile += (int)sizeof(struct wal);
    l->vfs.xOpen = layer_open;
    if (sqlite3_vfs_register(&l->vfs, 0) == SQLITE_OK)
        return l->name;
    free(l);
    return NULL;
}
