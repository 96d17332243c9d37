#include "roles/courier_settings.h"

#include <ifaddrs.h>
#include <stdlib.h>
#include <string.h>

#include "io/files.h"
#include "io/random.h"
#include "io/socket.h"
#include "roles/courier_resolve.h"

enum {
    ANCHORS_SIZE = 256 * 1024,
    AUTHORITIES_SIZE = 8 * 1024 * 1024,
    PATH_SIZE = 4096,
    OWN_ENDPOINTS_MAX = 256,
    /* How long IPv4 comes first after IPv6 has failed. */
    IPV6_PAUSE_MS = 10 * 60 * 1000
};

/* Debian's copy of the root zone's keys (package dns-root-data). */
#define ROOT_KEY_FILE "/usr/share/dns/root.key"

struct courier_settings *courier_settings_take(struct courier_settings *s)
{
    s->references++;
    return s;
}

void courier_settings_drop(struct courier_settings *s)
{
    if (!s || --s->references > 0)
        return;
    arena_reset(&s->arena);
    free(s);
}

/* ---- Our own places ------------------------------------------------------------------------ */

static void add_own(struct courier_settings *s, const uint8_t octets[16], uint16_t port)
{
    if (s->own_endpoint_count >= OWN_ENDPOINTS_MAX)
        return;
    struct network_endpoint *e = &s->own_endpoints[s->own_endpoint_count++];
    memcpy(e->octets, octets, sizeof e->octets);
    e->port = port;
}

static bool interface_octets(const struct ifaddrs *i, uint8_t ret_octets[16])
{
    struct socket_address a = {0};
    if (!i->ifa_addr || (i->ifa_addr->sa_family != AF_INET && i->ifa_addr->sa_family != AF_INET6))
        return false;
    a.len = i->ifa_addr->sa_family == AF_INET ? sizeof a.v4 : sizeof a.v6;
    memcpy(&a.storage, i->ifa_addr, a.len);
    struct str bytes = socket_address_bytes(&a);
    memset(ret_octets, 0, 16);
    if (bytes.len == 4)
        ret_octets[10] = ret_octets[11] = 0xff;
    memcpy(ret_octets + 16 - bytes.len, bytes.ptr, bytes.len);
    return true;
}

/* The machine's addresses: where a listener takes them all, they are ours. */
static void look_at_interfaces(struct courier_settings *s, const struct ifaddrs *interfaces)
{
    uint8_t octets[16];
    for (const struct ifaddrs *i = interfaces; i; i = i->ifa_next) {
        if (!interface_octets(i, octets))
            continue;
        s->ipv4 = s->ipv4 || network_is_ipv4(octets);
        s->ipv6 = s->ipv6 || !network_is_ipv4(octets);
        for (size_t l = 0; l < s->config.listener_count; l++) {
            const struct config_listener *listener = &s->config.listeners[l];
            if (listener->kind == LISTEN_MX && listener->at == LISTEN_AT_ANY)
                add_own(s, octets, listener->port);
        }
    }
}

static void find_own(struct courier *c, struct courier_settings *s)
{
    struct ifaddrs *interfaces = NULL;
    for (size_t l = 0; l < s->config.listener_count; l++) {
        const struct config_listener *listener = &s->config.listeners[l];
        if (listener->kind == LISTEN_MX &&
            (listener->at == LISTEN_AT_IPV4 || listener->at == LISTEN_AT_IPV6))
            add_own(s, listener->octets, listener->port);
    }
    if (getifaddrs(&interfaces) == 0) {
        look_at_interfaces(s, interfaces);
        freeifaddrs(interfaces);
        return;
    }
    /* In the sandbox nobody tells: as it was at the start. */
    if (c->settings) {
        s->ipv4 = c->settings->ipv4;
        s->ipv6 = c->settings->ipv6;
        for (size_t i = 0; i < c->settings->own_endpoint_count; i++)
            add_own(s, c->settings->own_endpoints[i].octets, c->settings->own_endpoints[i].port);
    }
}

static struct courier_settings *read_settings(struct courier *c, const struct ipc_config_in *in,
                                              enum status_code *ret_status)
{
    struct conf_errors errors;
    struct courier_settings *s = calloc(1, sizeof *s);
    *ret_status = STATUS_NO_MEMORY;
    if (!s)
        return NULL;
    s->references = 1;
    arena_init(&s->arena, CONFIG_ARENA_SIZE);
    conf_errors_init(&errors, &s->arena);
    *ret_status = config_parse(in->text, &s->arena, &s->config, &errors);
    if (*ret_status == STATUS_OK) {
        s->own_endpoints =
            arena_alloc_array(&s->arena, OWN_ENDPOINTS_MAX, sizeof *s->own_endpoints);
        *ret_status = s->own_endpoints ? STATUS_OK : STATUS_NO_MEMORY;
    }
    if (*ret_status != STATUS_OK) {
        courier_settings_drop(s);
        return NULL;
    }
    s->retry = (struct retry_schedule){s->config.outbound.retry_ms, s->config.outbound.retry_count};
    find_own(c, s);
    return s;
}

/* ---- What is made of them ------------------------------------------------------------------ */

static struct resolver_server *copy_servers(struct arena *a, const struct config_server *from,
                                            size_t count)
{
    struct resolver_server *list = arena_alloc_array(a, count + 1, sizeof *list);
    for (size_t i = 0; list && i < count; i++)
        list[i] = (struct resolver_server){from[i].address, from[i].port};
    return list;
}

