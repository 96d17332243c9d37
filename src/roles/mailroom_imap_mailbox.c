/* Mailboxes as a whole: what there is, and making, renaming, removing. */

#include <stdlib.h>

#include "roles/mailroom_imap.h"

/* ---- LIST and LSUB
 * ------------------------------------------------------------------------------------- */

static uint8_t uses_of(enum special_use use)
{
    static const uint8_t uses[] = {
        [SPECIAL_ARCHIVE] = IMAP_USE_ARCHIVE, [SPECIAL_DRAFTS] = IMAP_USE_DRAFTS,
        [SPECIAL_JUNK] = IMAP_USE_JUNK,       [SPECIAL_SENT] = IMAP_USE_SENT,
        [SPECIAL_TRASH] = IMAP_USE_TRASH,
    };
    return use <= SPECIAL_TRASH ? uses[use] : 0;
}

static int compare_rows(const void *a, const void *b)
{
    return str_cmp(((const struct imap_list_row *)a)->name,
                   ((const struct imap_list_row *)b)->name);
}

static struct imap_list_row *find_row(struct imap_list_row *rows, size_t count, struct str name)
{
    const struct imap_list_row key = {.name = name};
    return count == 0 ? NULL : bsearch(&key, rows, count, sizeof(key), compare_rows);
}

/* The levels above a subscribed name know of it. */
static void mark_ancestors(struct imap_list_row *rows, size_t count, struct str name)
{
    ptrdiff_t cut;
    while ((cut = str_rfind_byte(name, IMAP_SEPARATOR)) > 0) {
        name.len = (size_t)cut;
        struct imap_list_row *row = find_row(rows, count, name);
        if (row)
            row->child_subscribed = true;
    }
}

static size_t count_levels(const struct str *names, size_t count)
{
    size_t levels = count;
    for (size_t n = 0; n < count; n++)
        for (size_t i = 0; i < names[n].len; i++)
            levels += names[n].ptr[i] == IMAP_SEPARATOR;
    return levels;
}

/* A name without a mailbox, and the levels above it: rows behind the `count` of mailboxes. */
static size_t add_non_existent(struct imap_list_row *rows, size_t count, size_t all,
                               struct str name)
{
    ptrdiff_t cut;
    bool subscribed = true;
    do {
        if (find_row(rows, count, name))
            break; /* and so there are those above it */
        rows[all++] =
            (struct imap_list_row){.name = name, .non_existent = true, .subscribed = subscribed};
        subscribed = false;
        cut = str_rfind_byte(name, IMAP_SEPARATOR);
        name.len = cut > 0 ? (size_t)cut : 0;
    } while (name.len > 0);
    return all;
}

/* Sorts; rows of one name become one. */
static size_t unite(struct imap_list_row *rows, size_t count)
{
    size_t kept = 0;
    qsort(rows, count, sizeof(*rows), compare_rows);
    for (size_t n = 0; n < count; n++) {
        if (kept > 0 && str_eq(rows[kept - 1].name, rows[n].name))
            rows[kept - 1].subscribed |= rows[n].subscribed;
        else
            rows[kept++] = rows[n];
    }
    return kept;
}

/* Mailboxes and subscribed names without one (RFC 3501 §6.3.9), sorted. NULL: no memory. */
static struct imap_list_row *make_rows(struct arena *a, const struct mailbox_record *mailboxes,
                                       size_t count, const struct str *subscriptions,
                                       size_t subscription_count, size_t *ret_count)
{
    struct imap_list_row *rows = arena_alloc_array(
        a, count + count_levels(subscriptions, subscription_count) + 1, sizeof(*rows));
    if (!rows)
        return NULL;
    for (size_t n = 0; n < count; n++)
        rows[n] = (struct imap_list_row){
            .name = mailboxes[n].path,
            .no_select = !mailboxes[n].selectable,
            .has_children = mailboxes[n].has_children,
            .subscribed = mailboxes[n].subscribed,
            .uses = uses_of(mailboxes[n].special_use),
        };
    qsort(rows, count, sizeof(*rows), compare_rows);
    size_t all = count;
    for (size_t n = 0; n < subscription_count; n++)
        all = add_non_existent(rows, count, all, subscriptions[n]);
    all = unite(rows, all);
    for (size_t n = 0; n < all; n++)
        if (rows[n].subscribed)
            mark_ancestors(rows, all, rows[n].name);
    *ret_count = all;
    return rows;
}

