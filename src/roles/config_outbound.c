#include "roles/config_outbound.h"

#include <stddef.h>

#include "base/limits.h"
#include "roles/config_set.h"
#include "roles/config_value.h"

enum { ROUTES_MAX = 256, NAME_LEN_MAX = 64, TLS_NAMES_MAX = 16 };

/* Appends the patterns among the arguments from `word` on. */
static void add_patterns(struct config_reader *r, const struct conf_directive *given, size_t word,
                         struct str **list, size_t *count)
{
    for (; word < given->word_count; word++) {
        struct str pattern;
        if (!config_is_right(
                r, given, word,
                config_value_pattern(r->arena, config_argument(given, word), &pattern)))
            continue;
        struct str *grown = config_grow(r, *list, *count, sizeof *grown);
        if (!grown)
            return;
        *list = grown;
        grown[(*count)++] = pattern;
    }
}

/* The place of an argument in a list of names, or -1. */
static int find_name(const char *const *names, int count, struct str word)
{
    for (int i = 0; i < count; i++)
        if (str_eq(word, str_from_c(names[i])))
            return i;
    return -1;
}

static const char *const tls_names[] = {
    [ROUTE_TLS_OPPORTUNISTIC] = "opportunistic",
    [ROUTE_TLS_REQUIRED] = "required",
    [ROUTE_TLS_VERIFIED] = "verified",
    [ROUTE_TLS_NO] = "no",
    [ROUTE_TLS_DANE] = "dane",
};

/* The names behind "verified". */
static void read_tls_names(struct config_reader *r, const struct conf_directive *given,
                           struct str **list, size_t *count)
{
    *list = NULL;
    *count = 0;
    add_patterns(r, given, 2, list, count);
    for (size_t word = 2; word < given->word_count; word++)
        if (str_eq(config_argument(given, word), STR("*")))
            config_wrong_word(r, given, word, "is no name that a certificate could have");
}

static bool read_tls(struct config_reader *r, const struct conf_directive *given, bool has_dane,
                     enum route_tls *ret_tls)
{
    int tls =
        find_name(tls_names, sizeof tls_names / sizeof tls_names[0], config_argument(given, 1));
    if (tls < 0 || (tls == ROUTE_TLS_DANE && !has_dane)) {
        config_wrong_word(r, given, 1,
                          has_dane ? "is none of opportunistic, required, verified, dane, no"
                                   : "is none of opportunistic, required, verified, no");
        return false;
    }
    if (tls != ROUTE_TLS_VERIFIED && given->word_count > 2) {
        config_wrong_word(r, given, 2, "is a name: that is for \"tls verified\" only");
        return false;
    }
    *ret_tls = (enum route_tls)tls;
    return true;
}

/* ---- route ----------------------------------------------------------------------------------- */

static void add_route_domains(struct config_reader *r, const struct config_directive *row,
                              const struct conf_directive *given)
{
    struct route_rule *rule = &r->route->rule;
    (void)row;
    add_patterns(r, given, 1, &rule->domains, &rule->domain_count);
}

static void add_places(struct config_reader *r, const struct config_directive *row,
                       const struct conf_directive *given)
{
    struct route_rule *rule = &r->route->rule;
    (void)row;
    for (size_t i = 1; i < given->word_count; i++) {
        struct route_place place = {0};
        if (!config_is_right(r, given, i,
                             config_value_place(r->arena, config_argument(given, i), &place)))
            continue;
        if (rule->place_count == LIMIT_ROUTE_HOSTS) {
            config_wrong_word(r, given, i, "is one place too many");
            return;
        }
        struct route_place *list = config_grow(r, rule->places, rule->place_count, sizeof *list);
        if (!list)
            return;
        rule->places = list;
        list[rule->place_count++] = place;
    }
}

static void set_lookup(struct config_reader *r, const struct config_directive *row,
                       const struct conf_directive *given)
{
    static const char *const names[] = {
        [ROUTE_LOOKUP_ADDRESS] = "address", [ROUTE_LOOKUP_MX] = "mx", [ROUTE_LOOKUP_SRV] = "srv"};
    int lookup = find_name(names, 3, config_argument(given, 1));
    (void)row;
    if (lookup < 0)
        config_wrong_word(r, given, 1, "is none of address, mx, srv");
    else
        r->route->rule.lookup = (enum route_lookup)lookup;
}

