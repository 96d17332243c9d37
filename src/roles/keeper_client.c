/*
 * The client's side of SASL, for the couriers: they speak to the servers of routes that want a
 * login, and never see a password where the mechanism does not send it.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/random.h"
#include "proto/sasl/client.h"
#include "roles/keeper.h"

enum { EXCHANGES_MAX = 4096, NAME_MAX_SIZE = 1024 };

struct route_secret {
    struct route_secret *next;
    struct buf route;
    struct buf login;
    struct buf password;
};

struct client_exchange {
    struct client_exchange *next;
    uint8_t courier;
    uint64_t session;
    struct sasl_client *sasl;
};

/* ---- Passwords ------------------------------------------------------------------------------ */

static void free_secret(struct route_secret **at)
{
    struct route_secret *secret = *at;
    *at = secret->next;
    buf_wipe(&secret->route);
    buf_wipe(&secret->login);
    buf_wipe(&secret->password);
    free(secret);
}

static struct route_secret **find_secret(struct keeper *k, struct str route)
{
    struct route_secret **at = &k->route_secrets;
    while (*at && !str_eq(buf_str(&(*at)->route), route))
        at = &(*at)->next;
    return at;
}

static void complain(struct keeper *k, struct str route, const char *why)
{
    struct log_line line;
    log_begin(&line, role_log(k->role), role_now(k->role), LOG_ERROR, "password-file-unusable");
    log_text(&line, "route", text_from(route));
    log_words(&line, "why", why);
    log_end(&line);
}

