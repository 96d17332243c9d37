#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "base/bug.h"
#include "io/random.h"
#include "io/socket.h"
#include "proto/sasl/server.h"
#include "roles/keeper.h"
#include "roles/keeper_admin.h"

enum { EXCHANGES_MAX = 4096, LOGIN_MAX = 1024 };

/* ipc.table: sasl_result. */
enum outcome {
    OUTCOME_CHALLENGE,
    OUTCOME_SUCCESS,
    OUTCOME_WRONG,
    OUTCOME_TEMPORARY,
    OUTCOME_MALFORMED,
    OUTCOME_ABORTED
};

static const char *const outcome_names[] = {"challenge", "success",   "wrong",
                                            "temporary", "malformed", "aborted"};

/* A SASL exchange of an edge's client. */
struct exchange {
    struct exchange *next;
    struct keeper *keeper;
    struct channel *channel;
    uint8_t edge;
    uint64_t session;
    uint32_t call; /* to be answered; 0: the client's turn */
    bool started;  /* its sasl_start has been answered */
    enum sasl_mechanism mechanism;
    uint8_t protocol; /* of enum listen_kind */
    struct sasl_server *sasl;
    struct socket_address peer;
    bool throttled; /* by address and name; not so for those whom the configuration trusts */
    char trace_id[64];

    struct buf name; /* as logins are kept */
    uint64_t token;  /* of the question that a hasher works at */
    uint64_t job;    /* its number; 0: none */
    bool found;      /* somebody has the name, and may log in */
    struct secrets_login login;
    uint64_t credential; /* the password that was right */
    char password[SASL_PASSWORD_MAX];
    size_t password_size;
};

/* ---- Answers
 * --------------------------------------------------------------------------------------- */

static void reply(struct exchange *x, const struct ipc_sasl_result *result)
{
    uint32_t id = x->call;
    x->call = 0;
    if (x->started)
        ipc_sasl_step_reply(x->channel, id, &(struct ipc_sasl_step_out){.result = *result});
    else
        ipc_sasl_start_reply(x->channel, id, &(struct ipc_sasl_start_out){.result = *result});
    x->started = true;
}

static void count_login(struct keeper *k, enum outcome outcome)
{
    metric_add(metrics_get(role_metrics(k->role), METRIC_COUNTER, "postern_keeper_logins",
                           "Login attempts that came to an end, by outcome.", "outcome",
                           outcome_names[outcome]),
               1);
}

static void free_exchange(struct exchange *x)
{
    struct exchange **at = &x->keeper->exchanges;
    while (*at != x)
        at = &(*at)->next;
    *at = x->next;
    x->keeper->exchange_count--;
    hashers_cancel(x->keeper->hashers, x->job);
    sasl_server_free(x->sasl);
    buf_release(&x->name);
    explicit_bzero(x, sizeof *x);
    free(x);
}

/* Answers what is open, and ends the exchange. */
static void end_exchange(struct exchange *x, enum outcome outcome)
{
    if (x->call != 0)
        reply(x, &(struct ipc_sasl_result){.outcome = (uint8_t)outcome});
    count_login(x->keeper, outcome);
    free_exchange(x);
}

/* The name only where somebody has it: people type their passwords into the wrong field. */
static void log_login(const struct exchange *x, const char *event, const char *why)
{
    struct log_line line;
    struct buf address;
    buf_init(&address, 64);
    socket_address_print(&x->peer, &address);
    log_begin(&line, role_log(x->keeper->role), role_now(x->keeper->role), LOG_INFO, event);
    log_str(&line, "id", str_from_c(x->trace_id));
    if (x->protocol < LISTEN_KINDS)
        log_words(&line, "protocol", listen_kind_name((enum listen_kind)x->protocol));
    log_str(&line, "mechanism", sasl_mechanism_name(x->mechanism));
    log_str(&line, "address", buf_str(&address));
    if (x->found)
        log_text(&line, "login", text_from(buf_str(&x->name)));
    if (why)
        log_words(&line, "why", why);
    log_end(&line);
    buf_release(&address);
}

static struct str throttle_address(const struct exchange *x)
{
    return x->throttled ? socket_address_bytes(&x->peer) : STR("");
}

