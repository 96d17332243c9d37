#ifndef POSTERN_ROLES_EDGE_SMTP_H
#define POSTERN_ROLES_EDGE_SMTP_H

#include "proto/smtp/server.h"
#include "roles/edge_conn.h"
#include "roles/edge_login.h"
#include "roles/edge_message.h"

/*
 * A connection that speaks SMTP or LMTP: the engine's questions are answered by asking the
 * mailroom (who may get mail), the keeper (who somebody is) and the vault (that it is kept).
 *
 * What its files share: edge_smtp_envelope.c asks about MAIL and RCPT, edge_smtp_body.c takes the
 * message to its last dot, edge_smtp.c does the rest.
 */
struct edge_smtp {
    struct edge_conn *conn;
    struct smtp_server *engine;
    struct edge_identity who;
    struct edge_login login;
    struct edge_message *message;
    bool held;        /* the connection, until the message has room */
    bool login_ended; /* nothing more is taken of this session */

    uint64_t token; /* of the question that is open at another role, else 0 */
    struct channel *call_channel;
    uint32_t call;
    uint64_t size; /* what MAIL said with SIZE */
    struct ipc_envelope envelope;
    struct buf envid;
    struct buf asked; /* the address in question, as text */
    struct buf orcpt; /* what was said with it */
    uint8_t notify;

    struct buf helo;
    struct buf unconfirmed; /* keys of the last message, until its reply was seen */
    struct edge_message_facts facts;
};

enum { EDGE_SMTP_KEY_SIZE = 32 };

/* Replies that several questions have in common; _usual is what the engine says by itself. */
extern const struct smtp_reply edge_smtp_reply_no_room;
extern const struct smtp_reply edge_smtp_reply_temporary;
extern const struct smtp_reply edge_smtp_reply_not_yours;
extern const struct smtp_reply edge_smtp_reply_login_ended;
extern const struct smtp_reply edge_smtp_reply_usual;

bool edge_smtp_is_submission(const struct edge_smtp *s);

/*
 * Who may send to anywhere without a login: this machine's users, and networks that the
 * configuration names.
 */
bool edge_smtp_is_trusted(const struct edge_smtp *s);

/* Ends the wait for another role; the answer to the engine follows. */
uint64_t edge_smtp_take_token(struct edge_smtp *s);

/* The same, with the answer; _later: outside of an event, so that the connection goes on. */
void edge_smtp_answer(struct edge_smtp *s, const struct smtp_reply *reply);
void edge_smtp_answer_later(struct edge_smtp *s, const struct smtp_reply *reply);

/* Gives the connection's input free again, where the message held it. */
void edge_smtp_let_go(struct edge_smtp *s);
void edge_smtp_drop_message(struct edge_smtp *s);

/* ---- What the engine's events ask for; the answer comes now or later ---- */

void edge_smtp_ask_sender(struct edge_smtp *s, const struct smtp_event_sender *sender);
void edge_smtp_ask_recipient(struct edge_smtp *s, const struct smtp_event_recipient *recipient);
void edge_smtp_begin_body(struct edge_smtp *s, const struct smtp_event_body_start *start,
                          struct now now);
void edge_smtp_take_body(struct edge_smtp *s, struct str octets);
void edge_smtp_end_body(struct edge_smtp *s, struct now now);

/* The engine has refused the body: into the log with it. */
void edge_smtp_note_refused(struct edge_smtp *s, struct str why);

/* The client has seen the replies to its messages (promise 3). */
void edge_smtp_confirm(struct edge_smtp *s);

#endif
