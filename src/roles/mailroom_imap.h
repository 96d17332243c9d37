#ifndef POSTERN_ROLES_MAILROOM_IMAP_H
#define POSTERN_ROLES_MAILROOM_IMAP_H

#include <stdbool.h>
#include <stdint.h>

#include "mail/ingest.h"
#include "proto/imap/server.h"
#include "roles/mailroom_search.h"
#include "roles/mailroom_session.h"
#include "store/ingest.h"

/*
 * IMAP in the mailroom: the engine's questions are answered from the database, and what changes
 * something becomes a request to the vault. One question is open at a time; while it waits for the
 * vault (session->call) or is answered in slices (`work`), nothing else of it runs.
 */

/* Several messages of a mailbox change by one command, in as many requests as the vault wants. */
struct imap_bulk {
    struct imap_set set;   /* the question's */
    size_t at;             /* ranges before it are done */
    uint32_t first;        /* within the range at hand */
    size_t sent;           /* ranges of the request under way */
    struct imap_range all; /* behind `set` where every message is meant */
};

struct imap_append_state {
    uint64_t mailbox;
    uint32_t flags;
    int64_t internal_ms;
    struct buf keywords;
    struct ingest *ingest;
    struct body_writer *writer;
    uint64_t body;    /* 0: travels whole with its request */
    uint64_t vault;   /* who has what was sent of it, in room->vaults */
    bool last_was_cr; /* the line ends are checked across pieces */
    bool is_bad;      /* NUL, a bare CR or LF */
};

/* A commit that changed flags of these UIDs. */
struct imap_flag_change {
    uint64_t modseq;
    bool joined; /* there were several, and modseq is the last one's */
    uint32_t first;
    uint32_t last;
};

enum { IMAP_FLAG_CHANGES = 8 };

struct imap_session {
    struct mailroom_session *session;
    struct imap_server *engine;
    struct imap_event event; /* the question under way; it borrows from the engine */

    /* Does a slice of the question under way; false: wait for something else. NULL: no slices. */
    bool (*work)(struct imap_session *i, struct now now);

    uint64_t mailbox;      /* selected, or being selected; 0: none */
    uint64_t known_modseq; /* changes up to here have been told to the engine */
    uint32_t dirty_first;  /* UIDs that a commit has touched since; first > last: none */
    uint32_t dirty_last;
    bool dirty_gone;       /* and some are gone */
    uint64_t dirty_modseq; /* as far as we have been told; UINT64_MAX: as far as one sees */
    struct imap_flag_change flag_changes[IMAP_FLAG_CHANGES]; /* since then */
    size_t flag_change_count; /* more than fit: which they were is not known */

    /* Of the question under way. */
    uint32_t after; /* UIDs up to here have been looked at */
    uint32_t recent_from;
    uint32_t first_unseen;
    uint32_t uidvalidity;
    uint64_t target;
    struct imap_bulk bulk;
    struct buf copied; /* of struct imap_copied */
    struct imap_append_state *append;
    struct mailroom_search *search;
};

/* Each acts on the event in i->event. */
void imap_on_list(struct imap_session *i);
void imap_on_status(struct imap_session *i);
void imap_on_create(struct imap_session *i);
void imap_on_delete(struct imap_session *i);
void imap_on_rename(struct imap_session *i);
void imap_on_subscribe(struct imap_session *i);
void imap_on_unsubscribe(struct imap_session *i);
void imap_on_select(struct imap_session *i);
void imap_on_unselected(struct imap_session *i);
void imap_on_append(struct imap_session *i);
void imap_on_append_data(struct imap_session *i);
void imap_on_append_end(struct imap_session *i);
void imap_on_append_abort(struct imap_session *i);
void imap_on_fetch(struct imap_session *i);
void imap_on_body(struct imap_session *i);
void imap_on_store(struct imap_session *i);
void imap_on_copy(struct imap_session *i);
void imap_on_expunge(struct imap_session *i);
void imap_on_search(struct imap_session *i);

/* Answers the question under way with a code. */
void imap_say(struct imap_session *i, enum imap_code code);
void imap_say_status(struct imap_session *i, enum status_code status);

/*
 * A request to the vault has been made (0: it could not be; then the question is answered so).
 * The reply's function begins with imap_replied.
 */
void imap_wait(struct imap_session *i, uint32_t call);
void imap_replied(struct imap_session *i);

/* The mailbox of that name; the status is NOT_FOUND also where it cannot be seen. */
MUST_USE enum status_code imap_mailbox(struct imap_session *i, struct str name, struct arena *a,
                                       struct mailbox_record *ret_mailbox);

/*
 * Tells the engine what has changed among the dirty UIDs. Flags that changed at own_modseq were
 * this session's doing and are left out, unless somebody else's change lies below it. False: the
 * store could not be read; it is tried again.
 */
bool imap_sync(struct imap_session *i, uint64_t own_modseq);

/* Marks UIDs as touched by a commit. */
void imap_mark_dirty(struct imap_session *i, uint32_t first, uint32_t last, uint64_t modseq);

/* The scratch arena, empty. */
struct arena *imap_scratch(struct imap_session *i);

static inline struct mailroom *imap_room(const struct imap_session *i)
{
    return i->session->room;
}

#endif
