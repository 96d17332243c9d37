#include "io/shared_memory.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/testing.h"

enum { SIZE = 3 * 4096 };

static void a_reader_sees_what_is_written_and_can_never_write(void **state)
{
    (void)state;
    int fd, reader;
    void *mine, *seen, *none;
    assert_int_equal(shared_memory_new(SIZE, &fd), STATUS_OK);
    assert_int_equal(shared_memory_reader(fd, &reader), STATUS_OK);
    assert_int_equal(shared_memory_map(fd, SIZE, true, &mine), STATUS_OK);
    assert_int_equal(shared_memory_map(reader, SIZE, false, &seen), STATUS_OK);
    memset(mine, 'x', SIZE);
    assert_memory_equal(seen, mine, SIZE);
    assert_int_not_equal(shared_memory_map(reader, SIZE, true, &none), STATUS_OK);
    assert_int_equal(write(reader, "y", 1), -1);
    assert_int_equal(mprotect(seen, SIZE, PROT_READ | PROT_WRITE), -1);
    close(fd);
    close(reader);
    shared_memory_unmap(mine, SIZE);
    shared_memory_unmap(seen, SIZE);
}

static void nobody_can_change_its_size(void **state)
{
    (void)state;
    int fd;
    void *none;
    assert_int_equal(shared_memory_new(SIZE, &fd), STATUS_OK);
    assert_int_equal(ftruncate(fd, 0), -1);
    assert_int_equal(ftruncate(fd, 2 * SIZE), -1);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
    assert_int_equal(shared_memory_map(fd, SIZE + 4096, false, &none), STATUS_INVALID);
    close(fd);
}

static void it_is_cleared_under_the_eyes_of_its_readers(void **state)
{
    (void)state;
    static const char zeroes[SIZE];
    int fd;
    void *memory;
    assert_int_equal(shared_memory_new(SIZE, &fd), STATUS_OK);
    assert_int_equal(shared_memory_map(fd, SIZE, true, &memory), STATUS_OK);
    assert_memory_equal(memory, zeroes, SIZE);
    memset(memory, 'x', SIZE);
    assert_int_equal(shared_memory_clear(fd, SIZE), STATUS_OK);
    assert_memory_equal(memory, zeroes, SIZE);
    shared_memory_unmap(memory, SIZE);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reader_sees_what_is_written_and_can_never_write),
        cmocka_unit_test(nobody_can_change_its_size),
        cmocka_unit_test(it_is_cleared_under_the_eyes_of_its_readers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
