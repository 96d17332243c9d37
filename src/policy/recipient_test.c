#include "policy/recipient.h"

#include <stdio.h>

#include "base/limits.h"
#include "base/testing.h"

/* A small directory: who is behind an address ("alice" or "@b.test,c@d.test"), and the accounts. */
struct entry {
    const char *address; /* "*@domain" is the catch-all, "@domain" a domain without addresses */
    uint64_t account;
    const char *members; /* of an alias, with commas */
};

static const struct entry directory[] = {
    {"alice@a.test", 1, NULL},
    {"alice.smith@a.test", 1, NULL},
    {"bob@a.test", 2, NULL},
    {"gone@a.test", 3, NULL},
    {"full@a.test", 4, NULL},
    {"odd+name@a.test", 2, NULL},
    {"per%cent@a.test", 2, NULL},
    {"two words@a.test", 2, NULL},
    {"jos\xc3\xa9@a.test", 1, NULL},
    {"team@a.test", 0, "alice@a.test,bob@a.test"},
    {"twice@a.test", 0, "team@a.test,alice.smith@a.test"},
    {"self@a.test", 0, "self@a.test"},
    {"keep@a.test", 0, "keep@a.test,alice@a.test"},
    {"ping@a.test", 0, "pong@a.test"},
    {"pong@a.test", 0, "ping@a.test"},
    {"away@a.test", 0, "someone@elsewhere.test"},
    {"copy@a.test", 0, "alice@a.test,someone@elsewhere.test"},
    {"list@a.test", 0, "away@a.test,copy@a.test,x@[192.0.2.1],a%b@far.test"},
    {"late@a.test", 0, "gone@a.test,someone@elsewhere.test"},
    {"host@a.test", 0, "alice@mail.a.test"},
    {"me@a.test", 0, "alice@a.test"},
    {"dead@a.test", 0, "gone@a.test"},
    {"some@a.test", 0, "gone@a.test,full@a.test,alice@a.test"},
    {"none@a.test", 0, "gone@a.test,full@a.test"},
    {"detail@a.test", 0, "alice+list@a.test"},
    {"root@a.test", 0, "postmaster@a.test"},
    {"empty@a.test", 0, ""},
    {"postmaster@b.test", 2, NULL},
    {"*@b.test", 1, NULL},
    {"postmaster@c.test", 3, NULL},
    {"abuse@d.test", 4, NULL},
    {"postmaster@d.test", 4, NULL},
    {"@xn--mnchen-3ya.test", 0, NULL},
    {"deep0@a.test", 0, "deep1@a.test"},
    {"deep1@a.test", 0, "deep2@a.test"},
    {"deep2@a.test", 0, "deep3@a.test"},
    {"deep3@a.test", 0, "deep4@a.test"},
    {"deep4@a.test", 0, "deep5@a.test"},
    {"deep5@a.test", 0, "deep6@a.test"},
    {"deep6@a.test", 0, "deep7@a.test"},
    {"deep7@a.test", 0, "deep8@a.test"},
    {"deep8@a.test", 0, "deep9@a.test"},
    {"deep9@a.test", 0, "deep10@a.test"},
    {"deep10@a.test", 0, "deep11@a.test"},
    {"deep11@a.test", 0, "alice@a.test"},
};

static const struct recipient_fact accounts[] = {
    [1] = {.found = true, .inbox = 11},
    [2] = {.found = true, .inbox = 12, .quota_size = 1000, .used_size = 500},
    [3] = {.found = true, .inbox = 13, .disabled = true},
    [4] = {.found = true, .inbox = 14, .quota_size = 1000, .used_size = 1000},
};

struct world {
    struct arena arena;
    bool without_accounts;
    unsigned wide; /* wide@a.test leads to so many addresses of alice */
    bool outbound, may_relay, is_report;
};

static struct recipient_address address_of(struct arena *arena, struct str words)
{
    struct mailbox_address mailbox = {.local = words};
    struct recipient_address address;
    if (str_find_byte(words, '@') >= 0)
        assert_int_equal(address_parse_mailbox(words, &mailbox), ADDRESS_OK);
    assert_true(recipient_address_make(arena, &mailbox, &address));
    return address;
}

static const struct entry *find(struct str local, struct str domain)
{
    char words[600];
    snprintf(words, sizeof(words), "%.*s@%.*s", STR_ARG(local), STR_ARG(domain));
    for (size_t i = 0; i < sizeof(directory) / sizeof(directory[0]); i++)
        if (strcmp(directory[i].address, words) == 0)
            return &directory[i];
    return NULL;
}

