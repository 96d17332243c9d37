/* APPEND: a message comes in pieces, is learned and compressed while it flows, and is kept at its
 * end. */

#include <stdlib.h>

#include "roles/mailroom_imap.h"
#include "roles/new_email.h"
#include "store/directory.h"

/* A body larger than this goes ahead of its request in pieces: a frame has a limit. */
enum { BODY_HELD_MAX = 256 * 1024, KEYWORDS_SIZE_MAX = 64 * 1024 };

void imap_on_append_abort(struct imap_session *i)
{
    struct imap_append_state *append = i->append;
    if (!append)
        return;
    if (append->body != 0 && imap_room(i)->vault) {
        const struct ipc_body_abort_in in = {.body = append->body};
        ipc_body_abort_note(imap_room(i)->vault, &in);
    }
    buf_release(&append->keywords);
    body_writer_free(append->writer);
    ingest_free(append->ingest);
    free(append);
    i->append = NULL;
}

/* The message is over, one way or another. */
static void end_append(struct imap_session *i)
{
    i->append->body = 0;
    imap_on_append_abort(i);
}

static bool start_append(struct imap_session *i, uint64_t mailbox)
{
    struct imap_append_state *append = calloc(1, sizeof(*append));
    if (!append)
        return false;
    i->append = append;
    append->mailbox = mailbox;
    append->flags = i->event.append.flags;
    append->internal_ms = i->event.append.has_date ? i->event.append.internal_ms
                                                   : mailroom_session_now(i->session).wall_ms;
    buf_init(&append->keywords, KEYWORDS_SIZE_MAX);
    append->ingest = ingest_new();
    append->writer = body_writer_new();
    if (append->ingest && append->writer &&
        buf_append_str(&append->keywords, i->event.append.keywords))
        return true;
    imap_on_append_abort(i);
    return false;
}

void imap_on_append(struct imap_session *i)
{
    struct arena *a = imap_scratch(i);
    struct mailbox_record mailbox;
    struct account_record owner;
    imap_on_append_abort(i);
    enum status_code status = imap_mailbox(i, i->event.append.name, a, &mailbox);
    if (status == STATUS_NOT_FOUND || (status == STATUS_OK && !mailbox.selectable)) {
        imap_say(i, IMAP_TRYCREATE);
        return;
    }
    if (status == STATUS_OK && !(mailbox.rights & RIGHT_INSERT))
        status = STATUS_DENIED;
    if (status == STATUS_OK)
        status = directory_account(imap_room(i)->db, mailbox.account, a, &owner);
    if (status == STATUS_OK && owner.quota != 0 &&
        (owner.used >= owner.quota || i->event.append.size > owner.quota - owner.used))
        status = STATUS_OVER_QUOTA;
    if (status == STATUS_OK && !start_append(i, mailbox.id))
        status = STATUS_NO_MEMORY;
    imap_say_status(i, status);
}

/* ---- The octets
 * ---------------------------------------------------------------------------------------- */

/* Promise 4: CRLF ends a line and nothing else does; NUL is in no message (RFC 3501 §4.3.1). */
static void check_lines(struct imap_append_state *append, struct str bytes)
{
    bool cr = append->last_was_cr;
    for (size_t n = 0; n < bytes.len && !append->is_bad; n++) {
        char c = bytes.ptr[n];
        append->is_bad = c == '\0' || (c == '\n') != cr;
        cr = c == '\r';
    }
    append->last_was_cr = cr;
}

static struct ipc_chunk *chunks_of(struct imap_session *i, size_t *ret_count)
{
    const struct body_chunk *ready = body_writer_ready(i->append->writer, ret_count);
    struct ipc_chunk *chunks = arena_alloc_array(imap_scratch(i), *ret_count + 1, sizeof(*chunks));
    for (size_t n = 0; chunks && n < *ret_count; n++)
        chunks[n] = (struct ipc_chunk){.codec = ready[n].codec,
                                       .key_id = ready[n].key_id,
                                       .plain_size = ready[n].plain_size,
                                       .hash = ready[n].hash,
                                       .data = ready[n].data};
    return chunks;
}

