#include <stdlib.h>

#include "base/bug.h"
#include "base/limits.h"
#include "roles/vault_internal.h"

/* ---- Bodies ------------------------------------------------------------------------------------
 */

#define BODY_SIZE_MAX (4ULL * LIMIT_MESSAGE_SIZE)

static struct staged_body *find_staged(struct vault_batch *b, void *owner, uint64_t number)
{
    for (struct staged_body *s = b->staged; s; s = s->next)
        if (s->owner == owner && s->number == number && !s->ended && !s->used)
            return s;
    return NULL;
}

static struct body_chunk stored_chunk(const struct ipc_chunk *chunk)
{
    return (struct body_chunk){.codec = chunk->codec,
                               .key_id = chunk->key_id,
                               .plain_size = chunk->plain_size,
                               .hash = chunk->hash,
                               .data = chunk->data};
}

/*
 * Every chunk but the last is full, so that readers find an octet without looking for it. An empty
 * body has one empty chunk.
 */
static bool chunks_are_sound(const struct ipc_chunk *chunks, size_t count, uint64_t *ret_size,
                             bool *ret_complete)
{
    *ret_complete = false;
    *ret_size = 0;
    for (size_t i = 0; i < count; i++) {
        const struct ipc_chunk *chunk = &chunks[i];
        if (*ret_complete || chunk->plain_size > LIMIT_CHUNK_SIZE ||
            chunk->hash.len != CHUNK_HASH_SIZE || chunk->codec > CHUNK_ZSTD ||
            chunk->data.len > 2 * LIMIT_CHUNK_SIZE)
            return false;
        *ret_complete = chunk->plain_size < LIMIT_CHUNK_SIZE;
        *ret_size += chunk->plain_size;
    }
    return true;
}

enum status_code vault_check_body(struct vault_batch *b, void *owner, const struct ipc_email *email)
{
    uint64_t size = 0;
    bool complete = false;
    if (!chunks_are_sound(email->chunks, email->chunks_count, &size, &complete))
        return STATUS_INVALID;
    if (email->body == 0)
        return size == email->size && email->chunks_count > 0 ? STATUS_OK : STATUS_INVALID;
    const struct staged_body *staged = find_staged(b, owner, email->body);
    if (!staged || staged->lost)
        return STATUS_NOT_FOUND;
    bool fits = staged->size + size == email->size &&
                !(staged->complete && email->chunks_count > 0) &&
                staged->chunks + email->chunks_count > 0;
    return fits ? STATUS_OK : STATUS_INVALID;
}

static enum status_code insert_chunks(struct vault_batch *b, uint64_t body, uint64_t first,
                                      const struct ipc_chunk *chunks, size_t count)
{
    enum status_code status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < count; i++) {
        struct body_chunk chunk = stored_chunk(&chunks[i]);
        status = chunk_insert(&b->writer, body, first + i, &chunk);
    }
    return status;
}

enum status_code vault_take_body(struct vault_batch *b, void *owner, const struct ipc_email *email,
                                 uint64_t *ret_body)
{
    struct staged_body *staged = email->body ? find_staged(b, owner, email->body) : NULL;
    *ret_body = staged ? staged->body : body_new(&b->writer);
    enum status_code status = insert_chunks(b, *ret_body, staged ? staged->chunks : 0,
                                            email->chunks, email->chunks_count);
    if (status == STATUS_OK && staged) {
        staged->used = staged->touched = true;
        status = staging_end(&b->writer, *ret_body);
    }
    return status;
}

void vault_drop_body(struct vault_batch *b, void *owner, uint64_t number)
{
    struct staged_body *staged = number ? find_staged(b, owner, number) : NULL;
    if (staged)
        staged->lost = staged->ended = true;
}

void vault_unuse_body(struct vault_batch *b, void *owner, uint64_t number)
{
    for (struct staged_body *s = b->staged; number && s; s = s->next)
        if (s->owner == owner && s->number == number && s->used)
            s->used = false;
}

