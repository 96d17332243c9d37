/*
 * roles/keeper_hashers.h and keeper_password.h for simulation: no processes, and a hash that is
 * quick. A job is done in a later turn, so that whatever happens meanwhile can happen.
 */
#include "roles/keeper_hashers.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

struct work {
    struct work *next;
    uint64_t number;
    hasher_done *done;
    void *context;
    struct password_job job;
};

struct hashers {
    struct loop *loop;
    struct hook hook;
    struct work *first, **last;
    uint64_t number;
    unsigned waiting;
};

bool password_init(void)
{
    return sodium_init() >= 0;
}

static void quick_hash(const struct password_job *job, char out[static PASSWORD_HASH_SIZE])
{
    unsigned char hash[crypto_generichash_BYTES];
    crypto_generichash(hash, sizeof hash, (const unsigned char *)job->password, job->password_size,
                       NULL, 0);
    sodium_bin2hex(out, PASSWORD_HASH_SIZE, hash, sizeof hash);
}

void password_run(const struct password_job *job, struct password_result *ret_result)
{
    char hash[PASSWORD_HASH_SIZE];
    bool ok = true;
    *ret_result = (struct password_result){0};
    quick_hash(job, hash);
    if (job->kind == PASSWORD_MAKE)
        memcpy(ret_result->hash, hash, sizeof hash);
    else
        ret_result->fits = strcmp(hash, job->hash) == 0;
    if (job->iterations > 0)
        ok = scram_keys_derive(str_make(job->password, job->password_size),
                               str_make(job->salt, job->salt_size), job->iterations,
                               &ret_result->keys);
    ret_result->status = ok ? STATUS_OK : STATUS_NO_MEMORY;
}

const char *password_hash_of_nobody(void)
{
    static const char hash[PASSWORD_HASH_SIZE] = "nobody";
    return hash;
}

static void do_one(void *context)
{
    static struct password_result result;
    struct hashers *h = context;
    struct work *w = h->first;
    if (!w)
        return;
    h->first = w->next;
    if (!h->first)
        h->last = &h->first;
    h->waiting--;
    password_run(&w->job, &result);
    if (h->first)
        hook_queue(&h->hook, h->loop);
    if (w->done)
        w->done(w->context, &result);
    free(w);
}

struct hashers *hashers_new(struct loop *loop, unsigned count)
{
    struct hashers *h = calloc(1, sizeof *h);
    (void)count;
    if (!h)
        return NULL;
    h->loop = loop;
    h->last = &h->first;
    hook_init(&h->hook, do_one, h);
    return h;
}

void hashers_free(struct hashers *h)
{
    if (!h)
        return;
    hook_cancel(&h->hook);
    for (struct work *w; (w = h->first);) {
        h->first = w->next;
        free(w);
    }
    free(h);
}

void hashers_on_gone(struct hashers *h, void (*gone)(void *context), void *context)
{
    (void)h;
    (void)gone;
    (void)context;
}

unsigned hashers_waiting(const struct hashers *h)
{
    return h->waiting;
}

uint64_t hashers_submit(struct hashers *h, const struct password_job *job, hasher_done *done,
                        void *context)
{
    struct work *w = h->waiting < HASHERS_WAITING_MAX ? malloc(sizeof *w) : NULL;
    if (!w)
        return 0;
    *w = (struct work){.number = ++h->number, .done = done, .context = context, .job = *job};
    *h->last = w;
    h->last = &w->next;
    h->waiting++;
    hook_queue(&h->hook, h->loop);
    return w->number;
}

void hashers_cancel(struct hashers *h, uint64_t number)
{
    for (struct work *w = h->first; w && number != 0; w = w->next)
        if (w->number == number)
            w->done = NULL;
}
