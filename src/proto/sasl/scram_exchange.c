#include <stdlib.h>

#include "codec/base64.h"
#include "proto/sasl/engine.h"

/*
 * The messages of SCRAM (RFC 5802 §5, §7):
 *
 *   client-first-message = gs2-header client-first-message-bare
 *   gs2-header           = gs2-cbind-flag "," [ "a=" saslname ] ","
 *   gs2-cbind-flag       = ("p=" cb-name) / "n" / "y"
 *   client-first-message-bare = [reserved-mext ","] "n=" saslname "," "r=" c-nonce
 *                               ["," extensions]
 *   server-first-message = [reserved-mext ","] "r=" c-nonce s-nonce "," "s=" salt ","
 *                          "i=" iteration-count ["," extensions]
 *   client-final-message-without-proof = "c=" base64 "," "r=" c-nonce s-nonce ["," extensions]
 *   client-final-message = client-final-message-without-proof "," "p=" base64
 *   server-final-message = "v=" base64
 */

struct client_first {
    struct str binding_name; /* of "p=" */
    char flag;               /* 'p', 'n' or 'y' */
    struct str header;
    struct str bare;
    struct str authzid; /* escaped saslnames */
    struct str name;
    struct str nonce;
};

struct client_final {
    struct str without_proof;
    struct str binding; /* base64 */
    struct str nonce;
    uint8_t proof[SCRAM_KEY_SIZE];
};

bool scram_take_attribute(struct str *rest, char name, struct str *ret_value)
{
    if (rest->len < 2 || rest->ptr[0] != name || rest->ptr[1] != '=')
        return false;
    ptrdiff_t comma = str_find_byte(*rest, ',');
    size_t end = comma < 0 ? rest->len : (size_t)comma;
    *ret_value = str_sub(*rest, 2, end - 2);
    *rest = str_skip(*rest, comma < 0 ? end : end + 1);
    return true;
}

bool scram_are_extensions(struct str rest)
{
    struct str value;
    while (!str_empty(rest))
        if (!ascii_is_alpha(rest.ptr[0]) || !scram_take_attribute(&rest, rest.ptr[0], &value) ||
            str_empty(value))
            return false;
    return true;
}

bool scram_is_nonce(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] < 0x21 || s.ptr[i] > 0x7E || s.ptr[i] == ',')
            return false;
    return s.len > 0;
}

/* saslname: "=2C" for a comma, "=3D" for "=", and no other "=". */
static bool unescape(struct str name, struct buf *out)
{
    for (size_t i = 0; i < name.len; i++) {
        struct str three = str_sub(name, i, 3);
        char c = name.ptr[i];
        if (c == '=') {
            if (!str_eq(three, STR("=2C")) && !str_eq(three, STR("=3D")))
                return false;
            c = name.ptr[i + 1] == '2' ? ',' : '=';
            i += 2;
        }
        if (!buf_append_byte(out, c))
            return false;
    }
    return true;
}

static bool parse_gs2_header(struct str message, struct client_first *out)
{
    struct str rest = message;
    if (scram_take_attribute(&rest, 'p', &out->binding_name)) {
        out->flag = 'p';
        if (str_empty(out->binding_name))
            return false;
    } else if (str_starts(rest, STR("n,")) || str_starts(rest, STR("y,"))) {
        out->flag = rest.ptr[0];
        rest = str_skip(rest, 2);
    } else {
        return false;
    }
    if (scram_take_attribute(&rest, 'a', &out->authzid)) {
        if (str_empty(out->authzid) || rest.ptr[-1] != ',')
            return false;
    } else if (str_starts(rest, STR(","))) {
        rest = str_skip(rest, 1);
    } else {
        return false;
    }
    out->header = str_sub(message, 0, (size_t)(rest.ptr - message.ptr));
    out->bare = rest;
    return true;
}

static bool parse_client_first(struct str message, struct client_first *out)
{
    *out = (struct client_first){0};
    if (!parse_gs2_header(message, out))
        return false;
    struct str rest = out->bare;
    /* A mandatory extension ("m=") comes first and fails here, as it must: we know none. */
    return scram_take_attribute(&rest, 'n', &out->name) &&
           scram_take_attribute(&rest, 'r', &out->nonce) && scram_is_nonce(out->nonce) &&
           scram_are_extensions(rest) && message.ptr[message.len - 1] != ',';
}

