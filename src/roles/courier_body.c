#include "roles/courier_body.h"

#include "base/limits.h"
#include "roles/courier_queue.h"
#include "store/body.h"

void courier_body_begin(struct courier_body *b, struct courier *c, struct courier_job *job,
                        void (*ready)(void *context), void *context)
{
    *b = (struct courier_body){.courier = c, .job = job, .ready = ready, .context = context};
    arena_init(&b->fetched, LIMIT_IPC_LISTS_SIZE);
    buf_init(&b->plain, LIMIT_CHUNK_SIZE);
    b->chunks = job->job.chunks;
    b->chunk_count = job->job.chunks_count;
}

void courier_body_release(struct courier_body *b)
{
    if (!b->courier)
        return;
    if (b->call != 0)
        channel_cancel(b->vault, b->call);
    b->call = 0;
    arena_reset(&b->fetched);
    buf_release(&b->plain);
    b->courier = NULL;
}

static bool keep(struct courier_body *b, const struct ipc_outgoing_chunks_out *out)
{
    struct ipc_chunk *list = arena_alloc_array(&b->fetched, out->chunks_count, sizeof *list);
    if (!list)
        return false;
    for (size_t i = 0; i < out->chunks_count; i++) {
        list[i] = out->chunks[i];
        if (!arena_dup(&b->fetched, list[i].hash, &list[i].hash) ||
            !arena_dup(&b->fetched, list[i].data, &list[i].data))
            return false;
    }
    b->chunks = list;
    b->chunk_count = out->chunks_count;
    b->first = b->next;
    return true;
}

static void on_chunks(void *context, enum status_code status,
                      const struct ipc_outgoing_chunks_out *out)
{
    struct courier_body *b = context;
    b->call = 0;
    arena_reset(&b->fetched);
    b->chunk_count = 0;
    /* A vault that has not heard yet what is on lease finds nothing. */
    b->vault_lost = status != STATUS_OK || !courier_queue_is_resumed(b->courier);
    if (status != STATUS_OK || out->status != STATUS_OK || out->chunks_count == 0 || !keep(b, out))
        b->lost = true;
    b->ready(b->context);
}

static enum courier_body_result fetch_more(struct courier_body *b)
{
    struct ipc_outgoing_chunks_in in = {.message = b->job->job.message, .first = b->next};
    if (b->call != 0)
        return BODY_WAIT;
    b->vault = role_peer(b->courier->role, ROLE_VAULT, 0);
    if (courier_queue_is_resumed(b->courier))
        b->call = ipc_outgoing_chunks_call(b->vault, &in, on_chunks, b);
    if (b->call != 0)
        return BODY_WAIT;
    b->lost = b->vault_lost = true;
    return BODY_LOST;
}

bool courier_body_again(struct courier_body *b)
{
    bool again = b->lost && b->vault_lost;
    if (again)
        b->lost = b->vault_lost = false;
    return again;
}

/* All bodies share one decompressor, which is large; the octets are each one's own. */
static bool open_chunk(struct courier_body *b, const struct body_chunk *chunk)
{
    struct body_reader *reader = &b->courier->reader;
    struct buf shared = reader->plain;
    reader->plain = b->plain;
    enum status_code status = body_chunk_open(reader, chunk);
    b->plain = reader->plain;
    reader->plain = shared;
    return status == STATUS_OK;
}

enum courier_body_result courier_body_next(struct courier_body *b, struct str *ret_octets)
{
    if (b->lost)
        return BODY_LOST;
    if (courier_body_at_end(b))
        return BODY_END;
    if (b->next - b->first >= b->chunk_count)
        return fetch_more(b);
    const struct ipc_chunk *c = &b->chunks[b->next - b->first];
    struct body_chunk chunk = {.codec = c->codec,
                               .key_id = c->key_id,
                               .plain_size = c->plain_size,
                               .hash = c->hash,
                               .data = c->data};
    if (!open_chunk(b, &chunk)) {
        b->lost = true;
        return BODY_LOST;
    }
    b->next++;
    *ret_octets = buf_str(&b->plain);
    return BODY_PIECE;
}
