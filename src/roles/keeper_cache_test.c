#include "roles/keeper_cache.h"

#include "base/testing.h"

static const uint8_t key[LOGIN_CACHE_KEY_SIZE] = "a key";
static const struct now now = {1000, 1700000000000};
static const struct str NAME = {"alice@a.test", 12}, PASSWORD = {"pencil", 6};

static bool knows(struct login_cache *c, struct str name, struct str password, int64_t later_ms)
{
    uint64_t credential = 0;
    struct now then = {now.mono_ms + later_ms, now.wall_ms};
    bool found = login_cache_find(c, name, password, then, &credential);
    assert_int_equal(credential, found ? 7 : 0);
    return found;
}

static void a_login_is_known_for_a_while(void **state)
{
    (void)state;
    struct login_cache *c = login_cache_new(key);
    assert_false(knows(c, NAME, PASSWORD, 0));
    login_cache_add(c, NAME, PASSWORD, 7, now);
    assert_true(knows(c, NAME, PASSWORD, 0));
    assert_true(knows(c, NAME, PASSWORD, LOGIN_CACHE_MS - 1));
    assert_false(knows(c, NAME, PASSWORD, LOGIN_CACHE_MS));
    login_cache_free(c);
}

static void another_name_or_password_is_not_known(void **state)
{
    (void)state;
    struct login_cache *c = login_cache_new(key);
    login_cache_add(c, NAME, PASSWORD, 7, now);
    assert_false(knows(c, NAME, STR("pencil "), 0));
    assert_false(knows(c, STR("bob@a.test"), PASSWORD, 0));
    /* Nor where the one begins where the other ends. */
    assert_false(knows(c, STR("alice@a.testp"), STR("encil"), 0));
    login_cache_add(c, STR(""), PASSWORD, 7, now);
    assert_false(knows(c, STR(""), PASSWORD, 0));
    login_cache_free(c);
}

static void what_is_cleared_is_not_known_any_more(void **state)
{
    (void)state;
    struct login_cache *c = login_cache_new(key);
    login_cache_add(c, NAME, PASSWORD, 7, now);
    login_cache_clear(c);
    assert_false(knows(c, NAME, PASSWORD, 0));
    login_cache_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_login_is_known_for_a_while),
        cmocka_unit_test(another_name_or_password_is_not_known),
        cmocka_unit_test(what_is_cleared_is_not_known_any_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
