#include <stdlib.h>

#include "base/bug.h"
#include "base/limits.h"
#include "roles/vault_internal.h"

/*
 * What sessions of IMAP and POP3 change. Each request runs between savepoints: it may find out
 * half-way that it cannot be done.
 */

static struct uid_range *ranges_of(const struct ipc_range *list, size_t count)
{
    struct uid_range *ranges = calloc(count + 1, sizeof *ranges);
    for (size_t i = 0; ranges && i < count; i++)
        ranges[i] = (struct uid_range){list[i].first, list[i].last};
    return ranges;
}

static enum vault_work store_work(const struct ipc_flags_store_in *in)
{
    return str_empty(text_peek(in->keywords)) ? WORK_FLAGS : WORK_KEYWORDS;
}

static enum vault_work copy_work(const struct ipc_copy_in *in)
{
    return in->move ? WORK_MOVE : WORK_COPY;
}

/* The messages a request is about, as many as one transaction may change. */
static enum status_code select_slice(struct vault_batch *b, enum vault_work work, uint64_t mailbox,
                                     const struct ipc_range *list, size_t count,
                                     struct entry_slice *slice)
{
    unsigned rows = vault_budget_rows(&b->budget, work);
    slice->cap = rows ? rows : 1; /* 0: there was no memory to put it off */
    slice->rows = arena_alloc_array(&b->results, slice->cap, sizeof *slice->rows);
    struct uid_range *ranges = slice->rows ? ranges_of(list, count) : NULL;
    enum status_code status = STATUS_NO_MEMORY;
    if (ranges)
        status = entries_select(&b->writer, mailbox, ranges, count, slice);
    free(ranges);
    return status;
}

/* The mailbox, where the actor may do all of `rights` with it. */
static enum status_code access_to(struct vault_batch *b, uint64_t actor, uint64_t mailbox,
                                  uint32_t rights, struct mailbox_access *ret_access)
{
    enum status_code status = mailbox_access(&b->writer, actor, mailbox, ret_access);
    if (status == STATUS_OK && !ret_access->selectable)
        status = STATUS_NOT_FOUND;
    if (status == STATUS_OK && (ret_access->rights & rights) != rights)
        status = STATUS_DENIED;
    return status;
}

static void tell(struct vault_batch *b, const struct mailbox_access *mailbox, enum change_kind kind,
                 uint64_t modseq, uint32_t first, uint32_t last)
{
    struct ipc_change change = {.account = mailbox->account,
                                .mailbox = mailbox->mailbox,
                                .kind = kind,
                                .modseq = modseq,
                                .first = first,
                                .last = last};
    vault_changed(b, &change);
}

/* ---- Sets of UIDs in replies
 * --------------------------------------------------------------------- */

struct uid_list {
    struct ipc_range *ranges;
    size_t count;
};

static bool uid_list_init(struct uid_list *list, struct arena *a, size_t cap)
{
    list->ranges = arena_alloc_array(a, cap ? cap : 1, sizeof *list->ranges);
    list->count = 0;
    return list->ranges != NULL;
}

static void uid_list_add(struct uid_list *list, uint32_t uid)
{
    if (list->count > 0 && list->ranges[list->count - 1].last + 1 == uid)
        list->ranges[list->count - 1].last = uid;
    else
        list->ranges[list->count++] = (struct ipc_range){uid, uid};
}

/* ---- STORE
 * --------------------------------------------------------------------------------------- */

enum store_mode { MODE_REPLACE, MODE_ADD, MODE_REMOVE };

struct flag_change {
    struct vault_batch *b;
    const struct ipc_flags_store_in *in;
    struct mailbox_access mailbox;
    struct mailbox_delta delta;
    struct str keywords; /* in the mailbox's spelling */
    struct buf interned;
    uint32_t may; /* flags the actor may change */
    uint64_t modseq;
    uint32_t first; /* of those that changed; 0: none */
    uint32_t last;
    struct uid_list conflicts;
};

