/* Sessions that end with their password: what the vault and the edges are told. */
#include "roles/keeper_testing.h"

static struct capability capability_of(struct world *w)
{
    struct capability c = {0};
    assert_true(capability_check(&w->keys, buf_str(&w->capability), loop_now(w->loop), &c));
    return c;
}

static bool has_ended(const struct capability_ends *ends, const struct capability *c)
{
    return capability_ends_cover(ends, c->account, c->credential, c->issued_ms);
}

/* Notes on the vault's channel are no replies to the operator, and may come a turn later. */
static void wait_for_end(struct world *w, const struct capability *c)
{
    while (!has_ended(&w->vault_ends, c) || !has_ended(&w->edge_ends, c))
        loop_turn(w->loop, true);
}

static struct capability log_in(struct world *w, const char *password)
{
    assert_int_equal(plain(w, "alice", password), SUCCESS);
    struct capability c = capability_of(w);
    assert_true(c.credential == w->credential && c.issued_ms == w->issued_ms);
    assert_false(has_ended(&w->vault_ends, &c) || has_ended(&w->edge_ends, &c));
    return c;
}

static void a_changed_password_ends_the_sessions_that_it_opened(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    assert_int_equal(set(&w, 7, "alice@a.test", NULL, "pencil"), STATUS_OK);
    assert_int_equal(set(&w, 7, "alice@a.test", "phone", "pencil-app"), STATUS_OK);
    struct capability old = log_in(&w, "pencil"), phone = log_in(&w, "pencil-app");
    assert_int_equal(set(&w, 7, "alice@a.test", NULL, "pencil-new"), STATUS_OK);
    wait_for_end(&w, &old);
    assert_false(has_ended(&w.vault_ends, &phone) || has_ended(&w.edge_ends, &phone));
    struct capability new = log_in(&w, "pencil-new");
    list(&w, 7);
    assert_int_equal(remove_password(&w, 7, phone.credential), STATUS_OK);
    wait_for_end(&w, &phone);
    assert_false(has_ended(&w.vault_ends, &new) || has_ended(&w.edge_ends, &new));
    disable(&w, 7, true);
    wait_for_end(&w, &new);
    disable(&w, 7, false);
    log_in(&w, "pencil-new"); /* though perhaps in the same millisecond */
    close_world(&w);
}

static void who_comes_later_is_told_before_it_has_a_key(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    assert_int_equal(set(&w, 7, "alice@a.test", NULL, "pencil"), STATUS_OK);
    struct capability old = log_in(&w, "pencil");
    assert_int_equal(set(&w, 7, "alice@a.test", NULL, "pencil-new"), STATUS_OK);
    wait_for_end(&w, &old);
    stop_keeper(&w);
    capability_ends_release(&w.vault_ends);
    capability_ends_release(&w.edge_ends);
    start_keeper(&w); /* waits for the key */
    assert_true(has_ended(&w.vault_ends, &old));
    wait_for_end(&w, &old);
    log_in(&w, "pencil-new");
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_changed_password_ends_the_sessions_that_it_opened),
        cmocka_unit_test(who_comes_later_is_told_before_it_has_a_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