/* RFC 6335 §5.1: letters, digits and hyphens, 15 at most. */
static void set_service(struct config_reader *r, const struct config_directive *row,
                        const struct conf_directive *given)
{
    struct str word = config_argument(given, 1);
    bool ok = word.len > 0 && word.len <= 15;
    (void)row;
    for (size_t i = 0; ok && i < word.len; i++)
        ok = ascii_is_alpha(word.ptr[i]) || ascii_is_digit(word.ptr[i]) ||
             (word.ptr[i] == '-' && i > 0 && i + 1 < word.len);
    if (ok)
        r->route->rule.service = word;
    else
        config_wrong_word(r, given, 1, "is no name of a service (like submission)");
}

static void set_protocol(struct config_reader *r, const struct config_directive *row,
                         const struct conf_directive *given)
{
    (void)row;
    r->route->rule.lmtp = str_eq(config_argument(given, 1), STR("lmtp"));
    if (!r->route->rule.lmtp && !str_eq(config_argument(given, 1), STR("smtp")))
        config_wrong_word(r, given, 1, "is neither smtp nor lmtp");
}

static void set_route_tls(struct config_reader *r, const struct config_directive *row,
                          const struct conf_directive *given)
{
    (void)row;
    struct route_rule *rule = &r->route->rule;
    if (!read_tls(r, given, false, &rule->tls))
        return;
    r->route->has_tls = true;
    read_tls_names(r, given, &rule->tls_names, &rule->tls_name_count);
}

static void set_auth(struct config_reader *r, const struct config_directive *row,
                     const struct conf_directive *given)
{
    struct route_rule *rule = &r->route->rule;
    struct str login = config_argument(given, 1);
    if (login.len == 0 || login.len > 255)
        config_wrong_word(r, given, 1, "is no login name");
    else if (config_is_right(r, given, 2,
                             config_value_path(config_argument(given, 2), (size_t)row->max,
                                               &rule->password_file)))
        rule->login = login;
}

static const struct config_directive route_directives[] = {
    {"domains", 1, SIZE_MAX, true, add_route_domains},
    {"to", 1, SIZE_MAX, true, add_places},
    {"lookup", 1, 1, .apply = set_lookup},
    {"service", 1, 1, .apply = set_service},
    {"protocol", 1, 1, .apply = set_protocol},
    {"tls", 1, TLS_NAMES_MAX + 1, .apply = set_route_tls},
    {"auth", 2, 2, .apply = set_auth, .max = CONFIG_PATH_LEN_MAX},
};
const struct config_table config_route_table = {route_directives, sizeof route_directives /
                                                                      sizeof route_directives[0]};

static bool is_route_name(struct str name)
{
    bool ok = name.len > 0 && name.len <= NAME_LEN_MAX;
    for (size_t i = 0; ok && i < name.len; i++)
        ok = ascii_is_alpha(name.ptr[i]) || ascii_is_digit(name.ptr[i]) ||
             str_find_byte(STR("-_."), name.ptr[i]) >= 0;
    return ok;
}

/* Nobody else can listen on the way there. */
static bool stays_here(const struct route_place *place)
{
    static const uint8_t loopback6[16] = {[15] = 1};
    if (place->unix_path.len > 0)
        return true;
    return place->has_address && (memcmp(place->octets, loopback6, 16) == 0 ||
                                  (network_is_ipv4(place->octets) && place->octets[12] == 127));
}

static void say(struct config_reader *r, const struct conf_directive *given, const char *wrong)
{
    conf_error_add(r->errors, given->words[0].line, given->words[0].column, "route: %s", wrong);
}

static void check_places(struct config_reader *r, const struct conf_directive *given,
                         const struct route_rule *rule)
{
    for (size_t i = 0; i < rule->place_count; i++) {
        const struct route_place *place = &rule->places[i];
        if (place->unix_path.len > 0 && !rule->lmtp)
            say(r, given, "a Unix socket is for \"protocol lmtp\" only");
        if (rule->lookup != ROUTE_LOOKUP_ADDRESS && place->host.len == 0)
            say(r, given, "\"lookup mx\" and \"lookup srv\" need the name of a domain in \"to\"");
        if (rule->lookup == ROUTE_LOOKUP_SRV && place->port != 0)
            say(r, given, "\"lookup srv\" finds the port: there is to be none in \"to\"");
    }
}

