/* What the vault does not take from an edge or a mailroom that somebody has broken into. */
#include <string.h>

#include "base/limits.h"
#include "base/testing.h"
#include "roles/testing_queue.h"
#include "store/write.h"

static const struct str HASH = {"0123456789abcdef0123456789abcdef", 32};
static const struct str OTHER_HASH = {"fedcba9876543210fedcba9876543210", 32};

/* A message that is taken; a test spoils it somewhere. */
struct offer {
    struct ipc_chunk chunks[2];
    struct ipc_delivery deliveries[2];
    struct ipc_accept_recipient recipient;
    struct ipc_accept_in in;
};

static void offer_init(struct offer *o, struct queue_world *w)
{
    *o = (struct offer){
        .chunks = {{.codec = CHUNK_PLAIN, .plain_size = 3, .hash = HASH, .data = STR("a\r\n")}},
        .deliveries = {{.account = w->alice, .mailbox = w->inbox, .prefix = STR("X: y\r\n")}},
        .recipient = {.recipient = text_from(STR("alice@demo.test")), .deliveries_count = 1},
        .in = {.trace_id = STR("01TEST"),
               .received_at_ms = AT_MS,
               .reverse_path = text_from(STR("bob@example.org")),
               .email = {.size = 3, .chunks_count = 1},
               .recipients_count = 1}};
    o->recipient.deliveries = o->deliveries;
    o->in.email.chunks = o->chunks;
    o->in.recipients = &o->recipient;
}

static enum status_code take(struct queue_world *w, struct offer *o)
{
    vault_accept(w->vault, queue_ticket(w), &o->in);
    return queue_commit(w).status;
}

static enum status_code stage(struct queue_world *w, uint64_t body, struct ipc_chunk *chunk)
{
    vault_body_chunk(w->vault, queue_ticket(w),
                     &(struct ipc_body_chunk_in){.body = body, .chunks = chunk, .chunks_count = 1});
    return queue_commit(w).status;
}

/* ---- Spoilt messages ----------------------------------------------------------------------------
 */

static void no_prefix_end(struct offer *o)
{
    o->deliveries[0].prefix = STR("X: y");
}

static void short_key(struct offer *o)
{
    o->recipient.key = STR("0123");
}

static void nobody(struct offer *o)
{
    o->recipient.deliveries_count = 0;
}

static void no_recipients(struct offer *o)
{
    o->in.recipients_count = 0;
}

static void trace_with_a_space(struct offer *o)
{
    o->in.trace_id = STR("01 TEST");
}

static void trace_too_long(struct offer *o)
{
    static char words[65];
    memset(words, 'A', sizeof words);
    o->in.trace_id = str_make(words, sizeof words);
}

static void requiretls_of_a_courier(struct offer *o)
{
    o->in.envelope.requiretls = 2;
}

static void another_size(struct offer *o)
{
    o->in.email.size = 4;
}

static void no_chunk(struct offer *o)
{
    o->in.email.size = 0;
    o->in.email.chunks_count = 0;
}

static void chunk_behind_the_last(struct offer *o)
{
    o->chunks[1] = o->chunks[0];
    o->in.email.size = 6;
    o->in.email.chunks_count = 2;
}

static void chunk_too_large(struct offer *o)
{
    o->in.email.size = o->chunks[0].plain_size = LIMIT_CHUNK_SIZE + 1;
}

static void short_hash(struct offer *o)
{
    o->chunks[0].hash = STR("x");
}

static void unknown_codec(struct offer *o)
{
    o->chunks[0].codec = CHUNK_ZSTD + 1;
}

static void what_no_edge_would_say_is_refused(void **state)
{
    static void (*const spoil[])(struct offer *) = {
        no_prefix_end,           short_key,          nobody,       no_recipients,
        trace_too_long,          trace_with_a_space, another_size, no_chunk,
        requiretls_of_a_courier, chunk_too_large,    short_hash,   chunk_behind_the_last,
        unknown_codec,
    };
    struct queue_world *w = *state;
    struct offer o;
    for (size_t i = 0; i < sizeof spoil / sizeof *spoil; i++) {
        offer_init(&o, w);
        spoil[i](&o);
        assert_int_equal(take(w, &o), STATUS_INVALID);
    }
    assert_int_equal(ROWS(w, "entry"), 0);
    assert_int_equal(ROWS(w, "chunk"), 0);
    offer_init(&o, w);
    assert_int_equal(take(w, &o), STATUS_OK);
    assert_int_equal(ROWS(w, "entry"), 1);
}

