#ifndef POSTERN_STORE_READ_H
#define POSTERN_STORE_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"
#include "base/text.h"
#include "store/db.h"

/*
 * What IMAP and POP3 read. Nothing here writes, and nothing is left open when a function returns,
 * but for the signature scan, which says so. Reads follow every commit that was made before they
 * began. Results in an arena live as long as it.
 */

/* ---- Mailboxes ------------------------------------------------------------------------------- */

/* RFC 6154 §2. INBOX is not one of RFC 6154's, but every account has exactly one. */
enum special_use {
    SPECIAL_NONE,
    SPECIAL_INBOX,
    SPECIAL_ARCHIVE,
    SPECIAL_DRAFTS,
    SPECIAL_JUNK,
    SPECIAL_SENT,
    SPECIAL_TRASH,
};

/* RFC 4314 §2.1: l r s w i p k x t e a. The owner has all. */
enum mailbox_right {
    RIGHT_LOOKUP = 1 << 0,
    RIGHT_READ = 1 << 1,
    RIGHT_SEEN = 1 << 2,
    RIGHT_WRITE = 1 << 3,
    RIGHT_INSERT = 1 << 4,
    RIGHT_POST = 1 << 5,
    RIGHT_CREATE = 1 << 6,
    RIGHT_DELETE_MAILBOX = 1 << 7,
    RIGHT_DELETE_MESSAGE = 1 << 8,
    RIGHT_EXPUNGE = 1 << 9,
    RIGHT_ADMIN = 1 << 10,
    RIGHT_ALL = (1 << 11) - 1,
};

struct mailbox_record {
    uint64_t id;
    uint64_t account; /* the owner */
    uint64_t parent;  /* 0: at the top */
    struct str name;  /* last part of the path, UTF-8 */
    struct str path;  /* parts joined by '/', which no part holds */
    uint32_t uidvalidity;
    uint32_t uidnext;
    uint32_t messages;
    uint32_t unseen;
    uint32_t deleted;    /* flagged \Deleted */
    uint32_t recent_uid; /* the first UID that no session has claimed as \Recent */
    uint64_t modseq;     /* the highest */
    uint64_t size;       /* of all messages, prefixes included */
    uint32_t rights;     /* of the account that asked */
    enum special_use special_use;
    bool selectable;
    bool subscribed;
    bool has_children;
};

/* All mailboxes of the account, in the order of their paths: parents before their children. */
MUST_USE enum status_code read_mailboxes(struct db *db, uint64_t account, struct arena *a,
                                         struct mailbox_record **ret_mailboxes, size_t *ret_count);

/* One of them, by id or by path (INBOX in any case). Not visible is STATUS_NOT_FOUND. */
MUST_USE enum status_code read_mailbox(struct db *db, uint64_t account, uint64_t mailbox,
                                       struct arena *a, struct mailbox_record *ret_mailbox);
MUST_USE enum status_code read_mailbox_by_path(struct db *db, uint64_t account, struct str path,
                                               struct arena *a, struct mailbox_record *ret_mailbox);

/* The id of a child by its name; parent 0 is the top, where INBOX may come in any case. */
MUST_USE enum status_code read_mailbox_child(struct db *db, uint64_t account, uint64_t parent,
                                             struct str name, uint64_t *ret_mailbox);

/* Paths the account subscribed to, whether or not such a mailbox exists. */
MUST_USE enum status_code read_subscriptions(struct db *db, uint64_t account, struct arena *a,
                                             struct str **ret_paths, size_t *ret_count);

/* Keywords ever used in a mailbox, in the spelling first used. */
MUST_USE enum status_code read_keywords(struct db *db, uint64_t mailbox, struct arena *a,
                                        struct str **ret_names, size_t *ret_count);

/* ---- Entries --------------------------------------------------------------------------------- */

enum entry_flag {
    ENTRY_SEEN = 1 << 0,
    ENTRY_ANSWERED = 1 << 1,
    ENTRY_FLAGGED = 1 << 2,
    ENTRY_DELETED = 1 << 3,
    ENTRY_DRAFT = 1 << 4,
    ENTRY_FLAGS_STORED = (1 << 5) - 1,
    ENTRY_HAS_KEYWORDS = 1 << 6, /* only in results: message_record has them */
    ENTRY_EXPUNGED = 1 << 7,     /* only in results of read_changes */
};

