#include "roles/edge_message.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/bug.h"
#include "base/limits.h"
#include "codec/utf8.h"
#include "mail/address.h"
#include "mail/ingest.h"
#include "policy/route.h"
#include "proto/smtp/server.h"
#include "roles/edge_confirm.h"
#include "roles/new_email.h"
#include "store/ingest.h"

/*
 * What a message needs from the first octet of its body until its accept is sent. Making these
 * costs more than using them for a small message, so an edge keeps a few for the next one.
 */
struct edge_message_parts {
    struct edge_message_parts *next_spare;
    struct ingest *ingest;
    struct body_writer *writer;
    EVP_MD_CTX *hash;
};

enum {
    KEY_SIZE = 32, /* SHA-256 */
    SPARE_PARTS_MAX = 16,
    ENVELOPE_BUDGET = 1024 * 1024,
    /* A message of up to this many octets travels whole, with its accept. */
    WHOLE_SIZE_MAX = 256 * 1024,
    CHUNKS_MAX = 16,
    SHIPMENTS_MAX = 4,
    /*
     * What the parts of one message take beside its octets, as measured: parser and signature, and
     * from the first whole chunk on the compressor.
     */
    PARTS_COST = 192 * 1024,
    COMPRESSOR_COST = 576 * 1024,
};

struct recipient {
    struct recipient *next;
    struct str address;
    uint8_t notify;
    struct text orcpt;
    const struct ipc_delivery *deliveries;
    size_t delivery_count;
    const struct ipc_relay *relays;
    size_t relay_count;
};

struct edge_message {
    struct edge *edge;
    char id[EDGE_ID_SIZE];
    struct arena arena;
    struct str reverse_path;
    struct ipc_envelope envelope;
    bool has_local; /* a mailbox here gets it, so it will be read and searched */
    struct recipient *recipients;
    struct recipient **recipients_end;
    size_t recipient_count;
    size_t ways; /* LIMIT_MESSAGE_WAYS */

    const struct edge_settings *settings;
    struct edge_message_parts *parts;
    struct buf top;  /* our fields, until they are written */
    struct buf head; /* the header of a submission, until it is complete and so can be completed */
    bool completing;
    int64_t begun_wall_ms;
    uint64_t payer_key;       /* 0: has no share */
    struct edge_entry *payer; /* NULL then, and once there is nothing to pay for any more */
    size_t charged;           /* of the budget for bodies */

    uint64_t body;  /* of body_chunk; 0: travels whole */
    uint64_t vault; /* who has what was sent of it, in edge->vaults */
    unsigned shipments;
    enum status_code lost; /* not OK: why it holds no parts any more */
    bool orphan;           /* freed by the owner; lives on for the shipments on their way */
    void (*room)(void *context);
    void *room_context;

    struct ingest_facts facts;
    struct ipc_key *keys;
    size_t key_count;

    struct channel *accept_channel;
    uint32_t accept_call;
    edge_message_accepted *accepted;
    void *accepted_context;
    bool kept; /* the vault has said so */
};

/* ---- The parts ---------------------------------------------------------------------------------
 */

static void parts_free(struct edge_message_parts *parts)
{
    if (!parts)
        return;
    ingest_free(parts->ingest);
    body_writer_free(parts->writer);
    EVP_MD_CTX_free(parts->hash);
    free(parts);
}

static struct edge_message_parts *parts_new(void)
{
    struct edge_message_parts *parts = calloc(1, sizeof *parts);
    if (!parts)
        return NULL;
    parts->ingest = ingest_new();
    parts->writer = body_writer_new();
    parts->hash = EVP_MD_CTX_new();
    if (parts->ingest && parts->writer && parts->hash)
        return parts;
    parts_free(parts);
    return NULL;
}

