#include "store/rows.h"

#include <string.h>

enum status_code rows_to_arena(struct buf *rows, size_t size, enum status_code status,
                               struct arena *a, void **ret_rows, size_t *ret_count)
{
    if (status == STATUS_OK && rows->failed)
        status = STATUS_TOO_BIG;
    void *copy = NULL;
    if (status == STATUS_OK && rows->len > 0) {
        copy = arena_alloc(a, rows->len);
        if (copy)
            memcpy(copy, rows->ptr, rows->len);
        else
            status = STATUS_TOO_BIG;
    }
    if (status == STATUS_OK) {
        *ret_rows = copy;
        *ret_count = rows->len / size;
    }
    buf_release(rows);
    return status;
}

struct str row_bytes(const struct query *q, int column, struct arena *a, enum status_code *status)
{
    struct str copy = {NULL, 0};
    if (!arena_dup(a, query_bytes(q, column), &copy))
        *status = STATUS_TOO_BIG;
    return copy;
}

enum status_code rows_of_bytes(struct query *q, struct arena *a, struct str **ret_list,
                               size_t *ret_count)
{
    struct buf rows;
    buf_init(&rows, ROWS_SIZE_MAX);
    enum status_code status = STATUS_OK;
    while (status == STATUS_OK && query_next(q)) {
        struct str bytes = row_bytes(q, 0, a, &status);
        buf_append(&rows, &bytes, sizeof bytes);
    }
    status = row_status(query_end(q), status);
    void *list = NULL;
    status = rows_to_arena(&rows, sizeof(struct str), status, a, &list, ret_count);
    if (status == STATUS_OK)
        *ret_list = list;
    return status;
}
