#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/testing.h"
#include "roles/vault_batch.h"
#include "store/queue.h"
#include "store/read.h"

/* The vault's queue, as edges fill it and a courier empties it. */
struct world {
    char folder[64];
    char path[96];
    struct vault_batch *vault;
    struct db *reader;
    struct arena arena;
    struct now now;
    uint32_t requests;
    int courier; /* its address is the courier's channel */
    uint64_t alice;
    uint64_t inbox;
    bool fresh; /* of the last note to the courier */
    uint64_t ready[16];
    size_t ready_count;
    char trace[16];
};

static const int64_t AT_MS = 1700000000000;
static const int64_t HOUR = 60LL * 60 * 1000;

static struct vault_ticket ticket(struct world *w)
{
    return (struct vault_ticket){w, ++w->requests};
}

static struct vault_ticket from_courier(struct world *w)
{
    return (struct vault_ticket){&w->courier, ++w->requests};
}

/* Commits; the reply to the last request is returned, and notes are noted. */
static struct vault_reply commit(struct world *w)
{
    struct vault_reply reply = {0}, next;
    struct ipc_queue_ready_in ready;
    void *owner;
    vault_batch_at(w->vault, w->now);
    assert_true(vault_batch_commit(w->vault));
    while (vault_batch_reply(w->vault, &next))
        reply = next;
    w->fresh = false;
    w->ready_count = 0;
    while (vault_batch_ready(w->vault, &owner, &ready)) {
        assert_ptr_equal(owner, &w->courier);
        w->fresh = w->fresh || ready.fresh;
        for (size_t i = 0; i < ready.ready_count; i++)
            w->ready[w->ready_count++] = ready.ready[i].destination;
    }
    return reply;
}

static void pass(struct world *w, int64_t ms)
{
    w->now.mono_ms += ms;
    w->now.wall_ms += ms;
}

static enum status_code resume(struct world *w, const struct ipc_held *held, size_t count)
{
    struct ipc_resume_in in = {.held = held, .held_count = count};
    vault_resume(w->vault, from_courier(w), &in);
    return commit(w).status;
}

static void open_vault(struct world *w)
{
    struct diag d = {0};
    assert_int_equal(vault_batch_open(w->path, NULL, &w->vault, &d), STATUS_OK);
    vault_batch_at(w->vault, w->now);
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct diag d = {0};
    snprintf(w->folder, sizeof w->folder, "/tmp/postern-queue-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    snprintf(w->path, sizeof w->path, "%s/postern.db", w->folder);
    w->now = (struct now){1000000, AT_MS};
    open_vault(w);
    assert_int_equal(db_open(w->path, DB_READ, &w->reader, &d), STATUS_OK);
    arena_init(&w->arena, 1 << 24);
    vault_account_add(w->vault, ticket(w),
                      &(struct ipc_account_add_in){.at_ms = AT_MS, .name = STR("alice")}, NULL, 0);
    w->alice = commit(w).account_add.account;
    struct mailbox_record inbox;
    assert_int_equal(read_mailbox_by_path(w->reader, w->alice, STR("INBOX"), &w->arena, &inbox),
                     STATUS_OK);
    w->inbox = inbox.id;
    assert_int_equal(resume(w, NULL, 0), STATUS_OK);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    static const char *const endings[] = {"", "-wal", "-shm"};
    char name[128];
    db_close(w->reader);
    vault_batch_close(w->vault);
    arena_reset(&w->arena);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        snprintf(name, sizeof name, "%s%s", w->path, endings[i]);
        unlink(name);
    }
    assert_int_equal(rmdir(w->folder), 0);
    free(w);
    return 0;
}

/* ---- Mail in -----------------------------------------------------------------------------------
 */

static const struct str BODY = {"Subject: x\r\n\r\nhello\r\n", 21};

static struct body_writer *write_body(struct ipc_email *email, struct ipc_chunk *chunk)
{
    size_t count = 0;
    struct body_writer *writer = body_writer_new();
    assert_true(body_writer_write(writer, BODY) && body_writer_finish(writer));
    const struct body_chunk *c = body_writer_ready(writer, &count);
    assert_int_equal(count, 1);
    *chunk = (struct ipc_chunk){c->codec, c->key_id, c->plain_size, c->hash, c->data};
    *email = (struct ipc_email){.size = BODY.len, .chunks = chunk, .chunks_count = 1};
    return writer;
}

struct letter {
    const char *to[4]; /* addresses elsewhere */
    const char *via;   /* their destination */
    const char *from;
    uint64_t account;
    uint8_t notify;
    bool local; /* alice gets it too */
    struct ipc_envelope envelope;
};

/* Each address is a recipient of its own. */
static enum status_code send(struct world *w, const struct letter *letter)
{
    struct ipc_chunk chunk;
    struct ipc_relay relays[4];
    struct ipc_accept_recipient recipients[5] = {0};
    struct ipc_delivery delivery = {.account = w->alice, .mailbox = w->inbox};
    size_t count = 0;
    for (; count < 4 && letter->to[count]; count++) {
        relays[count] =
            (struct ipc_relay){text_from(str_from_c(letter->to[count])),
                               str_from_c(letter->via ? letter->via : "dns:example.org")};
        recipients[count] = (struct ipc_accept_recipient){.recipient = relays[count].address,
                                                          .notify = letter->notify,
                                                          .relays = &relays[count],
                                                          .relays_count = 1};
    }
    if (letter->local)
        recipients[count++] =
            (struct ipc_accept_recipient){.recipient = text_from(STR("alice@demo.test")),
                                          .notify = letter->notify,
                                          .deliveries = &delivery,
                                          .deliveries_count = 1};
    snprintf(w->trace, sizeof w->trace, "T%u", w->requests);
    struct ipc_accept_in in = {
        .trace_id = str_from_c(w->trace),
        .received_at_ms = w->now.wall_ms,
        .account = letter->account,
        .reverse_path = text_from(str_from_c(letter->from ? letter->from : "bob@demo.test")),
        .envelope = letter->envelope,
        .recipients = recipients,
        .recipients_count = count};
    struct body_writer *writer = write_body(&in.email, &chunk);
    vault_batch_at(w->vault, w->now);
    vault_accept(w->vault, ticket(w), &in);
    body_writer_free(writer);
    return commit(w).status;
}

