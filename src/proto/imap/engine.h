#ifndef POSTERN_PROTO_IMAP_ENGINE_H
#define POSTERN_PROTO_IMAP_ENGINE_H

#include "base/arena.h"
#include "base/buf.h"
#include "proto/imap/parse.h"
#include "proto/imap/server.h"
#include "proto/imap/view.h"

/*
 * The inside of the server engine, shared by the files of this folder and nobody else.
 *
 * A command is parsed whole, then its row's step function is called until it has finished: it
 * writes to the output, asks the owner (imap_ask), waits for input, or ends (imap_finish). A step
 * returns false where it has to wait, for an answer, for room in the output or for input; it is
 * called again when that may have come. After imap_finish the engine tells the client what has
 * changed in the mailbox, writes the tagged reply, and forgets the command.
 */

/* Input stops, and steps wait, while this much output is unwritten. */
#define IMAP_OUTPUT_MARK (64 * 1024)

/* Nothing that is written at once may pass this; the answer that does is left out. */
#define IMAP_OUTPUT_MAX (4 * 1024 * 1024)

/* What the parsed form of a command may take, and what a message's structure may. */
#define IMAP_ARENA_BUDGET (2 * 1024 * 1024)

/* Messages that are asked for at once. */
#define IMAP_SLICE 256

/* States of RFC 3501 §3, bits. */
enum imap_state {
    IMAP_STATE_GREETED = 1,
    IMAP_STATE_AUTHENTICATED = 2,
    IMAP_STATE_SELECTED = 4,
};

#define IMAP_STATES_ALL  (IMAP_STATE_GREETED | IMAP_STATE_AUTHENTICATED | IMAP_STATE_SELECTED)
#define IMAP_STATES_AUTH (IMAP_STATE_AUTHENTICATED | IMAP_STATE_SELECTED)

/* What the next bytes from the client are. */
enum imap_input {
    IMAP_INPUT_COMMAND,
    IMAP_INPUT_LINE,    /* for the running command's on_line */
    IMAP_INPUT_MESSAGE, /* the literal of APPEND */
    IMAP_INPUT_SWALLOW, /* the rest of a command that has been refused */
};

/* Flags of a row. */
enum {
    IMAP_ROW_UID = 1,     /* has a UID form */
    IMAP_ROW_PRIVATE = 4, /* not in clear, unless configured; its bytes are wiped */
    IMAP_ROW_QUIET = 8,   /* no EXPUNGE may be told while it runs (RFC 3501 §7.4.1) */
};

struct imap_command {
    const char *name;
    bool (*parse)(struct imap_server *e, struct imap_cursor *c);
    bool (*step)(struct imap_server *e);
    uint8_t states;
    uint8_t flags;
    uint32_t replies; /* IMAP_REPLY(code) of each it can end with */
};

#define IMAP_REPLY(code) (1u << (code))

extern const struct imap_command imap_commands[];
extern const size_t imap_command_count;

/* The command being run; all of it dies with it. */
struct imap_running {
    const struct imap_command *row; /* NULL: none */
    struct str tag;
    bool uid;
    bool telling;               /* the pending question is imap_tell's */
    bool missed;                /* a message asked for was gone */
    enum imap_code answer;      /* to the last question */
    enum imap_code code;        /* of the reply, once finished */
    const char *words;          /* of the reply, where not the usual ones; static */
    struct buf name;            /* of the last mailbox listed */
    struct buf code_text;       /* of the reply: "APPENDUID 1 2", where it is not a constant */
    enum imap_event_kind after; /* to be raised behind the reply, or 0 */
    bool (*step)(struct imap_server *e);
    void (*on_line)(struct imap_server *e, struct str line);
    void (*on_messages)(struct imap_server *e, const struct imap_message *messages, size_t count,
                        uint32_t through);
    void (*on_store)(struct imap_server *e, const struct imap_message *messages, size_t count);
    void (*release)(struct imap_server *e); /* what args owns beside the arena; or NULL */
    void *args;                             /* parsed, in the arena */
    struct imap_rangeset set;               /* messages named by the command */
    uint32_t done_uid;                      /* all of the set up to here has been dealt with */
    struct imap_range *slice;               /* part of the set in question, in the arena */
    size_t slice_count;
};

enum { IMAP_NOTICES_MAX = 8 };

struct imap_server {
    struct imap_config config;
    enum imap_state state;
    enum imap_input input;
    bool closed;
    bool stopped; /* STARTTLS or AUTHENTICATED was raised */
    unsigned error_count;
    unsigned login_failure_count;
    int64_t start_ms;
    int64_t active_ms;
    uint64_t last_token;
    struct imap_event question; /* token 0: none */
    bool question_pulled;
    uint8_t notices[IMAP_NOTICES_MAX];
    size_t notice_count;
    struct buf text;   /* the command, or line, being read */
    size_t line_start; /* in text: behind its last literal */
    uint64_t literal_left;
    bool literal_waits; /* the client sends it only when told to */
    bool tail_unread;   /* the running command's last literal and line have not been taken */
    struct buf out;
    struct arena arena;
    struct imap_running run;
    struct imap_view *view; /* NULL: none selected */
};

/* ---- server.c ---- */

void imap_raise(struct imap_server *e, enum imap_event_kind kind);
void imap_set_state(struct imap_server *e, enum imap_state state);
void imap_close(struct imap_server *e);
void imap_bye(struct imap_server *e, const char *words);

/* Says BYE when there have been too many. */
void imap_count_error(struct imap_server *e);

static inline bool imap_has_room(const struct imap_server *e)
{
    return e->out.len < IMAP_OUTPUT_MARK;
}

