#ifndef POSTERN_ROLES_KEEPER_CACHE_H
#define POSTERN_ROLES_KEEPER_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/now.h"
#include "base/str.h"

/*
 * Remembers for a while which name and password were right, so that a client that logs in for
 * every message does not cost an argon2id each time. What is kept is an HMAC under a key that never
 * leaves the process; nothing can be learnt from it without the key. Pure.
 */
struct login_cache;

enum { LOGIN_CACHE_KEY_SIZE = 32, LOGIN_CACHE_MS = 5 * 60 * 1000 };

struct login_cache *login_cache_new(const uint8_t key[static LOGIN_CACHE_KEY_SIZE]);
void login_cache_free(struct login_cache *c);

/* The credential that it was; false where it is not known any more. */
bool login_cache_find(struct login_cache *c, struct str name, struct str password, struct now now,
                      uint64_t *ret_credential);
void login_cache_add(struct login_cache *c, struct str name, struct str password,
                     uint64_t credential, struct now now);

/* After each change of a password or an account. */
void login_cache_clear(struct login_cache *c);

#endif
