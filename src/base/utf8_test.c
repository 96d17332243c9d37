#include "base/utf8.h"

#include "base/testing.h"

/* How many characters there are, counting each broken start as one; *ret_broken of them are that.
 */
static size_t count(struct str s, size_t *ret_broken)
{
    size_t characters = 0;
    uint32_t c;
    for (*ret_broken = 0; s.len > 0; characters++) {
        bool valid = utf8_next(&s, &c);
        assert_true(valid || c == UTF8_REPLACEMENT);
        *ret_broken += !valid;
    }
    return characters;
}

static void the_shortest_and_the_longest_of_each_length_are_read(void **state)
{
    (void)state;
    static const struct {
        struct str bytes;
        uint32_t character;
    } good[] = {
        {STR("\0"), 0},
        {STR("\x7F"), 0x7F},
        {STR("\xC2\x80"), 0x80},
        {STR("\xDF\xBF"), 0x7FF},
        {STR("\xE0\xA0\x80"), 0x800},
        {STR("\xED\x9F\xBF"), 0xD7FF},
        {STR("\xEE\x80\x80"), 0xE000},
        {STR("\xEF\xBF\xBF"), 0xFFFF},
        {STR("\xF0\x90\x80\x80"), 0x10000},
        {STR("\xF4\x8F\xBF\xBF"), 0x10FFFF},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct str rest = good[i].bytes;
        uint32_t c;
        assert_true(utf8_next(&rest, &c));
        assert_int_equal(c, good[i].character);
        assert_int_equal(rest.len, 0);
    }
}

static void a_broken_start_is_one_mark_and_what_follows_is_read(void **state)
{
    (void)state;
    size_t broken;
    assert_int_equal(count(STR("\xE2\x82(\xC3\xA9"), &broken), 3);
    assert_int_equal(broken, 1);
    assert_int_equal(count(STR("\xC0\xAF\xED\xA0\x80\xF4\x90\x80\x80\xFE"), &broken), 10);
    assert_int_equal(broken, 10);
    assert_int_equal(count(STR("a\xF0\x9F\x8D"), &broken), 2);
    assert_int_equal(broken, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_shortest_and_the_longest_of_each_length_are_read),
        cmocka_unit_test(a_broken_start_is_one_mark_and_what_follows_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
