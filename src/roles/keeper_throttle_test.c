#include "roles/keeper_throttle.h"

#include <stdio.h>

#include "base/testing.h"

static const uint8_t secret[THROTTLE_SECRET_SIZE] = "sixteen octets.";

static const struct str v4 = STR("\x0a\x00\x00\x01");
static const struct str v6 = STR("\x20\x01\x0d\xb8\0\0\0\1\0\0\0\0\0\0\0\1");
static const struct str v6_neighbour = STR("\x20\x01\x0d\xb8\0\0\0\1\xff\xff\0\0\0\0\0\2");
static const struct str v6_other = STR("\x20\x01\x0d\xb8\0\0\0\2\0\0\0\0\0\0\0\1");

static void an_address_waits_longer_with_each_failure(void **state)
{
    (void)state;
    struct throttle *t = throttle_new(secret);
    struct now now = {.mono_ms = 5000};
    char name[32];
    for (int i = 0; i < THROTTLE_ADDRESS_FREE; i++) {
        assert_true(throttle_address_until(t, v4, now) <= now.mono_ms);
        snprintf(name, sizeof name, "name%d", i);
        throttle_failed(t, str_from_c(name), v4, now);
    }
    int64_t wait = THROTTLE_FIRST_MS;
    for (int i = 0; i < 40; i++) {
        assert_true(throttle_address_until(t, v4, now) <= now.mono_ms);
        throttle_failed(t, STR("x"), v4, now);
        assert_true(throttle_address_until(t, v4, now) == now.mono_ms + wait);
        now.mono_ms += wait;
        wait = wait * 2 < THROTTLE_MOST_MS ? wait * 2 : THROTTLE_MOST_MS;
    }
    now.mono_ms += THROTTLE_FORGET_MS;
    throttle_failed(t, STR("x"), v4, now);
    assert_true(throttle_address_until(t, v4, now) <= now.mono_ms);
    throttle_free(t);
}

static void an_ipv6_network_is_one_address(void **state)
{
    (void)state;
    struct throttle *t = throttle_new(secret);
    struct now now = {.mono_ms = 5000};
    for (int i = 0; i <= THROTTLE_ADDRESS_FREE; i++)
        throttle_failed(t, STR(""), v6, now);
    assert_true(throttle_address_until(t, v6, now) > now.mono_ms);
    assert_true(throttle_address_until(t, v6_neighbour, now) > now.mono_ms);
    assert_true(throttle_address_until(t, v6_other, now) <= now.mono_ms);
    throttle_free(t);
}

static void a_name_is_counted_over_all_addresses(void **state)
{
    (void)state;
    struct throttle *t = throttle_new(secret);
    struct now now = {.mono_ms = 5000};
    throttle_succeeded(t, STR("alice"), v4, now);
    for (int i = 0; i <= THROTTLE_NAME_FREE; i++) {
        char address[4] = {10, 1, 0, (char)i};
        throttle_failed(t, STR("alice"), str_make(address, 4), now);
    }
    assert_true(throttle_name_until(t, STR("alice"), v6, now) > now.mono_ms);
    assert_true(throttle_name_until(t, STR("bob"), v6, now) <= now.mono_ms);
    assert_true(throttle_name_until(t, STR("alice"), v4, now) <= now.mono_ms);
    throttle_free(t);
}

static void a_local_peer_is_never_held_up(void **state)
{
    (void)state;
    struct throttle *t = throttle_new(secret);
    struct now now = {.mono_ms = 5000};
    for (int i = 0; i < 100; i++)
        throttle_failed(t, STR("alice"), STR(""), now);
    assert_true(throttle_address_until(t, STR(""), now) <= now.mono_ms);
    assert_true(throttle_name_until(t, STR("alice"), STR(""), now) <= now.mono_ms);
    assert_true(throttle_name_until(t, STR("alice"), v4, now) <= now.mono_ms);
    throttle_free(t);
}

static void a_flood_of_addresses_forgets_the_oldest(void **state)
{
    (void)state;
    struct throttle *t = throttle_new(secret);
    struct now now = {.mono_ms = 5000};
    for (uint32_t i = 0; i < 100000; i++) {
        now.mono_ms++;
        throttle_failed(t, STR(""), str_make(&i, 4), now);
    }
    for (int i = 0; i <= THROTTLE_ADDRESS_FREE; i++)
        throttle_failed(t, STR(""), v4, now);
    assert_true(throttle_address_until(t, v4, now) > now.mono_ms);
    throttle_free(t);
}

/* Whoever has a /48 has as many addresses, and can fail with as many names as he wants. */
static void a_flood_of_names_does_not_clear_the_one_that_is_meant(void **state)
{
    (void)state;
    struct throttle *t = throttle_new(secret);
    struct now now = {.mono_ms = 5000};
    for (uint32_t i = 0; i <= THROTTLE_NAME_FREE; i++)
        throttle_failed(t, STR("alice"), str_make(&i, 4), now);
    for (uint32_t i = 0; i < 100000; i++) {
        char name[32];
        snprintf(name, sizeof name, "name%u", i);
        throttle_failed(t, str_from_c(name), str_make(&i, 4), now);
    }
    assert_true(throttle_name_until(t, STR("alice"), v6, now) > now.mono_ms);
    /* But what was quiet for long makes room, whatever it did. */
    now.mono_ms += THROTTLE_FORGET_MS;
    for (uint32_t i = 0; i < 100000; i++)
        throttle_failed(t, STR(""), str_make(&i, 4), now);
    for (int i = 0; i <= THROTTLE_ADDRESS_FREE; i++)
        throttle_failed(t, STR(""), v4, now);
    assert_true(throttle_address_until(t, v4, now) > now.mono_ms);
    throttle_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_waits_longer_with_each_failure),
        cmocka_unit_test(an_ipv6_network_is_one_address),
        cmocka_unit_test(a_name_is_counted_over_all_addresses),
        cmocka_unit_test(a_local_peer_is_never_held_up),
        cmocka_unit_test(a_flood_of_addresses_forgets_the_oldest),
        cmocka_unit_test(a_flood_of_names_does_not_clear_the_one_that_is_meant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