void imap_on_list(struct imap_session *i)
{
    struct db *db = imap_room(i)->db;
    struct arena *a = imap_scratch(i);
    struct mailbox_record *mailboxes;
    struct str *subscriptions = NULL;
    size_t count, subscription_count = 0, row_count = 0, first = 0;
    enum status_code status = read_mailboxes(db, i->session->account, a, &mailboxes, &count);
    if (status == STATUS_OK)
        status =
            read_subscriptions(db, i->session->account, a, &subscriptions, &subscription_count);
    if (status != STATUS_OK) {
        imap_say_status(i, status);
        return;
    }
    struct imap_list_row *rows =
        make_rows(a, mailboxes, count, subscriptions, subscription_count, &row_count);
    if (!rows) {
        imap_say_status(i, STATUS_NO_MEMORY);
        return;
    }
    while (first < row_count && !str_empty(i->event.list.after) &&
           str_cmp(rows[first].name, i->event.list.after) <= 0)
        first++;
    size_t left = row_count - first;
    bool last = left <= i->event.list.rows_max;
    imap_answer_list(i->engine, i->event.token, rows + first, last ? left : i->event.list.rows_max,
                     last);
}

/* ---- STATUS
 * ------------------------------------------------------------------------------------------------
 */

/* Live messages that no session has claimed as \Recent: those from the UID on. */
static enum status_code count_recent(struct imap_session *i, const struct mailbox_record *mailbox,
                                     uint32_t *ret_count)
{
    struct entry_brief entries[512];
    const size_t cap = sizeof(entries) / sizeof(entries[0]);
    size_t count = cap;
    uint32_t after = mailbox->recent_uid - 1;
    *ret_count = 0;
    while (count == cap) {
        enum status_code status =
            read_entries(imap_room(i)->db, mailbox->id, after, entries, cap, &count);
        if (status != STATUS_OK)
            return status;
        *ret_count += (uint32_t)count;
        if (count > 0)
            after = entries[count - 1].uid;
    }
    return STATUS_OK;
}

void imap_on_status(struct imap_session *i)
{
    struct mailbox_record mailbox;
    struct imap_status answer = {0};
    enum status_code status = imap_mailbox(i, i->event.status.name, imap_scratch(i), &mailbox);
    if (status == STATUS_NOT_FOUND || (status == STATUS_OK && !mailbox.selectable)) {
        imap_say(i, IMAP_NONEXISTENT);
        return;
    }
    if (status == STATUS_OK && !(mailbox.rights & RIGHT_READ))
        status = STATUS_DENIED;
    if (status == STATUS_OK && (i->event.status.items & IMAP_STATUS_RECENT))
        status = count_recent(i, &mailbox, &answer.recent);
    if (status != STATUS_OK) {
        imap_say_status(i, status);
        return;
    }
    answer.messages = mailbox.messages;
    answer.uidnext = mailbox.uidnext;
    answer.uidvalidity = mailbox.uidvalidity;
    answer.unseen = mailbox.unseen;
    imap_answer_status(i->engine, i->event.token, &answer);
}

/* ---- CREATE, DELETE, RENAME, SUBSCRIBE
 * ------------------------------------------------------------------------ */

/* What the vault's refusal of a change to a mailbox means to the client. */
static enum imap_code mailbox_code(enum status_code status)
{
    switch (status) {
    case STATUS_OK:
        return IMAP_OK;
    case STATUS_NOT_FOUND:
        return IMAP_NONEXISTENT;
    case STATUS_EXISTS:
        return IMAP_ALREADYEXISTS;
    case STATUS_BUSY:
        return IMAP_HASCHILDREN;
    case STATUS_INVALID:
        return IMAP_CANNOT;
    case STATUS_TOO_BIG:
        return IMAP_LIMIT;
    default:
        return imap_code_from_status(status);
    }
}

