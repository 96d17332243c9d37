/* Who may change what in a mailbox, and what bounds it: as a mailroom would ask, or one broken
 * into. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/testing.h"
#include "roles/testing_queue.h"
#include "store/write.h"

static const struct str HASH = {"0123456789abcdef0123456789abcdef", 32};

/* What bob asks for; he has a mailbox of his own, and rights in alice's INBOX. */
struct people {
    struct queue_world *w;
    uint64_t bob, bobs_inbox;
};

static uint64_t add_account(struct queue_world *w, const char *name)
{
    vault_account_add(w->vault, queue_ticket(w),
                      &(struct ipc_account_add_in){.at_ms = AT_MS, .name = str_from_c(name)}, NULL,
                      0);
    return queue_commit(w).account_add.account;
}

static void run_beside(struct queue_world *w, const char *sql, int64_t a, int64_t b, int64_t c)
{
    struct db *db = NULL;
    struct diag d = {0};
    assert_int_equal(db_open(w->path, DB_WRITE, &db, &d), STATUS_OK);
    struct query *q = db_query(db, sql);
    query_bind_int(q, "$a", a);
    query_bind_int(q, "$b", b);
    query_bind_int(q, "$c", c);
    assert_int_equal(query_run(q), STATUS_OK);
    db_close(db);
}

static void grant(struct people *p, uint32_t rights)
{
    run_beside(p->w,
               "INSERT INTO mailbox_right (account, mailbox, rights) VALUES ($a, $b, $c) "
               "ON CONFLICT (account, mailbox) DO UPDATE SET rights = $c",
               (int64_t)p->bob, (int64_t)p->w->inbox, rights);
}

static enum status_code append(struct queue_world *w, uint64_t actor, uint64_t mailbox,
                               const char *keywords)
{
    struct ipc_chunk chunk = {
        .codec = CHUNK_PLAIN, .plain_size = 3, .hash = HASH, .data = STR("a\r\n")};
    vault_append(
        w->vault, queue_ticket(w), actor,
        &(struct ipc_append_in){.at_ms = AT_MS,
                                .trace_id = STR("01A"),
                                .mailbox = mailbox,
                                .flags = ENTRY_FLAGS_STORED,
                                .keywords = text_from(str_from_c(keywords)),
                                .internal_ms = AT_MS,
                                .email = {.size = 3, .chunks = &chunk, .chunks_count = 1}});
    return queue_commit(w).status;
}

static const struct ipc_range first = {1, 1};

static struct vault_reply store(struct queue_world *w, uint64_t actor, uint8_t mode, uint32_t flags,
                                const char *keywords, uint64_t unchanged_since)
{
    vault_flags_store(w->vault, queue_ticket(w), actor,
                      &(struct ipc_flags_store_in){.at_ms = AT_MS,
                                                   .mailbox = w->inbox,
                                                   .uids = &first,
                                                   .uids_count = 1,
                                                   .mode = mode,
                                                   .flags = flags,
                                                   .keywords = text_from(str_from_c(keywords)),
                                                   .unchanged_since = unchanged_since});
    return queue_commit(w);
}

static uint32_t flags_of_first(struct queue_world *w)
{
    return (uint32_t)queue_count(w, "SELECT flags FROM entry e JOIN account a ON a.inbox = "
                                    "e.mailbox WHERE a.name = 'alice' AND e.uid = 1");
}

static enum status_code bob_copies(struct people *p, uint64_t from, uint64_t to, bool move)
{
    vault_copy(p->w->vault, queue_ticket(p->w), p->bob,
               &(struct ipc_copy_in){.at_ms = AT_MS,
                                     .mailbox = from,
                                     .uids = &first,
                                     .uids_count = 1,
                                     .target = to,
                                     .move = move});
    return queue_commit(p->w).status;
}

static enum status_code bob_expunges(struct people *p)
{
    vault_expunge(p->w->vault, queue_ticket(p->w), p->bob,
                  &(struct ipc_expunge_in){
                      .at_ms = AT_MS, .mailbox = p->w->inbox, .uids = &first, .uids_count = 1});
    return queue_commit(p->w).status;
}

