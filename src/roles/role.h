#ifndef POSTERN_ROLES_ROLE_H
#define POSTERN_ROLES_ROLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/diag.h"
#include "base/status.h"
#include "io/loop.h"
#include "ipc/channel.h"
#include "roles/log.h"
#include "roles/metrics.h"

/*
 * The frame around every role but the warden: its loop, its channel to the warden, its peers, its
 * configuration, its end. A role fills in a role_plan; its state has no globals, so that several
 * roles can live in one process (tests, simulation).
 *
 * Life: prepare (first configuration, still outside the sandbox: open what will be needed) ->
 * sandbox -> ready -> peers, listeners, keys and requests come, in any order -> stop -> role_end.
 */
struct role;

struct role_plan {
    enum ipc_role self;

    /* For what peers (not the warden) send; its context is `state`. Outlives the role. */
    const struct ipc_handlers *handlers;

    /*
     * Makes the role's state; called once, before anything else. NULL ends the role. The state is
     * freed with `destroy`, after all channels have been closed.
     */
    void *(*create)(struct role *role);
    void (*destroy)(void *state);

    /* The first configuration. Anything but STATUS_OK ends the role with the diag's words. */
    enum status_code (*prepare)(void *state, const struct ipc_config_in *config, struct diag *diag);

    /* A later one; the warden has checked it. NULL where the role has nothing to change. */
    void (*reconfigure)(void *state, const struct ipc_config_in *config);

    /* From the warden; each takes the descriptor over. NULL where the role is never sent one. */
    void (*listener)(void *state, uint32_t number, int fd);
    void (*key_file)(void *state, uint32_t number, int fd);
    void (*count_section)(void *state, const struct ipc_count_section_in *section);
    void (*sign_channel)(void *state, uint8_t index, int fd);
    void (*route_secret)(void *state, struct str route, struct str login, int fd);
    void (*trust_file)(void *state, uint8_t kind, int fd);

    /* Numbers are asked for: those that are a state, not a count, are set now. May be NULL. */
    void (*set_gauges)(void *state);

    /*
     * A peer can be talked to, or not any more (its calls have had STATUS_GONE; it may come back).
     * Either may be NULL.
     */
    void (*peer_up)(void *state, enum ipc_role peer, uint8_t index, struct channel *ch);
    void (*peer_down)(void *state, enum ipc_role peer, uint8_t index);

    /* Finish what is at hand (now: at once), then call role_end, now or later. NULL: at once. */
    void (*stop)(void *state, bool now);
};

/* The process's main: serves until stopped; returns the exit status. fd 3 is the warden's channel.
 */
int role_main(const struct role_plan *plan, uint8_t index);

/* For single-process form: a role on a loop that others share, its warden's end at the fd. */
struct role *role_new(const struct role_plan *plan, uint8_t index, struct loop *loop, int fd,
                      struct log *log);
void role_free(struct role *role);
bool role_has_ended(const struct role *role);

/* The role has finished; the process ends when this turn does. */
void role_end(struct role *role);

/* Lets go of all peers, without an answer to what they asked: as its death would. */
void role_cut_off(struct role *role);

/* The vault's: a reader keeps the WAL from being copied, and ought to be ended. */
void role_tell_wal_kept(struct role *role);

/* From inside reconfigure: the new configuration cannot be used, the old one stays. */
void role_refuse_reload(struct role *role, const char *why);

/* For what only an edge asks of it. */
struct channel *role_warden(struct role *role);

/* What the handler of a metrics call does, in every role that has one. */
void role_reply_metrics(struct role *role, struct channel *from, uint32_t id);

struct loop *role_loop(struct role *role);
struct now role_now(struct role *role);
struct log *role_log(struct role *role);
struct metrics *role_metrics(struct role *role);
uint8_t role_index(const struct role *role);
void *role_state(struct role *role);

/*
 * The channel to a peer; NULL where it is not there now (which the generated senders take). Keep
 * the channel no longer than peer_down says.
 */
struct channel *role_peer(struct role *role, enum ipc_role peer, uint8_t index);

/* Every peer of that kind in turn, from *index = 0 on; NULL behind the last. */
struct channel *role_next_peer(struct role *role, enum ipc_role peer, unsigned *index);

#endif
