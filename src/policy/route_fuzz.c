#include "base/bug.h"
#include "base/limits.h"
#include "policy/route.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROWS_MAX = 40 };

static uint8_t take(struct str *data)
{
    uint8_t byte = data->len > 0 ? (uint8_t)data->ptr[0] : 0;
    *data = str_skip(*data, 1);
    return byte;
}

static struct str take_name(struct str *data)
{
    static const struct str names[] = {STR("a.test"),
                                       STR("b.test"),
                                       STR("c.test"),
                                       STR("own.test"),
                                       STR(""),
                                       STR("192.0.2.1"),
                                       STR("A.Test"),
                                       STR("::1"),
                                       STR("not a name"),
                                       STR("127.0.0.1"),
                                       STR("very.long.name.of.a.host.test")};
    return names[take(data) % (sizeof names / sizeof names[0])];
}

static void answer(struct route *r, const struct route_question *q, struct str *data)
{
    struct dns_row rows[ROWS_MAX] = {0};
    struct dns_facts facts = {.rows = rows};
    uint8_t kind = take(data);
    facts.outcome = kind & 8 ? (enum dns_outcome)(kind % 5) : DNS_OK;
    facts.secure = kind & 16;
    if (kind & 32)
        facts.owner = take_name(data);
    facts.row_count = facts.outcome == DNS_OK ? take(data) % ROWS_MAX : 0;
    for (size_t i = 0; i < facts.row_count; i++) {
        uint8_t byte = take(data);
        rows[i] = (struct dns_row){.preference = byte / 16,
                                   .weight = byte % 16,
                                   .port = byte,
                                   .usage = byte % 4,
                                   .selector = byte / 4 % 3,
                                   .matching = byte / 16 % 4,
                                   .octets = {[0] = byte & 1, [10] = 0xFF, 0xFF, byte, 1, 1, byte},
                                   .data = take_name(data)};
        if (q->type == DNS_TLSA)
            rows[i].data = str_make(rows[i].octets, byte % 17);
    }
    route_answer(r, q->token, &facts);
}

static void check(const struct route_decision *d)
{
    invariant(d->verdict == ROUTE_HOSTS ? d->host_count > 0 && d->host_count <= LIMIT_ROUTE_HOSTS
                                        : d->code >= 400 && d->code < 600 && d->words.len > 0);
    for (size_t i = 0; i < d->host_count; i++) {
        const struct route_host *h = &d->hosts[i];
        invariant(h->address_count <= LIMIT_ROUTE_ADDRESSES);
        invariant((h->address_count > 0) != (h->unix_path.len > 0));
        invariant((h->tlsa == ROUTE_TLSA_USABLE) == (h->tlsa_row_count > 0));
        invariant(h->tlsa == ROUTE_TLSA_NONE || h->mx_secure);
    }
}

/* The destination and then the answers, out of order. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct str domains[] = {STR("*")};
    static struct route_place places[] = {
        {.host = STR("a.test")}, {.host = STR("b.test"), .port = 587}, {.host = STR("own.test")}};
    static struct route_rule rules[] = {
        {STR("x"), domains, 1, places, 3, ROUTE_LOOKUP_ADDRESS},
        {STR("y"), domains, 1, places, 3, ROUTE_LOOKUP_MX},
        {STR("z"), domains, 1, places, 3, ROUTE_LOOKUP_SRV, STR("smtp")}};
    static const struct str own = STR("own.test");
    static const struct str destinations[] = {STR("dns:a.test"), STR("route:x"), STR("route:y"),
                                              STR("route:z"), STR("literal:192.0.2.1")};
    struct str rest = str_make(data, size);
    uint8_t first = take(&rest);
    struct route_settings settings = {.rules = {rules, 3},
                                      .port = 25,
                                      .ipv4 = true,
                                      .ipv6 = first & 128,
                                      .dane = first & 64,
                                      .own_names = &own,
                                      .own_name_count = 1,
                                      .seed = first};
    struct route_question open[512], q;
    size_t count = 0;
    struct arena arena;
    struct route r;
    arena_init(&arena, 1 << 20);
    route_begin(&r, &arena, &settings, destinations[first % 5]);
    while (r.decision.verdict == ROUTE_PENDING) {
        while (route_next(&r, &q)) {
            invariant(count < 512);
            open[count++] = q;
        }
        invariant(count > 0);
        size_t at = take(&rest) % count;
        q = open[at];
        open[at] = open[--count];
        answer(&r, &q, &rest);
    }
    check(&r.decision);
    arena_reset(&arena);
    return 0;
}