static enum status_code bob_claims(struct people *p)
{
    vault_recent_claim(p->w->vault, queue_ticket(p->w), p->bob,
                       &(struct ipc_recent_claim_in){.at_ms = AT_MS, .mailbox = p->w->inbox});
    return queue_commit(p->w).status;
}

static enum status_code bob_renames(struct people *p)
{
    vault_mailbox_rename(p->w->vault, queue_ticket(p->w), p->bob,
                         &(struct ipc_mailbox_rename_in){.at_ms = AT_MS,
                                                         .mailbox = p->w->inbox,
                                                         .path = text_from(STR("stolen"))});
    return queue_commit(p->w).status;
}

static enum status_code bob_deletes(struct people *p)
{
    vault_mailbox_delete(p->w->vault, queue_ticket(p->w), p->bob,
                         &(struct ipc_mailbox_delete_in){.at_ms = AT_MS, .mailbox = p->w->inbox});
    return queue_commit(p->w).status;
}

static struct people invite(struct queue_world *w)
{
    struct people p = {.w = w, .bob = add_account(w, "bob")};
    struct mailbox_record inbox;
    assert_int_equal(read_mailbox_by_path(w->reader, p.bob, STR("INBOX"), &w->arena, &inbox),
                     STATUS_OK);
    p.bobs_inbox = inbox.id;
    assert_int_equal(append(w, w->alice, w->inbox, ""), STATUS_OK);
    assert_int_equal(append(w, p.bob, p.bobs_inbox, ""), STATUS_OK);
    return p;
}

/* ---- Rights (RFC 4314 §4) -----------------------------------------------------------------------
 */

static void check_refusals(struct people *p, enum status_code why)
{
    assert_int_equal(bob_expunges(p), why);
    assert_int_equal(bob_copies(p, p->w->inbox, p->bobs_inbox, false), why);
    assert_int_equal(bob_copies(p, p->w->inbox, p->bobs_inbox, true), why);
    assert_int_equal(bob_copies(p, p->bobs_inbox, p->w->inbox, false), why);
    assert_int_equal(append(p->w, p->bob, p->w->inbox, ""), why);
    assert_int_equal(bob_claims(p), why);
    assert_int_equal(bob_renames(p), why);
    assert_int_equal(bob_deletes(p), why);
}

static void who_has_no_right_changes_nothing(void **state)
{
    struct people p = invite(*state);
    check_refusals(&p, STATUS_NOT_FOUND); /* nor learns that it is there */
    assert_int_equal(store(p.w, p.bob, 2, ENTRY_SEEN, "", 0).status, STATUS_NOT_FOUND);
    grant(&p, RIGHT_ALL & ~(uint32_t)RIGHT_LOOKUP);
    check_refusals(&p, STATUS_NOT_FOUND);
    grant(&p, RIGHT_LOOKUP);
    check_refusals(&p, STATUS_DENIED);
    assert_int_equal(store(p.w, p.bob, 2, ENTRY_FLAGS_STORED, "", 0).status, STATUS_OK);
    assert_int_equal(flags_of_first(p.w), ENTRY_FLAGS_STORED);
    assert_int_equal(ROWS(p.w, "entry"), 2);
}

static void each_right_is_for_its_own_thing(void **state)
{
    struct people p = invite(*state);
    grant(&p, RIGHT_LOOKUP | RIGHT_READ);
    assert_int_equal(bob_copies(&p, p.w->inbox, p.bobs_inbox, false), STATUS_OK);
    assert_int_equal(bob_copies(&p, p.w->inbox, p.bobs_inbox, true), STATUS_DENIED);
    assert_int_equal(bob_claims(&p), STATUS_OK);
    grant(&p, RIGHT_LOOKUP | RIGHT_READ | RIGHT_EXPUNGE);
    assert_int_equal(bob_expunges(&p), STATUS_DENIED);
    assert_int_equal(bob_copies(&p, p.w->inbox, p.bobs_inbox, true), STATUS_DENIED);
    grant(&p, RIGHT_LOOKUP | RIGHT_INSERT);
    assert_int_equal(append(p.w, p.bob, p.w->inbox, ""), STATUS_OK);
    assert_int_equal(bob_copies(&p, p.bobs_inbox, p.w->inbox, false), STATUS_OK);
    grant(&p, RIGHT_LOOKUP | RIGHT_EXPUNGE | RIGHT_DELETE_MESSAGE);
    assert_int_equal(bob_expunges(&p), STATUS_OK);
}