static struct edge_message_parts *parts_take(struct edge *edge)
{
    struct edge_message_parts *parts = edge->spare_parts;
    if (parts)
        edge->spare_parts = parts->next_spare;
    else
        parts = parts_new();
    if (parts && EVP_DigestInit_ex(parts->hash, EVP_sha256(), NULL) == 1)
        return parts;
    parts_free(parts);
    return NULL;
}

static void parts_give_back(struct edge *edge, struct edge_message_parts *parts)
{
    size_t spare = 0;
    for (struct edge_message_parts *p = edge->spare_parts; p; p = p->next_spare)
        spare++;
    if (spare >= SPARE_PARTS_MAX) {
        parts_free(parts);
        return;
    }
    ingest_reset(parts->ingest);
    body_writer_reset(parts->writer);
    parts->next_spare = edge->spare_parts;
    edge->spare_parts = parts;
}

void edge_message_release_spare(struct edge *edge)
{
    while (edge->spare_parts) {
        struct edge_message_parts *parts = edge->spare_parts;
        edge->spare_parts = parts->next_spare;
        parts_free(parts);
    }
}

/* ---- The envelope -------------------------------------------------------------------------------
 */

static bool dup_text(struct arena *arena, struct text from, struct text *ret_copy)
{
    struct str copy;
    if (!arena_dup(arena, text_peek(from), &copy))
        return false;
    *ret_copy = text_from(copy);
    return true;
}

static bool find_payer(struct edge_message *m, uint64_t key, struct now now)
{
    m->payer_key = key;
    m->payer = key != 0 ? edge_counts_take(m->edge->counts, key, now) : NULL;
    return key == 0 || m->payer;
}

struct edge_message *edge_message_new(struct edge *edge, uint64_t payer, struct str reverse_path,
                                      const struct ipc_envelope *envelope, struct now now)
{
    struct edge_message *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->edge = edge;
    m->recipients_end = &m->recipients;
    arena_init(&m->arena, ENVELOPE_BUDGET);
    buf_init(&m->top, 8192);
    buf_init(&m->head, LIMIT_HEADER_SIZE);
    edge_new_id(edge, now, m->id);
    m->envelope = *envelope;
    if (find_payer(m, payer, now) && arena_dup(&m->arena, reverse_path, &m->reverse_path) &&
        dup_text(&m->arena, envelope->envid, &m->envelope.envid))
        return m;
    edge_message_free(m);
    return NULL;
}

const char *edge_message_id(const struct edge_message *m)
{
    return m->id;
}

struct str edge_message_reverse_path(const struct edge_message *m)
{
    return m->reverse_path;
}

size_t edge_message_recipient_count(const struct edge_message *m)
{
    return m->recipient_count;
}

struct str edge_message_recipient(const struct edge_message *m, size_t index)
{
    const struct recipient *r = m->recipients;
    while (r && index-- > 0)
        r = r->next;
    return r ? r->address : STR("");
}

static bool plan_deliveries(struct edge_message *m, const struct ipc_target *targets, size_t count,
                            const struct ipc_delivery **ret_deliveries)
{
    struct ipc_delivery *list = arena_alloc_array(&m->arena, count, sizeof *list);
    if (!list)
        return false;
    for (size_t i = 0; i < count; i++) {
        list[i] =
            (struct ipc_delivery){.account = targets[i].account, .mailbox = targets[i].mailbox};
        if (!new_email_prefix(&m->arena, m->reverse_path, targets[i].delivered_to, &list[i].prefix))
            return false;
    }
    *ret_deliveries = list;
    return true;
}

static bool plan_relays(struct edge_message *m, const struct ipc_relay *relays, size_t count,
                        const struct ipc_relay **ret_relays)
{
    struct ipc_relay *list = arena_alloc_array(&m->arena, count, sizeof *list);
    if (!list)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!dup_text(&m->arena, relays[i].address, &list[i].address) ||
            !arena_dup(&m->arena, relays[i].destination, &list[i].destination))
            return false;
    *ret_relays = list;
    return true;
}

