#ifndef POSTERN_PROTO_IMAP_SERVER_H
#define POSTERN_PROTO_IMAP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/now.h"
#include "base/status.h"
#include "base/str.h"

/*
 * The server side of IMAP4rev1 (RFC 3501) as an engine: bytes from the client and answers of the
 * owner in, bytes for the client and events for the owner out. It does no I/O and calls nobody.
 *
 * The same engine runs twice in the life of a connection. The edge starts it in clear or under TLS
 * and drives it up to IMAP_EVENT_AUTHENTICATED; then it takes no more bytes, and what it did not
 * take belongs to the mailroom, which starts a second engine with `authenticated` set.
 *
 * Contract, common to all calls:
 * - One command runs at a time. While one waits for the owner, or while the output is over its
 *   mark, imap_server_input takes nothing: the owner keeps the bytes and offers them again after
 *   its next answer or output.
 * - After imap_server_input, any answer, notification, output_done or tick, pull events until
 *   there is none. There is at most one unanswered question. What an event points to lives until
 *   its question is answered (or, for an event without a question, until the next call).
 * - A question (`token` is not 0) is answered once, now or later, by the imap_answer_… function
 *   its comment names, or by imap_answer with a code that is not IMAP_OK. An answer with a token
 *   that is no longer asked is ignored. What an answer points to is borrowed for the call.
 * - The engine asks for as much as its output has room for, so that an answer is never refused.
 * - Mailbox names are UTF-8, levels parted by '/', "INBOX" in capitals (also as a first level).
 *   They are otherwise whatever the client sent: the owner judges whether a name is acceptable.
 * - Messages are named by UID; sequence numbers exist only in here (see view.h).
 */
struct imap_server;

#define IMAP_SEPARATOR '/'

struct imap_config {
    /* Borrowed for the engine's life. */
    const char *host_name;
    /* SASL mechanisms offered, parted by spaces, "" for none. Borrowed for the engine's life. */
    struct str mechanisms;
    bool tls_offered;         /* STARTTLS is possible */
    bool tls_active;          /* from the first byte */
    bool clear_login;         /* LOGIN and AUTHENTICATE are allowed without TLS (loopback) */
    bool authenticated;       /* no greeting: the client has logged in to another engine */
    uint64_t append_size_max; /* 0: LIMIT_IMAP_LITERAL_SIZE */
};

/* ---- Results ----------------------------------------------------------------------------------
 */

/* How a question came out. Each is a tagged OK or NO with a response code (RFC 5530). */
enum imap_code {
    IMAP_OK,
    IMAP_NO,            /* cannot be done, no further reason */
    IMAP_NONEXISTENT,   /* no such mailbox */
    IMAP_TRYCREATE,     /* no such mailbox, but one could be made (APPEND, COPY, MOVE) */
    IMAP_ALREADYEXISTS, /* CREATE, RENAME */
    IMAP_HASCHILDREN,   /* DELETE */
    IMAP_CANNOT,        /* the name, or the act, can never be allowed */
    IMAP_NOPERM,        /* the person has no right to */
    IMAP_OVERQUOTA,     /* the quota would be passed */
    IMAP_LIMIT,         /* another limit would be passed */
    IMAP_INUSE,         /* locked by somebody else, may pass */
    IMAP_EXPUNGED,      /* messages asked for are gone */
    IMAP_UNAVAILABLE,   /* the store is away, may pass */
    IMAP_SERVERBUG,     /* what is stored is not readable */
    IMAP_TOOBIG,        /* the message is too big */
    IMAP_BADMESSAGE,    /* APPEND: the message is not one Postern keeps (NUL, bare CR or LF) */
    IMAP_AUTHENTICATIONFAILED, /* wrong name or password */
    IMAP_AUTHORIZATIONFAILED,  /* the person may not act as who was asked for */
    IMAP_EXPIRED,              /* the account or password is disabled or expired */
    IMAP_USEATTR,              /* CREATE: the special use is not possible (RFC 6154) */
    IMAP_BADMECHANISM,         /* AUTHENTICATE: mechanism not offered */
    IMAP_BADSASL,              /* AUTHENTICATE: the client's message makes no sense (tagged BAD) */
    /* The engine's own; no answer. */
    IMAP_PRIVACYREQUIRED, /* LOGIN and AUTHENTICATE in clear */
    IMAP_BADCHARSET,      /* SEARCH */
    IMAP_READ_ONLY,       /* STORE and its like after EXAMINE */
    IMAP_BAD,             /* not the protocol: tagged BAD */
    IMAP_CODE_COUNT
};