static void a_flag_changes_for_who_has_its_right(void **state)
{
    static const struct {
        uint32_t right, flags;
    } rows[] = {{RIGHT_SEEN, ENTRY_SEEN},
                {RIGHT_DELETE_MESSAGE, ENTRY_DELETED},
                {RIGHT_WRITE, ENTRY_ANSWERED | ENTRY_FLAGGED | ENTRY_DRAFT}};
    struct people p = invite(*state);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(store(p.w, p.w->alice, 2, ENTRY_FLAGS_STORED, "", 0).status, STATUS_OK);
        grant(&p, RIGHT_LOOKUP | rows[i].right);
        assert_int_equal(store(p.w, p.bob, 1, ENTRY_FLAGS_STORED, "", 0).status, STATUS_OK);
        assert_int_equal(flags_of_first(p.w), rows[i].flags);
        assert_int_equal(store(p.w, p.bob, 0, 0, "", 0).status, STATUS_OK);
        assert_int_equal(flags_of_first(p.w), 0);
    }
    grant(&p, RIGHT_LOOKUP | RIGHT_SEEN | RIGHT_DELETE_MESSAGE);
    assert_int_equal(store(p.w, p.bob, 1, 0, "Work", 0).flags_store.modseq, 0);
    grant(&p, RIGHT_LOOKUP | RIGHT_WRITE);
    assert_int_not_equal(store(p.w, p.bob, 1, 0, "Work", 0).flags_store.modseq, 0);
    grant(&p, RIGHT_LOOKUP | RIGHT_SEEN);
    assert_int_equal(store(p.w, p.bob, 0, 0, "", 0).flags_store.modseq, 0);
}

static void who_was_shut_out_changes_nothing_with_the_capability_he_has(void **state)
{
    struct people p = invite(*state);
    struct queue_world *w = p.w;
    vault_account_set(
        w->vault, queue_ticket(w),
        &(struct ipc_account_set_in){.at_ms = AT_MS, .account = w->alice, .disabled = true});
    assert_int_equal(queue_commit(w).status, STATUS_OK);
    assert_int_equal(append(w, w->alice, w->inbox, ""), STATUS_NOT_FOUND);
    assert_int_equal(store(w, w->alice, 2, ENTRY_SEEN, "", 0).status, STATUS_NOT_FOUND);
    vault_subscribe(w->vault, queue_ticket(w), w->alice,
                    &(struct ipc_subscribe_in){.path = text_from(STR("x")), .subscribed = true});
    assert_int_equal(queue_commit(w).status, STATUS_NOT_FOUND);
    vault_mailbox_create(
        w->vault, queue_ticket(w), w->alice,
        &(struct ipc_mailbox_create_in){.at_ms = AT_MS, .path = text_from(STR("x"))});
    assert_int_equal(queue_commit(w).status, STATUS_NOT_FOUND);
    assert_int_equal(queue_count(w, "SELECT count(*) FROM subscription WHERE path = 'x'"), 0);
}

/* ---- Bounds -------------------------------------------------------------------------------------
 */

/* RFC 7162 §3.1.3: one that was not changed after that mod-sequence is stored. */
static void what_is_as_old_as_said_is_unchanged(void **state)
{
    struct people p = invite(*state);
    uint64_t modseq = store(p.w, p.w->alice, 0, ENTRY_SEEN, "", 0).flags_store.modseq;
    struct vault_reply same = store(p.w, p.w->alice, 1, ENTRY_FLAGGED, "", modseq);
    assert_int_equal(same.flags_store.conflicts_count, 0);
    assert_true(same.flags_store.modseq > modseq);
    struct vault_reply late = store(p.w, p.w->alice, 1, ENTRY_DRAFT, "", modseq);
    assert_int_equal(late.flags_store.conflicts_count, 1);
    assert_int_equal(flags_of_first(p.w), ENTRY_SEEN | ENTRY_FLAGGED);
}

