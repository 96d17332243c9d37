#include "proto/smtp/proxy2.h"

enum {
    HEAD_SIZE = PROXY2_HEAD_SIZE,
    VERSION_2_LOCAL = 0x20,
    VERSION_2_PROXY = 0x21,
    OVER_TCP4 = 0x11,
    OVER_TCP6 = 0x21,
    OVER_UNIX = 0x31,
    OVER_ANYTHING = 0x00,
    TLV_CRC32C = 0x03,
};

static uint8_t octet(struct str s, size_t at)
{
    return (uint8_t)s.ptr[at];
}

static uint16_t get_u16(struct str s, size_t at)
{
    return (uint16_t)(octet(s, at) << 8 | octet(s, at + 1));
}

static uint32_t get_u32(struct str s, size_t at)
{
    return (uint32_t)get_u16(s, at) << 16 | get_u16(s, at + 2);
}

/* RFC 9260 appendix A; once a connection, so no table. Octets of [hole, hole+4) count as zero. */
static uint32_t crc32c(struct str s, size_t hole)
{
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = 0; i < s.len; i++) {
        crc ^= i >= hole && i < hole + 4 ? 0 : octet(s, i);
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);
    }
    return ~crc;
}

/* type, 16 bits of length, value: from `at` to the end of the header. */
static bool tlvs_are_good(struct str header, size_t at)
{
    while (at < header.len) {
        if (header.len - at < 3)
            return false;
        uint8_t type = octet(header, at);
        size_t len = get_u16(header, at + 1);
        at += 3;
        if (len > header.len - at)
            return false;
        if (type == TLV_CRC32C && (len != 4 || get_u32(header, at) != crc32c(header, at)))
            return false;
        at += len;
    }
    return true;
}

/* Both addresses, then both ports. */
static void take_addresses(struct str header, enum proxy2_family family, size_t address_size,
                           struct proxy2_header *ret_header)
{
    *ret_header = (struct proxy2_header){.family = family};
    memcpy(ret_header->source, header.ptr + HEAD_SIZE, address_size);
    memcpy(ret_header->destination, header.ptr + HEAD_SIZE + address_size, address_size);
    ret_header->source_port = get_u16(header, HEAD_SIZE + 2 * address_size);
    ret_header->destination_port = get_u16(header, HEAD_SIZE + 2 * address_size + 2);
}

static bool parse_whole(struct str header, struct proxy2_header *ret_header)
{
    uint8_t over = octet(header, 13);
    size_t size = over == OVER_TCP4 ? 12 : over == OVER_TCP6 ? 36 : over == OVER_UNIX ? 216 : 0;
    bool own = octet(header, 12) == VERSION_2_LOCAL || over == OVER_ANYTHING;
    if (!own &&
        (size == 0 || header.len - HEAD_SIZE < size || !tlvs_are_good(header, HEAD_SIZE + size)))
        return false;
    *ret_header = (struct proxy2_header){.family = PROXY2_OWN};
    if (!own && over == OVER_TCP4)
        take_addresses(header, PROXY2_IPV4, 4, ret_header);
    else if (!own && over == OVER_TCP6)
        take_addresses(header, PROXY2_IPV6, 16, ret_header);
    return true;
}

enum proxy2_result proxy2_parse(struct str in, struct proxy2_header *ret_header, size_t *ret_size)
{
    static const char signature[12] = {'\r', '\n', '\r', '\n', '\0', '\r',
                                       '\n', 'Q',  'U',  'I',  'T',  '\n'};
    size_t known = in.len < sizeof signature ? in.len : sizeof signature;
    if (known > 0 && memcmp(in.ptr, signature, known) != 0)
        return PROXY2_BAD;
    if (in.len > 12 && octet(in, 12) != VERSION_2_LOCAL && octet(in, 12) != VERSION_2_PROXY)
        return PROXY2_BAD;
    size_t size = in.len < HEAD_SIZE ? HEAD_SIZE : HEAD_SIZE + (size_t)get_u16(in, 14);
    if (size > PROXY2_SIZE_MAX)
        return PROXY2_BAD;
    if (in.len < size) {
        *ret_size = size;
        return PROXY2_MORE;
    }
    struct proxy2_header header;
    if (!parse_whole(str_sub(in, 0, size), &header))
        return PROXY2_BAD;
    *ret_header = header;
    *ret_size = size;
    return PROXY2_OK;
}
