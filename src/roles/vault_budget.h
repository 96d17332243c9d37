#ifndef POSTERN_ROLES_VAULT_BUDGET_H
#define POSTERN_ROLES_VAULT_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Long requests that differ in what a message of theirs takes. */
enum vault_work { WORK_FLAGS, WORK_KEYWORDS, WORK_COPY, WORK_MOVE, WORK_EXPUNGE, WORK_KINDS };

/*
 * How much a transaction may still do before it holds everybody else up too long
 * (LIMIT_VAULT_TRANSACTION_MS, half of which is left to the commit and its sync, or more where they
 * have taken more). Long requests ask before they choose how many messages they change; what those
 * took, as measured, says how many the next may. Where there is no clock only LIMIT_VAULT_SLICE
 * counts.
 */
struct vault_budget {
    int64_t (*clock_us)(void *context); /* NULL: none; any beginning, never back */
    void *context;
    int64_t began_us;           /* the transaction */
    int64_t request_us;         /* the long request that asked last */
    enum vault_work work;       /* its kind */
    int64_t row_ns[WORK_KINDS]; /* what one message of a long request takes; 0: not known yet */
    int64_t worked_us;          /* when the commit began */
    int64_t commit_us;          /* what a commit takes */
    unsigned rows;              /* changed in this transaction */
};

/* A transaction begins. */
void vault_budget_begin(struct vault_budget *b);

/* Messages that a long request of this kind may change now; 0: it has to wait for the next
 * transaction. */
unsigned vault_budget_rows(struct vault_budget *b, enum vault_work work);

/* It has changed so many. */
void vault_budget_used(struct vault_budget *b, size_t rows);

/* Its commit begins, and has succeeded. */
void vault_budget_commit(struct vault_budget *b);
void vault_budget_committed(struct vault_budget *b);

/* How long the transaction has taken until now; 0 without a clock. */
int64_t vault_budget_since_us(const struct vault_budget *b);

/* The time for long work is up. */
bool vault_budget_is_spent(const struct vault_budget *b);

/*
 * The time for any work is up. How long commits take does not count here: where a sync is slow,
 * each has to serve the more messages.
 */
bool vault_budget_is_full(const struct vault_budget *b);

#endif
