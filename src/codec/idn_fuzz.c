#include "base/bug.h"
#include "codec/fold.h"
#include "codec/idn.h"
#include "codec/utf8.h"

/* Both spellings of a name lead to the same A-labels; folding twice changes nothing. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_domain(struct str s)
{
    struct buf ascii, unicode, again;
    buf_init(&ascii, 300);
    buf_init(&unicode, 2000);
    buf_init(&again, 300);
    if (idn_to_ascii(&ascii, s)) {
        invariant(utf8_is_ascii(buf_str(&ascii)));
        if (idn_to_unicode(&unicode, s)) {
            invariant(idn_to_ascii(&again, buf_str(&unicode)));
            invariant(str_eq(buf_str(&again), buf_str(&ascii)));
        }
    }
    buf_release(&ascii);
    buf_release(&unicode);
    buf_release(&again);
}

static void try_name(struct str s)
{
    struct buf once, twice;
    buf_init(&once, 60 * s.len + 60);
    buf_init(&twice, 60 * s.len + 60);
    if (fold_name(&once, s)) {
        invariant(utf8_valid(buf_str(&once)));
        fold_case(&twice, buf_str(&once));
        /* A run of marks that is cut may order itself otherwise the next time. */
        invariant(s.len > 100 || str_eq(buf_str(&twice), buf_str(&once)));
    }
    buf_release(&once);
    buf_release(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_domain(str_make(data, size));
    try_name(str_make(data, size));
    return 0;
}
