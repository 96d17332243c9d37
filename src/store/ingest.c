#include "store/ingest.h"

#include <openssl/evp.h>
#include <stdlib.h>
/* For ZSTD_c_literalCompressionMode; a library that does not know it leaves literals plain. */
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

#include "base/buf.h"
#include "base/bug.h"
#include "base/limits.h"

enum {
    /* Faster than level 1, and literals are packed none the less (docs/performance.md). */
    LEVEL = 1,
    HASH_LOG = 12, /* a table that stays in the processor's first cache */
    STRIDE = 5,
    /* Chunks of one message that may wait to be taken: the owner sees them in body_writer_held. */
    CHUNKS_MAX = LIMIT_MESSAGE_SIZE / LIMIT_CHUNK_SIZE * 2,
};

/* Where a chunk's data, and its hash behind that, lie in `stored`. */
struct stored_chunk {
    uint8_t codec;
    uint32_t plain_size;
    size_t offset;
    size_t size;
};

struct body_writer {
    ZSTD_CCtx *zstd;
    EVP_MD_CTX *sha256;
    struct buf plain;  /* of the chunk that is being filled */
    struct buf stored; /* data and hash of each chunk that is ready */
    struct buf ready;  /* struct stored_chunk */
    struct buf views;  /* struct body_chunk, made by body_writer_ready */
    uint64_t size;
    size_t chunk_count; /* of this body, taken ones too */
    bool failed;
};

static ZSTD_CCtx *new_compressor(void)
{
    ZSTD_CCtx *zstd = ZSTD_createCCtx();
    if (!zstd || ZSTD_isError(ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, LEVEL)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(zstd, ZSTD_c_strategy, ZSTD_fast)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(zstd, ZSTD_c_hashLog, HASH_LOG)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(zstd, ZSTD_c_targetLength, STRIDE))) {
        ZSTD_freeCCtx(zstd);
        return NULL;
    }
    ZSTD_CCtx_setParameter(zstd, ZSTD_c_literalCompressionMode, ZSTD_lcm_huffman);
    return zstd;
}

struct body_writer *body_writer_new(void)
{
    struct body_writer *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->zstd = new_compressor();
    w->sha256 = EVP_MD_CTX_new();
    buf_init(&w->plain, LIMIT_CHUNK_SIZE);
    buf_init(&w->stored, LIMIT_MESSAGE_SIZE * 2UL);
    buf_init(&w->ready, CHUNKS_MAX * sizeof(struct stored_chunk));
    buf_init(&w->views, CHUNKS_MAX * sizeof(struct body_chunk));
    if (w->zstd && w->sha256 && EVP_DigestInit_ex(w->sha256, EVP_sha256(), NULL) == 1)
        return w;
    body_writer_free(w);
    return NULL;
}

void body_writer_free(struct body_writer *w)
{
    if (!w)
        return;
    ZSTD_freeCCtx(w->zstd);
    EVP_MD_CTX_free(w->sha256);
    buf_release(&w->plain);
    buf_release(&w->stored);
    buf_release(&w->ready);
    buf_release(&w->views);
    free(w);
}

/* The plain octets, compressed where that makes them smaller. */
static bool append_data(struct body_writer *w, struct str plain, struct stored_chunk *chunk)
{
    size_t bound = ZSTD_compressBound(plain.len);
    char *room = buf_reserve(&w->stored, bound);
    if (!room)
        return false;
    size_t packed = ZSTD_compress2(w->zstd, room, bound, plain.ptr, plain.len);
    if (!ZSTD_isError(packed) && packed < plain.len) {
        buf_grown(&w->stored, packed);
        chunk->codec = CHUNK_ZSTD;
        chunk->size = packed;
        return true;
    }
    chunk->codec = CHUNK_PLAIN;
    chunk->size = plain.len;
    return buf_append_str(&w->stored, plain);
}

