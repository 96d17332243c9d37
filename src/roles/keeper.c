#include "roles/keeper.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "codec/preload.h"
#include "io/random.h"
#include "proto/sasl/prep.h"

enum { TICKETS_EVERY_MS = 6 * 60 * 60 * 1000 };

/* ---- Session ticket keys -----------------------------------------------------------------------
 */

static struct str ticket_keys(const struct keeper *k)
{
    return str_make(k->tickets, k->ticket_count * TLS_TICKET_KEY_SIZE);
}

/* A new key in front; the last one falls off, and sessions under it with it. */
static void rotate_tickets(struct keeper *k)
{
    size_t kept = k->ticket_count < TLS_TICKET_KEYS_MAX ? k->ticket_count : TLS_TICKET_KEYS_MAX - 1;
    memmove(k->tickets + TLS_TICKET_KEY_SIZE, k->tickets, kept * TLS_TICKET_KEY_SIZE);
    random_bytes(k->tickets, TLS_TICKET_KEY_SIZE);
    k->ticket_count = kept + 1;
    timer_set(&k->rotation, role_now(k->role).mono_ms + TICKETS_EVERY_MS);
}

static void on_rotation(void *context)
{
    struct keeper *k = context;
    struct ipc_ticket_keys_rotated_in in;
    unsigned at = 0;
    rotate_tickets(k);
    in.keys = ticket_keys(k);
    for (struct channel *ch; (ch = role_next_peer(k->role, ROLE_EDGE, &at));)
        ipc_ticket_keys_rotated_note(ch, &in);
}

static void on_ticket_keys(void *context, struct channel *from, uint32_t id)
{
    ipc_ticket_keys_reply(from, id, &(struct ipc_ticket_keys_out){.keys = ticket_keys(context)});
}

/* ---- Signing
 * --------------------------------------------------------------------------------------- */

static void count_signature(struct keeper *k, enum status_code status)
{
    metric_add(metrics_get(role_metrics(k->role), METRIC_COUNTER, "postern_keeper_signatures",
                           "Signatures asked for, by how it went.", "status", status_name(status)),
               1);
}

static void on_sign(void *context, struct channel *from, uint32_t id, const struct ipc_sign_in *in)
{
    struct signing *s = context;
    uint8_t signature[SIGN_SIGNATURE_MAX];
    size_t size = 0;
    enum status_code status = keeper_tls_sign(
        s->keeper->tls, in->key, (enum sign_algorithm)in->algorithm, in->digest, signature, &size);
    count_signature(s->keeper, status);
    ipc_sign_reply(
        from, id, &(struct ipc_sign_out){.status = status, .signature = str_make(signature, size)});
}

static const struct ipc_handlers signing_handlers = {.sign = on_sign};

static void free_signing(struct signing *s)
{
    struct signing **at = &s->keeper->signings;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    link_close(s->link);
    free(s);
}

static void signing_ended(void *owner, enum status_code why, const char *words)
{
    (void)why;
    (void)words;
    free_signing(owner);
}

static void keeper_sign_channel(void *state, uint8_t index, int fd)
{
    struct keeper *k = state;
    struct signing *s = calloc(1, sizeof *s);
    if (!s) {
        close(fd);
        return;
    }
    s->keeper = k;
    s->link = link_open(&(struct link_setup){.loop = role_loop(k->role),
                                             .fd = fd,
                                             .self = ROLE_KEEPER,
                                             .peer = ROLE_EDGE,
                                             .peer_index = index,
                                             .handlers = &signing_handlers,
                                             .context = s,
                                             .owner = s,
                                             .ended = signing_ended});
    if (!s->link) {
        free(s);
        return;
    }
    s->next = k->signings;
    k->signings = s;
}

