#include "base/bug.h"
#include "codec/dns_answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Each record is read as every type: none may lead outside the packet. */
static void read_fields(const struct dns_answer *a, const struct dns_record *r, struct buf *out)
{
    uint16_t preference;
    struct dns_srv srv;
    struct dns_tlsa tlsa;
    buf_clear(out);
    if (dns_record_mx(a, r, &preference, out))
        invariant(out->len <= 255 && !out->failed);
    buf_clear(out);
    if (dns_record_srv(a, r, &srv, out))
        invariant(out->len <= 255 && !out->failed);
    buf_clear(out);
    if (dns_record_txt(r, out))
        invariant(out->len < r->data.len);
    if (dns_record_tlsa(r, &tlsa))
        invariant(tlsa.data.len + 3 == r->data.len);
}

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
            read_fields(&a, &record, &name);
        }
        buf_clear(&name);
        if (dns_answer_open(str_make(data, size), &a) &&
            dns_answer_canonical(&a, STR("a.example"), &name))
            invariant(name.len > 0 && name.len <= 255);
    }
    buf_release(&name);
    return 0;
}
