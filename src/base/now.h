#ifndef POSTERN_BASE_NOW_H
#define POSTERN_BASE_NOW_H

#include <stdint.h>

/*
 * The time, passed into everything that needs it; nothing below io/ reads a clock. `mono_ms` never
 * jumps and is for deadlines and ages; `wall_ms` is Unix time, may jump, and is for people
 * (headers, listings) only.
 */
struct now {
    int64_t mono_ms;
    int64_t wall_ms;
};

/* A deadline that never comes. */
#define NEVER_MS INT64_MAX

#endif
