#include "codec/dns_facts.h"

#include <string.h>

#include "codec/dns_answer.h"

enum { NAME_SIZE = 256, TEXT_SIZE = 65536, IPV4_SIZE = 4, IPV6_SIZE = 16 };

/* Mapped into IPv6 where it is IPv4 (RFC 4291 §2.5.5.2). */
static bool read_address(const struct dns_record *r, struct dns_row *row)
{
    size_t size = r->type == DNS_A ? IPV4_SIZE : IPV6_SIZE;
    if (r->data.len != size)
        return false;
    if (size == IPV4_SIZE)
        row->octets[10] = row->octets[11] = 0xff;
    memcpy(row->octets + IPV6_SIZE - size, r->data.ptr, size);
    return true;
}

static bool read_srv(const struct dns_answer *a, const struct dns_record *r, struct dns_row *row,
                     struct buf *data)
{
    struct dns_srv srv;
    if (!dns_record_srv(a, r, &srv, data))
        return false;
    row->preference = srv.priority;
    row->weight = srv.weight;
    row->port = srv.port;
    return true;
}

static bool read_tlsa(const struct dns_record *r, struct dns_row *row, struct buf *data)
{
    struct dns_tlsa tlsa;
    if (!dns_record_tlsa(r, &tlsa))
        return false;
    row->usage = tlsa.usage;
    row->selector = tlsa.selector;
    row->matching = tlsa.matching;
    return buf_append_str(data, tlsa.data);
}

static bool read_fields(const struct dns_answer *a, const struct dns_record *r, struct dns_row *row,
                        struct buf *data)
{
    switch (r->type) {
    case DNS_A:
    case DNS_AAAA:
        return read_address(r, row);
    case DNS_MX:
        return dns_record_mx(a, r, &row->preference, data);
    case DNS_SRV:
        return read_srv(a, r, row, data);
    case DNS_TLSA:
        return read_tlsa(r, row, data);
    case DNS_TXT:
        return dns_record_txt(r, data);
    case DNS_CNAME:
    case DNS_PTR:
        return dns_answer_host(a->packet, r->data_at, data);
    default:
        return false;
    }
}

/* Is it the answer's: of the type, and the name's at the end of the aliases? */
static bool belongs(const struct dns_answer *a, const struct dns_record *r, enum dns_type type,
                    struct str owner, struct buf *scratch)
{
    buf_clear(scratch);
    return r->type == type && dns_answer_host(a->packet, r->owner_at, scratch) &&
           str_eq_nocase(buf_str(scratch), owner);
}

static size_t count_records(struct dns_answer a, enum dns_type type)
{
    struct dns_record record;
    size_t count = 0;
    while (count < DNS_FACTS_ROWS_MAX && dns_answer_next(&a, &record))
        count += record.type == type;
    return count;
}

/* False where there is no memory, or records of which none can be read. */
static bool read_rows(struct dns_answer a, enum dns_type type, struct str owner,
                      struct arena *arena, struct dns_facts *facts)
{
    struct dns_record record;
    struct buf scratch;
    size_t max = count_records(a, type);
    struct dns_row *rows = max > 0 ? arena_alloc_array(arena, max, sizeof *rows) : NULL;
    bool ok = rows || max == 0, unreadable = false;
    buf_init(&scratch, TEXT_SIZE);
    facts->rows = rows;
    while (ok && facts->row_count < max && dns_answer_next(&a, &record)) {
        struct dns_row row = {0};
        if (!belongs(&a, &record, type, owner, &scratch))
            continue;
        buf_clear(&scratch);
        if (!read_fields(&a, &record, &row, &scratch)) {
            unreadable = true;
            continue;
        }
        ok = arena_dup(arena, buf_str(&scratch), &row.data);
        rows[facts->row_count++] = row;
    }
    buf_release(&scratch);
    return ok && (facts->row_count > 0 || !unreadable);
}

bool dns_facts_read(struct str packet, struct str name, enum dns_type type, struct arena *arena,
                    struct dns_facts *ret_facts)
{
    struct dns_answer a;
    struct buf owner;
    struct dns_facts facts = *ret_facts;
    facts.owner = (struct str){0};
    facts.rows = NULL;
    facts.row_count = 0;
    buf_init(&owner, NAME_SIZE);
    /* A question for the alias itself does not follow it. */
    bool is_open =
        dns_answer_open(packet, &a) &&
        (type == DNS_CNAME ? buf_append_str(&owner, name) : dns_answer_canonical(&a, name, &owner));
    bool ok = is_open && read_rows(a, type, buf_str(&owner), arena, &facts);
    if (ok && !str_eq_nocase(buf_str(&owner), name))
        ok = arena_dup(arena, buf_str(&owner), &facts.owner);
    buf_release(&owner);
    if (ok)
        *ret_facts = facts;
    return ok;
}