/* The code for an environmental failure. */
enum imap_code imap_code_from_status(enum status_code status);

/* ---- Messages ---------------------------------------------------------------------------------
 */

/* System flags. \Recent is not one of them: see imap_selection.recent_from. */
enum {
    IMAP_SEEN = 1 << 0,
    IMAP_ANSWERED = 1 << 1,
    IMAP_FLAGGED = 1 << 2,
    IMAP_DELETED = 1 << 3,
    IMAP_DRAFT = 1 << 4,
    IMAP_FLAGS_ALL = (1 << 5) - 1
};

/* UIDs first to last, both included. Sets are ascending and do not touch each other. */
struct imap_range {
    uint32_t first;
    uint32_t last;
};

struct imap_set {
    const struct imap_range *ranges;
    size_t count;
};

/* What is known about a message. Only what the question's `need` names must be filled in. */
struct imap_message {
    uint32_t uid;
    uint8_t flags;        /* IMAP_NEED_FLAGS */
    struct str keywords;  /* IMAP_NEED_FLAGS: parted by single spaces */
    uint64_t modseq;      /* IMAP_NEED_FLAGS */
    int64_t internal_ms;  /* IMAP_NEED_META: Unix time */
    uint64_t size;        /* IMAP_NEED_META: octets as served, prefix included */
    uint32_t prefix_size; /* IMAP_NEED_META: octets of the entry's prefix, served before the body */
    struct str structure; /* IMAP_NEED_STRUCTURE: the stored form of mail/structure.h */
};

enum { IMAP_NEED_FLAGS = 1, IMAP_NEED_META = 2, IMAP_NEED_STRUCTURE = 4 };

/* ---- Mailboxes --------------------------------------------------------------------------------
 */

/* Special uses (RFC 6154 §2), bits. */
enum {
    IMAP_USE_ALL = 1 << 0,
    IMAP_USE_ARCHIVE = 1 << 1,
    IMAP_USE_DRAFTS = 1 << 2,
    IMAP_USE_FLAGGED = 1 << 3,
    IMAP_USE_JUNK = 1 << 4,
    IMAP_USE_SENT = 1 << 5,
    IMAP_USE_TRASH = 1 << 6
};

/* A name for LIST and LSUB: of a mailbox, a subscribed one, or a level above one of these. */
struct imap_list_row {
    struct str name;
    bool non_existent; /* there is no mailbox of the name */
    bool no_select;    /* there is one, as a level of the tree alone */
    bool no_inferiors; /* can have no children */
    bool has_children;
    bool subscribed;
    bool child_subscribed; /* something below it is */
    uint8_t uses;
};

/* STATUS items, bits; the field of imap_status of that name must be filled in. */
enum {
    IMAP_STATUS_MESSAGES = 1 << 0,
    IMAP_STATUS_RECENT = 1 << 1,
    IMAP_STATUS_UIDNEXT = 1 << 2,
    IMAP_STATUS_UIDVALIDITY = 1 << 3,
    IMAP_STATUS_UNSEEN = 1 << 4
};

struct imap_status {
    uint32_t messages;
    uint32_t recent;
    uint32_t uidnext;
    uint32_t uidvalidity;
    uint32_t unseen;
};

struct imap_selection {
    uint32_t uidvalidity;
    uint32_t uidnext;
    uint32_t first_unseen_uid; /* 0: none */
    uint32_t recent_from;      /* messages with this UID and above are \Recent here; 0: none are */
    uint64_t highest_modseq;
    bool read_only;      /* even though SELECT asked for more */
    bool keywords_fixed; /* no new keywords can be stored: PERMANENTFLAGS without \* */
    struct str keywords; /* those in use in the mailbox, parted by spaces */
};

/* ---- Search -----------------------------------------------------------------------------------
 */

/* A question about text that only the owner can answer. */
enum imap_text_kind {
    IMAP_TEXT_HEADER, /* some field `header` contains the needle; "" asks whether there is one */
    IMAP_TEXT_BODY,   /* the decoded text of the body parts contains it */
    IMAP_TEXT_ALL     /* the header or the body does (TEXT) */
};

struct imap_text_key {
    enum imap_text_kind kind;
    struct str header;
    struct str needle; /* UTF-8; to be found without regard to case (RFC 3501 §6.4.4) */
};

/* ---- Events -----------------------------------------------------------------------------------
 */