/* An alias of an alias leads there by two ways. */
static void one_recipient_has_one_copy_in_a_mailbox(void **state)
{
    struct queue_world *w = *state;
    struct offer o;
    offer_init(&o, w);
    o.deliveries[1] = o.deliveries[0];
    o.recipient.deliveries_count = 2;
    assert_int_equal(take(w, &o), STATUS_OK);
    assert_int_equal(ROWS(w, "entry"), 1);
}

/* A team and one of its members; the same address in other letters; another address of his. */
static void recipients_of_one_address_have_one_copy(void **state)
{
    struct queue_world *w = *state;
    struct offer o;
    offer_init(&o, w);
    struct ipc_accept_recipient recipients[4] = {o.recipient, o.recipient, o.recipient,
                                                 o.recipient};
    struct ipc_delivery others[3] = {o.deliveries[0], o.deliveries[0], o.deliveries[0]};
    others[1].prefix = STR("DELIVERED-TO: ALICE@EXAMPLE.ORG\r\n");
    others[2].prefix = STR("Delivered-To: alice+more@example.org\r\n");
    o.deliveries[0].prefix = others[0].prefix = STR("Delivered-To: alice@example.org\r\n");
    for (size_t i = 1; i < 4; i++) {
        recipients[i].key = STR("");
        recipients[i].deliveries = &others[i - 1];
    }
    o.in.recipients = recipients;
    o.in.recipients_count = 4;
    assert_int_equal(take(w, &o), STATUS_OK);
    assert_int_equal(ROWS(w, "entry"), 2);
}

static void mail_for_a_name_without_a_mailbox_goes_to_the_inbox(void **state)
{
    struct queue_world *w = *state;
    struct offer o;
    struct mailbox_record parent;
    vault_mailbox_create(
        w->vault, queue_ticket(w), w->alice,
        &(struct ipc_mailbox_create_in){.at_ms = AT_MS, .path = text_from(STR("p/q"))});
    assert_int_equal(queue_commit(w).status, STATUS_OK);
    assert_int_equal(read_mailbox_by_path(w->reader, w->alice, STR("p"), &w->arena, &parent),
                     STATUS_OK);
    vault_mailbox_delete(w->vault, queue_ticket(w), w->alice,
                         &(struct ipc_mailbox_delete_in){.at_ms = AT_MS, .mailbox = parent.id});
    assert_int_equal(queue_commit(w).status, STATUS_OK);
    offer_init(&o, w);
    o.deliveries[0].mailbox = parent.id;
    assert_int_equal(take(w, &o), STATUS_OK);
    assert_int_equal(queue_count(w, "SELECT count(*) FROM entry e JOIN account a "
                                    "ON a.inbox = e.mailbox"),
                     1);
}

/* ---- Bodies in pieces ---------------------------------------------------------------------------
 */

static struct ipc_chunk whole_chunk(void)
{
    return (struct ipc_chunk){.codec = CHUNK_PLAIN,
                              .plain_size = LIMIT_CHUNK_SIZE,
                              .hash = HASH,
                              .data = STR("as if it were so many")};
}

static void a_body_in_pieces_must_be_as_large_as_said(void **state)
{
    struct queue_world *w = *state;
    struct ipc_chunk piece = whole_chunk();
    struct offer o;
    assert_int_equal(stage(w, 7, &piece), STATUS_OK);
    offer_init(&o, w);
    o.in.email.body = 7;
    o.in.email.size = LIMIT_CHUNK_SIZE + 4;
    assert_int_equal(take(w, &o), STATUS_INVALID);
    assert_int_equal(ROWS(w, "entry"), 0);
}

static void a_body_in_pieces_makes_one_message(void **state)
{
    struct queue_world *w = *state;
    struct ipc_chunk piece = whole_chunk();
    struct offer o;
    assert_int_equal(stage(w, 7, &piece), STATUS_OK);
    offer_init(&o, w);
    o.in.email.body = 7;
    o.in.email.size = LIMIT_CHUNK_SIZE + 3;
    /* Refused or taken, the body has had its turn. */
    o.recipient.key = STR("short");
    assert_int_equal(take(w, &o), STATUS_INVALID);
    o.recipient.key = STR("");
    assert_int_equal(take(w, &o), STATUS_NOT_FOUND);
    assert_true(vault_batch_commit(w->vault));
    assert_int_equal(ROWS(w, "chunk"), 0);
    assert_int_equal(stage(w, 7, &piece), STATUS_OK);
    assert_int_equal(take(w, &o), STATUS_OK);
    assert_int_equal(ROWS(w, "chunk"), 2);
    assert_int_equal(take(w, &o), STATUS_NOT_FOUND);
}

