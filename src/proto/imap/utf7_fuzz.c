#include "base/bug.h"
#include "codec/utf8.h"
#include "proto/imap/utf7.h"

/* A name has one form on the wire, and the form one name. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = str_make(data, size);
    struct buf name, wire;
    buf_init(&name, 1 << 20);
    buf_init(&wire, 1 << 20);
    if (imap_utf7_decode(&name, s)) {
        invariant(utf8_valid(buf_str(&name)));
        imap_utf7_encode(&wire, buf_str(&name));
        invariant(str_eq(buf_str(&wire), s));
    }
    buf_clear(&name);
    buf_clear(&wire);
    if (utf8_valid(s)) {
        imap_utf7_encode(&wire, s);
        invariant(imap_utf7_decode(&name, buf_str(&wire)));
        invariant(str_eq(buf_str(&name), s));
    }
    buf_release(&name);
    buf_release(&wire);
    return 0;
}
