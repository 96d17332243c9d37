#ifndef POSTERN_ROLES_METRICS_H
#define POSTERN_ROLES_METRICS_H

#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

/*
 * A role's numbers, as OpenMetrics text. Names begin "postern_ROLE_". Texts of several processes
 * put one behind the other become one by metrics_regroup; metrics_end closes the whole.
 */
struct metrics;

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE };

struct metric {
    uint64_t value;
};

/* process: which one of its role's, for a label on each of its numbers; below 0: the only one. */
struct metrics *metrics_new(int process);
void metrics_free(struct metrics *m);

/*
 * The metric of that name and label, made on first use; never NULL (there is one that nobody sees
 * where memory or METRICS_MAX is spent). name without the "_total" of counters; name, help and
 * label_name are literals, label_name NULL for none; label is copied, and is never a stranger's.
 */
enum { METRICS_MAX = 500 };
struct metric *metrics_get(struct metrics *m, enum metric_kind kind, const char *name,
                           const char *help, const char *label_name, const char *label);

static inline void metric_add(struct metric *metric, uint64_t n)
{
    metric->value += n;
}

static inline void metric_set(struct metric *metric, uint64_t value)
{
    metric->value = value;
}

void metrics_print(const struct metrics *m, struct buf *out);

/* OpenMetrics wants all samples of a family in one place: under the head that came first. */
void metrics_regroup(struct str texts, struct buf *out);
void metrics_end(struct buf *out);

#endif