static bool is_over(const struct staged_body *s)
{
    return s->lost && s->ended && !s->stored && !s->touched;
}

static void forget_bodies(struct vault_batch *b)
{
    for (struct staged_body **at = &b->staged; *at;) {
        struct staged_body *s = *at;
        if (!is_over(s)) {
            at = &s->next;
            continue;
        }
        *at = s->next;
        free(s);
    }
}

/*
 * What a doomed batch was to add to a body is missing, so the body is lost. One that was begun in
 * that batch has nothing to remove: its id is free again, and another body's soon.
 */
void vault_settle_bodies(struct vault_batch *b, bool committed)
{
    for (struct staged_body *s = b->staged; s; s = s->next) {
        s->stored = s->stored && !(s->removed && committed);
        s->put_off = !committed && (s->removed || s->put_off);
        s->alone = s->alone || s->put_off;
        s->removed = false;
        if (!s->touched)
            continue;
        s->touched = false;
        if (!committed) {
            s->used = false;
            s->lost = true;
        } else if (s->used) {
            s->stored = false;
            s->lost = s->ended = true;
        } else {
            s->stored = true;
        }
    }
    forget_bodies(b);
}

static bool is_to_remove(const struct vault_batch *b, const struct staged_body *s)
{
    bool shared = b->gathering && b->replies.len > 0;
    return s->lost && s->stored && !s->touched && !s->removed && !s->put_off &&
           !(s->alone && shared);
}

bool vault_has_lost(const struct vault_batch *b)
{
    for (const struct staged_body *s = b->staged; s; s = s->next)
        if (is_to_remove(b, s))
            return true;
    return false;
}

/*
 * Should the disk be full, or somebody else doom this batch, they go with a later one. What cannot
 * be removed for another reason would doom that one too: the next start finds it in `staging`.
 */
void vault_remove_lost(struct vault_batch *b)
{
    unsigned chunks = LIMIT_VAULT_CHUNKS;
    bool any = false;
    for (struct staged_body *s = b->staged; s && chunks > 0; s = s->next) {
        if (!is_to_remove(b, s))
            continue;
        if (any && vault_budget_is_spent(&b->budget))
            break;
        any = true;
        enum status_code status = body_remove(&b->writer, s->body, &chunks);
        if (status == STATUS_OK && chunks > 0)
            status = staging_end(&b->writer, s->body);
        vault_note(b, status);
        if (status == STATUS_OK && chunks == 0)
            break;
        s->removed = status == STATUS_OK || status == STATUS_DISK_FULL;
        s->stored = s->removed;
    }
}

void vault_leave_body(struct vault_batch *b, uint64_t body)
{
    struct staged_body *s = calloc(1, sizeof *s);
    if (!s) { /* the next start finds it */
        vault_note(b, STATUS_NO_MEMORY);
        return;
    }
    *s = (struct staged_body){
        .next = b->staged, .body = body, .touched = true, .lost = true, .ended = true};
    b->staged = s;
}

static struct staged_body *new_staged(struct vault_batch *b, void *owner, uint64_t number)
{
    struct staged_body *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    *s = (struct staged_body){.next = b->staged, .owner = owner, .number = number};
    s->body = body_new(&b->writer);
    b->staged = s;
    return s;
}

static size_t count_staged(const struct vault_batch *b, const void *owner)
{
    size_t count = 0;
    for (const struct staged_body *s = b->staged; s; s = s->next)
        count += s->owner == owner;
    return count;
}

