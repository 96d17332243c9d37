#include <stddef.h>

#include "roles/config_outbound.h"
#include "roles/config_read.h"
#include "roles/config_set.h"
#include "roles/config_value.h"

enum { LISTENERS_MAX = 256, MAILBOXES_MAX = 64 };

/* ---- log ------------------------------------------------------------------------------------- */

static void set_log_format(struct config_reader *r, const struct config_directive *row,
                           const struct conf_directive *given)
{
    (void)row;
    bool json = str_eq(config_argument(given, 1), STR("json"));
    if (json || str_eq(config_argument(given, 1), STR("logfmt")))
        r->config->log_json = json;
    else
        config_wrong_word(r, given, 1, "is neither logfmt nor json");
}

static void set_log_level(struct config_reader *r, const struct config_directive *row,
                          const struct conf_directive *given)
{
    static const struct {
        const char *name;
        enum log_level level;
    } levels[] = {
        {"debug", LOG_DEBUG}, {"info", LOG_INFO}, {"warn", LOG_WARN}, {"error", LOG_ERROR}};
    (void)row;
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        if (str_eq(config_argument(given, 1), str_from_c(levels[i].name))) {
            r->config->log_level = levels[i].level;
            return;
        }
    }
    config_wrong_word(r, given, 1, "is none of debug, info, warn, error");
}

static const struct config_directive log_directives[] = {
    {"format", 1, 1, .apply = set_log_format},
    {"level", 1, 1, .apply = set_log_level},
};

/* ---- limits ---------------------------------------------------------------------------------- */

#define LIMIT(field) offsetof(struct config, limits.field)
#define KIB          (UINT64_C(1) << 10)
#define GIB          (UINT64_C(1) << 30)

static const struct config_directive limits_directives[] = {
    {"message-size", 1, 1, false, config_set_size, LIMIT(message_size), 64 * KIB, 2 * GIB},
    {"line-size", 1, 1, false, config_set_size, LIMIT(text_line_size), 1000, 16 * 1024 * KIB},
    {"recipients", 1, 1, false, config_set_count, LIMIT(recipients), 1, 10000},
    {"received", 1, 1, false, config_set_count, LIMIT(received_count), 10, 1000},
    {"errors", 1, 1, false, config_set_count, LIMIT(errors), 1, 100000},
    {"unknown-recipients", 1, 1, false, config_set_count, LIMIT(unknown_recipients), 0, 100000},
    {"tarpit", 1, 1, false, config_set_duration, LIMIT(tarpit_ms), 0, 300 * CONFIG_SECOND},
    {"greeting-delay", 1, 1, false, config_set_duration, LIMIT(greeting_delay_ms), 0,
     60 * CONFIG_SECOND},
    {"role-silence", 1, 1, false, config_set_duration, LIMIT(role_silence_ms), CONFIG_SECOND,
     3600 * CONFIG_SECOND},
    {"transactions", 1, 1, false, config_set_count, LIMIT(transactions), 1, 1000000},
    {"body-rate", 1, 1, false, config_set_size, LIMIT(body_rate_min), 0, GIB},
    {"body-grace", 1, 1, false, config_set_duration, LIMIT(body_grace_ms), CONFIG_SECOND,
     3600 * CONFIG_SECOND},
    {"connections", 1, 1, false, config_set_count, LIMIT(connections), 1, 1000000},
    {"connections-per-address", 1, 1, false, config_set_count, LIMIT(connections_per_address), 1,
     1000000},
    {"connection-rate", 1, 1, false, config_set_count, LIMIT(connection_rate_per_minute), 1,
     1000000},
    {"bodies-in-flight", 1, 1, false, config_set_size, LIMIT(bodies_in_flight_size), 1024 * KIB,
     1024 * GIB},
    {"handshake-time", 1, 1, false, config_set_duration, LIMIT(handshake_ms), CONFIG_SECOND,
     600 * CONFIG_SECOND},
    {"login-time", 1, 1, false, config_set_duration, LIMIT(login_ms), CONFIG_SECOND,
     3600 * CONFIG_SECOND},
    {"login-failures", 1, 1, false, config_set_count, LIMIT(login_failures), 1, 100},
    {"idle-time", 1, 1, false, config_set_duration, LIMIT(smtp_idle_ms), CONFIG_SECOND, CONFIG_DAY},
    {"imap-idle-time", 1, 1, false, config_set_duration, LIMIT(imap_idle_ms), CONFIG_SECOND,
     CONFIG_DAY},
    {"pop3-idle-time", 1, 1, false, config_set_duration, LIMIT(pop3_idle_ms), CONFIG_SECOND,
     CONFIG_DAY},
};

