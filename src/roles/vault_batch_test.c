#include "roles/testing_vault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "store/directory.h"

static const struct str KEY = {"0123456789abcdef0123456789abcdef", 32};

static void an_accepted_message_is_in_the_mailbox_octet_for_octet(void **state)
{
    struct vault_world *w = *state;
    struct vault_reply reply = world_accept(w, STR("Subject: x\r\n\r\nhello\r\n"), KEY);
    assert_int_equal(reply.accept.status, STATUS_OK);
    assert_false(reply.accept.results[0].again);
    struct message_record m;
    assert_int_equal(read_message(w->reader, w->inbox, 1, &w->arena, &m), STATUS_OK);
    struct body_reader r;
    struct buf out;
    body_reader_init(&r);
    buf_init(&out, 1000);
    assert_int_equal(body_read(&r, w->reader, &m, 0, UINT64_MAX, &out), STATUS_OK);
    assert_true(str_eq(buf_str(&out), STR("Return-Path: <bob@example.org>\r\n"
                                          "Subject: x\r\n\r\nhello\r\n")));
    buf_clear(&out);
    assert_int_equal(body_read(&r, w->reader, &m, 30, 10, &out), STATUS_OK);
    assert_true(str_eq(buf_str(&out), STR("\r\nSubject:")));
    struct trace_record *steps;
    size_t count;
    assert_int_equal(read_trace(w->reader, STR("01TEST"), &w->arena, &steps, &count), STATUS_OK);
    assert_int_equal(count, 1);
    body_reader_release(&r);
    buf_release(&out);
}

static void a_message_sent_again_before_its_confirmation_is_recognised(void **state)
{
    struct vault_world *w = *state;
    struct ipc_key key = {KEY};
    world_accept(w, STR("a\r\n"), KEY);
    assert_true(world_accept(w, STR("a\r\n"), KEY).accept.results[0].again);
    assert_int_equal(world_messages(w, w->inbox), 1);
    /* Confirmed: the next one is another. The confirmation waits for no commit of its own. */
    vault_confirm(w->vault, &(struct ipc_confirm_in){.keys = &key, .keys_count = 1});
    assert_true(vault_batch_lazy(w->vault));
    assert_false(world_accept(w, STR("a\r\n"), KEY).accept.results[0].again);
    assert_int_equal(world_messages(w, w->inbox), 2);
    /* Without a key (no Date or Message-ID) nothing is recognised. */
    world_accept(w, STR("a\r\n"), STR(""));
    world_accept(w, STR("a\r\n"), STR(""));
    assert_int_equal(world_messages(w, w->inbox), 4);
}

static void a_recognised_message_stays_so_over_a_crash(void **state)
{
    struct vault_world *w = *state;
    struct diag d = {0};
    world_accept(w, STR("a\r\n"), KEY);
    vault_batch_close(w->vault);
    assert_int_equal(vault_batch_open(w->path, NULL, &w->vault, &d), STATUS_OK);
    assert_true(world_accept(w, STR("a\r\n"), KEY).accept.results[0].again);
    assert_int_equal(world_messages(w, w->inbox), 1);
}

static void mail_for_a_mailbox_that_went_goes_to_the_inbox(void **state)
{
    struct vault_world *w = *state;
    uint64_t real = w->inbox;
    w->inbox = 999999;
    assert_int_equal(world_accept(w, STR("a\r\n"), STR("")).status, STATUS_OK);
    w->inbox = real;
    assert_int_equal(world_messages(w, real), 1);
    struct ipc_account_set_in off = {.at_ms = AT_MS, .account = w->alice, .disabled = true};
    vault_account_set(w->vault, world_ticket(w), &off);
    assert_int_equal(world_commit(w).status, STATUS_OK);
    assert_int_equal(world_accept(w, STR("a\r\n"), STR("")).status, STATUS_NOT_FOUND);
    assert_int_equal(world_messages(w, real), 1);
}

