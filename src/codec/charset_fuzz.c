#include "base/bug.h"
#include "codec/charset.h"
#include "codec/utf8.h"

/* Input: the name of a set, a line end, its text. What comes out is UTF-8, in any pieces. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = str_make(data, size), name;
    struct charset_decoder d;
    struct buf whole, pieces;
    if (!str_split(&text, '\n', &name) || !charset_known(name))
        return 0;
    buf_init(&whole, 16 * size + 16);
    buf_init(&pieces, 16 * size + 16);
    invariant(charset_to_utf8(&whole, name, text));
    invariant(!whole.failed && utf8_valid(buf_str(&whole)));
    size_t cut = text.len ? data[size - 1] % text.len : 0;
    invariant(charset_open(&d, name) == STATUS_OK);
    charset_decode(&d, &pieces, str_sub(text, 0, cut));
    charset_decode(&d, &pieces, str_skip(text, cut));
    charset_decode_end(&d, &pieces);
    charset_close(&d);
    invariant(str_eq(buf_str(&whole), buf_str(&pieces)));
    buf_release(&whole);
    buf_release(&pieces);
    return 0;
}
