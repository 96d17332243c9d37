#include "base/testing.h"
#include "policy/route.h"

static struct str smart_domains[] = {STR("example.com"), STR(".example.com")};
static struct str all_domains[] = {STR("*")};
static struct route_rule list[] = {
    {.name = STR("smart"), .domains = smart_domains, .domain_count = 2},
    {.name = STR("rest"), .domains = all_domains, .domain_count = 1},
};
static const struct route_rules none, smart = {list, 1}, both = {list, 2};

static void expect(const struct route_rules *rules, const char *domain, const char *destination)
{
    struct buf out;
    buf_init(&out, 512);
    bool ok = route_destination(rules, str_from_c(domain), &out);
    assert_int_equal(ok, destination != NULL);
    assert_true(str_eq(buf_str(&out), str_from_c(destination)));
    buf_release(&out);
}

static void a_domain_without_a_route_goes_by_the_dns(void **state)
{
    (void)state;
    expect(&none, "example.org", "dns:example.org");
    expect(&none, "EXAMPLE.Org", "dns:example.org");
    expect(&none,
           "b\xC3\xBC"
           "cher.example",
           "dns:xn--bcher-kva.example");
    expect(&none, "xn--BCHER-kva.example", "dns:xn--bcher-kva.example");
    expect(&smart, "notexample.com", "dns:notexample.com");
}

static void the_first_rule_that_has_the_domain_takes_it(void **state)
{
    (void)state;
    expect(&smart, "Example.COM", "route:smart");
    expect(&both, "a.b.example.com", "route:smart");
    expect(&both, "example.org", "route:rest");
    expect(&both, "[192.0.2.1]", "route:rest");
}

static void an_address_literal_is_named_in_one_way_only(void **state)
{
    (void)state;
    expect(&none, "[192.0.2.1]", "literal:192.0.2.1");
    expect(&none, "[IPv6:2001:DB8:0:0::1]", "literal:2001:db8::1");
    expect(&none, "[ipv6:::ffff:192.0.2.1]", "literal:192.0.2.1");
    expect(&smart, "[192.0.2.1]", "literal:192.0.2.1");
}

static void what_is_no_domain_has_no_destination(void **state)
{
    (void)state;
    static const char *const domains[] = {
        "",          "a..b",      "-a.test",    "a b",           "[",
        "[]",        "[192.0.2]", "[192.0.2.1", "[2001:db8::1]", "[IPv6:192.0.2.1]",
        "[x-tag:y]", "[IPv6:]",   "xn--a.test"};
    for (size_t i = 0; i < sizeof domains / sizeof domains[0]; i++)
        expect(&both, domains[i], NULL);
}

static void a_name_is_taken_apart_again(void **state)
{
    (void)state;
    enum route_kind kind;
    struct str rest;
    assert_true(route_destination_split(STR("literal:2001:db8::1"), &kind, &rest));
    assert_int_equal(kind, ROUTE_LITERAL);
    assert_true(str_eq(rest, STR("2001:db8::1")));
    assert_false(route_destination_split(STR("dns:"), &kind, &rest));
    assert_false(route_destination_split(STR("example.org"), &kind, &rest));
    assert_ptr_equal(route_rule_find(&both, STR("route:rest")), &list[1]);
    assert_null(route_rule_find(&both, STR("route:gone")));
    assert_null(route_rule_find(&both, STR("dns:rest")));
}

static void a_lenient_name_is_one_of_the_dns(void **state)
{
    (void)state;
    static const struct {
        struct str strict, lenient;
    } cases[] = {
        {STR("dns:example.org"), STR("dns-any-tls:example.org")},
        {STR("dns-any-tls:example.org"), STR("dns-any-tls:example.org")},
        {STR("route:rest"), STR("route:rest")},
        {STR("literal:192.0.2.1"), STR("literal:192.0.2.1")},
    };
    enum route_kind kind;
    struct str rest;
    struct buf out;
    buf_init(&out, 100);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        buf_clear(&out);
        assert_true(route_destination_lenient(cases[i].strict, &out));
        assert_true(str_eq(buf_str(&out), cases[i].lenient));
        assert_int_equal(route_destination_is_lenient(buf_str(&out)), i < 2);
    }
    buf_release(&out);
    assert_false(route_destination_is_lenient(cases[0].strict));
    assert_true(route_destination_split(cases[0].lenient, &kind, &rest));
    assert_int_equal(kind, ROUTE_DNS);
    assert_true(str_eq(rest, STR("example.org")));
    assert_false(route_destination_split(STR("dns-any-tls:"), &kind, &rest));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_domain_without_a_route_goes_by_the_dns),
        cmocka_unit_test(the_first_rule_that_has_the_domain_takes_it),
        cmocka_unit_test(an_address_literal_is_named_in_one_way_only),
        cmocka_unit_test(what_is_no_domain_has_no_destination),
        cmocka_unit_test(a_name_is_taken_apart_again),
        cmocka_unit_test(a_lenient_name_is_one_of_the_dns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
