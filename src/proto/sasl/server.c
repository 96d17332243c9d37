#include "proto/sasl/server.h"

#include <stdlib.h>

#include "base/bug.h"
#include "codec/base64.h"
#include "proto/sasl/engine.h"
#include "proto/sasl/prep.h"

static void post(struct sasl_server *e, struct sasl_event event)
{
    invariant(!e->has_event && !e->ended);
    e->event = event;
    e->has_event = true;
}

void exchange_challenge(struct sasl_server *e)
{
    if (e->data.failed) {
        exchange_fail(e, SASL_FAILURE_TEMPORARY);
        return;
    }
    post(e, (struct sasl_event){.type = SASL_CHALLENGE, .data = buf_str(&e->data)});
}

void exchange_ask(struct sasl_server *e, enum sasl_event_type question)
{
    e->asking = true;
    post(e, (struct sasl_event){.type = question,
                                .token = ++e->token,
                                .name = buf_str(&e->name),
                                .password = buf_str(&e->password)});
}

void exchange_succeed(struct sasl_server *e)
{
    post(e, (struct sasl_event){.type = SASL_SUCCESS, .name = buf_str(&e->name), .key = e->key});
    e->ended = true;
}

void exchange_fail(struct sasl_server *e, enum sasl_failure why)
{
    post(e, (struct sasl_event){.type = SASL_FAILURE, .name = buf_str(&e->name), .failure = why});
    e->ended = true;
}

/*
 * RFC 4422 §3.4.1: who the client is (authcid) and who it wants to act as (authzid). Nobody acts
 * as another here, so the second is empty or the same name.
 */
bool exchange_set_name(struct sasl_server *e, struct str authcid, struct str authzid)
{
    if (!sasl_prepare(authcid, &e->name)) {
        exchange_fail(e, SASL_FAILURE_MALFORMED);
        return false;
    }
    if (str_empty(authzid))
        return true;
    struct buf other;
    buf_init(&other, SASL_NAME_MAX);
    bool prepared = sasl_prepare(authzid, &other);
    bool same = prepared && str_eq_nocase(buf_str(&other), buf_str(&e->name));
    buf_release(&other);
    if (!same)
        exchange_fail(e, prepared ? SASL_FAILURE_WRONG : SASL_FAILURE_MALFORMED);
    return same;
}

static void ask_password(struct sasl_server *e, struct str password)
{
    if (sasl_prepare(password, &e->password))
        exchange_ask(e, SASL_PASSWORD);
    else
        exchange_fail(e, SASL_FAILURE_MALFORMED);
}

static void password_answered(struct sasl_server *e, enum sasl_answer answer)
{
    buf_wipe(&e->password);
    if (answer == SASL_ANSWER_YES)
        exchange_succeed(e);
    else
        exchange_fail(e, answer == SASL_ANSWER_NO ? SASL_FAILURE_WRONG : SASL_FAILURE_TEMPORARY);
}

/* RFC 4616 §2: message = [authzid] NUL authcid NUL passwd, and no other NUL. */
static void plain_message(struct sasl_server *e, struct str message)
{
    struct str rest = message, authzid, authcid, password;
    ptrdiff_t nul = str_find_byte(rest, '\0');
    if (nul < 0) {
        exchange_fail(e, SASL_FAILURE_MALFORMED);
        return;
    }
    authzid = str_sub(rest, 0, (size_t)nul);
    rest = str_skip(rest, (size_t)nul + 1);
    nul = str_find_byte(rest, '\0');
    if (nul < 0) {
        exchange_fail(e, SASL_FAILURE_MALFORMED);
        return;
    }
    authcid = str_sub(rest, 0, (size_t)nul);
    password = str_skip(rest, (size_t)nul + 1);
    if (exchange_set_name(e, authcid, authzid))
        ask_password(e, password);
}

/* draft-murchison-sasl-login-00 §2.1: the name, then the password, each to a prompt. */
static void login_message(struct sasl_server *e, struct str message)
{
    if (e->step > 1) {
        ask_password(e, message);
        return;
    }
    if (!exchange_set_name(e, message, STR("")))
        return;
    buf_append_str(&e->data, STR("Password:"));
    exchange_challenge(e);
}

static const struct mechanism mechanisms[SASL_MECHANISM_COUNT] = {
    [SASL_PLAIN] = {STR("PLAIN"), STR(""), false, false, plain_message, password_answered},
    [SASL_LOGIN] = {STR("LOGIN"), STR("Username:"), false, false, login_message, password_answered},
    [SASL_SCRAM_SHA_256] = {STR("SCRAM-SHA-256"), STR(""), true, false, scram_message,
                            scram_answered},
    [SASL_SCRAM_SHA_256_PLUS] = {STR("SCRAM-SHA-256-PLUS"), STR(""), true, true, scram_message,
                                 scram_answered},
};