/*
 * Also in the middle of an exchange: many that were begun before any of them failed must not get
 * more guesses than one after the other would.
 */
static bool is_held_up(const struct exchange *x)
{
    struct throttle *t = x->keeper->throttle;
    struct now now = role_now(x->keeper->role);
    return throttle_address_until(t, throttle_address(x), now) > now.mono_ms ||
           throttle_name_until(t, buf_str(&x->name), throttle_address(x), now) > now.mono_ms;
}

/* ---- The end
 * ---------------------------------------------------------------------------------------- */

static void fail(struct exchange *x, enum sasl_failure failure)
{
    static const struct {
        enum outcome outcome;
        const char *why;
    } rows[] = {
        [SASL_FAILURE_WRONG] = {OUTCOME_WRONG, "wrong name or password"},
        [SASL_FAILURE_MALFORMED] = {OUTCOME_MALFORMED, "malformed message"},
        [SASL_FAILURE_BINDING] = {OUTCOME_WRONG, "another TLS channel than the client's"},
        [SASL_FAILURE_TEMPORARY] = {OUTCOME_TEMPORARY, "cannot be checked now"},
    };
    if (rows[failure].outcome == OUTCOME_WRONG)
        throttle_failed(x->keeper->throttle, buf_str(&x->name), throttle_address(x),
                        role_now(x->keeper->role));
    log_login(x, "login-failed", rows[failure].why);
    end_exchange(x, rows[failure].outcome);
}

static bool reads_mail(uint8_t protocol)
{
    return protocol == LISTEN_IMAP || protocol == LISTEN_IMAPS || protocol == LISTEN_POP3 ||
           protocol == LISTEN_POP3S;
}

/* Submission changes nothing in the account's mailboxes, so it gets no right to. */
static struct str mint(const struct exchange *x, int64_t issued_ms, uint8_t octets[CAPABILITY_SIZE])
{
    struct capability c = {.account = x->login.account,
                           .credential = x->credential,
                           .rights = CAPABILITY_CHANGE_MAIL,
                           .session = random_u64(),
                           .issued_ms = issued_ms,
                           .expires_ms = issued_ms + CAPABILITY_LIFE_MS};
    bool minted =
        reads_mail(x->protocol) && capability_mint(&c, &x->keeper->capability_key, octets);
    return str_make(octets, minted ? CAPABILITY_SIZE : 0);
}

/* Also where the wall's clock went back: a time that has not come yet was not the last. */
static bool is_news(int64_t at_ms, int64_t used_ms)
{
    return at_ms < used_ms || at_ms - used_ms >= SECRETS_USED_EVERY_MS;
}

static void note_use(const struct exchange *x)
{
    struct keeper *k = x->keeper;
    int64_t at_ms = role_now(k->role).wall_ms;
    for (unsigned i = 0; i < x->login.scram.key_count; i++)
        if (x->login.ids[i] == x->credential && is_news(at_ms, x->login.used_ms[i]) &&
            secrets_used(k->secrets, x->credential, at_ms) != STATUS_OK)
            log_event(role_log(k->role), role_now(k->role), LOG_WARN, "last-use-not-kept",
                      secrets_words(k->secrets));
}

static void succeed(struct exchange *x)
{
    struct keeper *k = x->keeper;
    uint8_t capability[CAPABILITY_SIZE];
    int64_t issued_ms = keeper_issue_time(k);
    struct ipc_sasl_result result = {.outcome = OUTCOME_SUCCESS,
                                     .account = x->login.account,
                                     .credential = x->credential,
                                     .issued_ms = issued_ms,
                                     .login = buf_str(&x->name),
                                     .capability = mint(x, issued_ms, capability)};
    if (reads_mail(x->protocol) && str_empty(result.capability)) {
        fail(x, SASL_FAILURE_TEMPORARY);
        return;
    }
    throttle_succeeded(k->throttle, buf_str(&x->name), throttle_address(x), role_now(k->role));
    log_login(x, "login", NULL);
    note_use(x);
    reply(x, &result);
    count_login(k, OUTCOME_SUCCESS);
    free_exchange(x);
}

/* ---- Questions of the mechanism
 * ---------------------------------------------------------------------- */