/* What the message holds in memory counts against the one budget of all bodies. */
static void charge_for(struct edge_message *m, size_t held)
{
    edge_counts_charge(m->edge->counts, m->payer, m->charged, held);
    m->charged = held;
}

static bool fits(const struct edge_message *m, const struct edge_settings *settings)
{
    return edge_counts_bodies_fit(m->edge->counts, m->payer, m->payer_key,
                                  settings->config.limits.bodies_in_flight_size);
}

/* Recipients count before there is a body: many clients may have many, and say no more. */
static bool has_room_for_envelope(struct edge_message *m)
{
    charge_for(m, m->arena.used);
    return fits(m, m->edge->settings);
}

bool edge_message_add_recipient(struct edge_message *m, const struct edge_recipient *recipient)
{
    size_t ways = m->ways + recipient->target_count + recipient->relay_count;
    struct recipient *r = ways <= LIMIT_MESSAGE_WAYS ? arena_alloc(&m->arena, sizeof *r) : NULL;
    if (!r || !arena_dup(&m->arena, recipient->address, &r->address) ||
        !dup_text(&m->arena, recipient->orcpt, &r->orcpt) ||
        !plan_deliveries(m, recipient->targets, recipient->target_count, &r->deliveries) ||
        !plan_relays(m, recipient->relays, recipient->relay_count, &r->relays) ||
        !has_room_for_envelope(m))
        return false;
    r->notify = recipient->notify;
    r->delivery_count = recipient->target_count;
    r->relay_count = recipient->relay_count;
    m->has_local |= r->delivery_count > 0;
    *m->recipients_end = r;
    m->recipients_end = &r->next;
    m->recipient_count++;
    m->ways = ways;
    return true;
}

/* ---- The body -----------------------------------------------------------------------------------
 */

static void discharge(struct edge_message *m)
{
    charge_for(m, 0);
}

static void give_parts_back(struct edge_message *m)
{
    if (m->parts)
        parts_give_back(m->edge, m->parts);
    m->parts = NULL;
}

/* There is nothing to be kept of it any more; what still comes is thrown away. The first reason is
 * the one that counts. */
static void lose(struct edge_message *m, enum status_code why)
{
    if (m->lost == STATUS_OK)
        m->lost = why;
    give_parts_back(m);
    discharge(m);
}

/*
 * Taken when the first octets are here, so that small messages use the same parts one after the
 * other. False, and it is lost, where there is no memory.
 */
static bool need_parts(struct edge_message *m)
{
    if (m->parts)
        return true;
    if (m->lost == STATUS_OK)
        m->parts = parts_take(m->edge);
    if (!m->parts)
        lose(m, STATUS_NO_MEMORY);
    else if (!m->has_local)
        ingest_only_header(m->parts->ingest);
    return m->parts != NULL;
}

/* A message that grows past the budget goes; those that are on their way stay. */
static void charge(struct edge_message *m)
{
    if (m->lost != STATUS_OK)
        return;
    size_t before = m->charged;
    size_t held = m->arena.used + PARTS_COST + m->head.len;
    if (m->parts)
        held += body_writer_held(m->parts->writer);
    if (m->parts && body_writer_size(m->parts->writer) >= LIMIT_CHUNK_SIZE)
        held += COMPRESSOR_COST;
    charge_for(m, held);
    if (m->charged > before && !fits(m, m->settings))
        lose(m, STATUS_NO_MEMORY);
}

bool edge_message_begin(struct edge_message *m, struct str received,
                        const struct edge_settings *settings, bool complete, struct now now)
{
    m->settings = settings;
    charge_for(m, m->arena.used + PARTS_COST);
    if (!fits(m, settings) || !buf_append_str(&m->top, received)) {
        charge_for(m, m->arena.used);
        return false;
    }
    m->completing = complete;
    m->begun_wall_ms = now.wall_ms;
    return true;
}

