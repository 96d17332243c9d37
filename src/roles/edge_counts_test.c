/* Several edges that count together, here in one process. */
#include "roles/edge_counts.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/testing.h"
#include "io/random.h"
#include "io/shared_memory.h"
#include "roles/edge_admit.h"

enum { EDGES = 2, MIB = 1024 * 1024 };

static const struct str seed = STR("0123456789abcdef");
static const struct edge_admit_limits limits = {.open_per_address = 3, .rate_per_minute = 5};
static const struct edge_address somebody = {{0x20, 0x01, [15] = 1}};
static const struct edge_address another = {{0x20, 0x02, [15] = 1}};

struct house {
    int sections[EDGES];
    struct edge_counts *edges[EDGES];
};

/* As the warden does it. */
static void start(struct house *h, size_t edge)
{
    h->edges[edge] = edge_counts_new(STR("another seed, no"));
    for (size_t i = 0; i < EDGES; i++) {
        int reader;
        assert_int_equal(shared_memory_reader(h->sections[i], &reader), STATUS_OK);
        assert_int_equal(
            edge_counts_join(h->edges[edge], seed, i == edge ? h->sections[i] : reader, i == edge),
            STATUS_OK);
        close(reader);
    }
    assert_int_equal(edge_counts_edges(h->edges[edge]), EDGES);
}

static void open_house(struct house *h)
{
    for (size_t i = 0; i < EDGES; i++)
        assert_int_equal(shared_memory_new(edge_counts_section_size(), &h->sections[i]), STATUS_OK);
    for (size_t i = 0; i < EDGES; i++)
        start(h, i);
}

/* kill -9, and what the warden does then. */
static void kill_edge(struct house *h, size_t edge)
{
    edge_counts_free(h->edges[edge]);
    h->edges[edge] = NULL;
    assert_int_equal(shared_memory_clear(h->sections[edge], edge_counts_section_size()), STATUS_OK);
}

static void close_house(struct house *h)
{
    for (size_t i = 0; i < EDGES; i++) {
        edge_counts_free(h->edges[i]);
        close(h->sections[i]);
    }
}

static enum edge_verdict come(struct house *h, size_t edge, struct edge_address who, int64_t at_ms)
{
    return edge_admit_open(h->edges[edge], who, 1, &limits, (struct now){.mono_ms = at_ms});
}

static void go(struct house *h, size_t edge, struct edge_address who)
{
    edge_admit_close(h->edges[edge], who, 1);
}

/* What a taken-over edge may have in its section. */
static void fill_section(struct house *h, size_t edge, const void *bytes)
{
    void *memory;
    size_t size = edge_counts_section_size();
    assert_int_equal(shared_memory_map(h->sections[edge], size, true, &memory), STATUS_OK);
    memcpy(memory, bytes, size);
    shared_memory_unmap(memory, size);
}

static void connections_of_an_address_count_at_all_edges_together(void **state)
{
    (void)state;
    struct house h;
    open_house(&h);
    assert_int_equal(come(&h, 0, somebody, 0), EDGE_ADMITTED);
    assert_int_equal(come(&h, 1, somebody, 0), EDGE_ADMITTED);
    assert_int_equal(come(&h, 1, somebody, 0), EDGE_ADMITTED);
    assert_int_equal(come(&h, 0, somebody, 0), EDGE_TOO_MANY_OPEN);
    assert_int_equal(come(&h, 1, somebody, 0), EDGE_TOO_MANY_OPEN);
    assert_int_equal(come(&h, 0, another, 0), EDGE_ADMITTED);
    go(&h, 1, somebody);
    assert_int_equal(come(&h, 0, somebody, 0), EDGE_ADMITTED);
    assert_int_equal(come(&h, 1, somebody, 0), EDGE_TOO_MANY_OPEN);
    close_house(&h);
}

/* One edge's process: comes and goes. False where it was in together with the other; `inside`
 * counts those who are. */
static bool race(struct house *h, size_t edge, _Atomic unsigned *inside)
{
    struct edge_admit_limits open_only = {.open_per_address = 1, .rate_per_minute = UINT32_MAX};
    bool alone = true;
    for (unsigned tries = 0, times = 0; alone && (times == 0 || tries < 200000); tries++) {
        struct now now = {0};
        if (edge_admit_open(h->edges[edge], somebody, 1, &open_only, now) != EDGE_ADMITTED)
            continue;
        atomic_fetch_add(inside, 1);
        for (int i = 0; i < 300; i++)
            alone = alone && atomic_load(inside) == 1;
        atomic_fetch_sub(inside, 1);
        go(h, edge, somebody);
        times++;
    }
    return alone;
}

