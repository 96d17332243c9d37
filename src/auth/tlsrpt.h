#ifndef POSTERN_AUTH_TLSRPT_H
#define POSTERN_AUTH_TLSRPT_H

#include <stdbool.h>

#include "base/str.h"

/*
 * SMTP TLS reporting (RFC 8460): the names of what can go wrong (§4.3) and of the policies it
 * happened under (§4.4).
 */
enum tlsrpt_result {
    TLSRPT_SUCCESS, /* no result type of its own */
    /* §4.3.1: negotiation */
    TLSRPT_STARTTLS_NOT_SUPPORTED,
    TLSRPT_CERTIFICATE_HOST_MISMATCH,
    TLSRPT_CERTIFICATE_EXPIRED,
    TLSRPT_CERTIFICATE_NOT_TRUSTED,
    TLSRPT_VALIDATION_FAILURE, /* anything else */
    /* §4.3.2.1: DANE */
    TLSRPT_TLSA_INVALID,
    TLSRPT_DNSSEC_INVALID,
    TLSRPT_DANE_REQUIRED,
    /* §4.3.2.2: MTA-STS */
    TLSRPT_STS_POLICY_FETCH_ERROR,
    TLSRPT_STS_POLICY_INVALID,
    TLSRPT_STS_WEBPKI_INVALID,
    TLSRPT_RESULTS
};

/* "starttls-not-supported"; empty for success. Static. */
const char *tlsrpt_result_name(enum tlsrpt_result result);
bool tlsrpt_result_find(struct str name, enum tlsrpt_result *ret_result);

/* Numbers as in ipc.table's tls_outcome. */
enum tlsrpt_policy { TLSRPT_NO_POLICY, TLSRPT_TLSA, TLSRPT_STS, TLSRPT_POLICIES };

/* "no-policy-found", "tlsa", "sts". Static. */
const char *tlsrpt_policy_name(enum tlsrpt_policy policy);

#endif