static enum status_code stage(struct vault_batch *b, void *owner,
                              const struct ipc_body_chunk_in *in)
{
    uint64_t size = 0;
    bool complete = false;
    struct staged_body *s = find_staged(b, owner, in->body);
    if (in->body == 0 || !chunks_are_sound(in->chunks, in->chunks_count, &size, &complete))
        return STATUS_INVALID;
    if (!s && count_staged(b, owner) >= LIMIT_VAULT_STAGED)
        return STATUS_BUSY;
    if (!s)
        s = new_staged(b, owner, in->body);
    if (!s)
        return STATUS_NO_MEMORY;
    if (s->lost)
        return STATUS_NOT_FOUND;
    if (s->complete || s->size + size > BODY_SIZE_MAX) {
        s->lost = true;
        return s->complete ? STATUS_INVALID : STATUS_TOO_BIG;
    }
    enum status_code status = insert_chunks(b, s->body, s->chunks, in->chunks, in->chunks_count);
    s->touched = true;
    s->chunks += in->chunks_count;
    s->size += size;
    s->complete = complete;
    return status == STATUS_OK ? staging_set(&b->writer, s->body, s->chunks, s->size) : status;
}

void vault_body_chunk(struct vault_batch *b, struct vault_ticket t,
                      const struct ipc_body_chunk_in *in)
{
    struct vault_reply reply = {.ticket = t, .type = IPC_BODY_CHUNK};
    if (vault_batch_begin(b, true)) {
        reply.status = stage(b, t.owner, in);
        vault_note(b, reply.status);
    }
    vault_answer(b, &reply);
}

void vault_body_abort(struct vault_batch *b, void *owner, uint64_t body)
{
    vault_drop_body(b, owner, body);
}

/* ---- Accept ------------------------------------------------------------------------------------
 */

struct email_new vault_email(const struct ipc_email *email, struct str trace_id,
                             int64_t received_ms)
{
    return (struct email_new){
        .size = email->size,
        .received_ms = received_ms,
        .sent_ms = email->sent_at_ms,
        .parser_version = email->parser_version,
        .trace_id = trace_id,
        .message_id = email->message_id,
        .in_reply_to = email->in_reply_to,
        .subject = email->subject,
        .structure = email->structure,
        .signature = email->signature,
    };
}

/* The message of one account: made once, however many of its mailboxes get it. */
struct account_email {
    uint64_t account;
    uint64_t email;
};

enum { TRACE_ID_SIZE_MAX = 64, PREFIX_SIZE_MAX = 4096, KEYS_MAX = 1000 };

struct acceptance {
    struct vault_batch *b;
    const struct ipc_accept_in *in;
    struct str prefix; /* of what goes to other servers */
    struct email_new email;
    struct ipc_accept_result *results;
    uint64_t *mailboxes;          /* of all deliveries, as they were found */
    struct account_email *emails; /* room for as many */
    size_t email_count;
    void *owner;
};

/* Whole header lines, or nothing. */
static bool is_prefix(struct str prefix)
{
    return prefix.len <= PREFIX_SIZE_MAX && (str_empty(prefix) || str_ends(prefix, STR("\r\n")));
}

bool vault_is_trace_id(struct str id)
{
    for (size_t i = 0; i < id.len; i++)
        if (!ascii_is_alpha(id.ptr[i]) && !ascii_is_digit(id.ptr[i]) && id.ptr[i] != '-')
            return false;
    return id.len > 0 && id.len <= TRACE_ID_SIZE_MAX;
}

static size_t count_ways(const struct ipc_accept_in *in)
{
    size_t count = 0;
    for (size_t i = 0; i < in->recipients_count; i++)
        count += in->recipients[i].deliveries_count + in->recipients[i].relays_count;
    return count;
}

/*
 * Before the first write: is the message whole, does every account still exist? An account that
 * went since RCPT is its recipient's STATUS_NOT_FOUND, and then nobody gets the message (451).
 */
