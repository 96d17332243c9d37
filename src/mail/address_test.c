#include "mail/address.h"

#include "base/testing.h"

#include <stdio.h>

static void expect_path(const char *in, enum path_kind kind, const char *local, const char *domain,
                        const char *behind)
{
    struct mailbox_path path;
    size_t used = 0;
    if (address_parse_path(str_from_c(in), kind, &path, &used) != ADDRESS_OK)
        fail_msg("refused: %s", in);
    if (!str_eq(path.mailbox.local, str_from_c(local)) ||
        !str_eq(path.mailbox.domain, str_from_c(domain)) ||
        !str_eq(str_skip(str_from_c(in), used), str_from_c(behind)))
        fail_msg("%s: %.*s at %.*s, used %zu", in, STR_ARG(path.mailbox.local),
                 STR_ARG(path.mailbox.domain), used);
}

static void paths_of_the_grammar_are_read(void **state)
{
    (void)state;
    expect_path("<a@b.example>", PATH_FORWARD, "a", "b.example", "");
    expect_path("<a@b.example> SIZE=5", PATH_REVERSE, "a", "b.example", " SIZE=5");
    expect_path("<a+b.c/d=e@x>", PATH_FORWARD, "a+b.c/d=e", "x", "");
    expect_path("<\"a b\"@x>", PATH_FORWARD, "\"a b\"", "x", "");
    expect_path("<\"a\\\"@b>\"@x>", PATH_FORWARD, "\"a\\\"@b>\"", "x", "");
    expect_path("<a@[192.0.2.1]>", PATH_FORWARD, "a", "[192.0.2.1]", "");
    expect_path("<a@[IPv6:2001:db8::1]>", PATH_FORWARD, "a", "[IPv6:2001:db8::1]", "");
    expect_path("<a@[x-tag:whatever]>", PATH_FORWARD, "a", "[x-tag:whatever]", "");
    expect_path("<j\xC3\xB6rg@b\xC3\xBC"
                "cher.example>",
                PATH_FORWARD, "j\xC3\xB6rg",
                "b\xC3\xBC"
                "cher.example",
                "");
    expect_path("<>", PATH_REVERSE, "", "", "");
    expect_path("<postMaster>", PATH_FORWARD, "postMaster", "", "");
    expect_path("<Postmaster@x>", PATH_FORWARD, "Postmaster", "x", "");
}

static void everything_else_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "a@b",
        "<a@b",
        "<<a@b>>",
        "<a@@b>",
        "<.a@b>",
        "<a.@b>",
        "<a..b@b>",
        "<a@>",
        "<@b>",
        "<a>",
        "<a@b.>",
        "<a@.b>",
        "<a@b..c>",
        "<a@-b>",
        "<a@b->",
        "<a@b_c>",
        "<a b@c>",
        "< a@b>",
        "<a@b >",
        "<a@[1.2.3]>",
        "<a@[1.2.3.4>",
        "<a@[1.2.3.256]>",
        "<a@[IPv6:xyz]>",
        "<a@[]>",
        "<a@[:x]>",
        "<a@[IPv6:1.2.3.4]>",
        "<a@b[1.2.3.4]>",
        "<\"a@b>",
        "<\"a\"b@c>",
        "<\"a\rb\"@c>",
        "<a,b@c>",
        "<a\xFF@b>",
        "<a\xC2\x80@b>",
        "<a@b\xC3>",
        "<\"a\\\"@b>",
        "<@a,b:c@d>",
        "<@a:>",
        "<@a:<b@c>>",
        "<postmaster >",
        "<a(comment)@b>",
        "<a@b(comment)>",
        "<a:b@c>",
        "<a\n@b>",
        "<a@b\r\n>",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct mailbox_path path;
        size_t used;
        if (address_parse_path(str_from_c(bad[i]), PATH_FORWARD, &path, &used) != ADDRESS_BAD)
            fail_msg("not refused: %s", bad[i]);
    }
}

static void a_null_path_is_no_recipient_and_postmaster_no_sender(void **state)
{
    (void)state;
    struct mailbox_path path;
    size_t used;
    assert_int_equal(address_parse_path(STR("<>"), PATH_FORWARD, &path, &used), ADDRESS_BAD);
    assert_int_equal(address_parse_path(STR("<Postmaster>"), PATH_REVERSE, &path, &used),
                     ADDRESS_BAD);
    assert_int_equal(address_parse_path(STR("<>"), PATH_REVERSE, &path, &used), ADDRESS_OK);
    assert_true(path.is_null);
}

static void a_nul_is_refused_anywhere(void **state)
{
    (void)state;
    char text[] = "<\"ab\"@c.de>";
    for (size_t i = 0; i < sizeof text - 1; i++) {
        char kept = text[i];
        struct mailbox_path path;
        size_t used;
        text[i] = '\0';
        assert_int_equal(
            address_parse_path(str_make(text, sizeof text - 1), PATH_FORWARD, &path, &used),
            ADDRESS_BAD);
        text[i] = kept;
    }
}