static bool decode_proof(struct str base64, uint8_t ret_proof[SCRAM_KEY_SIZE])
{
    struct buf bytes;
    buf_init_secret(&bytes, SCRAM_KEY_SIZE);
    bool ok = base64_decode(&bytes, base64) && bytes.len == SCRAM_KEY_SIZE;
    if (ok)
        memcpy(ret_proof, bytes.ptr, SCRAM_KEY_SIZE);
    buf_wipe(&bytes);
    return ok;
}

static bool parse_client_final(struct str message, struct client_final *out)
{
    ptrdiff_t comma = str_rfind_byte(message, ',');
    if (comma < 0)
        return false;
    struct str rest = str_sub(message, 0, (size_t)comma);
    struct str last = str_skip(message, (size_t)comma + 1), proof;
    out->without_proof = rest;
    return scram_take_attribute(&rest, 'c', &out->binding) &&
           scram_take_attribute(&rest, 'r', &out->nonce) && scram_are_extensions(rest) &&
           scram_take_attribute(&last, 'p', &proof) && decode_proof(proof, out->proof);
}

/* The channel's data that the client wants to bind to, or false where we have none such. */
static bool find_binding(const struct exchange_facts *facts, struct str name,
                         struct str *ret_binding)
{
    if (str_eq(name, STR("tls-exporter")))
        *ret_binding = str_make(facts->exporter, facts->exporter_size);
    else if (str_eq(name, STR("tls-server-end-point")))
        *ret_binding = str_make(facts->end_point, facts->end_point_size);
    else
        return false;
    return !str_empty(*ret_binding);
}

/*
 * RFC 5802 §6: the PLUS mechanism needs "p"; the plain one must not have it, and its "y" says
 * that the client could bind but saw no offer. Where there was one, somebody removed it.
 */
static bool accept_binding(struct sasl_server *e, const struct client_first *first)
{
    bool plus = e->mechanism->plus;
    if (plus != (first->flag == 'p'))
        exchange_fail(e, SASL_FAILURE_MALFORMED);
    else if (plus && !find_binding(&e->facts, first->binding_name, &e->scram->binding))
        exchange_fail(e, SASL_FAILURE_BINDING);
    else if (first->flag == 'y' && e->facts.plus_offered)
        exchange_fail(e, SASL_FAILURE_BINDING);
    else
        return true;
    return false;
}

static bool set_scram_name(struct sasl_server *e, const struct client_first *first)
{
    struct buf name, authzid;
    buf_init(&name, SASL_NAME_MAX);
    buf_init(&authzid, SASL_NAME_MAX);
    bool ok = unescape(first->name, &name) && unescape(first->authzid, &authzid);
    if (ok)
        ok = exchange_set_name(e, buf_str(&name), buf_str(&authzid));
    else
        exchange_fail(e, SASL_FAILURE_MALFORMED);
    buf_release(&name);
    buf_release(&authzid);
    return ok;
}

static void client_first(struct sasl_server *e, struct str message)
{
    struct client_first first;
    if (!parse_client_first(message, &first)) {
        exchange_fail(e, SASL_FAILURE_MALFORMED);
        return;
    }
    if (!accept_binding(e, &first) || !set_scram_name(e, &first))
        return;
    buf_append_str(&e->scram->header, first.header);
    buf_append_str(&e->scram->bare, first.bare);
    buf_append_str(&e->scram->nonce, first.nonce);
    base64_encode(&e->scram->nonce, str_make(e->facts.nonce, SASL_NONCE_SIZE));
    exchange_ask(e, SASL_CREDENTIAL);
}

bool scram_make_fake(struct sasl_server *e, struct str kept_name)
{
    struct scram_credential *c = &e->scram->credential;
    *c = (struct scram_credential){
        .salt_size = SCRAM_SALT_SIZE, .iterations = e->facts.fake_iterations, .key_count = 1};
    return scram_fake_salt(str_make(e->facts.fake_secret, SASL_SECRET_SIZE), kept_name, c->salt);
}

