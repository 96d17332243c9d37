#include "roles/config.h"

#include "base/limits.h"
#include "roles/config_read.h"

#define MINUTE UINT64_C(60000)

const char *listen_kind_name(enum listen_kind kind)
{
    static const char *const names[LISTEN_KINDS] = {
        [LISTEN_MX] = "mx",           [LISTEN_SUBMISSION] = "submission",
        [LISTEN_LMTP] = "lmtp",       [LISTEN_SUBMISSIONS] = "submissions",
        [LISTEN_IMAP] = "imap",       [LISTEN_IMAPS] = "imaps",
        [LISTEN_POP3] = "pop3",       [LISTEN_POP3S] = "pop3s",
        [LISTEN_METRICS] = "metrics", [LISTEN_SENDMAIL] = "sendmail",
    };
    return names[kind];
}

bool listen_kind_is_tls(enum listen_kind kind)
{
    return kind == LISTEN_SUBMISSIONS || kind == LISTEN_IMAPS || kind == LISTEN_POP3S;
}

const struct config_policy *config_policy_of(const struct config *c, struct str domain)
{
    for (size_t i = 0; i < c->policy_count; i++)
        for (size_t j = 0; j < c->policies[i].domain_count; j++)
            if (route_pattern_matches(c->policies[i].domains[j], domain))
                return &c->policies[i];
    return NULL;
}

/* ---- Defaults -------------------------------------------------------------------------------- */

static const struct config_limits default_limits = {
    .message_size = LIMIT_MESSAGE_SIZE,
    .text_line_size = LIMIT_SMTP_TEXT_LINE_SIZE,
    .recipients = LIMIT_SMTP_RECIPIENTS,
    .received_count = LIMIT_RECEIVED_COUNT,
    .errors = LIMIT_SMTP_ERRORS,
    .unknown_recipients = LIMIT_SMTP_UNKNOWN_RECIPIENTS,
    .tarpit_ms = LIMIT_SMTP_TARPIT_MS,
    .greeting_delay_ms = LIMIT_SMTP_GREETING_DELAY_MS,
    .role_silence_ms = LIMIT_ROLE_SILENCE_MS,
    .transactions = LIMIT_SMTP_TRANSACTIONS,
    .body_rate_min = LIMIT_SMTP_BODY_RATE_MIN,
    .body_grace_ms = LIMIT_SMTP_BODY_GRACE_MS,
    .connections = LIMIT_CONNECTIONS,
    .connections_per_address = LIMIT_CONNECTIONS_PER_ADDRESS,
    .connection_rate_per_minute = LIMIT_CONNECTION_RATE_PER_MINUTE,
    .bodies_in_flight_size = LIMIT_BODIES_IN_FLIGHT_SIZE,
    .handshake_ms = LIMIT_HANDSHAKE_MS,
    .login_ms = LIMIT_LOGIN_MS,
    .login_failures = LIMIT_LOGIN_FAILURES,
    .smtp_idle_ms = LIMIT_SMTP_IDLE_MS,
    .imap_idle_ms = LIMIT_IMAP_IDLE_MS,
    .pop3_idle_ms = LIMIT_POP3_IDLE_MS,
};

/* Quick at first, for greylisting; then slower and slower. */
static uint64_t default_retry_ms[] = {1 * MINUTE,  5 * MINUTE,   10 * MINUTE, 30 * MINUTE,
                                      60 * MINUTE, 120 * MINUTE, 240 * MINUTE};

/* Addresses that lead back to this machine: 0.0.0.0/8, 127.0.0.0/8, ::1, :: (RFC 4291 §2.5.2). */
static struct network default_refused[] = {
    {{[10] = 0xFF, [11] = 0xFF}, 96 + 8},
    {{[10] = 0xFF, [11] = 0xFF, [12] = 127}, 96 + 8},
    {{[15] = 1}, 128},
    {{0}, 128},
};

static const struct config_outbound default_outbound = {
    .enabled = true,
    .lifetime_ms = LIMIT_QUEUE_LIFETIME_MS,
    .delay_notice_ms = LIMIT_QUEUE_DELAY_NOTICE_MS,
    .retry_ms = default_retry_ms,
    .retry_count = sizeof default_retry_ms / sizeof default_retry_ms[0],
    .connections = LIMIT_OUTBOUND_CONNECTIONS,
    .connections_per_destination = LIMIT_OUTBOUND_CONNECTIONS_PER_DESTINATION,
    .messages_per_connection = LIMIT_OUTBOUND_MESSAGES_PER_CONNECTION,
    .recipients_per_day = LIMIT_OUTBOUND_RECIPIENTS_PER_DAY,
    .port = 25,
    .refused = {default_refused, sizeof default_refused / sizeof default_refused[0]},
    .dane = true,
    .mta_sts = true,
    .mta_sts_port = 443,
    .ca_file = STR("/etc/ssl/certs/ca-certificates.crt"),
};

