#include "codec/dns_facts.h"

#include <string.h>

#include "base/testing.h"

/* a.test is an alias of c.test, which has an MX, a null MX, an A, a TLSA; elsewhere.test one too.
 */
static const struct str packet = STR("\0\7\x81\x80\0\1\0\6\0\0\0\0"
                                     "\1a\4test\0\0\x0f\0\1"
                                     "\1a\4test\0\0\5\0\1\0\0\0\x3c\0\4\1c\xc0\x0e"
                                     "\1c\4test\0\0\x0f\0\1\0\0\0\x3c\0\7\0\x0a\2mx\xc0\x0e"
                                     "\1c\4test\0\0\x0f\0\1\0\0\0\x3c\0\3\0\0\0"
                                     "\1C\4test\0\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\1"
                                     "\1c\4test\0\0\x34\0\1\0\0\0\x3c\0\6\3\1\1xyz"
                                     "\1e\4test\0\0\x0f\0\1\0\0\0\x3c\0\3\0\0\0");

static struct dns_facts read_type(enum dns_type type, struct arena *arena)
{
    struct dns_facts facts = {.outcome = DNS_OK, .secure = true};
    assert_true(dns_facts_read(packet, STR("a.test"), type, arena, &facts));
    assert_true(facts.secure);
    return facts;
}

static void the_rows_at_the_end_of_the_aliases_are_read(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 10000);
    struct dns_facts facts = read_type(DNS_MX, &arena);
    assert_true(str_eq(facts.owner, STR("c.test")));
    assert_int_equal(facts.row_count, 2);
    assert_int_equal(facts.rows[0].preference, 10);
    assert_true(str_eq(facts.rows[0].data, STR("mx.test")));
    assert_true(str_empty(facts.rows[1].data));
    facts = read_type(DNS_A, &arena);
    assert_int_equal(facts.row_count, 1);
    assert_memory_equal(facts.rows[0].octets, "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\2\1", 16);
    facts = read_type(DNS_TLSA, &arena);
    assert_int_equal(facts.row_count, 1);
    assert_int_equal(facts.rows[0].usage, 3);
    assert_true(str_eq(facts.rows[0].data, STR("xyz")));
    facts = read_type(DNS_CNAME, &arena);
    assert_true(str_empty(facts.owner));
    assert_int_equal(facts.row_count, 1);
    assert_true(str_eq(facts.rows[0].data, STR("c.test")));
    assert_int_equal(read_type(DNS_SRV, &arena).row_count, 0);
    arena_reset(&arena);
}

static void a_spent_arena_leaves_the_facts_alone(void **state)
{
    (void)state;
    struct arena arena;
    struct dns_facts facts = {.row_count = 7};
    arena_init(&arena, 8);
    assert_false(dns_facts_read(packet, STR("a.test"), DNS_MX, &arena, &facts));
    assert_int_equal(facts.row_count, 7);
    arena_reset(&arena);
}

static bool tells(struct str bytes, size_t *ret_rows)
{
    struct arena arena;
    struct dns_facts facts = {.outcome = DNS_OK};
    arena_init(&arena, 10000);
    bool ok = dns_facts_read(bytes, STR("a.test"), DNS_MX, &arena, &facts);
    *ret_rows = facts.row_count;
    arena_reset(&arena);
    return ok;
}

#define HEAD(flags, count) "\0\7" flags "\0\1\0" count "\0\0\0\0\1a\4test\0\0\x0f\0\1"
#define MX(data)           "\xc0\x0c\0\x0f\0\1\0\0\0\x3c\0" data

static void what_cannot_be_read_is_not_nothing(void **state)
{
    (void)state;
    size_t rows;
    assert_true(tells(STR(HEAD("\x81\x80", "\0")), &rows));
    assert_int_equal(rows, 0);
    assert_false(tells(STR(HEAD("\x83\x80", "\0")), &rows));                   /* cut off */
    assert_false(tells(STR(HEAD("\x81\x80", "\1") MX("\2\0\1")), &rows));      /* no host */
    assert_false(tells(STR(HEAD("\x81\x80", "\1") MX("\5\0\1\1!\0")), &rows)); /* no host's name */
    assert_true(tells(STR(HEAD("\x81\x80", "\2") MX("\2\0\1") MX("\5\0\1\1m\0")), &rows));
    assert_int_equal(rows, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rows_at_the_end_of_the_aliases_are_read),
        cmocka_unit_test(what_cannot_be_read_is_not_nothing),
        cmocka_unit_test(a_spent_arena_leaves_the_facts_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
