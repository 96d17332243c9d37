#include "policy/route.h"

#include <stdio.h>

#include "base/limits.h"
#include "base/testing.h"
#include "policy/route_address.h"

/*
 * The DNS of a test, one line for each name and type. rows: "10 mx.test, 20 b.test" of MX,
 * "10 5 2525 a.test" of SRV, addresses, "2 1 1 SIZE" of TLSA (data of so many octets), "x" of
 * CNAME. Before them "s" (secure), ">name" (they stand there, behind aliases); instead of them
 * "NX", "FAIL", "TIMEOUT", "BOGUS", or nothing. What is not here does not exist.
 */
struct line {
    const char *name;
    enum dns_type type;
    const char *rows;
};

struct world {
    const struct line *zone;
    struct route_settings settings;
    const char *destination;
    char asked[4096]; /* "MX a.test\n" of each question */
    char result[4096];
};

static enum dns_outcome read_outcome(struct str *rows)
{
    static const struct {
        const char *word;
        enum dns_outcome outcome;
    } words[] = {{"NX", DNS_NXDOMAIN},
                 {"FAIL", DNS_FAILED},
                 {"TIMEOUT", DNS_TIMED_OUT},
                 {"BOGUS", DNS_BOGUS}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (str_eq(*rows, str_from_c(words[i].word)))
            return *rows = STR(""), words[i].outcome;
    return DNS_OK;
}

static uint16_t take_number(struct str *rest)
{
    struct str word = STR("");
    uint64_t number = 0;
    str_split(rest, ' ', &word);
    assert_true(str_to_u64(word, 65535, &number));
    return (uint16_t)number;
}

static void read_row(enum dns_type type, struct str text, struct dns_row *row)
{
    static const char data[512];
    if (type == DNS_A || type == DNS_AAAA) {
        assert_true(route_address_read(text, row->octets));
        return;
    }
    if (type == DNS_MX || type == DNS_SRV)
        row->preference = take_number(&text);
    if (type == DNS_SRV) {
        row->weight = take_number(&text);
        row->port = take_number(&text);
    }
    if (type == DNS_TLSA) {
        row->usage = (uint8_t)take_number(&text);
        row->selector = (uint8_t)take_number(&text);
        row->matching = (uint8_t)take_number(&text);
        text = str_make(data, take_number(&text));
    }
    row->data = str_eq(text, STR(".")) ? STR("") : text;
}

static void answer_from(const struct world *w, const struct route_question *q,
                        struct dns_facts *facts, struct dns_row *rows)
{
    bool exists = false;
    *facts = (struct dns_facts){.rows = rows};
    for (const struct line *line = w->zone; line->name; line++) {
        struct str text = str_from_c(line->rows), row;
        if (!str_eq(q->name, str_from_c(line->name)))
            continue;
        exists = true;
        if (line->type != q->type)
            continue;
        if (str_starts(text, STR("s"))) {
            facts->secure = true;
            text = str_trim(str_skip(text, 1));
        }
        if (str_starts(text, STR(">"))) {
            str_split(&text, ' ', &row);
            facts->owner = str_skip(row, 1);
        }
        facts->outcome = read_outcome(&text);
        while (str_split(&text, ',', &row))
            read_row(q->type, str_trim(row), &rows[facts->row_count++]);
    }
    if (!exists)
        facts->outcome = DNS_NXDOMAIN;
}

static void print_host(struct buf *out, const struct route_host *h)
{
    buf_printf(out, "%.*s%.*s", STR_ARG(h->name), STR_ARG(h->unix_path));
    for (size_t i = 0; i < h->address_count; i++) {
        buf_append_byte(out, ' ');
        route_address_print(out, h->addresses[i]);
    }
    if (str_empty(h->unix_path))
        buf_printf(out, ":%u", h->port);
    if (h->mx_secure && h->addresses_secure)
        buf_printf(out, " secure");
    if (h->tlsa != ROUTE_TLSA_NONE)
        buf_printf(out, " tlsa %zu at %.*s", h->tlsa_row_count, STR_ARG(h->tlsa_base));
    buf_append_byte(out, '\n');
}

static void print_decision(struct world *w, const struct route_decision *d)
{
    struct buf out;
    buf_init(&out, sizeof w->result - 1);
    for (size_t i = 0; i < d->host_count; i++)
        print_host(&out, &d->hosts[i]);
    if (d->verdict != ROUTE_HOSTS) {
        assert_true(d->words.len > 0);
        buf_printf(&out, "%s %u %.*s", d->verdict == ROUTE_WAIT ? "wait" : "bounce", d->code,
                   STR_ARG(d->enhanced));
    }
    assert_true(str_to_c(buf_str(&out), w->result, sizeof w->result));
    buf_release(&out);
}

static const char *type_name(enum dns_type type)
{
    return type == DNS_MX      ? "MX"
           : type == DNS_SRV   ? "SRV"
           : type == DNS_A     ? "A"
           : type == DNS_AAAA  ? "AAAA"
           : type == DNS_CNAME ? "CNAME"
                               : "TLSA";
}

/* Answers come in the order of the questions, or in the opposite one: that must not matter. */
static void run_in_order(struct world *w, bool backwards)
{
    struct arena arena;
    struct route r;
    struct buf asked;
    arena_init(&arena, 1 << 20);
    buf_init(&asked, sizeof w->asked - 1);
    route_begin(&r, &arena, &w->settings, str_from_c(w->destination));
    while (r.decision.verdict == ROUTE_PENDING) {
        struct route_question open[64];
        size_t count = 0;
        while (count < 64 && route_next(&r, &open[count])) {
            buf_printf(&asked, "%s %.*s\n", type_name(open[count].type), STR_ARG(open[count].name));
            count++;
        }
        assert_true(count > 0);
        for (size_t i = 0; i < count; i++) {
            struct dns_row rows[64] = {0};
            struct dns_facts facts;
            const struct route_question *q = &open[backwards ? count - 1 - i : i];
            answer_from(w, q, &facts, rows);
            route_answer(&r, q->token, &facts);
            memset(rows, 0xEE, sizeof rows); /* it is copied */
        }
    }
    assert_true(str_to_c(buf_str(&asked), w->asked, sizeof w->asked));
    print_decision(w, &r.decision);
    buf_release(&asked);
    arena_reset(&arena);
}

static struct world make_world(const struct line *zone, const char *destination)
{
    static const struct str own_names[] = {STR("own.test")};
    static const struct network_endpoint own_endpoints[] = {
        {{[10] = 0xFF, 0xFF, 198, 51, 100, 1}, 25}};
    static struct network loopback[] = {{{[10] = 0xFF, 0xFF, 127}, 96 + 8}};
    static const struct networks refused = {loopback, 1};
    return (struct world){.zone = zone,
                          .destination = destination,
                          .settings = {.port = 25,
                                       .ipv4 = true,
                                       .ipv6 = true,
                                       .dane = true,
                                       .own_names = own_names,
                                       .own_name_count = 1,
                                       .own_endpoints = own_endpoints,
                                       .own_endpoint_count = 1,
                                       .refused = &refused,
                                       .seed = 1}};
}

static void expect_of(struct world *w, const char *result)
{
    run_in_order(w, true);
    assert_string_equal(w->result, result);
    run_in_order(w, false);
    assert_string_equal(w->result, result);
}

static void expect(const struct line *zone, const char *destination, const char *result)
{
    struct world w = make_world(zone, destination);
    expect_of(&w, result);
}

/* ---- MX -------------------------------------------------------------------------------------- */

static const struct line plain[] = {
    {"a.test", DNS_MX, "20 second.test, 10 first.test"},
    {"first.test", DNS_A, "192.0.2.1"},
    {"second.test", DNS_A, "192.0.2.2"},
    {"upper.test", DNS_MX, "10 FIRST.Test"},
    {"twice.test", DNS_MX, "20 first.test, 15 second.test, 10 first.test, 30 second.test"},
    {"bare.test", DNS_A, "192.0.2.3"},
    {"six.test", DNS_AAAA, "2001:db8::6"},
    {"txt.test", DNS_TXT, ""},
    {"null.test", DNS_MX, "0 ."},
    {"odd.test", DNS_MX, "0 ., 10 first.test"},
    {"literal.test", DNS_MX, "10 192.0.2.9"},
    {"alias.test", DNS_MX, ">a.test 10 first.test"},
    {"cname.test", DNS_MX, "10 pointing.test"},
    {"pointing.test", DNS_A, ">first.test 192.0.2.1"},
    {"bad.test", DNS_MX, "10 not a name"},
    {"gone.test", DNS_MX, "10 nothing.test"},
    {"partly.test", DNS_MX, "10 nothing.test, 20 second.test"},
    {"empty.test", DNS_MX, "10 txt.test"},
    {"fail.test", DNS_MX, "FAIL"},
    {"slow.test", DNS_MX, "TIMEOUT"},
    {"bogus.test", DNS_MX, "BOGUS"},
    {"broken.test", DNS_A, "FAIL"},
    {"broken.test", DNS_AAAA, "FAIL"},
    {"tobroken.test", DNS_MX, "10 broken.test"},
    {"mixed.test", DNS_MX, "10 broken.test, 20 second.test, 30 nothing.test"},
    {"half.test", DNS_A, "192.0.2.4"},
    {"half.test", DNS_AAAA, "TIMEOUT"},
    {"xn--bcher-kva.test", DNS_A, "192.0.2.5"},
    {0},
};

static void mx_hosts_are_tried_by_preference(void **state)
{
    (void)state;
    expect(plain, "dns:a.test", "first.test 192.0.2.1:25\nsecond.test 192.0.2.2:25\n");
    expect(plain, "dns:upper.test", "first.test 192.0.2.1:25\n");
    expect(plain, "dns:twice.test", "first.test 192.0.2.1:25\nsecond.test 192.0.2.2:25\n");
    expect(plain, "dns:alias.test", "first.test 192.0.2.1:25\n");
}

static void a_domain_without_mx_is_its_own_host(void **state)
{
    (void)state;
    expect(plain, "dns:bare.test", "bare.test 192.0.2.3:25\n");
    expect(plain, "dns:six.test", "six.test 2001:db8::6:25\n");
    expect(plain, "dns:xn--bcher-kva.test", "xn--bcher-kva.test 192.0.2.5:25\n");
    expect(plain, "dns:txt.test", "bounce 550 5.4.4");
}

static void what_cannot_be_bounces(void **state)
{
    (void)state;
    expect(plain, "dns:none.test", "bounce 550 5.1.2");
    expect(plain, "dns:null.test", "bounce 556 5.1.10");
    expect(plain, "dns:gone.test", "bounce 550 5.4.4");
    expect(plain, "dns:empty.test", "bounce 550 5.4.4");
    expect(plain, "dns:bad.test", "bounce 550 5.4.4");
}

static void what_nobody_can_tell_now_waits(void **state)
{
    (void)state;
    expect(plain, "dns:fail.test", "wait 451 4.4.3");
    expect(plain, "dns:slow.test", "wait 451 4.4.3");
    expect(plain, "dns:bogus.test", "wait 451 4.4.3");
    expect(plain, "dns:broken.test", "wait 451 4.4.3");
    expect(plain, "dns:tobroken.test", "wait 451 4.4.3");
}

static void one_host_without_an_address_does_not_spoil_the_others(void **state)
{
    (void)state;
    expect(plain, "dns:partly.test", "second.test 192.0.2.2:25\n");
    expect(plain, "dns:mixed.test", "second.test 192.0.2.2:25\n");
    expect(plain, "dns:half.test", "half.test 192.0.2.4:25\n");
    expect(plain, "dns:odd.test", "first.test 192.0.2.1:25\n");
}

static void odd_targets_are_understood(void **state)
{
    (void)state;
    expect(plain, "dns:literal.test", " 192.0.2.9:25\n");
    expect(plain, "dns:cname.test", "pointing.test 192.0.2.1:25\n");
}

static void addresses_are_asked_for_all_at_once(void **state)
{
    (void)state;
    struct world w = make_world(plain, "dns:a.test");
    run_in_order(&w, false);
    assert_string_equal(w.asked, "MX a.test\nAAAA first.test\nA first.test\nAAAA second.test\n"
                                 "A second.test\n");
}

/* ---- Chance ---------------------------------------------------------------------------------- */

/* How often of `rounds` the result begins with the name. */
static unsigned count_first(struct world *w, const char *name, unsigned rounds)
{
    unsigned count = 0;
    for (unsigned i = 0; i < rounds; i++) {
        w->settings.seed = i * UINT64_C(0x1234567) + 99;
        run_in_order(w, false);
        count += strncmp(w->result, name, strlen(name)) == 0;
    }
    return count;
}

static const struct line equals[] = {
    {"a.test", DNS_MX, "10 x.test, 10 y.test, 10 z.test, 5 best.test"},
    {"b.test", DNS_MX, "10 x.test, 10 y.test, 10 z.test"},
    {"x.test", DNS_A, "192.0.2.1"},
    {"y.test", DNS_A, "192.0.2.2"},
    {"z.test", DNS_A, "192.0.2.3"},
    {"best.test", DNS_A, "192.0.2.4"},
    {"many.test", DNS_A, "192.0.2.1, 192.0.2.2, 192.0.2.3, 192.0.2.4"},
    {0},
};

static void equal_hosts_take_turns_by_chance(void **state)
{
    (void)state;
    struct world w = make_world(equals, "dns:b.test");
    unsigned x = count_first(&w, "x.test", 3000), y = count_first(&w, "y.test", 3000);
    assert_in_range(x, 850, 1150);
    assert_in_range(y, 850, 1150);
    w.destination = "dns:a.test";
    assert_int_equal(count_first(&w, "best.test", 100), 100);
    w.destination = "dns:many.test";
    assert_in_range(count_first(&w, "many.test 192.0.2.3", 400), 60, 140);
}

static void further_connections_share_the_equals(void **state)
{
    (void)state;
    const struct route_host hosts[] = {{.rank = 0, .chance = 1},
                                       {.rank = 1, .chance = 1},
                                       {.rank = 1, .chance = 3},
                                       {.rank = 2, .chance = 1}};
    const struct route_decision d = {.hosts = hosts, .host_count = 4};
    unsigned count[4] = {0};
    for (uint64_t random = 0; random < 400; random++)
        count[route_draw(&d, 2, 0, random)]++;
    assert_int_equal(count[1], 100);
    assert_int_equal(count[2], 300);
    assert_int_equal(route_draw(&d, 0, 0, 7), 0);
    assert_int_equal(route_draw(&d, 2, 1u << 2, 3), 1);
    assert_int_equal(route_draw(&d, 2, 1u << 1 | 1u << 2, 3), 2); /* there is no other */
}

/* ---- Families -------------------------------------------------------------------------------- */

static const struct line families[] = {
    {"a.test", DNS_A, "192.0.2.1"},
    {"a.test", DNS_AAAA, "2001:db8::1"},
    {"four.test", DNS_A, "192.0.2.1"},
    {"six.test", DNS_AAAA, "2001:db8::1"},
    {"wide.test", DNS_A,
     "192.0.2.1, 192.0.2.2, 192.0.2.3, 192.0.2.4, 192.0.2.5, 192.0.2.6, "
     "192.0.2.7, 192.0.2.8, 192.0.2.9, 192.0.2.10"},
    {"wide.test", DNS_AAAA, "2001:db8::1"},
    {"local.test", DNS_A, "127.0.0.1"},
    {"both.test", DNS_A, "127.0.0.1, 192.0.2.1"},
    {0},
};

static void families_take_turns(void **state)
{
    (void)state;
    struct world w = make_world(families, "dns:a.test");
    expect_of(&w, "a.test 2001:db8::1 192.0.2.1:25\n");
    w.settings.ipv4_first = true;
    expect_of(&w, "a.test 192.0.2.1 2001:db8::1:25\n");
    w.destination = "dns:six.test";
    expect_of(&w, "six.test 2001:db8::1:25\n");
    w.settings.ipv6 = false;
    expect_of(&w, "wait 451 4.4.4");
    w.destination = "dns:a.test";
    expect_of(&w, "a.test 192.0.2.1:25\n");
    w.settings.ipv4 = false;
    w.settings.ipv6 = true;
    expect_of(&w, "a.test 2001:db8::1:25\n");
}

static void the_number_of_addresses_is_bounded(void **state)
{
    (void)state;
    struct world w = make_world(families, "dns:wide.test");
    unsigned colons = 0;
    run_in_order(&w, false);
    for (const char *c = w.result; *c; c++)
        colons += *c == ' ';
    assert_int_equal(colons, LIMIT_ROUTE_ADDRESSES);
    assert_true(str_starts(str_from_c(w.result), STR("wide.test 2001:db8::1 192.0.2.")));
}

static void the_dns_does_not_lead_to_refused_addresses(void **state)
{
    (void)state;
    expect(families, "dns:local.test", "bounce 550 5.4.4");
    expect(families, "dns:both.test", "both.test 192.0.2.1:25\n");
    expect(families, "literal:127.0.0.1", "bounce 550 5.4.4");
}

static void a_literal_needs_no_questions(void **state)
{
    (void)state;
    struct world w = make_world(plain, "literal:192.0.2.1");
    expect_of(&w, " 192.0.2.1:25\n");
    assert_string_equal(w.asked, "");
    expect(plain, "literal:2001:db8::1", " 2001:db8::1:25\n");
}

static void the_number_of_hosts_is_bounded_the_best_stay(void **state)
{
    (void)state;
    char mx[2048];
    size_t len = 0;
    static char names[40][16];
    static struct line zone[43] = {{"a.test", DNS_MX, NULL}};
    for (unsigned i = 0; i < 40; i++) {
        len +=
            (size_t)snprintf(mx + len, sizeof mx - len, "%s%u h%u.test", i ? ", " : "", 100 - i, i);
        snprintf(names[i], sizeof names[i], "h%u.test", i);
        zone[i + 1] = (struct line){names[i], DNS_A, "192.0.2.1"};
    }
    zone[0].rows = mx;
    struct world w = make_world(zone, "dns:a.test");
    run_in_order(&w, false);
    unsigned hosts = 0;
    for (const char *c = w.result; *c; c++)
        hosts += *c == '\n';
    assert_int_equal(hosts, LIMIT_ROUTE_HOSTS);
    assert_true(str_starts(str_from_c(w.result), STR("h39.test ")));
}

/* ---- Ourselves ------------------------------------------------------------------------------- */

static const struct line loops[] = {
    {"backup.test", DNS_MX, "10 first.test, 20 Own.Test, 20 equal.test, 30 worse.test"},
    {"only.test", DNS_MX, "10 own.test, 20 first.test"},
    {"byaddress.test", DNS_MX, "10 hidden.test, 20 first.test"},
    {"bylater.test", DNS_MX, "10 first.test, 20 hidden.test, 30 worse.test"},
    {"best.test", DNS_MX, "10 broken.test, 20 own.test"},
    {"own.test", DNS_A, "198.51.100.1"},
    {"hidden.test", DNS_A, "198.51.100.1"},
    {"first.test", DNS_A, "192.0.2.1"},
    {"equal.test", DNS_A, "192.0.2.2"},
    {"worse.test", DNS_A, "192.0.2.3"},
    {"broken.test", DNS_A, "TIMEOUT"},
    {0},
};

static void what_is_not_better_than_ourselves_is_left_out(void **state)
{
    (void)state;
    expect(loops, "dns:backup.test", "first.test 192.0.2.1:25\n");
    expect(loops, "dns:bylater.test", "first.test 192.0.2.1:25\n");
    expect(loops, "dns:only.test", "bounce 554 5.4.6");
    expect(loops, "dns:byaddress.test", "bounce 554 5.4.6");
    expect(loops, "dns:own.test", "bounce 554 5.4.6");
    expect(loops, "dns:hidden.test", "bounce 554 5.4.6");
    expect(loops, "literal:198.51.100.1", "bounce 554 5.4.6");
}

static void a_better_host_that_may_come_back_is_no_loop(void **state)
{
    (void)state;
    expect(loops, "dns:best.test", "wait 451 4.4.3");
}

static void another_port_of_our_address_is_somebody_else(void **state)
{
    (void)state;
    struct world w = make_world(loops, "dns:hidden.test");
    w.settings.port = 2525;
    expect_of(&w, "hidden.test 198.51.100.1:2525\n");
}

/* ---- Routes ---------------------------------------------------------------------------------- */

static struct route_place smart_places[] = {
    {.host = STR("smart.test"), .port = 587},
    {.host = STR("second.test")},
    {.has_address = true, .octets = {[10] = 0xFF, 0xFF, 127, 0, 0, 1}, .port = 26},
};
static struct route_place unix_places[] = {{.unix_path = STR("/run/lmtp")},
                                           {.host = STR("second.test")}};
static struct route_place domain_places[] = {{.host = STR("office.test")}};
static struct route_place two_domains[] = {{.host = STR("office.test")}, {.host = STR("a.test")}};
static struct route_place own_places[] = {{.host = STR("own.test")}};
static struct route_rule rules[] = {
    {.name = STR("smart"), .places = smart_places, .place_count = 3},
    {.name = STR("lists"), .places = unix_places, .place_count = 2, .lmtp = true},
    {.name = STR("mx"), .places = two_domains, .place_count = 2, .lookup = ROUTE_LOOKUP_MX},
    {.name = STR("srv"),
     .places = domain_places,
     .place_count = 1,
     .lookup = ROUTE_LOOKUP_SRV,
     .service = STR("submission")},
    {.name = STR("own"), .places = own_places, .place_count = 1},
    {.name = STR("verified"), .places = own_places, .place_count = 1, .tls = ROUTE_TLS_VERIFIED},
};

static void expect_route(const struct line *zone, const char *name, const char *result)
{
    struct world w = make_world(zone, name);
    w.settings.rules = (struct route_rules){rules, sizeof rules / sizeof rules[0]};
    expect_of(&w, result);
}

/* RFC 4865: what was held for a mailbox here comes in by this server's own door. */
static void mail_for_here_goes_to_our_own_listeners(void **state)
{
    (void)state;
    static const struct line zone[] = {{0}};
    expect(zone, "here:mailboxes", " 198.51.100.1:25\n");
    struct world w = make_world(zone, "here:mailboxes");
    w.settings.own_endpoint_count = 0;
    expect_of(&w, "wait 451 4.4.3");
}

static void places_are_tried_in_their_order(void **state)
{
    (void)state;
    static const struct line zone[] = {
        {"smart.test", DNS_A, "192.0.2.1"}, {"second.test", DNS_A, "192.0.2.2"}, {0}};
    static const struct line without[] = {{"second.test", DNS_A, "192.0.2.2"}, {0}};
    expect_route(zone, "route:smart",
                 "smart.test 192.0.2.1:587\nsecond.test 192.0.2.2:25\n 127.0.0.1:26 secure\n");
    expect_route(without, "route:smart", "second.test 192.0.2.2:25\n 127.0.0.1:26 secure\n");
    expect_route(zone, "route:lists", "/run/lmtp\nsecond.test 192.0.2.2:24\n");
}

static void a_route_of_domains_asks_for_their_mx(void **state)
{
    (void)state;
    static const struct line zone[] = {{"office.test", DNS_MX, "50 in.office.test"},
                                       {"in.office.test", DNS_A, "192.0.2.7"},
                                       {"a.test", DNS_MX, "10 first.test"},
                                       {"first.test", DNS_A, "192.0.2.1"},
                                       {0}};
    expect_route(zone, "route:mx", "in.office.test 192.0.2.7:25\nfirst.test 192.0.2.1:25\n");
    expect_route(zone + 2, "route:mx", "first.test 192.0.2.1:25\n");
}

static void a_route_that_leads_nowhere_keeps_the_mail(void **state)
{
    (void)state;
    static const struct line nothing[] = {{0}};
    static const struct line own[] = {{"own.test", DNS_A, "198.51.100.1"}, {0}};
    expect_route(nothing, "route:mx", "wait 451 4.3.5");
    expect_route(nothing, "route:gone", "wait 451 4.3.5");
    expect_route(own, "route:own", "wait 451 4.3.5");
    expect_route(nothing, "nonsense", "wait 451 4.3.5");
}

static void srv_is_followed_by_priority_and_weight(void **state)
{
    (void)state;
    static const struct line zone[] = {
        {"_submission._tcp.office.test", DNS_SRV,
         "20 0 587 last.test, 10 90 2525 heavy.test, 10 10 588 light.test, 10 0 589 zero.test"},
        {"last.test", DNS_A, "192.0.2.1"},
        {"heavy.test", DNS_A, "192.0.2.2"},
        {"light.test", DNS_A, "192.0.2.3"},
        {"zero.test", DNS_A, "192.0.2.4"},
        {0}};
    struct world w = make_world(zone, "route:srv");
    w.settings.rules = (struct route_rules){rules, sizeof rules / sizeof rules[0]};
    unsigned heavy = count_first(&w, "heavy.test 192.0.2.2:2525", 2000);
    unsigned light = count_first(&w, "light.test 192.0.2.3:588", 2000);
    assert_in_range(heavy, 1720, 1880);
    assert_in_range(light, 120, 280);
    assert_true(str_ends(str_from_c(w.result), STR("last.test 192.0.2.1:587\n")));
}

static void without_srv_there_is_mx(void **state)
{
    (void)state;
    static const struct line mx[] = {
        {"office.test", DNS_MX, "10 first.test"}, {"first.test", DNS_A, "192.0.2.1"}, {0}};
    static const struct line bare[] = {{"office.test", DNS_A, "192.0.2.1"}, {0}};
    static const struct line none[] = {{"_submission._tcp.office.test", DNS_SRV, "0 0 0 ."},
                                       {"office.test", DNS_A, "192.0.2.1"},
                                       {0}};
    static const struct line fail[] = {{"_submission._tcp.office.test", DNS_SRV, "FAIL"},
                                       {"office.test", DNS_A, "192.0.2.1"},
                                       {0}};
    expect_route(mx, "route:srv", "first.test 192.0.2.1:25\n");
    expect_route(bare, "route:srv", "office.test 192.0.2.1:25\n");
    expect_route(none, "route:srv", "wait 451 4.3.5");
    expect_route(fail, "route:srv", "wait 451 4.4.3");
}

/* ---- DANE ------------------------------------------------------------------------------------ */

static const struct line dane[] = {
    {"a.test", DNS_MX, "s 10 mx.test"},
    {"insecure.test", DNS_MX, "10 mx.test"},
    {"mx.test", DNS_A, "s 192.0.2.1"},
    {"mx.test", DNS_AAAA, "s"},
    {"_25._tcp.mx.test", DNS_TLSA, "s 3 1 1 32, 2 0 2 64, 1 1 1 32, 3 1 1 31"},
    {"unusable.test", DNS_A, "s 192.0.2.2"},
    {"_25._tcp.unusable.test", DNS_TLSA, "s 0 1 1 32, 3 2 1 32, 3 1 9 32"},
    {"forged.test", DNS_A, "s 192.0.2.3"},
    {"_25._tcp.forged.test", DNS_TLSA, "3 1 1 32"},
    {"without.test", DNS_A, "s 192.0.2.4"},
    {"broken.test", DNS_A, "s 192.0.2.5"},
    {"_25._tcp.broken.test", DNS_TLSA, "FAIL"},
    {"bogus.test", DNS_A, "s 192.0.2.6"},
    {"_25._tcp.bogus.test", DNS_TLSA, "BOGUS"},
    {"other.test", DNS_MX, "s 10 broken.test, 20 without.test"},
    {"plain.test", DNS_A, "192.0.2.7"},
    {"_25._tcp.plain.test", DNS_TLSA, "s 3 1 1 32"},
    {"expanded.test", DNS_A, "s >mx.test 192.0.2.1"},
    {"back.test", DNS_A, "s >without.test 192.0.2.4"},
    {"_25._tcp.back.test", DNS_TLSA, "s 3 1 1 32"},
    {"out.test", DNS_A, ">plain.test 192.0.2.7"},
    {"out.test", DNS_CNAME, "s plain.test"},
    {"_25._tcp.out.test", DNS_TLSA, "s 3 1 1 32"},
    {"allout.test", DNS_A, ">plain.test 192.0.2.7"},
    {"allout.test", DNS_CNAME, "plain.test"},
    {"_25._tcp.allout.test", DNS_TLSA, "s 3 1 1 32"},
    {"tomx.test", DNS_MX, "s 10 out.test"},
    {"tomx2.test", DNS_MX, "s 10 allout.test"},
    {"tomx3.test", DNS_MX, "s 10 expanded.test"},
    {"tomx4.test", DNS_MX, "s 10 back.test"},
    {"tomx5.test", DNS_MX, "s 10 unusable.test"},
    {"tomx6.test", DNS_MX, "s 10 forged.test"},
    {"tomx7.test", DNS_MX, "s 10 bogus.test"},
    {"tomx8.test", DNS_MX, "s 10 plain.test"},
    {"direct.test", DNS_MX, "s"},
    {"direct.test", DNS_A, "s 192.0.2.8"},
    {"_25._tcp.direct.test", DNS_TLSA, "s 3 1 1 32"},
    {"own.test", DNS_A, "s 192.0.2.9"},
    {"_25._tcp.own.test", DNS_TLSA, "s 3 1 1 32"},
    {0},
};

static void tlsa_counts_where_all_that_leads_to_it_is_secure(void **state)
{
    (void)state;
    expect(dane, "dns:a.test", "mx.test 192.0.2.1:25 secure tlsa 2 at mx.test\n");
    expect(dane, "dns:direct.test", "direct.test 192.0.2.8:25 secure tlsa 1 at direct.test\n");
    expect(dane, "dns:insecure.test", "mx.test 192.0.2.1:25\n");
    expect(dane, "dns:tomx8.test", "plain.test 192.0.2.7:25\n");
    expect(dane, "dns:tomx6.test", "forged.test 192.0.2.3:25 secure\n");
    expect(dane, "dns:tomx5.test", "unusable.test 192.0.2.2:25 secure tlsa 0 at unusable.test\n");
    expect_route(dane, "route:own", "own.test 192.0.2.9:25 secure tlsa 1 at own.test\n");
}

static void without_dane_nobody_asks_for_tlsa(void **state)
{
    (void)state;
    struct world w = make_world(dane, "dns:a.test");
    w.settings.dane = false;
    expect_of(&w, "mx.test 192.0.2.1:25 secure\n");
    assert_null(strstr(w.asked, "TLSA"));
    expect_route(dane, "route:verified", "own.test 192.0.2.9:25 secure\n");
}

static void tlsa_that_cannot_be_had_rules_the_host_out_for_now(void **state)
{
    (void)state;
    expect(dane, "dns:other.test", "without.test 192.0.2.4:25 secure\n");
    expect(dane, "dns:tomx7.test", "wait 451 4.4.3");
}

static void tlsa_of_an_alias_stands_at_its_end_or_at_its_own_name(void **state)
{
    (void)state;
    expect(dane, "dns:tomx3.test", "expanded.test 192.0.2.1:25 secure tlsa 2 at mx.test\n");
    expect(dane, "dns:tomx4.test", "back.test 192.0.2.4:25 secure tlsa 1 at back.test\n");
    expect(dane, "dns:tomx.test", "out.test 192.0.2.7:25 tlsa 1 at out.test\n");
    expect(dane, "dns:tomx2.test", "allout.test 192.0.2.7:25\n");
}

static void an_arena_too_small_makes_it_wait(void **state)
{
    (void)state;
    struct world w = make_world(dane, "dns:a.test");
    for (size_t budget = 0; budget < 20000; budget += 500) {
        struct arena arena;
        struct route r;
        struct route_question q;
        arena_init(&arena, budget);
        route_begin(&r, &arena, &w.settings, str_from_c(w.destination));
        while (route_next(&r, &q)) {
            struct dns_row rows[64] = {0};
            struct dns_facts facts;
            answer_from(&w, &q, &facts, rows);
            route_answer(&r, q.token, &facts);
        }
        assert_true(r.decision.verdict == ROUTE_WAIT || r.decision.verdict == ROUTE_HOSTS);
        arena_reset(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mx_hosts_are_tried_by_preference),
        cmocka_unit_test(a_domain_without_mx_is_its_own_host),
        cmocka_unit_test(what_cannot_be_bounces),
        cmocka_unit_test(what_nobody_can_tell_now_waits),
        cmocka_unit_test(one_host_without_an_address_does_not_spoil_the_others),
        cmocka_unit_test(odd_targets_are_understood),
        cmocka_unit_test(addresses_are_asked_for_all_at_once),
        cmocka_unit_test(equal_hosts_take_turns_by_chance),
        cmocka_unit_test(further_connections_share_the_equals),
        cmocka_unit_test(families_take_turns),
        cmocka_unit_test(the_number_of_addresses_is_bounded),
        cmocka_unit_test(the_dns_does_not_lead_to_refused_addresses),
        cmocka_unit_test(a_literal_needs_no_questions),
        cmocka_unit_test(the_number_of_hosts_is_bounded_the_best_stay),
        cmocka_unit_test(what_is_not_better_than_ourselves_is_left_out),
        cmocka_unit_test(a_better_host_that_may_come_back_is_no_loop),
        cmocka_unit_test(another_port_of_our_address_is_somebody_else),
        cmocka_unit_test(mail_for_here_goes_to_our_own_listeners),
        cmocka_unit_test(places_are_tried_in_their_order),
        cmocka_unit_test(a_route_of_domains_asks_for_their_mx),
        cmocka_unit_test(a_route_that_leads_nowhere_keeps_the_mail),
        cmocka_unit_test(srv_is_followed_by_priority_and_weight),
        cmocka_unit_test(without_srv_there_is_mx),
        cmocka_unit_test(tlsa_counts_where_all_that_leads_to_it_is_secure),
        cmocka_unit_test(without_dane_nobody_asks_for_tlsa),
        cmocka_unit_test(tlsa_that_cannot_be_had_rules_the_host_out_for_now),
        cmocka_unit_test(tlsa_of_an_alias_stands_at_its_end_or_at_its_own_name),
        cmocka_unit_test(an_arena_too_small_makes_it_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
