#include "base/network.h"

#include "base/testing.h"

static void a_network_has_what_shares_its_prefix(void **state)
{
    (void)state;
    struct network list[] = {
        {{[10] = 0xFF, 0xFF, 10, 128}, 96 + 9},
        {{0x20, 0x01, 0x0d, 0xb8}, 32},
    };
    struct networks networks = {list, 2};
    assert_true(networks_have(&networks, (uint8_t[16]){[10] = 0xFF, 0xFF, 10, 129, 1, 2}));
    assert_true(networks_have(&networks, (uint8_t[16]){[10] = 0xFF, 0xFF, 10, 255, 1, 2}));
    assert_false(networks_have(&networks, (uint8_t[16]){[10] = 0xFF, 0xFF, 10, 127, 1, 2}));
    assert_true(networks_have(&networks, (uint8_t[16]){0x20, 0x01, 0x0d, 0xb8, 9}));
    assert_false(networks_have(&networks, (uint8_t[16]){0x20, 0x01, 0x0d, 0xb9}));
    assert_false(networks_have(&(struct networks){0}, (uint8_t[16]){0}));
}

static void a_mapped_address_is_ipv4(void **state)
{
    (void)state;
    assert_true(network_is_ipv4((uint8_t[16]){[10] = 0xFF, 0xFF, 1, 2, 3, 4}));
    assert_false(network_is_ipv4((uint8_t[16]){[15] = 1}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_network_has_what_shares_its_prefix),
        cmocka_unit_test(a_mapped_address_is_ipv4),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