/* RFC 4314 §4: s for \Seen, t for \Deleted, w for all others. */
static uint32_t flags_allowed(uint32_t rights)
{
    return (rights & RIGHT_SEEN ? ENTRY_SEEN : 0u) |
           (rights & RIGHT_DELETE_MESSAGE ? ENTRY_DELETED : 0u) |
           (rights & RIGHT_WRITE ? ENTRY_ANSWERED | ENTRY_FLAGGED | ENTRY_DRAFT : 0u);
}

static uint32_t changed_flags(const struct flag_change *c, uint32_t flags)
{
    uint32_t asked = c->in->flags & c->may;
    switch (c->in->mode) {
    case MODE_ADD:
        return flags | asked;
    case MODE_REMOVE:
        return flags & ~asked;
    default:
        return (flags & ~c->may) | asked;
    }
}

static bool has_keyword(struct str list, struct str keyword)
{
    struct str word;
    while (str_split(&list, ' ', &word))
        if (str_eq_nocase(word, keyword))
            return true;
    return false;
}

/* The keywords a message gets, from those it has. */
static enum status_code merge_keywords(struct flag_change *c, struct str old, struct buf *out)
{
    if (c->in->mode == MODE_REPLACE)
        return buf_append_str(out, c->keywords) ? STATUS_OK : STATUS_NO_MEMORY;
    struct buf all;
    buf_init(&all, 2UL * LIMIT_KEYWORDS_SIZE + 1);
    struct str word, rest = old;
    while (str_split(&rest, ' ', &word)) {
        if (c->in->mode == MODE_REMOVE && has_keyword(c->keywords, word))
            continue;
        if (all.len > 0)
            buf_append_byte(&all, ' ');
        buf_append_str(&all, word);
    }
    if (c->in->mode == MODE_ADD) {
        if (all.len > 0)
            buf_append_byte(&all, ' ');
        buf_append_str(&all, c->keywords);
    }
    enum status_code status =
        keywords_intern(&c->b->writer, c->mailbox.mailbox, text_from(buf_str(&all)), out);
    buf_release(&all);
    return status;
}

static bool touches_keywords(const struct flag_change *c, const struct entry_row *row)
{
    if (!(c->mailbox.rights & RIGHT_WRITE))
        return false;
    switch (c->in->mode) {
    case MODE_ADD:
        return !str_empty(c->keywords);
    case MODE_REMOVE:
        return !str_empty(c->keywords) && row->has_keywords;
    default:
        return !str_empty(c->keywords) || row->has_keywords;
    }
}

static enum status_code change_keywords(struct flag_change *c, const struct entry_row *row,
                                        bool *ret_changed)
{
    struct buf old, new;
    buf_init(&old, 2UL * LIMIT_KEYWORDS_SIZE);
    buf_init(&new, 2UL * LIMIT_KEYWORDS_SIZE);
    struct writer *w = &c->b->writer;
    enum status_code status = entry_keywords(w, c->mailbox.mailbox, row->uid, &old);
    if (status == STATUS_OK)
        status = merge_keywords(c, buf_str(&old), &new);
    if (status == STATUS_OK && new.len > LIMIT_KEYWORDS_SIZE)
        status = STATUS_TOO_BIG;
    if (status == STATUS_OK && !str_eq(buf_str(&old), buf_str(&new))) {
        *ret_changed = true;
        status = entry_set_keywords(w, c->mailbox.mailbox, row->uid, buf_str(&new), c->modseq);
    }
    buf_release(&old);
    buf_release(&new);
    return status;
}

static enum status_code change_row(struct flag_change *c, const struct entry_row *row)
{
    if (c->in->unchanged_since != 0 && row->modseq > c->in->unchanged_since) {
        uid_list_add(&c->conflicts, row->uid);
        return STATUS_OK;
    }
    bool changed = false;
    enum status_code status = STATUS_OK;
    uint32_t flags = changed_flags(c, row->flags);
    if (touches_keywords(c, row))
        status = change_keywords(c, row, &changed);
    if (status == STATUS_OK && flags != row->flags) {
        changed = true;
        c->delta.unseen += !(flags & ENTRY_SEEN) - !(row->flags & ENTRY_SEEN);
        c->delta.deleted += !!(flags & ENTRY_DELETED) - !!(row->flags & ENTRY_DELETED);
        status = entry_set_flags(&c->b->writer, c->mailbox.mailbox, row->uid, flags, c->modseq);
    }
    if (changed) {
        c->first = c->first ? c->first : row->uid;
        c->last = row->uid;
    }
    return status;
}

