#ifndef POSTERN_ROLES_COURIER_STATE_H
#define POSTERN_ROLES_COURIER_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "io/fetch.h"
#include "io/resolver.h"
#include "io/tls_client.h"
#include "policy/pace.h"
#include "policy/recent.h"
#include "policy/retry.h"
#include "roles/config.h"
#include "roles/role.h"
#include "store/read.h"

/*
 * The courier's parts and what they share. Each part has its own header:
 *
 *   courier_settings      what the configuration says, and the files of whom to trust
 *   courier_resolve       names of addresses, for the edge
 *   courier_queue         leases and outcomes: all talk with the vault about the queue
 *   courier_job           a leased message and what became of its recipients
 *   courier_notice        reports to senders
 *   courier_destination   a destination that has begun: its route, pace, jobs, connections
 *   courier_route         the hosts of a destination, asked of the DNS
 *   courier_sts           MTA-STS policies
 *   courier_security      what TLS a host must show
 *   courier_connection    one connection: stream, engine, messages one after the other
 *   courier_delivery      one message on a connection
 *   courier_body          the octets of a leased message
 *   courier_tls_report    what TLS came to, gathered for reports
 *   courier_explain       where mail for an address would go now
 */

/* ---- Settings (courier_settings.c) ------------------------------------------------------------
 */

/* Whoever works by them holds a reference: a new configuration does not disturb what has begun. */
struct courier_settings {
    unsigned references;
    struct arena arena;
    struct config config;
    struct retry_schedule retry;
    struct network_endpoint *own_endpoints;
    size_t own_endpoint_count;
    bool ipv4, ipv6;
};

struct courier_settings *courier_settings_take(struct courier_settings *s);
void courier_settings_drop(struct courier_settings *s);

/* ---- The courier --------------------------------------------------------------------------------
 */

struct courier_counts {
    struct metric *names_asked, *names_found, *names_timed_out;
    struct metric *leased, *delivered, *put_off, *refused, *given_back, *maybe_repeated;
    struct metric *reports, *reports_dropped, *reports_put_off;
    struct metric *connections, *connections_failed, *in_clear, *under_tls, *authenticated,
        *resumed;
    struct metric *open, *destinations, *jobs, *waiting_outcomes;
};

enum { COURIER_SLOTS = 1024, COURIER_LABELS_MAX = 50, COURIER_LABEL_SIZE = 280 };

struct courier {
    struct role *role;
    struct courier_settings *settings;
    /* Whom to trust: what the files say that the warden opened. May be empty. */
    struct buf authorities, anchors;
    struct buf coming_authorities, coming_anchors; /* for the next configuration */
    bool trust_too_big;
    struct resolver *resolver;
    struct tls_client *tls;
    struct fetcher *fetcher;
    struct body_reader reader; /* decompresses for all */
    struct reverse_name *reverse_names;
    struct courier_queue *queue;
    struct courier_destination *destinations[COURIER_SLOTS]; /* by id */
    size_t destination_count, troubled_count;
    struct pace_total pace;
    struct recent without_bdat; /* servers that offer CHUNKING and do not know BDAT */
    struct courier_sts_cache *sts;
    struct courier_tls_report *tls_report;
    struct courier_notice *notices;
    unsigned shipping; /* reports whose bodies are on their way to the vault */
    uint64_t body_counter;
    struct courier_explanation *explanations;
    int64_t ipv6_failed_ms; /* on the mono clock, 0: it works, as far as we know */
    uint64_t id_counter, sasl_counter;
    bool stopping;
    struct timer stop_timer;
    struct courier_counts counts;
    char labels[COURIER_LABELS_MAX]
               [COURIER_LABEL_SIZE]; /* destinations with metrics of their own */
    size_t label_count;
};

static inline struct loop *courier_loop(const struct courier *c)
{
    return role_loop(c->role);
}

static inline struct now courier_now(const struct courier *c)
{
    return role_now(c->role);
}

/* For logs and reports: sorted by time, as the edge's. */
enum { COURIER_ID_SIZE = 14 };
void courier_new_id(struct courier *c, char ret_id[COURIER_ID_SIZE]);

/* Called by all that ends while the courier stops: ends the role when nothing is left. */
void courier_may_end(struct courier *c);

#endif
