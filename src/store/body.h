#ifndef POSTERN_STORE_BODY_H
#define POSTERN_STORE_BODY_H

#include "store/ingest.h"
#include "store/read.h"

/* How bodies lie in the table of chunks; for the layer's own files, and for fuzzing. */

#define BODY_CHUNKS_MAX 65536

static inline uint64_t chunk_id(uint64_t body, uint64_t number)
{
    return body * BODY_CHUNKS_MAX + number;
}

/* Leaves the plain octets of a stored chunk in r->plain; STATUS_CORRUPT where it is not sound. */
MUST_USE enum status_code body_chunk_open(struct body_reader *r, const struct body_chunk *chunk);

#endif
