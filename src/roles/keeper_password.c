#include "roles/keeper_password.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

_Static_assert((size_t)PASSWORD_HASH_SIZE == crypto_pwhash_argon2id_STRBYTES,
               "a hash has its place");

bool password_init(void)
{
    return sodium_init() >= 0;
}

static bool make(const struct password_job *job, struct password_result *result)
{
    return crypto_pwhash_argon2id_str(result->hash, job->password, job->password_size,
                                      PASSWORD_PASSES, PASSWORD_MEMORY) == 0;
}

void password_run(const struct password_job *job, struct password_result *ret_result)
{
    bool ok = true;
    *ret_result = (struct password_result){0};
    if (job->kind == PASSWORD_MAKE)
        ok = make(job, ret_result);
    else
        ret_result->fits =
            crypto_pwhash_argon2id_str_verify(job->hash, job->password, job->password_size) == 0;
    if (ok && job->iterations > 0)
        ok = scram_keys_derive(str_make(job->password, job->password_size),
                               str_make(job->salt, job->salt_size), job->iterations,
                               &ret_result->keys);
    ret_result->status = ok ? STATUS_OK : STATUS_NO_MEMORY;
}

/* Salt and tag of zeros, under the parameters of today. */
const char *password_hash_of_nobody(void)
{
    static char hash[PASSWORD_HASH_SIZE];
    if (hash[0] == '\0')
        snprintf(hash, sizeof hash, "$argon2id$v=19$m=%d,t=%d,p=1$%.22s$%.43s",
                 PASSWORD_MEMORY / 1024, PASSWORD_PASSES, "AAAAAAAAAAAAAAAAAAAAAA",
                 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    return hash;
}