/* ---- resolver -------------------------------------------------------------------------------- */

/* Reads the arguments from `word` on as name servers. */
static void add_servers(struct config_reader *r, const struct conf_directive *given, size_t word,
                        struct config_server **list, size_t *count)
{
    for (; word < given->word_count; word++) {
        struct config_server server = {0};
        if (!config_is_right(r, given, word,
                             config_value_server(config_argument(given, word), &server)))
            continue;
        struct config_server *grown = config_grow(r, *list, *count, sizeof *grown);
        if (!grown)
            return;
        *list = grown;
        grown[(*count)++] = server;
    }
}

static void add_forward(struct config_reader *r, const struct config_directive *row,
                        const struct conf_directive *given)
{
    struct config_resolver *resolver = &r->config->resolver;
    (void)row;
    add_servers(r, given, 1, &resolver->forward, &resolver->forward_count);
}

static void add_stub(struct config_reader *r, const struct config_directive *row,
                     const struct conf_directive *given)
{
    struct config_resolver *resolver = &r->config->resolver;
    struct config_stub stub = {0};
    (void)row;
    config_is_right(r, given, 1,
                    config_value_domain(r->arena, config_argument(given, 1), &stub.zone));
    add_servers(r, given, 2, &stub.servers, &stub.server_count);
    struct config_stub *list = config_grow(r, resolver->stubs, resolver->stub_count, sizeof *list);
    if (!list)
        return;
    resolver->stubs = list;
    list[resolver->stub_count++] = stub;
}

static void add_nodefault(struct config_reader *r, const struct config_directive *row,
                          const struct conf_directive *given)
{
    struct config_resolver *resolver = &r->config->resolver;
    (void)row;
    for (size_t i = 1; i < given->word_count; i++) {
        struct str zone;
        if (!config_is_right(r, given, i,
                             config_value_domain(r->arena, config_argument(given, i), &zone)))
            continue;
        struct str *list =
            config_grow(r, resolver->nodefault, resolver->nodefault_count, sizeof *list);
        if (!list)
            return;
        resolver->nodefault = list;
        list[resolver->nodefault_count++] = zone;
    }
}

static void add_trust_anchor(struct config_reader *r, const struct config_directive *row,
                             const struct conf_directive *given)
{
    struct config_resolver *resolver = &r->config->resolver;
    struct str file;
    if (!config_is_right(r, given, 1,
                         config_value_path(config_argument(given, 1), (size_t)row->max, &file)))
        return;
    struct str *list =
        config_grow(r, resolver->trust_anchors, resolver->trust_anchor_count, sizeof *list);
    if (!list)
        return;
    resolver->trust_anchors = list;
    list[resolver->trust_anchor_count++] = file;
}

static const struct config_directive resolver_directives[] = {
    {"forward", 1, SIZE_MAX, true, add_forward},
    {"stub", 2, SIZE_MAX, true, add_stub},
    {"nodefault", 1, SIZE_MAX, true, add_nodefault},
    {"trust-anchor", 1, 1, true, add_trust_anchor, .max = CONFIG_PATH_LEN_MAX},
};

/* ---- listen ---------------------------------------------------------------------------------- */

static void set_proxy_from(struct config_reader *r, const struct config_directive *row,
                           const struct conf_directive *given)
{
    (void)row;
    config_add_networks(r, given, &r->listener->proxy_from);
}