/* The name as it is kept: in lower case, and with the domain that may be left out. */
static bool take_name(struct exchange *x, struct str name)
{
    struct str domain = x->keeper->config.login_domain;
    buf_clear(&x->name);
    if (!admin_fold_login(name, &x->name))
        return false;
    if (str_find_byte(buf_str(&x->name), '@') < 0 && !str_empty(domain)) {
        buf_append_byte(&x->name, '@');
        buf_append_str(&x->name, domain);
    }
    return !x->name.failed;
}

/* False where it cannot be known now. `found` says whether anybody may log in by this name. */
static bool look_up(struct exchange *x, struct str name)
{
    struct keeper *k = x->keeper;
    if (!take_name(x, name) || is_held_up(x))
        return false;
    enum status_code status = secrets_find(k->secrets, buf_str(&x->name), &x->login);
    x->found = status == STATUS_OK && !x->login.disabled;
    if (status == STATUS_OK || status == STATUS_NOT_FOUND)
        return true;
    log_event(role_log(k->role), role_now(k->role), LOG_ERROR, "secrets-failed",
              secrets_words(k->secrets));
    return false;
}

static void answer_credential(struct exchange *x, const struct sasl_event *event)
{
    enum sasl_answer answer = !look_up(x, event->name) ? SASL_ANSWER_TEMPORARY
                              : x->found               ? SASL_ANSWER_YES
                                                       : SASL_ANSWER_NO;
    sasl_answer_credential(x->sasl, event->token, answer, buf_str(&x->name), &x->login.scram);
}

/* The same work for names that nobody has, so that time tells nothing. */
static void fill_job(const struct exchange *x, struct password_job *job)
{
    const struct scram_credential *c = &x->login.scram;
    bool main = x->found && x->login.main_id != 0;
    *job = (struct password_job){.kind = PASSWORD_VERIFY,
                                 .password_size = x->password_size,
                                 .salt_size = SCRAM_SALT_SIZE,
                                 .iterations = PASSWORD_ITERATIONS};
    memcpy(job->password, x->password, x->password_size);
    memcpy(job->hash, main ? x->login.main_hash : password_hash_of_nobody(), PASSWORD_HASH_SIZE);
    if (!x->found)
        return;
    memcpy(job->salt, c->salt, c->salt_size);
    job->salt_size = c->salt_size;
    job->iterations = c->iterations;
}

/* The account's own password by its hash, an application password by its SCRAM key. */
static uint64_t find_credential(const struct exchange *x, const struct password_result *result)
{
    uint64_t credential = result->fits ? x->login.main_id : 0;
    if (!x->found)
        return 0;
    for (unsigned i = 0; i < x->login.scram.key_count; i++)
        if (x->login.ids[i] != x->login.main_id &&
            CRYPTO_memcmp(x->login.scram.keys[i].stored, result->keys.stored, SCRAM_KEY_SIZE) == 0)
            credential = x->login.ids[i];
    return credential;
}

/*
 * Whether the password that was right still opens the account: it may have been changed, or the
 * account been shut, while it was hashed or while the client took its time.
 */
static enum sasl_answer look_again(const struct exchange *x)
{
    struct secrets_login kept;
    bool holds = false;
    enum status_code status = secrets_find(x->keeper->secrets, buf_str(&x->name), &kept);
    for (unsigned i = 0; status == STATUS_OK && i < kept.scram.key_count; i++)
        holds |= kept.ids[i] == x->credential && !kept.disabled;
    explicit_bzero(&kept, sizeof kept);
    if (status != STATUS_OK && status != STATUS_NOT_FOUND)
        return SASL_ANSWER_TEMPORARY;
    return holds ? SASL_ANSWER_YES : SASL_ANSWER_NO;
}

static void drive(struct exchange *x);

static void on_verified(void *context, const struct password_result *result)
{
    struct exchange *x = context;
    bool known = result->status == STATUS_OK && !is_held_up(x);
    x->job = 0;
    x->credential = known ? find_credential(x, result) : 0;
    enum sasl_answer answer = !known               ? SASL_ANSWER_TEMPORARY
                              : x->credential != 0 ? look_again(x)
                                                   : SASL_ANSWER_NO;
    if (answer == SASL_ANSWER_YES)
        login_cache_add(x->keeper->cache, buf_str(&x->name),
                        str_make(x->password, x->password_size), x->credential,
                        role_now(x->keeper->role));
    explicit_bzero(x->password, sizeof x->password);
    sasl_answer_password(x->sasl, x->token, answer);
    drive(x);
}