static void shipped(void *context, enum status_code status, const struct ipc_body_chunk_out *out)
{
    struct edge_message *m = context;
    if (status != STATUS_OK || out->status != STATUS_OK)
        lose(m, status != STATUS_OK ? status : out->status);
    bool was_full = edge_message_is_full(m);
    m->shipments--;
    if (m->orphan && m->shipments == 0)
        edge_message_free(m);
    else if (!m->orphan && was_full && m->room)
        m->room(m->room_context);
}

/* Half of the message would come to the next one, which could only call it malformed. */
static bool is_with_a_dead_vault(const struct edge_message *m)
{
    return m->body != 0 && m->vault != m->edge->vaults;
}

/* Sends the chunks that are ready ahead of the accept. */
static void ship(struct edge_message *m)
{
    struct ipc_chunk chunks[CHUNKS_MAX];
    size_t count = new_email_chunks(m->parts->writer, chunks, CHUNKS_MAX);
    if (count == 0)
        return;
    if (m->body == 0) {
        m->body = ++m->edge->next_body;
        m->vault = m->edge->vaults;
    }
    if (is_with_a_dead_vault(m)) {
        lose(m, STATUS_GONE);
        return;
    }
    struct ipc_body_chunk_in in = {.body = m->body, .chunks = chunks, .chunks_count = count};
    if (ipc_body_chunk_call(m->edge->vault, &in, shipped, m) == 0) {
        lose(m, STATUS_GONE);
        return;
    }
    m->shipments++;
    body_writer_taken(m->parts->writer);
}

static void keep(struct edge_message *m, struct str octets)
{
    if (m->lost != STATUS_OK)
        return;
    ingest_write(m->parts->ingest, octets);
    if (!body_writer_write(m->parts->writer, octets))
        lose(m, STATUS_NO_MEMORY);
    else if (body_writer_size(m->parts->writer) > WHOLE_SIZE_MAX)
        ship(m);
}

/* Our own fields go on top: what is missing first below Received (RFC 6409 §8.1, §8.2). */
static void keep_top(struct edge_message *m)
{
    if (m->completing) {
        struct header_facts facts;
        header_facts_of(buf_str(&m->head), &facts);
        if (facts.date_count == 0)
            header_put_date(&m->top, m->begun_wall_ms);
        if (facts.message_id_count == 0)
            header_put_message_id(&m->top, str_from_c(m->id), m->settings->config.hostname);
        m->completing = false;
    }
    keep(m, buf_str(&m->top));
    keep(m, buf_str(&m->head));
    buf_release(&m->top);
    buf_release(&m->head);
}

/* The first `before` octets were looked through when they came. */
static bool head_is_complete(struct str head, size_t before)
{
    return str_starts(head, STR("\r\n")) ||
           str_find(str_skip(head, before < 3 ? 0 : before - 3), STR("\r\n\r\n")) >= 0;
}

void edge_message_write(struct edge_message *m, struct str octets)
{
    if (!need_parts(m))
        return;
    /* The next server is told what is true, not what our client said (RFC 6152 §3). */
    if (m->envelope.body == SMTP_BODY_7BIT && !utf8_is_ascii(octets))
        m->envelope.body = SMTP_BODY_8BITMIME;
    if (EVP_DigestUpdate(m->parts->hash, octets.ptr, octets.len) != 1) {
        lose(m, STATUS_NO_MEMORY);
        return;
    }
    if (m->completing) {
        size_t before = m->head.len;
        size_t room = LIMIT_HEADER_SIZE - before;
        struct str part = str_sub(octets, 0, room);
        buf_append_str(&m->head, part);
        octets = str_skip(octets, part.len);
        if (!head_is_complete(buf_str(&m->head), before) && m->head.len < LIMIT_HEADER_SIZE) {
            charge(m);
            return;
        }
    }
    if (m->top.len > 0)
        keep_top(m);
    keep(m, octets);
    charge(m);
}

bool edge_message_is_full(const struct edge_message *m)
{
    return m->shipments >= SHIPMENTS_MAX;
}