static struct recipient_fact fact_of(struct world *w, const struct entry *entry)
{
    struct recipient_fact fact = {.found = entry != NULL};
    if (!entry)
        return fact;
    fact.account = entry->account;
    if (entry->account != 0)
        return fact;
    static struct recipient_address members[8];
    struct str rest = str_from_c(entry->members), part;
    while (str_split(&rest, ',', &part))
        members[fact.member_count++] = address_of(&w->arena, part);
    fact.members = members;
    return fact;
}

static struct recipient_fact wide(struct world *w)
{
    struct recipient_address *members =
        arena_alloc_array(&w->arena, w->wide, sizeof(struct recipient_address));
    for (unsigned i = 0; i < w->wide; i++) {
        char words[40];
        snprintf(words, sizeof(words), "alice+%u@a.test", i);
        struct str copy;
        assert_true(arena_dup(&w->arena, str_from_c(words), &copy));
        members[i] = address_of(&w->arena, copy);
    }
    return (struct recipient_fact){.found = true, .members = members, .member_count = w->wide};
}

static bool is_local(struct str domain)
{
    for (size_t i = 0; i < sizeof(directory) / sizeof(directory[0]); i++)
        if (str_eq(str_from_c(strchr(directory[i].address, '@') + 1), domain))
            return true;
    return false;
}

static struct recipient_fact look_up(struct world *w, const struct recipient_question *q)
{
    switch (q->kind) {
    case RECIPIENT_DOMAIN:
        return (struct recipient_fact){.found = is_local(q->domain),
                                       .separators =
                                           str_eq(q->domain, STR("d.test")) ? STR("-+") : STR("+")};
    case RECIPIENT_ADDRESS:
        if (w->wide && str_eq(q->local, STR("wide")))
            return wide(w);
        return fact_of(w, find(q->local, q->domain));
    case RECIPIENT_CATCH_ALL:
        return fact_of(w, find(STR("*"), q->domain));
    case RECIPIENT_POSTMASTER:
        return (struct recipient_fact){.found = !w->without_accounts, .account = 1};
    case RECIPIENT_ACCOUNT:
        return accounts[q->account];
    }
    return (struct recipient_fact){0};
}

static struct recipient_decision resolve(struct world *w, const char *words, uint64_t size,
                                         struct recipient *r)
{
    const struct recipient_rules rules = {STR("mail.a.test"), STR("b.test"), w->outbound,
                                          w->may_relay, w->is_report};
    struct recipient_address address = address_of(&w->arena, str_from_c(words));
    struct recipient_question question;
    recipient_begin(r, &w->arena, &rules, &address, size);
    while (recipient_next(r, &question)) {
        struct recipient_fact fact = look_up(w, &question);
        recipient_answer(r, &fact);
    }
    return r->decision;
}

/* "250 account:delivered-to … >relay/domain …", or "550 5.1.1". */
static void print(const struct recipient_decision *d, char *out, size_t size)
{
    int n = snprintf(out, size, "%u", d->code);
    if (d->code != 250)
        n += snprintf(out + n, size - (size_t)n, " %.*s", STR_ARG(d->enhanced));
    for (size_t i = 0; i < d->target_count; i++)
        n += snprintf(out + n, size - (size_t)n, " %d:%.*s", (int)d->targets[i].account,
                      STR_ARG(d->targets[i].delivered_to));
    for (size_t i = 0; i < d->relay_count; i++)
        n += snprintf(out + n, size - (size_t)n, " >%.*s/%.*s", STR_ARG(d->relays[i].address),
                      STR_ARG(d->relays[i].domain));
}

