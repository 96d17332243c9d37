#ifndef POSTERN_CLI_SETUP_UNIT_H
#define POSTERN_CLI_SETUP_UNIT_H

#include "base/buf.h"
#include "base/str.h"

/*
 * The systemd unit that setup writes, and whether one that is there may be replaced. Pure. Setup
 * ends what it writes with a checksum of itself, so that a later version knows the text that nobody
 * has edited; those that versions without the checksum wrote are known by their own.
 */
enum setup_unit {
    SETUP_UNIT_SAME,   /* what this version writes */
    SETUP_UNIT_OURS,   /* another version wrote it, or this one for another program; as it was */
    SETUP_UNIT_EDITED, /* this version wrote it, and somebody edited it */
    SETUP_UNIT_STRANGE /* another version's, edited, or somebody's own */
};

/* Appends the unit for a program at that path. */
void setup_unit_make(struct buf *out, struct str template, struct str program);

/* What `there` is, where setup_unit_make gives `made`. */
enum setup_unit setup_unit_judge(struct str there, struct str made);

#endif
