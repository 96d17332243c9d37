/*
 * How long the vault's long work holds everybody else up: each operation that changes many rows,
 * on a mailbox and a queue of ROWS, and the longest of the transactions that it is done in, sync
 * included. Nothing else runs in the vault meanwhile. On a busy machine the CPU tells more: it
 * counts no sync, and nobody else.
 *
 *   bulk_bound [ROWS [FOLDER]]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/limits.h"
#include "roles/vault_batch.h"
#include "store/ingest.h"
#include "store/read.h"

enum { BATCH = 64, CHECKPOINT_SIZE = 2 << 20, DAY_MS = 24 * 60 * 60 * 1000 };

static const int64_t WALL_MS = 1700000000000;
static const struct str BODY = {"Subject: x\r\n\r\nhello\r\n", 21};

static struct vault_batch *vault;
static struct now now = {1000, 1700000000000};
static struct ipc_chunk chunk;
static uint64_t account, inbox, archive, number;
static int courier;

static struct {
    const char *name;
    double began, begun_at, longest;
    double cpu_at, cpu; /* of the one that took most */
    unsigned count, over;
} work;

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "bulk_bound: %s\n", what);
    exit(1);
}

static double seconds_of(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double seconds(void)
{
    return seconds_of(CLOCK_MONOTONIC);
}

static int64_t clock_us(void *context)
{
    (void)context;
    return (int64_t)(seconds() * 1e6);
}

static struct vault_ticket ticket(void)
{
    return (struct vault_ticket){&courier, 0};
}

static void begin_work(const char *name)
{
    work = (typeof(work)){.name = name, .began = seconds()};
}

static void end_work(void)
{
    printf("%-44s %6u transactions, longest %6.1f ms (most CPU %6.1f), %4u over %d ms, %7.2f s in "
           "all\n",
           work.name, work.count, work.longest * 1e3, work.cpu * 1e3, work.over,
           LIMIT_VAULT_TRANSACTION_MS, seconds() - work.began);
    fflush(stdout);
}

static void begin_one(void)
{
    work.begun_at = seconds();
    work.cpu_at = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
}

static void end_one(void)
{
    double took = seconds() - work.begun_at;
    double cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - work.cpu_at;
    uint64_t left;
    work.count++;
    work.over += took > LIMIT_VAULT_TRANSACTION_MS / 1e3;
    if (took > work.longest)
        work.longest = took;
    if (cpu > work.cpu)
        work.cpu = cpu;
    if (vault_wal_size(vault) >= CHECKPOINT_SIZE && !vault_checkpoint(vault, &left))
        die("checkpoint");
}

static struct vault_reply commit(void)
{
    struct vault_reply reply = {0};
    struct ipc_changed_in changed;
    struct ipc_queue_ready_in ready;
    struct vault_held held;
    void *owner;
    if (!vault_batch_commit(vault))
        die("commit");
    while (vault_batch_reply(vault, &reply))
        if (reply.status != STATUS_OK)
            die(status_name(reply.status));
    vault_batch_changes(vault, &changed);
    while (vault_batch_ready(vault, &owner, &ready) || vault_batch_held(vault, &held))
        ;
    end_one();
    while (vault_batch_pending(vault)) { /* what is removed behind it, or answered later */
        begin_one();
        if (!vault_batch_commit(vault))
            die("commit");
        end_one();
        while (vault_batch_reply(vault, &reply))
            if (reply.status != STATUS_OK)
                die(status_name(reply.status));
    }
    return reply;
}

/* ---- Filling ------------------------------------------------------------------------------------
 */

static void make_body(void)
{
    size_t count = 0;
    struct body_writer *writer = body_writer_new();
    if (!writer || !body_writer_write(writer, BODY) || !body_writer_finish(writer))
        die("memory");
    const struct body_chunk *c = body_writer_ready(writer, &count);
    chunk = (struct ipc_chunk){c->codec, c->key_id, c->plain_size, c->hash, c->data};
}

static void accept(const struct ipc_accept_recipient *recipient)
{
    char trace_id[32], key[CHUNK_HASH_SIZE + 1];
    struct ipc_accept_recipient with_key = *recipient;
    snprintf(trace_id, sizeof trace_id, "01KB%022llu", (unsigned long long)++number);
    snprintf(key, sizeof key, "%032llu", (unsigned long long)number * 0x9E3779B97F4A7C15u);
    with_key.key = str_make(key, CHUNK_HASH_SIZE);
    vault_accept(vault, ticket(),
                 &(struct ipc_accept_in){.trace_id = str_from_c(trace_id),
                                         .received_at_ms = WALL_MS,
                                         .reverse_path = text_from(STR("a@example.org")),
                                         .email = {.size = BODY.len,
                                                   .chunks = &chunk,
                                                   .chunks_count = 1,
                                                   .signature = str_make((char[1500]){0}, 1500)},
                                         .recipients = &with_key,
                                         .recipients_count = 1});
}

static void fill_inbox(unsigned rows)
{
    struct ipc_delivery delivery = {.account = account, .mailbox = inbox};
    struct ipc_accept_recipient to = {.recipient = text_from(STR("alice@demo.test")),
                                      .deliveries = &delivery,
                                      .deliveries_count = 1};
    begin_work("accept, 64 messages each");
    for (unsigned i = 0; i < rows; i += BATCH) {
        begin_one();
        for (unsigned n = 0; n < BATCH; n++)
            accept(&to);
        commit();
    }
    end_work();
}

static void fill_queue(unsigned rows)
{
    char destination[64];
    struct ipc_relay relay = {text_from(STR("b@example.org")), {NULL, 0}};
    struct ipc_accept_recipient to = {
        .recipient = relay.address, .relays = &relay, .relays_count = 1};
    begin_work("queue, 64 messages each");
    for (unsigned i = 0; i < rows; i += BATCH) {
        begin_one();
        for (unsigned n = 0; n < BATCH; n++) {
            snprintf(destination, sizeof destination, "dns:d%u.example.org", (i + n) % (rows / 10));
            relay.destination = str_from_c(destination);
            accept(&to);
        }
        commit();
    }
    end_work();
}

/* ---- Mailboxes ----------------------------------------------------------------------------------
 */

static void store_all(struct str keywords, const char *name)
{
    struct ipc_range rest = {1, UINT32_MAX};
    begin_work(name);
    while (rest.first != 0) {
        begin_one();
        vault_flags_store(vault, ticket(), account,
                          &(struct ipc_flags_store_in){.mailbox = inbox,
                                                       .uids = &rest,
                                                       .uids_count = 1,
                                                       .mode = 1,
                                                       .flags = ENTRY_SEEN,
                                                       .keywords = text_from(keywords)});
        rest.first = commit().flags_store.through + 1;
    }
    end_work();
}

static void copy_all(uint64_t from, uint64_t to, bool move, const char *name)
{
    struct ipc_range rest = {1, UINT32_MAX};
    begin_work(name);
    while (rest.first != 0) {
        begin_one();
        vault_copy(
            vault, ticket(), account,
            &(struct ipc_copy_in){
                .mailbox = from, .uids = &rest, .uids_count = 1, .target = to, .move = move});
        rest.first = commit().copy.through + 1;
    }
    end_work();
}

static void expunge_all(uint64_t mailbox)
{
    struct ipc_range rest = {1, UINT32_MAX};
    begin_work("EXPUNGE");
    while (rest.first != 0) {
        begin_one();
        vault_expunge(vault, ticket(), account,
                      &(struct ipc_expunge_in){.mailbox = mailbox, .uids = &rest, .uids_count = 1});
        rest.first = commit().expunge.through + 1;
    }
    end_work();
}

static void purge_after(int64_t ms, const char *name)
{
    bool more = true;
    now.mono_ms += ms;
    vault_batch_at(vault, now);
    begin_work(name);
    while (more) {
        begin_one();
        if (vault_purge(vault, DAY_MS, &more) != STATUS_OK)
            die("purge");
        end_one();
    }
    end_work();
}

/* ---- The queue ----------------------------------------------------------------------------------
 */

static void change_queue(uint8_t action, const char *name)
{
    struct ipc_queue_change_in in = {
        .action = action, .words = text_from(STR("enough")), .destination = STR("route:elsewhere")};
    begin_work(name);
    do {
        begin_one();
        vault_queue_change(vault, ticket(), &in);
        in.after = commit().queue_change.through;
    } while (in.after != 0);
    end_work();
}

static void courier_comes(void)
{
    static struct ipc_held held[LIMIT_QUEUE_LEASES];
    size_t count = 0;
    struct ipc_lease_in in = {.fresh = 1000, .troubled = 1000, .messages = 1000};
    begin_one();
    vault_resume(vault, ticket(), &(struct ipc_resume_in){0});
    commit();
    begin_work("leases, 1000 messages each");
    for (;;) {
        begin_one();
        vault_lease(vault, ticket(), &in);
        struct ipc_lease_out out = commit().lease;
        if (out.jobs_count == 0)
            break;
        for (size_t i = 0; i < out.jobs_count; i++)
            for (size_t n = 0; n < out.jobs[i].recipients_count && count < LIMIT_QUEUE_LEASES; n++)
                held[count++] = (struct ipc_held){.recipient = out.jobs[i].recipients[n].id,
                                                  .destination = out.jobs[i].destination};
    }
    end_work();
    begin_work("a courier ends");
    begin_one();
    vault_owner_gone(vault, &courier);
    commit();
    end_work();
    begin_work("a courier says what it holds");
    begin_one();
    vault_resume(vault, ticket(), &(struct ipc_resume_in){held, count});
    commit();
    end_work();
}

/* ---- The directory ------------------------------------------------------------------------------
 */

static void add_account(void)
{
    static const struct account_mailbox mailboxes[] = {{{"Archive", 7}, SPECIAL_ARCHIVE},
                                                       {{"Second", 6}, SPECIAL_NONE}};
    vault_domain_add(vault, ticket(), &(struct ipc_domain_add_in){.name = STR("demo.test")});
    commit();
    vault_account_add(vault, ticket(), &(struct ipc_account_add_in){.name = STR("alice")},
                      mailboxes, 2);
    account = commit().account_add.account;
}

static uint64_t find_mailbox(const char *path, const char *name)
{
    struct db *db;
    struct diag d = {0};
    struct arena arena;
    struct mailbox_record found;
    arena_init(&arena, 1 << 20);
    if (db_open(path, DB_READ, &db, &d) != STATUS_OK ||
        read_mailbox_by_path(db, account, str_from_c(name), &arena, &found) != STATUS_OK)
        die("no such mailbox");
    db_close(db);
    arena_reset(&arena);
    return found.id;
}

static void add_addresses(unsigned rows)
{
    char address[64];
    begin_work("address add, 64 each");
    for (unsigned i = 0; i < rows; i += BATCH) {
        begin_one();
        for (unsigned n = 0; n < BATCH; n++) {
            snprintf(address, sizeof address, "a%u@demo.test", i + n);
            vault_address_add(vault, ticket(),
                              &(struct ipc_address_add_in){
                                  .address = text_from(str_from_c(address)), .account = account});
        }
        commit();
    }
    end_work();
}

static void remove_mailbox(uint64_t mailbox)
{
    begin_work("DELETE of the mailbox");
    begin_one();
    vault_mailbox_delete(vault, ticket(), account,
                         &(struct ipc_mailbox_delete_in){.mailbox = mailbox});
    commit();
    end_work();
}

static void remove_account(const char *name)
{
    begin_work(name);
    begin_one();
    vault_account_remove(vault, ticket(), &(struct ipc_account_remove_in){.account = account});
    commit();
    end_work();
}

/* ---- Lists --------------------------------------------------------------------------------------
 */

/* One message for so many mailboxes, of an account each: it is one commit, whatever it takes. */
static void accept_for(size_t members, const char *name)
{
    static struct ipc_delivery deliveries[LIMIT_ALIAS_TARGETS];
    char account_name[32];
    for (size_t i = 0; i < members; i++) {
        snprintf(account_name, sizeof account_name, "member%zu", i);
        begin_one();
        vault_account_add(vault, ticket(),
                          &(struct ipc_account_add_in){.name = str_from_c(account_name)}, NULL, 0);
        deliveries[i] = (struct ipc_delivery){
            .account = commit().account_add.account,
            .prefix = STR("Return-Path: <a@example.org>\r\nDelivered-To: list@demo.test\r\n")};
    }
    struct ipc_accept_recipient to = {.recipient = text_from(STR("list@demo.test")),
                                      .deliveries = deliveries,
                                      .deliveries_count = members};
    begin_work(name);
    for (int i = 0; i < 20; i++) {
        begin_one();
        accept(&to);
        commit();
    }
    end_work();
    while (members-- > 0) {
        vault_account_remove(
            vault, ticket(),
            &(struct ipc_account_remove_in){.account = deliveries[members].account});
        commit();
    }
}

/* ---- All of it ----------------------------------------------------------------------------------
 */

static void run(unsigned rows, const char *path)
{
    struct diag d = {0};
    if (vault_batch_open(path, NULL, &vault, &d) != STATUS_OK)
        die(d.words);
    vault_batch_use_clock(vault, clock_us, NULL);
    vault_batch_at(vault, now);
    add_account();
    inbox = find_mailbox(path, "INBOX");
    archive = find_mailbox(path, "Archive");
    accept_for(100, "accept for 100 mailboxes");
    accept_for(LIMIT_ALIAS_TARGETS, "accept for 1,000 mailboxes");
    fill_inbox(rows);
    store_all(STR(""), "STORE of a flag");
    store_all(STR("one two three"), "STORE of keywords");
    copy_all(inbox, archive, false, "COPY");
    copy_all(inbox, find_mailbox(path, "Second"), true, "MOVE");
    expunge_all(archive);
    purge_after(2 * DAY_MS, "purge of what was expunged, and of the moved");
    copy_all(find_mailbox(path, "Second"), archive, true, "MOVE");
    remove_mailbox(archive);
    purge_after(2 * DAY_MS, "purge of the mailbox and all bodies");
    fill_queue(rows);
    courier_comes();
    change_queue(0, "queue hold");
    change_queue(1, "queue release");
    change_queue(2, "queue retry");
    change_queue(5, "queue reroute");
    change_queue(3, "queue bounce");
    change_queue(4, "queue remove");
    purge_after(2 * DAY_MS, "a purge that looks at all there is");
    purge_after(40LL * DAY_MS, "purge of keys and destinations");
    purge_after(40LL * DAY_MS, "purge of traces");
    add_addresses(rows / 10);
    remove_account("account remove, with a tenth as many addresses");
    purge_after(2 * DAY_MS, "purge of the account");
    vault_batch_close(vault);
}

int main(int argc, char **argv)
{
    static const char *const endings[] = {"", "-wal", "-shm"};
    char path[4096], name[4160];
    snprintf(path, sizeof path, "%s/bulk-bound-%d.db", argc > 2 ? argv[2] : "/tmp", (int)getpid());
    make_body();
    run(argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 100000, path);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        snprintf(name, sizeof name, "%s%s", path, endings[i]);
        unlink(name);
    }
    return 0;
}