static void nothing_follows_the_last_piece(void **state)
{
    struct queue_world *w = *state;
    struct ipc_chunk last = whole_chunk();
    struct ipc_chunk piece = last;
    last.plain_size = 3;
    assert_int_equal(stage(w, 0, &piece), STATUS_INVALID);
    assert_int_equal(stage(w, 7, &last), STATUS_OK);
    assert_int_equal(stage(w, 7, &piece), STATUS_INVALID);
    assert_int_equal(stage(w, 7, &piece), STATUS_NOT_FOUND);
}

/* Nobody else's number leads to it. */
static void a_body_is_its_senders_alone(void **state)
{
    struct queue_world *w = *state;
    struct ipc_chunk piece = whole_chunk();
    struct offer o;
    assert_int_equal(stage(w, 7, &piece), STATUS_OK);
    offer_init(&o, w);
    o.in.email.body = 7;
    o.in.email.size = LIMIT_CHUNK_SIZE + 3;
    vault_accept(w->vault, queue_courier_ticket(w), &o.in);
    assert_int_equal(queue_commit(w).status, STATUS_NOT_FOUND);
    assert_int_equal(take(w, &o), STATUS_OK);
}

/* ---- Keys ---------------------------------------------------------------------------------------
 */

/* A key that was forgotten and comes again is remembered from then on. */
static void a_key_that_comes_back_late_counts_anew(void **state)
{
    struct queue_world *w = *state;
    struct offer o;
    offer_init(&o, w);
    o.recipient.key = OTHER_HASH;
    assert_int_equal(take(w, &o), STATUS_OK);
    queue_pass(w, LIMIT_RETRANSMISSION_MS + 1);
    assert_true(vault_batch_commit(w->vault));
    vault_batch_at(w->vault, w->now);
    assert_int_equal(take(w, &o), STATUS_OK);
    assert_int_equal(ROWS(w, "entry"), 2);
    queue_pass(w, LIMIT_RETRANSMISSION_MS / 2);
    vault_batch_at(w->vault, w->now);
    assert_int_equal(take(w, &o), STATUS_OK);
    assert_int_equal(ROWS(w, "entry"), 2);
}

/* ---- The end ------------------------------------------------------------------------------------
 */

static void what_waits_when_the_vault_ends_is_answered_all_the_same(void **state)
{
    struct queue_world *w = *state;
    struct offer o;
    struct vault_reply reply;
    offer_init(&o, w);
    vault_accept(w->vault, queue_ticket(w), &o.in);
    vault_lease(w->vault, queue_courier_ticket(w), &(struct ipc_lease_in){.fresh = 1});
    vault_batch_abandon(w->vault);
    assert_true(vault_batch_reply(w->vault, &reply));
    assert_true(reply.type == IPC_ACCEPT && reply.ticket.owner == w);
    assert_int_equal(reply.status, STATUS_GONE);
    assert_true(vault_batch_reply(w->vault, &reply));
    assert_true(reply.type == IPC_LEASE && reply.ticket.owner == &w->courier);
    assert_int_equal(reply.status, STATUS_GONE);
    assert_false(vault_batch_reply(w->vault, &reply));
    vault_batch_close(w->vault);
    queue_open(w);
    assert_int_equal(ROWS(w, "entry"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_WORLD(what_no_edge_would_say_is_refused),
        WITH_WORLD(one_recipient_has_one_copy_in_a_mailbox),
        WITH_WORLD(recipients_of_one_address_have_one_copy),
        WITH_WORLD(mail_for_a_name_without_a_mailbox_goes_to_the_inbox),
        WITH_WORLD(a_body_in_pieces_must_be_as_large_as_said),
        WITH_WORLD(a_body_in_pieces_makes_one_message),
        WITH_WORLD(nothing_follows_the_last_piece),
        WITH_WORLD(a_body_is_its_senders_alone),
        WITH_WORLD(a_key_that_comes_back_late_counts_anew),
        WITH_WORLD(what_waits_when_the_vault_ends_is_answered_all_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