enum imap_event_kind {
    /* Without a question. */
    IMAP_EVENT_CLOSE = 1,     /* write the output, then close; nothing more is read */
    IMAP_EVENT_STARTTLS,      /* write the output, then handshake, then imap_server_tls_started */
    IMAP_EVENT_AUTHENTICATED, /* write the output, then hand the connection over */
    IMAP_EVENT_UNSELECTED,    /* no mailbox is selected any more: stop watching it */
    IMAP_EVENT_APPEND_ABORT,  /* forget the message that was being appended */

    /* Login: imap_answer_auth. */
    IMAP_EVENT_LOGIN,         /* login */
    IMAP_EVENT_AUTH_START,    /* auth: mechanism, and initial response if has_data */
    IMAP_EVENT_AUTH_RESPONSE, /* auth.data: to the last challenge */
    IMAP_EVENT_AUTH_CANCEL,   /* no question: the client gave up; forget the exchange */

    /* Mailboxes: imap_answer, unless said otherwise. */
    IMAP_EVENT_LIST,   /* list: imap_answer_list */
    IMAP_EVENT_STATUS, /* status: imap_answer_status */
    IMAP_EVENT_SELECT, /* select: imap_answer_select, before it imap_answer_select_uids */
    IMAP_EVENT_CREATE, /* mailbox: name, uses */
    IMAP_EVENT_DELETE,
    IMAP_EVENT_RENAME, /* mailbox: name, new_name */
    IMAP_EVENT_SUBSCRIBE,
    IMAP_EVENT_UNSUBSCRIBE,

    /* A message to be added. */
    IMAP_EVENT_APPEND,      /* append: may it come? imap_answer */
    IMAP_EVENT_APPEND_DATA, /* data: the next octets; imap_answer when there is room for more */
    IMAP_EVENT_APPEND_END,  /* all octets have come: imap_answer_append */

    /* Messages of the selected mailbox. */
    IMAP_EVENT_FETCH,   /* fetch: imap_answer_messages */
    IMAP_EVENT_BODY,    /* body: imap_answer_body */
    IMAP_EVENT_STORE,   /* store: imap_answer_store */
    IMAP_EVENT_COPY,    /* copy: imap_answer_copy */
    IMAP_EVENT_MOVE,    /* copy: imap_notify_expunged for each that went, then imap_answer_copy */
    IMAP_EVENT_EXPUNGE, /* expunge: imap_notify_expunged for each that went, then imap_answer */
    IMAP_EVENT_SEARCH_TEXT, /* search: imap_answer_search */
    IMAP_EVENT_COUNT
};

enum imap_store_mode { IMAP_STORE_REPLACE, IMAP_STORE_ADD, IMAP_STORE_REMOVE };

struct imap_event {
    enum imap_event_kind kind;
    uint64_t token; /* 0: no question */
    union {
        struct {
            struct str user;
            struct str password;
        } login;
        struct {
            struct str mechanism; /* in capitals */
            struct str data;      /* base64, not looked into; "=" as initial response is "" here */
            bool has_data;
        } auth;
        /* Rows in a fixed order of the owner's choice, from behind the row `after` on ("" is the
         * start), at most rows_max. */
        struct {
            struct str after;
            size_t rows_max;
        } list;
        struct {
            struct str name;
            unsigned items;
        } status;
        struct {
            struct str name;
            bool read_only; /* EXAMINE */
        } select;
        struct {
            struct str name;
            struct str new_name; /* RENAME */
            uint8_t uses;        /* CREATE: special uses asked for */
        } mailbox;
        struct {
            struct str name;
            uint64_t size; /* octets that will come */
            uint8_t flags;
            struct str keywords;
            bool has_date;
            int64_t internal_ms;
        } append;
        struct str data;
        /* Messages of the set in ascending order, what `need` names filled in. The owner may
         * answer for the front of the set only and is asked again for the rest. */
        struct {
            struct imap_set set;
            unsigned need;
        } fetch;
        /* Octets [offset, offset + size) of the message as served (prefix, then body). */
        struct {
            uint32_t uid;
            uint64_t offset;
            size_t size;
        } body;
        struct {
            struct imap_set set;
            enum imap_store_mode mode;
            uint8_t flags;
            struct str keywords;
        } store;
        struct {
            struct imap_set set;
            struct str name;
        } copy;
        /* Of the set, those that have \Deleted; every message of the mailbox where all is set. */
        struct {
            bool all;
            struct imap_set set;
        } expunge;
        struct {
            struct imap_set set;
            const struct imap_text_key *key;
        } search;
    };
};

/* ---- The engine --------------------------------------------------------------------------------
 */

/* NULL where there is no memory. */
struct imap_server *imap_server_create(const struct imap_config *config, struct now now);

