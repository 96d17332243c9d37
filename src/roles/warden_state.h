#ifndef POSTERN_ROLES_WARDEN_STATE_H
#define POSTERN_ROLES_WARDEN_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "io/loop.h"
#include "roles/link.h"
#include "roles/log.h"
#include "roles/warden.h"
#include "roles/warden_counts.h"
#include "roles/warden_settings.h"
#include "roles/warden_sockets.h"

/* What the parts of the warden share. One thread, one warden a process. */

enum { CHILDREN_MAX = 5 * 64, OPERATORS_MAX = 32 };

struct warden;

/* A role's process, or the wait for the next one. */
struct child {
    struct warden *warden;
    enum ipc_role role;
    uint8_t index;
    pid_t pid;         /* 0 where none runs */
    struct link *link; /* NULL where none runs, or it has been given up */
    bool ready;
    bool reloading; /* has been sent a new configuration, and has not said that it has it */
    bool told_to_stop;
    bool pinged;       /* and has not answered */
    unsigned failures; /* in a row, each soon after its start */
    int64_t started_ms;
    struct gathering *gathering; /* of the numbers of other edges, for this one */
    struct timer timer;          /* its next start, or the end of patience with its stop */
};

struct operator_link {
    struct warden *warden;
    struct link *link; /* NULL where the place is free */
};

struct warden {
    const struct warden_plan *plan;
    struct loop *loop;
    struct log log;
    struct warden_settings *settings;
    struct warden_sockets sockets;
    struct warden_counts *counts; /* NULL where there is one edge */
    struct child children[CHILDREN_MAX];
    size_t child_count;
    bool announced; /* everything has been ready once */
    enum { RELOAD_NONE, RELOAD_OF_KEEPER, RELOAD_OF_OTHERS } reload;
    bool reload_refused; /* by a role */
    bool stopping;
    bool failed;

    int control_fd;
    struct watch control;
    struct operator_link operators[OPERATORS_MAX];
    uint8_t next_operator;
};

/* ---- warden.c ---- */

/* Reads everything again; on failure the old stays, and words says why. */
enum status_code warden_reload(struct warden *w, struct buf *words) MUST_USE;
void warden_stop(struct warden *w);

/* Everything is ready. */
void warden_announce(struct warden *w);

/* Everything has its new configuration. */
void warden_reloaded(struct warden *w);

/* Ends the loop: the last child has gone. */
void warden_finished(struct warden *w);

/* ---- warden_children.c ---- */

/* Makes room for the configuration's processes and starts the first of them. */
void children_start(struct warden *w);

/* New settings or sockets, for everybody. */
void children_reconfigure(struct warden *w);

/* Stops one stage after the other, the vault last. */
void children_stop(struct warden *w);

/* Those who are being stopped do not finish first. */
void children_hurry(struct warden *w);

/* After SIGCHLD. */
void children_reap(struct warden *w);

/* The one of that role and index that serves; NULL where none does. */
struct child *children_find(struct warden *w, enum ipc_role role, uint8_t index);

/* ---- warden_metrics.c ---- */

/* For edges: see ipc.table. */
void warden_on_edges_metrics(void *context, struct channel *from, uint32_t id);

/* ---- warden_control.c ---- */

enum status_code control_open(struct warden *w, struct diag *diag) MUST_USE;
void control_close(struct warden *w);

#endif