static void set_tls(struct config_reader *r, const struct config_directive *row,
                    const struct conf_directive *given)
{
    static const char *const names[] = {[LISTEN_TLS_NO] = "no",
                                        [LISTEN_TLS_STARTTLS] = "starttls",
                                        [LISTEN_TLS_REQUIRED] = "required"};
    (void)row;
    if (listen_kind_is_tls(r->listener->kind) || r->listener->kind == LISTEN_METRICS ||
        r->listener->kind == LISTEN_SENDMAIL) {
        conf_error_add(r->errors, given->words[0].line, given->words[0].column,
                       "tls: a listener of the kind %s has no choice",
                       listen_kind_name(r->listener->kind));
        return;
    }
    for (int i = 0; i <= LISTEN_TLS_REQUIRED; i++) {
        if (str_eq(config_argument(given, 1), str_from_c(names[i]))) {
            r->listener->tls = (enum listen_tls)i;
            return;
        }
    }
    config_wrong_word(r, given, 1, "is none of no, starttls, required");
}

static void set_normalise(struct config_reader *r, const struct config_directive *row,
                          const struct conf_directive *given)
{
    bool *yes = &r->listener->normalise_line_ends;
    (void)row;
    if (r->listener->kind > LISTEN_SENDMAIL)
        conf_error_add(r->errors, given->words[0].line, given->words[0].column,
                       "normalise-line-ends: a listener of the kind %s takes no messages",
                       listen_kind_name(r->listener->kind));
    else
        config_is_right(r, given, 1, config_value_yes_no(config_argument(given, 1), yes));
}

static const struct config_directive listen_directives[] = {
    {"proxy-from", 1, SIZE_MAX, true, set_proxy_from},
    {"tls", 1, 1, .apply = set_tls},
    {"normalise-line-ends", 1, 1, .apply = set_normalise},
};

static void add_listener(struct config_reader *r, const struct config_listener *listener)
{
    struct config *c = r->config;
    struct config_listener *list = config_grow(r, c->listeners, c->listener_count, sizeof *list);
    if (!list)
        return;
    c->listeners = list;
    list[c->listener_count++] = *listener;
}

static bool find_listen_kind(struct str name, enum listen_kind *ret_kind)
{
    for (int kind = 0; kind < LISTEN_KINDS; kind++) {
        if (str_eq(name, str_from_c(listen_kind_name((enum listen_kind)kind)))) {
            *ret_kind = (enum listen_kind)kind;
            return true;
        }
    }
    return false;
}

static void add_listeners(struct config_reader *r, const struct config_directive *row,
                          const struct conf_directive *given)
{
    struct config_listener shared = {.tls = LISTEN_TLS_DEFAULT};
    if (!find_listen_kind(config_argument(given, 1), &shared.kind)) {
        config_wrong_word(
            r, given, 1,
            "is no kind of listener (mx, submission, submissions, lmtp, sendmail, imap, "
            "imaps, pop3, pop3s, metrics)");
        return;
    }
    r->listener = &shared;
    config_read_block(r, row->block, given->block);
    r->listener = NULL;
    for (size_t i = 2; i < given->word_count; i++) {
        struct config_listener listener = shared;
        listener.line = given->words[i].line;
        listener.column = given->words[i].column;
        if (!config_is_right(r, given, i,
                             config_value_endpoint(config_argument(given, i), &listener)))
            continue;
        if ((listener.at == LISTEN_AT_UNIX) != (listener.kind == LISTEN_SENDMAIL) &&
            listener.at != LISTEN_AT_SYSTEMD) {
            config_wrong_word(
                r, given, i, "does not fit: sendmail listens at unix:/path, and nothing else does");
            continue;
        }
        if (r->config->listener_count == LISTENERS_MAX) {
            config_wrong_word(r, given, i, "is one address too many");
            return;
        }
        add_listener(r, &listener);
    }
}

/* ---- The outermost level --------------------------------------------------------------------- */