static const struct {
    const char *recipient;
    uint64_t size;
    const char *expected;
} cases[] = {
    /* exact, aliases of an account, case, details */
    {"alice@a.test", 0, "250 1:alice@a.test"},
    {"Alice@A.Test", 0, "250 1:Alice@A.Test"},
    {"alice.smith@a.test", 0, "250 1:alice.smith@a.test"},
    {"alice+shop@a.test", 0, "250 1:alice+shop@a.test"},
    {"alice+a+b@a.test", 0, "250 1:alice+a+b@a.test"},
    {"odd+name@a.test", 0, "250 2:odd+name@a.test"},
    {"odd+other@a.test", 0, "550 5.1.1"},
    {"+alice@a.test", 0, "550 5.1.1"},
    {"alice-shop@a.test", 0, "550 5.1.1"},
    {"postmaster-x+y@d.test", 0, "452 4.2.2"},
    {"postmaster+x-y@d.test", 0, "452 4.2.2"},
    {"\"alice\"@a.test", 0, "250 1:alice@a.test"},
    {"\"two words\"@a.test", 0, "250 2:\"two words\"@a.test"},
    {"jos\xc3\xa9@a.test", 0, "250 1:jos\xc3\xa9@a.test"},
    {"JOS\xc3\x89@a.test", 0, "250 1:JOS\xc3\x89@a.test"},
    {"nobody@a.test", 0, "550 5.1.1"},
    {"nobody@m\xc3\xbcnchen.test", 0, "550 5.1.1"},
    /* accounts that cannot take it */
    {"gone@a.test", 0, "550 5.2.1"},
    {"full@a.test", 0, "452 4.2.2"},
    {"full@a.test", 1001, "552 5.2.2"},
    {"bob@a.test", 500, "250 2:bob@a.test"},
    {"bob@a.test", 501, "452 4.2.2"},
    {"bob@a.test", 1001, "552 5.2.2"},
    {"alice@a.test", UINT64_MAX, "250 1:alice@a.test"},
    /* aliases */
    {"team@a.test", 0, "250 1:alice@a.test 2:bob@a.test"},
    {"team+x@a.test", 0, "250 1:alice@a.test 2:bob@a.test"},
    {"twice@a.test", 0, "250 1:alice.smith@a.test 2:bob@a.test"},
    {"keep@a.test", 0, "250 1:alice@a.test"},
    {"detail@a.test", 0, "250 1:alice+list@a.test"},
    {"self@a.test", 0, "550 5.4.6"},
    {"ping@a.test", 0, "550 5.4.6"},
    {"away@a.test", 0, "550 5.7.1"},
    {"host@a.test", 0, "550 5.7.1"},
    {"dead@a.test", 0, "550 5.2.1"},
    {"some@a.test", 0, "250 4:full@a.test 1:alice@a.test"},
    {"none@a.test", 0, "452 4.2.2"},
    {"empty@a.test", 0, "550 5.1.1"},
    {"deep2@a.test", 0, "250 1:alice@a.test"},
    {"deep1@a.test", 0, "550 5.2.4"},
    {"deep0@a.test", 0, "550 5.2.4"},
    /* catch-all */
    {"anything@b.test", 0, "250 1:anything@b.test"},
    {"any+thing@b.test", 0, "250 1:any+thing@b.test"},
    /* postmaster: RFC 5321 §4.5.1 */
    {"postmaster", 0, "250 2:postmaster@b.test"},
    {"POSTMASTER", 9999, "250 2:POSTMASTER@b.test"},
    {"postmaster@mail.a.test", 0, "250 2:postmaster@b.test"},
    {"\xef\xbc\xb0ostmaster@mail.a.test", 0, "250 2:\xef\xbc\xb0ostmaster@b.test"},
    {"postmaster@a.test", 0, "250 1:postmaster@a.test"},
    {"Postmaster@b.test", 0, "250 2:Postmaster@b.test"},
    {"postmaster@c.test", 0, "250 1:postmaster@c.test"},
    {"postmaster@d.test", 0, "250 4:postmaster@d.test"},
    {"root@a.test", 0, "250 1:postmaster@a.test"},
    {"postmaster@elsewhere.test", 0, "550 5.7.1"},
    {"alice", 0, "550 5.1.3"},
    /* never a relay */
    {"someone@elsewhere.test", 0, "550 5.7.1"},
    {"alice@sub.a.test", 0, "550 5.7.1"},
    {"alice@mail.a.test", 0, "550 5.7.1"},
    {"alice@[127.0.0.1]", 0, "550 5.7.1"},
    {"postmaster@[127.0.0.1]", 0, "550 5.7.1"},
    {"postmaster@[IPv6:::1]", 0, "550 5.7.1"},
    {"someone%elsewhere.test@a.test", 0, "550 5.7.1"},
    {"someone%elsewhere.test@b.test", 0, "550 5.7.1"},
    {"elsewhere.test!someone@b.test", 0, "550 5.7.1"},
    {"\"someone@elsewhere.test\"@b.test", 0, "550 5.7.1"},
    {"\"@a.test:someone@elsewhere.test\"@b.test", 0, "550 5.7.1"},
    {"alice%a.test@elsewhere.test", 0, "550 5.7.1"},
    {"per%cent@a.test", 0, "250 2:per%cent@a.test"},
};

static void check_case(const char *recipient, uint64_t size, bool outbound, bool may_relay,
                       const char *expected)
{
    struct world w = {.outbound = outbound, .may_relay = may_relay};
    struct recipient r;
    char words[1000];
    arena_init(&w.arena, 1 << 20);
    struct recipient_decision d = resolve(&w, recipient, size, &r);
    print(&d, words, sizeof(words));
    if (strcmp(words, expected) != 0)
        fail_msg("%s: %s, expected %s", recipient, words, expected);
    arena_reset(&w.arena);
}

