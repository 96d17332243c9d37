#include "roles/courier_security.h"

enum { POLICY_NONE = 0, POLICY_TLSA = 1, POLICY_STS = 2, RECORDS_MAX = 32 };

static void demand_names(struct courier_security *s, enum tls_check check, bool enforced,
                         struct str first, struct str second)
{
    s->demand.check = check;
    s->demand.enforced = enforced;
    s->demand.names = s->names;
    s->names[0] = first;
    s->demand.name_count = 1;
    if (str_empty(second) || str_eq_nocase(first, second))
        return;
    s->names[1] = second;
    s->demand.name_count = 2;
}

static void refuse(struct courier_security *s, const char *result, const char *words)
{
    s->usable = false;
    s->result = result;
    s->words = words;
}

/* RFC 7672 §2.2, §3.2.2: the name the records stand at comes first, then the host's own. */
static void use_records(struct courier_security *s, const struct route_host *host)
{
    size_t count = 0;
    for (size_t i = 0; i < host->tlsa_row_count && count < RECORDS_MAX; i++) {
        const struct dns_row *row = &host->tlsa_rows[i];
        s->records[count++] =
            (struct tls_tlsa){row->usage, row->selector, row->matching, row->data};
    }
    s->tls = SMTP_CLIENT_TLS_REQUIRED;
    s->policy_type = POLICY_TLSA;
    if (tls_tlsa_usable(s->records, count) == 0)
        return;
    demand_names(s, TLS_CHECK_DANE, true, host->tlsa_base, host->name);
    s->demand.server_name = host->tlsa_base;
    s->demand.records = s->records;
    s->demand.record_count = count;
}

static void use_sts(struct courier_security *s, const struct courier_route *route,
                    const struct route_host *host)
{
    s->policy_type = POLICY_STS;
    switch (mtasts_check_host(&route->sts->policy, host->name)) {
    case MTASTS_FREE:
        s->policy_type = POLICY_NONE;
        return;
    case MTASTS_WATCH:
        demand_names(s, TLS_CHECK_PKIX, false, host->name, (struct str){0});
        return;
    case MTASTS_VERIFY:
        s->tls = SMTP_CLIENT_TLS_REQUIRED;
        s->mx_authentic = true;
        demand_names(s, TLS_CHECK_PKIX, true, host->name, (struct str){0});
        return;
    case MTASTS_NOT_NAMED:
        refuse(s, "validation-failure", "the domain's MTA-STS policy does not name this server");
        return;
    }
}

static void be_opportunistic(struct courier_security *s, const struct courier_route *route,
                             const struct route_host *host)
{
    s->tls = SMTP_CLIENT_TLS_OFFERED;
    if (host->tlsa != ROUTE_TLSA_NONE)
        use_records(s, host);
    else if (route->sts)
        use_sts(s, route, host);
    else if (host->mx_secure && !str_empty(host->name))
        /* Nothing hangs on it but mail that requires TLS (RFC 8689 §4.2.1). */
        demand_names(s, TLS_CHECK_PKIX, false, host->name, (struct str){0});
}

/*
 * A name that an unsigned MX or SRV record gave is whoever's who forged it. Then the certificate
 * must be for what the record was asked of: the recipient's domain, or a name below it (as Postfix'
 * level "secure"); or for the names that the configuration says.
 */
static void verify(struct courier_security *s, const struct courier_route *route,
                   const struct route_host *host)
{
    s->mx_authentic = true;
    if (route->tls_name_count > 0) {
        demand_names(s, TLS_CHECK_PKIX, true, route->tls_names[0], (struct str){0});
        s->demand.names = route->tls_names;
        s->demand.name_count = route->tls_name_count;
    } else if (host->mx_secure && !str_empty(host->name)) {
        demand_names(s, TLS_CHECK_PKIX, true, host->name, (struct str){0});
    } else if (!str_empty(host->below)) {
        demand_names(s, TLS_CHECK_PKIX, true, str_skip(host->below, 1), host->below);
    } else {
        refuse(s, "certificate-host-mismatch", "there is no name to verify, only an address");
    }
}

void courier_security_decide(const struct courier_route *route, const struct route_host *host,
                             struct courier_security *ret)
{
    *ret = (struct courier_security){.usable = true,
                                     .tls = SMTP_CLIENT_TLS_REQUIRED,
                                     .mx_authentic = host->mx_secure,
                                     .result = "",
                                     .words = ""};
    ret->demand.server_name = host->name;
    if (!str_empty(host->unix_path) || route->route.kind == ROUTE_HERE) {
        ret->tls = SMTP_CLIENT_TLS_NO; /* it does not leave this machine */
        return;
    }
    switch (route->tls) {
    case ROUTE_TLS_NO:
        ret->tls = SMTP_CLIENT_TLS_NO;
        return;
    case ROUTE_TLS_REQUIRED:
        return;
    case ROUTE_TLS_VERIFIED:
        verify(ret, route, host);
        return;
    case ROUTE_TLS_DANE:
        if (host->tlsa == ROUTE_TLSA_USABLE)
            use_records(ret, host);
        if (ret->demand.check != TLS_CHECK_DANE)
            refuse(ret, "tlsa-invalid", "it has no TLSA records that can be used, and must");
        return;
    case ROUTE_TLS_OPPORTUNISTIC:
        be_opportunistic(ret, route, host);
        return;
    }
}