struct entry_brief {
    uint32_t uid;
    uint32_t flags;
    uint64_t modseq;
    uint64_t size;
};

/*
 * The next live entries with uid > after, ascending, at most cap. Fewer than cap: that was the
 * last. 100,000 take about 30 ms; page by 4,096 or so and let the loop turn in between.
 */
MUST_USE enum status_code read_entries(struct db *db, uint64_t mailbox, uint32_t after,
                                       struct entry_brief *entries, size_t cap, size_t *ret_count);

/*
 * Entries of first..last with modseq > since, expunged ones included (ENTRY_EXPUNGED). Paging as in
 * read_entries: go on with first = last uid got + 1. A change notice names the range it touched.
 */
MUST_USE enum status_code read_changes(struct db *db, uint64_t mailbox, uint64_t since,
                                       uint32_t first, uint32_t last, struct entry_brief *entries,
                                       size_t cap, size_t *ret_count);

/* All that is known of a message besides its structure and its bytes. */
struct message_record {
    uint64_t mailbox;
    uint32_t uid;
    uint32_t flags;
    uint64_t modseq;
    uint64_t email; /* never used again for another: the object id (RFC 8474) */
    uint64_t thread;
    uint64_t body;
    uint64_t size; /* prefix and body */
    uint64_t body_size;
    int64_t internal_ms;
    int64_t received_ms;
    int64_t sent_ms; /* the Date field; 0: none that can be read */
    uint32_t parser_version;
    struct str keywords; /* joined by single spaces */
    struct str prefix;   /* whole header lines in front of the body */
    struct str trace_id;
};

/* STATUS_NOT_FOUND: no such entry, or expunged. */
MUST_USE enum status_code read_message(struct db *db, uint64_t mailbox, uint32_t uid,
                                       struct arena *a, struct message_record *ret_message);

/*
 * Appends the structure that the parser of parser_version stored. Its offsets count from the
 * body's first byte: in the message as served they lie prefix.len further.
 */
MUST_USE enum status_code read_structure(struct db *db, uint64_t email, struct buf *out);

/* ---- Bytes ------------------------------------------------------------------------------------
 */

/*
 * Serves ranges of a message as clients see it: prefix, then body. Keeps the chunk it decompressed
 * last, so reading forwards decompresses each chunk once. One reader serves any number of
 * messages, one after another; it holds about 64 KiB once used (body_reader_release gives them
 * back).
 */
struct body_reader {
    uint64_t chunk; /* id of the chunk in plain; 0: none */
    struct buf plain;
    void *context;
};

void body_reader_init(struct body_reader *r);
void body_reader_release(struct body_reader *r);

/*
 * Appends octets [offset, offset + len) of prefix + body, clamped to what there is. STATUS_CORRUPT:
 * a chunk is missing or not what its hash says. STATUS_TOO_BIG: out is full.
 */
MUST_USE enum status_code body_read(struct body_reader *r, struct db *db,
                                    const struct message_record *message, uint64_t offset,
                                    uint64_t len, struct buf *out);

/* ---- Search ------------------------------------------------------------------------------------
 */

/*
 * Signatures of the live messages of a mailbox, ascending by uid. The scan holds a read
 * transaction from the first signatures_next to signatures_end: look at a slice (some thousands),
 * end it, and begin again behind the last uid in the loop's next turn.
 */
struct signature_scan {
    struct query *query;
};

struct signature_row {
    uint32_t uid;
    uint32_t parser_version;
    uint64_t email;
    struct str signature; /* of the body; this and the next are borrowed until the next call */
    struct str prefix;
};

void signatures_begin(struct signature_scan *scan, struct db *db, uint64_t mailbox, uint32_t after);
bool signatures_next(struct signature_scan *scan, struct signature_row *ret_row);
MUST_USE enum status_code signatures_end(struct signature_scan *scan);

/* ---- Traces and numbers -----------------------------------------------------------------------
 */

struct trace_record {
    int64_t at_ms;
    struct str step;
    struct text words;
};

/* The steps of a message, oldest first; STATUS_NOT_FOUND: none kept. */
MUST_USE enum status_code read_trace(struct db *db, struct str trace_id, struct arena *a,
                                     struct trace_record **ret_steps, size_t *ret_count);

/* The number of the newest commit this connection sees. */
MUST_USE enum status_code read_commit_number(struct db *db, uint64_t *ret_number);

#endif
