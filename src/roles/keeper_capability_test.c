#include "roles/keeper_capability.h"

#include "base/testing.h"

static const struct capability_key key = {"0123456789abcdef0123456789abcde"};
static const struct capability granted = {.account = 0x1122334455667788,
                                          .credential = 0x99AABBCCDDEEFF,
                                          .rights = CAPABILITY_CHANGE_MAIL,
                                          .session = UINT64_MAX,
                                          .issued_ms = 1000,
                                          .expires_ms = 2000};

static struct str mint(uint8_t octets[CAPABILITY_SIZE])
{
    assert_true(capability_mint(&granted, &key, octets));
    return str_make(octets, CAPABILITY_SIZE);
}

static void what_was_minted_is_read_back(void **state)
{
    (void)state;
    uint8_t octets[CAPABILITY_SIZE];
    struct capability_keys keys = {0};
    struct capability c;
    struct now now = {.mono_ms = 1999};
    struct str minted = mint(octets);
    assert_false(capability_check(&keys, minted, now, &c));
    assert_true(capability_keys_add(&keys, str_make(key.octets, CAPABILITY_KEY_SIZE)));
    assert_true(capability_check(&keys, minted, now, &c));
    assert_true(c.account == granted.account && c.credential == granted.credential &&
                c.session == granted.session);
    assert_int_equal(c.rights, CAPABILITY_CHANGE_MAIL);
    assert_int_equal(c.issued_ms, 1000);
    assert_int_equal(c.expires_ms, 2000);
    now.mono_ms = 2000;
    assert_false(capability_check(&keys, minted, now, &c));
}

static void every_changed_bit_is_noticed(void **state)
{
    (void)state;
    uint8_t octets[CAPABILITY_SIZE];
    struct capability_keys keys = {0};
    struct capability c;
    struct str minted = mint(octets);
    capability_keys_add(&keys, str_make(key.octets, CAPABILITY_KEY_SIZE));
    for (int bit = 0; bit < CAPABILITY_SIZE * 8; bit++) {
        octets[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(capability_check(&keys, minted, (struct now){0}, &c));
        octets[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_false(
        capability_check(&keys, str_sub(minted, 0, CAPABILITY_SIZE - 1), (struct now){0}, &c));
    assert_true(capability_check(&keys, minted, (struct now){0}, &c));
}

static void the_last_few_keys_are_good(void **state)
{
    (void)state;
    uint8_t octets[CAPABILITY_SIZE];
    struct capability_keys keys = {0};
    struct capability c;
    struct str minted = mint(octets);
    capability_keys_add(&keys, str_make(key.octets, CAPABILITY_KEY_SIZE));
    for (int i = 1; i <= CAPABILITY_KEYS_MAX; i++) {
        assert_true(capability_check(&keys, minted, (struct now){0}, &c));
        uint8_t newer[CAPABILITY_KEY_SIZE] = {(uint8_t)i};
        assert_true(capability_keys_add(&keys, str_make(newer, sizeof newer)));
        assert_true(capability_keys_add(&keys, str_make(newer, sizeof newer)));
    }
    assert_false(capability_check(&keys, minted, (struct now){0}, &c));
    assert_false(capability_keys_add(&keys, STR("short")));
}

static void a_run_has_one_key_and_other_runs_have_others(void **state)
{
    (void)state;
    struct capability_key first, again, later, foreign;
    assert_true(capability_key_derive(STR("secret"), STR("boot 1"), &first));
    assert_true(capability_key_derive(STR("secret"), STR("boot 1"), &again));
    assert_true(capability_key_derive(STR("secret"), STR("boot 2"), &later));
    assert_true(capability_key_derive(STR("Secret"), STR("boot 1"), &foreign));
    assert_memory_equal(&first, &again, sizeof first);
    assert_memory_not_equal(&first, &later, sizeof first);
    assert_memory_not_equal(&first, &foreign, sizeof first);
}

static void add_end(struct capability_ends *ends, uint64_t account, uint64_t credential,
                    int64_t issued_ms)
{
    const struct capability_end end = {account, credential, issued_ms};
    assert_true(capability_ends_add(ends, &end));
}

static void an_end_covers_what_was_issued_until_then(void **state)
{
    (void)state;
    struct capability_ends ends = {0};
    assert_false(capability_ends_cover(&ends, 7, 1, 0));
    for (uint64_t account = 100; account > 0; account--)
        add_end(&ends, account, account % 3, 1000);
    assert_true(capability_ends_cover(&ends, 7, 1, 1000));
    assert_false(capability_ends_cover(&ends, 7, 1, 1001));
    assert_false(capability_ends_cover(&ends, 7, 2, 0));
    assert_true(capability_ends_cover(&ends, 9, 2, 1000)); /* by any credential */
    add_end(&ends, 7, 1, 900);
    assert_true(capability_ends_cover(&ends, 7, 1, 1000));
    add_end(&ends, 7, 1, 2000);
    assert_true(capability_ends_cover(&ends, 7, 1, 2000));
    assert_int_equal(ends.count, 100);
    add_end(&ends, 0, 0, 3000);
    assert_int_equal(ends.count, 1);
    assert_true(capability_ends_cover(&ends, 12345, 6, 3000));
    assert_false(capability_ends_cover(&ends, 7, 1, 3001));
    capability_ends_release(&ends);
}

static void ends_that_say_nothing_any_more_make_room(void **state)
{
    (void)state;
    struct capability_ends ends = {0};
    for (uint64_t i = 1; i <= 1000; i++)
        add_end(&ends, i, 0, (int64_t)i * (CAPABILITY_END_KEPT_MS / 10));
    assert_in_range(ends.room, 11, 64);
    assert_true(capability_ends_cover(&ends, 999, 5, 1));
    capability_ends_release(&ends);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_has_one_key_and_other_runs_have_others),
        cmocka_unit_test(what_was_minted_is_read_back),
        cmocka_unit_test(every_changed_bit_is_noticed),
        cmocka_unit_test(the_last_few_keys_are_good),
        cmocka_unit_test(an_end_covers_what_was_issued_until_then),
        cmocka_unit_test(ends_that_say_nothing_any_more_make_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