static void a_body_may_come_in_pieces(void **state)
{
    struct vault_world *w = *state;
    size_t size = 3 * LIMIT_CHUNK_SIZE + 100, count;
    char *bytes = malloc(size);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)('a' + i % 23 + i / 1000 % 3);
    struct ipc_chunk chunks[8];
    struct body_writer *writer = world_write_body(str_make(bytes, size), chunks, &count);
    assert_int_equal(count, 4);
    for (size_t i = 0; i < 3; i++) {
        struct ipc_body_chunk_in in = {.body = 7, .chunks = &chunks[i], .chunks_count = 1};
        vault_body_chunk(w->vault, world_ticket(w), &in);
        assert_int_equal(world_commit(w).status, STATUS_OK);
    }
    struct ipc_append_in in = {.at_ms = AT_MS,
                               .trace_id = STR("01A"),
                               .mailbox = w->inbox,
                               .flags = ENTRY_SEEN,
                               .keywords = text_from(STR("$Junk Work")),
                               .internal_ms = AT_MS,
                               .email = {.size = size, .body = 7, .chunks = &chunks[3]}};
    in.email.chunks_count = 1;
    vault_append(w->vault, world_ticket(w), w->alice, &in);
    struct vault_reply reply = world_commit(w);
    assert_int_equal(reply.status, STATUS_OK);
    struct message_record m;
    assert_int_equal(read_message(w->reader, w->inbox, reply.append.uid, &w->arena, &m), STATUS_OK);
    assert_true(str_eq(m.keywords, STR("$Junk Work")));
    struct body_reader r;
    struct buf out;
    body_reader_init(&r);
    buf_init(&out, size);
    assert_int_equal(body_read(&r, w->reader, &m, 0, size, &out), STATUS_OK);
    assert_true(str_eq(buf_str(&out), str_make(bytes, size)));
    /* The body had its turn: it cannot be used again. */
    vault_append(w->vault, world_ticket(w), w->alice, &in);
    assert_int_equal(world_commit(w).status, STATUS_NOT_FOUND);
    body_reader_release(&r);
    buf_release(&out);
    body_writer_free(writer);
    free(bytes);
}

static void half_a_body_is_removed_when_its_sender_goes(void **state)
{
    struct vault_world *w = *state;
    size_t count;
    char *bytes = calloc(1, LIMIT_CHUNK_SIZE);
    struct ipc_chunk chunks[8];
    struct body_writer *writer =
        world_write_body(str_make(bytes, LIMIT_CHUNK_SIZE), chunks, &count);
    struct ipc_body_chunk_in in = {.body = 7, .chunks = chunks, .chunks_count = 1};
    vault_body_chunk(w->vault, world_ticket(w), &in);
    assert_int_equal(world_commit(w).status, STATUS_OK);
    vault_owner_gone(w->vault, w);
    assert_true(vault_batch_pending(w->vault));
    assert_true(vault_batch_commit(w->vault));
    assert_false(vault_batch_pending(w->vault));
    struct query *q = db_query(w->reader, "SELECT count(*) FROM chunk");
    assert_true(query_next(q));
    assert_int_equal(query_int(q, 0), 0);
    assert_int_equal(query_end(q), STATUS_OK);
    body_writer_free(writer);
    free(bytes);
}

/* ---- Mailboxes ---------------------------------------------------------------------------------
 */

static struct vault_reply world_store(struct vault_world *w, uint8_t mode, uint32_t flags,
                                      const char *keywords)
{
    struct ipc_range all = {1, UINT32_MAX};
    struct ipc_flags_store_in in = {.at_ms = AT_MS,
                                    .mailbox = w->inbox,
                                    .uids = &all,
                                    .uids_count = 1,
                                    .mode = mode,
                                    .flags = flags,
                                    .keywords = text_from(str_from_c(keywords))};
    vault_flags_store(w->vault, world_ticket(w), w->alice, &in);
    return world_commit(w);
}

static void flags_and_keywords_are_kept_and_counted(void **state)
{
    struct vault_world *w = *state;
    struct message_record m;
    struct mailbox_record box, after;
    world_accept(w, STR("a\r\n"), STR(""));
    world_accept(w, STR("b\r\n"), STR(""));
    assert_int_equal(world_store(w, 1, ENTRY_SEEN | ENTRY_FLAGGED, "Work").status, STATUS_OK);
    assert_int_equal(world_store(w, 1, 0, "work urgent").status, STATUS_OK);
    assert_int_equal(read_message(w->reader, w->inbox, 2, &w->arena, &m), STATUS_OK);
    assert_true(str_eq(m.keywords, STR("urgent Work")));
    assert_int_equal(m.flags, ENTRY_SEEN | ENTRY_FLAGGED | ENTRY_HAS_KEYWORDS);
    assert_int_equal(world_store(w, 2, ENTRY_FLAGGED, "WORK").status, STATUS_OK);
    assert_int_equal(world_store(w, 0, ENTRY_DELETED, "").status, STATUS_OK);
    assert_int_equal(read_mailbox(w->reader, w->alice, w->inbox, &w->arena, &box), STATUS_OK);
    assert_int_equal(box.unseen, 2);
    assert_int_equal(box.deleted, 2);
    /* Nothing changed: no new mod-sequence, and none that somebody else's change could have. */
    assert_true(world_store(w, 0, ENTRY_DELETED, "").flags_store.modseq == 0);
    assert_int_equal(read_mailbox(w->reader, w->alice, w->inbox, &w->arena, &after), STATUS_OK);
    assert_true(after.modseq == box.modseq);
    assert_int_equal(world_store(w, 0, 0, "bad\"keyword").status, STATUS_INVALID);
}