static void send_one(struct world *w, const char *to, const char *via)
{
    assert_int_equal(send(w, &(struct letter){.to = {to}, .via = via}), STATUS_OK);
}

/* ---- Mail out ----------------------------------------------------------------------------------
 */

static struct ipc_lease_out lease(struct world *w, uint32_t fresh, uint32_t troubled,
                                  uint32_t messages)
{
    struct ipc_lease_in in = {.fresh = fresh, .troubled = troubled, .messages = messages};
    vault_lease(w->vault, from_courier(w), &in);
    struct ipc_lease_out out = commit(w).lease;
    assert_int_equal(out.status, STATUS_OK);
    return out;
}

static struct ipc_lease_out want(struct world *w, uint64_t destination, uint32_t messages)
{
    struct ipc_want wanted = {destination, messages};
    vault_lease(w->vault, from_courier(w),
                &(struct ipc_lease_in){.wants = &wanted, .wants_count = 1});
    struct ipc_lease_out out = commit(w).lease;
    assert_int_equal(out.status, STATUS_OK);
    return out;
}

static enum status_code tell(struct world *w, const struct ipc_outcomes_in *in)
{
    struct ipc_outcomes_in at = *in;
    at.at_ms = w->now.wall_ms;
    vault_batch_at(w->vault, w->now);
    vault_outcomes(w->vault, from_courier(w), &at);
    return commit(w).status;
}

static void outcome(struct world *w, uint64_t id, uint8_t what, int64_t retry_ms)
{
    struct ipc_outcome o = {.recipient = id,
                            .outcome = what,
                            .retry_ms = retry_ms,
                            .status = STR("4.2.0"),
                            .words = text_from(STR("450 greylisted")),
                            .remote =
                                what == 0 ? text_from(STR("mx.example.org")) : text_from(STR(""))};
    assert_int_equal(tell(w, &(struct ipc_outcomes_in){.outcomes = &o, .outcomes_count = 1}),
                     STATUS_OK);
}

static void arrive(struct world *w, uint64_t destination, uint8_t what, int64_t retry_ms)
{
    struct ipc_arrival a = {destination, what, retry_ms, text_from(STR("connection refused"))};
    assert_int_equal(tell(w, &(struct ipc_outcomes_in){.arrivals = &a, .arrivals_count = 1}),
                     STATUS_OK);
}

/* Its only row is to be tried later; then the courier leaves. The lease lives until the next batch.
 */
static void give_up_for_now(struct world *w, const struct ipc_lease_out *out, int64_t row_ms,
                            uint8_t state, int64_t destination_ms)
{
    uint64_t destination = out->begun[0].destination;
    outcome(w, out->jobs[0].recipients[0].id, 2, row_ms);
    arrive(w, destination, state, destination_ms);
}

static int64_t count(struct world *w, const char *sql)
{
    struct query *q = db_query(w->reader, sql);
    int64_t number = query_next(q) ? query_int(q, 0) : -1;
    assert_int_equal(query_end(q), STATUS_OK);
    return number;
}

#define ROWS(w, table) count(w, "SELECT count(*) FROM " table)

static bool has_step(struct world *w, const char *trace_id, const char *step)
{
    struct trace_record *steps = NULL;
    size_t n = 0;
    if (read_trace(w->reader, str_from_c(trace_id), &w->arena, &steps, &n) != STATUS_OK)
        return false;
    for (size_t i = 0; i < n; i++)
        if (str_eq(steps[i].step, str_from_c(step)))
            return true;
    return false;
}

/* ---- Tests -------------------------------------------------------------------------------------
 */

static void a_message_for_elsewhere_is_leased_and_gone_with_its_outcome(void **state)
{
    struct world *w = *state;
    send_one(w, "carol@example.org", NULL);
    assert_true(w->fresh);
    struct ipc_lease_out out = lease(w, 10, 10, 10);
    assert_int_equal(out.begun_count, 1);
    assert_true(str_eq(out.begun[0].name, STR("dns:example.org")));
    assert_int_equal(out.jobs_count, 1);
    const struct ipc_job *job = &out.jobs[0];
    assert_int_equal(job->recipients_count, 1);
    assert_true(str_eq(text_peek(job->recipients[0].recipient), STR("carol@example.org")));
    assert_true(str_eq(text_peek(job->sender), STR("bob@demo.test")));
    assert_int_equal(job->chunk_count, 1);
    assert_int_equal(job->chunks_count, 1);
    assert_int_equal(job->size, BODY.len);
    assert_int_equal(job->recipients[0].remaining_ms, 120 * HOUR);
    uint64_t id = job->recipients[0].id;
    /* Out is out. */
    assert_int_equal(lease(w, 10, 10, 10).jobs_count, 0);
    assert_int_equal(ROWS(w, "email"), 0);
    outcome(w, id, 0, 0);
    assert_int_equal(ROWS(w, "queue"), 0);
    assert_int_equal(ROWS(w, "outgoing"), 0);
    assert_int_equal(ROWS(w, "chunk"), 0);
    assert_true(has_step(w, w->trace, "relayed"));
    /* Said twice, it is passed over. */
    outcome(w, id, 2, 0);
    assert_int_equal(ROWS(w, "queue"), 0);
    assert_int_equal(vault_batch_numbers(w->vault)->waiting, 0);
}