static void keeper_key_file(void *state, uint32_t number, int fd)
{
    struct keeper *k = state;
    struct diag diag = {{0}};
    struct log_line line;
    enum status_code status = keeper_tls_load(k->tls, number, fd, &diag);
    close(fd);
    if (status == STATUS_OK)
        return;
    log_begin(&line, role_log(k->role), role_now(k->role), LOG_ERROR, "key-unusable");
    log_number(&line, "certificate", number);
    log_words(&line, "why", diag.words);
    log_end(&line);
}

/* ---- Life
 * ------------------------------------------------------------------------------------------ */

static void keeper_destroy(void *state)
{
    struct keeper *k = state;
    keeper_end_exchanges(k, -1);
    keeper_end_client_exchanges(k, -1);
    keeper_end_settings(k);
    while (k->signings)
        free_signing(k->signings);
    timer_set(&k->rotation, NEVER_MS);
    timer_set(&k->untold, NEVER_MS);
    hashers_free(k->hashers);
    secrets_close(k->secrets);
    throttle_free(k->throttle);
    login_cache_free(k->cache);
    keeper_tls_free(k->tls);
    arena_reset(&k->arena);
    OPENSSL_cleanse(k, sizeof *k);
    free(k);
}

static void *keeper_create(struct role *role)
{
    struct keeper *k = calloc(1, sizeof *k);
    uint8_t throttle_secret[THROTTLE_SECRET_SIZE], cache_key[LOGIN_CACHE_KEY_SIZE];
    if (!k)
        return NULL;
    k->role = role;
    arena_init(&k->arena, CONFIG_ARENA_SIZE);
    timer_init(&k->rotation, role_loop(role), on_rotation, k);
    timer_init(&k->untold, role_loop(role), keeper_on_untold, k);
    k->ended_ms = role_now(role).mono_ms;
    random_bytes(throttle_secret, sizeof throttle_secret);
    random_bytes(cache_key, sizeof cache_key);
    k->throttle = throttle_new(throttle_secret);
    k->cache = login_cache_new(cache_key);
    k->tls = keeper_tls_new();
    explicit_bzero(cache_key, sizeof cache_key);
    rotate_tickets(k);
    if (k->throttle && k->cache && k->tls)
        return k;
    keeper_destroy(k);
    return NULL;
}

static enum status_code use_config(struct keeper *k, struct str text)
{
    struct conf_errors errors;
    struct arena arena;
    struct config config;
    arena_init(&arena, CONFIG_ARENA_SIZE);
    conf_errors_init(&errors, &arena);
    enum status_code status = config_parse(text, &arena, &config, &errors);
    if (status != STATUS_OK) {
        arena_reset(&arena);
        return status;
    }
    arena_reset(&k->arena);
    k->arena = arena;
    k->config = config;
    return STATUS_OK;
}

/* The children's work is done for: a keeper that cannot check passwords is started anew. */
static void on_hashers_gone(void *context)
{
    struct keeper *k = context;
    log_event(role_log(k->role), role_now(k->role), LOG_ERROR, "hasher-gone",
              "a child that checks passwords has died");
    role_end(k->role);
}

/* What would be read from files when it is first needed is read now. */
static bool load_libraries(void)
{
    struct buf prepared;
    buf_init(&prepared, 16);
    bool ok = password_init() && OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG, NULL) == 1 &&
              codec_preload() == STATUS_OK && sasl_prepare(STR("\xC3\xA4"), &prepared);
    buf_release(&prepared);
    return ok;
}

/*
 * A run of the server is this boot of the machine and this warden. Where the machine does not say
 * which boot it is, it is this process alone.
 */
static enum status_code begin_run(struct keeper *k)
{
    enum { BOOT_SIZE = 64 };
    char run[128];
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, run, BOOT_SIZE) : -1;
    size_t len = got > 0 ? (size_t)got : BOOT_SIZE;
    if (fd >= 0)
        close(fd);
    if (got <= 0)
        random_bytes(run, len);
    snprintf(run + len, sizeof run - len, "%ld", (long)getppid());
    struct str name = str_make(run, len + strlen(run + len));
    enum status_code status = secrets_begin_run(k->secrets, name);
    if (status == STATUS_OK &&
        !capability_key_derive(str_make(k->fake_secret, sizeof k->fake_secret), name,
                               &k->capability_key))
        status = STATUS_NO_MEMORY;
    return status;
}

