#ifndef POSTERN_ROLES_TESTING_VAULT_H
#define POSTERN_ROLES_TESTING_VAULT_H

#include "base/testing.h"
#include "roles/vault_batch.h"
#include "store/ingest.h"
#include "store/read.h"

/* What the vault's tests share. Each function fails the test where something goes wrong. */

/* A vault on a fresh database with one account, and a reader beside it. */
struct vault_world {
    char folder[64];
    char path[96];
    struct vault_batch *vault;
    struct db *reader;
    struct arena arena;
    uint64_t alice;
    uint64_t inbox;
    uint32_t requests;
    struct now now;
};

#define AT_MS        1700000000000LL
#define WORLD_PREFIX STR("Return-Path: <bob@example.org>\r\n")

void world_pass(struct vault_world *w, int64_t ms, int64_t wall_ms);
struct vault_ticket world_ticket(struct vault_world *w);
struct vault_reply world_commit(struct vault_world *w);
uint64_t world_add_account(struct vault_world *w, const char *name);
int world_set_up(void **state);
int world_tear_down(void **state);
struct body_writer *world_write_body(struct str body, struct ipc_chunk *chunks, size_t *ret_count);
struct vault_reply world_accept(struct vault_world *w, struct str body, struct str key);
uint32_t world_messages(struct vault_world *w, uint64_t mailbox);
int64_t world_count(struct vault_world *w, const char *sql);
int64_t world_stored(struct vault_world *w);
void world_purge(struct vault_world *w);
void world_expunge(struct vault_world *w, uint64_t mailbox);

/* A clock for vault_batch_use_clock, whose context is the time: each look costs four milliseconds.
 */
int64_t world_slow_clock(void *context);

#endif
