#include "base/bug.h"
#include "codec/encoded.h"
#include "codec/utf8.h"

/* Whatever comes in, one line of UTF-8 comes out. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf out;
    buf_init(&out, 16 * size + 64);
    encoded_decode(&out, str_make(data, size));
    invariant(!out.failed && utf8_valid(buf_str(&out)));
    invariant(str_find_byte(buf_str(&out), '\n') < 0);
    buf_release(&out);
    return 0;
}