/* A session leaves out what it did itself, and knows that by its mod-sequence. */
static void a_change_beside_others_is_nobodys_own(void **state)
{
    struct vault_world *w = *state;
    struct ipc_range all = {1, 100};
    struct ipc_changed_in changed;
    struct vault_reply reply;
    struct ipc_flags_store_in in = {
        .at_ms = AT_MS, .mailbox = w->inbox, .uids = &all, .uids_count = 1, .mode = 1};
    world_accept(w, STR("a\r\n"), STR(""));
    reply = world_store(w, 1, ENTRY_SEEN, "");
    assert_true(vault_batch_changes(w->vault, &changed));
    assert_int_equal(changed.changes_count, 1);
    assert_true(changed.changes[0].modseq == reply.flags_store.modseq);
    assert_false(changed.changes[0].joined);
    in.flags = ENTRY_FLAGGED;
    vault_flags_store(w->vault, world_ticket(w), w->alice, &in);
    in.flags = ENTRY_DRAFT;
    vault_flags_store(w->vault, world_ticket(w), w->alice, &in);
    assert_true(vault_batch_commit(w->vault));
    assert_true(vault_batch_changes(w->vault, &changed));
    assert_int_equal(changed.changes_count, 1);
    assert_true(changed.changes[0].joined);
    while (vault_batch_reply(w->vault, &reply))
        assert_true(reply.flags_store.modseq != 0);
    assert_true(changed.changes[0].modseq == reply.flags_store.modseq);
}

static void copying_and_moving_keep_counts_and_quota(void **state)
{
    struct vault_world *w = *state;
    struct mailbox_record sent;
    struct account_record account;
    struct ipc_range all = {1, 100};
    world_accept(w, STR("a\r\n"), STR(""));
    world_accept(w, STR("bb\r\n"), STR(""));
    assert_int_equal(read_mailbox_by_path(w->reader, w->alice, STR("Sent"), &w->arena, &sent),
                     STATUS_OK);
    struct ipc_copy_in in = {.at_ms = AT_MS,
                             .mailbox = w->inbox,
                             .uids = &all,
                             .uids_count = 1,
                             .target = sent.id,
                             .move = true};
    vault_copy(w->vault, world_ticket(w), w->alice, &in);
    struct vault_reply reply = world_commit(w);
    assert_int_equal(reply.status, STATUS_OK);
    assert_int_equal(reply.copy.copied_count, 1);
    assert_int_equal(reply.copy.copied[0].count, 2);
    assert_true(reply.copy.through == UINT32_MAX);
    assert_int_equal(world_messages(w, w->inbox), 0);
    assert_int_equal(world_messages(w, sent.id), 2);
    assert_int_equal(directory_account(w->reader, w->alice, &w->arena, &account), STATUS_OK);
    assert_int_equal(account.used, 2 * WORLD_PREFIX.len + 7);
    /* A stranger sees nothing. */
    vault_copy(w->vault, world_ticket(w), 12345, &in);
    assert_int_equal(world_commit(w).status, STATUS_NOT_FOUND);
    struct ipc_expunge_in gone = {
        .at_ms = AT_MS, .mailbox = sent.id, .uids = &all, .uids_count = 1};
    vault_expunge(w->vault, world_ticket(w), w->alice, &gone);
    reply = world_commit(w);
    assert_int_equal(reply.expunge.expunged_count, 1);
    assert_int_equal(directory_account(w->reader, w->alice, &w->arena, &account), STATUS_OK);
    assert_int_equal(account.used, 0);
}

static struct vault_reply create(struct vault_world *w, const char *path)
{
    struct ipc_mailbox_create_in in = {.at_ms = AT_MS, .path = text_from(str_from_c(path))};
    vault_mailbox_create(w->vault, world_ticket(w), w->alice, &in);
    return world_commit(w);
}

static uint64_t find(struct vault_world *w, const char *path)
{
    struct mailbox_record box;
    if (read_mailbox_by_path(w->reader, w->alice, str_from_c(path), &w->arena, &box) != STATUS_OK)
        return 0;
    assert_true(str_eq_nocase(box.path, str_from_c(path)));
    return box.id;
}