static void an_address_twice_in_a_message_waits_once(void **state)
{
    struct world *w = *state;
    struct letter letter = {.to = {"carol@example.org", "carol@EXAMPLE.org", "Carol@example.org"}};
    assert_int_equal(send(w, &letter), STATUS_OK);
    struct ipc_lease_out out = lease(w, 1, 0, 10);
    assert_int_equal(out.jobs_count, 1);
    assert_int_equal(out.jobs[0].recipients_count, 2);
}

static void a_body_stays_while_a_mailbox_or_another_recipient_needs_it(void **state)
{
    struct world *w = *state;
    struct letter letter = {.to = {"a@example.org", "b@example.org"}, .local = true};
    assert_int_equal(send(w, &letter), STATUS_OK);
    struct ipc_lease_out out = lease(w, 1, 0, 10);
    uint64_t first = out.jobs[0].recipients[0].id, second = out.jobs[0].recipients[1].id;
    outcome(w, first, 0, 0);
    assert_int_equal(ROWS(w, "outgoing"), 1);
    outcome(w, second, 1, 0);
    assert_int_equal(ROWS(w, "outgoing"), 0);
    assert_int_equal(ROWS(w, "chunk"), 1);
    assert_true(has_step(w, w->trace, "bounced"));
}

static void what_failed_for_now_is_leased_when_its_time_comes(void **state)
{
    struct world *w = *state;
    send_one(w, "carol@example.org", NULL);
    struct ipc_lease_out out = lease(w, 1, 0, 10);
    uint64_t id = out.jobs[0].recipients[0].id, destination = out.begun[0].destination;
    outcome(w, id, 2, 60000);
    assert_true(has_step(w, w->trace, "deferred"));
    out = want(w, destination, 10);
    assert_int_equal(out.jobs_count, 0);
    assert_int_equal(out.wait_ms, 60000);
    arrive(w, destination, 0, 0);
    out = lease(w, 10, 10, 10);
    assert_int_equal(out.jobs_count, 0);
    assert_int_equal(out.wait_ms, 60000);
    pass(w, 60000);
    out = lease(w, 10, 10, 10);
    assert_int_equal(out.jobs_count, 1);
    assert_int_equal(out.jobs[0].recipients[0].attempts, 1);
    assert_true(str_eq(text_peek(out.jobs[0].recipients[0].last_words), STR("450 greylisted")));
    assert_int_equal(out.jobs[0].recipients[0].age_ms, 60000);
}

static void a_row_due_at_a_destination_the_courier_is_at_is_announced(void **state)
{
    struct world *w = *state;
    send_one(w, "carol@example.org", NULL);
    uint64_t destination = lease(w, 1, 0, 10).begun[0].destination;
    send_one(w, "dave@example.org", NULL);
    assert_int_equal(w->ready_count, 1);
    assert_int_equal(w->ready[0], destination);
    /* Once, until it asks again. */
    send_one(w, "erin@example.org", NULL);
    assert_int_equal(w->ready_count, 0);
    assert_int_equal(want(w, destination, 1).jobs_count, 1);
    assert_int_equal(want(w, destination, 9).jobs_count, 1);
    assert_int_equal(want(w, destination, 9).jobs_count, 0);
    send_one(w, "frank@example.org", NULL);
    assert_int_equal(w->ready_count, 1);
}

static void a_courier_busy_with_one_destination_hears_of_the_others(void **state)
{
    struct world *w = *state;
    send_one(w, "carol@slow.test", "dns:slow.test");
    assert_int_equal(lease(w, 1, 0, 10).jobs_count, 1);
    send_one(w, "dave@slow.test", "dns:slow.test");
    assert_int_equal(w->ready_count, 1);
    /* It has no use for that now; but for this. */
    send_one(w, "erin@other.test", "dns:other.test");
    assert_true(w->fresh);
    assert_int_equal(lease(w, 1, 0, 10).jobs_count, 1);
}

static void a_row_whose_time_comes_at_a_begun_destination_is_announced(void **state)
{
    struct world *w = *state;
    send_one(w, "carol@example.org", NULL);
    struct ipc_lease_out out = lease(w, 1, 0, 10);
    uint64_t destination = out.begun[0].destination;
    outcome(w, out.jobs[0].recipients[0].id, 2, 5000);
    assert_int_equal(lease(w, 10, 0, 10).wait_ms, 5000);
    pass(w, 5000);
    assert_int_equal(lease(w, 10, 0, 10).jobs_count, 0);
    assert_int_equal(w->ready_count, 1);
    assert_int_equal(want(w, destination, 1).jobs_count, 1);
}

static void a_destination_in_trouble_is_left_alone_and_kept_apart(void **state)
{
    struct world *w = *state;
    send_one(w, "carol@dead.test", "dns:dead.test");
    struct ipc_lease_out out = lease(w, 1, 0, 10);
    uint64_t destination = out.begun[0].destination;
    outcome(w, out.jobs[0].recipients[0].id, 2, 1000);
    arrive(w, destination, 1, 30000);
    send_one(w, "dave@dead.test", "dns:dead.test");
    pass(w, 10000);
    out = lease(w, 10, 10, 10);
    assert_int_equal(out.jobs_count, 0);
    assert_int_equal(out.wait_ms, 20000);
    pass(w, 20000);
    assert_int_equal(lease(w, 10, 0, 10).jobs_count, 0);
    out = lease(w, 0, 10, 10);
    assert_int_equal(out.jobs_count, 2);
    assert_int_equal(out.begun[0].trouble, 1);
    arrive(w, destination, 0, 0);
    struct destination_row row;
    assert_int_equal(read_destination(w->reader, STR("dns:dead.test"), 0, &w->arena, &row),
                     STATUS_OK);
    assert_int_equal(row.trouble, 0);
}

