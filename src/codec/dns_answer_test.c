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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_names_of_an_answer_are_found_also_where_they_are_compressed),
        cmocka_unit_test(a_packet_that_is_cut_off_gives_no_more_than_it_has),
        cmocka_unit_test(questions_failures_and_circles_are_no_answers),
        cmocka_unit_test(reverse_names_are_made_for_both_families),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