/* Of the data that has just been appended. */
static bool append_hash(struct body_writer *w, const struct stored_chunk *chunk)
{
    unsigned char *hash = (unsigned char *)buf_reserve(&w->stored, CHUNK_HASH_SIZE);
    if (!hash || EVP_DigestInit_ex(w->sha256, NULL, NULL) != 1 ||
        EVP_DigestUpdate(w->sha256, w->stored.ptr + chunk->offset, chunk->size) != 1 ||
        EVP_DigestFinal_ex(w->sha256, hash, NULL) != 1)
        return false;
    buf_grown(&w->stored, CHUNK_HASH_SIZE);
    return true;
}

static bool make_chunk(struct body_writer *w, struct str plain)
{
    struct stored_chunk chunk = {.plain_size = (uint32_t)plain.len, .offset = w->stored.len};
    if (w->failed || !append_data(w, plain, &chunk) || !append_hash(w, &chunk) ||
        !buf_append(&w->ready, &chunk, sizeof chunk)) {
        w->failed = true;
        return false;
    }
    w->chunk_count++;
    return true;
}

bool body_writer_write(struct body_writer *w, struct str octets)
{
    w->size += octets.len;
    while (octets.len > 0 && !w->failed) {
        /* Whole chunks are made where they lie; only what is left over is copied. */
        if (w->plain.len == 0 && octets.len >= LIMIT_CHUNK_SIZE) {
            make_chunk(w, str_sub(octets, 0, LIMIT_CHUNK_SIZE));
            octets = str_skip(octets, LIMIT_CHUNK_SIZE);
            continue;
        }
        struct str part = str_sub(octets, 0, LIMIT_CHUNK_SIZE - w->plain.len);
        if (!buf_append_str(&w->plain, part))
            w->failed = true;
        octets = str_skip(octets, part.len);
        if (w->plain.len == LIMIT_CHUNK_SIZE) {
            make_chunk(w, buf_str(&w->plain));
            buf_clear(&w->plain);
        }
    }
    return !w->failed;
}

bool body_writer_finish(struct body_writer *w)
{
    if (w->plain.len > 0 || w->chunk_count == 0)
        make_chunk(w, buf_str(&w->plain));
    buf_clear(&w->plain);
    return !w->failed;
}

const struct body_chunk *body_writer_ready(struct body_writer *w, size_t *ret_count)
{
    size_t count = w->failed ? 0 : w->ready.len / sizeof(struct stored_chunk);
    buf_clear(&w->views);
    for (size_t i = 0; i < count; i++) {
        const struct stored_chunk *chunk = (const struct stored_chunk *)(void *)w->ready.ptr + i;
        const char *at = w->stored.ptr + chunk->offset;
        struct body_chunk view = {.codec = chunk->codec,
                                  .plain_size = chunk->plain_size,
                                  .hash = str_make(at + chunk->size, CHUNK_HASH_SIZE),
                                  .data = str_make(at, chunk->size)};
        if (!buf_append(&w->views, &view, sizeof view)) {
            w->failed = true;
            count = 0;
        }
    }
    *ret_count = count;
    return (const struct body_chunk *)(void *)w->views.ptr;
}

void body_writer_taken(struct body_writer *w)
{
    buf_clear(&w->stored);
    buf_clear(&w->ready);
}

uint64_t body_writer_size(const struct body_writer *w)
{
    return w->size;
}

size_t body_writer_held(const struct body_writer *w)
{
    return w->plain.len + w->stored.len;
}

void body_writer_reset(struct body_writer *w)
{
    /* The memory of one large message is not kept for the next, small one. */
    if (w->stored.cap > 4UL * LIMIT_CHUNK_SIZE)
        buf_release(&w->stored);
    buf_clear(&w->plain);
    buf_clear(&w->stored);
    buf_clear(&w->ready);
    buf_clear(&w->views);
    w->size = 0;
    w->chunk_count = 0;
    w->failed = false;
}