static enum ipc_role find_role(struct config_reader *r, const struct conf_directive *given,
                               unsigned allowed, const char *wrong)
{
    enum ipc_role role = ipc_role_find(config_argument(given, 1));
    if (role != 0 && (allowed & ipc_role_bit(role)))
        return role;
    config_wrong_word(r, given, 1, wrong);
    return (enum ipc_role)0;
}

static struct config_place place_of(const struct conf_directive *given, size_t word)
{
    return (struct config_place){given->words[word].line, given->words[word].column};
}

static void set_user(struct config_reader *r, const struct config_directive *row,
                     const struct conf_directive *given)
{
    enum ipc_role role = find_role(r, given,
                                   1u << ROLE_EDGE | 1u << ROLE_COURIER | 1u << ROLE_KEEPER |
                                       1u << ROLE_MAILROOM | 1u << ROLE_VAULT,
                                   "is none of edge, courier, keeper, mailroom, vault");
    (void)row;
    if (!role)
        return;
    config_is_right(r, given, 2,
                    config_value_user(config_argument(given, 2), &r->config->users[role]));
    r->config->user_places[role] = place_of(given, 2);
}

static void set_group(struct config_reader *r, const struct config_directive *row,
                      const struct conf_directive *given)
{
    (void)row;
    config_is_right(r, given, 1, config_value_user(config_argument(given, 1), &r->config->group));
    r->config->group_place = place_of(given, 1);
}

static void set_processes(struct config_reader *r, const struct config_directive *row,
                          const struct conf_directive *given)
{
    enum ipc_role role = find_role(r, given, 1u << ROLE_EDGE | 1u << ROLE_MAILROOM,
                                   "is not edge or mailroom; of the others there is one each");
    uint64_t count;
    if (!str_to_u64(config_argument(given, 2), row->max, &count) || count < row->min)
        config_wrong_word(r, given, 2, "is no number from 1 to 64");
    else if (role)
        r->config->processes[role] = (unsigned)count;
}

static void add_certificate(struct config_reader *r, const struct config_directive *row,
                            const struct conf_directive *given)
{
    struct config *c = r->config;
    struct config_certificate pair = {.line = given->words[0].line,
                                      .chain_column = given->words[1].column,
                                      .key_column = given->words[2].column};
    bool chain = config_is_right(
        r, given, 1,
        config_value_path(config_argument(given, 1), (size_t)row->max, &pair.chain_file));
    bool key = config_is_right(
        r, given, 2,
        config_value_path(config_argument(given, 2), (size_t)row->max, &pair.key_file));
    struct config_certificate *list =
        config_grow(r, c->certificates, c->certificate_count, sizeof *list);
    if (!list || !chain || !key)
        return;
    c->certificates = list;
    list[c->certificate_count++] = pair;
}

static void set_delimiter(struct config_reader *r, const struct config_directive *row,
                          const struct conf_directive *given)
{
    struct str word = config_argument(given, 1);
    (void)row;
    if (str_eq(word, STR("none")))
        r->config->recipient_delimiter = '\0';
    else if (word.len == 1 && str_find_byte(STR("+-_=~#"), word.ptr[0]) >= 0)
        r->config->recipient_delimiter = word.ptr[0];
    else
        config_wrong_word(r, given, 1, "is none of + - _ = ~ \"#\" none");
}

static void set_retention(struct config_reader *r, const struct config_directive *row,
                          const struct conf_directive *given)
{
    uint64_t ms;
    if (!str_eq(config_argument(given, 1), STR("expunged")))
        config_wrong_word(r, given, 1, "is not \"expunged\"");
    else if (config_is_right(r, given, 2, config_value_duration(config_argument(given, 2), &ms))) {
        if (ms > row->max)
            config_wrong_word(r, given, 2, "is more than this may be");
        else
            r->config->retention_expunged_ms = ms;
    }
}

static bool is_special_use(struct str use)
{
    /* RFC 6154 §2, but \All and \Flagged, which are views, not mailboxes. */
    static const char *const uses[] = {"archive", "drafts", "junk", "sent", "trash"};
    for (size_t i = 0; i < sizeof uses / sizeof uses[0]; i++)
        if (str_eq(use, str_from_c(uses[i])))
            return true;
    return false;
}

