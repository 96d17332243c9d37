#include "sim/vfs_fault.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"

enum { FILES_MAX = 8, NAME_SIZE = 128, SECTOR = 512, REGIONS_MAX = 64, SLOTS = SQLITE_SHM_NLOCK };

/* A write or, where data is NULL, a truncation to `offset`, that no sync has made certain. */
struct change {
    struct change *next;
    uint64_t offset;
    size_t len;
    uint8_t *data;
};

struct image {
    uint8_t *data;
    uint64_t len;
    uint64_t cap;
};

struct disk_file {
    char name[NAME_SIZE];
    bool exists;
    struct image current; /* what reads see */
    struct image certain; /* what the medium has for sure */
    struct change *changes;
    struct change **changes_end;
    void *regions[REGIONS_MAX];
    unsigned shared[SLOTS];
    bool exclusive[SLOTS];
    unsigned lockers; /* connections with a lock on the file itself */
    bool locked;      /* one of them has it alone */
};

struct connection {
    sqlite3_file base;
    struct disk_file *file;
    uint16_t shared; /* bits of slots this connection holds */
    uint16_t exclusive;
    int level;
};

static struct {
    struct disk_file files[FILES_MAX];
    enum fault fault;
    uint64_t at;
    uint64_t calls;
    bool was_full;
    bool dead;
    bool struck;
    uint64_t seed;
    uint64_t digest;
} disk;

/* ---- Images ------------------------------------------------------------------------------------
 */

static void image_resize(struct image *image, uint64_t len)
{
    if (len > image->cap) {
        image->cap = len * 2;
        image->data = realloc(image->data, image->cap);
        if (!image->data)
            bug("no memory for the simulated disk");
    }
    if (len > image->len)
        memset(image->data + image->len, 0, len - image->len);
    image->len = len;
}

static void image_write(struct image *image, uint64_t offset, const uint8_t *data, size_t len)
{
    if (offset + len > image->len)
        image_resize(image, offset + len);
    memcpy(image->data + offset, data, len);
}

static void apply(struct image *image, const struct change *change)
{
    if (change->data)
        image_write(image, change->offset, change->data, change->len);
    else
        image_resize(image, change->offset);
}

/* ---- Changes -----------------------------------------------------------------------------------
 */

static void note_change(struct disk_file *file, uint64_t offset, const void *data, size_t len)
{
    struct change *change = calloc(1, sizeof *change);
    if (!change || (data && !(change->data = malloc(len ? len : 1))))
        bug("no memory for the simulated disk");
    change->offset = offset;
    change->len = len;
    disk.digest = (disk.digest ^ offset ^ len) * 0x9E3779B97F4A7C15u;
    for (size_t i = 0; data && i < len; i++)
        disk.digest = (disk.digest ^ ((const uint8_t *)data)[i]) * 0x100000001B3u;
    if (data)
        memcpy(change->data, data, len);
    *file->changes_end = change;
    file->changes_end = &change->next;
    apply(&file->current, change);
}

static void drop_changes(struct disk_file *file)
{
    for (struct change *c = file->changes, *next; c; c = next) {
        next = c->next;
        free(c->data);
        free(c);
    }
    file->changes = NULL;
    file->changes_end = &file->changes;
}

static void make_certain(struct disk_file *file)
{
    for (const struct change *c = file->changes; c; c = c->next)
        apply(&file->certain, c);
    drop_changes(file);
}

static uint64_t draw(void)
{
    disk.seed ^= disk.seed << 13;
    disk.seed ^= disk.seed >> 7;
    disk.seed ^= disk.seed << 17;
    return disk.seed;
}

/* Some sectors of a change reach the medium: none, all, or each by the toss of a coin. */
static void survive(struct image *image, const struct change *change, unsigned luck)
{
    if (!change->data) {
        if (draw() % 2)
            apply(image, change);
        return;
    }
    for (size_t at = 0; at < change->len;) {
        size_t len = SECTOR - (change->offset + at) % SECTOR;
        if (len > change->len - at)
            len = change->len - at;
        if (luck == 0 ? false : luck == 1 ? true : draw() % 2)
            image_write(image, change->offset + at, change->data + at, len);
        at += len;
    }
}

/* ---- Faults ------------------------------------------------------------------------------------
 */

enum call { CALL_WRITE, CALL_GROW, CALL_SYNC, CALL_TRUNCATE };

