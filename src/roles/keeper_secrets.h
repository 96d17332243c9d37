#ifndef POSTERN_ROLES_KEEPER_SECRETS_H
#define POSTERN_ROLES_KEEPER_SECRETS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/diag.h"
#include "base/status.h"
#include "base/str.h"
#include "base/text.h"
#include "roles/keeper_capability.h"
#include "roles/keeper_password.h"

/*
 * secrets.db: who may log in, by what. An SQLite file of its own, mode 0600, in the keeper's
 * folder; WAL, and every change is synced before it is answered. No password is in it, only what
 * passwords are checked with.
 *
 * An account has one login name, one password of its own, and any number (SECRETS_PER_ACCOUNT_MAX)
 * of application passwords. Names are prepared (proto/sasl/prep.h) and in lower case (ASCII).
 */
struct secrets;

enum secret_kind { SECRET_MAIN, SECRET_APPLICATION };

enum {
    SECRETS_PER_ACCOUNT_MAX = SCRAM_KEYS_MAX,
    SECRETS_LABEL_MAX = 200,
    SECRETS_USED_EVERY_MS = 60 * 60 * 1000, /* "last used" is kept no finer */
    SECRETS_ENDS_MAX = 65536,               /* then everybody has to log in again */
};

/* Makes the file where there is none, or of an older one one of today. STATUS_UNSUPPORTED: it is of
 * a newer Postern. */
MUST_USE enum status_code secrets_open(const char *path, struct secrets **ret_secrets,
                                       struct diag *diag);
void secrets_close(struct secrets *s);

/* What SQLite said last, for logs. */
const char *secrets_words(const struct secrets *s);

/* Random, made with the file: for salts of names that nobody has (proto/sasl/server.h). */
enum { SECRETS_FAKE_SIZE = 32 };
MUST_USE enum status_code secrets_fake(struct secrets *s, uint8_t ret_octets[SECRETS_FAKE_SIZE]);

/*
 * The run of the server that sessions live in. Which logins ended before their time is told for as
 * long as that lasts; in another run they are forgotten, as there are no sessions of before.
 */
MUST_USE enum status_code secrets_begin_run(struct secrets *s, struct str run);

/* All that a login needs. Wipe it when done. */
struct secrets_login {
    uint64_t account;
    bool disabled;
    uint64_t main_id; /* 0: there is none */
    char main_hash[PASSWORD_HASH_SIZE];
    struct scram_credential scram;
    uint64_t ids[SCRAM_KEYS_MAX]; /* of scram.keys */
    int64_t used_ms[SCRAM_KEYS_MAX];
};

/* STATUS_NOT_FOUND: nobody has that name, or nobody with a password. */
MUST_USE enum status_code secrets_find(struct secrets *s, struct str login,
                                       struct secrets_login *ret_login);

/*
 * The salt that a new password of the account must be made with: that of its other passwords, or
 * the one given where it has none (SCRAM tells one salt for all of them).
 */
MUST_USE enum status_code secrets_salt(struct secrets *s, uint64_t account, enum secret_kind kind,
                                       const uint8_t fresh[static SCRAM_SALT_SIZE],
                                       struct password_job *job);

struct secrets_change {
    uint64_t account;
    struct str login;
    enum secret_kind kind;
    struct text label;              /* of an application password, unique in the account */
    const struct password_job *job; /* salt and iterations */
    const struct password_result *result;
    int64_t at_ms;
    int64_t mono_ms; /* sessions by a password that this one replaces have ended by then */
};

/*
 * Keeps a password: the account's own replaces the one before; an application password is new.
 * STATUS_EXISTS: the label is taken, or the login is another account's. STATUS_TOO_BIG: too many.
 * STATUS_BUSY: the account's salt has changed since secrets_salt; make it again.
 */
MUST_USE enum status_code secrets_set(struct secrets *s, const struct secrets_change *change);

/* id 0: all, and the account with its name. STATUS_NOT_FOUND: no such password. */
MUST_USE enum status_code secrets_remove(struct secrets *s, uint64_t account, uint64_t id,
                                         int64_t mono_ms);

/* Also before there is a password. */
MUST_USE enum status_code secrets_disable(struct secrets *s, uint64_t account, bool disabled,
                                          int64_t mono_ms);

/*
 * Adds the logins that ended before their time in this run: of that account and of everybody, or of
 * all accounts (account 0).
 */
MUST_USE enum status_code secrets_ends(struct secrets *s, uint64_t account,
                                       struct capability_ends *ends);

MUST_USE enum status_code secrets_used(struct secrets *s, uint64_t id, int64_t at_ms);

struct secrets_entry {
    uint64_t id;
    enum secret_kind kind;
    char label[SECRETS_LABEL_MAX];
    size_t label_size;
    int64_t created_ms;
    int64_t used_ms; /* 0: never */
};

/* In the order in which they were made; room for SECRETS_PER_ACCOUNT_MAX. */
MUST_USE enum status_code secrets_list(struct secrets *s, uint64_t account,
                                       struct secrets_entry *ret_entries, size_t *ret_count);

#endif
