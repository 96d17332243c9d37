#include "store/wal_gather.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "base/testing.h"

/* A VFS below whose one file is memory. */
enum { FILE_SIZE = 4096 };

static struct {
    char octets[FILE_SIZE];
    unsigned writes, syncs;
    int fails; /* what the next writes come to */
} disk;

static int memory_close(sqlite3_file *f)
{
    (void)f;
    return SQLITE_OK;
}

static int memory_read(sqlite3_file *f, void *out, int len, sqlite3_int64 offset)
{
    (void)f;
    memcpy(out, disk.octets + offset, (size_t)len);
    return SQLITE_OK;
}

static int memory_write(sqlite3_file *f, const void *data, int len, sqlite3_int64 offset)
{
    (void)f;
    if (disk.fails != SQLITE_OK)
        return disk.fails;
    memcpy(disk.octets + offset, data, (size_t)len);
    disk.writes++;
    return SQLITE_OK;
}

static int memory_sync(sqlite3_file *f, int flags)
{
    (void)f;
    (void)flags;
    disk.syncs++;
    return SQLITE_OK;
}

static const sqlite3_io_methods memory_methods = {
    .iVersion = 1,
    .xClose = memory_close,
    .xRead = memory_read,
    .xWrite = memory_write,
    .xSync = memory_sync,
};

static int memory_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *ret)
{
    (void)vfs;
    (void)name;
    (void)flags;
    (void)ret;
    f->pMethods = &memory_methods;
    return SQLITE_OK;
}

static sqlite3_file *open_file(int flags)
{
    static sqlite3_vfs memory = {
        .iVersion = 1, .szOsFile = sizeof(sqlite3_file), .zName = "memory", .xOpen = memory_open};
    assert_int_equal(sqlite3_vfs_register(&memory, 0), SQLITE_OK);
    sqlite3_vfs *layer = sqlite3_vfs_find(wal_gather("memory"));
    assert_non_null(layer);
    sqlite3_file *f = calloc(1, (size_t)layer->szOsFile);
    assert_non_null(f);
    assert_int_equal(layer->xOpen(layer, "x", f, flags, NULL), SQLITE_OK);
    memset(&disk, 0, sizeof disk);
    return f;
}

static void close_file(sqlite3_file *f)
{
    assert_int_equal(f->pMethods->xClose(f), SQLITE_OK);
    free(f);
}

static void put(sqlite3_file *f, const char *words, sqlite3_int64 offset)
{
    assert_int_equal(f->pMethods->xWrite(f, words, (int)strlen(words), offset), SQLITE_OK);
}

static void expect(sqlite3_file *f, sqlite3_int64 offset, const char *words)
{
    char out[64] = {0};
    assert_int_equal(f->pMethods->xRead(f, out, (int)strlen(words), offset), SQLITE_OK);
    assert_string_equal(out, words);
}

static void what_a_commit_writes_is_one_write_before_its_sync(void **state)
{
    (void)state;
    sqlite3_file *f = open_file(SQLITE_OPEN_WAL);
    put(f, "head", 32);
    put(f, "page", 36);
    put(f, "more", 40);
    put(f, "PAGE", 36); /* over what is gathered */
    assert_int_equal(disk.writes, 0);
    assert_int_equal(f->pMethods->xSync(f, SQLITE_SYNC_NORMAL), SQLITE_OK);
    assert_int_equal(disk.writes, 1);
    assert_int_equal(disk.syncs, 1);
    assert_memory_equal(disk.octets + 32, "headPAGEmore", 12);
    assert_int_equal(f->pMethods->xSync(f, SQLITE_SYNC_NORMAL), SQLITE_OK);
    assert_int_equal(disk.writes, 1);
    close_file(f);
}

static void what_is_elsewhere_is_a_write_of_its_own(void **state)
{
    (void)state;
    sqlite3_file *f = open_file(SQLITE_OPEN_WAL);
    put(f, "one", 100);
    put(f, "two", 50);
    assert_int_equal(disk.writes, 1);
    put(f, "three", 48); /* laps over the beginning of it */
    assert_int_equal(f->pMethods->xSync(f, SQLITE_SYNC_NORMAL), SQLITE_OK);
    assert_memory_equal(disk.octets + 48, "three", 5);
    assert_memory_equal(disk.octets + 100, "one", 3);
    close_file(f);
}

static void reads_see_what_was_written(void **state)
{
    (void)state;
    sqlite3_file *f = open_file(SQLITE_OPEN_WAL);
    put(f, "below", 10);
    assert_int_equal(f->pMethods->xSync(f, SQLITE_SYNC_NORMAL), SQLITE_OK);
    put(f, "gathered", 15);
    expect(f, 15, "gathered");
    expect(f, 10, "below");
    assert_int_equal(disk.writes, 1);
    expect(f, 10, "belowgathered");
    close_file(f);
}

static void a_full_disk_is_the_failure_of_the_commit_and_of_no_other(void **state)
{
    (void)state;
    sqlite3_file *f = open_file(SQLITE_OPEN_WAL);
    put(f, "lost", 0);
    disk.fails = SQLITE_FULL;
    assert_int_equal(f->pMethods->xSync(f, SQLITE_SYNC_NORMAL), SQLITE_FULL);
    assert_int_equal(disk.syncs, 0);
    disk.fails = SQLITE_OK;
    put(f, "ok", 0);
    assert_int_equal(f->pMethods->xSync(f, SQLITE_SYNC_NORMAL), SQLITE_OK);
    assert_memory_equal(disk.octets, "ok\0\0", 4);
    close_file(f);
}

static void other_files_pass_through(void **state)
{
    (void)state;
    sqlite3_file *f = open_file(SQLITE_OPEN_MAIN_DB);
    put(f, "page", 0);
    assert_int_equal(disk.writes, 1);
    close_file(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_commit_writes_is_one_write_before_its_sync),
        cmocka_unit_test(what_is_elsewhere_is_a_write_of_its_own),
        cmocka_unit_test(reads_see_what_was_written),
        cmocka_unit_test(a_full_disk_is_the_failure_of_the_commit_and_of_no_other),
        cmocka_unit_test(other_files_pass_through),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