static void two_processes_that_race_for_the_last_place_never_both_have_it(void **state)
{
    (void)state;
    struct house h;
    int fd, status;
    void *memory;
    open_house(&h);
    assert_int_equal(shared_memory_new(4096, &fd), STATUS_OK);
    assert_int_equal(shared_memory_map(fd, 4096, true, &memory), STATUS_OK);
    pid_t pid = fork();
    if (pid == 0)
        _exit(race(&h, 1, memory) ? 0 : 1);
    bool good = race(&h, 0, memory);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(good && status == 0);
    shared_memory_unmap(memory, 4096);
    close(fd);
    close_house(&h);
}

static void an_edge_that_ends_takes_its_counts_along(void **state)
{
    (void)state;
    struct house h;
    open_house(&h);
    assert_true(edge_counts_connect(h.edges[1], 1));
    for (int i = 0; i < 3; i++)
        assert_int_equal(come(&h, 1, somebody, 0), EDGE_ADMITTED);
    assert_int_equal(come(&h, 0, somebody, 0), EDGE_TOO_MANY_OPEN);
    assert_false(edge_counts_connect(h.edges[0], 1));
    kill_edge(&h, 1);
    assert_int_equal(come(&h, 0, somebody, 0), EDGE_ADMITTED);
    assert_true(edge_counts_connect(h.edges[0], 1));
    start(&h, 1);
    assert_int_equal(come(&h, 1, somebody, 0), EDGE_ADMITTED);
    assert_false(edge_counts_connect(h.edges[1], 1));
    close_house(&h);
}

static void the_rate_counts_at_all_edges_in_one_minute(void **state)
{
    (void)state;
    struct house h;
    open_house(&h);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(come(&h, i % 2, somebody, (int64_t)i * 10000), EDGE_ADMITTED);
        go(&h, i % 2, somebody);
    }
    /* The first came at 0, and the second edge's first at 10000: it is the same minute. */
    assert_int_equal(come(&h, 0, somebody, 59999), EDGE_TOO_FAST);
    assert_int_equal(come(&h, 1, somebody, 59999), EDGE_TOO_FAST);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(come(&h, 1 - i % 2, somebody, 60000), EDGE_ADMITTED);
        go(&h, 1 - i % 2, somebody);
    }
    assert_int_equal(come(&h, 0, somebody, 119999), EDGE_TOO_FAST);
    assert_int_equal(come(&h, 1, somebody, 119999), EDGE_TOO_FAST);
    close_house(&h);
}

static void all_connections_have_one_limit(void **state)
{
    (void)state;
    struct house h;
    open_house(&h);
    for (size_t i = 0; i < 10; i++)
        assert_true(edge_counts_connect(h.edges[i % 3 == 0], 10));
    assert_false(edge_counts_connect(h.edges[0], 10));
    assert_false(edge_counts_connect(h.edges[1], 10));
    assert_int_equal(edge_counts_connections(h.edges[0]), 10);
    edge_counts_disconnect(h.edges[1]);
    assert_true(edge_counts_connect(h.edges[0], 10));
    close_house(&h);
}

/* What a message would hold is counted before it is known whether it fits. */
static bool hold(struct house *h, size_t edge, struct edge_entry *payer, struct edge_address who,
                 size_t size)
{
    struct edge_counts *c = h->edges[edge];
    edge_counts_charge(c, payer, 0, size);
    if (edge_counts_bodies_fit(c, payer, edge_admit_key(c, who), 64L * MIB))
        return true;
    edge_counts_charge(c, payer, size, 0);
    return false;
}