static enum status_code check_recipient(struct acceptance *a, size_t number, uint64_t *mailboxes)
{
    const struct ipc_accept_recipient *r = &a->in->recipients[number];
    enum status_code status = vault_check_relays(r);
    if (r->deliveries_count + r->relays_count == 0)
        status = STATUS_INVALID;
    if (r->key.len != 0 && r->key.len != CHUNK_HASH_SIZE)
        status = STATUS_INVALID;
    for (size_t i = 0; status == STATUS_OK && i < r->deliveries_count; i++) {
        if (!is_prefix(r->deliveries[i].prefix))
            return STATUS_INVALID;
        status = delivery_mailbox(&a->b->writer, r->deliveries[i].account, r->deliveries[i].mailbox,
                                  &mailboxes[i]);
    }
    return status;
}

static enum status_code check_accept(struct acceptance *a)
{
    const struct ipc_accept_in *in = a->in;
    enum status_code status = vault_check_body(a->b, a->owner, &in->email);
    if (in->recipients_count == 0 || !vault_is_trace_id(in->trace_id) || !is_prefix(a->prefix) ||
        !vault_is_envelope(&in->envelope))
        status = STATUS_INVALID;
    uint64_t *mailboxes = a->mailboxes;
    for (size_t i = 0; i < in->recipients_count; i++) {
        a->results[i].status = check_recipient(a, i, mailboxes);
        mailboxes += in->recipients[i].deliveries_count;
        if (status == STATUS_OK)
            status = a->results[i].status;
    }
    return status;
}

/* Stored once, whoever gets it. */
static enum status_code take_body(struct acceptance *a)
{
    return a->email.body == 0 ? vault_take_body(a->b, a->owner, &a->in->email, &a->email.body)
                              : STATUS_OK;
}

static enum status_code email_of(struct acceptance *a, uint64_t account, uint64_t *ret_email)
{
    for (size_t i = 0; i < a->email_count; i++)
        if (a->emails[i].account == account) {
            *ret_email = a->emails[i].email;
            return STATUS_OK;
        }
    enum status_code status = take_body(a);
    a->email.account = account;
    if (status == STATUS_OK)
        status = email_insert(&a->b->writer, &a->email, ret_email);
    a->emails[a->email_count++] = (struct account_email){account, *ret_email};
    return status;
}

static void tell_new(struct vault_batch *b, uint64_t mailbox, const struct entry_place *place)
{
    struct ipc_change change = {.account = place->account,
                                .mailbox = mailbox,
                                .kind = CHANGE_NEW,
                                .modseq = place->modseq,
                                .first = place->uid,
                                .last = place->uid};
    vault_changed(b, &change);
}

static enum status_code deliver(struct acceptance *a, const struct ipc_delivery *delivery,
                                uint64_t mailbox)
{
    struct entry_new entry = {.mailbox = mailbox,
                              .body_size = a->in->email.size,
                              .internal_ms = a->in->received_at_ms,
                              .prefix = delivery->prefix};
    struct entry_place place = {0};
    enum status_code status = email_of(a, delivery->account, &entry.email);
    if (status == STATUS_OK)
        status = entry_insert(&a->b->writer, &entry, &place);
    if (status == STATUS_OK)
        tell_new(a->b, entry.mailbox, &place);
    return status;
}

static bool has_copy(const struct ipc_accept_recipient *r, size_t count,
                     const struct ipc_delivery *delivery, bool any_prefix)
{
    for (size_t i = 0; i < count; i++)
        if (r->deliveries[i].account == delivery->account &&
            r->deliveries[i].mailbox == delivery->mailbox &&
            (any_prefix || str_eq_nocase(r->deliveries[i].prefix, delivery->prefix)))
            return true;
    return false;
}

/*
 * An alias may lead to a mailbox by several ways: one recipient, one copy in it. So may several
 * recipients, an alias and one of its members say: then a copy that would say nothing new, as it
 * is to the same address, is none.
 */
static bool seen_before(const struct ipc_accept_in *in, size_t number, size_t delivery)
{
    const struct ipc_accept_recipient *r = &in->recipients[number];
    for (size_t i = 0; i < number; i++)
        if (has_copy(&in->recipients[i], in->recipients[i].deliveries_count,
                     &r->deliveries[delivery], false))
            return true;
    return has_copy(r, delivery, &r->deliveries[delivery], true);
}

