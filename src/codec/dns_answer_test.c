#include "codec/dns_answer.h"

#include <string.h>

#include "base/testing.h"

/* The answer to 1.0.0.127.in-addr.arpa PTR: mail.example.org, and mx behind a compressed name. */
static const struct str ptr_packet = STR("\0\7\x81\x80\0\1\0\2\0\0\0\0"
                                         "\1"
                                         "1\1"
                                         "0\1"
                                         "0\3"
                                         "127\7in-addr\4arpa\0\0\x0c\0\1"
                                         "\xc0\x0c\0\x0c\0\1\0\0\0\x3c\0\x12\4mail\7example\3org\0"
                                         "\xc0\x0c\0\x0c\0\1\0\0\0\x3c\0\5\2mx\xc0\x39");

static void the_names_of_an_answer_are_found_also_where_they_are_compressed(void **state)
{
    (void)state;
    static const char *const names[] = {"mail.example.org", "mx.example.org"};
    struct dns_answer a;
    struct dns_record record;
    assert_true(dns_answer_open(ptr_packet, &a));
    for (int i = 0; i < 2; i++) {
        struct buf name;
        buf_init(&name, 300);
        assert_true(dns_answer_next(&a, &record));
        assert_int_equal(record.type, DNS_PTR);
        assert_true(dns_answer_host(a.packet, record.data_at, &name));
        assert_true(str_eq(buf_str(&name), str_from_c(names[i])));
        buf_release(&name);
    }
    assert_false(dns_answer_next(&a, &record));
}

static void a_packet_that_is_cut_off_gives_no_more_than_it_has(void **state)
{
    (void)state;
    for (size_t len = 0; len < ptr_packet.len; len++) {
        struct dns_answer a;
        struct dns_record record;
        int records = 0;
        if (!dns_answer_open(str_make(ptr_packet.ptr, len), &a))
            continue;
        while (dns_answer_next(&a, &record))
            records++;
        assert_true(records < 2);
    }
}

static void questions_failures_and_circles_are_no_answers(void **state)
{
    (void)state;
    struct dns_answer a;
    struct buf name;
    buf_init(&name, 300);
    assert_false(dns_answer_open(STR("\0\7\1\0\0\0\0\0\0\0\0\0"), &a));
    assert_false(dns_answer_open(STR("\0\7\x81\x83\0\0\0\0\0\0\0\0"), &a));
    assert_false(dns_answer_open(STR("\0\7\x83\x80\0\0\0\0\0\0\0\0"), &a)); /* cut off */
    assert_false(dns_answer_host(STR("\xc0\0"), 0, &name));
    assert_false(dns_answer_host(STR("\1a\xc0\0"), 0, &name));
    assert_false(dns_answer_host(STR("\0"), 0, &name));
    assert_false(dns_answer_host(STR("\3a b\0"), 0, &name));
    assert_false(dns_answer_host(STR("\3a.b\0"), 0, &name));
    assert_false(dns_answer_host(STR("\3ab"), 0, &name));
    buf_release(&name);
}

static void reverse_names_are_made_for_both_families(void **state)
{
    (void)state;
    struct buf name;
    buf_init(&name, 300);
    dns_reverse_name(STR("\xc0\0\2\1"), &name);
    assert_true(str_eq(buf_str(&name), STR("1.2.0.192.in-addr.arpa")));
    buf_clear(&name);
    dns_reverse_name(STR("\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"), &name);
    assert_true(str_eq(buf_str(&name), STR("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0."
                                           "8.b.d.0.1.0.0.2.ip6.arpa")));
    buf_release(&name);
}

/* a.test MX, through two aliases: an MX, a null MX, an SRV, a TLSA and a TXT, all of a.test's end.
 */
