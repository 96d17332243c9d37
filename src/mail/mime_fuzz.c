#include "mail/mime.h"

#include <stdlib.h>

#include "base/bug.h"

/*
 * Whole and in pieces give the same structure; it survives its stored form, which checks the
 * promises of structure.h; every section lies in the message.
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse(struct str message, size_t piece, struct buf *blob)
{
    struct mime_parser *p = malloc(sizeof *p);
    struct arena arena;
    struct mime_event event;
    const struct structure *s;
    arena_init(&arena, 16 << 20);
    buf_init(blob, 16 << 20);
    mime_init(p, &arena);
    for (; message.len > 0; message = str_skip(message, piece)) {
        struct str bytes = str_sub(message, 0, piece);
        do
            mime_next(p, &bytes, &event);
        while (event.kind != MIME_MORE);
    }
    while (!mime_end(p, &event))
        ;
    invariant(mime_structure(p, &s) == STATUS_OK);
    invariant(structure_encode(s, blob));
    mime_release(p);
    arena_reset(&arena);
    free(p);
}

static void check_structure(struct str blob, uint64_t message_size)
{
    struct arena arena;
    struct structure s;
    uint64_t offset, size;
    arena_init(&arena, 16 << 20);
    invariant(structure_decode(blob, &arena, &s) == STATUS_OK);
    invariant(s.parts[0].header_size + s.parts[0].body_size == message_size);
    for (uint32_t n = 1; n <= 9; n++) {
        uint32_t path[2] = {n / 3 + 1, n % 3 + 1};
        for (enum section_kind kind = SECTION_BODY; kind <= SECTION_MIME; kind++)
            for (size_t len = 0; len <= 2; len++)
                if (structure_section(&s, path, len, kind, &offset, &size))
                    invariant(offset + size <= message_size);
    }
    arena_reset(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole, pieces;
    struct str message = str_make(data, size);
    parse(message, size ? size : 1, &whole);
    parse(message, size ? 1 + data[size / 2] % 16 : 1, &pieces);
    invariant(str_eq(buf_str(&whole), buf_str(&pieces)));
    check_structure(buf_str(&whole), size);
    buf_release(&whole);
    buf_release(&pieces);
    return 0;
}
