/* Opening a mailbox, and following what changes in it. */

#include "roles/mailroom_imap.h"

enum { PAGE = 1024 };

/* ---- Following
 * -------------------------------------------------------------------------------------- */

static uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

void imap_mark_dirty(struct imap_session *i, uint32_t first, uint32_t last, uint64_t modseq)
{
    i->dirty_modseq = max_u64(i->dirty_modseq, modseq);
    if (i->dirty_first > i->dirty_last) {
        i->dirty_first = first;
        i->dirty_last = last;
        return;
    }
    if (first < i->dirty_first)
        i->dirty_first = first;
    if (last > i->dirty_last)
        i->dirty_last = last;
}

static void forget_dirty(struct imap_session *i)
{
    i->dirty_first = UINT32_MAX;
    i->dirty_last = 0;
    i->dirty_gone = false;
    i->dirty_modseq = 0;
    i->flag_change_count = 0;
}

/* Ascending UIDs become ranges. */
struct ranges {
    struct imap_range list[PAGE + 1];
    size_t count;
};

static void add_range(struct ranges *r, uint32_t first, uint32_t last)
{
    if (r->count > 0 && r->list[r->count - 1].last + 1 == first)
        r->list[r->count - 1].last = last;
    else
        r->list[r->count++] = (struct imap_range){first, last};
}

static void add_uid(struct ranges *r, uint32_t uid)
{
    add_range(r, uid, uid);
}

static struct imap_set set_of(const struct ranges *r)
{
    return (struct imap_set){r->list, r->count};
}

static bool changed_by_others(const struct imap_session *i, uint32_t uid, uint64_t own_modseq)
{
    if (i->flag_change_count > IMAP_FLAG_CHANGES)
        return true;
    for (size_t n = 0; n < i->flag_change_count; n++) {
        const struct imap_flag_change *c = &i->flag_changes[n];
        if ((c->joined || c->modseq != own_modseq) && uid >= c->first && uid <= c->last)
            return true;
    }
    return false;
}

/* A walk over what changed. */
struct sync {
    uint64_t own_modseq;
    uint64_t modseq; /* the highest seen */
    bool gone;       /* a UID that is not there is expunged, and may be forgotten already */
    uint64_t next;   /* UIDs below have been looked at */
};

/* What is new to the engine and what it knows by another flag look alike here: it can tell. */
static void tell_page(struct imap_session *i, struct sync *s, const struct entry_brief *entries,
                      size_t count)
{
    struct ranges expunged = {.count = 0}, live = {.count = 0}, flags = {.count = 0};
    for (size_t n = 0; n < count; n++) {
        const struct entry_brief *e = &entries[n];
        if (s->gone && e->uid > s->next)
            add_range(&expunged, (uint32_t)s->next, e->uid - 1);
        s->next = e->uid + 1ULL;
        s->modseq = max_u64(s->modseq, e->modseq);
        if (e->flags & ENTRY_EXPUNGED)
            add_uid(&expunged, e->uid);
        if (e->flags & ENTRY_EXPUNGED || e->modseq <= i->known_modseq)
            continue;
        add_uid(&live, e->uid);
        if (e->modseq != s->own_modseq || changed_by_others(i, e->uid, s->own_modseq))
            add_uid(&flags, e->uid);
    }
    imap_notify_new(i->engine, set_of(&live));
    imap_notify_flags(i->engine, set_of(&flags));
    imap_notify_expunged(i->engine, set_of(&expunged));
}

static void tell_end(struct imap_session *i, const struct sync *s, uint32_t last)
{
    struct ranges expunged = {.count = 0};
    if (!s->gone || s->next > last)
        return;
    add_range(&expunged, (uint32_t)s->next, last);
    imap_notify_expunged(i->engine, set_of(&expunged));
}

bool imap_sync(struct imap_session *i, uint64_t own_modseq)
{
    struct entry_brief entries[PAGE];
    uint32_t last = i->dirty_last;
    struct sync s = {own_modseq, i->known_modseq, i->dirty_gone, i->dirty_first};
    size_t count = s.next <= last ? PAGE : 0;
    while (count == PAGE && s.next <= last) {
        if (read_changes(imap_room(i)->db, i->mailbox, s.gone ? 0 : i->known_modseq,
                         (uint32_t)s.next, last, entries, PAGE, &count) != STATUS_OK)
            return false;
        tell_page(i, &s, entries, count);
    }
    tell_end(i, &s, last);
    /* A later commit may be seen here already: what else it changed is told with its own word. */
    if (s.modseq > i->dirty_modseq)
        s.modseq = i->dirty_modseq;
    i->known_modseq = max_u64(i->known_modseq, s.modseq);
    forget_dirty(i);
    return true;
}

void imap_on_unselected(struct imap_session *i)
{
    i->mailbox = 0;
    forget_dirty(i);
}

