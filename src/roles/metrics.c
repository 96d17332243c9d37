#include "roles/metrics.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { LABEL_SIZE = 48 };

struct entry {
    struct metric metric;
    enum metric_kind kind;
    const char *name, *help, *label_name;
    char label[LABEL_SIZE];
};

/* Entries never move (their owners keep pointers): each is allocated by itself. */
struct metrics {
    struct entry *entries[METRICS_MAX];
    size_t count;
    struct metric nobody_sees;
};

struct metrics *metrics_new(void)
{
    return calloc(1, sizeof(struct metrics));
}

void metrics_free(struct metrics *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->count; i++)
        free(m->entries[i]);
    free(m);
}

struct metric *metrics_get(struct metrics *m, enum metric_kind kind, const char *name,
                           const char *help, const char *label_name, const char *label)
{
    size_t at = m->count; /* behind the last of the same name: a family stands together */
    for (size_t i = 0; i < m->count; i++) {
        struct entry *e = m->entries[i];
        if (strcmp(e->name, name) != 0)
            continue;
        if (!label_name || strcmp(e->label, label) == 0)
            return &e->metric;
        at = i + 1;
    }
    struct entry *e = m->count < METRICS_MAX ? calloc(1, sizeof *e) : NULL;
    if (!e || (label_name && !str_to_c(str_from_c(label), e->label, LABEL_SIZE))) {
        free(e);
        return &m->nobody_sees;
    }
    e->kind = kind;
    e->name = name;
    e->help = help;
    e->label_name = label_name;
    memmove(&m->entries[at + 1], &m->entries[at], (m->count - at) * sizeof(struct entry *));
    m->entries[at] = e;
    m->count++;
    return &e->metric;
}

void metrics_print(const struct metrics *m, struct buf *out)
{
    const char *family = "";
    for (size_t i = 0; i < m->count; i++) {
        const struct entry *e = m->entries[i];
        bool counter = e->kind == METRIC_COUNTER;
        if (strcmp(family, e->name) != 0)
            buf_printf(out, "# TYPE %s %s\n# HELP %s %s\n", e->name, counter ? "counter" : "gauge",
                       e->name, e->help);
        family = e->name;
        buf_printf(out, "%s%s", e->name, counter ? "_total" : "");
        if (e->label_name)
            buf_printf(out, "{%s=\"%s\"}", e->label_name, e->label);
        buf_printf(out, " %llu\n", (unsigned long long)e->metric.value);
    }
}

void metrics_end(struct buf *out)
{
    buf_append_str(out, STR("# EOF\n"));
}