static void rows_given_back_are_due_again_at_once(void **state)
{
    struct world *w = *state;
    send_one(w, "carol@example.org", NULL);
    send_one(w, "dave@example.org", NULL);
    struct ipc_lease_out out = lease(w, 1, 0, 10);
    uint64_t destination = out.begun[0].destination;
    uint64_t first = out.jobs[0].recipients[0].id;
    assert_int_equal(out.jobs_count, 2);
    outcome(w, first, 3, 0);
    assert_int_equal(w->ready_count, 1);
    out = want(w, destination, 10);
    assert_int_equal(out.jobs_count, 1);
    assert_int_equal(out.jobs[0].recipients[0].id, first);
    assert_int_equal(out.jobs[0].recipients[0].attempts, 0);
}

static void nothing_is_granted_before_a_courier_says_what_it_holds(void **state)
{
    struct world *w = *state;
    send_one(w, "carol@example.org", NULL);
    send_one(w, "dave@example.org", NULL);
    struct ipc_lease_out out = lease(w, 1, 0, 10);
    struct ipc_held held = {out.jobs[0].recipients[0].id, out.begun[0].destination};
    vault_batch_close(w->vault);
    open_vault(w);
    vault_lease(w->vault, from_courier(w), &(struct ipc_lease_in){.fresh = 1, .messages = 10});
    assert_int_equal(commit(w).status, STATUS_BUSY);
    assert_int_equal(tell(w, &(struct ipc_outcomes_in){0}), STATUS_BUSY);
    assert_int_equal(resume(w, &held, 1), STATUS_OK);
    assert_int_equal(lease(w, 10, 10, 10).jobs_count, 0); /* it is at the destination */
    out = want(w, held.destination, 10);
    assert_int_equal(out.jobs_count, 1);
    assert_true(out.jobs[0].recipients[0].id != held.recipient);
    outcome(w, held.recipient, 0, 0);
    assert_int_equal(ROWS(w, "queue"), 1);
}

static void the_leases_of_a_courier_that_went_are_void(void **state)
{
    struct world *w = *state;
    send_one(w, "carol@example.org", NULL);
    uint64_t id = lease(w, 1, 0, 10).jobs[0].recipients[0].id;
    vault_owner_gone(w->vault, &w->courier);
    assert_int_equal(resume(w, NULL, 0), STATUS_OK);
    /* Late, and not leased any more: passed over. */
    outcome(w, id, 1, 0);
    assert_int_equal(ROWS(w, "queue"), 1);
    assert_int_equal(lease(w, 1, 0, 10).jobs_count, 1);
}

static void what_is_too_old_is_leased_to_be_bounced(void **state)
{
    struct world *w = *state;
    send_one(w, "carol@dead.test", "dns:dead.test");
    struct ipc_lease_out out = lease(w, 1, 0, 10);
    give_up_for_now(w, &out, 200 * HOUR, 1, 200 * HOUR);
    pass(w, 119 * HOUR);
    out = lease(w, 10, 10, 10);
    assert_int_equal(out.jobs_count, 0);
    assert_int_equal(out.wait_ms, HOUR);
    pass(w, HOUR);
    out = lease(w, 0, 0, 0);
    assert_int_equal(out.jobs_count, 1);
    assert_int_equal(out.begun_count, 0);
    assert_int_equal(out.jobs[0].recipients[0].task, 2);
    outcome(w, out.jobs[0].recipients[0].id, 2, 1000); /* no mailroom to plan the report */
    assert_int_equal(lease(w, 0, 0, 0).wait_ms, 1000);
    pass(w, 1000);
    out = lease(w, 0, 0, 0);
    assert_int_equal(out.jobs_count, 1);
    outcome(w, out.jobs[0].recipients[0].id, 1, 0);
    assert_int_equal(ROWS(w, "queue"), 0);
}

static void a_delay_notice_is_due_where_it_was_asked_for_and_once(void **state)
{
    struct world *w = *state;
    struct letter letter = {.to = {"carol@example.org"}, .notify = 8};
    assert_int_equal(send(w, &letter), STATUS_OK);
    struct ipc_lease_out out = lease(w, 1, 0, 10);
    give_up_for_now(w, &out, 6 * HOUR, 0, 0);
    pass(w, 4 * HOUR);
    out = lease(w, 10, 10, 10);
    assert_int_equal(out.jobs_count, 1);
    assert_int_equal(out.jobs[0].recipients[0].task, 4);
    outcome(w, out.jobs[0].recipients[0].id, 5, 0);
    assert_int_equal(lease(w, 10, 10, 10).wait_ms, 2 * HOUR);
    pass(w, 2 * HOUR);
    out = lease(w, 10, 10, 10);
    assert_int_equal(out.jobs_count, 1);
    assert_int_equal(out.jobs[0].recipients[0].task, 0);
}

static void success_is_told_for_a_mailbox_where_it_was_asked_for(void **state)
{
    struct world *w = *state;
    struct letter letter = {.local = true, .notify = 2};
    assert_int_equal(send(w, &letter), STATUS_OK);
    struct ipc_lease_out out = lease(w, 0, 0, 0);
    assert_int_equal(out.jobs_count, 1);
    assert_int_equal(out.jobs[0].recipients[0].task, 1);
    assert_int_equal(out.jobs[0].destination, 0);
    outcome(w, out.jobs[0].recipients[0].id, 1, 0);
    assert_int_equal(ROWS(w, "queue"), 0);
    assert_int_equal(ROWS(w, "chunk"), 1);
    /* Nobody is told of what nobody sent. */
    letter.from = "";
    assert_int_equal(send(w, &letter), STATUS_OK);
    assert_int_equal(ROWS(w, "queue"), 0);
}