static void a_quota_can_be_used_to_its_last_octet(void **state)
{
    struct people p = invite(*state);
    struct ipc_account_set_in in = {.at_ms = AT_MS, .account = p.w->alice, .quota = 6};
    vault_account_set(p.w->vault, queue_ticket(p.w), &in);
    assert_int_equal(queue_commit(p.w).status, STATUS_OK);
    assert_int_equal(append(p.w, p.w->alice, p.w->inbox, ""), STATUS_OK);
    assert_int_equal(append(p.w, p.w->alice, p.w->inbox, ""), STATUS_OVER_QUOTA);
}

static void a_mailbox_has_so_many_keywords_and_no_more(void **state)
{
    struct people p = invite(*state);
    char word[16];
    for (int i = 0; i < LIMIT_KEYWORDS; i++) {
        snprintf(word, sizeof word, "k%d", i);
        assert_int_equal(store(p.w, p.w->alice, 0, 0, word, 0).status, STATUS_OK);
    }
    assert_int_equal(store(p.w, p.w->alice, 0, 0, "one-more", 0).status, STATUS_TOO_BIG);
    assert_int_equal(store(p.w, p.w->alice, 0, 0, "K0", 0).status, STATUS_OK);
    assert_int_equal(queue_count(p.w, "SELECT count(*) FROM keyword"), LIMIT_KEYWORDS);
}

/* Two commands, each short enough, that together would be too much for one message. */
static void a_message_has_so_many_keywords_and_no_more(void **state)
{
    struct people p = invite(*state);
    char *words = calloc(1, LIMIT_KEYWORDS_SIZE);
    memset(words, 'a', 200);
    for (int i = 0; i < 6; i++)
        snprintf(words + 200 * i, 201, "%0199d ", i);
    words[1199] = '\0';
    assert_int_equal(store(p.w, p.w->alice, 1, 0, words, 0).status, STATUS_OK);
    for (int i = 0; i < 6; i++)
        words[200 * i] = 'x';
    assert_int_equal(store(p.w, p.w->alice, 1, 0, words, 0).status, STATUS_TOO_BIG);
    assert_int_equal(queue_count(p.w, "SELECT length(keywords) FROM entry WHERE uid = 1 AND "
                                      "length(keywords) > 0"),
                     1199);
    assert_int_equal(append(p.w, p.w->alice, p.w->inbox, "no)keyword"), STATUS_INVALID);
    free(words);
}

static void ranges_must_rise(void **state)
{
    static const struct ipc_range wrong[][2] = {
        {{2, 2}, {1, 1}}, {{1, 2}, {2, 3}}, {{3, 2}, {4, 4}}, {{0, 1}, {2, 2}}};
    struct people p = invite(*state);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        vault_expunge(
            p.w->vault, queue_ticket(p.w), p.w->alice,
            &(struct ipc_expunge_in){
                .at_ms = AT_MS, .mailbox = p.w->inbox, .uids = wrong[i], .uids_count = 2});
        assert_int_equal(queue_commit(p.w).status, STATUS_INVALID);
    }
    assert_int_equal(queue_count(p.w, "SELECT count(*) FROM entry WHERE expunged_ms IS NULL"), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_WORLD(who_has_no_right_changes_nothing),
        WITH_WORLD(each_right_is_for_its_own_thing),
        WITH_WORLD(a_flag_changes_for_who_has_its_right),
        WITH_WORLD(who_was_shut_out_changes_nothing_with_the_capability_he_has),
        WITH_WORLD(what_is_as_old_as_said_is_unchanged),
        WITH_WORLD(a_quota_can_be_used_to_its_last_octet),
        WITH_WORLD(a_mailbox_has_so_many_keywords_and_no_more),
        WITH_WORLD(a_message_has_so_many_keywords_and_no_more),
        WITH_WORLD(ranges_must_rise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