struct str sasl_mechanism_name(enum sasl_mechanism m)
{
    return mechanisms[m].name;
}

bool sasl_mechanism_find(struct str name, enum sasl_mechanism *ret_mechanism)
{
    for (int m = 0; m < SASL_MECHANISM_COUNT; m++)
        if (str_eq_nocase(mechanisms[m].name, name)) {
            *ret_mechanism = (enum sasl_mechanism)m;
            return true;
        }
    return false;
}

static size_t copy_binding(uint8_t dst[BINDING_MAX], struct str src)
{
    invariant(src.len <= BINDING_MAX);
    if (src.len)
        memcpy(dst, src.ptr, src.len);
    return src.len;
}

static void copy_facts(struct exchange_facts *to, const struct sasl_facts *from)
{
    invariant(from->nonce.len == SASL_NONCE_SIZE && from->fake_secret.len == SASL_SECRET_SIZE);
    to->exporter_size = copy_binding(to->exporter, from->tls_exporter);
    to->end_point_size = copy_binding(to->end_point, from->tls_server_end_point);
    memcpy(to->nonce, from->nonce.ptr, SASL_NONCE_SIZE);
    memcpy(to->fake_secret, from->fake_secret.ptr, SASL_SECRET_SIZE);
    to->fake_iterations = from->fake_iterations;
    to->plus_offered = from->plus_offered;
}

struct sasl_server *sasl_server_new(enum sasl_mechanism m, const struct sasl_facts *facts)
{
    struct sasl_server *e = calloc(1, sizeof *e);
    struct scram_exchange *scram = mechanisms[m].scram ? calloc(1, sizeof *scram) : NULL;
    if (!e || (mechanisms[m].scram && !scram)) {
        free(scram);
        free(e);
        return NULL;
    }
    e->mechanism = &mechanisms[m];
    e->scram = scram;
    copy_facts(&e->facts, facts);
    buf_init_secret(&e->name, SASL_NAME_MAX);
    buf_init_secret(&e->password, SASL_PASSWORD_MAX);
    buf_init_secret(&e->data, 2 * SASL_MESSAGE_MAX);
    if (scram)
        scram_exchange_init(scram);
    return e;
}

void sasl_server_free(struct sasl_server *e)
{
    if (!e)
        return;
    buf_wipe(&e->name);
    buf_wipe(&e->password);
    buf_wipe(&e->data);
    if (e->scram)
        scram_exchange_free(e->scram);
    explicit_bzero(e, sizeof *e);
    free(e);
}

void sasl_input(struct sasl_server *e, struct str message)
{
    invariant(!e->has_event && !e->asking && !e->ended);
    e->begun = true;
    e->step++;
    buf_clear(&e->data);
    if (message.len > SASL_MESSAGE_MAX)
        exchange_fail(e, SASL_FAILURE_MALFORMED);
    else
        e->mechanism->message(e, message);
}

bool sasl_next(struct sasl_server *e, struct sasl_event *ret_event)
{
    if (!e->begun) {
        e->begun = true;
        buf_append_str(&e->data, e->mechanism->greeting);
        exchange_challenge(e);
    }
    if (!e->has_event)
        return false;
    e->has_event = false;
    *ret_event = e->event;
    return true;
}

static void take_answer(struct sasl_server *e, uint64_t token)
{
    invariant(e->asking && !e->has_event && token == e->token);
    e->asking = false;
}

void sasl_answer_credential(struct sasl_server *e, uint64_t token, enum sasl_answer answer,
                            struct str kept_name, const struct scram_credential *credential)
{
    invariant(e->event.type == SASL_CREDENTIAL);
    take_answer(e, token);
    /* Made up in any case, so that time tells little. */
    if (answer != SASL_ANSWER_TEMPORARY && !scram_make_fake(e, kept_name))
        answer = SASL_ANSWER_TEMPORARY;
    e->scram->fake = answer == SASL_ANSWER_NO;
    if (answer == SASL_ANSWER_YES)
        e->scram->credential = *credential;
    e->mechanism->answered(e, answer);
}

void sasl_answer_password(struct sasl_server *e, uint64_t token, enum sasl_answer answer)
{
    invariant(e->event.type == SASL_PASSWORD);
    take_answer(e, token);
    e->mechanism->answered(e, answer);
}
