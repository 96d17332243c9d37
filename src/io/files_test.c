#include "io/files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/testing.h"

static char folder[] = "/tmp/postern-files-XXXXXX";
static char path[100];

/* Stands in for the C library's: what was synced, and whether the file was in its place by then. */
static char synced[4];
static size_t synced_count;

int fsync(int fd)
{
    struct stat st;
    bool is_folder = fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
    if (synced_count < sizeof synced)
        synced[synced_count++] = is_folder ? 'd' : access(path, F_OK) == 0 ? 'F' : 'f';
    return (int)syscall(SYS_fsync, fd);
}

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/file", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static void a_file_is_replaced_whole_and_read_whole(void **state)
{
    (void)state;
    struct diag diag = {0};
    struct stat st;
    struct buf content;
    buf_init(&content, 100);
    assert_int_equal(files_write(path, STR("first, and longer"), 0644, &diag), STATUS_OK);
    assert_int_equal(files_write(path, STR("second\0half"), 0600, &diag), STATUS_OK);
    assert_int_equal(files_read(path, &content, &diag), STATUS_OK);
    assert_true(str_eq(buf_str(&content), STR("second\0half")));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_string_equal(diag.words, "");
    buf_release(&content);
}

/* Its content before it takes the name, and then the name. */
static void a_file_that_was_written_is_on_disk(void **state)
{
    (void)state;
    struct diag diag = {0};
    unlink(path);
    synced_count = 0;
    assert_int_equal(files_write(path, STR("x"), 0600, &diag), STATUS_OK);
    assert_int_equal(synced_count, 2);
    assert_memory_equal(synced, "fd", 2);
}

static void what_cannot_be_read_says_why(void **state)
{
    (void)state;
    struct diag diag = {0};
    struct buf content;
    buf_init(&content, 4);
    assert_int_equal(files_read("/nonexistent/x", &content, &diag), STATUS_NOT_FOUND);
    assert_string_equal(diag.words, "/nonexistent/x: No such file or directory");
    diag = (struct diag){0};
    assert_int_equal(files_write(path, STR("12345"), 0600, &diag), STATUS_OK);
    assert_int_equal(files_read(path, &content, &diag), STATUS_TOO_BIG);
    assert_non_null(strstr(diag.words, "too big"));
    buf_clear(&content);
    assert_int_equal(files_write(path, STR("1234"), 0600, &diag), STATUS_OK);
    assert_int_equal(files_read(path, &content, &diag), STATUS_OK);
    assert_true(str_eq(buf_str(&content), STR("1234")));
    buf_release(&content);
}

static void a_lock_is_held_by_one_process(void **state)
{
    (void)state;
    struct diag diag = {0};
    int fd;
    pid_t holder = 0;
    assert_int_equal(files_lock(path, &fd, &holder, &diag), STATUS_OK);
    pid_t child = fork();
    if (child == 0) {
        int other;
        enum status_code status = files_lock(path, &other, &holder, &diag);
        _exit(status == STATUS_BUSY && holder == getppid() ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    close(fd);
}

static void what_others_can_change_is_not_ours(void **state)
{
    (void)state;
    struct diag diag = {0};
    assert_int_equal(files_write(path, STR("x"), 0644, &diag), STATUS_OK);
    assert_int_equal(files_check_owners(path, &diag), STATUS_OK);
    assert_int_equal(files_check_owners("/tmp", &diag), STATUS_DENIED);
    assert_int_equal(files_check_owners("tmp", &diag), STATUS_INVALID);
    assert_int_equal(files_check_owners("/nonexistent/x", &diag), STATUS_NOT_FOUND);
    assert_int_equal(chmod(path, 0666), 0);
    assert_int_equal(files_check_owners(path, &diag), STATUS_DENIED);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(chmod(folder, 0777), 0);
    assert_int_equal(files_check_owners(path, &diag), STATUS_DENIED);
    assert_non_null(strstr(diag.words, folder));
    assert_null(strstr(diag.words, path));
    assert_int_equal(chmod(folder, 01777), 0);
    assert_int_equal(files_check_owners(path, &diag), STATUS_OK);
    assert_int_equal(chmod(folder, 0700), 0);
    if (geteuid() != 0)
        return;
    assert_int_equal(chown(folder, 64321, 0), 0);
    assert_int_equal(files_check_owners(path, &diag), STATUS_DENIED);
    assert_int_equal(chown(folder, 0, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_others_can_change_is_not_ours),
        cmocka_unit_test(a_file_is_replaced_whole_and_read_whole),
        cmocka_unit_test(a_file_that_was_written_is_on_disk),
        cmocka_unit_test(what_cannot_be_read_says_why),
        cmocka_unit_test(a_lock_is_held_by_one_process),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
