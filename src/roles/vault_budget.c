#include "roles/vault_budget.h"

#include "base/limits.h"

enum {
    WORK_US = LIMIT_VAULT_TRANSACTION_MS * 1000 / 2,
    ROWS_MIN = 16,    /* of a request that has a transaction for itself: it always gets on */
    ROWS_FIRST = 128, /* as long as nothing has been measured */
    FORGETTING = 8,   /* a slow request counts at once, a quick one by and by */
};

static int64_t clock_us(const struct vault_budget *b)
{
    return b->clock_us(b->context);
}

void vault_budget_begin(struct vault_budget *b)
{
    b->rows = 0;
    b->began_us = b->clock_us ? clock_us(b) : 0;
}

unsigned vault_budget_rows(struct vault_budget *b)
{
    unsigned rows = b->rows < LIMIT_VAULT_SLICE ? LIMIT_VAULT_SLICE - b->rows : 0;
    if (!b->clock_us)
        return rows;
    b->request_us = clock_us(b);
    int64_t left_us = b->began_us + WORK_US - b->request_us;
    int64_t fit = b->row_ns > 0 ? left_us * 1000 / b->row_ns : ROWS_FIRST;
    if (left_us <= 0 || fit < ROWS_MIN)
        fit = b->rows == 0 ? ROWS_MIN : 0;
    return fit < rows ? (unsigned)fit : rows;
}

void vault_budget_used(struct vault_budget *b, size_t rows)
{
    b->rows += (unsigned)rows;
    if (!b->clock_us || rows == 0)
        return;
    int64_t row_ns = (clock_us(b) - b->request_us) * 1000 / (int64_t)rows;
    b->row_ns = row_ns > b->row_ns ? row_ns
                                   : b->row_ns - (b->row_ns - row_ns + FORGETTING - 1) / FORGETTING;
}

int64_t vault_budget_since_us(const struct vault_budget *b)
{
    return b->clock_us ? clock_us(b) - b->began_us : 0;
}

bool vault_budget_is_spent(const struct vault_budget *b)
{
    return vault_budget_since_us(b) >= WORK_US;
}
