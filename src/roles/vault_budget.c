#include "roles/vault_budget.h"

#include "base/limits.h"

enum {
    WHOLE_US = LIMIT_VAULT_TRANSACTION_MS * 1000,
    WORK_US_MAX = WHOLE_US / 2,
    WORK_US_MIN = WHOLE_US / 10, /* whatever the commit takes */
    ROWS_MIN = 16,    /* of a request that has a transaction for itself: it always gets on */
    ROWS_FIRST = 128, /* as long as nothing has been measured */
    FORGETTING = 8,   /* what is slow counts at once, what is quick by and by */
};

static int64_t clock_us(const struct vault_budget *b)
{
    return b->clock_us(b->context);
}

static void learn(int64_t *known, int64_t seen)
{
    *known = seen > *known ? seen : *known - (*known - seen + FORGETTING - 1) / FORGETTING;
}

static int64_t work_us(const struct vault_budget *b)
{
    int64_t left = WHOLE_US - b->commit_us;
    return left > WORK_US_MAX ? WORK_US_MAX : left < WORK_US_MIN ? WORK_US_MIN : left;
}

void vault_budget_begin(struct vault_budget *b)
{
    b->rows = 0;
    b->began_us = b->clock_us ? clock_us(b) : 0;
}

unsigned vault_budget_rows(struct vault_budget *b, enum vault_work work)
{
    unsigned rows = b->rows < LIMIT_VAULT_SLICE ? LIMIT_VAULT_SLICE - b->rows : 0;
    if (!b->clock_us)
        return rows;
    b->request_us = clock_us(b);
    b->work = work;
    int64_t row_ns = b->row_ns[work];
    int64_t left_us = b->began_us + work_us(b) - b->request_us;
    int64_t fit = row_ns > 0 ? left_us * 1000 / row_ns : ROWS_FIRST;
    if (left_us <= 0 || fit < ROWS_MIN)
        fit = b->rows == 0 ? ROWS_MIN : 0;
    return fit < rows ? (unsigned)fit : rows;
}

void vault_budget_used(struct vault_budget *b, size_t rows)
{
    b->rows += rows > 0 ? (unsigned)rows : 1; /* to find nothing takes time too */
    if (!b->clock_us || rows == 0)
        return;
    learn(&b->row_ns[b->work], (clock_us(b) - b->request_us) * 1000 / (int64_t)rows);
}

void vault_budget_commit(struct vault_budget *b)
{
    b->worked_us = b->clock_us ? clock_us(b) : 0;
}

void vault_budget_committed(struct vault_budget *b)
{
    if (b->clock_us)
        learn(&b->commit_us, clock_us(b) - b->worked_us);
}

int64_t vault_budget_since_us(const struct vault_budget *b)
{
    return b->clock_us ? clock_us(b) - b->began_us : 0;
}

bool vault_budget_is_spent(const struct vault_budget *b)
{
    return b->clock_us && vault_budget_since_us(b) >= work_us(b);
}

bool vault_budget_is_full(const struct vault_budget *b)
{
    return b->clock_us && vault_budget_since_us(b) >= WORK_US_MAX;
}
