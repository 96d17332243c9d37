#include "codec/dns_answer.h"

enum {
    HEADER_SIZE = 12,
    RECORD_HEAD_SIZE = 10,  /* type, class, time to live, length */
    QUESTION_TAIL_SIZE = 4, /* type, class */
    LABEL_SIZE_MAX = 63,
    POINTER_BITS = 0xc0,
    JUMPS_MAX = 20,
    NAME_SIZE_MAX = 255,
    ALIASES_MAX = 16,
    MX_HEAD_SIZE = 2,
    SRV_HEAD_SIZE = 6,
    TLSA_HEAD_SIZE = 3,
    FLAG_RESPONSE = 0x80,
    FLAG_TRUNCATED = 0x02,
    RCODE_BITS = 0x0f
};

static unsigned byte_at(struct str packet, size_t at)
{
    return (unsigned char)packet.ptr[at];
}

static unsigned word_at(struct str packet, size_t at)
{
    return byte_at(packet, at) << 8 | byte_at(packet, at + 1);
}

/* Behind the name at `at`, which a pointer ends (RFC 1035 §4.1.4); false where it is cut off. */
static bool skip_name(struct str packet, size_t at, size_t *ret_at)
{
    while (at < packet.len) {
        unsigned size = byte_at(packet, at);
        if (size == 0 || (size & POINTER_BITS) == POINTER_BITS) {
            *ret_at = at + (size == 0 ? 1 : 2);
            return *ret_at <= packet.len;
        }
        if (size > LABEL_SIZE_MAX)
            return false;
        at += 1 + size;
    }
    return false;
}

bool dns_answer_open(struct str packet, struct dns_answer *ret_answer)
{
    if (packet.len < HEADER_SIZE ||
        (byte_at(packet, 2) & (FLAG_RESPONSE | FLAG_TRUNCATED)) != FLAG_RESPONSE ||
        (byte_at(packet, 3) & RCODE_BITS) != 0)
        return false;
    size_t at = HEADER_SIZE;
    for (unsigned questions = word_at(packet, 4); questions > 0; questions--) {
        if (!skip_name(packet, at, &at) || packet.len - at < QUESTION_TAIL_SIZE)
            return false;
        at += QUESTION_TAIL_SIZE;
    }
    *ret_answer = (struct dns_answer){.packet = packet, .at = at, .left = word_at(packet, 6)};
    return true;
}

bool dns_answer_next(struct dns_answer *a, struct dns_record *ret_record)
{
    size_t at;
    if (a->left == 0 || !skip_name(a->packet, a->at, &at) || a->packet.len - at < RECORD_HEAD_SIZE)
        return false;
    size_t size = word_at(a->packet, at + 8);
    size_t data_at = at + RECORD_HEAD_SIZE;
    if (a->packet.len - data_at < size)
        return false;
    *ret_record = (struct dns_record){.type = (uint16_t)word_at(a->packet, at),
                                      .owner_at = a->at,
                                      .data_at = data_at,
                                      .data = str_sub(a->packet, data_at, size)};
    a->at = data_at + size;
    a->left--;
    return true;
}

static bool is_host_byte(char c)
{
    return ascii_is_alpha(c) || ascii_is_digit(c) || c == '-' || c == '_';
}

static bool append_label(struct str label, struct buf *out)
{
    for (size_t i = 0; i < label.len; i++)
        if (!is_host_byte(label.ptr[i]))
            return false;
    return buf_append_str(out, label);
}

bool dns_answer_host(struct str packet, size_t at, struct buf *out)
{
    size_t first = out->len;
    unsigned jumps = 0;
    while (at < packet.len) {
        unsigned size = byte_at(packet, at);
        if (size == 0)
            return out->len > first;
        if ((size & POINTER_BITS) == POINTER_BITS) {
            if (at + 1 >= packet.len || ++jumps > JUMPS_MAX)
                return false;
            at = word_at(packet, at) & 0x3fff;
            continue;
        }
        if (size > LABEL_SIZE_MAX || packet.len - at - 1 < size ||
            out->len - first + size + 1 > NAME_SIZE_MAX)
            return false;
        if (out->len > first)
            buf_append_byte(out, '.');
        if (!append_label(str_sub(packet, at + 1, size), out))
            return false;
        at += 1 + size;
    }
    return false;
}

