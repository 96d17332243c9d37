#include <stdlib.h>

#include "base/bug.h"
#include "store/body.h"

/*
 * A stored chunk as a broken disk might give it back: codec, sizes and data at will. Octet 0 is the
 * codec, 1 and 2 the plain size, 3 says whether the hash is true, the rest is data. What opens is
 * as long as it says; writing it anew gives the same octets again.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_again(struct str plain)
{
    struct body_writer *w = body_writer_new();
    struct body_reader r;
    size_t count = 0;
    body_reader_init(&r);
    invariant(w && body_writer_write(w, plain) && body_writer_finish(w));
    const struct body_chunk *chunks = body_writer_ready(w, &count);
    invariant(count == 1 && body_chunk_open(&r, &chunks[0]) == STATUS_OK);
    invariant(str_eq(buf_str(&r.plain), plain));
    body_reader_release(&r);
    body_writer_free(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char hash[CHUNK_HASH_SIZE] = {0};
    struct body_reader r;
    if (size < 4)
        return 0;
    struct body_chunk chunk = {.codec = data[0],
                               .plain_size = (uint32_t)data[1] << 8 | data[2],
                               .hash = str_make(hash, sizeof hash),
                               .data = str_make(data + 4, size - 4)};
    body_reader_init(&r);
    enum status_code status = body_chunk_open(&r, &chunk);
    invariant(status != STATUS_OK); /* nobody finds octets whose SHA-256 is 0 */
    if (data[3] & 1 && r.plain.len > 0)
        write_again(buf_str(&r.plain));
    body_reader_release(&r);
    return 0;
}