static void every_recipient_goes_where_the_table_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        check_case(cases[i].recipient, cases[i].size, false, false, cases[i].expected);
}

static void where_no_mail_leaves_who_may_relay_may_not(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        check_case(cases[i].recipient, cases[i].size, false, true, cases[i].expected);
}

/* Those of the table whose members are all here: a stranger gains nothing where mail leaves. */
static void a_stranger_never_gets_mail_relayed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (strcmp(cases[i].recipient, "away@a.test") != 0 &&
            strcmp(cases[i].recipient, "host@a.test") != 0)
            check_case(cases[i].recipient, cases[i].size, true, false, cases[i].expected);
}

static const struct {
    const char *recipient;
    bool may_relay;
    const char *expected;
} ways_out[] = {
    {"someone@elsewhere.test", true, "250 >someone@elsewhere.test/elsewhere.test"},
    {"Some.One@ELSEWHERE.test", true, "250 >Some.One@ELSEWHERE.test/elsewhere.test"},
    {"\"two words\"@elsewhere.test", true, "250 >\"two words\"@elsewhere.test/elsewhere.test"},
    {"x@b\xc3\xbc"
     "cher.test",
     true,
     "250 >x@b\xc3\xbc"
     "cher.test/xn--bcher-kva.test"},
    {"postmaster@elsewhere.test", true, "250 >postmaster@elsewhere.test/elsewhere.test"},
    {"alice@sub.a.test", true, "250 >alice@sub.a.test/sub.a.test"},
    {"x@[192.0.2.1]", true, "250 >x@[192.0.2.1]/[192.0.2.1]"},
    {"x@[IPv6:2001:DB8::1]", true, "250 >x@[IPv6:2001:DB8::1]/[ipv6:2001:db8::1]"},
    /* what a local part means elsewhere is not ours to say; here it is */
    {"a%b.test@elsewhere.test", true, "250 >a%b.test@elsewhere.test/elsewhere.test"},
    {"someone%elsewhere.test@a.test", true, "550 5.7.1"},
    {"someone%elsewhere.test@b.test", true, "550 5.7.1"},
    {"elsewhere.test!someone@b.test", true, "550 5.7.1"},
    {"\"someone@elsewhere.test\"@b.test", true, "550 5.7.1"},
    {"per%cent@a.test", true, "250 2:per%cent@a.test"},
    /* who may relay finds everybody else as anybody does */
    {"alice@a.test", true, "250 1:alice@a.test"},
    {"nobody@a.test", true, "550 5.1.1"},
    {"alice@mail.a.test", true, "550 5.1.2"},
    {"alice@mail.a.test", false, "550 5.7.1"},
    {"alice", true, "550 5.1.3"},
    /* aliases send on, whoever asks */
    {"away@a.test", false, "250 >someone@elsewhere.test/elsewhere.test"},
    {"copy@a.test", false, "250 1:alice@a.test >someone@elsewhere.test/elsewhere.test"},
    {"late@a.test", false, "250 >someone@elsewhere.test/elsewhere.test"},
    {"list@a.test", false,
     "250 1:alice@a.test >x@[192.0.2.1]/[192.0.2.1] >a%b@far.test/far.test "
     ">someone@elsewhere.test/elsewhere.test"},
    {"host@a.test", false, "550 5.1.2"},
    {"someone@elsewhere.test", false, "550 5.7.1"},
};

static void mail_leaves_for_those_who_may_relay_and_by_aliases(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(ways_out) / sizeof(ways_out[0]); i++)
        check_case(ways_out[i].recipient, 0, true, ways_out[i].may_relay, ways_out[i].expected);
    check_case("copy@a.test", 0, false, true, "250 1:alice@a.test");
    check_case("late@a.test", 0, false, true, "550 5.2.1");
}

static void a_target_is_the_inbox_of_its_account(void **state)
{
    (void)state;
    struct world w = {0};
    struct recipient r;
    arena_init(&w.arena, 1 << 20);
    struct recipient_decision d = resolve(&w, "bob+x@a.test", 0, &r);
    assert_int_equal(d.target_count, 1);
    assert_int_equal(d.targets[0].mailbox, 12);
    assert_string_equal(d.text.ptr, "Recipient ok");
    arena_reset(&w.arena);
}

