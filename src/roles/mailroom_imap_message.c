/* Messages of the selected mailbox: reading them, and changing many of them at a time. */

#include "roles/mailroom_imap.h"

#include <stdlib.h>

enum {
    PAGE = 256,           /* entries looked at in one step */
    ANSWER_MESSAGES = 64, /* messages of one answer to FETCH: their structures are in memory */
    STRUCTURE_SIZE_MAX = 8 * 1024 * 1024
};

/* ---- Walking over a set
 * ---------------------------------------------------------------------------------- */

/* The live entries of a set, page by page. */
struct walk {
    struct imap_set set;
    size_t at;
    uint32_t after;
};

/* The next entries of the range at hand; *ret_count 0 at the end of the set. */
static enum status_code walk_page(struct imap_session *i, struct walk *w,
                                  struct entry_brief *entries, size_t cap, size_t *ret_count)
{
    *ret_count = 0;
    while (w->at < w->set.count && *ret_count == 0) {
        struct imap_range range = w->set.ranges[w->at];
        size_t count, keep = 0;
        if (w->after < range.first - 1)
            w->after = range.first - 1;
        enum status_code status =
            read_entries(imap_room(i)->db, i->mailbox, w->after, entries, cap, &count);
        if (status != STATUS_OK)
            return status;
        while (keep < count && entries[keep].uid <= range.last)
            keep++;
        if (keep > 0)
            w->after = entries[keep - 1].uid;
        if (keep < cap)
            w->at++;
        *ret_count = keep;
    }
    return STATUS_OK;
}

/* ---- FETCH
 * ----------------------------------------------------------------------------------------------------
 */

static enum status_code fill_structure(struct imap_session *i, struct arena *a, uint64_t email,
                                       struct str *ret_structure)
{
    struct buf blob;
    buf_init(&blob, STRUCTURE_SIZE_MAX);
    enum status_code status = read_structure(imap_room(i)->db, email, &blob);
    if (status == STATUS_OK && !arena_dup(a, buf_str(&blob), ret_structure))
        status = STATUS_NO_MEMORY;
    buf_release(&blob);
    return status;
}

static enum status_code fill_message(struct imap_session *i, struct arena *a,
                                     const struct entry_brief *entry, unsigned need,
                                     struct imap_message *ret)
{
    *ret = (struct imap_message){.uid = entry->uid,
                                 .flags = (uint8_t)(entry->flags & ENTRY_FLAGS_STORED),
                                 .modseq = entry->modseq,
                                 .size = entry->size};
    if (need == IMAP_NEED_FLAGS && !(entry->flags & ENTRY_HAS_KEYWORDS))
        return STATUS_OK;
    struct message_record message;
    enum status_code status = read_message(imap_room(i)->db, i->mailbox, entry->uid, a, &message);
    if (status != STATUS_OK)
        return status;
    ret->keywords = message.keywords;
    ret->internal_ms = message.internal_ms;
    ret->size = message.size;
    ret->prefix_size = (uint32_t)message.prefix.len;
    if (!(need & IMAP_NEED_STRUCTURE))
        return STATUS_OK;
    return fill_structure(i, a, message.email, &ret->structure);
}

/* A message that went between two reads is left out, as one that was never there. */
static enum status_code fill_messages(struct imap_session *i, struct arena *a,
                                      const struct entry_brief *entries, size_t count,
                                      unsigned need, struct imap_message *messages,
                                      size_t *ret_count)
{
    *ret_count = 0;
    for (size_t n = 0; n < count; n++) {
        enum status_code status = fill_message(i, a, &entries[n], need, &messages[*ret_count]);
        if (status == STATUS_OK)
            (*ret_count)++;
        else if (status != STATUS_NOT_FOUND)
            return status;
    }
    return STATUS_OK;
}

/* Answers for the front of the set; the engine asks again for the rest. */
void imap_on_fetch(struct imap_session *i)
{
    struct entry_brief entries[ANSWER_MESSAGES];
    struct imap_message messages[ANSWER_MESSAGES];
    struct walk w = {.set = i->event.fetch.set};
    struct arena *a = imap_scratch(i);
    size_t count, filled = 0;
    enum status_code status = walk_page(i, &w, entries, ANSWER_MESSAGES, &count);
    if (status == STATUS_OK)
        status = fill_messages(i, a, entries, count, i->event.fetch.need, messages, &filled);
    /* One message alone may be too much for the arena; then it is too much. */
    if (status == STATUS_NO_MEMORY && filled > 0)
        status = STATUS_OK;
    if (status != STATUS_OK) {
        imap_say_status(i, status);
        return;
    }
    uint32_t through = w.at == w.set.count ? UINT32_MAX : w.after;
    if (filled < count && filled > 0 && messages[filled - 1].uid != entries[count - 1].uid)
        through = messages[filled - 1].uid;
    imap_answer_messages(i->engine, i->event.token, messages, filled, through);
}

