#include "proto/sasl/client.h"

#include <stdlib.h>

#include "base/bug.h"
#include "codec/base64.h"
#include "proto/sasl/engine.h"
#include "proto/sasl/prep.h"

struct sasl_client {
    enum sasl_mechanism mechanism;
    struct buf name;
    struct buf password;
    struct buf header;  /* SCRAM: gs2-header, and the channel's data behind it */
    struct buf bare;    /* client-first-message-bare */
    struct buf nonce;   /* ours */
    struct buf message; /* the last one we made */
    uint8_t signature[SCRAM_KEY_SIZE];
    unsigned step; /* challenges so far */
    bool done;
    bool ended;
};

/* ---- The choice --------------------------------------------------------------------------- */

static bool is_offered(struct str mechanisms, struct str name)
{
    struct str word;
    while (str_split(&mechanisms, ' ', &word))
        if (str_eq_nocase(word, name))
            return true;
    return false;
}

static bool has_binding(const struct sasl_client_facts *facts)
{
    return facts->tls &&
           !(str_empty(facts->tls_exporter) && str_empty(facts->tls_server_end_point));
}

static bool is_usable(enum sasl_mechanism m, const struct sasl_client_facts *facts)
{
    if (m == SASL_SCRAM_SHA_256_PLUS)
        return has_binding(facts);
    return m == SASL_SCRAM_SHA_256 || facts->tls;
}

static bool choose(struct str mechanisms, const struct sasl_client_facts *facts,
                   enum sasl_mechanism *ret_mechanism)
{
    static const enum sasl_mechanism preferred[] = {SASL_SCRAM_SHA_256_PLUS, SASL_SCRAM_SHA_256,
                                                    SASL_PLAIN, SASL_LOGIN};
    for (size_t i = 0; i < sizeof preferred / sizeof preferred[0]; i++) {
        if (is_offered(mechanisms, sasl_mechanism_name(preferred[i])) &&
            is_usable(preferred[i], facts)) {
            *ret_mechanism = preferred[i];
            return true;
        }
    }
    return false;
}

/* ---- SCRAM (RFC 5802 §5, §7; the grammar is in scram_exchange.c) --------------------------- */

static bool is_scram(const struct sasl_client *x)
{
    return x->mechanism == SASL_SCRAM_SHA_256 || x->mechanism == SASL_SCRAM_SHA_256_PLUS;
}

/*
 * gs2-header, and what is bound to. RFC 5802 §6: "y" says that we could bind and saw no offer of
 * it, so that a server which made one learns that somebody removed it.
 */
static void write_header(struct sasl_client *x, const struct sasl_client_facts *facts,
                         struct buf *ret_binding)
{
    if (x->mechanism != SASL_SCRAM_SHA_256_PLUS) {
        buf_append_str(&x->header, has_binding(facts) ? STR("y,,") : STR("n,,"));
    } else if (!str_empty(facts->tls_exporter)) {
        buf_append_str(&x->header, STR("p=tls-exporter,,"));
        buf_append_str(ret_binding, facts->tls_exporter);
    } else {
        buf_append_str(&x->header, STR("p=tls-server-end-point,,"));
        buf_append_str(ret_binding, facts->tls_server_end_point);
    }
}

/* saslname: "=2C" for a comma, "=3D" for "=". */
static void write_name(struct buf *out, struct str name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (c == ',' || c == '=')
            buf_append_str(out, c == ',' ? STR("=2C") : STR("=3D"));
        else
            buf_append_byte(out, c);
    }
}

static void begin_scram(struct sasl_client *x, const struct sasl_client_facts *facts)
{
    struct buf binding;
    buf_init(&binding, BINDING_MAX);
    write_header(x, facts, &binding);
    base64_encode(&x->nonce, facts->nonce);
    buf_append_str(&x->bare, STR("n="));
    write_name(&x->bare, buf_str(&x->name));
    buf_printf(&x->bare, ",r=%.*s", STR_ARG(buf_str(&x->nonce)));
    buf_append_str(&x->message, buf_str(&x->header));
    buf_append_str(&x->message, buf_str(&x->bare));
    buf_append_str(&x->header, buf_str(&binding));
    x->header.failed = x->header.failed || binding.failed;
    buf_release(&binding);
}

