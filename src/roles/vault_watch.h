#ifndef POSTERN_ROLES_VAULT_WATCH_H
#define POSTERN_ROLES_VAULT_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "ipc/channel.h"

/*
 * What the sessions of one mailroom want to hear of: the accounts they are logged in to. So a
 * commit wakes only those mailrooms that somebody reads the changed mail in; who begins to watch
 * first and reads then misses nothing.
 */
struct vault_watch {
    struct watched *accounts; /* in the order of their numbers */
    size_t count, room;
    bool all;  /* more than could be noted: it hears of everything */
    bool lost; /* its channel was too full for a word: it has to look again */
};

/* All zeros is one that watches nothing. */
void vault_watch_release(struct vault_watch *w);

/* A session began, or ended. */
void vault_watch_begin(struct vault_watch *w, uint64_t account);
void vault_watch_end(struct vault_watch *w, uint64_t account);

/* Tells what is watched of the changes; NULL: only what was lost before. */
void vault_watch_tell(struct vault_watch *w, struct channel *mailroom,
                      const struct ipc_changed_in *changed);

#endif
