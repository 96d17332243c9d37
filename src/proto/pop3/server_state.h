#ifndef POSTERN_PROTO_POP3_SERVER_STATE_H
#define POSTERN_PROTO_POP3_SERVER_STATE_H

#include "base/buf.h"
#include "proto/pop3/server.h"

/* The inside of the POP3 engine, shared by its files only. */

enum state {
    STATE_AUTHORIZATION,
    STATE_SASL,      /* within an exchange: the next line is the client's response */
    STATE_HANDSHAKE, /* between STLS and pop3_tls_started: what comes is thrown away */
    STATE_HANDED_OVER,
    STATE_TRANSACTION,
    STATE_CLOSED,
    STATE_COUNT
};

/* What a reply is; its words are beside the point (RFC 1939 §3, RFC 2449 §8). */
enum reply {
    REPLY_END, /* ends the list of a row */
    REPLY_OK,
    REPLY_CHALLENGE, /* "+ ..." */
    REPLY_SYNTAX,    /* -ERR: bad arguments */
    REPLY_STATE,     /* -ERR: not now */
    REPLY_REFUSED,   /* -ERR: not offered on this connection */
    REPLY_ABORTED,   /* -ERR: the client gave the exchange up */
    REPLY_MESSAGE,   /* -ERR: no such message */
    REPLY_AUTH,      /* -ERR [AUTH] (RFC 3206 §4) */
    REPLY_TEMPORARY, /* -ERR [SYS/TEMP] (RFC 3206 §5) */
    REPLY_IN_USE,    /* -ERR [IN-USE] (RFC 2449 §8.1.2) */
    REPLY_UNKNOWN,   /* -ERR: no such command */
    REPLY_TOO_LONG,  /* -ERR: line too long */
    REPLY_COUNT
};

enum arguments {
    ARGUMENTS_NONE,
    ARGUMENTS_TEXT, /* all behind the first space, not empty */
    ARGUMENTS_NUMBER,
    ARGUMENTS_MAYBE_NUMBER,
    ARGUMENTS_TWO_NUMBERS,
};

struct arguments_given {
    struct str text;
    unsigned count;
    uint64_t numbers[2];
};

struct command {
    struct str name;
    unsigned states; /* bits of enum state */
    enum arguments arguments;
    void (*run)(struct pop3_server *e, const struct arguments_given *args, struct now now);
    uint8_t replies[POP3_COMMAND_REPLIES_MAX]; /* of enum reply: what this command can say */
};

/* A reply of many lines that goes out as the peer takes it. */
enum job { JOB_NONE, JOB_LIST, JOB_UIDL, JOB_BODY };

struct body {
    uint32_t message;
    uint64_t from;        /* octets read so far */
    uint64_t lines_left;  /* TOP: lines of the body still to be sent; UINT64_MAX for RETR */
    uint64_t line_octets; /* of the line that is being sent */
    char last;            /* the octet before */
    bool in_header;
    bool complete; /* TOP has what it wants */
};

struct pop3_server {
    const struct pop3_config *config;
    const struct command *command; /* the one being answered */
    enum state state;
    bool tls;
    bool skipping; /* the rest of a line that is too long */
    bool stopping;
    bool asking;
    bool has_event;
    bool close_told;
    enum pop3_close close_reason;
    unsigned errors;
    unsigned logins_failed;
    uint64_t token;
    int64_t deadline_ms;

    struct buf line; /* the start of a line that has not come whole yet */
    struct buf user;
    struct buf secret; /* the password or SASL data of the question asked */
    struct buf out;
    size_t out_sent;

    struct pop3_maildrop maildrop;
    enum job job;
    uint32_t job_next;
    struct body body;
    struct pop3_event event;
};

void pop3_server_set_state(struct pop3_server *e, enum state state);
void pop3_server_reply(struct pop3_server *e, enum reply kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void pop3_server_close(struct pop3_server *e, enum pop3_close reason);

/* Posts an event; a question where it is one. */
void pop3_server_tell(struct pop3_server *e, struct pop3_event event);
void pop3_server_ask(struct pop3_server *e, struct pop3_event event);

/* False where the answer comes too late; a wrong token is a bug of the owner. */
bool server_take_answer(struct pop3_server *e, uint64_t token);

/* Octets of output the peer has not taken. */
size_t server_unsent(const struct pop3_server *e);

/* Goes on with the job while there is room; called after whatever may have made some. */
void server_pump(struct pop3_server *e);

/* server_login.c */
void command_user(struct pop3_server *e, const struct arguments_given *args, struct now now);
void command_pass(struct pop3_server *e, const struct arguments_given *args, struct now now);
void command_auth(struct pop3_server *e, const struct arguments_given *args, struct now now);
void command_stls(struct pop3_server *e, const struct arguments_given *args, struct now now);
void command_utf8(struct pop3_server *e, const struct arguments_given *args, struct now now);
void login_sasl_line(struct pop3_server *e, struct str line);
bool login_password_allowed(const struct pop3_server *e);
struct str login_mechanisms(const struct pop3_server *e);

/* server_maildrop.c */
void command_stat(struct pop3_server *e, const struct arguments_given *args, struct now now);
void command_list(struct pop3_server *e, const struct arguments_given *args, struct now now);
void command_uidl(struct pop3_server *e, const struct arguments_given *args, struct now now);
void command_dele(struct pop3_server *e, const struct arguments_given *args, struct now now);
void command_rset(struct pop3_server *e, const struct arguments_given *args, struct now now);
void command_noop(struct pop3_server *e, const struct arguments_given *args, struct now now);
void command_quit(struct pop3_server *e, const struct arguments_given *args, struct now now);
void listing_pump(struct pop3_server *e);
struct pop3_message *maildrop_find(struct pop3_server *e, uint64_t number);

/* server_body.c */
void command_retr(struct pop3_server *e, const struct arguments_given *args, struct now now);
void command_top(struct pop3_server *e, const struct arguments_given *args, struct now now);
void body_pump(struct pop3_server *e);

#endif