static void set_defaults(struct config *c)
{
    *c = (struct config){
        .users = {[ROLE_EDGE] = STR("postern-edge"),
                  [ROLE_COURIER] = STR("postern-courier"),
                  [ROLE_KEEPER] = STR("postern-keeper"),
                  [ROLE_MAILROOM] = STR("postern-mailroom"),
                  [ROLE_VAULT] = STR("postern-vault")},
        .group = STR("postern"),
        .recipient_delimiter = '+',
        .reverse_dns = true,
        .log_level = LOG_INFO,
        .retention_expunged_ms = LIMIT_RETENTION_EXPUNGED_MS,
        .limits = default_limits,
        .outbound = default_outbound,
    };
    for (int role = ROLE_COURIER; role <= ROLE_VAULT; role++)
        c->processes[role] = 1;
}

static void complete_mailboxes(struct config_reader *r)
{
    static const struct config_mailbox usual[] = {
        {STR("Drafts"), STR("drafts")},   {STR("Sent"), STR("sent")},
        {STR("Junk"), STR("junk")},       {STR("Trash"), STR("trash")},
        {STR("Archive"), STR("archive")},
    };
    if (r->config->mailbox_count > 0)
        return;
    r->config->mailboxes = arena_alloc(r->arena, sizeof usual);
    if (!r->config->mailboxes) {
        r->no_memory = true;
        return;
    }
    memcpy(r->config->mailboxes, usual, sizeof usual);
    r->config->mailbox_count = sizeof usual / sizeof usual[0];
}

static void complete_control(struct config_reader *r)
{
    struct buf path;
    if (r->config->control.len > 0 || r->config->data.len == 0)
        return;
    buf_init(&path, 8192);
    buf_append_str(&path, r->config->data);
    buf_append_str(&path, STR("/control"));
    if (!arena_dup(r->arena, buf_str(&path), &r->config->control))
        r->no_memory = true;
    buf_release(&path);
}

/* ---- What no single directive can know ------------------------------------------------------- */

/* Logging in is only for those whom nobody overhears; an mx offers what it can. */
static enum listen_tls default_tls(enum listen_kind kind, bool has_certificate)
{
    switch (kind) {
    case LISTEN_MX:
        return has_certificate ? LISTEN_TLS_STARTTLS : LISTEN_TLS_NO;
    case LISTEN_LMTP:
    case LISTEN_SENDMAIL:
    case LISTEN_METRICS:
        return LISTEN_TLS_NO;
    default:
        return LISTEN_TLS_REQUIRED;
    }
}

static void complete_tls(struct config_reader *r)
{
    bool has_certificate = r->config->certificate_count > 0;
    for (size_t i = 0; i < r->config->listener_count; i++) {
        struct config_listener *listener = &r->config->listeners[i];
        if (listener->tls == LISTEN_TLS_DEFAULT)
            listener->tls = default_tls(listener->kind, has_certificate);
        if (listener->tls != LISTEN_TLS_NO && !has_certificate)
            conf_error_add(r->errors, listener->line, listener->column,
                           "listen: %s here needs a certificate, and none is given%s",
                           listen_kind_name(listener->kind),
                           listen_kind_is_tls(listener->kind) ? "" : " (or say \"tls no\")");
    }
}

static bool same_place(const struct config_listener *a, const struct config_listener *b)
{
    if (a->at == LISTEN_AT_SYSTEMD || b->at == LISTEN_AT_SYSTEMD)
        return a->at == b->at && str_eq(a->systemd_name, b->systemd_name);
    if (a->at == LISTEN_AT_UNIX || b->at == LISTEN_AT_UNIX)
        return a->at == b->at && str_eq(a->unix_path, b->unix_path);
    if (a->port != b->port)
        return false;
    return a->at == LISTEN_AT_ANY || b->at == LISTEN_AT_ANY ||
           memcmp(a->octets, b->octets, sizeof a->octets) == 0;
}

static void check_places(struct config_reader *r)
{
    const struct config_listener *list = r->config->listeners;
    for (size_t i = 1; i < r->config->listener_count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (!same_place(&list[i], &list[j]))
                continue;
            conf_error_add(r->errors, list[i].line, list[i].column,
                           "listen: \"%.*s\" is taken already, in line %d",
                           STR_ARG(str_sub(list[i].where, 0, 60)), list[j].line);
            break;
        }
    }
}

static void check_given(struct config_reader *r, const struct conf_directive *first,
                        const char *name)
{
    for (; first; first = first->next)
        if (str_eq(first->words[0].text, str_from_c(name)))
            return;
    conf_error_add(r->errors, 1, 1, "the directive \"%s\" is missing", name);
}

enum status_code config_parse(struct str text, struct arena *arena, struct config *ret_config,
                              struct conf_errors *errors)
{
    struct conf_directive *first;
    struct config config;
    struct config_reader r = {.arena = arena, .errors = errors, .config = &config};
    if (text.len > CONFIG_TEXT_SIZE_MAX)
        return STATUS_TOO_BIG;
    if (!arena_dup(arena, text, &text))
        return STATUS_NO_MEMORY;
    enum status_code status = conf_parse(text, arena, errors, &first);
    if (status != STATUS_OK)
        return status;
    set_defaults(&config);
    config_read_block(&r, &config_table, first);
    complete_mailboxes(&r);
    complete_control(&r);
    complete_tls(&r);
    check_places(&r);
    check_given(&r, first, "hostname");
    check_given(&r, first, "data");
    if (r.no_memory || errors->no_memory)
        return STATUS_NO_MEMORY;
    *ret_config = config;
    return errors->count > 0 ? STATUS_INVALID : STATUS_OK;
}