static enum status_code rename_to(struct vault_world *w, const char *from, const char *to)
{
    struct ipc_mailbox_rename_in in = {
        .at_ms = AT_MS, .mailbox = find(w, from), .path = text_from(str_from_c(to))};
    vault_mailbox_rename(w->vault, world_ticket(w), w->alice, &in);
    return world_commit(w).status;
}

static void a_clock_beyond_reason_leaves_uidvalidities_in_order(void **state)
{
    static const int64_t times[] = {INT64_MAX, -5000, 0, 7258118400000, UINT32_MAX * 1000LL};
    struct vault_world *w = *state;
    int64_t last = world_count(w, "SELECT max(uidvalidity) FROM mailbox");
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        char path[8];
        snprintf(path, sizeof path, "m%zu", i);
        struct ipc_mailbox_create_in in = {.at_ms = times[i], .path = text_from(str_from_c(path))};
        vault_mailbox_create(w->vault, world_ticket(w), w->alice, &in);
        assert_int_equal(world_commit(w).status, STATUS_OK);
        assert_int_equal(world_count(w, "SELECT max(uidvalidity) FROM mailbox"),
                         last + 1 + (int64_t)i);
    }
}

static void a_tree_of_mailboxes_is_renamed_by_its_root(void **state)
{
    struct vault_world *w = *state;
    assert_int_equal(create(w, "a/b/c").status, STATUS_OK);
    assert_int_equal(create(w, "a/b").status, STATUS_EXISTS);
    assert_int_equal(create(w, "a//b").status, STATUS_INVALID);
    assert_int_equal(create(w, "inbox").status, STATUS_EXISTS);
    uint64_t leaf = find(w, "a/b/c");
    assert_int_equal(rename_to(w, "a/b", "x/y"), STATUS_OK);
    assert_true(find(w, "x/y/c") == leaf && find(w, "a/b/c") == 0 && find(w, "a") != 0);
    assert_int_equal(rename_to(w, "x", "x/y/z"), STATUS_INVALID);
    assert_int_equal(rename_to(w, "x", "Sent"), STATUS_EXISTS);
}

static void renaming_the_inbox_leaves_an_empty_one(void **state)
{
    struct vault_world *w = *state;
    world_accept(w, STR("a\r\n"), STR(""));
    assert_int_equal(create(w, "INBOX/child").status, STATUS_OK);
    assert_int_equal(rename_to(w, "INBOX", "old"), STATUS_OK);
    assert_true(find(w, "old") == w->inbox && find(w, "INBOX/child") != 0);
    assert_int_equal(world_messages(w, find(w, "INBOX")), 0);
    assert_int_equal(world_messages(w, w->inbox), 1);
}

static void a_deleted_parent_stays_as_a_name(void **state)
{
    struct vault_world *w = *state;
    struct mailbox_record box;
    assert_int_equal(create(w, "p/q").status, STATUS_OK);
    struct ipc_mailbox_delete_in in = {.at_ms = AT_MS, .mailbox = find(w, "p")};
    vault_mailbox_delete(w->vault, world_ticket(w), w->alice, &in);
    assert_int_equal(world_commit(w).status, STATUS_OK);
    assert_int_equal(read_mailbox_by_path(w->reader, w->alice, STR("p"), &w->arena, &box),
                     STATUS_OK);
    assert_false(box.selectable);
    assert_true(find(w, "p/q") != 0);
    in.mailbox = box.id;
    vault_mailbox_delete(w->vault, world_ticket(w), w->alice, &in);
    assert_int_equal(world_commit(w).status, STATUS_BUSY);
    in.mailbox = w->inbox;
    vault_mailbox_delete(w->vault, world_ticket(w), w->alice, &in);
    assert_int_equal(world_commit(w).status, STATUS_INVALID);
    assert_int_equal(create(w, "p").status, STATUS_OK);
}

