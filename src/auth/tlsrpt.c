#include "auth/tlsrpt.h"

#include "base/bug.h"

static const char *const results[TLSRPT_RESULTS] = {
    [TLSRPT_SUCCESS] = "",
    [TLSRPT_STARTTLS_NOT_SUPPORTED] = "starttls-not-supported",
    [TLSRPT_CERTIFICATE_HOST_MISMATCH] = "certificate-host-mismatch",
    [TLSRPT_CERTIFICATE_EXPIRED] = "certificate-expired",
    [TLSRPT_CERTIFICATE_NOT_TRUSTED] = "certificate-not-trusted",
    [TLSRPT_VALIDATION_FAILURE] = "validation-failure",
    [TLSRPT_TLSA_INVALID] = "tlsa-invalid",
    [TLSRPT_DNSSEC_INVALID] = "dnssec-invalid",
    [TLSRPT_DANE_REQUIRED] = "dane-required",
    [TLSRPT_STS_POLICY_FETCH_ERROR] = "sts-policy-fetch-error",
    [TLSRPT_STS_POLICY_INVALID] = "sts-policy-invalid",
    [TLSRPT_STS_WEBPKI_INVALID] = "sts-webpki-invalid",
};

const char *tlsrpt_result_name(enum tlsrpt_result result)
{
    invariant(result < TLSRPT_RESULTS);
    return results[result];
}

bool tlsrpt_result_find(struct str name, enum tlsrpt_result *ret_result)
{
    for (int i = 0; i < TLSRPT_RESULTS; i++) {
        if (str_eq(name, str_from_c(results[i]))) {
            *ret_result = (enum tlsrpt_result)i;
            return true;
        }
    }
    return false;
}

const char *tlsrpt_policy_name(enum tlsrpt_policy policy)
{
    static const char *const names[TLSRPT_POLICIES] = {
        [TLSRPT_NO_POLICY] = "no-policy-found", [TLSRPT_TLSA] = "tlsa", [TLSRPT_STS] = "sts"};
    invariant(policy < TLSRPT_POLICIES);
    return names[policy];
}
