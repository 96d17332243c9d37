#include "base/bug.h"
#include "codec/qp.h"

/* In two pieces it is what it is in one. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = str_make(data, size);
    struct buf whole, pieces;
    buf_init(&whole, size + 2);
    buf_init(&pieces, size + 2);
    struct qp_decoder d = {0};
    qp_decode(&d, &whole, s);
    qp_decode_end(&d, &whole);
    size_t cut = size ? data[0] % size : 0;
    qp_decode(&d, &pieces, str_sub(s, 0, cut));
    qp_decode(&d, &pieces, str_skip(s, cut));
    qp_decode_end(&d, &pieces);
    invariant(!whole.failed && str_eq(buf_str(&whole), buf_str(&pieces)));
    buf_release(&whole);
    buf_release(&pieces);
    return 0;
}
