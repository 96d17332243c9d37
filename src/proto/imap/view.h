#ifndef POSTERN_PROTO_IMAP_VIEW_H
#define POSTERN_PROTO_IMAP_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/imap/rangeset.h"

/*
 * What the client of one session believes about the selected mailbox: which message has which
 * sequence number, and what has changed since without its being told.
 *
 * Messages are kept as runs of adjacent UIDs, 8 bytes a run: a mailbox without gaps costs a few
 * bytes, the worst one (a gap behind each message) 8 bytes a message. No flags are kept: of a
 * change only the UID is remembered.
 *
 * Functions that return false had no memory.
 */
struct imap_run_of_uids {
    uint32_t uid; /* of the first message of the run */
    uint32_t seq; /* its sequence number; the run ends where the next one begins */
};

struct imap_view {
    struct imap_run_of_uids *runs;
    size_t run_count;
    size_t run_cap;
    uint32_t count;       /* messages, those not yet told of included */
    uint32_t told;        /* EXISTS as the client knows it */
    uint32_t last_uid;    /* highest that was ever in here */
    uint32_t recent_from; /* see imap_selection */
    bool read_only;
    struct imap_rangeset changed;  /* flags to be told */
    struct imap_rangeset expunged; /* gone, to be told; still in the runs */
};

void imap_view_release(struct imap_view *v);

/* UIDs up to last_uid are ignored. */
bool imap_view_append(struct imap_view *v, struct imap_range uids);

/* 0 where there is no such message (seq: from 1 to told). */
uint32_t imap_view_uid(const struct imap_view *v, uint32_t seq);
uint32_t imap_view_seq(const struct imap_view *v, uint32_t uid);

/* The number of the first message with this UID or above; count + 1 where there is none. */
uint32_t imap_view_seq_from(const struct imap_view *v, uint32_t uid);

/* Adds the messages with these UIDs that the client knows of to `out`. */
bool imap_view_pick_uids(const struct imap_view *v, struct imap_range uids,
                         struct imap_rangeset *out);

/* The same for sequence numbers, which must lie within 1 to told. */
bool imap_view_pick_seqs(const struct imap_view *v, struct imap_range seqs,
                         struct imap_rangeset *out);

/* Remembers what is to be told; UIDs that are not in the view are ignored. */
bool imap_view_note_changed(struct imap_view *v, struct imap_range uids);
bool imap_view_note_expunged(struct imap_view *v, struct imap_range uids);

/* Takes the message out of the view and of what is to be told. */
bool imap_view_remove(struct imap_view *v, uint32_t uid);

#endif