static struct resolver *make_resolver(struct courier *c, struct courier_settings *s)
{
    const struct config_resolver *r = &s->config.resolver;
    struct arena *a = &s->arena;
    const struct str anchors = buf_str(&c->anchors);
    struct resolver_stub *stubs = arena_alloc_array(a, r->stub_count + 1, sizeof *stubs);
    struct resolver_server *forward = copy_servers(a, r->forward, r->forward_count);
    bool ok = stubs && forward;
    for (size_t i = 0; ok && i < r->stub_count; i++) {
        stubs[i].zone = r->stubs[i].zone;
        stubs[i].servers = copy_servers(a, r->stubs[i].servers, r->stubs[i].server_count);
        stubs[i].server_count = r->stubs[i].server_count;
        ok = stubs[i].servers != NULL;
    }
    if (!ok)
        return NULL;
    return resolver_new(courier_loop(c), &(struct resolver_settings){
                                             .forward = forward,
                                             .forward_count = r->forward_count,
                                             .stubs = stubs,
                                             .stub_count = r->stub_count,
                                             .nodefault = r->nodefault,
                                             .nodefault_count = r->nodefault_count,
                                             .anchors = &anchors,
                                             .anchor_count = 1,
                                         });
}

static enum status_code use(struct courier *c, struct courier_settings *s)
{
    struct resolver *resolver = make_resolver(c, s);
    if (!resolver) {
        courier_settings_drop(s);
        return STATUS_INVALID;
    }
    courier_settings_drop(c->settings);
    c->settings = s;
    /* Whoever waits for the old one is told, and may ask the new one. */
    struct resolver *old = c->resolver;
    c->resolver = resolver;
    resolver_free(old);
    c->pace.connections_max = (uint32_t)s->config.outbound.connections;
    return STATUS_OK;
}

enum status_code courier_settings_replace(struct courier *c, const struct ipc_config_in *in)
{
    enum status_code status;
    struct courier_settings *s = read_settings(c, in, &status);
    return s ? use(c, s) : status;
}

/* ---- Files --------------------------------------------------------------------------------- */

static enum status_code read_anchors(struct courier *c, const struct courier_settings *s,
                                     struct diag *diag)
{
    char path[PATH_SIZE];
    const struct config_resolver *r = &s->config.resolver;
    /* Without the root's keys nothing below it is validated, and mail goes its way all the same. */
    if (files_read(ROOT_KEY_FILE, &c->anchors, NULL) != STATUS_OK)
        buf_clear(&c->anchors);
    for (size_t i = 0; i < r->trust_anchor_count; i++) {
        buf_append_byte(&c->anchors, '\n');
        if (!str_to_c(r->trust_anchors[i], path, sizeof path))
            return STATUS_INVALID;
        enum status_code status = files_read(path, &c->anchors, diag);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

/* Without authorities no certificate verifies: a warning where one will be asked for. */
static void read_authorities(struct courier *c, const struct courier_settings *s)
{
    char path[PATH_SIZE];
    struct diag diag = {0};
    bool ok = str_to_c(s->config.outbound.ca_file, path, sizeof path) &&
              files_read(path, &c->authorities, &diag) == STATUS_OK &&
              tls_client_trust(c->tls, buf_str(&c->authorities), &diag) == STATUS_OK;
    if (!ok && s->config.outbound.enabled)
        log_event(role_log(c->role), courier_now(c), LOG_WARN, "no-authorities", diag.words);
}

enum status_code courier_settings_prepare(struct courier *c, const struct ipc_config_in *in,
                                          struct diag *diag)
{
    enum status_code status;
    buf_init(&c->anchors, ANCHORS_SIZE);
    buf_init(&c->authorities, AUTHORITIES_SIZE);
    struct courier_settings *s = read_settings(c, in, &status);
    if (!s)
        return status;
    c->tls = tls_client_new();
    status = c->tls ? read_anchors(c, s, diag) : STATUS_NO_MEMORY;
    if (status != STATUS_OK) {
        courier_settings_drop(s);
        return status;
    }
    read_authorities(c, s);
    c->fetcher = fetcher_new(courier_loop(c), buf_str(&c->authorities));
    if (!c->fetcher) {
        courier_settings_drop(s);
        return STATUS_NO_MEMORY;
    }
    status = use(c, s);
    if (status != STATUS_OK)
        diag_set(diag, "resolver: %s", status_name(status));
    return status;
}

/* ---- Questions ----------------------------------------------------------------------------- */

void courier_settings_routing(const struct courier *c, const struct courier_settings *s,
                              struct route_settings *ret)
{
    const struct config_outbound *o = &s->config.outbound;
    *ret = (struct route_settings){
        .rules = s->config.routes,
        .port = (uint16_t)o->port,
        .ipv4 = s->ipv4,
        .ipv6 = s->ipv6,
        .ipv4_first =
            c->ipv6_failed_ms != 0 && courier_now(c).mono_ms - c->ipv6_failed_ms < IPV6_PAUSE_MS,
        .dane = o->dane,
        .own_names = &s->config.hostname,
        .own_name_count = 1,
        .own_endpoints = s->own_endpoints,
        .own_endpoint_count = s->own_endpoint_count,
        .refused = &o->refused,
        .seed = random_u64(),
    };
}

const uint8_t *courier_settings_source(const struct courier_settings *s, bool ipv4)
{
    const struct config_outbound *o = &s->config.outbound;
    if (ipv4)
        return o->has_source_ipv4 ? o->source_ipv4 : NULL;
    return o->has_source_ipv6 ? o->source_ipv6 : NULL;
}