/* The first line. NULL, or what is wrong with it. */
static const char *read_password(int fd, struct buf *password)
{
    char octets[SASL_PASSWORD_MAX + 2];
    size_t size = 0;
    ssize_t n = 0;
    while (size < sizeof octets && (n = read(fd, octets + size, sizeof octets - size)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break;
        size += (size_t)n;
    }
    struct str rest = str_make(octets, size), line = {NULL, 0};
    str_split(&rest, '\n', &line);
    if (str_ends(line, STR("\r")))
        line.len--;
    const char *wrong = n < 0                             ? "cannot be read"
                        : str_empty(line)                 ? "its first line is empty"
                        : str_find_byte(line, '\0') >= 0  ? "its first line holds a NUL"
                        : !buf_append_str(password, line) ? "its first line is too long"
                                                          : NULL;
    explicit_bzero(octets, sizeof octets);
    return wrong;
}

/* An unusable file takes the place of an earlier one as well: its password was to be no more. */
void keeper_route_secret(void *state, struct str route, struct str login, int fd)
{
    struct keeper *k = state;
    struct route_secret **at = find_secret(k, route);
    struct route_secret *secret = calloc(1, sizeof *secret);
    const char *wrong = "no memory";
    if (*at)
        free_secret(at);
    if (secret) {
        buf_init_secret(&secret->route, NAME_MAX_SIZE);
        buf_init_secret(&secret->login, NAME_MAX_SIZE);
        buf_init_secret(&secret->password, SASL_PASSWORD_MAX);
        secret->next = k->route_secrets;
        k->route_secrets = secret;
        wrong = read_password(fd, &secret->password);
        if (!wrong &&
            !(buf_append_str(&secret->route, route) && buf_append_str(&secret->login, login)))
            wrong = "the names are too long";
        if (wrong)
            free_secret(&k->route_secrets);
    }
    close(fd);
    if (wrong)
        complain(k, route, wrong);
}

static bool is_configured(const struct keeper *k, const struct route_secret *secret)
{
    const struct route_rules *routes = &k->config.routes;
    for (size_t i = 0; i < routes->count; i++) {
        const struct route_rule *route = &routes->list[i];
        if (str_eq(route->name, buf_str(&secret->route)) && !str_empty(route->password_file) &&
            str_eq(route->login, buf_str(&secret->login)))
            return true;
    }
    return false;
}

void keeper_sift_route_secrets(struct keeper *k)
{
    for (struct route_secret **at = &k->route_secrets; *at;) {
        if (is_configured(k, *at))
            at = &(*at)->next;
        else
            free_secret(at);
    }
}

/* ---- Exchanges ------------------------------------------------------------------------------ */

static struct client_exchange **find_exchange(struct keeper *k, const struct channel *from,
                                              uint64_t session)
{
    struct client_exchange **at = &k->client_exchanges;
    while (*at && !((*at)->courier == channel_peer_index(from) && (*at)->session == session))
        at = &(*at)->next;
    return at;
}

static void free_exchange(struct keeper *k, struct client_exchange **at)
{
    struct client_exchange *x = *at;
    *at = x->next;
    k->client_exchange_count--;
    sasl_client_free(x->sasl);
    free(x);
}

static void add_exchange(struct keeper *k, const struct channel *from, uint64_t session,
                         struct client_exchange *x)
{
    x->courier = channel_peer_index(from);
    x->session = session;
    x->next = k->client_exchanges;
    k->client_exchanges = x;
    k->client_exchange_count++;
}

static enum status_code new_sasl(struct keeper *k, const struct ipc_sasl_client_start_in *in,
                                 struct sasl_client **ret_sasl)
{
    const struct route_secret *secret = *find_secret(k, in->route);
    uint8_t nonce[SASL_NONCE_SIZE];
    if (!secret)
        return STATUS_NOT_FOUND;
    if (in->tls_exporter.len > TLS_BINDING_SIZE_MAX ||
        in->tls_server_end_point.len > TLS_BINDING_SIZE_MAX)
        return STATUS_INVALID;
    random_bytes(nonce, sizeof nonce);
    return sasl_client_new(
        in->mechanisms,
        &(struct sasl_client_facts){.name = buf_str(&secret->login),
                                    .password = buf_str(&secret->password),
                                    .tls = in->tls,
                                    .tls_exporter = in->tls_exporter,
                                    .tls_server_end_point = in->tls_server_end_point,
                                    .nonce = str_make(nonce, sizeof nonce)},
        ret_sasl);
}

void keeper_on_sasl_client_start(void *context, struct channel *from, uint32_t id,
                                 const struct ipc_sasl_client_start_in *in)
{
    struct keeper *k = context;
    struct ipc_sasl_client_start_out out = {.status = STATUS_INVALID};
    bool busy = k->client_exchange_count >= EXCHANGES_MAX;
    struct client_exchange *x = busy ? NULL : calloc(1, sizeof *x);
    if (!x)
        out.status = busy ? STATUS_BUSY : STATUS_NO_MEMORY;
    else if (!*find_exchange(k, from, in->session))
        out.status = new_sasl(k, in, &x->sasl);
    if (out.status == STATUS_OK) {
        add_exchange(k, from, in->session, x);
        out.mechanism = sasl_client_mechanism(x->sasl);
        out.has_initial = sasl_client_initial(x->sasl, &out.initial);
        out.done = sasl_client_done(x->sasl);
    } else {
        free(x);
    }
    ipc_sasl_client_start_reply(from, id, &out);
}

void keeper_on_sasl_client_step(void *context, struct channel *from, uint32_t id,
                                const struct ipc_sasl_client_step_in *in)
{
    struct keeper *k = context;
    struct client_exchange **at = find_exchange(k, from, in->session);
    struct ipc_sasl_client_step_out out = {.status = STATUS_NOT_FOUND};
    if (*at) {
        out.status = sasl_client_step((*at)->sasl, in->challenge, &out.response);
        out.done = sasl_client_done((*at)->sasl);
    }
    ipc_sasl_client_step_reply(from, id, &out);
    if (*at && out.status != STATUS_OK)
        free_exchange(k, at);
}

void keeper_on_sasl_client_end(void *context, struct channel *from,
                               const struct ipc_sasl_client_end_in *in)
{
    struct client_exchange **at = find_exchange(context, from, in->session);
    if (*at)
        free_exchange(context, at);
}

void keeper_end_client_exchanges(struct keeper *k, int courier)
{
    for (struct client_exchange **at = &k->client_exchanges; *at;) {
        if (courier < 0 || (*at)->courier == courier)
            free_exchange(k, at);
        else
            at = &(*at)->next;
    }
    while (courier < 0 && k->route_secrets)
        free_secret(&k->route_secrets);
}
