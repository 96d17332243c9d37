#include "io/tls_session.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>

#include "base/limits.h"

enum { KEY_SIZE = 32, SESSIONS_EACH = 4, LIFE_S = 60 * 60 };

struct kept {
    unsigned char key[KEY_SIZE];
    SSL_SESSION *session; /* NULL: the place is free */
};

struct tls_sessions {
    unsigned references;
    struct kept list[LIMIT_TLS_SESSIONS];
    size_t next; /* to make room */
};

/* What a connection may be resumed for; belongs to its SSL. */
struct purpose {
    struct tls_sessions *sessions;
    unsigned char key[KEY_SIZE];
    bool offered;
};

/* ---- Keys ------------------------------------------------------------------------------------ */

static bool add(EVP_MD_CTX *hash, struct str s)
{
    uint64_t len = s.len;
    return EVP_DigestUpdate(hash, &len, sizeof len) == 1 &&
           EVP_DigestUpdate(hash, s.ptr, s.len) == 1;
}

static bool add_numbers(EVP_MD_CTX *hash, const unsigned char *numbers, size_t count)
{
    return EVP_DigestUpdate(hash, numbers, count) == 1;
}

/* Of everything that the demand says, each with its length: no two demands have one key. */
static bool make_key(const struct tls_demand *d, unsigned char ret_key[KEY_SIZE])
{
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    const unsigned char numbers[] = {(unsigned char)d->check, d->enforced};
    uint64_t names = d->name_count;
    bool ok = hash && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1 &&
              add_numbers(hash, numbers, sizeof numbers) && add(hash, d->resume) &&
              add(hash, d->server_name) && EVP_DigestUpdate(hash, &names, sizeof names) == 1;
    for (size_t i = 0; ok && i < d->name_count; i++)
        ok = add(hash, d->names[i]);
    for (size_t i = 0; ok && i < d->record_count; i++) {
        const struct tls_tlsa *r = &d->records[i];
        const unsigned char kinds[] = {r->usage, r->selector, r->matching};
        ok = add_numbers(hash, kinds, sizeof kinds) && add(hash, r->data);
    }
    ok = ok && EVP_DigestFinal_ex(hash, ret_key, NULL) == 1;
    EVP_MD_CTX_free(hash);
    return ok;
}

/* ---- What is kept ------------------------------------------------------------------------------
 */

struct tls_sessions *tls_sessions_new(void)
{
    struct tls_sessions *s = calloc(1, sizeof *s);
    if (s)
        s->references = 1;
    return s;
}

static void let_go(struct kept *k)
{
    SSL_SESSION_free(k->session);
    k->session = NULL;
}

void tls_sessions_drop(struct tls_sessions *s)
{
    if (!s || --s->references > 0)
        return;
    for (size_t i = 0; i < LIMIT_TLS_SESSIONS; i++)
        let_go(&s->list[i]);
    free(s);
}

static bool is_for(const struct kept *k, const unsigned char key[KEY_SIZE])
{
    return k->session && memcmp(k->key, key, KEY_SIZE) == 0;
}

static bool is_fresh(const SSL_SESSION *session)
{
    long age_s = (long)time(NULL) - SSL_SESSION_get_time(session);
    return age_s >= 0 && age_s < LIFE_S && SSL_SESSION_is_resumable(session) == 1;
}

/* A free place, or one that makes room: of the same purpose where that has its share. */
static struct kept *place_for(struct tls_sessions *s, const unsigned char key[KEY_SIZE])
{
    struct kept *first = NULL, *empty = NULL;
    size_t count = 0;
    for (size_t i = 0; i < LIMIT_TLS_SESSIONS; i++) {
        struct kept *k = &s->list[(s->next + i) % LIMIT_TLS_SESSIONS];
        if (!k->session && !empty)
            empty = k;
        if (is_for(k, key) && count++ == 0)
            first = k;
    }
    if (count >= SESSIONS_EACH)
        return first;
    if (empty)
        return empty;
    struct kept *oldest = &s->list[s->next];
    s->next = (s->next + 1) % LIMIT_TLS_SESSIONS;
    return oldest;
}

static SSL_SESSION *take(struct tls_sessions *s, const unsigned char key[KEY_SIZE])
{
    for (size_t i = 0; i < LIMIT_TLS_SESSIONS; i++) {
        struct kept *k = &s->list[i];
        if (!is_for(k, key))
            continue;
        if (!is_fresh(k->session)) {
            let_go(k);
            continue;
        }
        SSL_SESSION *session = k->session;
        if (SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION)
            k->session = NULL;
        else
            SSL_SESSION_up_ref(session);
        return session;
    }
    return NULL;
}

/* ---- Connections -------------------------------------------------------------------------------
 */

static void purpose_free(void *parent, void *ptr, CRYPTO_EX_DATA *data, int index, long number,
                         void *more)
{
    struct purpose *p = ptr;
    (void)parent, (void)data, (void)index, (void)number, (void)more;
    if (!p)
        return;
    tls_sessions_drop(p->sessions);
    free(p);
}

static int purpose_index(void)
{
    static int index = -1;
    if (index < 0)
        index = SSL_get_ex_new_index(0, NULL, NULL, NULL, purpose_free);
    return index;
}

static struct purpose *purpose_of(const SSL *ssl)
{
    return SSL_get_ex_data(ssl, purpose_index());
}

/* OpenSSL has one to keep; 1: it is ours now. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
    struct purpose *p = purpose_of(ssl);
    if (!p || !is_fresh(session))
        return 0;
    struct kept *k = place_for(p->sessions, p->key);
    let_go(k);
    memcpy(k->key, p->key, KEY_SIZE);
    k->session = session;
    return 1;
}

void tls_sessions_watch(SSL_CTX *ctx)
{
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_session);
}

bool tls_sessions_offer(struct tls_sessions *s, SSL *ssl, const struct tls_demand *demand)
{
    if (str_empty(demand->resume))
        return true;
    struct purpose *p = calloc(1, sizeof *p);
    if (!p || purpose_index() < 0 || !make_key(demand, p->key) ||
        SSL_set_ex_data(ssl, purpose_index(), p) != 1) {
        free(p);
        ERR_clear_error();
        return false;
    }
    p->sessions = s;
    s->references++;
    SSL_SESSION *session = take(s, p->key);
    if (!session)
        return true;
    p->offered = SSL_set_session(ssl, session) == 1;
    SSL_SESSION_free(session);
    return true;
}

bool tls_client_forget_sessions(SSL *ssl)
{
    struct purpose *p = ssl ? purpose_of(ssl) : NULL;
    if (!p || !p->offered)
        return false;
    for (size_t i = 0; i < LIMIT_TLS_SESSIONS; i++)
        if (is_for(&p->sessions->list[i], p->key))
            let_go(&p->sessions->list[i]);
    return true;
}