static enum status_code store_flags(struct flag_change *c, uint64_t actor,
                                    struct ipc_flags_store_out *out)
{
    struct vault_batch *b = c->b;
    struct entry_slice slice = {0};
    enum status_code status = access_to(b, actor, c->in->mailbox, 0, &c->mailbox);
    if (status == STATUS_OK && c->in->mode > MODE_REMOVE)
        status = STATUS_INVALID;
    if (status == STATUS_OK)
        status = keywords_intern(&b->writer, c->in->mailbox, c->in->keywords, &c->interned);
    if (status == STATUS_OK)
        status = select_slice(b, store_work(c->in), c->in->mailbox, c->in->uids, c->in->uids_count,
                              &slice);
    if (status == STATUS_OK && !uid_list_init(&c->conflicts, &b->results, slice.count))
        status = STATUS_NO_MEMORY;
    c->keywords = buf_str(&c->interned);
    c->may = flags_allowed(c->mailbox.rights);
    c->modseq = c->mailbox.modseq + 1;
    for (size_t i = 0; status == STATUS_OK && i < slice.count; i++)
        status = change_row(c, &slice.rows[i]);
    if (status == STATUS_OK && c->first != 0)
        status = mailbox_touch(&b->writer, c->in->mailbox, &c->delta, &out->modseq);
    vault_budget_used(&b->budget, slice.count);
    out->through = slice.through;
    out->conflicts = c->conflicts.ranges;
    out->conflicts_count = c->conflicts.count;
    return status;
}

static void do_flags_store(struct vault_batch *b, struct vault_ticket t, uint64_t actor,
                           const struct ipc_flags_store_in *in)
{
    struct vault_reply reply = {.ticket = t, .type = IPC_FLAGS_STORE};
    struct flag_change c = {.b = b, .in = in};
    buf_init(&c.interned, 2UL * LIMIT_KEYWORDS_SIZE);
    if (vault_batch_begin(b, true)) {
        enum status_code status = vault_guard(b);
        if (status == STATUS_OK)
            status = vault_unguard(b, store_flags(&c, actor, &reply.flags_store));
        if (status == STATUS_OK && c.first != 0)
            tell(b, &c.mailbox, CHANGE_FLAGS, c.modseq, c.first, c.last);
        reply.flags_store.commit = b->writer.commit_number;
        reply.status = status;
    }
    buf_release(&c.interned);
    vault_answer(b, &reply);
}

/* ---- EXPUNGE
 * ------------------------------------------------------------------------------------- */

static void count_out(struct mailbox_delta *delta, const struct entry_row *row)
{
    delta->messages--;
    delta->unseen -= !(row->flags & ENTRY_SEEN);
    delta->deleted -= !!(row->flags & ENTRY_DELETED);
    delta->size -= (int64_t)row->size;
}

/* Expunges the rows, and lists them. */
static enum status_code expunge_rows(struct vault_batch *b, const struct mailbox_access *mailbox,
                                     const struct entry_slice *slice, struct uid_list *gone,
                                     uint64_t *ret_modseq)
{
    struct mailbox_delta delta = {0};
    enum status_code status = STATUS_OK;
    *ret_modseq = mailbox->modseq;
    for (size_t i = 0; status == STATUS_OK && i < slice->count; i++) {
        count_out(&delta, &slice->rows[i]);
        uid_list_add(gone, slice->rows[i].uid);
        status = entry_expunge(&b->writer, mailbox->account, mailbox->mailbox, slice->rows[i].uid,
                               b->queue.clock_ms, mailbox->modseq + 1);
    }
    if (status != STATUS_OK || slice->count == 0)
        return status;
    status = mailbox_touch(&b->writer, mailbox->mailbox, &delta, ret_modseq);
    return status == STATUS_OK
               ? account_expunged(&b->writer, mailbox->account, -delta.size, -delta.messages)
               : status;
}

