#include "base/bug.h"
#include "codec/dns_answer.h"
#include "codec/dns_facts.h"

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

static void read_facts(struct str packet)
{
    static const enum dns_type types[] = {DNS_A,   DNS_CNAME, DNS_PTR, DNS_MX,
                                          DNS_TXT, DNS_AAAA,  DNS_SRV, DNS_TLSA};
    struct arena arena;
    arena_init(&arena, 100000);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct dns_facts facts = {0};
        if (dns_facts_read(packet, STR("a.test"), types[i], &arena, &facts))
            invariant(facts.row_count <= DNS_FACTS_ROWS_MAX);
        arena_reset(&arena);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_facts(str_make(data, size));
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