struct server_first {
    struct str whole;
    struct str nonce;
    struct str salt; /* base64 */
    uint32_t iterations;
};

static bool parse_server_first(const struct sasl_client *x, struct str message,
                               struct server_first *out)
{
    struct str rest = message, count;
    uint64_t iterations;
    out->whole = message;
    /* A mandatory extension ("m=") would come first and fails here, as it must: we know none. */
    if (str_find_byte(message, '\0') >= 0 || !scram_take_attribute(&rest, 'r', &out->nonce) ||
        !scram_take_attribute(&rest, 's', &out->salt) ||
        !scram_take_attribute(&rest, 'i', &count) || !scram_are_extensions(rest) ||
        message.ptr[message.len - 1] == ',')
        return false;
    if (!str_to_u64(count, SASL_CLIENT_ITERATIONS_MAX, &iterations) ||
        iterations < SASL_CLIENT_ITERATIONS_MIN)
        return false;
    out->iterations = (uint32_t)iterations;
    return scram_is_nonce(out->nonce) && out->nonce.len > x->nonce.len &&
           str_starts(out->nonce, buf_str(&x->nonce));
}

/*
 * client-final-message into x->message, and what the server will have to show.
 *
 * AuthMessage := client-first-message-bare "," server-first-message ","
 *                client-final-message-without-proof
 */
static bool write_client_final(struct sasl_client *x, const struct server_first *first,
                               struct str salt)
{
    struct buf auth;
    uint8_t proof[SCRAM_KEY_SIZE];
    buf_clear(&x->message);
    buf_append_str(&x->message, STR("c="));
    base64_encode(&x->message, buf_str(&x->header));
    buf_printf(&x->message, ",r=%.*s", STR_ARG(first->nonce));
    buf_init(&auth, 8 * SASL_MESSAGE_MAX);
    buf_printf(&auth, "%.*s,%.*s,%.*s", STR_ARG(buf_str(&x->bare)), STR_ARG(first->whole),
               STR_ARG(buf_str(&x->message)));
    bool ok = !auth.failed && scram_client_proof(buf_str(&x->password), salt, first->iterations,
                                                 buf_str(&auth), proof, x->signature);
    buf_release(&auth);
    buf_append_str(&x->message, STR(",p="));
    base64_encode(&x->message, str_make(proof, sizeof proof));
    return ok && !x->message.failed;
}

static enum status_code hear_server_first(struct sasl_client *x, struct str challenge)
{
    struct server_first first;
    struct buf salt;
    if (!parse_server_first(x, challenge, &first))
        return STATUS_DENIED;
    buf_init(&salt, SASL_MESSAGE_MAX);
    enum status_code status = STATUS_DENIED;
    if (base64_decode(&salt, first.salt) && salt.len > 0)
        status = write_client_final(x, &first, buf_str(&salt)) ? STATUS_OK : STATUS_NO_MEMORY;
    buf_release(&salt);
    buf_wipe(&x->password);
    return status;
}

/* server-final-message = (server-error / verifier) ["," extensions] */
static enum status_code hear_server_final(struct sasl_client *x, struct str challenge)
{
    struct str rest = challenge, verifier;
    struct buf shown;
    if (!scram_take_attribute(&rest, 'v', &verifier) || !scram_are_extensions(rest))
        return STATUS_DENIED;
    buf_init(&shown, SCRAM_KEY_SIZE);
    x->done = base64_decode(&shown, verifier) &&
              str_eq_secret(buf_str(&shown), str_make(x->signature, sizeof x->signature));
    buf_release(&shown);
    buf_clear(&x->message);
    return x->done ? STATUS_OK : STATUS_DENIED;
}

/* ---- PLAIN (RFC 4616), LOGIN (draft-murchison-sasl-login) ---------------------------------- */

static void begin_plain(struct sasl_client *x)
{
    buf_append_byte(&x->message, '\0');
    buf_append_str(&x->message, buf_str(&x->name));
    buf_append_byte(&x->message, '\0');
    buf_append_str(&x->message, buf_str(&x->password));
    x->done = true;
}