static void tell_expunged(struct vault_batch *b, const struct mailbox_access *mailbox,
                          const struct uid_list *gone, uint64_t modseq)
{
    if (gone->count > 0)
        tell(b, mailbox, CHANGE_EXPUNGED, modseq, gone->ranges[0].first,
             gone->ranges[gone->count - 1].last);
}

static void keep_deleted(struct entry_slice *slice)
{
    size_t kept = 0;
    for (size_t i = 0; i < slice->count; i++)
        if (slice->rows[i].flags & ENTRY_DELETED)
            slice->rows[kept++] = slice->rows[i];
    slice->count = kept;
}

static enum status_code expunge(struct vault_batch *b, uint64_t actor,
                                const struct ipc_expunge_in *in, struct mailbox_access *mailbox,
                                struct uid_list *gone, struct ipc_expunge_out *out)
{
    struct entry_slice slice = {0};
    enum status_code status =
        access_to(b, actor, in->mailbox, RIGHT_EXPUNGE | RIGHT_DELETE_MESSAGE, mailbox);
    if (status == STATUS_OK)
        status = select_slice(b, WORK_EXPUNGE, in->mailbox, in->uids, in->uids_count, &slice);
    if (status == STATUS_OK && !uid_list_init(gone, &b->results, slice.count))
        status = STATUS_NO_MEMORY;
    size_t seen = slice.count;
    if (in->only_deleted)
        keep_deleted(&slice);
    if (status == STATUS_OK)
        status = expunge_rows(b, mailbox, &slice, gone, &out->modseq);
    vault_budget_used(&b->budget, seen);
    out->through = slice.through;
    out->expunged = gone->ranges;
    out->expunged_count = gone->count;
    return status;
}

static void do_expunge(struct vault_batch *b, struct vault_ticket t, uint64_t actor,
                       const struct ipc_expunge_in *in)
{
    struct vault_reply reply = {.ticket = t, .type = IPC_EXPUNGE};
    if (vault_batch_begin(b, true)) {
        struct mailbox_access mailbox = {0};
        struct uid_list gone = {0};
        enum status_code status = vault_guard(b);
        if (status == STATUS_OK)
            status = vault_unguard(b, expunge(b, actor, in, &mailbox, &gone, &reply.expunge));
        if (status == STATUS_OK)
            tell_expunged(b, &mailbox, &gone, reply.expunge.modseq);
        reply.expunge.commit = b->writer.commit_number;
        reply.status = status;
    }
    vault_answer(b, &reply);
}

/* ---- COPY and MOVE
 * -------------------------------------------------------------------------------- */

struct copying {
    struct vault_batch *b;
    const struct ipc_copy_in *in;
    struct mailbox_access from, to;
    struct entry_slice slice;
    struct ipc_copied *copied;
    size_t copied_count;
    struct uid_list gone;
    uint32_t first; /* the first new UID */
    uint64_t modseq;
    uint64_t from_modseq;
};

static void note_copied(struct copying *c, uint32_t uid, uint32_t new_uid)
{
    invariant(c->copied);
    struct ipc_copied *last = c->copied_count ? &c->copied[c->copied_count - 1] : NULL;
    if (last && last->uid + last->count == uid)
        last->count++;
    else
        c->copied[c->copied_count++] = (struct ipc_copied){uid, new_uid, 1};
}

static enum status_code copy_row(struct copying *c, const struct entry_row *row, uint32_t new_uid)
{
    struct writer *w = &c->b->writer;
    uint64_t email = row->email;
    struct buf old, new;
    buf_init(&old, 2UL * LIMIT_KEYWORDS_SIZE);
    buf_init(&new, 2UL * LIMIT_KEYWORDS_SIZE);
    enum status_code status = STATUS_OK;
    if (row->email_account != c->to.account)
        status = email_copy(w, row->email, c->to.account, &email);
    if (status == STATUS_OK && row->has_keywords)
        status = entry_keywords(w, c->from.mailbox, row->uid, &old);
    if (status == STATUS_OK && row->has_keywords)
        status = keywords_intern(w, c->to.mailbox, text_from(buf_str(&old)), &new);
    if (status == STATUS_OK)
        status = entry_copy(w, c->from.mailbox, row->uid, email, c->to.mailbox, new_uid, c->modseq,
                            buf_str(&new));
    note_copied(c, row->uid, new_uid);
    buf_release(&old);
    buf_release(&new);
    return status;
}

