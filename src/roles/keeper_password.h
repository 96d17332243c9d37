#ifndef POSTERN_ROLES_KEEPER_PASSWORD_H
#define POSTERN_ROLES_KEEPER_PASSWORD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "base/str.h"
#include "proto/sasl/scram.h"

/*
 * The slow part of passwords, as values: a job in, a result out, nothing else touched. It runs in
 * the keeper's hashers (keeper_hashers.h), or in place where nobody else is waiting.
 *
 * An account's own password is kept as argon2id (RFC 9106) and as SCRAM keys; application
 * passwords, of which an account may have many, as SCRAM keys alone, so that a wrong password
 * costs one argon2id and one PBKDF2 however many there are.
 */
enum {
    PASSWORD_MAX = 1024,      /* octets, prepared */
    PASSWORD_HASH_SIZE = 128, /* crypto_pwhash_STRBYTES */
    /* argon2id: 2 passes over 19 MiB, one lane (OWASP's first choice): about 20 ms of CPU. */
    PASSWORD_PASSES = 2,
    PASSWORD_MEMORY = 19 * 1024 * 1024,
    /*
     * PBKDF2 of SCRAM. RFC 7677 §4 asks for 4,096 at least; each client has to do it at each login,
     * on a telephone too. About 4 ms here.
     */
    PASSWORD_ITERATIONS = 20000,
};

enum password_job_kind {
    PASSWORD_VERIFY, /* does the password fit the hash? And its SCRAM keys */
    PASSWORD_MAKE,   /* a new hash and SCRAM keys of it */
};

struct password_job {
    enum password_job_kind kind;
    char password[PASSWORD_MAX];
    size_t password_size;
    char hash[PASSWORD_HASH_SIZE]; /* VERIFY: argon2id in its text form, NUL-terminated */
    uint8_t salt[SCRAM_SALT_MAX];
    size_t salt_size;
    uint32_t iterations; /* 0: no SCRAM keys are wanted */
};

struct password_result {
    enum status_code status; /* STATUS_NO_MEMORY, else STATUS_OK */
    bool fits;               /* VERIFY */
    char hash[PASSWORD_HASH_SIZE];
    struct scram_keys keys;
};

/* Once in each process, before the sandbox. False where libsodium cannot work here. */
bool password_init(void);

void password_run(const struct password_job *job, struct password_result *ret_result);

/*
 * The hash that a password of nobody is compared with: as slow as a real one, and fits nothing.
 */
const char *password_hash_of_nobody(void);

#endif
