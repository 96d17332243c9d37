/*
 * The bound of what the vault can relay: messages in for other servers, leased, and gone with their
 * outcome, without a network, a protocol or another process.
 *
 *   queue_bound relay [SECONDS [FOLDER [ROWS]]]   in and out, in batches, beside so many that wait
 *   queue_bound fill FILE ROWS DESTINATIONS    a database with so many rows that wait
 *   queue_bound start FILE                     how soon a vault on it grants its first leases, and
 *                                              what memory it takes
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/limits.h"
#include "roles/vault_batch.h"
#include "store/ingest.h"

enum { SIZE = 4096, BATCH = 64, CHECKPOINT_SIZE = 8 << 20, LEASE = 200, DESTINATIONS = 50 };

static const int64_t WALL_MS = 1700000000000;

static uint64_t seed = 88172645463325252u;
static struct ipc_chunk chunk;
static uint64_t number;
static int courier;

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "queue_bound: %s\n", what);
    exit(1);
}

static uint64_t draw(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct vault_ticket ticket(void)
{
    return (struct vault_ticket){&courier, 0};
}

/* Hexadecimal digits: about half of it is left by a compressor, as of a usual mail. */
static void make_body(void)
{
    char text[SIZE];
    size_t count = 0;
    struct body_writer *writer = body_writer_new();
    for (size_t i = 0; i < SIZE; i++)
        text[i] = "0123456789abcdef"[draw() >> 20 & 15];
    if (!writer || !body_writer_write(writer, str_make(text, SIZE)) || !body_writer_finish(writer))
        die("memory");
    const struct body_chunk *c = body_writer_ready(writer, &count);
    chunk = (struct ipc_chunk){c->codec, c->key_id, c->plain_size, c->hash, c->data};
}

static struct vault_batch *open_vault(const char *path)
{
    struct vault_batch *v = NULL;
    struct diag d = {0};
    if (vault_batch_open(path, NULL, &v, &d) != STATUS_OK)
        die(d.words);
    vault_batch_at(v, (struct now){1000, WALL_MS});
    return v;
}

static void accept(struct vault_batch *v, const char *destination, uint64_t hold_ms)
{
    char trace_id[32], to[300];
    snprintf(trace_id, sizeof trace_id, "01KB%022llu", (unsigned long long)++number);
    snprintf(to, sizeof to, "user%llu@%s", (unsigned long long)(draw() % 1000), destination + 4);
    struct ipc_relay relay = {text_from(str_from_c(to)), str_from_c(destination)};
    struct ipc_accept_recipient recipient = {
        .recipient = relay.address, .relays = &relay, .relays_count = 1};
    struct ipc_accept_in in = {.trace_id = str_from_c(trace_id),
                               .received_at_ms = WALL_MS,
                               .reverse_path = text_from(STR("somebody@example.org")),
                               .helo = text_from(STR("mail.example.org")),
                               .peer = STR("192.0.2.1"),
                               .tls = STR("TLSv1.3 TLS_AES_256_GCM_SHA384"),
                               .envelope = {.hold_ms = hold_ms},
                               .email = {.size = SIZE, .chunks = &chunk, .chunks_count = 1},
                               .recipients = &recipient,
                               .recipients_count = 1};
    vault_accept(v, ticket(), &in);
}

/* The last reply; a courier's note goes nowhere. */
static struct vault_reply commit(struct vault_batch *v)
{
    struct vault_reply reply = {0};
    struct ipc_queue_ready_in ready;
    void *owner;
    uint64_t left;
    if (!vault_batch_commit(v))
        die("commit");
    while (vault_batch_reply(v, &reply))
        if (reply.status != STATUS_OK)
            die(status_name(reply.status));
    while (vault_batch_ready(v, &owner, &ready))
        ;
    if (vault_wal_size(v) >= CHECKPOINT_SIZE && !vault_checkpoint(v, &left))
        die("checkpoint");
    return reply;
}

static void resume(struct vault_batch *v)
{
    vault_resume(v, ticket(), &(struct ipc_resume_in){0});
    commit(v);
}

static void fill(struct vault_batch *v, uint64_t rows, uint64_t destinations, uint64_t hold_ms)
{
    char destination[64];
    bool more;
    for (uint64_t i = 0; i < rows; i++) {
        snprintf(destination, sizeof destination, "dns:dead%llu.example.org",
                 (unsigned long long)(draw() % destinations));
        accept(v, destination, hold_ms);
        if (i % BATCH == BATCH - 1)
            commit(v);
    }
    commit(v);
    if (vault_purge(v, WALL_MS, &more) != STATUS_OK)
        die("purge");
}

/* ---- In and out --------------------------------------------------------------------------------
 */

static double spent[3]; /* CPU seconds: in, leases, outcomes */