static enum status_code copy_rows(struct copying *c)
{
    struct mailbox_delta delta = {0};
    for (size_t i = 0; i < c->slice.count; i++)
        count_out(&delta, &c->slice.rows[i]);
    delta = (struct mailbox_delta){-delta.messages, -delta.unseen, -delta.deleted, -delta.size};
    /* What moves within an account takes no more room than before. */
    bool check = !(c->in->move && c->from.account == c->to.account);
    enum status_code status = account_charge(&c->b->writer, c->to.account, delta.size, check);
    if (status == STATUS_OK)
        status = mailbox_take_uids(&c->b->writer, c->to.mailbox, (uint32_t)c->slice.count, &delta,
                                   &c->first, &c->modseq);
    for (size_t i = 0; status == STATUS_OK && i < c->slice.count; i++)
        status = copy_row(c, &c->slice.rows[i], c->first + (uint32_t)i);
    return status;
}

static enum status_code copy(struct copying *c, uint64_t actor)
{
    struct vault_batch *b = c->b;
    uint32_t rights = RIGHT_READ | (c->in->move ? RIGHT_EXPUNGE | RIGHT_DELETE_MESSAGE : 0u);
    enum status_code status = access_to(b, actor, c->in->mailbox, rights, &c->from);
    if (status == STATUS_OK)
        status = access_to(b, actor, c->in->target, RIGHT_INSERT, &c->to);
    if (status == STATUS_OK)
        status = select_slice(b, copy_work(c->in), c->in->mailbox, c->in->uids, c->in->uids_count,
                              &c->slice);
    c->copied = arena_alloc_array(&b->results, c->slice.count + 1, sizeof *c->copied);
    if (status == STATUS_OK &&
        (!c->copied || !uid_list_init(&c->gone, &b->results, c->slice.count)))
        status = STATUS_NO_MEMORY;
    if (status == STATUS_OK && c->slice.count > 0)
        status = copy_rows(c);
    if (status != STATUS_OK || !c->in->move || c->slice.count == 0)
        return status;
    if (c->from.mailbox == c->to.mailbox)
        c->from.modseq = c->modseq;
    return expunge_rows(b, &c->from, &c->slice, &c->gone, &c->from_modseq);
}

static void do_copy(struct vault_batch *b, struct vault_ticket t, uint64_t actor,
                    const struct ipc_copy_in *in)
{
    struct vault_reply reply = {.ticket = t, .type = IPC_COPY};
    if (vault_batch_begin(b, true)) {
        struct copying c = {.b = b, .in = in};
        enum status_code status = vault_guard(b);
        if (status == STATUS_OK)
            status = vault_unguard(b, copy(&c, actor));
        vault_budget_used(&b->budget, c.slice.count);
        if (status == STATUS_OK && c.slice.count > 0)
            tell(b, &c.to, CHANGE_NEW, c.modseq, c.first, c.first + (uint32_t)c.slice.count - 1);
        if (status == STATUS_OK)
            tell_expunged(b, &c.from, &c.gone, c.from_modseq);
        reply.copy = (struct ipc_copy_out){.status = status,
                                           .commit = b->writer.commit_number,
                                           .through = c.slice.through,
                                           .uidvalidity = c.to.uidvalidity,
                                           .copied = c.copied,
                                           .copied_count = c.copied_count};
    }
    vault_answer(b, &reply);
}

/* ---- Long requests
 * --------------------------------------------------------------------------------- */

void vault_put_off_free(struct put_off *p)
{
    arena_reset(&p->arena);
    free(p);
}

static void do_long(struct vault_batch *b, const struct put_off *p)
{
    switch (p->type) {
    case IPC_FLAGS_STORE:
        do_flags_store(b, p->ticket, p->actor, &p->flags_store);
        break;
    case IPC_COPY:
        do_copy(b, p->ticket, p->actor, &p->copy);
        break;
    default:
        do_expunge(b, p->ticket, p->actor, &p->expunge);
        break;
    }
}

