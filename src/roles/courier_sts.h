#ifndef POSTERN_ROLES_COURIER_STS_H
#define POSTERN_ROLES_COURIER_STS_H

#include "auth/mtasts.h"
#include "roles/courier_state.h"

/*
 * MTA-STS policies of domains (RFC 8461): kept in memory, and by the vault over restarts; fetched
 * again where the domain's record shows another id, or where they get old.
 */
struct courier_sts_cache *courier_sts_new(void);
void courier_sts_free(struct courier_sts_cache *cache);

/* A policy in use. Its text and what was read of it live as long as the reference. */
struct courier_sts_policy {
    unsigned references;
    struct mtasts_policy policy;
    struct buf text;
};

void courier_sts_drop(struct courier_sts_policy *policy);

/*
 * Asks for a domain's policy (A-labels, lower case). `found` is called once, later; NULL: there is
 * none, or none can be had (RFC 8461 §5: mail goes on without). What it is given belongs to it.
 */
struct courier_sts_question;
typedef void courier_sts_found(void *context, struct courier_sts_policy *policy);

struct courier_sts_question *courier_sts_ask(struct courier *c, struct str domain,
                                             courier_sts_found *found, void *context);
void courier_sts_cancel(struct courier_sts_question *q);

#endif