static void long_requests_share_their_transactions_fairly(void **state)
{
    struct vault_world *w = *state;
    struct ipc_range all = {1, UINT32_MAX};
    struct vault_reply reply;
    for (int i = 0; i < 3; i++)
        world_accept(w, STR("a\r\n"), STR(""));
    struct ipc_copy_in in = {.at_ms = AT_MS, .mailbox = w->inbox, .uids = &all, .uids_count = 1};
    in.target = w->inbox;
    /* 3, 6, ... doubles each time: some must be put off, and all are answered in the end. */
    for (int i = 0; i < 12; i++)
        vault_copy(w->vault, world_ticket(w), w->alice, &in);
    unsigned answered = 0, rounds = 0;
    while (vault_batch_pending(w->vault)) {
        assert_true(vault_batch_commit(w->vault));
        for (; vault_batch_reply(w->vault, &reply); answered++)
            assert_int_equal(reply.status, STATUS_OK);
        assert_true(++rounds < 20);
    }
    assert_int_equal(answered, 12);
    assert_true(rounds > 2 && vault_batch_numbers(w->vault)->put_off > 0);
}

/* ---- Directory ----------------------------------------------------------------------------------
 */

static void the_directory_explains_what_it_refuses(void **state)
{
    struct vault_world *w = *state;
    vault_domain_add(w->vault, world_ticket(w),
                     &(struct ipc_domain_add_in){.at_ms = AT_MS, .name = STR("demo.test")});
    struct vault_reply reply = world_commit(w);
    assert_int_equal(reply.status, STATUS_EXISTS);
    assert_true(str_eq(reply.domain_add.words, STR("there is a domain demo.test already")));
    struct ipc_address taken = {text_from(STR("alice@demo.test"))};
    struct ipc_account_add_in twice = {
        .at_ms = AT_MS, .name = STR("second"), .addresses = &taken, .addresses_count = 1};
    vault_account_add(w->vault, world_ticket(w), &twice, NULL, 0);
    assert_int_equal(world_commit(w).status, STATUS_EXISTS);
    struct account_record *accounts;
    size_t count;
    assert_int_equal(directory_accounts(w->reader, &w->arena, &accounts, &count), STATUS_OK);
    assert_int_equal(count, 1);
}

static void an_alias_is_made_changed_and_removed(void **state)
{
    struct vault_world *w = *state;
    struct ipc_address targets[] = {{text_from(STR("alice@demo.test"))},
                                    {text_from(STR("who@example.org"))}};
    struct ipc_alias_set_in in = {.at_ms = AT_MS,
                                  .address = text_from(STR("team@demo.test")),
                                  .targets = targets,
                                  .targets_count = 2};
    for (int i = 0; i < 2; i++) {
        vault_alias_set(w->vault, world_ticket(w), &in);
        assert_int_equal(world_commit(w).status, STATUS_OK);
    }
    struct address_record *list;
    struct str *leads_to;
    size_t count;
    assert_int_equal(directory_addresses(w->reader, 0, true, &w->arena, &list, &count), STATUS_OK);
    assert_int_equal(count, 1);
    assert_int_equal(
        directory_alias_targets(w->reader, list[0].alias, &w->arena, &leads_to, &count), STATUS_OK);
    assert_int_equal(count, 2);
    assert_true(str_eq(leads_to[1], STR("who@example.org")));
    vault_address_remove(w->vault, world_ticket(w),
                         &(struct ipc_address_remove_in){.address = in.address});
    assert_int_equal(world_commit(w).status, STATUS_OK);
    assert_int_equal(directory_addresses(w->reader, 0, true, &w->arena, &list, &count), STATUS_OK);
    assert_int_equal(count, 0);
}

#define IN_A_WORLD(test) cmocka_unit_test_setup_teardown(test, world_set_up, world_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_WORLD(an_accepted_message_is_in_the_mailbox_octet_for_octet),
        IN_A_WORLD(a_message_sent_again_before_its_confirmation_is_recognised),
        IN_A_WORLD(a_recognised_message_stays_so_over_a_crash),
        IN_A_WORLD(mail_for_a_mailbox_that_went_goes_to_the_inbox),
        IN_A_WORLD(a_body_may_come_in_pieces),
        IN_A_WORLD(half_a_body_is_removed_when_its_sender_goes),
        IN_A_WORLD(flags_and_keywords_are_kept_and_counted),
        IN_A_WORLD(a_change_beside_others_is_nobodys_own),
        IN_A_WORLD(copying_and_moving_keep_counts_and_quota),
        IN_A_WORLD(a_clock_beyond_reason_leaves_uidvalidities_in_order),
        IN_A_WORLD(a_tree_of_mailboxes_is_renamed_by_its_root),
        IN_A_WORLD(renaming_the_inbox_leaves_an_empty_one),
        IN_A_WORLD(a_deleted_parent_stays_as_a_name),
        IN_A_WORLD(long_requests_share_their_transactions_fairly),
        IN_A_WORLD(the_directory_explains_what_it_refuses),
        IN_A_WORLD(an_alias_is_made_changed_and_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