static void a_source_route_is_told_apart(void **state)
{
    (void)state;
    struct mailbox_path path;
    size_t used;
    struct str in = STR("<@relay.example,@b:user@c.example>");
    assert_int_equal(address_parse_path(in, PATH_FORWARD, &path, &used), ADDRESS_OK);
    assert_true(str_eq(path.route, STR("@relay.example,@b")));
    assert_true(str_eq(path.mailbox.local, STR("user")));
    assert_int_equal(used, in.len);
}

static void long_parts_are_too_long(void **state)
{
    (void)state;
    char text[600];
    struct mailbox_path path;
    size_t used;
    snprintf(text, sizeof text, "<%065d@b>", 0);
    assert_int_equal(address_parse_path(str_from_c(text), PATH_FORWARD, &path, &used),
                     ADDRESS_TOO_LONG);
    snprintf(text, sizeof text, "<%064d@b>", 0);
    assert_int_equal(address_parse_path(str_from_c(text), PATH_FORWARD, &path, &used), ADDRESS_OK);
    snprintf(text, sizeof text, "<a@%063d.%063d.%063d.%063d>", 0, 0, 0, 0);
    assert_int_equal(address_parse_path(str_from_c(text), PATH_FORWARD, &path, &used),
                     ADDRESS_TOO_LONG);
    snprintf(text, sizeof text, "<a@%064d>", 0);
    assert_int_equal(address_parse_path(str_from_c(text), PATH_FORWARD, &path, &used), ADDRESS_BAD);
}

static void expect_form(bool (*form)(struct buf *, const struct mailbox_address *), const char *in,
                        const char *expected)
{
    struct mailbox_address a;
    struct buf out;
    buf_init(&out, 1000);
    assert_int_equal(address_parse_mailbox(str_from_c(in), &a), ADDRESS_OK);
    bool done = form(&out, &a);
    if (done != (expected != NULL) || !str_eq(buf_str(&out), str_from_c(expected)))
        fail_msg("%s gives %.*s", in, STR_ARG(buf_str(&out)));
    buf_release(&out);
}

static void equal_mailboxes_have_one_normal_form(void **state)
{
    (void)state;
    expect_form(address_normalise, "alice@example.org", "alice@example.org");
    expect_form(address_normalise, "\"Alice\"@EXAMPLE.org", "alice@example.org");
    expect_form(address_normalise, "\"al\\ice\"@example.org", "alice@example.org");
    expect_form(address_normalise,
                "a@B\xC3\x9C"
                "CHER.example",
                "a@xn--bcher-kva.example");
    expect_form(address_normalise, "J\xC3\x96RG@example.org", "j\xC3\xB6rg@example.org");
    expect_form(address_normalise, "a@[IPv6:2001:DB8::1]", "a@[ipv6:2001:db8::1]");
}

static void printing_quotes_only_where_needed(void **state)
{
    (void)state;
    expect_form(address_print, "\"alice\"@Example.org", "alice@Example.org");
    expect_form(address_print, "\"a b\"@x", "\"a b\"@x");
    expect_form(address_print, "\"a\\\"b\"@x", "\"a\\\"b\"@x");
    expect_form(address_print, "\".a\"@x", "\".a\"@x");
    expect_form(address_print, "\"\"@x", "\"\"@x");
}

static void details_and_relay_attempts_are_seen(void **state)
{
    (void)state;
    struct str user;
    struct str detail;
    assert_true(address_split_detail(STR("a+b+c"), '+', &user, &detail));
    assert_true(str_eq(user, STR("a")) && str_eq(detail, STR("b+c")));
    assert_false(address_split_detail(STR("+b"), '+', &user, &detail));
    assert_false(address_split_detail(STR("ab"), '+', &user, &detail));
    assert_true(address_is_relay_attempt(STR("user%host")));
    assert_true(address_is_relay_attempt(STR("host!user")));
    assert_true(address_is_relay_attempt(STR("user@host")));
    assert_false(address_is_relay_attempt(STR("user+x")));
}

static void domains_are_checked_alone(void **state)
{
    (void)state;
    bool literal;
    assert_true(address_parse_domain(STR("mail.example"), &literal) && !literal);
    assert_true(address_parse_domain(STR("[192.0.2.1]"), &literal) && literal);
    assert_false(address_parse_domain(STR("192.0.2.1 x"), &literal));
    assert_false(address_parse_domain(STR(""), &literal));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_of_the_grammar_are_read),
        cmocka_unit_test(everything_else_is_refused),
        cmocka_unit_test(a_null_path_is_no_recipient_and_postmaster_no_sender),
        cmocka_unit_test(a_nul_is_refused_anywhere),
        cmocka_unit_test(a_source_route_is_told_apart),
        cmocka_unit_test(long_parts_are_too_long),
        cmocka_unit_test(equal_mailboxes_have_one_normal_form),
        cmocka_unit_test(printing_quotes_only_where_needed),
        cmocka_unit_test(details_and_relay_attempts_are_seen),
        cmocka_unit_test(domains_are_checked_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