static void on_chunk(void *context, enum status_code status, const struct ipc_body_chunk_out *out)
{
    struct imap_session *i = context;
    imap_replied(i);
    if (out)
        status = out->status;
    if (status != STATUS_OK)
        end_append(i);
    imap_say_status(i, status);
}

/* Half of the message would come to the next one, which could only call it malformed. */
static bool is_with_a_dead_vault(const struct imap_session *i)
{
    return i->append->body != 0 && i->append->vault != imap_room(i)->vaults;
}

/* What is complete goes ahead of the request. */
static void send_chunks(struct imap_session *i)
{
    struct ipc_body_chunk_in in = {0};
    if (is_with_a_dead_vault(i)) {
        end_append(i);
        imap_say_status(i, STATUS_GONE);
        return;
    }
    in.chunks = chunks_of(i, &in.chunks_count);
    if (i->append->body == 0) {
        i->append->body = ++imap_room(i)->next_body;
        i->append->vault = imap_room(i)->vaults;
    }
    in.body = i->append->body;
    uint32_t call = in.chunks ? ipc_body_chunk_call(imap_room(i)->vault, &in, on_chunk, i) : 0;
    body_writer_taken(i->append->writer);
    imap_wait(i, call);
}

void imap_on_append_data(struct imap_session *i)
{
    struct imap_append_state *append = i->append;
    if (!append) {
        imap_say(i, IMAP_UNAVAILABLE);
        return;
    }
    check_lines(append, i->event.data);
    ingest_write(append->ingest, i->event.data);
    if (!body_writer_write(append->writer, i->event.data)) {
        imap_on_append_abort(i);
        imap_say_status(i, STATUS_NO_MEMORY);
    } else if (body_writer_held(append->writer) > BODY_HELD_MAX && !append->is_bad) {
        send_chunks(i);
    } else {
        if (append->is_bad)
            body_writer_reset(append->writer);
        imap_say(i, IMAP_OK);
    }
}

/* ---- The end
 * --------------------------------------------------------------------------------------------- */

/* RFC 3501 §6.3.11: a client that appends to the selected mailbox hears of it at once. */
static void on_appended(void *context, enum status_code status, const struct ipc_append_out *out)
{
    struct imap_session *i = context;
    imap_replied(i);
    imap_sync(i, 0);
    end_append(i);
    if (out)
        status = out->status;
    if (status == STATUS_NOT_FOUND)
        imap_say(i, IMAP_TRYCREATE);
    else if (status != STATUS_OK || !out)
        imap_say_status(i, status);
    else
        imap_answer_append(i->engine, i->event.token, out->uidvalidity, out->uid);
}

static void send_append(struct imap_session *i, const struct ingest_facts *facts)
{
    struct imap_append_state *append = i->append;
    struct ipc_append_in in = {
        .capability = mailroom_session_capability(i->session),
        .at_ms = mailroom_session_now(i->session).wall_ms,
        .trace_id = str_from_c(i->session->trace_id),
        .mailbox = append->mailbox,
        .flags = append->flags,
        .keywords = text_from(buf_str(&append->keywords)),
        .internal_ms = append->internal_ms,
    };
    new_email_describe(facts, &in.email);
    in.email.body = append->body;
    in.email.chunks = chunks_of(i, &in.email.chunks_count);
    imap_wait(i, in.email.chunks ? ipc_append_call(imap_room(i)->vault, &in, on_appended, i) : 0);
}

void imap_on_append_end(struct imap_session *i)
{
    struct imap_append_state *append = i->append;
    struct ingest_facts facts;
    if (!append) {
        imap_say(i, IMAP_UNAVAILABLE);
        return;
    }
    if (append->is_bad || append->last_was_cr) {
        imap_on_append_abort(i);
        imap_say(i, IMAP_BADMESSAGE);
        return;
    }
    enum status_code status = ingest_finish(append->ingest, &facts);
    if (status == STATUS_OK && is_with_a_dead_vault(i))
        status = STATUS_GONE;
    if (status == STATUS_OK && !body_writer_finish(append->writer))
        status = STATUS_NO_MEMORY;
    if (status == STATUS_OK)
        send_append(i, &facts);
    else
        imap_say_status(i, status);
    if (i->session->call == 0)
        imap_on_append_abort(i);
}