static void mail_over_the_daily_limit_is_held_with_words_and_can_be_released(void **state)
{
    struct world *w = *state;
    struct vault_settings settings = {2, 120 * HOUR, 4 * HOUR};
    struct vault_held held;
    struct letter letter = {.to = {"a@example.org", "b@example.org"}, .account = w->alice};
    vault_batch_set(w->vault, &settings);
    assert_int_equal(send(w, &letter), STATUS_OK);
    assert_false(vault_batch_held(w->vault, &held));
    letter.to[1] = NULL;
    assert_int_equal(send(w, &letter), STATUS_OK);
    assert_true(vault_batch_held(w->vault, &held));
    assert_int_equal(held.recipients, 3);
    assert_true(has_step(w, w->trace, "held"));
    assert_int_equal(vault_batch_numbers(w->vault)->held, 1);
    assert_int_equal(lease(w, 10, 10, 10).jobs_count, 1);
    /* Another day, another account: not concerned. */
    letter.account = 0;
    assert_int_equal(send(w, &letter), STATUS_OK);
    assert_int_equal(vault_batch_numbers(w->vault)->held, 1);
    struct ipc_queue_change_in in = {.at_ms = AT_MS, .selection = {.held_only = true}, .action = 1};
    vault_queue_change(w->vault, ticket(w), &in);
    struct vault_reply reply = commit(w);
    assert_int_equal(reply.queue_change.status, STATUS_OK);
    assert_int_equal(reply.queue_change.changed, 1);
    assert_int_equal(reply.queue_change.through, 0);
    assert_int_equal(vault_batch_numbers(w->vault)->held, 0);
}

/* ---- Fairness ----------------------------------------------------------------------------------
 */

static void a_senders_flood_takes_its_turn(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 220; i++)
        assert_int_equal(send(w, &(struct letter){.to = {"a@example.org"}, .from = "flood@x.test"}),
                         STATUS_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(
            send(w, &(struct letter){.to = {"b@example.org"}, .envelope = {.priority = 4}}),
            STATUS_OK);
    struct ipc_lease_out out = lease(w, 1, 0, 7);
    int urgent = 0, bulk = 0;
    assert_int_equal(out.jobs_count, 7);
    for (size_t i = 0; i < out.jobs_count; i++)
        urgent += out.jobs[i].envelope.priority == 4;
    assert_int_equal(urgent, 3);
    for (size_t i = 0; i < out.jobs_count; i++)
        bulk += out.jobs[i].recipients[0].id > out.jobs[1].recipients[0].id + 300;
    assert_true(bulk >= 1);
}

static void no_row_is_walked_twice_nor_left_behind(void **state)
{
    struct world *w = *state;
    uint64_t seen[64] = {0};
    size_t total = 0;
    for (int i = 0; i < 60; i++)
        send_one(w, "a@example.org", i % 2 ? "dns:one.test" : "dns:two.test");
    struct ipc_lease_out out = lease(w, 10, 0, 7);
    uint64_t destinations[2] = {out.begun[0].destination, out.begun[1].destination};
    for (int round = 0; round < 10; round++) {
        for (size_t i = 0; i < out.jobs_count; i++) {
            for (size_t n = 0; n < total; n++)
                assert_true(seen[n] != out.jobs[i].recipients[0].id);
            seen[total++] = out.jobs[i].recipients[0].id;
        }
        out = want(w, destinations[round % 2], 7);
    }
    assert_int_equal(total, 60);
}

static void one_senders_many_destinations_take_their_turn(void **state)
{
    struct world *w = *state;
    char via[64];
    for (int i = 0; i < 400; i++) {
        snprintf(via, sizeof via, "dns:list%d.test", i);
        assert_int_equal(
            send(w, &(struct letter){.to = {"a@x.test"}, .via = via, .from = "list@x.test"}),
            STATUS_OK);
    }
    /* Those within its burst are as good as any; then the list has every fourth turn. */
    struct ipc_lease_out out = lease(w, 267, 0, 1);
    assert_int_equal(out.begun_count, 267);
    for (int i = 0; i < 12; i++) {
        snprintf(via, sizeof via, "dns:other%d.test", i);
        send_one(w, "b@y.test", via);
    }
    size_t others = 0;
    out = lease(w, 8, 0, 1);
    assert_int_equal(out.begun_count, 8);
    for (size_t i = 0; i < out.begun_count; i++)
        others += str_starts(out.begun[i].name, STR("dns:other"));
    assert_true(others == 5 || others == 6);
    /* One at a time, too. */
    others = 0;
    for (int i = 0; i < 8; i++)
        others += str_starts(lease(w, 1, 0, 1).begun[0].name, STR("dns:other"));
    assert_true(others == 6);
}

/* ---- Large bodies ------------------------------------------------------------------------------
 */

static void stage(struct world *w, uint64_t body, struct str piece)
{
    struct ipc_chunk chunks[8];
    size_t n = 0;
    struct body_writer *writer = body_writer_new();
    assert_true(body_writer_write(writer, piece));
    const struct body_chunk *ready = body_writer_ready(writer, &n);
    assert_true(n > 0 && n <= 8);
    for (size_t i = 0; i < n; i++)
        chunks[i] = (struct ipc_chunk){ready[i].codec, ready[i].key_id, ready[i].plain_size,
                                       ready[i].hash, ready[i].data};
    struct ipc_body_chunk_in in = {.body = body, .chunks = chunks, .chunks_count = n};
    vault_body_chunk(w->vault, ticket(w), &in);
    assert_int_equal(commit(w).status, STATUS_OK);
    body_writer_free(writer);
}

