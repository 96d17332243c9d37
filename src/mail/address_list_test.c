#include "mail/address_list.h"

#include "base/testing.h"

static void put(struct buf *out, struct str s)
{
    buf_append_byte(out, '|');
    buf_append_str(out, s.ptr ? s : STR("-"));
}

/* Every item as "kind|name|route|mailbox|host;". */
static void expect_items(struct str value, const char *expected)
{
    struct address_list list;
    struct address_item item;
    struct buf out;
    buf_init(&out, 10000);
    address_list_init(&list, value);
    while (address_list_next(&list, &item)) {
        buf_append_byte(&out, "MGE"[item.kind]);
        put(&out, item.name);
        put(&out, item.route);
        put(&out, item.mailbox);
        put(&out, item.host);
        buf_append_byte(&out, ';');
    }
    address_list_release(&list);
    if (!str_eq(buf_str(&out), str_from_c(expected)))
        fail_msg("%.*s\n gives %.*s\n  not  %s", STR_ARG(value), STR_ARG(buf_str(&out)), expected);
    buf_release(&out);
}

static void what_people_send_is_read(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"a@b", "M|-|-|a|b;"},
        {"Alice <a@b>", "M|Alice|-|a|b;"},
        {"\"Doe, John\" <a@b>, c@d", "M|Doe, John|-|a|b;M|-|-|c|d;"},
        {"\"a \\\"q\\\" b\" <a@b>", "M|a \"q\" b|-|a|b;"},
        {"J. R. Doe <a.b@c>", "M|J. R. Doe|-|a.b|c;"},
        {"a@b (Alice (the) A)", "M|Alice (the) A|-|a|b;"},
        {"<a@b> (Alice)", "M|Alice|-|a|b;"},
        {"a@b.com <a@b.com>", "M|a@b.com|-|a|b.com;"},
        {"=?utf-8?q?J=C3=B6rg?= <j@x>", "M|=?utf-8?q?J=C3=B6rg?=|-|j|x;"},
        {"\"quoted local\"@x", "M|-|-|quoted local|x;"},
        {"<@a,@b:c@d>", "M|-|@a,@b|c|d;"},
        {"a @ b . c", "M|-|-|a|b.c;"},
        {"a@[192.0.2.1]", "M|-|-|a|[192.0.2.1];"},
        {"A <a@[IPv6:2001:db8::1]>, a@[IPv6:::1],\"x\"@[ a;b ]",
         "M|A|-|a|[IPv6:2001:db8::1];M|-|-|a|[IPv6:::1];M|-|-|x|[a;b];"},
        {"a@[open, b@c", "M|-|-|a|[open;M|-|-|b|c;"},
        {"[a]: b@c;", "G|-|-|[a]|-;M|-|-|b|c;E|-|-|-|-;"},
        {"undisclosed-recipients:;", "G|-|-|undisclosed-recipients|-;E|-|-|-|-;"},
        {"Us: a@b, C <c@d>; e@f", "G|-|-|Us|-;M|-|-|a|b;M|C|-|c|d;E|-|-|-|-;M|-|-|e|f;"},
        {"Open: a@b", "G|-|-|Open|-;M|-|-|a|b;E|-|-|-|-;"},
        {"", ""},
        {" , ,, ", ""},
        {"<>", "M|-|-||;"},
        {"root", "M|-|-|root|;"},
        {"A\r\n\t<a@b>,\r\n c@d", "M|A|-|a|b;M|-|-|c|d;"},
        {"a@b; c@d", "M|-|-|a|b;M|-|-|c|d;"},
        {"\"never ends <a@b>", "M|-|-|never ends <a@b>|;"},
        {"<a@b", "M|-|-|a|b;"},
        {"(only a comment", ""},
        {"a@b (x\\) y)", "M|x) y|-|a|b;"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_items(str_from_c(cases[i][0]), cases[i][1]);
}

static void long_garbage_ends(void **state)
{
    (void)state;
    static char text[20000];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = ",<>:;@\"(\\ a"[(i * 7 + i / 11) % 11];
    struct address_list list;
    struct address_item item;
    size_t count = 0;
    address_list_init(&list, str_make(text, sizeof text));
    while (address_list_next(&list, &item))
        assert_true(++count <= sizeof text + 1);
    address_list_release(&list);
}

static double cost_of_empty_addresses(size_t count)
{
    struct buf text;
    struct address_list list;
    struct address_item item;
    double before = testing_cost();
    buf_init(&text, 4 * count);
    for (size_t i = 0; i < count; i++)
        buf_append_str(&text, STR("<>,"));
    address_list_init(&list, buf_str(&text));
    while (address_list_next(&list, &item))
        continue;
    address_list_release(&list);
    buf_release(&text);
    return testing_cost() - before;
}

/* No address is looked for beyond its end. */
static void a_long_list_costs_as_much_as_its_parts(void **state)
{
    (void)state;
    double part = cost_of_empty_addresses(100000);
    double whole = cost_of_empty_addresses(400000);
    assert_true(whole < 8 * part + 0.1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_people_send_is_read),
        cmocka_unit_test(long_garbage_ends),
        cmocka_unit_test(a_long_list_costs_as_much_as_its_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