static bool dup_ranges(struct arena *a, const struct ipc_range **ranges, size_t count)
{
    struct ipc_range *copy = arena_alloc_array(a, count ? count : 1, sizeof *copy);
    for (size_t i = 0; copy && i < count; i++)
        copy[i] = (*ranges)[i];
    *ranges = copy;
    return copy != NULL;
}

/* What the request borrows becomes its own. */
static bool keep_borrowed(struct put_off *p)
{
    struct str keywords = STR("");
    switch (p->type) {
    case IPC_FLAGS_STORE:
        if (!arena_dup(&p->arena, text_peek(p->flags_store.keywords), &keywords))
            return false;
        p->flags_store.keywords = text_from(keywords);
        return dup_ranges(&p->arena, &p->flags_store.uids, p->flags_store.uids_count);
    case IPC_COPY:
        return dup_ranges(&p->arena, &p->copy.uids, p->copy.uids_count);
    default:
        return dup_ranges(&p->arena, &p->expunge.uids, p->expunge.uids_count);
    }
}

/* False: there is no room. Then it does a little at once, and is asked again. */
static bool put_off(struct vault_batch *b, const struct put_off *request)
{
    struct put_off *p = b->put_off_size < LIMIT_VAULT_PUT_OFF_SIZE ? calloc(1, sizeof *p) : NULL;
    if (!p)
        return false;
    *p = *request;
    arena_init(&p->arena, 2UL * LIMIT_IPC_FRAME_SIZE);
    if (!keep_borrowed(p)) {
        vault_put_off_free(p);
        return false;
    }
    p->size = sizeof *p + p->arena.used;
    b->put_off_size += p->size;
    *b->put_off_end = p;
    b->put_off_end = &p->next;
    b->numbers.put_off++;
    return true;
}

static enum vault_work work_of(const struct put_off *p)
{
    switch (p->type) {
    case IPC_FLAGS_STORE:
        return store_work(&p->flags_store);
    case IPC_COPY:
        return copy_work(&p->copy);
    default:
        return WORK_EXPUNGE;
    }
}

static bool has_time(struct vault_batch *b, const struct put_off *p)
{
    return !b->open || vault_budget_rows(&b->budget, work_of(p)) > 0;
}

/* Long requests of one turn share its transaction until it has had enough. */
static void take_long(struct vault_batch *b, const struct put_off *request)
{
    bool wait = b->put_off || !has_time(b, request);
    if (!wait || !put_off(b, request))
        do_long(b, request);
}

void vault_flags_store(struct vault_batch *b, struct vault_ticket t, uint64_t actor,
                       const struct ipc_flags_store_in *in)
{
    take_long(b, &(struct put_off){
                     .ticket = t, .actor = actor, .type = IPC_FLAGS_STORE, .flags_store = *in});
}

void vault_copy(struct vault_batch *b, struct vault_ticket t, uint64_t actor,
                const struct ipc_copy_in *in)
{
    take_long(b, &(struct put_off){.ticket = t, .actor = actor, .type = IPC_COPY, .copy = *in});
}

void vault_expunge(struct vault_batch *b, struct vault_ticket t, uint64_t actor,
                   const struct ipc_expunge_in *in)
{
    take_long(b,
              &(struct put_off){.ticket = t, .actor = actor, .type = IPC_EXPUNGE, .expunge = *in});
}

void vault_take_up(struct vault_batch *b)
{
    while (b->put_off && b->failure == STATUS_OK && has_time(b, b->put_off)) {
        struct put_off *p = b->put_off;
        b->put_off = p->next;
        if (!b->put_off)
            b->put_off_end = &b->put_off;
        b->put_off_size -= p->size;
        do_long(b, p);
        vault_put_off_free(p);
    }
}

/* ---- APPEND
 * ---------------------------------------------------------------------------------------- */

