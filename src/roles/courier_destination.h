#ifndef POSTERN_ROLES_COURIER_DESTINATION_H
#define POSTERN_ROLES_COURIER_DESTINATION_H

#include "roles/courier_job.h"
#include "roles/courier_route.h"

/*
 * A destination that the vault let us begin: from then on its due rows come to us alone, until we
 * say that we are done with it, or that it cannot be reached.
 */
struct courier_destination {
    struct courier_destination *next, **at; /* of its slot */
    struct courier *courier;
    uint64_t id;
    struct buf name;
    uint32_t trouble;
    struct courier_route *route;   /* the one in use; NULL until it is found */
    struct courier_route *finding; /* the one that is being looked for */
    uint32_t route_number;         /* how many there were */
    struct pace pace;
    struct courier_job *jobs, **last_job; /* that wait for a connection */
    size_t waiting;
    size_t working; /* jobs on connections */
    struct courier_connection *connections;
    size_t connection_count, ready_count;
    size_t live;           /* connections that are not closed yet */
    size_t host, address;  /* of the route: where it worked last */
    uint32_t failed_hosts; /* of the route, a bit each: that let nobody in */
    bool more;             /* the vault may have rows that are due */
    bool news;             /* so it said since the lease that is under way was asked for */
    uint32_t asked;        /* messages, in the lease that is under way */
    bool ending;
    bool begun_again; /* the vault thinks that we are there, though it was ending */
    int64_t idle_since_ms;
    struct timer timer;
    struct hook hook;
    struct metric *delivered, *put_off;
};

struct courier_destination *courier_destination_find(struct courier *c, uint64_t id);

/* NULL where there is no memory. */
struct courier_destination *courier_destination_begin(struct courier *c, uint64_t id,
                                                      struct str name, uint32_t trouble);

/* With its connections and jobs, whose recipients are given back. Tells the vault nothing. */
void courier_destination_free(struct courier_destination *d);

/* Takes the job over. */
void courier_destination_add(struct courier_destination *d, struct courier_job *job);

/* What can be done now is done at the end of this turn. */
void courier_destination_run_soon(struct courier_destination *d);

/* Gives everything that is not on a connection back, and lets connections end (a stop). */
void courier_destination_stop(struct courier_destination *d);

/* How many more messages it could use now. */
uint32_t courier_destination_wants(const struct courier_destination *d);

/* ---- For its connections --------------------------------------------------------------------- */

/*
 * The next job that this host of the route may take, the connection's from now on; NULL: none at
 * the moment.
 */
struct courier_job *courier_destination_take(struct courier_destination *d, size_t host);

/*
 * A host may lack what a message needs: REQUIRETLS, SMTPUTF8, its size. Then the message goes to
 * another host of the route, over a connection that is opened for it; what all of them lack is
 * refused by the last one (RFC 8689 §4.2.1).
 */
void courier_destination_note_lack(struct courier_destination *d, struct courier_job *job,
                                   size_t host);

/* Is there a host besides this one that may take the job? */
bool courier_destination_has_others(const struct courier_destination *d,
                                    const struct courier_job *job, size_t host);

/* Jobs wait, and none that this host may take. */
bool courier_destination_has_only_others(const struct courier_destination *d, size_t host);

/* The job that waits longest cannot go to this host, and no connection may be opened beside it. */
bool courier_destination_wants_place(const struct courier_destination *d, size_t host);

/* The hosts, a bit each, that a new connection need not try: those of no use to who waits longest.
 */
uint32_t courier_destination_avoids(const struct courier_destination *d);

/*
 * A connection came to nothing on every host but those in `avoid`: the fate is for the jobs that
 * cannot go to these. It says nothing about the destination.
 */
void courier_destination_unfit(struct courier_destination *d, uint32_t avoid,
                               const struct courier_fate *fate);

/* The job comes back: to be tried again at once where recipients are left, else it is over. */
void courier_destination_return(struct courier_destination *d, struct courier_job *job);

/*
 * A connection came to nothing on every host. fate (IPC_OUTCOME_LATER or IPC_OUTCOME_FAILED) is for
 * what waits, where nothing else is still trying.
 */
void courier_destination_unreachable(struct courier_destination *d, uint32_t wave,
                                     const struct courier_fate *fate);

#endif