/* Counts a call; not SQLITE_OK: it fails. */
static int strike(enum call call)
{
    if (disk.dead)
        return SQLITE_IOERR;
    disk.calls++;
    if (disk.fault == FAULT_NONE || disk.calls < disk.at)
        return SQLITE_OK;
    switch (disk.fault) {
    case FAULT_POWER:
        disk.struck = disk.dead = true;
        return SQLITE_IOERR;
    case FAULT_FULL:
        disk.was_full = disk.was_full || call == CALL_GROW;
        disk.struck = disk.struck || call == CALL_GROW;
        return call == CALL_GROW ? SQLITE_FULL : SQLITE_OK;
    case FAULT_SYNC:
        if (disk.struck || call != CALL_SYNC)
            return SQLITE_OK;
        disk.struck = true;
        return SQLITE_IOERR_FSYNC;
    default:
        if (disk.struck || (call != CALL_WRITE && call != CALL_GROW))
            return SQLITE_OK;
        disk.struck = true;
        return SQLITE_IOERR_WRITE;
    }
}

/* ---- Files: sqlite3_io_methods ------------------------------------------------------------------
 */

static struct connection *connection_of(sqlite3_file *f)
{
    return (struct connection *)(void *)f;
}

static int file_read(sqlite3_file *f, void *out, int len, sqlite3_int64 offset)
{
    const struct image *image = &connection_of(f)->file->current;
    uint64_t have = (uint64_t)offset < image->len ? image->len - (uint64_t)offset : 0;
    if (disk.dead)
        return SQLITE_IOERR_READ;
    size_t take = have < (uint64_t)len ? (size_t)have : (size_t)len;
    if (take > 0)
        memcpy(out, image->data + offset, take);
    memset((char *)out + take, 0, (size_t)len - take);
    return take == (size_t)len ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

static int file_write(sqlite3_file *f, const void *data, int len, sqlite3_int64 offset)
{
    struct disk_file *file = connection_of(f)->file;
    bool grows = (uint64_t)offset + (uint64_t)len > file->current.len;
    bool was_dead = disk.dead;
    int result = strike(grows ? CALL_GROW : CALL_WRITE);
    if (result == SQLITE_OK)
        note_change(file, (uint64_t)offset, data, (size_t)len);
    else if (result != SQLITE_FULL && !was_dead)
        note_change(file, (uint64_t)offset, data, (size_t)len / 2);
    return result;
}

static int file_truncate(sqlite3_file *f, sqlite3_int64 len)
{
    int result = strike(CALL_TRUNCATE);
    if (result == SQLITE_OK)
        note_change(connection_of(f)->file, (uint64_t)len, NULL, 0);
    return result;
}

static int file_sync(sqlite3_file *f, int flags)
{
    (void)flags;
    bool was_dead = disk.dead;
    int result = strike(CALL_SYNC);
    if (result == SQLITE_OK)
        make_certain(connection_of(f)->file);
    else if (!was_dead && !disk.dead)
        /* As Linux does it: reads go on to see what no later sync will write. */
        drop_changes(connection_of(f)->file);
    return result;
}

static int file_size(sqlite3_file *f, sqlite3_int64 *ret_size)
{
    *ret_size = (sqlite3_int64)connection_of(f)->file->current.len;
    return disk.dead ? SQLITE_IOERR_FSTAT : SQLITE_OK;
}

/*
 * In WAL mode every connection keeps a shared lock, and the last one to close gets an exclusive
 * one: then it may remove the WAL.
 */
static int file_lock(sqlite3_file *f, int level)
{
    struct connection *c = connection_of(f);
    if (c->level == SQLITE_LOCK_NONE && level > SQLITE_LOCK_NONE) {
        if (c->file->locked)
            return SQLITE_BUSY;
        c->file->lockers++;
        c->level = SQLITE_LOCK_SHARED;
    }
    if (level == SQLITE_LOCK_EXCLUSIVE) {
        if (c->file->lockers > 1)
            return SQLITE_BUSY;
        c->file->locked = true;
    }
    c->level = level > c->level ? level : c->level;
    return SQLITE_OK;
}

static int file_unlock(sqlite3_file *f, int level)
{
    struct connection *c = connection_of(f);
    if (c->level == SQLITE_LOCK_EXCLUSIVE && level < SQLITE_LOCK_EXCLUSIVE)
        c->file->locked = false;
    if (c->level > SQLITE_LOCK_NONE && level == SQLITE_LOCK_NONE)
        c->file->lockers--;
    c->level = level;
    return SQLITE_OK;
}

static int file_close(sqlite3_file *f)
{
    return file_unlock(f, SQLITE_LOCK_NONE);
}

static int file_check_reserved(sqlite3_file *f, int *ret_reserved)
{
    (void)f;
    *ret_reserved = 0;
    return SQLITE_OK;
}

static int file_control(sqlite3_file *f, int op, void *arg)
{
    (void)f;
    (void)op;
    (void)arg;
    return SQLITE_NOTFOUND;
}

static int file_sector_size(sqlite3_file *f)
{
    (void)f;
    return 4096;
}

/* As SQLite takes a real disk to be. */
static int file_characteristics(sqlite3_file *f)
{
    (void)f;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

/* ---- Shared memory
 * ------------------------------------------------------------------------------- */

static int shm_map(sqlite3_file *f, int region, int size, int extend, void volatile **ret_region)
{
    struct disk_file *file = connection_of(f)->file;
    *ret_region = NULL;
    if (disk.dead || region >= REGIONS_MAX)
        return SQLITE_IOERR_SHMMAP;
    if (!file->regions[region] && extend)
        file->regions[region] = calloc(1, (size_t)size);
    *ret_region = file->regions[region];
    return SQLITE_OK;
}

static int shm_lock(sqlite3_file *f, int first, int count, int flags)
{
    struct connection *c = connection_of(f);
    struct disk_file *file = c->file;
    uint16_t mask = (uint16_t)(((1u << count) - 1) << first);
    bool exclusive = flags & SQLITE_SHM_EXCLUSIVE;
    for (int i = first; i < first + count && flags & SQLITE_SHM_LOCK; i++) {
        uint16_t bit = (uint16_t)(1u << i);
        if (file->exclusive[i] && !(c->exclusive & bit))
            return SQLITE_BUSY;
        if (exclusive && file->shared[i] > (c->shared & bit ? 1u : 0u))
            return SQLITE_BUSY;
    }
    for (int i = first; i < first + count; i++) {
        uint16_t bit = (uint16_t)(1u << i);
        bool take = flags & SQLITE_SHM_LOCK;
        if (exclusive)
            file->exclusive[i] = take;
        else if (take != !!(c->shared & bit))
            file->shared[i] += take ? 1u : -1u;
    }
    uint16_t *held = exclusive ? &c->exclusive : &c->shared;
    *held = (uint16_t)(flags & SQLITE_SHM_LOCK ? *held | mask : *held & ~mask);
    return SQLITE_OK;
}

static void shm_barrier(sqlite3_file *f)
{
    (void)f;
}

static void forget_memory(struct disk_file *file)
{
    for (int i = 0; i < REGIONS_MAX; i++) {
        free(file->regions[i]);
        file->regions[i] = NULL;
    }
    memset(file->shared, 0, sizeof file->shared);
    memset(file->exclusive, 0, sizeof file->exclusive);
}

static int shm_unmap(sqlite3_file *f, int delete)
{
    struct connection *c = connection_of(f);
    for (int i = 0; i < SLOTS; i++) {
        c->file->shared[i] -= c->shared >> i & 1;
        if (c->exclusive >> i & 1)
            c->file->exclusive[i] = false;
    }
    c->shared = c->exclusive = 0;
    /* Only the last connection deletes, and it holds the file's exclusive lock. */
    if (delete)
        forget_memory(c->file);
    return SQLITE_OK;
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_check_reserved,
    .xFileControl = file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_characteristics,
    .xShmMap = shm_map,
    .xShmLock = shm_lock,
    .xShmBarrier = shm_barrier,
    .xShmUnmap = shm_unmap,
};

/* ---- The VFS
 * -------------------------------------------------------------------------------------- */

static struct disk_file *find_file(const char *name)
{
    for (int i = 0; i < FILES_MAX; i++)
        if (disk.files[i].exists && strcmp(disk.files[i].name, name) == 0)
            return &disk.files[i];
    return NULL;
}

static struct disk_file *make_file(const char *name)
{
    for (int i = 0; i < FILES_MAX; i++) {
        struct disk_file *file = &disk.files[i];
        if (file->exists)
            continue;
        snprintf(file->name, sizeof file->name, "%s", name);
        file->exists = true;
        file->changes_end = &file->changes;
        return file;
    }
    bug("too many files on the simulated disk");
}

static void remove_file(struct disk_file *file)
{
    drop_changes(file);
    forget_memory(file);
    free(file->current.data);
    free(file->certain.data);
    *file = (struct disk_file){0};
}

static int vfs_open(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *f, int flags,
                    int *ret_flags)
{
    (void)vfs;
    struct connection *c = connection_of(f);
    struct disk_file *file = find_file(name ? name : "temporary");
    *c = (struct connection){0};
    if (disk.dead || (!file && !(flags & SQLITE_OPEN_CREATE)))
        return SQLITE_CANTOPEN;
    c->file = file ? file : make_file(name ? name : "temporary");
    c->base.pMethods = &methods;
    if (ret_flags)
        *ret_flags = flags;
    return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync_folder)
{
    (void)vfs;
    (void)sync_folder;
    struct disk_file *file = find_file(name);
    if (disk.dead)
        return SQLITE_IOERR_DELETE;
    if (file)
        remove_file(file);
    return file ? SQLITE_OK : SQLITE_IOERR_DELETE_NOENT;
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret_there)
{
    (void)vfs;
    (void)flags;
    *ret_there = find_file(name) != NULL;
    return SQLITE_OK;
}

static int vfs_full_path(sqlite3_vfs *vfs, const char *name, int size, char *out)
{
    (void)vfs;
    snprintf(out, (size_t)size, "%s", name);
    return SQLITE_OK;
}

static int vfs_randomness(sqlite3_vfs *vfs, int size, char *out)
{
    (void)vfs;
    for (int i = 0; i < size; i++)
        out[i] = (char)(i * 37 + 11);
    return size;
}

static int vfs_sleep(sqlite3_vfs *vfs, int us)
{
    (void)vfs;
    return us;
}

static int vfs_time(sqlite3_vfs *vfs, sqlite3_int64 *ret_ms)
{
    (void)vfs;
    *ret_ms = 210866803200000;
    return SQLITE_OK;
}

static int vfs_last_error(sqlite3_vfs *vfs, int size, char *out)
{
    (void)vfs;
    (void)size;
    (void)out;
    return 0;
}

static sqlite3_vfs fault_vfs = {
    .iVersion = 2,
    .szOsFile = sizeof(struct connection),
    .mxPathname = NAME_SIZE - 1,
    .zName = VFS_FAULT_NAME,
    .xOpen = vfs_open,
    .xDelete = vfs_delete,
    .xAccess = vfs_access,
    .xFullPathname = vfs_full_path,
    .xRandomness = vfs_randomness,
    .xSleep = vfs_sleep,
    .xGetLastError = vfs_last_error,
    .xCurrentTimeInt64 = vfs_time,
};

/* ---- For the world
 * -------------------------------------------------------------------------------- */

void disk_init(void)
{
    sqlite3_vfs_register(&fault_vfs, 0);
    disk_clear();
}

void disk_clear(void)
{
    for (int i = 0; i < FILES_MAX; i++)
        if (disk.files[i].exists)
            remove_file(&disk.files[i]);
    disk.calls = 0;
    disk.dead = disk.struck = false;
    disk.fault = FAULT_NONE;
}

void disk_set_fault(enum fault fault, uint64_t at)
{
    disk.fault = fault;
    disk.at = disk.calls + at;
    disk.struck = false;
}

uint64_t disk_calls(void)
{
    return disk.calls;
}

uint64_t disk_digest(void)
{
    return disk.digest;
}

bool disk_was_full(void)
{
    bool was_full = disk.was_full;
    disk.was_full = false;
    return was_full;
}

bool disk_struck(void)
{
    return disk.struck;
}

void disk_die(void)
{
    disk.dead = true;
}

void disk_process_died(void)
{
    for (int i = 0; i < FILES_MAX; i++)
        if (disk.files[i].exists)
            forget_memory(&disk.files[i]);
    disk.dead = false;
    disk.fault = FAULT_NONE;
}

void disk_power_cut(uint64_t seed)
{
    disk.seed = seed * 2 + 0x9E3779B97F4A7C15u;
    disk_process_died();
    unsigned luck = (unsigned)(draw() % 4);
    for (int i = 0; i < FILES_MAX; i++) {
        struct disk_file *file = &disk.files[i];
        if (!file->exists)
            continue;
        for (const struct change *c = file->changes; c; c = c->next)
            survive(&file->certain, c, luck);
        drop_changes(file);
        image_resize(&file->current, 0);
        if (file->certain.len > 0)
            image_write(&file->current, 0, file->certain.data, file->certain.len);
    }
}