/* Strangers do not take the last places: who has been here before gets in, whatever they do. */
static bool has_place(const struct exchange *x)
{
    const struct keeper *k = x->keeper;
    return hashers_waiting(k->hashers) < HASHERS_STRANGERS_MAX ||
           throttle_knows(k->throttle, buf_str(&x->name), throttle_address(x), role_now(k->role));
}

/* True where the answer is given; else a hasher is at it. */
static bool answer_password(struct exchange *x, const struct sasl_event *event)
{
    struct password_job job;
    enum sasl_answer answer = SASL_ANSWER_TEMPORARY;
    if (look_up(x, event->name)) {
        if (x->found && login_cache_find(x->keeper->cache, buf_str(&x->name), event->password,
                                         role_now(x->keeper->role), &x->credential)) {
            answer = SASL_ANSWER_YES;
        } else {
            memcpy(x->password, event->password.ptr, event->password.len);
            x->password_size = event->password.len;
            x->token = event->token;
            fill_job(x, &job);
            x->job = has_place(x) ? hashers_submit(x->keeper->hashers, &job, on_verified, x) : 0;
            explicit_bzero(&job, sizeof job);
            if (x->job != 0)
                return false;
        }
    }
    sasl_answer_password(x->sasl, event->token, answer);
    return true;
}

static void accept_proof(struct exchange *x, unsigned key)
{
    enum sasl_answer answer = SASL_ANSWER_YES;
    if (x->credential == 0) { /* SCRAM, by a key that was looked up some time ago */
        x->credential = x->login.ids[key];
        answer = look_again(x);
    }
    if (answer == SASL_ANSWER_YES)
        succeed(x);
    else
        fail(x, answer == SASL_ANSWER_NO ? SASL_FAILURE_WRONG : SASL_FAILURE_TEMPORARY);
}

/* Until the client or a hasher has to do something, or it is over. */
static void drive(struct exchange *x)
{
    struct sasl_event event;
    while (sasl_next(x->sasl, &event))
        switch (event.type) {
        case SASL_CHALLENGE:
            reply(x, &(struct ipc_sasl_result){.outcome = OUTCOME_CHALLENGE, .data = event.data});
            return;
        case SASL_CREDENTIAL:
            answer_credential(x, &event);
            break;
        case SASL_PASSWORD:
            if (!answer_password(x, &event))
                return;
            break;
        case SASL_SUCCESS:
            accept_proof(x, event.key);
            return;
        case SASL_FAILURE:
            fail(x, event.failure);
            return;
        }
}

/* ---- Requests
 * -------------------------------------------------------------------------------------------- */

static struct exchange *find_exchange(struct keeper *k, const struct channel *ch, uint64_t session)
{
    for (struct exchange *x = k->exchanges; x; x = x->next)
        if (x->edge == channel_peer_index(ch) && x->session == session)
            return x;
    return NULL;
}

/* Whom the configuration trusts is not held up, nor is a local peer. */
static void take_peer(struct exchange *x, struct str peer)
{
    uint8_t octets[16] = {[10] = 0xFF, [11] = 0xFF};
    if (!socket_address_parse(peer, 0, &x->peer)) {
        x->peer = (struct socket_address){.any.sa_family = AF_UNIX};
        return;
    }
    struct str bytes = socket_address_bytes(&x->peer);
    memcpy(octets + 16 - bytes.len, bytes.ptr, bytes.len);
    x->throttled = !networks_have(&x->keeper->config.trust, octets);
}

