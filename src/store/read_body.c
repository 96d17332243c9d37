#include "store/read.h"

#include <openssl/evp.h>
#include <zstd.h>

#include "base/limits.h"
#include "store/body.h"
#include "store/ingest.h"

void body_reader_init(struct body_reader *r)
{
    *r = (struct body_reader){0};
    buf_init(&r->plain, LIMIT_CHUNK_SIZE);
}

void body_reader_release(struct body_reader *r)
{
    ZSTD_freeDCtx(r->context);
    r->context = NULL;
    buf_release(&r->plain);
    r->chunk = 0;
}

static enum status_code unpack(struct body_reader *r, uint8_t codec, size_t plain_size,
                               struct str data)
{
    if (codec == CHUNK_PLAIN)
        return data.len == plain_size && buf_append_str(&r->plain, data) ? STATUS_OK
                                                                         : STATUS_CORRUPT;
    if (codec != CHUNK_ZSTD && codec != CHUNK_ZSTD_PLAIN_HASH)
        return STATUS_UNSUPPORTED;
    if (!r->context)
        r->context = ZSTD_createDCtx();
    char *room = buf_reserve(&r->plain, plain_size > 0 ? plain_size : 1);
    if (!r->context || !room)
        return STATUS_NO_MEMORY;
    size_t size = ZSTD_decompressDCtx(r->context, room, plain_size, data.ptr, data.len);
    if (ZSTD_isError(size) || size != plain_size)
        return STATUS_CORRUPT;
    buf_grown(&r->plain, size);
    return STATUS_OK;
}

static enum status_code check_hash(const struct body_chunk *chunk, struct str octets)
{
    unsigned char hash[CHUNK_HASH_SIZE];
    if (EVP_Digest(octets.ptr, octets.len, hash, NULL, EVP_sha256(), NULL) != 1)
        return STATUS_NO_MEMORY;
    return str_eq(chunk->hash, str_make(hash, sizeof hash)) ? STATUS_OK : STATUS_CORRUPT;
}

/* What is not what was written is not given to the decompressor at all. */
enum status_code body_chunk_open(struct body_reader *r, const struct body_chunk *chunk)
{
    bool of_plain = chunk->codec == CHUNK_ZSTD_PLAIN_HASH;
    buf_clear(&r->plain);
    r->chunk = 0;
    if (chunk->key_id != 0)
        return STATUS_UNSUPPORTED;
    if (chunk->plain_size > LIMIT_CHUNK_SIZE)
        return STATUS_CORRUPT;
    enum status_code status = of_plain ? STATUS_OK : check_hash(chunk, chunk->data);
    if (status == STATUS_OK)
        status = unpack(r, chunk->codec, chunk->plain_size, chunk->data);
    if (status == STATUS_OK && of_plain)
        status = check_hash(chunk, buf_str(&r->plain));
    return status;
}

/* Leaves the octets of the body's chunk of that number in r->plain. */
static enum status_code load_chunk(struct body_reader *r, struct db *db, uint64_t id)
{
    if (r->chunk == id)
        return STATUS_OK;
    struct query *q =
        db_query(db, "SELECT codec, key_id, plain_size, hash, data FROM chunk WHERE id = $id");
    query_bind_int(q, "$id", (int64_t)id);
    enum status_code read = STATUS_CORRUPT;
    if (query_next(q)) {
        struct body_chunk chunk = {.codec = (uint8_t)query_int(q, 0),
                                   .key_id = (uint32_t)query_int(q, 1),
                                   .plain_size = (uint32_t)query_int(q, 2),
                                   .hash = query_bytes(q, 3),
                                   .data = query_bytes(q, 4)};
        read = body_chunk_open(r, &chunk);
    }
    enum status_code status = query_end(q);
    if (status == STATUS_OK)
        status = read;
    if (status == STATUS_OK)
        r->chunk = id;
    return status;
}

enum status_code body_read(struct body_reader *r, struct db *db,
                           const struct message_record *message, uint64_t offset, uint64_t len,
                           struct buf *out)
{
    if (offset < message->prefix.len) {
        struct str part = str_sub(message->prefix, (size_t)offset, (size_t)len);
        if (!buf_append_str(out, part))
            return STATUS_TOO_BIG;
        offset += part.len;
        len -= part.len;
    }
    if (offset < message->prefix.len)
        return STATUS_OK;
    offset -= message->prefix.len;
    while (len > 0 && offset < message->body_size) {
        uint64_t number = offset / LIMIT_CHUNK_SIZE;
        enum status_code status = load_chunk(r, db, chunk_id(message->body, number));
        if (status != STATUS_OK)
            return status;
        struct str part = str_sub(buf_str(&r->plain), offset % LIMIT_CHUNK_SIZE, (size_t)len);
        if (str_empty(part))
            return STATUS_CORRUPT;
        if (!buf_append_str(out, part))
            return STATUS_TOO_BIG;
        offset += part.len;
        len -= part.len;
    }
    return STATUS_OK;
}
