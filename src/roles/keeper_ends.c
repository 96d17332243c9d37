/* Who has to be told that logins ended before their time (ipc.table, logins_ended). */

#include "roles/keeper.h"

enum { ENDS_OF_A_NOTE = 1024, RETRY_MS = 100 };

int64_t keeper_issue_time(struct keeper *k)
{
    int64_t now_ms = role_now(k->role).mono_ms;
    k->issued_ms = now_ms > k->ended_ms ? now_ms : k->ended_ms + 1;
    return k->issued_ms;
}

int64_t keeper_end_time(const struct keeper *k)
{
    int64_t now_ms = role_now(k->role).mono_ms;
    return now_ms > k->issued_ms ? now_ms : k->issued_ms;
}

static bool tell(struct channel *ch, const struct capability_ends *ends)
{
    struct ipc_login_end list[ENDS_OF_A_NOTE];
    bool told = true;
    for (size_t at = 0; told && at < ends->count; at += ENDS_OF_A_NOTE) {
        size_t count = ends->count - at < ENDS_OF_A_NOTE ? ends->count - at : ENDS_OF_A_NOTE;
        for (size_t i = 0; i < count; i++) {
            const struct capability_end *e = &ends->list[at + i];
            list[i] = (struct ipc_login_end){e->account, e->credential, e->issued_ms};
        }
        told = ipc_logins_ended_note(
            ch, &(struct ipc_logins_ended_in){.ends = list, .ends_count = count});
    }
    return told;
}

/* It comes back with what is kept, and tells everybody. */
static void give_up(struct keeper *k)
{
    log_event(role_log(k->role), role_now(k->role), LOG_ERROR, "secrets-failed",
              secrets_words(k->secrets));
    role_end(k->role);
}

static bool tell_all_of(struct keeper *k, enum ipc_role peer, const struct capability_ends *ends)
{
    bool told = true;
    unsigned at = 0;
    for (struct channel *ch; (ch = role_next_peer(k->role, peer, &at));)
        told &= tell(ch, ends);
    return told;
}

void keeper_tell_ends(struct keeper *k, uint64_t account)
{
    struct capability_ends ends = {0};
    struct now now = role_now(k->role);
    k->ended_ms = keeper_end_time(k);
    if (secrets_ends(k->secrets, account, &ends) != STATUS_OK) {
        give_up(k);
    } else {
        bool vaults = tell_all_of(k, ROLE_VAULT, &ends), edges = tell_all_of(k, ROLE_EDGE, &ends);
        if (!vaults || !edges)
            timer_set(&k->untold, now.mono_ms + RETRY_MS);
    }
    capability_ends_release(&ends);
}

/* A peer's channel was too full for it. */
void keeper_on_untold(void *context)
{
    keeper_tell_ends(context, 0);
}

void keeper_tell_peer_ends(struct keeper *k, struct channel *ch)
{
    struct capability_ends ends = {0};
    if (secrets_ends(k->secrets, 0, &ends) != STATUS_OK)
        give_up(k);
    else if (!tell(ch, &ends))
        timer_set(&k->untold, role_now(k->role).mono_ms + RETRY_MS);
    capability_ends_release(&ends);
}