/* The event of a new question, to be filled in. */
struct imap_event *imap_ask(struct imap_server *e, enum imap_event_kind kind);

/*
 * True where the token asks a question of that kind, which is then answered. After its work the
 * caller must call imap_advance.
 */
bool imap_answered(struct imap_server *e, uint64_t token, enum imap_event_kind kind);
void imap_advance(struct imap_server *e);

/* Ends the command; both return true, for a step to return. */
bool imap_finish(struct imap_server *e, enum imap_code code);
bool imap_finish_words(struct imap_server *e, enum imap_code code, const char *words);

/* Runs the command in e->text. */
void imap_dispatch(struct imap_server *e);

/* Forgets the running command. */
void imap_end(struct imap_server *e);

/* Memory for the command, zeroed; NULL: the command has been finished with [LIMIT]. */
void *imap_alloc(struct imap_server *e, size_t size);

/* Stops looking at the selected mailbox. */
void imap_unselect(struct imap_server *e);

/* The codes of RFC 3501 §7.2.1 that hold now, without the word CAPABILITY. */
void imap_put_capabilities(struct imap_server *e);

/* ---- server_input.c ---- */

/* Takes some of the bytes (at least one), as e->input says. */
size_t imap_read(struct imap_server *e, struct str bytes);

/* Where a line behind APPEND's message announces another literal that comes unasked: passes it. */
void imap_swallow_announced(struct imap_server *e, struct str line);

/* The next line from the client goes to on_line; it lives until the next call of this. */
void imap_await_line(struct imap_server *e,
                     void (*on_line)(struct imap_server *e, struct str line));

/* ---- server_tell.c ---- */

/*
 * Tells what has changed in the selected mailbox. False: wait, as a step does; call again.
 */
bool imap_tell(struct imap_server *e, bool expunges_allowed);
void imap_tell_exists(struct imap_server *e);

/* "* n FETCH (UID u FLAGS (...))" with what is left of the record. */
void imap_put_flags_update(struct imap_server *e, const struct imap_message *m, bool with_uid);

/* ---- message sets ---- */

/* Turns what the client wrote into messages. False: BAD, a number that is none. */
bool imap_resolve_set(struct imap_server *e, struct imap_cursor *c, const struct imap_raw_set *raw,
                      bool uid, struct imap_rangeset *out);

/* Parses a set into e->run.set. */
bool imap_parse_messages(struct imap_server *e, struct imap_cursor *c);

/*
 * The next messages of e->run.set behind done_uid, at most messages_max, into e->run.slice.
 * False: there are none left, or no memory (then the command is finished).
 */
bool imap_next_slice(struct imap_server *e, size_t messages_max, struct imap_set *ret_set);

/* The owner has answered for the slice up to `through`, with that many messages. */
void imap_slice_done(struct imap_server *e, size_t count, uint32_t through);

/* ---- rows ---- */

bool imap_parse_nothing(struct imap_server *e, struct imap_cursor *c);
bool imap_step_capability(struct imap_server *e);
bool imap_step_noop(struct imap_server *e);
bool imap_step_logout(struct imap_server *e);
bool imap_step_starttls(struct imap_server *e);
bool imap_step_namespace(struct imap_server *e);
bool imap_step_idle(struct imap_server *e);
bool imap_parse_id(struct imap_server *e, struct imap_cursor *c);
bool imap_step_id(struct imap_server *e);
bool imap_parse_enable(struct imap_server *e, struct imap_cursor *c);
bool imap_step_enable(struct imap_server *e);
bool imap_parse_login(struct imap_server *e, struct imap_cursor *c);
bool imap_step_login(struct imap_server *e);
bool imap_parse_authenticate(struct imap_server *e, struct imap_cursor *c);
bool imap_step_authenticate(struct imap_server *e);
bool imap_parse_list(struct imap_server *e, struct imap_cursor *c);
bool imap_parse_lsub(struct imap_server *e, struct imap_cursor *c);
bool imap_step_list(struct imap_server *e);
bool imap_parse_one_mailbox(struct imap_server *e, struct imap_cursor *c);
bool imap_parse_create(struct imap_server *e, struct imap_cursor *c);
bool imap_parse_rename(struct imap_server *e, struct imap_cursor *c);
bool imap_parse_status(struct imap_server *e, struct imap_cursor *c);
bool imap_step_create(struct imap_server *e);
bool imap_step_delete(struct imap_server *e);
bool imap_step_rename(struct imap_server *e);
bool imap_step_subscribe(struct imap_server *e);
bool imap_step_unsubscribe(struct imap_server *e);
bool imap_step_status(struct imap_server *e);
bool imap_step_select(struct imap_server *e);
bool imap_step_examine(struct imap_server *e);
bool imap_step_close(struct imap_server *e);
bool imap_step_unselect(struct imap_server *e);
bool imap_parse_append(struct imap_server *e, struct imap_cursor *c);
bool imap_step_append(struct imap_server *e);
size_t imap_read_message(struct imap_server *e, struct str bytes);
bool imap_parse_fetch(struct imap_server *e, struct imap_cursor *c);
bool imap_step_fetch(struct imap_server *e);
bool imap_parse_store(struct imap_server *e, struct imap_cursor *c);
bool imap_step_store(struct imap_server *e);
bool imap_parse_copy(struct imap_server *e, struct imap_cursor *c);
bool imap_step_copy(struct imap_server *e);
bool imap_step_move(struct imap_server *e);
bool imap_parse_expunge(struct imap_server *e, struct imap_cursor *c);
bool imap_step_expunge(struct imap_server *e);
bool imap_parse_search(struct imap_server *e, struct imap_cursor *c);
bool imap_step_search(struct imap_server *e);

#endif