/* The name, then the password, whatever the prompts say. */
static enum status_code answer_prompt(struct sasl_client *x)
{
    buf_clear(&x->message);
    buf_append_str(&x->message, buf_str(x->step == 1 ? &x->name : &x->password));
    x->done = x->step == 2;
    return x->message.failed ? STATUS_NO_MEMORY : STATUS_OK;
}

/* ---- The exchange ------------------------------------------------------------------------- */

/* SCRAM compares what was prepared; the others say what the file holds. */
static bool take_credentials(struct sasl_client *x, const struct sasl_client_facts *facts)
{
    if (str_empty(facts->name) || str_empty(facts->password) ||
        str_find_byte(facts->name, '\0') >= 0 || str_find_byte(facts->password, '\0') >= 0)
        return false;
    if (is_scram(x))
        return sasl_prepare(facts->name, &x->name) && sasl_prepare(facts->password, &x->password);
    return buf_append_str(&x->name, facts->name) && buf_append_str(&x->password, facts->password);
}

static enum status_code begin(struct sasl_client *x, const struct sasl_client_facts *facts)
{
    buf_init_secret(&x->name, SASL_NAME_MAX);
    buf_init_secret(&x->password, SASL_PASSWORD_MAX);
    buf_init_secret(&x->header, SASL_MESSAGE_MAX);
    buf_init_secret(&x->bare, SASL_MESSAGE_MAX);
    buf_init_secret(&x->nonce, SASL_MESSAGE_MAX);
    buf_init_secret(&x->message, 2 * SASL_MESSAGE_MAX);
    invariant(facts->nonce.len == SASL_NONCE_SIZE);
    if (!take_credentials(x, facts))
        return STATUS_INVALID;
    if (is_scram(x))
        begin_scram(x, facts);
    else if (x->mechanism == SASL_PLAIN)
        begin_plain(x);
    bool failed = x->header.failed || x->bare.failed || x->nonce.failed || x->message.failed;
    return failed ? STATUS_NO_MEMORY : STATUS_OK;
}

enum status_code sasl_client_new(struct str mechanisms, const struct sasl_client_facts *facts,
                                 struct sasl_client **ret_client)
{
    enum sasl_mechanism mechanism;
    if (!choose(mechanisms, facts, &mechanism))
        return STATUS_NOT_FOUND;
    struct sasl_client *x = calloc(1, sizeof *x);
    if (!x)
        return STATUS_NO_MEMORY;
    x->mechanism = mechanism;
    enum status_code status = begin(x, facts);
    if (status == STATUS_OK)
        *ret_client = x;
    else
        sasl_client_free(x);
    return status;
}

void sasl_client_free(struct sasl_client *x)
{
    if (!x)
        return;
    buf_wipe(&x->name);
    buf_wipe(&x->password);
    buf_wipe(&x->header);
    buf_wipe(&x->bare);
    buf_wipe(&x->nonce);
    buf_wipe(&x->message);
    explicit_bzero(x, sizeof *x);
    free(x);
}

struct str sasl_client_mechanism(const struct sasl_client *x)
{
    return sasl_mechanism_name(x->mechanism);
}

bool sasl_client_initial(const struct sasl_client *x, struct str *ret_initial)
{
    if (x->mechanism == SASL_LOGIN)
        return false;
    *ret_initial = buf_str(&x->message);
    return true;
}

static enum status_code answer(struct sasl_client *x, struct str challenge)
{
    bool done = x->done;
    x->done = false;
    if (done || challenge.len > SASL_MESSAGE_MAX)
        return STATUS_DENIED; /* there is nothing left to ask */
    if (!is_scram(x))
        return answer_prompt(x);
    return x->step == 1 ? hear_server_first(x, challenge) : hear_server_final(x, challenge);
}

enum status_code sasl_client_step(struct sasl_client *x, struct str challenge,
                                  struct str *ret_response)
{
    if (x->ended)
        return STATUS_DENIED;
    x->step++;
    enum status_code status = answer(x, challenge);
    x->ended = status != STATUS_OK;
    if (status == STATUS_OK)
        *ret_response = buf_str(&x->message);
    return status;
}

bool sasl_client_done(const struct sasl_client *x)
{
    return x->done && !x->ended;
}
