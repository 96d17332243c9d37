#include "base/bug.h"
#include "proto/smtp/proxy2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy2_header h;
    size_t used = 0;
    struct str in = str_make(data, size);
    enum proxy2_result result = proxy2_parse(in, &h, &used);
    if (result == PROXY2_OK) {
        invariant(used >= 16 && used <= size);
        /* Every beginning of a header asks for more. */
        size_t again;
        for (size_t len = 0; len < used; len++)
            invariant(proxy2_parse(str_sub(in, 0, len), &h, &again) == PROXY2_MORE);
    }
    return 0;
}