static enum status_code accept_recipient(struct acceptance *a, size_t number,
                                         const uint64_t *mailboxes)
{
    const struct ipc_accept_recipient *r = &a->in->recipients[number];
    enum status_code status = STATUS_OK;
    if (!str_empty(r->key))
        status =
            unconfirmed_add(&a->b->writer, r->key, a->b->queue.clock_ms, &a->results[number].again);
    if (status != STATUS_OK || a->results[number].again)
        return status;
    for (size_t i = 0; status == STATUS_OK && i < r->deliveries_count; i++)
        if (!seen_before(a->in, number, i))
            status = deliver(a, &r->deliveries[i], mailboxes[i]);
    return status;
}

enum { TRACE_VALUE_SIZE = 320, TRACE_SIZE = 32 * 1024 };

void vault_trace_value(struct buf *out, const char *key, struct text value)
{
    if (str_empty(text_peek(value)))
        return;
    buf_printf(out, "%s%s=", out->len ? " " : "", key);
    text_to_log(out, value, TRACE_VALUE_SIZE);
}

/* What was asked of the way it goes; what nobody asked for does not show. */
static void trace_envelope(struct buf *out, const struct ipc_envelope *e)
{
    static const char *const bodies[] = {"7BIT", "8BITMIME", "BINARYMIME"};
    vault_trace_value(out, "envid", e->envid);
    if (e->body == 1 || e->body == 2)
        buf_printf(out, " body=%s", bodies[e->body]);
    if (e->utf8)
        buf_append_str(out, STR(" smtputf8"));
    if (e->requiretls)
        buf_append_str(out, STR(" requiretls"));
    if (e->hold_ms > 0)
        buf_printf(out, " hold=%llus", (unsigned long long)e->hold_ms / 1000);
    if (e->by_mode != 0)
        buf_printf(out, " by=%llds %s", (long long)e->by_ms / 1000,
                   e->by_mode == 1 ? "return" : "notify");
    if (e->priority != 0)
        buf_printf(out, " priority=%lld", (long long)e->priority);
}

static enum status_code trace_accept(struct acceptance *a)
{
    const struct ipc_accept_in *in = a->in;
    struct buf words;
    buf_init(&words, TRACE_SIZE);
    buf_printf(&words, "size=%llu", (unsigned long long)in->email.size);
    vault_trace_value(&words, "from", in->reverse_path);
    vault_trace_value(&words, "helo", in->helo);
    vault_trace_value(&words, "peer", text_from(in->peer));
    vault_trace_value(&words, "tls", text_from(in->tls));
    vault_trace_value(&words, "message-id", in->email.message_id);
    trace_envelope(&words, &in->envelope);
    for (size_t i = 0; i < in->recipients_count; i++)
        vault_trace_value(&words, a->results[i].again ? "again" : "to",
                          in->recipients[i].recipient);
    /* A thousand recipients do not fit; those that do are told. */
    enum status_code status = trace_add(&a->b->writer, in->trace_id, in->received_at_ms,
                                        STR("accepted"), text_from(buf_str(&words)));
    buf_release(&words);
    return status;
}

/* The rows of all recipients for other servers: one commit with the mailboxes. */
static enum status_code enqueue(struct acceptance *a)
{
    enum status_code status = take_body(a);
    struct vault_outgoing o = {
        .in = a->in, .results = a->results, .prefix = a->prefix, .body = a->email.body};
    return status == STATUS_OK ? vault_enqueue(a->b, &o) : status;
}

static enum status_code accept_all(struct acceptance *a)
{
    enum status_code status = STATUS_OK;
    const uint64_t *mailboxes = a->mailboxes;
    for (size_t i = 0; status == STATUS_OK && i < a->in->recipients_count; i++) {
        status = accept_recipient(a, i, mailboxes);
        mailboxes += a->in->recipients[i].deliveries_count;
    }
    if (status == STATUS_OK && vault_wants_outgoing(a->in, a->results))
        status = enqueue(a);
    return status == STATUS_OK ? trace_accept(a) : status;
}

