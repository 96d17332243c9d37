#include "roles/testing_queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/testing.h"
#include "store/queue.h"

static const struct str BODY = {"Subject: x\r\n\r\nhello\r\n", QUEUE_BODY_SIZE};

struct vault_ticket queue_ticket(struct queue_world *w)
{
    return (struct vault_ticket){w, ++w->requests};
}

struct vault_ticket queue_courier_ticket(struct queue_world *w)
{
    return (struct vault_ticket){&w->courier, ++w->requests};
}

/* Commits; the reply to the last request is returned, and notes are noted. */
struct vault_reply queue_commit(struct queue_world *w)
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

void queue_pass(struct queue_world *w, int64_t ms)
{
    w->now.mono_ms += ms;
    w->now.wall_ms += ms;
}

enum status_code queue_resume(struct queue_world *w, const struct ipc_held *held, size_t count)
{
    struct ipc_resume_in in = {.held = held, .held_count = count};
    vault_resume(w->vault, queue_courier_ticket(w), &in);
    return queue_commit(w).status;
}

void queue_open(struct queue_world *w)
{
    struct diag d = {0};
    assert_int_equal(vault_batch_open(w->path, NULL, &w->vault, &d), STATUS_OK);
    vault_batch_at(w->vault, w->now);
}

int queue_set_up(void **state)
{
    struct queue_world *w = calloc(1, sizeof *w);
    struct diag d = {0};
    snprintf(w->folder, sizeof w->folder, "/tmp/postern-queue-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    snprintf(w->path, sizeof w->path, "%s/postern.db", w->folder);
    w->now = (struct now){1000000, AT_MS};
    queue_open(w);
    assert_int_equal(db_open(w->path, DB_READ, &w->reader, &d), STATUS_OK);
    arena_init(&w->arena, 1 << 24);
    vault_account_add(w->vault, queue_ticket(w),
                      &(struct ipc_account_add_in){.at_ms = AT_MS, .name = STR("alice")}, NULL, 0);
    w->alice = queue_commit(w).account_add.account;
    struct mailbox_record inbox;
    assert_int_equal(read_mailbox_by_path(w->reader, w->alice, STR("INBOX"), &w->arena, &inbox),
                     STATUS_OK);
    w->inbox = inbox.id;
    assert_int_equal(queue_resume(w, NULL, 0), STATUS_OK);
    *state = w;
    return 0;
}

int queue_tear_down(void **state)
{
    struct queue_world *w = *state;
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

struct body_writer *queue_write_body(struct ipc_email *email, struct ipc_chunk *chunk)
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

/* Each address is a recipient of its own. */
enum status_code queue_send(struct queue_world *w, const struct queue_letter *letter)
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
        .counted = letter->user ? sent_by_user(letter->user) : (int64_t)letter->account,
        .reverse_path = text_from(str_from_c(letter->from ? letter->from : "bob@demo.test")),
        .envelope = letter->envelope,
        .recipients = recipients,
        .recipients_count = count};
    struct body_writer *writer = queue_write_body(&in.email, &chunk);
    vault_batch_at(w->vault, w->now);
    vault_accept(w->vault, queue_ticket(w), &in);
    body_writer_free(writer);
    return queue_commit(w).status;
}

void queue_send_one(struct queue_world *w, const char *to, const char *via)
{
    assert_int_equal(queue_send(w, &(struct queue_letter){.to = {to}, .via = via}), STATUS_OK);
}

/* ---- Mail out ----------------------------------------------------------------------------------
 */

struct ipc_lease_out queue_lease(struct queue_world *w, uint32_t fresh, uint32_t troubled,
                                 uint32_t messages)
{
    struct ipc_lease_in in = {.fresh = fresh, .troubled = troubled, .messages = messages};
    vault_lease(w->vault, queue_courier_ticket(w), &in);
    struct ipc_lease_out out = queue_commit(w).lease;
    assert_int_equal(out.status, STATUS_OK);
    return out;
}

struct ipc_lease_out queue_want(struct queue_world *w, uint64_t destination, uint32_t messages)
{
    struct ipc_want wanted = {destination, messages};
    vault_lease(w->vault, queue_courier_ticket(w),
                &(struct ipc_lease_in){.wants = &wanted, .wants_count = 1});
    struct ipc_lease_out out = queue_commit(w).lease;
    assert_int_equal(out.status, STATUS_OK);
    return out;
}

enum status_code queue_tell(struct queue_world *w, const struct ipc_outcomes_in *in)
{
    struct ipc_outcomes_in at = *in;
    at.at_ms = w->now.wall_ms;
    vault_batch_at(w->vault, w->now);
    vault_outcomes(w->vault, queue_courier_ticket(w), &at);
    return queue_commit(w).status;
}

void queue_outcome(struct queue_world *w, uint64_t id, uint8_t what, int64_t retry_ms)
{
    struct ipc_outcome o = {.recipient = id,
                            .outcome = what,
                            .retry_ms = retry_ms,
                            .status = STR("4.2.0"),
                            .words = text_from(STR("450 greylisted")),
                            .remote =
                                what == 0 ? text_from(STR("mx.example.org")) : text_from(STR(""))};
    assert_int_equal(queue_tell(w, &(struct ipc_outcomes_in){.outcomes = &o, .outcomes_count = 1}),
                     STATUS_OK);
}

void queue_arrive(struct queue_world *w, uint64_t destination, uint8_t what, int64_t retry_ms)
{
    struct ipc_arrival a = {destination, what, retry_ms, text_from(STR("connection refused"))};
    assert_int_equal(queue_tell(w, &(struct ipc_outcomes_in){.arrivals = &a, .arrivals_count = 1}),
                     STATUS_OK);
}

/* Its only row is to be tried later; then the courier leaves. The lease lives until the next batch.
 */
void queue_give_up(struct queue_world *w, const struct ipc_lease_out *out, int64_t row_ms,
                   uint8_t state, int64_t destination_ms)
{
    uint64_t destination = out->begun[0].destination;
    queue_outcome(w, out->jobs[0].recipients[0].id, 2, row_ms);
    queue_arrive(w, destination, state, destination_ms);
}

int64_t queue_count(struct queue_world *w, const char *sql)
{
    struct query *q = db_query(w->reader, sql);
    int64_t number = query_next(q) ? query_int(q, 0) : -1;
    assert_int_equal(query_end(q), STATUS_OK);
    return number;
}

bool queue_has_step(struct queue_world *w, const char *trace_id, const char *step)
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
