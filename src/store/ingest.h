#ifndef POSTERN_STORE_INGEST_H
#define POSTERN_STORE_INGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/* How a chunk's bytes are kept. Numbers are stored: they are never used again for another. */
enum chunk_codec {
    CHUNK_PLAIN = 0,           /* as they are: what zstd could not make smaller */
    CHUNK_ZSTD_PLAIN_HASH = 1, /* the hash is of the plain octets: read, not written any more */
    CHUNK_ZSTD = 2,
};

#define CHUNK_HASH_SIZE 32

/* One piece of a body, as stored. Every piece but a body's last holds LIMIT_CHUNK_SIZE octets. */
struct body_chunk {
    uint8_t codec;
    uint32_t key_id;     /* the key it is encrypted under; 0: not encrypted */
    uint32_t plain_size; /* octets of the body it stands for */
    struct str hash;     /* SHA-256 of data: whether the disk gives back what it got */
    struct str data;
};

/*
 * Turns the octets of a body into chunks while they flow. One writer makes one body after another
 * and keeps its compressor, which costs more to make than a small message to compress.
 *
 *     body_writer_write(w, octets) ...          pieces of any size
 *     chunks = body_writer_ready(w, &count)     any time: chunks that are complete
 *     body_writer_taken(w)                      they have been copied elsewhere
 *     body_writer_finish(w), ready, taken       the last chunk
 *     body_writer_reset(w)                      the next body
 *
 * An empty body is one chunk of no octets.
 */
struct body_writer;

/* NULL where there is no memory. */
struct body_writer *body_writer_new(void);
void body_writer_free(struct body_writer *w);

/* False where memory is full; it stays so until the reset. */
bool body_writer_write(struct body_writer *w, struct str octets);
bool body_writer_finish(struct body_writer *w);

/* Chunks complete and not yet taken, in order; borrowed until the next call. */
const struct body_chunk *body_writer_ready(struct body_writer *w, size_t *ret_count);
void body_writer_taken(struct body_writer *w);

/* Octets written so far; bytes held in memory. */
uint64_t body_writer_size(const struct body_writer *w);
size_t body_writer_held(const struct body_writer *w);

void body_writer_reset(struct body_writer *w);

#endif
