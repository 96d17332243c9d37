#include "roles/courier_settings.h"

#include <ifaddrs.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/files.h"
#include "io/random.h"
#include "io/socket.h"
#include "roles/courier_resolve.h"

enum {
    ANCHORS_SIZE = 256 * 1024,
    AUTHORITIES_SIZE = 8 * 1024 * 1024,
    OWN_ENDPOINTS_MAX = 256,
    /* How long IPv4 comes first after IPv6 has failed. */
    IPV6_PAUSE_MS = 10 * 60 * 1000
};

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

static struct resolver *make_resolver(struct courier *c, struct courier_settings *s,
                                      struct str anchors)
{
    const struct config_resolver *r = &s->config.resolver;
    struct arena *a = &s->arena;
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

/* Whoever waits for the old one is told, and may ask the new one. */
static void replace_resolver(struct courier *c, struct resolver *resolver)
{
    struct resolver *old = c->resolver;
    c->resolver = resolver;
    resolver_free(old);
}

/* ---- Whom to trust ------------------------------------------------------------------------- */

void courier_settings_init(struct courier *c)
{
    buf_init(&c->anchors, ANCHORS_SIZE);
    buf_init(&c->authorities, AUTHORITIES_SIZE);
    buf_init(&c->coming_anchors, ANCHORS_SIZE);
    buf_init(&c->coming_authorities, AUTHORITIES_SIZE);
}

static void forget_coming(struct courier *c)
{
    buf_release(&c->coming_anchors);
    buf_release(&c->coming_authorities);
    c->trust_too_big = false;
}

void courier_settings_forget_trust(struct courier *c)
{
    forget_coming(c);
    buf_release(&c->anchors);
    buf_release(&c->authorities);
}

void courier_settings_trust_file(void *state, uint8_t kind, int fd)
{
    struct courier *c = state;
    struct buf *to = kind == 0 ? &c->coming_authorities : &c->coming_anchors;
    if (to->len > 0)
        buf_append_byte(to, '\n');
    if (files_read_fd(fd, to, NULL) != STATUS_OK)
        c->trust_too_big = true;
    close(fd);
}

/* Without authorities no certificate verifies: a warning where one will be asked for. */
static struct tls_client *make_tls(struct courier *c, const struct courier_settings *s)
{
    struct diag diag = {0};
    struct tls_client *tls = tls_client_new();
    if (tls && tls_client_trust(tls, buf_str(&c->coming_authorities), &diag) != STATUS_OK &&
        s->config.outbound.enabled)
        log_event(role_log(c->role), courier_now(c), LOG_WARN, "no-authorities", diag.words);
    return tls;
}

/* What is open keeps to whom it trusted. Nothing changes where memory fails. */
static bool replace_authorities(struct courier *c, const struct courier_settings *s)
{
    struct str pem = buf_str(&c->coming_authorities);
    if (c->tls && str_eq(pem, buf_str(&c->authorities)))
        return true;
    struct tls_client *tls = make_tls(c, s);
    if (!tls)
        return false;
    if (!c->fetcher)
        c->fetcher = fetcher_new(courier_loop(c), pem);
    else if (!fetcher_trust(c->fetcher, pem))
        tls_client_free(tls), tls = NULL;
    if (!tls || !c->fetcher) {
        tls_client_free(tls);
        return false;
    }
    tls_client_free(c->tls);
    c->tls = tls;
    return true;
}

static void keep_trust(struct courier *c)
{
    struct buf authorities = c->authorities, anchors = c->anchors;
    c->authorities = c->coming_authorities;
    c->anchors = c->coming_anchors;
    c->coming_authorities = authorities;
    c->coming_anchors = anchors;
    forget_coming(c);
}

/* ---- All of it ----------------------------------------------------------------------------- */

static enum status_code use(struct courier *c, struct courier_settings *s, struct diag *diag)
{
    if (c->trust_too_big) {
        diag_set(diag, "the files of whom to trust are too big");
        return STATUS_TOO_BIG;
    }
    struct resolver *resolver = make_resolver(c, s, buf_str(&c->coming_anchors));
    if (!resolver) {
        diag_set(diag, "the resolver does not take its settings");
        return STATUS_INVALID;
    }
    if (!replace_authorities(c, s)) {
        diag_set(diag, "no memory for the authorities");
        resolver_free(resolver);
        return STATUS_NO_MEMORY;
    }
    courier_settings_drop(c->settings);
    c->settings = s;
    replace_resolver(c, resolver);
    c->pace.connections_max = (uint32_t)s->config.outbound.connections;
    keep_trust(c);
    return STATUS_OK;
}

enum status_code courier_settings_use(struct courier *c, const struct ipc_config_in *in,
                                      struct diag *diag)
{
    enum status_code status;
    struct courier_settings *s = read_settings(c, in, &status);
    if (!s) {
        diag_set(diag, "settings: %s", status_name(status));
    } else {
        status = use(c, s, diag);
        if (status != STATUS_OK)
            courier_settings_drop(s);
    }
    if (status != STATUS_OK)
        forget_coming(c);
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
