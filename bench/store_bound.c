/*
 * The bound of what the server can accept: the same schema, statements and commits as the vault's,
 * without a network, a protocol or another process. Messages are made beforehand.
 *
 *   store_bound [SECONDS-A-ROW [FOLDER [SIZE BATCH...]]]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/limits.h"
#include "mail/ingest.h"
#include "roles/vault_batch.h"
#include "store/ingest.h"

enum {
    ACCOUNTS = 16,
    WORDS = 4000,
    POOL_BYTES = 64 << 20,
    CHECKPOINT_SIZE = 8 << 20, /* as the vault's */
    BATCH_MAX = 1024,
    BATCHES_MAX = 8,
};

struct message {
    size_t size;
    struct ipc_chunk chunks[2];
    size_t chunk_count;
    struct str structure;
    struct str signature;
};

static uint64_t seed = 88172645463325252u;
static char words[WORDS][12];
static uint64_t accounts[ACCOUNTS];
static uint64_t plain_bytes, stored_bytes, side_bytes;
static double made_cpu; /* seconds */

static uint64_t draw(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "store_bound: %s\n", what);
    exit(1);
}

static void make_words(void)
{
    static const char letters[] = "etaoinshrdlucmfwypvbgkjqxz";
    for (int i = 0; i < WORDS; i++) {
        size_t len = 2 + draw() % 9;
        for (size_t k = 0; k < len; k++)
            words[i][k] = letters[(draw() % 26 * (draw() % 26)) / 26];
    }
}

/* Words with the frequencies of a language, in lines, under a header. */
static size_t make_text(char *out, size_t size)
{
    int at = snprintf(out, size,
                      "Received: from mail.example.org (mail.example.org [192.0.2.1])\r\n"
                      "\tby mx.demo.test with ESMTP id %016llx;\r\n"
                      "\tSun, 22 Nov 2026 10:00:00 +0000\r\n"
                      "From: Somebody <somebody%llu@example.org>\r\n"
                      "To: alice@demo.test\r\nSubject: %s %s %s\r\n"
                      "Date: Sun, 22 Nov 2026 10:00:00 +0000\r\n"
                      "Message-ID: <%016llx@example.org>\r\n\r\n",
                      (unsigned long long)draw(), (unsigned long long)(draw() % 1000),
                      words[draw() % WORDS], words[draw() % WORDS], words[draw() % WORDS],
                      (unsigned long long)draw());
    size_t end = (size_t)at, column = 0;
    while (end < size - 16) {
        const char *word = words[draw() % WORDS * (draw() % WORDS) / WORDS];
        size_t len = strlen(word);
        memcpy(out + end, word, len);
        end += len;
        column += len + 1;
        if (column > 68) {
            memcpy(out + end, "\r\n", 2);
            end += 2;
            column = 0;
        } else {
            out[end++] = draw() % 23 ? ' ' : ',';
        }
    }
    memcpy(out + end, "\r\n", 2);
    return end + 2;
}

static struct str copy(struct str s)
{
    char *bytes = malloc(s.len + 1);
    if (!bytes)
        die("memory");
    memcpy(bytes, s.ptr, s.len);
    return str_make(bytes, s.len);
}

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static struct message make_message(size_t size, struct ingest *ingest, struct body_writer *writer)
{
    char *text = malloc(size + 16);
    struct message m = {0};
    struct ingest_facts facts;
    if (!text)
        die("memory");
    m.size = make_text(text, size);
    double cpu = cpu_seconds();
    ingest_write(ingest, str_make(text, m.size));
    if (ingest_finish(ingest, &facts) != STATUS_OK ||
        !body_writer_write(writer, str_make(text, m.size)) || !body_writer_finish(writer))
        die("cannot make a message");
    made_cpu += cpu_seconds() - cpu;
    const struct body_chunk *chunks = body_writer_ready(writer, &m.chunk_count);
    for (size_t i = 0; i < m.chunk_count; i++) {
        m.chunks[i] = (struct ipc_chunk){chunks[i].codec, chunks[i].key_id, chunks[i].plain_size,
                                         copy(chunks[i].hash), copy(chunks[i].data)};
        stored_bytes += chunks[i].data.len;
    }
    m.structure = copy(facts.structure_blob);
    m.signature = copy(facts.signature);
    plain_bytes += m.size;
    side_bytes += m.structure.len + m.signature.len;
    body_writer_reset(writer);
    ingest_reset(ingest);
    free(text);
    return m;
}

