#include "auth/mtasts.h"
#include "base/bug.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The same octets as a record and as a policy. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = str_make(data, size), id, mx;
    struct dns_row row = {.data = text};
    struct dns_facts facts = {.rows = &row, .row_count = 1};
    struct mtasts_policy policy;
    struct diag diag = {0};
    if (mtasts_record_read(&facts, &id))
        invariant(id.len >= 1 && id.len <= 32);
    if (!mtasts_policy_read(text, &policy, &diag)) {
        invariant(diag.words[0]);
        return 0;
    }
    struct str rest = policy.text;
    bool any = false;
    while (mtasts_next_mx(&rest, &mx)) {
        any = true;
        if (!str_starts(mx, STR("*.")))
            invariant(mtasts_check_host(&policy, mx) != MTASTS_NOT_NAMED);
    }
    invariant(any || policy.mode == MTASTS_NONE);
    return 0;
}
