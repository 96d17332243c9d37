#ifndef POSTERN_SIM_SINK_H
#define POSTERN_SIM_SINK_H

#include "sim/post.h"

/*
 * The rest of the world: a server on the world's loop that the courier's route leads to, by LMTP
 * over a Unix socket, so that each recipient has a reply of his own. It takes, puts off, refuses,
 * and hangs up anywhere, as the seed has it; and it knows what it took, so that it can say whether
 * what was answered 250 has come, is on its way, or came back.
 */
enum { SINK_SESSIONS = 32, SINK_RECIPIENTS = 64 };

struct sink_session {
    struct sink *sink;
    int fd; /* -1: not in use */
    struct watch watch;
    struct buf heard;
    bool in_body;
    bool stalled; /* hears and says nothing, until it is woken, if ever */
    bool null_sender;
    uint32_t recipients[SINK_RECIPIENTS]; /* messages; 0: a report's */
    size_t recipient_count;
};

struct sink {
    struct post *post;
    int listener;
    struct watch watch;
    char path[96];
    bool dsn;      /* offered (RFC 3461) */
    bool away;     /* everything is put off for a while */
    bool friendly; /* nothing is put off, and nobody hung up on, any more */
    struct sink_session sessions[SINK_SESSIONS];
    uint8_t taken[POST_MESSAGES];   /* how often */
    uint8_t allowed[POST_MESSAGES]; /* how often more than once */
    bool refused[POST_MESSAGES];    /* for ever */
    bool bounced[POST_MESSAGES];    /* by the operator, maybe */
    bool removed[POST_MESSAGES];    /* by the operator, maybe */
    uint64_t reports_allowed;       /* how many may come once more */
    uint64_t all, again, reports;
    uint64_t caught; /* by a death, between the reply and the end of the row */
};

void sink_open(struct sink *s, struct post *post);
void sink_close(struct sink *s);

/* The operator is going to give up what waits for that message, or all that waits. */
void sink_give_up(struct sink *s, uint32_t message, bool bounce);

/* One of the messages that wait; 0: none does. */
uint32_t sink_some_waiting(struct sink *s);

/* Some of the stalled go on; and the sink may go away for a while, or come back. */
void sink_wake(struct sink *s);

/*
 * Before the courier dies: what was taken and is in the queue still may have been answered to the
 * dead alone, and then comes once more.
 */
void sink_note_death(struct sink *s);

/* Each message for elsewhere that was answered 250 came, waits, or came back; none too often. */
void sink_check(struct sink *s);

/* How many of them wait, reports too. */
size_t sink_awaits(struct sink *s);

/* Nothing waits any more: who asked to be told was told. */
void sink_check_told(struct sink *s);

#endif