static enum status_code append_entry(struct vault_batch *b, struct vault_ticket t,
                                     const struct ipc_append_in *in,
                                     const struct mailbox_access *mailbox, struct str keywords,
                                     struct entry_place *ret_place)
{
    struct email_new email = vault_email(&in->email, in->trace_id, in->at_ms);
    struct entry_new entry = {.mailbox = in->mailbox,
                              .body_size = in->email.size,
                              .flags =
                                  in->flags & ENTRY_FLAGS_STORED & flags_allowed(mailbox->rights),
                              .internal_ms = in->internal_ms,
                              .keywords = keywords};
    email.account = mailbox->account;
    enum status_code status = vault_take_body(b, t.owner, &in->email, &email.body);
    if (status == STATUS_OK)
        status = email_insert(&b->writer, &email, &entry.email);
    if (status == STATUS_OK)
        status = entry_insert(&b->writer, &entry, ret_place);
    if (status == STATUS_OK)
        status =
            trace_add(&b->writer, in->trace_id, in->at_ms, STR("appended"), in->email.message_id);
    return status;
}

/* entry_insert charges without a look at the quota: the look comes first. */
static enum status_code append(struct vault_batch *b, struct vault_ticket t, uint64_t actor,
                               const struct ipc_append_in *in, struct mailbox_access *mailbox,
                               struct entry_place *ret_place)
{
    enum status_code status = access_to(b, actor, in->mailbox, RIGHT_INSERT, mailbox);
    if (status == STATUS_OK)
        status = vault_check_body(b, t.owner, &in->email);
    if (status == STATUS_OK && !vault_is_trace_id(in->trace_id))
        status = STATUS_INVALID;
    int64_t size = (int64_t)in->email.size;
    if (status == STATUS_OK)
        status = account_charge(&b->writer, mailbox->account, size, true);
    if (status == STATUS_OK)
        status = account_charge(&b->writer, mailbox->account, -size, false);
    struct buf keywords;
    buf_init(&keywords, 2UL * LIMIT_KEYWORDS_SIZE);
    if (status == STATUS_OK)
        status = keywords_intern(&b->writer, in->mailbox, in->keywords, &keywords);
    if (status == STATUS_OK)
        status = append_entry(b, t, in, mailbox, buf_str(&keywords), ret_place);
    buf_release(&keywords);
    return status;
}

void vault_append(struct vault_batch *b, struct vault_ticket t, uint64_t actor,
                  const struct ipc_append_in *in)
{
    struct vault_reply reply = {.ticket = t, .type = IPC_APPEND};
    if (vault_batch_begin(b, true)) {
        struct mailbox_access mailbox = {0};
        struct entry_place place = {0};
        enum status_code status = vault_guard(b);
        if (status == STATUS_OK)
            status = vault_unguard(b, append(b, t, actor, in, &mailbox, &place));
        if (status == STATUS_OK) {
            tell(b, &mailbox, CHANGE_NEW, place.modseq, place.uid, place.uid);
            b->numbers.messages++;
        } else {
            vault_unuse_body(b, t.owner, in->email.body);
        }
        reply.append = (struct ipc_append_out){.status = status,
                                               .commit = b->writer.commit_number,
                                               .uidvalidity = place.uidvalidity,
                                               .uid = place.uid};
    }
    vault_drop_body(b, t.owner, in->email.body);
    vault_answer(b, &reply);
}

/* ---- Mailboxes
 * -------------------------------------------------------------------------------------- */

static void tell_mailbox(struct vault_batch *b, uint64_t account, uint64_t mailbox,
                         enum change_kind kind)
{
    struct ipc_change change = {.account = account, .mailbox = mailbox, .kind = kind};
    vault_changed(b, &change);
}

/* An account that is disabled or gone changes nothing, whatever its capability says. */
static enum status_code check_actor(struct vault_batch *b, uint64_t actor)
{
    uint64_t mailbox = 0;
    return delivery_mailbox(&b->writer, actor, 0, &mailbox);
}

void vault_mailbox_create(struct vault_batch *b, struct vault_ticket t, uint64_t actor,
                          const struct ipc_mailbox_create_in *in)
{
    struct vault_reply reply = {.ticket = t, .type = IPC_MAILBOX_CREATE};
    if (vault_batch_begin(b, true)) {
        uint64_t mailbox = 0;
        enum status_code status = vault_guard(b);
        if (status == STATUS_OK) {
            status = check_actor(b, actor);
            if (status == STATUS_OK && in->special_use == SPECIAL_INBOX)
                status = STATUS_INVALID;
            if (status == STATUS_OK)
                status = mailbox_create(&b->writer, actor, in->path,
                                        (enum special_use)in->special_use, in->at_ms, &mailbox);
            status = vault_unguard(b, status);
        }
        if (status == STATUS_OK)
            tell_mailbox(b, actor, mailbox, CHANGE_MAILBOX);
        reply.mailbox_create = (struct ipc_mailbox_create_out){
            .status = status, .commit = b->writer.commit_number, .mailbox = mailbox};
    }
    vault_answer(b, &reply);
}