static struct sasl_server *new_sasl(const struct keeper *k, enum sasl_mechanism mechanism,
                                    const struct ipc_sasl_start_in *in)
{
    uint8_t nonce[SASL_NONCE_SIZE];
    random_bytes(nonce, sizeof nonce);
    if (in->tls_exporter.len > TLS_BINDING_SIZE_MAX ||
        in->tls_server_end_point.len > TLS_BINDING_SIZE_MAX)
        return NULL;
    return sasl_server_new(
        mechanism,
        &(struct sasl_facts){.tls_exporter = in->tls_exporter,
                             .tls_server_end_point = in->tls_server_end_point,
                             .nonce = str_make(nonce, sizeof nonce),
                             .fake_secret = str_make(k->fake_secret, sizeof k->fake_secret),
                             .fake_iterations = PASSWORD_ITERATIONS,
                             .plus_offered = in->tls});
}

/*
 * The one that has waited longest for its client gives way: clients that begin and say no more, of
 * however many addresses, keep nobody from logging in.
 */
static void make_room(struct keeper *k)
{
    struct exchange *oldest = NULL;
    for (struct exchange *x = k->exchanges; x; x = x->next) /* the newest first */
        if (x->call == 0)
            oldest = x;
    if (oldest)
        end_exchange(oldest, OUTCOME_ABORTED);
}

static struct exchange *new_exchange(struct keeper *k, struct channel *from, uint32_t id,
                                     const struct ipc_sasl_start_in *in,
                                     enum sasl_mechanism mechanism)
{
    if (k->exchange_count >= EXCHANGES_MAX)
        make_room(k);
    struct exchange *x = k->exchange_count < EXCHANGES_MAX ? calloc(1, sizeof *x) : NULL;
    if (!x)
        return NULL;
    x->keeper = k;
    x->channel = from;
    x->edge = channel_peer_index(from);
    x->session = in->session;
    x->call = id;
    x->mechanism = mechanism;
    x->protocol = in->protocol;
    x->sasl = new_sasl(k, mechanism, in);
    if (!x->sasl) {
        free(x);
        return NULL;
    }
    str_to_c(in->trace_id, x->trace_id, sizeof x->trace_id);
    buf_init(&x->name, LOGIN_MAX);
    take_peer(x, in->peer);
    x->next = k->exchanges;
    k->exchanges = x;
    k->exchange_count++;
    return x;
}

static void refuse_start(struct keeper *k, struct channel *from, uint32_t id, enum outcome outcome)
{
    count_login(k, outcome);
    ipc_sasl_start_reply(from, id,
                         &(struct ipc_sasl_start_out){.result = {.outcome = (uint8_t)outcome}});
}

void keeper_on_sasl_start(void *context, struct channel *from, uint32_t id,
                          const struct ipc_sasl_start_in *in)
{
    struct keeper *k = context;
    enum sasl_mechanism mechanism;
    if (!sasl_mechanism_find(in->mechanism, &mechanism) || find_exchange(k, from, in->session)) {
        refuse_start(k, from, id, OUTCOME_MALFORMED);
        return;
    }
    struct exchange *x = new_exchange(k, from, id, in, mechanism);
    if (!x) {
        refuse_start(k, from, id, OUTCOME_TEMPORARY);
        return;
    }
    if (is_held_up(x)) {
        end_exchange(x, OUTCOME_TEMPORARY);
        return;
    }
    if (in->has_initial)
        sasl_input(x->sasl, in->initial);
    drive(x);
}

void keeper_on_sasl_step(void *context, struct channel *from, uint32_t id,
                         const struct ipc_sasl_step_in *in)
{
    struct exchange *x = find_exchange(context, from, in->session);
    if (!x || x->call != 0) {
        ipc_sasl_step_reply(from, id,
                            &(struct ipc_sasl_step_out){.result = {.outcome = OUTCOME_MALFORMED}});
        return;
    }
    x->call = id;
    if (is_held_up(x)) {
        end_exchange(x, OUTCOME_TEMPORARY);
        return;
    }
    sasl_input(x->sasl, in->response);
    drive(x);
}

void keeper_on_sasl_abort(void *context, struct channel *from, const struct ipc_sasl_abort_in *in)
{
    struct exchange *x = find_exchange(context, from, in->session);
    if (x)
        end_exchange(x, OUTCOME_ABORTED);
}

void keeper_end_exchanges(struct keeper *k, int edge)
{
    for (struct exchange *x = k->exchanges, *next; x; x = next) {
        next = x->next;
        if (edge < 0 || x->edge == edge)
            end_exchange(x, OUTCOME_ABORTED);
    }
}
