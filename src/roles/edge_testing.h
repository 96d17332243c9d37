#ifndef POSTERN_ROLES_EDGE_TESTING_H
#define POSTERN_ROLES_EDGE_TESTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "roles/edge.h"
#include "roles/edge_conn.h"
#include "roles/link.h"

/*
 * An edge with a warden, a mailroom, a vault and a keeper that follow a script, all in one loop.
 * Clients are socket pairs. Nothing here waits: what has been sent can be read in the next turn.
 * What goes wrong fails the test.
 */

/* The listeners. PROXIED is an mx too; from its 198.51.100.0/24 mail may go anywhere. */
enum { MX, SUBMISSION, LMTP, IMAP, POP3, PROXIED };
enum { TURNS_MAX = 1000, HELD_MAX = 8, ALICE = 7 };

/* The requests of one kind that a role has not answered yet. */
struct held {
    bool hold; /* else they are answered at once */
    struct channel *from;
    uint32_t ids[HELD_MAX];
    size_t count;
};

struct world {
    struct loop *loop;
    struct log log;
    struct role *role;
    struct edge *edge;
    struct link *warden, *mailroom, *vault, *keeper;
    bool ready;

    /* The script, and what the roles were told. */
    struct held recipients, chunks, accepts;
    enum status_code chunk_status, accept_status, second_status;
    size_t members; /* of the next recipient, where it is a list */
    uint8_t login_outcome;
    bool login_challenges; /* instead */
    int steps;             /* of logins, that were asked for */
    struct buf body;       /* of the last message, unpacked */
    struct buf prefix;     /* of all deliveries */
    struct buf plan;       /* of the last message: a line for each recipient, see on_accept */
    struct buf asked;      /* of the mailroom: a line for each recipient */
    struct ipc_envelope envelope; /* without its texts */
    struct ipc_email email;       /* without its octets, with their lengths */
    struct buf keys;
    struct buf confirmed;
    struct buf accepted; /* recipients of the last accept, each with a space */
    uint64_t aborted_body;
    int accept_count;
    int session_fd;

    int client;
    bool tcp;
    struct buf heard;
};

void world_open(struct world *w);
void world_close(struct world *w);

/* Until the vault has heard so many octets of keys confirmed. */
void world_hear_confirmed(struct world *w, size_t size);

/* Turns of the loop. */
void world_turns(struct world *w, int count);
size_t world_connections_after_turns(struct world *w);

/* These words are in the log. */
void world_expect_log(struct world *w, const char *words);

/* Another role comes (again), or goes. */
void world_start_peer(struct world *w, struct link **link, enum ipc_role role);
void world_kill_peer(struct link **link);

/* Answers a request that was held. */
void world_answer_recipient(struct world *w, struct channel *from, uint32_t id);
void world_answer_chunk(struct world *w, struct channel *from, uint32_t id);
void world_answer_accept(struct world *w, struct channel *from, uint32_t id);

/* The client: connects to a listener, says, and waits to hear (forgetting all up to its end). */
void world_call(struct world *w, uint32_t listener);
void world_say(struct world *w, const char *words);
void world_say_all(struct world *w, struct str octets);
void world_hear(struct world *w, const char *words);
void world_hear_end(struct world *w);
void world_hang_up(struct world *w);

/* Up to the answer to EHLO; up to a recipient, alice. */
void world_greet(struct world *w, uint32_t listener);
void world_begin_mail(struct world *w, uint32_t listener);

/* A body of `size` octets that zstd cannot make smaller. */
void world_make_noise(struct buf *out, size_t size);

#define HEADER                                                                                     \
    "From: bob@example.net\r\nDate: Tue, 1 Jul 2025 10:00:00 +0000\r\nMessage-ID: <1@a>\r\n\r\n"

#endif
