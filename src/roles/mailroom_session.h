#ifndef POSTERN_ROLES_MAILROOM_SESSION_H
#define POSTERN_ROLES_MAILROOM_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/now.h"
#include "base/str.h"
#include "io/stream.h"
#include "roles/mailroom.h"

/*
 * A session that an edge has handed over: a stream of plain bytes, and the engine that speaks on
 * it. This file moves bytes and events and shares the process among the sessions; what an event
 * means is the protocol's.
 */
struct mailroom_session;

/* What a protocol adds to a session. */
struct mailroom_protocol {
    /*
     * Makes s->state and the engine. It may take several turns: *ret_more asks to be called again.
     * Anything but STATUS_OK refuses the session.
     */
    enum status_code (*open)(struct mailroom_session *s, struct now now, bool *ret_more);
    void (*free)(struct mailroom_session *s);
    size_t (*input)(struct mailroom_session *s, struct str bytes, struct now now);
    struct str (*output)(struct mailroom_session *s);
    void (*output_done)(struct mailroom_session *s, size_t n);

    /* Pulls one event and acts on it, or does one slice of long work; false: nothing to do now. */
    bool (*act)(struct mailroom_session *s, struct now now);
    int64_t (*deadline)(struct mailroom_session *s);
    void (*tick)(struct mailroom_session *s, struct now now);

    /* A commit has changed something (see ipc.table). */
    void (*changed)(struct mailroom_session *s, const struct ipc_change *change);

    /* Something may have changed of which nobody told. */
    void (*look_again)(struct mailroom_session *s);

    /* Ends with a word to the client. */
    void (*shutdown)(struct mailroom_session *s, const char *reason);
};

extern const struct mailroom_protocol mailroom_imap;
extern const struct mailroom_protocol mailroom_pop3;

struct mailroom_session {
    struct mailroom *room;
    struct mailroom_session *next, **at; /* in room->sessions */
    const struct mailroom_protocol *protocol;
    struct stream stream;
    struct timer timer;
    struct hook again;
    uint64_t account;
    struct buf capability;
    char trace_id[32];
    uint32_t call;      /* the vault owes a reply; 0: it does not */
    uint32_t doubt;     /* so for a capability that is checked again */
    int64_t expires_ms; /* the capability */
    int64_t renew_ms;   /* when it is to be renewed */
    bool checked;       /* the vault has vouched for the capability; no mail is touched before */
    bool refused;       /* not any more, before it was open */
    bool running;
    bool yield;           /* long work was done: now the others, whatever there is still to do */
    bool open;            /* handed over: the edge has its answer */
    bool closing;         /* closes when its output is written */
    bool closed;          /* is freed when nothing of it runs */
    void *state;          /* the protocol's */
    struct channel *edge; /* where the handover came from, while it is not answered */
    uint32_t handover;
};

/* Takes the descriptor of `in` over and answers the handover, now or later. */
void mailroom_session_new(struct mailroom *room, struct channel *edge, uint32_t id,
                          const struct ipc_handover_in *in);

/*
 * The account or the vault is another than before: whether the session goes on is asked again, and
 * it ends with a word where not.
 */
void mailroom_session_doubt(struct mailroom_session *s);

/* Tells the vault whether the session wants to hear of its account's changes. */
bool mailroom_session_watch(struct mailroom_session *s, bool on);

/* Moves bytes and events as far as they go; to be called after everything that may let them. */
void mailroom_session_run(struct mailroom_session *s);

/* Writes what is left, then closes. */
void mailroom_session_close(struct mailroom_session *s);

/* At once. */
void mailroom_session_free(struct mailroom_session *s);

static inline struct str mailroom_session_capability(const struct mailroom_session *s)
{
    return buf_str(&s->capability);
}

static inline struct now mailroom_session_now(const struct mailroom_session *s)
{
    return role_now(s->room->role);
}

#endif
