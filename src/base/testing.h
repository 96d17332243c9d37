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

#endif