static void a_large_body_is_read_in_pieces_and_removed_in_slices(void **state)
{
    enum { PIECES = 50, PIECE = 2 * LIMIT_CHUNK_SIZE };
    struct world *w = *state;
    static char octets[PIECE];
    uint64_t seed = 1;
    for (size_t i = 0; i < PIECE; i++)
        octets[i] = (char)((seed = seed * 6364136223846793005u + 1) >> 33);
    for (int i = 0; i < PIECES; i++)
        stage(w, 7, str_make(octets, PIECE));
    struct ipc_relay relay = {text_from(STR("a@x.test")), STR("dns:x.test")};
    struct ipc_accept_recipient recipient = {
        .recipient = relay.address, .relays = &relay, .relays_count = 1};
    struct ipc_accept_in in = {.trace_id = STR("BIG"),
                               .email = {.size = (uint64_t)PIECES * PIECE, .body = 7},
                               .recipients = &recipient,
                               .recipients_count = 1};
    vault_accept(w->vault, ticket(w), &in);
    assert_int_equal(commit(w).status, STATUS_OK);
    struct ipc_lease_out out = lease(w, 1, 0, 1);
    assert_int_equal(out.jobs[0].chunk_count, 2 * PIECES);
    assert_int_equal(out.jobs[0].chunks_count, 0);
    uint64_t id = out.jobs[0].recipients[0].id;
    struct ipc_outgoing_chunks_in ask = {.message = out.jobs[0].message};
    while (ask.first < 2 * PIECES) {
        vault_outgoing_chunks(w->vault, from_courier(w), &ask);
        struct ipc_outgoing_chunks_out got = commit(w).outgoing_chunks;
        assert_int_equal(got.status, STATUS_OK);
        assert_true(got.chunks_count > 0);
        ask.first += (uint32_t)got.chunks_count;
    }
    assert_int_equal(ask.first, 2 * PIECES);
    /* Nobody else reads it, nor this courier once it has none of it. */
    vault_outgoing_chunks(w->vault, ticket(w), &ask);
    assert_int_equal(commit(w).status, STATUS_NOT_FOUND);
    outcome(w, id, 0, 0);
    ask.first = 0;
    vault_outgoing_chunks(w->vault, from_courier(w), &ask);
    assert_int_equal(commit(w).status, STATUS_NOT_FOUND);
    while (vault_batch_pending(w->vault))
        commit(w);
    assert_int_equal(ROWS(w, "chunk"), 0);
    assert_int_equal(ROWS(w, "staging"), 0);
}

static void a_reply_that_is_full_says_that_there_is_more(void **state)
{
    struct world *w = *state;
    static char octets[2 * LIMIT_CHUNK_SIZE];
    uint64_t seed = 1;
    size_t total = 0;
    for (size_t i = 0; i < sizeof octets; i++)
        octets[i] = (char)((seed = seed * 6364136223846793005u + 1) >> 33);
    for (uint64_t i = 0; i < 20; i++) {
        struct ipc_relay relay = {text_from(STR("a@x.test")), STR("dns:x.test")};
        struct ipc_accept_recipient recipient = {
            .recipient = relay.address, .relays = &relay, .relays_count = 1};
        struct ipc_accept_in in = {.trace_id = STR("BIG"),
                                   .email = {.size = sizeof octets, .body = 1 + i},
                                   .recipients = &recipient,
                                   .recipients_count = 1};
        stage(w, 1 + i, str_make(octets, sizeof octets));
        vault_accept(w->vault, ticket(w), &in);
        assert_int_equal(commit(w).status, STATUS_OK);
    }
    struct ipc_lease_out out = lease(w, 1, 0, 100);
    uint64_t destination = out.begun[0].destination;
    while (out.jobs_count > 0) {
        total += out.jobs_count;
        assert_true(out.jobs_count < 15);
        if (total < 20) {
            assert_int_equal(out.wait_ms, 0);
            assert_int_equal(w->ready_count, 1);
        }
        out = want(w, destination, 100);
    }
    assert_int_equal(total, 20);
}

/* ---- Reports, policies, operators --------------------------------------------------------------
 */

static void a_report_is_in_the_mailbox_with_the_end_of_its_row_and_only_once(void **state)
{
    struct world *w = *state;
    struct ipc_chunk chunk;
    struct ipc_delivery delivery = {.account = w->alice, .mailbox = w->inbox};
    send_one(w, "carol@example.org", NULL);
    char about[16];
    memcpy(about, w->trace, sizeof about);
    struct ipc_lease_out out = lease(w, 1, 0, 10);
    struct ipc_outcome o = {.recipient = out.jobs[0].recipients[0].id, .outcome = 1};
    struct ipc_report report = {.trace_id = STR("REPORT1"),
                                .about = str_from_c(about),
                                .at_ms = AT_MS,
                                .recipient = {.recipient = text_from(STR("alice@demo.test")),
                                              .deliveries = &delivery,
                                              .deliveries_count = 1}};
    struct body_writer *writer = write_body(&report.email, &chunk);
    struct ipc_outcomes_in in = {
        .outcomes = &o, .outcomes_count = 1, .reports = &report, .reports_count = 1};
    assert_int_equal(tell(w, &in), STATUS_OK);
    assert_int_equal(ROWS(w, "queue"), 0);
    assert_int_equal(ROWS(w, "entry"), 1);
    assert_true(has_step(w, about, "report"));
    /* The answer was lost: all is said again. */
    assert_int_equal(tell(w, &in), STATUS_OK);
    assert_int_equal(ROWS(w, "entry"), 1);
    /* To nobody: it does not keep the rest from happening. */
    report.trace_id = STR("REPORT2");
    delivery.account = 999999;
    assert_int_equal(tell(w, &in), STATUS_OK);
    assert_true(has_step(w, about, "report-dropped"));
    body_writer_free(writer);
}

static struct ipc_queue_change_out change(struct world *w, struct ipc_queue_change_in in)
{
    in.at_ms = AT_MS;
    vault_batch_at(w->vault, w->now);
    vault_queue_change(w->vault, ticket(w), &in);
    return commit(w).queue_change;
}