void vault_mailbox_delete(struct vault_batch *b, struct vault_ticket t, uint64_t actor,
                          const struct ipc_mailbox_delete_in *in)
{
    struct vault_reply reply = {.ticket = t, .type = IPC_MAILBOX_DELETE};
    if (vault_batch_begin(b, true)) {
        struct mailbox_access mailbox = {0};
        enum status_code status = vault_guard(b);
        if (status == STATUS_OK) {
            status = mailbox_access(&b->writer, actor, in->mailbox, &mailbox);
            if (status == STATUS_OK && !(mailbox.rights & RIGHT_DELETE_MAILBOX))
                status = STATUS_DENIED;
            if (status == STATUS_OK)
                status = mailbox_remove(&b->writer, &mailbox, in->at_ms, b->queue.clock_ms);
            status = vault_unguard(b, status);
        }
        if (status == STATUS_OK)
            tell_mailbox(b, mailbox.account, in->mailbox, CHANGE_MAILBOX_GONE);
        reply.mailbox_delete =
            (struct ipc_mailbox_delete_out){.status = status, .commit = b->writer.commit_number};
    }
    vault_answer(b, &reply);
}

void vault_mailbox_rename(struct vault_batch *b, struct vault_ticket t, uint64_t actor,
                          const struct ipc_mailbox_rename_in *in)
{
    struct vault_reply reply = {.ticket = t, .type = IPC_MAILBOX_RENAME};
    if (vault_batch_begin(b, true)) {
        struct mailbox_access mailbox = {0};
        enum status_code status = vault_guard(b);
        if (status == STATUS_OK) {
            status = mailbox_access(&b->writer, actor, in->mailbox, &mailbox);
            if (status == STATUS_OK && !(mailbox.rights & RIGHT_DELETE_MAILBOX))
                status = STATUS_DENIED;
            if (status == STATUS_OK)
                status = mailbox_rename(&b->writer, &mailbox, in->path, in->at_ms);
            status = vault_unguard(b, status);
        }
        if (status == STATUS_OK)
            tell_mailbox(b, mailbox.account, in->mailbox, CHANGE_MAILBOX);
        reply.mailbox_rename =
            (struct ipc_mailbox_rename_out){.status = status, .commit = b->writer.commit_number};
    }
    vault_answer(b, &reply);
}

void vault_subscribe(struct vault_batch *b, struct vault_ticket t, uint64_t actor,
                     const struct ipc_subscribe_in *in)
{
    struct vault_reply reply = {.ticket = t, .type = IPC_SUBSCRIBE};
    if (vault_batch_begin(b, true)) {
        enum status_code status = check_actor(b, actor);
        if (status == STATUS_OK)
            status = subscription_set(&b->writer, actor, in->path, in->subscribed);
        vault_note(b, status);
        reply.subscribe =
            (struct ipc_subscribe_out){.status = status, .commit = b->writer.commit_number};
    }
    vault_answer(b, &reply);
}

void vault_recent_claim(struct vault_batch *b, struct vault_ticket t, uint64_t actor,
                        const struct ipc_recent_claim_in *in)
{
    struct vault_reply reply = {.ticket = t, .type = IPC_RECENT_CLAIM};
    if (vault_batch_begin(b, true)) {
        struct mailbox_access mailbox = {0};
        uint32_t first = 0;
        enum status_code status = access_to(b, actor, in->mailbox, RIGHT_READ, &mailbox);
        if (status == STATUS_OK)
            status = recent_claim(&b->writer, &mailbox, &first);
        vault_note(b, status);
        reply.recent_claim = (struct ipc_recent_claim_out){
            .status = status, .commit = b->writer.commit_number, .first = first};
    }
    vault_answer(b, &reply);
}