static size_t relay_batch(struct vault_batch *v)
{
    static struct ipc_want wants[DESTINATIONS];
    static size_t want_count;
    static struct ipc_outcome outcomes[4 * LEASE];
    char destination[64];
    double begun = seconds(CLOCK_PROCESS_CPUTIME_ID);
    for (int i = 0; i < BATCH; i++) {
        snprintf(destination, sizeof destination, "dns:live%d.example.org",
                 (int)(draw() % DESTINATIONS));
        accept(v, destination, 0);
    }
    commit(v);
    double in = seconds(CLOCK_PROCESS_CPUTIME_ID);
    vault_lease(v, ticket(),
                &(struct ipc_lease_in){.wants = wants,
                                       .wants_count = want_count,
                                       .fresh = DESTINATIONS - (uint32_t)want_count,
                                       .messages = LEASE});
    struct ipc_lease_out out = commit(v).lease;
    for (size_t i = 0; i < out.begun_count; i++)
        wants[want_count++] = (struct ipc_want){out.begun[i].destination, LEASE};
    if (out.jobs_count > 4 * LEASE)
        die("too much at once");
    for (size_t i = 0; i < out.jobs_count; i++)
        outcomes[i] =
            (struct ipc_outcome){.recipient = out.jobs[i].recipients[0].id,
                                 .status = STR("2.0.0"),
                                 .words = text_from(STR("250 2.0.0 OK queued as 123456")),
                                 .remote = text_from(STR("mx.example.org [192.0.2.1]:25")),
                                 .tls = STR("TLSv1.3 TLS_AES_256_GCM_SHA384")};
    size_t count = out.jobs_count;
    double leased = seconds(CLOCK_PROCESS_CPUTIME_ID);
    vault_outcomes(
        v, ticket(),
        &(struct ipc_outcomes_in){.at_ms = WALL_MS, .outcomes = outcomes, .outcomes_count = count});
    commit(v);
    double gone = seconds(CLOCK_PROCESS_CPUTIME_ID);
    spent[0] += in - begun;
    spent[1] += leased - in;
    spent[2] += gone - leased;
    return count;
}

static void relay(double limit, const char *folder, uint64_t rows)
{
    char path[4096];
    uint64_t messages = 0;
    snprintf(path, sizeof path, "%s/queue-bound-%d.db", folder, (int)getpid());
    struct vault_batch *v = open_vault(path);
    resume(v);
    fill(v, rows, rows / 50 + 1, 3600 * 1000);
    double begun = seconds(CLOCK_MONOTONIC);
    while (seconds(CLOCK_MONOTONIC) - begun < limit)
        messages += relay_batch(v);
    double took = seconds(CLOCK_MONOTONIC) - begun;
    printf("batches of %d: %.0f messages/s in and out; CPU us a message: in %.1f, lease %.1f, "
           "outcome %.1f\n",
           BATCH, (double)messages / took, spent[0] * 1e6 / (double)messages,
           spent[1] * 1e6 / (double)messages, spent[2] * 1e6 / (double)messages);
    vault_batch_close(v);
    unlink(path);
}

/* ---- Many that wait ----------------------------------------------------------------------------
 */

static void fill_file(const char *path, uint64_t rows, uint64_t destinations)
{
    struct vault_batch *v = open_vault(path);
    fill(v, rows, destinations, 0);
    vault_batch_close(v);
}

static long memory_kib(void)
{
    long size = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%ld %ld", &size, &resident) != 2)
        die("no /proc");
    fclose(f);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static void start(const char *path)
{
    double begun = seconds(CLOCK_MONOTONIC);
    struct vault_batch *v = open_vault(path);
    double opened = seconds(CLOCK_MONOTONIC);
    resume(v);
    struct ipc_lease_in in = {.fresh = 100, .troubled = 100, .messages = 5};
    vault_lease(v, ticket(), &in);
    struct ipc_lease_out out = commit(v).lease;
    size_t jobs = out.jobs_count;
    double leased = seconds(CLOCK_MONOTONIC);
    printf("%llu rows wait: open in %.1f ms, %zu jobs leased in %.1f ms, %ld KiB\n",
           (unsigned long long)vault_batch_numbers(v)->waiting, (opened - begun) * 1e3, jobs,
           (leased - opened) * 1e3, memory_kib());
    /* A long life: everything is leased in turn, and given back. */
    for (int i = 0; i < 2000; i++) {
        vault_lease(v, ticket(), &in);
        if (commit(v).lease.jobs_count == 0)
            break;
    }
    printf("%llu rows out on lease: %ld KiB\n", (unsigned long long)vault_batch_numbers(v)->leased,
           memory_kib());
    vault_batch_close(v);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "relay";
    make_body();
    if (strcmp(what, "relay") == 0)
        relay(argc > 2 ? atof(argv[2]) : 5, argc > 3 ? argv[3] : "/tmp",
              argc > 4 ? strtoull(argv[4], NULL, 10) : 0);
    else if (strcmp(what, "fill") == 0 && argc == 5)
        fill_file(argv[2], strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10));
    else if (strcmp(what, "start") == 0 && argc == 3)
        start(argv[2]);
    else
        die("relay [SECONDS [FOLDER [ROWS]]] | fill FILE ROWS DESTINATIONS | start FILE");
    return 0;
}