static void a_report_gets_past_a_quota_and_nothing_else(void **state)
{
    (void)state;
    struct world w = {.is_report = true};
    struct recipient r;
    arena_init(&w.arena, 1 << 20);
    assert_int_equal(resolve(&w, "full@a.test", 0, &r).code, 250);
    assert_int_equal(resolve(&w, "bob@a.test", 5000, &r).code, 250);
    assert_int_equal(resolve(&w, "gone@a.test", 0, &r).code, 550);
    assert_int_equal(resolve(&w, "someone@elsewhere.test", 0, &r).code, 550);
    arena_reset(&w.arena);
}

static void postmaster_waits_for_the_first_account(void **state)
{
    (void)state;
    struct world w = {.without_accounts = true};
    struct recipient r;
    arena_init(&w.arena, 1 << 20);
    assert_int_equal(resolve(&w, "postmaster@a.test", 0, &r).code, 451);
    assert_int_equal(resolve(&w, "postmaster@c.test", 0, &r).code, 451);
    arena_reset(&w.arena);
}

static void an_alias_may_be_wide_but_not_endless(void **state)
{
    (void)state;
    struct world w = {.wide = LIMIT_ALIAS_ADDRESSES - 1};
    struct recipient r;
    arena_init(&w.arena, 1 << 22);
    struct recipient_decision d = resolve(&w, "wide@a.test", 0, &r);
    assert_int_equal(d.code, 250);
    assert_int_equal(d.target_count, 1);
    w.wide++;
    d = resolve(&w, "wide@a.test", 0, &r);
    assert_int_equal(d.code, 550);
    assert_true(str_eq(d.enhanced, STR("5.2.4")));
    arena_reset(&w.arena);
}

static void a_full_arena_is_a_temporary_refusal(void **state)
{
    (void)state;
    for (size_t budget = 1200; budget < 8000; budget += 200) {
        struct world w = {0}, scratch = {0};
        struct recipient r;
        struct recipient_question question;
        arena_init(&w.arena, budget);
        arena_init(&scratch.arena, 1 << 20);
        const struct recipient_rules rules = {STR("mail.a.test"), STR("b.test"), true, true, false};
        struct recipient_address address = address_of(&scratch.arena, STR("twice@a.test"));
        recipient_begin(&r, &w.arena, &rules, &address, 0);
        while (recipient_next(&r, &question)) {
            struct recipient_fact fact = look_up(&scratch, &question);
            recipient_answer(&r, &fact);
        }
        assert_true(r.decision.code == 451 || r.decision.code == 250);
        arena_reset(&scratch.arena);
        arena_reset(&w.arena);
    }
}

static bool is_own(const char *address, uint64_t account)
{
    struct world w = {.outbound = true, .may_relay = true};
    struct recipient r;
    arena_init(&w.arena, 1 << 20);
    resolve(&w, address, 0, &r);
    bool own = recipient_is_own(&r, account);
    arena_reset(&w.arena);
    return own;
}

static void own_addresses_are_those_that_lead_to_the_account_and_to_nobody_else(void **state)
{
    (void)state;
    assert_true(is_own("alice@a.test", 1));
    assert_true(is_own("alice+shop@a.test", 1));
    assert_false(is_own("alice+shop@a.test", 2));
    assert_true(is_own("me@a.test", 1));
    assert_true(is_own("detail@a.test", 1));
    assert_true(is_own("keep@a.test", 1));
    assert_true(is_own("full@a.test", 4));
    assert_false(is_own("gone@a.test", 3));
    assert_true(is_own("anything@b.test", 1)); /* the catch-all's */
    assert_true(is_own("postmaster@a.test", 1));
    assert_false(is_own("postmaster@a.test", 2));
    assert_false(is_own("team@a.test", 1));
    assert_false(is_own("team@a.test", 2));
    assert_false(is_own("twice@a.test", 1));
    assert_false(is_own("some@a.test", 1));
    assert_false(is_own("copy@a.test", 1));
    assert_false(is_own("someone@elsewhere.test", 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_recipient_goes_where_the_table_says),
        cmocka_unit_test(where_no_mail_leaves_who_may_relay_may_not),
        cmocka_unit_test(a_stranger_never_gets_mail_relayed),
        cmocka_unit_test(mail_leaves_for_those_who_may_relay_and_by_aliases),
        cmocka_unit_test(a_target_is_the_inbox_of_its_account),
        cmocka_unit_test(a_report_gets_past_a_quota_and_nothing_else),
        cmocka_unit_test(postmaster_waits_for_the_first_account),
        cmocka_unit_test(an_alias_may_be_wide_but_not_endless),
        cmocka_unit_test(a_full_arena_is_a_temporary_refusal),
        cmocka_unit_test(own_addresses_are_those_that_lead_to_the_account_and_to_nobody_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
