#include "roles/edge_admit.h"

#include "base/testing.h"

static const struct edge_admit_limits limits = {.open_per_address = 2, .rate_per_minute = 4};

static const struct str seed = STR("0123456789abcdef");

static struct edge_address v6(uint8_t network, uint8_t host)
{
    return (struct edge_address){{0x20, 0x01, [7] = network, [15] = host}};
}

static struct edge_address v4(uint8_t last)
{
    return (struct edge_address){{[10] = 0xFF, [11] = 0xFF, [12] = 192, [14] = 2, [15] = last}};
}

static struct now at_ms(int64_t ms)
{
    return (struct now){.mono_ms = ms};
}

static void an_ipv6_network_counts_as_one_and_ipv4_addresses_each(void **state)
{
    (void)state;
    struct edge_counts *a = edge_counts_new(seed);
    assert_int_equal(edge_admit_open(a, v6(1, 1), 0, &limits, at_ms(0)), EDGE_ADMITTED);
    assert_int_equal(edge_admit_open(a, v6(1, 2), 0, &limits, at_ms(0)), EDGE_ADMITTED);
    assert_int_equal(edge_admit_open(a, v6(1, 3), 0, &limits, at_ms(0)), EDGE_TOO_MANY_OPEN);
    assert_int_equal(edge_admit_open(a, v6(2, 1), 0, &limits, at_ms(0)), EDGE_ADMITTED);
    for (uint8_t i = 0; i < 8; i++)
        assert_int_equal(edge_admit_open(a, v4(i), 0, &limits, at_ms(0)), EDGE_ADMITTED);
    edge_counts_free(a);
}

static void each_listener_kind_has_its_own_count_and_closing_gives_back(void **state)
{
    (void)state;
    struct edge_counts *a = edge_counts_new(seed);
    assert_int_equal(edge_admit_open(a, v4(1), 0, &limits, at_ms(0)), EDGE_ADMITTED);
    assert_int_equal(edge_admit_open(a, v4(1), 0, &limits, at_ms(0)), EDGE_ADMITTED);
    assert_int_equal(edge_admit_open(a, v4(1), 1, &limits, at_ms(0)), EDGE_ADMITTED);
    assert_int_equal(edge_admit_open(a, v4(1), 0, &limits, at_ms(0)), EDGE_TOO_MANY_OPEN);
    edge_admit_close(a, v4(1), 0);
    assert_int_equal(edge_admit_open(a, v4(1), 0, &limits, at_ms(0)), EDGE_ADMITTED);
    edge_counts_free(a);
}

static void the_rate_is_counted_by_the_minute(void **state)
{
    (void)state;
    struct edge_counts *a = edge_counts_new(seed);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(edge_admit_open(a, v4(1), 0, &limits, at_ms(i)), EDGE_ADMITTED);
        edge_admit_close(a, v4(1), 0);
    }
    assert_int_equal(edge_admit_open(a, v4(1), 0, &limits, at_ms(59999)), EDGE_TOO_FAST);
    assert_int_equal(edge_admit_open(a, v4(1), 0, &limits, at_ms(60000)), EDGE_ADMITTED);
    edge_counts_free(a);
}

static struct edge_address numbered(uint32_t number)
{
    return (struct edge_address){
        {0x20, 0x02, [4] = (uint8_t)(number >> 24), [5] = (uint8_t)(number >> 16),
         [6] = (uint8_t)(number >> 8), [7] = (uint8_t)number}};
}

static void ever_new_addresses_push_out_neither_newcomers_nor_who_is_held_back(void **state)
{
    (void)state;
    struct edge_counts *a = edge_counts_new(seed);
    assert_int_equal(edge_admit_open(a, v6(9, 1), 0, &limits, at_ms(0)), EDGE_ADMITTED);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(edge_admit_open(a, v4(1), 0, &limits, at_ms(0)), EDGE_ADMITTED);
        edge_admit_close(a, v4(1), 0);
    }
    for (uint32_t i = 0; i < 200000; i++) {
        assert_int_equal(edge_admit_open(a, numbered(i), 0, &limits, at_ms(1)), EDGE_ADMITTED);
        edge_admit_close(a, numbered(i), 0);
    }
    assert_int_equal(edge_admit_open(a, v4(1), 0, &limits, at_ms(2)), EDGE_TOO_FAST);
    edge_admit_close(a, v6(9, 1), 0); /* is known still */
    edge_counts_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_ipv6_network_counts_as_one_and_ipv4_addresses_each),
        cmocka_unit_test(each_listener_kind_has_its_own_count_and_closing_gives_back),
        cmocka_unit_test(the_rate_is_counted_by_the_minute),
        cmocka_unit_test(ever_new_addresses_push_out_neither_newcomers_nor_who_is_held_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