static void set_up(struct vault_batch *v)
{
    struct vault_reply reply;
    vault_domain_add(v, (struct vault_ticket){0},
                     &(struct ipc_domain_add_in){.at_ms = 1, .name = STR("demo.test")});
    for (int i = 0; i < ACCOUNTS; i++) {
        char name[16];
        snprintf(name, sizeof name, "user%d", i);
        struct ipc_account_add_in in = {.at_ms = 1, .name = str_from_c(name)};
        vault_account_add(v, (struct vault_ticket){0}, &in, NULL, 0);
        if (!vault_batch_commit(v))
            die("commit");
        while (vault_batch_reply(v, &reply))
            if (reply.type == IPC_ACCOUNT_ADD)
                accounts[i] = reply.account_add.account;
    }
}

static void accept(struct vault_batch *v, const struct message *m, char key[static 32])
{
    char trace_id[32];
    static uint64_t number;
    for (int i = 0; i < 32; i += 8)
        memcpy(key + i, &(uint64_t){draw()}, 8);
    snprintf(trace_id, sizeof trace_id, "01KB%022llu", (unsigned long long)++number);
    struct ipc_delivery delivery = {
        .account = accounts[draw() % ACCOUNTS],
        .prefix = STR("Return-Path: <somebody@example.org>\r\nDelivered-To: alice@demo.test\r\n")};
    struct ipc_accept_recipient recipient = {.recipient = text_from(STR("alice@demo.test")),
                                             .key = str_make(key, 32),
                                             .deliveries = &delivery,
                                             .deliveries_count = 1};
    struct ipc_accept_in in = {.trace_id = str_from_c(trace_id),
                               .received_at_ms = 1700000000000,
                               .reverse_path = text_from(STR("somebody@example.org")),
                               .helo = text_from(STR("mail.example.org")),
                               .peer = STR("192.0.2.1"),
                               .tls = STR("TLSv1.3 TLS_AES_256_GCM_SHA384"),
                               .email = {.size = m->size,
                                         .chunks = m->chunks,
                                         .chunks_count = m->chunk_count,
                                         .parser_version = 1,
                                         .structure = m->structure,
                                         .signature = m->signature,
                                         .message_id = text_from(STR("<0123456789@example.org>")),
                                         .subject = text_from(STR("three words long"))},
                               .recipients = &recipient,
                               .recipients_count = 1};
    vault_accept(v, (struct vault_ticket){0}, &in);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* One batch; the keys of the one before are confirmed, as by clients that go on. */
static void run_batch(struct vault_batch *v, const struct message *pool, size_t pool_count,
                      size_t batch, uint64_t *checkpoints)
{
    static char keys[BATCH_MAX][32];
    struct ipc_key confirmed[BATCH_MAX];
    struct vault_reply reply;
    struct ipc_changed_in changed;
    uint64_t left;
    for (size_t i = 0; i < batch; i++)
        confirmed[i] = (struct ipc_key){str_make(keys[i], 32)};
    vault_confirm(v, &(struct ipc_confirm_in){.keys = confirmed, .keys_count = batch});
    for (size_t i = 0; i < batch; i++)
        accept(v, &pool[draw() % pool_count], keys[i]);
    if (!vault_batch_commit(v))
        die("commit");
    vault_batch_changes(v, &changed);
    while (vault_batch_reply(v, &reply))
        if (reply.status != STATUS_OK)
            die(status_name(reply.status));
    if (vault_wal_size(v) < CHECKPOINT_SIZE)
        return;
    if (!vault_checkpoint(v, &left))
        die("checkpoint");
    ++*checkpoints;
}

static void run_row(const char *folder, size_t size, size_t batch, double limit,
                    const struct message *pool, size_t pool_count)
{
    char path[4096];
    struct vault_batch *v = NULL;
    struct diag d = {0};
    uint64_t checkpoints = 0, messages = 0;
    snprintf(path, sizeof path, "%s/bound-%zu-%zu.db", folder, size, batch);
    if (vault_batch_open(path, NULL, &v, &d) != STATUS_OK)
        die(d.words);
    set_up(v);
    uint64_t before = vault_batch_numbers(v)->commits;
    double begun = seconds(), cpu = cpu_seconds();
    while (seconds() - begun < limit) {
        run_batch(v, pool, pool_count, batch, &checkpoints);
        messages += batch;
    }
    double took = seconds() - begun, used = cpu_seconds() - cpu;
    uint64_t syncs = vault_batch_numbers(v)->commits - before + 2 * checkpoints;
    printf("%6zu octets, batches of %3zu: %7.0f messages/s, %.4f CPU s per 1,000, %.3f syncs a "
           "message\n",
           size, batch, (double)messages / took, used * 1000 / (double)messages,
           (double)syncs / (double)messages);
    vault_batch_close(v);
    unlink(path);
}

static void run_size(const char *folder, size_t size, const size_t *batches, size_t batch_count,
                     double limit)
{
    struct ingest *ingest = ingest_new();
    struct body_writer *writer = body_writer_new();
    size_t count = POOL_BYTES / size / 4;
    struct message *pool = calloc(count, sizeof *pool);
    if (!ingest || !writer || !pool)
        die("memory");
    plain_bytes = stored_bytes = side_bytes = 0;
    made_cpu = 0;
    for (size_t i = 0; i < count; i++)
        pool[i] = make_message(size, ingest, writer);
    printf("%6zu octets: compressed to %.0f%%, signature and structure %.0f%%, all of it made in "
           "%.0f us CPU a message\n",
           size, 100.0 * (double)stored_bytes / (double)plain_bytes,
           100.0 * (double)side_bytes / (double)plain_bytes, made_cpu * 1e6 / (double)count);
    for (size_t i = 0; i < batch_count; i++)
        run_row(folder, size, batches[i], limit, pool, count);
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < pool[i].chunk_count; k++) {
            free((void *)(uintptr_t)pool[i].chunks[k].hash.ptr);
            free((void *)(uintptr_t)pool[i].chunks[k].data.ptr);
        }
        free((void *)(uintptr_t)pool[i].structure.ptr);
        free((void *)(uintptr_t)pool[i].signature.ptr);
    }
    free(pool);
    ingest_free(ingest);
    body_writer_free(writer);
}

static size_t number(const char *word, size_t max)
{
    char *end;
    unsigned long n = strtoul(word, &end, 10);
    if (*end || n == 0 || n > max)
        die("a number is out of range");
    return n;
}

int main(int argc, char **argv)
{
    char folder[4096];
    snprintf(folder, sizeof folder, "%s/postern-bound-XXXXXX", argc > 2 ? argv[2] : "/tmp");
    double limit = argc > 1 ? atof(argv[1]) : 10;
    if (!mkdtemp(folder))
        die("cannot make a folder");
    make_words();
    if (argc > 4) {
        size_t batches[BATCHES_MAX], count = 0;
        for (int i = 4; i < argc && count < BATCHES_MAX; i++)
            batches[count++] = number(argv[i], BATCH_MAX);
        run_size(folder, number(argv[3], LIMIT_CHUNK_SIZE), batches, count, limit);
    } else {
        static const size_t usual[] = {1, 16, 64};
        run_size(folder, 4096, usual, sizeof usual / sizeof *usual, limit);
        run_size(folder, 65536, usual, sizeof usual / sizeof *usual, limit);
    }
    rmdir(folder);
    return 0;
}
