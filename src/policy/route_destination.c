#include <arpa/inet.h>

#include "codec/idn.h"
#include "policy/route.h"
#include "policy/route_address.h"

/* ---- Addresses as text ----------------------------------------------------------------------- */

bool route_address_read(struct str text, uint8_t ret_octets[16])
{
    char copy[INET6_ADDRSTRLEN];
    uint8_t octets[16] = {[10] = 0xFF, [11] = 0xFF};
    if (!str_to_c(text, copy, sizeof copy) ||
        (inet_pton(AF_INET, copy, octets + 12) != 1 && inet_pton(AF_INET6, copy, octets) != 1))
        return false;
    memcpy(ret_octets, octets, sizeof octets);
    return true;
}

bool route_address_print(struct buf *out, const uint8_t octets[16])
{
    char text[INET6_ADDRSTRLEN];
    bool ipv4 = network_is_ipv4(octets);
    inet_ntop(ipv4 ? AF_INET : AF_INET6, ipv4 ? octets + 12 : octets, text, sizeof text);
    return buf_append_str(out, str_from_c(text));
}

/* RFC 5321 §4.1.3: address-literal = "[" ( IPv4-address-literal / "IPv6:" IPv6-addr ) "]" */
static bool read_literal(struct str domain, uint8_t ret_octets[16])
{
    struct str inside = str_sub(domain, 1, domain.len - 2);
    bool ipv6 = str_starts_nocase(inside, STR("IPv6:"));
    if (!str_ends(domain, STR("]")) || domain.len < 3)
        return false;
    if (ipv6)
        inside = str_skip(inside, STR("IPv6:").len);
    return (str_find_byte(inside, ':') >= 0) == ipv6 && route_address_read(inside, ret_octets);
}

#define LENIENT "dns-any-tls:"

/* ---- Destinations ---------------------------------------------------------------------------- */

bool route_pattern_matches(struct str pattern, struct str domain)
{
    if (str_eq(pattern, STR("*")))
        return true;
    if (str_starts(pattern, STR(".")))
        return domain.len > pattern.len && str_ends(domain, pattern);
    return str_eq(pattern, domain);
}

static const struct route_rule *rule_for(const struct route_rules *rules, struct str domain)
{
    for (size_t i = 0; i < rules->count; i++)
        for (size_t j = 0; j < rules->list[i].domain_count; j++)
            if (route_pattern_matches(rules->list[i].domains[j], domain))
                return &rules->list[i];
    return NULL;
}

/* "route:NAME" where a rule has the domain, else the prefix and the rest. */
static bool name_destination(const struct route_rules *rules, struct str domain, struct str prefix,
                             struct str rest, struct buf *out)
{
    const struct route_rule *rule = rule_for(rules, domain);
    size_t before = out->len;
    if (buf_append_str(out, rule ? STR("route:") : prefix) &&
        buf_append_str(out, rule ? rule->name : rest))
        return true;
    buf_truncate(out, before);
    return false;
}

static bool name_literal(const struct route_rules *rules, struct str domain, struct buf *out)
{
    uint8_t octets[16];
    struct buf address;
    if (!read_literal(domain, octets))
        return false;
    buf_init(&address, INET6_ADDRSTRLEN);
    bool ok = route_address_print(&address, octets) &&
              name_destination(rules, domain, STR("literal:"), buf_str(&address), out);
    buf_release(&address);
    return ok;
}

bool route_destination(const struct route_rules *rules, struct str domain, struct buf *out)
{
    struct buf ascii;
    if (str_starts(domain, STR("[")))
        return name_literal(rules, domain, out);
    buf_init(&ascii, 512);
    bool ok = idn_to_ascii(&ascii, domain) &&
              name_destination(rules, buf_str(&ascii), STR("dns:"), buf_str(&ascii), out);
    buf_release(&ascii);
    return ok;
}

/* RFC 8689 §5: what the configuration says of a route is our own word, and a literal has no more to
 * say than itself. */
bool route_destination_lenient(struct str destination, struct buf *out)
{
    bool by_dns = str_starts(destination, STR("dns:"));
    if (by_dns)
        destination = str_skip(destination, STR("dns:").len);
    return buf_append_str(out, by_dns ? STR(LENIENT) : STR("")) && buf_append_str(out, destination);
}

bool route_destination_is_lenient(struct str destination)
{
    return str_starts(destination, STR(LENIENT));
}

bool route_destination_split(struct str destination, enum route_kind *ret_kind,
                             struct str *ret_rest)
{
    if (route_destination_is_lenient(destination)) {
        *ret_kind = ROUTE_DNS;
        *ret_rest = str_skip(destination, STR(LENIENT).len);
        return !str_empty(*ret_rest);
    }
    static const char *const prefixes[] = {
        [ROUTE_DNS] = "dns:",
        [ROUTE_RULE] = "route:",
        [ROUTE_LITERAL] = "literal:",
        [ROUTE_HERE] = "here:",
    };
    for (int kind = ROUTE_DNS; kind <= ROUTE_HERE; kind++) {
        struct str prefix = str_from_c(prefixes[kind]);
        if (!str_starts(destination, prefix) || destination.len == prefix.len)
            continue;
        *ret_kind = (enum route_kind)kind;
        *ret_rest = str_skip(destination, prefix.len);
        return true;
    }
    return false;
}

const struct route_rule *route_rule_find(const struct route_rules *rules, struct str destination)
{
    enum route_kind kind;
    struct str name;
    if (!route_destination_split(destination, &kind, &name) || kind != ROUTE_RULE)
        return NULL;
    for (size_t i = 0; i < rules->count; i++)
        if (str_eq(rules->list[i].name, name))
            return &rules->list[i];
    return NULL;
}
