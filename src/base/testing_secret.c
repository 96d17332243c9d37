#include "base/testing_secret.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/testing.h"

enum { PAGE_SIZE = 4096, PIECE_SIZE = 65536, TAIL = 10 /* free() writes over what comes first */ };

/* What is looked for, and in; its own mapping is left out. */
static struct {
    char piece[PIECE_SIZE];
    char secret[TESTING_SECRET_SIZE];
} own;

static void put_secret(char *out, unsigned number)
{
    uint32_t seed = number * 0x9E3779B1u + 1;
    for (int i = 0; i < TESTING_SECRET_SIZE; i++) {
        seed = seed * 1664525u + 1013904223u;
        out[i] = (char)('A' + (seed >> 24) % 26);
    }
}

struct testing_page testing_page_new(const char *before, unsigned number, const char *behind)
{
    size_t begin = strlen(before), end = strlen(behind);
    struct testing_page p = {.len = begin + TESTING_SECRET_SIZE + end};
    p.ptr = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(p.ptr != MAP_FAILED && p.len < PAGE_SIZE);
    memcpy(p.ptr, before, begin);
    put_secret(p.ptr + begin, number);
    memcpy(p.ptr + begin + TESTING_SECRET_SIZE, behind, end);
    return p;
}

void testing_page_free(struct testing_page *p)
{
    assert_int_equal(munmap(p->ptr, PAGE_SIZE), 0);
}

static bool range_holds(int memory, unsigned long from, unsigned long to, const char *tail)
{
    bool is_own = from < (unsigned long)(&own + 1) && (unsigned long)&own < to;
    bool found = false;
    if (is_own || to - from > 1UL << 30) /* a sanitizer's */
        return false;
    for (unsigned long at = from; !found && at < to; at += PIECE_SIZE - TAIL) {
        size_t len = to - at < PIECE_SIZE ? to - at : PIECE_SIZE;
        ssize_t n = pread(memory, own.piece, len, (off_t)at);
        found = n > 0 && memmem(own.piece, (size_t)n, tail, TAIL);
        memset(own.piece, 0, sizeof own.piece);
    }
    return found;
}

/* Moves *at behind the number. */
static unsigned long take_hex(const char **at)
{
    static const char digits[] = "0123456789abcdef";
    unsigned long value = 0;
    for (const char *digit; **at && (digit = strchr(digits, **at)); ++*at)
        value = value * 16 + (unsigned long)(digit - digits);
    return value;
}

/* "from-to rw-p offset device inode name": what can be written, and is no file and no stack. */
static bool is_allocated(const char *line, unsigned long *ret_from, unsigned long *ret_to)
{
    const char *at = line;
    *ret_from = take_hex(&at);
    at++;
    *ret_to = take_hex(&at);
    return strncmp(at, " rw", 3) == 0 && strstr(at, " 00:00 0 ") && !strstr(at, "[stack]");
}

bool testing_memory_holds(unsigned number)
{
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "re");
    int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    bool found = false;
    assert_true(maps && memory >= 0);
    put_secret(own.secret, number);
    while (!found && fgets(line, sizeof line, maps)) {
        unsigned long from, to;
        found = is_allocated(line, &from, &to) &&
                range_holds(memory, from, to, own.secret + TESTING_SECRET_SIZE - TAIL);
    }
    fclose(maps);
    close(memory);
    return found;
}