static void operators_hold_release_bounce_remove_and_reroute(void **state)
{
    struct world *w = *state;
    send_one(w, "a@one.test", "dns:one.test");
    send_one(w, "b@two.test", "dns:two.test");
    struct ipc_selection one = {.domain = STR("ONE.test")},
                         two = {.recipient = text_from(STR("b@two.test"))};
    assert_int_equal(change(w, (struct ipc_queue_change_in){.selection = one}).changed, 1);
    assert_int_equal(lease(w, 10, 10, 10).jobs_count, 1);
    assert_int_equal(change(w, (struct ipc_queue_change_in){.selection = one, .action = 1}).changed,
                     1);
    struct ipc_lease_out out = lease(w, 10, 10, 10);
    assert_int_equal(out.jobs_count, 1);
    give_up_for_now(w, &out, 50 * HOUR, 1, 50 * HOUR);
    assert_int_equal(lease(w, 10, 10, 10).jobs_count, 0);
    /* Now, whatever trouble there was. */
    assert_int_equal(change(w, (struct ipc_queue_change_in){.selection = one, .action = 2}).changed,
                     1);
    out = lease(w, 10, 10, 10);
    assert_int_equal(out.jobs_count, 1);
    outcome(w, out.jobs[0].recipients[0].id, 2, HOUR);
    assert_int_equal(change(w, (struct ipc_queue_change_in){.selection = one,
                                                            .action = 5,
                                                            .destination = STR("route:relay")})
                         .changed,
                     1);
    out = lease(w, 10, 10, 10);
    assert_int_equal(out.jobs_count, 1);
    assert_true(str_eq(out.begun[0].name, STR("route:relay")));
    outcome(w, out.jobs[0].recipients[0].id, 2, HOUR);
    struct text words = text_from(STR("no such road"));
    assert_int_equal(
        change(w, (struct ipc_queue_change_in){.selection = one, .action = 3, .words = words})
            .changed,
        1);
    out = lease(w, 0, 0, 0);
    assert_int_equal(out.jobs_count, 1);
    assert_int_equal(out.jobs[0].recipients[0].task, 3);
    assert_true(str_eq(text_peek(out.jobs[0].recipients[0].last_words), STR("no such road")));
    assert_int_equal(change(w, (struct ipc_queue_change_in){.selection = two, .action = 4}).changed,
                     1);
    assert_int_equal(ROWS(w, "queue"), 1);
    assert_int_equal(change(w, (struct ipc_queue_change_in){.action = 99}).status, STATUS_INVALID);
}

static void an_outcome_after_an_operator_told_to_bounce_does_not_undo_that(void **state)
{
    struct world *w = *state;
    send_one(w, "a@one.test", "dns:one.test");
    struct ipc_lease_out out = lease(w, 10, 10, 10);
    uint64_t id = out.jobs[0].recipients[0].id;
    change(w, (struct ipc_queue_change_in){.action = 3, .words = text_from(STR("enough"))});
    assert_int_equal(lease(w, 0, 0, 0).jobs_count, 0);
    outcome(w, id, 2, HOUR);
    out = lease(w, 0, 0, 0);
    assert_int_equal(out.jobs_count, 1);
    assert_int_equal(out.jobs[0].recipients[0].task, 3);
}

static void policies_are_kept_with_the_time_they_were_seen(void **state)
{
    struct world *w = *state;
    struct ipc_sts_get_in get = {STR("example.org")};
    vault_sts_get(w->vault, from_courier(w), &get);
    assert_int_equal(commit(w).status, STATUS_NOT_FOUND);
    struct ipc_sts_set_in set = {.at_ms = w->now.wall_ms,
                                 .domain = STR("example.org"),
                                 .id = text_from(STR("7")),
                                 .policy = text_from(STR("version: STSv1"))};
    vault_sts_set(w->vault, from_courier(w), &set);
    assert_int_equal(commit(w).status, STATUS_OK);
    pass(w, HOUR);
    vault_sts_get(w->vault, from_courier(w), &get);
    struct ipc_sts_get_out out = commit(w).sts_get;
    assert_int_equal(out.status, STATUS_OK);
    assert_int_equal(out.age_ms, HOUR);
    assert_true(str_eq(text_peek(out.policy), STR("version: STSv1")));
}

static void the_clock_goes_on_over_a_restart(void **state)
{
    struct world *w = *state;
    bool more;
    send_one(w, "a@one.test", "dns:one.test");
    outcome(w, lease(w, 1, 0, 1).jobs[0].recipients[0].id, 2, HOUR);
    assert_int_equal(vault_purge(w->vault, w->now.wall_ms, HOUR, &more), STATUS_OK);
    vault_batch_close(w->vault);
    /* Years by the wall, another boot's monotonic clock: an hour, not five days. */
    w->now = (struct now){5, AT_MS + 20000 * HOUR};
    open_vault(w);
    assert_int_equal(resume(w, NULL, 0), STATUS_OK);
    struct ipc_lease_out out = lease(w, 1, 0, 1);
    assert_int_equal(out.jobs_count, 1);
    assert_int_equal(out.jobs[0].recipients[0].task, 0);
    assert_int_equal(out.jobs[0].recipients[0].age_ms, HOUR);
}