/* A password is for whom it was given to: an attacker on the way must not get it. */
static void complete_route_tls(struct config_reader *r, const struct conf_directive *given,
                               struct route_rule *rule)
{
    bool here = rule->place_count > 0;
    for (size_t i = 0; i < rule->place_count; i++)
        here = here && stays_here(&rule->places[i]);
    if (rule->login.len == 0 || here)
        return;
    if (!r->route->has_tls)
        rule->tls = ROUTE_TLS_VERIFIED;
    else if (rule->tls != ROUTE_TLS_VERIFIED && rule->tls != ROUTE_TLS_REQUIRED)
        say(r, given,
            "\"auth\" needs \"tls verified\" (or \"required\") where the server is not on this "
            "machine");
}

static void check_route(struct config_reader *r, const struct conf_directive *given,
                        const struct route_rule *rule)
{
    for (size_t i = 0; i < r->config->routes.count; i++)
        if (str_eq(r->config->routes.list[i].name, rule->name))
            config_wrong_word(r, given, 1, "is the name of another route already");
    if (rule->domain_count == 0)
        say(r, given, "\"domains\" is missing in its block, or has none");
    if (rule->place_count == 0)
        say(r, given, "\"to\" is missing in its block, or has no place");
    if (rule->service.len > 0 && rule->lookup != ROUTE_LOOKUP_SRV)
        say(r, given, "\"service\" is for \"lookup srv\" only");
    check_places(r, given, rule);
}

void config_add_route(struct config_reader *r, const struct config_directive *row,
                      const struct conf_directive *given)
{
    struct config_route_block block = {.rule = {.name = config_argument(given, 1)}};
    struct route_rules *routes = &r->config->routes;
    r->route = &block;
    config_read_block(r, row->block, given->block);
    if (!is_route_name(block.rule.name))
        config_wrong_word(r, given, 1, "is no name (letters, digits and - _ . only, 64 at most)");
    if (block.rule.lookup == ROUTE_LOOKUP_SRV && block.rule.service.len == 0)
        block.rule.service = STR("smtp");
    check_route(r, given, &block.rule);
    complete_route_tls(r, given, &block.rule);
    r->route = NULL;
    if (routes->count == ROUTES_MAX) {
        config_wrong_word(r, given, 1, "is one route too many");
        return;
    }
    struct route_rule *list = config_grow(r, routes->list, routes->count, sizeof *list);
    if (!list)
        return;
    routes->list = list;
    list[routes->count++] = block.rule;
}

/* ---- policy ---------------------------------------------------------------------------------- */

static void set_policy_tls(struct config_reader *r, const struct config_directive *row,
                           const struct conf_directive *given)
{
    (void)row;
    struct config_policy *policy = r->policy;
    if (!read_tls(r, given, true, &policy->tls))
        return;
    policy->has_tls = true;
    read_tls_names(r, given, &policy->tls_names, &policy->tls_name_count);
}

static bool read_policy_count(struct config_reader *r, const struct config_directive *row,
                              const struct conf_directive *given, uint64_t *ret_count)
{
    uint64_t count;
    if (!str_to_u64(config_argument(given, 1), row->max, &count) || count < row->min) {
        config_wrong_word(r, given, 1, "is no number, or out of range");
        return false;
    }
    *ret_count = count;
    return true;
}

static void set_policy_connections(struct config_reader *r, const struct config_directive *row,
                                   const struct conf_directive *given)
{
    read_policy_count(r, row, given, &r->policy->connections);
}

static void set_policy_rate(struct config_reader *r, const struct config_directive *row,
                            const struct conf_directive *given)
{
    read_policy_count(r, row, given, &r->policy->rate_per_minute);
}

static const struct config_directive policy_directives[] = {
    {"tls", 1, TLS_NAMES_MAX + 1, .apply = set_policy_tls},
    {"connections", 1, 1, .apply = set_policy_connections, .min = 1, .max = 100000},
    {"rate", 1, 1, .apply = set_policy_rate, .min = 1, .max = 1000000},
};
const struct config_table config_policy_table = {
    policy_directives, sizeof policy_directives / sizeof policy_directives[0]};