static void
bodies_have_one_budget_and_nobody_more_than_a_quarter_of_it_once_it_gets_scarce(void **state)
{
    (void)state;
    struct house h;
    struct edge_entry *payers[EDGES], *others[EDGES];
    open_house(&h);
    for (size_t i = 0; i < EDGES; i++) {
        struct edge_counts *c = h.edges[i];
        payers[i] = edge_counts_take(c, edge_admit_key(c, somebody), (struct now){0});
        others[i] = edge_counts_take(c, edge_admit_key(c, another), (struct now){0});
    }
    /* While nobody else wants it he has up to half. */
    assert_true(hold(&h, 0, payers[0], somebody, 12UL * MIB));
    assert_true(hold(&h, 1, payers[1], somebody, 20UL * MIB));
    assert_false(hold(&h, 0, payers[0], somebody, 1));
    assert_false(hold(&h, 1, payers[1], somebody, 1));
    /* Others find the rest, each a quarter; and he nothing more. */
    assert_true(hold(&h, 0, others[0], another, 8UL * MIB));
    assert_true(hold(&h, 1, others[1], another, 8UL * MIB));
    assert_false(hold(&h, 0, others[0], another, 1));
    assert_false(hold(&h, 1, others[1], another, 1));
    /* Whom nobody counts has the whole; and the whole has an end, too. */
    assert_true(hold(&h, 1, NULL, another, 16UL * MIB));
    assert_false(hold(&h, 0, NULL, another, 1));
    edge_counts_charge(h.edges[1], payers[1], 20UL * MIB, 0);
    assert_true(hold(&h, 0, payers[0], somebody, 4UL * MIB));
    assert_false(hold(&h, 0, payers[0], somebody, 1));
    /* A small budget does not keep the largest message out. */
    edge_counts_charge(h.edges[0], payers[0], 16UL * MIB, 0);
    kill_edge(&h, 1);
    edge_counts_charge(h.edges[0], others[0], 8UL * MIB, 0);
    edge_counts_charge(h.edges[0], payers[0], 0, LIMIT_BODIES_SHARE_SIZE_MIN);
    assert_true(edge_counts_bodies_fit(h.edges[0], payers[0], edge_admit_key(h.edges[0], somebody),
                                       LIMIT_BODIES_SHARE_SIZE_MIN));
    close_house(&h);
}

static void an_account_is_nobodys_address(void **state)
{
    (void)state;
    struct edge_counts *c = edge_counts_new(seed);
    struct edge_address address = {{0}};
    memset(address.octets, 0xFF, 8);
    address.octets[8] = 1;
    uint64_t account = 0;
    memcpy(&account, address.octets + 8, 8);
    assert_true(edge_admit_key(c, address) != edge_admit_account_key(c, account));
    assert_true(edge_admit_account_key(c, 1) != edge_admit_account_key(c, 2));
    edge_counts_free(c);
}

/* An address after the other, until the set of `who` has been written over many times. */
static void crowd(struct house *h, size_t edge, uint32_t count, int64_t at_ms)
{
    for (uint32_t i = 0; i < count; i++) {
        struct edge_address one = {{0x20, 0x03}};
        memcpy(one.octets + 4, &i, sizeof i);
        if (come(h, edge, one, at_ms) == EDGE_ADMITTED)
            go(h, edge, one);
    }
}

static void a_crowd_at_one_edge_pushes_out_no_connection_and_nobody_who_is_held_back(void **state)
{
    (void)state;
    struct house h;
    open_house(&h);
    assert_int_equal(come(&h, 0, another, 0), EDGE_ADMITTED);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(come(&h, 0, somebody, 0), EDGE_ADMITTED);
        go(&h, 0, somebody);
    }
    crowd(&h, 0, 200000, 1);
    crowd(&h, 1, 200000, 1);
    assert_int_equal(come(&h, 0, somebody, 2), EDGE_TOO_FAST);
    assert_int_equal(come(&h, 1, somebody, 2), EDGE_TOO_FAST);
    assert_int_equal(come(&h, 1, another, 2), EDGE_ADMITTED);
    assert_int_equal(come(&h, 1, another, 2), EDGE_ADMITTED);
    assert_int_equal(come(&h, 1, another, 2), EDGE_TOO_MANY_OPEN);
    go(&h, 0, another);
    close_house(&h);
}

static void connections_of_many_addresses_find_room_and_no_more_than_there_is(void **state)
{
    (void)state;
    struct house h;
    struct now now = {.mono_ms = 1};
    uint32_t held = 0, refused = 0;
    open_house(&h);
    for (uint32_t i = 0; i < 80000; i++) {
        struct edge_address one = {{0x20, 0x04}};
        memcpy(one.octets + 4, &i, sizeof i);
        bool got = edge_admit_open(h.edges[0], one, 0, &limits, now) == EDGE_ADMITTED;
        held += got;
        refused += !got;
        /* As many as there may be connections of the default. */
        assert_true(got || i > LIMIT_CONNECTIONS);
    }
    assert_in_range(held, 50000, 65536);
    assert_true(refused > 0);
    close_house(&h);
}