/* As dns_answer_host, but the root is a name too, an empty one. */
static bool target_host(const struct dns_answer *a, size_t at, struct buf *out)
{
    if (at < a->packet.len && byte_at(a->packet, at) == 0)
        return true;
    return dns_answer_host(a->packet, at, out) && !out->failed;
}

bool dns_record_mx(const struct dns_answer *a, const struct dns_record *r, uint16_t *ret_preference,
                   struct buf *host)
{
    if (r->data.len <= MX_HEAD_SIZE || !target_host(a, r->data_at + MX_HEAD_SIZE, host))
        return false;
    *ret_preference = (uint16_t)word_at(r->data, 0);
    return true;
}

bool dns_record_srv(const struct dns_answer *a, const struct dns_record *r, struct dns_srv *ret_srv,
                    struct buf *target)
{
    if (r->data.len <= SRV_HEAD_SIZE || !target_host(a, r->data_at + SRV_HEAD_SIZE, target))
        return false;
    *ret_srv = (struct dns_srv){.priority = (uint16_t)word_at(r->data, 0),
                                .weight = (uint16_t)word_at(r->data, 2),
                                .port = (uint16_t)word_at(r->data, 4)};
    return true;
}

bool dns_record_tlsa(const struct dns_record *r, struct dns_tlsa *ret_tlsa)
{
    if (r->data.len <= TLSA_HEAD_SIZE)
        return false;
    *ret_tlsa = (struct dns_tlsa){.usage = (uint8_t)byte_at(r->data, 0),
                                  .selector = (uint8_t)byte_at(r->data, 1),
                                  .matching = (uint8_t)byte_at(r->data, 2),
                                  .data = str_skip(r->data, TLSA_HEAD_SIZE)};
    return true;
}

bool dns_record_txt(const struct dns_record *r, struct buf *out)
{
    struct str data = r->data;
    while (data.len > 0) {
        size_t size = byte_at(data, 0);
        if (size >= data.len || !buf_append_str(out, str_sub(data, 1, size)))
            return false;
        data = str_skip(data, 1 + size);
    }
    return r->data.len > 0;
}

/* The alias's target in place of the name; false where this record is not its CNAME. */
static bool follow_alias(const struct dns_answer *a, const struct dns_record *r, struct buf *name,
                         struct buf *scratch)
{
    if (r->type != DNS_CNAME)
        return false;
    buf_clear(scratch);
    if (!dns_answer_host(a->packet, r->owner_at, scratch) ||
        !str_eq_nocase(buf_str(scratch), buf_str(name)))
        return false;
    buf_clear(scratch);
    if (!dns_answer_host(a->packet, r->data_at, scratch))
        return false;
    buf_clear(name);
    return buf_append_str(name, buf_str(scratch));
}

bool dns_answer_canonical(const struct dns_answer *opened, struct str name, struct buf *out)
{
    struct buf at, scratch;
    bool found = true, ok = false;
    buf_init(&at, NAME_SIZE_MAX + 1);
    buf_init(&scratch, NAME_SIZE_MAX + 1);
    buf_append_str(&at, name);
    for (int aliases = 0; found && aliases < ALIASES_MAX; aliases++) {
        struct dns_answer a = *opened;
        struct dns_record record;
        found = false;
        while (!found && dns_answer_next(&a, &record))
            found = follow_alias(&a, &record, &at, &scratch);
    }
    if (!found && !at.failed)
        ok = buf_append_str(out, buf_str(&at));
    buf_release(&at);
    buf_release(&scratch);
    return ok;
}

void dns_reverse_name(struct str address, struct buf *out)
{
    static const char hex[] = "0123456789abcdef";
    if (address.len == 4) {
        for (size_t i = 4; i > 0; i--)
            buf_printf(out, "%u.", byte_at(address, i - 1));
        buf_append_str(out, STR("in-addr.arpa"));
        return;
    }
    for (size_t i = address.len; i > 0; i--) {
        unsigned byte = byte_at(address, i - 1);
        const char nibbles[] = {hex[byte & 15], '.', hex[byte >> 4], '.'};
        buf_append(out, nibbles, sizeof nibbles);
    }
    buf_append_str(out, STR("ip6.arpa"));
}
