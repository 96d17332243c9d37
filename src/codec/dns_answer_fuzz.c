#include "base/bug.h"
#include "codec/dns_answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dns_answer a;
    struct dns_record record;
    struct buf name;
    buf_init(&name, 300);
    if (dns_answer_open(str_make(data, size), &a)) {
        while (dns_answer_next(&a, &record)) {
            buf_clear(&name);
            if (dns_answer_host(a.packet, record.data_at, &name))
                invariant(name.len > 0 && name.len <= 255 && !name.failed);
        }
    }
    buf_release(&name);
    return 0;
}
