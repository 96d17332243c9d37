#ifndef POSTERN_AUTH_MTASTS_H
#define POSTERN_AUTH_MTASTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/diag.h"
#include "base/dns.h"
#include "base/str.h"

/*
 * SMTP MTA Strict Transport Security (RFC 8461), the sender's side: what a domain's TXT record and
 * policy say, and what follows from it for a host. Pure. Domains and hosts are A-labels in lower
 * case.
 */

/*
 * The id of the policy from the TXT rows of _mta-sts.DOMAIN (§3.1). False where there is no record,
 * or more than one: then the domain has no policy to fetch. Borrows from the rows.
 */
bool mtasts_record_read(const struct dns_facts *facts, struct str *ret_id);

enum mtasts_mode { MTASTS_NONE, MTASTS_TESTING, MTASTS_ENFORCE };

struct mtasts_policy {
    enum mtasts_mode mode;
    uint64_t max_age_s;
    struct str text; /* as it was read; mtasts_next_mx finds the names in it */
};

enum { MTASTS_POLICY_SIZE_MAX = 64 * 1024 }; /* §3.3 suggests it */

/* "https://mta-sts.DOMAIN/.well-known/mta-sts.txt" without the domain's part. */
#define MTASTS_PATH "/.well-known/mta-sts.txt"

/*
 * Reads what was fetched (§3.2). It borrows from the text; fields of names that nobody knows are
 * skipped. False, with words for the TLS report, where it is no valid policy
 * ("sts-policy-invalid").
 */
bool mtasts_policy_read(struct str text, struct mtasts_policy *ret_policy, struct diag *diag);

/* The next name ("mx.example.org", "*.example.org"); *rest begins as the policy's text. */
bool mtasts_next_mx(struct str *rest, struct str *ret_pattern);

/* Does the policy name the host (§4.1)? The "*" of a pattern stands for one label. */
bool mtasts_names_host(const struct mtasts_policy *policy, struct str host);

enum mtasts_verdict {
    MTASTS_FREE,      /* the policy asks nothing (none) */
    MTASTS_WATCH,     /* testing: go on whatever happens; a certificate that does not verify, or a
                         host that is not named, is only reported */
    MTASTS_VERIFY,    /* enforce: TLS with a certificate that verifies for the host, or no mail */
    MTASTS_NOT_NAMED, /* enforce: the host is not to be used at all ("validation-failure") */
};

enum mtasts_verdict mtasts_check_host(const struct mtasts_policy *policy, struct str host);

/* ---- A policy that was kept ------------------------------------------------------------------ */

enum mtasts_age {
    MTASTS_FRESH,   /* use it */
    MTASTS_REFRESH, /* use it, and fetch it again beside (§5.1) */
    MTASTS_EXPIRED  /* there is none any more */
};

/*
 * age_ms since it was fetched. record_id: the id that the TXT record shows now, empty where the
 * record could not be had (a policy that was kept then holds on).
 */
enum mtasts_age mtasts_age_of(const struct mtasts_policy *policy, struct str kept_id,
                              int64_t age_ms, struct str record_id);

#endif
