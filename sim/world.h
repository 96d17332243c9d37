#ifndef POSTERN_SIM_WORLD_H
#define POSTERN_SIM_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/loop.h"
#include "roles/link.h"
#include "roles/role.h"
#include "roles/warden_counts.h"
#include "store/db.h"

/*
 * A whole server in one process: edge, mailroom, courier, vault and keeper as they are, on one
 * loop, over socket pairs, without fork, sandbox or listening sockets. The clock stands still but
 * for the steps of the script, the randomness comes from the seed, and the databases lie on the
 * simulated disk (vfs_fault.h). world.c is the warden of it.
 */
enum world_role {
    WORLD_VAULT,
    WORLD_KEEPER,
    WORLD_MAILROOM, /* two of them, and of the edges */
    WORLD_MAILROOM_2,
    WORLD_COURIER,
    WORLD_EDGE,
    WORLD_EDGE_2,
    WORLD_ROLES
};

/* Numbers of the listeners in the configuration. */
enum world_listener {
    WORLD_MX,
    WORLD_LMTP,
    WORLD_IMAP,
    WORLD_POP3,
    WORLD_IMAPS,
    WORLD_POP3S,
    WORLD_SUBMISSION,
    WORLD_SUBMISSIONS,
};

enum { WORLD_ACCOUNTS = 2, WORLD_FOLDERS = 3, WORLD_EDGES = 2 };

enum { WORLD_WORDS = 64 };

#define WORLD_PASSWORD "open sesame"

extern const char *const world_names[WORLD_ACCOUNTS];
extern const char *const world_folders[WORLD_FOLDERS]; /* INBOX is the first */

struct world_child {
    struct role *role; /* NULL: dead, and not yet started again */
    struct link *link;
    struct log log;
    bool ready;
};

struct world {
    uint64_t seed; /* as given */
    uint64_t step;
    uint64_t state; /* of the generator */
    struct now clock;
    struct loop *loop;
    int log_fd;
    struct world_child children[WORLD_ROLES];
    struct warden_counts *counts; /* what the edges count in */
    char folder[64], made_folder[64];
    char config[2048];
    struct db *reader; /* NULL while the power is off */
    uint64_t accounts[WORLD_ACCOUNTS];
    uint64_t boxes[WORLD_ACCOUNTS][WORLD_FOLDERS];
    unsigned wires;  /* made so far */
    char *ret_wrong; /* where world_wrong says what, in WORLD_WORDS octets; or NULL */
    uint64_t restarts, power_cuts;
};

/* What is drawn from here on follows from the seed and the step's number alone. */
void world_begin_step(struct world *w, uint64_t step);

/* Less than `below`. */
uint64_t world_draw(struct world *w, uint64_t below);

/* Says which seed and step, and ends the process. */
_Noreturn void world_wrong(const struct world *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* For who wants to see it (WORLD_LOG). */
void world_note(const struct world *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Without accounts: see world_furnish. */
void world_open(struct world *w, uint64_t seed, bool chatty);
void world_close(struct world *w);

/* The accounts are there: finds their mailboxes. */
void world_furnish(struct world *w);

bool world_runs(const struct world *w, enum world_role which);

/* An operator's connection to a role; NULL: it does not run. */
struct link *world_operate(struct world *w, enum world_role which);

/* All roles get another configuration, drawn. Connections stay. */
void world_reload(struct world *w);

/* A connection to that listener, at one of the edges: the client's end, which does not block. -1:
 * nobody is there. */
int world_connect(struct world *w, uint32_t listener);

/* At most that many turns, until nothing moves; roles that have ended stay so. */
void world_turns(struct world *w, int count);

/* Turns until nothing moves, with every role that can be started running again. */
void world_settle(struct world *w);

/* Moves the clock. */
void world_pass(struct world *w, int64_t ms);

/* A role is gone with all that it had in memory. */
void world_kill(struct world *w, enum world_role which);

/* All of them at once, and the disk loses what was not synced. */
void world_power_cut(struct world *w);

/* random.c */
void world_seed_random(uint64_t seed);

#endif
