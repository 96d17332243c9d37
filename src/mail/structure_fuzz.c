#include "mail/structure.h"

#include "base/bug.h"

/* What decodes keeps its promises, and encodes to what decodes again. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_part(const struct structure *s, uint32_t part)
{
    const struct structure_part *p = &s->parts[part];
    uint32_t children = 0;
    for (uint32_t i = p->first_child; i != PART_NONE; i = s->parts[i].next_sibling) {
        invariant(i > part && i < s->count && s->parts[i].parent == part);
        children++;
    }
    invariant(p->is_message ? children == 1 : p->is_multipart == (children > 0));
    bool is_root = part == 0 || s->parts[p->parent].is_message;
    invariant(is_root == (p->envelope != NULL));
    invariant(p->type.len > 0 && p->subtype.len > 0 && p->encoding.len > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct structure s, again;
    struct buf out;
    arena_init(&arena, 4 << 20);
    buf_init(&out, 4 << 20);
    if (structure_decode(str_make(data, size), &arena, &s) == STATUS_OK) {
        for (uint32_t i = 0; i < s.count; i++)
            check_part(&s, i);
        invariant(structure_encode(&s, &out));
        invariant(structure_decode(buf_str(&out), &arena, &again) == STATUS_OK);
        invariant(again.count == s.count);
    }
    buf_release(&out);
    arena_reset(&arena);
    return 0;
}
