#include "roles/vault_watch.h"

#include "base/testing.h"
#include "roles/change.h"

/* What a mailroom at the other end of a channel has been told. */
struct told {
    unsigned words, changes, unknown;
    uint64_t last;
};

static void on_changed(void *context, struct channel *from, const struct ipc_changed_in *in)
{
    struct told *told = context;
    (void)from;
    told->words++;
    told->changes += (unsigned)in->changes_count;
    for (size_t i = 0; i < in->changes_count; i++) {
        told->last = in->changes[i].account;
        told->unknown += in->changes[i].kind == CHANGE_UNKNOWN;
    }
}

static const struct ipc_handlers handlers = {.changed = on_changed};

static void wake(void *owner)
{
    (void)owner;
}

static void ended(void *owner, enum status_code why, const char *words)
{
    (void)owner;
    (void)why;
    (void)words;
}

static struct channel *open_end(enum ipc_role self, enum ipc_role peer, struct told *told)
{
    struct channel *ch = channel_open(&(struct channel_setup){.self = self,
                                                              .peer = peer,
                                                              .handlers = &handlers,
                                                              .context = told,
                                                              .wake = wake,
                                                              .ended = ended});
    assert_non_null(ch);
    return ch;
}

struct line {
    struct told told;
    struct channel *vault, *mailroom;
    struct buf in;
    struct vault_watch watch;
};

static void open_line(struct line *l)
{
    *l = (struct line){0};
    l->vault = open_end(ROLE_VAULT, ROLE_MAILROOM, &l->told);
    l->mailroom = open_end(ROLE_MAILROOM, ROLE_VAULT, &l->told);
    buf_init(&l->in, 64 << 20);
}

static void close_line(struct line *l)
{
    channel_close(l->vault);
    channel_close(l->mailroom);
    buf_release(&l->in);
    vault_watch_release(&l->watch);
}

static void tell(struct line *l, uint64_t account)
{
    const struct ipc_change changes[] = {{.account = account, .kind = CHANGE_NEW},
                                         {.account = 77, .kind = CHANGE_FLAGS}};
    const struct ipc_changed_in in = {.commit = 1, .changes = changes, .changes_count = 2};
    vault_watch_tell(&l->watch, l->vault, &in);
}

static void only_watched_accounts_are_told_of(void **state)
{
    (void)state;
    struct line l;
    open_line(&l);
    for (uint64_t account = 40; account > 0; account -= 2)
        vault_watch_begin(&l.watch, account);
    tell(&l, 21);
    channel_carry(l.vault, l.mailroom, &l.in);
    assert_int_equal(l.told.words, 0);
    tell(&l, 22);
    channel_carry(l.vault, l.mailroom, &l.in);
    assert_int_equal(l.told.changes, 1);
    assert_int_equal(l.told.last, 22);
    close_line(&l);
}

static void an_account_is_watched_until_its_last_session_ends(void **state)
{
    (void)state;
    struct line l;
    open_line(&l);
    vault_watch_begin(&l.watch, 5);
    vault_watch_begin(&l.watch, 5);
    vault_watch_end(&l.watch, 5);
    vault_watch_end(&l.watch, 6); /* nobody's */
    tell(&l, 5);
    vault_watch_end(&l.watch, 5);
    tell(&l, 5);
    channel_carry(l.vault, l.mailroom, &l.in);
    assert_int_equal(l.told.words, 1);
    close_line(&l);
}

static void a_word_that_found_no_room_is_made_up_for(void **state)
{
    (void)state;
    struct line l;
    open_line(&l);
    vault_watch_begin(&l.watch, 5);
    for (unsigned i = 0; i < 10000000 && !l.watch.lost; i++)
        tell(&l, 5);
    assert_true(l.watch.lost);
    vault_watch_tell(&l.watch, l.vault, NULL);
    assert_true(l.watch.lost);
    while (channel_carry(l.vault, l.mailroom, &l.in))
        ;
    assert_int_equal(l.told.unknown, 0);
    vault_watch_tell(&l.watch, l.vault, NULL);
    assert_false(l.watch.lost);
    channel_carry(l.vault, l.mailroom, &l.in);
    assert_int_equal(l.told.unknown, 1);
    close_line(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_watched_accounts_are_told_of),
        cmocka_unit_test(an_account_is_watched_until_its_last_session_ends),
        cmocka_unit_test(a_word_that_found_no_room_is_made_up_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
