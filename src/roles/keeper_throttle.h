#ifndef POSTERN_ROLES_KEEPER_THROTTLE_H
#define POSTERN_ROLES_KEEPER_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/now.h"
#include "base/str.h"

/*
 * Failed logins cost time: after some that are free, each one more doubles how long the next must
 * wait. It is counted by address (IPv6 by /64) and by name. A name is counted whether anybody has
 * it or not, so nothing can be learnt from it. Who logged in from an address a while ago is not
 * kept out by what others do to his name from elsewhere.
 *
 * Pure: facts and the time in, a decision out. Memory is fixed; where a table is full, what has
 * failed least is forgotten, and of that what has been quiet longest: whoever has many addresses
 * cannot clear a name of its failures by failing with others.
 */
struct throttle;

enum {
    THROTTLE_ADDRESS_FREE = 10, /* failures of an address that cost nothing */
    THROTTLE_NAME_FREE = 10,    /* of a name */
    THROTTLE_FIRST_MS = 1000,
    THROTTLE_MOST_MS = 15 * 60 * 1000,
    THROTTLE_FORGET_MS = 60 * 60 * 1000, /* of quiet, and all is forgotten */
    THROTTLE_SECRET_SIZE = 16,
};
#define THROTTLE_KNOWN_MS (30LL * 24 * 60 * 60 * 1000)

/* secret: random, so that nobody can choose names that push each other out. NULL: no memory. */
struct throttle *throttle_new(const uint8_t secret[static THROTTLE_SECRET_SIZE]);
void throttle_free(struct throttle *t);

/*
 * When (mono_ms) this address may try again; now or earlier: it may. address: 4 or 16 octets, or
 * none for a local peer, which is never held up.
 */
int64_t throttle_address_until(struct throttle *t, struct str address, struct now now);

/* The same for this name from this address. name: as people write it, in lower case. */
int64_t throttle_name_until(struct throttle *t, struct str name, struct str address,
                            struct now now);

/* Has that name been used from there lately, or is it not for us to say (a local peer)? */
bool throttle_knows(struct throttle *t, struct str name, struct str address, struct now now);

void throttle_failed(struct throttle *t, struct str name, struct str address, struct now now);
void throttle_succeeded(struct throttle *t, struct str name, struct str address, struct now now);

#endif