void edge_message_on_room(struct edge_message *m, void (*room)(void *context), void *context)
{
    m->room = room;
    m->room_context = context;
}

/*
 * Promise 3 (RFC 1047): the key of a recipient is a hash over the reverse-path, the recipient and
 * the octets of the message as received. Lengths stand in front, so that no two triples run
 * together.
 */
static bool make_key(struct edge_message *m, const uint8_t body_hash[KEY_SIZE],
                     const struct recipient *r, struct str *ret_key)
{
    EVP_MD_CTX *hash = m->parts->hash;
    uint8_t *key = arena_alloc(&m->arena, KEY_SIZE);
    uint32_t lengths[2] = {(uint32_t)m->reverse_path.len, (uint32_t)r->address.len};
    if (!key || EVP_DigestInit_ex(hash, EVP_sha256(), NULL) != 1 ||
        EVP_DigestUpdate(hash, lengths, sizeof lengths) != 1 ||
        EVP_DigestUpdate(hash, m->reverse_path.ptr, m->reverse_path.len) != 1 ||
        EVP_DigestUpdate(hash, r->address.ptr, r->address.len) != 1 ||
        EVP_DigestUpdate(hash, body_hash, KEY_SIZE) != 1 ||
        EVP_DigestFinal_ex(hash, key, NULL) != 1)
        return false;
    *ret_key = str_make(key, KEY_SIZE);
    return true;
}

/* Only mail that names itself can be known again: equal mails of cron must all arrive. */
static bool make_keys(struct edge_message *m, bool had_date, bool had_message_id)
{
    uint8_t body_hash[KEY_SIZE];
    if (EVP_DigestFinal_ex(m->parts->hash, body_hash, NULL) != 1)
        return false;
    if (!had_date || !had_message_id)
        return true;
    m->keys = arena_alloc_array(&m->arena, m->recipient_count, sizeof *m->keys);
    if (!m->keys)
        return false;
    for (const struct recipient *r = m->recipients; r; r = r->next)
        if (!make_key(m, body_hash, r, &m->keys[m->key_count++].key))
            return false;
    return true;
}

const struct ipc_key *edge_message_keys(const struct edge_message *m, size_t *ret_count)
{
    *ret_count = m->key_count;
    return m->keys;
}

enum status_code edge_message_finish(struct edge_message *m, struct edge_message_facts *ret_facts)
{
    bool had_date = true, had_message_id = true;
    if (!need_parts(m))
        return m->lost;
    if (m->completing) {
        struct header_facts facts;
        header_facts_of(buf_str(&m->head), &facts);
        had_date = facts.date_count > 0;
        had_message_id = facts.message_id_count > 0;
    }
    if (m->top.len > 0)
        keep_top(m);
    if (m->lost != STATUS_OK)
        return m->lost;
    if (!body_writer_finish(m->parts->writer) ||
        ingest_finish(m->parts->ingest, &m->facts) != STATUS_OK)
        return STATUS_NO_MEMORY;
    had_date = had_date && m->facts.header.date_count > 0;
    had_message_id = had_message_id && m->facts.header.message_id_count > 0;
    if (!make_keys(m, had_date, had_message_id))
        return STATUS_NO_MEMORY;
    ret_facts->size = m->facts.size;
    ret_facts->header = m->facts.header;
    charge(m);
    return m->lost;
}

/* ---- The commit ---------------------------------------------------------------------------------
 */

static void on_accept(void *context, enum status_code status, const struct ipc_accept_out *out)
{
    struct edge_message *m = context;
    m->accept_call = 0;
    discharge(m);
    m->kept =
        status == STATUS_OK && out->status == STATUS_OK && out->results_count == m->recipient_count;
    if (m->kept)
        m->accepted(m->accepted_context, STATUS_OK, out->results, out->results_count);
    else if (m->lost != STATUS_OK)
        m->accepted(m->accepted_context, m->lost, NULL, 0);
    else
        m->accepted(m->accepted_context, status == STATUS_OK ? out->status : status, NULL, 0);
}

