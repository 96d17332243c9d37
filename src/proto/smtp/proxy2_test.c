#include "proto/smtp/proxy2.h"

#include "base/testing.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

static const struct str tcp4 =
    STR(SIGNATURE "\x21\x11\0\x0c\xc0\0\2\1\xc6\x33\x64\2\x30\x39\0\x19");

static enum proxy2_result parse(struct str in)
{
    struct proxy2_header h;
    size_t used;
    return proxy2_parse(in, &h, &used);
}

static void an_ipv4_header_is_read(void **state)
{
    (void)state;
    struct proxy2_header h;
    size_t used;
    struct str in = STR(SIGNATURE "\x21\x11\0\x0c\xc0\0\2\1\xc6\x33\x64\2\x30\x39\0\x19"
                                  "EHLO");
    assert_int_equal(proxy2_parse(in, &h, &used), PROXY2_OK);
    assert_int_equal(used, tcp4.len);
    assert_int_equal(h.family, PROXY2_IPV4);
    assert_memory_equal(h.source, "\xc0\0\2\1", 4);
    assert_memory_equal(h.destination, "\xc6\x33\x64\2", 4);
    assert_int_equal(h.source_port, 12345);
    assert_int_equal(h.destination_port, 25);
}

static void an_ipv6_header_is_read(void **state)
{
    (void)state;
    struct proxy2_header h;
    size_t used;
    struct str in = STR(SIGNATURE "\x21\x21\0\x24"
                                  "0123456789abcdef"
                                  "fedcba9876543210"
                                  "\1\2\3\4");
    assert_int_equal(proxy2_parse(in, &h, &used), PROXY2_OK);
    assert_int_equal(h.family, PROXY2_IPV6);
    assert_memory_equal(h.source, "0123456789abcdef", 16);
    assert_memory_equal(h.destination, "fedcba9876543210", 16);
    assert_int_equal(h.source_port, 0x0102);
    assert_int_equal(h.destination_port, 0x0304);
}

static void a_header_in_pieces_asks_for_more(void **state)
{
    (void)state;
    for (size_t len = 0; len < tcp4.len; len++)
        assert_int_equal(parse(str_sub(tcp4, 0, len)), PROXY2_MORE);
    assert_int_equal(parse(tcp4), PROXY2_OK);
}

static void local_and_unknown_peers_keep_their_own_address(void **state)
{
    (void)state;
    static const struct str cases[] = {
        STR(SIGNATURE "\x20\0\0\0"),
        STR(SIGNATURE "\x20\x11\0\3abc"),
        STR(SIGNATURE "\x21\0\0\2zz"),
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct proxy2_header h;
        size_t used;
        assert_int_equal(proxy2_parse(cases[i], &h, &used), PROXY2_OK);
        assert_int_equal(h.family, PROXY2_OWN);
        assert_int_equal(used, cases[i].len);
    }
}

static void what_is_no_header_is_bad(void **state)
{
    (void)state;
    static const struct str cases[] = {
        STR("EHLO client.test\r\n"),
        STR("PROXY TCP4 192.0.2.1 198.51.100.2 1 2\r\n"),
        STR(SIGNATURE "\x11"),
        STR(SIGNATURE "\x22"),
        STR(SIGNATURE "\x21\x12\0\x0c\xc0\0\2\1\xc6\x33\x64\2\x30\x39\0\x19"), /* UDP */
        STR(SIGNATURE "\x21\x11\0\x0b\xc0\0\2\1\xc6\x33\x64\2\x30\x39\0"),     /* too short */
        STR(SIGNATURE "\x21\x11\0\x0e\xc0\0\2\1\xc6\x33\x64\2\x30\x39\0\x19\4\0"),
        STR(SIGNATURE "\x21\x11\0\x0f\xc0\0\2\1\xc6\x33\x64\2\x30\x39\0\x19\4\0\1"),
        STR(SIGNATURE "\x21\x11\xff\xff"), /* over PROXY2_SIZE_MAX */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(parse(cases[i]), PROXY2_BAD);
}

/* TLV 3 over the whole header, its own value as zero. */
static uint32_t checksum(const char *bytes, size_t len)
{
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = 0; i < len; i++) {
        crc ^= (uint8_t)bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (crc & 1 ? 0x82F63B78u : 0);
    }
    return ~crc;
}

static void a_checksum_must_be_right(void **state)
{
    (void)state;
    /* The check value of CRC-32C, so that both implementations are not wrong in the same way. */
    assert_int_equal(checksum("123456789", 9), 0xE3069283u);
    char bytes[] = SIGNATURE "\x21\x11\0\x17\xc0\0\2\1\xc6\x33\x64\2\x30\x39\0\x19"
                             "\4\0\1x\3\0\4\0\0\0\0";
    size_t len = sizeof bytes - 1;
    assert_int_equal(parse(str_make(bytes, len)), PROXY2_BAD);
    uint32_t crc = checksum(bytes, len);
    for (int i = 0; i < 4; i++)
        bytes[len - 4 + (size_t)i] = (char)(crc >> (24 - 8 * i));
    assert_int_equal(parse(str_make(bytes, len)), PROXY2_OK);
    bytes[20] ^= 1;
    assert_int_equal(parse(str_make(bytes, len)), PROXY2_BAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_ipv4_header_is_read),
        cmocka_unit_test(an_ipv6_header_is_read),
        cmocka_unit_test(a_header_in_pieces_asks_for_more),
        cmocka_unit_test(local_and_unknown_peers_keep_their_own_address),
        cmocka_unit_test(what_is_no_header_is_bad),
        cmocka_unit_test(a_checksum_must_be_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
