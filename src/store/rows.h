#ifndef POSTERN_STORE_ROWS_H
#define POSTERN_STORE_ROWS_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/status.h"
#include "store/db.h"

/*
 * Helpers of the layer's own reads. Rows are gathered in a buf, whose number is not known, and end
 * up in the caller's arena as an array. A full arena is STATUS_TOO_BIG.
 */
#define ROWS_SIZE_MAX (64UL * 1024 * 1024)

/* Moves size-byte rows to the arena and releases the buf; passes a failure on. */
MUST_USE enum status_code rows_to_arena(struct buf *rows, size_t size, enum status_code status,
                                        struct arena *a, void **ret_rows, size_t *ret_count);

/* A column's bytes in the arena; a full arena sets *status. */
struct str row_bytes(const struct query *q, int column, struct arena *a, enum status_code *status);

/*
 * How a look-up that read at most one row went: read is what was learned from it (STATUS_NOT_FOUND
 * where there was none), ended what query_end said.
 */
static inline enum status_code row_status(enum status_code ended, enum status_code read)
{
    return ended == STATUS_OK ? read : ended;
}

/* A list of one column's bytes. Runs the query to its end. */
MUST_USE enum status_code rows_of_bytes(struct query *q, struct arena *a, struct str **ret_list,
                                        size_t *ret_count);

#endif