static bool mailbox_clashes(const struct config *c, const struct config_mailbox *mailbox)
{
    for (size_t i = 0; i < c->mailbox_count; i++)
        if (str_eq(c->mailboxes[i].name, mailbox->name) ||
            (mailbox->use.len > 0 && str_eq(c->mailboxes[i].use, mailbox->use)))
            return true;
    return false;
}

static void add_mailbox(struct config_reader *r, const struct config_directive *row,
                        const struct conf_directive *given)
{
    struct config *c = r->config;
    struct config_mailbox mailbox = {0};
    (void)row;
    if (!config_is_right(r, given, 1,
                         config_value_mailbox(r->arena, config_argument(given, 1), &mailbox.name)))
        return;
    if (given->word_count > 2) {
        mailbox.use = config_argument(given, 2);
        if (!is_special_use(mailbox.use)) {
            config_wrong_word(r, given, 2, "is none of archive, drafts, junk, sent, trash");
            return;
        }
    }
    if (c->mailbox_count == MAILBOXES_MAX) {
        config_wrong_word(r, given, 1, "is one mailbox too many");
        return;
    }
    if (mailbox_clashes(c, &mailbox)) {
        config_wrong_word(r, given, 1, "has a name or a use that another mailbox has already");
        return;
    }
    struct config_mailbox *list = config_grow(r, c->mailboxes, c->mailbox_count, sizeof *list);
    if (!list)
        return;
    c->mailboxes = list;
    list[c->mailbox_count++] = mailbox;
}

static void read_block_only(struct config_reader *r, const struct config_directive *row,
                            const struct conf_directive *given)
{
    config_read_block(r, row->block, given->block);
}

#define FIELD(field) offsetof(struct config, field)

static const struct config_directive top_directives[] = {
    {"hostname", 1, 1, false, config_set_domain, FIELD(hostname)},
    {"data", 1, 1, false, config_set_path, FIELD(data), .max = CONFIG_PATH_LEN_MAX},
    {"control", 1, 1, false, config_set_path, FIELD(control), .max = SOCKET_PATH_LEN_MAX},
    {"user", 2, 2, true, set_user},
    {"group", 1, 1, false, set_group},
    {"processes", 2, 2, true, set_processes, .min = 1, .max = 64},
    {"certificate", 2, 2, true, add_certificate, .max = CONFIG_PATH_LEN_MAX},
    {"listen", 2, SIZE_MAX, true, add_listeners, .block = CONFIG_TABLE(listen_directives)},
    {"trust", 1, SIZE_MAX, true, config_set_networks, FIELD(trust)},
    {"relay-from", 1, SIZE_MAX, true, config_set_networks, FIELD(relay_from)},
    {"login-domain", 1, 1, false, config_set_domain, FIELD(login_domain)},
    {"recipient-delimiter", 1, 1, false, set_delimiter},
    {"reverse-dns", 1, 1, false, config_set_yes_no, FIELD(reverse_dns)},
    {"default-mailbox", 1, 2, true, add_mailbox},
    {"retention", 2, 2, false, set_retention, .max = 3650 * CONFIG_DAY},
    {"log", 0, 0, false, read_block_only, .block = CONFIG_TABLE(log_directives),
     .block_needed = true},
    {"resolver", 0, 0, false, read_block_only, .block = CONFIG_TABLE(resolver_directives),
     .block_needed = true},
    {"route", 1, 1, true, config_add_route, .block = &config_route_table, .block_needed = true},
    {"policy", 1, SIZE_MAX, true, config_add_policy, .block = &config_policy_table,
     .block_needed = true},
    {"outbound", 0, 0, false, read_block_only, .block = &config_outbound_table,
     .block_needed = true},
    {"limits", 0, 0, false, read_block_only, .block = CONFIG_TABLE(limits_directives),
     .block_needed = true},
};

const struct config_table config_table = {top_directives,
                                          sizeof top_directives / sizeof top_directives[0]};