/*
 * Checked first and written then, so that only the environment can fail in between; when it has
 * lately, in a way that may be this message's own, the message is undone by itself.
 */
static enum status_code accept(struct acceptance *a)
{
    struct vault_batch *b = a->b;
    enum status_code status = check_accept(a);
    if (status != STATUS_OK)
        return status;
    if (b->careful > 0) {
        status = vault_guard(b);
        return status == STATUS_OK ? vault_unguard(b, accept_all(a)) : status;
    }
    status = accept_all(a);
    if (status != STATUS_OK && !vault_is_failure(status))
        status = STATUS_CORRUPT; /* checked, and yet refused: the tables contradict each other */
    return status;
}

static void count_accepted(struct acceptance *a)
{
    a->b->numbers.messages++;
    for (size_t i = 0; i < a->in->recipients_count; i++) {
        a->b->numbers.recipients += !a->results[i].again;
        a->b->numbers.recognised += a->results[i].again;
    }
}

/* Before any memory is taken for it: others share that. */
static bool is_too_wide(const struct ipc_accept_in *in)
{
    return in->recipients_count > LIMIT_MESSAGE_WAYS || count_ways(in) > LIMIT_MESSAGE_WAYS;
}

static enum status_code accept_sized(struct acceptance *a)
{
    struct arena *results = &a->b->results;
    size_t ways = count_ways(a->in) + 1;
    a->results = arena_alloc_array(results, a->in->recipients_count + 1, sizeof *a->results);
    a->emails = arena_alloc_array(results, ways, sizeof *a->emails);
    a->mailboxes = arena_alloc_array(results, ways, sizeof *a->mailboxes);
    return a->results && a->emails && a->mailboxes ? accept(a) : STATUS_NO_MEMORY;
}

enum status_code vault_accept_message(struct vault_batch *b, void *owner,
                                      const struct ipc_accept_in *in, struct str prefix,
                                      struct ipc_accept_result **ret_results)
{
    struct acceptance a = {.b = b, .in = in, .prefix = prefix, .owner = owner};
    a.email = vault_email(&in->email, in->trace_id, in->received_at_ms);
    enum status_code status = is_too_wide(in) ? STATUS_INVALID : accept_sized(&a);
    if (b->careful == 0 || status == STATUS_CORRUPT)
        vault_note(b, status);
    if (status == STATUS_OK)
        count_accepted(&a);
    else
        vault_unuse_body(b, owner, in->email.body);
    *ret_results = a.results;
    return status;
}

void vault_accept(struct vault_batch *b, struct vault_ticket t, const struct ipc_accept_in *in)
{
    struct vault_reply reply = {.ticket = t, .type = IPC_ACCEPT};
    if (vault_batch_begin(b, true)) {
        struct ipc_accept_result *results = NULL;
        enum status_code status = STATUS_INVALID;
        if (in->envelope.requiretls <= 1) /* more is for a courier to say */
            status = vault_accept_message(b, t.owner, in, STR(""), &results);
        reply.accept = (struct ipc_accept_out){.status = status,
                                               .results = results,
                                               .results_count = results ? in->recipients_count : 0};
    }
    /* Used or not, the body has had its turn. */
    vault_drop_body(b, t.owner, in->email.body);
    vault_answer(b, &reply);
}

/* An edge tells of so many or fewer at once; what else one says costs it nothing but these keys. */
void vault_confirm(struct vault_batch *b, const struct ipc_confirm_in *in)
{
    size_t count = in->keys_count < KEYS_MAX ? in->keys_count : KEYS_MAX;
    for (size_t i = 0; i < count && vault_batch_begin(b, false); i++)
        vault_note(b, unconfirmed_remove(&b->writer, in->keys[i].key));
}