void imap_on_body(struct imap_session *i)
{
    struct mailroom *room = imap_room(i);
    struct message_record message;
    struct buf octets;
    enum status_code status =
        read_message(room->db, i->mailbox, i->event.body.uid, imap_scratch(i), &message);
    if (status == STATUS_NOT_FOUND) {
        imap_say(i, IMAP_EXPUNGED);
        return;
    }
    buf_init(&octets, i->event.body.size);
    if (status == STATUS_OK)
        status = body_read(&room->reader, room->db, &message, i->event.body.offset,
                           i->event.body.size, &octets);
    if (status == STATUS_OK && octets.len == 0)
        status = STATUS_CORRUPT;
    if (status == STATUS_OK)
        imap_answer_body(i->engine, i->event.token, buf_str(&octets));
    else
        imap_say_status(i, status);
    buf_release(&octets);
}

/* ---- Many at a time
 * ----------------------------------------------------------------------------------------- */

/* Ranges of one request: a few hundred KiB of its frame. */
enum { REQUEST_RANGES = 16384 };

static void bulk_begin(struct imap_session *i, struct imap_set set)
{
    i->bulk = (struct imap_bulk){.set = set};
}

static void bulk_begin_all(struct imap_session *i)
{
    i->bulk = (struct imap_bulk){.all = {1, UINT32_MAX}};
    i->bulk.set = (struct imap_set){&i->bulk.all, 1};
}

static bool bulk_done(const struct imap_session *i)
{
    return i->bulk.at >= i->bulk.set.count;
}

/* The ranges of the next request, in the scratch arena; NULL: no memory. */
static const struct ipc_range *bulk_ranges(struct imap_session *i, size_t *ret_count)
{
    struct imap_bulk *b = &i->bulk;
    size_t count = b->set.count - b->at;
    if (count > REQUEST_RANGES)
        count = REQUEST_RANGES;
    struct ipc_range *ranges = arena_alloc_array(imap_scratch(i), count, sizeof(*ranges));
    for (size_t n = 0; ranges && n < count; n++)
        ranges[n] =
            (struct ipc_range){b->set.ranges[b->at + n].first, b->set.ranges[b->at + n].last};
    if (ranges && b->first > ranges[0].first)
        ranges[0].first = b->first;
    b->sent = count;
    *ret_count = ranges ? count : 0;
    return ranges;
}

/* Everything of the request up to the UID `through` is done. */
static void bulk_advance(struct imap_session *i, uint32_t through)
{
    struct imap_bulk *b = &i->bulk;
    size_t end = b->at + b->sent;
    while (b->at < end && b->set.ranges[b->at].last <= through)
        b->at++;
    b->first = b->at < end ? through + 1 : 0;
}

/*
 * The common part of a reply. False: the question is answered with a refusal. What was done before
 * stays done, and the client learns of it by the changes.
 */
static bool bulk_replied(struct imap_session *i, enum status_code status, uint32_t through,
                         uint64_t own_modseq)
{
    imap_replied(i);
    imap_sync(i, own_modseq);
    if (status != STATUS_OK) {
        imap_say_status(i, status);
        return false;
    }
    bulk_advance(i, through);
    return true;
}

/* ---- STORE
 * ------------------------------------------------------------------------------------------------------
 */

/* How the messages are now: all of them, for one answer. */
static enum status_code collect(struct imap_session *i, struct arena *a, struct buf *out)
{
    struct walk w = {.set = i->event.store.set};
    struct entry_brief entries[PAGE];
    struct imap_message messages[PAGE];
    size_t count, filled;
    for (;;) {
        enum status_code status = walk_page(i, &w, entries, PAGE, &count);
        if (status == STATUS_OK && count == 0)
            return STATUS_OK;
        if (status == STATUS_OK)
            status = fill_messages(i, a, entries, count, IMAP_NEED_FLAGS, messages, &filled);
        if (status == STATUS_OK && !buf_append(out, messages, filled * sizeof(messages[0])))
            status = STATUS_NO_MEMORY;
        if (status != STATUS_OK)
            return status;
    }
}

static void answer_store(struct imap_session *i)
{
    struct buf messages;
    buf_init(&messages, SIZE_MAX / 2);
    enum status_code status = collect(i, imap_scratch(i), &messages);
    if (status == STATUS_OK)
        imap_answer_store(i->engine, i->event.token, (const void *)messages.ptr,
                          messages.len / sizeof(struct imap_message));
    else
        imap_say_status(i, status);
    buf_release(&messages);
}

