#include "roles/edge_settings.h"

#include <openssl/evp.h>
#include <stdlib.h>

#include "codec/date.h"
#include "roles/edge.h"
#include "roles/edge_login.h"
#include "roles/sign_client.h"

/* When it is told that a certificate ends; whoever renews by a program does so earlier. */
enum { DAY_MS = 24 * 3600 * 1000 };
static const int64_t SOON_MS = (int64_t)14 * DAY_MS;

static bool offers_starttls(const struct edge_settings *s, const struct config_listener *l)
{
    return s->tls && !listen_kind_is_tls(l->kind) && l->tls != LISTEN_TLS_NO;
}

static enum smtp_listener_kind smtp_kind(enum listen_kind kind)
{
    switch (kind) {
    case LISTEN_SUBMISSION:
        return SMTP_LISTENER_SUBMISSION;
    case LISTEN_SUBMISSIONS:
        return SMTP_LISTENER_SUBMISSIONS;
    case LISTEN_LMTP:
        return SMTP_LISTENER_LMTP;
    default:
        return SMTP_LISTENER_MX;
    }
}

static struct smtp_limits smtp_limits_of(const struct config_limits *c, enum listen_kind kind)
{
    struct smtp_limits limits = smtp_limits_default;
    limits.message_size = c->message_size;
    limits.recipients = (uint32_t)c->recipients;
    limits.transactions = (uint32_t)c->transactions;
    limits.errors = (uint32_t)c->errors;
    limits.auth_failures = (uint32_t)c->login_failures;
    limits.unknown_recipients = (uint32_t)c->unknown_recipients;
    limits.tarpit_ms = (uint32_t)c->tarpit_ms;
    /* Who comes through the socket is our own `postern sendmail`, once for each message. */
    limits.greeting_delay_ms = kind == LISTEN_SENDMAIL ? 0 : (uint32_t)c->greeting_delay_ms;
    limits.idle_ms = (uint32_t)c->smtp_idle_ms;
    limits.body_rate_min = (uint32_t)c->body_rate_min;
    limits.body_grace_ms = (uint32_t)c->body_grace_ms;
    limits.text_line_size = (uint32_t)c->text_line_size;
    return limits;
}

static void fill_service(const struct edge_settings *s, const struct config_listener *l,
                         struct edge_service *service)
{
    bool starttls = offers_starttls(s, l);
    /* Without TLS a password may be given only where the administrator said that none is needed. */
    bool clear_login = l->tls == LISTEN_TLS_STARTTLS || l->tls == LISTEN_TLS_NO;
    service->smtp = (struct smtp_listener){
        .kind = smtp_kind(l->kind),
        .hostname = s->config.hostname,
        .starttls = starttls,
        .auth_mechanisms = edge_login_mechanisms(true),
        .outbound = s->config.outbound.enabled,
        .normalise_line_ends = l->normalise_line_ends,
        .limits = smtp_limits_of(&s->config.limits, l->kind),
    };
    service->imap = (struct imap_config){
        .host_name = s->hostname,
        .tls_offered = starttls,
        .clear_login = clear_login,
        .append_size_max = s->config.limits.message_size,
    };
    service->pop3 = (struct pop3_config){
        .hostname = s->config.hostname,
        .mechanisms = clear_login ? edge_login_mechanisms(false) : STR(""),
        .mechanisms_tls = edge_login_mechanisms(true),
        .password_clear = clear_login,
        .starttls = starttls,
        .login_ms = (int64_t)s->config.limits.login_ms,
        .idle_ms = (int64_t)s->config.limits.pop3_idle_ms,
    };
}

/* It serves, but other mail programs may not take it. */
static void look_at_end(struct edge *edge, struct str chain)
{
    struct log_line line;
    struct buf date;
    int64_t left_ms = tls_certificate_left_ms(chain);
    if (left_ms > SOON_MS)
        return;
    buf_init(&date, 64);
    date_format_iso(&date, role_now(edge->role).wall_ms + left_ms);
    log_begin(&line, role_log(edge->role), role_now(edge->role), LOG_WARN,
              left_ms > 0 ? "certificate-ends-soon" : "certificate-expired");
    log_str(&line, "end", buf_str(&date));
    log_end(&line);
    buf_release(&date);
}

/* Whether the key fits can be asked once there is a keeper to ask: not at the start, but later. */
static bool add_certificate(struct edge *edge, struct edge_settings *s, struct str chain)
{
    struct diag diag = {{0}};
    EVP_PKEY *key = sign_client_key(edge->signer, chain);
    bool good = false;
    if (!key)
        diag_set(&diag, "no usable public key in it");
    else if (edge->settings && !sign_client_can_sign(key))
        diag_set(&diag, "the keeper has no key that fits it");
    else
        good = tls_server_add(s->tls, chain, key, &diag) == STATUS_OK;
    if (good)
        look_at_end(edge, chain);
    else
        log_event(role_log(edge->role), role_now(edge->role), LOG_ERROR, "certificate-unusable",
                  diag.words);
    EVP_PKEY_free(key);
    return good;
}

/* One certificate that cannot be used does not take the others away. */
static void add_certificates(struct edge *edge, struct edge_settings *s,
                             const struct ipc_config_in *in)
{
    s->tls = tls_server_new();
    s->certificates_good = s->tls != NULL;
    for (size_t i = 0; s->tls && i < in->certificates_count; i++)
        s->certificates_good =
            add_certificate(edge, s, in->certificates[i].chain) && s->certificates_good;
    if (s->tls && !tls_server_usable(s->tls)) {
        tls_server_free(s->tls);
        s->tls = NULL;
    }
    if (s->tls)
        tls_server_set_ticket_keys(s->tls, buf_str(&edge->ticket_keys));
}

struct edge_settings *edge_settings_new(struct edge *edge, const struct ipc_config_in *in,
                                        struct diag *diag)
{
    struct edge_settings *s = calloc(1, sizeof *s);
    struct conf_errors errors = {0};
    struct str host;
    if (!s)
        return NULL;
    s->references = 1;
    arena_init(&s->arena, CONFIG_ARENA_SIZE);
    if (config_parse(in->text, &s->arena, &s->config, &errors) != STATUS_OK) {
        diag_set(diag, "the configuration cannot be used");
        edge_settings_drop(s);
        return NULL;
    }
    s->services = arena_alloc_array(&s->arena, s->config.listener_count + 1, sizeof *s->services);
    if (!s->services || !arena_dup(&s->arena, s->config.hostname, &host)) {
        edge_settings_drop(s);
        return NULL;
    }
    s->hostname = arena_alloc(&s->arena, host.len + 1);
    if (s->hostname)
        str_to_c(host, s->hostname, host.len + 1);
    add_certificates(edge, s, in);
    for (size_t i = 0; i < s->config.listener_count; i++)
        fill_service(s, &s->config.listeners[i], &s->services[i]);
    return s;
}

struct edge_settings *edge_settings_take(struct edge_settings *s)
{
    s->references++;
    return s;
}

void edge_settings_drop(struct edge_settings *s)
{
    if (!s || --s->references > 0)
        return;
    tls_server_free(s->tls);
    arena_reset(&s->arena);
    free(s);
}