static void finish(struct imap_session *i, enum status_code sent, enum status_code status)
{
    imap_replied(i);
    imap_say(i, sent == STATUS_OK ? mailbox_code(status) : IMAP_UNAVAILABLE);
}

static void on_created(void *context, enum status_code status,
                       const struct ipc_mailbox_create_out *out)
{
    finish(context, status, out ? out->status : status);
}

static void on_deleted(void *context, enum status_code status,
                       const struct ipc_mailbox_delete_out *out)
{
    finish(context, status, out ? out->status : status);
}

static void on_renamed(void *context, enum status_code status,
                       const struct ipc_mailbox_rename_out *out)
{
    finish(context, status, out ? out->status : status);
}

static void on_subscribed(void *context, enum status_code status,
                          const struct ipc_subscribe_out *out)
{
    finish(context, status, out ? out->status : status);
}

/* RFC 6154 §3: one use a mailbox; \All and \Flagged would be views, which Postern has not. */
static bool special_use_of(uint8_t uses, uint8_t *ret_use)
{
    *ret_use = SPECIAL_NONE;
    for (int use = SPECIAL_ARCHIVE; use <= SPECIAL_TRASH; use++)
        if (uses_of((enum special_use)use) == uses)
            *ret_use = (uint8_t)use;
    return uses == 0 || *ret_use != SPECIAL_NONE;
}

void imap_on_create(struct imap_session *i)
{
    struct str name = i->event.mailbox.name;
    uint8_t use;
    if (!special_use_of(i->event.mailbox.uses, &use)) {
        imap_say(i, IMAP_USEATTR);
        return;
    }
    /* RFC 3501 §6.3.3: a separator at the end only says that children will follow. */
    if (name.len > 1 && name.ptr[name.len - 1] == IMAP_SEPARATOR)
        name.len--;
    const struct ipc_mailbox_create_in in = {
        .capability = mailroom_session_capability(i->session),
        .at_ms = mailroom_session_now(i->session).wall_ms,
        .path = text_from(name),
        .special_use = use,
    };
    imap_wait(i, ipc_mailbox_create_call(imap_room(i)->vault, &in, on_created, i));
}

/* The mailbox that is to change; else the question is answered. */
static bool find_own(struct imap_session *i, uint64_t *ret_mailbox)
{
    struct mailbox_record mailbox;
    enum status_code status = imap_mailbox(i, i->event.mailbox.name, imap_scratch(i), &mailbox);
    if (status != STATUS_OK) {
        imap_say(i, mailbox_code(status));
        return false;
    }
    *ret_mailbox = mailbox.id;
    return true;
}

void imap_on_delete(struct imap_session *i)
{
    struct ipc_mailbox_delete_in in = {
        .capability = mailroom_session_capability(i->session),
        .at_ms = mailroom_session_now(i->session).wall_ms,
    };
    if (str_eq(i->event.mailbox.name, STR("INBOX")))
        imap_say(i, IMAP_CANNOT);
    else if (find_own(i, &in.mailbox))
        imap_wait(i, ipc_mailbox_delete_call(imap_room(i)->vault, &in, on_deleted, i));
}

void imap_on_rename(struct imap_session *i)
{
    struct ipc_mailbox_rename_in in = {
        .capability = mailroom_session_capability(i->session),
        .at_ms = mailroom_session_now(i->session).wall_ms,
        .path = text_from(i->event.mailbox.new_name),
    };
    if (find_own(i, &in.mailbox))
        imap_wait(i, ipc_mailbox_rename_call(imap_room(i)->vault, &in, on_renamed, i));
}

static void subscribe(struct imap_session *i, bool subscribed)
{
    const struct ipc_subscribe_in in = {
        .capability = mailroom_session_capability(i->session),
        .at_ms = mailroom_session_now(i->session).wall_ms,
        .path = text_from(i->event.mailbox.name),
        .subscribed = subscribed,
    };
    imap_wait(i, ipc_subscribe_call(imap_room(i)->vault, &in, on_subscribed, i));
}

void imap_on_subscribe(struct imap_session *i)
{
    subscribe(i, true);
}

void imap_on_unsubscribe(struct imap_session *i)
{
    subscribe(i, false);
}
