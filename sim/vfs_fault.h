#ifndef POSTERN_SIM_VFS_FAULT_H
#define POSTERN_SIM_VFS_FAULT_H

#include <stdbool.h>
#include <stdint.h>

/*
 * A disk for SQLite that forgets: an in-memory VFS where a write is certain only after its file's
 * sync. A power cut loses or keeps each 512-octet sector of every write since, as a seed draws; so
 * writes are lost, torn and reordered. The n-th call that reaches the medium (write, sync,
 * truncate) can be made to fail in several ways.
 *
 * One disk a process. Connections on it share memory and locks as processes on a real one do.
 */
#define VFS_FAULT_NAME "fault"

enum fault {
    FAULT_NONE,
    FAULT_POWER, /* this call, and every later one, does not happen; see disk_power_cut */
    FAULT_FULL,  /* writes that make a file longer fail, until disk_set_fault says otherwise */
    FAULT_SYNC,  /* this sync fails, once; a write is not touched */
    FAULT_WRITE, /* this write fails half-way, once; a sync is not touched */
};

/* Registers the VFS; the disk is empty. */
void disk_init(void);

/* Every file gone, no fault set, calls counted from 0. */
void disk_clear(void);

/* `fault` strikes at call number `at` from now (1 is the next). */
void disk_set_fault(enum fault fault, uint64_t at);

/* Calls since the last disk_clear; whether the fault has struck. */
uint64_t disk_calls(void);
bool disk_struck(void);

/* Whether a write failed because of FAULT_FULL since the last time this was asked. */
bool disk_was_full(void);

/* Of all that was ever written, in its order: two lives with one digest did the same. */
uint64_t disk_digest(void);

/* From now on nothing reaches the medium: what comes before the two below. */
void disk_die(void);

/*
 * The power goes and comes back: what was not synced is kept or lost as the seed draws; the
 * faults are over. No connection may be open; closing one on a dead disk writes nothing.
 */
void disk_power_cut(uint64_t seed);

/* The process was killed, the machine goes on: nothing is lost, memory and locks are free again. */
void disk_process_died(void);

#endif