/* ---- SELECT and EXAMINE
 * -------------------------------------------------------------------------------- */

static struct str joined(struct arena *a, const struct str *words, size_t count)
{
    struct str all = {0};
    size_t size = count;
    for (size_t n = 0; n < count; n++)
        size += words[n].len;
    char *out = arena_alloc(a, size + 1);
    for (size_t n = 0; out && n < count; n++) {
        memcpy(out + all.len, words[n].ptr, words[n].len);
        all.len += words[n].len;
        out[all.len++] = ' ';
    }
    all.ptr = out;
    if (!out)
        all.len = 0;
    else if (all.len > 0)
        all.len--;
    return all;
}

static void answer_select(struct imap_session *i)
{
    struct arena *a = imap_scratch(i);
    struct mailbox_record mailbox;
    struct str *keywords = NULL;
    size_t keyword_count = 0;
    enum status_code status =
        read_mailbox(imap_room(i)->db, i->session->account, i->mailbox, a, &mailbox);
    if (status == STATUS_OK)
        status = read_keywords(imap_room(i)->db, i->mailbox, a, &keywords, &keyword_count);
    if (status != STATUS_OK) {
        i->mailbox = 0;
        imap_say_status(i, status);
        return;
    }
    const uint32_t may_write = RIGHT_SEEN | RIGHT_WRITE | RIGHT_DELETE_MESSAGE | RIGHT_EXPUNGE;
    const struct imap_selection selection = {
        .uidvalidity = mailbox.uidvalidity,
        .uidnext = mailbox.uidnext,
        .first_unseen_uid = i->first_unseen,
        .recent_from = i->recent_from,
        .highest_modseq = mailbox.modseq,
        .read_only = (mailbox.rights & may_write) == 0,
        .keywords = joined(a, keywords, keyword_count),
    };
    imap_answer_select(i->engine, i->event.token, &selection);
}

static bool select_slice(struct imap_session *i, struct now now)
{
    struct entry_brief entries[PAGE];
    uint32_t uids[PAGE];
    size_t count;
    (void)now;
    enum status_code status =
        read_entries(imap_room(i)->db, i->mailbox, i->after, entries, PAGE, &count);
    if (status != STATUS_OK) {
        i->work = NULL;
        i->mailbox = 0;
        imap_say_status(i, status);
        return true;
    }
    for (size_t n = 0; n < count; n++) {
        uids[n] = entries[n].uid;
        if (i->first_unseen == 0 && !(entries[n].flags & ENTRY_SEEN))
            i->first_unseen = uids[n];
    }
    if (!imap_answer_select_uids(i->engine, i->event.token, uids, count)) {
        i->work = NULL;
        i->mailbox = 0;
        return true;
    }
    if (count == PAGE) {
        i->after = uids[count - 1];
        return true;
    }
    i->work = NULL;
    answer_select(i);
    return true;
}

static void on_claimed(void *context, enum status_code status,
                       const struct ipc_recent_claim_out *out)
{
    struct imap_session *i = context;
    imap_replied(i);
    if (status == STATUS_OK && out->status == STATUS_OK)
        i->recent_from = out->first;
    i->work = select_slice;
}

/* RFC 3501 §2.3.2: a message is \Recent in the first session that selects its mailbox. */
static bool claim_recent(struct imap_session *i, const struct mailbox_record *mailbox)
{
    if (i->event.select.read_only || !(mailbox->rights & RIGHT_SEEN) ||
        mailbox->recent_uid >= mailbox->uidnext)
        return false;
    const struct ipc_recent_claim_in in = {
        .capability = mailroom_session_capability(i->session),
        .at_ms = mailroom_session_now(i->session).wall_ms,
        .mailbox = mailbox->id,
    };
    i->session->call = ipc_recent_claim_call(imap_room(i)->vault, &in, on_claimed, i);
    return i->session->call != 0;
}

void imap_on_select(struct imap_session *i)
{
    struct mailbox_record mailbox;
    enum status_code status = imap_mailbox(i, i->event.select.name, imap_scratch(i), &mailbox);
    if (status == STATUS_NOT_FOUND || (status == STATUS_OK && !mailbox.selectable)) {
        imap_say(i, IMAP_NONEXISTENT);
        return;
    }
    if (status == STATUS_OK && !(mailbox.rights & RIGHT_READ))
        status = STATUS_DENIED;
    if (status != STATUS_OK) {
        imap_say_status(i, status);
        return;
    }
    i->mailbox = mailbox.id;
    i->known_modseq = mailbox.modseq;
    forget_dirty(i);
    i->after = 0;
    i->first_unseen = 0;
    i->recent_from = mailbox.recent_uid;
    if (!claim_recent(i, &mailbox))
        i->work = select_slice;
}