void scram_answered(struct sasl_server *e, enum sasl_answer answer)
{
    struct scram_exchange *x = e->scram;
    if (answer == SASL_ANSWER_TEMPORARY) {
        exchange_fail(e, SASL_FAILURE_TEMPORARY);
        return;
    }
    buf_printf(&x->first, "r=%.*s,s=", STR_ARG(buf_str(&x->nonce)));
    base64_encode(&x->first, str_make(x->credential.salt, x->credential.salt_size));
    buf_printf(&x->first, ",i=%u", x->credential.iterations);
    buf_append_str(&e->data, buf_str(&x->first));
    if (x->header.failed || x->bare.failed || x->nonce.failed || x->first.failed)
        exchange_fail(e, SASL_FAILURE_TEMPORARY);
    else
        exchange_challenge(e);
}

/* c= is the gs2-header as it came, and the channel's data behind it. */
static bool binding_fits(const struct scram_exchange *x, struct str base64)
{
    struct buf plain, encoded;
    buf_init(&plain, 2 * SASL_MESSAGE_MAX);
    buf_init(&encoded, 4 * SASL_MESSAGE_MAX);
    buf_append_str(&plain, buf_str(&x->header));
    buf_append_str(&plain, x->binding);
    base64_encode(&encoded, buf_str(&plain));
    bool fits = !plain.failed && !encoded.failed && str_eq(buf_str(&encoded), base64);
    buf_release(&plain);
    buf_release(&encoded);
    return fits;
}

/*
 * AuthMessage := client-first-message-bare "," server-first-message ","
 *                client-final-message-without-proof
 */
static void check_proof(struct sasl_server *e, const struct client_final *final)
{
    struct scram_exchange *x = e->scram;
    struct buf auth;
    uint8_t signature[SCRAM_KEY_SIZE] = {0};
    bool found = false, ok = true;
    buf_init(&auth, 8 * SASL_MESSAGE_MAX);
    buf_printf(&auth, "%.*s,%.*s,%.*s", STR_ARG(buf_str(&x->bare)), STR_ARG(buf_str(&x->first)),
               STR_ARG(final->without_proof));
    ok = !auth.failed;
    for (unsigned i = 0; ok && i < x->credential.key_count; i++) {
        bool fits = false;
        ok = scram_proof_check(&x->credential.keys[i], buf_str(&auth), final->proof, &fits);
        if (fits && !x->fake) {
            found = true;
            e->key = i;
        }
    }
    if (ok && found)
        ok = scram_server_signature(&x->credential.keys[e->key], buf_str(&auth), signature);
    buf_release(&auth);
    if (!ok || !found) {
        exchange_fail(e, ok ? SASL_FAILURE_WRONG : SASL_FAILURE_TEMPORARY);
        return;
    }
    buf_append_str(&e->data, STR("v="));
    base64_encode(&e->data, str_make(signature, sizeof signature));
    exchange_challenge(e);
}

static void client_final(struct sasl_server *e, struct str message)
{
    struct client_final final;
    if (!parse_client_final(message, &final) ||
        !str_eq_secret(final.nonce, buf_str(&e->scram->nonce)))
        exchange_fail(e, SASL_FAILURE_MALFORMED);
    else if (!binding_fits(e->scram, final.binding))
        exchange_fail(e, e->mechanism->plus ? SASL_FAILURE_BINDING : SASL_FAILURE_MALFORMED);
    else
        check_proof(e, &final);
}

void scram_message(struct sasl_server *e, struct str message)
{
    if (str_find_byte(message, '\0') >= 0)
        exchange_fail(e, SASL_FAILURE_MALFORMED);
    else if (e->step == 1)
        client_first(e, message);
    else if (e->step == 2)
        client_final(e, message);
    else if (str_empty(message))
        exchange_succeed(e);
    else
        exchange_fail(e, SASL_FAILURE_MALFORMED);
}

void scram_exchange_init(struct scram_exchange *x)
{
    buf_init_secret(&x->header, SASL_MESSAGE_MAX);
    buf_init_secret(&x->bare, SASL_MESSAGE_MAX);
    buf_init_secret(&x->first, 2 * SASL_MESSAGE_MAX);
    buf_init_secret(&x->nonce, 2 * SASL_MESSAGE_MAX);
}

void scram_exchange_free(struct scram_exchange *x)
{
    buf_wipe(&x->header);
    buf_wipe(&x->bare);
    buf_wipe(&x->first);
    buf_wipe(&x->nonce);
    explicit_bzero(x, sizeof *x);
    free(x);
}