static void whatever_a_sibling_says_does_no_harm_but_refuse(void **state)
{
    (void)state;
    struct house h;
    size_t size = edge_counts_section_size();
    uint8_t *bytes = malloc(size);
    assert_non_null(bytes);
    for (int round = 0; round < 4; round++) {
        open_house(&h);
        if (round == 0)
            memset(bytes, 0xFF, size);
        else if (round == 1)
            memset(bytes, 0x80, size);
        else
            random_bytes(bytes, size);
        fill_section(&h, 1, bytes);
        struct edge_counts *c = h.edges[0];
        struct now now = {.mono_ms = 1000000};
        struct edge_entry *payer = edge_counts_take(c, edge_admit_key(c, somebody), now);
        (void)edge_counts_connect(c, UINT32_MAX);
        assert_true(edge_counts_connections(c) <= 2ULL * UINT32_MAX);
        assert_false(hold(&h, 0, payer, somebody, MIB));
        assert_int_equal(edge_counts_own_bodies(c), 0);
        crowd(&h, 0, 1000, now.mono_ms);
        edge_counts_drop(payer);
        /* What is here is as it was, once the warden has cleared what the other left behind. */
        kill_edge(&h, 1);
        assert_int_equal(come(&h, 0, somebody, now.mono_ms), EDGE_ADMITTED);
        payer = edge_counts_take(c, edge_admit_key(c, somebody), now);
        assert_true(hold(&h, 0, payer, somebody, MIB));
        start(&h, 1);
        close_house(&h);
    }
    free(bytes);
}

static void a_siblings_word_of_one_address_is_taken_for_that_one_only(void **state)
{
    (void)state;
    struct house h;
    struct now now = {0};
    open_house(&h);
    /* It says it has more than there is, and that its minute never ends. */
    uint64_t key = edge_admit_key(h.edges[1], somebody);
    struct edge_entry *lie = edge_counts_take(h.edges[1], key, now);
    atomic_store(&lie->open[1], UINT16_MAX);
    atomic_store(&lie->opened_this_minute, UINT32_MAX);
    atomic_store(&lie->minute_start_ms, INT64_MAX);
    assert_int_equal(come(&h, 0, somebody, 0), EDGE_TOO_MANY_OPEN);
    atomic_store(&lie->open[1], 0);
    assert_int_equal(come(&h, 0, somebody, 0), EDGE_TOO_FAST);
    assert_int_equal(come(&h, 0, another, 0), EDGE_ADMITTED);
    atomic_store(&lie->minute_start_ms, INT64_MIN);
    assert_int_equal(come(&h, 0, somebody, 0), EDGE_ADMITTED);
    close_house(&h);
}

static void memory_of_another_size_or_another_seed_is_not_taken(void **state)
{
    (void)state;
    int small;
    struct edge_counts *c = edge_counts_new(seed);
    assert_int_equal(shared_memory_new(4096, &small), STATUS_OK);
    assert_int_equal(edge_counts_join(c, seed, small, true), STATUS_INVALID);
    assert_int_equal(edge_counts_join(c, STR("short"), small, true), STATUS_INVALID);
    assert_int_equal(edge_counts_edges(c), 1);
    close(small);
    edge_counts_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connections_of_an_address_count_at_all_edges_together),
        cmocka_unit_test(two_processes_that_race_for_the_last_place_never_both_have_it),
        cmocka_unit_test(an_edge_that_ends_takes_its_counts_along),
        cmocka_unit_test(the_rate_counts_at_all_edges_in_one_minute),
        cmocka_unit_test(all_connections_have_one_limit),
        cmocka_unit_test(
            bodies_have_one_budget_and_nobody_more_than_a_quarter_of_it_once_it_gets_scarce),
        cmocka_unit_test(an_account_is_nobodys_address),
        cmocka_unit_test(a_crowd_at_one_edge_pushes_out_no_connection_and_nobody_who_is_held_back),
        cmocka_unit_test(connections_of_many_addresses_find_room_and_no_more_than_there_is),
        cmocka_unit_test(whatever_a_sibling_says_does_no_harm_but_refuse),
        cmocka_unit_test(a_siblings_word_of_one_address_is_taken_for_that_one_only),
        cmocka_unit_test(memory_of_another_size_or_another_seed_is_not_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