void config_add_policy(struct config_reader *r, const struct config_directive *row,
                       const struct conf_directive *given)
{
    struct config_policy policy = {0};
    struct config *c = r->config;
    add_patterns(r, given, 1, &policy.domains, &policy.domain_count);
    r->policy = &policy;
    config_read_block(r, row->block, given->block);
    r->policy = NULL;
    struct config_policy *list = config_grow(r, c->policies, c->policy_count, sizeof *list);
    if (!list)
        return;
    c->policies = list;
    list[c->policy_count++] = policy;
}

/* ---- outbound -------------------------------------------------------------------------------- */

#define FIELD(field) offsetof(struct config, outbound.field)

static void set_retry(struct config_reader *r, const struct config_directive *row,
                      const struct conf_directive *given)
{
    struct config_outbound *o = &r->config->outbound;
    o->retry_count = 0;
    for (size_t i = 1; i < given->word_count; i++) {
        uint64_t ms;
        if (!config_is_right(r, given, i, config_value_duration(config_argument(given, i), &ms)))
            continue;
        if (ms < row->min || ms > row->max) {
            config_wrong_word(r, given, i, "is not between 1s and 7d");
            continue;
        }
        uint64_t *list = config_grow(r, o->retry_ms, o->retry_count, sizeof *list);
        if (!list)
            return;
        o->retry_ms = list;
        list[o->retry_count++] = ms;
    }
}

static void set_source(struct config_reader *r, const struct config_directive *row,
                       const struct conf_directive *given)
{
    struct config_outbound *o = &r->config->outbound;
    (void)row;
    for (size_t i = 1; i < given->word_count; i++) {
        uint8_t octets[16];
        if (!config_is_right(r, given, i, config_value_address(config_argument(given, i), octets)))
            continue;
        bool ipv4 = network_is_ipv4(octets);
        bool *has = ipv4 ? &o->has_source_ipv4 : &o->has_source_ipv6;
        if (*has)
            config_wrong_word(r, given, i, "is a second address of its family");
        *has = true;
        memcpy(ipv4 ? o->source_ipv4 : o->source_ipv6, octets, sizeof octets);
    }
}

static void set_refused(struct config_reader *r, const struct config_directive *row,
                        const struct conf_directive *given)
{
    struct networks *refused = &r->config->outbound.refused;
    (void)row;
    *refused = (struct networks){0};
    if (given->word_count != 2 || !str_eq(config_argument(given, 1), STR("none")))
        config_add_networks(r, given, refused);
}

static const struct config_directive outbound_directives[] = {
    {"enabled", 1, 1, false, config_set_yes_no, FIELD(enabled)},
    {"lifetime", 1, 1, false, config_set_duration, FIELD(lifetime_ms), CONFIG_SECOND,
     30 * CONFIG_DAY},
    {"delay-notice", 1, 1, false, config_set_duration, FIELD(delay_notice_ms), CONFIG_SECOND,
     30 * CONFIG_DAY},
    {"retry", 1, LIMIT_QUEUE_RETRIES, .apply = set_retry, .min = CONFIG_SECOND,
     .max = 7 * CONFIG_DAY},
    {"timeout", 1, 1, false, config_set_duration, FIELD(timeout_ms), CONFIG_SECOND, CONFIG_DAY},
    {"connections", 1, 1, false, config_set_count, FIELD(connections), 1, 100000},
    {"connections-per-destination", 1, 1, false, config_set_count,
     FIELD(connections_per_destination), 1, 100000},
    {"messages-per-connection", 1, 1, false, config_set_count, FIELD(messages_per_connection), 1,
     1000000},
    {"recipients-per-day", 1, 1, false, config_set_count, FIELD(recipients_per_day), 0, 1000000000},
    {"port", 1, 1, false, config_set_count, FIELD(port), 1, 65535},
    {"source", 1, 2, .apply = set_source},
    {"refuse-addresses", 1, SIZE_MAX, .apply = set_refused},
    {"dane", 1, 1, false, config_set_yes_no, FIELD(dane)},
    {"mta-sts", 1, 1, false, config_set_yes_no, FIELD(mta_sts)},
    {"mta-sts-port", 1, 1, false, config_set_count, FIELD(mta_sts_port), 1, 65535},
    {"ca-file", 1, 1, false, config_set_path, FIELD(ca_file), .max = CONFIG_PATH_LEN_MAX},
};
const struct config_table config_outbound_table = {
    outbound_directives, sizeof outbound_directives / sizeof outbound_directives[0]};
