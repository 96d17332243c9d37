#ifndef POSTERN_PROTO_IMAP_TESTING_OWNER_H
#define POSTERN_PROTO_IMAP_TESTING_OWNER_H

#include "base/arena.h"
#include "base/buf.h"
#include "proto/imap/server.h"

/*
 * An owner of the engine with a few mailboxes in memory, for tests and fuzz targets. It answers
 * every question at once, from what it keeps, or with the code it has been told to answer next.
 */
enum { OWNER_MAILBOXES = 16, OWNER_MESSAGES = 600 };

struct owner_message {
    uint32_t uid;
    uint8_t flags;
    char keywords[64];
    int64_t internal_ms;
    struct str prefix;
    struct str body; /* owned where is_copy */
    bool is_copy;
};

struct owner_mailbox {
    char name[256];
    bool no_select;
    bool subscribed;
    uint8_t uses;
    uint32_t uidnext;
    struct owner_message messages[OWNER_MESSAGES];
    size_t count;
};

struct owner {
    struct imap_config config;
    struct imap_server *engine;
    struct owner_mailbox *mailboxes;
    size_t mailbox_count;
    struct owner_mailbox *selected;
    struct arena arena;             /* structures of the answer being given */
    enum imap_event_kind fail_kind; /* the next question of this kind is answered ... */
    enum imap_code fail_code;       /* ... with this code */
    bool few;                       /* answers as little at once as the contract allows */
    struct buf appended;
    struct imap_event append;
    char append_name[256];
    char append_keywords[64];
    bool closed;
    bool tls_wanted;  /* IMAP_EVENT_STARTTLS */
    unsigned aborted; /* IMAP_EVENT_APPEND_ABORT */
    unsigned asked;   /* questions so far */
    struct now now;
};

void owner_init(struct owner *o, const struct imap_config *config);
void owner_release(struct owner *o);

/* Pulls and answers events until there is none. */
void owner_pump(struct owner *o);

/* Changes by somebody else, of which the engine is notified. NULL: no such mailbox. */
struct owner_mailbox *owner_find(struct owner *o, struct str name);
void owner_deliver(struct owner *o, struct owner_mailbox *m, struct str body);
void owner_set_flags(struct owner *o, struct owner_mailbox *m, uint32_t uid, uint8_t flags);
void owner_expunge(struct owner *o, struct owner_mailbox *m, uint32_t uid);

/* The code of that name ("NONEXISTENT"), or IMAP_CODE_COUNT; the event kind of that name, or 0. */
enum imap_code owner_code_of(struct str name);
enum imap_event_kind owner_kind_of(struct str name);

#endif
