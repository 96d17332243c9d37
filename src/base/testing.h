#ifndef POSTERN_BASE_TESTING_H
#define POSTERN_BASE_TESTING_H

/* cmocka and what it needs before it; for *_test.c only. */

// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include <sys/resource.h>

/* Processor seconds of this process so far: to compare what two things cost, never to wait. */
static inline double testing_cost(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)used.ru_utime.tv_sec + (double)used.ru_utime.tv_usec / 1e6;
}

#endif
