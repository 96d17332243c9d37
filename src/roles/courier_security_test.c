#include "roles/courier_security.h"

#include <string.h>

#include "base/testing.h"

static const char digest[32] = "0123456789abcdef0123456789abcde";
static const struct dns_row usable_row = {
    .usage = 3, .selector = 1, .matching = 1, .data = {digest, 32}};

static struct route_host host_named(const char *name)
{
    return (struct route_host){.name = str_from_c(name), .port = 25, .address_count = 1};
}

static struct route_host dane_host(enum route_tlsa tlsa)
{
    struct route_host host = host_named("mx.a.test");
    host.mx_secure = host.addresses_secure = true;
    host.tlsa = tlsa;
    host.tlsa_base = host.name;
    host.tlsa_rows = &usable_row;
    host.tlsa_row_count = tlsa == ROUTE_TLSA_USABLE ? 1 : 0;
    return host;
}

static struct courier_security decide(const struct courier_route *route, struct route_host host)
{
    static struct route_host kept;
    struct courier_security s;
    kept = host;
    courier_security_decide(route, &kept, &s);
    return s;
}

static void without_any_policy_tls_is_taken_as_it_is_offered(void **state)
{
    (void)state;
    struct courier_route route = {.tls = ROUTE_TLS_OPPORTUNISTIC};
    struct courier_security s = decide(&route, host_named("mx.a.test"));
    assert_true(s.usable && s.tls == SMTP_CLIENT_TLS_OFFERED);
    assert_int_equal(s.demand.check, TLS_CHECK_NOTHING);
    assert_int_equal(s.policy_type, 0);
    assert_false(s.mx_authentic);
}

/* So that mail which requires TLS may go there (RFC 8689 §4.2.1). */
static void a_certain_host_is_looked_at_without_being_held_to_it(void **state)
{
    (void)state;
    struct courier_route route = {.tls = ROUTE_TLS_OPPORTUNISTIC};
    struct route_host host = host_named("mx.a.test");
    host.mx_secure = true;
    struct courier_security s = decide(&route, host);
    assert_true(s.tls == SMTP_CLIENT_TLS_OFFERED && s.mx_authentic);
    assert_true(s.demand.check == TLS_CHECK_PKIX && !s.demand.enforced);
}

static void dane_goes_before_mta_sts(void **state)
{
    (void)state;
    struct courier_sts_policy sts = {.policy = {.mode = MTASTS_ENFORCE}};
    struct courier_route route = {.tls = ROUTE_TLS_OPPORTUNISTIC, .sts = &sts};
    struct courier_security s = decide(&route, dane_host(ROUTE_TLSA_USABLE));
    assert_true(s.usable && s.tls == SMTP_CLIENT_TLS_REQUIRED);
    assert_true(s.demand.check == TLS_CHECK_DANE && s.demand.enforced);
    assert_int_equal(s.demand.record_count, 1);
    assert_int_equal(s.policy_type, 1);
}

/* RFC 7672 §2.2. */
static void unusable_records_still_require_tls(void **state)
{
    (void)state;
    struct courier_route route = {.tls = ROUTE_TLS_OPPORTUNISTIC};
    struct courier_security s = decide(&route, dane_host(ROUTE_TLSA_UNUSABLE));
    assert_true(s.usable && s.tls == SMTP_CLIENT_TLS_REQUIRED);
    assert_int_equal(s.demand.check, TLS_CHECK_NOTHING);
}

static void mta_sts_says_which_hosts_and_how(void **state)
{
    (void)state;
    struct courier_sts_policy sts = {0};
    assert_true(mtasts_policy_read(
        STR("version: STSv1\nmode: enforce\nmx: mx.a.test\nmax_age: 86400\n"), &sts.policy, NULL));
    struct courier_route route = {.tls = ROUTE_TLS_OPPORTUNISTIC, .sts = &sts};
    struct courier_security s = decide(&route, host_named("mx.a.test"));
    assert_true(s.usable && s.tls == SMTP_CLIENT_TLS_REQUIRED && s.mx_authentic);
    assert_true(s.demand.check == TLS_CHECK_PKIX && s.demand.enforced);
    s = decide(&route, host_named("mx.b.test"));
    assert_false(s.usable);
    assert_string_equal(s.result, "validation-failure");
    sts.policy.mode = MTASTS_TESTING;
    s = decide(&route, host_named("mx.b.test"));
    assert_true(s.usable && s.tls == SMTP_CLIENT_TLS_OFFERED && !s.demand.enforced);
    assert_int_equal(s.policy_type, 2);
}

static void the_configuration_has_the_last_word(void **state)
{
    (void)state;
    struct courier_route route = {.tls = ROUTE_TLS_NO};
    assert_int_equal(decide(&route, dane_host(ROUTE_TLSA_USABLE)).tls, SMTP_CLIENT_TLS_NO);
    route.tls = ROUTE_TLS_REQUIRED;
    assert_int_equal(decide(&route, host_named("mx.a.test")).tls, SMTP_CLIENT_TLS_REQUIRED);
    route.tls = ROUTE_TLS_VERIFIED;
    assert_false(decide(&route, host_named("")).usable);
    route.tls = ROUTE_TLS_DANE;
    assert_true(decide(&route, dane_host(ROUTE_TLSA_USABLE)).usable);
    assert_false(decide(&route, dane_host(ROUTE_TLSA_NONE)).usable);
}

/* What an unsigned MX says is no name to be sure of. */
static void a_verified_name_is_the_domains_unless_the_host_is_known_for_sure(void **state)
{
    (void)state;
    struct courier_route route = {.tls = ROUTE_TLS_VERIFIED};
    struct route_host host = host_named("mx.elsewhere.test");
    host.below = STR(".a.test");
    struct courier_security s;
    courier_security_decide(&route, &host, &s);
    assert_true(s.usable && s.demand.enforced && s.demand.check == TLS_CHECK_PKIX);
    assert_int_equal(s.demand.name_count, 2);
    assert_true(str_eq(s.demand.names[0], STR("a.test")));
    assert_true(str_eq(s.demand.names[1], STR(".a.test")));
    host.mx_secure = true;
    courier_security_decide(&route, &host, &s);
    assert_int_equal(s.demand.name_count, 1);
    assert_true(str_eq(s.demand.names[0], STR("mx.elsewhere.test")));
    route.tls_names = (struct str[]){STR(".mail.test"), STR("b.test")};
    route.tls_name_count = 2;
    courier_security_decide(&route, &host, &s);
    assert_int_equal(s.demand.name_count, 2);
    assert_true(str_eq(s.demand.names[0], STR(".mail.test")));
    assert_true(str_eq(s.demand.server_name, STR("mx.elsewhere.test")));
}

static void a_unix_socket_needs_no_tls(void **state)
{
    (void)state;
    struct courier_route route = {.tls = ROUTE_TLS_OPPORTUNISTIC};
    struct route_host host = {.unix_path = STR("/run/lmtp")};
    assert_int_equal(decide(&route, host).tls, SMTP_CLIENT_TLS_NO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_any_policy_tls_is_taken_as_it_is_offered),
        cmocka_unit_test(a_certain_host_is_looked_at_without_being_held_to_it),
        cmocka_unit_test(dane_goes_before_mta_sts),
        cmocka_unit_test(unusable_records_still_require_tls),
        cmocka_unit_test(mta_sts_says_which_hosts_and_how),
        cmocka_unit_test(the_configuration_has_the_last_word),
        cmocka_unit_test(a_verified_name_is_the_domains_unless_the_host_is_known_for_sure),
        cmocka_unit_test(a_unix_socket_needs_no_tls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
