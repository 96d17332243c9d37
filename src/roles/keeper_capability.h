#ifndef POSTERN_ROLES_KEEPER_CAPABILITY_H
#define POSTERN_ROLES_KEEPER_CAPABILITY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/now.h"
#include "base/status.h"
#include "base/str.h"

/*
 * A capability is what the keeper gives to a session that has logged in: whose it is and what it
 * may do, under a MAC. The session's mailroom shows it to the vault with every change, and only
 * these two (keeper and vault) have the key. It holds no secret of the account, and dies with the
 * run of the server. Pure.
 */
enum capability_right {
    CAPABILITY_CHANGE_MAIL = 1, /* the account's mailboxes and messages, and those shared with it */
};

struct capability {
    uint64_t account;
    uint64_t credential; /* the password that it was given for */
    uint32_t rights;     /* of enum capability_right */
    uint64_t session;    /* random; for logs and audit */
    int64_t issued_ms;   /* at the login; a renewal leaves it */
    int64_t expires_ms;  /* on the mono_ms clock, which all roles of a machine share */
};

enum { CAPABILITY_KEY_SIZE = 32, CAPABILITY_SIZE = 45 + 32 };

/* It is good that long; then it has to be renewed. */
#define CAPABILITY_LIFE_MS (7LL * 24 * 60 * 60 * 1000)

struct capability_key {
    uint8_t octets[CAPABILITY_KEY_SIZE];
};

/*
 * The key of a run of the server, from the keeper's lasting secret: a keeper that is started anew
 * has the one it had, so sessions go on whatever was restarted meanwhile. `run` names the run: keys
 * of others, and so their capabilities, are of no use in it. False where libcrypto has no memory.
 */
MUST_USE bool capability_key_derive(struct str secret, struct str run,
                                    struct capability_key *ret_key);

/* False where libcrypto has no memory. */
MUST_USE bool capability_mint(const struct capability *c, const struct capability_key *key,
                              uint8_t ret_octets[static CAPABILITY_SIZE]);

/*
 * The vault's side. Sessions go on whatever key a keeper that is started anew brings (an operator
 * may have given it another secret): the last CAPABILITY_KEYS_MAX keys are good.
 */
enum { CAPABILITY_KEYS_MAX = 4 };

struct capability_keys {
    struct capability_key keys[CAPABILITY_KEYS_MAX];
    unsigned count;
};

/* False where key is not CAPABILITY_KEY_SIZE octets. One that is known already changes nothing. */
bool capability_keys_add(struct capability_keys *keys, struct str key);

/* True, with what it says, where one of the keys made it and it has not expired. */
MUST_USE bool capability_check(const struct capability_keys *keys, struct str octets,
                               struct now now, struct capability *ret_capability);

/*
 * Logins that ended before their time (ipc.table, login_end): a set of who has lost what. An end
 * that is older than CAPABILITY_END_KEPT_MS says nothing any more: what was issued before it has
 * expired, and was not renewed.
 */
struct capability_end {
    uint64_t account, credential; /* 0: everybody, any */
    int64_t issued_ms;
};

#define CAPABILITY_END_KEPT_MS (CAPABILITY_LIFE_MS + 24LL * 60 * 60 * 1000)

/* All zeros is an empty one. */
struct capability_ends {
    struct capability_end *list; /* in the order of accounts and credentials */
    size_t count, room;
};

void capability_ends_release(struct capability_ends *ends);

/* False: no memory. */
MUST_USE bool capability_ends_add(struct capability_ends *ends, const struct capability_end *end);

/* Has this login ended? */
bool capability_ends_cover(const struct capability_ends *ends, uint64_t account,
                           uint64_t credential, int64_t issued_ms);

#endif
