#include "roles/vault_watch.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/limits.h"
#include "roles/change.h"

struct watched {
    uint64_t account;
    uint32_t sessions;
};

enum { CHANGES_SIZE_MAX = 4 * 1024 * 1024 };

void vault_watch_release(struct vault_watch *w)
{
    free(w->accounts);
    *w = (struct vault_watch){0};
}

/* Where the account is, or belongs. */
static size_t place_of(const struct vault_watch *w, uint64_t account)
{
    size_t low = 0, high = w->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (w->accounts[middle].account < account)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_watched(const struct vault_watch *w, uint64_t account)
{
    size_t at = place_of(w, account);
    return w->all || (at < w->count && w->accounts[at].account == account);
}

static bool make_room(struct vault_watch *w)
{
    if (w->count < w->room)
        return true;
    size_t room = w->room ? 2 * w->room : 16;
    if (room > LIMIT_WATCHED_ACCOUNTS)
        return false;
    struct watched *accounts = realloc(w->accounts, room * sizeof *accounts);
    if (!accounts)
        return false;
    w->accounts = accounts;
    w->room = room;
    return true;
}

void vault_watch_begin(struct vault_watch *w, uint64_t account)
{
    size_t at = place_of(w, account);
    if (at < w->count && w->accounts[at].account == account) {
        w->accounts[at].sessions++;
        return;
    }
    if (!make_room(w)) {
        w->all = true;
        return;
    }
    memmove(w->accounts + at + 1, w->accounts + at, (w->count - at) * sizeof *w->accounts);
    w->accounts[at] = (struct watched){account, 1};
    w->count++;
}

void vault_watch_end(struct vault_watch *w, uint64_t account)
{
    size_t at = place_of(w, account);
    if (at == w->count || w->accounts[at].account != account || --w->accounts[at].sessions > 0)
        return;
    w->count--;
    memmove(w->accounts + at, w->accounts + at + 1, (w->count - at) * sizeof *w->accounts);
}

static void tell_lost(struct vault_watch *w, struct channel *mailroom, uint64_t commit)
{
    const struct ipc_change unknown = {.kind = CHANGE_UNKNOWN};
    const struct ipc_changed_in in = {.commit = commit, .changes = &unknown, .changes_count = 1};
    w->lost = !ipc_changed_note(mailroom, &in);
}

void vault_watch_tell(struct vault_watch *w, struct channel *mailroom,
                      const struct ipc_changed_in *changed)
{
    if (w->lost) {
        tell_lost(w, mailroom, changed ? changed->commit : 0);
        return;
    }
    if (!changed)
        return;
    struct buf wanted;
    buf_init(&wanted, CHANGES_SIZE_MAX);
    for (size_t i = 0; i < changed->changes_count; i++)
        if (is_watched(w, changed->changes[i].account))
            buf_append(&wanted, &changed->changes[i], sizeof changed->changes[i]);
    if (wanted.len > 0) {
        const struct ipc_changed_in in = {.commit = changed->commit,
                                          .changes =
                                              (const struct ipc_change *)(const void *)wanted.ptr,
                                          .changes_count = wanted.len / sizeof(struct ipc_change)};
        w->lost = wanted.failed || !ipc_changed_note(mailroom, &in);
    }
    buf_release(&wanted);
}
