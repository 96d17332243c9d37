#include "base/bug.h"
#include "codec/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_tree(struct buf *out, const struct conf_directive *d)
{
    for (; d; d = d->next) {
        for (size_t i = 0; i < d->word_count; i++) {
            conf_write_word(out, d->words[i].text);
            buf_append_byte(out, ' ');
        }
        buf_append_str(out, d->has_block ? STR("{\n") : STR("\n"));
        write_tree(out, d->block);
        buf_append_str(out, d->has_block ? STR("}\n") : STR(""));
    }
}

/* What is read without errors and written again reads the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct conf_errors errors;
    struct conf_directive *first;
    struct buf once, twice;
    arena_init(&arena, 64 << 20);
    buf_init(&once, 64 << 20);
    buf_init(&twice, 64 << 20);
    conf_errors_init(&errors, &arena);
    if (conf_parse(str_make(data, size), &arena, &errors, &first) == STATUS_OK &&
        errors.count == 0) {
        write_tree(&once, first);
        invariant(conf_parse(buf_str(&once), &arena, &errors, &first) == STATUS_OK);
        invariant(errors.count == 0);
        write_tree(&twice, first);
        invariant(str_eq(buf_str(&once), buf_str(&twice)));
    }
    conf_errors_print(&errors, STR("f"), &once);
    arena_reset(&arena);
    buf_release(&once);
    buf_release(&twice);
    return 0;
}