/* Wipes what was secret. NULL is allowed. */
void imap_server_free(struct imap_server *e);

/* Takes bytes from the client; returns how many it took. */
size_t imap_server_input(struct imap_server *e, struct str bytes, struct now now);

/* Bytes for the client, borrowed until the next call; n of them have been written. */
struct str imap_server_output(const struct imap_server *e);
void imap_server_output_done(struct imap_server *e, size_t n);

/* The next event, or false. */
bool imap_server_next(struct imap_server *e, struct imap_event *ret_event);

/* When imap_server_tick is to be called, in mono_ms. */
int64_t imap_server_deadline(const struct imap_server *e);
void imap_server_tick(struct imap_server *e, struct now now);

/* The handshake after IMAP_EVENT_STARTTLS is done; mechanisms (borrowed) are those under TLS. */
void imap_server_tls_started(struct imap_server *e, struct str mechanisms);

/* Says BYE and closes. reason is a few words for people. */
void imap_server_shutdown(struct imap_server *e, const char *reason);

/* ---- Answers -----------------------------------------------------------------------------------
 */

/* For questions whose answer is a code; for all others, only with a code that is not IMAP_OK. */
void imap_answer(struct imap_server *e, uint64_t token, enum imap_code code);

/* The exchange goes on with this challenge (base64, may be empty). */
void imap_answer_auth_challenge(struct imap_server *e, uint64_t token, struct str challenge);

/*
 * The exchange has ended. With IMAP_OK, last_data (base64, else empty) is what the mechanism sends
 * along with success; the engine delivers it as IMAP does, before the tagged OK.
 */
void imap_answer_auth(struct imap_server *e, uint64_t token, enum imap_code code,
                      struct str last_data);

/* Rows that follow `after`; last: there are no more. More than rows_max is a bug. */
void imap_answer_list(struct imap_server *e, uint64_t token, const struct imap_list_row *rows,
                      size_t count, bool last);

void imap_answer_status(struct imap_server *e, uint64_t token, const struct imap_status *status);

/*
 * UIDs of the mailbox being selected, ascending over all calls, in as many calls as the owner
 * likes; then imap_answer_select. Notifications may come in between. False: no memory; the SELECT
 * has then been answered with NO.
 */
bool imap_answer_select_uids(struct imap_server *e, uint64_t token, const uint32_t *uids,
                             size_t count);
void imap_answer_select(struct imap_server *e, uint64_t token,
                        const struct imap_selection *selection);

/* uidvalidity and uid of the new message. */
void imap_answer_append(struct imap_server *e, uint64_t token, uint32_t uidvalidity, uint32_t uid);

/*
 * Messages of the question's set, ascending. All messages of the set up to the UID `through` have
 * now been answered: those missing are gone.
 */
void imap_answer_messages(struct imap_server *e, uint64_t token,
                          const struct imap_message *messages, size_t count, uint32_t through);

/* At least one octet, from the question's offset on; at most its size. */
void imap_answer_body(struct imap_server *e, uint64_t token, struct str octets);

/* All messages of the set that are still there, as they are now (uid, flags, keywords, modseq). */
void imap_answer_store(struct imap_server *e, uint64_t token, const struct imap_message *messages,
                       size_t count);

struct imap_copied {
    uint32_t uid;
    uint32_t new_uid;
};

/* What was copied or moved, ascending by uid; uidvalidity is the target's. */
void imap_answer_copy(struct imap_server *e, uint64_t token, uint32_t uidvalidity,
                      const struct imap_copied *copied, size_t count);

/* The UIDs of the question's set that match, ascending. */
void imap_answer_search(struct imap_server *e, uint64_t token, const uint32_t *uids, size_t count);

/* ---- Changes of the selected mailbox ------------------------------------------------------------
 */

/*
 * Any time after IMAP_EVENT_SELECT; ignored where no mailbox is selected. The engine tells the
 * client when the protocol allows (RFC 3501 §5.5, §7.4.1). What the engine knows already is
 * ignored. Only which messages is kept: their flags are asked for (IMAP_EVENT_FETCH) when told.
 * A change that this engine's own STORE made has been told and need not be notified.
 */
void imap_notify_new(struct imap_server *e, struct imap_set uids);
void imap_notify_flags(struct imap_server *e, struct imap_set uids);
void imap_notify_expunged(struct imap_server *e, struct imap_set uids);

/* The selected mailbox was deleted or lost its UIDs: BYE, as RFC 2180 §3 advises. */
void imap_notify_mailbox_gone(struct imap_server *e);

#endif