static void what_is_known_of_the_way_out_is_forgotten_in_time(void **state)
{
    struct world *w = *state;
    struct ipc_tls_outcome tls = {.domain = STR("one.test"), .mx = STR("mx"), .sessions = 3};
    struct letter letter = {.to = {"a@one.test"}, .via = "dns:one.test", .account = w->alice};
    int64_t day_ms = 24 * HOUR, hour_ms = w->now.wall_ms - w->now.wall_ms % HOUR;
    bool more = true;
    assert_int_equal(send(w, &letter), STATUS_OK);
    struct ipc_lease_out out = lease(w, 1, 0, 1);
    uint64_t destination = out.begun[0].destination;
    outcome(w, out.jobs[0].recipients[0].id, 0, 0);
    arrive(w, destination, 0, 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(tell(w, &(struct ipc_outcomes_in){.tls = &tls, .tls_count = 1}),
                         STATUS_OK);
    assert_int_equal(count(w, "SELECT sessions FROM tls_result"), 6);
    struct ipc_sts_set_in set = {.at_ms = w->now.wall_ms, .domain = STR("one.test")};
    vault_sts_set(w->vault, from_courier(w), &set);
    assert_int_equal(commit(w).status, STATUS_OK);
    while (more)
        assert_int_equal(vault_purge(w->vault, hour_ms + 6 * day_ms, day_ms, &more), STATUS_OK);
    assert_int_equal(ROWS(w, "destination") + ROWS(w, "sent") + ROWS(w, "tls_result"), 3);
    for (more = true; more;)
        assert_int_equal(vault_purge(w->vault, hour_ms + 40 * day_ms, day_ms, &more), STATUS_OK);
    assert_int_equal(ROWS(w, "destination") + ROWS(w, "sent") + ROWS(w, "tls_result"), 0);
    assert_int_equal(ROWS(w, "sts_policy"), 1);
    for (more = true; more;)
        assert_int_equal(vault_purge(w->vault, hour_ms + 400 * day_ms, day_ms, &more), STATUS_OK);
    assert_int_equal(ROWS(w, "sts_policy"), 0);
    /* And is learned anew. */
    assert_int_equal(send(w, &letter), STATUS_OK);
    assert_int_equal(lease(w, 1, 0, 1).jobs_count, 1);
}

static void an_envelope_beyond_reason_is_refused(void **state)
{
    struct world *w = *state;
    struct letter letter = {.to = {"a@one.test"}, .envelope = {.hold_ms = UINT64_MAX}};
    assert_int_equal(send(w, &letter), STATUS_INVALID);
    letter.envelope = (struct ipc_envelope){.by_mode = 1, .by_ms = INT64_MIN};
    assert_int_equal(send(w, &letter), STATUS_INVALID);
    letter.envelope = (struct ipc_envelope){.priority = 10};
    assert_int_equal(send(w, &letter), STATUS_INVALID);
    letter.envelope = (struct ipc_envelope){0};
    letter.via = "example.org";
    assert_int_equal(send(w, &letter), STATUS_INVALID);
    letter.via = "dns:two words";
    assert_int_equal(send(w, &letter), STATUS_INVALID);
    assert_int_equal(ROWS(w, "queue"), 0);
}

static void mail_is_returned_when_its_time_is_over(void **state)
{
    struct world *w = *state;
    struct letter letter = {.to = {"a@one.test"}, .envelope = {.by_mode = 1, .by_ms = 5000}};
    assert_int_equal(send(w, &letter), STATUS_OK);
    struct ipc_lease_out out = lease(w, 1, 0, 1);
    assert_int_equal(out.jobs[0].envelope.by_ms, 5000);
    give_up_for_now(w, &out, HOUR, 0, 0);
    pass(w, 5000);
    out = lease(w, 0, 0, 0);
    assert_int_equal(out.jobs_count, 1);
    assert_int_equal(out.jobs[0].recipients[0].task, 2);
}

static void mail_can_be_held_for_a_time(void **state)
{
    struct world *w = *state;
    struct letter letter = {.to = {"a@one.test"}, .envelope = {.hold_ms = 5000}};
    assert_int_equal(send(w, &letter), STATUS_OK);
    assert_true(w->fresh); /* the courier must learn until when there is nothing */
    struct ipc_lease_out out = lease(w, 1, 1, 1);
    assert_int_equal(out.jobs_count, 0);
    assert_int_equal(out.wait_ms, 5000);
    pass(w, 5000);
    assert_int_equal(lease(w, 1, 0, 1).jobs_count, 1);
}

#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_WORLD(a_message_for_elsewhere_is_leased_and_gone_with_its_outcome),
        WITH_WORLD(an_address_twice_in_a_message_waits_once),
        WITH_WORLD(a_body_stays_while_a_mailbox_or_another_recipient_needs_it),
        WITH_WORLD(what_failed_for_now_is_leased_when_its_time_comes),
        WITH_WORLD(a_row_due_at_a_destination_the_courier_is_at_is_announced),
        WITH_WORLD(a_courier_busy_with_one_destination_hears_of_the_others),
        WITH_WORLD(a_row_whose_time_comes_at_a_begun_destination_is_announced),
        WITH_WORLD(a_destination_in_trouble_is_left_alone_and_kept_apart),
        WITH_WORLD(rows_given_back_are_due_again_at_once),
        WITH_WORLD(nothing_is_granted_before_a_courier_says_what_it_holds),
        WITH_WORLD(the_leases_of_a_courier_that_went_are_void),
        WITH_WORLD(what_is_too_old_is_leased_to_be_bounced),
        WITH_WORLD(a_delay_notice_is_due_where_it_was_asked_for_and_once),
        WITH_WORLD(success_is_told_for_a_mailbox_where_it_was_asked_for),
        WITH_WORLD(mail_over_the_daily_limit_is_held_with_words_and_can_be_released),
        WITH_WORLD(a_senders_flood_takes_its_turn),
        WITH_WORLD(no_row_is_walked_twice_nor_left_behind),
        WITH_WORLD(one_senders_many_destinations_take_their_turn),
        WITH_WORLD(a_large_body_is_read_in_pieces_and_removed_in_slices),
        WITH_WORLD(a_reply_that_is_full_says_that_there_is_more),
        WITH_WORLD(a_report_is_in_the_mailbox_with_the_end_of_its_row_and_only_once),
        WITH_WORLD(operators_hold_release_bounce_remove_and_reroute),
        WITH_WORLD(an_outcome_after_an_operator_told_to_bounce_does_not_undo_that),
        WITH_WORLD(policies_are_kept_with_the_time_they_were_seen),
        WITH_WORLD(the_clock_goes_on_over_a_restart),
        WITH_WORLD(what_is_known_of_the_way_out_is_forgotten_in_time),
        WITH_WORLD(an_envelope_beyond_reason_is_refused),
        WITH_WORLD(mail_is_returned_when_its_time_is_over),
        WITH_WORLD(mail_can_be_held_for_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