/* In this order: the children know no secret. */
static enum status_code keeper_prepare(void *state, const struct ipc_config_in *config,
                                       struct diag *diag)
{
    struct keeper *k = state;
    char path[1024];
    enum status_code status = use_config(k, config->text);
    if (status != STATUS_OK) {
        diag_set(diag, "the configuration cannot be used");
        return status;
    }
    if (!load_libraries()) {
        diag_set(diag, "libsodium, libcrypto or ICU does not work here");
        return STATUS_UNSUPPORTED;
    }
    k->hashers = hashers_new(role_loop(k->role), HASHERS_DEFAULT);
    if (!k->hashers) {
        diag_set(diag, "cannot start the children that check passwords");
        return STATUS_NO_MEMORY;
    }
    hashers_on_gone(k->hashers, on_hashers_gone, k);
    snprintf(path, sizeof path, "%.*s/keeper/secrets.db", STR_ARG(k->config.data));
    status = secrets_open(path, &k->secrets, diag);
    if (status == STATUS_OK)
        status = secrets_fake(k->secrets, k->fake_secret);
    return status == STATUS_OK ? begin_run(k) : status;
}

static void keeper_reconfigure(void *state, const struct ipc_config_in *config)
{
    struct keeper *k = state;
    if (use_config(k, config->text) != STATUS_OK)
        role_refuse_reload(k->role, "the configuration cannot be used");
    keeper_sift_route_secrets(k);
}

static void keeper_peer_up(void *state, enum ipc_role peer, uint8_t index, struct channel *ch)
{
    struct keeper *k = state;
    (void)index;
    if (peer == ROLE_VAULT || peer == ROLE_EDGE)
        keeper_tell_peer_ends(k, ch);
    if (peer == ROLE_VAULT)
        ipc_capability_key_note(
            ch, &(struct ipc_capability_key_in){
                    .key = str_make(k->capability_key.octets, CAPABILITY_KEY_SIZE)});
}

static void keeper_peer_down(void *state, enum ipc_role peer, uint8_t index)
{
    if (peer == ROLE_EDGE)
        keeper_end_exchanges(state, index);
    if (peer == ROLE_COURIER)
        keeper_end_client_exchanges(state, index);
}

static void on_metrics(void *context, struct channel *from, uint32_t id)
{
    struct keeper *k = context;
    role_reply_metrics(k->role, from, id);
}

static const struct ipc_handlers handlers = {
    .metrics = on_metrics,
    .ticket_keys = on_ticket_keys,
    .sasl_start = keeper_on_sasl_start,
    .sasl_step = keeper_on_sasl_step,
    .sasl_abort = keeper_on_sasl_abort,
    .sasl_client_start = keeper_on_sasl_client_start,
    .sasl_client_step = keeper_on_sasl_client_step,
    .sasl_client_end = keeper_on_sasl_client_end,
    .password_set = keeper_on_password_set,
    .password_list = keeper_on_password_list,
    .password_remove = keeper_on_password_remove,
    .login_disable = keeper_on_login_disable,
};

const struct role_plan keeper_plan = {
    .self = ROLE_KEEPER,
    .handlers = &handlers,
    .create = keeper_create,
    .destroy = keeper_destroy,
    .prepare = keeper_prepare,
    .reconfigure = keeper_reconfigure,
    .key_file = keeper_key_file,
    .sign_channel = keeper_sign_channel,
    .route_secret = keeper_route_secret,
    .peer_up = keeper_peer_up,
    .peer_down = keeper_peer_down,
};