/* RFC 8689 §5; what the envelope says goes first (§4.1). */
static bool make_lenient(struct edge_message *m, const struct recipient *r,
                         const struct ipc_relay **ret_relays)
{
    struct buf name;
    struct ipc_relay *list = arena_alloc_array(&m->arena, r->relay_count, sizeof *list);
    bool ok = list != NULL;
    buf_init(&name, LIMIT_DESTINATION_SIZE);
    for (size_t i = 0; ok && i < r->relay_count; i++) {
        buf_clear(&name);
        list[i] = r->relays[i];
        ok = route_destination_lenient(r->relays[i].destination, &name) &&
             arena_dup(&m->arena, buf_str(&name), &list[i].destination);
    }
    buf_release(&name);
    *ret_relays = list;
    return ok;
}

static bool list_recipients(struct edge_message *m, struct ipc_accept_in *in)
{
    bool lenient = m->facts.header.tls_optional && !m->envelope.requiretls;
    struct ipc_accept_recipient *list =
        arena_alloc_array(&m->arena, m->recipient_count, sizeof *list);
    size_t i = 0;
    if (!list)
        return false;
    for (const struct recipient *r = m->recipients; r; r = r->next, i++) {
        list[i].recipient = text_from(r->address);
        list[i].key = m->key_count > 0 ? m->keys[i].key : STR("");
        list[i].deliveries = r->deliveries;
        list[i].deliveries_count = r->delivery_count;
        list[i].notify = r->notify;
        list[i].orcpt = r->orcpt;
        list[i].relays = r->relays;
        list[i].relays_count = r->relay_count;
        if (lenient && r->relay_count > 0 && !make_lenient(m, r, &list[i].relays))
            return false;
    }
    in->recipients = list;
    in->recipients_count = m->recipient_count;
    return true;
}

bool edge_message_accept(struct edge_message *m, const struct edge_message_origin *origin,
                         struct now now, edge_message_accepted *accepted, void *context)
{
    struct ipc_accept_in in = {
        .trace_id = str_from_c(m->id),
        .received_at_ms = now.wall_ms,
        .listener_kind = origin->listener_kind,
        .account = origin->account,
        .counted = origin->counted,
        .reverse_path = text_from(m->reverse_path),
        .envelope = m->envelope,
        .helo = origin->helo,
        .peer = origin->peer,
        .tls = origin->tls,
    };
    struct ipc_chunk chunks[CHUNKS_MAX];
    if (m->lost || is_with_a_dead_vault(m))
        return false;
    new_email_describe(&m->facts, &in.email);
    in.email.body = m->body;
    in.email.chunks = chunks;
    in.email.chunks_count = new_email_chunks(m->parts->writer, chunks, CHUNKS_MAX);
    if (!list_recipients(m, &in))
        return false;
    m->accepted = accepted;
    m->accepted_context = context;
    m->accept_channel = m->edge->vault;
    edge_confirmations_send(m->edge->confirmations);
    m->accept_call = ipc_accept_call(m->edge->vault, &in, on_accept, m);
    give_parts_back(m);
    return m->accept_call != 0;
}

void edge_message_free(struct edge_message *m)
{
    if (!m)
        return;
    if (m->accept_call != 0)
        channel_cancel(m->accept_channel, m->accept_call);
    else if (m->body != 0 && !m->orphan && !m->kept)
        ipc_body_abort_note(m->edge->vault, &(struct ipc_body_abort_in){.body = m->body});
    discharge(m);
    if (m->payer)
        edge_counts_drop(m->payer);
    m->payer = NULL;
    give_parts_back(m);
    m->accept_call = 0;
    m->room = NULL;
    buf_release(&m->top);
    buf_release(&m->head);
    m->orphan = m->shipments > 0;
    if (m->orphan)
        return;
    arena_reset(&m->arena);
    free(m);
}