static const struct str fields_packet =
    STR("\0\7\x81\x80\0\1\0\7\0\0\0\0"
        "\1a\4test\0\0\x0f\0\1"
        "\1a\4test\0\0\5\0\1\0\0\0\x3c\0\4\1b\xc0\x0e"
        "\1b\4test\0\0\5\0\1\0\0\0\x3c\0\4\1C\xc0\x0e"
        "\1c\4test\0\0\x0f\0\1\0\0\0\x3c\0\7\0\x0a\2mx\xc0\x0e"
        "\1c\4test\0\0\x0f\0\1\0\0\0\x3c\0\3\0\0\0"
        "\1c\4test\0\0\x21\0\1\0\0\0\x3c\0\x0b\0\1\0\2\x02\x4b\2mx\xc0\x0e"
        "\1c\4test\0\0\x34\0\1\0\0\0\x3c\0\6\3\1\1xyz"
        "\1c\4test\0\0\x10\0\1\0\0\0\x3c\0\7\2v=\3STS");

static void the_fields_of_each_type_are_read(void **state)
{
    (void)state;
    struct dns_answer a;
    struct dns_record r;
    struct buf out;
    uint16_t preference = 7;
    struct dns_srv srv;
    struct dns_tlsa tlsa;
    buf_init(&out, 300);
    assert_true(dns_answer_open(fields_packet, &a));
    assert_true(dns_answer_canonical(&a, STR("A.test"), &out));
    assert_true(str_eq(buf_str(&out), STR("C.test")));
    buf_clear(&out);
    assert_true(dns_answer_canonical(&a, STR("z.test"), &out));
    assert_true(str_eq(buf_str(&out), STR("z.test")));
    buf_clear(&out);
    assert_true(dns_answer_next(&a, &r) && dns_answer_next(&a, &r) && dns_answer_next(&a, &r));
    assert_true(r.type == DNS_MX && dns_record_mx(&a, &r, &preference, &out));
    assert_int_equal(preference, 10);
    assert_true(str_eq(buf_str(&out), STR("mx.test")));
    buf_clear(&out);
    assert_true(dns_answer_next(&a, &r) && dns_record_mx(&a, &r, &preference, &out));
    assert_true(preference == 0 && out.len == 0);
    assert_true(dns_answer_next(&a, &r) && dns_record_srv(&a, &r, &srv, &out));
    assert_true(srv.priority == 1 && srv.weight == 2 && srv.port == 587);
    assert_true(str_eq(buf_str(&out), STR("mx.test")));
    assert_true(dns_answer_next(&a, &r) && dns_record_tlsa(&r, &tlsa));
    assert_true(tlsa.usage == 3 && tlsa.selector == 1 && tlsa.matching == 1);
    assert_true(str_eq(tlsa.data, STR("xyz")));
    buf_clear(&out);
    assert_true(dns_answer_next(&a, &r) && dns_record_txt(&r, &out));
    assert_true(str_eq(buf_str(&out), STR("v=STS")));
    assert_false(dns_answer_next(&a, &r));
    buf_release(&out);
}

static void fields_that_are_cut_off_and_aliases_in_a_circle_are_none(void **state)
{
    (void)state;
    struct dns_answer a = {.packet = STR("\1x\0")};
    struct dns_record r = {.data = STR("\0")};
    struct buf out;
    uint16_t preference;
    struct dns_srv srv;
    struct dns_tlsa tlsa;
    buf_init(&out, 300);
    assert_false(dns_record_mx(&a, &r, &preference, &out));
    assert_false(dns_record_srv(&a, &r, &srv, &out));
    assert_false(dns_record_tlsa(&r, &tlsa));
    r.data = STR("\5v=");
    assert_false(dns_record_txt(&r, &out));
    assert_true(dns_answer_open(STR("\0\7\x81\x80\0\0\0\1\0\0\0\0"
                                    "\1a\0\0\5\0\1\0\0\0\x3c\0\3\1a\0"),
                                &a));
    assert_false(dns_answer_canonical(&a, STR("a"), &out));
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_names_of_an_answer_are_found_also_where_they_are_compressed),
        cmocka_unit_test(a_packet_that_is_cut_off_gives_no_more_than_it_has),
        cmocka_unit_test(questions_failures_and_circles_are_no_answers),
        cmocka_unit_test(the_fields_of_each_type_are_read),
        cmocka_unit_test(fields_that_are_cut_off_and_aliases_in_a_circle_are_none),
        cmocka_unit_test(reverse_names_are_made_for_both_families),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