static void send_store(struct imap_session *i);

static void on_stored(void *context, enum status_code status, const struct ipc_flags_store_out *out)
{
    struct imap_session *i = context;
    if (!bulk_replied(i, out ? out->status : status, out ? out->through : 0, out ? out->modseq : 0))
        return;
    if (bulk_done(i))
        answer_store(i);
    else
        send_store(i);
}

static void send_store(struct imap_session *i)
{
    struct ipc_flags_store_in in = {
        .capability = mailroom_session_capability(i->session),
        .at_ms = mailroom_session_now(i->session).wall_ms,
        .mailbox = i->mailbox,
        .mode = (uint8_t)i->event.store.mode,
        .flags = i->event.store.flags,
        .keywords = text_from(i->event.store.keywords),
    };
    in.uids = bulk_ranges(i, &in.uids_count);
    imap_wait(i, in.uids ? ipc_flags_store_call(imap_room(i)->vault, &in, on_stored, i) : 0);
}

void imap_on_store(struct imap_session *i)
{
    bulk_begin(i, i->event.store.set);
    send_store(i);
}

/* ---- EXPUNGE
 * ------------------------------------------------------------------------------------------------------
 */

static void send_expunge(struct imap_session *i);

static void on_expunged(void *context, enum status_code status, const struct ipc_expunge_out *out)
{
    struct imap_session *i = context;
    if (!bulk_replied(i, out ? out->status : status, out ? out->through : 0, 0))
        return;
    if (bulk_done(i))
        imap_say(i, IMAP_OK);
    else
        send_expunge(i);
}

static void send_expunge(struct imap_session *i)
{
    struct ipc_expunge_in in = {
        .capability = mailroom_session_capability(i->session),
        .at_ms = mailroom_session_now(i->session).wall_ms,
        .mailbox = i->mailbox,
        .only_deleted = true,
    };
    in.uids = bulk_ranges(i, &in.uids_count);
    imap_wait(i, in.uids ? ipc_expunge_call(imap_room(i)->vault, &in, on_expunged, i) : 0);
}

void imap_on_expunge(struct imap_session *i)
{
    if (i->event.expunge.all)
        bulk_begin_all(i);
    else
        bulk_begin(i, i->event.expunge.set);
    send_expunge(i);
}

/* ---- COPY and MOVE
 * -------------------------------------------------------------------------------------------------
 */

static bool keep_copied(struct imap_session *i, const struct ipc_copied *runs, size_t count)
{
    for (size_t n = 0; n < count; n++)
        for (uint32_t k = 0; k < runs[n].count; k++) {
            const struct imap_copied one = {runs[n].uid + k, runs[n].new_uid + k};
            if (!buf_append(&i->copied, &one, sizeof(one)))
                return false;
        }
    return true;
}

static void send_copy(struct imap_session *i);

static void on_copied(void *context, enum status_code status, const struct ipc_copy_out *out)
{
    struct imap_session *i = context;
    if (!bulk_replied(i, out ? out->status : status, out ? out->through : 0, 0) || !out)
        return;
    if (!keep_copied(i, out->copied, out->copied_count)) {
        imap_say_status(i, STATUS_NO_MEMORY);
        return;
    }
    if (!bulk_done(i)) {
        send_copy(i);
        return;
    }
    imap_answer_copy(i->engine, i->event.token, out->uidvalidity, (const void *)i->copied.ptr,
                     i->copied.len / sizeof(struct imap_copied));
}

static void send_copy(struct imap_session *i)
{
    struct ipc_copy_in in = {
        .capability = mailroom_session_capability(i->session),
        .at_ms = mailroom_session_now(i->session).wall_ms,
        .mailbox = i->mailbox,
        .target = i->target,
        .move = i->event.kind == IMAP_EVENT_MOVE,
    };
    in.uids = bulk_ranges(i, &in.uids_count);
    imap_wait(i, in.uids ? ipc_copy_call(imap_room(i)->vault, &in, on_copied, i) : 0);
}

void imap_on_copy(struct imap_session *i)
{
    struct mailbox_record target;
    enum status_code status = imap_mailbox(i, i->event.copy.name, imap_scratch(i), &target);
    if (status == STATUS_NOT_FOUND || (status == STATUS_OK && !target.selectable)) {
        imap_say(i, IMAP_TRYCREATE);
        return;
    }
    if (status == STATUS_OK && !(target.rights & RIGHT_INSERT))
        status = STATUS_DENIED;
    if (status != STATUS_OK) {
        imap_say_status(i, status);
        return;
    }
    i->target = target.id;
    bulk_begin(i, i->event.copy.set);
    send_copy(i);
}
